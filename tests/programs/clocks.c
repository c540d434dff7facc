/* clocks: the time by the vDSO and the time by a system call are one clock: alternating between them, in several threads, over sleeps, it never goes back.
 * With the argument `quiet`: by the vDSO alone, so that a trace of system calls shows whether it needs any. */

#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

#define SECOND 1000000000ll
enum { THREADS = 3, ROUNDS = 40000 };

static int64_t of(struct timespec time)
{
    return time.tv_sec * SECOND + time.tv_nsec;
}

static int64_t by_libc(clockid_t clock)
{
    struct timespec time = { -1, -1 };
    EXPECT(clock_gettime(clock, &time) == 0 && time.tv_nsec >= 0 && time.tv_nsec < SECOND);
    return of(time);
}

static int64_t by_trap(clockid_t clock)
{
    struct timespec time = { -1, -1 };
    EXPECT(syscall(SYS_clock_gettime, clock, &time) == 0);
    return of(time);
}

static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME };
#define CLOCKS (sizeof clocks / sizeof *clocks)

/* The latest that any thread has seen, of each clock. */
static _Atomic int64_t seen[CLOCKS];

static void look(unsigned i, int64_t (*read)(clockid_t clock))
{
    int64_t before = seen[i], now = read(clocks[i]);
    EXPECT(now >= before);
    while (before < now && !__atomic_compare_exchange_n((int64_t *)&seen[i], &before, now, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

static void *watch(void *rounds)
{
    for (long round = 0; round < (long)rounds; round++)
        for (unsigned i = 0; i < CLOCKS; i++) {
            look(i, by_libc);
            if (round % 8 == 0)
                look(i, by_trap);
        }
    return NULL;
}

static void in_threads(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, watch, (void *)(long)ROUNDS) == 0);
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
}

static void over_sleeps(void)
{
    for (int64_t length = 100000; length < SECOND; length *= 7) {
        struct timespec time = { length / SECOND, length % SECOND };
        int64_t from = by_libc(CLOCK_MONOTONIC), from_day = by_libc(CLOCK_REALTIME);
        EXPECT(nanosleep(&time, NULL) == 0);
        int64_t slept = by_libc(CLOCK_MONOTONIC) - from, day = by_libc(CLOCK_REALTIME) - from_day;
        EXPECT(slept >= length && day >= length);
        EXPECT(slept < length + 5 * SECOND && day < length + 5 * SECOND);
        watch((void *)10L);
    }
}

static void the_same_in_other_units(void)
{
    struct timeval value;
    struct timezone zone = { 1, 1 };
    time_t stored = 0;
    int64_t from = by_libc(CLOCK_REALTIME) / 1000;
    EXPECT(gettimeofday(&value, NULL) == 0);
    EXPECT(value.tv_sec * 1000000ll + value.tv_usec >= from);
    EXPECT(value.tv_sec * 1000000ll + value.tv_usec <= by_libc(CLOCK_REALTIME) / 1000);
    EXPECT(syscall(SYS_gettimeofday, NULL, &zone) == 0);
    time_t before = by_libc(CLOCK_REALTIME) / SECOND - 1, now = time(&stored); /* Linux's time() is that of the last tick */
    EXPECT(now >= before && now == stored && now <= by_libc(CLOCK_REALTIME) / SECOND);
    EXPECT(time(NULL) >= now);
}

static void odd_arguments(void)
{
    struct timespec time = { 0, 0 };
    EXPECT(clock_gettime(1000, &time) == -1 && errno == EINVAL);
    EXPECT(clock_gettime(10, &time) == -1 && errno == EINVAL);
    EXPECT(clock_getres(1000, &time) == -1 && errno == EINVAL);
    EXPECT(clock_getres(CLOCK_MONOTONIC, NULL) == 0);
    EXPECT(clock_getres(CLOCK_MONOTONIC, &time) == 0 && time.tv_sec == 0 && time.tv_nsec == 1);
    EXPECT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0);
    EXPECT(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "quiet") == 0) {
        struct timespec pause = { 0, 50000000 };
        nanosleep(&pause, NULL); /* the machine has seen the counter run for a while now */
        for (int i = 0; i < 1000; i++)
            by_libc(CLOCK_MONOTONIC), by_libc(CLOCK_REALTIME), by_libc(CLOCK_REALTIME_COARSE), time(NULL);
    } else {
        over_sleeps();
        in_threads();
        the_same_in_other_units();
        odd_arguments();
    }
    printf("the clocks agree\n");
    return 0;
}
