/* The Nucleus that tests of pm run on. */

#include "fake_nucleus.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <protocol/tty.h>
#include <stdio.h>
#include <sys/stat.h>

#include <om.h>

#include "call.h"
#include "descriptor.h"
#include "device.h"
#include "init.h"
#include "job.h"
#include "mount.h"
#include "own_files.h"
#include "path.h"
#include "process.h"
#include "rlimits.h"
#include "signals.h"
#include "space.h"
#include "worker.h"

struct pm_options pm_options;

/* ---- actors and their memory ---- */

struct page {
    struct page *next;
    VmAddr address;
    uint8_t bytes[K_PAGESIZE];
};

struct region {
    struct region *next;
    VmAddr start;
    VmSize size;
    uint32_t options, opaque;
    KnCap segment;
    VmOffset offset;
};

struct fake_actor {
    struct fake_actor *next;
    KnCap cap;
    uint64_t watch;
    struct page *pages;
    struct region *regions;
    int last_li;
};

struct fake_thread {
    struct fake_thread *next;
    struct fake_actor *actor;
    KnThreadLid li;
    uint64_t cookie;
    KnThreadCtx registers;
    enum fake_where where;
    bool aborted, in_trap;
    KnMsgId saved;
    uint32_t last_number;
    KnTrapReply reply;
    uint8_t body[256];
};

static struct fake_actor *actors;
static struct fake_thread *threads;
static uint32_t last_stamp;
static KnMsgId last_message;
static KnTime now, timer_due;
static bool sender_is_nucleus = true;
static char log_text[8192];

static struct om om;
static const uint64_t om_port = 0x1111, om_mapper = 0x2222;

char fake_screen[65536];
size_t fake_screen_size;
int fake_foreground;
int fake_shutdowns, fake_shutdown_status;
static char typed[4096];
static size_t typed_size;
static uint64_t watch_token;

static struct fake_actor *actor_of(const KnCap *cap)
{
    for (struct fake_actor *actor = actors; actor != NULL; actor = actor->next)
        if (uiEqual(&actor->cap.ui, &cap->ui) && actor->cap.key == cap->key)
            return actor;
    return NULL;
}

static struct region *region_at(const struct fake_actor *actor, VmAddr address)
{
    for (struct region *region = actor->regions; region != NULL; region = region->next)
        if (address >= region->start && address - region->start < region->size)
            return region;
    return NULL;
}

static struct page *page_at(struct fake_actor *actor, VmAddr address, bool write)
{
    address &= ~(VmAddr)(K_PAGESIZE - 1);
    struct region *region = region_at(actor, address);
    if (region == NULL || !(region->options & (write ? K_WRITABLE : K_READABLE)))
        return NULL;
    for (struct page *page = actor->pages; page != NULL; page = page->next)
        if (page->address == address)
            return page;
    struct page *page = calloc(1, sizeof *page);
    page->address = address;
    page->next = actor->pages;
    actor->pages = page;
    if (!uiIsCleared(&region->segment.ui))
        sgRead(&region->segment, region->offset + address - region->start, page->bytes, K_PAGESIZE);
    return page;
}

static int copy_memory(struct fake_actor *actor, VmAddr at, uint8_t *host, VmSize size, bool write)
{
    while (size > 0) {
        VmSize part = K_PAGESIZE - at % K_PAGESIZE;
        part = part < size ? part : size;
        struct page *page = page_at(actor, at, write);
        if (page == NULL)
            return K_EFAULT;
        if (write)
            memcpy(page->bytes + at % K_PAGESIZE, host, part);
        else
            memcpy(host, page->bytes + at % K_PAGESIZE, part);
        at += part, host += part, size -= part;
    }
    return K_OK;
}

int vmCopy(const KnCap *source, VmAddr from, const KnCap *target, VmAddr to, VmSize size)
{
    struct fake_actor *actor = actor_of(source != NULL ? source : target);
    if (actor == NULL)
        return K_EUNKNOWN;
    return source != NULL ? copy_memory(actor, from, (uint8_t *)to, size, false)
                          : copy_memory(actor, to, (uint8_t *)from, size, true);
}

int vmCopyString(const KnCap *source, VmAddr from, char *buffer, VmSize size)
{
    struct fake_actor *actor = actor_of(source);
    for (VmSize i = 0; i < size; i++) {
        if (copy_memory(actor, from + i, (uint8_t *)buffer + i, 1, false) != K_OK)
            return K_EFAULT;
        if (buffer[i] == '\0')
            return (int)i;
    }
    return K_ETOOMUCH;
}

