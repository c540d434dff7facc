/* The console driver without its actor: requests of lib/protocol/console.h, on a virtio console with ports.
 *
 * Input: some buffers of each input port are always with the device, and what has arrived waits in `arrived` until it is
 * asked for. Standard input is opened when somebody reads it first. Output: a request is copied into
 * as many buffers as are free; their being given back tells that the host has the bytes. Which bytes of a port a request is about it says: what a
 * client had of the driver before is thrown away. Not thread safe.
 */
#ifndef DRIVERS_CONSOLE_H
#define DRIVERS_CONSOLE_H

#include "../common/virtio_driver.h"
#include "protocol/console.h"

#define CONSOLE_IN_BUFFERS      8
#define CONSOLE_IN_SIZE         4096
#define CONSOLE_OUT_BUFFERS     4
#define CONSOLE_OUT_SIZE        16384
#define CONSOLE_CONTROL_BUFFERS 16
#define CONSOLE_CONTROL_SIZE    64

struct console_buffer {
    uint8_t *memory;
    uint32_t length, taken;             /* of input that arrived */
    bool busy;                          /* with the device */
    struct console_buffer *next;        /* arrived later */
};

struct console_port {
    bool exists, has_input, has_output;
    bool opened;                        /* told the device so */
    bool ended;                         /* input: no more behind what arrived */
    int error;                          /* output: the host refuses, and why */
    bool read_wanted, write_wanted, drain_wanted;   /* an event is due */
    uint32_t in_position;               /* of the first byte that arrived and was not given out */
    uint32_t out_position;              /* of the next byte to be accepted */
    struct virtio_queue in, out;
    struct console_buffer in_buffer[CONSOLE_IN_BUFFERS], out_buffer[CONSOLE_OUT_BUFFERS];
    struct console_buffer *arrived, **arrived_end;
    uint8_t *memory;                    /* of the buffers */
};

struct console {
    struct virtio_driver driver;
    void *(*memory)(size_t size);       /* page aligned, zeroed, locked; NULL: none. Never given back */
    void (*event)(const struct console_event *event);   /* to the client */
    struct virtio_queue control_in, control_out;
    struct console_buffer control_buffer[CONSOLE_CONTROL_BUFFERS];
    struct virtio_console_control *message;             /* CONSOLE_CONTROL_BUFFERS of them, to the device */
    bool message_busy[CONSOLE_CONTROL_BUFFERS];
    uint16_t columns, rows;
    struct console_port port[CONSOLE_PORTS];
    uint8_t *queue_memory, *control_memory;
    bool failed;                        /* no memory for a port that appeared, or no buffers: start again */
};

/* False: no console there, or no memory. The memory of an earlier beginning is used again. */
bool console_begin(struct console *console, const struct driver_registers *registers,
                   void *(*memory)(size_t size), void (*event)(const struct console_event *event));

/* Answer a request (CONSOLE_CONNECT: all but remembering the client's port). Returns the size of the reply's body; `body` has
 * room for CONSOLE_BODY_MAX bytes. */
size_t console_request(struct console *console, const struct console_request *request,
                       struct console_reply *reply, uint8_t *body, size_t body_size);

/* The device interrupted. */
void console_interrupt(struct console *console);

#endif
