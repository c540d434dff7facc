/* vmcalls.c: calls on memory across regions and actors: vmCopy, vmCopyString, vmLock, vmAdvise, vmStat. */
#include <string.h>
#include "../call.h"
#include "../vm.h"
#include "cache.h"
#include "fault.h"
#include "mapping.h"

#define SLICE 131072u /* bytes copied without a pause */
#define STRING_MAX 65536u
#define PAGES_SLICE 512u

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* One piece, within a page on both sides. */
static int copy_piece(struct thread *thread, struct actor *source, uint64_t from, struct actor *target, uint64_t to, size_t part)
{
    char buffer[PAGE_SIZE];
    int status = vm_copy_in(thread, source, buffer, from, part);
    return status == K_OK ? vm_copy_out(thread, target, to, buffer, part) : status;
}

int64_t call_vmCopy(struct thread *thread)
{
    struct actor *source, *target;
    uint64_t from = thread->call.arg[1], to = thread->call.arg[3], size = thread->call.arg[4], *done = &thread->call.progress[0];
    int status = call_actor(thread, 0, &source);
    if (status == K_OK)
        status = call_actor(thread, 2, &target);
    if (status != K_OK)
        return status;
    if (from + size < from || to + size < to)
        return K_EFAULT;
    for (size_t slice = 0, part; *done < size; slice += part, *done += part) {
        if (slice >= SLICE && space_pause(thread) == K_BLOCKED)
            return K_BLOCKED;
        part = least(least(PAGE_SIZE - (from + *done) % PAGE_SIZE, PAGE_SIZE - (to + *done) % PAGE_SIZE), size - *done);
        status = copy_piece(thread, source, from + *done, target, to + *done, part);
        if (status != K_OK)
            return status;
    }
    return K_OK;
}

int64_t call_vmCopyString(struct thread *thread)
{
    struct actor *source;
    uint64_t from = thread->call.arg[1], to = thread->call.arg[2], size = least(thread->call.arg[3], STRING_MAX);
    char buffer[256];
    int status = call_actor(thread, 0, &source);
    if (status != K_OK)
        return status;
    for (uint64_t done = 0; done < size;) {
        size_t part = least(sizeof buffer, size - done);
        int length = vm_copy_string(thread, source, buffer, from + done, part);
        if (length < 0 && length != K_ETOOMUCH)
            return length;
        status = vm_copy_out(thread, thread->actor, to + done, buffer, length < 0 ? part : (size_t)length + 1);
        if (status != K_OK)
            return status;
        if (length >= 0)
            return (int64_t)done + length;
        done += part;
    }
    return K_ETOOMUCH;
}

/* The space and the pages of a call (cap, addr, size). */
static int call_pages(struct thread *thread, struct vm_space **ret_space, struct range *ret_range)
{
    uint64_t address = thread->call.arg[1], size = thread->call.arg[2];
    int status = call_space(thread, 0, ret_space);
    if (status == K_OK)
        status = range_of(*ret_space, address - address % PAGE_SIZE, size + address % PAGE_SIZE, ret_range);
    return status;
}

static int page_lock(struct thread *thread, struct vm_space *space, page_t page)
{
    struct region *region = region_find(space, page);
    frame_t frame;
    if (region == NULL || region->options & K_RESERVED || !(region->options & PROTECTION))
        return K_EFAULT;
    int status = page_get(region, page, region->options & K_WRITABLE, true, thread, &frame);
    if (status == K_OK)
        status = pin_add(space, page, frame);
    if (status == K_OK)
        space->locked++;
    return status;
}

/* Pages are brought in, written if they may be, and pinned: nothing takes them away, and a later fault finds them. progress[0]: how many. */
int64_t call_vmLock(struct thread *thread)
{
    struct vm_space *space;
    struct range range;
    uint64_t *done = &thread->call.progress[0];
    int status = call_pages(thread, &space, &range);
    for (unsigned slice = 0; status == K_OK && range.start + *done < range.end; slice++) {
        if (slice == PAGES_SLICE)
            status = space_pause(thread);
        if (status == K_OK)
            status = page_lock(thread, space, range.start + *done);
        if (status == K_OK)
            ++*done;
    }
    if (status == K_OK || status == K_BLOCKED)
        return status;
    for (; *done > 0; --*done) {
        pin_remove(space, range.start + *done - 1);
        space->locked--;
    }
    return status;
}

