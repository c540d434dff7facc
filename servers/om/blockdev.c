/* Block devices: the checks that every request passes. */
#include "blockdev.h"

#include <errno.h>
#include <stdlib.h>

static int range_check(const struct blockdev *device, uint64_t offset, uint64_t length)
{
    if (offset % BLOCKDEV_UNIT != 0 || length % BLOCKDEV_UNIT != 0)
        return -EIO;
    if (offset > device->size || length > device->size - offset)
        return -EIO;
    return 0;
}

int blockdev_read(struct blockdev *device, uint64_t offset, void *data, size_t length)
{
    int error = range_check(device, offset, length);

    return error != 0 ? error : device->read(device, offset, data, length);
}

int blockdev_write(struct blockdev *device, uint64_t offset, const void *data, size_t length)
{
    int error = range_check(device, offset, length);

    if (error == 0 && device->read_only)
        error = -EROFS;
    return error != 0 ? error : device->write(device, offset, data, length);
}

int blockdev_read_pages(struct blockdev *device, uint64_t offset, uint64_t pages, size_t length)
{
    int error = range_check(device, offset, length);

    return error != 0 ? error : device->read_pages(device, offset, pages, length);
}

int blockdev_write_pages(struct blockdev *device, uint64_t offset, uint64_t pages, size_t length)
{
    int error = range_check(device, offset, length);

    if (error == 0 && device->read_only)
        error = -EROFS;
    return error != 0 ? error : device->write_pages(device, offset, pages, length);
}

int blockdev_zero(struct blockdev *device, uint64_t offset, uint64_t length)
{
    static const uint8_t zeros[65536];
    int error = range_check(device, offset, length);

    if (error == 0 && device->read_only)
        error = -EROFS;
    if (error != 0)
        return error;
    if (device->zero != NULL)
        return device->zero(device, offset, length);
    while (length != 0 && error == 0) {
        size_t step = length < sizeof zeros ? (size_t)length : sizeof zeros;

        error = device->write(device, offset, zeros, step);
        offset += step;
        length -= step;
    }
    return error;
}

int blockdev_discard(struct blockdev *device, uint64_t offset, uint64_t length)
{
    int error = range_check(device, offset, length);

    if (error == 0 && device->read_only)
        error = -EROFS;
    return error != 0 || device->discard == NULL ? error : device->discard(device, offset, length);
}

int blockdev_flush(struct blockdev *device)
{
    return device->read_only ? 0 : device->flush(device);
}

void blockdev_close(struct blockdev *device)
{
    if (device != NULL && device->close != NULL)
        device->close(device);
}

/* Parts ------------------------------------------------------------------------------- */

struct part {
    struct blockdev device;
    struct blockdev *whole;
    uint64_t start;
};

static struct part *part_of(struct blockdev *device)
{
    return (struct part *)device;
}

static int part_read(struct blockdev *device, uint64_t offset, void *data, size_t length)
{
    return blockdev_read(part_of(device)->whole, part_of(device)->start + offset, data, length);
}

static int part_write(struct blockdev *device, uint64_t offset, const void *data, size_t length)
{
    return blockdev_write(part_of(device)->whole, part_of(device)->start + offset, data, length);
}

static int part_read_pages(struct blockdev *device, uint64_t offset, uint64_t pages, size_t length)
{
    return blockdev_read_pages(part_of(device)->whole, part_of(device)->start + offset, pages, length);
}

static int part_write_pages(struct blockdev *device, uint64_t offset, uint64_t pages, size_t length)
{
    return blockdev_write_pages(part_of(device)->whole, part_of(device)->start + offset, pages, length);
}

static int part_flush(struct blockdev *device)
{
    return blockdev_flush(part_of(device)->whole);
}

static int part_zero(struct blockdev *device, uint64_t offset, uint64_t length)
{
    return blockdev_zero(part_of(device)->whole, part_of(device)->start + offset, length);
}

static int part_discard(struct blockdev *device, uint64_t offset, uint64_t length)
{
    return blockdev_discard(part_of(device)->whole, part_of(device)->start + offset, length);
}

static void part_close(struct blockdev *device)
{
    blockdev_close(part_of(device)->whole);
    free(device);
}

struct blockdev *blockdev_part(struct blockdev *whole, uint64_t start, uint64_t size)
{
    struct part *part = start > whole->size || size > whole->size - start ? NULL : malloc(sizeof *part);

    if (part == NULL) {
        blockdev_close(whole);
        return NULL;
    }
    *part = (struct part){ .whole = whole, .start = start, .device = {
        .size = size, .read_only = whole->read_only, .read = part_read, .write = part_write,
        .read_pages = whole->read_pages != NULL ? part_read_pages : NULL, .write_pages = whole->write_pages != NULL ? part_write_pages : NULL, .flush = part_flush,
        .zero = part_zero, .discard = part_discard, .close = part_close } };
    return &part->device;
}
