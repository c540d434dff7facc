/* dup.c: copies of address spaces and of parts of them: rgnDup, rgnInitFromActor, rgnMapFromActor.
 *
 * A private region's pages are copied in one of two ways. Few writable ones are copied at once: that costs 0.3 us a page, and spares
 * each side a fault of 12 us and the source an order. Otherwise both sides share the tree's nodes, the source's mappings become read-only,
 * and who writes copies (fault.c). The latter is also the way when threads of the source are running: what they write meanwhile
 * must not come into the copy in parts.
 */
#include <string.h>
#include "../call.h"
#include "budget.h"
#include "cache.h"
#include "fault.h"
#include "mapping.h"

#define COPY_AT_ONCE 256 /* pages that a call copies at most */
#define MAP_AT_ONCE 2048 /* pages of segments that rgnDup maps at most, */
#define MAP_PRIVATE 256  /* and pages of its own */

/* A copy that is being made. */
struct copy {
    struct vm_space *target, *source;
    uint64_t budget; /* pages that may still be copied at once */
    bool running;    /* threads of the source run meanwhile */
};

static bool actor_runs(const struct actor *actor, const struct thread *caller)
{
    LIST_FOR_EACH(link, &actor->threads) {
        const struct thread *thread = LIST_OWNER(link, struct thread, of_actor);
        if (thread != caller && thread->state == THREAD_RUNNING)
            return true;
    }
    return false;
}

static struct copy copy_begin(struct vm_space *target, struct vm_space *source, struct thread *thread)
{
    return (struct copy){target, source, COPY_AT_ONCE, actor_runs(source->actor, thread)};
}

static void object_slot(struct tree *tree, page_t page, frame_t frame)
{
    frame_slot_add(frame);
    tree_set(tree, page, SLOT_USED | frame);
}

/* Copy the pages [from, to) of a tree now, <count> of them, to <shift> pages further in the target's own. K_ENOMEM: to be deferred. */
static int copy_now(struct copy *copy, const struct tree *tree, page_t from, page_t to, page_t shift, uint64_t count)
{
    page_t page = from;
    uint32_t slot;
    frame_t run = 0;
    size_t left = 0;
    if (frame_free_count() < 2 * count + 64)
        return K_ENOMEM;
    while (tree_next(tree, &page, to, &slot)) {
        if (left == 0 && (left = frame_take(count, FRAME_FOR_COPY, &run)) == 0)
            return K_ENOMEM; /* what was copied is replaced by sharing */
        memcpy(frame_bytes(run), frame_bytes(slot_frame(slot)), PAGE_SIZE);
        object_slot(&copy->target->own.tree, page + shift, run++);
        page++;
        left--;
        count--;
    }
    frame_return(run, left);
    return K_OK;
}

/* A window's pages become read-only; the target's are final when that is reported. */
static int window_withdraw(struct copy *copy, struct region *window, page_t from, page_t to)
{
    struct vm_space *space = window->space;
    mapping_withdraw(space, from, to, HOST_WRITE);
    if (!space_takes_orders(space))
        return K_OK;
    space->protected_at = host_space_ticket(space->host);
    return space_add_source(copy->target, space, space->protected_at);
}

/* The source's pages become read-only wherever they are mapped. */
static int source_withdraw(struct copy *copy, struct region *region, page_t from, page_t to)
{
    int status = K_OK;
    if (!region->object->shared)
        return window_withdraw(copy, region, from, to);
    page_t key = region_object_page(region, from), last = region_object_page(region, to);
    LIST_FOR_EACH(link, &region->object->windows) {
        struct region *window = LIST_OWNER(link, struct region, of_object);
        page_t first = window->object_page > key ? window->object_page : key;
        page_t end = window->object_page + (window->end - window->start);
        if (end > last)
            end = last;
        if (first < end && status == K_OK)
            status = window_withdraw(copy, window, window->start + (first - window->object_page), window->start + (end - window->object_page));
    }
    return status;
}

/* A page that a device may be writing is not shared: the copy gets its own now. */
static int copy_pinned(struct copy *copy, struct region *region, page_t from, page_t to, page_t shift)
{
    for (size_t i = 0; i < copy->source->pin_count; i++) {
        page_t page = copy->source->pins[i].page;
        uint32_t slot = tree_get(&copy->target->own.tree, page + shift);
        frame_t frame;
        if (page < from || page >= to || region->object->shared || !slot_present(slot))
            continue;
        if (frame_take(1, FRAME_FOR_COPY, &frame) == 0)
            return K_ENOMEM;
        memcpy(frame_bytes(frame), frame_bytes(slot_frame(slot)), PAGE_SIZE);
        object_slot(&copy->target->own.tree, page + shift, frame);
        frame_slot_drop(slot_frame(slot));
    }
    return K_OK;
}

