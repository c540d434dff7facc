/* What the nucleus process itself may still ask of the host once it runs: a list of what it uses.
 *
 * It holds the memory of all actors, so whoever could make it run code of his own would gain all of
 * them; he should not gain the host's user as well. Everything else fails with EPERM: no programs
 * are started, no processes but threads made, no sockets opened, no other process looked into. */

#include "site_filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned allowed[] = {
    /* waiting, waking, time */
    SYS_futex, SYS_futex_waitv, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_ctl, SYS_poll, SYS_ppoll, SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep,
    SYS_gettimeofday, SYS_clock_getres, SYS_timer_create, SYS_timer_settime, SYS_timer_delete, SYS_timer_gettime, SYS_restart_syscall, SYS_sched_yield,
    /* actors' processes: preempted, killed, bound, looked at; the zygote is reaped */
    SYS_tgkill, SYS_kill, SYS_sched_setaffinity, SYS_sched_getaffinity, SYS_wait4, SYS_getpid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid,
    /* devices, log, trace, core files, control socket */
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2, SYS_pwritev2, SYS_lseek, SYS_fsync,
    SYS_fdatasync, SYS_fallocate, SYS_ftruncate, SYS_openat, SYS_close, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_fcntl, SYS_ioctl, SYS_unlink, SYS_unlinkat,
    SYS_rmdir, SYS_getdents64, SYS_readlink, SYS_accept4, SYS_recvfrom, SYS_sendto, SYS_recvmsg, SYS_sendmsg, SYS_getsockopt, SYS_shutdown, SYS_access,
    SYS_splice, SYS_tee, SYS_dup, SYS_sync_file_range, SYS_fadvise64, SYS_io_uring_enter /* its ring is restricted: io_ring.h */,
    /* memory */
    SYS_mmap, SYS_munmap, SYS_mprotect, SYS_madvise, SYS_mremap, SYS_brk, SYS_mlock, SYS_munlock, SYS_memfd_create /* chorus show */,
    /* threads and signals of its own */
    SYS_rt_sigreturn, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_sigaltstack, SYS_rt_sigtimedwait, SYS_set_robust_list, SYS_rseq, SYS_prctl, SYS_arch_prctl,
    SYS_getrandom, SYS_exit, SYS_exit_group, SYS_set_tid_address, SYS_sched_setattr, SYS_sched_getattr, SYS_getrusage, SYS_prlimit64, SYS_uname,
};
#define ALLOWED (sizeof allowed / sizeof *allowed)

bool site_filter_install(void)
{
    struct sock_filter code[ALLOWED + 16];
    unsigned short n = 0;
    _Static_assert(ALLOWED < 240, "jumps are of 8 bits");
#define EMIT(...) (code[n++] = (struct sock_filter)__VA_ARGS__)
    EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
    EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    /* Threads, but no processes: clone with CLONE_THREAD; clone3's flags cannot be seen, libc falls back on ENOSYS. */
    EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1));
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
    EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4));
    EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])));
    EMIT(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1));
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    for (size_t i = 0; i < ALLOWED; i++)
        EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], (uint8_t)(ALLOWED - i), 0));
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    EMIT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
#undef EMIT
    struct sock_fprog program = {n, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}
