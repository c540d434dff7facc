/* Signals: sets, masks, handlers, interrupted calls. */

#include <criterion/criterion.h>
#include <sys/wait.h>

#include "fake_nucleus.h"
#include "process.h"

TestSuite(signals, .fini = fake_end, .timeout = 30);

#define HANDLER 0x5000
#define RESTORER 0x6000

static void handle(struct program *program, int signal, uint64_t handler, uint64_t flags,
                   uint64_t mask)
{
    uint64_t action[4] = { handler, flags | 0x04000000, RESTORER, mask };
    fake_put(program, PLAY, action, sizeof action);
    cr_assert_eq(fake_call(program, SYS_rt_sigaction, (uint64_t)signal, PLAY, 0, 8), 0);
}

static void block(struct program *program, int how, uint64_t mask)
{
    fake_put(program, PLAY, &mask, sizeof mask);
    cr_assert_eq(fake_call(program, SYS_rt_sigprocmask, (uint64_t)how, PLAY, 0, 8), 0);
}

static struct program child_of(struct program *parent)
{
    int64_t pid = fake_call(parent, SYS_fork);
    cr_assert_gt(pid, 1);
    struct program child = fake_newest();
    cr_assert_eq(child.pid, pid);
    return child;
}

Test(signals, bad_numbers_and_strangers_are_refused)
{
    struct program program = fake_boot();
    cr_expect_eq(fake_call(&program, SYS_kill, (uint64_t)program.pid, 65), -EINVAL);
    cr_expect_eq(fake_call(&program, SYS_kill, 9999, SIGTERM), -ESRCH);
    uint64_t action[4] = { HANDLER };
    fake_put(&program, PLAY, action, sizeof action);
    cr_expect_eq(fake_call(&program, SYS_rt_sigaction, SIGKILL, PLAY, 0, 8), -EINVAL);
    cr_expect_eq(fake_call(&program, SYS_rt_sigaction, SIGINT, PLAY, 0, 4), -EINVAL);
}

Test(signals, another_user_must_not_kill)
{
    struct program program = fake_boot(), child = child_of(&program);
    cr_assert_eq(fake_call(&child, SYS_setuid, 1000), 0);
    cr_expect_eq(fake_call(&child, SYS_kill, (uint64_t)program.pid, SIGTERM), -EPERM);
    cr_expect_eq(fake_call(&program, SYS_kill, (uint64_t)child.pid, SIGTERM), 0);
}

Test(signals, a_handler_gets_a_frame_and_returns_from_it)
{
    struct program program = fake_boot();
    handle(&program, SIGUSR1, HANDLER, SA_SIGINFO, 0);
    uint64_t sp = fake_registers(&program)->rsp;
    fake_registers(&program)->rbx = 0x1234;
    fake_registers(&program)->rip = 0x1000;
    fake_call(&program, SYS_kill, (uint64_t)program.pid, SIGUSR1);
    KnThreadCtx *registers = fake_registers(&program);
    cr_assert_eq(registers->rip, HANDLER);
    cr_assert_eq(registers->rdi, SIGUSR1);
    cr_assert_eq((registers->rsp + 8) % 16, 0);
    uint64_t restorer;
    siginfo_t info;
    fake_get(&program, registers->rsp, &restorer, sizeof restorer);
    fake_get(&program, registers->rsi, &info, sizeof info);
    cr_assert_eq(restorer, RESTORER);
    cr_assert_eq(info.si_signo, SIGUSR1);
    cr_assert_eq(info.si_pid, program.pid);
    registers->rsp += 8; /* the handler's ret */
    registers->rbx = 0;
    fake_call(&program, SYS_rt_sigreturn);
    registers = fake_registers(&program);
    cr_expect_eq(registers->rip, 0x1000);
    cr_expect_eq(registers->rsp, sp);
    cr_expect_eq(registers->rbx, 0x1234);
    cr_expect_eq(registers->rax, 0, "kill returned 0");
}

Test(signals, a_frame_from_nowhere_is_a_fault)
{
    struct program program = fake_boot();
    fake_registers(&program)->rsp = 0x7000000000;
    fake_call(&program, SYS_rt_sigreturn);
    cr_assert_eq(fake_where(&program), FAKE_GONE);
}

Test(signals, a_handler_without_stack_is_the_end)
{
    struct program program = fake_boot();
    handle(&program, SIGUSR1, HANDLER, 0, 0);
    fake_registers(&program)->rsp = 0x7000000000;
    fake_call(&program, SYS_kill, (uint64_t)program.pid, SIGUSR1);
    cr_assert_eq(fake_where(&program), FAKE_GONE);
}

