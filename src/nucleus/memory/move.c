/* move.c: rgnMove: a range gets another place or another size. Pages move by their nodes in the tree; none is copied. */
#include "../call.h"
#include "cache.h"
#include "fault.h"
#include "mapping.h"

#define MAP_AT_ONCE 512 /* pages mapped at their new place; others come by faults */

/* What the part [from, ..) of a region is when it is shown at [to.start, to.end). */
static struct region moved_model(const struct region *region, page_t from, struct range to)
{
    struct region model = *region;
    model.start = to.start;
    model.end = to.end;
    model.object_page = region_is_private(region) ? to.start : region_object_page(region, from);
    model.cache_page = region_cache_page(region, from);
    model.next_fault = model.window = 0;
    return model;
}

static int resize_in_place(struct vm_space *space, struct region *region, struct range old, page_t pages)
{
    page_t end = old.start + pages;
    if (end <= old.end)
        return end == old.end ? K_OK : region_free_range(space, end, old.end);
    if (end > space->top || old.end != region->end || !region_range_is_free(space, old.end, end))
        return K_ESPACE;
    struct region model = moved_model(region, old.end, (struct range){old.end, end});
    return region_add(space, &model);
}

/* The new place; it may hold something only if it is to be overwritten. */
static int place_find(struct vm_space *space, const KnRgnDesc *rgn, struct range old, struct range *ret_range)
{
    if (rgn->options & K_ANYWHERE) {
        page_t pages = (rgn->size + PAGE_SIZE - 1) >> PAGE_SHIFT, limit = rgn->endAddr == 0 ? space->top : PAGE_OF(rgn->endAddr);
        uint64_t align = pages >= TREE_WAYS * TREE_WAYS ? TREE_WAYS * TREE_WAYS : TREE_WAYS;
        page_t start = region_gap(space, limit, pages, align, old.start);
        if (start == 0)
            start = region_gap(space, limit, pages, 1, 0);
        *ret_range = (struct range){start, start + pages};
        return start == 0 ? K_ESPACE : K_OK;
    }
    int status = range_of(space, rgn->startAddr, rgn->size, ret_range);
    if (status != K_OK)
        return status;
    if (ret_range->start < old.end && old.start < ret_range->end)
        return K_EOVERLAP;
    return rgn->options & K_OVERWRITE || region_range_is_free(space, ret_range->start, ret_range->end) ? K_OK : K_EOVERLAP;
}

static int move(struct vm_space *space, struct range old, struct range to)
{
    page_t pages = old.end - old.start < to.end - to.start ? old.end - old.start : to.end - to.start;
    int status = region_free_range(space, to.start, to.end);
    if (status == K_OK)
        status = tree_nodes_reserve(tree_share_nodes(to.start, old.start, pages) + 4 * TREE_NODES_PATH);
    if (status == K_OK)
        status = mapping_reserve(MAP_AT_ONCE);
    if (status == K_OK)
        status = region_split(space, old.start);
    if (status == K_OK)
        status = region_split(space, old.end);
    if (status != K_OK)
        return status;
    struct region *region = region_find(space, old.start);
    struct region model = moved_model(region, old.start, to);
    bool private = region_is_private(region);
    status = region_add(space, &model);
    if (status != K_OK)
        return status;
    if (private)
        tree_share(&space->own.tree, to.start, &space->own.tree, old.start, pages);
    region_free_range(space, old.start, old.end);
    page_map_present(region_find(space, to.start), to.start, to.start + (pages < MAP_AT_ONCE ? pages : MAP_AT_ONCE));
    return K_OK;
}

int64_t call_rgnMove(struct thread *thread)
{
    struct vm_space *space;
    struct range old, to;
    KnRgnDesc rgn;
    int status = call_space(thread, 0, &space);
    if (status == K_OK)
        status = call_in(thread, thread->call.arg[1], &rgn, sizeof rgn);
    if (status == K_OK)
        status = range_of(space, thread->call.arg[2], thread->call.arg[3], &old);
    if (status == K_OK && (rgn.size == 0 || rgn.size > (VmSize)1 << 47 || rgn.options & ~(uint32_t)(K_ANYWHERE | K_OVERWRITE)))
        status = K_EINVAL;
    if (status != K_OK)
        return status > 0 ? K_EINVAL : status;
    struct region *region = region_find(space, old.start);
    if (region == NULL || region->end < old.end)
        return K_EFAULT;
    page_t pages = (rgn.size + PAGE_SIZE - 1) >> PAGE_SHIFT;
    bool in_place = !(rgn.options & K_ANYWHERE) && rgn.startAddr == thread->call.arg[2];
    if (!in_place)
        status = place_find(space, &rgn, old, &to);
    if (status != K_OK)
        return status;
    rgn.startAddr = in_place ? rgn.startAddr : ADDRESS_OF(to.start);
    rgn.size = pages * PAGE_SIZE;
    status = call_out(thread, thread->call.arg[1], &rgn, sizeof rgn);
    if (status != K_OK)
        return status;
    return in_place ? resize_in_place(space, region, old, pages) : move(space, old, to);
}
