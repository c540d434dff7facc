/* mapper.c: see mapper.h. It is also the Nucleus's kcall.c and ui.c for these tests. */
#include "mapper.h"

#include <stdlib.h>
#include <string.h>
#include "kcall.h"
#include "memory/cache.h"
#include "random.h"
#include "ui.h"

#define FILES 64

struct kcall {
    struct kcall *next;
    uint8_t annex[K_CMSGANNEXSIZE];
    size_t body_size, reply_max;
    kcall_fill *fill;
    kcall_done *done;
    void *cookie;
};

enum mapper_mode mapper_mode;
unsigned mapper_requests;
static struct file *files[FILES];
static unsigned file_count;
static struct kcall *requests;
static const KnUniqueId port = {.uiHead = (uint32_t)K_UIPORT << 27 | 5, .uiTail = 1};

uint8_t file_byte(uint64_t offset) { return (uint8_t)(offset * 7 + offset / PAGE_SIZE); }

struct file *file_new(uint64_t size)
{
    struct file *file = calloc(1, sizeof *file);
    cr_assert_lt(file_count, FILES);
    file->cap = (KnCap){port, 100 + file_count};
    file->size = size;
    file->room = size + PAGES(64);
    file->bytes = calloc(1, file->room);
    for (uint64_t i = 0; i < size; i++)
        file->bytes[i] = file_byte(i);
    files[file_count++] = file;
    return file;
}

static void room_for(struct file *file, uint64_t size)
{
    if (size <= file->room)
        return;
    file->bytes = realloc(file->bytes, size * 2);
    memset(file->bytes + file->room, 0, size * 2 - file->room);
    file->room = size * 2;
}

void file_resize(struct file *file, uint64_t size)
{
    room_for(file, size);
    if (size < file->size)
        memset(file->bytes + size, 0, file->room - size);
    file->size = size;
}

static struct file *file_find(KnKey key)
{
    cr_assert(key >= 100 && key - 100 < file_count, "a request for a file that is none");
    return files[key - 100];
}

/* What a device does with the pages of a request. */
static void device_moves(struct file *file, const KnMpRequest *request, uint64_t from, uint64_t to, bool write)
{
    uint64_t frame;
    for (size_t part; from < to; from += part) {
        uint8_t *bytes = vm_pages_pin(request->pages + from, to - from, write, &part, &frame);
        cr_assert_not_null(bytes);
        cr_assert(part > 0 && part <= to - from);
        memcpy(write ? bytes : file->bytes + request->offset + from, write ? file->bytes + request->offset + from : bytes, part);
        vm_pages_unpin(frame, request->pages + from, part);
    }
}

static bool has_bad(const struct file *file, const KnMpRequest *request)
{
    return file->bad != 0 && PAGES(file->bad) >= request->offset && PAGES(file->bad) < request->offset + request->size;
}

static void pull_pages(struct file *file, const KnMpRequest *request, KnMpReply *reply)
{
    page_t first = request->offset / PAGE_SIZE, end = first + request->size / PAGE_SIZE;
    cr_assert_leq(request->size, K_MP_DIRECT_MAX);
    file->pulls++;
    file->pulled += end - first;
    file->pages = request->pages;
    reply->diag = has_bad(file, request) ? K_EIO : file->error;
    if (reply->diag != K_OK || request->offset >= file->size)
        return;
    reply->size = file->size - request->offset < request->size ? file->size - request->offset : request->size;
    if (!file->idle)
        device_moves(file, request, file->skip, reply->size, true);
}

static void push_pages(struct file *file, const KnMpRequest *request, KnMpReply *reply)
{
    file->pushes++;
    file->pushed += request->size / PAGE_SIZE;
    file->pages = request->pages;
    if ((reply->diag = has_bad(file, request) ? K_EIO : file->error) != K_OK)
        return;
    room_for(file, request->offset + request->size);
    device_moves(file, request, 0, request->size, false);
    if ((int64_t)request->ordinal >= file->ordinal)
        file->size = request->segSize;
}

