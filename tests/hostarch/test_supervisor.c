/* Actors in the Nucleus's own process, on the real machine: the Nucleus's part is played by the tests. */
#include <criterion/criterion.h>
#include <chorus.h>
#include <host/event.h>
#include <host/supervisor.h>
#include <hostarch.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include "supervisor_actors.h"

#define MILLISECOND 1000000ll
#define STACK_PAGES 4
#define TLS_AT 0x4000 /* in the actor's area: code, page, stack, and memory that is not mapped at first */

static frame_t next_frame;

/* One actor: its space, and a thread. */
struct actor {
    struct host_space *space;
    struct host_context *context;
    struct actor_page *page; /* as the test sees it */
    vaddr_t bottom, unmapped;
    uint64_t *tls;
};

static void machine_start(void)
{
    struct hostarch_options options = { .memory = 64 << 20, .cpus = 2, .processes = 4, .log_fd = 2, .seed = 1 };
    cr_assert_eq(hostarch_start(&options), 0);
    next_frame = 0;
}

static void machine_stop(void)
{
    hostarch_stop();
}

TestSuite(supervisor, .init = machine_start, .fini = machine_stop, .timeout = 100);

static void map_pages(struct actor *actor, vaddr_t at, size_t pages, unsigned prot)
{
    host_space_map(actor->space, at, next_frame, pages, prot);
    next_frame += pages;
}

static struct actor actor_make(actor_code *code)
{
    struct actor actor;
    vaddr_t top;
    cr_assert_eq(host_space_create_supervisor(&actor.space, &actor), K_OK);
    host_space_range(actor.space, &actor.bottom, &top);
    vaddr_t page_at = actor.bottom + 0x2000, stack_at = actor.bottom + 0x10000;

    memcpy(host_frame_address(next_frame), __start_actors, (size_t)(__stop_actors - __start_actors));
    map_pages(&actor, actor.bottom, 2, HOST_READ | HOST_EXEC);
    actor.page = host_frame_address(next_frame);
    actor.page->gate = host_space_gate(actor.space);
    map_pages(&actor, page_at, 1, HOST_READ | HOST_WRITE);
    actor.tls = host_frame_address(next_frame);
    map_pages(&actor, actor.bottom + TLS_AT, 1, HOST_READ | HOST_WRITE);
    map_pages(&actor, stack_at, STACK_PAGES, HOST_READ | HOST_WRITE);
    actor.unmapped = actor.bottom + 0x20000;

    actor.context = host_context_create(actor.space, &actor);
    cr_assert_not_null(actor.context);
    vaddr_t entry = actor.bottom + (vaddr_t)((const char *)code - __start_actors);
    host_context_start(actor.context, entry, stack_at + STACK_PAGES * PAGE_SIZE - 8, page_at, actor.bottom + TLS_AT);
    return actor;
}

/* Run it until it traps. */
static struct host_trap run(struct actor *actor, int cpu)
{
    struct host_event event;
    host_cpu_run(cpu, actor->context);
    do
        host_wait(&event, INT64_MAX);
    while (event.kind != HOST_EVENT_TRAP);
    cr_assert_eq(event.trap.context, actor->context);
    cr_assert_eq(event.trap.cpu, cpu);
    cr_expect_not(host_context_running(actor->context));
    return event.trap;
}

static void expect_call(struct actor *actor, uint64_t number)
{
    struct host_trap trap = run(actor, 0);
    cr_assert_eq(trap.kind, HOST_TRAP_CALL, "kind %d at %lx", trap.kind, trap.ip);
    cr_assert_eq(trap.number, number);
}

Test(supervisor, a_bad_address_is_a_fault_of_the_actor)
{
    struct actor actor = actor_make(actor_touches);
    actor.page->value[0] = 0x123456789;
    struct host_trap trap = run(&actor, 0);
    cr_expect_eq(trap.kind, HOST_TRAP_FAULT);
    cr_expect_eq(trap.address, 0x123456789);
    cr_expect_not(trap.write);
    cr_expect_geq(trap.ip, actor.bottom);
}

