/* sync/chSem.h: counting semaphores in the actor's memory, or in memory that several actors share.
 *
 * Without contention they cost no nucleus call. Functions of libchorus, built on syncWait and syncWake.
 */
#ifndef SYNC_CHSEM_H
#define SYNC_CHSEM_H

#include <chorus.h>

typedef struct KnSem {
    volatile uint32_t count;
    volatile uint32_t waiters;
} KnSem;

/* K_EINVAL: the count is negative. */
int semInit(KnSem *sem, int count);
/* Wait at most <delay> ns (K_FOREVER, K_NODELAY) until the count is above 0, and take one from it.
 * Abortable. K_OK, K_ETIMEOUT, K_EABORT. */
int semP(KnSem *sem, KnTime delay);
/* Add one, and wake a waiter. K_ELIMIT: the count would pass 2^31 - 1. */
int semV(KnSem *sem);

#endif