/* Take [start, end) out of the regions; what is cut in the middle becomes two. */
static void free_range(struct fake_actor *actor, VmAddr start, VmAddr end)
{
    for (struct region **at = &actor->regions; *at != NULL;) {
        struct region *region = *at;
        VmAddr stop = region->start + region->size;
        if (region->start >= end || stop <= start) {
            at = &region->next;
            continue;
        }
        if (stop > end) {
            struct region *rest = malloc(sizeof *rest);
            *rest = *region;
            rest->start = end;
            rest->size = stop - end;
            rest->offset += end - region->start;
            rest->next = region->next;
            region->next = rest;
        }
        if (region->start < start) {
            region->size = start - region->start;
            at = &region->next;
        } else {
            *at = region->next;
            free(region);
        }
    }
    for (struct page **at = &actor->pages; *at != NULL;) {
        struct page *page = *at;
        if (page->address < start || page->address >= end) {
            at = &page->next;
            continue;
        }
        *at = page->next;
        free(page);
    }
}

static int make_region(const KnCap *cap, KnRgnDesc *desc, const KnObjDesc *object)
{
    struct fake_actor *actor = actor_of(cap);
    VmSize size = (desc->size + K_PAGESIZE - 1) & ~(VmSize)(K_PAGESIZE - 1);
    if (actor == NULL || size == 0 || desc->startAddr % K_PAGESIZE != 0)
        return actor == NULL ? K_EUNKNOWN : K_EINVAL;
    if (desc->options & K_ANYWHERE) {
        VmAddr at = (desc->endAddr != 0 ? desc->endAddr : K_USERTOP) - size;
        for (struct region *r = actor->regions; r != NULL;) {
            if (r->start < at + size && at < r->start + r->size) {
                at = r->start - size;
                r = actor->regions;
            } else {
                r = r->next;
            }
        }
        desc->startAddr = at;
    }
    if (desc->startAddr < K_USERBOTTOM || desc->startAddr + size > K_USERTOP)
        return K_ESPACE;
    if (desc->options & K_OVERWRITE)
        free_range(actor, desc->startAddr, desc->startAddr + size);
    for (struct region *r = actor->regions; r != NULL; r = r->next)
        if (r->start < desc->startAddr + size && desc->startAddr < r->start + r->size)
            return K_EOVERLAP;
    struct region *region = calloc(1, sizeof *region);
    region->start = desc->startAddr;
    region->size = size;
    region->options = desc->options & 0x7ff;
    region->opaque = desc->opaque;
    if (object != NULL) {
        region->segment = object->dataObject;
        region->offset = object->offset;
    }
    region->next = actor->regions;
    actor->regions = region;
    return K_OK;
}

int rgnAllocate(const KnCap *cap, KnRgnDesc *rgn) { return make_region(cap, rgn, NULL); }
int rgnMap(const KnCap *cap, KnRgnDesc *rgn, const KnObjDesc *o) { return make_region(cap, rgn, o); }
int rgnInit(const KnCap *cap, KnRgnDesc *rgn, const KnObjDesc *o) { return make_region(cap, rgn, o); }

int rgnFree(const KnCap *cap, const KnRgnDesc *rgn)
{
    struct fake_actor *actor = actor_of(cap);
    if (actor == NULL)
        return K_EUNKNOWN;
    free_range(actor, rgn->startAddr, rgn->startAddr + rgn->size);
    return K_OK;
}

int rgnDup(const KnCap *target, const KnCap *source, unsigned flags)
{
    struct fake_actor *to = actor_of(target), *from = actor_of(source);
    (void)flags;
    for (struct region *region = from->regions; region != NULL; region = region->next) {
        struct region *copy = malloc(sizeof *copy);
        *copy = *region;
        copy->next = to->regions;
        to->regions = copy;
    }
    for (struct page *page = from->pages; page != NULL; page = page->next) {
        struct page *copy = malloc(sizeof *copy);
        *copy = *page;
        copy->next = to->pages;
        to->pages = copy;
    }
    return K_OK;
}

int rgnSetProtect(const KnCap *cap, const KnRgnDesc *rgn)
{
    struct fake_actor *actor = actor_of(cap);
    for (VmAddr at = rgn->startAddr; at < rgn->startAddr + rgn->size; at += K_PAGESIZE) {
        struct region *region = region_at(actor, at);
        if (region == NULL)
            return K_EFAULT;
        region->options = (region->options & ~7u) | (rgn->options & 7u);
    }
    return K_OK;
}

int rgnMove(const KnCap *cap, KnRgnDesc *rgn, VmAddr source, VmSize oldsize)
{
    (void)cap, (void)rgn, (void)source, (void)oldsize;
    return K_ESPACE;
}

int rgnStat(const KnCap *cap, VmAddr addr, KnRgnStat *stat)
{
    struct fake_actor *actor = actor_of(cap);
    struct region *best = NULL;
    for (struct region *r = actor->regions; r != NULL; r = r->next)
        if (r->start + r->size > addr && (best == NULL || r->start < best->start))
            best = r;
    if (best == NULL)
        return K_EUNKNOWN;
    *stat = (KnRgnStat){ .startAddr = best->start, .size = best->size, .options = best->options,
                         .opaque = best->opaque, .dataObject = best->segment,
                         .offset = best->offset };
    return K_OK;
}