int64_t call_vmUnLock(struct thread *thread)
{
    struct vm_space *space;
    struct range range;
    int status = call_pages(thread, &space, &range);
    if (status != K_OK)
        return status;
    for (page_t page = range.start; page < range.end && space->pin_count > 0; page++) {
        if (pin_is_there(space, page) && space->locked > 0) {
            pin_remove(space, page);
            space->locked--;
        }
    }
    return K_OK;
}

/* Private pages of a range go: what is touched again is zero, or the segment's. */
static int discard(struct vm_space *space, struct range range)
{
    int status = tree_nodes_reserve(4 * TREE_NODES_PATH);
    if (status != K_OK)
        return status;
    for (size_t i = region_index(space, range.start); i < space->region_count; i++) {
        struct region *region = space->regions[i];
        page_t from = region->start > range.start ? region->start : range.start;
        page_t to = region->end < range.end ? region->end : range.end;
        if (from >= to)
            break;
        if (!region_is_private(region))
            continue;
        mapping_remove(space, from, to);
        tree_remove(&space->own.tree, from, to);
    }
    tree_reap(1024);
    return K_OK;
}

/* Pages that are going to be touched: those at hand are mapped, and zeros made, as long as nothing has to be waited for. */
static void make_ready(struct vm_space *space, struct range range)
{
    uint64_t left = PAGES_SLICE;
    frame_t frame;
    for (page_t page = range.start; page < range.end && left > 0; page++, left--) {
        struct region *region = region_find(space, page);
        if (region == NULL || region->options & K_RESERVED || !(region->options & PROTECTION))
            return;
        if (mapping_get(space, page) == 0 && page_get(region, page, region->options & K_WRITABLE, true, NULL, &frame) != K_OK)
            return;
    }
}

int64_t call_vmAdvise(struct thread *thread)
{
    struct vm_space *space;
    struct range range;
    int status = call_pages(thread, &space, &range);
    if (status != K_OK)
        return status;
    if (thread->call.arg[3] == K_ADVISE_DISCARD)
        return discard(space, range);
    if (thread->call.arg[3] != K_ADVISE_NEEDED)
        return K_EINVAL;
    make_ready(space, range);
    return K_OK;
}

static void site_stat(KnVmStat *stat)
{
    stat->pages = frame_total();
    stat->pagesFree = frame_free_count();
    stat->pagesCache = cached_pages();
    stat->pagesDirty = dirty_pages();
    LIST_FOR_EACH(link, &all_spaces) {
        struct vm_space *space = LIST_OWNER(link, struct vm_space, of_all);
        stat->pagesLocked += space->locked;
        stat->faults += space->faults;
    }
    stat->pagesPrivate = stat->pages - stat->pagesFree - stat->pagesCache;
}

static void space_stat(struct vm_space *space, KnVmStat *stat)
{
    stat->pages = space->mapped;
    stat->pagesFree = frame_free_count();
    stat->pagesPrivate = tree_count(&space->own.tree, 0, space->top, UINT64_MAX);
    stat->pagesLocked = space->locked;
    stat->virtualSize = space->pages * PAGE_SIZE;
    stat->faults = space->faults;
}

int64_t call_vmStat(struct thread *thread)
{
    struct vm_space *space;
    KnVmStat stat = {0};
    KnCap cap;
    int status = call_in(thread, thread->call.arg[0], &cap, sizeof cap);
    if (status < 0)
        return status;
    if (status == K_OK && uiIsCleared(&cap.ui)) {
        site_stat(&stat);
    } else {
        status = call_space(thread, 0, &space);
        if (status != K_OK)
            return status;
        space_stat(space, &stat);
    }
    status = call_out(thread, thread->call.arg[1], &stat, sizeof stat);
    return status > 0 ? K_EINVAL : status;
}

/* Whom to ask for temporary segments. Checked, and no more: nothing is paged out to it yet, see docs/memory.md. */
int64_t call_vmMapperDefault(struct thread *thread)
{
    KnUniqueId port;
    int status = call_in(thread, thread->call.arg[0], &port, sizeof port);
    if (status != K_OK)
        return status > 0 ? K_EINVAL : status;
    return uiGetType(&port) == K_UIPORT || uiGetType(&port) == K_UISTATPORT ? K_OK : K_EINVAL;
}
