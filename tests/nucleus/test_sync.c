/* Waiting on words, and timers. */
#include "site.h"

TestSuite(sync, .init = site_start, .fini = site_end);
TestSuite(timers, .init = site_start, .fini = site_end);

#define ALL 0xffffffffull

static void set_word(struct actor *actor, uint64_t at, uint32_t value)
{
    cr_assert_eq(vm_copy_out(NULL, actor, at, &value, sizeof value), K_OK);
}

Test(sync, bad_addresses_and_flags_are_refused)
{
    struct thread *thread = user_new();
    uint64_t word = room(thread->actor, 64);
    cr_assert_eq(DO(thread, syncWait, word + 1, 0, 0, ALL, 0), K_EINVAL);
    cr_assert_eq(DO(thread, syncWait, 0xbad000, 0, 0, ALL, 0), K_EFAULT);
    cr_assert_eq(DO(thread, syncWait, word, 0, 0, 0, 0), K_EINVAL);
    cr_assert_eq(DO(thread, syncWait, word, 0, 0, ALL, 4), K_EINVAL);
    cr_assert_eq(DO(thread, syncWake, 0xbad000, 1, ALL, 0), K_EFAULT);
    cr_assert_eq(DO(thread, syncWake, word, 1, 0, 0), K_EINVAL);
    cr_assert_eq(DO(thread, syncRequeue, word, 1, 1, 0xbad000, 0, 0), K_EFAULT);
}

Test(sync, a_word_with_another_value_is_not_waited_for)
{
    struct thread *thread = user_new();
    uint64_t word = room(thread->actor, 64);
    cr_assert_eq(DO(thread, syncWait, word, 1, (uint64_t)K_FOREVER, ALL, 0), K_EAGAIN);
    cr_assert_eq(DO(thread, syncWait, word, 0, 0, ALL, 0), K_ETIMEOUT);
}

Test(sync, waiters_are_woken_oldest_first_and_by_mask)
{
    struct thread *waker = user_new(), *first = thread_new(waker->actor),
                  *second = thread_new(waker->actor);
    uint64_t word = room(waker->actor, 64);
    cr_assert_eq(DO(first, syncWait, word, 0, (uint64_t)K_FOREVER, 1, 0), K_BLOCKED);
    cr_assert_eq(DO(second, syncWait, word, 0, (uint64_t)K_FOREVER, 3, 0), K_BLOCKED);
    cr_assert_eq(DO(waker, syncWake, word + 4, 9, ALL, 0), 0);
    cr_assert_eq(DO(waker, syncWake, word, 9, 2, 0), 1);
    cr_assert_eq(result_of(second), K_OK);
    cr_assert(waits(first));
    cr_assert_eq(DO(second, syncWait, word, 0, (uint64_t)K_FOREVER, ALL, 0), K_BLOCKED);
    cr_assert_eq(DO(waker, syncWake, word, 1, ALL, 0), 1);
    cr_assert_eq(result_of(first), K_OK);
    cr_assert(waits(second));
}

Test(sync, a_wait_ends_in_time_or_by_an_abort)
{
    struct thread *waker = user_new(), *waiter = thread_new(waker->actor);
    uint64_t word = room(waker->actor, 64);
    cr_assert_eq(DO(waiter, syncWait, word, 0, 3 * MS, ALL, 0), K_BLOCKED);
    pass(3 * MS);
    cr_assert_eq(result_of(waiter), K_ETIMEOUT);
    cr_assert_eq(DO(waiter, syncWait, word, 0, (uint64_t)K_FOREVER, ALL, 0), K_BLOCKED);
    DO(waker, threadAbort, 0, (uint64_t)waiter->li);
    cr_assert_eq(result_of(waiter), K_EABORT);
    int64_t now = fake_host_time - nucleus_boot_time();
    cr_assert_eq(DO(waiter, syncWait, word, 0, (uint64_t)(now + 2 * MS), ALL, K_SYNC_ABSOLUTE),
                 K_BLOCKED);
    pass(2 * MS);
    cr_assert_eq(result_of(waiter), K_ETIMEOUT);
    cr_assert_eq(DO(waiter, syncWait, word, 0, (uint64_t)(host_time_of_day() + 2 * MS), ALL,
                    K_SYNC_ABSOLUTE | K_SYNC_REALTIME),
                 K_BLOCKED);
    pass(2 * MS);
    cr_assert_eq(result_of(waiter), K_ETIMEOUT);
    cr_assert_eq(DO(waiter, syncWait, word, 0, 1, ALL, K_SYNC_ABSOLUTE), K_ETIMEOUT);
}

Test(sync, requeue_wakes_some_and_moves_others)
{
    struct thread *waker = user_new(), *waiter[3];
    uint64_t word = room(waker->actor, 64), target = room(waker->actor, 64);
    for (int i = 0; i < 3; i++) {
        waiter[i] = thread_new(waker->actor);
        DO(waiter[i], syncWait, word, 0, (uint64_t)K_FOREVER, ALL, 0);
    }
    set_word(waker->actor, word, 5);
    cr_assert_eq(DO(waker, syncRequeue, word, 1, 9, target, 4, 0), K_EAGAIN);
    cr_assert_eq(DO(waker, syncRequeue, word, 1, 9, target, 5, 0), 3);
    cr_assert_eq(result_of(waiter[0]), K_OK);
    cr_assert_eq(DO(waker, syncWake, word, 9, ALL, 0), 0);
    cr_assert_eq(DO(waker, syncWake, target, 1, ALL, 0), 1);
    cr_assert_eq(result_of(waiter[1]), K_OK);
    cr_assert_eq(DO(waker, syncRequeue, target, 0, 9, word, 0, K_SYNC_NOCOMPARE), 1);
    cr_assert_eq(DO(waker, syncWake, word, 1, ALL, 0), 1);
    cr_assert_eq(result_of(waiter[2]), K_OK);
}