int vmAdvise(const KnCap *cap, VmAddr addr, VmSize size, unsigned advice)
{
    (void)cap, (void)addr, (void)size, (void)advice;
    return K_OK;
}

int vmStat(const KnCap *cap, KnVmStat *stat)
{
    (void)cap;
    memset(stat, 0, sizeof *stat);
    return K_OK;
}

int actorCreate(const KnCap *init, KnCap *cap, int priv, int status)
{
    struct fake_actor *actor = calloc(1, sizeof *actor);
    (void)init, (void)priv, (void)status;
    uiBuild(&actor->cap.ui, K_UIACTOR, 0, ++last_stamp);
    actor->cap.key = last_stamp * 77;
    actor->next = actors;
    actors = actor;
    *cap = actor->cap;
    return K_OK;
}

int actorDelete(const KnCap *cap)
{
    for (struct fake_actor **at = &actors; *at != NULL; at = &(*at)->next) {
        struct fake_actor *actor = *at;
        if (!uiEqual(&actor->cap.ui, &cap->ui))
            continue;
        for (struct fake_thread *t = threads; t != NULL; t = t->next)
            if (t->actor == actor)
                t->where = FAKE_GONE, t->saved = 0, t->actor = NULL;
        free_range(actor, 0, UINT64_MAX);
        *at = actor->next;
        free(actor);
        return K_OK;
    }
    return K_EUNKNOWN;
}

int actorName(const KnCap *cap, char *old, const char *new_)
{
    (void)cap, (void)old, (void)new_;
    return K_OK;
}

int actorAnswers(const KnCap *cap, const KnAnswerSet *answers)
{
    (void)cap;
    return answers->count > K_ANSWERS_MOST ? K_EINVAL : K_OK;
}

int actorTrapConnect(const KnCap *cap, const KnTrapConnect *connect)
{
    (void)connect;
    return actor_of(cap) == NULL ? K_EUNKNOWN : K_OK;
}

int actorWatch(const KnUniqueId *ui, int portli, uint64_t cookie)
{
    (void)ui, (void)portli, (void)cookie;
    return K_OK;
}

/* ---- threads ---- */

static struct fake_thread *thread_of(const KnCap *cap, KnThreadLid li)
{
    struct fake_actor *actor = actor_of(cap);
    for (struct fake_thread *thread = threads; thread != NULL; thread = thread->next)
        if (actor != NULL && thread->actor == actor && thread->li == li)
            return thread;
    return NULL;
}

static struct fake_thread *thread_by_cookie(uint64_t cookie)
{
    for (struct fake_thread *thread = threads; thread != NULL; thread = thread->next)
        if (thread->cookie == cookie && thread->where != FAKE_GONE)
            return thread;
    return NULL;
}

int threadCreate(const KnCap *cap, KnThreadLid *li, int status, const KnSched *sched,
                 const KnThreadStart *start)
{
    struct fake_actor *actor = actor_of(cap);
    (void)status, (void)sched;
    if (actor == NULL)
        return K_EUNKNOWN;
    struct fake_thread *thread = calloc(1, sizeof *thread);
    if (start->flags & K_START_COPY) {
        struct fake_thread *source = thread_of(&start->sourceActor, start->sourceThread);
        if (source == NULL || !source->in_trap) {
            free(thread);
            return source == NULL ? K_EUNKNOWN : K_EBUSY;
        }
        thread->registers = source->registers;
        thread->registers.rax = start->argument;
        if (start->stack != 0)
            thread->registers.rsp = start->stack;
    } else {
        thread->registers.rip = start->entry;
        thread->registers.rsp = start->stack;
    }
    thread->actor = actor;
    thread->li = *li = ++actor->last_li;
    thread->cookie = start->cookie;
    thread->next = threads;
    threads = thread;
    return thread->li;
}

int threadDelete(const KnCap *cap, KnThreadLid li)
{
    struct fake_thread *thread = thread_of(cap, li);
    if (thread == NULL)
        return K_EUNKNOWN;
    thread->where = FAKE_GONE;
    thread->actor = NULL;
    return K_OK;
}

int threadContext(const KnCap *cap, KnThreadLid li, KnThreadCtx *old, const KnThreadCtx *new_,
                  void *xstate)
{
    struct fake_thread *thread = thread_of(cap, li);
    (void)xstate;
    if (thread == NULL)
        return K_EUNKNOWN;
    if (!thread->in_trap)
        return K_EBUSY;
    if (old != NULL)
        *old = thread->registers;
    if (new_ != NULL)
        thread->registers = *new_;
    return K_OK;
}

