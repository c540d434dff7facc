/* futex: waits on words. */
#include "fake_gate.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/futex.h>
#include <time.h>

static uint32_t word, other;
static int aborts, result;

static int64_t answer(unsigned number, const uint64_t arg[6])
{
    switch (number) {
    case CALL_sysTime:
        *(KnTime *)arg[0] = 1000000000;
        return K_OK;
    case CALL_syncWait:
        return aborts-- > 0 ? K_EABORT : result;
    case CALL_syncWake:
        return 3;
    case CALL_syncRequeue:
        return result == K_OK ? 5 : result;
    default:
        return K_OK;
    }
}

static void start(void)
{
    gate_start(answer);
    aborts = 0;
    result = K_OK;
}
TestSuite(futex, .init = start);

static int64_t futex(uint64_t operation, uint64_t value, const void *time, uint32_t value3)
{
    return linux_call(SYS_futex, (uint64_t)&word, operation, value, (uint64_t)time, (uint64_t)&other,
                      value3);
}

Test(futex, malformed_calls_are_refused)
{
    struct timespec bad = { 0, 1000000000 }, negative = { -1, 0 };
    cr_expect_eq(futex(FUTEX_WAIT, 0, &bad, 0), -EINVAL);
    cr_expect_eq(futex(FUTEX_WAIT, 0, &negative, 0), -EINVAL);
    cr_expect_eq(futex(FUTEX_WAIT_BITSET, 0, NULL, 0), -EINVAL);
    cr_expect_eq(futex(FUTEX_WAKE_BITSET, 0, NULL, 0), -EINVAL);
    cr_expect_eq(futex(FUTEX_LOCK_PI, 0, NULL, 0), -ENOSYS);
    cr_expect_eq(futex(0x7f, 0, NULL, 0), -ENOSYS);
    cr_expect_eq(gate_call_count, 0);
}

Test(futex, results_are_those_of_linux)
{
    cr_expect_eq(futex(FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 7, NULL, 0), 0);
    cr_expect_eq(gate_calls[0].arg[1], 7);
    cr_expect_eq((KnTime)gate_calls[0].arg[2], K_FOREVER);
    result = K_EAGAIN;
    cr_expect_eq(futex(FUTEX_WAIT, 7, NULL, 0), -EAGAIN);
    result = K_ETIMEOUT;
    cr_expect_eq(futex(FUTEX_WAIT, 7, NULL, 0), -ETIMEDOUT);
    result = K_EFAULT;
    cr_expect_eq(futex(FUTEX_WAIT, 7, NULL, 0), -EFAULT);
    cr_expect_eq(futex(FUTEX_WAKE, INT32_MAX, NULL, 0), 3);
}

Test(futex, a_relative_timeout_is_kept_as_a_point_in_time)
{
    struct timespec half = { 0, 500000000 };
    cr_expect_eq(futex(FUTEX_WAIT, 7, &half, 0), 0);
    const struct gate_call *wait = gate_find(CALL_syncWait, 0);
    cr_expect_eq(wait->arg[2], 1500000000);
    cr_expect_eq(wait->arg[4], K_SYNC_ABSOLUTE);
}

Test(futex, an_absolute_timeout_names_its_clock)
{
    struct timespec point = { 2, 5 };
    futex(FUTEX_WAIT_BITSET, 7, &point, 1);
    futex(FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 7, &point, 2);
    const struct gate_call *plain = gate_find(CALL_syncWait, 0), *real = gate_find(CALL_syncWait, 1);
    cr_expect_eq(plain->arg[2], 2000000005);
    cr_expect_eq(plain->arg[3], 1);
    cr_expect_eq(plain->arg[4], K_SYNC_ABSOLUTE);
    cr_expect_eq(real->arg[4], K_SYNC_ABSOLUTE | K_SYNC_REALTIME);
}

Test(futex, a_timeout_too_far_away_is_the_farthest_one)
{
    struct timespec far = { INT64_MAX, 0 };
    cr_expect_eq(futex(FUTEX_WAIT, 7, &far, 0), 0);
    cr_expect_eq((KnTime)gate_find(CALL_syncWait, 0)->arg[2], INT64_MAX);
}

Test(futex, an_abort_does_not_end_the_wait_and_is_kept)
{
    aborts = 2;
    cr_expect_eq(futex(FUTEX_WAIT, 7, NULL, 0), 0);
    cr_expect_eq(gate_count(CALL_syncWait), 3);
    cr_expect_eq(gate_count(CALL_threadAbort), 1);
    cr_expect_eq(gate_calls[gate_call_count - 1].number, CALL_threadAbort);
}

Test(futex, waiters_are_moved_to_another_word)
{
    cr_expect_eq(futex(FUTEX_CMP_REQUEUE, 1, (void *)10, 42), 5);
    const struct gate_call *call = gate_find(CALL_syncRequeue, 0);
    cr_expect_eq(call->arg[0], (uint64_t)&word);
    cr_expect_eq(call->arg[1], 1);
    cr_expect_eq(call->arg[2], 10);
    cr_expect_eq(call->arg[3], (uint64_t)&other);
    cr_expect_eq(call->arg[4], 42);
    cr_expect_eq(call->arg[5], 0);
    cr_expect_eq(futex(FUTEX_REQUEUE, 1, (void *)10, 42), 5);
    cr_expect_eq(gate_find(CALL_syncRequeue, 1)->arg[5], K_SYNC_NOCOMPARE);
    result = K_EAGAIN;
    cr_expect_eq(futex(FUTEX_CMP_REQUEUE, 1, (void *)10, 42), -EAGAIN);
}
