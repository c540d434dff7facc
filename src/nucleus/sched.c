/* The scheduler.
 *
 * There is one run queue for all threads that may run anywhere and one for each user CPU's bound
 * threads; each has a list per priority and a bitmap. A thread is in a queue exactly while it is
 * READY and not stopped.
 *
 * Which CPU takes a woken thread: first the CPU of the event looks, so that a thread woken by one
 * that then waits (a call and its reply) runs there, and no other CPU has to be woken. If the waker
 * goes on, an idle CPU takes the thread, but only after SCHED_SPREAD_AFTER: usually the waker is
 * about to wait. A thread woken by no CPU (a timer, a device) is taken at once. */
#include "sched.h"

#include <string.h>
#include "actor.h"
#include "assert.h"
#include "nucleus.h"

#define CPUS_MAX   64
#define PRIORITIES 256

struct run_queue {
    uint64_t bitmap[PRIORITIES / 64];
    struct list lists[PRIORITIES];
    unsigned count;
};

struct user_cpu {
    struct thread *running;
    bool preempting; /* the machine was asked for it */
    bool yield;
    bool idle;       /* the machine was told so */
    int64_t started; /* when <running> came here */
    int64_t idle_since;
};

static struct {
    int cpus;
    struct user_cpu cpu[CPUS_MAX];
    struct run_queue anywhere;
    struct run_queue bound[CPUS_MAX];
    unsigned ready;
    bool freed; /* a CPU lost its thread outside a trap */
    int64_t order;
    int event_cpu;
    int64_t deadline;
    KnTime idle_time;
} sched;

static void run_queue_init(struct run_queue *queue)
{
    memset(queue, 0, sizeof *queue);
    for (int priority = 0; priority < PRIORITIES; priority++)
        list_init(&queue->lists[priority]);
}

void sched_init(int cpus)
{
    memset(&sched, 0, sizeof sched);
    sched.cpus = cpus < CPUS_MAX ? cpus : CPUS_MAX;
    sched.event_cpu = -1;
    sched.deadline = INT64_MAX;
    run_queue_init(&sched.anywhere);
    for (int cpu = 0; cpu < sched.cpus; cpu++) {
        run_queue_init(&sched.bound[cpu]);
        sched.cpu[cpu].idle = true;
        sched.cpu[cpu].idle_since = nucleus_time();
    }
}

int sched_cpu_count(void)
{
    return sched.cpus;
}

int64_t sched_deadline(void)
{
    return sched.deadline;
}

static struct run_queue *queue_of(const struct thread *thread)
{
    return thread->bound < 0 ? &sched.anywhere : &sched.bound[thread->bound];
}

void sched_enqueue(struct thread *thread, bool at_head)
{
    ASSERT(thread->state == THREAD_READY && list_is_empty(&thread->run_link));
    struct run_queue *queue = queue_of(thread);
    int priority = thread->sched.priority;
    sched.order++;
    thread->ready_order = at_head ? -sched.order : sched.order;
    thread->waker_cpu = sched.event_cpu;
    thread->spread_at = nucleus_time() + SCHED_SPREAD_AFTER;
    if (at_head)
        list_prepend(&queue->lists[priority], &thread->run_link);
    else
        list_append(&queue->lists[priority], &thread->run_link);
    queue->bitmap[priority / 64] |= 1ull << priority % 64;
    queue->count++;
    sched.ready++;
}

void sched_dequeue(struct thread *thread)
{
    if (list_is_empty(&thread->run_link))
        return; /* it is stopped */
    struct run_queue *queue = queue_of(thread);
    int priority = thread->sched.priority;
    list_remove(&thread->run_link);
    if (list_is_empty(&queue->lists[priority]))
        queue->bitmap[priority / 64] &= ~(1ull << priority % 64);
    queue->count--;
    sched.ready--;
}

static struct thread *queue_best(struct run_queue *queue)
{
    for (int word = 0; word < PRIORITIES / 64; word++)
        if (queue->bitmap[word] != 0) {
            int priority = word * 64 + __builtin_ctzll(queue->bitmap[word]);
            return LIST_OWNER(queue->lists[priority].next, struct thread, run_link);
        }
    return NULL;
}

static bool goes_before(const struct thread *a, const struct thread *b)
{
    if (a->sched.priority != b->sched.priority)
        return a->sched.priority < b->sched.priority;
    return a->ready_order < b->ready_order;
}

/* The thread that <cpu> should run next; NULL: none is ready. */
static struct thread *best_for(int cpu)
{
    if (sched.ready == 0)
        return NULL;
    struct thread *any = queue_best(&sched.anywhere);
    struct thread *own = sched.bound[cpu].count == 0 ? NULL : queue_best(&sched.bound[cpu]);
    if (any == NULL || own == NULL)
        return any == NULL ? own : any;
    return goes_before(own, any) ? own : any;
}

void sched_account(struct thread *thread)
{
    struct user_cpu *cpu = &sched.cpu[thread->cpu];
    if (cpu->running != thread || thread->state != THREAD_RUNNING)
        return;
    int64_t now = nucleus_time();
    thread->cpu_time += now - cpu->started;
    thread->slice_left -= now - cpu->started;
    cpu->started = now;
}

