/* Traps and exceptions: see trap.h and <exec/chTrap.h>.
 *
 * A trap is kept in the thread (thread->trap) until it is dealt with: a fault goes to memory first;
 * what memory does not mend, and everything else, goes to whom actorTrapConnect named. A handler's
 * port gets an ordinary request, made on the thread's behalf; the reply says what to do. */
#include "trap.h"

#include <string.h>
#include "actor.h"
#include "assert.h"
#include "call.h"
#include "handler.h"
#include "lap.h"
#include "message.h"
#include "nucleus.h"
#include "port.h"
#include "sched.h"
#include "vm.h"

#define RED_ZONE     128
#define NO_SUCH_CALL (-38) /* what a Unix program understands */

static uint32_t kind_of(const struct host_trap *trap)
{
    switch (trap->kind) {
    case HOST_TRAP_SYSCALL:
        return K_TRAP_SYSCALL;
    case HOST_TRAP_SYSCALL32:
        return K_TRAP_SYSCALL32;
    case HOST_TRAP_FAULT:
        return K_TRAP_FAULT;
    default:
        return (uint32_t)trap->number;
    }
}

static bool is_system_call(const struct trap *trap)
{
    return trap->kind == K_TRAP_SYSCALL || trap->kind == K_TRAP_SYSCALL32;
}

static void note_fault(struct thread *thread, const struct trap *trap)
{
    nucleus_counters.faults++;
    thread->actor->faults++;
    if (nucleus_hooks.fault != NULL)
        nucleus_hooks.fault(thread, trap->address, trap->write);
}

void trap_begin(struct thread *thread, const struct host_trap *from)
{
    struct trap *trap = &thread->trap;
    *trap = (struct trap){
        .kind = kind_of(from),
        .code = from->code,
        .number = from->number,
        .ip = from->ip,
        .sp = from->sp,
        .flags = from->flags,
        .address = from->address,
        .write = from->write,
        .exec = from->exec,
    };
    memcpy(trap->arg, from->arg, sizeof trap->arg);
    trap->restartable = is_system_call(trap);
    trap->call_number = trap->number;
    thread->work = WORK_TRAP;
    thread->last_trap = trap->kind;
    thread->call.restarted = false;
    thread->call.woken = K_OK;
    memset(thread->call.progress, 0, sizeof thread->call.progress);
    if (trap->kind == K_TRAP_FAULT) {
        note_fault(thread, trap);
        return;
    }
    nucleus_counters.traps++;
    thread->actor->traps++;
}

/* ---- the handler: a port ---- */

static void fill_annex(const struct thread *thread, uint8_t annex[K_CMSGANNEXSIZE])
{
    const struct trap *trap = &thread->trap;
    KnTrapMsg message = {
        .kind = trap->kind,
        .number = (uint32_t)trap->number,
        .ip = trap->ip,
        .sp = trap->sp,
        .flags = trap->flags,
        .cookie = thread->cookie,
        .actor = thread->actor->cap.ui,
        .thread = thread->li,
        .code = trap->code,
    };
    _Static_assert(sizeof message <= K_CMSGANNEXSIZE, "a trap fits an annex");
    memcpy(message.arg, trap->arg, sizeof message.arg);
    memset(annex, 0, K_CMSGANNEXSIZE);
    memcpy(annex, &message, sizeof message);
}

/* A thread of the server that is about to run takes it along. */
static void deliver(const struct thread *thread, struct port *port, struct message *message)
{
    if (sched_leave_to_patient(port->actor)) {
        port_keep(port, message);
        return;
    }
    struct thread *server = port_next_receiver(port);
    port_deliver(port, message);
    if (server != NULL)
        sched_be_patient(server, thread);
}

static int ask_port(struct thread *thread, struct port *port)
{
    struct message *message = message_new();
    if (message == NULL)
        return K_ENOMEM;
    message->flags = K_HEAD_CALL | K_HEAD_NUCLEUS;
    message->src_actor = thread->actor->cap.ui;
    message->actor_pi = thread->actor->pi;
    message->port_pi = thread->actor->pi;
    message->target = port->ui;
    message->has_annex = true;
    fill_annex(thread, message->annex);
    call_record_open(&thread->calling, message->id, CALL_FOR_TRAP);
    thread->in_trap = true;
    if (nucleus_hooks.trap_begin != NULL)
        nucleus_hooks.trap_begin(thread, thread->trap.kind, thread->trap.number);
    wait_queue_wait(NULL, thread, INT64_MAX, false);
    handler_expect(port);
    deliver(thread, port, message);
    handler_pass(thread);
    return K_OK;
}

/* ---- the handler: the actor itself ---- */

