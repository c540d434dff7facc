/* time_of.h: times as Linux programs give them. */
#ifndef PM_TIME_OF_H
#define PM_TIME_OF_H

#include <time.h>

#include "pm.h"

/* Seconds and nanoseconds as one number; too much is the largest. */
static inline KnTime time_add(int64_t seconds, int64_t nanoseconds)
{
    if (seconds >= INT64_MAX / NANOSECONDS - 4)
        return INT64_MAX;
    return seconds * NANOSECONDS + nanoseconds;
}

static inline struct timespec timespec_of(KnTime time)
{
    return (struct timespec){ time / NANOSECONDS, time % NANOSECONDS };
}

/* Fetch a struct timespec: -EFAULT, -EINVAL. */
int time_fetch(struct call *call, VmAddr at, KnTime *time);
/* The first run sets the call's deadline so long after now; 0: none. */
int time_deadline_in(struct call *call, VmAddr at);

#endif
