/* virtio-blk: a disk whose contents are a disk image (disk_image.h).
 *
 * What the host has in its cache is transferred at once, in the Nucleus thread; all else by the I/O
 * ring, or without one by the I/O pool. One doorbell does at most a bounded amount of work; the rest follows by the bus.
 */
#ifndef DEVICES_VIRTIO_BLK_H
#define DEVICES_VIRTIO_BLK_H

#include "bus.h"
#include "disk_image.h"
#include "io_pool.h"
#include "io_ring.h"
#include "virtio.h"

/* The device takes the image over, and closes it when it is destroyed. `name` (its first 20 bytes are
 * the disk's ID) must live as long. `ring`: of the image's descriptors; NULL: none. NULL: no memory. */
struct device *virtio_blk_create(const char *name, const struct device_services *services,
                                 struct bus *bus, struct io_pool *pool, struct io_ring *ring,
                                 struct disk_image *image);

#endif