static void reflect(struct thread *thread, vaddr_t handler)
{
    const struct trap *trap = &thread->trap;
    KnReflect frame = {
        .kind = trap->kind,
        .number = trap->number,
        .savedRip = trap->ip,
        .savedRsp = trap->sp,
        .savedFlags = trap->flags,
        .address = trap->address,
        .code = trap->code,
    };
    vaddr_t place = (trap->sp - RED_ZONE - sizeof frame) & ~(vaddr_t)15;
    int status = vm_copy_out(thread, thread->actor, place, &frame, sizeof frame);
    if (status == K_BLOCKED)
        return;
    thread->work = WORK_NONE;
    if (status != K_OK) {
        trap_die(thread, "its stack has no room for its own trap handler");
        return;
    }
    host_context_divert(thread->context, handler, place);
}

/* ---- nobody ---- */

static const char *trap_words(uint32_t kind)
{
    switch (kind) {
    case K_TRAP_FAULT:
        return "a bad address";
    case K_TRAP_ILLEGAL:
        return "an illegal instruction";
    case K_TRAP_ARITHMETIC:
        return "an arithmetic exception";
    case K_TRAP_BREAKPOINT:
        return "a breakpoint";
    case K_TRAP_STEP:
        return "a single step";
    case K_TRAP_ALIGNMENT:
        return "a bad alignment";
    case K_TRAP_SYSCALL:
    case K_TRAP_SYSCALL32:
        return "a system call whose handler is gone";
    default:
        return "an exception";
    }
}

static void log_registers(struct thread *thread, KnThreadCtx *context)
{
    host_context_get(thread->context, context, NULL);
    context->trap = thread->trap.kind;
    context->fault = thread->trap.address;
    host_log(0, "  rip %016lx rsp %016lx rbp %016lx flags %lx", (long)context->rip,
             (long)context->rsp, (long)context->rbp, (long)context->rflags);
    host_log(0, "  rax %016lx rbx %016lx rcx %016lx rdx %016lx", (long)context->rax,
             (long)context->rbx, (long)context->rcx, (long)context->rdx);
    host_log(0, "  rsi %016lx rdi %016lx r8  %016lx r9  %016lx", (long)context->rsi,
             (long)context->rdi, (long)context->r8, (long)context->r9);
    host_log(0, "  r10 %016lx r11 %016lx r12 %016lx r13 %016lx", (long)context->r10,
             (long)context->r11, (long)context->r12, (long)context->r13);
    host_log(0, "  r14 %016lx r15 %016lx fs  %016lx gs  %016lx", (long)context->r14,
             (long)context->r15, (long)context->fsBase, (long)context->gsBase);
}

void trap_die(struct thread *thread, const char *words)
{
    const struct trap *trap = &thread->trap;
    struct actor *actor = thread->actor;
    KnThreadCtx context;
    if (lap_catch(thread))
        return;
    host_log(0, "actor %s (%08x.%x) thread %d: %s at %lx, address %lx (%s), code %u", actor->name,
             actor->cap.ui.uiHead, actor->cap.ui.uiTail, thread->li, trap_words(trap->kind),
             (long)trap->ip, (long)trap->address,
             trap->status == K_OK ? "-" : nucleus_error_name(trap->status), trap->code);
    log_registers(thread, &context);
    if (nucleus_hooks.actor_fault != NULL)
        nucleus_hooks.actor_fault(actor, thread, &context, (int)trap->kind);
    actor_kill(actor, K_EFAULT, words);
}

static void handle_by_nobody(struct thread *thread)
{
    struct trap *trap = &thread->trap;
    thread->work = WORK_NONE;
    if (is_system_call(trap) && trap->status == K_OK)
        host_context_set_result(thread->context, NO_SUCH_CALL);
    else if (trap->kind != K_TRAP_ABORT && trap->kind != K_TRAP_RESULT)
        trap_die(thread, trap_words(trap->kind));
    else if (trap->kind == K_TRAP_RESULT)
        host_context_set_result(thread->context, (int64_t)trap->arg[0]);
}

/* ---- the way of a trap ---- */

static const KnTrapConnect *connected(const struct thread *thread)
{
    const struct actor *actor = thread->actor;
    switch (thread->trap.kind) {
    case K_TRAP_SYSCALL:
    case K_TRAP_SYSCALL32:
    case K_TRAP_RESULT:
        return &actor->trap;
    case K_TRAP_ABORT:
        return &actor->abort;
    default:
        return &actor->exception;
    }
}

static void handle(struct thread *thread)
{
    const KnTrapConnect *connect = connected(thread);
    if (uiIsCleared(&connect->port)) {
        if (connect->handler != 0)
            reflect(thread, connect->handler);
        else
            handle_by_nobody(thread);
        return;
    }
    struct port *port = port_find(&connect->port);
    int status = port == NULL ? K_EDEAD : ask_port(thread, port);
    if (status != K_OK)
        trap_die(thread, status == K_EDEAD ? "its trap handler is gone"
                                           : "no memory to tell its trap handler");
}

