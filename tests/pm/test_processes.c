/* Processes: fork, exit, wait, threads, and what is left over. */

#include <criterion/criterion.h>
#include <sched.h>
#include <sys/wait.h>

#include "fake_nucleus.h"
#include "process.h"

TestSuite(processes, .fini = fake_end, .timeout = 30);

static struct program child_of(struct program *parent)
{
    int64_t pid = fake_call(parent, SYS_fork);
    cr_assert_gt(pid, 1);
    return fake_newest();
}

static int status_at(struct program *program, uint64_t at)
{
    int status;
    fake_get(program, at, &status, sizeof status);
    return status;
}

Test(processes, waiting_without_children_is_refused)
{
    struct program program = fake_boot();
    cr_expect_eq(fake_call(&program, SYS_wait4, (uint64_t)-1, 0, 0, 0), -ECHILD);
    cr_expect_eq(fake_call(&program, SYS_wait4, (uint64_t)-1, 0, 0x100, 0), -EINVAL);
    cr_expect_eq(fake_call(&program, SYS_waitid, P_ALL, 0, 0, 0), -EINVAL);
}

Test(processes, a_child_has_its_parents_memory_and_its_own_number)
{
    struct program program = fake_boot();
    fake_put_string(&program, PLAY, "before");
    struct program child = child_of(&program);
    char text[8];
    fake_get(&child, PLAY, text, 7);
    cr_expect_str_eq(text, "before");
    cr_expect_eq(fake_result(&child), 0, "fork returns 0 in the child");
    cr_expect_eq(fake_call(&child, SYS_getpid), child.pid);
    cr_expect_eq(fake_call(&child, SYS_getppid), program.pid);
    fake_put_string(&child, PLAY, "after");
    fake_get(&program, PLAY, text, 7);
    cr_expect_str_eq(text, "before");
}

Test(processes, the_parent_learns_how_a_child_ended_and_nothing_is_left)
{
    struct program program = fake_boot(), child = child_of(&program);
    unsigned actors = fake_actors();
    cr_assert_eq(fake_call(&program, SYS_wait4, (uint64_t)-1, PLAY, WNOHANG, 0), 0);
    cr_assert_eq(fake_call(&program, SYS_wait4, (uint64_t)-1, PLAY, 0, 0), FAKE_BLOCKED);
    fake_call(&child, SYS_exit_group, 7);
    cr_assert_eq(fake_result(&program), child.pid);
    cr_assert_eq(status_at(&program, PLAY), 7 << 8);
    cr_assert_eq(fake_actors(), actors - 1);
    cr_assert_eq(fake_threads(), 1);
    cr_assert_eq(fake_saved(), 0);
    cr_assert_null(process_find(child.pid));
}

Test(processes, a_killed_child_has_its_signal_as_status)
{
    struct program program = fake_boot(), child = child_of(&program);
    fake_call(&program, SYS_kill, (uint64_t)child.pid, SIGKILL);
    cr_assert_eq(fake_call(&program, SYS_wait4, (uint64_t)child.pid, PLAY, 0, 0), FAKE_BLOCKED);
    fake_pass(NANOSECONDS);
    cr_assert_eq(fake_result(&program), child.pid);
    cr_assert_eq(status_at(&program, PLAY), SIGKILL);
}

Test(processes, who_ignores_SIGCHLD_has_no_zombies)
{
    struct program program = fake_boot(), child = child_of(&program);
    uint64_t action[4] = { (uint64_t)SIG_IGN };
    fake_put(&program, PLAY, action, sizeof action);
    fake_call(&program, SYS_rt_sigaction, SIGCHLD, PLAY, 0, 8);
    fake_call(&child, SYS_exit_group, 0);
    cr_assert_null(process_find(child.pid));
    cr_assert_eq(fake_call(&program, SYS_wait4, (uint64_t)-1, 0, 0, 0), -ECHILD);
}

