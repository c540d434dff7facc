/* Signals: sending, pending sets, and what becomes of them. */

#include "signals.h"

#include <stdio.h>

#include "call.h"
#include "events.h"
#include "init.h"
#include "job.h"
#include "process.h"
#include "waiting.h"
#include "worker.h"

#define SYNCHRONOUS (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) |           \
                     SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGSYS))
#define STOPPING (SIGNAL_BIT(SIGSTOP) | SIGNAL_BIT(SIGTSTP) | SIGNAL_BIT(SIGTTIN) |            \
                  SIGNAL_BIT(SIGTTOU))
#define IGNORED_BY_DEFAULT (SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGURG) | SIGNAL_BIT(SIGWINCH) |  \
                            SIGNAL_BIT(SIGCONT))
#define DUMPING (SIGNAL_BIT(SIGQUIT) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) |              \
                 SIGNAL_BIT(SIGABRT) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGFPE) |               \
                 SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGXCPU) | SIGNAL_BIT(SIGXFSZ) |             \
                 SIGNAL_BIT(SIGSYS))
#define UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))
#define REAL_TIME_FIRST 32

/* ---- pending sets ---- */

void signal_pending_init(struct signal_pending *pending)
{
    pending->set = 0;
    list_init(&pending->entries);
}

static void pending_remove(struct signal_pending *pending, uint64_t signals)
{
    if ((pending->set & signals) == 0)
        return;
    pending->set &= ~signals;
    LIST_EACH(&pending->entries, at) {
        struct signal_entry *entry = LIST_ENTRY(at, struct signal_entry, link);
        if (SIGNAL_BIT(entry->info.si_signo) & signals) {
            list_remove(at);
            free(entry);
        }
    }
}

void signal_pending_clear(struct signal_pending *pending)
{
    pending_remove(pending, UINT64_MAX);
}

/* An ordinary signal is pending once, a real-time one as often as it was sent. */
static int pending_add(struct process *process, struct signal_pending *pending,
                       const siginfo_t *info)
{
    int signal = info->si_signo;
    uint64_t queued = 0;
    if (signal < REAL_TIME_FIRST && (pending->set & SIGNAL_BIT(signal)))
        return 0;
    LIST_EACH(&pending->entries, at)
        queued++;
    struct signal_entry *entry = NULL;
    if (queued < process->limits[11 /* RLIMIT_SIGPENDING */].current)
        entry = malloc(sizeof *entry);
    if (entry == NULL && signal >= REAL_TIME_FIRST && info->si_code != SI_USER)
        return -EAGAIN;
    if (entry != NULL) {
        entry->info = *info;
        list_append(&pending->entries, &entry->link);
    }
    pending->set |= SIGNAL_BIT(signal);
    return 0;
}

static bool pending_take(struct signal_pending *pending, int signal, siginfo_t *info)
{
    bool found = false, more = false;
    if ((pending->set & SIGNAL_BIT(signal)) == 0)
        return false;
    LIST_EACH(&pending->entries, at) {
        struct signal_entry *entry = LIST_ENTRY(at, struct signal_entry, link);
        if (entry->info.si_signo != signal)
            continue;
        if (found) {
            more = true;
            break;
        }
        *info = entry->info;
        list_remove(at);
        free(entry);
        found = true;
    }
    if (!found) {
        memset(info, 0, sizeof *info);
        info->si_signo = signal;
    }
    if (!more)
        pending->set &= ~SIGNAL_BIT(signal);
    return true;
}

bool signal_dequeue(struct thread *thread, uint64_t set, siginfo_t *info)
{
    uint64_t due = (thread->pending.set | thread->process->pending.set) & set;
    if (due == 0)
        return false;
    if (due & SYNCHRONOUS)
        due &= SYNCHRONOUS;
    int signal = __builtin_ctzll(due) + 1;
    return pending_take(&thread->pending, signal, info) ||
           pending_take(&thread->process->pending, signal, info);
}

bool signal_is_due(const struct thread *thread)
{
    return ((thread->pending.set | thread->process->pending.set) & ~thread->blocked) != 0;
}

/* ---- sending ---- */

static bool is_ignored(const struct process *process, int signal)
{
    uint64_t handler = process->signals->actions[signal].handler;
    return handler == (uint64_t)SIG_IGN ||
           (handler == (uint64_t)SIG_DFL && (SIGNAL_BIT(signal) & IGNORED_BY_DEFAULT));
}