Test(sync, actors_that_share_a_page_meet_on_it)
{
    struct thread *first = user_new(), *second = user_new();
    uint64_t word = (room(first->actor, 8192) + 4095) & ~4095ull;
    KnRgnDesc rgn = { .startAddr = 0x50000000, .size = 4096, .options = K_READABLE | K_WRITABLE };
    int64_t status = DO(second, rgnMapFromActor, 0, PUT(second->actor, rgn),
                        cap_of(first->actor, second->actor), word);
    cr_assert_eq(status, K_OK);
    cr_assert_eq(DO(first, syncWait, word + 8, 0, (uint64_t)K_FOREVER, ALL, 0), K_BLOCKED);
    cr_assert_eq(DO(second, syncWake, 0x50000008, 1, ALL, 0), 1);
    cr_assert_eq(result_of(first), K_OK);
}

/* ---- timers ---- */

static KnTimerMsg take(struct thread *thread)
{
    uint64_t desc;
    KnTimerMsg told;
    cr_assert_eq(receive_by(thread, 0, K_NODELAY, &desc), 0);
    get(thread->actor, (uint64_t)message_desc(thread->actor, desc).annexAddr, &told, sizeof told);
    cr_assert_eq(told.type, K_MSG_TIMER);
    return told;
}

Test(timers, bad_timers_are_refused)
{
    struct thread *thread = user_new();
    cr_assert_eq(DO(thread, timerCreate, 5, 0), K_EUNKNOWN);
    cr_assert_eq(DO(thread, timerSet, 1, 0, 0, 0), K_EUNKNOWN);
    cr_assert_eq(DO(thread, timerDelete, 1), K_EUNKNOWN);
    cr_assert_eq(DO(thread, timerCreate, 0, 0), 1);
    cr_assert_eq(DO(thread, timerSet, 1, (uint64_t)-1, 0, 0), K_EINVAL);
    cr_assert_eq(DO(thread, timerSet, 1, 1, (uint64_t)-1, 0), K_EINVAL);
    cr_assert_eq(DO(thread, timerSet, 1, INT64_MAX, INT64_MAX, 0), K_OK);
}

Test(timers, a_timer_sends_once)
{
    struct thread *thread = user_new();
    cr_assert_eq(DO(thread, timerCreate, 0, 99), 1);
    cr_assert_eq(DO(thread, timerSet, 1, 5 * MS, 0, 0), K_OK);
    pass(5 * MS - 1);
    cr_assert_eq(receive_by(thread, 0, K_NODELAY, NULL), K_ETIMEOUT);
    pass(1);
    KnTimerMsg told = take(thread);
    cr_assert_eq(told.cookie, 99);
    cr_assert_eq(told.overruns, 0);
    pass(50 * MS);
    cr_assert_eq(receive_by(thread, 0, K_NODELAY, NULL), K_ETIMEOUT);
}

Test(timers, a_period_counts_what_was_not_received)
{
    struct thread *thread = user_new();
    DO(thread, timerCreate, 0, 1);
    DO(thread, timerSet, 1, MS, MS, 0);
    pass(10 * MS);
    cr_assert_eq(take(thread).overruns, 9);
    pass(2 * MS);
    cr_assert_eq(take(thread).overruns, 1);
    uint64_t old_at = room(thread->actor, sizeof(KnTimerStat));
    cr_assert_eq(DO(thread, timerSet, 1, 0, 0, old_at), K_OK);
    KnTimerStat old;
    get(thread->actor, old_at, &old, sizeof old);
    cr_assert_eq(old.period, MS);
    cr_assert_eq(old.remaining, MS);
    receive_by(thread, 0, K_NODELAY, NULL);
    pass(10 * MS);
    cr_assert_eq(receive_by(thread, 0, K_NODELAY, NULL), K_ETIMEOUT);
}

Test(timers, a_waiting_thread_is_woken_by_its_timer)
{
    struct thread *thread = user_new();
    DO(thread, timerCreate, 0, 1);
    DO(thread, timerSet, 1, MS, 0, 0);
    cr_assert_eq(receive_by(thread, 0, K_FOREVER, NULL), K_BLOCKED);
    pass(MS);
    cr_assert_eq(result_of(thread), 0);
    cr_assert_eq(DO(thread, timerDelete, 1), K_OK);
    receive_by(thread, 0, K_NODELAY, NULL);
}

Test(timers, time_is_told_and_set)
{
    struct thread *user = user_new(), *system = thread_new(actor_new(K_SYSTEMACTOR));
    uint64_t at = room(user->actor, 8), there = room(system->actor, 8);
    KnTime time;
    pass(7 * MS);
    cr_assert_eq(DO(user, sysTime, at), K_OK);
    get(user->actor, at, &time, 8);
    cr_assert_eq(time, 7 * MS);
    KnTime set = 12345;
    cr_assert_eq(DO(user, univTime, at, PUT(user->actor, set)), K_EPRIV);
    cr_assert_eq(DO(system, univTime, there, PUT(system->actor, set)), K_OK);
    pass(MS);
    cr_assert_eq(DO(user, univTime, at, 0), K_OK);
    get(user->actor, at, &time, 8);
    cr_assert_eq(time, 12345 + MS);
    set = -5;
    cr_assert_eq(DO(system, univTime, 0, PUT(system->actor, set)), K_EINVAL);
}
