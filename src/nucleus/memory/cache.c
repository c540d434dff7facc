/* cache.c: the local caches of segments and their pages. See cache.h. */
#include "cache.h"

#include <host/event.h>
#include <stdlib.h>
#include <string.h>
#include "../kcall.h"
#include "../table.h"
#include "../ui.h"
#include "fault.h"
#include "mapping.h"
#include "pressure.h"

#define BUCKETS 1024u
#define UNUSED_MAX 2048u     /* caches that nobody uses */
#define ACCESS_AHEAD 64u     /* pages that a sequential writer asks for */
#define RESERVED_PAGES 512u  /* at most, set aside for a cache */

struct list all_caches;
static struct list by_segment[BUCKETS], by_lc[BUCKETS], unused;
static size_t unused_count;
static struct id_table numbers;
static uint64_t pages_in_all, dirty_in_all;

void caches_init(void)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        list_init(&by_segment[i]);
        list_init(&by_lc[i]);
    }
    list_init(&all_caches);
    list_init(&unused);
    id_table_init(&numbers, 1 << 28);
}

uint64_t cached_pages(void) { return pages_in_all; }
uint64_t dirty_pages(void) { return dirty_in_all; }
KnCap cache_segment(const struct cache *cache) { return cache->segment; }

/* --- finding, making, freeing --- */

static struct list *bucket(struct list *table, const KnCap *cap)
{
    uint64_t hash = (cap->key ^ ((uint64_t)cap->ui.uiHead << 32 | cap->ui.uiTail)) * 0x9e3779b97f4a7c15ull;
    return &table[hash >> 54];
}

static bool caps_equal(const KnCap *a, const KnCap *b) { return uiEqual(&a->ui, &b->ui) && key_equal(a->key, b->key); }

static struct cache *cache_by_segment(const KnCap *segment)
{
    LIST_FOR_EACH(link, bucket(by_segment, segment)) {
        struct cache *cache = LIST_OWNER(link, struct cache, of_segments);
        if (caps_equal(&cache->segment, segment))
            return cache;
    }
    return NULL;
}

struct cache *cache_by_lc(const KnCap *lc)
{
    LIST_FOR_EACH(link, bucket(by_lc, lc)) {
        struct cache *cache = LIST_OWNER(link, struct cache, of_caches);
        if (caps_equal(&cache->lc, lc))
            return cache;
    }
    return NULL;
}

struct cache *cache_by_number(uint32_t number) { return id_table_find(&numbers, number); }

struct cache *cache_next(uint32_t number)
{
    while (number <= (uint32_t)numbers.room && cache_by_number(number) == NULL)
        number++;
    return cache_by_number(number);
}

static int number_allocate(struct cache *cache)
{
    int number = id_table_insert(&numbers, cache);
    cache->number = number > 0 ? (uint32_t)number : 0;
    return number > 0 ? K_OK : number;
}

static struct cache *cache_create(const KnCap *segment)
{
    struct cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL || number_allocate(cache) != K_OK) {
        free(cache);
        return NULL;
    }
    cache->segment = *segment;
    cache->lc = cap_new(K_UICACHE);
    cache->transfer_pages = TRANSFER_PAGES;
    list_init(&cache->windows);
    list_init(&cache->transfers);
    list_init(&cache->of_unused);
    wait_queue_init(&cache->waiters);
    list_append(bucket(by_segment, segment), &cache->of_segments);
    list_append(bucket(by_lc, &cache->lc), &cache->of_caches);
    list_append(&all_caches, &cache->of_all);
    return cache;
}

/* Nobody uses it and nothing of it is dirty or under way. */
static bool cache_is_unused(const struct cache *cache)
{
    return cache->opens == 0 && cache->window_count == 0 && list_is_empty((struct list *)&cache->transfers) &&
           cache->dirty_count == 0 && list_is_empty((struct list *)&cache->waiters.threads);
}

