/* segment.c: calls on segments: windows and copies (rgnMap, rgnInit), explicit reading and writing, writing back.
 *
 * Long copies go in slices; how far one got is in call.progress[0], so that a call that waited goes on there.
 */
#include <string.h>
#include "../call.h"
#include "../vm.h"
#include "cache.h"
#include "mapping.h"
#include "pressure.h"

#define SLICE 131072u              /* bytes copied without a pause */
#define MOST ((VmSize)1 << 30)     /* bytes in a call */

/* The opened cache of the segment that argument <index> names. */
static int call_segment(struct thread *thread, unsigned index, struct cache **ret_cache)
{
    KnCap segment;
    int status = call_in(thread, thread->call.arg[index], &segment, sizeof segment);
    if (status != K_OK)
        return status > 0 ? K_EINVAL : status;
    return cache_open(&segment, thread, ret_cache);
}

/* --- regions --- */

static int region_of_segment(struct thread *thread, bool copy)
{
    struct vm_space *space;
    struct cache *cache;
    struct range range;
    KnRgnDesc rgn;
    KnObjDesc obj;
    int status = call_space(thread, 0, &space);
    if (status == K_OK)
        status = call_in(thread, thread->call.arg[1], &rgn, sizeof rgn);
    if (status == K_OK)
        status = call_in(thread, thread->call.arg[2], &obj, sizeof obj);
    if (status == K_OK)
        status = range_for_new(space, &rgn, &range);
    if (status != K_OK)
        return status > 0 ? K_EINVAL : status;
    if (obj.offset % PAGE_SIZE != 0 || obj.offset > SEGMENT_MAX || obj.size > SEGMENT_MAX || (range.end - range.start) > SEGMENT_MAX / PAGE_SIZE)
        return K_EINVAL;
    status = cache_open(&obj.dataObject, thread, &cache);
    if (status != K_OK)
        return status;
    struct region model = {.cache = cache, .cache_page = PAGE_OF(obj.offset), .cache_bytes = UINT64_MAX};
    if (copy) {
        model.object = &space->own;
        model.object_page = range.start;
        if (obj.size != 0)
            model.cache_bytes = obj.offset + obj.size;
    }
    cache_hold(cache);
    status = region_place(thread, space, &rgn, thread->call.arg[1], range, &model);
    cache_unhold(cache);
    return status;
}

int64_t call_rgnMap(struct thread *thread) { return region_of_segment(thread, false); }
int64_t call_rgnInit(struct thread *thread) { return region_of_segment(thread, true); }

/* --- reading and writing --- */

/* What a call that copies returns: an error, also after a part was done, since who keeps an offset could not tell a part from the end of the segment. */
static int64_t copied(uint64_t done, int status) { return status == K_OK ? (int64_t)done : status; }

static size_t page_part(uint64_t offset, uint64_t left)
{
    size_t rest = PAGE_SIZE - offset % PAGE_SIZE;
    return left < rest ? left : rest;
}

static int read_slice(struct thread *thread, struct cache *cache, uint64_t offset, uint64_t address, uint64_t size, uint64_t *done)
{
    for (size_t slice = 0, part; *done < size; slice += part, *done += part) {
        uint64_t at = offset + *done;
        frame_t frame;
        if (at >= cache->size)
            return K_OK;
        if (slice >= SLICE && space_pause(thread) == K_BLOCKED)
            return K_BLOCKED;
        part = page_part(at, size - *done < cache->size - at ? size - *done : cache->size - at);
        int status = cache_page(cache, PAGE_OF(at), false, thread, &frame);
        if (status == K_OK) {
            frame_hold(frame); /* the target's fault may need frames */
            status = vm_copy_out(thread, thread->actor, address + *done, (char *)frame_bytes(frame) + at % PAGE_SIZE, part);
            frame_unhold(frame);
        }
        if (status != K_OK)
            return status;
    }
    return K_OK;
}

