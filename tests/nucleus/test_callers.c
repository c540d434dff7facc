/* Programs that do little but call a server: who gets the CPUs then. */
#include "site.h"

#include <string.h>

static struct thread *handler;
static const uint64_t arguments[6];

static void one_cpu(void)
{
    site_start_with(1);
}
static void two_cpus(void)
{
    site_start_with(2);
}

TestSuite(callers1, .init = one_cpu, .fini = site_end);
TestSuite(callers2, .init = two_cpus, .fini = site_end);

static bool runs(const struct thread *thread)
{
    return fake_host_cpu_of(thread) >= 0;
}

static uint64_t answer, request, port; /* in its memory */

static void handler_new(void)
{
    struct actor *actor = actor_new(K_SYSTEMACTOR);
    uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    KnTrapReply reply = { .action = K_DO_RETURN };
    memcpy(annex, &reply, sizeof reply);
    KnMsgDesc desc = { .annexAddr = (void *)put(actor, annex, sizeof annex) };
    answer = PUT(actor, desc);
    desc.annexAddr = (void *)room(actor, K_CMSGANNEXSIZE);
    request = PUT(actor, desc);
    port = room(actor, sizeof(int));
    handler = thread_new_with(actor, K_SCHED_RR, K_PRIO_SERVER);
    DO(handler, ipcReceive, request, port, (uint64_t)K_FOREVER);
}

/* A program whose traps the handler answers. */
static struct thread *program_new(void)
{
    struct thread *helper = thread_new_with(actor_new(K_SYSTEMACTOR), K_SCHED_RR, K_PRIO_SERVER);
    struct actor *actor = actor_new(K_USERACTOR);
    KnTrapConnect connect = { .what = K_CONNECT_TRAP, .port = handler->actor->default_port->ui };
    cr_assert_eq(DO(helper, actorTrapConnect, cap_of(actor, helper->actor), PUT(helper->actor, connect)), K_OK);
    DO(helper, threadExit);
    return thread_new_with(actor, K_SCHED_RR, K_PRIO_USER);
}

/* It runs for <time> and traps; the handler answers at once. */
static void call_after(struct thread *program, KnTime time)
{
    fake_host_time += time;
    cr_assert(runs(program));
    trap_by(program, 39, arguments);
    cr_assert(runs(handler) && !waits(handler), "the handler has a better priority");
    DO(handler, ipcReplyReceive, answer, request, port, (uint64_t)K_FOREVER);
    cr_assert(waits(handler));
}

Test(callers1, a_call_does_not_cost_the_turn)
{
    handler_new();
    struct thread *one = program_new(), *two = program_new();
    pass(40 * MS); /* neither is light any more */
    struct thread *running = runs(one) ? one : two, *other = runs(one) ? two : one;
    for (int i = 0; i < 50; i++) {
        call_after(running, 10 * US);
        cr_assert(runs(running) && !runs(other), "call %d", i);
    }
}

Test(callers1, calls_are_no_way_to_keep_the_cpu)
{
    handler_new();
    struct thread *one = program_new(), *two = program_new();
    pass(40 * MS);
    struct thread *running = runs(one) ? one : two, *other = runs(one) ? two : one;
    KnTime used = 0;
    while (runs(running) && used < 3 * SCHED_SLICE_DEFAULT) {
        call_after(running, 100 * US);
        used += 100 * US;
    }
    cr_assert(runs(other));
    cr_assert_leq(used, SCHED_SLICE_DEFAULT + 100 * US);
}

static int count_running(struct thread *const threads[3])
{
    return runs(threads[0]) + runs(threads[1]) + runs(threads[2]);
}

/* Those that run call every 2 us. Returns in how many of the rounds one alone ran; calls[] are counted. */
static int call_around(struct thread *const threads[3], int rounds, int calls[3])
{
    int alone = 0;
    for (int round = 0; round < rounds; round++) {
        alone += count_running(threads) == 1;
        for (int i = 0; i < 3; i++)
            if (runs(threads[i])) {
                call_after(threads[i], 2 * US);
                calls[i]++;
            }
    }
    return alone;
}

static void three_callers(struct thread *threads[3])
{
    int calls[3] = { 0 };
    handler_new();
    for (int i = 0; i < 3; i++)
        threads[i] = program_new();
    call_around(threads, 30000, calls); /* all have had their turn, and are known */
}

Test(callers2, the_last_cpu_is_the_nucleus_s_while_all_are_callers)
{
    struct thread *threads[3];
    three_callers(threads);
    int calls[3] = { 0 }, rounds = 60000;
    cr_expect_geq(call_around(threads, rounds, calls), rounds * 9 / 10);
    for (int i = 0; i < 3; i++)
        cr_expect_geq(calls[i], rounds / 5, "program %d had %d of %d calls", i, calls[i], rounds);
}

Test(callers2, one_that_computes_leaves_the_other_cpu_to_the_rest)
{
    struct thread *threads[3];
    three_callers(threads);
    pass(3 * MS); /* it calls nobody */
    cr_assert_eq(count_running(threads), 2);
}

