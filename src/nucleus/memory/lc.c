/* lc.c: calls on local caches by their own capabilities: keeping one alive, and what mappers do to them. */
#include <string.h>
#include "../call.h"
#include "cache.h"
#include "mapping.h"

int call_lc(struct thread *thread, struct cache **ret_cache)
{
    KnCap lc;
    int status = call_in(thread, thread->call.arg[0], &lc, sizeof lc);
    if (status != K_OK)
        return status > 0 ? K_EINVAL : status;
    *ret_cache = cache_by_lc(&lc);
    return *ret_cache == NULL ? K_EUNKNOWN : K_OK;
}

int64_t call_lcOpen(struct thread *thread)
{
    KnCap segment;
    struct cache *cache;
    int status = call_in(thread, thread->call.arg[0], &segment, sizeof segment);
    if (status != K_OK)
        return status > 0 ? K_EINVAL : status;
    status = cache_open(&segment, thread, &cache);
    if (status != K_OK)
        return status;
    status = call_out(thread, thread->call.arg[1], &cache->lc, sizeof cache->lc);
    if (status != K_OK)
        return status > 0 ? K_EINVAL : status;
    cache->opens++;
    cache_release(cache);
    return K_OK;
}

int64_t call_lcClose(struct thread *thread)
{
    struct cache *cache;
    int status = call_lc(thread, &cache);
    if (status != K_OK)
        return status;
    if (cache->opens == 0)
        return K_EINVAL;
    cache->opens--;
    cache_release(cache);
    return K_OK;
}

/* What is asked of the mapper for these pages is outdated when it comes. */
static void transfers_outdate(struct cache *cache, page_t from, page_t to, enum transfer_kind kind)
{
    LIST_FOR_EACH(link, &cache->transfers) {
        struct transfer *transfer = LIST_OWNER(link, struct transfer, of_cache);
        if (transfer->kind == kind && transfer->from < to && transfer->from + transfer->count > from)
            transfer->stale = true;
    }
}

#define DROP_SLICE 1024u /* pages dropped without a pause */

/* *progress: pages of the range that are done. K_OK, K_BLOCKED. */
static int pages_drop(struct cache *cache, page_t from, page_t to, struct thread *thread, uint64_t *progress)
{
    page_t page = from + *progress;
    uint32_t slot, slice = 0;
    if (*progress == 0) {
        cache_unmap(cache, from, to);
        transfers_outdate(cache, from, to, TRANSFER_PULL);
    }
    for (; tree_next(&cache->pages, &page, to, &slot); page++) {
        *progress = page - from;
        if (slice++ == DROP_SLICE && space_pause(thread) == K_BLOCKED)
            return K_BLOCKED;
        cache_page_drop(cache, page);
    }
    return K_OK;
}

/* Nobody writes any more without asking. */
static void writing_end(struct cache *cache, page_t from, page_t to)
{
    page_t first, end;
    cache->granted_from = cache->granted_to = 0;
    transfers_outdate(cache, 0, (page_t)1 << 36, TRANSFER_ACCESS);
    LIST_FOR_EACH(link, &cache->windows) {
        struct region *window = LIST_OWNER(link, struct region, of_cache);
        if (window->object == NULL && window_part(window, from, to, &first, &end))
            mapping_withdraw(window->space, first, end, HOST_WRITE);
    }
}

/* The pages of a call (lc, offset, size): size 0 means to the end. */
static int page_range(struct thread *thread, const struct cache *cache, page_t *ret_from, page_t *ret_to)
{
    uint64_t offset = thread->call.arg[1], size = thread->call.arg[2];
    if (offset % PAGE_SIZE != 0 || offset > SEGMENT_MAX)
        return K_EINVAL;
    *ret_from = PAGE_OF(offset);
    *ret_to = size == 0 || size > SEGMENT_MAX ? cache_end(cache) : PAGE_OF(offset + size + PAGE_SIZE - 1);
    return K_OK;
}