static void cache_free(struct cache *cache)
{
    page_t page = 0;
    uint32_t slot;
    while (tree_next(&cache->pages, &page, (page_t)1 << 36, &slot))
        cache_page_drop(cache, page);
    cache_reservation_drop(cache);
    if (cache->state == CACHE_OPEN) {
        union {
            KnMpRequest request;
            uint8_t bytes[K_CMSGANNEXSIZE];
        } annex = {.bytes = {0}};
        annex.request = (KnMpRequest){.op = K_MP_RELEASE, .segKey = cache->segment.key, .lc = cache->lc};
        kcall_send(&cache->segment.ui, &annex, NULL, 0);
    }
    if (!list_is_empty(&cache->of_unused))
        unused_count--;
    list_remove(&cache->of_unused);
    list_remove(&cache->of_segments);
    list_remove(&cache->of_caches);
    list_remove(&cache->of_all);
    id_table_remove(&numbers, (int)cache->number);
    free(cache);
}

bool cache_free_unused(void)
{
    LIST_FOR_EACH(link, &unused) {
        struct cache *cache = LIST_OWNER(link, struct cache, of_unused);
        if (cache_is_unused(cache)) {
            cache_free(cache);
            return true;
        }
    }
    return false;
}

void cache_release(struct cache *cache)
{
    bool listed = !list_is_empty(&cache->of_unused);
    if (!cache_is_unused(cache)) {
        if (listed)
            unused_count--;
        list_remove(&cache->of_unused);
        return;
    }
    if (cache->state != CACHE_OPEN) {
        cache_free(cache);
        return;
    }
    cache_reservation_drop(cache);
    list_remove(&cache->of_unused);
    list_append(&unused, &cache->of_unused);
    unused_count += !listed;
    if (unused_count > UNUSED_MAX)
        cache_free_unused();
}

int cache_open(const KnCap *segment, struct thread *thread, struct cache **ret_cache)
{
    struct cache *cache = cache_by_segment(segment);
    if (cache == NULL && (cache = cache_create(segment)) == NULL)
        return K_ENOMEM;
    *ret_cache = cache;
    if (cache->state == CACHE_OPEN)
        return K_OK;
    int status = K_OK;
    if (cache->state == CACHE_NEW && !(thread->call.restarted && thread->call.woken < 0))
        status = transfer_open(cache);
    if (status == K_OK)
        status = cache_wait(cache, &cache->waiters, thread, true);
    if (status != K_BLOCKED)
        cache_release(cache);
    return status;
}

/* --- frames and pages --- */

uint32_t cache_clock_first = UINT32_MAX, cache_clock_last = UINT32_MAX;

static void clock_insert(frame_t frame)
{
    struct frame *record = frame_record(frame);
    record->previous = UINT32_MAX;
    record->next = cache_clock_first;
    if (cache_clock_first != UINT32_MAX)
        frame_record(cache_clock_first)->previous = frame;
    else
        cache_clock_last = frame;
    cache_clock_first = frame;
}

static void clock_remove(frame_t frame)
{
    struct frame *record = frame_record(frame);
    if (record->previous != UINT32_MAX)
        frame_record(record->previous)->next = record->next;
    else
        cache_clock_first = record->next;
    if (record->next != UINT32_MAX)
        frame_record(record->next)->previous = record->previous;
    else
        cache_clock_last = record->previous;
}

void cache_clock_again(frame_t frame)
{
    clock_remove(frame);
    clock_insert(frame);
}

uint32_t cache_slot(const struct cache *cache, page_t page) { return tree_get(&cache->pages, page); }

int cache_page_insert(struct cache *cache, page_t page, frame_t frame)
{
    if (tree_nodes_reserve(TREE_NODES_PATH) != K_OK)
        return K_ENOMEM;
    struct frame *record = frame_record(frame);
    record->flags |= FRAME_CACHE | FRAME_RECENT;
    record->cache = cache->number;
    record->page = page;
    record->order = 0;
    frame_slot_add(frame);
    tree_set(&cache->pages, page, SLOT_USED | frame);
    clock_insert(frame);
    cache->page_count++;
    pages_in_all++;
    return K_OK;
}

void cache_page_drop(struct cache *cache, page_t page)
{
    uint32_t slot = cache_slot(cache, page);
    if (slot == 0)
        return;
    frame_t frame = slot_frame(slot);
    struct frame *record = frame_record(frame);
    cache_unmap(cache, page, page + 1);
    if (record->flags & FRAME_DIRTY) {
        cache->dirty_count--;
        dirty_in_all--;
    }
    if (record->flags & FRAME_CLEANING)
        cache->cleaning_count--;
    record->flags &= ~(FRAME_DIRTY | FRAME_CLEANING | FRAME_RECENT);
    clock_remove(frame);
    tree_set(&cache->pages, page, 0);
    cache->page_count--;
    pages_in_all--;
    frame_slot_drop(frame);
}

