/* exec/chExec.h: actors and threads.
 *
 * An actor is the unit of resources: an address space, threads, ports, regions, timers. It is made
 * with a default port, which cannot be migrated or deleted. A thread belongs to one actor, in which
 * it has a small local identifier (LI, from 1).
 *
 * The abort model: threadAbort makes a thread leave an abortable wait with K_EABORT. A thread that
 * does not wait enters the ABORTED state: its next abortable wait returns K_EABORT at once, or
 * threadAborted() returns 1 and clears it, or, when it is about to run code of its actor and an
 * abort handler is connected (<exec/chTrap.h>), the handler gets a K_TRAP_ABORT message first.
 */
#ifndef EXEC_CHEXEC_H
#define EXEC_CHEXEC_H

#include <chorus.h>
#include <sched/chSched.h>

typedef int32_t KnThreadLid;
#define K_MYSELF ((KnThreadLid)0) /* the calling thread, where an LI of the caller's actor is taken */

/* Privileges of actors, <priv> of actorCreate. */
enum { K_USERACTOR = 0, K_SYSTEMACTOR = 1, K_SUPACTOR = 2 };
/* <status> of actorCreate and threadCreate. */
enum { K_ACTIVE = 0, K_INACTIVE = 1 };

/* Make an actor on this site. It inherits the protection identifier and the connected trap handlers
 * of <init> (K_MYACTOR: the caller). Its space is empty. *cap receives its capability. With status
 * K_INACTIVE its threads stay stopped until actorStart.
 * Who: K_SYSTEMACTOR and K_SUPACTOR only by a system or supervisor actor. Never waits.
 * K_EPRIV, K_EUNKNOWN (init), K_ELIMIT (the site's number of processes), K_ENOMEM, K_EFAULT. */
int actorCreate(const KnCap *init, KnCap *cap, int priv, int status);
/* End an actor: its threads, ports and regions go; callers waiting for it get K_EDEAD. With K_MYACTOR
 * does not return. K_EUNKNOWN. */
int actorDelete(const KnCap *cap);
/* The caller's own capability. K_EFAULT, K_EINVAL (NULL). */
int actorSelf(KnCap *cap);
/* Get and set the name, K_NAMEMAX bytes with the final zero; either pointer may be NULL. */
int actorName(const KnCap *cap, char *old, const char *new_);
/* Get and set the privilege; setting is for system and supervisor actors (K_EPRIV). A supervisor actor stays one, and none becomes one
 * afterwards: K_EINVAL. */
int actorPrivilege(const KnCap *cap, int *old, const int *new_);
/* Stop (debugger style) and start all threads of an actor. They nest not: one start undoes all. */
int actorStop(const KnCap *cap);
int actorStart(const KnCap *cap);
/* Get and set the protection identifier; setting is for system and supervisor actors: K_EPRIV. */
int actorPi(const KnCap *cap, KnProtId *old, const KnProtId *new_);
/* Ask for one message (annex: KnWatchMsg of <ipc/chIpc.h>) to the caller's port <portli> when the
 * actor or port <ui> is gone; at once if it is gone already. */
int actorWatch(const KnUniqueId *ui, int portli, uint64_t cookie);

typedef struct KnActorStat {
    KnUniqueId ui;
    char name[K_NAMEMAX];
    int32_t privilege;
    int32_t state; /* 0 active, 1 stopped, 2 being deleted */
    KnProtId pi;
    uint32_t threads, ports, regions, unused;
    uint64_t memory; /* bytes of frames mapped in it */
    KnTime cpuTime;
    uint64_t messages, faults, traps;
    uint64_t routines; /* message handlers and LAPs: routines that it ran */
} KnActorStat;
/* Describe the <index>th actor of the site, from 0. K_EUNKNOWN past the last. */
int actorStat(unsigned index, KnActorStat *stat);

/* A thread's registers. In a thread that waits in a nucleus call made through the gate, those that
 * a C call need not preserve read as zero. */
