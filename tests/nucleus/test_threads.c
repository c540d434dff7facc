/* Actors, threads, waits and aborts. */
#include "site.h"

#include <stdlib.h>
#include <string.h>

TestSuite(threads, .init = site_start, .fini = site_end);

Test(threads, an_unknown_call_is_refused)
{
    struct thread *thread = user_new();
    cr_assert_eq(call_by(thread, 0, (const uint64_t[6]){ 0 }), K_ENOSYS);
    cr_assert_eq(call_by(thread, 19, (const uint64_t[6]){ 0 }), K_ENOSYS);
    cr_assert_eq(call_by(thread, 100000, (const uint64_t[6]){ 0 }), K_ENOSYS);
    cr_assert_eq(call_by(thread, UINT32_MAX, (const uint64_t[6]){ 0 }), K_ENOSYS);
}

Test(threads, bad_capabilities_are_refused)
{
    struct thread *thread = user_new();
    struct actor *other = actor_new(K_USERACTOR);
    KnCap cap = other->cap;
    cap.key ^= 1;
    cr_assert_eq(DO(thread, actorDelete, PUT(thread->actor, cap)), K_EUNKNOWN);
    cr_assert_eq(DO(thread, actorDelete, 0xdead000), K_EFAULT);
    cap = (KnCap){ .ui = { 1, 2 }, .key = 3 };
    cr_assert_eq(DO(thread, threadStop, PUT(thread->actor, cap), 1), K_EUNKNOWN);
    cr_assert_eq(DO(thread, threadStop, cap_of(other, thread->actor), 5), K_EUNKNOWN);
    cr_assert_eq(DO(thread, threadStop, 0, 77), K_EUNKNOWN);
    cr_assert_eq(DO(thread, threadStop, cap_of(other, thread->actor), 0), K_EUNKNOWN);
}

Test(threads, a_user_actor_gets_no_privilege)
{
    struct thread *thread = user_new();
    uint64_t cap = room(thread->actor, sizeof(KnCap));
    cr_assert_eq(DO(thread, actorCreate, 0, cap, K_SYSTEMACTOR, K_ACTIVE), K_EPRIV);
    cr_assert_eq(DO(thread, actorCreate, 0, cap, K_SUPACTOR, K_ACTIVE), K_EPRIV);
    cr_assert_eq(DO(thread, actorCreate, 0, cap, 3, K_ACTIVE), K_EINVAL);
    int system = K_SYSTEMACTOR;
    cr_assert_eq(DO(thread, actorPrivilege, 0, 0, PUT(thread->actor, system)), K_EPRIV);
    KnProtId pi = { .uid = 5 };
    cr_assert_eq(DO(thread, actorPi, 0, 0, PUT(thread->actor, pi)), K_EPRIV);
    cr_assert_eq(DO(thread, sysShutdown, 0, 0), K_EPRIV);
    cr_assert_eq(DO(thread, deviceOpen, 0), K_EPRIV);
    KnSched sched = { .priority = 10 };
    cr_assert_eq(DO(thread, threadScheduler, 0, 0, 0, PUT(thread->actor, sched)), K_EPRIV);
}

Test(threads, a_user_actor_cannot_escape_its_slice)
{
    struct thread *thread = thread_new_with(actor_new(K_USERACTOR), K_SCHED_RR, 128);
    struct actor *actor = thread->actor;
    KnSched sched = { .schedClass = K_SCHED_FIFO, .priority = 128 };
    KnThreadStart start = { .entry = 0x400000 };
    cr_assert_eq(DO(thread, threadScheduler, 0, 0, 0, PUT(actor, sched)), K_EPRIV);
    cr_assert_eq(DO(thread, threadCreate, 0, 0, K_INACTIVE, PUT(actor, sched), PUT(actor, start)),
                 K_EPRIV);
    sched = (KnSched){ .schedClass = K_SCHED_RR, .priority = 128, .slice = 1000 * MS };
    cr_assert_eq(DO(thread, threadScheduler, 0, 0, 0, PUT(actor, sched)), K_EPRIV);
    sched.slice = 1 * MS;
    sched.priority = 130;
    cr_assert_eq(DO(thread, threadScheduler, 0, 0, 0, PUT(actor, sched)), K_OK);
    sched.priority = 129;
    cr_assert_eq(DO(thread, threadScheduler, 0, 0, 0, PUT(actor, sched)), K_EPRIV);
}