void cache_page_dirty(struct cache *cache, frame_t frame)
{
    struct frame *record = frame_record(frame);
    if (record->flags & FRAME_DIRTY)
        return;
    record->flags |= FRAME_DIRTY;
    if (cache->dirty_count++ == 0)
        cache->dirty_since = host_time();
    dirty_in_all++;
    cache_release(cache);
    writeback_wanted();
}

/* Transfers take the flag off, and put it back when they fail. */
void cache_page_clean(struct cache *cache, frame_t frame)
{
    frame_record(frame)->flags &= ~FRAME_DIRTY;
    dirty_in_all--;
    if (--cache->dirty_count == 0)
        cache->dirty_since = 0;
}

void cache_reservation_drop(struct cache *cache)
{
    struct reservation *reservation = cache->reservation;
    if (reservation == NULL)
        return;
    for (uint32_t i = 0; i < reservation->count; i++) {
        uint32_t begin = i;
        while (i < reservation->count && reservation->free[i / 64] >> (i % 64) & 1)
            i++;
        frame_return(reservation->frame + begin, i - begin);
    }
    free(reservation);
    cache->reservation = NULL;
}

/* Set frames aside for the neighbourhood of <page>, if memory is plentiful and it pays. */
static void reservation_make(struct cache *cache, page_t page)
{
    page_t end = cache_end(cache), base = end <= RESERVED_PAGES ? 0 : page & ~(page_t)(RESERVED_PAGES - 1);
    struct reservation *reservation = cache->reservation;
    if (reservation != NULL && page >= reservation->page && page < reservation->page + RESERVED_PAGES)
        return;
    size_t count = end - base < RESERVED_PAGES ? end - base : RESERVED_PAGES;
    bool worthwhile = end <= RESERVED_PAGES || cache->streak >= TRANSFER_PAGES || cache->window_count > 0;
    if (page >= end || count <= TRANSFER_PAGES || !worthwhile || frame_free_count() < frame_total() / 4)
        return;
    cache_reservation_drop(cache);
    reservation = calloc(1, sizeof *reservation);
    if (reservation == NULL)
        return;
    size_t got = frame_take(count, FRAME_FOR_COPY, &reservation->frame);
    if (got < count) {
        frame_return(reservation->frame, got);
        free(reservation);
        return;
    }
    reservation->page = base;
    reservation->count = count;
    for (uint32_t i = 0; i < count; i++)
        reservation->free[i / 64] |= 1ull << (i % 64);
    cache->reservation = reservation;
}

static bool reservation_take(struct cache *cache, page_t page, frame_t *ret_frame)
{
    struct reservation *reservation = cache->reservation;
    if (reservation == NULL || page < reservation->page || page - reservation->page >= reservation->count)
        return false;
    uint32_t i = page - reservation->page;
    if (!(reservation->free[i / 64] >> (i % 64) & 1))
        return false;
    reservation->free[i / 64] &= ~(1ull << (i % 64));
    *ret_frame = reservation->frame + i;
    return true;
}

int cache_frame_take(struct cache *cache, page_t page, size_t want, struct thread *thread, frame_t *ret_frame, size_t *ret_count)
{
    reservation_make(cache, page);
    *ret_count = 1;
    if (reservation_take(cache, page, ret_frame))
        return K_OK;
    return frames_get(want, FRAME_FOR_COPY, thread, ret_frame, ret_count);
}

/* --- windows --- */

void cache_window_add(struct cache *cache, struct region *region)
{
    list_append(&cache->windows, &region->of_cache);
    cache->window_count++;
    cache_release(cache);
}

void cache_window_remove(struct cache *cache, struct region *region)
{
    list_remove(&region->of_cache);
    cache->window_count--;
    cache_release(cache);
}

bool window_part(const struct region *window, page_t from, page_t to, page_t *ret_from, page_t *ret_to)
{
    page_t end = window->cache_page + (window->end - window->start);
    if (from < window->cache_page)
        from = window->cache_page;
    if (to > end)
        to = end;
    if (from >= to)
        return false;
    *ret_from = window->start + (from - window->cache_page);
    *ret_to = window->start + (to - window->cache_page);
    return true;
}

