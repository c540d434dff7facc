/* pm.h: what the Process Manager knows: the site of all its types.
 *
 * pm is a Unix made of a few tables and one lock.
 *
 *   process   what Unix calls one: a thread group with its identity, descriptors and signals
 *   thread    one thread of it; the cookie of its trap messages finds it. A thread has one call
 *             (struct call): what it trapped with, and how far that has come
 *   space     the actor that threads run in. Process is not actor: after vfork two processes live in
 *             one space, and exec moves to a fresh one
 *   file      an open file description; descriptors of many processes point to it
 *
 * The lock. Workers receive messages without it and take it to handle them. It is given up around
 * everything that may take long: calls to other servers, and copies from and to processes
 * (user.h). What was looked at before must be looked at again afterwards, but for what the
 * thread being served owns: while a worker serves a thread, nobody else touches that thread's call,
 * and its process and space stay.
 *
 * Waiting. A call that must wait for something without a bound puts itself into wait queues and returns
 * CALL_WAITS; its message is saved and the worker goes on. When it is woken it is run again from its
 * beginning, with call->runs > 0 and its progress kept. So nothing is half done while a call waits.
 */
#ifndef PM_PM_H
#define PM_PM_H

#include <chorus.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <protocol/file.h>

#include "list.h"

struct process;
struct thread;
struct call;
struct file;

#define NANOSECONDS 1000000000LL
#define SIGNALS 64
#define SIGNAL_BIT(signal) (UINT64_C(1) << ((signal) - 1))

/* ---- waiting (waiting.c) ---- */

struct wait_queue {
    struct list waiters;
    uint32_t wakes; /* how often it was woken, from 1 */
};

struct waiter {
    struct list link; /* in the queue */
    struct thread *thread;
};

/* Something that happens at a point of sysTime. */
struct timeout {
    KnTime when;
    size_t place; /* in the heap, from 1; 0: not armed */
    void (*fire)(struct timeout *timeout);
};

/* ---- calls (call.c) ---- */

/* What a handler returns: a result >= 0, an error < 0, or one of these. */
#define CALL_WAITS   (INT64_MIN)     /* it is in wait queues (or has a deadline): run it again */
#define CALL_REPLIED (INT64_MIN + 1) /* call->reply says what to do: K_DO_CALL, K_DO_CONTEXT */
#define CALL_GONE    (INT64_MIN + 2) /* the thread is no more, or its message was answered */

enum call_policy {
    CALL_RESTARTS, /* a signal handler interrupts it; SA_RESTART begins it again */
    CALL_INTERRUPTS, /* a signal handler interrupts it, always with EINTR */
    CALL_UNINTERRUPTED /* only the end of the process interrupts it */
};

typedef int64_t linux_handler(struct call *call);

struct linux_call {
    const char *name;
    linux_handler *handler; /* NULL: ENOSYS */
    const char *arguments;
    const char *missing;
};

#define CALL_WAITERS 4 /* more are allocated */

struct call {
    bool active; /* there is a system call to be finished */
    uint32_t number;
    uint64_t arg[6];
    const struct linux_call *entry;

    unsigned runs;    /* how often it has been run before */
    int64_t progress; /* its own: what has been done already */
    uint64_t scratch[4]; /* its own, too */
    KnTime deadline;  /* sysTime; K_FOREVER: none. Set by the first run */
    bool timed_out;
    enum call_policy policy;
    struct file *file; /* found by the first run, and held */
    bool awaits_sign;  /* tokens are out (token.c) */
    void (*cleanup)(struct call *call); /* when the call is over, however; may be NULL */

    struct timeout timeout;
    struct waiter waiters[CALL_WAITERS];
    struct waiter *more_waiters;
    size_t waiter_count, more_room;
    uint64_t stood; /* the wakes of all queues that it has stood in: whether one was woken since */

    /* The answer, when the handler returned CALL_REPLIED. */
    KnTrapReply reply;
    uint8_t body[64];
    uint32_t body_size;
    /* What to do with the result of a K_DO_CALL; NULL: it is the call's. */
    int64_t (*resume)(struct call *call, int64_t result);
};

/* ---- memory (space.c) ---- */

struct space {
    unsigned references; /* processes that live in it */
    KnCap actor;
    uint64_t watch;      /* its name in actorWatch messages */
    struct list link;
    bool gone;           /* the actor died */
    VmAddr brk_start, brk;
    VmAddr stack_bottom, stack_top;
    VmAddr code_start, code_end, data_start, data_end;
    VmAddr arg_start, arg_end, env_start, env_end;
    struct file *program; /* what it runs; may be NULL */
    struct rewrite_program *rewritten; /* rewrite.c: of which it runs the image; may be NULL */
    struct file *image;
    bool not_rewritten;   /* and never will be */
    struct told_answers { bool any; int64_t value[6]; } told; /* answers.c: what is answered inside it */
    uint64_t auxv[48];
    unsigned auxv_words;
};

/* ---- names (path.c) ---- */

struct place {
    struct file_node node;
    char *path; /* from the system's root, absolute, without links; freed by place_clear */
};

struct fs_view {
    unsigned references;
    struct place root, cwd;
    uint32_t umask;
};

/* ---- identity (credentials.c) ---- */

