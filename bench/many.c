/* many: what system calls cost while N processes make them at once: wall time by all calls of all of them. With two CPUs and nothing in the way it is half of one
 * call's time. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CALLS = 16000, ROUNDS = 3 };
static char buffer[4096];

static void null_calls(long n)
{
    while (n-- > 0)
        syscall(SYS_getppid);
}

static void reads(long n)
{
    int fd = open("many.tmp", O_RDONLY);
    while (n-- > 0)
        if (pread(fd, buffer, sizeof buffer, 0) != sizeof buffer)
            _exit(1);
    close(fd);
}

static void stats(long n)
{
    struct stat found;
    while (n-- > 0)
        if (stat("many.tmp", &found) != 0)
            _exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* All begin when the pipe that they wait for is closed, and end when the other one has no writer left. */
static double once(void (*calls)(long), int processes)
{
    int start[2], end[2], status, bad = 0;
    char byte;
    if (pipe(start) != 0 || pipe(end) != 0)
        exit(1);
    for (int i = 0; i < processes; i++) {
        pid_t child = fork();
        if (child < 0)
            exit(1);
        if (child == 0) {
            close(start[1]);
            close(end[0]);
            if (read(start[0], &byte, 1) != 0)
                _exit(1);
            calls(CALLS / processes);
            _exit(0);
        }
    }
    close(start[0]);
    close(end[1]);
    struct timespec rest = {.tv_nsec = 50000000};
    nanosleep(&rest, NULL);
    double from = now();
    close(start[1]);
    if (read(end[0], &byte, 1) != 0)
        exit(1);
    double took = now() - from;
    close(end[0]);
    while (wait(&status) > 0)
        bad |= status;
    if (bad)
        exit(1);
    return took / (CALLS / processes * processes);
}

static void show(const char *name, void (*calls)(long))
{
    static const int many[] = {1, 4, 16};
    for (int i = 0; i < 3; i++) {
        double best = 1e30;
        for (int round = 0; round < ROUNDS; round++) {
            double took = once(calls, many[i]);
            best = took < best ? took : best;
        }
        printf("%s_%d %.0f ns\n", name, many[i], best);
    }
}

int main(void)
{
    int fd = open("many.tmp", O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (fd < 0 || write(fd, buffer, sizeof buffer) != sizeof buffer)
        return 1;
    close(fd);
    show("many_null", null_calls);
    show("many_read", reads);
    show("many_stat", stats);
    unlink("many.tmp");
    return 0;
}
