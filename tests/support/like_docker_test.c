/* The filter refuses what Docker's does, and nothing that an ordinary program needs. */

#include "like_docker.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* How a call ends under the filter: 0, or its errno. Each is tried in a process of its own. */
#define UNDER_FILTER(call) \
    ({ \
        int status_; \
        pid_t child_ = fork(); \
        if (child_ == 0) { \
            if (like_docker_install() != 0) \
                _exit(255); \
            errno = 0; \
            _exit((call) == -1 ? errno : 0); \
        } \
        waitpid(child_, &status_, 0); \
        WIFEXITED(status_) ? WEXITSTATUS(status_) : -1; \
    })

Test(like_docker, debugging_and_name_spaces_are_refused)
{
    cr_expect_eq(UNDER_FILTER(ptrace(PTRACE_TRACEME, 0, 0, 0)), EPERM);
    cr_expect_eq(UNDER_FILTER(unshare(CLONE_NEWUSER)), EPERM);
    cr_expect_eq(UNDER_FILTER(syscall(SYS_clone, CLONE_NEWUSER | 17, 0, 0, 0, 0)), EPERM);
    cr_expect_eq(UNDER_FILTER(syscall(SYS_mount, 0, 0, 0, 0, 0)), EPERM);
}

Test(like_docker, wide_and_new_interfaces_are_refused)
{
    cr_expect_eq(UNDER_FILTER(syscall(SYS_io_uring_setup, 1, 0)), EPERM);
    cr_expect_eq(UNDER_FILTER(syscall(SYS_bpf, 0, 0, 0)), EPERM);
    cr_expect_eq(UNDER_FILTER(syscall(SYS_userfaultfd, 0)), EPERM);
    cr_expect_eq(UNDER_FILTER(syscall(SYS_perf_event_open, 0, 0, 0, 0, 0)), EPERM);
    cr_expect_eq(UNDER_FILTER(syscall(SYS_keyctl, 0, 0, 0, 0, 0)), EPERM);
    cr_expect_eq(UNDER_FILTER(personality(ADDR_NO_RANDOMIZE)), EPERM);
    cr_expect_eq(UNDER_FILTER(socket(40, SOCK_STREAM, 0)), EPERM);
    cr_expect_eq(UNDER_FILTER(syscall(SYS_clone3, 0, 0)), ENOSYS);
    cr_expect_eq(UNDER_FILTER(syscall(500)), ENOSYS);
}

Test(like_docker, what_ordinary_programs_do_is_allowed)
{
    cr_expect_eq(UNDER_FILTER(syscall(SYS_memfd_create, "x", 0)), 0);
    cr_expect_eq(UNDER_FILTER(socket(AF_UNIX, SOCK_STREAM, 0)), 0);
    cr_expect_eq(UNDER_FILTER(personality(0xffffffff) < 0 ? -1 : 0), 0);
    cr_expect_eq(UNDER_FILTER(like_docker_install()), 0);
    cr_expect_eq(UNDER_FILTER(fork()), 0);
}