Test(callers2, a_program_that_computes_gets_the_cpu_beside_one_that_calls)
{
    handler_new();
    struct thread *caller = program_new();
    for (int i = 0; i < 200; i++)
        call_after(caller, 2 * US);
    struct thread *honest = program_new();
    pass(SCHED_SPREAD_AFTER_SPENT);
    cr_assert(runs(honest) && runs(caller));
    for (int i = 0; i < 200; i++) {
        call_after(caller, 2 * US);
        cr_assert(runs(honest), "call %d", i);
    }
}

Test(callers2, one_that_would_never_have_its_turn_gets_the_other_cpu)
{
    struct thread *threads[3];
    int calls[3] = { 0 };
    three_callers(threads);
    for (int i = 0; i < 3; i++)
        if (runs(threads[i]))
            threads[i]->sched.priority--; /* better than the others */
    int alone = call_around(threads, 60000, calls);
    cr_expect_lt(alone, 60000, "%d of 60000", alone);
    cr_expect_gt(calls[0] + calls[1] + calls[2], 60000 + 20000, "%d %d %d", calls[0], calls[1], calls[2]);
}

/* Two that sleep and run a little by turns, begun on two CPUs. Returns in how many rounds the second ran where the first had. */
static int sleep_by_turns(KnTime runs_for)
{
    struct thread *one = thread_new_with(actor_new(K_SYSTEMACTOR), K_SCHED_RR, K_PRIO_USER), *two = thread_new_with(actor_new(K_SYSTEMACTOR), K_SCHED_RR, K_PRIO_USER);
    int same = 0;

    pass(1 * MS);
    cr_assert(runs(one) && runs(two));
    DO(one, threadDelay, (uint64_t)(1 * MS));
    DO(two, threadDelay, (uint64_t)(2 * MS));
    one->run_average = two->run_average = runs_for;
    for (int round = 0; round < 20; round++) {
        pass(1 * MS);
        cr_assert(runs(one) && !runs(two));
        int cpu = fake_host_cpu_of(one);
        fake_host_time += runs_for;
        DO(one, threadDelay, (uint64_t)(2 * MS - runs_for));
        pass(1 * MS);
        cr_assert(runs(two) && !runs(one));
        same += fake_host_cpu_of(two) == cpu;
        fake_host_time += runs_for;
        DO(two, threadDelay, (uint64_t)(2 * MS - runs_for));
    }
    return same;
}

Test(callers2, those_who_wait_by_turns_leave_the_nucleus_a_cpu)
{
    cr_expect_eq(sleep_by_turns(2 * US), 20);
}

Test(callers2, those_who_run_longer_keep_the_cpu_where_their_memory_is_warm)
{
    cr_expect_eq(sleep_by_turns(100 * US), 0);
}

/* ---- a server's patience ---- */

static struct thread *programs[2];

/* Both are known as callers; one runs, and the other CPU is the Nucleus's. */
static void two_callers(void)
{
    handler_new();
    programs[0] = program_new();
    programs[1] = program_new();
    for (int round = 0; round < 30000; round++)
        for (int i = 0; i < 2; i++)
            if (runs(programs[i]))
                call_after(programs[i], 2 * US);
    cr_assert_eq(runs(programs[0]) + runs(programs[1]), 1);
    fake_host_spend(1 - fake_host_cpu_of(runs(programs[0]) ? programs[0] : programs[1]));
}

static void answer_by_id(KnMsgId id)
{
    KnMsgDesc desc = message_desc(handler->actor, answer);
    desc.flags = K_MSG_BYID;
    desc.id = id;
    cr_assert_eq(DO(handler, ipcReply, PUT(handler->actor, desc)), K_OK);
}

/* Each has trapped, and the handler has answered both in one go. Returns who runs. */
static struct thread *both_answered(void)
{
    struct thread *first = runs(programs[0]) ? programs[0] : programs[1], *second = programs[first == programs[0]];
    KnMsgDesc desc = message_desc(handler->actor, request);
    desc.flags = K_MSG_PARK;
    uint64_t parking = PUT(handler->actor, desc);
    trap_by(first, 39, arguments);
    cr_assert(runs(handler));
    KnMsgId id = message_desc(handler->actor, request).id;
    DO(handler, ipcReplyReceive, 0, parking, port, (uint64_t)K_FOREVER);
    cr_assert(runs(second));
    trap_by(second, 39, arguments);
    answer_by_id(id);
    cr_assert(runs(handler) && !waits(handler));
    DO(handler, ipcReplyReceive, answer, request, port, (uint64_t)K_FOREVER);
    cr_assert_eq(runs(first) + runs(second), 1);
    return runs(first) ? first : second;
}