static void tell_abort(struct fake_thread *thread);

int threadAbort(const KnCap *cap, KnThreadLid li)
{
    struct fake_thread *thread = thread_of(cap, li);
    if (thread == NULL)
        return K_EUNKNOWN;
    thread->aborted = true;
    return K_OK;
}

int threadTimes(const KnCap *cap, KnThreadLid li, KnThreadTimes *times)
{
    (void)cap, (void)li;
    *times = (KnThreadTimes){ 0, 0 };
    return K_OK;
}

int threadDelay(KnTime delay)
{
    now += delay;
    return K_OK;
}

/* ---- time, log, the site ---- */

int sysTime(KnTime *time)
{
    *time = now;
    return K_OK;
}

int univTime(KnTime *time, const KnTime *set)
{
    (void)set;
    if (time != NULL)
        *time = now + 1000 * NANOSECONDS;
    return K_OK;
}

int timerCreate(int portli, uint64_t cookie)
{
    (void)portli, (void)cookie;
    return 1;
}

int timerSet(int li, KnTime first, KnTime period, KnTimerStat *old)
{
    (void)li, (void)period, (void)old;
    timer_due = first == 0 ? 0 : now + first;
    return K_OK;
}

int sysInfo(KnSysInfo *info)
{
    *info = (KnSysInfo){ .cpus = 2, .frames = 1000, .framesFree = 500 };
    return K_OK;
}

int actorStat(unsigned index, KnActorStat *stat)
{
    if (index > 0)
        return K_EUNKNOWN;
    *stat = (KnActorStat){ .ui = { 0x11000001, 1 }, .name = "pm", .privilege = K_SYSTEMACTOR, .threads = 3, .memory = 8192 };
    return K_OK;
}

/* Says what it was asked for; "kill nobody" fails. */
int sysCommand(const char *words, size_t size, const void *image, size_t imageSize, char *answer, size_t room)
{
    size_t used = 0;
    (void)image;
    for (size_t i = 0; i < size; i++)
        if (used + 2 < room)
            answer[used++] = words[i] == 0 ? ' ' : words[i];
    snprintf(answer + used, room - used, "%zu", imageSize);
    return strstr(answer, "nobody") != NULL ? K_EFAIL : K_OK;
}

int sysLog(const char *text, size_t size)
{
    size_t used = strlen(log_text);
    if (used + size + 2 < sizeof log_text) {
        memcpy(log_text + used, text, size);
        log_text[used + size] = '\n';
    }
    return K_OK;
}

const char *fake_log(void)
{
    static char copy[sizeof log_text];
    memcpy(copy, log_text, sizeof copy);
    memset(log_text, 0, sizeof log_text);
    return copy;
}

int sysRandom(void *buffer, size_t size)
{
    static uint8_t seed;
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)buffer)[i] = seed += 37;
    return K_OK;
}

int sysShutdown(int status, int how)
{
    (void)how;
    fake_shutdowns++;
    fake_shutdown_status = status;
    return K_OK;
}

const char *knStrError(int status)
{
    return status == K_OK ? "no error" : "an error";
}

int uiBuild(KnUniqueId *ui, unsigned type, uint32_t site, uint32_t stamp)
{
    *ui = (KnUniqueId){ type << 27 | stamp, site };
    return K_OK;
}

int actorSelf(KnCap *cap)
{
    *cap = (KnCap){ .key = 1 };
    return K_OK;
}

int portDeclare(const KnCap *cap, const KnUniqueId *ui)
{
    (void)cap, (void)ui;
    return 1;
}

/* ---- messages ---- */

unsigned fake_om_requests, fake_om_open;

void fake_om_leases_end(void)
{
    lease_end(&om);
}

static void serve_files(const KnMsgDesc *message, KnMsgDesc *answer)
{
    static uint8_t body[FILE_BODY_MAX];
    struct om_call call = { .request = message->annexAddr, .body = message->bodyAddr,
                            .body_size = message->bodySize, .reply = answer->annexAddr,
                            .reply_body = body };
    static char nothing[1];
    if (call.body == NULL)
        call.body = nothing;
    memset(answer->annexAddr, 0, K_CMSGANNEXSIZE);
    fake_om_requests++;
    om_serve(&om, &call);
    if (call.reply->error == 0 && call.reply->outcome == FILE_DONE)
        fake_om_open += call.request->operation == FILE_OPEN || call.request->operation == FILE_CREATE;
    fake_om_open -= call.request->operation == FILE_CLOSE;
    uint32_t size = (uint32_t)call.reply_size;
    uint32_t room = answer->bodySize;
    if (answer->bodyAddr != NULL)
        memcpy(answer->bodyAddr, body, size < room ? size : room);
    answer->bodySize = size;
}