Test(supervisor, a_bad_stack_is_a_fault_of_the_actor_too)
{
    struct actor actor = actor_make(actor_adds);
    KnThreadCtx context;
    expect_call(&actor, 100);
    host_context_get(actor.context, &context, NULL);
    context.rsp = actor.unmapped + 64;
    context.flags = K_CTX_GENERAL;
    cr_expect_eq(host_context_set(actor.context, &context, NULL), K_OK);
    struct host_trap trap = run(&actor, 0);
    cr_expect_eq(trap.kind, HOST_TRAP_FAULT);
    cr_expect_eq(trap.address, actor.unmapped + 64);

    struct actor other = actor_make(actor_adds);
    expect_call(&other, 100);
}

Test(supervisor, an_address_that_no_machine_has_is_an_exception)
{
    struct actor actor = actor_make(actor_touches);
    actor.page->value[0] = 0x8000000000000000ull;
    struct host_trap trap = run(&actor, 0);
    cr_expect_eq(trap.kind, HOST_TRAP_EXCEPTION);
    cr_expect_eq(trap.number, K_TRAP_FAULT);
}

Test(supervisor, exceptions_have_their_kinds)
{
    struct actor divides = actor_make(actor_divides), illegal = actor_make(actor_is_illegal);
    struct host_trap trap = run(&divides, 0);
    cr_expect_eq(trap.kind, HOST_TRAP_EXCEPTION);
    cr_expect_eq(trap.number, K_TRAP_ARITHMETIC);
    trap = run(&illegal, 1);
    cr_expect_eq(trap.kind, HOST_TRAP_EXCEPTION);
    cr_expect_eq(trap.number, K_TRAP_ILLEGAL);
}

Test(supervisor, memory_comes_when_it_is_mapped_and_goes_when_it_is_not)
{
    struct actor actor = actor_make(actor_touches);
    actor.page->value[0] = actor.unmapped;
    struct host_trap trap = run(&actor, 0);
    cr_expect_eq(trap.kind, HOST_TRAP_FAULT);
    cr_expect_eq(trap.address, actor.unmapped);
    uint64_t *memory = host_frame_address(next_frame);
    *memory = 55;
    host_space_map(actor.space, actor.unmapped, next_frame, 1, HOST_READ);
    cr_expect_eq(host_space_reported(actor.space), host_space_commit(actor.space));
    trap = run(&actor, 0);
    cr_expect_eq(actor.page->value[1], 55);
    cr_expect_eq(trap.kind, HOST_TRAP_FAULT);
    cr_expect(trap.write);
    host_space_protect(actor.space, actor.unmapped, 1, HOST_READ | HOST_WRITE);
    expect_call(&actor, 101);
    cr_expect_eq(*memory, 99);
    host_space_unmap(actor.space, actor.unmapped, 1);
    cr_expect_eq(mprotect((void *)actor.unmapped, PAGE_SIZE, PROT_NONE), 0, "the place stays reserved");
}

Test(supervisor, a_call_arrives_with_its_arguments_and_gets_its_result)
{
    struct actor actor = actor_make(actor_adds);
    struct host_trap trap = run(&actor, 0);
    cr_assert_eq(trap.kind, HOST_TRAP_CALL);
    cr_expect_eq(trap.number, 100);
    for (unsigned i = 0; i < 6; i++)
        cr_expect_eq(trap.arg[i], i + 1);
    host_context_set_result(actor.context, 30);
    run(&actor, 1);
    host_context_set_result(actor.context, 12);
    run(&actor, 0);
    cr_expect_eq(actor.page->value[0], 42);
}

