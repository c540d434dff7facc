/* Clocks, and sleeping. A sleeping thread does threadDelay itself; a signal makes it come back. */

#include <sys/time.h>
#include <sys/times.h>

#include "call.h"
#include "process.h"
#include "time_of.h"
#include "user.h"

KnTime time_now(void)
{
    KnTime now = 0;
    sysTime(&now);
    return now;
}

KnTime time_of_day(void)
{
    KnTime now = 0;
    univTime(&now, NULL);
    return now;
}

int time_fetch(struct call *call, VmAddr at, KnTime *time)
{
    struct timespec given;
    if (copy_in(call, &given, at, sizeof given) != 0)
        return -EFAULT;
    if (given.tv_sec < 0 || given.tv_nsec < 0 || given.tv_nsec >= NANOSECONDS)
        return -EINVAL;
    *time = time_add(given.tv_sec, given.tv_nsec);
    return 0;
}

int time_deadline_in(struct call *call, VmAddr at)
{
    KnTime delay;
    if (at == 0 || call->runs > 0)
        return 0;
    int error = time_fetch(call, at, &delay);
    if (error == 0)
        call_deadline_after(call, delay);
    return error;
}

static int clock_value(struct call *call, int clock, KnTime *time)
{
    struct usage_times times;
    KnThreadTimes own;
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case 8: /* CLOCK_REALTIME_ALARM */
    case 11: /* CLOCK_TAI */ *time = time_of_day(); return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case 9: /* CLOCK_BOOTTIME_ALARM */ *time = time_now(); return 0;
    case CLOCK_PROCESS_CPUTIME_ID:
        times = process_times(call_process(call));
        *time = times.user + times.system;
        return 0;
    case CLOCK_THREAD_CPUTIME_ID:
        if (threadTimes(&call_process(call)->space->actor, call_thread(call)->li, &own) != K_OK)
            return -EINVAL;
        *time = own.total;
        return 0;
    default: return -EINVAL;
    }
}

int64_t linux_clock_gettime(struct call *call)
{
    KnTime time;
    int error = clock_value(call, (int)call->arg[0], &time);
    if (error != 0)
        return error;
    struct timespec value = timespec_of(time);
    return copy_out(call, call->arg[1], &value, sizeof value);
}

int64_t linux_clock_getres(struct call *call)
{
    KnTime time;
    struct timespec value = { 0, 1 };
    int error = clock_value(call, (int)call->arg[0], &time);
    if (error != 0 || call->arg[1] == 0)
        return error;
    return copy_out(call, call->arg[1], &value, sizeof value);
}

static int64_t set_time(struct call *call, KnTime time)
{
    if (call_process(call)->credentials.euid != 0)
        return -EPERM;
    int status = univTime(NULL, &time);
    return status < 0 ? error_of(status) : 0;
}

int64_t linux_clock_settime(struct call *call)
{
    KnTime time;
    int error = time_fetch(call, call->arg[1], &time);
    if (error != 0 || call->arg[0] != CLOCK_REALTIME)
        return error != 0 ? error : -EINVAL;
    return set_time(call, time);
}

int64_t linux_gettimeofday(struct call *call)
{
    KnTime now = time_of_day();
    struct timeval value = { now / NANOSECONDS, now % NANOSECONDS / 1000 };
    struct timezone zone = { 0, 0 };
    if (call->arg[0] != 0 && copy_out(call, call->arg[0], &value, sizeof value) != 0)
        return -EFAULT;
    return call->arg[1] != 0 ? copy_out(call, call->arg[1], &zone, sizeof zone) : 0;
}

int64_t linux_settimeofday(struct call *call)
{
    struct timeval value;
    if (call->arg[0] == 0)
        return call_process(call)->credentials.euid == 0 ? 0 : -EPERM;
    if (copy_in(call, &value, call->arg[0], sizeof value) != 0)
        return -EFAULT;
    if (value.tv_sec < 0 || value.tv_usec < 0 || value.tv_usec >= 1000000)
        return -EINVAL;
    return set_time(call, time_add(value.tv_sec, value.tv_usec * 1000));
}

int64_t linux_time(struct call *call)
{
    int64_t seconds = time_of_day() / NANOSECONDS;
    if (call->arg[0] != 0 && copy_out(call, call->arg[0], &seconds, sizeof seconds) != 0)
        return -EFAULT;
    return seconds;
}

int64_t linux_times(struct call *call)
{
    struct process *process = call_process(call);
    struct usage_times own = process_times(process);
    KnTime tick = NANOSECONDS / 100;
    struct tms value = { own.user / tick, own.system / tick,
                         process->children_times.user / tick,
                         process->children_times.system / tick };
    if (call->arg[0] != 0 && copy_out(call, call->arg[0], &value, sizeof value) != 0)
        return -EFAULT;
    return time_now() / tick + 0x10000;
}

/* ---- sleeping ---- */

/* scratch[0]: when it ends, in sysTime; [1]: where the rest is told, 0 for nowhere. */
static int64_t slept(struct call *call, int64_t result)
{
    (void)call;
    if (result == K_EABORT)
        return CALL_WAITS;
    return result < 0 ? error_of((int)result) : 0;
}

/* A handler ends the sleep: what is left is told while the call is being given up. */
static void tell_rest(struct call *call)
{
    KnTime left = (KnTime)call->scratch[0] - time_now();
    if (left <= 0 || call->scratch[1] == 0 || call_thread(call)->dying)
        return;
    struct timespec rest = timespec_of(left);
    copy_out(call, call->scratch[1], &rest, sizeof rest);
}

static int64_t sleep_until(struct call *call, KnTime when, VmAddr rest)
{
    if (call->runs == 0) {
        call->policy = CALL_INTERRUPTS;
        call->scratch[0] = (uint64_t)when;
        call->scratch[1] = rest;
        call->cleanup = rest != 0 ? tell_rest : NULL;
    }
    KnTime left = (KnTime)call->scratch[0] - time_now();
    if (left <= 0)
        return 0;
    uint64_t argument = (uint64_t)left;
    return call_do(call, DO_threadDelay, &argument, 1, rest != 0, slept);
}

int64_t linux_nanosleep(struct call *call)
{
    KnTime delay, now = time_now();
    if (call->runs > 0)
        return sleep_until(call, 0, 0);
    int error = time_fetch(call, call->arg[0], &delay);
    if (error != 0)
        return error;
    return sleep_until(call, delay > INT64_MAX - now ? INT64_MAX : now + delay, call->arg[1]);
}

int64_t linux_clock_nanosleep(struct call *call)
{
    int clock = (int)call->arg[0];
    KnTime time, now = time_now(), clock_now;
    if (call->runs > 0)
        return sleep_until(call, 0, 0);
    if (clock == CLOCK_THREAD_CPUTIME_ID)
        return -EINVAL;
    int error = clock_value(call, clock, &clock_now);
    if (error == 0)
        error = time_fetch(call, call->arg[2], &time);
    if (error != 0)
        return error;
    if (clock == CLOCK_PROCESS_CPUTIME_ID)
        return -EOPNOTSUPP;
    if (call->arg[1] & TIMER_ABSTIME)
        return sleep_until(call, time - clock_now + now, 0);
    return sleep_until(call, time > INT64_MAX - now ? INT64_MAX : now + time, call->arg[3]);
}
