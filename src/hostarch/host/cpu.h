/* host/cpu.h: user CPUs, and the machine state of threads.
 *
 * The Nucleus tells each user CPU which thread to run; the CPU runs it until it traps, faults, is preempted or calls. All of that arrives
 * as a struct host_trap from host_wait() (host/event.h). After a trap the CPU is idle until host_cpu_run says what comes next.
 */
#ifndef HOST_CPU_H
#define HOST_CPU_H

#include <stdbool.h>
#include <stdint.h>
#include "space.h"

struct KnThreadCtx;
int host_cpu_count(void);

/* The state of one thread that does not run. Opaque but for its size, since the extended state's size is the machine's. A context belongs
 * to one space (NULL: a supervisor actor's, it runs in the Nucleus's own process). */
struct host_context;
struct host_context *host_context_create(struct host_space *space, void *owner); /* NULL: no memory */
void host_context_destroy(struct host_context *context);
/* Start afresh at <entry>. */
void host_context_start(struct host_context *context, vaddr_t entry, vaddr_t stack, uint64_t argument, uint64_t fs_base);
/* <to> becomes what <from> is, extended state too. */
void host_context_copy(struct host_context *to, struct host_context *from);
void host_context_get(struct host_context *context, struct KnThreadCtx *registers, void *xstate);
/* K_EINVAL: the machine would refuse such a state (checked as far as it matters to anybody but the actor). */
int host_context_set(struct host_context *context, const struct KnThreadCtx *registers, const void *xstate);
size_t host_context_xstate_size(void);
/* The result of the nucleus call or system call that it waits in. */
void host_context_set_result(struct host_context *context, int64_t value);
/* Execute the trapping system-call instruction again: it lies just before the saved instruction pointer. */
void host_context_restart(struct host_context *context, uint64_t number);
/* Go on at <handler>, with the stack at <stack>, all else unchanged: reflection. */
void host_context_divert(struct host_context *context, vaddr_t handler, vaddr_t stack);

enum host_trap_kind {
    HOST_TRAP_CALL,      /* a nucleus call by the gate: number, arg */
    HOST_TRAP_SYSCALL,   /* a 64-bit system call */
    HOST_TRAP_SYSCALL32, /* by int 0x80 or from 32-bit code */
    HOST_TRAP_FAULT,     /* address; write, exec */
    HOST_TRAP_EXCEPTION, /* number: a KnTrapKind from K_TRAP_ILLEGAL on; code */
    HOST_TRAP_PREEMPTED  /* as host_cpu_preempt asked; nothing happened */
};

struct host_trap {
    int cpu;
    enum host_trap_kind kind;
    struct host_context *context;
    void *owner; /* of the context */
    uint64_t number;
    uint64_t arg[6];
    vaddr_t ip, sp;
    uint64_t flags;
    vaddr_t address; /* of a fault */
    bool write, exec;
    uint32_t code;
};

/* Run a thread on a user CPU that is idle (or whose thread has just trapped). The orders of its space are executed first. */
void host_cpu_run(int cpu, struct host_context *context);
/* Nothing to run. */
void host_cpu_idle(int cpu);
/* Does the machine spend this idle CPU on the Nucleus, which takes calls fast while it has one of its own? What can wait a little for another CPU should. */
bool host_cpu_is_spent(int cpu);
/* Ask for the CPU back: a HOST_TRAP_PREEMPTED, or another trap that happened first, follows. If the machine cannot get an answer within a
 * bound (its process is stopped, the actor plays tricks), the event HOST_EVENT_CPU_LOST gives the CPU back without its thread, which
 * arrives later by a trap of its own (cpu -1), or never. */
void host_cpu_preempt(int cpu);
/* Is this context in a CPU now, or lost? Then its registers cannot be had. */
bool host_context_running(const struct host_context *context);

#endif