Test(threads, a_user_actor_logs_no_more_than_its_share)
{
    struct thread *thread = user_new();
    uint64_t text = put(thread->actor, "x", 1);
    int logged = 0;
    while (logged < 5000 && DO(thread, sysLog, text, 1) == K_OK)
        logged++;
    cr_assert(logged >= ACTOR_LOG_BURST && logged <= ACTOR_LOG_BURST + 2, "%d", logged);
    pass(1000 * MS);
    for (int i = 0; i < ACTOR_LOG_RATE; i++)
        cr_assert_eq(DO(thread, sysLog, text, 1), K_OK);
    cr_assert_eq(DO(thread, sysLog, text, 1025), K_ETOOMUCH);
    cr_assert_eq(DO(thread, sysLog, 0xbad000, 5), K_EFULL);
}

Test(threads, an_actor_is_made_named_and_deleted)
{
    struct thread *thread = user_new();
    uint64_t cap = room(thread->actor, sizeof(KnCap));
    cr_assert_eq(DO(thread, actorCreate, 0, cap, K_USERACTOR, K_ACTIVE), K_OK);
    cr_assert_eq(actor_count(), 2);
    char name[] = "a\nname that is far too long for it", back[K_NAMEMAX];
    cr_assert_eq(DO(thread, actorName, cap, 0, put(thread->actor, name, sizeof name)), K_OK);
    uint64_t old = room(thread->actor, K_NAMEMAX);
    cr_assert_eq(DO(thread, actorName, cap, old, 0), K_OK);
    get(thread->actor, old, back, sizeof back);
    cr_assert_str_eq(back, "a?name that is far too long for");
    cr_assert_eq(DO(thread, actorDelete, cap), K_OK);
    cr_assert_eq(actor_count(), 1);
    cr_assert_eq(DO(thread, actorDelete, cap), K_EUNKNOWN);
}

Test(threads, a_capability_that_has_no_place_makes_no_actor)
{
    struct thread *thread = user_new();
    cr_assert_eq(DO(thread, actorCreate, 0, 0x999000, K_USERACTOR, K_ACTIVE), K_EFAULT);
    cr_assert_eq(DO(thread, actorCreate, 0, 0, K_USERACTOR, K_ACTIVE), K_EINVAL);
    cr_assert_eq(actor_count(), 1);
}

Test(threads, the_number_of_actors_is_bounded)
{
    struct thread *thread = user_new();
    uint64_t cap = room(thread->actor, sizeof(KnCap));
    int64_t status;
    size_t made = 1;
    while ((status = DO(thread, actorCreate, 0, cap, K_USERACTOR, K_ACTIVE)) == K_OK)
        made++;
    cr_assert_eq(status, K_ELIMIT);
    cr_assert_eq(made, 512);
}

Test(threads, an_actor_that_deletes_itself_is_gone)
{
    struct thread *thread = user_new();
    cr_assert_eq(DO(thread, actorDelete, 0), K_BLOCKED);
    cr_assert_eq(actor_count_existing(), 0);
}

static KnThreadStart start_at(VmAddr entry)
{
    return (KnThreadStart){ .entry = entry, .stack = 0x9000, .argument = 42, .cookie = 17 };
}

