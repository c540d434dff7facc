/* Signal frames: what Linux puts on the stack for a handler, and rt_sigreturn, which takes it back.
 *
 * From high to low: the extended state (64-aligned, with Linux's magic words, so that libraries and
 * debuggers find it), struct rt_frame, whose first word is the restorer's address. Nothing in a
 * frame is believed when it comes back: flags are masked, the extended state is checked.
 */

#include <stddef.h>

#include "call.h"
#include "signals.h"
#include "user.h"

#define MAGIC1 0x46505853u
#define MAGIC2 0x46505845u
#define LEGACY_SIZE 512u
#define SOFTWARE_BYTES 464u /* where Linux's own words lie in the legacy area */
#define HEADER_END (LEGACY_SIZE + 64u)
#define RED_ZONE 128u
#define ALTSTACK_LEAST 2048u
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

#define UC_FP_XSTATE 1u
#define UC_SIGCONTEXT_SS 2u
#define UC_STRICT_RESTORE_SS 4u

#define FLAGS_OF_USER 0x250dd5ull /* those that a program may set: AC ID OF DF TF SF ZF AF PF CF */
#define FLAG_DIRECTION 0x400ull
#define FLAG_TRAP 0x100ull
#define FLAG_RESUME 0x10000ull
#define FLAG_INTERRUPTS 0x200ull

struct software_words {
    uint32_t magic1, extended_size;
    uint64_t features;
    uint32_t xstate_size, unused[7];
};
_Static_assert(sizeof(struct software_words) == 48, "as in Linux");

struct machine_context {
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error, trap, old_mask, fault;
    uint64_t fpstate;
    uint64_t unused[8];
};
_Static_assert(sizeof(struct machine_context) == 256, "as in Linux");

struct signal_stack {
    uint64_t address;
    int32_t flags;
    uint32_t unused;
    uint64_t size;
};

struct rt_frame {
    uint64_t restorer;
    uint64_t flags, link;
    struct signal_stack stack;
    struct machine_context machine;
    uint64_t mask;
    siginfo_t info;
};
_Static_assert(sizeof(struct rt_frame) == 440, "as in Linux");

static bool is_on_altstack(const struct thread *thread, uint64_t sp)
{
    return sp > thread->altstack && sp - thread->altstack <= thread->altstack_size;
}

static uint32_t altstack_flags(const struct thread *thread, uint64_t sp)
{
    if (thread->altstack_size == 0)
        return SS_DISABLE;
    return (is_on_altstack(thread, sp) ? SS_ONSTACK : 0u) | thread->altstack_flags;
}

static void machine_from_context(struct machine_context *machine, const KnThreadCtx *context)
{
    memcpy(machine, context, 8 * sizeof(uint64_t));
    machine->rdi = context->rdi;
    machine->rsi = context->rsi;
    machine->rbp = context->rbp;
    machine->rbx = context->rbx;
    machine->rdx = context->rdx;
    machine->rax = context->rax;
    machine->rcx = context->rcx;
    machine->rsp = context->rsp;
    machine->rip = context->rip;
    machine->rflags = context->rflags;
    machine->cs = 0x33;
    machine->ss = 0x2b;
    machine->error = context->error;
    machine->fault = context->fault;
}

/* Linux's numbers of exceptions, from the Nucleus's. */
static uint64_t trap_number(uint64_t kind)
{
    switch (kind) {
    case K_TRAP_FAULT: return 14;
    case K_TRAP_ILLEGAL: return 6;
    case K_TRAP_ARITHMETIC: return 0;
    case K_TRAP_BREAKPOINT: return 3;
    case K_TRAP_STEP: return 1;
    case K_TRAP_ALIGNMENT: return 17;
    default: return 0;
    }
}

static uint32_t xstate_size_of(const KnThreadCtx *context)
{
    uint32_t size = context->xstateSize;
    return size >= HEADER_END && size + 4 <= K_XSTATEMAX ? size : 0;
}