static bool wants(const struct thread *thread, int signal)
{
    return (~thread->blocked & SIGNAL_BIT(signal)) || (thread->awaited & SIGNAL_BIT(signal));
}

static bool is_worth_keeping(struct process *process, struct thread *thread, int signal)
{
    if (!is_ignored(process, signal))
        return true;
    if (thread != NULL)
        return (thread->blocked | thread->awaited) & SIGNAL_BIT(signal);
    LIST_EACH(&process->threads, at) {
        struct thread *one = LIST_ENTRY(at, struct thread, of_process);
        if ((one->blocked | one->awaited) & SIGNAL_BIT(signal))
            return true;
    }
    return false;
}

static void cancel_opposites(struct process *process, int signal)
{
    uint64_t opposite = signal == SIGCONT                  ? STOPPING
                        : (SIGNAL_BIT(signal) & STOPPING)  ? SIGNAL_BIT(SIGCONT)
                                                           : 0;
    if (opposite == 0)
        return;
    pending_remove(&process->pending, opposite);
    LIST_EACH(&process->threads, at)
        pending_remove(&LIST_ENTRY(at, struct thread, of_process)->pending, opposite);
    if (signal == SIGCONT)
        job_continue(process);
}

/* Bring in a thread that takes the signal: the first one that does not block it. */
static void tell_someone(struct process *process, int signal)
{
    LIST_EACH(&process->threads, at) {
        struct thread *thread = LIST_ENTRY(at, struct thread, of_process);
        if (wants(thread, signal)) {
            thread_kick(thread);
            return;
        }
    }
}

static int send(struct process *process, struct thread *thread, const siginfo_t *info)
{
    int signal = info->si_signo;
    if (signal == 0 || process->state != PROCESS_ALIVE)
        return 0;
    if (process->is_init) {
        init_signal(signal);
        return 0;
    }
    if (signal == SIGKILL) {
        process_end(process, SIGKILL);
        return 0;
    }
    cancel_opposites(process, signal);
    if (!is_worth_keeping(process, thread, signal))
        return 0;
    int error = pending_add(process, thread != NULL ? &thread->pending : &process->pending, info);
    if (error != 0)
        return error;
    events_signal_pending(signal);
    if (thread == NULL)
        tell_someone(process, signal);
    else if (wants(thread, signal))
        thread_kick(thread);
    return 0;
}

int signal_send_process(struct process *process, const siginfo_t *info)
{
    return send(process, NULL, info);
}

int signal_send_thread(struct thread *thread, const siginfo_t *info)
{
    return send(thread->process, thread, info);
}

void signal_raise(struct process *process, int signal)
{
    siginfo_t info = { .si_signo = signal, .si_code = SI_KERNEL };
    send(process, NULL, &info);
}

void signal_send_group(struct process_group *group, int signal)
{
    LIST_EACH(&group->members, at)
        signal_raise(LIST_ENTRY(at, struct process, group_link), signal);
}

void signal_force(struct thread *thread, const siginfo_t *info)
{
    int signal = info->si_signo;
    struct signal_action *action = &thread->process->signals->actions[signal];
    if (action->handler == (uint64_t)SIG_IGN || (thread->blocked & SIGNAL_BIT(signal))) {
        action->handler = (uint64_t)SIG_DFL;
        thread->blocked &= ~SIGNAL_BIT(signal);
    }
    pending_remove(&thread->pending, SIGNAL_BIT(signal));
    if (pending_add(thread->process, &thread->pending, info) != 0)
        thread->pending.set |= SIGNAL_BIT(signal);
}

void signal_force_simple(struct thread *thread, int signal)
{
    siginfo_t info = { .si_signo = signal, .si_code = SI_KERNEL };
    signal_force(thread, &info);
}

/* ---- masks ---- */

void signal_block(struct thread *thread, uint64_t mask)
{
    thread->blocked = mask & ~UNBLOCKABLE;
}

void signal_block_for_call(struct thread *thread, uint64_t mask)
{
    if (!thread->has_blocked_saved) {
        thread->blocked_saved = thread->blocked;
        thread->has_blocked_saved = true;
    }
    signal_block(thread, mask);
}

bool signal_is_suppressed(const struct thread *thread, int signal)
{
    return (thread->blocked & SIGNAL_BIT(signal)) ||
           thread->process->signals->actions[signal].handler == (uint64_t)SIG_IGN;
}

/* ---- taking ---- */

