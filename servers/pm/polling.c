/* poll and select: look at every file; stand in all their queues when nothing holds; look again. */


#include <sys/select.h>
#include <sys/time.h>

#include "call.h"
#include "descriptor.h"
#include "polling.h"
#include "signals.h"
#include "time_of.h"
#include "token.h"
#include "user.h"

unsigned file_poll(struct call *call, struct file *file, unsigned wanted)
{
    unsigned always = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
    unsigned events = file->operations->poll == NULL ? always
                                                     : file->operations->poll(call, file, wanted);
    return events & (wanted | POLLERR | POLLHUP);
}

/* A mask for the time of the call: ppoll, pselect, epoll_pwait. */
int poll_mask(struct call *call, VmAddr mask_at, uint64_t size)
{
    uint64_t mask;
    if (mask_at == 0 || call->runs > 0)
        return 0;
    if (size != sizeof mask)
        return -EINVAL;
    int error = copy_in(call, &mask, mask_at, sizeof mask);
    if (error == 0)
        signal_block_for_call(call_thread(call), mask);
    return error;
}

/* ---- poll ---- */

static int look_at_all(struct call *call, struct pollfd *fds, size_t count, bool may_wait)
{
    int ready = 0;
    for (size_t i = 0; i < count; i++) {
        struct file *file = descriptor_file(call_process(call), fds[i].fd);
        fds[i].revents = 0;
        if (fds[i].fd < 0)
            continue;
        if (file == NULL || (file->flags & O_PATH)) {
            fds[i].revents = POLLNVAL;
        } else {
            struct call *waits = may_wait && ready == 0 ? call : NULL;
            file_reference(file); /* dm is asked without the lock */
            fds[i].revents = (short)file_poll(waits, file, (unsigned short)fds[i].events);
            file_release(file);
        }
        ready += fds[i].revents != 0;
    }
    return ready;
}

static int64_t wait_for_files(struct call *call, struct pollfd *fds, size_t count)
{
    bool expired = call->timed_out || (call->deadline != K_FOREVER &&
                                       call->deadline <= time_now());
    call->policy = CALL_INTERRUPTS;
    if (call->awaits_sign)
        token_forget(call);
    int ready = look_at_all(call, fds, count, !expired);
    return ready > 0 || expired ? ready : CALL_WAITS;
}

static int64_t poll_files(struct call *call)
{
    uint64_t count = (uint32_t)call->arg[1];
    if (count > call_process(call)->limits[7 /* RLIMIT_NOFILE */].current)
        return -EINVAL;
    struct pollfd *fds = calloc(count + 1, sizeof *fds);
    if (fds == NULL)
        return -ENOMEM;
    int64_t result = copy_in(call, fds, call->arg[0], count * sizeof *fds);
    if (result == 0)
        result = wait_for_files(call, fds, count);
    if (result >= 0 && copy_out(call, call->arg[0], fds, count * sizeof *fds) != 0)
        result = -EFAULT;
    free(fds);
    return result;
}

int64_t linux_poll(struct call *call)
{
    int32_t milliseconds = (int32_t)call->arg[2];
    if (milliseconds >= 0)
        call_deadline_after(call, (KnTime)milliseconds * 1000000);
    return poll_files(call);
}

int64_t linux_ppoll(struct call *call)
{
    int error = time_deadline_in(call, call->arg[2]);
    if (error == 0)
        error = poll_mask(call, call->arg[3], call->arg[4]);
    return error != 0 ? error : poll_files(call);
}

/* ---- select: the same, by sets ---- */

struct select_sets {
    int count;
    size_t size;
    fd_set in[3], out[3];
};

static int fetch_sets(struct call *call, struct select_sets *sets)
{
    memset(sets, 0, sizeof *sets);
    sets->count = (int)call->arg[0];
    if (sets->count < 0)
        return -EINVAL;
    if (sets->count > FD_SETSIZE)
        sets->count = FD_SETSIZE;
    sets->size = ((size_t)sets->count + 63) / 64 * 8;
    for (int i = 0; i < 3; i++)
        if (call->arg[1 + i] != 0 &&
            copy_in(call, &sets->in[i], call->arg[1 + i], sets->size) != 0)
            return -EFAULT;
    return 0;
}

static const unsigned wanted_of[3] = { POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM, POLLPRI };
static const unsigned holds_of[3] = { POLLIN | POLLRDNORM | POLLHUP | POLLERR,
                                      POLLOUT | POLLWRNORM | POLLERR, POLLPRI };

static size_t make_list(const struct select_sets *sets, struct pollfd *fds)
{
    size_t count = 0;
    for (int fd = 0; fd < sets->count; fd++) {
        unsigned wanted = 0;
        for (int i = 0; i < 3; i++)
            wanted |= FD_ISSET(fd, &sets->in[i]) ? wanted_of[i] : 0;
        if (wanted != 0)
            fds[count++] = (struct pollfd){ .fd = fd, .events = (short)wanted };
    }
    return count;
}

static int64_t fill_sets(struct select_sets *sets, const struct pollfd *fds, size_t count)
{
    int64_t bits = 0;
    for (size_t at = 0; at < count; at++) {
        if (fds[at].revents & POLLNVAL)
            return -EBADF;
        for (int i = 0; i < 3; i++) {
            if (!FD_ISSET(fds[at].fd, &sets->in[i]) || !(fds[at].revents & (short)holds_of[i]))
                continue;
            FD_SET(fds[at].fd, &sets->out[i]);
            bits++;
        }
    }
    return bits;
}

static int64_t select_files(struct call *call)
{
    struct select_sets sets;
    int error = fetch_sets(call, &sets);
    if (error != 0)
        return error;
    struct pollfd *fds = calloc((size_t)sets.count + 1, sizeof *fds);
    if (fds == NULL)
        return -ENOMEM;
    size_t count = make_list(&sets, fds);
    int64_t result = wait_for_files(call, fds, count);
    if (result >= 0)
        result = fill_sets(&sets, fds, count);
    free(fds);
    for (int i = 0; result >= 0 && i < 3; i++)
        if (call->arg[1 + i] != 0 &&
            copy_out(call, call->arg[1 + i], &sets.out[i], sets.size) != 0)
            result = -EFAULT;
    return result;
}

int64_t linux_select(struct call *call)
{
    struct timeval given;
    VmAddr at = call->arg[4];
    if (at != 0 && call->runs == 0) {
        if (copy_in(call, &given, at, sizeof given) != 0)
            return -EFAULT;
        if (given.tv_sec < 0 || given.tv_usec < 0)
            return -EINVAL;
        call_deadline_after(call, time_add(given.tv_sec, given.tv_usec * 1000));
    }
    int64_t result = select_files(call);
    if (result >= 0 && at != 0) { /* Linux tells the time that is left */
        KnTime left = call->deadline - time_now();
        left = left > 0 ? left : 0;
        given = (struct timeval){ left / NANOSECONDS, left % NANOSECONDS / 1000 };
        copy_out(call, at, &given, sizeof given);
    }
    return result;
}

int64_t linux_pselect6(struct call *call)
{
    struct { uint64_t at, size; } mask = { 0, 8 };
    int error = time_deadline_in(call, call->arg[4]);
    if (error == 0 && call->arg[5] != 0)
        error = copy_in(call, &mask, call->arg[5], sizeof mask);
    if (error == 0)
        error = poll_mask(call, mask.at, mask.size);
    return error != 0 ? error : select_files(call);
}