Test(signals, a_blocked_signal_waits)
{
    struct program program = fake_boot();
    handle(&program, SIGUSR1, HANDLER, 0, 0);
    block(&program, SIG_BLOCK, SIGNAL_BIT(SIGUSR1));
    cr_assert_eq(fake_call(&program, SYS_kill, (uint64_t)program.pid, SIGUSR1), 0);
    cr_assert_neq(fake_registers(&program)->rip, HANDLER);
    uint64_t pending;
    cr_assert_eq(fake_call(&program, SYS_rt_sigpending, PLAY, 8), 0);
    fake_get(&program, PLAY, &pending, sizeof pending);
    cr_assert_eq(pending, SIGNAL_BIT(SIGUSR1));
    uint64_t mask = 0;
    fake_put(&program, PLAY, &mask, sizeof mask);
    fake_call(&program, SYS_rt_sigprocmask, SIG_SETMASK, PLAY, 0, 8);
    cr_assert_eq(fake_registers(&program)->rip, HANDLER);
}

Test(signals, kill_and_stop_cannot_be_blocked)
{
    struct program program = fake_boot(), child = child_of(&program);
    block(&child, SIG_SETMASK, UINT64_MAX);
    cr_assert_eq(fake_call(&program, SYS_kill, (uint64_t)child.pid, SIGKILL), 0);
    cr_assert_eq(fake_where(&child), FAKE_GONE);
}

static void pipe_read(struct program *program, int fds[2])
{
    cr_assert_eq(fake_call(program, SYS_pipe, PLAY + 0x100), 0);
    fake_get(program, PLAY + 0x100, fds, 2 * sizeof *fds);
}

Test(signals, a_call_that_waits_is_interrupted_or_begun_again)
{
    int fds[2];
    struct program program = fake_boot(), child = child_of(&program);
    pipe_read(&child, fds);
    handle(&child, SIGUSR1, HANDLER, 0, 0);
    cr_assert_eq(fake_call(&child, SYS_read, (uint64_t)fds[0], PLAY + 0x200, 10), FAKE_BLOCKED);
    fake_call(&program, SYS_kill, (uint64_t)child.pid, SIGUSR1);
    cr_assert_eq(fake_registers(&child)->rip, HANDLER);
    fake_registers(&child)->rsp += 8;
    cr_assert_eq(fake_call(&child, SYS_rt_sigreturn), -EINTR);

    handle(&child, SIGUSR1, HANDLER, SA_RESTART, 0);
    uint64_t ip = fake_registers(&child)->rip;
    cr_assert_eq(fake_call(&child, SYS_read, (uint64_t)fds[0], PLAY + 0x200, 10), FAKE_BLOCKED);
    fake_call(&program, SYS_kill, (uint64_t)child.pid, SIGUSR1);
    fake_registers(&child)->rsp += 8;
    cr_assert_eq(fake_call(&child, SYS_rt_sigreturn), SYS_read, "rax is the call's number");
    cr_assert_eq(fake_registers(&child)->rip, ip - 2, "and the instruction is executed again");
}

Test(signals, an_ignored_signal_disturbs_no_wait)
{
    int fds[2];
    struct program program = fake_boot(), child = child_of(&program);
    pipe_read(&child, fds);
    handle(&child, SIGUSR1, (uint64_t)SIG_IGN, 0, 0);
    cr_assert_eq(fake_call(&child, SYS_read, (uint64_t)fds[0], PLAY + 0x200, 10), FAKE_BLOCKED);
    fake_call(&program, SYS_kill, (uint64_t)child.pid, SIGUSR1);
    fake_call(&program, SYS_kill, (uint64_t)child.pid, SIGWINCH);
    cr_assert_eq(fake_where(&child), FAKE_WAITS);
}

Test(signals, pause_ends_with_a_handler_alone)
{
    struct program program = fake_boot(), child = child_of(&program);
    handle(&child, SIGUSR1, HANDLER, SA_RESTART, 0);
    cr_assert_eq(fake_call(&child, SYS_pause), FAKE_BLOCKED);
    fake_call(&program, SYS_kill, (uint64_t)child.pid, SIGUSR1);
    fake_registers(&child)->rsp += 8;
    cr_assert_eq(fake_call(&child, SYS_rt_sigreturn), -EINTR, "never begun again");
}

