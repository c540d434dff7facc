/* Split virtqueues, the device's side.
 *
 * The rings stay in the driver's memory, pinned while the queue is ready; everything else is ours.
 * The driver can change any byte there at any moment, so a value is loaded exactly once
 * (the load_ functions) and what is checked is our copy of it:
 *   - the available index may be ahead of our place by at most the size of the queue;
 *   - a head must be below the size, and not be with us already;
 *   - a chain has at most as many descriptors as the queue, so a loop ends;
 *   - readable buffers come before writable ones, none is empty, all of them together are not huge;
 *   - an indirect table is whole, not empty, the last of its chain and has no indirect descriptor;
 *   - all memory is the driver's: pinning says so.
 * Buffers that overlap each other, or the rings, hurt nobody but the driver, which wanted it so.
 */
#include <string.h>

#include "virtio.h"

#define PAGE 4096u

/* ---- windows ---- */

static void window_close(struct virtio_device *device, struct virtio_window *window)
{
    const struct device_services *services = device->device.services;

    while (window->pages > 0)
        services->unpin(services->cookie, &device->device, window->page[--window->pages]);
}

static bool window_open(struct virtio_device *device, struct virtio_window *window,
                        uint64_t address, size_t length, bool write)
{
    const struct device_services *services = device->device.services;
    size_t done = 0;

    *window = (struct virtio_window){ .address = address, .length = length };
    if (address + length < address || address & DEVICE_PAGES)
        return false;
    while (done < length) {
        size_t piece = PAGE - (address + done) % PAGE;
        if (piece > length - done)
            piece = length - done;
        struct device_span *span = &window->page[window->pages];
        if (window->pages == VIRTIO_WINDOW_PAGES
            || !services->pin(services->cookie, &device->device, address + done, piece, write, span)) {
            window_close(device, window);
            return false;
        }
        window->pages++;
        if (span->length != piece) {
            window_close(device, window);
            return false;
        }
        done += piece;
    }
    return true;
}

/* What is at `offset`: no item lies across a page, since parts and items are aligned. */
static void *window_at(const struct virtio_window *window, size_t offset)
{
    size_t first = window->page[0].length;

    if (offset < first)
        return (char *)window->page[0].base + offset;
    return (char *)window->page[1].base + (offset - first);
}

static uint16_t load_16(const struct virtio_window *window, size_t offset, int order)
{
    const uint16_t *where = window_at(window, offset);

    return order == __ATOMIC_ACQUIRE ? __atomic_load_n(where, __ATOMIC_ACQUIRE)
                                     : __atomic_load_n(where, __ATOMIC_RELAXED);
}

static void store_16(struct virtio_window *window, size_t offset, uint16_t value)
{
    __atomic_store_n((uint16_t *)window_at(window, offset), value, __ATOMIC_RELEASE);
}

static void store_32(struct virtio_window *window, size_t offset, uint32_t value)
{
    __atomic_store_n((uint32_t *)window_at(window, offset), value, __ATOMIC_RELAXED);
}

static struct virtq_descriptor load_descriptor(const void *where)
{
    const uint64_t *words = where;
    uint64_t copy[2] = { __atomic_load_n(&words[0], __ATOMIC_RELAXED),
                         __atomic_load_n(&words[1], __ATOMIC_RELAXED) };
    struct virtq_descriptor descriptor;

    _Static_assert(sizeof descriptor == sizeof copy, "a descriptor is two words");
    memcpy(&descriptor, copy, sizeof copy);
    return descriptor;
}

/* ---- setting up ---- */

static bool queue_is_sound(const struct virtqueue *queue)
{
    bool power = queue->size != 0 && (queue->size & (queue->size - 1)) == 0;

    return power && queue->size <= queue->size_limit && queue->descriptors_address % 16 == 0
        && queue->driver_address % 2 == 0 && queue->device_address % 4 == 0;
}

