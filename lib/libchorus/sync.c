/* sync.c: mutexes and semaphores, on words of memory that the Nucleus lets threads wait on. */
#include "internal.h"

#include <sync/chMutex.h>
#include <sync/chSem.h>

#define EVERY_WAITER 0xffffffffu
enum { FREE = 0, TAKEN = 1, WAITED_FOR = 2 };

static uint32_t word_exchange(volatile uint32_t *word, uint32_t value)
{
    return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL);
}

static bool word_change(volatile uint32_t *word, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

int mutexInit(KnMutex *mutex)
{
    __atomic_store_n(&mutex->state, FREE, __ATOMIC_RELEASE);
    return K_OK;
}

int mutexTry(KnMutex *mutex)
{
    return word_change(&mutex->state, FREE, TAKEN);
}

int mutexGet(KnMutex *mutex)
{
    if (mutexTry(mutex))
        return K_OK;
    bool aborted = false;
    /* Who had to wait cannot know whether others still do: so it leaves WAITED_FOR. */
    while (word_exchange(&mutex->state, WAITED_FOR) != FREE)
        if (syncWait(&mutex->state, WAITED_FOR, K_FOREVER, EVERY_WAITER, 0) == K_EABORT)
            aborted = true;
    if (aborted)
        threadAbort(K_MYACTOR, K_MYSELF);
    return K_OK;
}

int mutexRel(KnMutex *mutex)
{
    uint32_t before = word_exchange(&mutex->state, FREE);
    if (before == WAITED_FOR)
        syncWake(&mutex->state, 1, EVERY_WAITER, 0);
    return before == FREE ? K_EINVAL : K_OK;
}

int semInit(KnSem *sem, int count)
{
    if (count < 0)
        return K_EINVAL;
    __atomic_store_n(&sem->waiters, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&sem->count, (uint32_t)count, __ATOMIC_RELEASE);
    return K_OK;
}

static bool sem_take(KnSem *sem)
{
    uint32_t count = __atomic_load_n(&sem->count, __ATOMIC_ACQUIRE);
    while (count != 0)
        if (__atomic_compare_exchange_n(&sem->count, &count, count - 1, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            return true;
    return false;
}

int semP(KnSem *sem, KnTime delay)
{
    if (sem_take(sem))
        return K_OK;
    if (delay == K_NODELAY)
        return K_ETIMEOUT;
    KnTime deadline = K_FOREVER;
    if (delay > 0) {
        KnTime now;
        if (sysTime(&now) != K_OK)
            return K_EFAULT;
        if (__builtin_add_overflow(now, delay, &deadline))
            deadline = K_FOREVER;
    }
    int status = K_OK;
    __atomic_fetch_add(&sem->waiters, 1, __ATOMIC_SEQ_CST);
    while (!sem_take(sem)) {
        status = syncWait(&sem->count, 0, deadline, EVERY_WAITER,
                          deadline == K_FOREVER ? 0 : K_SYNC_ABSOLUTE);
        if (status != K_OK && status != K_EAGAIN)
            break;
        status = K_OK;
    }
    __atomic_fetch_sub(&sem->waiters, 1, __ATOMIC_SEQ_CST);
    return status;
}

int semV(KnSem *sem)
{
    uint32_t count = __atomic_load_n(&sem->count, __ATOMIC_ACQUIRE);
    do {
        if (count >= INT32_MAX)
            return K_ELIMIT;
    } while (!__atomic_compare_exchange_n(&sem->count, &count, count + 1, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_ACQUIRE));
    if (__atomic_load_n(&sem->waiters, __ATOMIC_SEQ_CST) != 0)
        syncWake(&sem->count, 1, EVERY_WAITER, 0);
    return K_OK;
}
