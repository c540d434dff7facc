/* virtio-rng: see virtio_rng.h. One queue; every buffer is filled, up to a bound that keeps one
 * doorbell short. */
#include "virtio_rng.h"

#include <stdlib.h>

#define QUEUE_SIZE 8
#define BYTES_MAX  4096u        /* in one buffer; the driver learns how many it got */

static void rng_fill(struct virtio_device *device, struct virtio_chain *chain)
{
    const struct device_services *services = device->device.services;
    uint32_t length = chain->writable_bytes < BYTES_MAX ? chain->writable_bytes : BYTES_MAX;
    uint8_t bytes[BYTES_MAX];

    services->random(services->cookie, bytes, length);
    chain_write(chain, 0, bytes, length);
    virtqueue_put(device, 0, chain, length);
}

static void rng_notify(struct virtio_device *device, unsigned queue)
{
    struct virtio_chain chain;

    for (int i = 0; i < QUEUE_SIZE && virtqueue_take(device, queue, &chain); i++)
        rng_fill(device, &chain);
    virtqueue_signal(device, queue);
}

static void rng_destroy(struct virtio_device *device)
{
    free(device);
}

static const struct virtio_model rng_model = {
    .queues = 1,
    .notify = rng_notify,
    .destroy = rng_destroy,
};

struct device *virtio_rng_create(const char *name, const struct device_services *services)
{
    struct virtio_device *device = calloc(1, sizeof *device);

    if (device == NULL)
        return NULL;
    virtio_init(device, name, VIRTIO_TYPE_ENTROPY, &rng_model, services, 0, QUEUE_SIZE);
    return &device->device;
}
