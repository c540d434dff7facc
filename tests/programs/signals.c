/* Signals: masks, pending ones, alternate stacks, the address of a fault, restarting calls, timers,
 * children, stopping and continuing. */

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

static volatile sig_atomic_t count;
static volatile siginfo_t last;
static volatile int on_alternate_stack;
static sigjmp_buf back;
static char alternate[65536];

static void note(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    char here;
    count++;
    last = *info;
    on_alternate_stack = &here >= alternate && &here < alternate + sizeof alternate;
}

static void note_and_jump(int number, siginfo_t *info, void *context)
{
    note(number, info, context);
    siglongjmp(back, 1);
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
    EXPECT(sigaction(number, &action, NULL) == 0);
    count = 0;
}

static void blocked_signals_wait_and_merge(void)
{
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    handle(SIGUSR1, note, 0);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    raise(SIGUSR1);
    EXPECT(count == 0 && sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    EXPECT(count == 1 && last.si_signo == SIGUSR1 && last.si_pid == getpid());
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    sigemptyset(&set);
    EXPECT(sigsuspend(&set) == -1 && errno == EINTR && count == 2);
}

static void a_fault_tells_its_address(void)
{
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t stack = { .ss_sp = alternate, .ss_size = sizeof alternate };
    EXPECT(page != MAP_FAILED && sigaltstack(&stack, NULL) == 0);
    handle(SIGSEGV, note_and_jump, SA_ONSTACK);
    if (sigsetjmp(back, 1) == 0)
        *(volatile char *)(page + 123) = 1;
    EXPECT(count == 1 && last.si_addr == page + 123 && last.si_code == SEGV_ACCERR);
    EXPECT(on_alternate_stack);
    munmap(page, 4096);
    if (sigsetjmp(back, 1) == 0)
        (void)*(volatile char *)page;
    EXPECT(count == 2 && last.si_addr == page && last.si_code == SEGV_MAPERR);
    handle(SIGFPE, note_and_jump, 0);
    volatile int zero = 0;
    if (sigsetjmp(back, 1) == 0)
        zero = 7 / zero;
    EXPECT(count == 1 && last.si_code == FPE_INTDIV);
    handle(SIGILL, note_and_jump, 0);
    if (sigsetjmp(back, 1) == 0)
        __builtin_trap();
    EXPECT(count == 1);
}

static void calls_are_interrupted_or_restarted(void)
{
    int fds[2];
    char byte;
    struct itimerval timer = { .it_value.tv_usec = 50000 };
    EXPECT(pipe(fds) == 0);
    handle(SIGALRM, note, 0);
    setitimer(ITIMER_REAL, &timer, NULL);
    EXPECT(read(fds[0], &byte, 1) == -1 && errno == EINTR && count == 1);
    handle(SIGALRM, note, SA_RESTART);
    setitimer(ITIMER_REAL, &timer, NULL);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        usleep(200000);
        _exit(write(fds[1], "x", 1) != 1);
    }
    EXPECT(read(fds[0], &byte, 1) == 1 && count == 1);
    EXPECT(waitpid(child, NULL, 0) == child);
}

static void children_stop_continue_and_die(void)
{
    int status;
    handle(SIGCHLD, note, SA_RESTART);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0)
        for (;;)
            pause();
    kill(child, SIGSTOP);
    EXPECT(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    EXPECT(WSTOPSIG(status) == SIGSTOP);
    kill(child, SIGCONT);
    EXPECT(waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status));
    kill(child, SIGTERM);
    EXPECT(waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGTERM);
    EXPECT(count >= 1 && last.si_pid == child);
    signal(SIGPIPE, SIG_IGN);
    int fds[2];
    EXPECT(pipe(fds) == 0 && close(fds[0]) == 0);
    EXPECT(write(fds[1], "x", 1) == -1 && errno == EPIPE);
}

int main(void)
{
    blocked_signals_wait_and_merge();
    a_fault_tells_its_address();
    calls_are_interrupted_or_restarted();
    children_stop_continue_and_die();
    printf("signals arrive\n");
    return 0;
}
