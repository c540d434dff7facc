/* thread.h: threads: their states, their waits, and the call in progress.
 *
 * A thread has no kernel stack. A nucleus call runs to its end at once, or puts its thread into a
 * wait with nothing half done and returns K_BLOCKED; when the thread is woken and gets a CPU the
 * call is started again from its beginning, finds call.woken set to why, and goes on from what
 * call.progress keeps. Timeouts, aborts and wake-ups exist once, here.
 */
#ifndef NUCLEUS_THREAD_H
#define NUCLEUS_THREAD_H

#include <chorus.h>
#include <stdbool.h>
#include <host/cpu.h>
#include "deadline.h"
#include "list.h"
#include "table.h"

struct actor;
struct message;

enum thread_state {
    THREAD_INACTIVE, /* made, not started */
    THREAD_READY,    /* in a run queue, or would be if it were not stopped */
    THREAD_RUNNING,  /* on a user CPU */
    THREAD_WAITING,  /* in a wait queue, for a reply, or for its trap's reply */
    THREAD_DEAD
};

/* Who waits for one thing. Woken oldest first. */
struct wait_queue {
    struct list threads;
};

#define CALL_SCRATCH 256

/* The nucleus call that a thread is in. */
struct call {
    unsigned number; /* of the call; 0: none */
    uint64_t arg[6];
    bool restarted;        /* started again after a wait */
    int woken;             /* why the last wait ended: K_OK, K_ETIMEOUT, K_EABORT, K_EDEAD, ... */
    int64_t deadline;      /* of the whole call, host_time(); kept over restarts; 0 not set yet */
    uint64_t progress[8];  /* what the call keeps over restarts; all zero at its beginning */
    bool for_trap;         /* done as the thread for K_DO_CALL: in-structures come from <scratch> */
    bool report;           /* K_DO_REPORT */
    uint16_t scratch_size; /* bytes of <scratch> that the reply gave */
    uint8_t scratch[CALL_SCRATCH];
};

/* A trap or exception that is being handled: what the machine said, copied once. */
struct trap {
    uint32_t kind; /* KnTrapKind */
    uint32_t code;
    uint64_t number;
    uint64_t arg[6];
    vaddr_t ip, sp;
    uint64_t flags;
    vaddr_t address;
    bool write, exec;
    int status;           /* of the fault, once memory has said it */
    bool restartable;     /* it began as a system call, */
    uint64_t call_number; /* this one: what K_DO_RESTART puts back */
};

/* What is to be done for a thread before it runs code of its actor. */
enum thread_work {
    WORK_NONE,
    WORK_CALL, /* run, or run again, <call> */
    WORK_TRAP  /* handle, or go on handling, <trap> */
};

/* The client's side of a request: found by its number, which client and server hold instead of
 * pointers. */
enum call_kind { CALL_BY_THREAD, CALL_FOR_TRAP, CALL_BY_NUCLEUS, CALL_OF_LAP };
struct call_record {
    struct table_entry entry;
    KnMsgId id; /* 0: no request is out */
    enum call_kind kind;
    struct message *reply; /* has come, is not fetched yet */
};

/* Where a waiting receiver or caller wants its message: its descriptor, read once, so that who
 * brings the message can complete the call. */
struct ipc_wait {
    KnMsgDesc desc;
    uint64_t desc_at, port_at; /* addresses, 0: not wanted */
    bool receiving;            /* in ipcReceive: wants to be woken by a message */
};

/* A thread that lends itself to routines: handler.h. */
struct lent {
    KnHandlerBlock *block; /* in its actor's memory, pinned; NULL: it never did */
    vaddr_t block_at;
    bool idle;        /* it waits to be lent */
    KnMsgId serves;   /* the call of a LAP whose routine it runs; 0: none */
    bool raised;      /* its priority is its caller's, */
    int own_priority; /* and was this one */
    uint64_t routines;
};

