/* cpu.c: user CPUs: who runs where, and the orders that make it so.
 *
 * No wake across CPUs on the hot path: a CPU's last stub (its seat) spins or sleeps there, bound to that CPU, and is told "wake that one, then sleep". That order
 * is a hint: if the woken stub does not show up in time it is woken from here, and a stub that goes on running although it posted a trap is found by the audit
 * (liveness.c). A preemption is a signal to the running stub, one in flight at a time.
 */
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "counts.h"
#include "machine.h"

#define HOP_PATIENCE 100000        /* ns until a stub that another was to wake is woken from here */
#define HOP_PATIENCE_HERE 5000000  /* the same while the Nucleus shares that CPU: a timer that is due sooner than the host's tick costs more than a switch */
#define PREEMPT_PATIENCE 3000000   /* wall time until a CPU is taken away without an answer, if its process does not use it */
#define PREEMPT_CPU_MAX 20000000   /* CPU time that a process may use without acknowledging a preemption */
#define PREEMPT_AGAIN 1000000      /* ns until another signal is sent */
#define STREAK_CPU_LEAST 5000000   /* CPU time that goes with a streak */
#define STREAK_MAX 20              /* acknowledged preemptions in a row without a trap: an honest stub posts at once */

int host_cpu_count(void) { return machine.cpus; }

static bool stub_in_flight(const struct stub *stub)
{
    return (int32_t)(box_read(stub, BOX_ACK) - stub->sent) < 0;
}

/* The stub's word, changed: its next command. */
static uint32_t write_command(struct stub *stub, uint32_t command)
{
    uint32_t word = ((*stub->word + COMMAND_STEP) & ~(uint32_t)COMMAND_MASK) | command;
    __atomic_store_n(stub->word, word, __ATOMIC_SEQ_CST);
    return word;
}

/* Wherever the stub thread sleeps: a wake there reaches it, since its word has changed. Returns the place. */
static volatile uint32_t *leave_bed(const struct stub *stub)
{
    volatile uint32_t *bed = machine.words + BEDS / 4 + (box_read64(stub, BOX_BED) >> (64 - BED_BITS));
    ++*bed;
    return bed;
}

/* Give a stub thread its next command and see that it looks: by itself if it spins, by the seat's last owner, or by a wake from here. */
static void deliver(struct user_cpu *cpu, struct stub *stub, uint32_t command)
{
    uint32_t word = write_command(stub, command);
    struct stub *seat = cpu->seat;
    bool here = event_is_on(cpu->host_cpu);
    cpu->seat = stub;
    if (here || seat == stub || seat == NULL || seat->state != STUB_PARKED || box_read(seat, BOX_ASLEEP)) {
        if (box_read(stub, BOX_ASLEEP)) {
            futex_wake_shared(leave_bed(stub));
            return;
        }
        /* It says that it spins. If it is about to sleep it looks once more; if it lies, the hop check wakes it. */
    } else {
        /* One that has not gone to sleep yet (the one that it woke has taken its CPU before it could) sees its word when it gets the CPU. */
        bool asleep = box_read(stub, BOX_ASLEEP);
        volatile uint32_t *bed = leave_bed(stub);
        if (asleep)
            arg_write(seat, ARG_WAKE, machine.base + WORDS_OFFSET + 4 * (uint64_t)(bed - machine.words));
        write_command(seat, asleep ? COMMAND_WAKE : COMMAND_SLEEP);
        if (box_read(seat, BOX_ASLEEP))
            futex_wake_shared(bed);
    }
    cpu->hop = stub;
    cpu->hop_word = word;
    cpu->hop_at = cpu->since + (here ? HOP_PATIENCE_HERE : HOP_PATIENCE);
}

/* The stub thread that would run it has not answered since its CPU was taken away: perhaps the host has stopped its process. The CPU is lost to this thread,
 * too, until the stub shows up again. */
static void stall(int index, struct stub *stub, struct host_context *context)
{
    machine.cpu[index].pending = NULL;
    list_append(&stub->stalled, &context->stalled_link);
    event_queue_lost(index, context);
}