/* The interrupted call's fate: what it has done counts, else it is begun again or fails. */
static int push_handler(struct thread *thread, const siginfo_t *info, struct signal_action *action)
{
    struct call *call = &thread->call;
    bool in_call = call->active || thread->has_result;
    bool restart = false;
    int64_t result = thread->result;
    if (call->active) {
        restart = call->progress == 0 && call->policy == CALL_RESTARTS &&
                  (action->flags & SA_RESTART);
        result = call->progress > 0 ? call->progress : -EINTR;
        if (pm_options.strace)
            pm_log("%s[%d] interrupted by signal %d", thread->name, thread->tid, info->si_signo);
        call_end(call);
    }
    uint64_t mask = thread->has_blocked_saved ? thread->blocked_saved : thread->blocked;
    int error = frame_push(thread, info, action, mask, in_call, restart, result);
    if (error != 0)
        return error;
    thread->has_result = false;
    thread->context_set = true;
    thread->has_blocked_saved = false;
    uint64_t blocked = thread->blocked | action->mask;
    if ((action->flags & SA_NODEFER) == 0)
        blocked |= SIGNAL_BIT(info->si_signo);
    signal_block(thread, blocked);
    if (action->flags & SA_RESETHAND)
        action->handler = (uint64_t)SIG_DFL;
    return 0;
}

static void say_killed(const struct thread *thread, int signal, const siginfo_t *info)
{
    if (!pm_options.verbose || !(SIGNAL_BIT(signal) & DUMPING) || info->si_code == SI_USER)
        return;
    pm_log("%s (%d) is ended by signal %d, code %d, address %p", thread->process->name,
           thread->process->pid, signal, info->si_code, info->si_addr);
}

static enum signal_outcome take_default(struct thread *thread, const siginfo_t *info)
{
    struct process *process = thread->process;
    int signal = info->si_signo;
    if (SIGNAL_BIT(signal) & IGNORED_BY_DEFAULT)
        return SIGNAL_NONE;
    if (SIGNAL_BIT(signal) & STOPPING) {
        if (signal != SIGSTOP && job_group_is_orphaned(process->group))
            return SIGNAL_NONE;
        job_stop(process, signal);
        return SIGNAL_STOPPED;
    }
    say_killed(thread, signal, info);
    process_end(process, signal);
    return SIGNAL_ENDED;
}

static enum signal_outcome take_one(struct thread *thread, const siginfo_t *info)
{
    struct signal_action *action = &thread->process->signals->actions[info->si_signo];
    if (action->handler == (uint64_t)SIG_IGN)
        return SIGNAL_NONE;
    if (action->handler == (uint64_t)SIG_DFL)
        return take_default(thread, info);
    if (push_handler(thread, info, action) == 0)
        return SIGNAL_HANDLER;
    /* No stack to run it on: SIGSEGV, and death if that was it. */
    if (info->si_signo == SIGSEGV)
        action->handler = (uint64_t)SIG_DFL;
    signal_force_simple(thread, SIGSEGV);
    return SIGNAL_NONE;
}

enum signal_outcome signal_take(struct thread *thread)
{
    siginfo_t info;
    bool handled = false;
    while (thread->process->state == PROCESS_ALIVE &&
           signal_dequeue(thread, ~thread->blocked, &info)) {
        enum signal_outcome outcome = take_one(thread, &info);
        handled |= outcome == SIGNAL_HANDLER;
        if (outcome == SIGNAL_STOPPED || outcome == SIGNAL_ENDED)
            return outcome;
    }
    return handled ? SIGNAL_HANDLER : SIGNAL_NONE;
}

/* ---- tables of actions ---- */

struct signal_table *signal_table_new(const struct signal_table *old)
{
    struct signal_table *table = calloc(1, sizeof *table);
    if (table == NULL)
        return NULL;
    if (old != NULL)
        memcpy(table->actions, old->actions, sizeof table->actions);
    table->references = 1;
    return table;
}

void signal_table_release(struct signal_table *table)
{
    if (table != NULL && --table->references == 0)
        free(table);
}

void signal_table_reset(struct signal_table *table)
{
    for (int signal = 1; signal <= SIGNALS; signal++) {
        uint64_t handler = table->actions[signal].handler;
        table->actions[signal] = (struct signal_action){
            .handler = handler == (uint64_t)SIG_IGN ? handler : (uint64_t)SIG_DFL,
        };
    }
}
