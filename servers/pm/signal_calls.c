/* The calls about signals. */

#include <stdio.h>

#include "call.h"
#include "job.h"
#include "process.h"
#include "signals.h"
#include "time_of.h"
#include "user.h"

static bool is_signal(int signal)
{
    return signal >= 1 && signal <= SIGNALS;
}

int64_t linux_rt_sigaction(struct call *call)
{
    int signal = (int)call->arg[0];
    struct process *process = call_process(call);
    struct { uint64_t handler, flags, restorer, mask; } given;
    if (call->arg[3] != 8 || !is_signal(signal))
        return -EINVAL;
    if (call->arg[1] != 0 && (signal == SIGKILL || signal == SIGSTOP))
        return -EINVAL;
    if (call->arg[1] != 0 && copy_in(call, &given, call->arg[1], sizeof given) != 0)
        return -EFAULT;
    struct signal_action *action = &process->signals->actions[signal];
    struct signal_action old = *action;
    if (call->arg[1] != 0) {
        *action = (struct signal_action){ .handler = given.handler, .flags = given.flags,
                                          .restorer = given.restorer, .mask = given.mask };
        action->mask &= ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
    }
    if (call->arg[2] == 0)
        return 0;
    given.handler = old.handler, given.flags = old.flags;
    given.restorer = old.restorer, given.mask = old.mask;
    return copy_out(call, call->arg[2], &given, sizeof given);
}

int64_t linux_rt_sigprocmask(struct call *call)
{
    struct thread *thread = call_thread(call);
    uint64_t old = thread->blocked, given;
    if (call->arg[3] != 8)
        return -EINVAL;
    if (call->arg[1] != 0) {
        if (copy_in(call, &given, call->arg[1], sizeof given) != 0)
            return -EFAULT;
        switch ((int)call->arg[0]) {
        case SIG_BLOCK: given |= old; break;
        case SIG_UNBLOCK: given = old & ~given; break;
        case SIG_SETMASK: break;
        default: return -EINVAL;
        }
        signal_block(thread, given);
    }
    return call->arg[2] != 0 ? copy_out(call, call->arg[2], &old, sizeof old) : 0;
}

int64_t linux_rt_sigpending(struct call *call)
{
    struct thread *thread = call_thread(call);
    if (call->arg[1] > 8)
        return -EINVAL;
    uint64_t set = (thread->pending.set | thread->process->pending.set) & thread->blocked;
    return copy_out(call, call->arg[0], &set, call->arg[1]);
}

int64_t linux_pause(struct call *call)
{
    call->policy = CALL_INTERRUPTS;
    return CALL_WAITS;
}

int64_t linux_rt_sigsuspend(struct call *call)
{
    uint64_t mask;
    call->policy = CALL_INTERRUPTS;
    if (call->runs > 0)
        return CALL_WAITS;
    if (call->arg[1] != 8)
        return -EINVAL;
    if (copy_in(call, &mask, call->arg[0], sizeof mask) != 0)
        return -EFAULT;
    signal_block_for_call(call_thread(call), mask);
    return CALL_WAITS;
}

static void stop_awaiting(struct call *call)
{
    call_thread(call)->awaited = 0;
}

int64_t linux_rt_sigtimedwait(struct call *call)
{
    struct thread *thread = call_thread(call);
    uint64_t set;
    siginfo_t info;
    if (call->runs == 0) {
        if (call->arg[3] != 8)
            return -EINVAL;
        if (copy_in(call, &set, call->arg[0], sizeof set) != 0)
            return -EFAULT;
        int error = time_deadline_in(call, call->arg[2]);
        if (error != 0)
            return error;
        call->policy = CALL_INTERRUPTS;
        call->scratch[0] = set & ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
        call->cleanup = stop_awaiting;
    }
    thread->awaited = call->scratch[0];
    if (signal_dequeue(thread, call->scratch[0], &info)) {
        if (call->arg[1] != 0 && copy_out(call, call->arg[1], &info, sizeof info) != 0)
            return -EFAULT;
        return info.si_signo;
    }
    if (call->timed_out || (call->deadline != K_FOREVER && call->deadline <= time_now()))
        return -EAGAIN;
    return CALL_WAITS;
}

/* ---- sending ---- */

static int check_right(struct call *call, const struct process *target, int signal)
{
    const struct process *process = call_process(call);
    const struct credentials *mine = &process->credentials, *its = &target->credentials;
    if (mine->euid == 0 || mine->euid == its->uid || mine->euid == its->suid ||
        mine->uid == its->uid || mine->uid == its->suid)
        return 0;
    if (signal == SIGCONT && process->group->session == target->group->session)
        return 0;
    return -EPERM;
}