/* Of a copy's pages, only those that show the cache's frames go. */
static void copy_unmap(struct region *window, page_t from, page_t to)
{
    uint32_t entry;
    for (page_t page = from; tree_next(&window->space->table, &page, to, &entry); page++) {
        if (frame_record(entry_frame(entry))->flags & FRAME_CACHE)
            mapping_remove(window->space, page, page + 1);
    }
}

void cache_unmap(struct cache *cache, page_t from, page_t to)
{
    page_t first, end;
    LIST_FOR_EACH(link, &cache->windows) {
        struct region *window = LIST_OWNER(link, struct region, of_cache);
        if (!window_part(window, from, to, &first, &end))
            continue;
        if (window->object != NULL)
            copy_unmap(window, first, end);
        else
            mapping_remove(window->space, first, end);
    }
}

/* Bytes of a region's page that count. */
static uint64_t page_bytes(const struct region *region, page_t page)
{
    uint64_t begin = region_cache_page(region, page) * PAGE_SIZE;
    if (region->cache_bytes >= begin + PAGE_SIZE)
        return PAGE_SIZE;
    return region->cache_bytes > begin ? region->cache_bytes - begin : 0;
}

bool cache_page_is_beyond(const struct region *region, page_t page) { return page_bytes(region, page) == 0; }
bool cache_page_needs_trim(const struct region *region, page_t page) { return page_bytes(region, page) < PAGE_SIZE; }

void cache_trim_copy(const struct region *region, page_t page, void *bytes)
{
    uint64_t count = page_bytes(region, page);
    memset((char *)bytes + count, 0, PAGE_SIZE - count);
}

static bool page_is_dirty(const struct cache *cache, page_t page)
{
    uint32_t slot = cache_slot(cache, page);
    return slot != 0 && frame_record(slot_frame(slot))->flags & FRAME_DIRTY;
}

/* A window's page is about to be written. If the one before it is dirty, pages are written in sequence: the next ones count as written, too, which
 * costs less than a fault for each. */
static int window_write(struct region *region, page_t page, page_t key, frame_t frame, struct thread *thread)
{
    struct cache *cache = region->cache;
    bool sequence = key > 0 && page > region->start && page_is_dirty(cache, key - 1);
    page_t ahead = region->window < ACCESS_AHEAD ? TRANSFER_PAGES : ACCESS_AHEAD, to = key + (sequence ? 2 * ACCESS_AHEAD : TRANSFER_PAGES);
    page_t end = key + (region->end - page);
    uint32_t slot;
    if (!(frame_record(frame)->flags & FRAME_DIRTY)) {
        int status = cache_access(cache, key, to < cache_end(cache) ? to : cache_end(cache), cache->size, thread);
        if (status != K_OK)
            return status;
        cache_page_dirty(cache, frame);
    }
    for (page_t next = key + 1; sequence && next < key + ahead && next < end && next < cache->granted_to; next++) {
        if ((slot = cache_slot(cache, next)) == 0)
            break;
        cache_page_dirty(cache, slot_frame(slot));
    }
    return K_OK;
}

int cache_page_get(struct region *region, page_t page, bool write, struct thread *thread, frame_t *ret_frame)
{
    page_t key = region_cache_page(region, page);
    int status = cache_page(region->cache, key, true, thread, ret_frame);
    if (status != K_OK || !write)
        return status;
    return window_write(region, page, key, *ret_frame, thread);
}

unsigned cache_page_allowed(struct region *region, page_t page, unsigned protection, frame_t *ret_frame)
{
    page_t key = region_cache_page(region, page);
    if (key >= cache_end(region->cache) || (region->object != NULL && cache_page_needs_trim(region, page)))
        return 0;
    uint32_t slot = cache_slot(region->cache, key);
    if (slot == 0)
        return 0;
    *ret_frame = slot_frame(slot);
    bool writable = region->object == NULL && frame_record(*ret_frame)->flags & FRAME_DIRTY;
    return writable ? protection : protection & ~HOST_WRITE;
}

/* --- reading pages --- */

