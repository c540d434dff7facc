/* Disk images: a file of the host that is a disk, perhaps with a layer that is thrown away.
 *
 * Opened for writing, an image is locked against everybody else; opened read-only or as a snapshot
 * it is locked against writers. The lock goes with the process, whatever becomes of it.
 *
 * A snapshot never writes to the file. What is written goes to a nameless sparse file in the
 * folder for temporary files, and one bit for each sector says where its newest contents are.
 *
 * Transfers may be made in several threads at once; overlapping ones then happen in any order.
 */
#ifndef DEVICES_DISK_IMAGE_H
#define DEVICES_DISK_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define DISK_SECTOR 512

enum disk_image_mode { DISK_IMAGE_WRITABLE, DISK_IMAGE_READ_ONLY, DISK_IMAGE_SNAPSHOT };

struct disk_image;

/* NULL, and a sentence for people in `reason` (of `reason_size` bytes): no such file, not allowed,
 * in use by another site, neither file nor block device, smaller than a sector, no room. */
struct disk_image *disk_image_open(const char *path, enum disk_image_mode mode, char *reason,
                                   unsigned reason_size);
void disk_image_close(struct disk_image *image);        /* NULL does nothing */

uint64_t disk_image_size(const struct disk_image *image);   /* bytes, whole sectors */
bool disk_image_read_only(const struct disk_image *image);

/* Transfer up to all of the pieces at `offset`; offset and total are whole sectors within the image.
 * Returns bytes (a part perhaps; whole sectors), or an error made negative. -EAGAIN: not without
 * waiting (only when not `may_wait`). -EIO also when the file has become shorter. */
int64_t disk_image_read(struct disk_image *image, uint64_t offset, const struct iovec *pieces,
                        unsigned count, bool may_wait);
int64_t disk_image_write(struct disk_image *image, uint64_t offset, const struct iovec *pieces,
                         unsigned count, bool may_wait);

/* For who reads by other means (the I/O ring): where the first part of such a read comes from. `pieces` are shortened to that
 * part in `ret_part` (room for `count`). Returns the descriptor. */
int disk_image_read_part(const struct disk_image *image, uint64_t offset, const struct iovec *pieces, unsigned count,
                         struct iovec *ret_part, unsigned *ret_count);
/* The descriptor for a read past the host's cache, which spares the host its pages and a copy; -1: such a read is not for it. Only images that are open for writing, and so for us alone,
 * have one. It reads what was written, whoever did. */
int disk_image_direct(const struct disk_image *image, uint64_t offset, const struct iovec *pieces, unsigned count);
/* A read of `descriptor` ended with that result: was it such a one, and failed? Then it is to be read as others are. */
bool disk_image_direct_failed(struct disk_image *image, int descriptor, int64_t result);
/* It was done, with that result of the host: what disk_image_read would have returned. */
int64_t disk_image_read_done(int64_t result);
/* The descriptors of the image, at most two; returns how many. */
unsigned disk_image_descriptors(const struct disk_image *image, int descriptors[2]);

/* These wait. 0 or an error made negative. */
int disk_image_flush(struct disk_image *image);
int disk_image_zero(struct disk_image *image, uint64_t offset, uint64_t length);
/* The contents are no longer needed. Never fails for want of support: then it does nothing. */
int disk_image_discard(struct disk_image *image, uint64_t offset, uint64_t length);

#endif