/* Check offset and size of a call (seg, offset, addr, size); *ret_size: what is moved at most. */
static int io_arguments(struct thread *thread, uint64_t *ret_offset, uint64_t *ret_address, uint64_t *ret_size)
{
    *ret_offset = thread->call.arg[1];
    *ret_address = thread->call.arg[2];
    *ret_size = thread->call.arg[3] < MOST ? thread->call.arg[3] : MOST;
    return *ret_offset > SEGMENT_MAX ? K_EINVAL : K_OK;
}

int64_t call_sgRead(struct thread *thread)
{
    struct cache *cache;
    uint64_t offset, address, size, *done = &thread->call.progress[0];
    int status = io_arguments(thread, &offset, &address, &size);
    if (status == K_OK)
        status = call_segment(thread, 0, &cache);
    if (status != K_OK)
        return status;
    cache_hold(cache);
    status = read_slice(thread, cache, offset, address, size, done);
    cache_unhold(cache);
    return copied(*done, status);
}

/* A page that is wholly new, or wholly overwritten, does not come from the mapper. */
static int write_new_page(struct thread *thread, struct cache *cache, page_t page, uint64_t address, size_t begin, size_t part)
{
    frame_t frame;
    size_t count;
    int status = cache_frame_take(cache, page, 1, thread, &frame, &count);
    if (status != K_OK)
        return status;
    char *bytes = frame_bytes(frame);
    memset(bytes, 0, begin);
    memset(bytes + begin + part, 0, PAGE_SIZE - begin - part);
    status = vm_copy_in(thread, thread->actor, bytes + begin, address, part);
    if (status == K_OK && cache_slot(cache, page) != 0)
        status = K_EAGAIN; /* the copy faulted, and that brought this very page in */
    if (status == K_OK)
        status = cache_page_insert(cache, page, frame);
    if (status != K_OK) {
        frame_return(frame, 1);
        return status;
    }
    cache_page_dirty(cache, frame);
    return K_OK;
}

/* The segment gets longer: what was beyond its end in the last page is zero, unless that is <written>, which is as it is to be. */
static void extend(struct cache *cache, uint64_t size, page_t written)
{
    page_t last = PAGE_OF(cache->size);
    uint32_t slot = cache->size % PAGE_SIZE == 0 || last == written ? 0 : cache_slot(cache, last);
    if (slot != 0)
        memset((char *)frame_bytes(slot_frame(slot)) + cache->size % PAGE_SIZE, 0, PAGE_SIZE - cache->size % PAGE_SIZE);
    cache->size = size;
}

static int write_page(struct thread *thread, struct cache *cache, uint64_t at, uint64_t address, size_t part)
{
    page_t page = PAGE_OF(at);
    frame_t frame;
    bool whole = part == PAGE_SIZE || page >= cache_end(cache) ||
                 (at % PAGE_SIZE == 0 && at + part >= cache->size);
    if (whole && cache_slot(cache, page) == 0 && transfer_find(cache, TRANSFER_PULL, page) == NULL) {
        int status = write_new_page(thread, cache, page, address, at % PAGE_SIZE, part);
        if (status != K_EAGAIN) {
            if (status == K_OK && at + part > cache->size)
                extend(cache, at + part, page);
            return status;
        }
    }
    int status = cache_page(cache, page, false, thread, &frame);
    if (status != K_OK)
        return status;
    cache_page_dirty(cache, frame);
    frame_hold(frame);
    if (at + part > cache->size) /* before the bytes come: it clears the rest of the page */
        extend(cache, at + part, UINT64_MAX);
    status = vm_copy_in(thread, thread->actor, (char *)frame_bytes(frame) + at % PAGE_SIZE, address, part);
    frame_unhold(frame);
    return status;
}

