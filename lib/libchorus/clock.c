/* clock.c: the functions that read clocks, in place of libc's own: theirs would be a trap, which costs twenty nucleus calls. Part of actors only. */
#include <chorus.h>
#include <errno.h>
#include <sys/time.h>
#include <time.h>

#include "internal.h"

#define SECOND 1000000000ll

#pragma GCC visibility push(default)

int clock_gettime(clockid_t clock, struct timespec *to)
{
    KnTime now;
    int status = libc_clock_read((uint32_t)clock, &now);
    if (status != K_OK) {
        errno = (int)-libc_result(status);
        return -1;
    }
    to->tv_sec = now / SECOND;
    to->tv_nsec = now % SECOND;
    return 0;
}

int gettimeofday(struct timeval *restrict to, void *restrict zone)
{
    struct timespec now;
    if (zone != NULL)
        *(struct timezone *)zone = (struct timezone){0};
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    *to = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *to)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    if (to != NULL)
        *to = now.tv_sec;
    return now.tv_sec;
}

#pragma GCC visibility pop
