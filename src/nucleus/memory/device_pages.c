/* device_pages.c: the pages of transfers, as devices see them.
 *
 * A mapper whose data lies on a device does not want to see it: it passes the request's <pages> on to the device's driver, which puts that address, with an
 * offset, into a descriptor. The device then reads or writes the frames of the transfer themselves. Nothing is mapped and nothing is copied.
 *
 * The address is a secret of 45 bits: who was not told it does not find a transfer, and a wrong one fails that request alone. It counts until the transfer ends; what
 * a device has pinned by then stays allocated until the device lets go of it, but belongs to the segment no more unless the mapper said that it came.
 */
#include <stdlib.h>
#include <string.h>
#include "../random.h"
#include "../vm.h"
#include "cache.h"

#define OFFSET_BITS 18
#define BUCKETS 64u
_Static_assert(TRANSFER_PAGES_DIRECT * PAGE_SIZE == 1u << OFFSET_BITS, "an address tells a byte of a transfer");
_Static_assert(TRANSFER_PAGES_DIRECT * PAGE_SIZE == K_MP_DIRECT_MAX, "as mappers are told");

static struct list visible[BUCKETS];

static struct list *bucket(uint64_t address)
{
    struct list *list = &visible[(address >> OFFSET_BITS) % BUCKETS];
    if (list->next == NULL)
        list_init(list);
    return list;
}

static struct transfer *transfer_at(uint64_t address)
{
    uint64_t begin = address >> OFFSET_BITS << OFFSET_BITS;
    LIST_FOR_EACH(link, bucket(begin)) {
        struct transfer *transfer = LIST_OWNER(link, struct transfer, of_visible);
        if (transfer->device_address == begin)
            return transfer;
    }
    return NULL;
}

void transfer_show(struct transfer *transfer)
{
    uint64_t address;
    do {
        random_bytes(&address, sizeof address);
        address = (address | VM_DEVICE_PAGES) >> OFFSET_BITS << OFFSET_BITS;
    } while (transfer_at(address) != NULL);
    transfer->device_address = address;
    list_append(bucket(address), &transfer->of_visible);
}

void transfer_hide(struct transfer *transfer)
{
    if (transfer->device_address == 0)
        return;
    list_remove(&transfer->of_visible);
    transfer->device_address = 0;
}

/* The device will write [begin, end) of a page. What it leaves must not show what the frame held before. */
static void page_give(struct transfer *transfer, size_t page, size_t begin, size_t end)
{
    uint64_t bit = 1ull << page;
    if (!(transfer->filled & bit) && (begin > 0 || end < PAGE_SIZE))
        memset(frame_bytes(transfer->frames[page]), 0, PAGE_SIZE);
    transfer->filled |= bit;
}

void *vm_pages_pin(uint64_t address, size_t size, bool write, size_t *ret_size, uint64_t *ret_frame)
{
    struct transfer *transfer = transfer_at(address);
    size_t offset = address & ((1u << OFFSET_BITS) - 1), done = 0;
    if (transfer == NULL || size == 0 || (transfer->kind == TRANSFER_PULL) != write || offset >= transfer->count * PAGE_SIZE ||
        size > transfer->count * PAGE_SIZE - offset)
        return NULL;
    frame_t first = transfer->frames[offset / PAGE_SIZE];
    while (done < size) {
        size_t page = (offset + done) / PAGE_SIZE, begin = (offset + done) % PAGE_SIZE;
        size_t end = size - done < PAGE_SIZE - begin ? begin + (size - done) : PAGE_SIZE;
        if (transfer->frames[page] != first + (page - offset / PAGE_SIZE))
            break;
        if (write)
            page_give(transfer, page, begin, end);
        frame_hold(transfer->frames[page]);
        done += end - begin;
    }
    *ret_size = done;
    *ret_frame = first;
    return (char *)frame_bytes(first) + offset % PAGE_SIZE;
}

void vm_pages_unpin(uint64_t frame, uint64_t address, size_t size)
{
    size_t pages = (address % PAGE_SIZE + size + PAGE_SIZE - 1) / PAGE_SIZE;
    for (size_t i = 0; i < pages; i++)
        frame_unhold((frame_t)(frame + i));
}
