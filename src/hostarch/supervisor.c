/* supervisor.c: actors in the Nucleus's own process.
 *
 * Each has a slice of the Nucleus's address space, where its frames are mapped as orders come. Its threads run on the Nucleus's host thread, on stacks of
 * their own and with an fs base of their own: while one runs, nothing else of the Nucleus does. For the Nucleus they are on user CPUs like others; two
 * that are on two user CPUs take turns.
 *
 * An actor comes back by the gate, a plain call; or by a signal: its libc's system-call instructions (Syscall User Dispatch: the Nucleus and its libraries lie
 * in the range where they are allowed), its faults, and the tick. The handler saves the thread's state and changes its own frame, so that it
 * returns into the Nucleus where that had left for the actor.
 *
 * The tick is a host timer that runs while supervisor code does, and a little longer: it bounds how long mail and deadlines wait. A supervisor actor is
 * trusted: what protects the Nucleus from it is that its faults are noticed.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "machine.h"

#define AREA 0x100000000000ull
#define AREA_END 0x200000000000ull
#define SLICE_SIZE (64ull << 30)
#define SLICES ((AREA_END - AREA) / SLICE_SIZE)
#define SLICE_GUARD (1ull << 20) /* at the end of each, never mapped */
#define TICK_SIGNAL SIGUSR1
#define TICK_PERIOD 250000 /* ns */
#define TICKS_UNUSED 2      /* so many without supervisor code, and the timer is stopped */
#define POPULATE_MAX (64u * PAGE_SIZE)

_Static_assert(offsetof(struct gate_registers, r15) == 48 && offsetof(struct gate_registers, result) == 56 &&
                   offsetof(struct gate_registers, arg) == 72 && offsetof(struct gate_registers, mxcsr) == 120 &&
                   offsetof(struct gate_registers, fcw) == 124,
               "supervisor_entry.S knows the layout");

/* Shared with supervisor_entry.S. */
#define ENTRY __attribute__((visibility("hidden")))
ENTRY volatile uint32_t supervisor_active;
ENTRY uint64_t supervisor_nucleus_rsp, supervisor_nucleus_fs, supervisor_actor_fs;
ENTRY struct gate_registers *supervisor_box; /* where the gate saves the current thread */
ENTRY uint8_t *supervisor_stack;
extern ENTRY const char supervisor_code[], supervisor_code_end[], supervisor_return[], supervisor_gate[], supervisor_gate_ret[];
ENTRY void supervisor_signal(int signal, siginfo_t *info, void *uc);
ENTRY unsigned supervisor_resume_call(const struct gate_registers *registers, uint64_t fs_base);
ENTRY unsigned supervisor_resume_full(const uint8_t *uc, uint64_t fs_base, const void *xstate);
ENTRY uint64_t supervisor_trap(int signal, const siginfo_t *info, uint8_t *uc, uint64_t fs_base);
ENTRY void supervisor_foreign_signal(int signal);

static struct {
    bool started;
    struct host_space *slices[SLICES];
    size_t taken_last;
    struct host_context *current; /* NULL: none was left for */
    uint8_t signal_stack[SUPERVISOR_STACK_SIZE] __attribute__((aligned(4096)));
    uint8_t frame[CONTEXT_FRAME_SIZE] __attribute__((aligned(16))); /* ucontext and siginfo of the last signal */
    timer_t timer;
    volatile bool ticking;
    volatile bool entering; /* from before the timer is looked at until the actor is back */
    volatile unsigned unused_ticks;
    int turn;
} supervisor;

static const int signals[] = {SIGSYS, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, TICK_SIGNAL};

/* --- the tick ------------------------------------------------------------------------------------------------------------------------------- */

static void set_timer(int64_t period)
{
    struct itimerspec when = {.it_interval.tv_nsec = period, .it_value.tv_nsec = period};
    supervisor.ticking = period != 0;
    timer_settime(supervisor.timer, 0, &when, NULL);
}

static void tick_on(void)
{
    supervisor.entering = true;
    supervisor.unused_ticks = 0;
    if (!supervisor.ticking)
        set_timer(TICK_PERIOD);
}

/* In the signal handler: the Nucleus runs, or sleeps. An idle site must not be woken for ever. */
static void tick_unused(void)
{
    if (!supervisor.entering && ++supervisor.unused_ticks >= TICKS_UNUSED)
        set_timer(0);
}

/* --- signals --------------------------------------------------------------------------------------------------------------------------------- */

static uint64_t uc_field(const uint8_t *uc, unsigned at)
{
    uint64_t value;
    memcpy(&value, uc + at, sizeof value);
    return value;
}
static void uc_set(uint8_t *uc, unsigned at, uint64_t value) { memcpy(uc + at, &value, sizeof value); }

