/* Threads: birth, states, stops, aborts, death. Their nucleus calls are in thread_calls.c. */
#include "thread.h"

#include <stdlib.h>
#include <string.h>
#include "actor.h"
#include "assert.h"
#include "call.h"
#include "handler.h"
#include "ipc.h"
#include "lap.h"
#include "message.h"
#include "nucleus.h"
#include "sched.h"
#include "trap.h"

static struct list graveyard = { &graveyard, &graveyard };
static size_t threads_alive;

#define BIT(state) (1u << (state))
static const unsigned may_follow[] = {
    [THREAD_INACTIVE] = BIT(THREAD_READY) | BIT(THREAD_DEAD),
    [THREAD_READY] = BIT(THREAD_RUNNING) | BIT(THREAD_DEAD),
    [THREAD_RUNNING] = BIT(THREAD_READY) | BIT(THREAD_WAITING) | BIT(THREAD_DEAD),
    [THREAD_WAITING] = BIT(THREAD_READY) | BIT(THREAD_DEAD),
    [THREAD_DEAD] = 0,
};

void thread_set_state(struct thread *thread, enum thread_state state)
{
    ASSERT(may_follow[thread->state] & BIT(state));
    bool was_running = thread->state == THREAD_RUNNING;
    if (thread->state == THREAD_READY)
        sched_dequeue(thread);
    thread->state = state;
    if (state != THREAD_READY || thread->stopped != 0)
        return;
    if (was_running)
        sched_enqueue(thread);
    else
        sched_enqueue_woken(thread);
}

static void thread_timed_out(struct deadline *deadline)
{
    struct thread *thread = LIST_OWNER(deadline, struct thread, timeout);
    if (thread->calling.id != 0)
        call_record_abandon(&thread->calling, false);
    thread_wake(thread, K_ETIMEOUT);
}

static void thread_init(struct thread *thread, struct actor *actor, const KnSched *sched)
{
    thread->actor = actor;
    thread->state = THREAD_INACTIVE;
    thread->sched = *sched;
    thread->bound = -1;
    thread->waker_cpu = -1;
    thread->run_average = SCHED_LIGHT; /* a caller has to show that it is one */
    list_init(&thread->run_link);
    list_init(&thread->wait_link);
    list_init(&thread->of_actor);
    if (actor->stopped)
        thread->stopped = STOPPED_BY_ACTORSTOP;
}

int thread_create(struct actor *actor, const KnSched *sched, struct thread **ret_thread)
{
    struct thread *thread = threads_alive < SITE_THREADS_MAX ? calloc(1, sizeof *thread) : NULL;
    if (thread == NULL)
        return threads_alive < SITE_THREADS_MAX ? K_ENOMEM : K_ELIMIT;
    thread_init(thread, actor, sched);
    int status = deadline_init(&thread->timeout, thread_timed_out);
    if (status != K_OK)
        goto fail;
    thread->context = host_context_create(actor->host, thread);
    if (thread->context == NULL) {
        status = K_ENOMEM;
        goto fail_context;
    }
    thread->li = id_table_insert(&actor->thread_ids, thread);
    if (thread->li < 0) {
        status = thread->li;
        goto fail_id;
    }
    list_append(&actor->threads, &thread->of_actor);
    threads_alive++;
    *ret_thread = thread;
    return K_OK;
fail_id:
    host_context_destroy(thread->context);
fail_context:
    deadline_fini(&thread->timeout);
fail:
    free(thread);
    return status;
}

void thread_activate(struct thread *thread)
{
    thread_set_state(thread, THREAD_READY);
}

/* Everybody who waits for something from it learns that it will not come. */
static void thread_give_up(struct thread *thread)
{
    list_remove(&thread->wait_link);
    thread->waiting_in = NULL;
    deadline_cancel(&thread->timeout);
    if (thread->calling.id != 0)
        call_record_abandon(&thread->calling, true);
    call_record_close(&thread->calling);
    message_drop_current(thread);
    handler_forget(thread);
}

void thread_kill(struct thread *thread)
{
    if (thread->state == THREAD_DEAD)
        return;
    struct actor *actor = thread->actor;
    bool was_receiving =
        thread->state == THREAD_READY && thread->work == WORK_CALL && thread->ipc.receiving;
    thread_give_up(thread);
    sched_account(thread);
    sched_forget_payer(thread);
    sched_recall(thread);
    if (thread->work == WORK_CALL && nucleus_hooks.call_end != NULL)
        nucleus_hooks.call_end(thread, thread->call.number, K_EABORT);
    if (thread->in_trap && nucleus_hooks.trap_end != NULL)
        nucleus_hooks.trap_end(thread, K_EABORT);
    thread_set_state(thread, THREAD_DEAD);
    thread->work = WORK_NONE;
    actor->cpu_time += thread->cpu_time;
    id_table_remove(&actor->thread_ids, thread->li);
    list_remove(&thread->of_actor);
    list_append(&actor->dead_threads, &thread->of_actor);
    threads_alive--;
    if (!thread->in_machine)
        list_append(&graveyard, &thread->run_link);
    if (was_receiving)
        ipc_receiver_gone(thread);
}

/* The machine has given a dead thread back. */
void thread_returned_dead(struct thread *thread)
{
    ASSERT(thread->state == THREAD_DEAD && list_is_empty(&thread->run_link));
    list_append(&graveyard, &thread->run_link);
}

void threads_bury(void)
{
    while (!list_is_empty(&graveyard)) {
        struct thread *thread = LIST_OWNER(graveyard.next, struct thread, run_link);
        list_remove(&thread->run_link);
        list_remove(&thread->of_actor);
        host_context_destroy(thread->context);
        deadline_fini(&thread->timeout);
        free(thread);
    }
}

size_t thread_count(void)
{
    return threads_alive;
}

void thread_stop(struct thread *thread, unsigned reason)
{
    thread->stopped |= reason;
    if (thread->state == THREAD_READY)
        sched_dequeue(thread);
    sched_recall(thread);
}

void thread_start(struct thread *thread, unsigned reasons)
{
    bool was_stopped = thread->stopped != 0;
    thread->stopped &= ~reasons;
    if (was_stopped && thread->stopped == 0 && thread->state == THREAD_READY)
        sched_enqueue(thread);
}

void thread_abort(struct thread *thread)
{
    if (thread->state == THREAD_WAITING && thread->abortable && !thread->in_trap) {
        if (thread->calling.id != 0)
            call_record_abandon(&thread->calling, true);
        thread_wake(thread, K_EABORT);
        return;
    }
    if (thread->calling.id != 0 && thread->calling.kind == CALL_OF_LAP) {
        lap_abort(thread);
        return;
    }
    thread->aborted = true;
    if (thread->in_trap)
        trap_tell_aborted(thread);
    else if (thread->actor->abort.what != 0)
        sched_recall(thread);
}

void thread_do_work(struct thread *thread)
{
    while (thread->state == THREAD_RUNNING && thread->work != WORK_NONE) {
        if (thread->work == WORK_CALL)
            call_execute(thread);
        else
            trap_execute(thread);
    }
    if (thread->state == THREAD_RUNNING && thread->aborted)
        trap_abort(thread);
}
