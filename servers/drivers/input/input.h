/* The driver of keyboard and mouse without its actor: what virtio input devices tell, as entries. Not thread safe. */
#ifndef DRIVERS_INPUT_H
#define DRIVERS_INPUT_H

#include "../common/virtio_driver.h"
#include "protocol/picture.h"

#define INPUT_BUFFERS VIRTIO_DRIVER_QUEUE_SIZE

struct input {
    struct virtio_driver driver;
    struct virtio_queue events, status;
    struct virtio_input_event *buffer;      /* INPUT_BUFFERS of them, all with the device */
    uint8_t *queues;
};

/* False: no such device, or no memory. The memory of an earlier beginning is used again. `memory`: page aligned, zeroed, locked; NULL: none. */
bool input_begin(struct input *input, const struct driver_registers *registers, void *(*memory)(size_t size));
/* Let go of the device: what it has told until now can still be taken, and no more comes. */
bool input_end(struct input *input);
/* What it is. */
void input_about(struct input *input, struct input_about *about);
/* The next entries, in the order in which they came; 0: no more, and an interrupt comes with the next. */
unsigned input_take(struct input *input, struct input_entry *entries, unsigned most);

#endif
