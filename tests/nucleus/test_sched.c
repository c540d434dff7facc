/* The scheduler: priorities, hand-over, slices, CPUs. */
#include "site.h"

static void one_cpu(void)
{
    site_start_with(1);
}
static void two_cpus(void)
{
    site_start_with(2);
}

TestSuite(sched, .init = one_cpu, .fini = site_end);
TestSuite(sched2, .init = two_cpus, .fini = site_end);

static struct thread *fifo(struct actor *actor, int priority)
{
    return thread_new_with(actor, K_SCHED_FIFO, priority);
}
static bool runs(const struct thread *thread)
{
    return fake_host_cpu_of(thread) >= 0;
}

Test(sched, a_better_thread_takes_the_cpu_and_the_other_goes_on_afterwards)
{
    struct actor *actor = actor_new(K_USERACTOR);
    struct thread *low = fifo(actor, 100), *equal = fifo(actor, 100);
    cr_assert(runs(low) && !runs(equal));
    struct thread *high = fifo(actor, 50);
    cr_assert(runs(high));
    DO(high, threadDelay, MS);
    cr_assert(runs(low), "a preempted thread goes to the head of its queue");
    pass(MS);
    cr_assert(runs(high), "a woken better thread preempts");
    DO(high, threadExit);
    cr_assert(runs(low));
}

Test(sched, a_woken_thread_goes_behind_its_equals)
{
    struct actor *actor = actor_new(K_USERACTOR);
    struct thread *first = fifo(actor, 100), *second = fifo(actor, 100), *third = fifo(actor, 100);
    DO(first, threadDelay, MS);
    cr_assert(runs(second));
    pass(2 * MS);
    cr_assert(runs(second), "an equal does not preempt");
    DO(second, threadDelay, 100 * MS);
    cr_assert(runs(third));
    DO(third, threadDelay, 100 * MS);
    cr_assert(runs(first));
}

Test(sched, fifo_threads_are_not_sliced_and_round_robin_threads_are)
{
    struct actor *actor = actor_new(K_USERACTOR);
    struct thread *first = fifo(actor, 100), *second = fifo(actor, 100);
    pass(100 * MS);
    cr_assert(runs(first) && fake_host_preemptions == 0);
    DO(first, threadExit);
    DO(second, threadExit);
    struct thread *third = thread_new_with(actor, K_SCHED_RR, 100),
                  *fourth = thread_new_with(actor, K_SCHED_RR, 100);
    cr_assert(runs(third));
    pass(SCHED_SLICE_DEFAULT - 1);
    cr_assert(runs(third));
    pass(1);
    cr_assert(runs(fourth));
    pass(SCHED_SLICE_DEFAULT);
    cr_assert(runs(third));
    unsigned before = fake_host_preemptions;
    DO(fourth->state == THREAD_RUNNING ? fourth : third, threadExit);
    pass(100 * MS);
    cr_assert_leq(fake_host_preemptions, before + 1, "nobody waits: nobody is preempted");
}

Test(sched, a_slice_is_over_at_a_trap_too)
{
    struct actor *actor = actor_new(K_USERACTOR);
    struct thread *first = thread_new_with(actor, K_SCHED_RR, 100),
                  *second = thread_new_with(actor, K_SCHED_RR, 100);
    fake_host_time += SCHED_SLICE_DEFAULT; /* without an event */
    unsigned before = fake_host_preemptions;
    DO(first, sysNull);
    cr_assert(runs(second));
    cr_assert_eq(fake_host_preemptions, before);
}

/* ---- light actors ---- */

static struct thread *round_robin(struct actor *actor)
{
    return thread_new_with(actor, K_SCHED_RR, K_PRIO_USER);
}

static KnTime time_of(struct thread *thread)
{
    sched_account(thread);
    return thread->cpu_time;
}

