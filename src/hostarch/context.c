/* context.c: the machine state of threads: where it is, how it moves, what can be seen of it.
 *
 * A thread that trapped leaves its state in its stub thread's area: in the frame that the host built on the signal stack (IN_FRAME), in the mail box after a
 * call by the gate (IN_GATE; IN_SYSCALL for a Linux call, whose extended state is in the resume frame's place), or in the resume frame that the Nucleus wrote and the stub could not finish loading (IN_RESUME). It is copied from there only
 * when somebody else is to run on that stub, or looks. All of it is in the actor's reach: it is read once, and nothing in it is believed that could hurt
 * anybody but the actor itself; no pointer in it is followed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "machine.h"

#define GATE_FLAGS 0x202ull
#define CS_USER 0x33u
#define CS_USER32 0x23u
#define SS_USER 0x2bu
#define FLAGS_ALLOWED 0x240dd5ull /* CF PF AF ZF SF TF DF OF AC ID */
#define FLAGS_FIXED 0x202ull
#define ADDRESS_END 0x800000000000ull
#define ADDRESS_NOWHERE 0x7ffffffff000ull /* canonical, never mapped */

extern const char gate_begin[], gate_ret[];

static uint64_t field(const uint8_t *uc, unsigned at)
{
    uint64_t value;
    memcpy(&value, uc + at, sizeof value);
    return value;
}
static void set_field(uint8_t *uc, unsigned at, uint64_t value) { memcpy(uc + at, &value, sizeof value); }

struct host_context *host_context_create(struct host_space *space, void *owner)
{
    size_t size = sizeof(struct host_context) + machine.xstate_size;
    struct host_context *context = aligned_alloc(64, (size + 63) / 64 * 64);
    if (context == NULL)
        return NULL;
    memset(context, 0, sizeof *context);
    context->space = space;
    context->owner = owner;
    list_init(&context->stalled_link);
    memcpy(context->xstate, machine.xstate_initial, machine.xstate_size);
    return context;
}

void host_context_destroy(struct host_context *context)
{
    if (context == NULL)
        return;
    if (context->home != NULL && context->home->loaded == context)
        context->home->loaded = NULL;
    cpu_drop_context(context);
    free(context);
}

static void make_full(struct host_context *context)
{
    memset(context->uc, 0, UC_SIZE);
    set_field(context->uc, UC_FLAGS, GATE_FLAGS);
    uint16_t cs = CS_USER, ss = SS_USER;
    memcpy(context->uc + UC_CS, &cs, 2);
    memcpy(context->uc + UC_SS, &ss, 2);
    context->form = FORM_FULL;
}

static void initial_xstate(struct host_context *context, uint32_t mxcsr, uint16_t fcw)
{
    memcpy(context->xstate, machine.xstate_initial, machine.xstate_size);
    memcpy(context->xstate, &fcw, 2);
    memcpy(context->xstate + 24, &mxcsr, 4);
    uint64_t present = 1; /* the x87 control word counts, its registers are empty; mxcsr is loaded in any case */
    memcpy(context->xstate + 512, &present, 8);
}

void host_context_start(struct host_context *context, vaddr_t entry, vaddr_t stack, uint64_t argument, uint64_t fs_base)
{
    context_unload(context);
    make_full(context);
    set_field(context->uc, UC_RIP, entry < ADDRESS_END ? entry : ADDRESS_NOWHERE);
    set_field(context->uc, UC_RSP, stack);
    set_field(context->uc, UC_RDI, argument);
    context->fs_base = fs_base;
    context->own_gs = false;
    initial_xstate(context, 0x1f80, 0x37f);
}

/* --- between here and the areas ----------------------------------------------------------------------------------------------------------- */

static uint8_t *frame_of(struct stub *stub)
{
    return (uint8_t *)stub->area + (stub->loaded && stub->where == IN_RESUME ? RESUME_FRAME : machine.frame_offset);
}
static uint8_t *xstate_of(struct stub *stub)
{
    return stub->where != IN_FRAME ? (uint8_t *)stub->area + RESUME_XSTATE : (uint8_t *)stub->area + machine.xstate_offset;
}