typedef struct KnThreadCtx {
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp;
    uint64_t rip, rflags;
    uint64_t fsBase, gsBase;
    uint64_t trap;  /* KnTrapKind of the last trap, 0 for a nucleus call or a preemption */
    uint64_t error; /* the machine's error code of the last exception */
    uint64_t fault; /* the address of the last fault */
    uint32_t xstateSize; /* bytes of extended state: how much threadContext wants room for */
    uint32_t flags;      /* K_CTX_ */
} KnThreadCtx;
enum {
    K_CTX_XSTATE = 1, /* set: <xstate> holds the extended state, in the machine's XSAVE form */
    K_CTX_GENERAL = 2 /* set: the general registers count, not the extended state alone */
};
#define K_XSTATEMAX 4096u

/* How a new thread starts. */
typedef struct KnThreadStart {
    VmAddr entry;
    VmAddr stack; /* the stack pointer as the entry finds it */
    uint64_t argument;
    uint64_t fsBase;
    uint64_t cookie; /* what its trap messages carry */
    uint32_t flags;  /* K_START_ */
    KnThreadLid sourceThread;
    KnCap sourceActor; /* K_START_COPY: registers, extended state too, are copied from that thread,
                        * which must be waiting in a trap; rax becomes <argument>; <stack> and <fsBase>
                        * replace the copied ones when not zero */
} KnThreadStart;
enum { K_START_COPY = 1 };

/* Make a thread. <sched> NULL: like the caller's. *li receives its LI, which is also returned.
 * K_EUNKNOWN, K_EINVAL (entry 0, priority out of range), K_ENOMEM, K_ELIMIT. Never waits. */
int threadCreate(const KnCap *cap, KnThreadLid *li, int status, const KnSched *sched,
                 const KnThreadStart *start);
/* End a thread, also one that waits or runs. The request that it serves is answered with K_EDEAD. With K_MYSELF does not return. K_EUNKNOWN. */
int threadDelete(const KnCap *cap, KnThreadLid li);
/* End the calling thread. Its actor stays, also without threads. */
void threadExit(void) __attribute__((noreturn));
/* The caller's LI. */
KnThreadLid threadSelf(void);
/* Get and set the name, K_NAMEMAX bytes with the final zero; either pointer may be NULL. */
int threadName(const KnCap *cap, KnThreadLid li, char *old, const char *new_);
/* Start a thread that was made K_INACTIVE; one that was started already goes on. K_EUNKNOWN. */
int threadActivate(const KnCap *cap, KnThreadLid li);
/* Stop one thread: it runs no more code of its actor until threadStart. They nest not. What it waits for may happen meanwhile. K_EUNKNOWN. */
int threadStop(const KnCap *cap, KnThreadLid li);
/* Undo threadStop, and K_DO_STOP of a trap's reply. K_EUNKNOWN. */
int threadStart(const KnCap *cap, KnThreadLid li);
/* Get and set registers of a thread that does not run (stopped, waiting, or in a trap whose message is
 * unanswered); <old> and <new_> may be NULL. <xstate>, if not NULL, has room for K_XSTATEMAX bytes and
 * receives (with <old>) or gives (with <new_> and K_CTX_XSTATE) the extended state.
 * K_EBUSY: it runs. */
int threadContext(const KnCap *cap, KnThreadLid li, KnThreadCtx *old, const KnThreadCtx *new_,
                  void *xstate);
/* Set what the thread's trap messages carry (KnTrapMsg). K_EUNKNOWN. */
int threadCookie(const KnCap *cap, KnThreadLid li, uint64_t cookie);

typedef struct KnThreadStat {
    KnThreadLid li;
    int32_t state; /* 0 ready, 1 running, 2 waiting, 3 stopped, 4 in a trap */
    char name[K_NAMEMAX];
    KnSched sched;
    int32_t cpu;
    uint32_t call; /* number of the nucleus call it waits in, 0 none */
    KnTime cpuTime;
    uint64_t switches; /* so often it was chosen for a CPU */
    uint64_t routines; /* and so often lent to a routine, <ipc/chMsgHandler.h>, which is no switch */
} KnThreadStat;
/* Describe the <index>th thread of an actor, from 0. K_EUNKNOWN past the last. */
int threadStat(const KnCap *cap, unsigned index, KnThreadStat *stat);