Test(sched, a_key_is_not_answered_behind_a_hundred_computing_threads)
{
    struct actor *bomb = actor_new(K_USERACTOR);
    struct thread *editor = round_robin(actor_new(K_USERACTOR));
    DO(editor, threadDelay, 301 * MS);
    for (int i = 0; i < 100; i++)
        round_robin(bomb);
    pass(301 * MS);
    for (int i = 0; i < 50; i++) {
        int64_t from = fake_host_time;
        while (!runs(editor))
            pass(100 * US);
        cr_assert_leq(fake_host_time - from, SCHED_LIGHT + SCHED_LIGHT_PATIENCE + 200 * US,
                      "%ld us", (long)(fake_host_time - from) / 1000);
        DO(editor, threadDelay, 7 * MS);
        pass(7 * MS);
    }
}

/* Actors that wait just before their slice is over, beside one that computes; its share of a
 * second. */
static double share_beside_sleepers(int count)
{
    struct thread *sleeper[10], *honest = round_robin(actor_new(K_USERACTOR));
    for (int i = 0; i < count; i++)
        sleeper[i] = round_robin(actor_new(K_USERACTOR));
    pass(100 * MS);
    KnTime before = time_of(honest);
    int64_t from = fake_host_time, since[10] = { 0 };
    while (fake_host_time < from + 2000 * MS) {
        pass(100 * US);
        for (int i = 0; i < count; i++) {
            if (!runs(sleeper[i]))
                since[i] = fake_host_time;
            else if (fake_host_time - since[i] >= 9500 * US)
                DO(sleeper[i], threadDelay, 1 * US);
        }
    }
    return (double)(time_of(honest) - before) / (2000.0 * MS);
}

Test(sched, an_honest_actor_keeps_its_share_beside_one_that_sleeps_in_time)
{
    double share = share_beside_sleepers(1);
    cr_assert_geq(share, 0.4, "%.2f", share);
}

Test(sched, an_honest_actor_keeps_its_share_beside_many_that_sleep_in_time)
{
    double share = share_beside_sleepers(10);
    cr_assert_geq(share, 0.8 / 11, "%.3f", share);
}

Test(sched, yield_lets_equals_go_first)
{
    struct actor *actor = actor_new(K_USERACTOR);
    struct thread *first = fifo(actor, 100), *second = fifo(actor, 100), *worse = fifo(actor, 101);
    DO(first, threadYield);
    cr_assert(runs(second));
    DO(second, threadYield);
    cr_assert(runs(first));
    DO(second->state == THREAD_RUNNING ? second : first, threadExit);
    struct thread *left = runs(second) ? second : first;
    cr_assert(runs(left));
    DO(left, threadYield);
    cr_assert(runs(left) && !runs(worse));
}

Test(sched, a_changed_priority_counts_at_once)
{
    struct actor *actor = actor_new(K_SYSTEMACTOR);
    struct thread *first = fifo(actor, 100), *second = fifo(actor, 101);
    KnSched sched = { .schedClass = K_SCHED_FIFO, .priority = 99 };
    cr_assert_eq(DO(first, threadScheduler, 0, (uint64_t)second->li, 0, PUT(actor, sched)), K_OK);
    cr_assert(runs(second));
    sched.priority = 105;
    cr_assert_eq(DO(second, threadScheduler, 0, 0, 0, PUT(actor, sched)), K_OK);
    cr_assert(runs(first));
    sched.priority = -1;
    cr_assert_eq(DO(first, threadScheduler, 0, 0, 0, PUT(actor, sched)), K_EINVAL);
}

Test(sched2, two_threads_run_at_once_and_a_third_takes_the_worse_ones_cpu)
{
    struct actor *actor = actor_new(K_USERACTOR);
    struct thread *first = fifo(actor, 100), *second = fifo(actor, 90);
    cr_assert(runs(first) && runs(second));
    struct thread *third = fifo(actor, 80);
    cr_assert(runs(second) && runs(third) && !runs(first));
}

Test(sched2, a_thread_woken_by_one_that_goes_on_gets_an_idle_cpu_soon)
{
    struct actor *actor = actor_new(K_USERACTOR);
    struct thread *first = fifo(actor, 100), *second = fifo(actor, 100);
    DO(second, threadSemWait, (uint64_t)K_FOREVER);
    DO(first, threadSemPost, 0, (uint64_t)second->li);
    cr_assert(!runs(second), "its waker may be about to wait");
    pass(SCHED_SPREAD_AFTER);
    cr_assert(runs(first) && runs(second));
}