Test(supervisor, a_system_call_instruction_is_a_trap)
{
    struct actor actor = actor_make(actor_traps);
    struct host_trap trap = run(&actor, 0);
    cr_assert_eq(trap.kind, HOST_TRAP_SYSCALL);
    cr_expect_eq(trap.number, 39);
    for (unsigned i = 0; i < 6; i++)
        cr_expect_eq(trap.arg[i], i + 11);
    host_context_restart(actor.context, 39);
    trap = run(&actor, 0);
    cr_assert_eq(trap.kind, HOST_TRAP_SYSCALL, "it was started again");
    host_context_set_result(actor.context, -38);
    expect_call(&actor, 101);
    cr_expect_eq((int64_t)actor.page->value[0], -38);
}

Test(supervisor, a_trap_can_be_reflected)
{
    struct actor actor = actor_make(actor_traps);
    run(&actor, 0);
    vaddr_t handler = actor.bottom + (vaddr_t)((const char *)actor_is_illegal - __start_actors);
    host_context_divert(actor.context, handler, actor.bottom + 0x11000);
    struct host_trap trap = run(&actor, 0);
    cr_expect_eq(trap.number, K_TRAP_ILLEGAL);
    cr_expect_eq(trap.sp, actor.bottom + 0x11000);
}

static jmp_buf computed;

static void leave_computation(void)
{
    longjmp(computed, 1);
}

/* What it comes to if nobody interrupts it. */
static void compute(struct actor_page *page, uint64_t rounds)
{
    page->gate = (uint64_t)leave_computation;
    page->value[1] = rounds;
    if (setjmp(computed) == 0)
        actor_computes(page);
}

Test(supervisor, a_long_computation_is_interrupted_and_not_disturbed)
{
    struct actor actor = actor_make(actor_computes), other = actor_make(actor_computes);
    struct actor_page expected, other_expected;
    compute(&expected, 10000000);
    compute(&other_expected, 9000001);
    actor.page->value[1] = 10000000;
    other.page->value[1] = 9000001;
    host_cpu_run(0, actor.context);
    host_cpu_run(1, other.context); /* they take turns, tick by tick */
    struct host_event event;
    unsigned deadlines = 0, calls = 0;
    while (calls < 2) {
        host_wait(&event, host_time() + 3 * MILLISECOND);
        deadlines += event.kind == HOST_EVENT_NONE;
        calls += event.kind == HOST_EVENT_TRAP && event.trap.kind == HOST_TRAP_CALL;
    }
    cr_expect_gt(deadlines, 3, "deadlines pass meanwhile");
    cr_expect_eq(actor.page->value[0], expected.value[0]);
    cr_expect_eq(actor.page->value[2], expected.value[2]);
    cr_expect_eq(other.page->value[0], other_expected.value[0]);
    cr_expect_eq(other.page->value[2], other_expected.value[2]);
}

Test(supervisor, a_loop_is_preempted_and_goes_on)
{
    struct actor actor = actor_make(actor_loops);
    struct host_event event;
    host_cpu_run(0, actor.context);
    int64_t begin = host_time();
    host_wait(&event, begin + 10 * MILLISECOND);
    cr_expect_eq(event.kind, HOST_EVENT_NONE);
    cr_expect_lt(host_time() - begin, 100 * MILLISECOND);
    cr_expect(host_context_running(actor.context));
    uint64_t count = actor.page->value[0];
    cr_expect_gt(count, 0);
    host_cpu_preempt(0);
    host_wait(&event, INT64_MAX);
    cr_assert_eq(event.kind, HOST_EVENT_TRAP);
    cr_expect_eq(event.trap.kind, HOST_TRAP_PREEMPTED);
    cr_expect_not(host_context_running(actor.context));
    cr_expect_eq(actor.page->value[0], count);
    host_cpu_run(1, actor.context);
    host_wait(&event, host_time() + 3 * MILLISECOND);
    cr_expect_gt(actor.page->value[0], count);
}

static volatile int *nowhere;

