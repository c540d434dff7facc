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
#include "screen.h"
#include "virtio.h"

/* What is behind the ports; -1: nothing, and then the port does not exist. The descriptors stay the
 * caller's and stay open. SIGPIPE is ignored by the process. */
struct virtio_console_backing {
    int terminal_in, terminal_out;
    uint16_t columns, rows;
    int stdin_descriptor, stdout_descriptor, stderr_descriptor;
    struct screen *screen;              /* is told all that the terminal prints; NULL: none */
    bool terminal_is_window;            /* the terminal is there without descriptors: who types comes by virtio_console_type */
    void (*escape)(void *cookie);       /* ^A x, in the Nucleus thread; NULL: ^A is an ordinary byte */
    void *cookie;
};

/* `name` must live as long as the device. NULL and errno: no memory, or a descriptor that the host
 * refuses. The device begins to listen to the terminal at once. */
struct device *virtio_console_create(const char *name, const struct device_services *services,
                                     struct bus *bus, struct io_pool *pool,
                                     const struct virtio_console_backing *backing);

/* Somebody typed this at a window: it is input of the terminal. What does not fit is lost. Nucleus thread. */
void virtio_console_type(struct device *device, const uint8_t *bytes, size_t length);

/* The terminal has another size now. Nucleus thread. */
void virtio_console_resize(struct device *device, uint16_t columns, uint16_t rows);

#endif
