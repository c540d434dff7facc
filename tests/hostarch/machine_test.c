/* The machine itself, without a Nucleus: real processes, real traps. The test plays the Nucleus, an event at a time. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <time.h>
#include <chorus.h>
#include <exec/chAnswers.h>
#include <host/event.h>
#include "machine.h"

#define TEXT 0x400000ul
#define DATA 0x500000ul
#define PIECE(name) extern const char name[], name##_end[];
PIECE(user_syscalls)
PIECE(user_gate)
PIECE(user_count)
PIECE(user_state)
PIECE(user_touch)
PIECE(user_rewritten)
PIECE(user_32bit)
PIECE(user_lurk)
PIECE(user_trapped)

static frame_t next_frame;
static struct host_event event;

static void start_machine(void)
{
    struct hostarch_options options = {.memory = 32u << 20, .processes = 8, .log_level = 0, .log_fd = STDERR_FILENO};
    cr_assert_eq(hostarch_start(&options), 0);
}

static void stop_machine(void)
{
    hostarch_stop();
    cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "a child is left");
}

TestSuite(machine, .init = start_machine, .fini = stop_machine, .timeout = 60);

struct user {
    struct host_space *space;
    frame_t data;
};

static struct host_context *add_thread(struct user *user, uint64_t argument, unsigned nth)
{
    struct host_context *context = host_context_create(user->space, user);
    host_context_start(context, TEXT, DATA + PAGE_SIZE - 256 - nth * 512, argument, 0);
    return context;
}

static struct host_context *make_user(struct user *user, const char *code, const char *end, uint64_t argument)
{
    cr_assert_eq(host_space_create(&user->space, user), K_OK);
    memcpy(host_frame_address(next_frame), code, (size_t)(end - code));
    host_space_map(user->space, TEXT, next_frame++, 1, HOST_READ | HOST_EXEC);
    user->data = next_frame++;
    host_space_map(user->space, DATA, user->data, 1, HOST_READ | HOST_WRITE);
    return add_thread(user, argument, 0);
}
#define USER(user, piece, argument) make_user(user, piece, piece##_end, argument)

static volatile uint64_t *data_of(const struct user *user) { return host_frame_address(user->data); }

/* The next event of any kind within two seconds. */
static enum host_event_kind next_event(void)
{
    host_wait(&event, host_time() + 2000000000);
    return event.kind;
}

/* The next trap; other events of progress are skipped. */
static struct host_trap *next_trap(void)
{
    for (;;) {
        enum host_event_kind kind = next_event();
        if (kind == HOST_EVENT_TRAP)
            return &event.trap;
        cr_assert(kind == HOST_EVENT_SPACE || kind == HOST_EVENT_CPU_LOST /* a busy host: it comes later */, "event %d, code %d, instead of a trap", kind, event.code);
    }
}

static void run_for(int64_t duration)
{
    int64_t end = host_time() + duration;
    do
        host_wait(&event, end);
    while (event.kind != HOST_EVENT_NONE && event.kind != HOST_EVENT_TRAP);
}

Test(machine, a_system_call_arrives_with_number_and_arguments_and_its_result_goes_back)
{
    struct user user;
    struct host_context *thread = USER(&user, user_syscalls, 0);
    for (uint64_t i = 0; i < 1000; i++) {
        host_cpu_run(0, thread);
        struct host_trap *trap = next_trap();
        cr_assert_eq(trap->kind, HOST_TRAP_SYSCALL);
        cr_assert_eq(trap->number, 0x1234);
        for (uint64_t a = 0; a < 6; a++)
            cr_assert_eq(trap->arg[a], a + 1);
        cr_assert_eq(trap->owner, &user);
        if (i > 0)
            cr_assert_eq(data_of(&user)[0], i + 99);
        host_context_set_result(thread, (int64_t)i + 100);
    }
}