static void read_gate(struct stub *stub, struct gate_registers *gate)
{
    gate->rsp = box_read64(stub, BOX_RSP);
    gate->rbx = box_read64(stub, BOX_RBX);
    gate->rbp = box_read64(stub, BOX_RBP);
    gate->r12 = box_read64(stub, BOX_R12);
    gate->r13 = box_read64(stub, BOX_R13);
    gate->r14 = box_read64(stub, BOX_R14);
    gate->r15 = box_read64(stub, BOX_R15);
    gate->mxcsr = box_read(stub, BOX_MXCSR);
    gate->fcw = (uint16_t)box_read(stub, BOX_FCW);
}

static uint64_t read_base(struct stub *stub)
{
    uint64_t base = box_read64(stub, BOX_FSBASE);
    return base < ADDRESS_END ? base : 0;
}

static void read_bases(struct stub *stub, struct host_context *context)
{
    context->fs_base = read_base(stub);
    uint64_t gs = box_read64(stub, BOX_GSBASE);
    context->own_gs = gs != stub->area_address;
    context->gs_base = context->own_gs && gs < ADDRESS_END ? gs : 0;
}

/* The flags of arithmetic, as lahf and seto gave them. The others are as the ABI has them at a call. */
static uint64_t flags_of_syscall(struct stub *stub)
{
    uint32_t saved = box_read(stub, BOX_FLAGS);
    return (saved >> 8 & 0xd5) | (saved & 1) << 11 | FLAGS_FIXED;
}

static uint64_t ip_of_syscall(struct stub *stub)
{
    uint64_t ip = box_read64(stub, BOX_RIP);
    return ip < ADDRESS_END ? ip : ADDRESS_NOWHERE;
}

static const struct {
    unsigned uc, box;
} in_syscall[] = {
    {UC_RAX, BOX_NUMBER}, {UC_RDI, BOX_ARG0}, {UC_RSI, BOX_ARG1}, {UC_RDX, BOX_ARG2}, {UC_R10, BOX_ARG3}, {UC_R8, BOX_ARG4}, {UC_R9, BOX_ARG5}, {UC_RSP, BOX_RSP},
    {UC_RBX, BOX_RBX},    {UC_RBP, BOX_RBP},  {UC_R12, BOX_R12},  {UC_R13, BOX_R13},  {UC_R14, BOX_R14},  {UC_R15, BOX_R15},
};

/* As after a system-call instruction: rcx and r11 are what it makes of them. */
static void read_syscall(struct stub *stub, struct host_context *context)
{
    make_full(context);
    for (size_t i = 0; i < sizeof in_syscall / sizeof *in_syscall; i++)
        set_field(context->uc, in_syscall[i].uc, box_read64(stub, in_syscall[i].box));
    uint64_t ip = ip_of_syscall(stub), flags = flags_of_syscall(stub);
    set_field(context->uc, UC_RIP, ip);
    set_field(context->uc, UC_RCX, ip);
    set_field(context->uc, UC_FLAGS, flags);
    set_field(context->uc, UC_R11, flags);
    context->fs_base = read_base(stub);
    context->own_gs = false;
}

void context_unload(struct host_context *context)
{
    struct stub *stub = context->home;
    if (stub == NULL)
        return;
    context->home = NULL;
    if (stub->loaded != context)
        return;
    if (stub->where == IN_GATE) {
        read_gate(stub, &context->gate);
        context->fs_base = read_base(stub);
        context->own_gs = false;
        context->form = FORM_GATE;
    } else {
        if (stub->where == IN_SYSCALL) {
            read_syscall(stub, context);
        } else {
            memcpy(context->uc, frame_of(stub), UC_SIZE);
            read_bases(stub, context);
        }
        memcpy(context->xstate, xstate_of(stub), machine.xstate_size);
        memcpy(context->xstate + 464, machine.xstate_initial + 464, 48); /* what the host says of the layout is not the actor's */
        context->form = FORM_FULL;
    }
    stub->loaded = NULL;
}

