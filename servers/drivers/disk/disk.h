/* The disk driver without its actor: requests of lib/protocol/block.h become requests of a virtio disk.
 *
 * A request occupies a slot, with memory for its data, from disk_submit until disk_free. What the disk has finished is
 * fetched by disk_finished. Nothing here waits. Not thread safe.
 */
#ifndef DRIVERS_DISK_H
#define DRIVERS_DISK_H

#include "../common/virtio_driver.h"
#include "protocol/block.h"

#define DISK_SLOTS 16

struct disk_slot {
    struct block_request request;
    struct block_reply reply;   /* valid when finished */
    size_t reply_size;          /* bytes of the reply's body, at `data` */
    uint8_t *data;              /* BLOCK_BODY_MAX bytes, page aligned, locked; NULL until first needed */
    struct virtio_blk_header *header;   /* behind the data, as is what follows */
    struct virtio_blk_range *range;
    uint8_t *status;
    bool busy;
    uint64_t owner;             /* the caller's own: the saved message */
};

struct disk {
    struct virtio_driver driver;
    struct virtio_queue queue;
    void *(*memory)(size_t size);       /* page aligned, zeroed, locked; NULL: none. Never given back */
    void *queue_memory;
    struct block_geometry geometry;
    struct disk_slot slot[DISK_SLOTS];
    unsigned busy;
};

/* False: no disk there, or no memory. `disk` is all zeros, or one that was used before and is begun anew, with the memory that it has. */
bool disk_begin(struct disk *disk, const struct driver_registers *registers,
                void *(*memory)(size_t size));

/* Check and begin a request. NULL: it is answered already, `reply` and `*reply_size` bytes of `body` say
 * how; -EBUSY in reply->status: no slot is free. */
struct disk_slot *disk_submit(struct disk *disk, const struct block_request *request, uint8_t *body,
                              size_t body_size, struct block_reply *reply, size_t *reply_size);

/* The next finished slot; its reply is filled in. NULL: none yet. */
struct disk_slot *disk_finished(struct disk *disk);
void disk_free(struct disk *disk, struct disk_slot *slot);

/* Be told by an interrupt of the next finished request. True: there is one already. */
bool disk_interrupts(struct disk *disk, bool on);

#endif
