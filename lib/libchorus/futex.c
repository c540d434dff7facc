/* futex.c: Linux's futexes are the Nucleus's waits on words.
 *
 * libc waits again when a futex call is interrupted, so an abort would be lost in it: the wait goes on
 * instead, and the abort is kept for the thread's next abortable wait.
 */
#include "internal.h"

#include <errno.h>
#include <linux/futex.h>
#include <time.h>

static int wait_through_aborts(volatile uint32_t *word, uint32_t expected, KnTime deadline,
                               uint32_t mask, uint32_t flags)
{
    bool aborted = false;
    int status;
    while ((status = syncWait(word, expected, deadline, mask, flags)) == K_EABORT)
        aborted = true;
    if (aborted)
        threadAbort(K_MYACTOR, K_MYSELF);
    return status;
}

static int64_t futex_wait(const struct libc_call *call, uint64_t operation, uint32_t mask)
{
    const struct timespec *timeout = (const struct timespec *)call->arg[3];
    KnTime deadline = K_FOREVER;
    uint32_t flags = 0;
    if (timeout != NULL) {
        if (!libc_time_in(timeout, &deadline))
            return -EINVAL;
        flags = K_SYNC_ABSOLUTE;
        if ((operation & FUTEX_CMD_MASK) == FUTEX_WAIT) { /* a length */
            KnTime now;
            int status = sysTime(&now);
            if (status != K_OK)
                return libc_result(status);
            if (__builtin_add_overflow(now, deadline, &deadline))
                deadline = INT64_MAX;
        } else if (operation & FUTEX_CLOCK_REALTIME) {
            flags |= K_SYNC_REALTIME;
        }
    }
    return libc_result(wait_through_aborts((volatile uint32_t *)call->arg[0], (uint32_t)call->arg[2],
                                           deadline, mask, flags));
}

int64_t libc_futex(struct libc_call *call)
{
    volatile uint32_t *word = (volatile uint32_t *)call->arg[0];
    volatile uint32_t *target = (volatile uint32_t *)call->arg[4];
    uint64_t operation = call->arg[1];
    uint32_t value = (uint32_t)call->arg[2], value3 = (uint32_t)call->arg[5];

    switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
        return futex_wait(call, operation, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAIT_BITSET:
        return value3 == 0 ? -EINVAL : futex_wait(call, operation, value3);
    case FUTEX_WAKE:
        return libc_result(syncWake(word, value, FUTEX_BITSET_MATCH_ANY, 0));
    case FUTEX_WAKE_BITSET:
        return value3 == 0 ? -EINVAL : libc_result(syncWake(word, value, value3, 0));
    case FUTEX_REQUEUE:
        return libc_result(
            syncRequeue(word, value, (uint32_t)call->arg[3], target, 0, K_SYNC_NOCOMPARE));
    case FUTEX_CMP_REQUEUE:
        return libc_result(syncRequeue(word, value, (uint32_t)call->arg[3], target, value3, 0));
    default:
        return -ENOSYS; /* priority inheritance, WAKE_OP: libc asks only if the program does */
    }
}