static bool flags_are_good(unsigned flags)
{
    return flags == K_COPYBACK || flags == K_DOWNGRADE || flags == K_INVALIDATE || flags == K_DROP;
}

/* progress[0]: rights were taken; [1] and [2]: the flush; [3]: it is done; [4]: how far the dropping got. */
int64_t call_lcFlush(struct thread *thread)
{
    struct cache *cache;
    page_t from, to;
    unsigned flags = thread->call.arg[3];
    uint64_t *progress = thread->call.progress;
    int status = call_lc(thread, &cache);
    if (status == K_OK)
        status = page_range(thread, cache, &from, &to);
    if (status != K_OK)
        return status;
    if (!flags_are_good(flags))
        return K_EINVAL;
    if ((flags == K_DOWNGRADE || flags == K_INVALIDATE) && progress[0] == 0) {
        writing_end(cache, from, to);
        progress[0] = 1;
    }
    if (flags != K_DROP && progress[3] == 0) {
        status = cache_flush(cache, from, to, thread, &progress[1]);
        if (status != K_OK)
            return status;
        progress[3] = 1;
    }
    if (flags == K_INVALIDATE || flags == K_DROP)
        status = pages_drop(cache, from, to, thread, &progress[4]);
    if (status == K_OK)
        cache_release(cache);
    return status;
}

/* How small the segment may become in one step: about DROP_SLICE pages of it are in memory beyond that. */
static uint64_t truncate_step(const struct cache *cache, uint64_t size)
{
    page_t target = PAGE_OF(size + PAGE_SIZE - 1), end = cache_end(cache), span = DROP_SLICE;
    while (target + span < end && (target + 2 * span >= end || tree_count(&cache->pages, end - 2 * span, end, DROP_SLICE + 1) <= DROP_SLICE))
        span *= 2;
    return target + span >= end ? size : (end - span) * PAGE_SIZE;
}

/* A large one goes in steps, each of which is a truncation of its own. */
int64_t call_lcTrunc(struct thread *thread)
{
    struct cache *cache;
    uint64_t size = thread->call.arg[1];
    int status = call_lc(thread, &cache);
    if (status != K_OK)
        return status;
    if (size > SEGMENT_MAX)
        return K_ETOOMUCH;
    for (uint64_t step; size < cache->size; ) {
        step = truncate_step(cache, size);
        transfers_outdate(cache, PAGE_OF(step), (page_t)1 << 36, TRANSFER_PULL);
        cache_truncate(cache, step);
        if (step > size && space_pause(thread) == K_BLOCKED)
            return K_BLOCKED;
    }
    cache_truncate(cache, size);
    int64_t ordinal = cache->ordinal & INT32_MAX;
    cache_release(cache);
    return ordinal;
}

int64_t call_lcFillZero(struct thread *thread)
{
    struct cache *cache;
    uint64_t offset = thread->call.arg[1], size = thread->call.arg[2];
    int status = call_lc(thread, &cache);
    if (status != K_OK)
        return status;
    if (offset > SEGMENT_MAX || size > SEGMENT_MAX)
        return K_EINVAL;
    uint64_t end = offset + size;
    uint32_t slot;
    transfers_outdate(cache, PAGE_OF(offset), PAGE_OF(end + PAGE_SIZE - 1), TRANSFER_PULL);
    for (page_t page = PAGE_OF(offset); tree_next(&cache->pages, &page, PAGE_OF(end + PAGE_SIZE - 1), &slot); page++) {
        uint64_t from = page * PAGE_SIZE < offset ? offset % PAGE_SIZE : 0;
        uint64_t to = (page + 1) * PAGE_SIZE > end ? end % PAGE_SIZE : PAGE_SIZE;
        memset((char *)frame_bytes(slot_frame(slot)) + from, 0, to - from);
    }
    return K_OK;
}
