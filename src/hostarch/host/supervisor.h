/* host/supervisor.h: actors in the Nucleus's own process.
 *
 * A supervisor actor's memory lies in the Nucleus's address space, in an area of its own; its threads have stacks of their own there and are
 * run by host_cpu_run like any other, on the Nucleus's own host thread: while one runs, nothing else of the Nucleus does. It calls the Nucleus
 * directly: the gate is an address in the program. Its libc's system-call instructions, faults and the end of its time slice arrive as traps.
 */
#ifndef HOST_SUPERVISOR_H
#define HOST_SUPERVISOR_H

#include "cpu.h"

/* Supervisor spaces are made by host_space_create_supervisor and take the same orders as others. */
int host_space_create_supervisor(struct host_space **ret_space, void *owner);
bool host_space_is_supervisor(const struct host_space *space);
/* The range that a supervisor space may map, [*bottom, *top). */
void host_space_range(const struct host_space *space, vaddr_t *bottom, vaddr_t *top);
/* The address that an actor of this space enters the Nucleus by: the gate page's C entry, or the direct one. */
vaddr_t host_space_gate(const struct host_space *space);

#endif