Test(signals, sigsuspend_takes_what_its_mask_lets_through_and_puts_the_mask_back)
{
    struct program program = fake_boot(), child = child_of(&program);
    handle(&child, SIGUSR1, HANDLER, 0, 0);
    block(&child, SIG_SETMASK, SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2));
    uint64_t mask = SIGNAL_BIT(SIGUSR2);
    fake_put(&child, PLAY, &mask, sizeof mask);
    cr_assert_eq(fake_call(&child, SYS_rt_sigsuspend, PLAY, 8), FAKE_BLOCKED);
    fake_call(&program, SYS_kill, (uint64_t)child.pid, SIGUSR2);
    cr_assert_eq(fake_where(&child), FAKE_WAITS);
    fake_call(&program, SYS_kill, (uint64_t)child.pid, SIGUSR1);
    fake_registers(&child)->rsp += 8;
    cr_assert_eq(fake_call(&child, SYS_rt_sigreturn), -EINTR);
    cr_assert_eq(thread_find_cookie(child.cookie)->blocked,
                 SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2));
}

Test(signals, a_running_program_is_brought_in)
{
    struct program program = fake_boot(), child = child_of(&program);
    handle(&child, SIGUSR1, HANDLER, 0, 0);
    fake_call(&program, SYS_kill, (uint64_t)child.pid, SIGUSR1);
    cr_assert_eq(fake_registers(&child)->rip, HANDLER);
}

Test(signals, sigtimedwait_fetches_a_blocked_signal_or_gives_up)
{
    struct program program = fake_boot();
    struct timespec second = { 1, 0 };
    uint64_t set = SIGNAL_BIT(SIGUSR1);
    block(&program, SIG_BLOCK, set);
    fake_call(&program, SYS_kill, (uint64_t)program.pid, SIGUSR1);
    fake_put(&program, PLAY, &set, sizeof set);
    fake_put(&program, PLAY + 64, &second, sizeof second);
    cr_assert_eq(fake_call(&program, SYS_rt_sigtimedwait, PLAY, 0, PLAY + 64, 8), SIGUSR1);
    cr_assert_eq(fake_call(&program, SYS_rt_sigtimedwait, PLAY, 0, PLAY + 64, 8), FAKE_BLOCKED);
    fake_pass(2 * NANOSECONDS);
    cr_assert_eq(fake_result(&program), -EAGAIN);
}

Test(signals, real_time_signals_queue_up_in_order)
{
    struct program program = fake_boot();
    uint64_t set = SIGNAL_BIT(40);
    siginfo_t info = { .si_code = SI_QUEUE };
    block(&program, SIG_BLOCK, set);
    for (int value = 1; value <= 3; value++) {
        info.si_value.sival_int = value;
        fake_put(&program, PLAY, &info, sizeof info);
        cr_assert_eq(fake_call(&program, SYS_rt_sigqueueinfo, (uint64_t)program.pid, 40, PLAY), 0);
    }
    for (int value = 1; value <= 3; value++) {
        fake_put(&program, PLAY, &set, sizeof set);
        cr_assert_eq(fake_call(&program, SYS_rt_sigtimedwait, PLAY, PLAY + 64, 0, 8), 40);
        fake_get(&program, PLAY + 64, &info, sizeof info);
        cr_assert_eq(info.si_value.sival_int, value);
    }
}

Test(signals, faults_have_the_right_signal_and_cannot_be_ignored)
{
    struct program program = fake_boot(), child = child_of(&program);
    handle(&program, SIGSEGV, HANDLER, SA_SIGINFO, 0);
    siginfo_t info;
    fake_trap(&program, K_TRAP_FAULT, 0x123456, K_EPROTECT);
    fake_get(&program, fake_registers(&program)->rsi, &info, sizeof info);
    cr_expect_eq(info.si_signo, SIGSEGV);
    cr_expect_eq(info.si_code, SEGV_ACCERR);
    cr_expect_eq((uint64_t)info.si_addr, 0x123456);
    handle(&child, SIGFPE, (uint64_t)SIG_IGN, 0, 0);
    fake_trap(&child, K_TRAP_ARITHMETIC, 0, 0);
    cr_expect_eq(fake_where(&child), FAKE_GONE);
}

Test(signals, alarm_ends_who_does_not_handle_it)
{
    struct program program = fake_boot(), child = child_of(&program);
    cr_assert_eq(fake_call(&child, SYS_alarm, 2), 0);
    cr_assert_eq(fake_call(&child, SYS_alarm, 3), 2);
    fake_pass(4 * NANOSECONDS);
    cr_assert_eq(fake_where(&child), FAKE_GONE);
}
