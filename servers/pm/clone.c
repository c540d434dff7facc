/* fork, vfork, clone: new processes and threads.
 *
 * A process of its own memory gets a new actor with a deferred copy; one that shares its parent's
 * memory (vfork, posix_spawn) gets a thread in its parent's actor, and is a process all the same.
 */

#include <sched.h>
#include <stdio.h>

#include "answers.h"
#include "call.h"
#include "descriptor.h"
#include "job.h"
#include "process.h"
#include "signals.h"
#include "space.h"
#include "user.h"
#include "waiting.h"
#include "worker.h"

struct birth {
    uint64_t flags;
    uint64_t stack, tls, parent_tid, child_tid;
    int exit_signal;
};

#define NOT_THERE (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
                   CLONE_NEWPID | CLONE_NEWNET | CLONE_PIDFD | CLONE_PTRACE | CLONE_IO)
#define THREAD_FLAGS (CLONE_VM | CLONE_SIGHAND | CLONE_FS | CLONE_FILES)

static int check_flags(const struct birth *birth)
{
    uint64_t flags = birth->flags;
    if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND))
        return -EINVAL;
    if ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM))
        return -EINVAL;
    if (flags & NOT_THERE)
        return -EINVAL;
    if ((flags & CLONE_THREAD) && (flags & THREAD_FLAGS) != THREAD_FLAGS)
        return -EINVAL; /* threads that do not share these are not there */
    if (birth->exit_signal < 0 || birth->exit_signal > SIGNALS)
        return -EINVAL;
    return 0;
}

static int check_limits(const struct process *parent)
{
    uint64_t most = parent->limits[6 /* RLIMIT_NPROC */].current;
    if (parent->credentials.uid != 0 && process_count_of_user(parent->credentials.uid) >= most)
        return -EAGAIN;
    return 0;
}

/* The thread in the Nucleus: a copy of the caller's registers, 0 as the call's result. */
static int start_thread(struct call *call, const struct birth *birth, struct thread *thread)
{
    struct thread *caller = call_thread(call);
    KnThreadStart start = {
        .stack = birth->stack, .argument = 0, .cookie = thread->cookie,
        .flags = K_START_COPY, .sourceThread = caller->li,
        .sourceActor = caller->process->space->actor,
        .fsBase = birth->flags & CLONE_SETTLS ? birth->tls : 0,
    };
    int status = threadCreate(&thread->process->space->actor, &thread->li, K_ACTIVE,
                              &worker_user_sched, &start);
    if (status < 0)
        return status == K_ELIMIT ? -EAGAIN : error_of(status);
    return 0;
}

static void tell_ids(struct call *call, const struct birth *birth, struct thread *thread)
{
    pid_t tid = thread->tid;
    struct space *space = thread->process->space;
    if (birth->flags & CLONE_PARENT_SETTID)
        copy_out(call, birth->parent_tid, &tid, sizeof tid);
    if (birth->flags & CLONE_CHILD_SETTID)
        space_write(space, birth->child_tid, &tid, sizeof tid);
}

static void inherit_thread(struct thread *thread, const struct thread *caller,
                           const struct birth *birth)
{
    thread->blocked = caller->has_blocked_saved ? caller->blocked_saved : caller->blocked;
    memcpy(thread->name, caller->name, sizeof thread->name);
    if (birth->flags & CLONE_CHILD_CLEARTID)
        thread->clear_tid = birth->child_tid;
    if (!(birth->flags & CLONE_VM) || (birth->flags & CLONE_VFORK)) {
        thread->altstack = caller->altstack;
        thread->altstack_size = caller->altstack_size;
        thread->altstack_flags = caller->altstack_flags;
    }
}

static int64_t new_thread(struct call *call, const struct birth *birth)
{
    struct thread *caller = call_thread(call);
    pid_t tid = pid_new();
    if (tid < 0)
        return tid;
    struct thread *thread = thread_new(caller->process, tid);
    if (thread == NULL) {
        pid_free(tid);
        return -EAGAIN;
    }
    /* Until it is there it counts as served, so that nobody deletes it under us. */
    thread->where = THREAD_SERVED;
    inherit_thread(thread, caller, birth);
    tell_ids(call, birth, thread);
    int error = thread->dying ? -EAGAIN : start_thread(call, birth, thread);
    if (error != 0) {
        thread_discard(thread);
        pid_free(tid);
        return error;
    }
    thread->where = THREAD_OUTSIDE;
    return tid;
}

/* What of the parent the child shares, and what it gets a copy of. */
static int share_or_copy(struct process *child, struct process *parent, uint64_t flags)
{
    if (flags & CLONE_FS) {
        child->fs = parent->fs;
        child->fs->references++;
    } else if ((child->fs = fs_view_new(parent->fs)) == NULL) {
        return -ENOMEM;
    }
    if (flags & CLONE_SIGHAND) {
        child->signals = parent->signals;
        child->signals->references++;
    } else if ((child->signals = signal_table_new(parent->signals)) == NULL) {
        return -ENOMEM;
    }
    if (flags & CLONE_FILES) {
        child->descriptors = parent->descriptors;
        child->descriptors->references++;
    } else if ((child->descriptors = descriptor_table_copy(parent->descriptors)) == NULL) {
        return -ENOMEM;
    }
    if (flags & CLONE_VM) {
        child->space = parent->space;
        answers_withdraw(parent->space);
        child->space->references++;
        return 0;
    }
    return space_fork(parent->space, &child->space);
}