Test(threads, a_thread_needs_an_entry_and_a_sane_class)
{
    struct thread *thread = user_new();
    struct actor *actor = thread->actor;
    KnThreadStart start = start_at(0);
    cr_assert_eq(DO(thread, threadCreate, 0, 0, K_ACTIVE, 0, PUT(actor, start)), K_EINVAL);
    start = start_at(0x400000);
    cr_assert_eq(DO(thread, threadCreate, 0, 0, 7, 0, PUT(actor, start)), K_EINVAL);
    cr_assert_eq(DO(thread, threadCreate, 0, 0, K_ACTIVE, 0, 0), K_EINVAL);
    KnSched sched = { .priority = 256 };
    cr_assert_eq(DO(thread, threadCreate, 0, 0, K_ACTIVE, PUT(actor, sched), PUT(actor, start)),
                 K_EINVAL);
    sched.priority = 3;
    cr_assert_eq(DO(thread, threadCreate, 0, 0, K_ACTIVE, PUT(actor, sched), PUT(actor, start)),
                 K_EPRIV);
    cr_assert_eq(DO(thread, threadCreate, 0, 0x123, K_ACTIVE, 0, PUT(actor, start)), K_EFAULT);
    start.flags = K_START_COPY;
    start.sourceThread = 99;
    cr_assert_eq(DO(thread, threadCreate, 0, 0, K_ACTIVE, 0, PUT(actor, start)), K_EUNKNOWN);
    start.sourceThread = K_MYSELF;
    cr_assert_eq(DO(thread, threadCreate, 0, 0, K_ACTIVE, 0, PUT(actor, start)), K_EBUSY);
    cr_assert_eq(thread_count(), 1);
}

Test(threads, a_new_thread_starts_where_it_was_told)
{
    struct thread *thread = user_new();
    struct actor *actor = thread->actor;
    KnThreadStart start = start_at(0x400000);
    uint64_t li_at = room(actor, 4);
    int64_t li = DO(thread, threadCreate, 0, li_at, K_INACTIVE, 0, PUT(actor, start));
    cr_assert_gt(li, 0);
    int32_t stored;
    get(actor, li_at, &stored, sizeof stored);
    cr_assert_eq(stored, li);
    struct thread *made = id_table_find(&actor->thread_ids, li);
    cr_assert_eq(fake_host_cpu_of(made), -1);
    cr_assert_eq(made->context->registers.rip, 0x400000);
    cr_assert_eq(made->context->registers.rdi, 42);
    cr_assert_eq(DO(thread, threadActivate, 0, (uint64_t)li), K_OK);
    pass(100 * US);
    cr_assert_geq(fake_host_cpu_of(made), 0);
    cr_assert_eq(DO(made, threadSelf), li);
    cr_assert_eq(DO(thread, threadDelete, 0, (uint64_t)li), K_OK);
    settle();
    cr_assert_eq(thread_count(), 1);
}

Test(threads, a_thread_ends_itself)
{
    struct thread *thread = user_new(), *other = thread_new(thread->actor);
    cr_assert_eq(DO(other, threadExit), K_BLOCKED);
    cr_assert_eq(thread_count(), 1);
    cr_assert_eq(DO(thread, sysNull), K_OK);
}

Test(threads, a_delay_lasts_as_long_as_it_says)
{
    struct thread *thread = user_new();
    cr_assert_eq(DO(thread, threadDelay, 0), K_OK);
    cr_assert_eq(DO(thread, threadDelay, 5 * MS), K_BLOCKED);
    pass(4 * MS);
    cr_assert(waits(thread));
    pass(1 * MS);
    cr_assert_eq(result_of(thread), K_OK);
}

Test(threads, an_abort_ends_a_wait_and_does_not_stay)
{
    struct thread *thread = user_new(), *other = thread_new(thread->actor);
    cr_assert_eq(DO(thread, threadDelay, (uint64_t)K_FOREVER), K_BLOCKED);
    cr_assert_eq(DO(other, threadAbort, 0, (uint64_t)thread->li), K_OK);
    cr_assert_eq(result_of(thread), K_EABORT);
    cr_assert_eq(DO(thread, threadAborted), 0);
}

Test(threads, an_abort_of_a_running_thread_is_remembered_once)
{
    struct thread *thread = user_new(), *other = thread_new(thread->actor);
    cr_assert_eq(DO(other, threadAbort, 0, (uint64_t)thread->li), K_OK);
    cr_assert_eq(DO(thread, threadAborted), 1);
    cr_assert_eq(DO(thread, threadAborted), 0);
    cr_assert_eq(DO(other, threadAbort, 0, (uint64_t)thread->li), K_OK);
    cr_assert_eq(DO(other, threadAbort, 0, (uint64_t)thread->li), K_OK);
    cr_assert_eq(DO(thread, threadDelay, (uint64_t)K_FOREVER), K_EABORT);
    cr_assert_eq(DO(thread, threadDelay, (uint64_t)(1 * MS)), K_BLOCKED);
    pass(1 * MS);
    cr_assert_eq(result_of(thread), K_OK);
}

