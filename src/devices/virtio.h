/* Virtio, the device's side: registers, initialisation, and split virtqueues, as in the OASIS
 * specification "Virtual I/O Device (VIRTIO) Version 1.2". Register offsets and the steps of
 * initialisation are those of its MMIO transport, version 2.
 *
 * The driver is not trusted. Every value in its memory is read once, into our own, and checked.
 * Whatever breaks the rules of a queue breaks the device: it says so, sets DEVICE_NEEDS_RESET and
 * touches none of its queues any more, until the driver resets it.
 *
 * A model (virtio_blk.c, ...) embeds struct virtio_device, gives a table of what is special to it,
 * and moves chains of buffers:
 *     while (virtqueue_take(device, QUEUE, chain)) {
 *         ... chain_read / chain_write, or the spans directly ...
 *         virtqueue_put(device, QUEUE, chain, bytes_written);
 *     }
 *     virtqueue_signal(device, QUEUE);
 * Between take and put the chain's memory is pinned and may be given to the host.
 */
#ifndef DEVICES_VIRTIO_H
#define DEVICES_VIRTIO_H

#include "device.h"
#include "protocol/virtio.h"

#define VIRTIO_QUEUES_MAX        16
#define VIRTIO_QUEUE_SIZE_MAX    256        /* entries of the largest queue that a driver may set up */
#define VIRTIO_SPANS_MAX         160        /* pieces of memory in one chain, after translation */
#define VIRTIO_CHAIN_BYTES_MAX   (4u << 20) /* more in one chain breaks the device */

/* A part of a queue in the driver's memory: pinned page by page for as long as the queue is ready. */
#define VIRTIO_WINDOW_PAGES 2               /* the longest part, 256 descriptors, fills a page */
struct virtio_window {
    uint64_t address;
    size_t length;
    unsigned pages;
    struct device_span page[VIRTIO_WINDOW_PAGES];
};

struct virtqueue {
    uint16_t size_limit;                    /* 0: the device has no such queue */
    /* As the driver wrote them; fixed while `ready`. */
    uint32_t size;
    uint64_t descriptors_address, driver_address, device_address;
    bool ready;
    struct virtio_window descriptors, available, used;
    uint16_t next;                          /* our place in the available ring */
    uint16_t used_index;                    /* our place in the used ring */
    uint16_t signalled;                     /* used_index when we interrupted last (event index) */
    uint16_t outstanding;                   /* chains taken and not yet put */
    bool taken[VIRTIO_QUEUE_SIZE_MAX];      /* by head */
};

/* A request: memory that the device reads, then memory that it writes. */
struct virtio_chain {
    uint16_t head;
    unsigned readable, writable;            /* spans: first all readable ones, then the writable */
    uint32_t readable_bytes, writable_bytes;    /* of the spans */
    bool lost;                              /* there was more, in pages that are gone: see DEVICE_PAGES. To be answered with an error */
    struct device_span span[VIRTIO_SPANS_MAX];
};

struct virtio_device;

/* What is special to a model. */
struct virtio_model {
    uint64_t features;                      /* beyond those of every device */
    bool takes_pages;                       /* buffers may be DEVICE_PAGES: look at the chain's `lost` */
    unsigned queues;
    void (*start)(struct virtio_device *device);            /* the driver said DRIVER_OK; or NULL */
    void (*notify)(struct virtio_device *device, unsigned queue);   /* only when all is well */
    /* Let go of every chain: put it, or arrange that it is put soon. Queues do not work any more. */
    void (*stop)(struct virtio_device *device);             /* or NULL */
    uint32_t (*read_config)(struct virtio_device *device, uint32_t offset);     /* or NULL */
    void (*write_config)(struct virtio_device *device, uint32_t offset, uint32_t value); /* or NULL */
    void (*destroy)(struct virtio_device *device);
};

struct virtio_device {
    struct device device;                   /* first: a struct device is a struct virtio_device */
    const struct virtio_model *model;
    uint64_t offered, accepted;             /* features */
    uint32_t status;
    uint32_t interrupts;                    /* raised, not acknowledged */
    uint32_t config_generation;
    uint32_t queue_select, device_features_select, driver_features_select;
    bool resetting;                         /* a reset waits for chains to come back */
    struct virtqueue queue[VIRTIO_QUEUES_MAX];
};

/* Fill in everything but what belongs to the model. `features` are offered beside the common ones;
 * every queue gets the same size limit, a power of two of at most VIRTIO_QUEUE_SIZE_MAX. */
void virtio_init(struct virtio_device *device, const char *name, uint32_t type,
                 const struct virtio_model *model, const struct device_services *services,
                 uint64_t features, uint16_t queue_size);

/* The device works: the driver is ready, nothing is broken, no reset is under way. */
bool virtio_running(const struct virtio_device *device);
bool virtio_has(const struct virtio_device *device, uint64_t feature);

/* Stop until the driver resets the device, and say why. */
void virtio_break(struct virtio_device *device, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The configuration has changed: tell the driver. */
void virtio_config_changed(struct virtio_device *device);

/* The next request of a queue: false when there is none, or the device is (or now got) broken. */
bool virtqueue_take(struct virtio_device *device, unsigned queue, struct virtio_chain *chain);

/* Is there a request? Does not look at it. */
bool virtqueue_waiting(struct virtio_device *device, unsigned queue);

/* Give a chain back, `written` bytes of its writable part filled. Its memory is unpinned. To be
 * called for every chain that was taken, whatever has become of the device. */
void virtqueue_put(struct virtio_device *device, unsigned queue, struct virtio_chain *chain,
                   uint32_t written);

/* Interrupt the driver for what was put, unless it does not want to be. */
void virtqueue_signal(struct virtio_device *device, unsigned queue);

/* Copy from the readable part at `offset`, or to the writable part; returns the bytes that were
 * there, at most `length`. */
size_t chain_read(const struct virtio_chain *chain, size_t offset, void *to, size_t length);
size_t chain_write(struct virtio_chain *chain, size_t offset, const void *from, size_t length);

/* The pieces of `length` bytes at `offset` of one part, as preadv and pwritev want them (a struct
 * device_span has the layout of a struct iovec). At most `most` pieces: returns how many, and
 * through `ret_bytes` how many bytes they hold. */
unsigned chain_spans(const struct virtio_chain *chain, bool writable, size_t offset, size_t length,
                     struct device_span *spans, unsigned most, size_t *ret_bytes);

/* For virtqueue.c and virtio.c between each other. */
bool virtqueue_open(struct virtio_device *device, unsigned queue);      /* false: broken now */
void virtqueue_close(struct virtio_device *device, unsigned queue);
void virtio_interrupt(struct virtio_device *device, uint32_t reason);
void virtio_settle(struct virtio_device *device);   /* finish a reset that nothing holds up any more */

#endif
