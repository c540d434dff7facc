/* handler.h: threads that are lent to routines: message handlers, and LAPs (lap.h).
 *
 * A lender is a thread of a supervisor actor that waits in svHandlerWait. What comes for its actor completes that wait: the
 * message, or the LAP's call, is put into the thread's block, and the thread runs the routine as its own code. So a
 * routine has all that a thread has, and what happens to calls in general (aborts, deadlines, deaths,
 * saved requests) happens to handled ones without a line about it here. What is saved is the switch: the caller, which waits from
 * now on, passes its CPU to the lender (sched_pass), and the lender passes it back with the reply; no queue is touched, nothing is chosen, and the
 * time is charged to the caller. */
#ifndef NUCLEUS_HANDLER_H
#define NUCLEUS_HANDLER_H

#include "port.h"
#include "sched.h"

/* Who would run the next routine of this actor; NULL: all are busy, or there is none. */
struct thread *handler_lender(struct actor *actor);
/* Lend it: it has the message's body, annex and place. <waiter> NULL: it waits in svHandlerWait, and is woken; otherwise it is <waiter> itself, in
 * svHandlerWait, which waits (K_BLOCKED) for what is not at hand. K_EFAULT: it has not got it. */
int handler_give(struct thread *lender, struct thread *waiter, struct port *port,
                 struct message *message);
/* The part that LAPs share: its block is filled, it begins. */
void handler_begin(struct thread *lender, struct thread *waiter);
/* It is about to die: it lends itself no more. */
void handler_forget(struct thread *thread);

/* Around what may wake a lender on behalf of a caller: who sends to <port> (NULL: none) will wait for the answer; it waits, and passes its CPU
 * if a lender was woken. */
static inline void handler_expect(struct port *port)
{
    if (port != NULL && port->routine != 0)
        sched_await(port_next_receiver(port));
}
void handler_pass(struct thread *caller);

#endif