#define READ_AHEAD      (16 * TRANSFER_PAGES) /* pages that are asked for before a sequential reader comes to them */
#define SCATTERED_READS 16u /* so many reads here and there, and a miss brings what was asked for alone */

/* How many pages to ask for at a miss, and from where. */
static size_t pull_range(const struct cache *cache, page_t page, bool around, page_t *ret_from)
{
    size_t count = cache->careful > 0 ? 1 : around || cache->streak > 0 || page == 0 ? TRANSFER_PAGES : cache->scattered < SCATTERED_READS ? 4 : 1;
    *ret_from = cache->streak > 0 ? page : page & ~(page_t)(count - 1);
    return count;
}

/* A sequential reader comes to the end of what was asked for: ask for more already. */
static void read_ahead(struct cache *cache, page_t page)
{
    bool just_begun = cache->streak < 4 * TRANSFER_PAGES;
    page_t window = just_begun ? TRANSFER_PAGES : READ_AHEAD, step = just_begun ? TRANSFER_PAGES : cache->transfer_pages;
    if (cache->careful > 0 || cache->streak < TRANSFER_PAGES / 2 || cache->ahead_to > page + window || frame_free_count() < frame_total() / 16)
        return;
    if (cache->ahead_to <= page)
        cache->ahead_to = page + 1;
    while (cache->ahead_to <= page + window && cache->ahead_to < cache_end(cache)) {
        if (transfer_pull(cache, cache->ahead_to, step, NULL) != K_OK)
            return;
        cache->ahead_to += step;
    }
}

static void streak_note(struct cache *cache, page_t page)
{
    if (page == cache->next_read && page != 0)
        cache->streak++;
    else if (page + 1 != cache->next_read)
        cache->streak = 0;
    cache->scattered = cache->streak > 0 ? 0 : cache->scattered + 1;
    cache->next_read = page + 1;
}

int cache_page(struct cache *cache, page_t page, bool around, struct thread *thread, frame_t *ret_frame)
{
    if (page >= cache_end(cache))
        return K_EOFFSET;
    uint32_t slot = cache_slot(cache, page);
    streak_note(cache, page);
    if (slot != 0) {
        *ret_frame = slot_frame(slot);
        frame_record(*ret_frame)->flags |= FRAME_RECENT;
        read_ahead(cache, page);
        return K_OK;
    }
    struct transfer *transfer = transfer_find(cache, TRANSFER_PULL, page);
    if (transfer == NULL) {
        page_t from;
        size_t count = pull_range(cache, page, around, &from);
        if (thread == NULL)
            return K_EFAULT;
        if (thread->call.restarted && thread->call.woken < 0 && thread->call.woken != K_ETIMEOUT)
            return cache_wait(cache, &cache->waiters, thread, false); /* its last attempt failed */
        while (from < page && (cache_slot(cache, from) != 0 || transfer_find(cache, TRANSFER_PULL, from) != NULL))
            from++;
        int status = transfer_pull(cache, from, count, thread);
        if (status == K_OK && transfer_find(cache, TRANSFER_PULL, page) == NULL)
            status = transfer_pull(cache, page, 1, thread);
        if (status != K_OK)
            return status;
        cache->ahead_to = from + count;
        transfer = transfer_find(cache, TRANSFER_PULL, page);
    }
    return cache_wait(cache, &transfer->waiters, thread, false);
}

void cache_truncate(struct cache *cache, uint64_t size)
{
    uint64_t old = cache->size;
    page_t page = (size + PAGE_SIZE - 1) >> PAGE_SHIFT;
    uint32_t slot;
    cache->size = size;
    if (size >= old)
        return;
    cache->ordinal++;
    cache_unmap(cache, page, (page_t)1 << 36);
    while (tree_next(&cache->pages, &page, (page_t)1 << 36, &slot))
        cache_page_drop(cache, page++);
    slot = size % PAGE_SIZE == 0 ? 0 : cache_slot(cache, size >> PAGE_SHIFT);
    if (slot != 0)
        memset((char *)frame_bytes(slot_frame(slot)) + size % PAGE_SIZE, 0, PAGE_SIZE - size % PAGE_SIZE);
    if (cache->granted_to > cache_end(cache))
        cache->granted_to = cache_end(cache);
}
