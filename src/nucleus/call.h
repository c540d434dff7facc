/* call.h: the dispatcher. One function per nucleus call, all of the same shape, found by the table calls.def. */
#ifndef NUCLEUS_CALL_H
#define NUCLEUS_CALL_H

#include "thread.h"

/* Each call's function: arguments in thread->call.arg; returns the result, or K_BLOCKED. It may return CALL_NO_RETURN if the thread is gone or its
 * registers were set otherwise. Written in the file of its subject. */
typedef int64_t call_function(struct thread *thread);
#define CALL_NO_RETURN INT64_MIN
#define KN_CALL(number, name, wait, who, remote, arguments, words) call_function call_##name;
#include <calls.def>
#undef KN_CALL

/* Copy an in-argument: from the actor's memory, or from the record if the call is done for a trap (K_DO_CALL). A null pointer or K_DO_NULL leaves *to
 * as it is and returns 1. K_OK, K_EFAULT, K_BLOCKED. */
int call_in(struct thread *thread, uint64_t argument, void *to, size_t size);
int call_out(struct thread *thread, uint64_t argument, const void *from, size_t size);
/* The actor that capability argument <index> names (K_MYACTOR: the caller's). */
int call_actor(struct thread *thread, unsigned index, struct actor **ret_actor);

/* Run, or run again, the call in thread->call; deals with K_BLOCKED, results and rescheduling. */
void call_execute(struct thread *thread);

#endif
