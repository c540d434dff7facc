/* See fake_nucleus.h. */
#include "fake_nucleus.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if __has_feature(address_sanitizer) || defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(base, length) ((void)(base), (void)(length))
#define ASAN_UNPOISON_MEMORY_REGION(base, length) ((void)(base), (void)(length))
#endif

#define PAGE 4096u
#define QUEUE_MOST 128      /* entries: so a queue fits into a page */

struct bus *fake_bus;
struct io_ring *fake_ring;
struct io_pool *fake_pool;

static uint8_t *memory;
static unsigned pin_count[DRIVER_PAGES];
static bool guarded, page_gone[DRIVER_PAGES];
static unsigned pins, interrupts;
static char complaint[200];

/* Neighbours are kept apart: even pages first, then the odd ones. */
static unsigned frame_of(unsigned page)
{
    return page / 2 + (page % 2 ? DRIVER_PAGES / 2 : 0);
}

static void *frame_address(unsigned page)
{
    return memory + (size_t)frame_of(page) * PAGE;
}

void *driver_at(uint64_t address)
{
    uint64_t offset = address - DRIVER_MEMORY;

    cr_assert(offset < (uint64_t)DRIVER_PAGES * PAGE, "the test itself uses memory that is not there");
    return (uint8_t *)frame_address(offset / PAGE) + offset % PAGE;
}

/* The driver may touch what devices may not. */
__attribute__((no_sanitize_address)) static void copy_bytes(volatile uint8_t *to, const volatile uint8_t *from, size_t length)
{
    for (size_t i = 0; i < length; i++)
        to[i] = from[i];
}

static size_t page_left(uint64_t address, size_t length)
{
    size_t left = PAGE - address % PAGE;

    return left < length ? left : length;
}

void driver_put(uint64_t address, const void *bytes, size_t length)
{
    for (size_t done = 0, piece; done < length; done += piece) {
        piece = page_left(address + done, length - done);
        copy_bytes(driver_at(address + done), (const uint8_t *)bytes + done, piece);
    }
}

void driver_get(uint64_t address, void *bytes, size_t length)
{
    for (size_t done = 0, piece; done < length; done += piece) {
        piece = page_left(address + done, length - done);
        copy_bytes((uint8_t *)bytes + done, driver_at(address + done), piece);
    }
}

static void page_guard(unsigned page)
{
    if (guarded && pin_count[page] == 0)
        ASAN_POISON_MEMORY_REGION(frame_address(page), PAGE);
    else
        ASAN_UNPOISON_MEMORY_REGION(frame_address(page), PAGE);
}

void fake_guard(void)
{
    guarded = true;
    for (unsigned page = 0; page < DRIVER_PAGES; page++)
        page_guard(page);
}

void fake_page(unsigned page, bool is_there)
{
    page_gone[page] = !is_there;
}

/* ---- services ---- */

static bool fake_pin(void *cookie, struct device *device, uint64_t address, size_t length,
                     bool write, struct device_span *ret_span)
{
    uint64_t offset = address - DRIVER_MEMORY;

    (void)cookie, (void)device;
    if (length == 0 || address < DRIVER_MEMORY || offset >= (uint64_t)DRIVER_PAGES * PAGE
        || length > (uint64_t)DRIVER_PAGES * PAGE - offset)
        return false;
    uint64_t page = offset / PAGE, left = PAGE - offset % PAGE;
    for (uint64_t i = page; i <= (offset + length - 1) / PAGE; i++)
        if (page_gone[i])
            return false;
    if (write && (page == READ_ONLY_PAGE || (offset + length - 1) / PAGE == READ_ONLY_PAGE))
        return false;
    *ret_span = (struct device_span){ driver_at(address), length < left ? length : left };
    pin_count[page]++;
    page_guard((unsigned)page);
    pins++;
    return true;
}

static void fake_unpin(void *cookie, struct device *device, struct device_span span)
{
    (void)cookie, (void)device;
    size_t frame = (size_t)((uint8_t *)span.base - memory) / PAGE;
    unsigned page = frame < DRIVER_PAGES / 2 ? frame * 2 : (frame - DRIVER_PAGES / 2) * 2 + 1;

    cr_assert(page < DRIVER_PAGES && pin_count[page] > 0, "unpinned what was not pinned");
    pin_count[page]--;
    page_guard(page);
    pins--;
}

