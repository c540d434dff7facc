/* Workers: receive a message, serve its thread until it can go on or must wait, then whatever has
 * become ready by that.
 *
 * A thread is served in rounds. Each round looks first whether the thread is to end or its process
 * is stopped, then runs its call (or deals with the result of a nucleus call), then takes signals,
 * and at last answers the trap. Whatever changes meanwhile begins a new round.
 *
 * In a supervisor actor workers do not receive: the port has a message handler, which runs on the CPU of the
 * thread that trapped; a worker is lent for that.
 */

#include "worker.h"

#include <protocol/site.h>
#include <protocol/socket.h>
#include <protocol/tty.h>
#include <pthread.h>
#include <stdio.h>

#include "answers.h"
#include "call.h"
#include "deferred.h"
#include "descriptor.h"
#include "device.h"
#include "exception.h"
#include "init.h"
#include "net.h"
#include "process.h"
#include "rewrite.h"
#include "signals.h"
#include "space.h"
#include "strace.h"
#include "thread.h"
#include "token.h"
#include "waiting.h"

#define WORKERS_MOST 64
#define STACK_USED 98304 /* bytes, at most: the longest path walks are 40 KB deep */

int worker_port;
KnUniqueId worker_port_ui;
const KnSched worker_user_sched = { .schedClass = K_SCHED_RR, .priority = K_PRIO_USER };
static bool has_handler; /* the port: nobody receives from it */
static int timer = -1;
static KnTime timer_set_for = K_FOREVER;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void pm_lock(void)
{
    pthread_mutex_lock(&lock);
}

void pm_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void thread_kick(struct thread *thread)
{
    if (thread->where != THREAD_OUTSIDE) {
        thread_wake(thread);
    } else if (!thread->abort_sent && thread->process->space != NULL) {
        thread->abort_sent = true;
        threadAbort(&thread->process->space->actor, thread->li);
    }
}

/* ---- answering ---- */

/* An answer is held back until the worker has something else to do: most often that is to receive the
 * next message, and then one nucleus call does both. */
struct held_answer {
    bool is_held;
    KnMsgId id; /* of the trap that it answers */
    uint32_t body_size;
    _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE];
    uint8_t body[sizeof((struct call *)0)->body];
};
static _Thread_local struct held_answer held;

static _Thread_local KnMsgId received; /* the message that this worker has received last, */
static _Thread_local bool stays;       /* and it is not answered: to be parked when the next one is received */
static _Thread_local KnMsgId serving;  /* the trap of the thread that is served now */

static KnMsgDesc held_message(void)
{
    return (KnMsgDesc){ .flags = K_MSG_BYID, .bodySize = held.body_size, .bodyAddr = held.body,
                        .annexAddr = held.annex, .id = held.id };
}

static void answer_now(void)
{
    if (!held.is_held)
        return;
    KnMsgDesc message = held_message();
    held.is_held = false;
    int status = ipcReply(&message);
    if (status < 0 && status != K_EUNKNOWN && status != K_EDEAD && status != K_ENOMSG)
        pm_log("a trap cannot be answered: %s", knStrError(status));
}

void worker_answer(void)
{
    answer_now();
}

static void answer(const KnTrapReply *reply, const void *body, uint32_t body_size)
{
    answer_now();
    memset(held.annex, 0, sizeof held.annex);
    memcpy(held.annex, reply, sizeof *reply);
    if (body_size > 0)
        memcpy(held.body, body, body_size);
    held.body_size = body_size;
    held.id = serving;
    held.is_held = true;
}

static void answer_call(struct thread *thread)
{
    struct call *call = &thread->call;
    thread->where = THREAD_OUTSIDE;
    thread->in_call = true;
    answer(&call->reply, call->body, call->body_size);
}