Test(machine, a_call_by_the_gate_preserves_what_a_c_call_preserves)
{
    struct user user;
    struct host_context *thread = USER(&user, user_gate, 0);
    for (uint64_t i = 0; i < 5000; i++) {
        host_cpu_run((int)(i / 100) % host_cpu_count(), thread); /* it moves about */
        struct host_trap *trap = next_trap();
        cr_assert_eq(trap->kind, HOST_TRAP_CALL);
        cr_assert_eq(trap->number, 184);
        for (uint64_t a = 0; a < 6; a++)
            cr_assert_eq(trap->arg[a], a + 1);
        host_context_set_result(thread, (int64_t)i);
    }
}

Test(machine, system_calls_of_other_kinds_are_told_apart)
{
    struct user user;
    struct host_context *thread = USER(&user, user_32bit, 0);
    host_cpu_run(0, thread);
    cr_assert_eq(next_trap()->kind, HOST_TRAP_SYSCALL32);
    cr_assert_eq(event.trap.number, 20);
    host_cpu_run(0, thread);
    cr_assert_eq(next_trap()->kind, HOST_TRAP_SYSCALL);
    cr_assert_eq(event.trap.number, 0x40000027);
    host_cpu_run(0, thread);
    cr_assert_eq(next_trap()->kind, HOST_TRAP_EXCEPTION);
    cr_assert_eq(event.trap.number, K_TRAP_ILLEGAL);
}

/* The <nth> time: on another CPU than before, for up to <looks> of a loop. Nothing but the preemption may come of it. */
static void run_and_preempt(struct host_context *thread, int nth, int looks)
{
    int cpu = nth % host_cpu_count();
    host_cpu_run(cpu, thread);
    for (volatile int wait = nth * 37 % looks; wait > 0; wait--)
        ;
    host_cpu_preempt(cpu);
    struct host_trap *trap = next_trap();
    cr_assert_eq(trap->kind, HOST_TRAP_PREEMPTED, "trap %d number %lu at %lx", trap->kind, trap->number, trap->ip);
}

Test(machine, no_register_is_lost_by_preemptions)
{
    struct user user;
    struct host_context *one = USER(&user, user_state, 1), *two = add_thread(&user, 0x77777777, 1);
    for (int i = 0; i < 3000; i++)
        run_and_preempt(i % 3 ? one : two, i, 4000);
    cr_assert_gt(data_of(&user)[0], 100u);
}

Test(machine, threads_of_one_actor_run_on_all_cpus_at_once)
{
    if (host_cpu_count() < 2)
        cr_skip_test("one CPU");
    struct user user;
    struct host_context *one = USER(&user, user_count, DATA), *two = add_thread(&user, DATA + 64, 1);
    host_cpu_run(0, one);
    host_cpu_run(1, two);
    run_for(200000000);
    uint64_t first = data_of(&user)[0], second = data_of(&user)[8];
    for (int i = 0; i < 200 && (data_of(&user)[0] == first || data_of(&user)[8] == second); i++)
        run_for(50000000); /* a busy host may keep a CPU from us for longer than once */
    cr_assert_gt(data_of(&user)[0], first);
    cr_assert_gt(data_of(&user)[8], second);
}

Test(machine, a_fault_tells_address_and_kind_and_the_thread_goes_on_once_mapped)
{
    struct user user;
    struct host_context *thread = USER(&user, user_touch, 0x7000000);
    for (frame_t i = 0; i < 50; i++) {
        host_cpu_run(0, thread);
        struct host_trap *trap = next_trap();
        cr_assert_eq(trap->kind, HOST_TRAP_FAULT);
        cr_assert_eq(trap->address, 0x7000000);
        cr_assert(trap->write);
        host_space_map(user.space, 0x7000000, next_frame, 1, HOST_READ | HOST_WRITE);
        host_cpu_run(0, thread);
        cr_assert_eq(next_trap()->kind, HOST_TRAP_SYSCALL);
        cr_assert_eq(*(uint64_t *)host_frame_address(next_frame), 7);
        next_frame++;
        host_space_unmap(user.space, 0x7000000, 1);
    }
}

