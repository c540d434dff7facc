/* The driver of keyboard and mouse without its actor: see input.h. */
#include "input.h"

#include <stddef.h>
#include <string.h>

#define PAGE 4096u

static void buffer_offer(struct input *input, struct virtio_input_event *buffer)
{
    virtio_queue_add(&input->events, &(struct virtio_buffer){ buffer, sizeof *buffer, true }, 1, buffer);
}

bool input_begin(struct input *input, const struct driver_registers *registers, void *(*memory)(size_t size))
{
    uint8_t *queues = input->queues != NULL ? input->queues : memory(2 * VIRTIO_DRIVER_QUEUE_MEMORY);
    struct virtio_input_event *buffer = input->buffer != NULL ? input->buffer
                                                              : memory((INPUT_BUFFERS * sizeof *input->buffer + PAGE - 1) / PAGE * PAGE);

    *input = (struct input){ .queues = queues, .buffer = buffer };
    if (queues == NULL || input->buffer == NULL || !virtio_begin(&input->driver, registers, VIRTIO_TYPE_INPUT, 0)
        || !virtio_queue_open(&input->driver, &input->events, VIRTIO_INPUT_EVENTS, queues)
        || !virtio_queue_open(&input->driver, &input->status, VIRTIO_INPUT_STATUS, queues + VIRTIO_DRIVER_QUEUE_MEMORY)
        || !virtio_ready(&input->driver))
        return false;
    for (unsigned i = 0; i < input->events.size; i++)
        buffer_offer(input, &input->buffer[i]);
    virtio_queue_interrupts(&input->status, false);
    virtio_queue_interrupts(&input->events, true);
    virtio_queue_kick(&input->events);
    return true;
}

bool input_end(struct input *input)
{
    return virtio_end(&input->driver);
}

/* One item of the configuration; returns how much of it there is. */
static unsigned config_read(struct input *input, uint8_t select, uint8_t subselect, void *to, size_t room)
{
    struct virtio_input_config config;
    uint32_t word;
    const struct driver_registers *registers = input->driver.registers;

    registers->write(registers->cookie, VIRTIO_CONFIG, select | (uint32_t)subselect << 8);
    for (uint32_t at = 0, end = sizeof word; at < end; at += sizeof word) {    /* most items are empty, and each read is a call */
        word = virtio_read_config(&input->driver, at);
        memcpy((char *)&config + at, &word, sizeof word);
        end = config.size < sizeof config.data ? (uint32_t)offsetof(struct virtio_input_config, data) + config.size : sizeof config;
    }
    unsigned size = config.size < sizeof config.data ? config.size : sizeof config.data;
    if (size > room)
        size = (unsigned)room;
    memcpy(to, config.data, size);
    return size;
}

void input_about(struct input *input, struct input_about *about)
{
    struct virtio_input_ids ids = { 0 };
    struct virtio_input_range range;

    memset(about, 0, sizeof *about);
    config_read(input, VIRTIO_INPUT_CFG_ID_NAME, 0, about->name, sizeof about->name - 1);
    config_read(input, VIRTIO_INPUT_CFG_ID_DEVIDS, 0, &ids, sizeof ids);
    about->bus = ids.bus;
    about->vendor = ids.vendor;
    about->product = ids.product;
    about->version = ids.version;
    about->bits[0][0] = 1;              /* EV_SYN: every device has that */
    for (unsigned type = 1; type < INPUT_TYPES; type++)
        if (config_read(input, VIRTIO_INPUT_CFG_EV_BITS, (uint8_t)type, about->bits[type], INPUT_BITS_BYTES) > 0)
            about->bits[0][type / 8] |= (uint8_t)(1u << type % 8);
    for (unsigned axis = 0; axis < INPUT_RANGES; axis++)
        if (config_read(input, VIRTIO_INPUT_CFG_ABS_INFO, (uint8_t)axis, &range, sizeof range) == sizeof range)
            about->range[axis] = (struct input_range){ (int32_t)range.least, (int32_t)range.most, (int32_t)range.fuzz, (int32_t)range.flat,
                                                       (int32_t)range.resolution };
}

unsigned input_take(struct input *input, struct input_entry *entries, unsigned most)
{
    struct virtio_input_event *event;
    unsigned count = 0;
    uint32_t length;

    do {
        while (count < most && (event = virtio_queue_take(&input->events, &length)) != NULL) {
            if (length >= sizeof *event)
                entries[count++] = (struct input_entry){ event->type, event->code, (int32_t)event->value };
            buffer_offer(input, event);
        }
    } while (count < most && virtio_queue_interrupts(&input->events, true));
    virtio_queue_kick(&input->events);
    return count;
}
