/* rgn.c: the calls that make, free and describe regions. */
#include <string.h>
#include "../call.h"
#include "../vm.h"
#include "budget.h"
#include "cache.h"
#include "fault.h"
#include "mapping.h"

#define OPTIONS_KNOWN (PROTECTION | K_ANYWHERE | K_OVERWRITE | K_RESERVED | K_INHERITSHARE | K_INHERITCOPY | K_INHERITNONE | \
                       K_NOSWAPOUT | K_NODEMAND)
#define OPTIONS_KEPT (PROTECTION | K_RESERVED | K_INHERITSHARE | K_INHERITCOPY | K_INHERITNONE | K_NOSWAPOUT)
#define INHERITANCE (K_INHERITSHARE | K_INHERITCOPY | K_INHERITNONE)

int call_space(struct thread *thread, unsigned index, struct vm_space **ret_space)
{
    struct actor *actor;
    int status = call_actor(thread, index, &actor);
    if (status != K_OK)
        return status;
    *ret_space = actor->vm;
    return actor->vm != NULL && actor->vm->actor != NULL ? K_OK : K_EUNKNOWN;
}

/* Bytes to pages, rounded up; 0 if there is none or no space has so many. */
static page_t pages_of(VmSize size)
{
    return size == 0 || size > (VmSize)1 << 47 ? 0 : (size + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

int range_of(struct vm_space *space, VmAddr start, VmSize size, struct range *ret_range)
{
    page_t pages = pages_of(size), first = PAGE_OF(start);
    if (start % PAGE_SIZE != 0 || pages == 0)
        return K_EINVAL;
    if (first < space->bottom || first > space->top || pages > space->top - first)
        return K_ESPACE;
    *ret_range = (struct range){first, first + pages};
    return K_OK;
}

static bool options_are_good(uint32_t options)
{
    uint32_t inheritance = options & INHERITANCE;
    return (options & ~OPTIONS_KNOWN) == 0 && (inheritance & (inheritance - 1)) == 0;
}

uint32_t region_options(uint32_t options)
{
    return (options & OPTIONS_KEPT) | (options & INHERITANCE ? 0 : K_INHERITCOPY);
}

#define ALIGN_LARGE (1u << TREE_BITS << TREE_BITS) /* pages; large regions lie alike in the nodes of their trees */

int range_for_new(struct vm_space *space, const KnRgnDesc *rgn, struct range *ret_range)
{
    page_t pages = pages_of(rgn->size), end = PAGE_OF(rgn->endAddr);
    if (!options_are_good(rgn->options) || pages == 0)
        return K_EINVAL;
    if (!(rgn->options & K_ANYWHERE)) {
        int status = range_of(space, rgn->startAddr, rgn->size, ret_range);
        if (status != K_OK || rgn->options & K_OVERWRITE)
            return status;
        return region_range_is_free(space, ret_range->start, ret_range->end) ? K_OK : K_EOVERLAP;
    }
    if (rgn->options & K_OVERWRITE)
        return K_EINVAL;
    page_t start = region_gap(space, end == 0 ? space->top : end, pages, pages >= ALIGN_LARGE ? ALIGN_LARGE : 1, 0);
    if (start == 0)
        start = region_gap(space, end == 0 ? space->top : end, pages, 1, 0);
    if (start == 0)
        return K_ESPACE;
    *ret_range = (struct range){start, start + pages};
    return K_OK;
}

#define AT_ONCE 512u /* pages that K_NODEMAND brings in */
#define SMALL 64u    /* a region of zeros at an address that was asked for, with no more pages, gets its first ones at once: a heap that grows, */
#define SMALL_FIRST 16u /* so many */
#define SMALL_COPY 32u /* pages of a copy of a segment that is made at once, */
#define PLENTY 1024u /* free frames, or nothing is filled before it is asked for */
#define LARGE 1024u  /* and pages of a segment that are mapped at once if they are in memory */

/* Pages that are to be there at once. Failing is no error: they come at the first access, as do those that are too many. */
static void populate(struct vm_space *space, struct range range, uint64_t most)
{
    frame_t frame;
    for (page_t page = range.start; page < range.end && page < range.start + most; page++) {
        struct region *region = region_find(space, page);
        if (mapping_get(space, page) == 0 && page_get(region, page, region->options & K_WRITABLE, true, NULL, &frame) != K_OK)
            return;
    }
}

/* What will surely be touched is mapped with the region: an order more costs 2 us, a fault 12. That is what can only be read and is in memory (a
 * program's text), and small regions that can be written (its data, its heap). New zeros anywhere may be for later, and the orders of a program that runs cost
 * a change to its agent and back, 20 us: they wait for the first touch. */
static void map_at_once(struct vm_space *space, uint32_t options, struct range range, const struct region *model)
{
    page_t pages = range.end - range.start;
    if (options & K_RESERVED || !(options & PROTECTION))
        return;
    if (options & K_NODEMAND) {
        populate(space, range, AT_ONCE);
    } else if (model->cache != NULL && !(options & K_WRITABLE)) {
        if (mapping_reserve(LARGE) == K_OK)
            page_map_present(region_find(space, range.start), range.start, pages < LARGE ? range.end : range.start + LARGE);
    } else if (model->cache == NULL && options & K_ANYWHERE) {
        return;
    } else if (options & K_WRITABLE && model->object != NULL && frame_available_count() > PLENTY && pages <= (model->cache == NULL ? SMALL : SMALL_COPY)) {
        populate(space, range, model->cache == NULL ? SMALL_FIRST : SMALL_COPY);
    }
}

int region_place(struct thread *thread, struct vm_space *space, KnRgnDesc *rgn, uint64_t argument, struct range range, struct region *model)
{
    int status = K_OK;
    rgn->startAddr = ADDRESS_OF(range.start);
    rgn->size = (range.end - range.start) * PAGE_SIZE;
    if (thread != NULL)
        status = call_out(thread, argument, rgn, sizeof *rgn);
    if (status == K_OK && rgn->options & K_OVERWRITE)
        status = region_free_range(space, range.start, range.end);
    if (status != K_OK)
        return status;
    model->start = range.start;
    model->end = range.end;
    model->options = region_options(rgn->options);
    model->opaque = rgn->opaque;
    status = region_add(space, model);
    if (status == K_OK)
        map_at_once(space, rgn->options, range, model);
    return status;
}

/* A region of zeros; with K_INHERITSHARE its pages are made to be shared from the beginning. */
static int allocate(struct vm_space *space, KnRgnDesc *rgn, struct range range, struct thread *thread, uint64_t argument)
{
    struct region model = {.object = &space->own, .object_page = range.start, .cache_bytes = UINT64_MAX};
    if (rgn->options & K_INHERITSHARE) {
        model.object = object_create();
        if (model.object == NULL)
            return K_ENOMEM;
        object_ref(model.object);
    }
    int status = region_place(thread, space, rgn, argument, range, &model);
    if (model.object != &space->own)
        object_unref(model.object);
    return status;
}

int64_t call_rgnAllocate(struct thread *thread)
{
    struct vm_space *space;
    struct range range;
    KnRgnDesc rgn;
    int status = call_space(thread, 0, &space);
    if (status == K_OK)
        status = call_in(thread, thread->call.arg[1], &rgn, sizeof rgn);
    if (status == K_OK)
        status = range_for_new(space, &rgn, &range);
    if (status == K_OK)
        status = allocate(space, &rgn, range, thread, thread->call.arg[1]);
    return status > 0 ? K_EINVAL : status;
}

int vm_region_allocate(struct actor *actor, KnRgnDesc *rgn)
{
    struct range range;
    int status = range_for_new(actor->vm, rgn, &range);
    if (status == K_OK)
        status = allocate(actor->vm, rgn, range, NULL, 0);
    return status;
}

/* The space and range of a call (cap, rgn). */
static int call_range(struct thread *thread, struct vm_space **ret_space, KnRgnDesc *rgn, struct range *ret_range)
{
    int status = call_space(thread, 0, ret_space);
    if (status == K_OK)
        status = call_in(thread, thread->call.arg[1], rgn, sizeof *rgn);
    if (status == K_OK)
        status = range_of(*ret_space, rgn->startAddr, rgn->size, ret_range);
    return status > 0 ? K_EINVAL : status;
}

#define FREE_SLICE 4096u /* pages whose mappings are taken away without a pause */

/* progress[0]: the page that it got to. */
int64_t call_rgnFree(struct thread *thread)
{
    struct vm_space *space;
    struct range range;
    KnRgnDesc rgn;
    uint64_t *at = &thread->call.progress[0];
    int status = call_range(thread, &space, &rgn, &range);
    if (status != K_OK)
        return status;
    if (*at < range.start || *at > range.end)
        *at = range.start;
    while (*at < range.end) {
        page_t to = mapping_end_of(space, *at, range.end, FREE_SLICE);
        status = region_free_range(space, *at, to);
        if (status != K_OK)
            return status;
        *at = to;
        if (to < range.end && space_pause(thread) == K_BLOCKED)
            return K_BLOCKED;
    }
    return K_OK;
}

/* Give the regions of a range other options: those of <mask> become <options>. Stops at a hole: K_EFAULT. */
static int options_change(struct vm_space *space, struct range range, uint32_t mask, uint32_t options)
{
    int status = region_split(space, range.start);
    if (status == K_OK)
        status = region_split(space, range.end);
    page_t at = range.start;
    while (status == K_OK && at < range.end) {
        struct region *region = region_find(space, at);
        if (region == NULL) {
            status = K_EFAULT;
            break;
        }
        region->options = (region->options & ~mask) | options;
        at = region->end;
    }
    return status;
}

/* What is mapped follows new protections: less at once, more where a page may have it. */
static void mappings_follow(struct vm_space *space, struct range range)
{
    for (size_t i = region_index(space, range.start); i < space->region_count; i++) {
        struct region *region = space->regions[i];
        page_t from = region->start > range.start ? region->start : range.start;
        page_t to = region->end < range.end ? region->end : range.end;
        if (from >= to)
            break;
        page_map_adjust(region, from, to);
    }
}

static int range_protect(struct vm_space *space, struct range range, uint32_t options)
{
    if (!options_are_good(options))
        return K_EINVAL;
    int status = options_change(space, range, PROTECTION | K_RESERVED, options & (PROTECTION | K_RESERVED));
    mappings_follow(space, range);
    budget_keep(space, UINT64_MAX);
    region_merge_range(space, range.start, range.end);
    return status;
}

int64_t call_rgnSetProtect(struct thread *thread)
{
    struct vm_space *space;
    struct range range;
    KnRgnDesc rgn;
    int status = call_range(thread, &space, &rgn, &range);
    return status == K_OK ? range_protect(space, range, rgn.options) : status;
}

int vm_region_protect(struct actor *actor, const KnRgnDesc *rgn)
{
    struct range range;
    int status = range_of(actor->vm, rgn->startAddr, rgn->size, &range);
    return status == K_OK ? range_protect(actor->vm, range, rgn->options) : status;
}

int64_t call_rgnSetInherit(struct thread *thread)
{
    struct vm_space *space;
    struct range range;
    KnRgnDesc rgn;
    int status = call_range(thread, &space, &rgn, &range);
    if (status != K_OK)
        return status;
    if (!options_are_good(rgn.options))
        return K_EINVAL;
    uint32_t inheritance = rgn.options & INHERITANCE ? rgn.options & INHERITANCE : K_INHERITCOPY;
    status = options_change(space, range, INHERITANCE, inheritance);
    region_merge_range(space, range.start, range.end);
    return status;
}

int64_t call_rgnStat(struct thread *thread)
{
    struct vm_space *space;
    int status = call_space(thread, 0, &space);
    if (status != K_OK)
        return status;
    size_t index = region_index(space, PAGE_OF(thread->call.arg[1]));
    if (index == space->region_count)
        return K_EUNKNOWN;
    struct region *region = space->regions[index];
    KnRgnStat stat = {
        .startAddr = ADDRESS_OF(region->start),
        .size = (region->end - region->start) * PAGE_SIZE,
        .options = region->options,
        .opaque = region->opaque,
        .pagesMapped = tree_count(&space->table, region->start, region->end, UINT64_MAX),
    };
    if (region->cache != NULL) {
        stat.dataObject = cache_segment(region->cache);
        stat.offset = region->cache_page * PAGE_SIZE;
    }
    if (region->object != NULL)
        stat.pagesPrivate = tree_count(&region->object->tree, region->object_page,
                                       region->object_page + (region->end - region->start), UINT64_MAX);
    return call_out(thread, thread->call.arg[2], &stat, sizeof stat);
}

void vm_actor_counts(struct actor *actor, uint32_t *ret_regions, uint64_t *ret_bytes)
{
    *ret_regions = actor->vm == NULL ? 0 : actor->vm->region_count;
    *ret_bytes = actor->vm == NULL ? 0 : actor->vm->mapped * PAGE_SIZE;
}