/* A state saved by the gate, as registers: it goes on at the gate's last instruction. */
static void gate_to_full(struct host_context *context)
{
    struct gate_registers gate = context->gate;
    make_full(context);
    bool supervisor = context->space == NULL || context->space->supervisor;
    set_field(context->uc, UC_RIP, supervisor ? supervisor_return_address() : GATE + (uint64_t)(gate_ret - gate_begin));
    set_field(context->uc, UC_RSP, gate.rsp);
    set_field(context->uc, UC_RBX, gate.rbx);
    set_field(context->uc, UC_RBP, gate.rbp);
    set_field(context->uc, UC_R12, gate.r12);
    set_field(context->uc, UC_R13, gate.r13);
    set_field(context->uc, UC_R14, gate.r14);
    set_field(context->uc, UC_R15, gate.r15);
    set_field(context->uc, UC_RAX, gate.result);
    initial_xstate(context, gate.mxcsr & 0xffff, gate.fcw);
}

void context_load(struct host_context *context, struct stub *stub)
{
    if (context->home == stub && stub->loaded == context)
        return;
    context_unload(context);
    if (stub->loaded != NULL)
        context_unload(stub->loaded);
    if (context->form == FORM_GATE)
        gate_to_full(context);
    uint8_t *frame = (uint8_t *)stub->area + RESUME_FRAME;
    memcpy(frame, context->uc, UC_SIZE);
    set_field(frame, UC_FPSTATE, stub->area_address + RESUME_XSTATE);
    memcpy((uint8_t *)stub->area + RESUME_XSTATE, context->xstate, machine.xstate_size);
    box_write64(stub, BOX_FSBASE, context->fs_base);
    box_write64(stub, BOX_GSBASE, context->own_gs ? context->gs_base : stub->area_address);
    stub->loaded = context;
    stub->where = IN_RESUME;
    context->home = stub;
}

/* The first trap of a stub thread shows where the host puts frames, and how big they are. The same for all. */
void context_take_ready_frame(struct stub *stub)
{
    if (machine.frame_offset != 0)
        return;
    uint64_t frame = box_read64(stub, BOX_FRAME) - stub->area_address;
    if (frame < STACK_OFFSET || frame + UC_SIZE > AREA_SIZE)
        host_panic("the host builds signal frames in a place of its own (0x%lx)", frame);
    machine.frame_offset = (uint32_t)frame;
    uint64_t state = field((uint8_t *)stub->area + frame, UC_FPSTATE) - stub->area_address;
    uint32_t size = 0;
    if (state < STACK_OFFSET || state + 512 > AREA_SIZE)
        host_panic("no extended state in a signal frame");
    memcpy(&size, (uint8_t *)stub->area + state + 480, 4); /* sw_reserved.xstate_size */
    if (size < 576 || size > XSTATE_MAX || state + size > AREA_SIZE)
        host_panic("the extended state of %u bytes is larger than the %u that Chorus has room for", size, (unsigned)XSTATE_MAX);
    machine.xstate_offset = (uint32_t)state;
    machine.xstate_size = size;
    machine.xstate_initial = calloc(1, size);
    if (machine.xstate_initial == NULL)
        host_panic("out of memory");
    memcpy(machine.xstate_initial, (uint8_t *)stub->area + state, size);
    memset(machine.xstate_initial, 0, 464);
    memset(machine.xstate_initial + 512, 0, size - 512);
}

size_t host_context_xstate_size(void) { return machine.xstate_size; }

/* --- traps --------------------------------------------------------------------------------------------------------------------------------- */

static void take_call(struct stub *stub, struct host_context *context, struct host_trap *trap)
{
    stub->where = IN_GATE;
    context->form = FORM_GATE;
    context->trap_kind = 0;
    trap->kind = HOST_TRAP_CALL;
    trap->number = box_read64(stub, BOX_NUMBER);
    for (int i = 0; i < 6; i++)
        trap->arg[i] = box_read64(stub, BOX_ARG0 + 8 * (unsigned)i);
    trap->sp = 0;
}