void trap_execute(struct thread *thread)
{
    struct trap *trap = &thread->trap;
    if (trap->kind == K_TRAP_FAULT && trap->status == K_OK) {
        int status = vm_fault(thread, trap->address, trap->write, trap->exec);
        if (status == K_BLOCKED)
            return;
        nucleus_want_idle_work();
        if (status == K_OK) {
            thread->work = WORK_NONE;
            return;
        }
        trap->status = status;
        trap->arg[0] = trap->address;
        trap->arg[1] = (trap->write ? K_FAULT_WRITE : 0) | (trap->exec ? K_FAULT_EXEC : 0) |
                       (status == K_EPROTECT ? K_FAULT_PRESENT : 0);
        trap->arg[2] = (uint64_t)(int64_t)status;
    }
    handle(thread);
}

void trap_failed(struct thread *thread, int status)
{
    thread->in_trap = false;
    if (nucleus_hooks.trap_end != NULL)
        nucleus_hooks.trap_end(thread, status);
    thread_wake(thread, status);
    trap_die(thread, "its trap handler is gone");
}

/* ---- aborts ---- */

static void registers_into_trap(struct thread *thread)
{
    KnThreadCtx context;
    host_context_get(thread->context, &context, NULL);
    thread->trap.ip = context.rip;
    thread->trap.sp = context.rsp;
    thread->trap.flags = context.rflags;
}

bool trap_abort(struct thread *thread)
{
    const KnTrapConnect *connect = &thread->actor->abort;
    if (uiIsCleared(&connect->port) && connect->handler == 0)
        return false;
    thread->aborted = false;
    thread->trap = (struct trap){ .kind = K_TRAP_ABORT };
    registers_into_trap(thread);
    thread->work = WORK_TRAP;
    trap_execute(thread);
    return true;
}

void trap_tell_aborted(struct thread *thread)
{
    struct message *message = message_find(thread->calling.id);
    if (message != NULL)
        message_tell_aborted(message);
}

/* ---- replies ---- */

int trap_check_reply(const KnTrapReply *reply, size_t body_size)
{
    if (reply->action < K_DO_RETURN || reply->action > K_DO_REFLECT)
        return K_EINVAL;
    if (body_size > CALL_SCRATCH)
        return K_ETOOMUCH;
    return K_OK;
}

static void do_call(struct thread *thread, const KnTrapReply *reply, const uint8_t *body,
                    size_t body_size)
{
    struct call *call = &thread->call;
    uint32_t trap = thread->last_trap;
    call_begin(thread, reply->number, reply->arg);
    thread->last_trap = trap;
    call->for_trap = true;
    call->report = (reply->flags & K_DO_REPORT) != 0;
    call->scratch_size = (uint16_t)body_size;
    memcpy(call->scratch, body, body_size);
}

static void restart(struct thread *thread)
{
    if (thread->trap.restartable)
        host_context_restart(thread->context, thread->trap.call_number);
}

void trap_reply(struct thread *thread, const KnTrapReply *reply, const uint8_t *body,
                size_t body_size)
{
    ASSERT(thread->in_trap && thread->state == THREAD_WAITING);
    thread->in_trap = false;
    thread->answered = true;
    thread->work = WORK_NONE;
    if (nucleus_hooks.trap_end != NULL)
        nucleus_hooks.trap_end(thread, reply->action == K_DO_RETURN ? reply->value : 0);
    switch (reply->action) {
    case K_DO_RETURN:
        host_context_set_result(thread->context, reply->value);
        break;
    case K_DO_CONTEXT:
        break;
    case K_DO_RESTART:
        restart(thread);
        break;
    case K_DO_STOP:
        thread->stopped |= STOPPED_BY_TRAP;
        break;
    case K_DO_DELETE:
        thread_kill(thread);
        return;
    case K_DO_CALL:
        thread_wake(thread, K_OK); /* before: the call begins anew, it is not started again */
        do_call(thread, reply, body, body_size);
        break;
    case K_DO_REFLECT:
        handle_by_nobody(thread);
        break;
    }
    if (thread->state == THREAD_WAITING)
        thread_wake(thread, K_OK);
}

void trap_call_done(struct thread *thread, unsigned number, int64_t result)
{
    struct trap *trap = &thread->trap;
    trap->kind = K_TRAP_RESULT;
    trap->number = number;
    memset(trap->arg, 0, sizeof trap->arg);
    trap->arg[0] = (uint64_t)result;
    trap->status = K_OK;
    thread->work = WORK_TRAP;
}
