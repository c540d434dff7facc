/* ipc/chMsgHandler.h: message handlers: a routine instead of threads that receive.
 *
 * A supervisor actor connects a routine to one of its ports. What is sent to the port is not received: the routine runs,
 * for a caller on the same site at once and on the caller's own CPU, without a switch of threads: the Nucleus puts the
 * message where the routine finds it, runs the routine, and lets the caller go on when it has returned. Who sends notices
 * nothing. The same server that has no right to a handler (a user or system actor) receives.
 *
 * The routine needs a stack and what its libc keeps for each thread. It borrows both from threads that the actor has made
 * for this and that lend themselves (svHandlerServe, or svHandlerWait below it); as many routines of an actor can be under
 * way at once as it has such threads. When all are busy messages wait in the port's queue. Routines of LAPs
 * (<lap/chLap.h>) run on the same threads.
 *
 * A routine may do all that a thread may: make nucleus calls, wait, call other servers (whose handlers then nest), save its
 * request and return. What it waits for its caller waits for, and others get the CPU. It runs at the better of its thread's
 * and its caller's priority. It must not end its thread, and a lock that it holds when it calls back to an actor that
 * called it is its own concern. If it faults its actor dies, and its caller gets K_EDEAD. If its caller is aborted,
 * deleted or does not want to wait any longer, the routine goes on by itself (aborted, but for the last), and its reply
 * goes nowhere.
 */
#ifndef IPC_CHMSGHANDLER_H
#define IPC_CHMSGHANDLER_H

#include <chorus.h>

/* The routine. The message: flags are K_HEAD_ bits, bodySize the whole body's size (more than the thread's room for bodies:
 * ipcGetData), bodyAddr and annexAddr the thread's own memory, valid until the routine returns; the annex is always there.
 * It is also the thread's current message: ipcSysInfo, ipcGetData, ipcSave and ipcReply do what they do for a received one. */
typedef void (*KnMsgHdl)(const KnMsgDesc *message, void *cookie);

/* Connect <handler> to a port of <cap>'s actor, or disconnect it (NULL). The messages in its queue are handled from then on, or wait.
 * While it is connected ipcReceive from the port and portMigrate of it are K_EINVAL, and K_ANYENABLED does not see it; portEnable says which
 * port's queue goes first. Who: supervisor actors. K_EUNKNOWN (actor, port), K_EPRIV, K_EINVAL (the port's actor is no supervisor
 * actor), K_EBUSY: a thread receives from it, or it is enabled, or it has a handler. <stack> is not used (0): a
 * routine runs on the stack of the thread that it borrows. Never waits. */
int svMsgHandler(const KnCap *cap, int portli, KnMsgHdl handler, VmSize stack, void *cookie);
/* Prepare the reply to the message that the calling routine handles: the annex (NULL: none) is copied, the body must stay where it is until the
 * routine has returned, which is when the reply leaves. Without one, the caller of a request that was neither answered nor saved gets
 * K_EDEAD. K_ENOMSG: the caller is no routine. K_ETOOMUCH: the body. A plain function of libchorus. */
int svMsgHdlReply(const KnMsgDesc *reply);
/* The calling thread lends itself to routines of its actor, with room for bodies of <bodyRoom> bytes (at most K_CMSGSIZEMAX). Returns only if it
 * cannot begin: K_EPRIV (no supervisor actor), K_ENOMEM, K_ESPACE, K_ETOOMUCH. A function of libchorus, built on svHandlerWait. */
int svHandlerServe(uint32_t bodyRoom);

/* What svHandlerWait and its thread tell each other: below a page in size, in one page, which is pinned from the first wait on. */
typedef struct KnHandlerBlock {
    /* The thread says, before it waits: */
    uint32_t answered; /* there is a reply to the message that it handled: <reply>, <replyAnnex> */
    uint32_t bodyRoom; /* bytes at <body> */
    void *body;        /* where the next body goes */
    KnMsgDesc reply;   /* bodyAddr, bodySize; annexAddr not NULL: there is one, in <replyAnnex> */
    int64_t result;    /* of a LAP's routine */
    VmAddr restart;    /* where it goes on, on <stack>, when a routine of a LAP with K_LAP_SETJMP has faulted; <argument> is the block */
    VmAddr stack;
    uint8_t replyAnnex[K_CMSGANNEXSIZE];
    /* The Nucleus says, when the wait has ended: */
    uint32_t kind; /* K_INVOKE_ */
    int32_t port;  /* LI of the message's port */
    VmAddr routine;
    uint64_t cookie, argument; /* argument: of a LAP's routine */
    KnMsgDesc message;         /* as the routine gets it */
    uint8_t annex[K_CMSGANNEXSIZE];
} KnHandlerBlock;
enum { K_INVOKE_MESSAGE = 1, K_INVOKE_LAP = 2 };

/* Give the answer of the last routine away, then wait to be lent to the next one. Who: supervisor actors. Not abortable; an abort that comes between
 * two routines is forgotten. K_OK: <block> says what to run. K_EINVAL (NULL, not a multiple of 8), K_EFAULT (not in one writable page, or a part
 * of the reply), K_ETOOMUCH (the reply's body): the reply is not given away, and the next wait without it answers K_EDEAD. */
int svHandlerWait(KnHandlerBlock *block);

#endif
