/* supervisor.c: actors in the Nucleus's own process. Not there yet: asking for one is refused. */
#include "machine.h"

int host_space_create_supervisor(struct host_space **ret_space, void *owner)
{
    (void)owner;
    *ret_space = NULL;
    return K_ENOSYS;
}
bool host_space_is_supervisor(const struct host_space *space) { return space->supervisor; }

void host_space_range(const struct host_space *space, vaddr_t *bottom, vaddr_t *top)
{
    (void)space;
    *bottom = K_USERBOTTOM;
    *top = K_USERTOP;
}

vaddr_t host_space_gate(const struct host_space *space)
{
    (void)space;
    return GATE;
}

void supervisor_space_destroy(struct host_space *space) { (void)space; }
void supervisor_run(int cpu, struct host_context *context)
{
    (void)cpu;
    (void)context;
    host_panic("a supervisor actor cannot run yet");
}
void supervisor_preempt(int cpu) { (void)cpu; }
void supervisor_order(struct host_space *space, uint32_t call, int prot, uint64_t address, uint64_t length, uint64_t offset)
{
    (void)space, (void)call, (void)prot, (void)address, (void)length, (void)offset;
}
