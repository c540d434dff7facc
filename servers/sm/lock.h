/* lock.h: the lock around the core. Giving it up lets what has happened have its consequences. */
#ifndef SM_LOCK_H
#define SM_LOCK_H

void sm_lock(void);
void sm_unlock(void);

#endif