void sched_recall(struct thread *thread)
{
    struct user_cpu *cpu = &sched.cpu[thread->cpu];
    if (!thread->in_machine || cpu->running != thread || cpu->preempting)
        return;
    cpu->preempting = true;
    host_cpu_preempt(thread->cpu);
}

void sched_change(struct thread *thread, const KnSched *parameters, int bound)
{
    bool queued = !list_is_empty(&thread->run_link) && thread->state == THREAD_READY;
    if (queued)
        sched_dequeue(thread);
    thread->sched = *parameters;
    thread->bound = bound;
    if (queued)
        sched_enqueue(thread, false);
    if (bound >= 0 && bound != thread->cpu)
        sched_recall(thread);
}

void sched_yield_thread(struct thread *thread)
{
    sched.cpu[thread->cpu].yield = true;
}

/* Put a running thread back into its queue. */
static void make_ready(struct thread *thread, bool at_head)
{
    sched_account(thread);
    if (!at_head || thread->slice_left <= 0)
        thread->slice_left = thread->sched.slice;
    thread_set_state(thread, THREAD_READY);
    if (at_head && thread->stopped == 0) {
        sched_dequeue(thread);
        sched_enqueue(thread, true);
    }
}

static bool slice_is_over(const struct user_cpu *cpu, const struct thread *thread)
{
    return thread->sched.schedClass == K_SCHED_RR &&
           nucleus_time() - cpu->started >= thread->slice_left;
}

/* May the thread that has just trapped on <cpu> go on there? If not it is put where it belongs. */
static bool may_stay(int number, struct thread *thread)
{
    struct user_cpu *cpu = &sched.cpu[number];
    bool yield = cpu->yield;
    cpu->yield = false;
    if (thread->state != THREAD_RUNNING)
        return false;
    if (thread->stopped != 0 || (thread->bound >= 0 && thread->bound != number)) {
        make_ready(thread, false);
        return false;
    }
    struct thread *best = best_for(number);
    if (best == NULL || best->sched.priority > thread->sched.priority)
        return true;
    if (best->sched.priority < thread->sched.priority) {
        make_ready(thread, true);
        return false;
    }
    if (!yield && !slice_is_over(cpu, thread))
        return true;
    make_ready(thread, false);
    return false;
}

static void give_to_machine(int number, struct thread *thread)
{
    sched.cpu[number].idle = false;
    thread->in_machine = true;
    host_cpu_run(number, thread->context);
}

/* The CPU is without its thread from now on. */
static void leave(struct user_cpu *cpu)
{
    struct thread *thread = cpu->running;
    if (thread == NULL)
        return;
    int64_t now = nucleus_time();
    thread->cpu_time += now - cpu->started;
    cpu->started = now;
    if (thread->state == THREAD_WAITING)
        thread->slice_left = thread->sched.slice;
    cpu->running = NULL;
    cpu->yield = false;
}

static void take(int number, struct thread *thread)
{
    struct user_cpu *cpu = &sched.cpu[number];
    thread_set_state(thread, THREAD_RUNNING);
    cpu->running = thread;
    cpu->started = nucleus_time();
    thread->cpu = number;
    thread->switches++;
    nucleus_counters.switches++;
    if (thread->slice_left <= 0)
        thread->slice_left = thread->sched.slice;
}

static void become_idle(int number)
{
    struct user_cpu *cpu = &sched.cpu[number];
    if (cpu->idle)
        return;
    cpu->idle = true;
    cpu->idle_since = nucleus_time();
    host_cpu_idle(number);
    if (nucleus_hooks.switched != NULL)
        nucleus_hooks.switched(number, NULL);
}

/* <number> runs nothing: find it something. */
static void fill(int number)
{
    struct user_cpu *cpu = &sched.cpu[number];
    struct thread *thread;
    while ((thread = best_for(number)) != NULL) {
        if (cpu->idle)
            sched.idle_time += nucleus_time() - cpu->idle_since, cpu->idle_since = nucleus_time();
        take(number, thread);
        thread_do_work(thread);
        if (may_stay(number, thread)) {
            if (nucleus_hooks.switched != NULL)
                nucleus_hooks.switched(number, thread);
            give_to_machine(number, thread);
            return;
        }
        leave(cpu);
    }
    become_idle(number);
}

static void settle(int number)
{
    struct user_cpu *cpu = &sched.cpu[number];
    struct thread *thread = cpu->running;
    if (thread != NULL && thread->in_machine)
        return;
    sched.event_cpu = number;
    if (thread != NULL && may_stay(number, thread)) {
        give_to_machine(number, thread);
        return;
    }
    leave(cpu);
    fill(number);
}

static void want_deadline(int64_t at)
{
    if (at < sched.deadline)
        sched.deadline = at;
}

/* May an idle CPU take this thread now, or is its waker's CPU likely to take it sooner? */
static bool may_spread(int number, struct thread *thread)
{
    int waker = thread->waker_cpu;
    if (thread->bound >= 0 || waker < 0 || waker == number || sched.cpu[waker].running == NULL)
        return true;
    if (nucleus_time() >= thread->spread_at)
        return true;
    want_deadline(thread->spread_at);
    return false;
}

