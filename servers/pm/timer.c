/* Timers of processes. */

#include "timer.h"

#include <sys/time.h>
#include <time.h>

#include "call.h"
#include "process.h"
#include "signals.h"
#include "time_of.h"
#include "user.h"
#include "waiting.h"

#define TIMERS_MOST 1024

struct timer {
    struct list link;
    struct process *process;
    int id;
    pid_t tid; /* SIGEV_THREAD_ID; 0: the process */
    int signal; /* 0: none is sent */
    sigval_t value;
    bool real_time;
    struct timeout timeout;
    KnTime period;
    int overrun;
};

/* ---- the real-time interval timer ---- */

static void alarm_fired(struct timeout *timeout)
{
    struct process *process = LIST_ENTRY(timeout, struct process, alarm);
    if (process->alarm_period > 0)
        timeout_arm(timeout, timeout->when + process->alarm_period);
    signal_raise(process, SIGALRM);
}

void timer_init_process(struct process *process)
{
    timeout_init(&process->alarm, alarm_fired);
}

static KnTime alarm_left(const struct process *process)
{
    if (process->alarm.place == 0)
        return 0;
    KnTime left = process->alarm.when - time_now();
    return left > 0 ? left : 1000;
}

static int alarm_set(struct process *process, KnTime first, KnTime period)
{
    timeout_disarm(&process->alarm);
    process->alarm_period = period;
    KnTime now = time_now();
    if (first == 0)
        return 0;
    return timeout_arm(&process->alarm, first > INT64_MAX - now ? INT64_MAX : now + first);
}

int64_t linux_alarm(struct call *call)
{
    struct process *process = call_process(call);
    KnTime left = alarm_left(process);
    int error = alarm_set(process, (KnTime)(uint32_t)call->arg[0] * NANOSECONDS, 0);
    return error != 0 ? error : (left + NANOSECONDS / 2) / NANOSECONDS + (left > 0 && left < NANOSECONDS / 2);
}

static struct timeval timeval_of(KnTime time)
{
    return (struct timeval){ time / NANOSECONDS, time % NANOSECONDS / 1000 };
}

static int tell_alarm(struct call *call, VmAddr at)
{
    struct process *process = call_process(call);
    struct itimerval value = { 0 };
    if (call->arg[0] == ITIMER_REAL) {
        value.it_value = timeval_of(alarm_left(process));
        value.it_interval = timeval_of(process->alarm_period);
    }
    return copy_out(call, at, &value, sizeof value);
}

int64_t linux_getitimer(struct call *call)
{
    return call->arg[0] > ITIMER_PROF ? -EINVAL : tell_alarm(call, call->arg[1]);
}

static bool is_time(const struct timeval *time)
{
    return time->tv_sec >= 0 && time->tv_usec >= 0 && time->tv_usec < 1000000;
}

int64_t linux_setitimer(struct call *call)
{
    struct itimerval value = { 0 };
    if (call->arg[0] > ITIMER_PROF)
        return -EINVAL;
    if (call->arg[1] != 0 && copy_in(call, &value, call->arg[1], sizeof value) != 0)
        return -EFAULT;
    if (!is_time(&value.it_value) || !is_time(&value.it_interval))
        return -EINVAL;
    if (call->arg[0] != ITIMER_REAL)
        return -EINVAL;
    if (call->arg[2] != 0 && tell_alarm(call, call->arg[2]) != 0)
        return -EFAULT;
    return alarm_set(call_process(call),
                     time_add(value.it_value.tv_sec, value.it_value.tv_usec * 1000),
                     time_add(value.it_interval.tv_sec, value.it_interval.tv_usec * 1000));
}

/* ---- POSIX timers ---- */

static void timer_fired(struct timeout *timeout)
{
    struct timer *timer = LIST_ENTRY(timeout, struct timer, timeout);
    siginfo_t info;
    memset(&info, 0, sizeof info);
    timer->overrun = 0;
    if (timer->period > 0) {
        KnTime late = (time_now() - timeout->when) / timer->period;
        timer->overrun = late > INT32_MAX ? INT32_MAX : (int)late;
        timeout_arm(timeout, timeout->when + (late + 1) * timer->period);
    }
    if (timer->signal == 0)
        return;
    info.si_signo = timer->signal;
    info.si_code = SI_TIMER;
    info.si_timerid = timer->id;
    info.si_overrun = timer->overrun;
    info.si_value = timer->value;
    struct thread *thread = timer->tid != 0 ? thread_find(timer->tid) : NULL;
    if (thread != NULL && thread->process == timer->process)
        signal_send_thread(thread, &info);
    else if (timer->tid == 0)
        signal_send_process(timer->process, &info);
}