/* A terminal that gives what was typed and keeps what is written. */
static void serve_terminal(const KnMsgDesc *message, KnMsgDesc *answer)
{
    const struct tty_request *request = message->annexAddr;
    struct tty_reply *reply = answer->annexAddr;
    memset(reply, 0, sizeof *reply);
    bool behind = fake_foreground != 0 && request->identity.pgrp != fake_foreground;
    switch (request->operation) {
    case TTY_CONNECT: reply->handle = 1; break;
    case TTY_OPEN:
        reply->handle = 2;
        reply->device = request->device;
        reply->flags = TTY_IS_TERMINAL | TTY_BECAME_CONTROLLING;
        break;
    case TTY_READ:
        if (behind) {
            reply->status = -TTY_BACKGROUND_READ;
        } else if (typed_size == 0) {
            reply->status = -EAGAIN;
            watch_token = request->token;
        } else {
            uint32_t size = request->length < typed_size ? request->length : (uint32_t)typed_size;
            memcpy(answer->bodyAddr, typed, size);
            memmove(typed, typed + size, typed_size - size);
            typed_size -= size;
            reply->length = size;
        }
        break;
    case TTY_WRITE:
        memcpy(fake_screen + fake_screen_size, message->bodyAddr, message->bodySize);
        fake_screen_size += message->bodySize;
        reply->length = message->bodySize;
        break;
    case TTY_WATCH:
        reply->events = request->events & (TTY_WRITABLE | (typed_size > 0 ? TTY_READABLE : 0));
        if (reply->events == 0)
            watch_token = request->token;
        break;
    default: break;
    }
}

int ipcCall(const KnMsgDesc *message, int source, const KnIpcDest *dest, KnMsgDesc *answer,
            KnTime delay)
{
    uint64_t port;
    (void)source, (void)delay;
    memcpy(&port, &dest->target, sizeof port);
    if (port == om_port || (dest->target.uiHead & K_CUI_STAMPMAX) == FILE_GROUP_STAMP)
        serve_files(message, answer);
    else if ((dest->target.uiHead & K_CUI_STAMPMAX) == TTY_GROUP_STAMP)
        serve_terminal(message, answer);
    else
        return K_EUNKNOWN;
    return (int)answer->bodySize;
}

int ipcReceive(KnMsgDesc *msg, int *portli, KnTime delay)
{
    (void)msg, (void)portli, (void)delay;
    return K_EUNKNOWN;
}

int ipcReplyReceive(const KnMsgDesc *reply, KnMsgDesc *msg, int *portli, KnTime delay)
{
    (void)reply, (void)msg, (void)portli, (void)delay;
    return K_EUNKNOWN;
}

/* pm is a system actor here: it has no message handler. */
int actorPrivilege(const KnCap *cap, int *old, const int *new_)
{
    (void)cap, (void)new_;
    *old = K_SYSTEMACTOR;
    return K_OK;
}

int svMsgHandler(const KnCap *cap, int portli, KnMsgHdl handler, VmSize stack, void *cookie)
{
    (void)cap, (void)portli, (void)handler, (void)stack, (void)cookie;
    return K_EPRIV;
}

int ipcSave(KnMsgId *id)
{
    (void)id;
    return K_ENOMSG; /* for handlers only */
}

int svMsgHdlReply(const KnMsgDesc *reply)
{
    (void)reply;
    return K_ENOMSG;
}

int svHandlerServe(uint32_t bodyRoom)
{
    (void)bodyRoom;
    return K_EPRIV;
}

int ipcSysInfo(KnMsgHead *head)
{
    memset(head, 0, sizeof *head);
    head->flags = sender_is_nucleus ? K_HEAD_NUCLEUS : 0;
    return K_OK;
}

int ipcReply(const KnMsgDesc *message)
{
    struct fake_thread *thread = threads;
    cr_assert(message->flags & K_MSG_BYID);
    while (thread != NULL && (thread->saved != message->id || message->id == 0))
        thread = thread->next;
    if (thread == NULL)
        return K_ENOMSG;
    thread->saved = 0;
    memcpy(&thread->reply, message->annexAddr, sizeof thread->reply);
    if (message->bodySize > 0)
        memcpy(thread->body, message->bodyAddr, message->bodySize);
    thread->in_trap = false;
    switch (thread->reply.action) {
    case K_DO_RETURN: thread->registers.rax = (uint64_t)thread->reply.value; /* fall through */
    case K_DO_CONTEXT:
        if (thread->where != FAKE_GONE)
            thread->where = FAKE_RUNS;
        break;
    case K_DO_CALL: thread->where = FAKE_DOES_CALL; break;
    case K_DO_DELETE:
        thread->where = FAKE_GONE;
        thread->actor = NULL;
        break;
    default: cr_assert_fail("an action that pm does not use");
    }
    return K_OK;
}

/* ---- segments: om's mapper without a cache ---- */