static void fake_raise(void *cookie, struct device *device)
{
    (void)cookie, (void)device;
    interrupts++;
}

static void fake_random(void *cookie, void *bytes, size_t length)
{
    (void)cookie;
    memset(bytes, 0x5a, length);
}

static int64_t fake_now(void *cookie)
{
    (void)cookie;
    return INT64_C(1234567890123456789);
}

static void fake_complain(void *cookie, struct device *device, const char *text)
{
    (void)cookie, (void)device;
    strncpy(complaint, text, sizeof complaint - 1);
}

const struct device_services fake_services = {
    .pin = fake_pin, .unpin = fake_unpin, .raise = fake_raise,
    .random = fake_random, .now = fake_now, .complain = fake_complain,
};

unsigned fake_pins(void)
{
    return pins;
}

unsigned fake_interrupts(void)
{
    return interrupts;
}

const char *fake_complaint(void)
{
    return complaint;
}

void fake_start(void)
{
    memory = aligned_alloc(PAGE, (size_t)DRIVER_PAGES * PAGE);    /* as frames are */
    guarded = false;
    memset(page_gone, 0, sizeof page_gone);
    fake_bus = bus_create(NULL, NULL);
    fake_pool = io_pool_create(fake_bus, 2);
    cr_assert(memory != NULL && fake_bus != NULL && fake_pool != NULL);
    memset(memory, 0, (size_t)DRIVER_PAGES * PAGE);
    pins = interrupts = 0;
    complaint[0] = '\0';
    memset(pin_count, 0, sizeof pin_count);
}

void fake_end(void)
{
    cr_assert_eq(pins, 0u, "%u spans are still pinned", pins);
    fake_ring = NULL;
    io_pool_destroy(fake_pool);
    bus_destroy(fake_bus);
    free(memory);
}

void fake_run_idle(void)
{
    for (int i = 0; i < 1000 && bus_run(fake_bus); i++)
        ;
}

/* Everything that comes by the bus and by the ring; the host interrupts no poll for the latter. */
static void run_once(void)
{
    struct pollfd ready = { .fd = bus_descriptor(fake_bus), .events = POLLIN };

    if (fake_ring != NULL && io_ring_ready(fake_ring))
        io_ring_look(fake_ring);
    else if (!bus_has_completions(fake_bus))
        poll(&ready, 1, fake_ring != NULL ? 1 : 100);
    bus_run(fake_bus);
}

bool fake_run_until(bool (*true_now)(void *), void *argument)
{
    time_t end = time(NULL) + 10;

    while (!true_now(argument)) {
        if (time(NULL) > end)
            return false;
        run_once();
    }
    return true;
}

/* ---- the driver ---- */

