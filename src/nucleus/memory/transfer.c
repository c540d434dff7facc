/* transfer.c: messages to mappers, and what comes back.
 *
 * A transfer is one request that is out. Its frames are held; it is found by its pages, so that nobody asks twice; threads wait at it, and
 * start again when it has ended, with its status as the reason why they woke.
 *
 * A push-out has two parts: first the pages are made read-only wherever they are mapped, and only when the machines have reported
 * that is the request sent. A page that is written again meanwhile becomes dirty again, and is sent once more later.
 */
#include <host/event.h>
#include <stdlib.h>
#include <string.h>
#include "../kcall.h"
#include "cache.h"
#include "mapping.h"
#include "pressure.h"

union annex {
    KnMpRequest request;
    KnMpReply reply;
    uint8_t bytes[K_CMSGANNEXSIZE];
};
_Static_assert(sizeof(union annex) == K_CMSGANNEXSIZE, "mappers' requests fit an annex");

static struct list awaiting; /* pushes that wait for reports */
static size_t pushing;
static uint64_t pushes_failed; /* ever */

size_t transfers_pushing(void) { return pushing; }
uint64_t transfers_failed(void) { return pushes_failed; }

static struct transfer *transfer_new(struct cache *cache, enum transfer_kind kind, page_t from, uint32_t count)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (transfer == NULL)
        return NULL;
    *transfer = (struct transfer){.cache = cache, .kind = kind, .from = from, .count = count};
    for (unsigned i = 0; i < TRANSFER_PAGES_DIRECT; i++)
        transfer->frames[i] = FRAME_NONE;
    list_init(&transfer->of_visible);
    list_init(&transfer->of_awaiting);
    wait_queue_init(&transfer->waiters);
    list_append(&cache->transfers, &transfer->of_cache);
    pushing += kind == TRANSFER_PUSH;
    return transfer;
}

/* Its frames are let go, and it is gone. On its own: of a transfer that was never sent. Nobody waits for that, and nobody is to be woken: the thread that
 * wanted it may wait by now, for frames, and who waits in a call is not woken by that call. */
static void transfer_discard(struct transfer *transfer)
{
    transfer_hide(transfer);
    for (uint32_t i = 0; i < TRANSFER_PAGES_DIRECT; i++) {
        if (transfer->frames[i] != FRAME_NONE)
            frame_unhold(transfer->frames[i]);
    }
    pushing -= transfer->kind == TRANSFER_PUSH;
    list_remove(&transfer->of_cache);
    list_remove(&transfer->of_awaiting);
    free(transfer->awaited);
    free(transfer);
}

/* The transfer is over: who waits goes on. The cache may be freed. */
static void transfer_end(struct transfer *transfer, int status)
{
    struct cache *cache = transfer->cache;
    wait_queue_wake_all(&transfer->waiters, status);
    if (transfer->kind != TRANSFER_PULL)
        wait_queue_wake_all(&cache->waiters, status);
    transfer_discard(transfer);
    pressure_relieved();
    cache_release(cache);
}

static int transfer_send(struct transfer *transfer, const KnMpRequest *request, size_t body, kcall_fill *fill, size_t reply_max, kcall_done *done)
{
    union annex annex = {.bytes = {0}};
    struct cache *cache = transfer->cache;
    annex.request = *request;
    annex.request.segKey = cache->segment.key;
    annex.request.lc = cache->lc;
    annex.request.ordinal = cache->ordinal;
    annex.request.pages = transfer->device_address;
    int status = kcall_start(&transfer->call, &cache->segment.ui, &annex, body, fill, reply_max, done, transfer);
    return status == K_EUNKNOWN ? K_EMAPPER : status;
}

/* What the mapper says, as a status for threads. */
static int reply_status(int status, const void *annex, KnMpReply *reply)
{
    if (status != K_OK)
        return K_EMAPPER;
    memcpy(reply, annex, sizeof *reply);
    switch (reply->diag) {
    case K_OK:
    case K_ENOSPACE:
    case K_EUNKNOWN:
    case K_EPROTECT:
        return reply->diag;
    default:
        return K_EMAPPER;
    }
}

struct transfer *transfer_find(struct cache *cache, enum transfer_kind kind, page_t page)
{
    LIST_FOR_EACH(link, &cache->transfers) {
        struct transfer *transfer = LIST_OWNER(link, struct transfer, of_cache);
        if (transfer->kind == kind && (kind == TRANSFER_OPEN || (page >= transfer->from && page - transfer->from < transfer->count)))
            return transfer;
    }
    return NULL;
}

