/* futex: the thread itself waits on, or wakes waiters of, the word in its memory. */

#include <linux/futex.h>

#include "call.h"
#include "time_of.h"
#include "user.h"

static int64_t waited(struct call *call, int64_t result)
{
    switch (result) {
    case K_OK: return 0;
    case K_EABORT:
        if (call->scratch[1]) /* a relative time-out goes on from where it was */
            call->policy = CALL_INTERRUPTS;
        return CALL_WAITS;
    case K_EAGAIN: return -EAGAIN;
    case K_ETIMEOUT: return -ETIMEDOUT;
    case K_EFAULT: return -EFAULT;
    default: return result < 0 ? error_of((int)result) : 0;
    }
}

/* scratch[0]: the deadline; [1]: there is one; [2]: flags of syncWait. */
static int fetch_deadline(struct call *call, int command, bool real_time)
{
    KnTime time;
    call->scratch[0] = (uint64_t)K_FOREVER;
    if (call->arg[3] == 0)
        return 0;
    int error = time_fetch(call, call->arg[3], &time);
    if (error != 0)
        return error;
    if (command == FUTEX_WAIT) {
        KnTime now = time_now();
        time = time > INT64_MAX - now ? INT64_MAX : now + time;
    }
    call->scratch[0] = (uint64_t)time;
    call->scratch[1] = 1;
    call->scratch[2] = K_SYNC_ABSOLUTE |
                       (real_time && command != FUTEX_WAIT ? K_SYNC_REALTIME : 0);
    return 0;
}

static int64_t futex_wait(struct call *call, int command, uint32_t mask, bool real_time)
{
    if (mask == 0)
        return -EINVAL;
    int error = call->runs == 0 ? fetch_deadline(call, command, real_time) : 0;
    if (error != 0)
        return error;
    uint64_t arguments[] = { call->arg[0], (uint32_t)call->arg[2], call->scratch[0], mask,
                             call->scratch[2] };
    return call_do(call, DO_syncWait, arguments, 5, false, waited);
}

static int64_t futex_wake(struct call *call, uint32_t mask)
{
    int32_t count = (int32_t)call->arg[2];
    if (mask == 0)
        return -EINVAL;
    uint64_t arguments[] = { call->arg[0], count < 1 ? 1 : (uint64_t)count, mask, 0 };
    return call_do(call, DO_syncWake, arguments, 4, false, waited);
}

static int64_t futex_requeue(struct call *call, bool compare)
{
    int32_t wake = (int32_t)call->arg[2], requeue = (int32_t)call->arg[3];
    if (wake < 0 || requeue < 0 || call->arg[4] % 4 != 0)
        return -EINVAL;
    uint64_t arguments[] = { call->arg[0], (uint64_t)wake, (uint64_t)requeue, call->arg[4],
                             (uint32_t)call->arg[5], compare ? 0 : K_SYNC_NOCOMPARE };
    return call_do(call, DO_syncRequeue, arguments, 6, false, waited);
}

int64_t linux_futex(struct call *call)
{
    uint32_t operation = (uint32_t)call->arg[1];
    int command = (int)(operation & FUTEX_CMD_MASK);
    bool real_time = operation & FUTEX_CLOCK_REALTIME;
    if (call->arg[0] % 4 != 0)
        return -EINVAL;
    switch (command) {
    case FUTEX_WAIT: return futex_wait(call, command, FUTEX_BITSET_MATCH_ANY, real_time);
    case FUTEX_WAIT_BITSET: return futex_wait(call, command, (uint32_t)call->arg[5], real_time);
    case FUTEX_WAKE: return futex_wake(call, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAKE_BITSET: return futex_wake(call, (uint32_t)call->arg[5]);
    case FUTEX_REQUEUE: return futex_requeue(call, false);
    case FUTEX_CMP_REQUEUE: return futex_requeue(call, true);
    default: return -ENOSYS;
    }
}
