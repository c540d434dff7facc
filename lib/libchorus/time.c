/* time.c: clocks and sleeping. */
#include "internal.h"

#include <errno.h>
#include <sys/time.h>
#include <time.h>

#define SECOND 1000000000ll

bool libc_time_in(const struct timespec *from, KnTime *to)
{
    if (from->tv_sec < 0 || from->tv_nsec < 0 || from->tv_nsec >= SECOND)
        return false;
    if (__builtin_mul_overflow((KnTime)from->tv_sec, SECOND, to) ||
        __builtin_add_overflow(*to, (KnTime)from->tv_nsec, to))
        *to = INT64_MAX;
    return true;
}

int libc_clock_read(uint64_t clock, KnTime *now)
{
    KnThreadTimes times;
    int status;
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI:
        return univTime(now, NULL);
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        return sysTime(now);
    case CLOCK_PROCESS_CPUTIME_ID:
    case CLOCK_THREAD_CPUTIME_ID:
        status = threadTimes(K_MYACTOR, clock == CLOCK_THREAD_CPUTIME_ID ? threadSelf() : 0, &times);
        *now = status == K_OK ? times.total : 0;
        return status;
    default:
        return K_EINVAL;
    }
}

int64_t libc_clock_gettime(struct libc_call *call)
{
    struct timespec *to = (struct timespec *)call->arg[1];
    KnTime now;
    int status = libc_clock_read((uint32_t)call->arg[0], &now);
    if (status != K_OK)
        return libc_result(status);
    to->tv_sec = now / SECOND;
    to->tv_nsec = now % SECOND;
    return 0;
}

int64_t libc_clock_getres(struct libc_call *call)
{
    struct timespec *to = (struct timespec *)call->arg[1];
    KnTime now;
    int status = libc_clock_read((uint32_t)call->arg[0], &now);
    if (status != K_OK)
        return libc_result(status);
    if (to != NULL) {
        to->tv_sec = 0;
        to->tv_nsec = 1;
    }
    return 0;
}

int64_t libc_gettimeofday(struct libc_call *call)
{
    struct timeval *to = (struct timeval *)call->arg[0];
    struct timezone *zone = (struct timezone *)call->arg[1];
    KnTime now;
    int status = univTime(&now, NULL);
    if (status != K_OK)
        return libc_result(status);
    if (to != NULL) {
        to->tv_sec = now / SECOND;
        to->tv_usec = now % SECOND / 1000;
    }
    if (zone != NULL) {
        zone->tz_minuteswest = 0;
        zone->tz_dsttime = 0;
    }
    return 0;
}

int64_t libc_time(struct libc_call *call)
{
    time_t *to = (time_t *)call->arg[0];
    KnTime now;
    int status = univTime(&now, NULL);
    if (status != K_OK)
        return libc_result(status);
    if (to != NULL)
        *to = now / SECOND;
    return now / SECOND;
}

/* Sleep <length> ns; what is left when the thread is aborted goes to *left. */
static int64_t sleep_for(KnTime length, struct timespec *left)
{
    KnTime begin, end;
    if (sysTime(&begin) != K_OK)
        return -EFAULT;
    int status = threadDelay(length);
    if (status == K_EABORT && left != NULL && sysTime(&end) == K_OK) {
        KnTime rest = end - begin < length ? length - (end - begin) : 0;
        left->tv_sec = rest / SECOND;
        left->tv_nsec = rest % SECOND;
    }
    return libc_result(status);
}

int64_t libc_nanosleep(struct libc_call *call)
{
    KnTime length;
    if (!libc_time_in((const struct timespec *)call->arg[0], &length))
        return -EINVAL;
    return sleep_for(length, (struct timespec *)call->arg[1]);
}

int64_t libc_clock_nanosleep(struct libc_call *call)
{
    KnTime until, now;
    if (!libc_time_in((const struct timespec *)call->arg[2], &until))
        return -EINVAL;
    if (!(call->arg[1] & TIMER_ABSTIME))
        return sleep_for(until, (struct timespec *)call->arg[3]);
    int status = libc_clock_read((uint32_t)call->arg[0], &now);
    if (status != K_OK)
        return libc_result(status);
    return until > now ? sleep_for(until - now, NULL) : 0;
}