static void answer_return(struct thread *thread)
{
    answers_tell(thread->process);
    KnTrapReply reply = { .action = K_DO_CONTEXT };
    if (!thread->context_set && thread->has_result)
        reply = (KnTrapReply){ .action = K_DO_RETURN, .value = thread->result };
    thread->has_result = thread->context_set = false;
    thread->where = THREAD_OUTSIDE;
    thread->in_call = false;
    answer(&reply, NULL, 0);
}

/* Its trap is answered later, by whoever wakes it. */
static void park(struct thread *thread)
{
    thread->where = THREAD_PARKED;
    stays |= thread->message == received;
}

/* ---- one round ---- */

enum step {
    STEP_ROUND,  /* begin a new round */
    STEP_RETURN, /* the call is over: go on with signals */
    STEP_DONE    /* answered, parked, or gone */
};

static void restore_mask(struct thread *thread)
{
    if (thread->has_blocked_saved) {
        thread->blocked = thread->blocked_saved;
        thread->has_blocked_saved = false;
    }
}

static enum step call_over(struct thread *thread, int64_t result)
{
    if (pm_options.strace)
        strace_leave(&thread->call, result);
    thread->result = result;
    thread->has_result = true;
    call_end(&thread->call);
    restore_mask(thread);
    return STEP_RETURN;
}

/* A signal that has come interrupts the call: false, if it goes on. */
static bool is_interrupted(struct thread *thread, enum step *ret_step)
{
    if (thread->call.policy == CALL_UNINTERRUPTED || !signal_is_due(thread))
        return false;
    switch (signal_take(thread)) {
    case SIGNAL_HANDLER: *ret_step = STEP_RETURN; return true;
    case SIGNAL_STOPPED:
    case SIGNAL_ENDED: *ret_step = STEP_ROUND; return true;
    default: return false;
    }
}

static enum step call_waits(struct thread *thread)
{
    enum step step;
    if (is_interrupted(thread, &step))
        return step;
    if (thread->woken || thread->dying || thread->process->stopped)
        return STEP_ROUND;
    park(thread);
    return STEP_DONE;
}

static enum step call_replied(struct thread *thread)
{
    struct call *call = &thread->call;
    enum step step;
    if (call->reply.action != K_DO_CALL) {
        thread->context_set = true;
        thread->has_result = false;
        if (pm_options.strace)
            strace_leave(call, CALL_REPLIED);
        call_end(call);
        return STEP_RETURN;
    }
    if (is_interrupted(thread, &step))
        return step;
    if (thread->dying || thread->process->stopped)
        return STEP_ROUND;
    /* What is due now must not wait for the next trap. */
    if (signal_is_due(thread) || pm_options.strace)
        call->reply.flags |= K_DO_REPORT;
    answer_call(thread);
    return STEP_DONE;
}

static enum step call_step(struct thread *thread)
{
    thread->woken = false;
    int64_t result = call_run(&thread->call);
    if (result == CALL_GONE)
        return STEP_DONE;
    if (thread->dying)
        return STEP_ROUND;
    if (result == CALL_WAITS)
        return call_waits(thread);
    if (result == CALL_REPLIED)
        return call_replied(thread);
    return call_over(thread, result);
}

static enum step signal_step(struct thread *thread)
{
    if (signal_is_due(thread)) {
        enum signal_outcome outcome = signal_take(thread);
        if (outcome == SIGNAL_STOPPED || outcome == SIGNAL_ENDED)
            return STEP_ROUND;
    }
    if (thread->dying || thread->process->stopped)
        return STEP_ROUND;
    answer_return(thread);
    return STEP_DONE;
}

static void serve(struct thread *thread)
{
    enum step step;
    do {
        if (thread->dying) {
            thread_end_served(thread);
            return;
        }
        if (thread->process->stopped) {
            park(thread);
            return;
        }
        step = thread->call.active ? call_step(thread) : STEP_RETURN;
        if (step == STEP_RETURN)
            step = signal_step(thread);
    } while (step != STEP_DONE);
}

/* ---- messages ---- */

void worker_reply_delete(void)
{
    answer(&(KnTrapReply){ .action = K_DO_DELETE }, NULL, 0);
}