static void timer_free(struct timer *timer)
{
    timeout_disarm(&timer->timeout);
    list_remove(&timer->link);
    free(timer);
}

void timer_end_posix(struct process *process)
{
    LIST_EACH(&process->timers, at)
        timer_free(LIST_ENTRY(at, struct timer, link));
}

void timer_end_process(struct process *process)
{
    timeout_disarm(&process->alarm);
    timer_end_posix(process);
}

static struct timer *find(struct call *call)
{
    LIST_EACH(&call_process(call)->timers, at) {
        struct timer *timer = LIST_ENTRY(at, struct timer, link);
        if (timer->id == (int)call->arg[0])
            return timer;
    }
    return NULL;
}

static int use_event(struct call *call, struct timer *timer, const struct sigevent *event)
{
    int how = event->sigev_notify;
    timer->value = event->sigev_value;
    timer->signal = how == SIGEV_NONE ? 0 : event->sigev_signo;
    if (how != SIGEV_NONE && (timer->signal < 1 || timer->signal > SIGNALS))
        return -EINVAL;
    if (how == (SIGEV_SIGNAL | SIGEV_THREAD_ID)) {
        timer->tid = event->_sigev_un._tid;
        struct thread *thread = thread_find(timer->tid);
        return thread == NULL || thread->process != call_process(call) ? -EINVAL : 0;
    }
    return how == SIGEV_SIGNAL || how == SIGEV_NONE ? 0 : -EINVAL;
}

int64_t linux_timer_create(struct call *call)
{
    struct process *process = call_process(call);
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
    int clock = (int)call->arg[0], count = 0;
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
        return -EINVAL;
    if (call->arg[1] != 0 && copy_in(call, &event, call->arg[1], sizeof event) != 0)
        return -EFAULT;
    LIST_EACH(&process->timers, at)
        count++;
    struct timer *timer = count < TIMERS_MOST ? calloc(1, sizeof *timer) : NULL;
    if (timer == NULL)
        return -EAGAIN;
    timer->process = process;
    timer->id = process->timer_next++;
    timer->real_time = clock == CLOCK_REALTIME;
    timeout_init(&timer->timeout, timer_fired);
    list_init(&timer->link);
    if (call->arg[1] == 0)
        event.sigev_value.sival_int = timer->id;
    int error = use_event(call, timer, &event);
    if (error == 0)
        error = copy_out(call, call->arg[2], &timer->id, sizeof timer->id);
    if (error != 0) {
        free(timer);
        return error;
    }
    list_append(&process->timers, &timer->link);
    return 0;
}

static int64_t tell(struct call *call, const struct timer *timer, VmAddr at)
{
    KnTime left = timer->timeout.place != 0 ? timer->timeout.when - time_now() : 0;
    if (timer->timeout.place != 0 && left <= 0)
        left = 1;
    struct itimerspec value = { .it_interval = timespec_of(timer->period),
                                .it_value = timespec_of(left) };
    return copy_out(call, at, &value, sizeof value);
}

int64_t linux_timer_gettime(struct call *call)
{
    struct timer *timer = find(call);
    return timer == NULL ? -EINVAL : tell(call, timer, call->arg[1]);
}

int64_t linux_timer_settime(struct call *call)
{
    KnTime period, first;
    int64_t error = time_fetch(call, call->arg[2], &period);
    if (error == 0)
        error = time_fetch(call, call->arg[2] + 16, &first);
    struct timer *timer = find(call);
    if (timer == NULL)
        return -EINVAL;
    if (error == 0 && call->arg[3] != 0)
        error = tell(call, timer, call->arg[3]);
    timer = find(call);
    if (error != 0 || timer == NULL)
        return error != 0 ? error : -EINVAL;
    timeout_disarm(&timer->timeout);
    timer->period = period;
    if (first == 0)
        return 0;
    KnTime now = time_now();
    if (call->arg[1] & TIMER_ABSTIME)
        first -= timer->real_time ? time_of_day() - now : 0;
    else
        first = first > INT64_MAX - now ? INT64_MAX : first + now;
    return timeout_arm(&timer->timeout, first);
}

int64_t linux_timer_getoverrun(struct call *call)
{
    struct timer *timer = find(call);
    return timer == NULL ? -EINVAL : timer->overrun;
}

int64_t linux_timer_delete(struct call *call)
{
    struct timer *timer = find(call);
    if (timer == NULL)
        return -EINVAL;
    timer_free(timer);
    return 0;
}