int cache_wait(struct cache *cache, struct wait_queue *queue, struct thread *thread, bool abortable)
{
    (void)cache;
    if (thread == NULL)
        return K_EFAULT;
    int woken = thread->call.woken;
    if (thread->call.restarted && woken < 0 && woken != K_ETIMEOUT) {
        thread->call.woken = K_OK;
        return woken;
    }
    return wait_queue_wait(queue, thread, INT64_MAX, abortable);
}

/* --- opening --- */

static void open_done(void *cookie, int status, const void *annex, const void *body, size_t body_size)
{
    struct transfer *transfer = cookie;
    struct cache *cache = transfer->cache;
    KnMpReply reply;
    (void)body, (void)body_size;
    status = reply_status(status, annex, &reply);
    if (status == K_OK && reply.segSize > SEGMENT_MAX)
        status = K_EMAPPER;
    cache->state = status == K_OK ? CACHE_OPEN : CACHE_NEW;
    if (status == K_OK) {
        cache->size = reply.segSize;
        cache->direct = reply.direct != 0;
        cache->transfer_pages = cache->direct ? TRANSFER_PAGES_DIRECT : TRANSFER_PAGES;
    }
    transfer_end(transfer, status);
}

int transfer_open(struct cache *cache)
{
    struct transfer *transfer = transfer_new(cache, TRANSFER_OPEN, 0, 0);
    if (transfer == NULL)
        return K_ENOMEM;
    KnMpRequest request = {.op = K_MP_GETACCESS};
    int status = transfer_send(transfer, &request, 0, NULL, 0, open_done);
    if (status != K_OK) {
        transfer_discard(transfer);
        return status;
    }
    cache->state = CACHE_OPENING;
    return K_OK;
}

/* --- access --- */

static void access_done(void *cookie, int status, const void *annex, const void *body, size_t body_size)
{
    struct transfer *transfer = cookie;
    struct cache *cache = transfer->cache;
    KnMpReply reply;
    (void)body, (void)body_size;
    status = reply_status(status, annex, &reply);
    page_t from = PAGE_OF(reply.offset), to = PAGE_OF(reply.offset + reply.size + PAGE_SIZE - 1);
    if (status == K_OK && (reply.offset % PAGE_SIZE != 0 || reply.offset + reply.size < reply.offset || reply.size > SEGMENT_MAX ||
                           from > transfer->from || to < transfer->from + transfer->count))
        status = K_EMAPPER; /* it did not grant what was asked for */
    if (status == K_OK && transfer->stale)
        status = K_OK; /* recalled meanwhile: asked again */
    else if (status == K_OK && from <= cache->granted_to && to >= cache->granted_from && cache->granted_to > cache->granted_from) {
        cache->granted_from = from < cache->granted_from ? from : cache->granted_from;
        cache->granted_to = to > cache->granted_to ? to : cache->granted_to;
    } else if (status == K_OK) {
        cache->granted_from = from;
        cache->granted_to = to;
    }
    transfer_end(transfer, status);
}

int cache_access(struct cache *cache, page_t from, page_t to, uint64_t size, struct thread *thread)
{
    if (cache->granted_from <= from && to <= cache->granted_to)
        return K_OK;
    if (thread == NULL)
        return K_EFAULT;
    bool failed = thread->call.restarted && thread->call.woken < 0 && thread->call.woken != K_ETIMEOUT;
    bool asking = false;
    LIST_FOR_EACH(link, &cache->transfers) {
        if (LIST_OWNER(link, struct transfer, of_cache)->kind == TRANSFER_ACCESS)
            asking = true;
    }
    if (!failed && !asking) {
        struct transfer *transfer = transfer_new(cache, TRANSFER_ACCESS, from, to - from);
        if (transfer == NULL)
            return K_ENOMEM;
        KnMpRequest request = {.op = K_MP_GETACCESS, .access = K_WRITABLE, .offset = from * PAGE_SIZE,
                               .size = (to - from) * PAGE_SIZE, .segSize = size};
        int status = transfer_send(transfer, &request, 0, NULL, 0, access_done);
        if (status != K_OK) {
            transfer_discard(transfer);
            return status;
        }
    }
    return cache_wait(cache, &cache->waiters, thread, false);
}

/* --- pulling in --- */

/* Put what came into the cache, page by page; the rest of the last one is zero, and so are pages that the mapper did not send. <body> NULL: a device has put
 * it there; pages that none was given count as not sent, whatever the mapper says. */
