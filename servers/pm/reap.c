/* wait4 and waitid: what a parent learns of its children. */

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "call.h"
#include "job.h"
#include "process.h"
#include "user.h"
#include "waiting.h"

#define CLONE_CHILDREN_ONLY 0x80000000u /* __WCLONE */
#define ALL_CHILDREN 0x40000000u        /* __WALL */
#define OWN_CHILDREN 0x20000000u        /* __WNOTHREAD */

struct wish {
    idtype_t type;
    pid_t id;
    uint32_t options;
};

struct news {
    pid_t pid;
    uint32_t uid;
    int status; /* as wait4 tells it */
    struct rusage usage;
};

static bool is_wished(const struct process *child, const struct wish *wish)
{
    bool is_clone = child->exit_signal != SIGCHLD;
    if (!(wish->options & ALL_CHILDREN) && is_clone != !!(wish->options & CLONE_CHILDREN_ONLY))
        return false;
    switch (wish->type) {
    case P_PID: return child->pid == wish->id;
    case P_PGID: return child->group->pgid == wish->id;
    default: return true;
    }
}

static void usage_from(struct rusage *usage, const struct usage_times *times)
{
    memset(usage, 0, sizeof *usage);
    usage->ru_utime.tv_sec = times->user / NANOSECONDS;
    usage->ru_utime.tv_usec = times->user % NANOSECONDS / 1000;
    usage->ru_stime.tv_sec = times->system / NANOSECONDS;
    usage->ru_stime.tv_usec = times->system % NANOSECONDS / 1000;
}

static void tell(struct news *news, struct process *child, int status)
{
    struct usage_times times = process_times(child);
    times.user += child->children_times.user;
    times.system += child->children_times.system;
    *news = (struct news){ .pid = child->pid, .uid = child->credentials.uid, .status = status };
    usage_from(&news->usage, &times);
}

static void reap(struct process *parent, struct process *child)
{
    parent->children_times.user += child->dead_times.user + child->children_times.user;
    parent->children_times.system += child->dead_times.system + child->children_times.system;
    process_discard(child);
}

/* What is new of one child; false: nothing that is asked for. */
static bool look_at(struct process *parent, struct process *child, const struct wish *wish,
                    struct news *news)
{
    bool keep = wish->options & WNOWAIT;
    if (child->state == PROCESS_ZOMBIE && (wish->options & WEXITED)) {
        tell(news, child, child->exit_status);
        if (!keep)
            reap(parent, child);
        return true;
    }
    if (child->stop_untold && child->stopped && (wish->options & WSTOPPED)) {
        tell(news, child, child->stop_signal << 8 | 0x7f);
        child->stop_untold = keep;
        return true;
    }
    if (child->continue_untold && (wish->options & WCONTINUED)) {
        tell(news, child, 0xffff);
        child->continue_untold = keep;
        return true;
    }
    return false;
}

/* 1: there are news; 0: none yet; an error; CALL_WAITS. */
static int64_t look(struct call *call, const struct wish *wish, struct news *news)
{
    struct process *parent = call_process(call);
    bool any = false;
    LIST_EACH(&parent->children, at) {
        struct process *child = LIST_ENTRY(at, struct process, sibling);
        if (!is_wished(child, wish))
            continue;
        any = true;
        if (look_at(parent, child, wish, news))
            return 1;
    }
    if (!any)
        return -ECHILD;
    if (wish->options & WNOHANG)
        return 0;
    return wait_in(call, &parent->children_changed) == 0 ? CALL_WAITS : -ENOMEM;
}

int64_t linux_wait4(struct call *call)
{
    pid_t pid = (pid_t)call->arg[0];
    uint32_t options = (uint32_t)call->arg[2];
    struct news news;
    if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | CLONE_CHILDREN_ONLY | ALL_CHILDREN |
                    OWN_CHILDREN))
        return -EINVAL;
    if (pid == INT32_MIN)
        return -ESRCH;
    struct wish wish = { .options = options | WEXITED };
    if (pid > 0)
        wish.type = P_PID, wish.id = pid;
    else if (pid < -1 || pid == 0)
        wish.type = P_PGID, wish.id = pid == 0 ? call_process(call)->group->pgid : -pid;
    else
        wish.type = P_ALL;
    int64_t found = look(call, &wish, &news);
    if (found != 1)
        return found;
    if (call->arg[1] != 0 && copy_out(call, call->arg[1], &news.status, sizeof news.status) != 0)
        return -EFAULT;
    if (call->arg[3] != 0 && copy_out(call, call->arg[3], &news.usage, sizeof news.usage) != 0)
        return -EFAULT;
    return news.pid;
}

static void info_from(siginfo_t *info, const struct news *news)
{
    memset(info, 0, sizeof *info);
    info->si_signo = SIGCHLD;
    info->si_pid = news->pid;
    info->si_uid = news->uid;
    if (news->status == 0xffff) {
        info->si_code = CLD_CONTINUED;
        info->si_status = SIGCONT;
    } else if (WIFSTOPPED(news->status)) {
        info->si_code = CLD_STOPPED;
        info->si_status = WSTOPSIG(news->status);
    } else if (WIFEXITED(news->status)) {
        info->si_code = CLD_EXITED;
        info->si_status = WEXITSTATUS(news->status);
    } else {
        info->si_code = CLD_KILLED;
        info->si_status = WTERMSIG(news->status);
    }
}

int64_t linux_waitid(struct call *call)
{
    struct wish wish = { .type = (idtype_t)call->arg[0], .id = (pid_t)call->arg[1],
                         .options = (uint32_t)call->arg[3] };
    struct news news = { 0 };
    siginfo_t info = { 0 };
    if ((wish.options & ~(uint32_t)(WNOHANG | WSTOPPED | WEXITED | WCONTINUED | WNOWAIT |
                                    OWN_CHILDREN | CLONE_CHILDREN_ONLY | ALL_CHILDREN)) ||
        !(wish.options & (WSTOPPED | WEXITED | WCONTINUED)))
        return -EINVAL;
    if (wish.type != P_ALL && wish.type != P_PID && wish.type != P_PGID)
        return -EINVAL;
    if ((wish.type == P_PID && wish.id <= 0) || (wish.type == P_PGID && wish.id < 0))
        return -EINVAL;
    if (wish.type == P_PGID && wish.id == 0)
        wish.id = call_process(call)->group->pgid;
    int64_t found = look(call, &wish, &news);
    if (found < 0)
        return found;
    if (found == 1)
        info_from(&info, &news);
    if (call->arg[2] != 0 && copy_out(call, call->arg[2], &info, sizeof info) != 0)
        return -EFAULT;
    if (call->arg[4] != 0 && found == 1 &&
        copy_out(call, call->arg[4], &news.usage, sizeof news.usage) != 0)
        return -EFAULT;
    return 0;
}

int64_t linux_getrusage(struct call *call)
{
    struct process *process = call_process(call);
    struct rusage usage;
    struct usage_times times;
    switch ((int)call->arg[0]) {
    case RUSAGE_CHILDREN: times = process->children_times; break;
    case RUSAGE_SELF:
    case RUSAGE_THREAD: times = process_times(process); break;
    default: return -EINVAL;
    }
    usage_from(&usage, &times);
    return copy_out(call, call->arg[1], &usage, sizeof usage);
}
