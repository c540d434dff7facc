/* No memory is left. Whoever happens to need the next page is seldom to blame, so the process that has most
 * of its own memory is ended; the one that asked waits for a moment and tries again. */

#include "memory_short.h"

#include "call.h"
#include "process.h"

#define PAUSE (NANOSECONDS / 100) /* between two tries */
#define TRIES 300
#define PATIENCE (3 * NANOSECONDS) /* how long the memory of who was ended may take to come back */

static unsigned tries;
static KnTime last_try, last_end = -PATIENCE;

static uint64_t memory_of(const struct process *process)
{
    KnVmStat stat;
    if (process->is_init || process->space == NULL ||
        vmStat(&process->space->actor, &stat) != K_OK)
        return 0;
    return stat.pages;
}

/* The thread may have waited for so long that it is told of a shortage which is over. */
static bool memory_has_come_back(void)
{
    KnSysInfo info;
    return sysInfo(&info) == K_OK && info.framesFree > info.frames / 16;
}

/* NULL: one is being ended already, and its memory has not come back yet. */
static struct process *choose(struct process *otherwise)
{
    struct process *most = otherwise;
    uint64_t best = 0;
    if (time_now() - last_end < PATIENCE || memory_has_come_back())
        return NULL;
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        if (process->state == PROCESS_EXITING)
            return NULL;
        uint64_t pages = process->state == PROCESS_ALIVE ? memory_of(process) : 0;
        if (pages > best) {
            best = pages;
            most = process;
        }
    }
    return most;
}

/* The pause is a call that is none: it waits, and then the faulting instruction is tried again. */
static int64_t pause_for_memory(struct call *call)
{
    call->policy = CALL_UNINTERRUPTED;
    call_deadline_after(call, PAUSE);
    if (!call->timed_out && call->deadline > time_now())
        return CALL_WAITS;
    call->reply = (KnTrapReply){ .action = K_DO_CONTEXT };
    return CALL_REPLIED;
}

static const struct linux_call pause_entry = { "(memory)", pause_for_memory, "", "" };

void memory_again_later(struct thread *thread)
{
    KnTrapMsg nothing = { .kind = K_TRAP_FAULT };
    call_begin(&thread->call, &nothing);
    thread->call.entry = &pause_entry;
}

void memory_short(struct thread *thread)
{
    KnTime now = time_now();
    struct process *victim = choose(thread->process);
    tries = now - last_try < 10 * PAUSE ? tries + 1 : 0;
    last_try = now;
    if (victim == NULL && tries > TRIES)
        victim = thread->process;
    if (victim != NULL) {
        pm_log("%s (%d) is killed: no memory is left", victim->name, victim->pid);
        process_end(victim, SIGKILL);
        last_end = now;
    }
    if (victim == thread->process)
        return;
    memory_again_later(thread);
}