static int pull_fill(struct transfer *transfer, const uint8_t *body, size_t body_size)
{
    struct cache *cache = transfer->cache;
    for (uint32_t i = 0; i < transfer->count; i++) {
        page_t page = transfer->from + i;
        size_t begin = (size_t)i * PAGE_SIZE, part = 0;
        uint8_t *bytes = frame_bytes(transfer->frames[i]);
        if (page >= cache_end(cache) || cache_slot(cache, page) != 0)
            continue;
        if (body_size > begin && (body != NULL || transfer->filled >> i & 1))
            part = body_size - begin < PAGE_SIZE ? body_size - begin : PAGE_SIZE;
        if (cache->size < (page + 1) * PAGE_SIZE && part > cache->size % PAGE_SIZE)
            part = cache->size % PAGE_SIZE;
        if (part > 0 && body != NULL)
            memcpy(bytes, body + begin, part);
        memset(bytes + part, 0, PAGE_SIZE - part);
        if (cache_page_insert(cache, page, transfer->frames[i]) != K_OK)
            return K_ENOMEM;
    }
    return K_OK;
}

static void pull_done(void *cookie, int status, const void *annex, const void *body, size_t body_size)
{
    struct transfer *transfer = cookie;
    KnMpReply reply = {.diag = K_OK};
    status = reply_status(status, annex, &reply);
    if (reply.diag == K_EIO && transfer->count > 1) {
        transfer->cache->careful = CAREFUL_PULLS;
        transfer_end(transfer, K_OK); /* one of the pages cannot be read: who waits asks for his alone */
        return;
    }
    if (status == K_OK && !transfer->stale)
        status = transfer->device_address != 0 ? pull_fill(transfer, NULL, reply.size) : pull_fill(transfer, body, body_size);
    transfer_end(transfer, status);
}

/* Frames for the pages of a pull, as far as there are any: <count> becomes their number. */
static int pull_frames(struct transfer *transfer, struct thread *thread)
{
    struct cache *cache = transfer->cache;
    uint32_t have = 0;
    while (have < transfer->count) {
        frame_t first;
        size_t got;
        int status = cache_frame_take(cache, transfer->from + have, transfer->count - have, have == 0 ? thread : NULL, &first, &got);
        if (status != K_OK && have == 0)
            return status;
        if (status != K_OK)
            break;
        for (size_t i = 0; i < got; i++) {
            frame_hold(first + i);
            transfer->frames[have++] = first + i;
        }
    }
    transfer->count = have;
    return K_OK;
}

int transfer_pull(struct cache *cache, page_t from, size_t count, struct thread *thread)
{
    page_t end = from + count < cache_end(cache) ? from + count : cache_end(cache), to = from;
    while (to < end && to - from < cache->transfer_pages && cache_slot(cache, to) == 0 && transfer_find(cache, TRANSFER_PULL, to) == NULL)
        to++;
    if (to == from)
        return K_OK;
    struct transfer *transfer = transfer_new(cache, TRANSFER_PULL, from, to - from);
    if (transfer == NULL)
        return K_ENOMEM;
    cache->careful -= cache->careful > 0;
    int status = pull_frames(transfer, thread);
    if (status == K_OK) {
        KnMpRequest request = {.op = K_MP_PULLIN, .access = K_READABLE, .offset = from * PAGE_SIZE,
                               .size = (VmSize)transfer->count * PAGE_SIZE, .segSize = cache->size};
        if (cache->direct)
            transfer_show(transfer);
        status = transfer_send(transfer, &request, 0, NULL, cache->direct ? 0 : transfer->count * PAGE_SIZE, pull_done);
    }
    if (status != K_OK)
        transfer_discard(transfer);
    return status;
}

/* --- pushing out --- */

static void push_fill(void *cookie, void *to, size_t size)
{
    struct transfer *transfer = cookie;
    for (size_t i = 0; i * PAGE_SIZE < size; i++)
        memcpy((uint8_t *)to + i * PAGE_SIZE, frame_bytes(transfer->frames[i]), PAGE_SIZE);
}

/* The pages are clean now, or, if it failed, as dirty as before. */
static void push_settle(struct transfer *transfer, int status)
{
    struct cache *cache = transfer->cache;
    for (uint32_t i = 0; i < transfer->count; i++) {
        page_t page = transfer->from + i;
        frame_t frame = transfer->frames[i];
        struct frame *record = frame_record(frame);
        uint32_t slot = cache_slot(cache, page);
        if (slot == 0 || slot_frame(slot) != frame || !(record->flags & FRAME_CLEANING))
            continue;
        record->flags &= ~FRAME_CLEANING;
        cache->cleaning_count--;
        if (status != K_OK)
            cache_page_dirty(cache, frame);
    }
    if (status == K_OK) {
        cache->lost_since = 0;
        return;
    }
    cache->failed_at = ++pushes_failed;
    cache->failure = status;
    if (cache->lost_since == 0)
        cache->lost_since = host_time();
}

static void push_done(void *cookie, int status, const void *annex, const void *body, size_t body_size)
{
    struct transfer *transfer = cookie;
    KnMpReply reply;
    (void)body, (void)body_size;
    status = reply_status(status, annex, &reply);
    push_settle(transfer, status);
    transfer_end(transfer, status);
}

