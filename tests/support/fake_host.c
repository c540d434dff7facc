/* fake_host.c: see fake_host.h. */
#include "fake_host.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fake_memory.h"

#define CPUS_MAX   16
#define EVENTS_MAX 4096

int64_t fake_host_time, fake_host_time_limit;
unsigned fake_host_switches, fake_host_preemptions;
char fake_host_log[4096];

static struct {
    int cpus;
    struct host_context *running[CPUS_MAX];
    struct host_context *last[CPUS_MAX];
    bool wanted[CPUS_MAX];
    bool ignore_preemptions;
    int spent;
    struct host_event events[EVENTS_MAX];
    size_t first, count;
    size_t contexts;
} fake;

static void __attribute__((noreturn, format(printf, 1, 2))) broken(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "fake host: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

/* What runs in it ends at once. */
static void space_destroyed(struct host_space *space)
{
    for (int cpu = 0; cpu < fake.cpus; cpu++)
        if (fake.running[cpu] != NULL && fake.running[cpu]->space == space) {
            fake.running[cpu]->cpu = -1;
            fake.running[cpu] = NULL;
        }
}

void fake_host_start(int cpus)
{
    memset(&fake, 0, sizeof fake);
    fake_space_destroyed_hook = space_destroyed;
    fake.cpus = cpus;
    fake.spent = -1;
    fake_host_time = fake_host_time_limit = 1000000000;
    fake_host_switches = fake_host_preemptions = 0;
    fake_host_log[0] = 0;
}

void fake_host_expect_nothing_left(void)
{
    if (fake.contexts != 0)
        broken("%zu contexts are left over", fake.contexts);
}

/* --- events --- */

void fake_host_post(const struct host_event *event)
{
    if (fake.count == EVENTS_MAX)
        broken("too many events");
    fake.events[(fake.first + fake.count++) % EVENTS_MAX] = *event;
}

bool fake_host_has_events(void)
{
    return fake.count > 0;
}

static bool take_death(struct host_event *event)
{
    void *owner;
    struct host_space *space = fake_space_next_destroyed(&owner);
    if (space == NULL)
        return false;
    fake_space_die(space);
    *event = (struct host_event){ .kind = HOST_EVENT_SPACE_DEAD, .owner = owner };
    return true;
}

void host_wait(struct host_event *event, int64_t deadline)
{
    *event = (struct host_event){ .kind = HOST_EVENT_NONE };
    if (fake.count > 0) {
        *event = fake.events[fake.first];
        fake.first = (fake.first + 1) % EVENTS_MAX;
        fake.count--;
        return;
    }
    if (take_death(event))
        return;
    int64_t until = deadline < fake_host_time_limit ? deadline : fake_host_time_limit;
    if (until > fake_host_time)
        fake_host_time = until;
}

void host_post(void (*function)(void *), void *argument)
{
    fake_host_post(&(struct host_event){
        .kind = HOST_EVENT_FUNCTION, .function = function, .argument = argument });
}

int64_t host_time(void)
{
    return fake_host_time;
}
void host_clocks(int64_t zero, int64_t day_offset)
{
    (void)zero;
    (void)day_offset;
}
int64_t host_time_of_day(void)
{
    return fake_host_time + 1700000000000000000;
}
void host_seed(uint8_t seed[32])
{
    memset(seed, 7, 32);
}

void host_panic(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "panic: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

void host_log(int level, const char *format, ...)
{
    (void)level;
    size_t used = strlen(fake_host_log);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fake_host_log + used, sizeof fake_host_log - used, format, arguments);
    va_end(arguments);
    used = strlen(fake_host_log);
    if (used + 1 < sizeof fake_host_log)
        strcpy(fake_host_log + used, "\n");
}

/* --- contexts --- */

struct host_context *host_context_create(struct host_space *space, void *owner)
{
    struct host_context *context = calloc(1, sizeof *context);
    context->space = space;
    context->owner = owner;
    context->cpu = -1;
    fake.contexts++;
    return context;
}

void host_context_destroy(struct host_context *context)
{
    if (context == NULL)
        return;
    if (context->cpu >= 0)
        broken("a context is destroyed while it runs on CPU %d", context->cpu);
    for (int cpu = 0; cpu < fake.cpus; cpu++)
        if (fake.last[cpu] == context)
            fake.last[cpu] = NULL;
    free(context);
    fake.contexts--;
}

static void at_rest(const struct host_context *context, const char *what)
{
    if (context->cpu >= 0 || context->lost)
        broken("%s of a context that runs", what);
}

void host_context_start(struct host_context *context, vaddr_t entry, vaddr_t stack,
                        uint64_t argument, uint64_t fs_base)
{
    at_rest(context, "start");
    context->registers = (KnThreadCtx){
        .rip = entry, .rsp = stack, .rdi = argument, .fsBase = fs_base, .rflags = 0x202
    };
}

void host_context_copy(struct host_context *to, struct host_context *from)
{
    at_rest(to, "copy to");
    at_rest(from, "copy from");
    to->registers = from->registers;
    memcpy(to->xstate, from->xstate, sizeof to->xstate);
}

void host_context_get(struct host_context *context, struct KnThreadCtx *registers, void *xstate)
{
    at_rest(context, "get");
    *registers = context->registers;
    if (xstate != NULL)
        memcpy(xstate, context->xstate, sizeof context->xstate);
}

int host_context_set(struct host_context *context, const struct KnThreadCtx *registers,
                     const void *xstate)
{
    at_rest(context, "set");
    if (registers->rip >> 47 != 0)
        return K_EINVAL;
    context->registers = *registers;
    if (xstate != NULL)
        memcpy(context->xstate, xstate, sizeof context->xstate);
    return K_OK;
}

size_t host_context_xstate_size(void)
{
    return sizeof((struct host_context *)0)->xstate;
}

void host_context_set_result(struct host_context *context, int64_t value)
{
    at_rest(context, "result");
    context->result = value;
    context->has_result = true;
    context->registers.rax = (uint64_t)value;
}

void host_context_restart(struct host_context *context, uint64_t number)
{
    at_rest(context, "restart");
    context->restarted = true;
    context->registers.rip -= 2;
    context->registers.rax = number;
}

void host_context_divert(struct host_context *context, vaddr_t handler, vaddr_t stack)
{
    at_rest(context, "divert");
    context->registers.rip = handler;
    context->registers.rsp = stack;
}

bool host_context_running(const struct host_context *context)
{
    return context->cpu >= 0 || context->lost;
}

/* --- user CPUs --- */

static void cpu_check(int cpu)
{
    if (cpu < 0 || cpu >= fake.cpus)
        broken("there is no CPU %d", cpu);
}

int host_cpu_count(void)
{
    return fake.cpus;
}

void host_cpu_run(int cpu, struct host_context *context)
{
    cpu_check(cpu);
    if (fake.running[cpu] != NULL)
        broken("CPU %d is given a second thread", cpu);
    if (context->cpu >= 0 || context->lost)
        broken("a context runs twice, on %d and %d", context->cpu, cpu);
    if (fake.last[cpu] != context)
        fake_host_switches++;
    fake.last[cpu] = context;
    fake.running[cpu] = context;
    context->cpu = cpu;
    if (context->space != NULL)
        fake_space_execute(context->space);
}

void host_cpu_idle(int cpu)
{
    cpu_check(cpu);
    if (fake.running[cpu] != NULL)
        broken("CPU %d is told to idle and runs", cpu);
}

bool host_cpu_is_spent(int cpu)
{
    return fake.spent == cpu;
}

void fake_host_spend(int cpu)
{
    fake.spent = cpu;
}

static void stop_running(int cpu)
{
    fake.running[cpu]->cpu = -1;
    fake.running[cpu] = NULL;
    fake.wanted[cpu] = false;
}

void fake_host_trap(int cpu, const struct host_trap *trap)
{
    struct host_event event = { .kind = HOST_EVENT_TRAP, .trap = *trap };
    cpu_check(cpu);
    struct host_context *context = fake.running[cpu];
    if (context == NULL)
        broken("nothing runs on CPU %d that could trap", cpu);
    event.trap.cpu = cpu;
    event.trap.context = context;
    event.trap.owner = context->owner;
    if (event.trap.ip == 0)
        event.trap.ip = context->registers.rip;
    if (event.trap.sp == 0)
        event.trap.sp = context->registers.rsp;
    context->has_result = context->restarted = false;
    stop_running(cpu);
    fake_host_post(&event);
}

void host_cpu_preempt(int cpu)
{
    cpu_check(cpu);
    fake_host_preemptions++;
    if (fake.running[cpu] == NULL)
        return; /* it has trapped already: that event answers */
    fake.wanted[cpu] = true;
    if (fake.ignore_preemptions)
        return;
    bool had_result = fake.running[cpu]->has_result;
    struct host_context *context = fake.running[cpu];
    fake_host_trap(cpu, &(struct host_trap){ .kind = HOST_TRAP_PREEMPTED });
    context->has_result = had_result;
}

void fake_host_ignore_preemptions(bool ignore)
{
    fake.ignore_preemptions = ignore;
}
bool fake_host_preemption_wanted(int cpu)
{
    return fake.wanted[cpu];
}

void fake_host_lose(int cpu)
{
    struct host_context *context = fake.running[cpu];
    stop_running(cpu);
    context->lost = true;
    fake_host_post(&(struct host_event){
        .kind = HOST_EVENT_CPU_LOST, .cpu = cpu, .context = context, .owner = context->owner });
}

void fake_host_regain(struct host_context *context)
{
    context->lost = false;
    fake_host_post(&(struct host_event){ .kind = HOST_EVENT_TRAP,
                                         .trap = { .kind = HOST_TRAP_PREEMPTED,
                                                   .cpu = -1,
                                                   .context = context,
                                                   .owner = context->owner } });
}

struct host_context *fake_host_running(int cpu)
{
    return fake.running[cpu];
}

int fake_host_cpu_of(const void *owner)
{
    for (int cpu = 0; cpu < fake.cpus; cpu++)
        if (fake.running[cpu] != NULL && fake.running[cpu]->owner == owner)
            return cpu;
    return -1;
}

vaddr_t host_space_gate(const struct host_space *space)
{
    (void)space;
    return 0x10000;
}
