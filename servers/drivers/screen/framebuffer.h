/* The framebuffer's driver without its actor: a picture in our memory, of which changed lines are shown by a virtio gpu.
 *
 * The picture is one resource of the device, with all of `pixels` attached. Commands are sent without waiting; only when all command buffers are with
 * the device does a call wait for it. Not thread safe.
 */
#ifndef DRIVERS_FRAMEBUFFER_H
#define DRIVERS_FRAMEBUFFER_H

#include "../common/virtio_driver.h"

#define FRAMEBUFFER_SIDE_MOST 4096u
#define FRAMEBUFFER_COMMANDS  24             /* at a time */

struct framebuffer_command;

struct framebuffer {
    struct virtio_driver driver;
    struct virtio_queue control, cursor;
    struct framebuffer_command *command;     /* FRAMEBUFFER_COMMANDS of them, locked */
    bool busy[FRAMEBUFFER_COMMANDS];
    uint32_t width, height, stride;     /* pixels, pixels, bytes */
    size_t size;                        /* bytes, whole pages */
    uint8_t *pixels;
    uint8_t *queues;
    size_t room;                        /* bytes that `pixels` has */
    bool shown;
    bool failed;                        /* the device stopped, or refused something: start again */
    uint64_t changed[FRAMEBUFFER_SIDE_MOST / 64];    /* lines */
};

/* False: no such device, or no memory. `memory`: page aligned, zeroed, locked; NULL: none. The memory of an earlier beginning is used again, and the picture in it
 * stays. */
bool framebuffer_begin(struct framebuffer *screen, const struct driver_registers *registers, void *(*memory)(size_t size));
/* Show what has changed, and let go of the device. False: it does not come to rest. */
bool framebuffer_end(struct framebuffer *screen);
/* Show the picture, or nothing. */
void framebuffer_show(struct framebuffer *screen, bool on);
/* These bytes of `pixels` have changed. */
void framebuffer_changed(struct framebuffer *screen, size_t offset, size_t length);
/* Have the changed lines copied and shown. False: nothing had changed. */
bool framebuffer_update(struct framebuffer *screen);

#endif
