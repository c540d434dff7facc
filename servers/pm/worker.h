/* worker.h: the threads of pm, the lock, and how a thread is served. */
#ifndef PM_WORKER_H
#define PM_WORKER_H

#include "pm.h"

/* Bring a thread to us: at once if it waits in a call, by threadAbort if it is outside. */
void thread_kick(struct thread *thread);

/* Deal with one message, the current one, and all that follows from it. The lock is not held. The last answer
 * is held back until the next message is received. True: the message is to be parked then. */
bool worker_handle(const void *annex, KnMsgId id);
/* For tests: send the answer that is held back. */
void worker_answer(void);

/* Start the pool with <count> workers; the caller becomes one of it and does not return. */
int workers_run(unsigned count);

/* The LI of the port that trap messages, notifications and timers come to. */
extern int worker_port;
extern KnUniqueId worker_port_ui;
int worker_open_port(void);
/* How programs are scheduled. */
extern const KnSched worker_user_sched;

#endif