void worker_reply_call(const KnTrapReply *reply)
{
    answer(reply, NULL, 0);
}

/* The result of a nucleus call that the thread did for its Linux call. */
static void result_arrived(struct thread *thread, int64_t result)
{
    struct call *call = &thread->call;
    thread->in_call = false;
    if (thread->exit_told) { /* its last call of all: see thread_end_served */
        thread->dying = true;
        serve(thread);
        return;
    }
    if (!call->active) {
        serve(thread);
        return;
    }
    if (call->resume != NULL)
        result = call->resume(call, result);
    else if (result == K_EABORT)
        result = CALL_WAITS;
    else if (result < 0)
        result = error_of((int)result);
    enum step step;
    if (result != CALL_WAITS)
        call_over(thread, result);
    else if (!thread->dying && is_interrupted(thread, &step) && step == STEP_RETURN)
        thread->has_result = false;
    serve(thread);
}

static void trap_arrived(const KnTrapMsg *trap)
{
    struct thread *thread = thread_find_cookie(trap->cookie);
    if (thread == NULL || thread->where != THREAD_OUTSIDE) {
        worker_reply_delete();
        return;
    }
    thread->where = THREAD_SERVED;
    thread->message = serving = received;
    thread->abort_sent = false;
    /* A nucleus call done for it has ended well, without a word. */
    if (trap->kind != K_TRAP_RESULT && thread->call.active)
        call_end(&thread->call);
    switch (trap->kind) {
    case K_TRAP_SYSCALL:
        rewrite_trapped(thread, trap);
        call_begin(&thread->call, trap);
        serve(thread);
        break;
    case K_TRAP_SYSCALL32:
        thread->result = -ENOSYS;
        thread->has_result = true;
        serve(thread);
        break;
    case K_TRAP_RESULT: result_arrived(thread, (int64_t)trap->arg[0]); break;
    case K_TRAP_ABORT: serve(thread); break;
    default:
        exception_arrived(thread, trap);
        serve(thread);
        break;
    }
}

static void thread_again(struct thread *thread)
{
    thread->where = THREAD_SERVED;
    serving = thread->message;
    serve(thread);
}

static void timer_rearm(void)
{
    KnTime next = timeouts_next();
    if (next == timer_set_for)
        return;
    timer_set_for = next;
    KnTime delay = next == K_FOREVER ? 0 : next - time_now();
    if (timer >= 0)
        timerSet(timer, next == K_FOREVER ? 0 : delay > 0 ? delay : 1, 0, NULL);
}

static bool is_work_left(void)
{
    return processes_to_finish() || spaces_to_finish() || deferred_is_due();
}

/* All that has become due by what was done. Who has been answered must not wait for it. */
static void catch_up(void)
{
    struct thread *thread;
    for (;;) {
        if ((thread = thread_next_ready()) != NULL) {
            thread_again(thread);
            continue;
        }
        if (!is_work_left())
            break;
        answer_now();
        if (!processes_finish() && !spaces_finish())
            deferred_run();
    }
    timer_rearm();
}

/* Traps are known to be the Nucleus's by their cookies, which are secrets; of the others it is asked. */
bool worker_handle(const void *annex, KnMsgId id)
{
    const uint32_t kind = *(const uint32_t *)annex;
    KnMsgHead head = { 0 };
    received = serving = id;
    stays = false;
    if (kind >= K_MSG_TIMER && ipcSysInfo(&head) != K_OK)
        return false;
    const bool is_nucleus = (head.flags & K_HEAD_NUCLEUS) != 0;
    pm_lock();
    if (kind < K_MSG_TIMER) {
        trap_arrived(annex);
    } else if (is_nucleus && kind == K_MSG_TIMER) {
        timer_set_for = K_FOREVER;
        timeouts_run(time_now());
    } else if (is_nucleus && kind == K_MSG_WATCH) {
        const KnWatchMsg *watch = annex;
        if (watch->cookie == NET_WATCH)
            net_server_gone();
        else
            space_actor_gone(watch->cookie, watch->reason);
    } else if (is_nucleus && kind == SITE_END) {
        init_shut_down(((const struct site_end_message *)annex)->status);
    } else if (!is_nucleus && kind >= TTY_EVENT_READY && kind <= TTY_EVENT_HANGUP) {
        device_event(annex);
    } else if (!is_nucleus && kind == SOCKET_EVENT_READY) {
        token_came(((const struct socket_event *)annex)->token);
    }
    catch_up();
    pm_unlock();
    return stays;
}