Test(machine, a_page_made_read_only_is_so_once_reported)
{
    struct user user, writer;
    struct host_context *thread = USER(&user, user_count, DATA + 128);
    (void)writer;
    host_cpu_run(0, thread);
    run_for(20000000);
    host_space_protect(user.space, DATA, 1, HOST_READ);
    host_ticket_t ticket = host_space_commit(user.space);
    struct host_trap *trap = next_trap();
    cr_assert_eq(trap->kind, HOST_TRAP_FAULT);
    while (host_space_reported(user.space) < ticket)
        next_event();
    uint64_t value = data_of(&user)[16];
    run_for(5000000);
    cr_assert_eq(data_of(&user)[16], value, "it was written after the report");
}

Test(machine, a_process_that_is_killed_is_a_dead_space_and_nothing_else)
{
    struct user user, other;
    struct host_context *thread = USER(&user, user_count, DATA);
    struct host_context *second = USER(&other, user_syscalls, 0);
    host_cpu_run(0, thread);
    run_for(20000000);
    cr_assert_eq(kill(host_space_pid(user.space), SIGKILL), 0);
    while (next_event() != HOST_EVENT_SPACE_DEAD)
        ;
    cr_assert_eq(event.owner, &user);
    cr_assert_eq(event.code, HOST_DEAD_KILLED);
    host_context_destroy(thread);
    host_cpu_run(0, second);
    cr_assert_eq(next_trap()->kind, HOST_TRAP_SYSCALL);
}

Test(machine, a_stopped_process_loses_its_cpu_and_comes_back)
{
    struct user user, other;
    struct host_context *thread = USER(&user, user_count, DATA);
    struct host_context *second = USER(&other, user_syscalls, 0);
    host_cpu_run(0, thread);
    run_for(20000000);
    int pid = host_space_pid(user.space);
    kill(pid, SIGSTOP);
    host_cpu_preempt(0);
    cr_assert_eq(next_event(), HOST_EVENT_CPU_LOST);
    cr_assert_eq(event.cpu, 0);
    host_cpu_run(0, second);
    cr_assert_eq(next_trap()->kind, HOST_TRAP_SYSCALL);
    kill(pid, SIGCONT);
    cr_assert_eq(next_trap()->kind, HOST_TRAP_PREEMPTED);
    cr_assert_eq(event.trap.cpu, -1);
    cr_assert_eq(event.trap.owner, &user);
    host_cpu_run(0, thread);
    run_for(5000000);
    host_cpu_preempt(0);
    cr_assert_eq(next_trap()->kind, HOST_TRAP_PREEMPTED);
}

Test(machine, the_number_of_processes_is_capped_and_comes_back)
{
    struct host_space *spaces[16];
    int count = 0;
    while (count < 16 && host_space_create(&spaces[count], NULL) == K_OK)
        count++;
    cr_assert_geq(count, 4);
    cr_assert_leq(count, 8);
    for (int i = 0; i < count; i++)
        host_space_destroy(spaces[i]);
    for (int dead = 0; dead < count;)
        dead += next_event() == HOST_EVENT_SPACE_DEAD;
    cr_assert_eq(host_space_create(&spaces[0], NULL), K_OK);
}

static void end_user(struct user *user, struct host_context *thread)
{
    host_cpu_idle(0);
    host_context_destroy(thread);
    host_space_destroy(user->space);
    while (next_event() != HOST_EVENT_SPACE_DEAD)
        cr_assert_neq(event.kind, HOST_EVENT_NONE);
}

