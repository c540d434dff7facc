/* call.h: the dispatcher. One function per nucleus call, all of the same shape, found by the table
 * calls.def. */
#ifndef NUCLEUS_CALL_H
#define NUCLEUS_CALL_H

#include "thread.h"

/* Each call's function: arguments in thread->call.arg; returns the result, or K_BLOCKED. It may
 * return CALL_NO_RETURN if the thread is gone or its registers were set otherwise. Written in the
 * file of its subject. */
typedef int64_t call_function(struct thread *thread);
#define CALL_NO_RETURN                                             INT64_MIN
#define KN_CALL(number, name, wait, who, remote, arguments, words) call_function call_##name;
#include <calls.def>
#undef KN_CALL

/* Their numbers: CALL_ipcCall. */
enum {
#define KN_CALL(number, name, wait, who, remote, arguments, words) CALL_##name = number,
#include <calls.def>
#undef KN_CALL
};

/* Copy an in-argument: from the actor's memory, or from the record if the call is done for a trap
 * (K_DO_CALL). A null pointer or K_DO_NULL leaves *to as it is and returns 1. K_OK, K_EFAULT,
 * K_BLOCKED. For structures (kinds C, U, S, M, R of the table); buffers and strings are always the
 * actor's: vm_copy_in, vm_copy_out. */
int call_in(struct thread *thread, uint64_t argument, void *to, size_t size);
int call_out(struct thread *thread, uint64_t argument, const void *from, size_t size);
/* Is this structure argument a null pointer? */
bool call_is_null(const struct thread *thread, uint64_t argument);
/* The actor that capability argument <index> names (K_MYACTOR: the caller's). */
int call_actor(struct thread *thread, unsigned index, struct actor **ret_actor);
/* The actor of argument <index> and the thread of it that argument <index> + 1 names (K_MYSELF: the
 * caller, with K_MYACTOR only). */
int call_thread(struct thread *thread, unsigned index, struct thread **ret_thread);
/* A name, K_NAMEMAX bytes with a final zero, from the actor's memory: cut after K_NAMEMAX - 1,
 * control characters become '?'. */
int call_name_in(struct thread *thread, uint64_t address, char name[K_NAMEMAX]);
/* May it make calls that only system and supervisor actors may? */
bool call_is_trusted(const struct thread *thread);
/* The deadline of a wait of <delay> ns (K_FOREVER: none), reckoned from the call's beginning, also
 * when it is started again. */
int64_t call_deadline(struct thread *thread, KnTime delay);

/* The actor whose call is being done; NULL: none is. */
const struct actor *call_caller(void);
/* And its thread. */
const struct thread *call_caller_thread(void);

/* Enter a call: the machine's argument registers as they are. */
void call_begin(struct thread *thread, uint64_t number, const uint64_t arg[6]);
/* Run, or run again, the call in thread->call; deals with K_BLOCKED and results. */
void call_execute(struct thread *thread);
/* The call in thread->call is done. */
void call_finish(struct thread *thread, int64_t result);

#endif
