/* The disk driver without its actor: see disk.h. */
#include "disk.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define WANTED (VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_RO | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH \
                | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES)

/* ---- beginning ---- */

static uint32_t config(struct disk *disk, size_t offset)
{
    return virtio_read_config(&disk->driver, (uint32_t)offset);
}

static void geometry_read(struct disk *disk)
{
    uint64_t sectors = config(disk, 0) | (uint64_t)config(disk, 4) << 32;
    uint32_t liked = config(disk, offsetof(struct virtio_blk_config, blk_size));

    disk->geometry = (struct block_geometry){
        .size = sectors * BLOCK_UNIT,
        .flags = (virtio_has_feature(&disk->driver, VIRTIO_BLK_F_RO) ? BLOCK_READ_ONLY : 0)
               | (virtio_has_feature(&disk->driver, VIRTIO_BLK_F_DISCARD) ? BLOCK_CAN_DISCARD : 0)
               | (virtio_has_feature(&disk->driver, VIRTIO_BLK_F_WRITE_ZEROES)
                      ? BLOCK_CAN_WRITE_ZEROES : 0),
        .block_size = liked < 4096 ? 4096 : liked,
        .transfer_max = BLOCK_BODY_MAX,
    };
}

bool disk_begin(struct disk *disk, const struct driver_registers *registers,
                void *(*memory)(size_t size))
{
    disk->memory = memory;
    if (disk->queue_memory == NULL)
        disk->queue_memory = memory(VIRTIO_DRIVER_QUEUE_MEMORY);
    for (unsigned i = 0; i < DISK_SLOTS; i++)
        disk->slot[i].busy = false;
    disk->busy = 0;
    if (disk->queue_memory == NULL
        || !virtio_begin(&disk->driver, registers, VIRTIO_TYPE_BLOCK, WANTED)
        || !virtio_queue_open(&disk->driver, &disk->queue, 0, disk->queue_memory)
        || !virtio_ready(&disk->driver))
        return false;
    geometry_read(disk);
    virtio_queue_interrupts(&disk->queue, false);
    return true;
}

/* ---- requests ---- */

/* 0, or why the request is refused. */
static int range_check(const struct disk *disk, const struct block_request *request)
{
    if (request->length == 0 || request->length % BLOCK_UNIT != 0
        || request->offset % BLOCK_UNIT != 0)
        return -EINVAL;
    if (request->offset > disk->geometry.size
        || request->length > disk->geometry.size - request->offset)
        return -ENXIO;
    return 0;
}

static int request_check(const struct disk *disk, const struct block_request *request,
                         size_t body_size)
{
    bool writes = request->operation == BLOCK_WRITE || request->operation == BLOCK_DISCARD
               || request->operation == BLOCK_WRITE_ZEROES;
    bool moves = request->operation == BLOCK_READ || request->operation == BLOCK_WRITE;

    if (request->operation < BLOCK_GEOMETRY || request->operation > BLOCK_WRITE_ZEROES)
        return -ENOSYS;
    bool in_pages = request->flags == BLOCK_DATA_IN_PAGES;
    if ((request->flags != 0 && !(in_pages && moves && request->pages >> 63))
        || body_size != (request->operation == BLOCK_WRITE && !in_pages ? request->length : 0))
        return -EINVAL;
    if (!moves && !writes)
        return 0;
    if (writes && disk->geometry.flags & BLOCK_READ_ONLY)
        return -EROFS;
    if ((request->operation == BLOCK_DISCARD && !(disk->geometry.flags & BLOCK_CAN_DISCARD))
        || (request->operation == BLOCK_WRITE_ZEROES
            && !(disk->geometry.flags & BLOCK_CAN_WRITE_ZEROES)))
        return -EOPNOTSUPP;
    if (moves && request->length > (in_pages ? BLOCK_PAGES_MAX : BLOCK_BODY_MAX))
        return -EINVAL;
    return range_check(disk, request);
}

static struct disk_slot *slot_find(struct disk *disk)
{
    for (unsigned i = 0; i < DISK_SLOTS; i++) {
        struct disk_slot *slot = &disk->slot[i];
        if (slot->busy)
            continue;
        if (slot->data == NULL) {
            slot->data = disk->memory(BLOCK_BODY_MAX + 4096);
            if (slot->data == NULL)
                return NULL;
            slot->header = (struct virtio_blk_header *)(slot->data + BLOCK_BODY_MAX);
            slot->range = (struct virtio_blk_range *)(slot->header + 1);
            slot->status = (uint8_t *)(slot->range + 1);
        }
        return slot;
    }
    return NULL;
}

static uint32_t type_of(uint32_t operation)
{
    switch (operation) {
    case BLOCK_READ: return VIRTIO_BLK_IN;
    case BLOCK_WRITE: return VIRTIO_BLK_OUT;
    case BLOCK_DISCARD: return VIRTIO_BLK_DISCARD;
    case BLOCK_WRITE_ZEROES: return VIRTIO_BLK_WRITE_ZEROES;
    case BLOCK_FLUSH: return VIRTIO_BLK_FLUSH;
    default: return VIRTIO_BLK_GET_ID;
    }
}