static int ask_mapper(const KnCap *seg, uint32_t op, VmOffset offset, VmSize size, VmSize total,
                      uint32_t access, void *body, size_t body_size, KnMpReply *reply, size_t room)
{
    KnMpRequest request = { .op = op, .access = access, .segKey = seg->key, .offset = offset,
                            .size = size, .segSize = total };
    size_t used;
    om_map(&om, &request, body, body_size, reply, body, room, &used);
    return reply->diag;
}

int sgStat(const KnCap *seg, KnSgStat *stat)
{
    KnMpReply reply;
    int status = ask_mapper(seg, K_MP_GETACCESS, 0, 0, 0, 0, NULL, 0, &reply, 0);
    *stat = (KnSgStat){ .size = reply.segSize };
    return status;
}

int64_t sgRead(const KnCap *seg, VmOffset offset, void *addr, VmSize size)
{
    KnSgStat stat;
    KnMpReply reply;
    int status = sgStat(seg, &stat);
    if (status < 0 || offset >= stat.size)
        return status < 0 ? status : 0;
    size = size < stat.size - offset ? size : stat.size - offset;
    for (VmSize done = 0; done < size;) {
        static uint8_t page[K_PAGESIZE];
        VmOffset at = (offset + done) & ~(VmOffset)(K_PAGESIZE - 1);
        VmSize in = offset + done - at, part = K_PAGESIZE - in;
        part = part < size - done ? part : size - done;
        memset(page, 0, sizeof page);
        status = ask_mapper(seg, K_MP_PULLIN, at, K_PAGESIZE, stat.size, K_READABLE, page, 0, &reply,
                            sizeof page);
        if (status < 0)
            return status;
        memcpy((uint8_t *)addr + done, page + in, part);
        done += part;
    }
    return (int64_t)size;
}

int64_t sgWrite(const KnCap *seg, VmOffset offset, const void *addr, VmSize size)
{
    KnSgStat stat;
    KnMpReply reply;
    if (sgStat(seg, &stat) < 0)
        return K_EMAPPER;
    VmSize total = offset + size > stat.size ? offset + size : stat.size;
    for (VmSize done = 0; done < size;) {
        static uint8_t page[K_PAGESIZE];
        VmOffset at = (offset + done) & ~(VmOffset)(K_PAGESIZE - 1);
        VmSize in = offset + done - at, part = K_PAGESIZE - in;
        part = part < size - done ? part : size - done;
        memset(page, 0, sizeof page);
        ask_mapper(seg, K_MP_PULLIN, at, K_PAGESIZE, stat.size, K_READABLE, page, 0, &reply,
                   sizeof page);
        memcpy(page + in, (const uint8_t *)addr + done, part);
        int status = ask_mapper(seg, K_MP_GETACCESS, at, K_PAGESIZE, total, K_WRITABLE, NULL, 0,
                                &reply, 0);
        if (status == K_OK)
            status = ask_mapper(seg, K_MP_PUSHOUT, at, K_PAGESIZE, total, 0, page, K_PAGESIZE,
                                &reply, 0);
        if (status < 0)
            return status;
        done += part;
    }
    return (int64_t)size;
}

int sgFlush(const KnCap *seg, VmOffset offset, VmSize size, unsigned flags)
{
    (void)seg, (void)offset, (void)size, (void)flags;
    return K_OK;
}

/* ---- playing a program ---- */

/* True: the message stays with pm. */
static bool hand_over(const uint8_t *annex, KnMsgId id)
{
    bool stays = worker_handle(annex, id);
    worker_answer();
    return stays;
}

static struct fake_thread *playing(const struct program *program)
{
    return thread_by_cookie(program->cookie);
}

static void deliver(struct fake_thread *thread, uint32_t kind, uint32_t number,
                    const uint64_t arguments[6])
{
    _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    KnTrapMsg trap = { .kind = kind, .number = number, .cookie = thread->cookie,
                       .ip = thread->registers.rip, .sp = thread->registers.rsp };
    memcpy(trap.arg, arguments, sizeof trap.arg);
    memcpy(annex, &trap, sizeof trap);
    KnMsgId id = thread->saved = ++last_message;
    thread->in_trap = true;
    bool stays = hand_over(annex, id);
    if (thread->saved != id)
        return;
    cr_assert(stays, "the trap was neither answered nor kept");
    thread->where = FAKE_WAITS;
}

