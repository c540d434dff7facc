/* frame.c: the buddy allocator of frames, and their clearing beforehand. See frame.h.
 *
 * A free block of 2^order frames is aligned to its size and is in the list of its kind and order. Blocks merge with others of their kind
 * only: a page that was just freed is thus found again before one that the host must first find memory for, and idle work that clears
 * frames comes to an end.
 */
#include "frame.h"

#include <host/event.h>
#include <stdlib.h>
#include <string.h>

enum { KIND_READY, KIND_SOILED, KIND_COLD, KINDS };

#define NOBODY UINT32_MAX
#define READY_WANTED 4096        /* frames kept ready, or a quarter of all */
#define CLEAR_STEP 64            /* frames cleared in a step */
#define TOUCH_STEP 8             /* frames touched in a step: each costs microseconds */
#define RELEASE_ORDER 9          /* runs below 2 MB are not given back */
#define RELEASE_AFTER 10000000000ll /* ns that a block stays free before it is given back */
#define RELEASE_STEP (1u << RELEASE_ORDER)

struct frame *frame_table;
void (*frame_freed_hook)(frame_t first, size_t count);

static struct {
    uint32_t heads[KINDS][FRAME_ORDER_MAX + 1];
    uint32_t filled[KINDS]; /* bit per order: the list is not empty */
    uint64_t count[KINDS];  /* frames */
    uint64_t free, total, reserve;
} pool;

static void block_insert(frame_t first, unsigned order, unsigned kind)
{
    struct frame *frame = &frame_table[first];
    uint32_t head = pool.heads[kind][order];
    frame->flags |= FRAME_FREE;
    frame->order = order;
    frame->kind = kind;
    frame->previous = NOBODY;
    frame->next = head;
    if (head != NOBODY)
        frame_table[head].previous = first;
    pool.heads[kind][order] = first;
    pool.filled[kind] |= 1u << order;
    pool.count[kind] += 1ull << order;
}

static void block_remove(frame_t first)
{
    struct frame *frame = &frame_table[first];
    if (frame->previous != NOBODY)
        frame_table[frame->previous].next = frame->next;
    else
        pool.heads[frame->kind][frame->order] = frame->next;
    if (frame->next != NOBODY)
        frame_table[frame->next].previous = frame->previous;
    if (pool.heads[frame->kind][frame->order] == NOBODY)
        pool.filled[frame->kind] &= ~(1u << frame->order);
    pool.count[frame->kind] -= 1ull << frame->order;
    frame->flags &= ~FRAME_FREE;
}

/* Put a block in, merged with its neighbours as far as it goes. */
static void block_free(frame_t first, unsigned order, unsigned kind, int64_t since)
{
    while (order < FRAME_ORDER_MAX) {
        frame_t buddy = first ^ (1u << order);
        if (buddy + (1ull << order) > pool.total)
            break;
        struct frame *other = &frame_table[buddy];
        if (!(other->flags & FRAME_FREE) || other->order != order || other->kind != kind)
            break;
        block_remove(buddy);
        first &= ~(1u << order);
        order++;
    }
    frame_table[first].since = since;
    block_insert(first, order, kind);
}

static unsigned frame_kind(const struct frame *frame)
{
    if (!(frame->flags & FRAME_TOUCHED))
        return KIND_COLD;
    return frame->flags & FRAME_SOILED ? KIND_SOILED : KIND_READY;
}

/* Free frames of one kind as aligned blocks. */
static void run_free(frame_t first, size_t count, unsigned kind, int64_t since)
{
    while (count > 0) {
        unsigned order = first == 0 ? FRAME_ORDER_MAX : (unsigned)__builtin_ctz(first);
        unsigned fits = 63 - (unsigned)__builtin_clzll(count);
        if (order > fits)
            order = fits;
        if (order > FRAME_ORDER_MAX)
            order = FRAME_ORDER_MAX;
        block_free(first, order, kind, since);
        first += 1u << order;
        count -= 1ull << order;
    }
}

