/* ipc/chIpc.h: ports, groups and messages.
 *
 * A message is an annex of up to 120 bytes and a body of up to 64 KB. It is addressed to a port or a group, never to
 * a thread. A port belongs to one actor at a time, whose threads alone receive from it; anybody who knows its UI may
 * send to it. It has a local identifier (LI, from 1) in its actor; LI 0 is the actor's default port.
 *
 * ipcSend is asynchronous and promises nothing but that a full local queue is reported. ipcCall is at most once; its
 * reply belongs to the request; aborting the caller aborts the thread that serves it. A received, unanswered request
 * belongs to its port: it may be parked (ipcSave), restored by any receiver of that port, and goes along when the port
 * migrates. If the port or its actor goes away its callers get K_EDEAD.
 */
#ifndef IPC_CHIPC_H
#define IPC_CHIPC_H

#include <chorus.h>

#define K_CMSGANNEXSIZE 120u   /* bytes of an annex, always all of them */
#define K_CMSGSIZEMAX 65536u   /* bytes of a body, at most */
#define K_CPORTQUEUE 256u      /* messages that wait in one port, at most */

#define K_DEFAULTPORT 0
#define K_ANYENABLED (-1) /* ipcReceive: the oldest message of the enabled port with the best priority */

typedef uint64_t KnMsgId; /* of a received message; never 0, never reused while the site runs */

/* Where a message lies in the caller's memory. annexAddr NULL: no annex is sent, or wanted. */
typedef struct KnMsgDesc {
    uint32_t flags; /* K_ABORTABLE, K_MSG_PARK, K_MSG_BYID */
    uint32_t bodySize; /* sent: its size. Received: the room at bodyAddr; on return the whole body's size, which may be more
                        * than the room: the rest is fetched by ipcGetData while the message is current */
    void *bodyAddr;
    void *annexAddr;
    uint32_t seqNum;     /* received: the message's number on its port */
    uint32_t bodyOffset; /* ipcGetData: where in the body to begin */
    KnMsgId id;          /* received: the message's name. Replied, with K_MSG_BYID: the request that is answered */
} KnMsgDesc;
enum {
    K_ABORTABLE = 1, /* this wait can be aborted */
    K_MSG_PARK = 2,  /* receiving: a request that is current and not answered is parked, as by ipcSave, and not dropped */
    K_MSG_BYID = 4   /* replying: not the current request is answered but that with this <id>, which is parked at a port of the caller's
                      * actor, or the current one of any of its threads. K_ENOMSG: it is not */
};

typedef struct KnIpcDest {
    KnUniqueId target; /* a port's UI or, prepared by ipcTarget, a group's */
    KnUniqueId coTarget;
    uint32_t mode; /* K_*MODE for a group, 0 for a port */
    uint32_t unused;
} KnIpcDest;
enum { K_PORTMODE = 0, K_BROADMODE = 1, K_FUNCMODE = 2, K_FUNCUMODE = 3, K_FUNCXMODE = 4 };

typedef struct KnMsgHead {
    uint32_t bodySize;
    uint32_t flags; /* K_HEAD_CALL: a reply is awaited */
    KnUniqueId srcPort, target, coTarget;
    KnUniqueId srcActor;
    KnMsgId transId; /* of the call, 0 for ipcSend */
    KnProtId actorId, portId;
    uint32_t seqNum, unused;
} KnMsgHead;
enum { K_HEAD_CALL = 1, K_HEAD_NUCLEUS = 2 /* sent by the Nucleus itself */, K_HEAD_TRUSTED = 4 /* sent by a system or supervisor actor */ };

/* Types of the messages that the Nucleus sends by itself, the first word of their annexes; trap messages begin with a
 * KnTrapKind below 64. */
enum { K_MSG_TIMER = 64, K_MSG_INTERRUPT = 65, K_MSG_WATCH = 66, K_MSG_ABORTED = 67, K_MSG_MAPPER = 80 /* ..95, see chMapper.h */ };
typedef struct KnWatchMsg { uint32_t type; /* K_MSG_WATCH */ uint32_t unused; KnUniqueId ui; uint64_t cookie; int32_t reason; char name[K_NAMEMAX]; } KnWatchMsg;
typedef struct KnIntrMsg { uint32_t type; /* K_MSG_INTERRUPT */ uint32_t intr; uint64_t count; } KnIntrMsg;
/* Sent to a request's port when the caller of a request that is parked there was aborted or deleted, or did not want to wait any longer, unless
 * the port's own actor did it. The request is gone then: ipcRestore of it is K_EUNKNOWN. (The trap of a thread that is aborted stays, see
 * <exec/chTrap.h>.) A thread that serves it (it is its current message) gets threadAbort instead, but for a timeout; its answer goes nowhere. */
typedef struct KnAbortedMsg { uint32_t type; /* K_MSG_ABORTED */ uint32_t unused; KnMsgId id; } KnAbortedMsg;

/* Make a port in an actor; created disabled. Returns its LI, its UI in *ui. */
int portCreate(const KnCap *cap, KnUniqueId *ui);
/* The same with a static UI (uiBuild K_UISTATPORT). System actors. K_EBUSY: it is declared already. Static ports migrate
 * on their site only. */
