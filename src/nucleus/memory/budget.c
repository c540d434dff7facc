/* budget.c: the mapping budget.
 *
 * The host gives a process some 65,000 mappings; pages that were written here and there after a deferred copy, one mapping each, would use that up with 255 MB. From half
 * of the budget on, a fault in a stretch of private memory that is in many pieces copies the stretch into one run, which is one mapping: first
 * nothing of it is mapped any more, and when the machine has reported that, nobody can write it while it is copied. And near the limit,
 * whatever else is mapped in small pieces is unmapped, a stretch at a time in turn: it comes back by faults. The actor never sees an error.
 */
#include "budget.h"

#include <string.h>
#include "cache.h"
#include "fault.h"
#include "mapping.h"

#define STRETCH 128u /* pages: copying them takes some 50 us */
#define PIECES 8u    /* in fewer pieces a stretch is good enough */

/* Supervisor spaces are in one process of the host, where a hole between two mappings counts as one, too; and that process has others. */
static size_t budget_of(const struct vm_space *space) { return host_space_mappings_max() / (space->supervisor ? 4 : 1); }

bool budget_is_tight(const struct vm_space *space) { return mapping_count_shared(space) > budget_of(space) / 2; }

static struct range stretch_of(const struct region *region, page_t page)
{
    struct range range = {page & ~(page_t)(STRETCH - 1), (page | (STRETCH - 1)) + 1};
    if (range.start < region->start)
        range.start = region->start;
    if (range.end > region->end)
        range.end = region->end;
    return range;
}

/* In how many pieces would the stretch be mapped? */
static unsigned stretch_pieces(struct region *region, struct range range)
{
    unsigned pieces = 0, before_allowed = 0;
    frame_t before = FRAME_NONE;
    for (page_t page = range.start; page < range.end; page++) {
        frame_t frame = FRAME_NONE;
        unsigned allowed = page_allowed(region, page, &frame);
        pieces += allowed != 0 && (allowed != before_allowed || frame != before + 1);
        before = frame;
        before_allowed = allowed;
    }
    return pieces;
}

/* What the region shows at <page>, into a frame of its own. */
static void page_copy(struct region *region, page_t page, frame_t to)
{
    frame_t frame;
    if (page_allowed(region, page, &frame) != 0)
        memcpy(frame_bytes(to), frame_bytes(frame), PAGE_SIZE);
    else
        memset(frame_bytes(to), 0, PAGE_SIZE);
}

/* Are there pages that cannot be copied now: their segment's cache has not got them, or a device uses them? */
static bool stretch_is_fixed(struct region *region, struct range range)
{
    for (page_t page = range.start; page < range.end; page++) {
        frame_t frame;
        if (region->space->pin_count > 0 && pin_is_there(region->space, page))
            return true;
        if (region->cache != NULL && page_allowed(region, page, &frame) == 0)
            return true;
    }
    return false;
}

static void stretch_copy(struct region *region, struct range range)
{
    frame_t first;
    size_t pages = range.end - range.start, got = frame_take(pages, FRAME_FOR_COPY, &first);
    if (got < pages || tree_nodes_reserve(tree_nodes_for(pages)) != K_OK) {
        frame_return(first, got);
        return;
    }
    for (size_t i = 0; i < pages; i++) {
        page_t page = range.start + i;
        uint32_t old = tree_get(&region->object->tree, page);
        page_copy(region, page, first + i);
        frame_slot_add(first + i);
        tree_set(&region->object->tree, page, SLOT_USED | (first + i));
        if (old != 0)
            frame_slot_drop(slot_frame(old));
    }
}

int budget_gather(struct region *region, page_t page, struct thread *thread)
{
    struct vm_space *space = region->space;
    struct range range = stretch_of(region, page);
    if (!region_is_private(region) || thread == NULL || frame_free_count() < frame_total() / 16)
        return K_OK;
    if (stretch_pieces(region, range) < PIECES || stretch_is_fixed(region, range))
        return K_OK;
    mapping_remove(space, range.start, range.end);
    if (space_takes_orders(space)) {
        int status = space_await(space, host_space_ticket(space->host), thread);
        if (status == K_OK)
            status = space_settled(space, thread);
        if (status != K_OK)
            return status;
    }
    stretch_copy(region, range);
    page_map_present(region, range.start, range.end);
    return K_OK;
}

/* Unmap the next stretch that is in pieces, from where the last one was; not around <page>. False: there is none. */
static bool unmap_next(struct vm_space *space, page_t page)
{
    for (unsigned round = 0; round < 2; round++) {
        page_t at = space->budget_hand;
        struct tree_node *leaf;
        while ((leaf = tree_next_leaf(&space->table, &at, space->top)) != NULL) {
            page_t from = at & ~(page_t)(TREE_WAYS - 1), to = from + TREE_WAYS;
            uint64_t before = space->machine_mappings;
            at = to;
            if (page >= from && page < to)
                continue;
            if (leaf->used > 1 && mapping_pieces(space, from, to) < 4)
                continue;
            mapping_remove(space, from, to);
            space->budget_hand = to;
            if (space->machine_mappings < before)
                return true;
        }
        space->budget_hand = 0;
    }
    return false;
}

void budget_keep(struct vm_space *space, page_t page)
{
    size_t most = budget_of(space), high = most - most / 8, low = high - most / 16;
    if (mapping_count_shared(space) <= high)
        return;
    while (mapping_count_shared(space) > low && unmap_next(space, page))
        ;
}
