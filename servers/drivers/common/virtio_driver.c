/* Virtio, the driver's side: see virtio_driver.h. The device is ours to trust (it is the Nucleus), but what it
 * tells is checked all the same where a wrong value would lead outside our arrays. */
#include "virtio_driver.h"

#include <string.h>

#define PAUSES_MAX 10000            /* of a device that does not come to rest: it is broken */

/* Where the rings of a queue of so many entries are in its memory, behind the descriptors. */
#define AVAILABLE_AT(size) (sizeof(struct virtq_descriptor) * (size))
#define USED_AT(size)      ((AVAILABLE_AT(size) + VIRTQ_USED_EVENT(size) + 2 + 7) / 8 * 8)
#define MEMORY(size)       (USED_AT(size) + VIRTQ_AVAILABLE_EVENT(size) + 2)

_Static_assert(MEMORY(VIRTIO_DRIVER_QUEUE_SIZE) <= VIRTIO_DRIVER_QUEUE_MEMORY, "a queue fits");
_Static_assert(MEMORY(VIRTIO_DRIVER_QUEUE_SIZE_LARGE) <= VIRTIO_DRIVER_QUEUE_MEMORY_LARGE, "a large one too");

static uint32_t reg_read(struct virtio_driver *driver, uint32_t offset)
{
    return (uint32_t)driver->registers->read(driver->registers->cookie, offset);
}

static void reg_write(struct virtio_driver *driver, uint32_t offset, uint32_t value)
{
    driver->registers->write(driver->registers->cookie, offset, value);
}

/* ---- setting up ---- */

static bool reset(struct virtio_driver *driver)
{
    reg_write(driver, VIRTIO_STATUS, 0);
    for (int i = 0; reg_read(driver, VIRTIO_STATUS) != 0; i++) {
        if (i == PAUSES_MAX)
            return false;
        driver->registers->pause(driver->registers->cookie);
    }
    return true;
}

static void agree(struct virtio_driver *driver, uint64_t wanted)
{
    uint64_t offered = 0;

    for (unsigned i = 0; i < 2; i++) {
        reg_write(driver, VIRTIO_DEVICE_FEATURES_SELECT, i);
        offered |= (uint64_t)reg_read(driver, VIRTIO_DEVICE_FEATURES) << (32 * i);
    }
    driver->features = offered & (wanted | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX);
    for (unsigned i = 0; i < 2; i++) {
        reg_write(driver, VIRTIO_DRIVER_FEATURES_SELECT, i);
        reg_write(driver, VIRTIO_DRIVER_FEATURES, (uint32_t)(driver->features >> (32 * i)));
    }
}

