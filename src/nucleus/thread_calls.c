/* Nucleus calls on threads. */
#include <string.h>
#include "actor.h"
#include "assert.h"
#include "call.h"
#include "nucleus.h"
#include "sched.h"
#include "thread.h"
#include "vm.h"

/* <old> is what counts if nothing is given. */
static int read_sched(struct thread *thread, uint64_t argument, const KnSched *old, KnSched *sched)
{
    *sched = *old;
    int status = call_in(thread, argument, sched, sizeof *sched);
    if (status < 0)
        return status;
    if ((sched->schedClass != K_SCHED_FIFO && sched->schedClass != K_SCHED_RR) ||
        sched->priority < K_PRIOMAX || sched->priority > K_PRIOMIN || sched->slice < 0)
        return K_EINVAL;
    if (sched->slice == 0)
        sched->slice = SCHED_SLICE_DEFAULT;
    if (sched->slice < SCHED_SLICE_LEAST)
        sched->slice = SCHED_SLICE_LEAST;
    return status;
}

/* Who is not trusted may not rise above what was given to <old>: no better priority, no class that
 * is never sliced, no longer slice. */
static bool may_become(const struct thread *thread, const KnSched *old, const KnSched *sched)
{
    if (call_is_trusted(thread))
        return true;
    int64_t most = old->slice > SCHED_SLICE_DEFAULT ? old->slice : SCHED_SLICE_DEFAULT;
    return sched->priority >= old->priority && sched->slice <= most &&
           (sched->schedClass != K_SCHED_FIFO || old->schedClass == K_SCHED_FIFO);
}

/* Are its registers where they can be had? */
static bool at_rest(const struct thread *thread)
{
    if (thread->in_machine || host_context_running(thread->context))
        return false;
    return thread->state == THREAD_WAITING || thread->state == THREAD_INACTIVE ||
           (thread->state == THREAD_READY && thread->stopped != 0);
}

/* The thread that a new one is to be like. NULL in *ret_source: none is wanted. */
static int find_source(struct thread *thread, const KnThreadStart *start,
                       struct thread **ret_source)
{
    *ret_source = NULL;
    if (!(start->flags & K_START_COPY))
        return K_OK;
    struct actor *actor = actor_find(&start->sourceActor, thread->actor);
    struct thread *source = actor == NULL ? NULL
                            : start->sourceThread == K_MYSELF && actor == thread->actor
                                ? thread
                                : id_table_find(&actor->thread_ids, start->sourceThread);
    if (source == NULL)
        return K_EUNKNOWN;
    if (!source->in_trap || !at_rest(source))
        return K_EBUSY;
    *ret_source = source;
    return K_OK;
}

static int thread_prepare(struct thread *thread, const KnThreadStart *start, struct thread *source)
{
    thread->cookie = start->cookie;
    if (source == NULL) {
        host_context_start(thread->context, start->entry, start->stack, start->argument,
                           start->fsBase);
        return K_OK;
    }
    KnThreadCtx registers;
    host_context_copy(thread->context, source->context);
    host_context_set_result(thread->context, (int64_t)start->argument);
    if (start->stack == 0 && start->fsBase == 0 && start->entry == 0)
        return K_OK;
    host_context_get(thread->context, &registers, NULL);
    if (start->stack != 0)
        registers.rsp = start->stack;
    if (start->fsBase != 0)
        registers.fsBase = start->fsBase;
    if (start->entry != 0)
        registers.rip = start->entry;
    registers.flags = K_CTX_GENERAL;
    return host_context_set(thread->context, &registers, NULL);
}

static int read_start(struct thread *thread, KnThreadStart *start)
{
    int status = call_in(thread, thread->call.arg[4], start, sizeof *start);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    if (thread->call.arg[2] > K_INACTIVE || (start->flags & ~(unsigned)K_START_COPY) != 0)
        return K_EINVAL;
    return start->flags == 0 && start->entry == 0 ? K_EINVAL : K_OK;
}

int64_t call_threadCreate(struct thread *thread)
{
    struct actor *actor;
    struct thread *source, *made;
    KnSched sched;
    KnThreadStart start;
    int status = call_actor(thread, 0, &actor);
    if (status >= 0)
        status = read_sched(thread, thread->call.arg[3], &thread->sched, &sched);
    if (status >= 0 && !may_become(thread, &thread->sched, &sched))
        status = K_EPRIV;
    if (status >= 0)
        status = read_start(thread, &start);
    if (status >= 0)
        status = find_source(thread, &start, &source);
    if (status < 0)
        return status;
    status = thread_create(actor, &sched, &made);
    if (status != K_OK)
        return status;
    status = thread_prepare(made, &start, source);
    if (status == K_OK)
        status = call_out(thread, thread->call.arg[1], &made->li, sizeof made->li);
    if (status < 0) {
        thread_kill(made);
        return status;
    }
    if (thread->call.arg[2] == K_ACTIVE)
        thread_activate(made);
    return made->li;
}

