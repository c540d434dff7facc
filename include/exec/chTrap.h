/* exec/chTrap.h: traps, exceptions and aborts of an actor, and who handles them.
 *
 * A trap that the Nucleus does not know (a system call of some Unix, an exception, a fault outside every
 * region) is handled by whom actorTrapConnect named for that actor:
 *   - a port: the Nucleus makes an ipcCall on the thread's behalf; the request's annex is a KnTrapMsg, the
 *     reply's annex a KnTrapReply that says what to do with the thread. Until it is answered the thread waits.
 *     The handler may ipcSave it and answer later.
 *   - the actor itself: the trap is reflected to an address inside it.
 *   - nobody: a system call returns -38, an exception deletes the actor with a report in the log.
 * An actor whose handler's port is gone is deleted at its next trap, or at once if a trap of it was there unanswered: nobody could let it go on.
 *
 * The wait for a trap's reply is not abortable. A thread that is aborted meanwhile is ABORTED (<exec/chExec.h>): if an abort handler is connected it is asked
 * after the reply; and if the trap is parked (ipcSave), its port gets a KnAbortedMsg, unless the port's own actor did it.
 */
#ifndef EXEC_CHTRAP_H
#define EXEC_CHTRAP_H

#include <chorus.h>

enum KnTrapKind {
    K_TRAP_SYSCALL = 1,   /* a 64-bit system call; number, arguments */
    K_TRAP_SYSCALL32 = 2, /* a system call by int 0x80 or from 32-bit code */
    K_TRAP_FAULT = 3,     /* an address outside every region, or against its protection; arg[0] the address,
                           * arg[1] K_FAULT_ flags, arg[2] the Nucleus's status (K_EFAULT, K_EPROTECT, K_EMAPPER,
                           * K_EOFFSET: a page beyond the segment's end, K_ENOMEM) */
    K_TRAP_ILLEGAL = 4,   /* an illegal or privileged instruction */
    K_TRAP_ARITHMETIC = 5,
    K_TRAP_BREAKPOINT = 6,
    K_TRAP_STEP = 7,
    K_TRAP_ALIGNMENT = 8,
    K_TRAP_ABORT = 16,  /* the thread was aborted and is about to run its own code */
    K_TRAP_RESULT = 17, /* the call asked for by K_DO_CALL is done; arg[0] its result, number its number */
    K_TRAP_DELETED = 18 /* never sent: the connected port's owner learns of deaths by actorWatch */
};
enum { K_FAULT_WRITE = 1, K_FAULT_EXEC = 2, K_FAULT_PRESENT = 4 };

/* The annex of a trap's message. */
typedef struct KnTrapMsg {
    uint32_t kind; /* KnTrapKind */
    uint32_t number;
    uint64_t arg[6];
    uint64_t ip, sp, flags;
    uint64_t cookie; /* of the thread, see KnThreadStart */
    KnUniqueId actor;
    KnThreadLid thread;
    uint32_t code; /* what the machine adds: an exception's subcode (the host's si_code); 1 for a system call that came by the gate (<exec/chAnswers.h>) */
} KnTrapMsg;

/* What to do with the thread: the annex of the reply. */
enum KnTrapAction {
    K_DO_RETURN = 1,  /* put <value> into the result register and go on */
    K_DO_CONTEXT = 2, /* go on with the registers as threadContext left them (no result is set) */
    K_DO_RESTART = 3, /* execute the trapping instruction again; rax becomes its number again */
    K_DO_STOP = 4,    /* stop the thread where it is, until threadStart; its context may be set meanwhile */
    K_DO_DELETE = 5,  /* delete the thread */
    K_DO_CALL = 6,    /* do nucleus call <number> with <arg> as the thread. A result >= 0 goes into the result
                       * register; a negative one, or any with K_DO_REPORT, comes back as K_TRAP_RESULT. The call
                       * is abortable. Arguments that are in-structures (kinds C, U, S of the table) lie in the
                       * reply's body and are given as offsets into it (K_DO_NULL: a null pointer); addresses (a)
                       * are the thread's own; out-structures are not possible, and of an in-and-out structure only the first half */
    K_DO_REFLECT = 7  /* nobody cares: do what would be done without a handler */
};
enum { K_DO_REPORT = 1 };
#define K_DO_NULL ((uint64_t)-1)

typedef struct KnTrapReply {
    uint32_t action;
    uint32_t flags;
    int64_t value;
    uint64_t number;
    uint64_t arg[6];
} KnTrapReply;

/* Who handles what. */
typedef struct KnTrapConnect {
    uint32_t what; /* K_CONNECT_ bits */
    uint32_t flags;
    KnUniqueId port; /* the handler's port; cleared: see <handler> */
    VmAddr handler;  /* with port cleared: an address in the actor itself, 0 disconnects */
} KnTrapConnect;
enum { K_CONNECT_TRAP = 1, K_CONNECT_EXCEPTION = 2, K_CONNECT_ABORT = 4 };
/* <flags>, with K_CONNECT_TRAP and a port only: the actor makes no nucleus calls of its own any more (each is K_EPRIV): what the
 * subsystem behind the port does for it, by K_DO_CALL too, is all that it can. An actor made with it as <init> is confined
 * as well. Another actorTrapConnect without the flag lifts it. */
enum { K_CONNECT_CONFINE = 1 };

/* Connect or disconnect the handler of an actor's traps. Who: the actor for itself (K_MYACTOR); for another, a
 * system or supervisor actor that knows its capability. K_EPRIV, K_EUNKNOWN, K_EINVAL.
 *
 * Reflection: the thread goes on at <handler> with its registers as they were at the trap but for rip and rsp; rsp is
 * 16-aligned and points to a KnReflect that the Nucleus wrote below the old stack pointer's red zone. The handler
 * returns by itself, without a call: it loads what it changed, sets rsp to savedRsp and jumps to savedRip. */
int actorTrapConnect(const KnCap *cap, const KnTrapConnect *connect);

typedef struct KnReflect {
    uint64_t kind, number; /* KnTrapKind; rax of a system call is in the register, too */
    uint64_t savedRip, savedRsp, savedFlags;
    uint64_t address, code; /* of a fault */
    uint64_t unused;
} KnReflect;

/* System calls that come by the gate (<exec/chAnswers.h>) and need nobody to be asked: their numbers, below 128, and results. */
#define K_ANSWERS_MOST 8
typedef struct KnAnswerSet {
    uint32_t count;
    uint32_t number[K_ANSWERS_MOST];
    int64_t value[K_ANSWERS_MOST];
} KnAnswerSet;

/* From now on these are answered inside the actor, without a trap, and no others: earlier ones are forgotten. While threads of the actor run, give
 * a number that stays the place in the set that it had. What comes by a trap still goes to the actor's handler. Who: system and supervisor actors. In a
 * supervisor actor it does nothing. K_EUNKNOWN, K_EINVAL (too many, a number above). */
int actorAnswers(const KnCap *cap, const KnAnswerSet *answers);

#endif
