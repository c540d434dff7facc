/* waiting.h: one way to wait.
 *
 * A handler that cannot go on says in which queues its call stands (wait_in), until when at most
 * (call_deadline), and returns CALL_WAITS. Whoever changes what a queue stands for calls
 * queue_wake; the call is then run again. Wake-ups are hints, and more than needed do no harm.
 */
#ifndef PM_WAIT_H
#define PM_WAIT_H

#include "pm.h"

void queue_init(struct wait_queue *queue);
/* Run again every call that stands in the queue; they leave it. */
void queue_wake(struct wait_queue *queue);
/* Nobody may stand in a queue that goes away: they are woken. */
void queue_end(struct wait_queue *queue);

/* Stand in a queue as well. -ENOMEM. */
int wait_in(struct call *call, struct wait_queue *queue);
/* Leave all queues; the deadline is no longer watched. */
void wait_leave(struct call *call);

/* The thread's call is to be run again: now, or when who serves it has finished. */
void thread_wake(struct thread *thread);
/* The next thread to be served again, or NULL. */
struct thread *thread_next_ready(void);

/* Timeouts. Fired under the lock, by timeouts_run; a timeout is disarmed before it fires. */
void timeout_init(struct timeout *timeout, void (*fire)(struct timeout *timeout));
int timeout_arm(struct timeout *timeout, KnTime when); /* -ENOMEM; armed before: moved */
void timeout_disarm(struct timeout *timeout);
void timeouts_run(KnTime now);
/* When timeouts_run is due next; K_FOREVER: never. */
KnTime timeouts_next(void);

#endif
