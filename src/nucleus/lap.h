/* lap.h: safe local access points: see <lap/chLap.h>.
 *
 * A call of a LAP is a request without a port: a message (with neither annex nor body) that is in its actor's lap_calls until a lender takes it
 * (handler.h), and in its LAP's calls until its routine returns; and the caller's call record. */
#ifndef NUCLEUS_LAP_H
#define NUCLEUS_LAP_H

#include "message.h"

struct lap;

/* The oldest call that waits for a lender; NULL: none. */
struct message *lap_next_call(struct actor *actor);
/* Lend it to this call, as handler_give does. */
void lap_give(struct thread *lender, struct thread *waiter, struct message *call);
/* The routine that the thread runs has returned. */
void lap_return(struct thread *lender, int64_t result);
/* The thread, which waits for a LAP's routine, is aborted: the routine is. */
void lap_abort(struct thread *caller);
/* A fault of the thread, if it runs a routine with K_LAP_SETJMP, ends that routine and nothing else. False: it is none. */
bool lap_catch(struct thread *thread);
/* The call's message is about to be freed. */
void lap_call_ended(struct message *call);
/* The actor is dying, and its threads are gone. */
void laps_forget(struct actor *actor);
size_t lap_count(void);

#endif
