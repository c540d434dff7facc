/* virtio-blk: a disk whose contents are a disk image (disk_image.h).
 *
 * What the host has in its cache is transferred at once, in the Nucleus thread; all else by the I/O
 * pool. One doorbell does at most a bounded amount of work; the rest follows by the bus.
 */
#ifndef DEVICES_VIRTIO_BLK_H
#define DEVICES_VIRTIO_BLK_H

#include "bus.h"
#include "disk_image.h"
#include "io_pool.h"
#include "virtio.h"

#define VIRTIO_BLK_ID_LENGTH 20

/* The protocol between driver and device, section 5.2 of the specification. */
enum { VIRTIO_BLK_IN = 0, VIRTIO_BLK_OUT = 1, VIRTIO_BLK_FLUSH = 4, VIRTIO_BLK_GET_ID = 8,
       VIRTIO_BLK_DISCARD = 11, VIRTIO_BLK_WRITE_ZEROES = 13 };
enum { VIRTIO_BLK_OK = 0, VIRTIO_BLK_IOERR = 1, VIRTIO_BLK_UNSUPPORTED = 2 };

#define VIRTIO_BLK_F_SEG_MAX        (UINT64_C(1) << 2)
#define VIRTIO_BLK_F_RO             (UINT64_C(1) << 5)
#define VIRTIO_BLK_F_BLK_SIZE       (UINT64_C(1) << 6)
#define VIRTIO_BLK_F_FLUSH          (UINT64_C(1) << 9)
#define VIRTIO_BLK_F_DISCARD        (UINT64_C(1) << 13)
#define VIRTIO_BLK_F_WRITE_ZEROES   (UINT64_C(1) << 14)

struct virtio_blk_header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};

struct virtio_blk_range {       /* of VIRTIO_BLK_DISCARD and VIRTIO_BLK_WRITE_ZEROES */
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
};

struct virtio_blk_config {
    uint64_t capacity;          /* sectors */
    uint32_t size_max, seg_max;
    uint32_t geometry;
    uint32_t blk_size;
    uint8_t  topology[8];
    uint8_t  writeback, unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t  write_zeroes_may_unmap, unused1[3];
};

/* The device takes the image over, and closes it when it is destroyed. `name` (its first 20 bytes are
 * the disk's ID) must live as long. NULL: no memory. */
struct device *virtio_blk_create(const char *name, const struct device_services *services,
                                 struct bus *bus, struct io_pool *pool, struct disk_image *image);

#endif