Test(callers2, callers_that_were_answered_together_are_served_together)
{
    two_callers();
    struct thread *first = both_answered(), *second = programs[first == programs[0]];
    uint64_t switches = handler->switches;
    trap_by(first, 39, arguments);
    cr_assert(runs(second) && !runs(handler));
    trap_by(second, 39, arguments);
    cr_assert(runs(handler));
    DO(handler, ipcReplyReceive, answer, request, port, (uint64_t)K_FOREVER);
    cr_assert(runs(handler) && !waits(handler), "the second trap is at hand");
    DO(handler, ipcReplyReceive, answer, request, port, (uint64_t)K_FOREVER);
    cr_assert_eq(handler->switches, switches + 1);
}

Test(callers2, a_server_waits_no_longer_than_a_caller_runs)
{
    two_callers();
    struct thread *first = both_answered(), *second = programs[first == programs[0]];
    trap_by(first, 39, arguments);
    cr_assert(runs(second));
    pass(SCHED_CALLER - 1 * US);
    cr_assert(runs(second));
    pass(2 * US);
    cr_assert(runs(handler) && !runs(second));
}

Test(callers2, a_server_is_patient_only_while_the_nucleus_has_a_cpu)
{
    two_callers();
    struct thread *first = both_answered();
    fake_host_spend(-1);
    trap_by(first, 39, arguments);
    cr_assert(runs(handler));
}

Test(callers2, one_that_computes_does_not_go_first)
{
    two_callers();
    struct thread *first = both_answered(), *second = programs[first == programs[0]];
    second->run_average = SCHED_CALLER;
    trap_by(first, 39, arguments);
    cr_assert(runs(handler));
}

/* Whichever of the two workers was given the first message: it runs. */
static struct thread *worker_that_runs(struct thread *other)
{
    cr_assert_eq(runs(handler) + runs(other), 1);
    return runs(handler) ? handler : other;
}

static struct thread *second_worker(void)
{
    struct thread *other = thread_new_with(handler->actor, K_SCHED_RR, K_PRIO_SERVER);
    KnMsgDesc desc = { .annexAddr = (void *)room(handler->actor, K_CMSGANNEXSIZE) };
    DO(other, ipcReceive, PUT(handler->actor, desc), room(handler->actor, sizeof(int)), (uint64_t)K_FOREVER);
    return other;
}

Test(callers2, what_was_kept_for_a_server_that_waits_goes_to_another)
{
    two_callers();
    struct thread *first = both_answered(), *second = programs[first == programs[0]], *other = second_worker();
    trap_by(first, 39, arguments);
    cr_assert(runs(second));
    trap_by(second, 39, arguments);
    struct thread *worker = worker_that_runs(other), *idle = worker == handler ? other : handler;
    cr_assert(waits(idle));
    DO(worker, threadDelay, (uint64_t)(5 * MS));
    cr_assert(waits(worker) && runs(idle) && !waits(idle), "it serves the second trap");
}

Test(callers2, a_patient_server_that_is_stopped_is_not_waited_for)
{
    two_callers();
    struct thread *first = both_answered(), *second = programs[first == programs[0]], *other = second_worker();
    trap_by(first, 39, arguments);
    cr_assert(runs(second));
    struct thread *patient = handler->state == THREAD_READY ? handler : other, *idle = patient == handler ? other : handler;
    thread_stop(patient, STOPPED_BY_THREADSTOP);
    trap_by(second, 39, arguments);
    cr_assert(runs(idle) && !waits(idle), "it serves the second trap");
    thread_start(patient, STOPPED_BY_THREADSTOP);
    settle();
}

/* A supervisor actor that serves by a message handler. */
static KnUniqueId lender_new(void)
{
    struct actor *actor = actor_new(K_SUPACTOR);
    struct thread *lender = thread_new_with(actor, K_SCHED_RR, K_PRIO_SERVER);
    int li;
    KnUniqueId service = port_new(actor, &li);
    KnHandlerBlock block = { .bodyRoom = 0 };
    uint64_t at = (room(actor, 3 * PAGE_SIZE) + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
    cr_assert_eq(vm_copy_out(NULL, actor, at, &block, sizeof block), K_OK);
    cr_assert_eq(DO(lender, svMsgHandler, 0, (uint64_t)li, 0x1234560, 0, 0), K_OK);
    DO(lender, svHandlerWait, at);
    cr_assert(waits(lender));
    return service;
}

Test(callers2, what_was_kept_for_a_server_that_passes_its_cpu_on_goes_to_another)
{
    KnUniqueId service = lender_new();
    two_callers();
    struct thread *first = both_answered(), *second = programs[first == programs[0]], *other = second_worker();
    trap_by(first, 39, arguments);
    cr_assert(runs(second));
    trap_by(second, 39, arguments);
    struct thread *worker = worker_that_runs(other), *idle = worker == handler ? other : handler;
    struct actor *actor = worker->actor;
    size_t passes = nucleus_counters.passes;
    DO(worker, ipcCall, message(actor, 0, NULL, 0, 0), 0, dest_to(actor, &service, K_PORTMODE), message(actor, 0, NULL, 0, 0), (uint64_t)K_FOREVER);
    cr_assert_eq(nucleus_counters.passes, passes + 1);
    cr_assert(waits(worker));
    cr_assert_eq(idle->state, THREAD_READY, "it serves the second trap as soon as there is a CPU");
}