Test(threads, a_semaphore_remembers_one_post)
{
    struct thread *thread = user_new(), *other = thread_new(thread->actor);
    cr_assert_eq(DO(other, threadSemPost, 0, (uint64_t)thread->li), K_OK);
    cr_assert_eq(DO(other, threadSemPost, 0, (uint64_t)thread->li), K_OK);
    cr_assert_eq(DO(thread, threadSemWait, (uint64_t)K_FOREVER), K_OK);
    cr_assert_eq(DO(thread, threadSemWait, 2 * MS), K_BLOCKED);
    pass(2 * MS);
    cr_assert_eq(result_of(thread), K_ETIMEOUT);
    cr_assert_eq(DO(thread, threadSemWait, (uint64_t)K_FOREVER), K_BLOCKED);
    cr_assert_eq(DO(other, threadSemPost, 0, (uint64_t)thread->li), K_OK);
    cr_assert_eq(result_of(thread), K_OK);
}

Test(threads, a_stopped_thread_does_not_run_and_its_registers_can_be_changed)
{
    struct thread *thread = user_new(), *other = thread_new(thread->actor);
    struct actor *actor = thread->actor;
    uint64_t context = room(actor, sizeof(KnThreadCtx)), li = (uint64_t)other->li;
    cr_assert_eq(DO(thread, threadContext, 0, li, context, 0, 0), K_EBUSY);
    cr_assert_eq(DO(thread, threadStop, 0, li), K_OK);
    settle();
    cr_assert_eq(fake_host_cpu_of(other), -1);
    cr_assert_eq(DO(thread, threadContext, 0, li, context, 0, 0), K_OK);
    KnThreadCtx registers;
    get(actor, context, &registers, sizeof registers);
    cr_assert_eq(registers.rip, 0x400000);
    registers.rip = 1ull << 60;
    registers.flags = K_CTX_GENERAL;
    cr_assert_eq(DO(thread, threadContext, 0, li, 0, PUT(actor, registers), 0), K_EINVAL);
    registers.rip = 0x500000;
    cr_assert_eq(DO(thread, threadContext, 0, li, 0, PUT(actor, registers), 0), K_OK);
    cr_assert_eq(DO(thread, threadStart, 0, li), K_OK);
    pass(100 * US);
    cr_assert_geq(fake_host_cpu_of(other), 0);
    cr_assert_eq(other->context->registers.rip, 0x500000);
}

Test(threads, stopping_an_actor_stops_all_its_threads_and_new_ones)
{
    struct thread *boss = user_new(), *first = user_new(), *second = thread_new(first->actor);
    uint64_t cap = cap_of(first->actor, boss->actor);
    cr_assert_eq(DO(boss, actorStop, cap), K_OK);
    settle();
    struct thread *third = thread_new(first->actor);
    pass(100 * US);
    cr_assert_eq(fake_host_cpu_of(first), -1);
    cr_assert_eq(fake_host_cpu_of(second), -1);
    cr_assert_eq(fake_host_cpu_of(third), -1);
    cr_assert_eq(DO(boss, actorStart, cap), K_OK);
    pass(100 * US);
    cr_assert_geq(fake_host_cpu_of(first), 0);
    cr_assert_geq(fake_host_cpu_of(second), 0);
    cr_assert_geq(fake_host_cpu_of(third), 0);
}

Test(threads, statistics_describe_each_once)
{
    struct thread *thread = user_new();
    struct actor *actor = thread->actor;
    uint64_t stat_at = room(actor, sizeof(KnActorStat));
    KnActorStat stat;
    cr_assert_eq(DO(thread, actorStat, 0, stat_at), K_OK);
    get(actor, stat_at, &stat, sizeof stat);
    cr_assert(uiEqual(&stat.ui, &actor->cap.ui));
    cr_assert_eq(stat.threads, 1);
    cr_assert_eq(stat.ports, 1);
    cr_assert_eq(DO(thread, actorStat, 1, stat_at), K_EUNKNOWN);
    cr_assert_eq(DO(thread, threadStat, 0, 0, stat_at), K_OK);
    cr_assert_eq(DO(thread, threadStat, 0, 1, stat_at), K_EUNKNOWN);
    cr_assert_eq(DO(thread, threadStat, 0, UINT64_MAX, stat_at), K_EUNKNOWN);
}

