/* virtio-console: the terminal, and the command's standard streams, as ports of one device.
 *
 *   port 0   the terminal of the person at the site: input, output and a size
 *   port 1   standard input of `chorus run -- COMMAND`; its end is told as PORT_OPEN 0
 *   port 2   standard output
 *   port 3   standard error; an output that fails is told as PORT_ERROR and PORT_OPEN 0,
 *            and bytes for it are thrown away
 *
 * Bytes pass unchanged. A port that the driver does not empty is not read from the host, and
 * a buffer that the driver sends is given back only when the host has taken all of it: so
 * back-pressure holds both ways, and an empty queue means that nothing is left to be written.
 *
 * On the terminal ^A is an escape: ^A x calls `escape`, ^A ^A and ^A a are one ^A, before any other
 * byte it passes with that byte. The terminal is read ahead, some 64 KB, so that the escape is
 * heard although nobody reads inside.
 */
#ifndef DEVICES_VIRTIO_CONSOLE_H
#define DEVICES_VIRTIO_CONSOLE_H

#include "bus.h"
#include "io_pool.h"
#include "virtio.h"

enum { VIRTIO_CONSOLE_TERMINAL, VIRTIO_CONSOLE_STDIN, VIRTIO_CONSOLE_STDOUT,
       VIRTIO_CONSOLE_STDERR, VIRTIO_CONSOLE_PORTS };

#define VIRTIO_CONSOLE_F_SIZE       (UINT64_C(1) << 0)
#define VIRTIO_CONSOLE_F_MULTIPORT  (UINT64_C(1) << 1)

/* Queues: port 0 has 0 and 1, the control queues are 2 and 3, port n > 0 has 2n + 2 and 2n + 3. */
enum { VIRTIO_CONSOLE_CONTROL_IN = 2, VIRTIO_CONSOLE_CONTROL_OUT = 3 };

/* A message on a control queue; RESIZE is followed by columns and rows (16 bits each), NAME by the name. */
struct virtio_console_control {
    uint32_t port;
    uint16_t event;
    uint16_t value;
};

enum { VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_PORT_ADD, VIRTIO_CONSOLE_PORT_REMOVE,
       VIRTIO_CONSOLE_PORT_READY, VIRTIO_CONSOLE_CONSOLE_PORT, VIRTIO_CONSOLE_RESIZE,
       VIRTIO_CONSOLE_PORT_OPEN, VIRTIO_CONSOLE_PORT_NAME,
       VIRTIO_CONSOLE_PORT_ERROR = 64,  /* not in the specification: value is the Linux error that an
                                         * output failed with; PORT_OPEN 0 follows */
};

struct virtio_console_config {
    uint16_t columns, rows;
    uint32_t ports;
    uint32_t emergency_write;
};

/* What is behind the ports; -1: nothing, and then the port does not exist. The descriptors stay the
 * caller's and stay open. SIGPIPE is ignored by the process. */
struct virtio_console_backing {
    int terminal_in, terminal_out;
    uint16_t columns, rows;
    int stdin_descriptor, stdout_descriptor, stderr_descriptor;
    void (*escape)(void *cookie);       /* ^A x, in the Nucleus thread; NULL: ^A is an ordinary byte */
    void *cookie;
};

/* `name` must live as long as the device. NULL and errno: no memory, or a descriptor that the host
 * refuses. The device begins to listen to the terminal at once. */
struct device *virtio_console_create(const char *name, const struct device_services *services,
                                     struct bus *bus, struct io_pool *pool,
                                     const struct virtio_console_backing *backing);

/* The terminal has another size now. Nucleus thread. */
void virtio_console_resize(struct device *device, uint16_t columns, uint16_t rows);

#endif
