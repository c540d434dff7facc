/* eventfd, timerfd and signalfd: counters, clocks and signals as files. */

#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "call.h"
#include "descriptor.h"
#include "events.h"
#include "process.h"
#include "signals.h"
#include "time_of.h"
#include "user.h"

static int64_t give_descriptor(struct call *call, const struct file_operations *operations,
                               void *object, bool nonblock, bool close_on_exec)
{
    struct file *file = object == NULL ? NULL
                                       : file_new(operations, O_RDWR | (nonblock ? O_NONBLOCK : 0u));
    if (file == NULL) {
        free(object);
        return -ENOMEM;
    }
    file->object = object;
    file->attributes.mode = 0600;
    int fd = descriptor_add(call_process(call), file, close_on_exec, 0);
    if (fd < 0)
        file_release(file);
    return fd;
}

static int64_t wait_or_again(struct call *call, const struct file *file, struct wait_queue *queue)
{
    if (file->flags & O_NONBLOCK)
        return -EAGAIN;
    return wait_in(call, queue) == 0 ? CALL_WAITS : -ENOMEM;
}

/* ---- eventfd ---- */

struct counter {
    uint64_t value;
    bool semaphore;
    struct wait_queue changed;
};

static int64_t counter_read(struct call *call, struct file *file, struct user_io *io,
                            int64_t *offset)
{
    struct counter *counter = file->object;
    (void)offset;
    if (io->total < sizeof counter->value)
        return -EINVAL;
    if (counter->value == 0)
        return wait_or_again(call, file, &counter->changed);
    uint64_t value = counter->semaphore ? 1 : counter->value;
    counter->value -= value;
    queue_wake(&counter->changed);
    int error = io_copy_out(call, io, 0, &value, sizeof value);
    return error != 0 ? error : (int64_t)sizeof value;
}

static int64_t counter_write(struct call *call, struct file *file, struct user_io *io,
                             int64_t *offset)
{
    struct counter *counter = file->object;
    uint64_t value;
    (void)offset;
    if (io->total < sizeof value)
        return -EINVAL;
    int error = io_copy_in(call, io, 0, &value, sizeof value);
    if (error != 0)
        return error;
    if (value == UINT64_MAX)
        return -EINVAL;
    if (value > UINT64_MAX - 1 - counter->value)
        return wait_or_again(call, file, &counter->changed);
    counter->value += value;
    queue_wake(&counter->changed);
    return sizeof value;
}

static unsigned counter_poll(struct call *call, struct file *file, unsigned wanted)
{
    struct counter *counter = file->object;
    (void)wanted;
    if (call != NULL)
        wait_in(call, &counter->changed);
    return (counter->value > 0 ? POLLIN : 0) | (counter->value < UINT64_MAX - 1 ? POLLOUT : 0);
}

static void counter_release(struct file *file)
{
    struct counter *counter = file->object;
    queue_end(&counter->changed);
    free(counter);
}

static const struct file_operations counter_operations = {
    .name = "anon_inode:[eventfd]", .read = counter_read, .write = counter_write,
    .poll = counter_poll, .release = counter_release,
};