/* Behind the segment's end its last page may hold what somebody wrote there through a window: that does not go along. */
static void push_trim(struct transfer *transfer)
{
    uint64_t size = transfer->cache->size;
    page_t last = PAGE_OF(size);
    if (size % PAGE_SIZE != 0 && last >= transfer->from && last - transfer->from < transfer->count)
        memset((uint8_t *)frame_bytes(transfer->frames[last - transfer->from]) + size % PAGE_SIZE, 0, PAGE_SIZE - size % PAGE_SIZE);
}

static int push_send(struct transfer *transfer)
{
    struct cache *cache = transfer->cache;
    KnMpRequest request = {.op = K_MP_PUSHOUT, .offset = transfer->from * PAGE_SIZE, .size = (VmSize)transfer->count * PAGE_SIZE,
                           .segSize = cache->size};
    if (!cache->direct)
        return transfer_send(transfer, &request, (size_t)transfer->count * PAGE_SIZE, push_fill, 0, push_done);
    push_trim(transfer);
    transfer_show(transfer);
    return transfer_send(transfer, &request, 0, NULL, 0, push_done);
}

static bool push_is_reported(const struct transfer *transfer)
{
    for (size_t i = 0; i < transfer->awaited_count; i++) {
        struct vm_space *space = space_that_is_awaited(&transfer->awaited[i]);
        if (space != NULL && space_takes_orders(space) && host_space_reported(space->host) < transfer->awaited[i].ticket)
            return false;
    }
    return true;
}

/* Make the pages read-only in every window, and note what has to be reported first. */
static int push_protect(struct transfer *transfer)
{
    struct cache *cache = transfer->cache;
    page_t first, end;
    transfer->awaited = calloc(cache->window_count + 1, sizeof *transfer->awaited);
    if (transfer->awaited == NULL)
        return K_ENOMEM;
    LIST_FOR_EACH(link, &cache->windows) {
        struct region *window = LIST_OWNER(link, struct region, of_cache);
        if (window->object != NULL || !window_part(window, transfer->from, transfer->from + transfer->count, &first, &end))
            continue;
        mapping_withdraw(window->space, first, end, HOST_WRITE);
        if (!space_takes_orders(window->space))
            continue;
        host_ticket_t ticket = host_space_ticket(window->space->host);
        if (host_space_reported(window->space->host) >= ticket)
            continue;
        host_space_commit(window->space->host);
        transfer->awaited[transfer->awaited_count++] = space_awaited(window->space, ticket);
    }
    return K_OK;
}

static int push_go(struct transfer *transfer)
{
    if (!push_is_reported(transfer)) {
        list_append(&awaiting, &transfer->of_awaiting);
        return K_OK;
    }
    int status = push_send(transfer);
    if (status != K_OK) {
        push_settle(transfer, status);
        transfer_end(transfer, status);
    }
    return status;
}

void transfers_reported(void)
{
    if (awaiting.next == NULL)
        list_init(&awaiting);
    LIST_FOR_EACH_SAFE(link, following, &awaiting) {
        struct transfer *transfer = LIST_OWNER(link, struct transfer, of_awaiting);
        if (!push_is_reported(transfer))
            continue;
        list_remove(link);
        push_go(transfer);
    }
}

static bool page_is_dirty(struct cache *cache, page_t page)
{
    uint32_t slot = cache_slot(cache, page);
    return slot != 0 && (frame_record(slot_frame(slot))->flags & (FRAME_DIRTY | FRAME_CLEANING)) == FRAME_DIRTY;
}

int transfer_push(struct cache *cache, page_t from, page_t end, size_t *ret_count)
{
    page_t to = from;
    *ret_count = 0;
    if (awaiting.next == NULL)
        list_init(&awaiting);
    while (to < end && to - from < cache->transfer_pages && page_is_dirty(cache, to))
        to++;
    if (to == from)
        return K_OK;
    struct transfer *transfer = transfer_new(cache, TRANSFER_PUSH, from, to - from);
    int status = transfer == NULL ? K_ENOMEM : push_protect(transfer);
    if (status != K_OK) {
        if (transfer != NULL)
            transfer_end(transfer, status);
        return status;
    }
    for (page_t page = from; page < to; page++) {
        frame_t frame = slot_frame(cache_slot(cache, page));
        cache_page_clean(cache, frame);
        frame_record(frame)->flags |= FRAME_CLEANING;
        cache->cleaning_count++;
        frame_hold(frame);
        transfer->frames[page - from] = frame;
    }
    *ret_count = to - from;
    return push_go(transfer);
}