/* The same trap as by the instruction, but for how it came. */
static void take_gate_syscall(struct stub *stub, struct host_context *context, struct host_trap *trap)
{
    stub->where = IN_SYSCALL;
    context->form = FORM_FULL;
    context->trap_kind = K_TRAP_SYSCALL;
    trap->kind = HOST_TRAP_SYSCALL;
    trap->code = 1;
    trap->number = box_read64(stub, BOX_NUMBER);
    for (int i = 0; i < 6; i++)
        trap->arg[i] = box_read64(stub, BOX_ARG0 + 8 * (unsigned)i);
    trap->ip = ip_of_syscall(stub);
    trap->sp = box_read64(stub, BOX_RSP);
    trap->flags = flags_of_syscall(stub);
}

static void take_system_call(const uint8_t *uc, struct host_trap *trap)
{
    uint32_t arch;
    memcpy(&arch, uc + UC_SIZE + 28, 4);
    trap->kind = arch == 0xC000003E ? HOST_TRAP_SYSCALL : HOST_TRAP_SYSCALL32;
    trap->number = field(uc, UC_RAX);
    static const unsigned where[6] = {UC_RDI, UC_RSI, UC_RDX, UC_R10, UC_R8, UC_R9};
    for (int i = 0; i < 6; i++)
        trap->arg[i] = field(uc, where[i]);
}

static void take_fault(const uint8_t *uc, uint32_t signal, struct host_trap *trap, struct host_context *context)
{
    uint64_t number = field(uc, UC_TRAP), error = field(uc, UC_ERROR);
    memcpy(&trap->code, uc + UC_SIZE + 8, 4); /* si_code */
    context->trap_error = error;
    context->trap_address = trap->address = field(uc, UC_CR2);
    if (signal == 11 && number == 14) {
        trap->kind = HOST_TRAP_FAULT;
        trap->write = error & 2;
        trap->exec = error & 16;
        return;
    }
    trap->kind = HOST_TRAP_EXCEPTION;
    switch (signal) {
    case 4: trap->number = K_TRAP_ILLEGAL; break;
    case 5: trap->number = number == 1 ? K_TRAP_STEP : K_TRAP_BREAKPOINT; break;
    case 7: trap->number = K_TRAP_ALIGNMENT; break; /* or the host has no memory for a frame */
    case 8: trap->number = K_TRAP_ARITHMETIC; break;
    default: trap->number = K_TRAP_FAULT; trap->address = 0; break;
    }
}

/* What happened to a thread whose state is in <uc>. */
bool context_decode(struct host_context *context, uint32_t request, const uint8_t *uc, struct host_trap *trap)
{
    if (request == REQUEST_CALL) {
        context->trap_kind = 0;
        trap->kind = HOST_TRAP_CALL;
        trap->number = context->gate.number;
        memcpy(trap->arg, context->gate.arg, sizeof trap->arg);
        return true;
    }
    trap->ip = field(uc, UC_RIP);
    trap->sp = field(uc, UC_RSP);
    trap->flags = field(uc, UC_FLAGS);
    if (request == SIGNAL_PREEMPT) {
        trap->kind = HOST_TRAP_PREEMPTED;
        return true;
    }
    if (request == 31)
        take_system_call(uc, trap);
    else if (request == 4 || request == 5 || request == 7 || request == 8 || request == 11)
        take_fault(uc, request, trap, context);
    else
        return false;
    static const uint8_t kinds[] = {[HOST_TRAP_SYSCALL] = K_TRAP_SYSCALL, [HOST_TRAP_SYSCALL32] = K_TRAP_SYSCALL32, [HOST_TRAP_FAULT] = K_TRAP_FAULT};
    context->trap_kind = trap->kind == HOST_TRAP_EXCEPTION ? trap->number : kinds[trap->kind];
    return true;
}

