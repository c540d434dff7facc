/* thread.c: threads of libc are threads of the actor.
 *
 * A thread's Linux number is its local identifier. A new thread begins in reflect.S with a copy of its
 * creator's registers, written to its own stack, and so returns from the same system call.
 *
 * For each thread a small slot keeps the word that is to be cleared when it ends (pthread_join waits
 * for that), and a stack for its last instructions, since its own may then be gone.
 */
#include "internal.h"
#include "lock.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/sched.h>

#define SLOTS_IN_CHUNK 16u
#define CHUNKS 256u
#define RED_ZONE 128u

struct slot {
    uint32_t *clear_at_exit;
    uint8_t stack[1024 - sizeof(uint32_t *)];
};
static struct slot first_chunk[SLOTS_IN_CHUNK] __attribute__((aligned(64)));
static struct slot *chunks[CHUNKS];
static struct lock chunks_lock;

static struct slot *chunk_make(void)
{
    KnRgnDesc region = { .size = SLOTS_IN_CHUNK * sizeof(struct slot),
                         .options = K_READABLE | K_WRITABLE | K_ANYWHERE };
    return rgnAllocate(K_MYACTOR, &region) == K_OK ? (struct slot *)region.startAddr : NULL;
}

/* The slot of a thread, made when it is not there yet. NULL: no memory. */
static struct slot *slot_of(KnThreadLid li)
{
    uint32_t chunk = (uint32_t)li / SLOTS_IN_CHUNK;
    if (chunk == 0)
        return &first_chunk[li];
    if (chunk >= CHUNKS)
        return NULL;
    lock_take(&chunks_lock);
    if (chunks[chunk] == NULL)
        chunks[chunk] = chunk_make();
    struct slot *found = chunks[chunk];
    lock_release(&chunks_lock);
    return found == NULL ? NULL : &found[(uint32_t)li % SLOTS_IN_CHUNK];
}

/* What a new thread is to be, out of clone's or clone3's arguments. */
struct birth {
    uint64_t flags;
    VmAddr stack;
    uint32_t *parent_tid, *child_tid;
    uint64_t tls;
};

#define NEEDED (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND)

/* Write the creator's registers to the new thread's stack, as chorus_reflect_child wants them: extended
 * state, then struct reflected, then the stack as the program sees it. Returns the former's address. */
static VmAddr registers_copy(const struct libc_call *call, VmAddr stack, struct reflected **ret_frame)
{
    VmAddr frame = (stack - RED_ZONE - sizeof(struct reflected)) & ~(VmAddr)15;
    VmAddr xstate = (frame - chorus_xstate_size) & ~(VmAddr)63;
    bytes_copy((void *)xstate, call->xstate, chorus_xstate_size);
    struct reflected *copy = (struct reflected *)frame;
    bytes_copy(copy, call->frame, sizeof *copy);
    copy->rax = 0;
    copy->trap.savedRsp = stack;
    *ret_frame = copy;
    return xstate;
}

static int64_t thread_make(const struct libc_call *call, const struct birth *birth)
{
    struct reflected *frame;
    KnThreadStart start = { .entry = (VmAddr)chorus_reflect_child };
    KnThreadLid li;

    if ((birth->flags & NEEDED) != NEEDED || birth->stack == 0)
        return -ENOSYS; /* a process, not a thread */
    start.stack = registers_copy(call, birth->stack, &frame);
    start.argument = (uint64_t)frame;
    start.fsBase = birth->flags & CLONE_SETTLS ? birth->tls : __builtin_ia32_rdfsbase64();
    int status = threadCreate(K_MYACTOR, &li, K_INACTIVE, NULL, &start);
    if (status < 0)
        return status == K_ENOMEM ? -ENOMEM : -EAGAIN;

    struct slot *slot = slot_of(li);
    if (slot == NULL) {
        threadDelete(K_MYACTOR, li);
        return -EAGAIN;
    }
    slot->clear_at_exit = birth->flags & CLONE_CHILD_CLEARTID ? birth->child_tid : NULL;
    if (birth->flags & CLONE_PARENT_SETTID)
        *birth->parent_tid = (uint32_t)li;
    if (birth->flags & CLONE_CHILD_SETTID)
        *birth->child_tid = (uint32_t)li;
    status = threadActivate(K_MYACTOR, li);
    return status < 0 ? libc_result(status) : li;
}