int64_t call_threadDelete(struct thread *thread)
{
    struct thread *victim;
    int status = call_thread(thread, 0, &victim);
    if (status < 0)
        return status;
    thread_kill(victim);
    return victim == thread ? CALL_NO_RETURN : K_OK;
}

int64_t call_threadExit(struct thread *thread)
{
    thread_kill(thread);
    return CALL_NO_RETURN;
}

int64_t call_threadSelf(struct thread *thread)
{
    return thread->li;
}

int64_t call_threadName(struct thread *thread)
{
    struct thread *target;
    char name[K_NAMEMAX];
    const uint64_t *arg = thread->call.arg;
    int status = call_thread(thread, 0, &target);
    if (status >= 0 && arg[3] != 0)
        status = call_name_in(thread, arg[3], name);
    if (status >= 0 && arg[2] != 0)
        status = vm_copy_out(thread, thread->actor, arg[2], target->name, K_NAMEMAX);
    if (status < 0)
        return status;
    if (arg[3] != 0)
        memcpy(target->name, name, K_NAMEMAX);
    return K_OK;
}

int64_t call_threadActivate(struct thread *thread)
{
    struct thread *target;
    int status = call_thread(thread, 0, &target);
    if (status < 0)
        return status;
    if (target->state == THREAD_INACTIVE)
        thread_activate(target);
    return K_OK;
}

int64_t call_threadStop(struct thread *thread)
{
    struct thread *target;
    int status = call_thread(thread, 0, &target);
    if (status < 0)
        return status;
    thread_stop(target, STOPPED_BY_THREADSTOP);
    return K_OK;
}

int64_t call_threadStart(struct thread *thread)
{
    struct thread *target;
    int status = call_thread(thread, 0, &target);
    if (status < 0)
        return status;
    thread_start(target, STOPPED_BY_THREADSTOP | STOPPED_BY_TRAP);
    return K_OK;
}

static void describe_registers(struct thread *target, KnThreadCtx *registers, void *xstate)
{
    host_context_get(target->context, registers, xstate);
    registers->trap = target->last_trap;
    registers->fault = target->last_trap == K_TRAP_FAULT ? target->trap.address : 0;
    registers->xstateSize = (uint32_t)host_context_xstate_size();
}

/* Old registers go out before new ones come in; both are read and written whole. */
int64_t call_threadContext(struct thread *thread)
{
    struct thread *target;
    const uint64_t *arg = thread->call.arg;
    KnThreadCtx old, new_;
    uint8_t xstate[K_XSTATEMAX] __attribute__((aligned(64)));
    int status = call_thread(thread, 0, &target);
    if (status < 0)
        return status;
    int has_new = call_in(thread, arg[3], &new_, sizeof new_);
    if (has_new < 0)
        return has_new;
    bool set_xstate = has_new == K_OK && (new_.flags & K_CTX_XSTATE);
    if (!at_rest(target) && (target != thread || has_new == K_OK))
        return K_EBUSY;
    size_t xstate_size = host_context_xstate_size();
    ASSERT(xstate_size <= sizeof xstate);
    if (set_xstate && arg[4] == 0)
        return K_EINVAL;
    if (!call_is_null(thread, arg[2])) {
        bool get_xstate = arg[4] != 0 && !set_xstate;
        describe_registers(target, &old, get_xstate ? xstate : NULL);
        status = call_out(thread, arg[2], &old, sizeof old);
        if (status >= 0 && get_xstate)
            status = vm_copy_out(thread, thread->actor, arg[4], xstate, xstate_size);
        if (status < 0)
            return status;
    }
    if (set_xstate)
        status = vm_copy_in(thread, thread->actor, xstate, arg[4], xstate_size);
    if (status < 0 || has_new != K_OK)
        return status < 0 ? status : K_OK;
    return host_context_set(target->context, &new_, set_xstate ? xstate : NULL);
}

int64_t call_threadCookie(struct thread *thread)
{
    struct thread *target;
    int status = call_thread(thread, 0, &target);
    if (status < 0)
        return status;
    target->cookie = thread->call.arg[2];
    return K_OK;
}