static int write_slice(struct thread *thread, struct cache *cache, uint64_t offset, uint64_t address, uint64_t size, uint64_t *done)
{
    for (size_t slice = 0, part; *done < size; slice += part, *done += part) {
        uint64_t at = offset + *done, end = offset + size;
        if (slice >= SLICE && space_pause(thread) == K_BLOCKED)
            return K_BLOCKED;
        part = page_part(at, size - *done);
        int status = cache_access(cache, PAGE_OF(at), PAGE_OF(end + PAGE_SIZE - 1), end > cache->size ? end : cache->size, thread);
        if (status == K_OK)
            status = write_page(thread, cache, at, address + *done, part);
        if (status != K_OK)
            return status;
        writeback_behind(cache, PAGE_OF(at));
    }
    return K_OK;
}

int64_t call_sgWrite(struct thread *thread)
{
    struct cache *cache;
    uint64_t offset, address, size, *done = &thread->call.progress[0];
    int status = io_arguments(thread, &offset, &address, &size);
    if (status == K_OK && offset + size > SEGMENT_MAX)
        status = K_ETOOMUCH;
    if (status == K_OK)
        status = call_segment(thread, 0, &cache);
    if (status != K_OK)
        return status;
    cache_hold(cache);
    status = write_slice(thread, cache, offset, address, size, done);
    cache_unhold(cache);
    return copied(*done, status);
}

/* --- writing back --- */

int64_t call_sgFlush(struct thread *thread)
{
    struct cache *cache;
    uint64_t offset = thread->call.arg[1], size = thread->call.arg[2];
    if (offset > SEGMENT_MAX || thread->call.arg[3] != 0)
        return K_EINVAL;
    int status = call_segment(thread, 0, &cache);
    if (status != K_OK)
        return status;
    page_t to = size == 0 || size > SEGMENT_MAX ? cache_end(cache) : PAGE_OF(offset + size + PAGE_SIZE - 1);
    return cache_flush(cache, PAGE_OF(offset), to, thread, &thread->call.progress[1]);
}

/* progress[0]: the number of the cache that is being written back; [1] and [2]: the flush of that; [3]: the first error. */
int64_t call_sgSyncAll(struct thread *thread)
{
    KnUniqueId port;
    uint64_t *progress = thread->call.progress;
    int status = call_in(thread, thread->call.arg[0], &port, sizeof port);
    if (status != K_OK)
        return status > 0 ? K_EINVAL : status;
    struct cache *cache;
    while ((cache = cache_next(progress[0])) != NULL) {
        if (cache->number != progress[0])
            progress[1] = progress[2] = 0;
        progress[0] = cache->number;
        if (uiEqual(&cache->segment.ui, &port) && cache->state == CACHE_OPEN) {
            status = cache_flush(cache, 0, cache_end(cache), thread, &progress[1]);
            if (status == K_BLOCKED || status == K_EABORT)
                return status;
            if (status != K_OK && progress[3] == 0)
                progress[3] = (uint64_t)(int64_t)status;
        }
        progress[0]++;
        progress[1] = progress[2] = 0;
    }
    return (int64_t)progress[3];
}

static KnSgStat stat_of(const struct cache *cache)
{
    return (KnSgStat){
        .size = cache->size,
        .pages = cache->page_count,
        .pagesDirty = cache->dirty_count + cache->cleaning_count,
        .mappings = cache->window_count,
        .opens = cache->opens,
    };
}

int64_t call_sgStat(struct thread *thread)
{
    struct cache *cache;
    int status = call_segment(thread, 0, &cache);
    if (status != K_OK)
        return status;
    KnSgStat stat = stat_of(cache);
    return call_out(thread, thread->call.arg[1], &stat, sizeof stat);
}

int64_t call_lcStat(struct thread *thread)
{
    struct cache *cache;
    int status = call_lc(thread, &cache);
    if (status != K_OK)
        return status;
    KnSgStat stat = stat_of(cache);
    return call_out(thread, thread->call.arg[1], &stat, sizeof stat);
}
