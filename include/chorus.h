/* chorus.h: what every actor includes.
 *
 * The Nucleus knows sites, actors, threads, ports, groups, regions and segments. An actor asks for
 * them by the calls declared here and in the headers below; each call is an ordinary C function of
 * libchorus that enters the Nucleus through the gate. A call returns K_OK or another value >= 0, or
 * one of the negative errors of <errors.def>. The table of all calls is <calls.def>.
 *
 * Conventions: addresses and sizes are in bytes; times are nanoseconds unless the name says
 * otherwise; a pointer to a capability may be K_MYACTOR, which stands for the calling actor.
 */
#ifndef CHORUS_H
#define CHORUS_H

#include <stddef.h>
#include <stdint.h>

/* A name that is unique in space and time. The head carries a type (5 bits) and a stamp (27 bits),
 * the tail the number of the site that made it: a hint where to look first. All zero: no name. */
typedef struct KnUniqueId {
    uint32_t uiHead;
    uint32_t uiTail;
} KnUniqueId;

/* The secret half of a capability. Sparse: who can name it has been given it. */
typedef uint64_t KnKey;

/* A capability: the right to an object is to know both halves. Capabilities are data: they may be
 * copied in messages, and the Nucleus does not follow where they go. */
typedef struct KnCap {
    KnUniqueId ui;
    KnKey key;
} KnCap;

/* Who acts, as servers see it. Stamped on every message by the Nucleus; only system and supervisor
 * actors may change one. The Nucleus gives it no meaning. */
typedef struct KnProtId {
    uint16_t uid;
    uint16_t gid;
    uint16_t did;
    uint16_t unused;
} KnProtId;

typedef uint64_t VmAddr;   /* an address in an actor */
typedef uint64_t VmSize;   /* bytes */
typedef uint64_t VmOffset; /* a place in a segment, bytes */
typedef int64_t KnTime;    /* nanoseconds */

#define K_MYACTOR ((const KnCap *)0) /* the calling actor, wherever a capability pointer is taken */

#define K_PAGESIZE 4096u
#define K_NAMEMAX 32u /* bytes of an actor's or a thread's name, the final zero included */

/* No bound on a wait, and no wait at all. */
#define K_FOREVER ((KnTime)-1)
#define K_NODELAY ((KnTime)0)

enum KnStatus {
#define KN_ERROR(name, value, words) name = value,
#include <errors.def>
#undef KN_ERROR
};

/* The words for a status, "no such status" for a stranger. Never NULL. */
const char *knStrError(int status);
/* Its name: "K_EINVAL". */
const char *knErrorName(int status);

#include <exec/chExec.h>
#include <exec/chTrap.h>
#include <ipc/chId.h>
#include <ipc/chIpc.h>
#include <ipc/chMsgHandler.h>
#include <lap/chLap.h>
#include <mem/chMem.h>
#include <sched/chSched.h>
#include <sync/chSync.h>
#include <etimer/chEtimer.h>

#endif