/* Let the target have copies of the pages [from, to) of a region with an object, from <at> on. */
static int copy_pages(struct copy *copy, struct region *region, page_t from, page_t to, page_t at)
{
    struct tree *tree = &region->object->tree;
    page_t key = region_object_page(region, from), end = key + (to - from);
    bool writable = region->options & K_WRITABLE || region->object->shared;
    int status = tree_nodes_reserve(tree_share_nodes(at, key, to - from) + tree_nodes_for(COPY_AT_ONCE) + 4 * TREE_NODES_PATH);
    if (status != K_OK)
        return status;
    if (writable && !copy->running) {
        uint64_t count = tree_count(tree, key, end, copy->budget + 1);
        if (count <= copy->budget) {
            copy->budget -= count;
            if (copy_now(copy, tree, key, end, at - key, count) == K_OK)
                return K_OK;
            tree_remove(&copy->target->own.tree, at, at + (to - from));
        }
    }
    tree_share(&copy->target->own.tree, at, tree, key, to - from);
    if (writable)
        status = source_withdraw(copy, region, from, to);
    return status == K_OK ? copy_pinned(copy, region, from, to, at - from) : status;
}

/* What a copy of a region is in the target, pages apart. */
static struct region copy_model(struct vm_space *target, const struct region *region, page_t from, page_t to, page_t at)
{
    struct region model = *region;
    model.start = at;
    model.end = at + (to - from);
    model.object = &target->own;
    model.object_page = at;
    model.cache_page = region_cache_page(region, from);
    model.next_fault = model.window = 0;
    return model;
}

static int dup_region(struct copy *copy, struct region *region)
{
    if (region->options & K_INHERITNONE)
        return K_OK;
    struct region model = *region;
    if (region->options & K_INHERITSHARE) {
        int status = object_share(region);
        model.object = region->object;
        model.object_page = region->object_page;
        return status == K_OK ? region_add(copy->target, &model) : status;
    }
    model = copy_model(copy->target, region, region->start, region->end, region->start);
    int status = region_add(copy->target, &model);
    if (status == K_OK && region->object != NULL)
        status = copy_pages(copy, region, region->start, region->end, region->start);
    return status;
}

/* From <page> on, entries of neighbouring frames of a cache with one protection: how many. */
static size_t cache_run(struct vm_space *source, page_t page, page_t end, uint32_t entry)
{
    size_t count = 0;
    struct tree_node *leaf = NULL;
    bool own;
    for (; page < end; page++, count++) {
        if (leaf == NULL || page % TREE_WAYS == 0)
            leaf = tree_leaf(&source->table, page, &own);
        if (leaf == NULL || leaf->slot[page % TREE_WAYS] != entry + count || !(frame_record(entry_frame(entry) + count)->flags & FRAME_CACHE))
            break;
    }
    return count;
}

static size_t private_run(struct vm_space *source, page_t page, page_t end)
{
    size_t count = 0;
    for (uint32_t entry; page < end; page++, count++) {
        entry = mapping_get(source, page);
        if (entry == 0 || frame_record(entry_frame(entry))->flags & FRAME_CACHE)
            break;
    }
    return count;
}

/* Map in the target what is mapped in the source, as far as it may be: the copy is going to run the same code. */
static void dup_mappings(struct vm_space *target, struct vm_space *source)
{
    uint64_t left = MAP_AT_ONCE, left_private = MAP_PRIVATE;
    for (size_t i = 0; i < target->region_count && left > 0; i++) {
        struct region *region = target->regions[i];
        uint32_t entry;
        size_t count;
        for (page_t page = region->start; left > 0 && tree_next(&source->table, &page, region->end, &entry); page += count) {
            page_t end = region->end - page < left ? region->end : page + left;
            count = cache_run(source, page, end, entry);
            if (count > 0) {
                unsigned protection = entry_protection(entry) & ~(region->object != NULL ? (unsigned)HOST_WRITE : 0);
                mapping_set(target, page, entry_frame(entry), count, protection);
                left -= count;
                continue;
            }
            count = private_run(source, page, end);
            if (count > left_private)
                break;
            page_map_present(region, page, page + count);
            left_private -= count;
        }
    }
}

