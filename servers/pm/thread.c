/* The end of a thread, and the calls about itself alone.
 *
 * A thread of several tells its fellows that it ends: the word that set_tid_address named becomes zero
 * and its waiters are woken, and so are those of robust mutexes that it holds. Waking is done by the
 * dying thread itself, as its last nucleus call, since only it stands in that memory.
 */

#include "thread.h"

#include <linux/futex.h>

#include "call.h"
#include "process.h"
#include "user.h"

#define ROBUST_MOST 2048 /* entries of a robust list that are looked at */

static bool others_see_its_memory(const struct thread *thread)
{
    const struct process *process = thread->process;
    return process->space != NULL && (process->thread_count > 1 || process->space->references > 1);
}

/* One robust mutex: if the dying thread owns it, say so in the word. Its waiters are found by the word
 * when they look again; those that sleep are woken only for the last one in the list. */
static uint64_t robust_mark(struct thread *thread, uint64_t entry, int64_t offset)
{
    struct space *space = thread->process->space;
    uint64_t word_at = entry + (uint64_t)offset;
    uint32_t word;
    if (word_at % 4 != 0 || space_read(space, &word, word_at, sizeof word) != 0 ||
        (word & FUTEX_TID_MASK) != (uint32_t)thread->tid)
        return 0;
    bool waiters = word & FUTEX_WAITERS;
    word = (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
    if (space_write(space, word_at, &word, sizeof word) != 0 || !waiters)
        return 0;
    return word_at;
}

/* Returns the address of a word whose waiters are to be woken, 0 for none. */
static uint64_t robust_walk(struct thread *thread)
{
    struct space *space = thread->process->space;
    struct { uint64_t first, offset, pending; } head;
    uint64_t wake = 0, marked;
    if (thread->robust_list == 0 ||
        space_read(space, &head, thread->robust_list, sizeof head) != 0)
        return 0;
    uint64_t entry = head.first;
    for (int i = 0; i < ROBUST_MOST && entry != thread->robust_list && entry != 0; i++) {
        if ((marked = robust_mark(thread, entry & ~1ull, (int64_t)head.offset)) != 0)
            wake = marked;
        if (space_read(space, &entry, entry & ~1ull, sizeof entry) != 0)
            break;
    }
    if (head.pending != 0 &&
        (marked = robust_mark(thread, head.pending & ~1ull, (int64_t)head.offset)) != 0)
        wake = marked;
    return wake;
}

/* True: the thread was sent to wake somebody, and comes back once more. */
static bool tell_the_others(struct thread *thread)
{
    uint32_t zero = 0;
    uint64_t robust = robust_walk(thread), word = thread->clear_tid;
    thread->clear_tid = thread->robust_list = 0;
    if (word != 0 && space_write(thread->process->space, word, &zero, sizeof zero) != 0)
        word = 0;
    if (word == 0)
        word = robust;
    if (word == 0 || word % 4 != 0)
        return false;
    KnTrapReply reply = { .action = K_DO_CALL, .flags = K_DO_REPORT, .number = DO_syncWake };
    reply.arg[0] = word;
    reply.arg[1] = word == robust ? 1 : INT32_MAX;
    reply.arg[2] = UINT32_MAX;
    thread->where = THREAD_OUTSIDE;
    worker_reply_call(&reply);
    return true;
}

void thread_end_served(struct thread *thread)
{
    if (thread->call.active)
        call_end(&thread->call);
    bool first_time = !thread->exit_told;
    thread->exit_told = true;
    if (first_time && others_see_its_memory(thread) && thread->process->state == PROCESS_ALIVE &&
        tell_the_others(thread))
        return;
    worker_reply_delete();
    thread_ended(thread);
}

int64_t linux_set_tid_address(struct call *call)
{
    call_thread(call)->clear_tid = call->arg[0];
    return call_thread(call)->tid;
}

int64_t linux_set_robust_list(struct call *call)
{
    if (call->arg[1] != 24)
        return -EINVAL;
    call_thread(call)->robust_list = call->arg[0];
    return 0;
}

int64_t linux_get_robust_list(struct call *call)
{
    struct thread *thread = call->arg[0] == 0 ? call_thread(call)
                                              : thread_find((pid_t)call->arg[0]);
    uint64_t size = 24;
    if (thread == NULL)
        return -ESRCH;
    if (thread->process != call_process(call))
        return -EPERM;
    uint64_t head = thread->robust_list;
    int error = copy_out(call, call->arg[1], &head, sizeof head);
    return error != 0 ? error : copy_out(call, call->arg[2], &size, sizeof size);
}

int64_t linux_gettid(struct call *call)
{
    return call_thread(call)->tid;
}

int64_t linux_exit(struct call *call)
{
    struct thread *thread = call_thread(call);
    struct process *process = thread->process;
    if (process->thread_count == 1)
        process_end(process, (int)(call->arg[0] & 0xff) << 8);
    thread->dying = true;
    return 0;
}

int64_t linux_exit_group(struct call *call)
{
    process_end(call_process(call), (int)(call->arg[0] & 0xff) << 8);
    return 0;
}

int64_t linux_sched_yield(struct call *call)
{
    return call_do(call, DO_threadYield, NULL, 0, false, NULL);
}
