/* Clocks and sleeping. */
#include "fake_gate.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <time.h>

static KnTime now;
static bool aborted;

static int64_t answer(unsigned number, const uint64_t arg[6])
{
    switch (number) {
    case CALL_sysTime:
        *(KnTime *)arg[0] = now;
        return K_OK;
    case CALL_univTime:
        *(KnTime *)arg[0] = 1700000000000000123;
        return K_OK;
    case CALL_threadSelf:
        return 4;
    case CALL_threadTimes:
        ((KnThreadTimes *)arg[2])->total = arg[1] == 4 ? 11 : 22;
        return K_OK;
    case CALL_threadDelay:
        now += aborted ? 300000000 : (KnTime)arg[0];
        return aborted ? K_EABORT : K_OK;
    default:
        return K_OK;
    }
}

static void start(void)
{
    gate_start(answer);
    now = 5000000001;
    aborted = false;
}
TestSuite(time, .init = start);

Test(time, there_is_no_such_clock)
{
    struct timespec time;
    cr_expect_eq(linux_call(SYS_clock_gettime, 99, (uint64_t)&time, 0, 0, 0, 0), -EINVAL);
    cr_expect_eq(linux_call(SYS_clock_getres, 99, (uint64_t)&time, 0, 0, 0, 0), -EINVAL);
}

Test(time, each_clock_has_its_source)
{
    struct timespec time;
    cr_expect_eq(linux_call(SYS_clock_gettime, CLOCK_REALTIME, (uint64_t)&time, 0, 0, 0, 0), 0);
    cr_expect(time.tv_sec == 1700000000 && time.tv_nsec == 123);
    cr_expect_eq(linux_call(SYS_clock_gettime, CLOCK_MONOTONIC, (uint64_t)&time, 0, 0, 0, 0), 0);
    cr_expect(time.tv_sec == 5 && time.tv_nsec == 1);
    linux_call(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, (uint64_t)&time, 0, 0, 0, 0);
    cr_expect_eq(time.tv_nsec, 11);
    linux_call(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, (uint64_t)&time, 0, 0, 0, 0);
    cr_expect_eq(time.tv_nsec, 22);
    cr_expect_eq(linux_call(SYS_time, 0, 0, 0, 0, 0, 0), 1700000000);
}

Test(time, a_malformed_length_is_refused)
{
    struct timespec bad = { 0, -1 };
    cr_expect_eq(linux_call(SYS_nanosleep, (uint64_t)&bad, 0, 0, 0, 0, 0), -EINVAL);
    cr_expect_eq(linux_call(SYS_clock_nanosleep, 0, 0, (uint64_t)&bad, 0, 0, 0), -EINVAL);
}

Test(time, an_aborted_sleep_tells_what_is_left)
{
    struct timespec length = { 1, 0 }, left = { 0 };
    aborted = true;
    cr_expect_eq(linux_call(SYS_nanosleep, (uint64_t)&length, (uint64_t)&left, 0, 0, 0, 0), -EINTR);
    cr_expect(left.tv_sec == 0 && left.tv_nsec == 700000000);
}

Test(time, sleeping_until_a_point_waits_only_as_long_as_that)
{
    struct timespec point = { 6, 0 }, past = { 1, 0 };
    cr_expect_eq(linux_call(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, (uint64_t)&past, 0, 0, 0), 0);
    cr_expect_eq(gate_count(CALL_threadDelay), 0);
    cr_expect_eq(linux_call(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, (uint64_t)&point, 0, 0, 0), 0);
    cr_expect_eq(gate_find(CALL_threadDelay, 0)->arg[0], 999999999);
}