bool virtqueue_open(struct virtio_device *device, unsigned index)
{
    struct virtqueue *queue = &device->queue[index];

    if (!queue_is_sound(queue)) {
        virtio_break(device, "queue %u is set up wrongly (size %u)", index, queue->size);
        return false;
    }
    if (!window_open(device, &queue->descriptors, queue->descriptors_address,
                     sizeof(struct virtq_descriptor) * queue->size, false)
        || !window_open(device, &queue->available, queue->driver_address,
                        VIRTQ_USED_EVENT(queue->size) + 2, false)
        || !window_open(device, &queue->used, queue->device_address,
                        VIRTQ_AVAILABLE_EVENT(queue->size) + 2, true)) {
        virtqueue_close(device, index);
        virtio_break(device, "queue %u is not in the driver's memory", index);
        return false;
    }
    queue->next = queue->used_index = queue->signalled = 0;
    queue->ready = true;
    return true;
}

void virtqueue_close(struct virtio_device *device, unsigned index)
{
    struct virtqueue *queue = &device->queue[index];

    window_close(device, &queue->descriptors);
    window_close(device, &queue->available);
    window_close(device, &queue->used);
    queue->ready = false;
}

/* ---- taking ---- */

/* What a walk along a chain has come to. */
struct walk {
    struct virtio_device *device;
    unsigned queue;
    struct virtio_chain *chain;
    unsigned spans;
    const char *wrong;                  /* why the walk failed */
};

static void unpin_spans(struct virtio_device *device, struct virtio_chain *chain, unsigned spans)
{
    const struct device_services *services = device->device.services;

    while (spans > 0)
        services->unpin(services->cookie, &device->device, chain->span[--spans]);
}

static bool buffer_is_sound(struct walk *walk, const struct virtq_descriptor *descriptor)
{
    const struct virtio_chain *chain = walk->chain;
    uint32_t total = chain->readable_bytes + chain->writable_bytes;

    if (descriptor->length == 0)
        walk->wrong = "an empty buffer";
    else if (descriptor->length > VIRTIO_CHAIN_BYTES_MAX - total)
        walk->wrong = "a request that is too long";
    else if (descriptor->address + descriptor->length < descriptor->address)
        walk->wrong = "a buffer beyond the end of memory";
    else if (descriptor->address & DEVICE_PAGES && !walk->device->model->takes_pages)
        walk->wrong = "a buffer that is not the driver's memory";
    else if (!(descriptor->flags & VIRTQ_WRITE) && chain->writable != 0)
        walk->wrong = "a readable buffer behind a writable one";
    return walk->wrong == NULL;
}

/* Pin one buffer and append its pieces. */
static bool buffer_append(struct walk *walk, const struct virtq_descriptor *descriptor)
{
    const struct device_services *services = walk->device->device.services;
    struct virtio_chain *chain = walk->chain;
    bool write = descriptor->flags & VIRTQ_WRITE;
    uint32_t done = 0;

    if (!buffer_is_sound(walk, descriptor))
        return false;
    while (done < descriptor->length) {
        struct device_span *span = &chain->span[walk->spans];
        if (walk->spans == VIRTIO_SPANS_MAX) {
            walk->wrong = "a request in too many pieces";
            return false;
        }
        if (!services->pin(services->cookie, &walk->device->device, descriptor->address + done,
                           descriptor->length - done, write, span)) {
            if ((chain->lost = (descriptor->address & DEVICE_PAGES) != 0))
                break;
            walk->wrong = "a buffer that is not the driver's memory";
            return false;
        }
        walk->spans++;
        if (write)
            chain->writable++;
        else
            chain->readable++;
        done += span->length;
    }
    if (write)
        chain->writable_bytes += done;
    else
        chain->readable_bytes += done;
    return true;
}

/* Copy an indirect table into ours; returns its number of entries, 0 when it is wrong. */
static unsigned table_copy(struct walk *walk, const struct virtq_descriptor *descriptor,
                           struct virtq_descriptor table[VIRTIO_QUEUE_SIZE_MAX])
{
    const struct device_services *services = walk->device->device.services;
    uint32_t length = descriptor->length, done = 0;