int thread_public_state(const struct thread *thread)
{
    if (thread->in_trap)
        return 4;
    if (thread->stopped != 0 || thread->state == THREAD_INACTIVE)
        return 3;
    if (thread->state == THREAD_WAITING)
        return 2;
    return thread->state == THREAD_RUNNING;
}

static void thread_describe(struct thread *target, KnThreadStat *stat)
{
    sched_account(target);
    *stat = (KnThreadStat){
        .li = target->li,
        .state = thread_public_state(target),
        .sched = target->sched,
        .cpu = target->cpu,
        .call = target->call.number,
        .cpuTime = target->cpu_time,
        .switches = target->switches,
        .routines = target->lent.routines,
    };
    memcpy(stat->name, target->name, sizeof stat->name);
}

int64_t call_threadStat(struct thread *thread)
{
    struct actor *actor;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    uint64_t index = thread->call.arg[1];
    if (index >= (uint64_t)actor->thread_ids.used)
        return K_EUNKNOWN;
    struct list *link = actor->threads.next;
    while (index-- > 0)
        link = link->next;
    KnThreadStat stat;
    thread_describe(LIST_OWNER(link, struct thread, of_actor), &stat);
    status = call_out(thread, thread->call.arg[2], &stat, sizeof stat);
    return status == 1 ? K_EINVAL : status;
}

int64_t call_threadTimes(struct thread *thread)
{
    struct actor *actor;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    int32_t li = (int32_t)thread->call.arg[1];
    struct thread *target = id_table_find(&actor->thread_ids, li);
    if (li != 0 && target == NULL)
        return K_EUNKNOWN;
    if (target != NULL)
        sched_account(target);
    KnTime time = target == NULL ? actor_cpu_time(actor) : target->cpu_time;
    KnThreadTimes times = { .internal = time, .total = time };
    status = call_out(thread, thread->call.arg[2], &times, sizeof times);
    return status == 1 ? K_EINVAL : status;
}

int64_t call_threadDelay(struct thread *thread)
{
    if (thread->call.restarted)
        return thread->call.woken == K_ETIMEOUT ? K_OK : thread->call.woken;
    int64_t deadline = call_deadline(thread, (KnTime)thread->call.arg[0]);
    int status = wait_queue_wait(NULL, thread, deadline, true);
    return status == K_ETIMEOUT ? K_OK : status;
}

int64_t call_threadAbort(struct thread *thread)
{
    struct thread *target;
    int status = call_thread(thread, 0, &target);
    if (status < 0)
        return status;
    thread_abort(target);
    return K_OK;
}

int64_t call_threadAborted(struct thread *thread)
{
    bool aborted = thread->aborted;
    thread->aborted = false;
    return aborted;
}

int64_t call_threadScheduler(struct thread *thread)
{
    struct thread *target;
    KnSched sched;
    const uint64_t *arg = thread->call.arg;
    int status = call_thread(thread, 0, &target);
    if (status < 0)
        return status;
    int has_new = read_sched(thread, arg[3], &target->sched, &sched);
    if (has_new < 0)
        return has_new;
    if (has_new == K_OK && !may_become(thread, &target->sched, &sched))
        return K_EPRIV;
    status = call_out(thread, arg[2], &target->sched, sizeof target->sched);
    if (status < 0)
        return status;
    if (has_new == K_OK)
        sched_change(target, &sched, target->bound);
    return K_OK;
}

int64_t call_threadBind(struct thread *thread)
{
    struct thread *target;
    int cpu = (int32_t)thread->call.arg[2];
    int status = call_thread(thread, 0, &target);
    if (status < 0)
        return status;
    if (cpu < -1 || cpu >= sched_cpu_count())
        return K_EINVAL;
    sched_change(target, &target->sched, cpu);
    return K_OK;
}

int64_t call_threadYield(struct thread *thread)
{
    sched_yield_thread(thread);
    return K_OK;
}

int64_t call_threadSemWait(struct thread *thread)
{
    if (thread->semaphore) {
        thread->semaphore = false;
        return K_OK;
    }
    if (thread->call.restarted)
        return thread->call.woken;
    int64_t deadline = call_deadline(thread, (KnTime)thread->call.arg[0]);
    return wait_queue_wait(NULL, thread, deadline, true);
}

int64_t call_threadSemPost(struct thread *thread)
{
    struct thread *target;
    int status = call_thread(thread, 0, &target);
    if (status < 0)
        return status;
    target->semaphore = true;
    if (target->state == THREAD_WAITING && target->call.number == CALL_threadSemWait)
        thread_wake(target, K_OK);
    return K_OK;
}