/* Everything but the waiting: nothing of the target is left if it fails. */
static int space_dup(struct vm_space *target, struct vm_space *source, struct thread *thread)
{
    struct copy copy = copy_begin(target, source, thread);
    int status = K_OK;
    for (size_t i = 0; i < source->region_count && status == K_OK; i++)
        status = dup_region(&copy, source->regions[i]);
    if (status == K_OK)
        status = mapping_reserve(MAP_AT_ONCE);
    if (status != K_OK) {
        region_free_range(target, target->bottom, target->top);
        return status;
    }
    dup_mappings(target, source);
    budget_keep(target, UINT64_MAX);
    return K_OK;
}

/* A supervisor space has a range of its own. */
static bool space_has_room_for(const struct vm_space *target, const struct vm_space *source)
{
    return source->region_count == 0 || (source->regions[0]->start >= target->bottom &&
                                         source->regions[source->region_count - 1]->end <= target->top);
}

int64_t call_rgnDup(struct thread *thread)
{
    struct vm_space *target, *source;
    int status = call_space(thread, 0, &target);
    if (status == K_OK)
        status = call_space(thread, 1, &source);
    if (status != K_OK)
        return status;
    if (target == source || thread->call.arg[2] != 0)
        return K_EINVAL;
    if (target->region_count > 0)
        return K_EOVERLAP;
    if (!space_has_room_for(target, source))
        return K_ESPACE;
    status = space_settled(source, thread);
    if (status == K_OK)
        status = space_settled(target, thread);
    if (status == K_OK)
        status = space_dup(target, source, thread);
    return status;
}

/* --- parts of another actor's memory --- */

/* Are all pages of the range in regions that show something? */
static bool range_is_covered(struct vm_space *space, page_t from, page_t to)
{
    while (from < to) {
        struct region *region = region_find(space, from);
        if (region == NULL || region->options & K_RESERVED)
            return false;
        from = region->end;
    }
    return true;
}

/* Add to the target what corresponds to the source's [from, from + pages) at <at>. */
static int add_pieces(struct copy *copy, page_t from, struct range at, uint32_t options, uint32_t opaque, bool share)
{
    int status = K_OK;
    for (page_t to = at.start; to < at.end && status == K_OK;) {
        struct region *region = region_find(copy->source, from);
        page_t end = region->end - from < at.end - to ? region->end : from + (at.end - to);
        if (share)
            status = object_share(region);
        struct region model = copy_model(copy->target, region, from, end, to);
        if (share && region->object != NULL)
            model.object_page = region_object_page(region, from);
        if (share)
            model.object = region->object;
        model.options = options;
        model.opaque = opaque;
        if (status == K_OK)
            status = region_add(copy->target, &model);
        if (status == K_OK && !share && region->object != NULL)
            status = copy_pages(copy, region, from, end, to);
        to += end - from;
        from = end;
    }
    return status;
}

static int from_actor(struct thread *thread, bool share)
{
    struct vm_space *target, *source;
    struct range range;
    KnRgnDesc rgn;
    page_t from = PAGE_OF(thread->call.arg[3]);
    int status = call_space(thread, 0, &target);
    if (status == K_OK)
        status = call_space(thread, 2, &source);
    if (status == K_OK)
        status = call_in(thread, thread->call.arg[1], &rgn, sizeof rgn);
    if (status == K_OK)
        status = range_for_new(target, &rgn, &range);
    if (status != K_OK)
        return status > 0 ? K_EINVAL : status;
    page_t pages = range.end - range.start;
    bool overlap = target == source && from < range.end && range.start < from + pages;
    if (thread->call.arg[3] % PAGE_SIZE != 0 || from + pages < from || overlap)
        return K_EINVAL;
    if (!range_is_covered(source, from, from + pages))
        return K_EFAULT;
    status = space_settled(source, thread);
    if (status == K_OK)
        status = space_settled(target, thread);
    if (status != K_OK)
        return status;
    rgn.startAddr = ADDRESS_OF(range.start);
    rgn.size = pages * PAGE_SIZE;
    status = call_out(thread, thread->call.arg[1], &rgn, sizeof rgn);
    if (status == K_OK)
        status = region_free_range(target, range.start, range.end);
    if (status != K_OK)
        return status;
    struct copy copy = copy_begin(target, source, thread);
    status = add_pieces(&copy, from, range, region_options(rgn.options), rgn.opaque, share);
    if (status != K_OK)
        region_free_range(target, range.start, range.end);
    return status;
}

int64_t call_rgnMapFromActor(struct thread *thread) { return from_actor(thread, true); }
int64_t call_rgnInitFromActor(struct thread *thread) { return from_actor(thread, false); }