Test(machine, a_process_serves_one_actor_after_another)
{
    struct hostarch_counts counts;
    for (int i = 0; i < 200; i++) {
        struct user user;
        next_frame = 0;
        struct host_context *thread = USER(&user, user_syscalls, 0);
        data_of(&user)[0] = 0;
        for (int call = 0; call < 3; call++) {
            host_cpu_run(0, thread);
            cr_assert_eq(next_trap()->kind, HOST_TRAP_SYSCALL);
            cr_assert_eq(data_of(&user)[0], call == 0 ? 0u : (unsigned)(call + 10 * i));
            host_context_set_result(thread, call + 1 + 10 * i);
        }
        end_user(&user, thread);
        run_for(2000000);
    }
    hostarch_counts(&counts);
    cr_assert_gt(counts.reuses, 150u, "%lu", counts.reuses);
    cr_assert_lt(counts.births, 50u, "%lu", counts.births);
}

/* Is <value> in what actors share with their stub threads? */
static bool is_in_areas(uint64_t value)
{
    for (uint32_t slot = 0; slot < machine.slots; slot++)
        for (int cpu = 0; cpu < machine.cpus; cpu++)
            for (size_t at = 0; at < AREA_SIZE; at += 8)
                if (*(volatile uint64_t *)(machine.processes[slot].stubs[cpu].area + at) == value)
                    return true;
    return false;
}

Test(machine, nothing_of_an_actor_is_left_in_its_process)
{
    const uint64_t mark = 0x5ec2e75ec2e7;
    struct user user;
    struct host_context *thread = USER(&user, user_state, mark);
    host_cpu_run(0, thread);
    run_for(5000000);
    host_cpu_preempt(0);
    cr_assert_eq(next_trap()->kind, HOST_TRAP_PREEMPTED);
    cr_assert(is_in_areas(mark), "else this test looks for nothing");
    end_user(&user, thread);
    run_for(20000000);
    cr_assert_not(is_in_areas(mark));
}

/* The next actor's process is, sooner or later, the one that the lurking thread sleeps in. */
Test(machine, a_thread_that_lurks_in_a_process_does_not_wake_in_the_next_actor)
{
    extern const char stub_begin[], stub_wait_ip[];
    struct user lurker;
    struct host_context *thread = USER(&lurker, user_lurk, 0);
    cr_assert_not_null(lurker.space->process);
    struct process *process = lurker.space->process;
    data_of(&lurker)[0] = machine.base + (uint64_t)(stub_wait_ip - stub_begin) - 2;
    data_of(&lurker)[1] = machine.base + WORDS_OFFSET + BEDS + 5 * 4;
    host_cpu_run(0, thread);
    cr_assert_eq(next_trap()->kind, HOST_TRAP_CALL);
    run_for(5000000);
    end_user(&lurker, thread);
    run_for(20000000);
    bool again = false;
    for (int i = 0; i < 20; i++) {
        struct user user;
        thread = USER(&user, user_syscalls, 0);
        again |= user.space->process == process;
        memcpy(host_frame_address(next_frame), user_trapped, (size_t)(user_trapped_end - user_trapped));
        host_space_map(user.space, 0x600000, next_frame++, 1, HOST_READ | HOST_EXEC);
        data_of(&user)[32] = 0;
        for (int call = 0; call < 3; call++) {
            host_cpu_run(0, thread);
            cr_assert_eq(next_trap()->kind, HOST_TRAP_SYSCALL, "round %d", i);
            cr_assert_eq(data_of(&user)[32], 0u);
        }
        end_user(&user, thread);
        run_for(5000000);
    }
    cr_assert(again, "the process was not used again");
}

Test(machine, registers_can_be_read_set_and_copied)
{
    struct user user;
    struct host_context *thread = USER(&user, user_syscalls, 0), *copy = add_thread(&user, 0, 1);
    host_cpu_run(0, thread);
    next_trap();
    KnThreadCtx registers;
    host_context_get(thread, &registers, NULL);
    cr_assert_eq(registers.rdi, 1);
    cr_assert_eq(registers.r9, 6);
    cr_assert_eq(registers.trap, K_TRAP_SYSCALL);
    host_context_copy(copy, thread);
    host_context_set_result(copy, 4711);
    host_cpu_run(0, copy);
    next_trap();
    cr_assert_eq(data_of(&user)[0], 4711);
    registers.flags = K_CTX_GENERAL;
    registers.rip = 0xffff000000000000; /* not an address: the thread faults, the machine does not */
    cr_assert_eq(host_context_set(thread, &registers, NULL), K_OK);
    host_cpu_run(0, thread);
    cr_assert_eq(next_trap()->kind, HOST_TRAP_FAULT);
}