/* Make a trap of what a stub posted. False: the post is a lie or the stub is broken; the actor dies. */
bool context_take_trap(struct stub *stub, uint32_t request, struct host_trap *trap)
{
    struct host_context *context = stub->loaded;
    if (context == NULL)
        return false;
    trap->context = context;
    trap->owner = context->owner;
    if (request == REQUEST_CALL) {
        take_call(stub, context, trap);
        return true;
    }
    if (request == REQUEST_CALL_PREEMPTED) {
        stub->where = IN_GATE;
        context->form = FORM_GATE;
        context->gate.result = box_read64(stub, BOX_NUMBER);
        trap->kind = HOST_TRAP_PREEMPTED;
        return true;
    }
    if (request == REQUEST_SYSCALL) {
        take_gate_syscall(stub, context, trap);
        return true;
    }
    if (request == REQUEST_SYSCALL_PREEMPTED) {
        stub->where = IN_SYSCALL; /* the result is in the box, and goes where the number was */
        context->form = FORM_FULL;
        trap->kind = HOST_TRAP_PREEMPTED;
        return true;
    }
    uint64_t frame = box_read64(stub, BOX_FRAME) - stub->area_address;
    if (frame == machine.frame_offset)
        stub->where = IN_FRAME;
    else if (frame == RESUME_FRAME)
        stub->where = IN_RESUME;
    else
        return false;
    const uint8_t *uc = frame_of(stub);
    context->form = FORM_FULL;
    if (stub->where == IN_RESUME && request != SIGNAL_PREEMPT)
        return false; /* nothing but a preemption can leave it there */
    return context_decode(context, request, uc, trap);
}

/* --- what the Nucleus sees and sets ----------------------------------------------------------------------------------------------------------- */

static const struct {
    unsigned uc;
    size_t ctx;
} general[] = {
    {UC_R8, offsetof(KnThreadCtx, r8)}, {UC_R9, offsetof(KnThreadCtx, r9)}, {UC_R10, offsetof(KnThreadCtx, r10)}, {UC_R11, offsetof(KnThreadCtx, r11)},
    {UC_R12, offsetof(KnThreadCtx, r12)}, {UC_R13, offsetof(KnThreadCtx, r13)}, {UC_R14, offsetof(KnThreadCtx, r14)}, {UC_R15, offsetof(KnThreadCtx, r15)},
    {UC_RDI, offsetof(KnThreadCtx, rdi)}, {UC_RSI, offsetof(KnThreadCtx, rsi)}, {UC_RBP, offsetof(KnThreadCtx, rbp)}, {UC_RBX, offsetof(KnThreadCtx, rbx)},
    {UC_RDX, offsetof(KnThreadCtx, rdx)}, {UC_RAX, offsetof(KnThreadCtx, rax)}, {UC_RCX, offsetof(KnThreadCtx, rcx)}, {UC_RSP, offsetof(KnThreadCtx, rsp)},
    {UC_RIP, offsetof(KnThreadCtx, rip)}, {UC_FLAGS, offsetof(KnThreadCtx, rflags)},
};
#define GENERAL (sizeof general / sizeof *general)

void host_context_get(struct host_context *context, struct KnThreadCtx *registers, void *xstate)
{
    context_unload(context);
    if (context->form == FORM_GATE)
        gate_to_full(context);
    memset(registers, 0, sizeof *registers);
    for (size_t i = 0; i < GENERAL; i++)
        *(uint64_t *)((char *)registers + general[i].ctx) = field(context->uc, general[i].uc);
    registers->fsBase = context->fs_base;
    registers->gsBase = context->gs_base;
    registers->trap = context->trap_kind;
    registers->error = context->trap_error;
    registers->fault = context->trap_address;
    registers->xstateSize = machine.xstate_size;
    if (xstate != NULL)
        memcpy(xstate, context->xstate, machine.xstate_size);
}