/* Do as the thread what pm asked for. */
static bool do_call(struct fake_thread *thread)
{
    const KnTrapReply *reply = &thread->reply;
    static uint8_t buffer[1 << 20];
    KnCap segment;
    int64_t result = K_OK;
    memcpy(&segment, thread->body, sizeof segment);
    if (reply->number == DO_sgRead) {
        result = sgRead(&segment, reply->arg[1], buffer, reply->arg[3]);
        if (result > 0 &&
            copy_memory(thread->actor, reply->arg[2], buffer, (VmSize)result, true) != K_OK)
            result = K_EFAULT;
    } else if (reply->number == DO_sgWrite) {
        result = copy_memory(thread->actor, reply->arg[2], buffer, reply->arg[3], false);
        if (result == K_OK)
            result = sgWrite(&segment, reply->arg[1], buffer, reply->arg[3]);
    } else if (reply->number == DO_threadDelay || reply->number == DO_syncWait) {
        if (!thread->aborted)
            return false;
        thread->aborted = false;
        result = K_EABORT;
    }
    thread->where = FAKE_RUNS;
    if (result < 0 || (reply->flags & K_DO_REPORT))
        deliver(thread, K_TRAP_RESULT, (uint32_t)reply->number, (uint64_t[6]){ (uint64_t)result });
    else
        thread->registers.rax = (uint64_t)result;
    return true;
}

/* Everybody goes on as far as possible without running code of its own. */
static void settle(void)
{
    for (bool again = true; again;) {
        again = false;
        for (struct fake_thread *thread = threads; thread != NULL; thread = thread->next) {
            if (thread->where == FAKE_DOES_CALL)
                again |= do_call(thread);
            if (thread->where == FAKE_RUNS && thread->aborted && !thread->in_trap) {
                tell_abort(thread);
                again = true;
            }
        }
    }
}

static void tell_abort(struct fake_thread *thread)
{
    thread->aborted = false;
    deliver(thread, K_TRAP_ABORT, 0, (uint64_t[6]){ 0 });
}

int64_t fake_call6(struct program *program, long number, const uint64_t arguments[6])
{
    struct fake_thread *thread = playing(program);
    cr_assert_not_null(thread, "the program is no more");
    cr_assert_eq(thread->where, FAKE_RUNS, "the program is in a call");
    thread->registers.rax = (uint64_t)number;
    thread->last_number = (uint32_t)number;
    deliver(thread, K_TRAP_SYSCALL, (uint32_t)number, arguments);
    settle();
    return fake_result(program);
}

enum fake_where fake_where(const struct program *program)
{
    struct fake_thread *thread = playing(program);
    return thread == NULL ? FAKE_GONE : thread->where;
}

int64_t fake_result(const struct program *program)
{
    struct fake_thread *thread = playing(program);
    if (thread == NULL || thread->where != FAKE_RUNS)
        return FAKE_BLOCKED;
    return (int64_t)thread->registers.rax;
}

struct program fake_newest(void)
{
    struct fake_thread *thread = threads;
    while (thread->where == FAKE_GONE)
        thread = thread->next;
    return (struct program){ thread->cookie, thread_find_cookie(thread->cookie)->process->pid };
}

void fake_trap(struct program *program, uint32_t kind, uint64_t address, int status)
{
    deliver(playing(program), kind, 0, (uint64_t[6]){ address, 0, (uint64_t)(int64_t)status });
    settle();
}

void fake_put(const struct program *program, uint64_t at, const void *data, size_t size)
{
    cr_assert_eq(copy_memory(playing(program)->actor, at, (uint8_t *)data, size, true), K_OK);
}

void fake_get(const struct program *program, uint64_t at, void *data, size_t size)
{
    cr_assert_eq(copy_memory(playing(program)->actor, at, data, size, false), K_OK);
}

uint64_t fake_put_string(const struct program *program, uint64_t at, const char *text)
{
    fake_put(program, at, text, strlen(text) + 1);
    return at;
}

KnThreadCtx *fake_registers(const struct program *program)
{
    return &playing(program)->registers;
}

void fake_pass(KnTime time)
{
    now += time;
    for (int i = 0; i < 100 && timer_due != 0 && timer_due <= now; i++) {
        _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE] = { K_MSG_TIMER };
        timer_due = 0;
        hand_over(annex, ++last_message);
    }
    settle();
}

void fake_type(const char *text)
{
    _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    struct tty_event event = { .kind = TTY_EVENT_READY, .token = watch_token };
    memcpy(typed + typed_size, text, strlen(text));
    typed_size += strlen(text);
    memcpy(annex, &event, sizeof event);
    sender_is_nucleus = false;
    if (watch_token != 0)
        hand_over(annex, ++last_message);
    sender_is_nucleus = true;
    settle();
}

unsigned fake_actors(void)
{
    unsigned count = 0;
    for (struct fake_actor *actor = actors; actor != NULL; actor = actor->next)
        count++;
    return count;
}

unsigned fake_threads(void)
{
    unsigned count = 0;
    for (struct fake_thread *thread = threads; thread != NULL; thread = thread->next)
        count += thread->where != FAKE_GONE;
    return count;
}