Test(machine, an_idle_machine_never_wakes)
{
    struct user user;
    struct host_context *thread = USER(&user, user_syscalls, 0);
    host_cpu_run(0, thread);
    next_trap();
    host_cpu_idle(0);
    run_for(200000000);
    struct hostarch_counts before, after;
    hostarch_counts(&before);
    run_for(1000000000);
    hostarch_counts(&after);
    cr_assert_leq(after.sleeps - before.sleeps, 1u);
    cr_assert_leq(after.spins - before.spins, 100u);
}

Test(machine, frames_given_back_are_zeros)
{
    memset(host_frame_address(100), 0xaa, 2 * PAGE_SIZE);
    host_frames_release(100, 2);
    host_frames_touch(100, 2);
    for (size_t i = 0; i < 2 * PAGE_SIZE; i++)
        cr_assert_eq(((uint8_t *)host_frame_address(100))[i], 0);
}

/* --- system calls by the gate's second entry --- */

_Static_assert(offsetof(KnAnswers, gateSyscall) == 0x30, "as user_rewritten has it");

static void check_rewritten(const struct host_trap *trap, uint64_t cell)
{
    cr_assert_eq(trap->kind, HOST_TRAP_SYSCALL, "trap %d number %lu at %lx", trap->kind, trap->number, trap->ip);
    cr_assert_eq(trap->code, 1);
    cr_assert_eq(trap->number, 0x1234);
    for (uint64_t a = 0; a < 6; a++)
        cr_assert_eq(trap->arg[a], cell + a + 1);
    cr_assert(trap->ip > TEXT && trap->ip < TEXT + (uint64_t)(user_rewritten_end - user_rewritten));
}

Test(machine, a_system_call_by_the_gate_is_a_trap_like_any_other_and_preserves_what_a_system_call_preserves)
{
    struct user user;
    struct host_context *thread = USER(&user, user_rewritten, DATA);
    for (uint64_t i = 0; i < 5000; i++) {
        host_cpu_run((int)(i / 100) % host_cpu_count(), thread); /* it moves about */
        struct host_trap *trap = next_trap();
        check_rewritten(trap, DATA);
        cr_assert_eq(data_of(&user)[0], i + 1);
        cr_assert(i == 0 || data_of(&user)[1] == i + 99);
        host_context_set_result(thread, (int64_t)i + 100);
    }
}

Test(machine, the_state_of_a_thread_in_a_system_call_by_the_gate_is_as_after_the_instruction)
{
    struct user user;
    KnThreadCtx registers;
    struct host_context *thread = USER(&user, user_rewritten, DATA), *copy = add_thread(&user, 0, 1);
    for (uint64_t i = 0; i < 100; i++) {
        host_cpu_run(0, thread);
        struct host_trap trap = *next_trap();
        check_rewritten(&trap, DATA);
        host_context_get(thread, &registers, NULL);
        cr_assert_eq(registers.rip, trap.ip);
        cr_assert_eq(registers.rsp, trap.sp);
        cr_assert_eq(registers.rax, 0x1234);
        cr_assert_eq(registers.rbx, DATA);
        cr_assert_eq(registers.r15, DATA + 11);
        cr_assert_eq(registers.rflags & 0x8c1, i % 2 ? 0x41 : 0x880, "%lx", registers.rflags);
        host_context_copy(copy, thread); /* fork: the child goes on from there, its parent too */
        host_context_set_result(copy, (int64_t)i + 1000);
        host_context_set_result(thread, (int64_t)i + 2000);
        host_cpu_run(0, copy);
        check_rewritten(next_trap(), DATA);
        cr_assert_eq(data_of(&user)[1], i + 1000);
        data_of(&user)[0]--;
    }
}