static void frames_put(frame_t first, size_t count)
{
    int64_t now = host_time();
    while (count > 0) {
        unsigned kind = frame_kind(&frame_table[first]);
        size_t length = 1;
        while (length < count && frame_kind(&frame_table[first + length]) == kind)
            length++;
        run_free(first, length, kind, now);
        first += length;
        count -= length;
    }
}

void frame_return(frame_t first, size_t count)
{
    if (count == 0)
        return;
    if (frame_freed_hook != NULL)
        frame_freed_hook(first, count);
    pool.free += count;
    frames_put(first, count);
}

void frame_init(void)
{
    free(frame_table);
    memset(&pool, 0, sizeof pool);
    memset(pool.heads, 0xff, sizeof pool.heads);
    pool.total = host_frame_count();
    frame_table = calloc(pool.total, sizeof *frame_table);
    if (frame_table == NULL)
        host_panic("no memory for the table of frames");
    pool.free = pool.total;
    run_free(0, pool.total, KIND_COLD, 0);
}

/* The smallest block of <kind> with at least 2^order frames. */
static frame_t block_find(unsigned kind, unsigned order)
{
    uint32_t orders = pool.filled[kind] >> order;
    return orders == 0 ? NOBODY : pool.heads[kind][order + (unsigned)__builtin_ctz(orders)];
}

static frame_t block_take(unsigned order, enum frame_use use)
{
    static const unsigned char wanted[2][KINDS] = {
        [FRAME_FOR_ZEROS] = {KIND_READY, KIND_SOILED, KIND_COLD},
        [FRAME_FOR_COPY] = {KIND_SOILED, KIND_READY, KIND_COLD},
    };
    for (unsigned i = 0; i < KINDS; i++) {
        frame_t first = block_find(wanted[use][i], order);
        if (first == NOBODY)
            continue;
        struct frame *frame = &frame_table[first];
        unsigned kind = frame->kind, has = frame->order;
        int64_t since = frame->since;
        block_remove(first);
        while (has > order) {
            has--;
            frame_table[first + (1u << has)].since = since;
            block_insert(first + (1u << has), has, kind);
        }
        return first;
    }
    return NOBODY;
}

static void run_clear(frame_t first, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t length = 0;
        while (i + length < count && frame_table[first + i + length].flags & FRAME_SOILED)
            length++;
        if (length > 0)
            memset(frame_bytes(first + i), 0, length * PAGE_SIZE);
        i += length > 0 ? length : 1;
    }
}

static size_t run_take(size_t want, enum frame_use use, frame_t *ret_first)
{
    unsigned order = want > 1 ? 64 - (unsigned)__builtin_clzll(want - 1) : 0;
    if (order > FRAME_ORDER_MAX)
        order = FRAME_ORDER_MAX;
    frame_t first = block_take(order, use);
    while (first == NOBODY && order > 0)
        first = block_take(--order, use);
    if (first == NOBODY)
        return 0;
    size_t count = 1ull << order;
    if (count > want) {
        frames_put(first + want, count - want);
        count = want;
    }
    if (use == FRAME_FOR_ZEROS)
        run_clear(first, count);
    for (size_t i = 0; i < count; i++) {
        struct frame *frame = &frame_table[first + i];
        frame->slots = frame->holds = 0;
        frame->order = 0;
        frame->flags = FRAME_TOUCHED | FRAME_SOILED;
        frame->mappings = 0;
        frame->next = frame->previous = NOBODY;
    }
    pool.free -= count;
    *ret_first = first;
    return count;
}

size_t frame_take(size_t want, enum frame_use use, frame_t *ret_first)
{
    if (pool.free <= pool.reserve)
        return 0;
    if (want > pool.free - pool.reserve)
        want = pool.free - pool.reserve;
    return want == 0 ? 0 : run_take(want, use, ret_first);
}

size_t frame_take_reserved(size_t want, frame_t *ret_first) { return want == 0 ? 0 : run_take(want, FRAME_FOR_ZEROS, ret_first); }

static void frame_release(frame_t frame)
{
    struct frame *record = &frame_table[frame];
    record->flags &= FRAME_TOUCHED | FRAME_SOILED;
    frame_return(frame, 1);
}