/* The stub is back: who waited for it is given back as if preempted. */
static void unstall(struct stub *stub)
{
    LIST_FOR_EACH_SAFE(link, following, &stub->stalled) {
        list_remove(link);
        event_queue_preempted(-1, LIST_OWNER(link, struct host_context, stalled_link));
    }
}

static void start(int index, struct host_context *context)
{
    struct user_cpu *cpu = &machine.cpu[index];
    struct host_space *space = context->space;
    struct stub *stub = &space->process->stubs[index];
    if (stub->state == STUB_LOST) {
        stall(index, stub, context);
        return;
    }
    context_load(context, stub);
    uint32_t next = stub->where == IN_GATE ? COMMAND_RETURN : stub->where == IN_SYSCALL ? COMMAND_SYSRET : COMMAND_RESUME, command;
    if (next == COMMAND_RESUME) {
        arg_write(stub, ARG_FRAME, stub->area_address + (stub->where == IN_RESUME ? RESUME_FRAME : machine.frame_offset));
        arg_write(stub, ARG_FSBASE, box_read64(stub, BOX_FSBASE));
        arg_write(stub, ARG_GSBASE, box_read64(stub, BOX_GSBASE));
    }
    if (!space_ready_to_run(space, stub, &command, next)) {
        cpu->pending = context;
        return;
    }
    cpu->pending = NULL;
    cpu->running = context;
    cpu->since = host_time();
    space->process->granted += liveness_parked(stub, cpu->since);
    stub->since = cpu->since;
    stub->state = STUB_RUNNING;
    stub->used = true;
    deliver(cpu, stub, command);
}

void host_cpu_run(int index, struct host_context *context)
{
    struct user_cpu *cpu = &machine.cpu[index];
    struct host_space *space = context->space;
    context->running = true;
    cpu->pending = context;
    if (space == NULL || space->supervisor) {
        supervisor_run(index, context);
        return;
    }
    if (space->process == NULL || space->process->state != PROCESS_USED)
        return; /* it waits for its process; or it is dying, and the event will tell */
    start(index, context);
}

/* The space can run now, or has made progress. */
void cpu_retry(struct host_space *space)
{
    for (int i = 0; i < machine.cpus; i++) {
        struct host_context *context = machine.cpu[i].pending;
        if (context != NULL && context->space == space && space->process != NULL && space->process->state == PROCESS_USED)
            start(i, context);
    }
}

void host_cpu_idle(int index) { machine.cpu[index].running = NULL; }

static void send_preemption(struct stub *stub)
{
    uint32_t acknowledged = box_read(stub, BOX_ACK);
    if ((int32_t)(acknowledged - stub->sent) > 0)
        stub->sent = acknowledged; /* somebody else signals it: harmless */
    stub->sent++;
    counts.preemptions++;
    syscall(SYS_tgkill, stub->process->pid, stub->tid, SIGNAL_PREEMPT);
}

void host_cpu_preempt(int index)
{
    struct user_cpu *cpu = &machine.cpu[index];
    if (cpu->preempt_at != 0)
        return;
    if (cpu->pending != NULL) { /* not even started: give it back at once */
        event_queue_preempted(index, cpu->pending);
        cpu->pending = NULL;
        return;
    }
    if (cpu->running == NULL)
        return;
    if (cpu->running->space == NULL || cpu->running->space->supervisor) {
        supervisor_preempt(index);
        return;
    }
    struct stub *stub = cpu->running->home;
    cpu->preempt_at = host_time();
    cpu->preempt_again = cpu->preempt_at + PREEMPT_AGAIN;
    cpu->preempt_used = liveness_used_alone(stub, cpu->preempt_at);
    if (!stub_in_flight(stub))
        send_preemption(stub);
}

/* --- what stubs post ------------------------------------------------------------------------------------------------------------------------ */

