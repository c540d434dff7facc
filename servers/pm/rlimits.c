/* Resource limits, priorities and scheduling classes: asked for and set. */

#include <sched.h>
#include <sys/resource.h>

#include "call.h"
#include "rlimits.h"
#include "process.h"
#include "time_of.h"
#include "user.h"

#define LIMITS 16

void limits_default(struct limit_pair *limits)
{
    for (int i = 0; i < LIMITS; i++)
        limits[i] = (struct limit_pair){ UINT64_MAX, UINT64_MAX };
    limits[RLIMIT_STACK].current = 8 << 20;
    limits[RLIMIT_CORE].current = 0;
    limits[RLIMIT_NOFILE] = (struct limit_pair){ 1024, 1 << 20 };
    limits[RLIMIT_MEMLOCK] = (struct limit_pair){ 8 << 20, 8 << 20 };
    limits[RLIMIT_SIGPENDING] = (struct limit_pair){ 4096, 4096 };
    limits[RLIMIT_MSGQUEUE] = (struct limit_pair){ 819200, 819200 };
    limits[RLIMIT_NICE] = (struct limit_pair){ 0, 0 };
    limits[RLIMIT_RTPRIO] = (struct limit_pair){ 0, 0 };
    limits[RLIMIT_NPROC] = (struct limit_pair){ 30000, 30000 };
}

static int set_limit(struct call *call, struct process *process, unsigned resource,
                     const struct limit_pair *new)
{
    struct limit_pair *limit = &process->limits[resource];
    if (new->current > new->most)
        return -EINVAL;
    if (new->most > limit->most && call_process(call)->credentials.euid != 0)
        return -EPERM;
    if (resource == RLIMIT_NOFILE && new->most > 1 << 20)
        return -EPERM;
    *limit = *new;
    return 0;
}

int64_t linux_getrlimit(struct call *call)
{
    if (call->arg[0] >= LIMITS)
        return -EINVAL;
    struct limit_pair limit = call_process(call)->limits[call->arg[0]];
    return copy_out(call, call->arg[1], &limit, sizeof limit);
}

int64_t linux_setrlimit(struct call *call)
{
    struct limit_pair limit;
    if (call->arg[0] >= LIMITS)
        return -EINVAL;
    if (copy_in(call, &limit, call->arg[1], sizeof limit) != 0)
        return -EFAULT;
    return set_limit(call, call_process(call), (unsigned)call->arg[0], &limit);
}

static struct process *other(struct call *call, pid_t pid)
{
    struct thread *thread;
    if (pid == 0)
        return call_process(call);
    struct process *process = process_find(pid);
    if (process == NULL && (thread = thread_find(pid)) != NULL)
        process = thread->process;
    return process;
}

static bool may_change(struct call *call, const struct process *process)
{
    const struct credentials *mine = &call_process(call)->credentials;
    return mine->euid == 0 || mine->euid == process->credentials.uid ||
           mine->euid == process->credentials.euid;
}

int64_t linux_prlimit64(struct call *call)
{
    struct limit_pair new, old;
    if (call->arg[1] >= LIMITS)
        return -EINVAL;
    if (call->arg[2] != 0 && copy_in(call, &new, call->arg[2], sizeof new) != 0)
        return -EFAULT;
    struct process *process = other(call, (pid_t)call->arg[0]);
    if (process == NULL)
        return -ESRCH;
    if (!may_change(call, process))
        return -EPERM;
    old = process->limits[call->arg[1]];
    int error = call->arg[2] != 0 ? set_limit(call, process, (unsigned)call->arg[1], &new) : 0;
    if (error != 0)
        return error;
    return call->arg[3] != 0 ? copy_out(call, call->arg[3], &old, sizeof old) : 0;
}

/* ---- priorities ---- */

static bool is_meant(const struct process *process, int which, uint32_t who,
                     const struct process *caller)
{
    switch (which) {
    case PRIO_PROCESS: return who == 0 ? process == caller : (uint32_t)process->pid == who;
    case PRIO_PGRP:
        return process->group->pgid == (who == 0 ? caller->group->pgid : (pid_t)who);
    default: return process->credentials.uid == (who == 0 ? caller->credentials.uid : who);
    }
}

int64_t linux_getpriority(struct call *call)
{
    int which = (int)call->arg[0];
    int64_t best = -ESRCH;
    if (which < PRIO_PROCESS || which > PRIO_USER)
        return -EINVAL;
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        if (is_meant(process, which, (uint32_t)call->arg[1], call_process(call)) &&
            20 - process->nice > best)
            best = 20 - process->nice;
    }
    return best;
}

int64_t linux_setpriority(struct call *call)
{
    int which = (int)call->arg[0], nice = (int)call->arg[2];
    int64_t result = -ESRCH;
    if (which < PRIO_PROCESS || which > PRIO_USER)
        return -EINVAL;
    nice = nice < -20 ? -20 : nice > 19 ? 19 : nice;
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        if (!is_meant(process, which, (uint32_t)call->arg[1], call_process(call)))
            continue;
        if (!may_change(call, process)) {
            result = -EPERM;
        } else if (nice < process->nice && call_process(call)->credentials.euid != 0) {
            result = -EACCES;
        } else {
            process->nice = nice;
            result = result == -ESRCH ? 0 : result;
        }
    }
    return result;
}