typedef struct KnThreadTimes {
    KnTime internal; /* running code of its own actor */
    KnTime total;    /* and the Nucleus's work for it */
} KnThreadTimes;
/* <li> 0: the sum over the actor's threads, past ones included. */
int threadTimes(const KnCap *cap, KnThreadLid li, KnThreadTimes *times);

/* Wait. Abortable: K_EABORT. Returns K_OK when the time has passed. */
int threadDelay(KnTime delay);
/* Abort a thread: see the abort model above. K_EUNKNOWN. */
int threadAbort(const KnCap *cap, KnThreadLid li);
/* 1 if the caller was in the ABORTED state, which is over now; 0 if not. */
int threadAborted(void);
/* Get and set class, priority and slice; either pointer may be NULL. Who: anybody may go down; only system and supervisor actors may raise a
 * priority, go from K_SCHED_RR to K_SCHED_FIFO or lengthen a slice (K_EPRIV; the same holds for threadCreate, against the caller's own). K_EUNKNOWN, K_EINVAL. */
int threadScheduler(const KnCap *cap, KnThreadLid li, KnSched *old, const KnSched *new_);
/* Let a thread run on one user CPU only; -1: on any. K_EUNKNOWN, K_EINVAL (no such CPU). */
int threadBind(const KnCap *cap, KnThreadLid li, int cpu);
/* Go behind the ready threads of the same priority. */
int threadYield(void);
/* A binary semaphore that each thread has: a post wakes the waiter or is remembered once. */
int threadSemWait(KnTime delay); /* K_OK, K_ETIMEOUT, K_EABORT */
int threadSemPost(const KnCap *cap, KnThreadLid li);

typedef struct KnSysInfo {
    uint32_t site, cpus;
    uint64_t frames, framesFree; /* pages of physical memory */
    uint32_t actors, threads, ports, calls;
    uint64_t messages, faults, traps, switches;
    KnTime idleTime;
    uint32_t actorsMax, debug;
    uint64_t routines; /* of message handlers and LAPs that began, */
    uint64_t direct;   /* and those of them that ran on their caller's CPU without a switch */
} KnSysInfo;
/* Describe the site: counters run from boot. */
int sysInfo(KnSysInfo *info);
/* Write a line, or several, at most 1024 bytes, to the site's log under the actor's name. What is not printable becomes '?'. K_ETOOMUCH,
 * K_EFAULT. K_EFULL: a user actor logs at most 1000 times at once and 200 times a second. A line of a system or supervisor actor that
 * begins with K_LOG_URGENT is shown to the person at the site, also when the log is not. */
int sysLog(const char *text, size_t size);
#define K_LOG_URGENT "<0>"
/* Random bytes, at most 256 (K_ETOOMUCH), fit for keys. */
int sysRandom(void *buffer, size_t size);
/* End the site: <how> 0 halt, 1 restart; <status> is the program's exit status. */
int sysShutdown(int status, int how);
/* Have a command of the site's done, as `chorus load` and `chorus kill` do. <words>: the words of src/control.h, <size> bytes, each with a final zero; <image>: the bytes of
 * the ELF file to be loaded, <imageSize> of them, or 0. A sentence of how it went is put to <answer>, at most <room> bytes with the final
 * zero. Who: system and supervisor actors. K_OK; K_EFAIL: it was not done, and the sentence says why; K_ETOOMUCH (64 KB of words, 64 MB of
 * image), K_EFAULT, K_ENOMEM, K_ENOSYS (this site takes no commands). */
int sysCommand(const char *words, size_t size, const void *image, size_t imageSize, char *answer, size_t room);
/* Do nothing: what entering the Nucleus costs. */
int sysNull(void);
/* The name of nucleus call <number>, K_NAMEMAX bytes. K_EUNKNOWN: there is none. */
int sysCallName(unsigned number, char *buffer);

#endif
