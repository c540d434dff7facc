/* pressure.c: what to do when frames run out. See pressure.h.
 *
 * In this order: what waits to be freed; frames set aside; clean pages of segments that nobody maps, the least used first; clean pages that are mapped;
 * dirty pages are sent to their mappers meanwhile. If some of that is on its way, the thread waits for it, a bounded time; else a shorter time, for
 * somebody to give some back.
 */
#include "pressure.h"

#include <host/event.h>
#include "mapping.h"

#define PATIENCE 2000000000ll        /* ns that a thread waits for frames that are on their way, */
#define PATIENCE_OF_SMALL 500000000ll /* and for others */
#define PATIENCE_OF_LARGE 20000000ll
#define SCAN 512              /* frames looked at in a step */
#define BATCH 64              /* frames freed in a step */
#define SWEEP 8               /* turns of the clock in a step */
#define PUSHES_MAX 8

static struct wait_queue waiters;

void pressure_init(void) { wait_queue_init(&waiters); }

void pressure_relieved(void) { wait_queue_wake_all(&waiters, K_OK); }

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

/* Have all that waits for reports reported. True: frames are on their way back: from there, from mappers, or from spaces whose machine is about to die. */
static bool frames_will_come(void)
{
    bool coming = transfers_pushing() > 0;
    LIST_FOR_EACH(link, &all_spaces) {
        struct vm_space *space = LIST_OWNER(link, struct vm_space, of_all);
        coming |= space->quarantine.count > 0 || (space->actor == NULL && space->mapped > 0);
        mapping_submit(space);
    }
    return coming;
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
    uint64_t before = frame_free_count();
    bool more = space_reap(4096);
    if (more || frame_free_count() > before)
        return true;
    if (reservations_drop())
        return true;
    for (unsigned pass = 0; pass < 2; pass++) { /* the first takes the marks of use away */
        if (clock_turn(false) > 0)
            return true;
    }
    return false;
}

/* Look at all pages of segments, mapped ones too, but no longer than a step may be. False: there is more to look at. */
static bool sweep(void)
{
    static uint64_t seen;
    for (unsigned turn = 0; turn < SWEEP; turn++) {
        if (clock_turn(true) > 0 || frame_available_count() > 0) {
            seen = 0;
            return true;
        }
        seen += SCAN;
        if (seen > 2 * cached_pages() + SCAN) {
            seen = 0;
            return true;
        }
    }
    return false;
}

/* How long a thread of this space waits for a frame that may never come. Who has most of the memory is refused first, since its end helps the others. */
static int64_t patience(const struct thread *thread, bool coming)
{
    const struct vm_space *space = thread->actor->vm;
    if (coming)
        return PATIENCE;
    return space != NULL && space->mapped > frame_total() / 8 ? PATIENCE_OF_LARGE : PATIENCE_OF_SMALL;
}

static int wait_for_frames(struct thread *thread, bool coming)
{
    uint64_t *since = &thread->call.progress[7];
    int64_t now = host_time();
    if (*since == 0)
        *since = now;
    int64_t until = (int64_t)*since + patience(thread, coming);
    if (now < until)
        return wait_queue_wait(&waiters, thread, until, false);
    *since = 0;
    return K_ENOMEM;
}

int frames_get(size_t want, enum frame_use use, struct thread *thread, frame_t *ret_first, size_t *ret_count)
{
    for (unsigned tries = 0; tries < 256; tries++) {
        *ret_count = frame_take(want, use, ret_first);
        if (*ret_count > 0)
            return K_OK;
        if (!reclaim())
            break;
    }
    bool swept = sweep();
    *ret_count = frame_take(want, use, ret_first);
    if (*ret_count > 0)
        return K_OK;
    bool coming = frames_will_come();
    if (thread == NULL)
        return K_ENOMEM;
    if (thread->actor->privilege != K_USERACTOR && (*ret_count = frame_take_reserved(1, ret_first)) > 0)
        return K_OK; /* a mapper or a driver: the frames of others may be waiting for it */
    return swept ? wait_for_frames(thread, coming) : space_pause(thread);
}
