/* A block device, as om sees one: numbered bytes that can be read, written and made durable.
 *
 * The real one speaks the block protocol with a disk driver (disk.c); tests use a host file that
 * can lose power at a chosen write (tests/servers/om/fake_disk.c). All functions may block the
 * calling thread and may be called by several threads at once. Offsets and lengths are bytes,
 * multiples of BLOCKDEV_UNIT. Writes that were answered may still be lost or reordered by a loss
 * of power until flush has returned 0.
 */
#ifndef OM_BLOCKDEV_H
#define OM_BLOCKDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCKDEV_UNIT 512

struct blockdev {
    uint64_t size;              /* bytes */
    bool     read_only;
    int (*read)(struct blockdev *device, uint64_t offset, void *data, size_t length);
    int (*write)(struct blockdev *device, uint64_t offset, const void *data, size_t length);
    /* The same with the data in pages of a mapper's request (KnMpRequest's, with an offset). NULL: it cannot. */
    int (*read_pages)(struct blockdev *device, uint64_t offset, uint64_t pages, size_t length);
    int (*write_pages)(struct blockdev *device, uint64_t offset, uint64_t pages, size_t length);
    int (*flush)(struct blockdev *device);
    /* The bytes read as zero from now on. NULL: write zeros instead (blockdev_zero does). */
    int (*zero)(struct blockdev *device, uint64_t offset, uint64_t length);
    /* Nobody needs the bytes any more: they read as zero, or as before. NULL: nothing is done. */
    int (*discard)(struct blockdev *device, uint64_t offset, uint64_t length);
    /* Nobody uses it any more; frees it. NULL: it is its maker's. */
    void (*close)(struct blockdev *device);
};

/* Each returns 0 or an error of Linux made negative. A range outside of the device is -EIO. */
int blockdev_read(struct blockdev *device, uint64_t offset, void *data, size_t length);
int blockdev_write(struct blockdev *device, uint64_t offset, const void *data, size_t length);
int blockdev_read_pages(struct blockdev *device, uint64_t offset, uint64_t pages, size_t length);
int blockdev_write_pages(struct blockdev *device, uint64_t offset, uint64_t pages, size_t length);
int blockdev_zero(struct blockdev *device, uint64_t offset, uint64_t length);
int blockdev_discard(struct blockdev *device, uint64_t offset, uint64_t length);
int blockdev_flush(struct blockdev *device);
void blockdev_close(struct blockdev *device);       /* NULL does nothing */

/* A part of another device, which it takes over and closes with itself; on failure (NULL: no memory) that one is closed. */
struct blockdev *blockdev_part(struct blockdev *whole, uint64_t start, uint64_t size);

#endif