void frame_slot_drop(frame_t frame)
{
    struct frame *record = &frame_table[frame];
    if (--record->slots == 0 && record->holds == 0)
        frame_release(frame);
}

void frame_unhold(frame_t frame)
{
    struct frame *record = &frame_table[frame];
    if (--record->holds == 0 && record->slots == 0)
        frame_release(frame);
}

void frame_unhold_run(frame_t first, size_t count)
{
    size_t begin = 0, length = 0; /* what became free, together */
    for (size_t i = 0; i < count; i++) {
        struct frame *record = &frame_table[first + i];
        if (--record->holds != 0 || record->slots != 0) {
            frame_return(first + begin, length);
            length = 0;
            continue;
        }
        record->flags &= FRAME_TOUCHED | FRAME_SOILED;
        if (length++ == 0)
            begin = i;
    }
    frame_return(first + begin, length);
}

uint64_t frame_free_count(void) { return pool.free; }
uint64_t frame_available_count(void) { return pool.free > pool.reserve ? pool.free - pool.reserve : 0; }
uint64_t frame_total(void) { return pool.total; }
uint64_t frame_ready_count(void) { return pool.count[KIND_READY]; }
void frame_reserve_set(uint64_t frames) { pool.reserve = frames < pool.total / 4 ? frames : pool.total / 4; }

static uint64_t ready_wanted(void) { return READY_WANTED < pool.total / 4 ? READY_WANTED : pool.total / 4; }

/* Take up to <want> frames out of the lists of <kind>, without making them anybody's. */
static size_t kind_detach(unsigned kind, unsigned order, frame_t *ret_first)
{
    frame_t first = NOBODY;
    while ((first = block_find(kind, order)) == NOBODY && order > 0)
        order--;
    if (first == NOBODY)
        return 0;
    unsigned has = frame_table[first].order;
    int64_t since = frame_table[first].since;
    block_remove(first);
    while (has > order) {
        has--;
        frame_table[first + (1u << has)].since = since;
        block_insert(first + (1u << has), has, kind);
    }
    *ret_first = first;
    return 1ull << order;
}

static void step_clear(frame_t first, size_t count, int64_t now)
{
    run_clear(first, count);
    for (size_t i = 0; i < count; i++)
        frame_table[first + i].flags &= ~FRAME_SOILED;
    run_free(first, count, KIND_READY, now);
}

static void step_touch(frame_t first, size_t count, int64_t now)
{
    host_frames_touch(first, count);
    for (size_t i = 0; i < count; i++)
        frame_table[first + i].flags |= FRAME_TOUCHED;
    run_free(first, count, KIND_READY, now);
}

/* Give a large warm block back that has been free for long, while enough others are ready. */
static bool step_release(int64_t now)
{
    for (unsigned kind = KIND_READY; kind <= KIND_SOILED; kind++) {
        frame_t first = block_find(kind, RELEASE_ORDER);
        if (first == NOBODY || now - frame_table[first].since < RELEASE_AFTER)
            continue;
        if (kind == KIND_READY && pool.count[KIND_READY] < ready_wanted() + 2 * RELEASE_STEP)
            continue;
        size_t count = kind_detach(kind, RELEASE_ORDER, &first);
        host_frames_release(first, count);
        for (size_t i = 0; i < count; i++)
            frame_table[first + i].flags = 0;
        run_free(first, count, KIND_COLD, now);
        return true;
    }
    return false;
}

bool frame_idle_work(int64_t now)
{
    frame_t first;
    if (pool.count[KIND_READY] < ready_wanted()) {
        size_t count = kind_detach(KIND_SOILED, __builtin_ctz(CLEAR_STEP), &first);
        if (count > 0) {
            step_clear(first, count, now);
            return true;
        }
        count = kind_detach(KIND_COLD, __builtin_ctz(TOUCH_STEP), &first);
        if (count > 0) {
            step_touch(first, count, now);
            return true;
        }
    }
    return step_release(now);
}