int portDeclare(const KnCap *cap, const KnUniqueId *ui);
/* Delete a port: callers whose requests are in it get K_EDEAD, threads that wait on it K_EUNKNOWN. Not the default port: K_EINVAL. */
int portDelete(const KnCap *cap, int portli);
/* Let K_ANYENABLED receive from the port. <prio>: 0 the best .. 255. */
int portEnable(const KnCap *cap, int portli, unsigned prio);
/* Leave it out again. Who receives from this very port is not concerned. */
int portDisable(const KnCap *cap, int portli);
/* The UI of the port with this LI. K_EUNKNOWN. */
int portUi(const KnCap *cap, int portli, KnUniqueId *ui);
/* The LI of the port with this UI. K_EUNKNOWN: there is none, or it is not this actor's. */
int portLi(const KnCap *cap, const KnUniqueId *ui);
/* Get and set the protection identifier that messages sent from the port carry beside the actor's; either pointer may be NULL. Setting is for system
 * and supervisor actors: K_EPRIV. */
int portPi(const KnCap *cap, int portli, KnProtId *old, const KnProtId *new_);
/* Messages received from the port so far, and one. */
int portGetSeqNum(const KnCap *cap, int portli);
/* Move a port. K_MIGRATE_KEEP: queued and unanswered messages follow; K_MIGRATE_DISCARD: queued ones are dropped, their
 * callers get K_EDEAD. Returns the LI in the target actor, where it arrives disabled; threads that wait on it in the source
 * get K_EUNKNOWN. *seqnum: messages received so far, and one; the count begins anew. Not the default port: K_EINVAL. */
int portMigrate(unsigned options, const KnCap *source, int portli, const KnCap *target, uint32_t *seqnum);
enum { K_MIGRATE_KEEP = 0, K_MIGRATE_DISCARD = 1 };

/* <options> K_DYNAMIC: a new group. K_STATUSER, K_STATSYS: the group of that stamp (the latter for system actors); the UI
 * can be built by anybody, the capability is returned to whoever may ask. */
int grpAllocate(unsigned options, KnCap *cap, uint32_t stamp);
enum { K_DYNAMIC = 0, K_STATUSER = 1, K_STATSYS = 2 };
/* Put a port of this site into a group. K_EUNKNOWN (group, its key, or port), K_EBUSY (it is in it), K_ELIMIT. */
int grpPortInsert(const KnCap *group, const KnUniqueId *port);
/* Take it out. K_EUNKNOWN. A port that goes leaves all its groups. */
int grpPortRemove(const KnCap *group, const KnUniqueId *port);
/* Put an addressing mode into a destination whose target is a group. A plain function. K_BROADMODE: every member whose queue has room (ipcSend only).
 * K_FUNCMODE: one member, each in its turn. K_FUNCUMODE: one on the site where <coTarget> is. K_FUNCXMODE: if <coTarget> names a site, one on another
 * site; otherwise one whose UI is not <coTarget>. No member fits: K_EUNKNOWN. */
static inline void ipcTarget(KnIpcDest *dest, unsigned mode) { dest->mode = mode; }

/* <source>: the LI of the caller's port that the message is said to come from. */
int ipcSend(const KnMsgDesc *msg, int source, const KnIpcDest *dest);
/* Waits at most <delay> ns for the reply. K_EUNKNOWN (no such port), K_EFULL, K_EDEAD, K_ETIMEOUT, K_EABORT, K_ETOOMUCH, K_EFAULT.
 * Returns the size of the reply's body. The deadline covers the wait; a late reply is dropped. */
int ipcCall(const KnMsgDesc *msg, int source, const KnIpcDest *dest, KnMsgDesc *reply, KnTime delay);
/* Waits at most <delay> ns. *portli: an LI or K_ANYENABLED; on return the LI of the port it came from. The message becomes
 * the thread's current one; an unanswered request that was current before and was not saved (K_MSG_PARK does it) is answered with K_EDEAD.
 * Of several threads that wait at a port the one that came last is served first.
 * Returns the size of the body. K_ETIMEOUT, K_EABORT, K_EUNKNOWN (no such port, or it went away). */
int ipcReceive(KnMsgDesc *msg, int *portli, KnTime delay);
/* Answer the current message, which is none afterwards. K_ENOMSG: there is none, or it awaits no reply. K_OK although the caller is gone: the reply
 * goes nowhere then. K_ETOOMUCH, K_EFAULT, K_EINVAL (a trap's reply without a KnTrapReply): nothing has happened. */
int ipcReply(const KnMsgDesc *msg);
/* ipcReply (no reply is sent if <reply> is NULL or there is no such message), then ipcReceive. */
int ipcReplyReceive(const KnMsgDesc *reply, KnMsgDesc *msg, int *portli, KnTime delay);
/* Park the current message: it stays with its port, and *id names it. K_ENOMSG: there is none, or its caller is gone. K_EFULL: of messages that await no reply, a port keeps K_CPORTQUEUE. */
int ipcSave(KnMsgId *id);
/* Make a message that is parked at a port of the caller's actor the current one; one that was current before and not saved is dropped as by ipcReceive.
 * K_EUNKNOWN: no such message is parked there, its caller may be gone. */
int ipcRestore(const KnMsgId *id);
/* Copy the current message's body from bodyOffset on, up to bodySize bytes, and its annex if annexAddr is not NULL. Returns the bytes copied; bodySize
 * becomes the whole body's size. K_ENOMSG, K_EOFFSET, K_EFAULT. K_EUNKNOWN: the body is with the first receiver (a large one that was received whole). */
int ipcGetData(KnMsgDesc *msg);
/* Who sent the current message, from where to where. K_ENOMSG. */
int ipcSysInfo(KnMsgHead *head);

#endif