Test(sched2, a_woken_thread_leaves_the_nucleus_its_cpu_for_a_while)
{
    struct actor *actor = actor_new(K_USERACTOR);
    struct thread *first = fifo(actor, 100), *second = fifo(actor, 100);
    DO(second, threadSemWait, (uint64_t)K_FOREVER);
    fake_host_spend(1 - fake_host_cpu_of(first));
    DO(first, threadSemPost, 0, (uint64_t)second->li);
    pass(SCHED_SPREAD_AFTER_SPENT - 1000);
    cr_assert(!runs(second));
    pass(1000);
    cr_assert(runs(first) && runs(second));
}

Test(sched2, a_thread_woken_by_one_that_waits_runs_on_its_cpu)
{
    struct actor *actor = actor_new(K_USERACTOR);
    struct thread *first = fifo(actor, 100), *second = fifo(actor, 100);
    DO(second, threadSemWait, (uint64_t)K_FOREVER);
    int cpu = fake_host_cpu_of(first);
    DO(first, threadSemPost, 0, (uint64_t)second->li);
    DO(first, threadSemWait, (uint64_t)K_FOREVER);
    cr_assert_eq(fake_host_cpu_of(second), cpu);
}

Test(sched2, a_bound_thread_runs_on_its_cpu_only)
{
    struct actor *actor = actor_new(K_USERACTOR);
    struct thread *first = fifo(actor, 100);
    int other = 1 - fake_host_cpu_of(first);
    cr_assert_eq(DO(first, threadBind, 0, 0, (uint64_t)other), K_OK);
    cr_assert_eq(fake_host_cpu_of(first), other);
    struct thread *second = fifo(actor, 50);
    DO(second, threadBind, 0, 0, (uint64_t)other);
    cr_assert_eq(fake_host_cpu_of(second), other);
    cr_assert(!runs(first), "though the other CPU is idle");
    cr_assert_eq(DO(second, threadBind, 0, 0, 2), K_EINVAL);
    cr_assert_eq(DO(second, threadBind, 0, 0, (uint64_t)-1), K_OK);
    cr_assert_eq(DO(second, threadBind, 0, (uint64_t)first->li, (uint64_t)-1), K_OK);
    pass(MS);
    cr_assert(runs(first) && runs(second));
}

Test(sched2, a_lost_cpu_goes_to_others_and_its_thread_comes_back)
{
    struct actor *actor = actor_new(K_USERACTOR);
    struct thread *first = fifo(actor, 100), *second = fifo(actor, 100);
    fake_host_ignore_preemptions(true);
    struct thread *third = fifo(actor, 50);
    cr_assert(!runs(third));
    int cpu = fake_host_preemption_wanted(0) ? 0 : 1;
    struct thread *stuck = fake_host_running(cpu)->owner;
    cr_assert(stuck == first || stuck == second);
    fake_host_lose(cpu);
    settle();
    cr_assert_eq(fake_host_cpu_of(third), cpu);
    cr_assert_eq(stuck->state, THREAD_RUNNING);
    fake_host_regain(stuck->context);
    settle();
    cr_assert_eq(stuck->state, THREAD_READY);
    fake_host_ignore_preemptions(false);
    DO(third, threadExit);
    pass(MS);
    cr_assert(runs(first) && runs(second));
}

Test(sched2, a_lost_thread_may_be_killed)
{
    struct actor *actor = actor_new(K_USERACTOR), *victim = actor_new(K_USERACTOR);
    struct thread *first = fifo(actor, 100), *lost = fifo(victim, 100);
    fake_host_ignore_preemptions(true);
    int cpu = fake_host_cpu_of(lost);
    DO(first, threadStop, cap_of(victim, actor), 1);
    fake_host_lose(cpu);
    settle();
    struct host_context *context = lost->context;
    thread_kill(lost);
    settle();
    fake_host_regain(context);
    settle();
    cr_assert_eq(thread_count(), 1);
}
