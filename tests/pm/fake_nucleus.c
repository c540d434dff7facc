/* The Nucleus that tests of pm run on: threads, time, messages to pm. */

#include "fake_world.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "worker.h"

struct fake_thread *fake_all_threads;
KnTime fake_now, fake_timer_due;
bool fake_sender_is_nucleus = true;
static char log_text[8192];

int fake_shutdowns, fake_shutdown_status;

/* ---- threads ---- */

static struct fake_thread *thread_of(const KnCap *cap, KnThreadLid li)
{
    struct fake_actor *actor = fake_actor_of(cap);
    for (struct fake_thread *thread = fake_all_threads; thread != NULL; thread = thread->next)
        if (actor != NULL && thread->actor == actor && thread->li == li)
            return thread;
    return NULL;
}

struct fake_thread *fake_thread_of_cookie(uint64_t cookie)
{
    for (struct fake_thread *thread = fake_all_threads; thread != NULL; thread = thread->next)
        if (thread->cookie == cookie && thread->where != FAKE_GONE)
            return thread;
    return NULL;
}

int threadCreate(const KnCap *cap, KnThreadLid *li, int status, const KnSched *sched,
                 const KnThreadStart *start)
{
    struct fake_actor *actor = fake_actor_of(cap);
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
    thread->next = fake_all_threads;
    fake_all_threads = thread;
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
    fake_now += delay;
    return K_OK;
}

/* ---- time, log, the site ---- */

int sysTime(KnTime *time)
{
    *time = fake_now;
    return K_OK;
}

int univTime(KnTime *time, const KnTime *set)
{
    (void)set;
    if (time != NULL)
        *time = fake_now + 1000 * NANOSECONDS;
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
    fake_timer_due = first == 0 ? 0 : fake_now + first;
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
    head->flags = fake_sender_is_nucleus ? K_HEAD_NUCLEUS : 0;
    return K_OK;
}

int ipcReply(const KnMsgDesc *message)
{
    struct fake_thread *thread = fake_all_threads;
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