/* Have the pages of the stack now: when the site's memory has run out it is too late. */
static __attribute__((noinline)) void touch_stack(void)
{
    char pages[STACK_USED];
    memset(pages, 0, sizeof pages);
    __asm__ volatile("" : : "r"(pages) : "memory");
}

/* There is always one more worker than have something to do, up to a limit: some may be waiting for a disk
 * that does not answer, and the others' calls go on. */
static _Atomic unsigned workers, idle;

static void *work(void *unused);

static bool worker_start(void)
{
    pthread_t thread;
    workers++;
    idle++;
    if (pthread_create(&thread, NULL, work, NULL) == 0) {
        pthread_detach(thread);
        return true;
    }
    workers--;
    idle--;
    return false;
}

/* Send the answer that is held, and receive. */
static int receive(uint8_t *annex, bool park, KnMsgId *ret_id)
{
    KnMsgDesc message = { .flags = park ? K_MSG_PARK : 0, .annexAddr = annex }, reply = held_message();
    int port = worker_port;
    int status = held.is_held ? ipcReplyReceive(&reply, &message, &port, K_FOREVER) : ipcReceive(&message, &port, K_FOREVER);
    held.is_held = false;
    *ret_id = message.id;
    return status;
}

/* True: the message is to be parked. */
static bool work_once(const void *annex, KnMsgId id)
{
    if (--idle == 0 && workers < WORKERS_MOST)
        worker_start();
    bool park = worker_handle(annex, id);
    idle++;
    return park;
}

static int receive_all(void)
{
    bool park = false;
    for (;;) {
        _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE];
        KnMsgId id;
        int status = receive(annex, park, &id);
        if (status == K_EUNKNOWN)
            return status;
        park = status >= 0 && work_once(annex, id);
    }
}

/* An answer to what came goes along with the return, any other at once. */
static void handler(const KnMsgDesc *message, void *cookie)
{
    (void)cookie;
    KnMsgId id = message->id;
    if (work_once(message->annexAddr, id))
        ipcSave(&id);
    if (held.is_held && held.id == message->id) {
        KnMsgDesc reply = held_message();
        svMsgHdlReply(&reply);
        held.is_held = false;
    }
    answer_now();
}

static void *work(void *unused)
{
    (void)unused;
    touch_stack();
    int status = has_handler ? svHandlerServe(0) : receive_all();
    pm_log("a worker ends: %s", knStrError(status));
    return NULL;
}

int worker_open_port(void)
{
    uiBuild(&worker_port_ui, K_UISTATPORT, 0, K_STAMP_PM);
    worker_port = portDeclare(K_MYACTOR, &worker_port_ui);
    if (worker_port < 0)
        return worker_port;
    int privilege, status = actorPrivilege(K_MYACTOR, &privilege, NULL);
    has_handler = status == K_OK && privilege == K_SUPACTOR;
    if (has_handler)
        status = svMsgHandler(K_MYACTOR, worker_port, handler, 0, NULL);
    if (status != K_OK)
        return status;
    timer = timerCreate(worker_port, 0);
    return timer < 0 ? timer : K_OK;
}

int workers_run(unsigned count)
{
    for (unsigned i = 1; i < count; i++)
        if (!worker_start())
            pm_log("only %u workers", i);
    workers++;
    idle++;
    pm_lock();
    catch_up();
    pm_unlock();
    work(NULL);
    return K_EFAIL;
}
