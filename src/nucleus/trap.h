/* trap.h: traps and exceptions, and who handles them: see <exec/chTrap.h>. */
#ifndef NUCLEUS_TRAP_H
#define NUCLEUS_TRAP_H

#include "thread.h"

struct message;

/* The machine said that <thread> trapped. */
void trap_begin(struct thread *thread, const struct host_trap *trap);
/* Handle thread->trap, or go on with it after a wait. */
void trap_execute(struct thread *thread);
/* Ask the handler of aborts what to do with a thread that was aborted. False: there is none, the
 * state stays. */
bool trap_abort(struct thread *thread);
/* The thread, whose trap is with its handler, was aborted: a handler that parked the trap is told.
 */
void trap_tell_aborted(struct thread *thread);
/* The call that the handler asked for is done: back to the handler, or into the result register. */
void trap_call_done(struct thread *thread, unsigned number, int64_t result);

/* The handler's reply: checked, and carried out. <annex> is K_CMSGANNEXSIZE bytes or NULL.
 * K_EINVAL, K_ETOOMUCH: it is no reply to a trap, and nothing has happened. */
int trap_check_reply(const KnTrapReply *reply, size_t body_size);
void trap_reply(struct thread *thread, const KnTrapReply *reply, const uint8_t *body,
                size_t body_size);
/* Nobody can help: the registers go into the log, the actor is deleted. */
void trap_die(struct thread *thread, const char *words);
/* The handler is gone without an answer. */
void trap_failed(struct thread *thread, int status);

#endif