#define GROUPS_MAX 64
struct credentials {
    uint32_t uid, euid, suid, fsuid;
    uint32_t gid, egid, sgid, fsgid;
    uint32_t group_count;
    uint32_t groups[GROUPS_MAX];
    uint64_t permitted, effective, inheritable, bounding, ambient;
    bool no_new_privileges, keep_capabilities;
};
#define CAPABILITIES_ALL ((UINT64_C(1) << 41) - 1)

/* ---- signals (signals.c) ---- */

struct signal_action {
    uint64_t handler; /* SIG_DFL 0, SIG_IGN 1 */
    uint64_t flags;
    uint64_t restorer;
    uint64_t mask;
};

struct signal_table {
    unsigned references;
    struct signal_action actions[SIGNALS + 1];
};

struct signal_entry {
    struct list link;
    siginfo_t info;
};

struct signal_pending {
    uint64_t set;
    struct list entries; /* oldest first */
};

/* ---- processes ---- */

struct session {
    unsigned references;
    pid_t sid;
    uint32_t terminal; /* device number of its controlling terminal; 0: none */
};

struct process_group {
    pid_t pgid;
    struct session *session;
    struct list members;
    struct list link;
};

struct limit_pair {
    uint64_t current, most;
};

struct descriptor {
    struct file *file;
    bool close_on_exec;
};

struct descriptor_table {
    unsigned references;
    int size;
    struct descriptor *slots;
};

enum process_state {
    PROCESS_ALIVE,
    PROCESS_EXITING, /* its threads are being ended */
    PROCESS_ZOMBIE,  /* all that is left is what wait will tell */
};

struct usage_times {
    KnTime user, system;
};

struct process {
    unsigned references; /* the table's one, and of who looks at it over a wait */
    struct list link;    /* in the table of all */
    pid_t pid;
    struct process *parent;
    struct list children, sibling;
    struct process_group *group;
    struct list group_link;
    struct list sibling_finished; /* in the list of those to be finished */
    struct timeout last_moment;   /* until it is put there */
    enum process_state state;
    struct list threads;
    unsigned thread_count;

    struct space *space;
    struct fs_view *fs;
    struct descriptor_table *descriptors;
    struct signal_table *signals;
    struct credentials credentials;
    struct limit_pair limits[16];
    char name[16];

    struct signal_pending pending;
    bool stopped;        /* by a signal */
    int stop_signal;
    bool stop_untold, continue_untold; /* for wait */
    int exit_status;     /* as wait tells it */
    int exit_signal;     /* what the parent gets: SIGCHLD, or another one of clone */
    bool has_execed;
    bool core_dumped;
    bool dumpable;
    bool is_init;
    bool child_subreaper;
    int death_signal;    /* prctl */
    int nice;
    int policy;          /* sched_, noted */
    int priority;
    uint32_t persona;

    struct wait_queue children_changed; /* wait4 of this process's threads */
    struct process *vfork_parent;       /* borrowed its parent's space; it waits in vfork_done */
    struct wait_queue vfork_done;
    struct thread *exec_by;             /* the thread that waits for the others to end */

    KnTime started;
    struct usage_times children_times, dead_times;

    struct timeout alarm; /* ITIMER_REAL */
    KnTime alarm_period;
    struct list timers;   /* timer_create */
    int timer_next;
};

enum thread_where {
    THREAD_OUTSIDE, /* runs its own code, or a nucleus call that pm asked for */
    THREAD_SERVED,  /* its message is a worker's current one */
    THREAD_PARKED,  /* its message is saved */
    THREAD_ENDED    /* nothing is left of it in the Nucleus */
};

struct thread {
    unsigned references; /* the table's one */
    uint64_t cookie;
    pid_t tid;
    struct process *process;
    struct list of_process;
    KnThreadLid li;
    char name[16];

    enum thread_where where;
    KnMsgId message;   /* its trap, received and not answered */
    struct list ready; /* in the list of threads that must be served again */
    bool woken;        /* while it was served: look again before it waits */
    bool abort_sent;   /* it will come back to us by itself */
    bool in_call;      /* outside, for K_DO_CALL */
    bool dying;        /* to be ended when it is served next */
    bool context_set;  /* its registers were changed: K_DO_CONTEXT */
    int64_t result;    /* of the call that it returns from */
    bool has_result;
    struct call call;

    uint64_t blocked;
    uint64_t blocked_saved; /* to be set again after the handler: sigsuspend, ppoll */
    bool has_blocked_saved;
    uint64_t awaited; /* sigtimedwait */
    struct signal_pending pending;
    uint64_t altstack;
    uint64_t altstack_size;
    uint32_t altstack_flags;

    uint64_t clear_tid; /* address, zeroed and woken when it ends */
    uint64_t robust_list;
    bool exit_told;     /* clear_tid has been seen to */
    KnTime started;
    uint64_t wait_token;
};

/* ---- options of the whole pm (main.c) ---- */

struct pm_options {
    bool verbose;
    bool strace;
    unsigned processes_max;
    bool network;           /* there is a Socket Manager, or will be */
    unsigned rewrite_after; /* a system call is rewritten after so many traps; 0: never */
    const char *zone;       /* the host's, as a rule ("CET-1CEST,M3.5.0,M10.5.0/3"); NULL: UTC */
};
extern struct pm_options pm_options;

/* ---- the lock (worker.c) ---- */

void pm_lock(void);
void pm_unlock(void);

/* ---- log ---- */
void pm_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A status of the Nucleus as an error of Linux, negative. */
int error_of(int status);

KnTime time_now(void);      /* since the site started */
KnTime time_of_day(void);

#endif
