/* Disk images: see disk_image.h.
 *
 * The sector map of a snapshot only ever gains bits, and a bit is set after its sector is in the layer
 * (release; readers acquire), so threads need no lock: a reader that does not see a bit yet reads what
 * was there before, as if it had come first.
 */
#include "disk_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/falloc.h>
#include <linux/fs.h>

struct disk_image {
    int file;
    int direct;                 /* the same file, to be read past the host's cache; -1: not */
    bool direct_refused;        /* the host opened it so, but does not read */
    bool written;               /* since the last flush: what is read directly would have to be written first. Only a hint: the host sees to it */
    int layer;                  /* what is written to a snapshot; else -1 */
    uint64_t *in_layer;         /* one bit for each sector of a snapshot */
    uint64_t size;
    enum disk_image_mode mode;
    bool nowait_read, nowait_write;     /* the host can say -EAGAIN; learnt by trying */
};

uint64_t disk_image_size(const struct disk_image *image)
{
    return image->size;
}

bool disk_image_read_only(const struct disk_image *image)
{
    return image->mode == DISK_IMAGE_READ_ONLY;
}

/* ---- opening ---- */

static bool lock(int file, bool exclusive)
{
    struct flock whole = { .l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };

    /* A host file system without locks cannot protect us; that is no reason to refuse. */
    return fcntl(file, F_OFD_SETLK, &whole) == 0 || errno == ENOLCK || errno == EINVAL
        || errno == EOPNOTSUPP;
}

static int layer_open(uint64_t size)
{
    const char *folder = getenv("TMPDIR");
    int layer = open(folder != NULL && *folder != '\0' ? folder : "/var/tmp",
                     O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);

    if (layer < 0)
        layer = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    if (layer < 0)
        layer = memfd_create("chorus-snapshot", MFD_CLOEXEC);
    if (layer >= 0 && ftruncate(layer, (off_t)size) < 0) {
        int error = errno;
        close(layer);
        errno = error;
        return -1;
    }
    return layer;
}

/* The map is reserved and not filled, so a big disk costs only what is written to it. */
static size_t map_bytes(uint64_t size)
{
    return (size / DISK_SECTOR + 63) / 64 * sizeof(uint64_t);
}

static bool snapshot_open(struct disk_image *image)
{
    image->layer = layer_open(image->size);
    if (image->layer < 0)
        return false;
    image->in_layer = mmap(NULL, map_bytes(image->size), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (image->in_layer == MAP_FAILED)
        image->in_layer = NULL;
    return image->in_layer != NULL;
}

static const char *size_find(struct disk_image *image)
{
    struct stat about;
    uint64_t size;

    if (fstat(image->file, &about) < 0)
        return strerror(errno);
    if (S_ISREG(about.st_mode))
        size = (uint64_t)about.st_size;
    else if (!S_ISBLK(about.st_mode))
        return "it is neither a file nor a block device";
    else if (ioctl(image->file, BLKGETSIZE64, &size) < 0)
        return strerror(errno);
    image->size = size / DISK_SECTOR * DISK_SECTOR;
    return image->size == 0 ? "it is empty" : NULL;
}

/* Who is alone with an image has a cache of it inside, and can do without the host's. Others may want to find there what one of them has read. */
static int direct_open(const struct disk_image *image, const char *path)
{
    struct stat about, direct_about;
    int direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (direct >= 0 && fstat(image->file, &about) == 0 && fstat(direct, &direct_about) == 0
        && about.st_dev == direct_about.st_dev && about.st_ino == direct_about.st_ino)
        return direct;
    if (direct >= 0)
        close(direct);          /* another file has that name by now */
    return -1;
}

static const char *image_open(struct disk_image *image, const char *path)
{
    bool writable = image->mode == DISK_IMAGE_WRITABLE;

    image->file = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (image->file < 0)
        return strerror(errno);
    const char *wrong = size_find(image);
    if (wrong != NULL)
        return wrong;
    if (!lock(image->file, writable))
        return writable ? "it is in use already, by this or another site"
                        : "another site is writing to it";
    if (image->mode == DISK_IMAGE_SNAPSHOT && !snapshot_open(image))
        return strerror(errno);
    if (writable)
        image->direct = direct_open(image, path);
    return NULL;
}

struct disk_image *disk_image_open(const char *path, enum disk_image_mode mode, char *reason,
                                   unsigned reason_size)
{
    struct disk_image *image = calloc(1, sizeof *image);
    const char *wrong = "no memory";

    if (image != NULL) {
        *image = (struct disk_image){ .file = -1, .layer = -1, .direct = -1, .mode = mode,
                                      .nowait_read = true, .nowait_write = true };
        wrong = image_open(image, path);
    }
    if (wrong == NULL)
        return image;
    snprintf(reason, reason_size, "cannot use the disk image %s: %s", path, wrong);
    disk_image_close(image);
    return NULL;
}

void disk_image_close(struct disk_image *image)
{
    if (image == NULL)
        return;
    if (image->in_layer != NULL)
        munmap(image->in_layer, map_bytes(image->size));
    if (image->layer >= 0)
        close(image->layer);
    if (image->direct >= 0)
        close(image->direct);
    if (image->file >= 0)
        close(image->file);
    free(image);
}

/* ---- the map of a snapshot ---- */

static bool sector_in_layer(const struct disk_image *image, uint64_t sector)
{
    uint64_t word = __atomic_load_n(&image->in_layer[sector / 64], __ATOMIC_ACQUIRE);

    return word >> (sector % 64) & 1;
}

static void layer_has(struct disk_image *image, uint64_t offset, uint64_t length)
{
    uint64_t sector = offset / DISK_SECTOR, end = (offset + length) / DISK_SECTOR;

    while (sector < end) {
        unsigned first = sector % 64;
        uint64_t count = end - sector < 64 - first ? end - sector : 64 - first;
        uint64_t bits = (count == 64 ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1) << first;
        __atomic_fetch_or(&image->in_layer[sector / 64], bits, __ATOMIC_RELEASE);
        sector += count;
    }
}

/* Where the newest contents at `offset` are, and how far (at most `length`) the same holds. */
static int newest(const struct disk_image *image, uint64_t offset, uint64_t length,
                  uint64_t *ret_length)
{
    uint64_t sector = offset / DISK_SECTOR, end = (offset + length) / DISK_SECTOR;

    *ret_length = length;
    if (image->in_layer == NULL)
        return image->file;
    bool layer = sector_in_layer(image, sector);
    while (++sector < end && sector_in_layer(image, sector) == layer)
        ;
    *ret_length = sector * DISK_SECTOR - offset;
    return layer ? image->layer : image->file;
}

/* ---- transfers ---- */

static uint64_t total_of(const struct iovec *pieces, unsigned count)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < count; i++)
        total += pieces[i].iov_len;
    return total;
}

