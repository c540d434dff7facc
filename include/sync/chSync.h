/* sync/chSync.h: waiting on a word of the actor's own memory. No nucleus object: mutexes, semaphores and
 * events of libchorus and of Unix's futexes are built on it. Two actors that share the page meet on it. */
#ifndef SYNC_CHSYNC_H
#define SYNC_CHSYNC_H

#include <chorus.h>

enum { K_SYNC_ABSOLUTE = 1, /* <delay> is a point in sysTime, not a length */
       K_SYNC_REALTIME = 2  /* with K_SYNC_ABSOLUTE: a point in univTime */ };

/* Wait while the 32-bit word at <addr> (4-aligned) has the value <expected>. Abortable.
 * K_OK: woken. K_EAGAIN: it has another value. K_ETIMEOUT, K_EABORT, K_EFAULT, K_EINVAL. */
int syncWait(volatile uint32_t *addr, uint32_t expected, KnTime delay, uint32_t mask, uint32_t flags);
/* Wake up to <count> waiters whose mask meets <mask>, oldest first. Returns how many. */
int syncWake(volatile uint32_t *addr, uint32_t count, uint32_t mask, uint32_t flags);
/* If the word has the value <expected> (flags bit 0x100: do not compare): wake <wake>, move up to <requeue>
 * of the rest to <target>. Returns woken + moved. K_EAGAIN. */
int syncRequeue(volatile uint32_t *addr, uint32_t wake, uint32_t requeue, volatile uint32_t *target,
                uint32_t expected, uint32_t flags);
#define K_SYNC_NOCOMPARE 0x100u

#endif