struct thread {
    struct list of_actor;
    struct actor *actor;
    KnThreadLid li;
    char name[K_NAMEMAX];
    enum thread_state state;
    KnSched sched;
    int cpu;              /* where it runs, or ran last */
    int bound;            /* -1 or the CPU that it may use */
    struct list run_link; /* in a run queue */
    int64_t slice_left;
    KnTime run_average; /* how long it ran lately until it waited or was stopped, ns */
    bool answered;      /* its trap was: it goes on with the rest of its slice */
    bool resumes;       /* ready: for that reason */
    bool has_more;      /* messages are queued for it alone, see sched.c on patience */
    int64_t queued_at; /* ready: since when; see sched.c on when another CPU than its waker's may take it */
    int waker_cpu;     /* -1: nobody's */
    bool light;        /* ready, and goes before its equals */
    int64_t queued_order;
    int64_t ready_order; /* in the run queues: the smaller goes first among equals */
    bool in_machine;     /* given to host_cpu_run and not come back */

    struct host_context *context;
    uint64_t cookie;
    enum thread_work work;
    struct call call;
    struct trap trap;
    uint32_t last_trap; /* for threadContext */

    /* The wait. */
    struct wait_queue *waiting_in; /* NULL: none */
    struct list wait_link;
    bool abortable;
    struct deadline timeout;

    bool aborted;     /* the latched ABORTED state */
    unsigned stopped; /* reasons to stay off the CPUs: STOPPED_ bits */
    bool in_trap;     /* its trap's message is unanswered */
    bool semaphore;

    KnMsgId current;            /* the current message (received, unanswered); 0 none */
    struct call_record calling; /* the ipcCall, or the trap, that it waits in */
    struct ipc_wait ipc;
    struct lent lent;
    uint64_t sync_key[2]; /* in syncWait: the word, */
    uint32_t sync_mask;   /* and what wakes it */

    KnTime cpu_time;
    uint64_t switches;
};
enum { STOPPED_BY_THREADSTOP = 1, STOPPED_BY_ACTORSTOP = 2, STOPPED_BY_TRAP = 4 };

/* Make one, INACTIVE. K_ENOMEM, K_ELIMIT. */
int thread_create(struct actor *actor, const KnSched *sched, struct thread **ret_thread);
/* It is READY from now on. */
void thread_activate(struct thread *thread);
/* End it: what it waits in, serves and asks for is given up. It is freed when the machine has given
 * it back. */
void thread_kill(struct thread *thread);
/* The one place where a thread's state changes; knows the legal moves, keeps the run queues in
 * step. */
void thread_set_state(struct thread *thread, enum thread_state state);
void thread_stop(struct thread *thread, unsigned reason);
void thread_start(struct thread *thread, unsigned reasons);

void thread_abort(struct thread *thread);
/* The machine gave a dead thread back. */
void thread_returned_dead(struct thread *thread);
/* A dead thread that the machine gave back, or whose space is gone, is freed by this, after the
 * event. */
void threads_bury(void);
size_t thread_count(void);
int thread_public_state(const struct thread *thread); /* as in KnThreadStat */

/* Do what is to be done before it runs code of its actor (thread->work, the abort handler); its
 * state is RUNNING. Afterwards it is RUNNING with nothing to do, or has another state. */
void thread_do_work(struct thread *thread);

void wait_queue_init(struct wait_queue *queue);
/* Leave <thread> waiting; its call is started again when it is woken, timed out or aborted
 * (call.woken), and returns K_BLOCKED. An abortable wait of an ABORTED thread does not begin:
 * clears the state and returns K_EABORT. <deadline>: host_time(), INT64_MAX none. A deadline that
 * has passed: K_ETIMEOUT at once. <queue> NULL: it is woken by name only. */
int wait_queue_wait(struct wait_queue *queue, struct thread *thread, int64_t deadline,
                    bool abortable);
/* Would such a wait begin? K_OK, K_EABORT (the state is cleared), K_ETIMEOUT. For calls that change
 * something before they wait. */
int wait_check(struct thread *thread, int64_t deadline, bool abortable);
/* Wake with call.woken = <why>. */
void thread_wake(struct thread *thread, int why);
struct thread *wait_queue_first(struct wait_queue *queue); /* NULL: nobody */
struct thread *wait_queue_last(struct wait_queue *queue);
struct thread *wait_queue_wake_one(struct wait_queue *queue, int why);
void wait_queue_wake_all(struct wait_queue *queue, int why);

#endif
