/* signals.h: signals, as Linux has them.
 *
 * A signal is sent to a thread or to a process (signal_send...), waits in a pending set, and is taken by
 * a thread that does not block it (signal_take) when that thread is about to run its own code or
 * waits in a call. A thread outside is brought in by threadAbort.
 */
#ifndef PM_SIGNAL_H
#define PM_SIGNAL_H

#include "pm.h"

/* What signal_take did. */
enum signal_outcome {
    SIGNAL_NONE,    /* there was nothing to do (any more) */
    SIGNAL_HANDLER, /* a handler's frame is on the stack, the registers are set */
    SIGNAL_STOPPED, /* the process is stopped now */
    SIGNAL_ENDED    /* the process ends */
};

void signal_pending_init(struct signal_pending *pending);
void signal_pending_clear(struct signal_pending *pending);

/* Send. The sender's right has been checked. -EAGAIN: too many are queued. A signal of 0 does nothing. */
int signal_send_process(struct process *process, const siginfo_t *info);
int signal_send_thread(struct thread *thread, const siginfo_t *info);
void signal_send_group(struct process_group *group, int signal);
/* From the system itself (SI_KERNEL). */
void signal_raise(struct process *process, int signal);
/* A fault of the thread's own: it cannot be blocked or ignored. */
void signal_force(struct thread *thread, const siginfo_t *info);
void signal_force_simple(struct thread *thread, int signal);

/* A signal waits that the thread does not block. */
bool signal_is_due(const struct thread *thread);
/* Take signals until one matters. The thread is being served. */
enum signal_outcome signal_take(struct thread *thread);
/* Take one of <set> out of the pending ones: sigtimedwait. False: none. */
bool signal_dequeue(struct thread *thread, uint64_t set, siginfo_t *info);

void signal_block(struct thread *thread, uint64_t mask);
/* For the time of one call; the mask comes back when it ends, or after the handler. */
void signal_block_for_call(struct thread *thread, uint64_t mask);
/* Is it blocked, or ignored? What job control asks. */
bool signal_is_suppressed(const struct thread *thread, int signal);

struct signal_table *signal_table_new(const struct signal_table *old);
void signal_table_release(struct signal_table *table);
/* What exec leaves: handlers become defaults. */
void signal_table_reset(struct signal_table *table);

/* frame.c: put a handler's frame on the thread's stack. -EFAULT: no room there. <result>: what the
 * interrupted call returns, if it was in one; restart: it is begun again instead. */
int frame_push(struct thread *thread, const siginfo_t *info, const struct signal_action *action,
               uint64_t mask, bool in_call, bool restart, int64_t result);
/* The extended state that a fresh program begins with, K_XSTATEMAX bytes. */
void frame_fresh_xstate(void *xstate);

#endif