/* The first `length` bytes of the pieces; returns how many pieces hold them. */
static unsigned shorten(struct iovec *to, const struct iovec *pieces, unsigned count,
                        uint64_t length)
{
    unsigned used = 0;

    for (; used < count && length > 0; used++) {
        to[used] = pieces[used];
        if (to[used].iov_len > length)
            to[used].iov_len = length;
        length -= to[used].iov_len;
    }
    return used;
}

static bool not_supported(int error)
{
    return error == EOPNOTSUPP || error == EINVAL || error == ENOSYS;
}

/* One preadv2 or pwritev2. The host is asked not to wait as long as it has not said that it
 * does not know how. */
static int64_t transfer(int file, uint64_t offset, const struct iovec *pieces, unsigned count,
                        bool write, bool may_wait, bool *nowait)
{
    int flags = may_wait ? 0 : RWF_NOWAIT;

    if (!may_wait && !__atomic_load_n(nowait, __ATOMIC_RELAXED))
        return -EAGAIN;
    for (;;) {
        ssize_t bytes = write ? pwritev2(file, pieces, (int)count, (off_t)offset, flags)
                              : preadv2(file, pieces, (int)count, (off_t)offset, flags);
        if (bytes >= 0)
            return bytes;
        if (errno == EINTR)
            continue;
        if (may_wait || !not_supported(errno))
            return -errno;
        __atomic_store_n(nowait, false, __ATOMIC_RELAXED);
        return -EAGAIN;
    }
}

/* A transfer may stop within a sector; the caller then does that sector again. Nothing at all, where the
 * file should have contents: it was cut off under us. */
static int64_t whole_sectors(int64_t bytes)
{
    if (bytes < 0)
        return bytes;
    return bytes < DISK_SECTOR ? -EIO : bytes - bytes % DISK_SECTOR;
}

#define PIECES_MAX 192
#define DIRECT_UNIT 4096            /* what the host's disks like */
#define DIRECT_MOST 16384           /* more than that the host reads ahead, and copies meanwhile */

int disk_image_read_part(const struct disk_image *image, uint64_t offset, const struct iovec *pieces, unsigned count,
                         struct iovec *ret_part, unsigned *ret_count)
{
    uint64_t length;
    int file = newest(image, offset, total_of(pieces, count), &length);

