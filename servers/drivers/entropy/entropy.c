/* The entropy driver without its actor: see entropy.h. */
#include "entropy.h"

bool entropy_begin(struct entropy *entropy, const struct driver_registers *registers, void *(*memory)(size_t size))
{
    *entropy = (struct entropy){ 0 };
    void *queue = memory(VIRTIO_DRIVER_QUEUE_MEMORY);
    uint8_t *bytes = memory((size_t)ENTROPY_SLOTS * ENTROPY_BYTES_MOST);

    if (queue == NULL || bytes == NULL || !virtio_begin(&entropy->driver, registers, VIRTIO_TYPE_ENTROPY, 0)
        || !virtio_queue_open(&entropy->driver, &entropy->queue, 0, queue) || !virtio_ready(&entropy->driver))
        return false;
    for (unsigned i = 0; i < ENTROPY_SLOTS; i++)
        entropy->slot[i].bytes = bytes + (size_t)i * ENTROPY_BYTES_MOST;
    return true;
}

struct entropy_slot *entropy_ask(struct entropy *entropy, uint32_t length, uint64_t owner)
{
    struct entropy_slot *slot = entropy->slot;

    while (slot < entropy->slot + ENTROPY_SLOTS && slot->busy)
        slot++;
    if (slot == entropy->slot + ENTROPY_SLOTS
        || !virtio_queue_add(&entropy->queue, &(struct virtio_buffer){ slot->bytes, length, true }, 1, slot))
        return NULL;
    slot->busy = true;
    slot->wanted = length;
    slot->owner = owner;
    virtio_queue_kick(&entropy->queue);
    return slot;
}

struct entropy_slot *entropy_finished(struct entropy *entropy)
{
    struct entropy_slot *slot;
    uint32_t got;

    do {
        slot = virtio_queue_take(&entropy->queue, &got);
    } while (slot == NULL && virtio_queue_interrupts(&entropy->queue, true));   /* one was finished just before that was asked for */
    if (slot != NULL)
        slot->got = got < slot->wanted ? got : slot->wanted;
    return slot;
}

void entropy_free(struct entropy_slot *slot)
{
    slot->busy = false;
}
