/* A disk of the site: each request is one ipcCall to the disk driver, or several for a long one.
 *
 * The threads of om call at the same time, so the disk has as many requests as there are threads
 * that wait. When the driver dies its successor gets the same request again; every request of the
 * block protocol may be repeated. A disk whose driver stays away is an I/O error.
 */
#include "disk.h"

#include <chorus.h>
#include <dki/dki.h>
#include <errno.h>
#include <protocol/block.h>
#include <protocol/virtio.h>
#include <server/client.h>
#include <stdlib.h>
#include <string.h>

#define SECOND   1000000000ll
#define PATIENCE (20 * SECOND)      /* for a driver that starts, or starts again */

struct disk {
    struct blockdev device;
    KnIpcDest driver;
    uint32_t transfer_max;
    bool     zeroes;                /* BLOCK_WRITE_ZEROES works */
};

static struct disk *disk_of(struct blockdev *device)
{
    return (struct disk *)device;
}

static int disk_request(const struct disk *disk, const struct block_request *request, const struct client_data *data)
{
    struct block_reply reply = { .status = -EIO };
    int size = client_call_patiently(&disk->driver, request, sizeof *request, &reply, sizeof reply,
                                     data, PATIENCE);

    if (size < 0)
        return -EIO;
    if (reply.status == 0 && request->operation == BLOCK_READ && request->flags == 0 && (uint64_t)size != request->length)
        return -EIO;
    return reply.status;
}

static int disk_ask(const struct disk *disk, uint32_t operation, uint64_t offset, uint64_t length,
                    const struct client_data *data)
{
    return disk_request(disk, &(struct block_request){ .operation = operation, .offset = offset, .length = length }, data);
}

static int disk_move_pages(struct blockdev *device, uint32_t operation, uint64_t offset, uint64_t pages, size_t length)
{
    int error = 0;

    for (size_t done = 0, step; done < length && error == 0; done += step) {
        step = length - done < BLOCK_PAGES_MAX ? length - done : BLOCK_PAGES_MAX;
        error = disk_request(disk_of(device), &(struct block_request){ .operation = operation, .flags = BLOCK_DATA_IN_PAGES,
                                                                       .offset = offset + done, .length = step, .pages = pages + done }, NULL);
    }
    return error;
}

static int disk_read_pages(struct blockdev *device, uint64_t offset, uint64_t pages, size_t length)
{
    return disk_move_pages(device, BLOCK_READ, offset, pages, length);
}

static int disk_write_pages(struct blockdev *device, uint64_t offset, uint64_t pages, size_t length)
{
    return disk_move_pages(device, BLOCK_WRITE, offset, pages, length);
}

static int disk_read(struct blockdev *device, uint64_t offset, void *to, size_t length)
{
    struct disk *disk = disk_of(device);
    int error = 0;

    for (size_t done = 0, step; done < length && error == 0; done += step) {
        struct client_data data = { .in = (uint8_t *)to + done };

        step = length - done < disk->transfer_max ? length - done : disk->transfer_max;
        data.in_size = step;
        error = disk_ask(disk, BLOCK_READ, offset + done, step, &data);
    }
    return error;
}

static int disk_write(struct blockdev *device, uint64_t offset, const void *from, size_t length)
{
    struct disk *disk = disk_of(device);
    int error = 0;

    for (size_t done = 0, step; done < length && error == 0; done += step) {
        struct client_data data = { .out = (const uint8_t *)from + done };

        step = length - done < disk->transfer_max ? length - done : disk->transfer_max;
        data.out_size = step;
        error = disk_ask(disk, BLOCK_WRITE, offset + done, step, &data);
    }
    return error;
}

static int disk_flush(struct blockdev *device)
{
    return disk_ask(disk_of(device), BLOCK_FLUSH, 0, 0, NULL);
}

/* As much as one request may. */
static int disk_ranges(struct blockdev *device, uint32_t operation, uint64_t offset, uint64_t length)
{
    int error = 0;

    for (uint64_t done = 0, step; done < length && error == 0; done += step) {
        step = length - done < BLOCK_RANGE_MAX ? length - done : BLOCK_RANGE_MAX;
        error = disk_ask(disk_of(device), operation, offset + done, step, NULL);
    }
    return error;
}

static int disk_zero(struct blockdev *device, uint64_t offset, uint64_t length)
{
    return disk_ranges(device, BLOCK_WRITE_ZEROES, offset, length);
}

static int disk_discard(struct blockdev *device, uint64_t offset, uint64_t length)
{
    return disk_ranges(device, BLOCK_DISCARD, offset, length);
}

static void disk_close(struct blockdev *device)
{
    free(disk_of(device));
}

static int geometry_ask(const struct disk *disk, struct block_geometry *ret)
{
    struct client_data data = { .in = ret, .in_size = sizeof *ret };
    int error = disk_ask(disk, BLOCK_GEOMETRY, 0, 0, &data);

    if (error == 0 && (ret->transfer_max < BLOCK_UNIT || ret->transfer_max % BLOCK_UNIT != 0))
        error = -EIO;
    return error;
}

int disk_open(unsigned number, struct blockdev **ret)
{
    struct block_geometry geometry = { 0 };
    struct disk *disk = calloc(1, sizeof *disk);
    int error = disk == NULL ? -ENOMEM : 0;

    if (error == 0) {
        disk->driver = client_group(BLOCK_GROUP_STAMP + 16 * number);
        error = geometry_ask(disk, &geometry);
    }
    if (error != 0) {
        free(disk);
        return error;
    }
    disk->transfer_max = geometry.transfer_max;
    disk->device = (struct blockdev){
        .size = geometry.size, .read_only = (geometry.flags & BLOCK_READ_ONLY) != 0,
        .read = disk_read, .write = disk_write, .read_pages = disk_read_pages, .write_pages = disk_write_pages, .flush = disk_flush,
        .zero = (geometry.flags & BLOCK_CAN_WRITE_ZEROES) != 0 ? disk_zero : NULL,
        .discard = (geometry.flags & BLOCK_CAN_DISCARD) != 0 ? disk_discard : NULL,
        .close = disk_close,
    };
    *ret = &disk->device;
    return 0;
}

int disk_number(const char *name)
{
    char *end = "?";
    unsigned long number = BLOCK_DISKS_MAX;

    if (strncmp(name, "disk", 4) == 0)
        number = strtoul(name + 4, &end, 10);
    return *end == '\0' && number < BLOCK_DISKS_MAX ? (int)number : -ENODEV;
}

unsigned disks_there(void)
{
    KnDevice device;
    unsigned count = 0;

    for (unsigned i = 0; deviceStat(i, &device) == K_OK; i++)
        count += device.bus == K_DEVICE_VIRTIO && device.type == VIRTIO_TYPE_BLOCK;
    return count;
}
