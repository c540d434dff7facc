/* wild [SEED]: every Linux call with wild pointers and numbers, many times, each round in a process
 * of its own. It may fail, be killed or hang; whatever it does, its parent goes on. */

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

enum { CALLS = 470, ROUNDS = 3, AT_ONCE = 8, LIMIT_SECONDS = 2 };

/* Calls that would only end the test's own process or wait for ever, or that on the host would
 * reach other processes of the user. */
static int is_left_out(long number)
{
    static const long left_out[] = { SYS_exit, SYS_exit_group, SYS_pause, SYS_kill, SYS_tkill,
                                     SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
                                     SYS_reboot, SYS_vfork, SYS_fork, SYS_clone, SYS_clone3 };
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (left_out[i] == number)
            return 1;
    return 0;
}

static unsigned long wild_value(unsigned long *state)
{
    static char good[4096];
    unsigned long random = next_random(state);
    switch (random % 12) {
    case 0: return 0;
    case 1: return 1;
    case 2: return ~0ul;
    case 3: return 0xffff800000000000ul; /* the kernel's half */
    case 4: return 0x10000;              /* the gate's pages */
    case 5: return 0x7ffffffff000ul;
    case 6: return (unsigned long)good;
    case 7: return (unsigned long)good + 4095; /* may run over the end */
    case 8: return (unsigned long)&wild_value; /* not writable */
    case 9: return 1ul << 63;
    case 10: return random >> 20;
    default: return next_random(state);
    }
}

static void call_wildly(long number, unsigned long seed)
{
    unsigned long argument[6];
    int nowhere = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(nowhere, fd); /* what it writes is not the test's output */
    for (int i = 0; i < 6; i++)
        argument[i] = wild_value(&seed);
    syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4],
            argument[5]);
    _exit(0);
}

/* The children that run, and when each must be killed: a call may well wait for ever, with every
 * signal but that one blocked. */
static struct child {
    pid_t process; /* 0: this place is free */
    time_t deadline;
} children[AT_ONCE];

static time_t seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Bury who is dead, kill who is late. Returns how many are left. */
static int look_after_children(void)
{
    int left = 0;
    for (int i = 0; i < AT_ONCE; i++) {
        struct child *child = &children[i];
        if (child->process == 0)
            continue;
        if (seconds() > child->deadline)
            kill(child->process, SIGKILL);
        pid_t found = waitpid(child->process, NULL, WNOHANG);
        EXPECT(found >= 0);
        if (found != 0)
            child->process = 0;
        else
            left++;
    }
    return left;
}

static void start_child(long number, unsigned long seed)
{
    while (look_after_children() == AT_ONCE)
        usleep(2000);
    struct child *child = children;
    while (child->process != 0)
        child++;
    child->deadline = seconds() + LIMIT_SECONDS;
    child->process = fork();
    EXPECT(child->process >= 0);
    if (child->process == 0)
        call_wildly(number, seed);
}

int main(int argc, char **argv)
{
    unsigned long state = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    state = state * 2654435761u + 88172645463325252ul;
    for (long number = 0; number < CALLS; number++)
        for (int round = 0; round < ROUNDS && !is_left_out(number); round++)
            start_child(number, next_random(&state));
    while (look_after_children() > 0)
        usleep(2000);
    printf("the parent lives\n");
    return 0;
}