/* Give a slot's request to the device. */
static bool slot_send(struct disk *disk, struct disk_slot *slot)
{
    uint32_t type = type_of(slot->request.operation);
    bool in_pages = slot->request.flags == BLOCK_DATA_IN_PAGES;
    struct virtio_buffer data = { .memory = in_pages ? (void *)slot->request.pages : slot->data,
                                  .length = (uint32_t)slot->request.length };
    struct virtio_buffer buffers[3];
    unsigned count = 0;

    *slot->header = (struct virtio_blk_header){ .type = type };
    *slot->status = 0xff;
    buffers[count++] = (struct virtio_buffer){ slot->header, sizeof *slot->header, false };
    if (type == VIRTIO_BLK_DISCARD || type == VIRTIO_BLK_WRITE_ZEROES) {
        *slot->range = (struct virtio_blk_range){
            .sector = slot->request.offset / BLOCK_UNIT,
            .sectors = (uint32_t)(slot->request.length / BLOCK_UNIT) };
        buffers[count++] = (struct virtio_buffer){ slot->range, sizeof *slot->range, false };
    } else if (type == VIRTIO_BLK_IN || type == VIRTIO_BLK_OUT) {
        slot->header->sector = slot->request.offset / BLOCK_UNIT;
        data.device_writes = type == VIRTIO_BLK_IN;
        buffers[count++] = data;
    } else if (type == VIRTIO_BLK_GET_ID) {
        buffers[count++] = (struct virtio_buffer){ slot->data, BLOCK_ID_LENGTH, true };
    }
    buffers[count++] = (struct virtio_buffer){ slot->status, 1, true };
    return virtio_queue_add(&disk->queue, buffers, count, slot);
}

/* The device does at most so much in one request of this kind. */
static bool is_too_much(struct disk *disk, const struct block_request *request)
{
    size_t field = request->operation == BLOCK_DISCARD
                       ? offsetof(struct virtio_blk_config, max_discard_sectors)
                       : offsetof(struct virtio_blk_config, max_write_zeroes_sectors);

    return (request->operation == BLOCK_DISCARD || request->operation == BLOCK_WRITE_ZEROES)
        && request->length / BLOCK_UNIT > config(disk, field);
}

struct disk_slot *disk_submit(struct disk *disk, const struct block_request *request, uint8_t *body,
                              size_t body_size, struct block_reply *reply, size_t *reply_size)
{
    struct disk_slot *slot = NULL;

    *reply_size = 0;
    *reply = (struct block_reply){ .tag = request->tag };
    reply->status = request_check(disk, request, body_size);
    if (reply->status == 0 && is_too_much(disk, request))
        reply->status = -EINVAL;
    if (reply->status != 0)
        return NULL;
    if ((slot = slot_find(disk)) == NULL) {
        reply->status = disk->busy == 0 ? -ENOMEM : -EBUSY;
        return NULL;
    }
    slot->request = *request;
    if (body_size != 0)
        memcpy(slot->data, body, body_size);
    if (!slot_send(disk, slot)) {
        reply->status = -EBUSY;
        return NULL;
    }
    slot->busy = true;
    slot->owner = 0;
    disk->busy++;
    virtio_queue_kick(&disk->queue);
    return slot;
}

/* ---- answers ---- */

static int status_of(const struct disk_slot *slot)
{
    switch (*slot->status) {
    case VIRTIO_BLK_OK: return 0;
    case VIRTIO_BLK_UNSUPPORTED: return -EOPNOTSUPP;
    default: return -EIO;
    }
}

static void geometry_answer(struct disk *disk, struct disk_slot *slot)
{
    memcpy(disk->geometry.id, slot->data, BLOCK_ID_LENGTH);
    memcpy(slot->data, &disk->geometry, sizeof disk->geometry);
    slot->reply_size = sizeof disk->geometry;
    slot->reply.status = 0;                 /* a disk without a name is one all the same */
}

struct disk_slot *disk_finished(struct disk *disk)
{
    uint32_t written;
    struct disk_slot *slot = virtio_queue_take(&disk->queue, &written);

    if (slot == NULL)
        return NULL;
    slot->reply = (struct block_reply){ .status = status_of(slot), .tag = slot->request.tag };
    slot->reply_size = 0;
    if (slot->request.operation == BLOCK_GEOMETRY)
        geometry_answer(disk, slot);
    else if (slot->reply.status == 0)
        slot->reply.length = slot->request.length;
    if (slot->request.operation == BLOCK_READ && slot->request.flags == 0)
        slot->reply_size = slot->reply.length;
    return slot;
}

void disk_free(struct disk *disk, struct disk_slot *slot)
{
    slot->busy = false;
    disk->busy--;
}

bool disk_interrupts(struct disk *disk, bool on)
{
    return virtio_queue_interrupts(&disk->queue, on);
}
