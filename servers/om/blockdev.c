/* Block devices: the checks that every request passes. */
#include "blockdev.h"

#include <errno.h>

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

int blockdev_flush(struct blockdev *device)
{
    return device->read_only ? 0 : device->flush(device);
}