Test(processes, orphans_go_to_init_and_leave_no_zombie)
{
    struct program program = fake_boot(), child = child_of(&program), grandchild = child_of(&child);
    fake_call(&child, SYS_exit_group, 0);
    cr_assert_eq(fake_call(&grandchild, SYS_getppid), 1);
    fake_call(&grandchild, SYS_exit_group, 0);
    cr_assert_null(process_find(grandchild.pid));
}

Test(processes, the_parent_of_a_vfork_waits_until_the_child_ends)
{
    struct program program = fake_boot();
    cr_assert_eq(fake_call(&program, SYS_vfork), FAKE_BLOCKED);
    struct program child = fake_newest();
    cr_assert_eq(fake_actors(), 1, "both live in one actor");
    fake_put_string(&child, PLAY, "shared");
    fake_call(&child, SYS_exit_group, 0);
    cr_assert_eq(fake_result(&program), child.pid);
    char text[8];
    fake_get(&program, PLAY, text, 7);
    cr_assert_str_eq(text, "shared");
}

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |       \
                      CLONE_SYSVSEM | CLONE_CHILD_CLEARTID)

Test(processes, threads_share_all_and_end_with_their_process)
{
    struct program program = fake_boot();
    int32_t word = 77;
    fake_put(&program, PLAY, &word, sizeof word);
    int64_t tid = fake_call(&program, SYS_clone, THREAD_FLAGS, PLAY + 0x8000, 0, PLAY, 0);
    struct program thread = fake_newest();
    cr_assert_eq(fake_call(&thread, SYS_gettid), tid);
    cr_assert_eq(fake_call(&thread, SYS_getpid), program.pid);
    fake_call(&thread, SYS_exit, 0);
    cr_assert_eq(fake_where(&thread), FAKE_GONE);
    fake_get(&program, PLAY, &word, sizeof word);
    cr_assert_eq(word, 0, "set_tid_address's word is cleared");
    cr_assert_eq(fake_call(&program, SYS_getpid), program.pid);
    fake_call(&program, SYS_clone, THREAD_FLAGS, PLAY + 0x8000, 0, PLAY, 0);
    fake_call(&program, SYS_exit_group, 0);
    cr_assert_eq(fake_threads(), 0);
}

Test(processes, flags_that_are_not_there_are_refused)
{
    struct program program = fake_boot();
    cr_expect_eq(fake_call(&program, SYS_clone, CLONE_THREAD, 0, 0, 0, 0), -EINVAL);
    cr_expect_eq(fake_call(&program, SYS_clone, CLONE_NEWPID, 0, 0, 0, 0), -EINVAL);
    cr_expect_eq(fake_call(&program, SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0), -EINVAL);
    cr_expect_eq(fake_threads(), 1);
    cr_expect_eq(fake_actors(), 1);
}

Test(processes, the_end_of_the_command_is_the_end_of_the_site)
{
    struct program program = fake_boot(), child = child_of(&program);
    fake_call(&program, SYS_exit_group, 5);
    fake_pass(5 * NANOSECONDS);
    cr_assert_eq(fake_where(&child), FAKE_GONE);
    cr_assert_eq(fake_shutdowns, 1);
    cr_assert_eq(fake_shutdown_status, 5);
}

Test(processes, ids_follow_the_rules)
{
    struct program program = fake_boot(), child = child_of(&program);
    cr_assert_eq(fake_call(&child, SYS_setresuid, 1000, 1000, 0), 0);
    cr_expect_eq(fake_call(&child, SYS_setuid, 5), -EPERM);
    cr_expect_eq(fake_call(&child, SYS_setreuid, (uint64_t)-1, 0), 0, "the saved one is 0");
    cr_expect_eq(fake_call(&child, SYS_geteuid), 0);
    cr_expect_eq(fake_call(&child, SYS_setuid, 1000), 0);
    cr_expect_eq(fake_call(&child, SYS_setresuid, 0, 0, 0), -EPERM);
    cr_expect_eq(fake_call(&child, SYS_chroot, fake_put_string(&child, PLAY, "/")), -EPERM);
}
