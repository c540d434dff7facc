/* thread.h: threads: their states, their waits, and the call in progress.
 *
 * A thread has no kernel stack. A nucleus call runs to its end at once, or puts its thread into a wait queue with nothing half done and
 * returns K_BLOCKED; when the thread is woken the call is started again from its beginning, finds call.woken set to why, and goes on from
 * what call.progress keeps. Timeouts, aborts and wake-ups exist once, here.
 */
#ifndef NUCLEUS_THREAD_H
#define NUCLEUS_THREAD_H

#include <chorus.h>
#include <stdbool.h>
#include <host/cpu.h>
#include "list.h"

struct actor;
struct call_record;

enum thread_state {
    THREAD_INACTIVE, /* made, not started */
    THREAD_READY,    /* in a run queue */
    THREAD_RUNNING,  /* on a user CPU */
    THREAD_WAITING,  /* in a wait queue, or for its trap's reply */
    THREAD_DEAD
};

/* Who waits for one thing. Woken oldest first. */
struct wait_queue {
    struct list threads;
};

#define CALL_SCRATCH 256

/* The nucleus call (or trap) that a thread is in. */
struct call {
    unsigned number;     /* of the call; 0: none */
    uint64_t arg[6];
    bool restarted;      /* started again after a wait */
    int woken;           /* why the last wait ended: K_OK, K_ETIMEOUT, K_EABORT, K_EDEAD, ... */
    int64_t deadline;    /* of the whole call, host_time(); kept over restarts; 0 not set yet */
    uint64_t progress[8]; /* what the call keeps over restarts; all zero at its beginning */
    bool for_trap;       /* done as the thread for K_DO_CALL: in-structures come from <scratch> */
    bool report;         /* K_DO_REPORT */
    uint8_t scratch[CALL_SCRATCH];
};

struct thread {
    struct list of_actor;
    struct actor *actor;
    KnThreadLid li;
    char name[K_NAMEMAX];
    enum thread_state state;
    KnSched sched;
    int cpu;             /* where it runs, or ran last */
    int bound;           /* -1 or the CPU that it may use */
    struct list run_link; /* in a run queue */
    int64_t slice_left;

    struct host_context *context;
    uint64_t cookie;
    struct call call;

    /* The wait. */
    struct wait_queue *waiting_in; /* NULL: none */
    struct list wait_link;
    bool abortable;
    int64_t wake_at;     /* INT64_MAX: never; in the timer heap otherwise */
    size_t timer_index;

    bool aborted;        /* the latched ABORTED state */
    unsigned stopped;    /* reasons to stay off the CPUs: STOPPED_ bits */
    bool in_trap;        /* its trap's message is unanswered */
    bool semaphore;

    struct call_record *current;  /* the current message (received, unanswered) */
    struct call_record *calling;  /* the ipcCall that it waits in */
    KnTime cpu_time;
    uint64_t switches;
};
enum { STOPPED_BY_THREADSTOP = 1, STOPPED_BY_ACTORSTOP = 2, STOPPED_BY_TRAP = 4, STOPPED_UNTIL_ACTIVE = 8 };

void wait_queue_init(struct wait_queue *queue);
/* Leave <thread> waiting; its call is started again when it is woken, timed out or aborted (call.woken). Always returns K_BLOCKED. An
 * abortable wait of an ABORTED thread does not begin: clears the state and returns K_EABORT. <deadline>: host_time(), INT64_MAX none. A
 * deadline that has passed: K_ETIMEOUT at once. */
int wait_queue_wait(struct wait_queue *queue, struct thread *thread, int64_t deadline, bool abortable);
/* Wake with call.woken = <why>. */
void thread_wake(struct thread *thread, int why);
struct thread *wait_queue_wake_one(struct wait_queue *queue, int why);
void wait_queue_wake_all(struct wait_queue *queue, int why);

#endif
