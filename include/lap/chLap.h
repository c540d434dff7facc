/* lap/chLap.h: local access points: procedure calls into supervisor actors of the same site.
 *
 * A LAP is a routine of a supervisor actor. Who knows its descriptor calls it: lapInvoke(&lap, argument) runs
 * routine(argument, cookie) and returns what it returns. Descriptors are data, as capabilities are: they are given away in
 * messages, or under a name (svLapBind, lapResolve).
 *
 * With K_LAP_SAFE the Nucleus knows the LAP. Anybody may call it, user actors too; the routine borrows a thread of its actor as
 * message handlers do (<ipc/chMsgHandler.h>), on the caller's CPU, without a switch; the caller waits until it
 * has returned. After svLapDelete, or its actor's death, a call is K_EUNKNOWN and nothing else happens. A fault of the routine ends
 * its actor, and the caller gets K_EDEAD; with K_LAP_SETJMP the caller gets K_EFAULT and the actor lives. An abort of the caller
 * is an abort of the routine: its waits end, the caller still waits for it to return. The argument is a number for the
 * Nucleus: a routine that takes it for an address of the caller's copies from there by vmCopy with svGetInvoker's capability.
 *
 * Without K_LAP_SAFE the call is a plain C call that the Nucleus does not see: a few nanoseconds. So it is for supervisor
 * actors only, on the caller's own thread and stack and with the caller's thread-local storage: the routine must not use
 * errno, malloc, stdio or pthreads. A fault in it is its caller's, and so is a call after its actor has died.
 */
#ifndef LAP_CHLAP_H
#define LAP_CHLAP_H

#include <chorus.h>

#define K_LAPNAMEMAX 7 /* characters of a name */

typedef int64_t (*KnLapHdl)(uint64_t argument, void *cookie);

typedef struct KnLapDesc {
    KnLapHdl handler; /* an address in the LAP's actor */
    void *cookie;
    uint64_t id; /* K_LAP_SAFE: the Nucleus's number of it, never reused while the site runs; 0: none */
    KnKey key;   /* K_LAP_SAFE: who does not know it cannot call */
    uint32_t options, unused;
} KnLapDesc;
enum { K_LAP_SAFE = 1, K_LAP_SETJMP = 2 /* with K_LAP_SAFE only */ };

/* Make a LAP of <cap>'s actor. <handler>: an address in it. Who: supervisor actors. Never waits. K_EPRIV, K_EUNKNOWN (actor), K_EINVAL (it is no
 * supervisor actor; no handler; K_LAP_SETJMP alone, unknown options), K_ELIMIT (1,024 safe ones an actor), K_ENOMEM, K_EFAULT. */
int svLapCreate(const KnCap *cap, KnLapHdl handler, void *cookie, unsigned options, KnLapDesc *lap);
/* Withdraw a safe LAP: its names go, no call gets in any more, the routines under way are aborted, and the call returns when the last
 * has returned. Not abortable. Who: supervisor actors, for LAPs of their own actor: K_EPRIV. K_EUNKNOWN. K_EBUSY: by a routine of this very LAP. For a LAP
 * without K_LAP_SAFE: K_EINVAL. */
int svLapDelete(const KnLapDesc *lap);
/* Call a LAP. Returns what its routine returns. K_EUNKNOWN (no such LAP, or not any more; a wrong key), K_EDEAD (its actor died meanwhile, or the
 * thread that ran the routine was ended), K_EFAULT (K_LAP_SETJMP), K_EINVAL (a user or system actor, and not K_LAP_SAFE). Waits while
 * all the threads that its actor lends are busy. A function of libchorus, built on lapEnter. */
int64_t lapInvoke(const KnLapDesc *lap, uint64_t argument);
/* The same by the Nucleus, for safe LAPs only. */
int64_t lapEnter(const KnLapDesc *lap, uint64_t argument);
/* Give a safe LAP a name, at most K_LAPNAMEMAX characters, for everybody on this site. It goes with the LAP. Who: supervisor actors. K_EPRIV,
 * K_EINVAL (an empty name; not K_LAP_SAFE), K_ETOOMUCH (a longer one), K_EBUSY (taken), K_EUNKNOWN (the LAP), K_ENOMEM. */
int svLapBind(const char *name, const KnLapDesc *lap);
/* Take a name away. Who: supervisor actors, for LAPs of their own actor: K_EPRIV. K_EUNKNOWN. */
int svLapUnbind(const char *name);
/* The descriptor of the LAP of that name; waits at most <delay> ns until there is one (K_NODELAY: K_EUNKNOWN at once). Abortable. K_EUNKNOWN,
 * K_ETIMEOUT, K_EABORT, K_ETOOMUCH, K_EINVAL, K_EFAULT. */
int lapResolve(KnLapDesc *lap, const char *name, KnTime delay);
/* The capability of the actor whose thread invoked the LAP, or sent the message, whose routine the calling thread runs (or: whose message
 * is its current one). Who: supervisor actors. K_ENOMSG: there is none. K_EUNKNOWN: that actor is gone, or the Nucleus itself sent it. */
int svGetInvoker(KnCap *actor);

/* These three are plain functions. */
static inline void lapDescZero(KnLapDesc *lap) { *lap = (KnLapDesc){ 0 }; }
static inline int lapDescIsZero(const KnLapDesc *lap) { return lap->handler == 0; }
static inline void lapDescDup(const KnLapDesc *from, KnLapDesc *to) { *to = *from; }

#endif