void driver_begin(struct device *device, uint64_t features)
{
    features |= VIRTIO_F_VERSION_1;
    cr_assert_eq(device_read(device, VIRTIO_MAGIC), VIRTIO_MAGIC_VALUE);
    cr_assert_eq(device_read(device, VIRTIO_VERSION), 2u);
    device_write(device, VIRTIO_STATUS, 0);
    device_write(device, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE);
    device_write(device, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    for (unsigned i = 0; i < 2; i++) {
        device_write(device, VIRTIO_DRIVER_FEATURES_SELECT, i);
        device_write(device, VIRTIO_DRIVER_FEATURES, features >> (32 * i));
    }
    device_write(device, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    cr_assert(device_read(device, VIRTIO_STATUS) & VIRTIO_FEATURES_OK);
}

void driver_queue_set_up(struct driver_queue *queue, struct device *device, unsigned number,
                         unsigned size, uint64_t where)
{
    *queue = (struct driver_queue){
        .device = device, .number = number, .size = size,
        .descriptors = where, .available = where + 16 * QUEUE_MOST,
        .used = where + 16 * QUEUE_MOST + 512,
    };
    memset(queue->free, true, sizeof queue->free);
    device_write(device, VIRTIO_QUEUE_SELECT, number);
    device_write(device, VIRTIO_QUEUE_SIZE, size);
    device_write(device, VIRTIO_QUEUE_DESCRIPTORS_LOW, (uint32_t)queue->descriptors);
    device_write(device, VIRTIO_QUEUE_DESCRIPTORS_HIGH, queue->descriptors >> 32);
    device_write(device, VIRTIO_QUEUE_DRIVER_LOW, (uint32_t)queue->available);
    device_write(device, VIRTIO_QUEUE_DRIVER_HIGH, queue->available >> 32);
    device_write(device, VIRTIO_QUEUE_DEVICE_LOW, (uint32_t)queue->used);
    device_write(device, VIRTIO_QUEUE_DEVICE_HIGH, queue->used >> 32);
    device_write(device, VIRTIO_QUEUE_READY, 1);
}

void driver_ready(struct device *device)
{
    device_write(device, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK
                                            | VIRTIO_DRIVER_OK);
}

void driver_descriptor(struct driver_queue *queue, unsigned index,
                       struct virtq_descriptor descriptor)
{
    driver_put(queue->descriptors + 16 * index, &descriptor, sizeof descriptor);
}

void driver_available(struct driver_queue *queue, uint16_t slot, uint16_t head)
{
    driver_put(queue->available + 4 + 2 * (slot % queue->size), &head, sizeof head);
}

void driver_available_index(struct driver_queue *queue, uint16_t index)
{
    driver_put(queue->available + 2, &index, sizeof index);
    queue->available_next = index;
}

static unsigned descriptor_find(struct driver_queue *queue)
{
    for (unsigned i = 0; i < queue->size; i++)
        if (queue->free[i]) {
            queue->free[i] = false;
            return i;
        }
    cr_assert(false, "the test itself offers too much");
    return 0;
}

unsigned driver_offer(struct driver_queue *queue, const struct driver_buffer *buffers,
                      unsigned count)
{
    unsigned head = descriptor_find(queue), at = head;

    for (unsigned i = 0; i < count; i++) {
        bool last = i == count - 1;
        unsigned next = last ? 0 : descriptor_find(queue);
        driver_descriptor(queue, at, (struct virtq_descriptor){
            .address = buffers[i].address, .length = buffers[i].length,
            .flags = (buffers[i].write ? VIRTQ_WRITE : 0) | (last ? 0 : VIRTQ_NEXT),
            .next = (uint16_t)next });
        at = next;
    }
    driver_available(queue, queue->available_next, (uint16_t)head);
    driver_available_index(queue, queue->available_next + 1);
    return head;
}

void driver_kick(struct driver_queue *queue)
{
    device_write(queue->device, VIRTIO_QUEUE_NOTIFY, queue->number);
}

bool driver_take_used(struct driver_queue *queue, uint32_t *ret_head, uint32_t *ret_length)
{
    uint16_t index;

    driver_get(queue->used + 2, &index, sizeof index);
    if (index == queue->used_seen)
        return false;
    uint64_t slot = queue->used + 4 + 8 * (queue->used_seen++ % queue->size);
    driver_get(slot, ret_head, 4);
    driver_get(slot + 4, ret_length, 4);
    for (unsigned at = *ret_head;;) {
        struct virtq_descriptor descriptor;
        driver_get(queue->descriptors + 16 * at, &descriptor, sizeof descriptor);
        queue->free[at] = true;
        if (!(descriptor.flags & VIRTQ_NEXT) || descriptor.flags & VIRTQ_INDIRECT)
            break;
        at = descriptor.next;
    }
    return true;
}

static bool used_waits(void *argument)
{
    struct driver_queue *queue = argument;
    uint16_t index;

    driver_get(queue->used + 2, &index, sizeof index);
    return index != queue->used_seen;
}

bool driver_wait_used(struct driver_queue *queue, uint32_t *ret_head, uint32_t *ret_length)
{
    return fake_run_until(used_waits, queue) && driver_take_used(queue, ret_head, ret_length);
}

bool device_is_broken(struct device *device)
{
    return device_read(device, VIRTIO_STATUS) & VIRTIO_NEEDS_RESET;
}