Test(supervisor, a_fault_of_the_nucleus_itself_still_ends_it, .signal = SIGSEGV)
{
    struct actor actor = actor_make(actor_adds);
    expect_call(&actor, 100);
    *nowhere = 1;
}

static void *fault(void *unused)
{
    *nowhere = 1;
    return unused;
}

Test(supervisor, so_does_one_of_another_host_thread_while_an_actor_runs, .signal = SIGSEGV)
{
    struct actor actor = actor_make(actor_loops);
    struct host_event event;
    pthread_t thread;
    host_cpu_run(0, actor.context);
    pthread_create(&thread, NULL, fault, NULL);
    host_wait(&event, host_time() + 1000 * MILLISECOND);
}

static void set_flag(void *flag)
{
    *(bool *)flag = true;
}

Test(supervisor, other_events_are_not_kept_waiting_by_a_loop)
{
    struct actor actor = actor_make(actor_loops);
    struct host_event event;
    bool called = false;
    host_cpu_run(0, actor.context);
    host_post(set_flag, &called);
    host_wait(&event, host_time() + 1000 * MILLISECOND);
    cr_assert_eq(event.kind, HOST_EVENT_FUNCTION);
    event.function(event.argument);
    cr_expect(called);
}

static __thread int local;

Test(supervisor, each_thread_has_an_fs_base_of_its_own)
{
    struct actor one = actor_make(actor_reads_fs), two = actor_make(actor_reads_fs);
    one.tls[0] = 111;
    two.tls[0] = 222;
    local = 77;
    for (int i = 0; i < 3; i++) {
        expect_call(&one, 101);
        expect_call(&two, 101);
        cr_expect_eq(one.page->value[0], 111);
        cr_expect_eq(two.page->value[0], 222);
    }
    cr_expect_eq(local, 77);
    KnThreadCtx context;
    host_context_get(one.context, &context, NULL);
    cr_expect_eq(context.fsBase, one.bottom + TLS_AT);
}

Test(supervisor, a_space_that_is_destroyed_is_gone_with_what_ran_in_it)
{
    struct actor actor = actor_make(actor_loops), other = actor_make(actor_adds);
    struct host_event event;
    host_cpu_run(0, actor.context);
    host_wait(&event, host_time() + 2 * MILLISECOND);
    host_space_destroy(actor.space);
    host_wait(&event, INT64_MAX);
    cr_assert_eq(event.kind, HOST_EVENT_SPACE_DEAD);
    cr_expect_eq(event.code, HOST_DEAD_DESTROYED);
    cr_expect_eq(event.space, actor.space);
    cr_expect_not(host_context_running(actor.context));
    host_context_destroy(actor.context);
    cr_expect_eq(mprotect((void *)actor.bottom, PAGE_SIZE, PROT_NONE), -1, "nothing is mapped there");
    expect_call(&other, 100);
    struct actor fresh = actor_make(actor_adds);
    expect_call(&fresh, 100);
}

static long context_switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

Test(supervisor, an_idle_site_is_not_woken_by_the_tick)
{
    struct actor actor = actor_make(actor_adds);
    struct host_event event;
    expect_call(&actor, 100);
    host_wait(&event, host_time() + 20 * MILLISECOND);
    long before = context_switches();
    host_wait(&event, host_time() + 100 * MILLISECOND);
    cr_expect_leq(context_switches() - before, 3);
}

Test(supervisor, a_null_call_is_quick)
{
    struct actor actor = actor_make(actor_adds);
    struct host_event event;
    expect_call(&actor, 100);
    int64_t begin = host_time();
    for (int i = 0; i < 100000; i++) {
        host_context_set_result(actor.context, 1);
        host_cpu_run(0, actor.context);
        host_wait(&event, INT64_MAX);
    }
    int64_t each = (host_time() - begin) / 100000;
    cr_expect_eq(actor.page->value[0], 100000);
    cr_log_info("a null call takes %ld ns", (long)each);
    cr_expect_lt(each, 20000);
}
