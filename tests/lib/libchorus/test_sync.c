/* Mutexes and semaphores, used by several host threads: the Nucleus's waits are the host's futexes. */
#include "fake_gate.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sync/chMutex.h>
#include <sync/chSem.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS 20000

static _Atomic unsigned waits, wakes;

static int host_wait(volatile uint32_t *word, uint32_t expected, KnTime deadline)
{
    struct timespec until = { deadline / 1000000000, deadline % 1000000000 };
    atomic_fetch_add(&waits, 1);
    long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected,
                          deadline == K_FOREVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
    if (result == 0)
        return K_OK;
    return errno == ETIMEDOUT ? K_ETIMEOUT : K_EAGAIN;
}

static int64_t host_answer(unsigned number, const uint64_t arg[6])
{
    struct timespec now;
    switch (number) {
    case CALL_syncWait:
        return host_wait((volatile uint32_t *)arg[0], (uint32_t)arg[1], (KnTime)arg[2]);
    case CALL_syncWake:
        atomic_fetch_add(&wakes, 1);
        return syscall(SYS_futex, arg[0], FUTEX_WAKE, (uint32_t)arg[1], NULL, NULL, 0);
    case CALL_sysTime:
        clock_gettime(CLOCK_MONOTONIC, &now);
        *(KnTime *)arg[0] = now.tv_sec * 1000000000 + now.tv_nsec;
        return K_OK;
    default:
        return K_ENOSYS;
    }
}

static void start(void)
{
    gate_start_silent(host_answer);
}
TestSuite(sync, .init = start, .timeout = 60);

static KnMutex mutex;
static KnSem items, places;
static uint64_t shared;

static void in_threads(void *(*work)(void *))
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, work, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

Test(sync, a_free_mutex_cannot_be_given_back)
{
    cr_expect_eq(mutexRel(&mutex), K_EINVAL);
    cr_expect_eq(mutexGet(&mutex), K_OK);
    cr_expect_eq(mutexTry(&mutex), 0);
    cr_expect_eq(mutexRel(&mutex), K_OK);
    cr_expect_eq(mutexTry(&mutex), 1);
    cr_expect_eq(waits + wakes, 0, "without contention the Nucleus is not asked");
}

Test(sync, a_semaphore_has_bounds)
{
    cr_expect_eq(semInit(&items, -1), K_EINVAL);
    cr_expect_eq(semInit(&items, INT32_MAX), K_OK);
    cr_expect_eq(semV(&items), K_ELIMIT);
    cr_expect_eq(semInit(&items, 0), K_OK);
    cr_expect_eq(semP(&items, K_NODELAY), K_ETIMEOUT);
    cr_expect_eq(semP(&items, 2000000), K_ETIMEOUT);
    cr_expect_eq(items.waiters, 0);
    cr_expect_eq(semV(&items), K_OK);
    cr_expect_eq(semP(&items, K_NODELAY), K_OK);
}

static void *count_up(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        mutexGet(&mutex);
        uint64_t seen = shared;
        if (i % 256 == 0)
            sched_yield();
        shared = seen + 1;
        mutexRel(&mutex);
    }
    return unused;
}

Test(sync, a_mutex_lets_one_thread_in_at_a_time)
{
    in_threads(count_up);
    cr_expect_eq(shared, THREADS * ROUNDS);
    cr_expect_eq(mutex.state, 0);
}

/* Even threads produce, odd ones consume. */
static void *pass_on(void *index)
{
    bool produce = (uintptr_t)index % 2 == 0;
    for (int i = 0; i < ROUNDS; i++) {
        cr_assert_eq(semP(produce ? &places : &items, K_FOREVER), K_OK);
        __atomic_fetch_add(&shared, produce ? 1 : -1, __ATOMIC_RELAXED);
        cr_assert_eq(semV(produce ? &items : &places), K_OK);
    }
    return NULL;
}

Test(sync, no_post_of_a_semaphore_is_lost)
{
    semInit(&items, 0);
    semInit(&places, 2);
    in_threads(pass_on);
    cr_expect_eq(shared, 0);
    cr_expect_eq(items.count, 0);
    cr_expect_eq(places.count, 2);
}

static bool aborted_once;

static int64_t abort_answer(unsigned number, const uint64_t arg[6])
{
    (void)arg;
    if (number == CALL_syncWait && !aborted_once) {
        aborted_once = true;
        return K_EABORT;
    }
    if (number == CALL_syncWait)
        mutex.state = 0;
    return K_OK;
}

Test(sync, a_mutex_keeps_an_abort_for_later)
{
    gate_start(abort_answer);
    mutex.state = 1;
    cr_expect_eq(mutexGet(&mutex), K_OK);
    cr_expect_eq(gate_count(CALL_threadAbort), 1);
}

Test(sync, an_abort_ends_the_wait_for_a_semaphore)
{
    gate_start(abort_answer);
    semInit(&items, 0);
    cr_expect_eq(semP(&items, K_FOREVER), K_EABORT);
    cr_expect_eq(items.waiters, 0);
}
