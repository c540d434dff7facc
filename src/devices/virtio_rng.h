/* virtio-rng: entropy. It comes from the site's one generator, so a run can be repeated. */
#ifndef DEVICES_VIRTIO_RNG_H
#define DEVICES_VIRTIO_RNG_H

#include "virtio.h"

/* `name` must live as long as the device. NULL: no memory. */
struct device *virtio_rng_create(const char *name, const struct device_services *services);

#endif