/* ---- classes ---- */

static bool is_real_time(int policy)
{
    return policy == SCHED_FIFO || policy == SCHED_RR;
}

static int set_class(struct call *call, pid_t pid, int policy, VmAddr parameter)
{
    int32_t priority;
    if (pid < 0 || parameter == 0)
        return -EINVAL;
    if (copy_in(call, &priority, parameter, sizeof priority) != 0)
        return -EFAULT;
    struct process *process = other(call, pid);
    if (process == NULL)
        return -ESRCH;
    if (policy < 0)
        policy = process->policy;
    policy &= ~SCHED_RESET_ON_FORK;
    if (!is_real_time(policy) && policy != SCHED_OTHER && policy != SCHED_BATCH &&
        policy != SCHED_IDLE)
        return -EINVAL;
    if (is_real_time(policy) ? priority < 1 || priority > 99 : priority != 0)
        return -EINVAL;
    if (!may_change(call, process) ||
        (is_real_time(policy) && call_process(call)->credentials.euid != 0))
        return -EPERM;
    process->policy = policy;
    process->priority = priority;
    return 0;
}

int64_t linux_sched_setscheduler(struct call *call)
{
    if ((int)call->arg[1] < 0)
        return -EINVAL;
    return set_class(call, (pid_t)call->arg[0], (int)call->arg[1], call->arg[2]);
}

int64_t linux_sched_setparam(struct call *call)
{
    return set_class(call, (pid_t)call->arg[0], -1, call->arg[1]);
}

static struct process *asked(struct call *call, int *error)
{
    pid_t pid = (pid_t)call->arg[0];
    struct process *process = pid < 0 ? NULL : other(call, pid);
    *error = pid < 0 ? -EINVAL : -ESRCH;
    return process;
}

int64_t linux_sched_getscheduler(struct call *call)
{
    int error;
    struct process *process = asked(call, &error);
    return process == NULL ? error : process->policy;
}

int64_t linux_sched_getparam(struct call *call)
{
    int error;
    struct process *process = asked(call, &error);
    if (process == NULL || call->arg[1] == 0)
        return process == NULL ? error : -EINVAL;
    int32_t priority = process->priority;
    return copy_out(call, call->arg[1], &priority, sizeof priority);
}

static int64_t edge(int policy, int of_real_time)
{
    if (is_real_time(policy))
        return of_real_time;
    return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE ? 0 : -EINVAL;
}

int64_t linux_sched_get_priority_max(struct call *call)
{
    return edge((int)call->arg[0], 99);
}

int64_t linux_sched_get_priority_min(struct call *call)
{
    return edge((int)call->arg[0], 1);
}

int64_t linux_sched_rr_get_interval(struct call *call)
{
    int error;
    struct timespec slice = { 0, 10000000 };
    if (asked(call, &error) == NULL)
        return error;
    return copy_out(call, call->arg[1], &slice, sizeof slice);
}

static unsigned cpus(void)
{
    KnSysInfo info;
    return sysInfo(&info) == K_OK && info.cpus > 0 && info.cpus <= 64 ? info.cpus : 1;
}

int64_t linux_sched_getaffinity(struct call *call)
{
    int error;
    uint64_t mask = cpus() == 64 ? UINT64_MAX : (UINT64_C(1) << cpus()) - 1;
    if (call->arg[1] < sizeof mask || call->arg[1] % sizeof mask != 0)
        return -EINVAL;
    if (asked(call, &error) == NULL)
        return error;
    error = copy_out(call, call->arg[2], &mask, sizeof mask);
    return error != 0 ? error : (int64_t)sizeof mask;
}

int64_t linux_sched_setaffinity(struct call *call)
{
    int error;
    uint64_t mask = 0, all = cpus() == 64 ? UINT64_MAX : (UINT64_C(1) << cpus()) - 1;
    uint64_t size = call->arg[1] < sizeof mask ? call->arg[1] : sizeof mask;
    if (copy_in(call, &mask, call->arg[2], size) != 0)
        return -EFAULT;
    struct process *process = asked(call, &error);
    if (process == NULL)
        return error;
    if (!may_change(call, process))
        return -EPERM;
    return (mask & all) == 0 ? -EINVAL : 0;
}

int64_t linux_getcpu(struct call *call)
{
    uint32_t zero = 0;
    if (call->arg[0] != 0 && copy_out(call, call->arg[0], &zero, sizeof zero) != 0)
        return -EFAULT;
    return call->arg[1] != 0 ? copy_out(call, call->arg[1], &zero, sizeof zero) : 0;
}

int64_t linux_ioprio_get(struct call *call)
{
    return call->arg[0] < 1 || call->arg[0] > 3 ? -EINVAL : 4;
}

int64_t linux_ioprio_set(struct call *call)
{
    uint64_t class = call->arg[2] >> 13 & 7;
    return call->arg[0] < 1 || call->arg[0] > 3 || class > 3 ? -EINVAL : 0;
}
