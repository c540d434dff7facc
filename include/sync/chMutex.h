/* sync/chMutex.h: sleep locks in the actor's memory, or in memory that several actors share.
 *
 * A mutex that is free costs no nucleus call. All zero is a free mutex, so a static one needs no
 * mutexInit. It does not know its owner and is not recursive.
 * Functions of libchorus, built on syncWait and syncWake.
 */
#ifndef SYNC_CHMUTEX_H
#define SYNC_CHMUTEX_H

#include <chorus.h>

typedef struct KnMutex {
    volatile uint32_t state; /* 0 free, 1 taken, 2 taken and perhaps waited for */
} KnMutex;

int mutexInit(KnMutex *mutex);
/* Take it; waits as long as needed. An abort that comes meanwhile is kept for the thread's next
 * abortable wait. K_OK. */
int mutexGet(KnMutex *mutex);
/* Take it if it is free. Never waits. 1: taken. 0: somebody has it. */
int mutexTry(KnMutex *mutex);
/* Give it back. K_EINVAL: nobody has it. */
int mutexRel(KnMutex *mutex);

#endif