static int64_t counter_new(struct call *call, uint32_t value, uint32_t flags)
{
    if (flags & ~(uint32_t)(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
        return -EINVAL;
    struct counter *counter = calloc(1, sizeof *counter);
    if (counter != NULL) {
        counter->value = value;
        counter->semaphore = flags & EFD_SEMAPHORE;
        queue_init(&counter->changed);
    }
    return give_descriptor(call, &counter_operations, counter, flags & EFD_NONBLOCK,
                           flags & EFD_CLOEXEC);
}

int64_t linux_eventfd(struct call *call)
{
    return counter_new(call, (uint32_t)call->arg[0], 0);
}

int64_t linux_eventfd2(struct call *call)
{
    return counter_new(call, (uint32_t)call->arg[0], (uint32_t)call->arg[1]);
}

/* ---- timerfd ---- */

struct clock_file {
    struct timeout timeout;
    KnTime period;
    uint64_t expired;
    bool real_time;
    struct wait_queue changed;
};

static void clock_fired(struct timeout *timeout)
{
    struct clock_file *clock = LIST_ENTRY(timeout, struct clock_file, timeout);
    clock->expired++;
    if (clock->period > 0) {
        KnTime late = time_now() - timeout->when;
        clock->expired += (uint64_t)(late / clock->period);
        timeout_arm(timeout, timeout->when + (late / clock->period + 1) * clock->period);
    }
    queue_wake(&clock->changed);
}

static int64_t clock_read(struct call *call, struct file *file, struct user_io *io, int64_t *offset)
{
    struct clock_file *clock = file->object;
    uint64_t value = clock->expired;
    (void)offset;
    if (io->total < sizeof value)
        return -EINVAL;
    if (value == 0)
        return wait_or_again(call, file, &clock->changed);
    clock->expired = 0;
    int error = io_copy_out(call, io, 0, &value, sizeof value);
    return error != 0 ? error : (int64_t)sizeof value;
}

static unsigned clock_poll(struct call *call, struct file *file, unsigned wanted)
{
    struct clock_file *clock = file->object;
    (void)wanted;
    if (call != NULL)
        wait_in(call, &clock->changed);
    return clock->expired > 0 ? POLLIN : 0;
}

static void clock_release(struct file *file)
{
    struct clock_file *clock = file->object;
    timeout_disarm(&clock->timeout);
    queue_end(&clock->changed);
    free(clock);
}

static const struct file_operations clock_operations = {
    .name = "anon_inode:[timerfd]", .read = clock_read, .poll = clock_poll,
    .release = clock_release,
};

int64_t linux_timerfd_create(struct call *call)
{
    uint32_t flags = (uint32_t)call->arg[1];
    int id = (int)call->arg[0];
    if ((flags & ~(uint32_t)(TFD_CLOEXEC | TFD_NONBLOCK)) ||
        (id != CLOCK_REALTIME && id != CLOCK_MONOTONIC && id != CLOCK_BOOTTIME))
        return -EINVAL;
    struct clock_file *clock = calloc(1, sizeof *clock);
    if (clock != NULL) {
        timeout_init(&clock->timeout, clock_fired);
        queue_init(&clock->changed);
        clock->real_time = id == CLOCK_REALTIME;
    }
    return give_descriptor(call, &clock_operations, clock, flags & TFD_NONBLOCK,
                           flags & TFD_CLOEXEC);
}

static int64_t clock_tell(struct call *call, struct clock_file *clock, VmAddr at)
{
    KnTime left = clock->timeout.place != 0 ? clock->timeout.when - time_now() : 0;
    struct itimerspec value = { .it_interval = timespec_of(clock->period),
                                .it_value = timespec_of(left > 0 || clock->timeout.place == 0
                                                            ? left : 1) };
    return copy_out(call, at, &value, sizeof value);
}

static struct clock_file *clock_get(struct call *call, int64_t *error)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    *error = file == NULL ? -EBADF : -EINVAL;
    return file == NULL || file->operations != &clock_operations ? NULL : file->object;
}

int64_t linux_timerfd_gettime(struct call *call)
{
    int64_t error;
    struct clock_file *clock = clock_get(call, &error);
    return clock == NULL ? error : clock_tell(call, clock, call->arg[1]);
}

int64_t linux_timerfd_settime(struct call *call)
{
    int64_t error;
    KnTime period, first;
    struct clock_file *clock = clock_get(call, &error);
    if (clock == NULL)
        return error;
    if (call->arg[1] & ~(uint64_t)(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET))
        return -EINVAL;
    error = time_fetch(call, call->arg[2], &period);
    if (error == 0)
        error = time_fetch(call, call->arg[2] + 16, &first);
    if (error == 0 && call->arg[3] != 0)
        error = clock_tell(call, clock, call->arg[3]);
    if (error != 0)
        return error;
    timeout_disarm(&clock->timeout);
    clock->expired = 0;
    clock->period = period;
    if (first == 0)
        return 0;
    KnTime now = time_now();
    if (call->arg[1] & TFD_TIMER_ABSTIME)
        first -= clock->real_time ? time_of_day() - now : 0;
    else
        first = first > INT64_MAX - now ? INT64_MAX : first + now;
    return timeout_arm(&clock->timeout, first);
}

/* ---- signalfd ---- */

struct signal_file {
    struct list link;
    uint64_t mask;
    struct wait_queue changed;
};

static struct list signal_files = { &signal_files, &signal_files };

void events_signal_pending(int signal)
{
    LIST_EACH(&signal_files, at) {
        struct signal_file *file = LIST_ENTRY(at, struct signal_file, link);
        if (file->mask & SIGNAL_BIT(signal))
            queue_wake(&file->changed);
    }
}

static void signal_record(struct signalfd_siginfo *to, const siginfo_t *from)
{
    memset(to, 0, sizeof *to);
    to->ssi_signo = (uint32_t)from->si_signo;
    to->ssi_errno = from->si_errno;
    to->ssi_code = from->si_code;
    to->ssi_pid = (uint32_t)from->si_pid;
    to->ssi_uid = from->si_uid;
    to->ssi_status = from->si_status;
    to->ssi_int = from->si_value.sival_int;
    to->ssi_ptr = (uint64_t)from->si_value.sival_ptr;
}

static int64_t signal_read(struct call *call, struct file *file, struct user_io *io,
                           int64_t *offset)
{
    struct signal_file *signals = file->object;
    struct signalfd_siginfo record;
    siginfo_t info;
    size_t done = 0;
    (void)offset;
    if (io->total < sizeof record)
        return -EINVAL;
    while (io->total - done >= sizeof record &&
           signal_dequeue(call_thread(call), signals->mask, &info)) {
        signal_record(&record, &info);
        int error = io_copy_out(call, io, done, &record, sizeof record);
        if (error != 0)
            return error;
        done += sizeof record;
    }
    return done > 0 ? (int64_t)done : wait_or_again(call, file, &signals->changed);
}

static unsigned signal_poll(struct call *call, struct file *file, unsigned wanted)
{
    struct signal_file *signals = file->object;
    (void)wanted;
    if (call == NULL)
        return 0;
    wait_in(call, &signals->changed);
    const struct thread *thread = call_thread(call);
    uint64_t pending = thread->pending.set | thread->process->pending.set;
    return pending & signals->mask ? POLLIN : 0;
}

static void signal_release(struct file *file)
{
    struct signal_file *signals = file->object;
    list_remove(&signals->link);
    queue_end(&signals->changed);
    free(signals);
}

static const struct file_operations signal_operations = {
    .name = "anon_inode:[signalfd]", .read = signal_read, .poll = signal_poll,
    .release = signal_release,
};

static int64_t signal_file(struct call *call, uint32_t flags)
{
    uint64_t mask;
    if (call->arg[2] != sizeof mask || (flags & ~(uint32_t)(SFD_CLOEXEC | SFD_NONBLOCK)))
        return -EINVAL;
    int error = copy_in(call, &mask, call->arg[1], sizeof mask);
    if (error != 0)
        return error;
    mask &= ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
    if ((int)call->arg[0] != -1) {
        struct file *file = file_get(call, (int)call->arg[0]);
        if (file == NULL || file->operations != &signal_operations)
            return file == NULL ? -EBADF : -EINVAL;
        ((struct signal_file *)file->object)->mask = mask;
        return (int)call->arg[0];
    }
    struct signal_file *signals = calloc(1, sizeof *signals);
    if (signals != NULL) {
        signals->mask = mask;
        queue_init(&signals->changed);
        list_append(&signal_files, &signals->link);
    }
    int64_t fd = signals == NULL ? -ENOMEM
                                 : give_descriptor(call, &signal_operations, signals,
                                                   flags & SFD_NONBLOCK, flags & SFD_CLOEXEC);
    return fd;
}

int64_t linux_signalfd(struct call *call)
{
    return signal_file(call, 0);
}

int64_t linux_signalfd4(struct call *call)
{
    return signal_file(call, (uint32_t)call->arg[3]);
}