Test(threads, cpu_time_is_counted)
{
    struct thread *thread = user_new();
    uint64_t times_at = room(thread->actor, sizeof(KnThreadTimes));
    pass(30 * MS);
    cr_assert_eq(DO(thread, threadTimes, 0, 0, times_at), K_OK);
    KnThreadTimes times;
    get(thread->actor, times_at, &times, sizeof times);
    cr_assert_eq(times.total, 30 * MS);
}

Test(threads, an_actor_whose_process_is_killed_is_deleted_with_a_line_in_the_log)
{
    struct thread *thread = user_new(), *other = user_new();
    memcpy(thread->actor->name, "victim", 7);
    host_space_destroy(thread->actor->host);
    struct host_event event;
    fake_host_time_limit = fake_host_time;
    host_wait(&event, 0);
    event.code = HOST_DEAD_KILLED;
    fake_host_post(&event);
    settle();
    cr_assert_eq(actor_count(), 1);
    cr_assert(strstr(fake_host_log, "victim") != NULL &&
              strstr(fake_host_log, "was killed") != NULL);
    cr_assert_eq(DO(other, sysNull), K_OK);
}

/* Structures of all sorts: zeros, small numbers, names of the actor's own objects, addresses,
 * noise. */
static void fill_with_anything(struct actor *actor)
{
    uint64_t words[128];
    for (size_t i = 0; i < 128; i++) {
        const uint64_t values[] = {
            0,      1, 2, 0x10000000, 0x1000, UINT64_MAX, (uint64_t)rand() << 33 | (unsigned)rand(),
            0x10000
        };
        words[i] = values[(unsigned)rand() % 8];
        if (rand() % 8 == 0 && i < 126) {
            memcpy(&words[i], &actor->cap, sizeof actor->cap);
            i += 1;
        } else if (rand() % 8 == 0) {
            memcpy(&words[i], &actor->default_port->ui, sizeof words[i]);
        }
    }
    cr_assert_eq(vm_copy_out(NULL, actor, 0x10000000, words, sizeof words), K_OK);
}

Test(threads, every_call_survives_arguments_of_all_sorts)
{
    struct thread *keeper = thread_new(actor_new(K_SYSTEMACTOR));
    srand(getenv("SEED") != NULL ? (unsigned)atoi(getenv("SEED")) : 1);
    for (unsigned number = 1; number < 192; number++) {
        if (number == CALL_sysShutdown)
            continue;
        for (int round = 0; round < 40; round++) {
            struct actor *actor = actor_new(rand() % 4 == 0 ? K_USERACTOR : K_SYSTEMACTOR);
            const KnUniqueId ui = actor->cap.ui;
            struct thread *thread = thread_new(actor);
            uint64_t arg[6];
            const uint64_t values[] = { 0,
                                        1,
                                        2,
                                        3,
                                        0x1000,
                                        UINT64_MAX,
                                        (uint64_t)INT64_MIN,
                                        0x10000000,
                                        0x10000008,
                                        0x10000040,
                                        0x10000100,
                                        0x10000123,
                                        0x7fffffffffff,
                                        0xffff800000000000,
                                        0x13fffff8,
                                        UINT32_MAX,
                                        INT32_MAX };
            fill_with_anything(actor);
            for (int i = 0; i < 6; i++)
                arg[i] = values[(unsigned)rand() % (sizeof values / sizeof *values)];
            call_by(thread, number, arg);
            if (actor_by_ui(&ui) == actor)
                actor_kill(actor, K_OK, NULL);
            settle();
            for (int i = 0; i < 4; i++)
                pass(60 * US);
        }
    }
    cr_assert_eq(DO(keeper, sysNull), K_OK);
}
