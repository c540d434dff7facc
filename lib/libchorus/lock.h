/* lock.h: the lock of chMutex.h for libchorus itself, so that it works before libc does. */
#ifndef LIBCHORUS_LOCK_H
#define LIBCHORUS_LOCK_H

#include <sync/chMutex.h>

struct lock {
    KnMutex mutex; /* all zero: free */
};
static inline void lock_take(struct lock *lock) { mutexGet(&lock->mutex); }
static inline void lock_release(struct lock *lock) { mutexRel(&lock->mutex); }

#endif
