/* The scheduler.
 *
 * There is one run queue for all threads that may run anywhere and one for each user CPU's bound
 * threads. A thread is in a queue exactly while it is READY and not stopped.
 *
 * Which CPU takes a woken thread: first the CPU of the event looks, so that a thread woken by one
 * that then waits (a call and its reply) runs there, and no other CPU has to be woken. If the waker
 * goes on, an idle CPU takes the thread, but only after SCHED_SPREAD_AFTER: usually the waker is
 * about to wait (later still if the Nucleus polls on that CPU). A thread woken by no CPU (a timer, a device) is taken at once. */
#include "sched.h"

#include <string.h>
#include "actor.h"
#include "assert.h"
#include "light.h"
#include "nucleus.h"
#include "port.h"
#include "run_queue.h"

#define CPUS_MAX 64

struct user_cpu {
    struct thread *running;
    struct thread *payer; /* whose CPU time this is: <running>, or who passed the CPU to it; NULL with it */
    bool preempting; /* the machine was asked for it */
    bool yield;
    bool idle;       /* the machine was told so */
    bool light;      /* <running> went before its equals, see light.h */
    int64_t started; /* when <running>, or <payer>, came here */
    int64_t since;   /* when <running> came here, or last passed the CPU on */
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
    struct thread *awaited; /* it is not queued when it is woken: sched_pass follows */
    int64_t deadline;
    KnTime idle_time;
    int callers_cpu;      /* where a thread that is no supervisor actor's ran last */
    int64_t served_at;    /* when the last idle CPU was left to the Nucleus with reason, */
    int64_t try_at;       /* when that may be tried without one, */
    int64_t serve_at;     /* and when it may be done at all: see serves_better */
    struct thread *patient; /* a server that is ready and lets others go first; NULL */
    int patient_level;      /* whose work it does: the priority of who trapped */
} sched;

static void want_deadline(int64_t at)
{
    if (at < sched.deadline)
        sched.deadline = at;
}

/* Has the thread on <cpu> to go because <best>, its equal, is light? In *ret_at: when, INT64_MAX
 * if not for that reason. */
static bool gives_way(const struct user_cpu *cpu, const struct thread *thread,
                      const struct thread *best, int64_t *ret_at)
{
    *ret_at = INT64_MAX;
    if (!best->light || thread->sched.schedClass != K_SCHED_RR)
        return false;
    int64_t run = nucleus_time() - cpu->started;
    if (light_used(thread->actor) + run < SCHED_LIGHT)
        return false;
    *ret_at = cpu->started + SCHED_LIGHT_PATIENCE;
    return run >= SCHED_LIGHT_PATIENCE;
}