static uint64_t features_enabled(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Put the extended state on the stack; returns its address, 0 when the copy failed. */
static uint64_t push_xstate(struct thread *thread, uint64_t top, uint8_t *xstate, uint32_t size)
{
    uint64_t at = (top - size - 4) & ~UINT64_C(63);
    struct software_words words = { .magic1 = MAGIC1, .extended_size = size + 4,
                                    .features = features_enabled(), .xstate_size = size };
    uint32_t magic2 = MAGIC2;
    memcpy(xstate + SOFTWARE_BYTES, &words, sizeof words);
    memcpy(xstate + size, &magic2, sizeof magic2);
    return space_write(thread->process->space, at, xstate, size + 4) == 0 ? at : 0;
}

static uint64_t frame_top(const struct thread *thread, const struct signal_action *action,
                          uint64_t sp)
{
    if ((action->flags & SA_ONSTACK) && thread->altstack_size != 0 && !is_on_altstack(thread, sp))
        return thread->altstack + thread->altstack_size;
    return sp - RED_ZONE;
}

/* A fresh state: everything in its initial configuration. */
void frame_fresh_xstate(void *xstate)
{
    memset(xstate, 0, K_XSTATEMAX);
    uint16_t control = 0x37f;
    uint32_t mxcsr = 0x1f80, mask = 0xffff;
    memcpy(xstate, &control, sizeof control);
    memcpy((uint8_t *)xstate + 24, &mxcsr, sizeof mxcsr);
    memcpy((uint8_t *)xstate + 28, &mask, sizeof mask);
}

static void fill_frame(struct rt_frame *frame, const struct thread *thread,
                       const KnThreadCtx *context, const siginfo_t *info,
                       const struct signal_action *action, uint64_t mask, uint64_t fpstate)
{
    memset(frame, 0, sizeof *frame);
    frame->restorer = action->restorer;
    frame->flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | (fpstate != 0 ? UC_FP_XSTATE : 0);
    frame->stack = (struct signal_stack){ .address = thread->altstack, .size = thread->altstack_size,
                                          .flags = (int32_t)altstack_flags(thread, context->rsp) };
    machine_from_context(&frame->machine, context);
    frame->machine.trap = trap_number(context->trap);
    frame->machine.old_mask = mask;
    frame->machine.fpstate = fpstate;
    frame->mask = mask;
    frame->info = *info;
}

static void enter_handler(KnThreadCtx *context, uint64_t at, const siginfo_t *info,
                          const struct signal_action *action)
{
    context->rdi = (uint64_t)info->si_signo;
    context->rsi = at + offsetof(struct rt_frame, info);
    context->rdx = at + offsetof(struct rt_frame, flags);
    context->rax = 0;
    context->rip = action->handler;
    context->rsp = at;
    context->rflags &= ~(FLAG_DIRECTION | FLAG_TRAP | FLAG_RESUME);
    context->flags = K_CTX_GENERAL | K_CTX_XSTATE;
}

/* <xstate> NULL: of the extended state its size alone. */
static int get_context(struct thread *thread, KnThreadCtx *context, uint8_t *xstate)
{
    memset(context, 0, sizeof *context);
    if (xstate != NULL)
        memset(xstate, 0, K_XSTATEMAX);
    return threadContext(&thread->process->space->actor, thread->li, context, NULL, xstate);
}

int frame_push(struct thread *thread, const siginfo_t *info, const struct signal_action *action,
               uint64_t mask, bool in_call, bool restart, int64_t result)
{
    KnThreadCtx context;
    _Alignas(64) uint8_t xstate[K_XSTATEMAX];
    if (get_context(thread, &context, xstate) != K_OK)
        return -EFAULT;
    if (in_call && restart) {
        context.rip -= 2; /* the length of `syscall` */
        context.rax = thread->call.number;
    } else if (in_call) {
        context.rax = (uint64_t)result;
    }
    uint64_t top = frame_top(thread, action, context.rsp), fpstate = 0;
    uint32_t size = xstate_size_of(&context);
    if (size != 0) {
        fpstate = top = push_xstate(thread, top, xstate, size);
        if (fpstate == 0)
            return -EFAULT;
    }
    uint64_t at = ((top - sizeof(struct rt_frame)) & ~UINT64_C(15)) - 8;
    struct rt_frame frame;
    fill_frame(&frame, thread, &context, info, action, mask, fpstate);
    if (space_write(thread->process->space, at, &frame, sizeof frame) != 0)
        return -EFAULT;
    if (thread->altstack_flags & SS_AUTODISARM)
        thread->altstack = thread->altstack_size = thread->altstack_flags = 0;
    enter_handler(&context, at, info, action);
    frame_fresh_xstate(xstate);
    return threadContext(&thread->process->space->actor, thread->li, NULL, &context, xstate) == K_OK
               ? 0
               : -EFAULT;
}

/* ---- back ---- */

/* Fetch the extended state of a frame; anything odd is refused. Without one: a fresh state. */
static int pull_xstate(struct call *call, uint64_t at, uint8_t *xstate, uint32_t size)
{
    struct software_words words;
    uint32_t mxcsr;
    frame_fresh_xstate(xstate);
    if (at == 0)
        return 0;
    if (at % 64 != 0)
        return -EFAULT;
    /* Most often all of it is there: then one call fetches it. */
    bool whole = size >= HEADER_END && copy_in(call, xstate, at, size) == 0;
    if (!whole && copy_in(call, xstate, at, LEGACY_SIZE) != 0)
        return -EFAULT;
    memcpy(&words, xstate + SOFTWARE_BYTES, sizeof words);
    bool extended = words.magic1 == MAGIC1 && words.xstate_size == size && size >= HEADER_END;
    if (extended && !whole)
        return -EFAULT;
    if (!extended && whole)
        memset(xstate + LEGACY_SIZE, 0, size - LEGACY_SIZE);
    uint64_t present = 3, compact, unused[6], enabled = features_enabled();
    memset(xstate + SOFTWARE_BYTES, 0, sizeof words);
    memcpy(&mxcsr, xstate + 24, sizeof mxcsr);
    mxcsr &= 0xffff;
    memcpy(xstate + 24, &mxcsr, sizeof mxcsr);
    if (!extended) {
        memset(xstate + LEGACY_SIZE, 0, 64);
        memcpy(xstate + LEGACY_SIZE, &present, sizeof present);
        return 0;
    }
    memcpy(&present, xstate + LEGACY_SIZE, 8);
    memcpy(&compact, xstate + LEGACY_SIZE + 8, 8);
    memcpy(unused, xstate + LEGACY_SIZE + 16, sizeof unused);
    for (size_t i = 0; i < 6; i++)
        if (unused[i] != 0)
            return -EFAULT;
    return compact != 0 || (present & ~enabled) != 0 ? -EFAULT : 0;
}

static void context_from_machine(KnThreadCtx *context, const struct machine_context *machine)
{
    memcpy(context, machine, 8 * sizeof(uint64_t));
    context->rdi = machine->rdi;
    context->rsi = machine->rsi;
    context->rbp = machine->rbp;
    context->rbx = machine->rbx;
    context->rdx = machine->rdx;
    context->rax = machine->rax;
    context->rcx = machine->rcx;
    context->rsp = machine->rsp;
    context->rip = machine->rip;
    context->rflags = (context->rflags & ~FLAGS_OF_USER) | (machine->rflags & FLAGS_OF_USER) |
                      FLAG_INTERRUPTS | 2;
    context->flags = K_CTX_GENERAL | K_CTX_XSTATE;
}

static void restore_altstack(struct thread *thread, const struct signal_stack *stack, uint64_t sp)
{
    if (is_on_altstack(thread, sp) && !(thread->altstack_flags & SS_AUTODISARM))
        return;
    if (stack->flags & SS_DISABLE) {
        thread->altstack = thread->altstack_size = thread->altstack_flags = 0;
    } else if (stack->size >= ALTSTACK_LEAST) {
        thread->altstack = stack->address;
        thread->altstack_size = stack->size;
        thread->altstack_flags = (uint32_t)stack->flags & SS_AUTODISARM;
    }
}

static int64_t bad_frame(struct call *call)
{
    signal_force_simple(call_thread(call), SIGSEGV);
    call->reply = (KnTrapReply){ .action = K_DO_CONTEXT };
    return CALL_REPLIED;
}

int64_t linux_rt_sigreturn(struct call *call)
{
    struct thread *thread = call_thread(call);
    KnThreadCtx context;
    struct rt_frame frame;
    _Alignas(64) uint8_t xstate[K_XSTATEMAX];
    if (get_context(thread, &context, NULL) != K_OK)
        return bad_frame(call);
    uint32_t size = xstate_size_of(&context);
    if (copy_in(call, &frame, context.rsp - 8, sizeof frame) != 0 ||
        pull_xstate(call, frame.machine.fpstate, xstate, size) != 0)
        return bad_frame(call);
    signal_block(thread, frame.mask);
    context_from_machine(&context, &frame.machine);
    restore_altstack(thread, &frame.stack, context.rsp);
    if (threadContext(&thread->process->space->actor, thread->li, NULL, &context, xstate) != K_OK)
        return bad_frame(call);
    call->reply = (KnTrapReply){ .action = K_DO_CONTEXT };
    return CALL_REPLIED;
}

int64_t linux_sigaltstack(struct call *call)
{
    struct thread *thread = call_thread(call);
    KnThreadCtx context = { 0 };
    struct signal_stack new = { 0 }, old;
    if (call->arg[0] != 0 && copy_in(call, &new, call->arg[0], sizeof new) != 0)
        return -EFAULT;
    if (threadContext(&thread->process->space->actor, thread->li, &context, NULL, NULL) != K_OK)
        return -EFAULT;
    old = (struct signal_stack){ .address = thread->altstack, .size = thread->altstack_size,
                                 .flags = (int32_t)altstack_flags(thread, context.rsp) };
    if (call->arg[0] != 0) {
        uint32_t mode = (uint32_t)new.flags & ~SS_AUTODISARM;
        if (is_on_altstack(thread, context.rsp))
            return -EPERM;
        if (mode != 0 && mode != SS_DISABLE && mode != SS_ONSTACK)
            return -EINVAL;
        if (mode != SS_DISABLE && new.size < ALTSTACK_LEAST)
            return -ENOMEM;
        thread->altstack = mode == SS_DISABLE ? 0 : new.address;
        thread->altstack_size = mode == SS_DISABLE ? 0 : new.size;
        thread->altstack_flags = (uint32_t)new.flags & SS_AUTODISARM;
    }
    return call->arg[1] != 0 ? copy_out(call, call->arg[1], &old, sizeof old) : 0;
}
