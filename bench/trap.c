/* trap: the host's cost of a trap: a system call that seccomp turns into SIGSYS, its handler, and the way back by rt_sigreturn. The unit for what a Unix system call costs. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile long seen;

static void handler(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    seen++;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 1;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(void)
{
    enum { N = 50000, ROUNDS = 7 };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    double best = 1e30;
    if (sigaction(SIGSYS, &action, NULL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("trap");
        return 1;
    }
    for (int round = 0; round < ROUNDS; round++) {
        double from = now();
        for (long i = 0; i < N; i++)
            syscall(SYS_getppid);
        double took = (now() - from) / N;
        best = took < best ? took : best;
    }
    if (seen != (long)N * ROUNDS)
        return 1;
    printf("trap %.0f ns\n", best);
    return 0;
}
