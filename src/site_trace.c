/* --trace FILE: what the Nucleus does, handed to the trace.
 *
 * The hooks of the Nucleus are set only while there is a trace, so that without one nothing is
 * paid. Actors go by their serial numbers, from 2 on; number 1 is the Nucleus, which sends messages
 * of its own (to mappers, for interrupts and timers). Names are told when an actor or thread is first seen, and
 * again when they have changed. */

#include "site_trace.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <host/event.h>
#include <nucleus/actor.h>
#include <nucleus/call.h>
#include <nucleus/message.h>
#include <nucleus/nucleus.h>

#include "trace.h"

enum { NUCLEUS = 1, NAMES = 4096 /* a power of two */ };

/* Which names were told. A name that lost its place to another is told again: that does no harm. */
struct named {
    uint32_t actor, thread; /* thread 0: the actor itself */
    char name[K_NAMEMAX];
};

static struct trace *trace;
static struct named named[NAMES];

static uint32_t number_of(const struct actor *actor)
{
    return actor->serial + 1;
}

static bool is_news(uint32_t actor, uint32_t thread, const char *name)
{
    struct named *place = &named[(actor * 64u + thread) % NAMES];
    if (place->actor == actor && place->thread == thread && strcmp(place->name, name) == 0)
        return false;
    place->actor = actor;
    place->thread = thread;
    memcpy(place->name, name, sizeof place->name);
    return true;
}

static uint32_t actor_of(const struct thread *thread)
{
    const struct actor *actor = thread->actor;
    uint32_t number = number_of(actor);
    if (is_news(number, 0, actor->name))
        trace_name_actor(trace, number, actor->name);
    if (is_news(number, (uint32_t)thread->li, thread->name) && thread->name[0] != '\0')
        trace_name_thread(trace, number, (uint32_t)thread->li, thread->name);
    return number;
}

static uint64_t now(void)
{
    return (uint64_t)host_time();
}

static void on_switch(int cpu, const struct thread *thread)
{
    if (thread == NULL)
        trace_switch(trace, now(), (uint32_t)cpu, 0, 0);
    else
        trace_switch(trace, now(), (uint32_t)cpu, actor_of(thread), (uint32_t)thread->li);
}

static void on_pass(int cpu, const struct thread *thread)
{
    trace_pass(trace, now(), (uint32_t)cpu, actor_of(thread), (uint32_t)thread->li);
}

static void on_call_begin(const struct thread *thread, unsigned number, const uint64_t arg[6])
{
    (void)arg;
    const char *name = nucleus_call_name(number);
    trace_call_begin(trace, now(), actor_of(thread), (uint32_t)thread->li, name == NULL ? "no such call" : name);
}

static void on_call_end(const struct thread *thread, unsigned number, int64_t result)
{
    (void)number;
    trace_call_end(trace, now(), actor_of(thread), (uint32_t)thread->li, result);
}

/* A trap of a Unix process is a Linux call. */
static const char *linux_call_name(uint64_t number)
{
    switch (number) {
#define LINUX_CALL(number, name, state, handler, arguments, words)                                 \
    case number:                                                                                   \
        return #name;
#include <pm/linux_calls.def>
#undef LINUX_CALL
    default:
        return "an unknown system call";
    }
}

static const char *trap_name(unsigned kind, uint64_t number)
{
    switch (kind) {
    case K_TRAP_SYSCALL:
        return linux_call_name(number);
    case K_TRAP_SYSCALL32:
        return "a 32-bit system call";
    case K_TRAP_RESULT:
        return "a result"; /* of what was done for a system call */
    case K_TRAP_FAULT:
        return "a bad address";
    case K_TRAP_ABORT:
        return "an abort";
    default:
        return "an exception";
    }
}

static void on_trap_begin(const struct thread *thread, unsigned kind, uint64_t number)
{
    trace_call_begin(trace, now(), actor_of(thread), (uint32_t)thread->li, trap_name(kind, number));
}

static void on_trap_end(const struct thread *thread, int64_t result)
{
    trace_call_end(trace, now(), actor_of(thread), (uint32_t)thread->li, result);
}

/* Who sends: the thread that waits for the reply of its trap, or the one whose call is being done. */
static const struct thread *sender_of(const struct message *message)
{
    const struct call_record *record = call_record_find(message->id);
    if (record != NULL && record->kind == CALL_FOR_TRAP)
        return LIST_OWNER(record, struct thread, calling);
    const struct thread *thread = call_caller_thread();
    bool is_its = thread != NULL && ui_key(&thread->actor->cap.ui) == ui_key(&message->src_actor);
    return is_its ? thread : NULL;
}

static void on_message(const struct message *message, bool received)
{
    const struct thread *thread = received ? message->holder : sender_of(message);
    uint32_t actor = thread == NULL ? NUCLEUS : actor_of(thread);
    uint32_t li = thread == NULL ? 0 : (uint32_t)thread->li;
    if (received)
        trace_message_received(trace, now(), actor, li, message->id);
    else
        trace_message_sent(trace, now(), actor, li, message->id);
}

static void on_fault(const struct thread *thread, VmAddr address, bool write)
{
    enum trace_access access = thread->trap.exec ? TRACE_EXECUTE : write ? TRACE_WRITE : TRACE_READ;
    trace_fault(trace, now(), actor_of(thread), (uint32_t)thread->li, address, access);
}

bool site_trace_start(const char *path, unsigned cpus)
{
    trace = trace_open(path, cpus);
    if (trace == NULL)
        return false;
    trace_name_actor(trace, NUCLEUS, "Nucleus");
    nucleus_hooks.switched = on_switch;
    nucleus_hooks.passed = on_pass;
    nucleus_hooks.call_begin = on_call_begin;
    nucleus_hooks.call_end = on_call_end;
    nucleus_hooks.trap_begin = on_trap_begin;
    nucleus_hooks.trap_end = on_trap_end;
    nucleus_hooks.message = on_message;
    nucleus_hooks.fault = on_fault;
    return true;
}

void site_trace_stop(void)
{
    if (trace == NULL)
        return;
    nucleus_hooks.switched = NULL;
    nucleus_hooks.passed = NULL;
    nucleus_hooks.call_begin = NULL;
    nucleus_hooks.call_end = NULL;
    nucleus_hooks.trap_begin = NULL;
    nucleus_hooks.trap_end = NULL;
    nucleus_hooks.message = NULL;
    nucleus_hooks.fault = NULL;
    uint64_t dropped;
    if (!trace_close(trace, &dropped))
        host_log(0, "trace: not everything could be written: %s", strerror(errno));
    host_log(dropped == 0 ? 2 : 1, "trace: %llu events were dropped", (unsigned long long)dropped);
    trace = NULL;
}