bool virtio_begin(struct virtio_driver *driver, const struct driver_registers *registers,
                  uint32_t type, uint64_t wanted)
{
    *driver = (struct virtio_driver){ .registers = registers };
    if (reg_read(driver, VIRTIO_MAGIC) != VIRTIO_MAGIC_VALUE || reg_read(driver, VIRTIO_VERSION) != 2
        || reg_read(driver, VIRTIO_DEVICE_ID) != type || !reset(driver))
        return false;
    reg_write(driver, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE);
    reg_write(driver, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    agree(driver, wanted);
    reg_write(driver, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    return reg_read(driver, VIRTIO_STATUS) & VIRTIO_FEATURES_OK;
}

bool virtio_end(struct virtio_driver *driver)
{
    return reset(driver);
}

bool virtio_has_feature(const struct virtio_driver *driver, uint64_t feature)
{
    return (driver->features & feature) != 0;
}

static void queue_place(struct virtio_driver *driver, uint32_t low, const void *where)
{
    reg_write(driver, low, (uint32_t)(uintptr_t)where);
    reg_write(driver, low + 4, (uint32_t)((uintptr_t)where >> 32));
}

static bool queue_open(struct virtio_driver *driver, struct virtio_queue *queue, unsigned number,
                       void *memory, unsigned most, size_t bytes)
{
    reg_write(driver, VIRTIO_QUEUE_SELECT, number);
    uint32_t limit = reg_read(driver, VIRTIO_QUEUE_SIZE_LIMIT);
    if (limit == 0)
        return false;
    unsigned size = limit < most ? limit : most;
    memset(memory, 0, bytes);
    *queue = (struct virtio_queue){
        .driver = driver, .number = number, .size = size, .descriptors = memory,
        .available = (uint8_t *)memory + AVAILABLE_AT(size), .used = (uint8_t *)memory + USED_AT(size),
    };
    queue->free_count = (uint16_t)queue->size;
    for (unsigned i = 0; i < queue->size; i++)
        queue->descriptors[i].next = (uint16_t)(i + 1);
    reg_write(driver, VIRTIO_QUEUE_SIZE, queue->size);
    queue_place(driver, VIRTIO_QUEUE_DESCRIPTORS_LOW, queue->descriptors);
    queue_place(driver, VIRTIO_QUEUE_DRIVER_LOW, queue->available);
    queue_place(driver, VIRTIO_QUEUE_DEVICE_LOW, queue->used);
    reg_write(driver, VIRTIO_QUEUE_READY, 1);
    return reg_read(driver, VIRTIO_QUEUE_READY) == 1;
}

bool virtio_queue_open(struct virtio_driver *driver, struct virtio_queue *queue, unsigned number,
                       void *memory)
{
    return queue_open(driver, queue, number, memory, VIRTIO_DRIVER_QUEUE_SIZE, VIRTIO_DRIVER_QUEUE_MEMORY);
}

bool virtio_queue_open_large(struct virtio_driver *driver, struct virtio_queue *queue, unsigned number,
                             void *memory)
{
    return queue_open(driver, queue, number, memory, VIRTIO_DRIVER_QUEUE_SIZE_LARGE, VIRTIO_DRIVER_QUEUE_MEMORY_LARGE);
}

bool virtio_ready(struct virtio_driver *driver)
{
    reg_write(driver, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK
                                         | VIRTIO_DRIVER_OK);
    return !virtio_needs_reset(driver);
}

bool virtio_needs_reset(struct virtio_driver *driver)
{
    return reg_read(driver, VIRTIO_STATUS) & VIRTIO_NEEDS_RESET;
}

uint32_t virtio_read_config(struct virtio_driver *driver, uint32_t offset)
{
    return reg_read(driver, VIRTIO_CONFIG + offset);
}

uint32_t virtio_acknowledge(struct virtio_driver *driver)
{
    uint32_t reasons = reg_read(driver, VIRTIO_INTERRUPT_STATUS);

    if (reasons != 0)
        reg_write(driver, VIRTIO_INTERRUPT_ACK, reasons);
    return reasons;
}

/* ---- the rings ---- */

static uint16_t load_16(const uint8_t *ring, size_t offset)
{
    return __atomic_load_n((const uint16_t *)(ring + offset), __ATOMIC_ACQUIRE);
}

static void store_16(uint8_t *ring, size_t offset, uint16_t value)
{
    __atomic_store_n((uint16_t *)(ring + offset), value, __ATOMIC_RELEASE);
}

bool virtio_queue_add(struct virtio_queue *queue, const struct virtio_buffer *buffers,
                      unsigned count, void *token)
{
    uint16_t head = queue->first_free, at = head;
    struct virtq_descriptor *descriptor = NULL;

    if (count == 0 || count > queue->free_count)
        return false;
    for (unsigned i = 0; i < count; i++, at = descriptor->next) {
        descriptor = &queue->descriptors[at];
        descriptor->address = (uintptr_t)buffers[i].memory;
        descriptor->length = buffers[i].length;
        descriptor->flags = (buffers[i].device_writes ? VIRTQ_WRITE : 0)
                          | (i < count - 1 ? VIRTQ_NEXT : 0);
    }
    queue->first_free = at;
    queue->free_count -= (uint16_t)count;
    queue->token[head] = token;
    store_16(queue->available, VIRTQ_AVAILABLE_HEAD(queue->available_next % queue->size), head);
    store_16(queue->available, VIRTQ_AVAILABLE_INDEX, ++queue->available_next);
    return true;
}

/* Has the device asked for a doorbell at one of the requests since the last? */
static bool kick_is_wanted(const struct virtio_queue *queue)
{
    if (!virtio_has_feature(queue->driver, VIRTIO_F_EVENT_IDX))
        return !(load_16(queue->used, VIRTQ_USED_FLAGS) & VIRTQ_NO_NOTIFY);
    uint16_t event = load_16(queue->used, VIRTQ_AVAILABLE_EVENT(queue->size));
    return (uint16_t)(queue->available_next - event - 1)
         < (uint16_t)(queue->available_next - queue->kicked);
}

void virtio_queue_kick(struct virtio_queue *queue)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);        /* the request is out before we look */
    if (queue->available_next != queue->kicked && kick_is_wanted(queue))
        reg_write(queue->driver, VIRTIO_QUEUE_NOTIFY, queue->number);
    queue->kicked = queue->available_next;
}

static void chain_free(struct virtio_queue *queue, uint16_t head)
{
    uint16_t last = head, count = 1;

    while (queue->descriptors[last].flags & VIRTQ_NEXT) {
        last = queue->descriptors[last].next;
        count++;
    }
    queue->descriptors[last].next = queue->first_free;
    queue->first_free = head;
    queue->free_count += count;
}

void *virtio_queue_take(struct virtio_queue *queue, uint32_t *ret_length)
{
    uint32_t head;

    if (load_16(queue->used, VIRTQ_USED_INDEX) == queue->used_next)
        return NULL;
    unsigned slot = queue->used_next % queue->size;
    memcpy(&head, queue->used + VIRTQ_USED_ID(slot), sizeof head);
    memcpy(ret_length, queue->used + VIRTQ_USED_LENGTH(slot), sizeof *ret_length);
    queue->used_next++;
    if (head >= queue->size || queue->token[head] == NULL)
        return NULL;
    void *token = queue->token[head];
    queue->token[head] = NULL;
    chain_free(queue, (uint16_t)head);
    return token;
}

bool virtio_queue_interrupts(struct virtio_queue *queue, bool on)
{
    /* Off: as far away as an index can be. */
    uint16_t event = (uint16_t)(on ? queue->used_next : queue->used_next + 0x7fff);

    if (virtio_has_feature(queue->driver, VIRTIO_F_EVENT_IDX))
        store_16(queue->available, VIRTQ_USED_EVENT(queue->size), event);
    else
        store_16(queue->available, VIRTQ_AVAILABLE_FLAGS, on ? 0 : VIRTQ_NO_INTERRUPT);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return on && load_16(queue->used, VIRTQ_USED_INDEX) != queue->used_next;
}
