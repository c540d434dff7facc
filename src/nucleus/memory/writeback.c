/* writeback.c: dirty pages go to their mappers: when asked for (cache_flush), and when they have been dirty for some seconds.
 *
 * A mapper that is gone leaves its segments' dirty pages here: if it comes back under the same port they are written, otherwise they are given up after a while.
 * The timer runs only while something is dirty: an idle site is not woken.
 */
#include <host/event.h>
#include "../deadline.h"
#include "../vm.h"
#include "cache.h"

#define SECOND 1000000000ll
#define OLD (5 * SECOND)         /* a page may be dirty for about so long */
#define LOOK_EVERY SECOND
#define GIVE_UP_AFTER (120 * SECOND)
#define PUSHES_MAX 16            /* under way at once */
#define BEHIND_PAGES 1024u       /* written in sequence: so much of it stays, since it may be written again or be of a file that soon goes */

static struct deadline timer;

/* Push the dirty pages of [from, to) while not too many are under way; returns where it stopped. */
static page_t push_range(struct cache *cache, page_t from, page_t to, int *ret_status)
{
    uint32_t slot;
    *ret_status = K_OK;
    while (cache->dirty_count > 0 && tree_next(&cache->pages, &from, to, &slot)) {
        if (!(frame_record(slot_frame(slot))->flags & FRAME_DIRTY)) {
            from++;
            continue;
        }
        if (transfers_pushing() >= PUSHES_MAX || frame_record(slot_frame(slot))->flags & FRAME_CLEANING)
            return from;
        size_t count;
        *ret_status = transfer_push(cache, from, to, &count);
        if (*ret_status != K_OK)
            return from;
        from += count;
    }
    return to;
}

void writeback_behind(struct cache *cache, page_t page)
{
    int status;
    if (page + 1 == cache->next_write)
        return; /* more of the same page */
    if (page != cache->next_write)
        cache->behind_from = page;
    cache->next_write = page + 1;
    if (!cache->direct || page < cache->behind_from + BEHIND_PAGES + cache->transfer_pages || transfers_pushing() >= PUSHES_MAX)
        return;
    cache->behind_from = push_range(cache, cache->behind_from, cache->behind_from + cache->transfer_pages, &status);
}

static bool pushes_in(struct cache *cache, page_t from, page_t to)
{
    LIST_FOR_EACH(link, &cache->transfers) {
        struct transfer *transfer = LIST_OWNER(link, struct transfer, of_cache);
        if (transfer->kind == TRANSFER_PUSH && transfer->from < to && transfer->from + transfer->count > from)
            return true;
    }
    return false;
}

/* What has failed since this flush began. The status that the thread woke with tells of one push-out only: others may end before it runs. */
static int flush_failure(const struct cache *cache, struct thread *thread, uint64_t began)
{
    int woken = thread->call.restarted ? thread->call.woken : K_OK;
    if (woken < 0 && woken != K_ETIMEOUT)
        thread->call.woken = K_OK; /* the next wait is a new one */
    return woken == K_EABORT ? woken : cache->failed_at > began ? cache->failure : K_OK;
}

enum { SENT, BEGAN }; /* places in the progress: pages from the beginning; how many push-outs had failed when it began, and one */

int cache_flush(struct cache *cache, page_t from, page_t to, struct thread *thread, uint64_t progress[2])
{
    if (progress[BEGAN] == 0)
        progress[BEGAN] = transfers_failed() + 1;
    int status = flush_failure(cache, thread, progress[BEGAN] - 1);
    if (status != K_OK)
        return status;
    if (to > cache_end(cache))
        to = cache_end(cache);
    page_t at = from + progress[SENT];
    if (at < to)
        at = push_range(cache, at, to, &status);
    progress[SENT] = at - from;
    if (status != K_OK)
        return status;
    if (at < to && !pushes_in(cache, from, to))
        return space_pause(thread); /* others fill the pipe: again in a moment */
    if (at < to || pushes_in(cache, from, to))
        return cache_wait(cache, &cache->waiters, thread, true);
    return K_OK;
}

/* Nobody has taken its pages for long: they are lost. */
static void give_up(struct cache *cache)
{
    page_t page = 0;
    uint32_t slot;
    host_log(0, "segment %lx of mapper %08x.%x: %lu dirty pages given up, the mapper is gone", cache->segment.key,
             cache->segment.ui.uiHead, cache->segment.ui.uiTail, cache->dirty_count);
    for (; tree_next(&cache->pages, &page, (page_t)1 << 36, &slot); page++) {
        if (frame_record(slot_frame(slot))->flags & FRAME_DIRTY)
            cache_page_drop(cache, page);
    }
    cache->dirty_since = cache->lost_since = 0;
    cache_release(cache);
}

void vm_writeback_old(void)
{
    int64_t now = host_time();
    struct cache *cache;
    for (uint32_t number = 0; (cache = cache_next(number)) != NULL && transfers_pushing() < PUSHES_MAX;) {
        int status;
        number = cache->number + 1;
        if (cache->dirty_count == 0 || now - cache->dirty_since < OLD)
            continue;
        if (cache->lost_since != 0 && now - cache->lost_since > GIVE_UP_AFTER)
            give_up(cache);
        else
            push_range(cache, 0, cache_end(cache), &status);
    }
}

static void timer_passed(struct deadline *deadline)
{
    vm_writeback_old();
    if (dirty_pages() > 0)
        deadline_set(deadline, host_time() + LOOK_EVERY);
}

void writeback_init(void)
{
    if (!deadline_is_set(&timer))
        deadline_init(&timer, timer_passed);
}

void writeback_wanted(void)
{
    if (!deadline_is_set(&timer))
        deadline_set(&timer, host_time() + LOOK_EVERY);
}