static bool take(struct stub *stub, struct host_event *event, bool lost)
{
    uint32_t request = box_read(stub, BOX_REQUEST);
    if (request == 0)
        return false;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    box_write(stub, BOX_REQUEST, 0);
    struct user_cpu *cpu = &machine.cpu[stub->index];
    if (request == REQUEST_RESET)
        return false; /* a late hint: see reuse.c */
    if (request == REQUEST_STUB_FAULT) {
        process_kill(stub->process, HOST_DEAD_STUB_FAULT, "it meddled with its stub");
        return false;
    }
    memset(event, 0, sizeof *event);
    event->kind = HOST_EVENT_TRAP;
    if (!context_take_trap(stub, request, &event->trap)) {
        process_kill(stub->process, HOST_DEAD_HOSTILE, "it forged a trap");
        return false;
    }
    event->trap.cpu = lost ? -1 : stub->index;
    if (event->trap.kind != HOST_TRAP_PREEMPTED)
        stub->streak = 0;
    int64_t now = host_time();
    if (stub->state == STUB_RUNNING)
        stub->process->granted += now - stub->since;
    if (stub->process->empty_wakes > 0)
        stub->process->empty_wakes--;
    stub->state = STUB_PARKED;
    stub->since = now;
    event->trap.context->running = false;
    if (lost) {
        list_remove(&stub->lost_link);
        unstall(stub);
    } else {
        cpu->running = NULL;
        cpu->preempt_at = 0;
        cpu->hop = NULL;
    }
    if (event->trap.kind == HOST_TRAP_CALL)
        counts.calls++;
    else
        counts.traps++;
    return true;
}

/* The CPUs are looked at in turn, so that none is served first always. */
bool cpu_poll(struct host_event *event)
{
    static int turn;
    for (int i = 0; i < machine.cpus; i++) {
        int index = turn + i < machine.cpus ? turn + i : turn + i - machine.cpus;
        struct host_context *context = machine.cpu[index].running;
        if (context == NULL || context->home == NULL || box_read(context->home, BOX_REQUEST) == 0)
            continue;
        if (take(context->home, event, false)) {
            turn = index + 1 < machine.cpus ? index + 1 : 0;
            return true;
        }
    }
    LIST_FOR_EACH_SAFE(link, following, &machine.lost)
    if (take(LIST_OWNER(link, struct stub, lost_link), event, true))
        return true;
    return false;
}

/* --- liveness ------------------------------------------------------------------------------------------------------------------------------- */

/* The CPU's answer did not come. Its process used more CPU time than its other threads were let run: it is to blame. It did not, or it waits for its agent: the host has
 * stopped it, or is slow; the CPU goes to others. An honest stub that acknowledged posts within a microsecond of CPU time, but the host may give it that microsecond
 * late: so many acknowledgements, a millisecond apart, and CPU time that was used meanwhile, are needed to tell one that runs on. */
static bool watch_preemption(int index, struct stub *stub, int64_t now, struct host_event *event)
{
    struct user_cpu *cpu = &machine.cpu[index];
    bool waits_for_agent = stub->process->space->batch_running;
    if (!waits_for_agent && now >= cpu->preempt_again) {
        int64_t used = liveness_used_alone(stub, now) - cpu->preempt_used;
        cpu->preempt_again = now + PREEMPT_AGAIN;
        if (stub_in_flight(stub)) {
            if (used > PREEMPT_CPU_MAX) {
                process_kill(stub->process, HOST_DEAD_HOSTILE, "it does not answer preemptions");
                return false;
            }
        } else if (++stub->streak > STREAK_MAX && used > STREAK_CPU_LEAST) {
            process_kill(stub->process, HOST_DEAD_HOSTILE, "it acknowledges preemptions and runs on");
            return false;
        } else {
            send_preemption(stub);
        }
    }
    if (now - cpu->preempt_at < PREEMPT_PATIENCE)
        return false;
    memset(event, 0, sizeof *event);
    event->kind = HOST_EVENT_CPU_LOST;
    event->cpu = index;
    event->context = cpu->running;
    event->owner = cpu->running->owner;
    stub->state = STUB_LOST;
    stub->process->granted += now - stub->since;
    stub->since = now;
    list_append(&machine.lost, &stub->lost_link);
    cpu->running = NULL;
    cpu->preempt_at = 0;
    cpu->seat = NULL;
    cpu->hop = NULL;
    return true;
}

