/* thread.h: threads in the Nucleus: making them, and their last moments. */
#ifndef PM_THREAD_H
#define PM_THREAD_H

#include "pm.h"

/* The thread that is being served ends: its message is answered. */
void thread_end_served(struct thread *thread);

/* worker.c: answer the current message. */
void worker_reply_delete(void);
void worker_reply_call(const KnTrapReply *reply);

#endif