static void pull(struct file *file, const KnMpRequest *request, KnMpReply *reply, const void **ret_body, size_t *ret_size)
{
    cr_assert_leq(request->size, K_CMSGSIZEMAX);
    cr_assert_gt(request->size, 0);
    file->pulls++;
    file->pulled += request->size / PAGE_SIZE;
    if ((reply->diag = file->error) != K_OK || request->offset >= file->size)
        return;
    *ret_body = file->bytes + request->offset;
    *ret_size = file->size - request->offset < request->size ? file->size - request->offset : request->size;
}

static void push(struct file *file, const KnMpRequest *request, KnMpReply *reply, struct kcall *call)
{
    cr_assert_eq(call->body_size, request->size);
    file->pushes++;
    file->pushed += request->size / PAGE_SIZE;
    if ((reply->diag = has_bad(file, request) ? K_EIO : file->error) != K_OK)
        return;
    room_for(file, request->offset + request->size);
    call->fill(call->cookie, file->bytes + request->offset, request->size);
    if ((int64_t)request->ordinal >= file->ordinal)
        file->size = request->segSize;
    room_for(file, file->size);
    memset(file->bytes + file->size, 0, file->room - file->size);
}

static void get_access(struct file *file, const KnMpRequest *request, KnMpReply *reply)
{
    if (request->access == 0) {
        file->opens++;
        reply->diag = file->unknown ? K_EUNKNOWN : K_OK;
        reply->direct = file->direct;
        return;
    }
    file->accesses++;
    reply->diag = file->error;
    reply->offset = request->offset;
    reply->size = request->size;
}

static void answer(struct kcall *call)
{
    union {
        KnMpReply reply;
        uint8_t bytes[K_CMSGANNEXSIZE];
    } annex = {.bytes = {0}};
    KnMpRequest request;
    const void *body = NULL;
    size_t size = 0;
    memcpy(&request, call->annex, sizeof request);
    struct file *file = file_find(request.segKey);
    file->lc = request.lc;
    cr_assert_eq(request.pages != 0, file->direct && request.op != K_MP_GETACCESS);
    if (request.op == K_MP_PULLIN && file->direct)
        pull_pages(file, &request, &annex.reply);
    else if (request.op == K_MP_PUSHOUT && file->direct)
        push_pages(file, &request, &annex.reply);
    else if (request.op == K_MP_PULLIN)
        pull(file, &request, &annex.reply, &body, &size);
    else if (request.op == K_MP_PUSHOUT)
        push(file, &request, &annex.reply, call);
    else if (request.op == K_MP_GETACCESS)
        get_access(file, &request, &annex.reply);
    else
        cr_assert_fail("a request that no mapper knows");
    cr_assert_leq(size, call->reply_max);
    annex.reply.segSize = file->size;
    call->done(call->cookie, K_OK, &annex, body, size);
}

void world_mappers_answer(void)
{
    while (requests != NULL && mapper_mode != MAPPER_SILENT) {
        struct kcall *call = requests;
        requests = call->next;
        if (mapper_mode == MAPPER_DEAD)
            call->done(call->cookie, K_EDEAD, NULL, NULL, 0);
        else
            answer(call);
        free(call);
    }
}

unsigned mapper_waiting(void)
{
    unsigned count = 0;
    for (struct kcall *call = requests; call != NULL; call = call->next)
        count++;
    return count;
}

uint64_t mapper_pages_asked(void)
{
    KnMpRequest request;
    cr_assert_not_null(requests);
    memcpy(&request, requests->annex, sizeof request);
    return request.pages;
}