static siginfo_t info_of(struct call *call, int signal, int code)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = signal;
    info.si_code = code;
    info.si_pid = call_process(call)->pid;
    info.si_uid = call_process(call)->credentials.uid;
    return info;
}

static int send_one(struct call *call, struct process *target, int signal)
{
    siginfo_t info = info_of(call, signal, SI_USER);
    int error = check_right(call, target, signal);
    return error != 0 ? error : signal_send_process(target, &info);
}

static int64_t send_group(struct call *call, pid_t pgid, int signal)
{
    struct process_group *group = job_find_group(pgid);
    int error = -ESRCH;
    bool any = false;
    if (group == NULL)
        return -ESRCH;
    LIST_EACH(&group->members, at) {
        error = send_one(call, LIST_ENTRY(at, struct process, group_link), signal);
        any |= error == 0;
    }
    return any ? 0 : error;
}

static int64_t send_all(struct call *call, int signal)
{
    int error = -ESRCH;
    bool any = false;
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        if (process->is_init || process == call_process(call))
            continue;
        error = send_one(call, process, signal);
        any |= error == 0;
    }
    return any ? 0 : error;
}

int64_t linux_kill(struct call *call)
{
    pid_t pid = (pid_t)call->arg[0];
    int signal = (int)call->arg[1];
    if (signal != 0 && !is_signal(signal))
        return -EINVAL;
    if (pid == -1)
        return send_all(call, signal);
    if (pid == INT32_MIN)
        return -ESRCH;
    if (pid <= 0)
        return send_group(call, pid == 0 ? call_process(call)->group->pgid : -pid, signal);
    struct process *process = process_find(pid);
    return process == NULL ? -ESRCH : send_one(call, process, signal);
}

static int64_t send_thread(struct call *call, pid_t tgid, pid_t tid, int signal,
                           const siginfo_t *info)
{
    struct thread *thread = thread_find(tid);
    if (thread == NULL || (tgid > 0 && thread->process->pid != tgid))
        return -ESRCH;
    int error = check_right(call, thread->process, signal);
    return error != 0 ? error : signal_send_thread(thread, info);
}

int64_t linux_tgkill(struct call *call)
{
    pid_t tgid = (pid_t)call->arg[0], tid = (pid_t)call->arg[1];
    int signal = (int)call->arg[2];
    if (tgid <= 0 || tid <= 0 || (signal != 0 && !is_signal(signal)))
        return -EINVAL;
    siginfo_t info = info_of(call, signal, SI_TKILL);
    return send_thread(call, tgid, tid, signal, &info);
}

int64_t linux_tkill(struct call *call)
{
    pid_t tid = (pid_t)call->arg[0];
    int signal = (int)call->arg[1];
    if (tid <= 0 || (signal != 0 && !is_signal(signal)))
        return -EINVAL;
    siginfo_t info = info_of(call, signal, SI_TKILL);
    return send_thread(call, 0, tid, signal, &info);
}

static int fetch_info(struct call *call, VmAddr at, int signal, pid_t target, siginfo_t *info)
{
    if (copy_in(call, info, at, sizeof *info) != 0)
        return -EFAULT;
    info->si_signo = signal;
    if (signal != 0 && !is_signal(signal))
        return -EINVAL;
    if ((info->si_code >= 0 || info->si_code == SI_TKILL) && target != call_process(call)->pid)
        return -EPERM;
    return 0;
}

int64_t linux_rt_sigqueueinfo(struct call *call)
{
    siginfo_t info;
    pid_t pid = (pid_t)call->arg[0];
    int error = fetch_info(call, call->arg[2], (int)call->arg[1], pid, &info);
    if (error != 0)
        return error;
    struct process *process = process_find(pid);
    if (process == NULL)
        return -ESRCH;
    error = check_right(call, process, info.si_signo);
    return error != 0 ? error : signal_send_process(process, &info);
}

int64_t linux_rt_tgsigqueueinfo(struct call *call)
{
    siginfo_t info;
    pid_t tgid = (pid_t)call->arg[0];
    int error = fetch_info(call, call->arg[3], (int)call->arg[2], tgid, &info);
    if (error != 0)
        return error;
    return send_thread(call, tgid, (pid_t)call->arg[1], info.si_signo, &info);
}