Test(machine, preemptions_in_the_middle_of_system_calls_by_the_gate_lose_nothing)
{
    struct user user;
    struct host_context *threads[] = {USER(&user, user_rewritten, DATA), add_thread(&user, DATA + 64, 1)};
    uint64_t calls[2] = {0, 0}, preempted = 0, random = 88172645463325252ull;
    int cpus = host_cpu_count();
    for (uint64_t i = 0; i < 40000; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        unsigned which = random >> 8 & 1;
        int cpu = (int)(random >> 16 & 0xff) % cpus;
        host_cpu_run(cpu, threads[which]);
        for (volatile unsigned wait = random >> 32 & 0xff; wait > 0; wait--)
            ;
        host_cpu_preempt(cpu);
        struct host_trap *trap = next_trap();
        cr_assert_eq(trap->context, threads[which]);
        if (trap->kind == HOST_TRAP_PREEMPTED) {
            preempted++;
            continue;
        }
        check_rewritten(trap, DATA + which * 64);
        cr_assert_eq(data_of(&user)[which * 8], ++calls[which]);
        cr_assert(calls[which] == 1 || data_of(&user)[which * 8 + 1] == 5000 + calls[which] - 1);
        host_context_set_result(threads[which], (int64_t)(5000 + calls[which]));
    }
    cr_assert(calls[0] > 100 && calls[1] > 100 && preempted > 100, "%lu and %lu calls, %lu preemptions", calls[0], calls[1], preempted);
}

Test(machine, a_restarted_system_call_by_the_gate_goes_back_to_the_instruction)
{
    struct user user;
    KnThreadCtx registers;
    struct host_context *thread = USER(&user, user_rewritten, DATA);
    host_cpu_run(0, thread);
    struct host_trap trap = *next_trap();
    host_context_restart(thread, trap.number);
    host_context_get(thread, &registers, NULL);
    cr_assert_eq(registers.rip, trap.ip - 2);
    cr_assert_eq(registers.rax, trap.number);
}

/* user_rewritten with a small number, whose calls can be answered inside the actor. */
static struct host_context *make_answered(struct user *user, uint32_t number)
{
    struct host_context *thread = USER(user, user_rewritten, DATA);
    uint8_t *code = host_frame_address(user->data - 1);
    for (size_t i = 0; i < (size_t)(user_rewritten_end - user_rewritten); i++)
        if (memcmp(code + i, "\xb8\x34\x12\0\0", 5) == 0)
            memcpy(code + i + 1, &number, 4);
    return thread;
}

Test(machine, answers_that_cannot_be_are_refused)
{
    struct user user;
    make_answered(&user, 39);
    const uint32_t numbers[HOST_ANSWERS_MOST + 1] = {128}, good[] = {1};
    const int64_t values[HOST_ANSWERS_MOST + 1] = {0};
    cr_assert_eq(host_space_answers(user.space, numbers, values, 1), K_EINVAL);
    cr_assert_eq(host_space_answers(user.space, good, values, HOST_ANSWERS_MOST + 1), K_EINVAL);
}

Test(machine, a_system_call_is_answered_inside_the_actor_and_loses_nothing_by_preemptions)
{
    struct user user;
    struct host_context *thread = make_answered(&user, 39);
    const uint32_t numbers[] = {110, 39};
    const int64_t values[] = {55, 77};
    cr_assert_eq(host_space_answers(user.space, numbers, values, 2), K_OK);
    for (int i = 0; i < 5000; i++)
        run_and_preempt(thread, i, 1000);
    cr_assert_gt(data_of(&user)[0], 10000u);
    cr_assert_eq(data_of(&user)[1], 77);
    cr_assert_eq(host_space_answers(user.space, NULL, NULL, 0), K_OK);
    host_cpu_run(0, thread);
    struct host_trap *trap = next_trap();
    cr_assert_eq(trap->kind, HOST_TRAP_SYSCALL);
    cr_assert_eq(trap->number, 39);
}

