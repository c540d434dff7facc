/* Job control: groups, sessions, stopping and going on, the terminal. */

#include <criterion/criterion.h>
#include <sys/wait.h>

#include "fake_nucleus.h"
#include "process.h"

TestSuite(jobs, .fini = fake_end, .timeout = 30);

static struct program child_of(struct program *parent)
{
    cr_assert_gt(fake_call(parent, SYS_fork), 1);
    return fake_newest();
}

static int status_at(struct program *program, uint64_t at)
{
    int status;
    fake_get(program, at, &status, sizeof status);
    return status;
}

Test(jobs, groups_and_sessions_follow_the_rules)
{
    struct program shell = fake_boot(), child = child_of(&shell);
    cr_expect_eq(fake_call(&shell, SYS_setpgid, 0, 0), -EPERM, "a session's leader stays");
    cr_expect_eq(fake_call(&shell, SYS_setsid), -EPERM);
    cr_expect_eq(fake_call(&shell, SYS_setpgid, (uint64_t)child.pid, 9999), -EPERM);
    cr_expect_eq(fake_call(&shell, SYS_setpgid, (uint64_t)child.pid, (uint64_t)child.pid), 0);
    cr_expect_eq(fake_call(&child, SYS_getpgrp), child.pid);
    cr_expect_eq(fake_call(&child, SYS_getsid, 0), shell.pid);
    cr_expect_eq(fake_call(&child, SYS_setpgid, (uint64_t)shell.pid, 0), -ESRCH);
    cr_expect_eq(fake_call(&child, SYS_setpgid, 0, (uint64_t)shell.pid), 0);
    cr_expect_eq(fake_call(&child, SYS_setsid), child.pid);
}

Test(jobs, a_stopped_child_is_told_and_goes_on)
{
    struct program shell = fake_boot(), child = child_of(&shell);
    fake_call(&shell, SYS_kill, (uint64_t)child.pid, SIGSTOP);
    cr_assert_eq(fake_where(&child), FAKE_WAITS);
    cr_assert_eq(fake_call(&shell, SYS_wait4, (uint64_t)-1, PLAY, WUNTRACED, 0), child.pid);
    cr_assert(WIFSTOPPED(status_at(&shell, PLAY)));
    cr_assert_eq(fake_call(&shell, SYS_wait4, (uint64_t)-1, PLAY, WUNTRACED | WNOHANG, 0), 0);
    fake_call(&shell, SYS_kill, (uint64_t)child.pid, SIGCONT);
    cr_assert_eq(fake_where(&child), FAKE_RUNS);
    cr_assert_eq(fake_call(&shell, SYS_wait4, (uint64_t)-1, PLAY, WCONTINUED, 0), child.pid);
    cr_assert(WIFCONTINUED(status_at(&shell, PLAY)));
}

Test(jobs, a_call_that_waits_goes_on_after_a_stop)
{
    struct program shell = fake_boot();
    int fds[2];
    cr_assert_eq(fake_call(&shell, SYS_pipe, PLAY), 0);
    fake_get(&shell, PLAY, fds, sizeof fds);
    struct program child = child_of(&shell);
    cr_assert_eq(fake_call(&child, SYS_read, (uint64_t)fds[0], PLAY + 64, 4), FAKE_BLOCKED);
    fake_call(&shell, SYS_kill, (uint64_t)child.pid, SIGSTOP);
    fake_put_string(&shell, PLAY, "abc");
    cr_assert_eq(fake_call(&shell, SYS_write, (uint64_t)fds[1], PLAY, 4), 4);
    cr_assert_eq(fake_where(&child), FAKE_WAITS, "who is stopped takes nothing");
    fake_call(&shell, SYS_kill, (uint64_t)child.pid, SIGCONT);
    cr_assert_eq(fake_result(&child), 4);
}

Test(jobs, a_stopped_process_can_be_killed)
{
    struct program shell = fake_boot(), child = child_of(&shell);
    fake_call(&shell, SYS_kill, (uint64_t)child.pid, SIGSTOP);
    fake_call(&shell, SYS_kill, (uint64_t)child.pid, SIGKILL);
    cr_assert_eq(fake_where(&child), FAKE_GONE);
    cr_assert_eq(fake_saved(), 0);
}

Test(jobs, reading_the_terminal_from_behind_stops_the_group)
{
    struct program shell = fake_boot(), child = child_of(&shell);
    fake_call(&shell, SYS_setpgid, (uint64_t)child.pid, (uint64_t)child.pid);
    fake_foreground = shell.pid;
    cr_assert_eq(fake_call(&child, SYS_read, 0, PLAY, 10), FAKE_BLOCKED);
    cr_assert_eq(fake_call(&shell, SYS_wait4, (uint64_t)-1, PLAY, WUNTRACED, 0), child.pid);
    cr_assert_eq(WSTOPSIG(status_at(&shell, PLAY)), SIGTTIN);
    fake_foreground = child.pid;
    fake_call(&shell, SYS_kill, (uint64_t)child.pid, SIGCONT);
    cr_assert_eq(fake_where(&child), FAKE_WAITS, "now it waits for somebody to type");
    fake_type("hello\n");
    cr_assert_eq(fake_result(&child), 6);
}

Test(jobs, reading_from_behind_fails_when_the_signal_is_ignored_or_nobody_could_go_on)
{
    struct program shell = fake_boot(), child = child_of(&shell);
    fake_call(&shell, SYS_setpgid, (uint64_t)child.pid, (uint64_t)child.pid);
    fake_foreground = shell.pid;
    uint64_t action[4] = { (uint64_t)SIG_IGN };
    fake_put(&child, PLAY, action, sizeof action);
    fake_call(&child, SYS_rt_sigaction, SIGTTIN, PLAY, 0, 8);
    cr_assert_eq(fake_call(&child, SYS_read, 0, PLAY, 10), -EIO);
    struct program grandchild = child_of(&child);
    action[0] = (uint64_t)SIG_DFL;
    fake_put(&grandchild, PLAY, action, sizeof action);
    fake_call(&grandchild, SYS_rt_sigaction, SIGTTIN, PLAY, 0, 8);
    fake_call(&child, SYS_exit_group, 0);
    cr_assert_eq(fake_call(&grandchild, SYS_read, 0, PLAY, 10), -EIO, "an orphaned group");
}

Test(jobs, a_stopped_group_that_is_orphaned_is_hung_up)
{
    struct program shell = fake_boot(), child = child_of(&shell), worker = child_of(&child);
    fake_call(&worker, SYS_setpgid, 0, 0);
    fake_call(&shell, SYS_kill, (uint64_t)worker.pid, SIGSTOP);
    cr_assert_eq(fake_where(&worker), FAKE_WAITS);
    fake_call(&child, SYS_exit_group, 0);
    cr_assert_eq(fake_where(&worker), FAKE_GONE, "SIGHUP, then SIGCONT");
}