    if (length == 0 || length % sizeof *table != 0 || descriptor->address & DEVICE_PAGES
        || length / sizeof *table > walk->device->queue[walk->queue].size
        || descriptor->address + length < descriptor->address) {
        walk->wrong = "an indirect table of a wrong size";
        return 0;
    }
    while (done < length) {
        struct device_span span;
        if (!services->pin(services->cookie, &walk->device->device, descriptor->address + done,
                           length - done, false, &span)) {
            walk->wrong = "an indirect table that is not the driver's memory";
            return 0;
        }
        memcpy((char *)table + done, span.base, span.length);
        done += span.length;
        services->unpin(services->cookie, &walk->device->device, span);
    }
    return length / sizeof *table;
}

static bool indirect_append(struct walk *walk, const struct virtq_descriptor *descriptor)
{
    struct virtq_descriptor table[VIRTIO_QUEUE_SIZE_MAX];

    if (!virtio_has(walk->device, VIRTIO_F_INDIRECT_DESC) || descriptor->flags & VIRTQ_NEXT) {
        walk->wrong = "an indirect descriptor where none may be";
        return false;
    }
    unsigned count = table_copy(walk, descriptor, table), at = 0;
    for (unsigned steps = 0; steps < count; steps++) {
        if (table[at].flags & VIRTQ_INDIRECT) {
            walk->wrong = "an indirect table within another";
            return false;
        }
        if (!buffer_append(walk, &table[at]))
            return false;
        if (!(table[at].flags & VIRTQ_NEXT))
            return true;
        at = table[at].next;
        if (at >= count)
            break;
    }
    if (walk->wrong == NULL)
        walk->wrong = "an indirect chain that does not end";
    return false;
}

static bool chain_walk(struct walk *walk, uint16_t head)
{
    struct virtqueue *queue = &walk->device->queue[walk->queue];
    unsigned at = head;

    for (unsigned steps = 0; steps < queue->size; steps++) {
        struct virtq_descriptor descriptor =
            load_descriptor(window_at(&queue->descriptors, at * sizeof descriptor));
        if (descriptor.flags & VIRTQ_INDIRECT)
            return indirect_append(walk, &descriptor);
        if (!buffer_append(walk, &descriptor))
            return false;
        if (!(descriptor.flags & VIRTQ_NEXT))
            return true;
        at = descriptor.next;
        if (at >= queue->size) {
            walk->wrong = "a descriptor that does not exist";
            return false;
        }
    }
    walk->wrong = "a chain that does not end";
    return false;
}

/* How many requests the driver has made available; more than the queue can hold means that its
 * index ran backwards, or away. */
static unsigned available_count(struct virtio_device *device, unsigned index)
{
    struct virtqueue *queue = &device->queue[index];
    uint16_t count = load_16(&queue->available, VIRTQ_AVAILABLE_INDEX, __ATOMIC_ACQUIRE) - queue->next;

    if (count > queue->size) {
        virtio_break(device, "queue %u: the available index ran backwards or away", index);
        return 0;
    }
    return count;
}

bool virtqueue_waiting(struct virtio_device *device, unsigned index)
{
    struct virtqueue *queue = &device->queue[index];

    if (!virtio_running(device) || !queue->ready)
        return false;
    if (available_count(device, index) != 0)
        return true;
    if (!virtio_running(device) || !virtio_has(device, VIRTIO_F_EVENT_IDX))
        return false;
    /* Ask for a doorbell at the next request; one that came meanwhile rang none. */
    store_16(&queue->used, VIRTQ_AVAILABLE_EVENT(queue->size), queue->next);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return available_count(device, index) != 0;
}

bool virtqueue_take(struct virtio_device *device, unsigned index, struct virtio_chain *chain)
{
    struct virtqueue *queue = &device->queue[index];

    if (!virtqueue_waiting(device, index))
        return false;
    uint16_t head = load_16(&queue->available, VIRTQ_AVAILABLE_HEAD(queue->next % queue->size),
                            __ATOMIC_RELAXED);
    if (head >= queue->size || queue->taken[head]) {
        virtio_break(device, "queue %u: head %u %s", index, head,
                     head >= queue->size ? "does not exist" : "is in use already");
        return false;
    }
    chain->head = head;
    chain->readable = chain->writable = 0;
    chain->readable_bytes = chain->writable_bytes = 0;
    chain->lost = false;
    struct walk walk = { .device = device, .queue = index, .chain = chain };
    if (!chain_walk(&walk, head)) {
        unpin_spans(device, chain, walk.spans);
        virtio_break(device, "queue %u: %s", index, walk.wrong);
        return false;
    }
    queue->next++;
    queue->taken[head] = true;
    queue->outstanding++;
    return true;
}