/* A fault of the Nucleus itself, or of another of its threads. The instruction faults again, with the host's default action: a core. */
void supervisor_foreign_signal(int signal)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(signal, &action, NULL);
    syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), signal);
}

static void save_context(struct host_context *context, const uint8_t *uc, const siginfo_t *info, uint64_t fs_base)
{
    memcpy(context->uc, uc, UC_SIZE);
    memcpy(supervisor.frame, uc, UC_SIZE);
    memcpy(supervisor.frame + UC_SIZE, info, CONTEXT_FRAME_SIZE - UC_SIZE);
    memcpy(context->xstate, (const void *)uc_field(uc, UC_FPSTATE), machine.xstate_size);
    memcpy(context->xstate + 464, machine.xstate_initial + 464, 48);
    context->fs_base = fs_base;
    context->form = FORM_FULL;
}

/* Returns the fs base to go on with. */
uint64_t supervisor_trap(int signal, const siginfo_t *info, uint8_t *uc, uint64_t fs_base)
{
    uint64_t ip = uc_field(uc, UC_RIP);
    bool in_entry = ip - (uint64_t)supervisor_code < (uint64_t)(supervisor_code_end - supervisor_code);
    if (!supervisor_active) {
        if (signal == TICK_SIGNAL)
            tick_unused();
        else
            supervisor_foreign_signal(signal);
        return fs_base;
    }
    if (in_entry && signal == TICK_SIGNAL)
        return fs_base;
    save_context(supervisor.current, uc, info, fs_base);
    uc_set(uc, UC_RIP, (uint64_t)supervisor_return);
    uc_set(uc, UC_RSP, supervisor_nucleus_rsp - 128); /* of no importance, but a stack of the Nucleus */
    uc_set(uc, UC_RAX, (uint64_t)signal);
    uc_set(uc, UC_FLAGS, 0x202);
    return supervisor_nucleus_fs;
}

static bool catch_signals(void)
{
    supervisor_stack = supervisor.signal_stack;
    stack_t stack = {.ss_sp = supervisor_stack, .ss_size = SUPERVISOR_STACK_SIZE};
    if (sigaltstack(&stack, NULL) != 0)
        return false;
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    action.sa_sigaction = supervisor_signal;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], &action, NULL) != 0)
            return false;
    return true;
}

static bool catch_system_calls(void)
{
    static char selector = 1; /* outside the range all are caught */
    return prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, AREA_END, ~0ull - AREA_END, &selector) == 0;
}

static bool make_timer(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TICK_SIGNAL};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    return timer_create(CLOCK_MONOTONIC, &event, &supervisor.timer) == 0;
}

/* Before the first supervisor actor is made, on the Nucleus's thread. */
static int supervisor_start(void)
{
    if (supervisor.started)
        return K_OK;
    if ((uint64_t)supervisor_code < AREA_END) {
        host_log(0, "no supervisor actors: the program must be position independent");
        return K_ENOSYS;
    }
    supervisor_nucleus_fs = (uint64_t)__builtin_thread_pointer();
    if (!catch_signals() || !make_timer() || !catch_system_calls()) {
        host_log(0, "no supervisor actors: the host refuses: %s", strerror(errno));
        return K_ENOSYS;
    }
    supervisor.started = true;
    return K_OK;
}

/* --- running -------------------------------------------------------------------------------------------------------------------------------- */

static bool is_supervisor(const struct host_context *context) { return context->space == NULL || context->space->supervisor; }

bool supervisor_ready(void)
{
    if (!supervisor.started)
        return false;
    for (int i = 0; i < machine.cpus; i++)
        if (machine.cpu[i].running != NULL && is_supervisor(machine.cpu[i].running))
            return true;
    return false;
}

void supervisor_run(int index, struct host_context *context)
{
    struct user_cpu *cpu = &machine.cpu[index];
    cpu->pending = NULL;
    if (context->space != NULL && context->space->dead)
        return; /* the event will tell */
    cpu->running = context;
}

/* It does not run now, since the Nucleus does: its state is here. */
void supervisor_preempt(int index)
{
    struct user_cpu *cpu = &machine.cpu[index];
    event_queue_preempted(index, cpu->running);
    cpu->running = NULL;
}

static unsigned enter(struct host_context *context)
{
    unsigned request;
    supervisor.current = context;
    supervisor_box = &context->gate;
    tick_on();
    if (context->form == FORM_GATE)
        request = supervisor_resume_call(&context->gate, context->fs_base);
    else
        request = supervisor_resume_full(context->uc, context->fs_base, context->xstate);
    supervisor.current = NULL;
    supervisor.entering = false;
    if (request == REQUEST_CALL) {
        context->fs_base = supervisor_actor_fs;
        context->form = FORM_GATE;
    }
    return request;
}