/* What xrstor would refuse would kill the actor: make it acceptable. */
static void take_xstate(struct host_context *context, const void *xstate)
{
    memcpy(context->xstate, xstate, machine.xstate_size);
    memcpy(context->xstate + 464, machine.xstate_initial + 464, 48);
    uint64_t features, present;
    memcpy(&features, machine.xstate_initial + FP_XFEATURES, 8);
    memcpy(&present, context->xstate + 512, 8);
    present &= features;
    memset(context->xstate + 512, 0, 64);
    memcpy(context->xstate + 512, &present, 8);
    uint32_t mxcsr;
    memcpy(&mxcsr, context->xstate + 24, 4);
    mxcsr &= 0xffff;
    memcpy(context->xstate + 24, &mxcsr, 4);
}

int host_context_set(struct host_context *context, const struct KnThreadCtx *registers, const void *xstate)
{
    context_unload(context);
    if (context->form == FORM_GATE)
        gate_to_full(context);
    if (registers->flags & K_CTX_GENERAL) {
        for (size_t i = 0; i < GENERAL; i++)
            set_field(context->uc, general[i].uc, *(const uint64_t *)((const char *)registers + general[i].ctx));
        set_field(context->uc, UC_FLAGS, (registers->rflags & FLAGS_ALLOWED) | FLAGS_FIXED);
        if (registers->rip >= ADDRESS_END)
            set_field(context->uc, UC_RIP, ADDRESS_NOWHERE);
        context->fs_base = registers->fsBase < ADDRESS_END ? registers->fsBase : 0;
        context->gs_base = registers->gsBase < ADDRESS_END ? registers->gsBase : 0;
        context->own_gs = context->gs_base != 0;
    }
    if (registers->flags & K_CTX_XSTATE && xstate != NULL)
        take_xstate(context, xstate);
    return K_OK;
}

void host_context_copy(struct host_context *to, struct host_context *from)
{
    context_unload(to);
    context_unload(from);
    if (from->form == FORM_GATE)
        gate_to_full(from);
    memcpy(to->uc, from->uc, UC_SIZE);
    memcpy(to->xstate, from->xstate, machine.xstate_size);
    to->form = FORM_FULL;
    to->fs_base = from->fs_base;
    to->gs_base = from->gs_base;
    to->own_gs = from->own_gs;
}

void host_context_set_result(struct host_context *context, int64_t value)
{
    struct stub *stub = context->home;
    if (stub != NULL && stub->loaded == context) {
        if (stub->where == IN_GATE) {
            context->gate.result = (uint64_t)value;
            box_write64(stub, BOX_NUMBER, (uint64_t)value);
        } else if (stub->where == IN_SYSCALL) {
            box_write64(stub, BOX_NUMBER, (uint64_t)value);
        } else {
            set_field(frame_of(stub), UC_RAX, (uint64_t)value);
        }
    } else if (context->form == FORM_GATE) {
        context->gate.result = (uint64_t)value;
    } else {
        set_field(context->uc, UC_RAX, (uint64_t)value);
    }
}

void host_context_restart(struct host_context *context, uint64_t number)
{
    context_unload(context);
    if (context->form == FORM_GATE)
        gate_to_full(context);
    set_field(context->uc, UC_RAX, number);
    set_field(context->uc, UC_RIP, field(context->uc, UC_RIP) - 2);
}

void host_context_divert(struct host_context *context, vaddr_t handler, vaddr_t stack)
{
    struct stub *stub = context->home;
    uint8_t *uc = context->uc;
    if (stub != NULL && stub->loaded == context && (stub->where == IN_FRAME || stub->where == IN_RESUME))
        uc = frame_of(stub);
    else {
        context_unload(context);
        if (context->form == FORM_GATE)
            gate_to_full(context);
    }
    set_field(uc, UC_RIP, handler < ADDRESS_END ? handler : ADDRESS_NOWHERE);
    set_field(uc, UC_RSP, stack);
    uint64_t flags = (field(uc, UC_FLAGS) & FLAGS_ALLOWED & ~0x500ull) | FLAGS_FIXED; /* no single step, direction up */
    set_field(uc, UC_FLAGS, flags);
}

bool host_context_running(const struct host_context *context) { return context->running; }