/* ---- giving back ---- */

void virtqueue_put(struct virtio_device *device, unsigned index, struct virtio_chain *chain,
                   uint32_t written)
{
    struct virtqueue *queue = &device->queue[index];

    unpin_spans(device, chain, chain->readable + chain->writable);
    queue->taken[chain->head] = false;
    queue->outstanding--;
    if (virtio_running(device) && queue->ready) {
        unsigned slot = queue->used_index % queue->size;
        store_32(&queue->used, VIRTQ_USED_ID(slot), chain->head);
        store_32(&queue->used, VIRTQ_USED_LENGTH(slot), written);
        store_16(&queue->used, VIRTQ_USED_INDEX, ++queue->used_index);
    }
    virtio_settle(device);
}

/* Does the driver want to hear of what was put since we signalled last? */
static bool signal_is_wanted(struct virtio_device *device, struct virtqueue *queue)
{
    if (!virtio_has(device, VIRTIO_F_EVENT_IDX))
        return !(load_16(&queue->available, VIRTQ_AVAILABLE_FLAGS, __ATOMIC_RELAXED)
                 & VIRTQ_NO_INTERRUPT);
    uint16_t event = load_16(&queue->available, VIRTQ_USED_EVENT(queue->size), __ATOMIC_RELAXED);
    return (uint16_t)(queue->used_index - event - 1)
         < (uint16_t)(queue->used_index - queue->signalled);
}

void virtqueue_signal(struct virtio_device *device, unsigned index)
{
    struct virtqueue *queue = &device->queue[index];

    if (!virtio_running(device) || !queue->ready || queue->used_index == queue->signalled)
        return;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);    /* the used index is out before we look */
    if (signal_is_wanted(device, queue))
        virtio_interrupt(device, VIRTIO_INTERRUPT_QUEUE);
    queue->signalled = queue->used_index;
}

/* ---- chains ---- */

unsigned chain_spans(const struct virtio_chain *chain, bool writable, size_t offset, size_t length,
                     struct device_span *spans, unsigned most, size_t *ret_bytes)
{
    unsigned first = writable ? chain->readable : 0, count = 0;
    unsigned end = first + (writable ? chain->writable : chain->readable);

    *ret_bytes = 0;
    for (unsigned i = first; i < end && length > 0 && count < most; i++) {
        const struct device_span *span = &chain->span[i];
        if (offset >= span->length) {
            offset -= span->length;
            continue;
        }
        size_t piece = span->length - offset < length ? span->length - offset : length;
        spans[count++] = (struct device_span){ (char *)span->base + offset, piece };
        *ret_bytes += piece;
        length -= piece;
        offset = 0;
    }
    return count;
}

size_t chain_read(const struct virtio_chain *chain, size_t offset, void *to, size_t length)
{
    struct device_span spans[VIRTIO_SPANS_MAX];
    size_t bytes;
    unsigned count = chain_spans(chain, false, offset, length, spans, VIRTIO_SPANS_MAX, &bytes);

    for (unsigned i = 0; i < count; i++)
        to = (char *)memcpy(to, spans[i].base, spans[i].length) + spans[i].length;
    return bytes;
}

size_t chain_write(struct virtio_chain *chain, size_t offset, const void *from, size_t length)
{
    struct device_span spans[VIRTIO_SPANS_MAX];
    size_t bytes;
    unsigned count = chain_spans(chain, true, offset, length, spans, VIRTIO_SPANS_MAX, &bytes);

    for (unsigned i = 0; i < count; i++) {
        memcpy(spans[i].base, from, spans[i].length);
        from = (const char *)from + spans[i].length;
    }
    return bytes;
}