/* Let the next one in turn run until it comes back. False: it was the tick, and nothing happened. */
bool supervisor_poll(struct host_event *event)
{
    int index = supervisor.turn;
    do
        index = index + 1 < machine.cpus ? index + 1 : 0;
    while (machine.cpu[index].running == NULL || !is_supervisor(machine.cpu[index].running));
    supervisor.turn = index;

    struct host_context *context = machine.cpu[index].running;
    unsigned request = enter(context);
    if (request == TICK_SIGNAL)
        return false;
    if (request != REQUEST_CALL) /* of a call nothing else counts */
        event->trap = (struct host_trap){0};
    event->kind = HOST_EVENT_TRAP;
    event->trap.cpu = index;
    event->trap.context = context;
    event->trap.owner = context->owner;
    context_decode(context, request, supervisor.frame, &event->trap);
    context->running = false;
    machine.cpu[index].running = NULL;
    return true;
}

/* --- spaces --------------------------------------------------------------------------------------------------------------------------------- */

static uint64_t slice_address(size_t slice) { return AREA + slice * SLICE_SIZE; }

static size_t slice_of(const struct host_space *space)
{
    size_t slice = 0;
    while (supervisor.slices[slice] != space)
        if (++slice == SLICES)
            host_panic("a supervisor space without a slice");
    return slice;
}

/* Not the one that was freed last, so that a stray pointer into it faults. */
static bool slice_take(struct host_space *space)
{
    for (size_t i = 1; i <= SLICES; i++) {
        size_t slice = (supervisor.taken_last + i) % SLICES;
        void *address = (void *)slice_address(slice);
        if (supervisor.slices[slice] != NULL ||
            mmap(address, SLICE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != address)
            continue;
        supervisor.slices[slice] = space;
        supervisor.taken_last = slice;
        return true;
    }
    return false;
}

int host_space_create_supervisor(struct host_space **ret_space, void *owner)
{
    int status = supervisor_start();
    if (status != K_OK)
        return status;
    struct host_space *space = calloc(1, sizeof *space);
    if (space == NULL)
        return K_ENOMEM;
    space->owner = owner;
    space->supervisor = true;
    list_init(&space->link);
    list_init(&space->waiting);
    if (!slice_take(space)) {
        free(space);
        return K_ENOMEM;
    }
    *ret_space = space;
    return K_OK;
}

bool host_space_is_supervisor(const struct host_space *space) { return space->supervisor; }

void host_space_range(const struct host_space *space, vaddr_t *bottom, vaddr_t *top)
{
    *bottom = K_USERBOTTOM;
    *top = K_USERTOP;
    if (space->supervisor && !space->dead) {
        *bottom = slice_address(slice_of(space));
        *top = *bottom + SLICE_SIZE - SLICE_GUARD;
    }
}

vaddr_t host_space_gate(const struct host_space *space) { return space->supervisor ? (vaddr_t)supervisor_gate : GATE; }

/* A call that was answered goes on at this instruction. */
vaddr_t supervisor_return_address(void) { return (vaddr_t)supervisor_gate_ret; }

static void space_end(struct host_space *space, int reason)
{
    if (space->dead)
        return;
    size_t slice = slice_of(space);
    for (int i = 0; i < machine.cpus; i++) {
        struct user_cpu *cpu = &machine.cpu[i];
        if (cpu->pending != NULL && cpu->pending->space == space)
            cpu->pending = NULL;
        if (cpu->running != NULL && cpu->running->space == space) {
            cpu->running->running = false;
            cpu->running = NULL;
        }
    }
    munmap((void *)slice_address(slice), SLICE_SIZE);
    supervisor.slices[slice] = NULL;
    space_died(space, reason);
}

void supervisor_space_destroy(struct host_space *space)
{
    space->destroyed = true;
    space_end(space, HOST_DEAD_DESTROYED);
}

static bool order_do(uint32_t call, int prot, void *address, uint64_t length, uint64_t offset)
{
    if (call == SYS_mprotect)
        return mprotect(address, length, prot) == 0;
    if (call == SYS_munmap)
        return mmap(address, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == address;
    int flags = MAP_SHARED | MAP_FIXED | (prot & PROT_WRITE || length <= POPULATE_MAX ? MAP_POPULATE : 0);
    return mmap(address, length, prot, flags, machine.memfd, (off_t)offset) == address;
}

/* Executed at once: the Nucleus's own tables of pages are these. */
void supervisor_order(struct host_space *space, uint32_t call, int prot, uint64_t address, uint64_t length, uint64_t offset)
{
    vaddr_t bottom, top;
    host_space_range(space, &bottom, &top);
    if (address < bottom || address > top || length > top - address)
        host_panic("an order outside its supervisor space: %lx, %lx bytes", (long)address, (long)length);
    if (order_do(call, prot, (void *)address, length, offset))
        return;
    host_log(0, "the host refused a mapping of a supervisor actor: %s", strerror(errno));
    space_end(space, HOST_DEAD_MAP);
}