static void forget_child(struct call *call)
{
    process_release((struct process *)call->scratch[0]);
}

static int64_t new_process(struct call *call, const struct birth *birth)
{
    struct thread *caller = call_thread(call);
    struct process *parent = caller->process;
    int error = check_limits(parent);
    if (error != 0)
        return error;
    pid_t pid = pid_new();
    if (pid < 0)
        return pid;
    struct process *real_parent = birth->flags & CLONE_PARENT ? parent->parent : parent;
    struct process *child = process_new(parent, pid);
    if (child == NULL) {
        pid_free(pid);
        return -ENOMEM;
    }
    child->exit_signal = birth->exit_signal;
    error = share_or_copy(child, parent, birth->flags);
    struct thread *thread = error == 0 ? thread_new(child, pid) : NULL;
    if (thread == NULL) {
        process_discard(child);
        return error != 0 ? error : -EAGAIN;
    }
    thread->where = THREAD_SERVED;
    inherit_thread(thread, caller, birth);
    tell_ids(call, birth, thread);
    if (child->state != PROCESS_ALIVE)
        error = -EAGAIN; /* killed before it was born */
    else if (real_parent == parent) /* else it is told at its first trap */
        answers_tell(child);
    if (error == 0)
        error = start_thread(call, birth, thread);
    if (error != 0) {
        thread_discard(thread);
        process_discard(child);
        return error;
    }
    thread->where = THREAD_OUTSIDE;
    if (child->pending.set != 0)
        thread_kick(thread);
    if (real_parent != parent) {
        child->parent = real_parent;
        list_remove(&child->sibling);
        list_append(&real_parent->children, &child->sibling);
    }
    if (birth->flags & CLONE_VFORK) {
        process_reference(child);
        child->vfork_parent = parent;
        call->scratch[0] = (uint64_t)child;
        call->cleanup = forget_child;
        call->policy = CALL_UNINTERRUPTED;
        if (wait_in(call, &child->vfork_done) == 0)
            return CALL_WAITS;
    }
    return pid;
}

static int64_t vfork_again(struct call *call)
{
    struct process *child = (struct process *)call->scratch[0];
    pid_t pid = child->pid;
    if (child->vfork_parent != NULL && wait_in(call, &child->vfork_done) == 0)
        return CALL_WAITS;
    return pid;
}

static int64_t give_birth(struct call *call, const struct birth *birth)
{
    int error = check_flags(birth);
    if (error != 0)
        return error;
    return birth->flags & CLONE_THREAD ? new_thread(call, birth) : new_process(call, birth);
}

int64_t linux_fork(struct call *call)
{
    return give_birth(call, &(struct birth){ .exit_signal = SIGCHLD });
}

int64_t linux_vfork(struct call *call)
{
    if (call->runs > 0)
        return vfork_again(call);
    return give_birth(call, &(struct birth){ .exit_signal = SIGCHLD,
                                             .flags = CLONE_VM | CLONE_VFORK });
}

int64_t linux_clone(struct call *call)
{
    if (call->runs > 0)
        return vfork_again(call);
    struct birth birth = {
        .flags = (uint32_t)call->arg[0] & ~UINT64_C(0xff),
        .exit_signal = (int)(call->arg[0] & 0xff),
        .stack = call->arg[1], .parent_tid = call->arg[2], .child_tid = call->arg[3],
        .tls = call->arg[4],
    };
    return give_birth(call, &birth);
}

int64_t linux_clone3(struct call *call)
{
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
        uint64_t set_tid, set_tid_size, cgroup;
    } args = { 0 };
    if (call->runs > 0)
        return vfork_again(call);
    uint64_t size = call->arg[1];
    if (size < 64 || size > 4096)
        return size > 4096 ? -E2BIG : -EINVAL;
    int error = copy_in(call, &args, call->arg[0], size < sizeof args ? size : sizeof args);
    if (error != 0)
        return error;
    if (args.set_tid != 0 || args.set_tid_size != 0 || (args.flags & 0xff) != 0 ||
        (args.stack == 0) != (args.stack_size == 0) || args.exit_signal > SIGNALS)
        return -EINVAL;
    struct birth birth = {
        .flags = args.flags & ~UINT64_C(0x100000000) /* CLONE_CLEAR_SIGHAND */,
        .exit_signal = (int)args.exit_signal,
        .stack = args.stack == 0 ? 0 : args.stack + args.stack_size,
        .parent_tid = args.parent_tid, .child_tid = args.child_tid, .tls = args.tls,
    };
    if (birth.flags >> 32)
        return -EINVAL;
    if (args.flags & UINT64_C(0x100000000))
        return -EINVAL; /* glibc does without */
    return give_birth(call, &birth);
}

int64_t linux_unshare(struct call *call)
{
    struct process *process = call_process(call);
    uint64_t flags = call->arg[0];
    if (flags & ~(uint64_t)(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM))
        return flags & NOT_THERE ? -EPERM : -EINVAL;
    if ((flags & CLONE_FILES) && process->descriptors->references > 1) {
        struct descriptor_table *own = descriptor_table_copy(process->descriptors);
        if (own == NULL)
            return -ENOMEM;
        process->descriptors->references--;
        process->descriptors = own;
    }
    if ((flags & CLONE_FS) && process->fs->references > 1) {
        struct fs_view *own = fs_view_new(process->fs);
        if (own == NULL)
            return -ENOMEM;
        process->fs->references--;
        process->fs = own;
    }
    return 0;
}