/* Returns when to look again (INT64_MAX: nothing to watch). */
int64_t cpu_watch(int64_t now, struct host_event *event, bool *ret_have)
{
    int64_t next = INT64_MAX;
    *ret_have = false;
    for (int i = 0; i < machine.cpus; i++) {
        struct user_cpu *cpu = &machine.cpu[i];
        if (cpu->hop != NULL && box_read(cpu->hop, BOX_SEEN) == cpu->hop_word)
            cpu->hop = NULL;
        if (cpu->hop != NULL && now >= cpu->hop_at) {
            counts.hops_missed++;
            futex_wake_shared(leave_bed(cpu->hop));
            cpu->hop_at = now + 10 * HOP_PATIENCE;
            if (box_read(cpu->hop, BOX_REQUEST) || *cpu->hop->word != cpu->hop_word)
                cpu->hop = NULL;
        }
        if (cpu->hop != NULL && cpu->hop_at < next)
            next = cpu->hop_at;
        if (cpu->preempt_at != 0 && cpu->running != NULL && cpu->running->home != NULL) {
            if (now - cpu->preempt_at > PREEMPT_AGAIN / 2 && watch_preemption(i, cpu->running->home, now, event)) {
                *ret_have = true;
                return now;
            }
            if (now + 1000000 < next)
                next = now + 1000000;
        }
    }
    LIST_FOR_EACH(link, &machine.batches)
    {
        struct host_space *space = LIST_OWNER(link, struct host_space, link);
        if (now >= space->batch_watch) {
            space_wake_agent(space->process);
            space->batch_watch = now + 10 * AGENT_PATIENCE;
        }
        if (space->batch_watch < next)
            next = space->batch_watch;
    }
    int64_t look = list_is_empty(&machine.reused) ? INT64_MAX : reuse_watch(now);
    return look < next ? look : next;
}

/* --- endings -------------------------------------------------------------------------------------------------------------------------------- */

void cpu_drop_context(struct host_context *context)
{
    list_remove(&context->stalled_link);
    event_forget_context(context);
    for (int i = 0; i < machine.cpus; i++) {
        struct user_cpu *cpu = &machine.cpu[i];
        if (cpu->pending == context)
            cpu->pending = NULL;
        if (cpu->running == context) {
            cpu->running = NULL;
            cpu->preempt_at = 0;
        }
    }
}

void cpu_unseat(struct process *process)
{
    for (int i = 0; i < machine.cpus; i++) {
        struct user_cpu *cpu = &machine.cpu[i];
        if (cpu->seat == &process->stubs[i])
            cpu->seat = NULL;
        if (cpu->hop == &process->stubs[i])
            cpu->hop = NULL;
    }
}

bool cpu_is_parked(const struct process *process)
{
    for (int i = 0; i < machine.cpus; i++) {
        const struct stub *stub = &process->stubs[i];
        if (stub->state != STUB_PARKED || stub_in_flight(stub) || !list_is_empty(&stub->stalled))
            return false;
    }
    return true;
}

void cpu_leave(struct process *process)
{
    for (int i = 0; i < machine.cpus; i++) {
        struct user_cpu *cpu = &machine.cpu[i];
        struct stub *stub = &process->stubs[i];
        if (cpu->pending != NULL && cpu->pending->space == process->space)
            cpu->pending = NULL;
        if (stub->loaded != NULL) {
            stub->loaded->running = false;
            stub->loaded->home = NULL;
            stub->loaded = NULL;
        }
    }
}

/* The process is killed or dead: none of its stubs counts any more. The Nucleus learns by the event that its threads do not run. */
void cpu_forget(struct process *process)
{
    cpu_unseat(process);
    for (int i = 0; i < machine.cpus; i++) {
        struct user_cpu *cpu = &machine.cpu[i];
        struct stub *stub = &process->stubs[i];
        if (cpu->running != NULL && cpu->running->home == stub) {
            cpu->running = NULL;
            cpu->preempt_at = 0;
        }
        list_remove(&stub->lost_link);
        LIST_FOR_EACH_SAFE(link, following, &stub->stalled)
        list_remove(link);
        stub->state = STUB_NONE;
    }
    cpu_leave(process);
}
