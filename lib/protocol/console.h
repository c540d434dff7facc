/* Console protocol: what the Device Manager asks of the console driver.
 *
 * The driver has ports, as the virtio console: 0 the terminal of the person at the site, 1 to 3 the standard
 * input, output and error of the command. dm calls the driver's port (static system group, stamp
 * CONSOLE_GROUP_STAMP, K_FUNCMODE); the request is the annex, bytes are bodies. No call waits: -EAGAIN means that
 * nothing happened, and that an event follows once it is worth trying again. Events are ipcSends to the port that
 * CONSOLE_CONNECT gave; they are hints and may come once too often.
 *
 * When the driver dies it is started again, and dm connects again: the next driver knows nothing of events that the dead one
 * promised. So dm calls the port that it got from CONSOLE_CONNECT and watches it (actorWatch). Nothing is lost or comes twice: bytes of a port are
 * counted, modulo 2^32, from when the site began, and every read and write says at which byte it begins. dm keeps output until the host has it
 * (`done`) and writes it again to the next driver, which throws away what the host has; input that a dead driver had and dm has not is read again.
 */
#ifndef PROTOCOL_CONSOLE_H
#define PROTOCOL_CONSOLE_H

#include <stdint.h>

#define CONSOLE_GROUP_STAMP 7       /* K_STAMP_CONSOLE */
#define CONSOLE_PORTS       4
#define CONSOLE_BODY_MAX    65536

enum console_operation {
    CONSOLE_CONNECT = 0x600,    /* event_port -> ports, columns, rows, driver_port, position. One client; a new one
                                 * takes over */
    CONSOLE_READ,               /* port, length, position -> bytes in the body; none: the end of the input.
                                 * -EAGAIN: CONSOLE_EVENT_READABLE follows */
    CONSOLE_WRITE,              /* port, position, body -> length accepted, at least 1; done.
                                 * -EAGAIN: CONSOLE_EVENT_WRITABLE follows; -ESTALE: bytes before it are missing, so
                                 * connect anew; else the host's error, e.g. -EPIPE */
    CONSOLE_DRAIN,              /* port -> done. 0 when the host has everything that was accepted.
                                 * -EAGAIN: CONSOLE_EVENT_WRITABLE follows when it has; else the host's
                                 * error, when it refused some of it */
};

struct console_request {
    uint32_t operation;
    uint32_t port;
    uint32_t length;
    uint32_t position;          /* of the first byte */
    uint64_t event_port;        /* the 8 bytes of a KnUniqueId */
    uint8_t  unused[96];
};

struct console_reply {
    int32_t  status;            /* 0, or an error of Linux made negative. -EINVAL, -ENXIO no such port,
                                 * -ENOSYS */
    uint32_t length;
    uint32_t ports;             /* one bit for each port that there is */
    uint16_t columns, rows;
    uint64_t driver_port;       /* the 8 bytes of a KnUniqueId: the driver's own port */
    uint32_t done;              /* output before this position the host has */
    struct console_position {
        uint32_t in, out;       /* where a client begins that knows of nothing before */
    } position[CONSOLE_PORTS];
    uint8_t  unused[60];
};

enum console_event_kind {
    CONSOLE_EVENT_READABLE = 0x680,     /* port */
    CONSOLE_EVENT_WRITABLE,             /* port */
    CONSOLE_EVENT_RESIZE,               /* columns, rows */
    CONSOLE_EVENT_AGAIN,                /* another driver is behind the port: connect as after a death, nothing is lost */
};

struct console_event {
    uint32_t kind;
    uint32_t port;
    uint16_t columns, rows;
    uint8_t  unused[108];
};

_Static_assert(sizeof(struct console_request) == 120, "a request fills the annex");
_Static_assert(sizeof(struct console_reply) == 120, "a reply fills the annex");
_Static_assert(sizeof(struct console_event) == 120, "an event fills the annex");

#endif