static void feed_idle_cpus(void)
{
    struct thread *first = queue_best(&sched.anywhere);
    if (first != NULL && sched.cpu[first->cpu].running == NULL && may_spread(first->cpu, first))
        settle(first->cpu); /* where its memory is warm */
    for (int number = 0; number < sched.cpus && sched.ready > 0; number++) {
        if (sched.cpu[number].running != NULL)
            continue;
        struct thread *best = best_for(number);
        if (best != NULL && may_spread(number, best))
            settle(number);
    }
}

/* The CPU whose thread is the least important. */
static int weakest_cpu(void)
{
    int weakest = -1;
    for (int number = 0; number < sched.cpus; number++) {
        struct user_cpu *cpu = &sched.cpu[number];
        if (cpu->running == NULL || cpu->preempting)
            continue;
        if (weakest < 0 ||
            cpu->running->sched.priority > sched.cpu[weakest].running->sched.priority)
            weakest = number;
    }
    return weakest;
}

static void preempt_for_better(void)
{
    struct thread *best = queue_best(&sched.anywhere);
    int weakest = best == NULL ? -1 : weakest_cpu();
    if (weakest >= 0 && best->sched.priority < sched.cpu[weakest].running->sched.priority)
        sched_recall(sched.cpu[weakest].running);
    for (int number = 0; number < sched.cpus; number++) {
        struct user_cpu *cpu = &sched.cpu[number];
        struct thread *own =
            sched.bound[number].count == 0 ? NULL : queue_best(&sched.bound[number]);
        if (own != NULL && cpu->running != NULL &&
            own->sched.priority < cpu->running->sched.priority)
            sched_recall(cpu->running);
    }
}

/* Round robin: who has had its slice goes if an equal waits. */
static void preempt_for_equal(int number)
{
    struct user_cpu *cpu = &sched.cpu[number];
    struct thread *thread = cpu->running;
    if (thread == NULL || cpu->preempting || thread->sched.schedClass != K_SCHED_RR)
        return;
    struct thread *best = best_for(number);
    if (best == NULL || best->sched.priority > thread->sched.priority)
        return;
    if (slice_is_over(cpu, thread))
        sched_recall(thread);
    else
        want_deadline(cpu->started + thread->slice_left);
}

static void fill_freed_cpus(void)
{
    sched.freed = false;
    for (int number = 0; number < sched.cpus; number++)
        if (sched.cpu[number].running == NULL && !sched.cpu[number].idle)
            settle(number);
}

void sched_run(int cpu)
{
    sched.deadline = INT64_MAX;
    if (cpu >= 0)
        settle(cpu);
    if (sched.freed)
        fill_freed_cpus();
    if (sched.ready > 0)
        feed_idle_cpus();
    if (sched.ready > 0) {
        preempt_for_better();
        for (int number = 0; number < sched.cpus; number++)
            preempt_for_equal(number);
    }
    sched.event_cpu = -1;
}

bool sched_arrived(int cpu, struct thread *thread)
{
    sched.event_cpu = cpu;
    thread->in_machine = false;
    ASSERT(cpu < sched.cpus);
    bool on_cpu = cpu >= 0 && sched.cpu[cpu].running == thread;
    if (on_cpu)
        sched.cpu[cpu].preempting = false;
    if (thread->state != THREAD_DEAD) {
        ASSERT(on_cpu || cpu < 0);
        return true;
    }
    thread_returned_dead(thread);
    if (on_cpu)
        leave(&sched.cpu[cpu]);
    return false;
}

void sched_regained(struct thread *thread)
{
    if (thread->state == THREAD_RUNNING)
        thread_set_state(thread, THREAD_READY);
}

void sched_cpu_lost(int cpu, struct thread *thread)
{
    ASSERT(cpu >= 0 && cpu < sched.cpus && sched.cpu[cpu].running == thread);
    sched_account(thread);
    sched.cpu[cpu].preempting = false;
    leave(&sched.cpu[cpu]);
    sched.freed = true;
}

void sched_forget_actor(struct actor *actor)
{
    for (int number = 0; number < sched.cpus; number++) {
        struct user_cpu *cpu = &sched.cpu[number];
        if (cpu->running == NULL || cpu->running->actor != actor)
            continue;
        cpu->preempting = false;
        leave(cpu);
        sched.freed = true;
    }
}

void sched_space_dead(struct actor *actor)
{
    sched_forget_actor(actor);
    LIST_FOR_EACH (link, &actor->dead_threads) {
        struct thread *thread = LIST_OWNER(link, struct thread, of_actor);
        if (thread->in_machine) {
            thread->in_machine = false;
            thread_returned_dead(thread);
        }
    }
}

KnTime sched_idle_time(void)
{
    KnTime total = sched.idle_time;
    for (int number = 0; number < sched.cpus; number++)
        if (sched.cpu[number].idle)
            total += nucleus_time() - sched.cpu[number].idle_since;
    return total;
}