int64_t libc_clone(struct libc_call *call)
{
    struct birth birth = { call->arg[0], call->arg[1], (uint32_t *)call->arg[2],
                           (uint32_t *)call->arg[3], call->arg[4] };
    return thread_make(call, &birth);
}

int64_t libc_clone3(struct libc_call *call)
{
    const struct clone_args *asked = (const struct clone_args *)call->arg[0];
    if (call->arg[1] < CLONE_ARGS_SIZE_VER0)
        return -EINVAL;
    struct birth birth = { asked->flags, asked->stack + asked->stack_size,
                           (uint32_t *)asked->parent_tid, (uint32_t *)asked->child_tid, asked->tls };
    return thread_make(call, &birth);
}

int64_t libc_set_tid_address(struct libc_call *call)
{
    KnThreadLid li = threadSelf();
    struct slot *slot = slot_of(li);
    if (slot != NULL)
        slot->clear_at_exit = (uint32_t *)call->arg[0];
    return li;
}

int64_t libc_gettid(struct libc_call *call)
{
    (void)call;
    return threadSelf();
}

int64_t libc_arch_prctl(struct libc_call *call)
{
    switch ((uint32_t)call->arg[0]) {
    case ARCH_SET_FS:
        __builtin_ia32_wrfsbase64(call->arg[1]);
        return 0;
    case ARCH_GET_FS:
        *(uint64_t *)call->arg[1] = __builtin_ia32_rdfsbase64();
        return 0;
    default:
        return -EINVAL; /* the gs base is the Nucleus's */
    }
}

int64_t libc_sched_yield(struct libc_call *call)
{
    (void)call;
    return libc_result(threadYield());
}

int64_t libc_sched_getaffinity(struct libc_call *call)
{
    uint64_t *mask = (uint64_t *)call->arg[2];
    KnSysInfo info;
    int status = sysInfo(&info);
    if (status != K_OK)
        return libc_result(status);
    if (call->arg[1] < sizeof *mask)
        return -EINVAL;
    *mask = info.cpus >= 64 ? ~0ull : (1ull << info.cpus) - 1;
    return sizeof *mask;
}

int64_t libc_getcpu(struct libc_call *call)
{
    if (call->arg[0] != 0)
        *(uint32_t *)call->arg[0] = 0;
    if (call->arg[1] != 0)
        *(uint32_t *)call->arg[1] = 0;
    return 0;
}

int64_t libc_exit(struct libc_call *call)
{
    (void)call;
    struct slot *slot = slot_of(threadSelf());
    if (slot == NULL)
        threadExit();
    uint32_t *word = slot->clear_at_exit;
    slot->clear_at_exit = NULL;
    chorus_thread_end(word, slot->stack + sizeof slot->stack);
}

static void actor_end(void)
{
    log_flush();
    actorDelete(K_MYACTOR);
    __builtin_trap();
}

int64_t libc_exit_group(struct libc_call *call)
{
    uint32_t status = call->arg[0] & 0xff;
    if (status != 0)
        chorus_log("libchorus: the actor ends with status", status);
    actor_end();
    return 0;
}

/* There are no signals: who sends one to its own actor wants its end (abort, raise). */
static int64_t signal_send(uint64_t signal)
{
    if ((uint32_t)signal == 0)
        return 0;
    chorus_log("libchorus: the actor ends itself by signal", (uint32_t)signal);
    actor_end();
    return 0;
}

int64_t libc_kill(struct libc_call *call)
{
    return signal_send(call->arg[1]);
}

int64_t libc_tkill(struct libc_call *call)
{
    return signal_send(call->arg[1]);
}

int64_t libc_tgkill(struct libc_call *call)
{
    return signal_send(call->arg[2]);
}