    *ret_count = shorten(ret_part, pieces, count, length);
    return file;
}

static bool is_aligned(uint64_t offset, const struct iovec *pieces, unsigned count)
{
    uint64_t all = offset;

    for (unsigned i = 0; i < count; i++)
        all |= (uintptr_t)pieces[i].iov_base | pieces[i].iov_len;
    return all % DIRECT_UNIT == 0;
}

int disk_image_direct(const struct disk_image *image, uint64_t offset, const struct iovec *pieces, unsigned count)
{
    bool is_allowed = image->direct >= 0 && !image->direct_refused && !__atomic_load_n(&image->written, __ATOMIC_RELAXED);

    return is_allowed && total_of(pieces, count) <= DIRECT_MOST && is_aligned(offset, pieces, count) ? image->direct : -1;
}

bool disk_image_direct_failed(struct disk_image *image, int descriptor, int64_t result)
{
    if (result >= 0 || descriptor < 0 || descriptor != image->direct)
        return false;
    image->direct_refused |= result == -EINVAL;
    return true;
}

int64_t disk_image_read_done(int64_t result)
{
    return whole_sectors(result);
}

int64_t disk_image_read(struct disk_image *image, uint64_t offset, const struct iovec *pieces,
                        unsigned count, bool may_wait)
{
    struct iovec part[PIECES_MAX];

    if (count > PIECES_MAX)
        return -EINVAL;
    int file = disk_image_read_part(image, offset, pieces, count, part, &count);
    return whole_sectors(transfer(file, offset, part, count, false, may_wait,
                                  &image->nowait_read));
}

int64_t disk_image_write(struct disk_image *image, uint64_t offset, const struct iovec *pieces,
                         unsigned count, bool may_wait)
{
    if (disk_image_read_only(image))
        return -EROFS;
    int file = image->in_layer != NULL ? image->layer : image->file;
    __atomic_store_n(&image->written, true, __ATOMIC_RELAXED);
    int64_t bytes = whole_sectors(transfer(file, offset, pieces, count, true, may_wait,
                                           &image->nowait_write));
    if (bytes > 0 && image->in_layer != NULL)
        layer_has(image, offset, (uint64_t)bytes);
    return bytes;
}

unsigned disk_image_descriptors(const struct disk_image *image, int descriptors[2])
{
    descriptors[0] = image->file;
    descriptors[1] = image->layer >= 0 ? image->layer : image->direct;
    return descriptors[1] >= 0 ? 2 : 1;
}

int disk_image_flush(struct disk_image *image)
{
    if (image->mode != DISK_IMAGE_WRITABLE)
        return 0;                               /* what will be thrown away need not be kept */
    __atomic_store_n(&image->written, false, __ATOMIC_RELAXED);     /* before: what is written meanwhile is not flushed yet */
    if (fdatasync(image->file) == 0)
        return 0;
    __atomic_store_n(&image->written, true, __ATOMIC_RELAXED);
    return -errno;
}

static int zero_by_writing(struct disk_image *image, uint64_t offset, uint64_t length)
{
    static const char zeros[65536];

    while (length > 0) {
        struct iovec piece = { (void *)zeros, length < sizeof zeros ? length : sizeof zeros };
        int64_t bytes = disk_image_write(image, offset, &piece, 1, true);
        if (bytes < 0)
            return (int)bytes;
        offset += (uint64_t)bytes;
        length -= (uint64_t)bytes;
    }
    return 0;
}

static int punch(int file, uint64_t offset, uint64_t length)
{
    return fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)length) < 0 ? -errno : 0;
}

int disk_image_zero(struct disk_image *image, uint64_t offset, uint64_t length)
{
    if (disk_image_read_only(image))
        return -EROFS;
    int error = punch(image->in_layer != NULL ? image->layer : image->file, offset, length);
    if (not_supported(-error) || error == -ENODEV)
        return zero_by_writing(image, offset, length);
    if (error == 0 && image->in_layer != NULL)
        layer_has(image, offset, length);
    return error;
}

int disk_image_discard(struct disk_image *image, uint64_t offset, uint64_t length)
{
    if (disk_image_read_only(image))
        return -EROFS;
    /* In a snapshot this sets the bits too: the sectors read as zeros, as they may. */
    int error = punch(image->in_layer != NULL ? image->layer : image->file, offset, length);
    if (error == 0 && image->in_layer != NULL)
        layer_has(image, offset, length);
    return not_supported(-error) || error == -ENODEV ? 0 : error;
}