void world_mappers_end(void)
{
    struct cache *cache;
    if (mapper_mode == MAPPER_SILENT)
        mapper_mode = MAPPER_ANSWERS;
    for (unsigned i = 0; i < 1000 && (requests != NULL || dirty_pages() > 0); i++) {
        world_go_on();
        world_time += 130000000000;
        vm_writeback_old();
        if (i > 10)
            mapper_mode = MAPPER_DEAD;
    }
    cr_assert_null(requests, "requests are left over");
    for (uint32_t number = 0; (cache = cache_next(number)) != NULL; number = cache->number + 1)
        cr_assert_eq(cache->window_count, 0);
    while (cache_free_unused())
        ;
    cr_assert(list_is_empty(&all_caches), "a cache is left over");
    cr_assert_eq(cached_pages(), 0);
}

/* --- the Nucleus's own calls --- */

int kcall_start(struct kcall **ret_call, const KnUniqueId *to, const void *annex, size_t body_size, kcall_fill *fill, size_t reply_max,
                kcall_done *done, void *cookie)
{
    if (!uiEqual(to, &port) || mapper_mode == MAPPER_DEAD)
        return K_EUNKNOWN;
    struct kcall *call = calloc(1, sizeof *call), **place = &requests;
    memcpy(call->annex, annex, sizeof call->annex);
    call->body_size = body_size;
    call->fill = fill;
    call->reply_max = reply_max;
    call->done = done;
    call->cookie = cookie;
    while (*place != NULL)
        place = &(*place)->next;
    *place = call;
    mapper_requests++;
    *ret_call = call;
    return K_OK;
}

void kcall_cancel(struct kcall *call)
{
    for (struct kcall **place = &requests; *place != NULL; place = &(*place)->next) {
        if (*place == call) {
            *place = call->next;
            free(call);
            return;
        }
    }
    cr_assert_fail("a call that is over is cancelled");
}

int kcall_send(const KnUniqueId *to, const void *annex, const void *body, size_t body_size)
{
    KnMpRequest request;
    (void)body, (void)body_size;
    memcpy(&request, annex, sizeof request);
    if (!uiEqual(to, &port))
        return K_EUNKNOWN;
    cr_assert_eq(request.op, K_MP_RELEASE);
    file_find(request.segKey)->releases++;
    return K_OK;
}

KnCap cap_new(unsigned type)
{
    static uint32_t stamp;
    return (KnCap){{type << 27 | ++stamp, 1}, 0x1234567890 + stamp};
}

void random_bytes(void *bytes, size_t count)
{
    static uint64_t state = 88172645463325252;
    for (size_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((uint8_t *)bytes)[i] = (uint8_t)state;
    }
}

bool key_equal(KnKey a, KnKey b) { return a == b; }

/* --- what tests do with files --- */

int64_t map_file(struct actor *actor, vaddr_t at, uint64_t pages, uint32_t options, struct file *file, uint64_t offset)
{
    KnRgnDesc rgn = {.startAddr = at, .size = PAGES(pages), .options = options};
    KnObjDesc obj = {.dataObject = file->cap, .offset = offset};
    return CALL(actor, rgnMap, 0, ARG(&rgn), ARG(&obj));
}

int64_t init_file(struct actor *actor, vaddr_t at, uint64_t pages, uint32_t options, struct file *file, uint64_t offset, uint64_t size)
{
    KnRgnDesc rgn = {.startAddr = at, .size = PAGES(pages), .options = options};
    KnObjDesc obj = {.dataObject = file->cap, .offset = offset, .size = size};
    return CALL(actor, rgnInit, 0, ARG(&rgn), ARG(&obj));
}

int64_t read_file(struct actor *actor, struct file *file, uint64_t offset, vaddr_t to, uint64_t size)
{
    return CALL(actor, sgRead, ARG(&file->cap), offset, to, size);
}

int64_t write_file(struct actor *actor, struct file *file, uint64_t offset, vaddr_t from, uint64_t size)
{
    return CALL(actor, sgWrite, ARG(&file->cap), offset, from, size);
}