void sched_init(int cpus)
{
    memset(&sched, 0, sizeof sched);
    sched.cpus = cpus < CPUS_MAX ? cpus : CPUS_MAX;
    sched.event_cpu = -1;
    sched.deadline = INT64_MAX;
    light_init(sched.cpus);
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

/* Messages that were queued for a thread alone are anybody's. */
static void let_others_receive(struct thread *thread)
{
    thread->has_more = false;
    ports_kick(thread->actor);
}

static void enqueue(struct thread *thread, enum place place, bool light)
{
    ASSERT(thread->state == THREAD_READY && list_is_empty(&thread->run_link));
    sched.order++;
    thread->ready_order = place == AT_TAIL ? sched.order : -sched.order;
    thread->light = light;
    thread->queued_order = sched.order;
    thread->waker_cpu = sched.event_cpu;
    thread->queued_at = nucleus_time();
    run_queue_insert(queue_of(thread), thread, place);
    sched.ready++;
}

void sched_enqueue(struct thread *thread)
{
    enqueue(thread, AT_TAIL, false);
}

void sched_enqueue_woken(struct thread *thread)
{
    if (thread == sched.awaited)
        return;
    bool light = light_is(thread), goes_on = thread->answered && (thread->slice_left > 0 || thread->sched.schedClass == K_SCHED_FIFO);
    thread->answered = false;
    thread->resumes = goes_on;
    enqueue(thread, light || goes_on ? BEHIND_LIGHT : AT_TAIL, light);
}

static int64_t patience_ends(void)
{
    return sched.patient->queued_at + SCHED_CALLER;
}

static bool is_patient(const struct thread *thread)
{
    return thread == sched.patient && nucleus_time() < patience_ends();
}

void sched_dequeue(struct thread *thread)
{
    if (list_is_empty(&thread->run_link))
        return; /* it is stopped */
    run_queue_remove(queue_of(thread), thread);
    sched.ready--;
    if (sched.patient != thread)
        return;
    sched.patient = NULL; /* it does not come: it was stopped, or is dead */
    if (thread->has_more)
        let_others_receive(thread);
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
    struct thread *any = run_queue_best(&sched.anywhere);
    struct thread *own = sched.bound[cpu].count == 0 ? NULL : run_queue_best(&sched.bound[cpu]);
    if (any == NULL || own == NULL)
        return any == NULL ? own : any;
    return goes_before(own, any) ? own : any;
}

void sched_account(struct thread *thread)
{
    struct user_cpu *cpu = &sched.cpu[thread->cpu];
    if (cpu->payer != thread)
        return;
    int64_t now = nucleus_time();
    light_note(thread->actor, now - cpu->started, cpu->light);
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
    thread->lent.raised = false;
    thread->bound = bound;
    if (queued)
        sched_enqueue(thread);
    if (bound >= 0 && bound != thread->cpu)
        sched_recall(thread);
}

void sched_yield_thread(struct thread *thread)
{
    sched.cpu[thread->cpu].yield = true;
}

/* Put a running thread back into its queue. */
static void make_ready(struct thread *thread, enum place place)
{
    sched_account(thread);
    if (place == AT_TAIL || thread->slice_left <= 0)
        thread->slice_left = thread->sched.slice;
    thread_set_state(thread, THREAD_READY);
    if (place != AT_TAIL && thread->stopped == 0) {
        sched_dequeue(thread);
        enqueue(thread, place, false);
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
        make_ready(thread, AT_TAIL);
        return false;
    }
    struct thread *best = best_for(number);
    if (best == NULL || best->sched.priority > thread->sched.priority || is_patient(best))
        return true;
    int64_t way_at;
    if (best->sched.priority < thread->sched.priority)
        make_ready(thread, AT_HEAD);
    else if (yield || slice_is_over(cpu, thread))
        make_ready(thread, AT_TAIL);
    else if (gives_way(cpu, thread, best, &way_at))
        make_ready(thread, BEHIND_LIGHT);
    else
        return true;
    return false;
}

static void give_to_machine(int number, struct thread *thread)
{
    sched.cpu[number].idle = false;
    thread->in_machine = true;
    host_cpu_run(number, thread->context);
}

/* How long it runs between its waits. */
static void note_run(struct thread *thread, KnTime run)
{
    thread->run_average += (run - thread->run_average) / 8;
}

/* The CPU is without its thread from now on. */
static void leave(struct user_cpu *cpu)
{
    struct thread *thread = cpu->running;
    if (thread == NULL)
        return;
    int64_t now = nucleus_time();
    KnTime run = now - cpu->started;
    light_note(cpu->payer->actor, run, cpu->light);
    cpu->payer->cpu_time += run;
    cpu->payer->slice_left -= run;
    note_run(thread, now - cpu->since);
    cpu->started = now;
    if (thread->state == THREAD_WAITING && !thread->in_trap)
        thread->slice_left = thread->sched.slice;
    cpu->running = cpu->payer = NULL;
    cpu->yield = false;
    if (thread->has_more)
        let_others_receive(thread);
}

static void take(int number, struct thread *thread)
{
    struct user_cpu *cpu = &sched.cpu[number];
    if (sched.patient == thread)
        sched.patient = NULL; /* before: what is queued for it stays its own until it leaves its CPU */
    thread_set_state(thread, THREAD_RUNNING);
    cpu->running = cpu->payer = thread;
    cpu->started = cpu->since = nucleus_time();
    cpu->light = thread->light;
    thread->resumes = false;
    thread->cpu = number;
    if (thread->actor->privilege != K_SUPACTOR)
        sched.callers_cpu = number;
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

/* ---- callers ----
 *
 * While all that runs are callers, a CPU that serves them brings more than one more that runs them: a call costs five times as much when the Nucleus has to be
 * woken for it. So the last idle CPU is left to the Nucleus, and callers share the others by their slices. A thread whose trap was answered keeps its turn.
 *
 * And where two CPUs are idle a caller that is woken goes to the one where the last of them ran, since the Nucleus is on the other: else those who wait for a device by
 * turns would run it off its CPU again and again, and have one of theirs woken by the host each time. */

/* Do all other CPUs run threads as good as <candidate> that pass no more than <most> between their waits? A supervisor actor's runs for such a thread. */
static bool others_call(int number, const struct thread *candidate, KnTime most)
{
    for (int other = 0; other < sched.cpus; other++) {
        const struct user_cpu *cpu = &sched.cpu[other];
        const struct thread *thread = cpu->running;
        if (other == number)
            continue;
        if (thread == NULL || nucleus_time() - cpu->since >= most || thread->sched.priority > candidate->sched.priority)
            return false;
        if (thread->actor->privilege != K_SUPACTOR && thread->run_average >= most)
            return false;
    }
    return true;
}

/* Is <number> the other one? A supervisor actor's thread counts, for whom it will wake. */
static bool belongs_together(int number, const struct thread *thread)
{
    if (number == sched.callers_cpu || thread->bound >= 0 || (thread->actor->privilege != K_SUPACTOR && thread->run_average >= SCHED_CALLER))
        return false;
    for (int other = 0; other < sched.cpus; other++)
        if (other != number && (sched.cpu[other].running == NULL) != (other == sched.callers_cpu))
            return false;
    return true;
}

/* Is <number> better left to the Nucleus than given to <thread>? It is asked again soon. Not for longer than <thread> would wait for its turn: what runs may be no
 * equal of it, and never have had its slice. */
static bool serves_better(int number, const struct thread *thread)
{
    int64_t now = nucleus_time(), turn = thread->queued_at + (sched.ready + 1) * (int64_t)SCHED_SLICE_DEFAULT;
    if (thread->actor->privilege != K_SUPACTOR && belongs_together(number, thread))
        return true;
    if (now > turn && !list_is_empty(&thread->run_link)) /* else it gets a CPU that is passed to it */
        sched.serve_at = now + SCHED_TRY_AGAIN;
    if (now < sched.serve_at || sched.cpus == 1 || thread->bound >= 0 || thread->actor->privilege == K_SUPACTOR || thread->run_average >= SCHED_PERHAPS ||
        !others_call(number, thread, SCHED_PERHAPS))
        return false;
    if (others_call(number, thread, SCHED_CALLER)) {
        sched.served_at = now;
    } else if (now - sched.served_at >= SCHED_TRIAL) {
        if (sched.cpu[number].idle || now < sched.try_at)
            return false;
        sched.served_at = now;
        sched.try_at = now + SCHED_TRY_AGAIN;
    }
    want_deadline(now + SCHED_SPREAD_AFTER_SPENT);
    return true;
}

/* ---- patience ----
 *
 * A program traps, and its server is to run. But callers wait that the server answered a moment ago: they will trap as well, soon. So they go first, and the
 * server deals with all their traps in one go, which saves two switches for each of them. The server is entitled to the CPU at the level of who trapped, no more
 * than they; yet it waits no longer than SCHED_CALLER, and only while the Nucleus has a CPU of its own and so can keep such a time. */

static bool nucleus_has_a_cpu(void)
{
    for (int number = 0; number < sched.cpus; number++)
        if (sched.cpu[number].idle && host_cpu_is_spent(number))
            return true;
    return false;
}

void sched_be_patient(struct thread *server, const struct thread *client)
{
    if (sched.patient != NULL || server->state != THREAD_READY || list_is_empty(&server->run_link) || server->bound >= 0 ||
        server->actor->privilege == K_SUPACTOR || !nucleus_has_a_cpu())
        return;
    sched.patient = server;
    sched.patient_level = client->sched.priority;
}

bool sched_leave_to_patient(const struct actor *server)
{
    bool is = sched.patient != NULL && sched.patient->actor == server;
    if (is)
        sched.patient->has_more = true;
    return is;
}

/* Who goes before the patient server on <number>; NULL: nobody. */
static struct thread *goes_before_patient(int number)
{
    int level;
    struct thread *first = run_queue_first_but(&sched.anywhere, sched.patient, &level);
    if (first == NULL || level != sched.patient_level || sched.bound[number].count > 0)
        return NULL;
    return first->resumes && first->run_average < SCHED_CALLER ? first : NULL;
}

/* ---- passing a CPU on ---- */

void sched_await(struct thread *to)
{
    sched.awaited = to;
}

/* A supervisor actor's thread was given the CPU, and passes it on to one that it has served: from now on that one pays. */
static void change_payer(struct user_cpu *cpu, struct thread *to)
{
    int64_t now = nucleus_time();
    light_note(cpu->payer->actor, now - cpu->started, cpu->light);
    cpu->payer->cpu_time += now - cpu->started;
    cpu->started = now;
    cpu->payer = to;
}

struct thread *sched_pass(struct thread *from)
{
    struct thread *to = sched.awaited;
    struct user_cpu *cpu = &sched.cpu[from->cpu];
    sched.awaited = NULL;
    if (to == NULL || to->state != THREAD_READY || to->stopped != 0)
        return NULL;
    if (from->state != THREAD_WAITING || cpu->running != from || from->in_machine ||
        (to->bound >= 0 && to->bound != from->cpu) || serves_better(from->cpu, to)) {
        sched_enqueue_woken(to);
        return NULL;
    }
    thread_set_state(to, THREAD_RUNNING);
    if (!from->lent.idle) { /* a lender that gives it back: the clock need not be read again */
        note_run(from, nucleus_time() - cpu->since);
        cpu->since = nucleus_time();
    }
    cpu->running = to;
    if (cpu->payer != to && to->actor->privilege != K_SUPACTOR)
        change_payer(cpu, to);
    cpu->yield = false;
    to->cpu = from->cpu;
    if (to->slice_left <= 0)
        to->slice_left = to->sched.slice;
    if (from->has_more)
        let_others_receive(from);
    nucleus_counters.passes++;
    if (nucleus_hooks.passed != NULL)
        nucleus_hooks.passed(to->cpu, to);
    return to;
}

void sched_work(int number)
{
    struct user_cpu *cpu = &sched.cpu[number];
    struct thread *thread;
    do {
        thread = cpu->running;
        thread_do_work(thread);
    } while (cpu->running != thread && cpu->running != NULL);
}

void sched_forget_payer(struct thread *thread)
{
    for (int number = 0; number < sched.cpus; number++)
        if (sched.cpu[number].payer == thread)
            sched.cpu[number].payer = sched.cpu[number].running;
}

/* <number> runs nothing: find it something. */
static void fill(int number)
{
    struct user_cpu *cpu = &sched.cpu[number];
    struct thread *thread;
    while ((thread = best_for(number)) != NULL && !serves_better(number, thread)) {
        struct thread *first = is_patient(thread) ? goes_before_patient(number) : NULL;
        if (first != NULL)
            thread = first;
        if (cpu->idle)
            sched.idle_time += nucleus_time() - cpu->idle_since, cpu->idle_since = nucleus_time();
        take(number, thread);
        sched_work(number);
        thread = cpu->running;
        if (thread != NULL && may_stay(number, thread)) {
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

/* May an idle CPU take this thread now, or is its waker's CPU likely to take it sooner? */
static bool may_spread(int number, struct thread *thread)
{
    int waker = thread->waker_cpu;
    if (serves_better(number, thread))
        return false;
    if (thread->bound >= 0 || waker < 0 || waker == number || sched.cpu[waker].running == NULL)
        return true;
    int64_t at = thread->queued_at + (host_cpu_is_spent(number) ? SCHED_SPREAD_AFTER_SPENT
                                                                : SCHED_SPREAD_AFTER);
    if (nucleus_time() >= at)
        return true;
    want_deadline(at);
    return false;
}

static void feed_idle_cpus(void)
{
    struct thread *first = run_queue_best(&sched.anywhere);
    int place = first == NULL ? -1 : belongs_together(first->cpu, first) ? sched.callers_cpu : first->cpu; /* where its memory is warm */
    if (place >= 0 && sched.cpu[place].running == NULL && may_spread(place, first))
        settle(place);
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
    struct thread *best = run_queue_best(&sched.anywhere);
    int weakest = best == NULL ? -1 : weakest_cpu();
    if (best != NULL && is_patient(best))
        want_deadline(patience_ends());
    else if (weakest >= 0 && best->sched.priority < sched.cpu[weakest].running->sched.priority)
        sched_recall(sched.cpu[weakest].running);
    for (int number = 0; number < sched.cpus; number++) {
        struct user_cpu *cpu = &sched.cpu[number];
        struct thread *own =
            sched.bound[number].count == 0 ? NULL : run_queue_best(&sched.bound[number]);
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
    int64_t way_at;
    if (slice_is_over(cpu, thread) || gives_way(cpu, thread, best, &way_at)) {
        sched_recall(thread);
        return;
    }
    want_deadline(cpu->started + thread->slice_left);
    want_deadline(way_at);
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
