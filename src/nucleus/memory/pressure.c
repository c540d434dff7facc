/* pressure.c: what to do when frames run out. See pressure.h.
 *
 * In this order: what waits to be freed; frames set aside; clean pages of segments that nobody maps, the least used first; clean pages that are mapped;
 * dirty pages are sent to their mappers meanwhile. If some of that is on its way, the thread waits for it, a bounded time; else there is none.
 */
#include "pressure.h"

#include <host/event.h>
#include "mapping.h"

#define PATIENCE 2000000000ll /* ns that a thread waits for a frame */
#define SCAN 512              /* frames looked at in a step */
#define BATCH 64              /* frames freed in a step */
#define PUSHES_MAX 8

static struct wait_queue waiters;

void pressure_init(void) { wait_queue_init(&waiters); }

void pressure_relieved(void)
{
    if (frame_free_count() > 0)
        wait_queue_wake_all(&waiters, K_OK);
}

/* Look at the least used pages of segments; free clean ones. Returns how many went, or will when the machine has reported. */
static size_t clock_turn(bool mapped_too)
{
    size_t freed = 0, count;
    for (unsigned i = 0; i < SCAN && freed < BATCH && cache_clock_last != UINT32_MAX; i++) {
        frame_t frame = cache_clock_last;
        struct frame *record = frame_record(frame);
        struct cache *cache = cache_by_number(record->cache);
        if (record->flags & (FRAME_RECENT | FRAME_CLEANING) || record->order > 0 || (record->holds > 0 && !mapped_too)) {
            record->flags &= ~FRAME_RECENT;
            cache_clock_again(frame);
        } else if (record->flags & FRAME_DIRTY) {
            cache_clock_again(frame);
            if (transfers_pushing() < PUSHES_MAX)
                transfer_push(cache, record->page, cache_end(cache), &count);
        } else {
            cache_page_drop(cache, record->page);
            cache_release(cache);
            freed++;
        }
    }
    return freed;
}

/* Have all that waits for reports reported. True: something waits. */
static bool reports_wanted(void)
{
    bool waiting = transfers_pushing() > 0;
    LIST_FOR_EACH(link, &all_spaces) {
        struct vm_space *space = LIST_OWNER(link, struct vm_space, of_all);
        waiting |= space->quarantine.count > 0;
        mapping_submit(space);
    }
    return waiting;
}

static bool reservations_drop(void)
{
    bool any = false;
    LIST_FOR_EACH(link, &all_caches) {
        struct cache *cache = LIST_OWNER(link, struct cache, of_all);
        any |= cache->reservation != NULL;
        cache_reservation_drop(cache);
    }
    return any;
}

/* One attempt to get frames back. True: try again. */
static bool reclaim(void)
{
    if (space_reap(4096) && frame_free_count() > 0)
        return true;
    if (reservations_drop())
        return true;
    for (unsigned pass = 0; pass < 2; pass++) { /* the first takes the marks of use away */
        if (clock_turn(false) > 0)
            return true;
    }
    return false;
}

int frames_get(size_t want, enum frame_use use, struct thread *thread, frame_t *ret_first, size_t *ret_count)
{
    for (unsigned tries = 0; tries < 64; tries++) {
        *ret_count = frame_take(want, use, ret_first);
        if (*ret_count > 0)
            return K_OK;
        if (!reclaim())
            break;
    }
    for (unsigned turn = 0; turn < 8 && clock_turn(true) == 0; turn++)
        ;
    *ret_count = frame_take(want, use, ret_first);
    if (*ret_count > 0)
        return K_OK;
    if (!reports_wanted() || thread == NULL)
        return K_ENOMEM;
    uint64_t *waits_since = &thread->call.progress[7];
    if (*waits_since == 0)
        *waits_since = host_time();
    if (host_time() - (int64_t)*waits_since > PATIENCE) {
        *waits_since = 0;
        return K_ENOMEM;
    }
    return wait_queue_wait(&waiters, thread, host_time() + PATIENCE, false);
}
