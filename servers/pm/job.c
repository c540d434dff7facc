/* Process groups and sessions. A group goes with its last member, a session with its last group. */

#include "job.h"

#include <sys/wait.h>

#include "call.h"
#include "deferred.h"
#include "process.h"
#include "signals.h"
#include "waiting.h"
#include "worker.h"

static struct list groups = { &groups, &groups };

struct process_group *job_find_group(pid_t pgid)
{
    LIST_EACH(&groups, at) {
        struct process_group *group = LIST_ENTRY(at, struct process_group, link);
        if (group->pgid == pgid)
            return group;
    }
    return NULL;
}

static struct process_group *group_new(pid_t pgid, struct session *session)
{
    struct process_group *group = calloc(1, sizeof *group);
    if (group == NULL)
        return NULL;
    group->pgid = pgid;
    group->session = session;
    session->references++;
    list_init(&group->members);
    list_append(&groups, &group->link);
    return group;
}

void job_join(struct process *process, struct process_group *group)
{
    process->group = group;
    list_append(&group->members, &process->group_link);
}

void job_leave(struct process *process)
{
    struct process_group *group = process->group;
    list_remove(&process->group_link);
    if (!list_is_empty(&group->members))
        return;
    list_remove(&group->link);
    if (--group->session->references == 0)
        free(group->session);
    free(group);
}

int job_new_session(struct process *process)
{
    struct session *session = calloc(1, sizeof *session);
    struct process_group *group = session != NULL ? group_new(process->pid, session) : NULL;
    if (group == NULL) {
        free(session);
        return -ENOMEM;
    }
    session->sid = process->pid;
    if (process->group != NULL)
        job_leave(process);
    job_join(process, group);
    return 0;
}

int job_new_group(struct process *process)
{
    struct process_group *group = group_new(process->pid, process->group->session);
    if (group == NULL)
        return -ENOMEM;
    job_leave(process);
    job_join(process, group);
    return 0;
}

/* Does a member have a parent elsewhere in the session, who could wake it? */
static bool has_outside_parent(const struct process_group *group, const struct process *but)
{
    LIST_EACH((struct list *)&group->members, at) {
        struct process *member = LIST_ENTRY(at, struct process, group_link);
        const struct process *parent = member->parent;
        if (member == but || member->state == PROCESS_ZOMBIE || parent == NULL || parent->is_init)
            continue;
        if (parent->group != group && parent->group->session == group->session)
            return true;
    }
    return false;
}

bool job_group_is_orphaned(const struct process_group *group)
{
    return !has_outside_parent(group, NULL);
}

static bool has_stopped_member(const struct process_group *group)
{
    LIST_EACH((struct list *)&group->members, at)
        if (LIST_ENTRY(at, struct process, group_link)->stopped)
            return true;
    return false;
}

static void wake_if_orphaned(struct process_group *group, const struct process *dead)
{
    if (has_outside_parent(group, dead) || !has_stopped_member(group))
        return;
    signal_send_group(group, SIGHUP);
    signal_send_group(group, SIGCONT);
}

/* Its own group may have lost the parent outside, or its children's groups theirs. */
void job_process_ended(struct process *process)
{
    const struct process *parent = process->parent;
    if (parent->group != process->group && parent->group->session == process->group->session)
        wake_if_orphaned(process->group, process);
    LIST_EACH(&process->children, at) {
        struct process *child = LIST_ENTRY(at, struct process, sibling);
        struct process_group *group = child->group;
        if (group == process->group || group->session != process->group->session)
            continue;
        /* The children are given to init right after this. */
        struct process *real_parent = child->parent;
        child->parent = process_init;
        wake_if_orphaned(group, process);
        child->parent = real_parent;
    }
}

void job_session_ended(struct process *leader)
{
    struct session *session = leader->group->session;
    if (session->terminal == 0)
        return;
    session->terminal = 0;
    deferred_session_end(session->sid);
}

void job_terminal_lost(pid_t sid)
{
    LIST_EACH(&groups, at) {
        struct process_group *group = LIST_ENTRY(at, struct process_group, link);
        if (group->session->sid == sid)
            group->session->terminal = 0;
    }
}

void job_stop(struct process *process, int signal)
{
    if (process->stopped || process->state != PROCESS_ALIVE)
        return;
    process->stopped = true;
    process->stop_signal = signal;
    process->stop_untold = true;
    process->continue_untold = false;
    LIST_EACH(&process->threads, at) {
        struct thread *thread = LIST_ENTRY(at, struct thread, of_process);
        if (thread->where == THREAD_OUTSIDE)
            thread_kick(thread);
    }
    process_tell_parent(process, CLD_STOPPED, signal);
}

void job_continue(struct process *process)
{
    if (!process->stopped)
        return;
    process->stopped = false;
    process->stop_untold = false;
    process->continue_untold = true;
    LIST_EACH(&process->threads, at)
        thread_wake(LIST_ENTRY(at, struct thread, of_process));
    process_tell_parent(process, CLD_CONTINUED, SIGCONT);
}

/* ---- calls ---- */

int64_t linux_setpgid(struct call *call)
{
    struct process *caller = call_process(call);
    pid_t pid = (pid_t)call->arg[0], pgid = (pid_t)call->arg[1];
    struct process *process = pid == 0 ? caller : process_find(pid);
    if (pgid < 0)
        return -EINVAL;
    if (process == NULL || process->is_init || process->state == PROCESS_ZOMBIE ||
        (process != caller && process->parent != caller))
        return -ESRCH;
    if (process != caller && process->has_execed)
        return -EACCES;
    if (process->group->session->sid == process->pid ||
        process->group->session != caller->group->session)
        return -EPERM;
    if (pgid == 0)
        pgid = process->pid;
    if (pgid == process->group->pgid)
        return 0;
    if (pgid == process->pid)
        return job_new_group(process);
    struct process_group *group = job_find_group(pgid);
    if (group == NULL || group->session != caller->group->session)
        return -EPERM;
    job_leave(process);
    job_join(process, group);
    return 0;
}

static struct process *by_number(struct call *call)
{
    pid_t pid = (pid_t)call->arg[0];
    return pid == 0 ? call_process(call) : process_find(pid);
}

int64_t linux_getpgid(struct call *call)
{
    struct process *process = by_number(call);
    return process == NULL ? -ESRCH : process->group->pgid;
}

int64_t linux_getpgrp(struct call *call)
{
    return call_process(call)->group->pgid;
}

int64_t linux_getsid(struct call *call)
{
    struct process *process = by_number(call);
    return process == NULL ? -ESRCH : process->group->session->sid;
}

int64_t linux_setsid(struct call *call)
{
    struct process *process = call_process(call);
    if (process->group->pgid == process->pid || job_find_group(process->pid) != NULL)
        return -EPERM;
    int error = job_new_session(process);
    return error != 0 ? error : process->pid;
}
