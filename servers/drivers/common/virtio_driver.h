/* Virtio, the driver's side: initialisation and split virtqueues of the specification, for drivers that are
 * actors. Addresses that the device gets are our own; all memory given to it must be locked.
 *
 *     virtio_begin(&driver, &registers, VIRTIO_TYPE_BLOCK, features)
 *     virtio_queue_open(&driver, &queue, 0, memory)        for each queue
 *     virtio_ready(&driver)
 *     virtio_queue_add(&queue, buffers, count, token); virtio_queue_kick(&queue)
 *     while ((token = virtio_queue_take(&queue, &length)) != NULL) ...
 *
 * Registers are reached by two functions, so that the same code drives a device in a test on the host. Not
 * thread safe.
 */
#ifndef DRIVERS_VIRTIO_DRIVER_H
#define DRIVERS_VIRTIO_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/virtio.h"

#define VIRTIO_DRIVER_QUEUE_SIZE    64      /* entries of most queues, or fewer if the device has fewer; */
#define VIRTIO_DRIVER_QUEUE_MEMORY  4096u   /* bytes, page aligned, for one such */
#define VIRTIO_DRIVER_QUEUE_SIZE_LARGE   256
#define VIRTIO_DRIVER_QUEUE_MEMORY_LARGE 8192u

struct driver_registers {
    void *cookie;
    uint64_t (*read)(void *cookie, uint32_t offset);
    void (*write)(void *cookie, uint32_t offset, uint64_t value);
    void (*pause)(void *cookie);            /* wait a little: the device finishes something */
};

struct virtio_driver {
    const struct driver_registers *registers;
    uint64_t features;                      /* agreed upon */
};

struct virtio_queue {
    struct virtio_driver *driver;
    unsigned number, size;
    struct virtq_descriptor *descriptors;
    uint8_t *available, *used;
    uint16_t available_next;                /* our place in the available ring */
    uint16_t used_next;                     /* our place in the used ring */
    uint16_t kicked;                        /* available_next when we rang last */
    uint16_t first_free, free_count;        /* free descriptors are chained by `next` */
    void *token[VIRTIO_DRIVER_QUEUE_SIZE_LARGE];
};

struct virtio_buffer {
    void *memory;
    uint32_t length;
    bool device_writes;
};

/* Reset the device and agree upon features: VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX, and those of `wanted`
 * that the device has. False: no such device, or it does not come to rest. */
bool virtio_begin(struct virtio_driver *driver, const struct driver_registers *registers,
                  uint32_t type, uint64_t wanted);
/* Reset it, and wait until it is at rest: from then on nothing of ours is changed, and what has come before can still be taken. False: it does not. */
bool virtio_end(struct virtio_driver *driver);
bool virtio_has_feature(const struct virtio_driver *driver, uint64_t feature);
/* `memory` is page aligned, VIRTIO_DRIVER_QUEUE_MEMORY bytes, locked. False: no such queue. */
bool virtio_queue_open(struct virtio_driver *driver, struct virtio_queue *queue, unsigned number,
                       void *memory);
/* The same with VIRTIO_DRIVER_QUEUE_MEMORY_LARGE bytes and up to VIRTIO_DRIVER_QUEUE_SIZE_LARGE entries. */
bool virtio_queue_open_large(struct virtio_driver *driver, struct virtio_queue *queue, unsigned number,
                             void *memory);
/* False: the device does not like what was set up. */
bool virtio_ready(struct virtio_driver *driver);
/* The device stopped, and wants to be set up anew. */
bool virtio_needs_reset(struct virtio_driver *driver);

uint32_t virtio_read_config(struct virtio_driver *driver, uint32_t offset);
/* What the interrupt was for (VIRTIO_INTERRUPT_*); it is acknowledged. */
uint32_t virtio_acknowledge(struct virtio_driver *driver);

/* Make a request available; readable buffers first. `token` is not NULL. False: the queue is full. */
bool virtio_queue_add(struct virtio_queue *queue, const struct virtio_buffer *buffers,
                      unsigned count, void *token);
/* Ring the doorbell, unless the device does not want it. */
void virtio_queue_kick(struct virtio_queue *queue);
/* The token of a finished request, and how many bytes the device wrote. NULL: none. */
void *virtio_queue_take(struct virtio_queue *queue, uint32_t *ret_length);
/* Be interrupted at the next finished request, or not until asked again. True: there is one already. */
bool virtio_queue_interrupts(struct virtio_queue *queue, bool on);

#endif