Test(machine, the_answers_of_an_actor_are_gone_with_it)
{
    const uint32_t numbers[] = {39};
    const int64_t values[] = {77};
    for (int i = 0; i < 20; i++) {
        struct user first, second;
        struct host_context *thread = make_answered(&first, 39);
        cr_assert_eq(host_space_answers(first.space, numbers, values, 1), K_OK);
        host_cpu_run(0, thread);
        run_for(2000000);
        host_cpu_preempt(0);
        cr_assert_eq(next_trap()->kind, HOST_TRAP_PREEMPTED);
        end_user(&first, thread);
        run_for(20000000);
        thread = make_answered(&second, 39);
        host_cpu_run(0, thread);
        cr_assert_eq(next_trap()->kind, HOST_TRAP_SYSCALL);
        end_user(&second, thread);
    }
}

/* --- the clock and the answer page --- */

static int64_t answered_time(void)
{
    const volatile KnAnswers *page = (const volatile KnAnswers *)(machine.memory + machine.gate_at + ANSWERS_OFFSET);
    KnAnswers answers = *page; /* the Nucleus writes it on this very thread */
    cr_assert_eq(answers.sequence % 2, 0);
    return knAnswersTime(&answers, __builtin_ia32_rdtsc());
}

static int64_t time_of_host(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

Test(machine, the_answer_page_and_the_nucleus_tell_one_time_that_keeps_step_with_the_hosts)
{
    const volatile KnAnswers *page = (const volatile KnAnswers *)(machine.memory + machine.gate_at + ANSWERS_OFFSET);
    const int64_t zero = 12345;
    host_clocks(zero, 0);
    usleep(20000);
    host_time();
    if (!page->clockUsable)
        cr_skip("this host does not rely on the time-stamp counter");
    for (int64_t end = time_of_host() + 500000000; time_of_host() < end;) {
        int64_t first = answered_time(), second = host_time() - zero, third = answered_time();
        cr_assert(first <= second && second <= third, "%ld, %ld, %ld", first, second, third);
        int64_t before = time_of_host(), now = host_time(), after = time_of_host();
        cr_assert(now > before - 1000000 && now < after + 1000000, "%ld between %ld and %ld", now, before, after);
    }
}

Test(machine, the_time_of_day_is_told_with_what_was_set)
{
    const volatile KnAnswers *page = (const volatile KnAnswers *)(machine.memory + machine.gate_at + ANSWERS_OFFSET);
    usleep(20000);
    int64_t zero = host_time(), offset = -1000000000000;
    host_clocks(zero, offset);
    int64_t first = answered_time() + page->day, second = host_time_of_day() + offset, third = answered_time() + page->day;
    if (page->clockUsable)
        cr_assert(first <= second && second <= third, "%ld, %ld, %ld", first, second, third);
    cr_assert(host_time_of_day() / 1000000000 - time(NULL) <= 1 && time(NULL) - host_time_of_day() / 1000000000 <= 1);
}

Test(without_counter, the_page_says_that_the_counter_is_not_to_be_used, .timeout = 60)
{
    struct hostarch_options options = {.memory = 32u << 20, .processes = 8, .log_fd = STDERR_FILENO, .no_counter = true};
    cr_assert_eq(hostarch_start(&options), 0);
    const volatile KnAnswers *page = (const volatile KnAnswers *)(machine.memory + machine.gate_at + ANSWERS_OFFSET);
    int64_t before = time_of_host(), now;
    usleep(30000);
    now = host_time();
    cr_assert_eq(page->clockUsable, 0);
    cr_assert(before < now && now <= time_of_host());
    hostarch_stop();
}
