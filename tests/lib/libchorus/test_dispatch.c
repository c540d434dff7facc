/* Which system call finds which handler, and what a stranger gets. */
#include "fake_gate.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

static int64_t answer(unsigned number, const uint64_t arg[6])
{
    if (number == CALL_sysRandom)
        memset((void *)arg[0], 0x5a, arg[1]);
    if (number == CALL_sysInfo)
        ((KnSysInfo *)arg[0])->cpus = 3;
    return K_OK;
}

TestSuite(dispatch);

Test(dispatch, an_unknown_call_is_refused_and_logged_once)
{
    gate_start(NULL);
    cr_expect_eq(linux_call(SYS_ptrace, 0, 0, 0, 0, 0, 0), -ENOSYS);
    cr_expect_eq(linux_call(SYS_ptrace, 0, 0, 0, 0, 0, 0), -ENOSYS);
    cr_expect_str_eq(gate_log, "libchorus: no such system call in an actor: 101\n");
}

Test(dispatch, wild_numbers_are_refused)
{
    gate_start(NULL);
    cr_expect_eq(linux_call(0x40000000ull + SYS_write, 1, 0, 0, 0, 0, 0), -ENOSYS);
    cr_expect_eq(linux_call(UINT64_MAX, 0, 0, 0, 0, 0, 0), -ENOSYS);
    cr_expect_eq(linux_call(1023, 0, 0, 0, 0, 0, 0), -ENOSYS);
}

Test(dispatch, calls_that_libc_can_do_without_are_refused_silently)
{
    gate_start(NULL);
    cr_expect_eq(linux_call(SYS_rseq, 0, 32, 0, 0, 0, 0), -ENOSYS);
    cr_expect_str_eq(gate_log, "");
}

Test(dispatch, a_trap_that_is_no_call_ends_the_actor, .signal = SIGILL)
{
    gate_start(NULL);
    struct reflected frame = { .trap = { .kind = K_TRAP_FAULT } };
    chorus_dispatch(&frame, NULL);
}

Test(dispatch, files_do_not_exist)
{
    char link[16];
    gate_start(NULL);
    cr_expect_eq(linux_call(SYS_readlink, (uint64_t)"/proc/self/exe", (uint64_t)link, 16, 0, 0, 0),
                 -ENOENT);
    cr_expect_eq(linux_call(SYS_openat, -100, (uint64_t)"/etc/passwd", 0, 0, 0, 0), -ENOENT);
}

Test(dispatch, limits_have_a_stack_size_and_cannot_be_set)
{
    struct rlimit limit = { 0 };
    gate_start(NULL);
    cr_expect_eq(linux_call(SYS_prlimit64, 0, RLIM_NLIMITS, 0, (uint64_t)&limit, 0, 0), -EINVAL);
    cr_expect_eq(linux_call(SYS_prlimit64, 0, RLIMIT_STACK, (uint64_t)&limit, 0, 0, 0), -EPERM);
    cr_expect_eq(linux_call(SYS_prlimit64, 0, RLIMIT_STACK, 0, (uint64_t)&limit, 0, 0), 0);
    cr_expect_eq(limit.rlim_cur, 1024 * 1024);
}

Test(dispatch, random_bytes_come_in_pieces_that_the_nucleus_gives)
{
    uint8_t bytes[600] = { 0 };
    gate_start(answer);
    cr_expect_eq(linux_call(SYS_getrandom, (uint64_t)bytes, sizeof bytes, 0, 0, 0, 0), 600);
    cr_expect_eq(gate_count(CALL_sysRandom), 3);
    cr_expect_eq(bytes[599], 0x5a);
}

Test(dispatch, the_system_is_new_enough_for_glibc)
{
    struct utsname name;
    gate_start(NULL);
    cr_expect_eq(linux_call(SYS_uname, (uint64_t)&name, 0, 0, 0, 0, 0), 0);
    cr_expect_str_eq(name.machine, "x86_64");
    cr_expect_geq(name.release[0], '3');
}

Test(dispatch, signal_calls_give_back_zeros_and_touch_nothing_else)
{
    uint8_t old[40];
    memset(old, 0xff, sizeof old);
    gate_start(NULL);
    cr_expect_eq(linux_call(SYS_rt_sigaction, 11, 0, (uint64_t)old, 4096, 0, 0), -EINVAL);
    cr_expect_eq(linux_call(SYS_rt_sigaction, 11, 0, (uint64_t)old, 8, 0, 0), 0);
    cr_expect_eq(old[31], 0);
    cr_expect_eq(old[32], 0xff);
    cr_expect_eq(linux_call(SYS_rt_sigprocmask, 0, 0, (uint64_t)(old + 32), 8, 0, 0), 0);
    cr_expect_eq(old[32], 0);
}

Test(dispatch, the_affinity_mask_has_the_sites_cpus)
{
    uint64_t mask = 0;
    gate_start(answer);
    cr_expect_eq(linux_call(SYS_sched_getaffinity, 0, 4, (uint64_t)&mask, 0, 0, 0), -EINVAL);
    cr_expect_eq(linux_call(SYS_sched_getaffinity, 0, 128, (uint64_t)&mask, 0, 0, 0), 8);
    cr_expect_eq(mask, 7);
}

Test(dispatch, every_status_has_an_errno)
{
    for (int status = -24; status < 0; status++)
        cr_expect(libc_result(status) < 0 && libc_result(status) > -4096);
    cr_expect_eq(libc_result(K_EFAULT), -EFAULT);
    cr_expect_eq(libc_result(-999), -EIO);
    cr_expect_eq(libc_result(42), 42);
}