unsigned fake_saved(void)
{
    unsigned count = 0;
    for (struct fake_thread *thread = threads; thread != NULL; thread = thread->next)
        count += thread->saved != 0;
    return count;
}

/* ---- start and end ---- */

static int om_flush(struct om_world *world, const KnCap *lc)
{
    (void)world, (void)lc;
    return 0;
}
static int om_truncate(struct om_world *world, const KnCap *lc, uint64_t size)
{
    (void)world, (void)lc, (void)size;
    return 0;
}
static void om_zero(struct om_world *world, const KnCap *lc, uint64_t offset, uint64_t length)
{
    (void)world, (void)lc, (void)offset, (void)length;
}
static int om_recall(struct om_world *world, const KnCap *lc) { return (void)world, (void)lc, 0; }
static bool om_drop(struct om_world *world, const KnCap *lc)
{
    (void)world, (void)lc;
    return true;
}
static int om_device(struct om_world *world, const char *name, struct blockdev **ret)
{
    (void)world, (void)name, (void)ret;
    return -ENOENT;
}
/* pm's memory is ours. */
static bool om_tell(struct om_world *om_world, const struct file_watch *watch, unsigned first, const uint32_t *versions, unsigned count)
{
    (void)om_world;
    memcpy((uint32_t *)watch->versions + first, versions, count * sizeof *versions);
    return true;
}

static struct om_world world = { .tell = om_tell, .truncate = om_truncate, .zero = om_zero, .recall = om_recall,
                                 .drop = om_drop, .flush = om_flush, .device = om_device };

static void start_om(void)
{
    struct fs *fs;
    om_init(&om, &world);
    om.port = om_port;
    om.mapper_port = om_mapper;
    cr_assert_eq(tmpfs_mount(64 << 20, 0755, &fs), 0);
    cr_assert_eq(om_add(&om, fs, 1), 0);
}

static void start_pm(void)
{
    struct file_node root;
    cr_assert_eq(worker_open_port(), K_OK);
    cr_assert_eq(init_make(), 0);
    cr_assert_eq(file_server_find(&root), 0);
    cr_assert_eq(mount_root(root), 0);
    process_init->fs = fs_view_new(NULL);
    process_init->fs->root = (struct place){ .node = root, .path = strdup("/") };
    process_init->fs->cwd = (struct place){ .node = root, .path = strdup("/") };
    cr_assert_eq(device_server_find(), 0);
}

struct program fake_boot(void)
{
    start_om();
    pm_lock();
    start_pm();
    struct process *process = process_new(process_init, pid_new());
    process->fs = fs_view_new(process_init->fs);
    process->signals = signal_table_new(NULL);
    process->descriptors = descriptor_table_new();
    process->credentials.bounding = process->credentials.permitted =
        process->credentials.effective = CAPABILITIES_ALL;
    limits_default(process->limits);
    cr_assert_eq(job_new_session(process), 0);
    cr_assert_eq(space_new(NULL, &process->space), 0);
    KnRgnDesc play = { .startAddr = PLAY, .size = PLAY_SIZE, .options = K_READABLE | K_WRITABLE };
    cr_assert_eq(rgnAllocate(&process->space->actor, &play), K_OK);
    struct thread *thread = thread_new(process, process->pid);
    KnThreadStart start = { .entry = 0x1000, .stack = PLAY + PLAY_SIZE - 64,
                            .cookie = thread->cookie };
    cr_assert_gt(threadCreate(&process->space->actor, &thread->li, K_ACTIVE, NULL, &start), 0);
    for (int fd = 0; fd < 3; fd++) {
        struct file *file;
        cr_assert_eq(device_open_first(process, TTY_CONSOLE, O_RDWR, &file), 0);
        cr_assert_eq(descriptor_add(process, file, false, fd), fd);
    }
    init_watch(process->pid);
    pm_unlock();
    return (struct program){ thread->cookie, process->pid };
}

void fake_end(void)
{
    om_stop(&om);
}

void fake_file(const char *path, const void *data, size_t size, uint32_t mode)
{
    struct file_exchange exchange = { .node = { om_port, FILE_ROOT_KEY }, .send = path,
                                      .send_size = (uint32_t)strlen(path) };
    exchange.request.operation = FILE_CREATE;
    exchange.request.path_length = (uint16_t)strlen(path);
    exchange.request.open.access = FILE_O_WRITE;
    exchange.request.open.mode = mode;
    pm_lock();
    cr_assert_eq(file_exchange(&exchange), 0);
    pm_unlock();
    KnCap segment = { .key = exchange.reply.node.key };
    memcpy(&segment.ui, &exchange.reply.node.port, sizeof segment.ui);
    cr_assert_eq(sgWrite(&segment, 0, data, size), (int64_t)size);
    pm_lock();
    file_server_close((struct file_node){ om_port, exchange.reply.attributes.key }, FILE_O_WRITE);
    pm_unlock();
}
