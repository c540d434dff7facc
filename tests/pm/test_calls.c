/* The table of calls, bad pointers, and --strace. */

#include <criterion/criterion.h>
#include <stdio.h>

#include "call.h"
#include "fake_nucleus.h"
#include "process.h"
#include "strace.h"

TestSuite(calls, .fini = fake_end, .timeout = 30);

Test(calls, an_unknown_number_is_reported_once_and_is_ENOSYS)
{
    struct program program = fake_boot();
    pm_options.verbose = true;
    fake_log();
    cr_assert_eq(fake_call(&program, 5000), -ENOSYS);
    cr_assert_not_null(strstr(fake_log(), "unknown number (5000)"));
    cr_assert_eq(fake_call(&program, 5000), -ENOSYS);
    cr_assert_str_empty(fake_log());
    cr_assert_eq(fake_call(&program, SYS_bpf), -ENOSYS);
    cr_assert_not_null(strstr(fake_log(), "bpf"));
}

/* Those that end or stop the caller, or wait for ever by right. */
static bool is_left_out(uint32_t number)
{
    static const uint32_t left_out[] = {
        SYS_exit, SYS_exit_group, SYS_pause, SYS_rt_sigreturn, SYS_fork, SYS_vfork, SYS_clone,
        SYS_clone3, SYS_rt_sigsuspend, SYS_reboot, SYS_kill, SYS_tkill, SYS_tgkill, SYS_munmap,
        SYS_brk, SYS_rt_sigtimedwait, SYS_mprotect, SYS_mremap, SYS_execve, SYS_sched_yield,
        SYS_close_range, SYS_close, SYS_setuid, SYS_setresuid, SYS_setreuid, SYS_dup2, SYS_dup3,
        SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_chroot, SYS_alarm, SYS_setrlimit,
        SYS_prlimit64, SYS_setitimer, SYS_madvise, SYS_mmap,
    };
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (left_out[i] == number)
            return true;
    return false;
}

Test(calls, wild_pointers_in_every_argument_harm_nobody)
{
    static const uint64_t wild[] = { 1, 0x7000000000ull, 0xffffffff81000000ull, UINT64_MAX,
                                     PLAY + PLAY_SIZE - 1, 0x800000000000ull };
    struct program program = fake_boot();
    for (uint64_t fd = 0; fd < 3; fd++) /* so that no wild descriptor waits for a person */
        fake_call(&program, SYS_fcntl, fd, 4 /* F_SETFL */, 04002 /* O_RDWR | O_NONBLOCK */);
    for (uint32_t number = 0; number < LINUX_CALLS; number++) {
        if (linux_calls[number].handler == NULL || is_left_out(number))
            continue;
        for (size_t value = 0; value < sizeof wild / sizeof *wild; value++) {
            for (int place = 0; place < 6; place++) {
                uint64_t arguments[6] = { 3, 1, 1, 1, 1, 1 };
                arguments[place] = wild[value];
                int64_t result = fake_call6(&program, number, arguments);
                cr_assert_neq(result, FAKE_BLOCKED, "%s waits", linux_calls[number].name);
                cr_assert_neq(fake_where(&program), FAKE_GONE, "%s", linux_calls[number].name);
            }
        }
    }
    cr_assert_eq(fake_call(&program, SYS_getpid), program.pid);
}

Test(calls, every_address_is_looked_at_before_anything_is_believed)
{
    struct program program = fake_boot();
    cr_expect_eq(fake_call(&program, SYS_write, 1, 0x7000000000, 5), -EFAULT);
    cr_expect_eq(fake_call(&program, SYS_open, 0x7000000000, 0), -EFAULT);
    cr_expect_eq(fake_call(&program, SYS_pipe, 0x7000000000), -EFAULT);
    cr_expect_eq(fake_call(&program, SYS_nanosleep, 0x7000000000, 0), -EFAULT);
    cr_expect_eq(fake_call(&program, SYS_rt_sigaction, SIGINT, 0x7000000000, 0, 8), -EFAULT);
    cr_expect_eq(fake_call(&program, SYS_uname, 0), -EFAULT);
    cr_expect_eq(fake_screen_size, 0);
}

static const char *decoded(struct program *program, uint32_t number, uint64_t a, uint64_t b,
                           uint64_t c, uint64_t d)
{
    static char line[512];
    KnTrapMsg trap = { .kind = K_TRAP_SYSCALL, .number = number, .arg = { a, b, c, d } };
    struct thread *thread = thread_find_cookie(program->cookie);
    pm_lock();
    call_begin(&thread->call, &trap);
    strace_decode(&thread->call, line, sizeof line);
    call_end(&thread->call);
    pm_unlock();
    return line;
}

Test(calls, strace_shows_calls_in_words)
{
    struct program program = fake_boot();
    fake_put_string(&program, PLAY, "/etc/\tmotd");
    cr_expect_str_eq(decoded(&program, SYS_openat, (uint64_t)-100, PLAY, 02101, 0644),
                     "openat(AT_FDCWD, \"/etc/\\tmotd\", O_WRONLY|O_CREAT|O_APPEND, 0644)");
    cr_expect_str_eq(decoded(&program, SYS_write, 1, PLAY, 4, 0), "write(1, \"/etc\", 4)");
    cr_expect_str_eq(decoded(&program, SYS_kill, 5, 9, 0, 0), "kill(5, SIGKILL)");
    cr_expect_str_eq(decoded(&program, SYS_open, 0x7000000000, 0, 0, 0),
                     "open(0x7000000000, O_RDONLY, 0)");
    cr_expect_str_eq(decoded(&program, SYS_munmap, 0, 4096, 0, 0), "munmap(NULL, 4096)");
    cr_expect_str_eq(decoded(&program, SYS_lseek, 1, 5000000000, 0, 0), "lseek(1, 5000000000, 0)");
}

Test(calls, every_call_of_the_table_is_well_described)
{
    static const char kinds[] = " int uint hex oct size off fd at sig str in out time ptr open prot map ";
    for (uint32_t number = 0; number < LINUX_CALLS; number++) {
        const char *at = linux_calls[number].arguments;
        if (linux_calls[number].name == NULL)
            continue;
        cr_assert(linux_calls[number].handler != NULL || *linux_calls[number].missing,
                  "%s is missing without a reason", linux_calls[number].name);
        while (*at != '\0') {
            char kind[16];
            const char *equals = strchr(at, '=');
            cr_assert_not_null(equals, "%s", linux_calls[number].name);
            size_t length = strcspn(equals + 1, " ");
            snprintf(kind, sizeof kind, " %.*s ", (int)length, equals + 1);
            cr_assert_not_null(strstr(kinds, kind), "%s:%s", linux_calls[number].name, kind);
            at = equals + 1 + length + (equals[1 + length] == ' ');
        }
    }
}
