/* vdso.c: what programs of Linux call for the time instead of making a system call. See <exec/chAnswers.h>.
 *
 * This is a program image of its own, mapped at K_VDSO in every user actor; no libc, no data, no relocation. It answers as the Process Manager does: all
 * clocks that go with the monotonic one are it, and all are as fine as it. The CPU clocks are the Nucleus's: they trap.
 */
#include <exec/chAnswers.h>
#include <stddef.h>
#include <sys/syscall.h>

#define SECOND 1000000000ll
#define VISIBLE __attribute__((visibility("default")))

struct timespec {
    int64_t seconds, nanoseconds;
};
struct timeval {
    int64_t seconds, microseconds;
};
struct timezone {
    int32_t minutes_west, dst;
};

enum clock_kind { CLOCK_UNKNOWN, CLOCK_OF_SITE, CLOCK_OF_DAY };

static inline long trap(long number, uint64_t a, const void *b, const void *c)
{
    __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return number;
}

static inline uint64_t counter_now(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
}

/* The time of a clock; false: it must be asked for. */
static inline int read_clock(enum clock_kind kind, int64_t *ret_time)
{
    const volatile KnAnswers *page = (const volatile KnAnswers *)K_ANSWERS;
    KnAnswers answers;
    uint64_t counter;
    do {
        answers.sequence = page->sequence;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        answers.counter = page->counter;
        answers.time = page->time;
        answers.fraction = page->fraction;
        answers.rate = page->rate;
        answers.day = kind == CLOCK_OF_DAY ? page->day : 0;
        answers.clockUsable = page->clockUsable;
        counter = counter_now();
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while ((answers.sequence & 1) != 0 || page->sequence != answers.sequence);
    *ret_time = knAnswersTime(&answers, counter) + answers.day;
    return answers.clockUsable != 0;
}

/* 0 to 11 as Linux numbers them. */
static inline enum clock_kind kind_of(unsigned clock)
{
    static const unsigned of_day = 1u << 0 | 1u << 5 | 1u << 8 | 1u << 11;           /* REALTIME, _COARSE, _ALARM, TAI */
    static const unsigned of_site = 1u << 1 | 1u << 4 | 1u << 6 | 1u << 7 | 1u << 9; /* MONOTONIC, _RAW, _COARSE, BOOTTIME, _ALARM */
    if (clock > 11)
        return CLOCK_UNKNOWN;
    return of_site >> clock & 1 ? CLOCK_OF_SITE : of_day >> clock & 1 ? CLOCK_OF_DAY : CLOCK_UNKNOWN;
}

VISIBLE int __vdso_clock_gettime(int clock, struct timespec *to)
{
    int64_t time;
    enum clock_kind kind = kind_of((unsigned)clock);
    if (kind == CLOCK_UNKNOWN || !read_clock(kind, &time))
        return (int)trap(SYS_clock_gettime, (uint64_t)(int64_t)clock, to, NULL);
    to->seconds = (int64_t)((uint64_t)time / SECOND);
    to->nanoseconds = (int64_t)((uint64_t)time % SECOND);
    return 0;
}

VISIBLE int __vdso_clock_getres(int clock, struct timespec *to)
{
    if (kind_of((unsigned)clock) == CLOCK_UNKNOWN)
        return (int)trap(SYS_clock_getres, (uint64_t)(int64_t)clock, to, NULL);
    if (to != NULL)
        *to = (struct timespec){0, 1};
    return 0;
}

VISIBLE int __vdso_gettimeofday(struct timeval *to, struct timezone *zone)
{
    int64_t time;
    if (!read_clock(CLOCK_OF_DAY, &time))
        return (int)trap(SYS_gettimeofday, (uint64_t)to, zone, NULL);
    if (to != NULL) {
        to->seconds = (int64_t)((uint64_t)time / SECOND);
        to->microseconds = (int64_t)((uint64_t)time % SECOND / 1000);
    }
    if (zone != NULL)
        *zone = (struct timezone){0, 0};
    return 0;
}

VISIBLE int64_t __vdso_time(int64_t *to)
{
    int64_t time;
    if (!read_clock(CLOCK_OF_DAY, &time))
        return trap(SYS_time, (uint64_t)to, NULL, NULL);
    time = (int64_t)((uint64_t)time / SECOND);
    if (to != NULL)
        *to = time;
    return time;
}

/* Which CPU is no answer that could be kept on a page: threads move. */
VISIBLE long __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused)
{
    return trap(SYS_getcpu, (uint64_t)cpu, node, unused);
}
