/* Message handlers: see handler.h and <ipc/chMsgHandler.h>. */
#include "handler.h"

#include <string.h>
#include "actor.h"
#include "assert.h"
#include "call.h"
#include "ipc.h"
#include "lap.h"
#include "nucleus.h"
#include "vm.h"

enum { STAGE = 0 }; /* place in call.progress */
enum { NOT_ANSWERED = 0, ANSWERED = 1 };

/* ---- lenders ---- */

/* The one that ran last has its memory warm. One that is stopped is as good as none: it gets what nobody else can take. */
struct thread *handler_lender(struct actor *actor)
{
    struct list *lenders = &actor->lenders.threads;
    for (struct list *link = lenders->previous; link != lenders; link = link->previous) {
        struct thread *thread = LIST_OWNER(link, struct thread, wait_link);
        if (thread->stopped == 0)
            return thread;
    }
    return wait_queue_first(&actor->lenders);
}

void handler_forget(struct thread *thread)
{
    struct lent *lent = &thread->lent;
    struct message *served = message_find(lent->serves);
    if (served != NULL)
        message_refuse(served, K_EDEAD);
    if (lent->block != NULL)
        vm_unpin(thread->actor, lent->block_at, sizeof *lent->block);
    lent->block = NULL;
}

/* The block is pinned as long as the thread keeps to it. */
static int use_block(struct thread *thread, vaddr_t at)
{
    struct lent *lent = &thread->lent;
    if (lent->block != NULL && lent->block_at == at)
        return K_OK;
    if (at == 0 || at % sizeof(uint64_t) != 0)
        return K_EINVAL;
    void *block = vm_pin(thread->actor, at, sizeof *lent->block, true);
    if (block == NULL)
        return K_EFAULT;
    if (lent->block != NULL)
        vm_unpin(thread->actor, lent->block_at, sizeof *lent->block);
    lent->block = block;
    lent->block_at = at;
    return K_OK;
}

void handler_begin(struct thread *lender, struct thread *waiter)
{
    lender->lent.idle = false;
    lender->lent.routines++;
    lender->actor->routines++;
    lender->aborted = false;
    nucleus_counters.routines++;
    lender->ipc.receiving = false;
    if (waiter != NULL)
        return;
    thread_wake(lender, K_OK);
    call_finish(lender, K_OK);
}

int handler_give(struct thread *lender, struct thread *waiter, struct port *port,
                 struct message *message)
{
    KnHandlerBlock *block = lender->lent.block;
    int status = ipc_copy_out_body(lender, waiter, message);
    if (status != K_OK)
        return status;
    message->port = port;
    message_receive(message, lender);
    if (message->has_annex)
        memcpy(block->annex, message->annex, sizeof block->annex);
    else
        memset(block->annex, 0, sizeof block->annex);
    block->message = (KnMsgDesc){
        .flags = message->flags,
        .bodySize = message->body_size,
        .bodyAddr = lender->ipc.desc.bodyAddr,
        .annexAddr = (void *)(uintptr_t)(lender->lent.block_at + offsetof(KnHandlerBlock, annex)),
        .seqNum = message->seq_num,
        .id = message->id,
    };
    block->kind = K_INVOKE_MESSAGE;
    block->port = port->li;
    block->routine = port->routine;
    block->cookie = port->cookie;
    handler_begin(lender, waiter);
    return K_OK;
}

/* A caller of better priority is not made to wait for its own routine. */
void handler_pass(struct thread *caller)
{
    struct thread *lender = sched_pass(caller);
    if (lender == NULL)
        return;
    nucleus_counters.direct++;
    if (lender->sched.priority <= caller->sched.priority)
        return;
    lender->lent.own_priority = lender->sched.priority;
    lender->lent.raised = true;
    lender->sched.priority = caller->sched.priority;
}

/* ---- svHandlerWait ---- */

/* The reply to the message that was handled leaves now; who waits for it gets the CPU when this thread waits. */
static int give_reply(struct thread *thread)
{
    const KnHandlerBlock *block = thread->lent.block;
    struct call_record *record = call_record_find(thread->current);
    if (record != NULL && record->kind != CALL_BY_NUCLEUS)
        sched_await(LIST_OWNER(record, struct thread, calling));
    if (block->answered != 0) {
        KnMsgDesc reply = block->reply;
        int status =
            ipc_reply(thread, &reply, reply.annexAddr == NULL ? NULL : block->replyAnnex);
        if (status != K_OK && status != K_ENOMSG)
            return status;
    }
    if (thread->state != THREAD_DEAD)
        message_drop_current(thread);
    return K_OK;
}

static int answer(struct thread *thread)
{
    int status = thread->current == 0 ? K_OK : give_reply(thread);
    if (status != K_OK)
        return status;
    if (thread->state == THREAD_DEAD)
        return K_OK; /* the reply ended its own actor */
    if (thread->lent.serves != 0)
        lap_return(thread, thread->lent.block->result);
    thread->lent.block->answered = 0;
    if (thread->lent.raised)
        thread->sched.priority = thread->lent.own_priority;
    thread->lent.raised = false;
    return K_OK;
}

/* Whatever came first. */
static int64_t take_next(struct thread *thread)
{
    struct actor *actor = thread->actor;
    struct port *port = port_best_pending(actor, true);
    struct message *lap_call = lap_next_call(actor);
    if (port != NULL && (lap_call == NULL || port_first(port)->id < lap_call->id)) {
        int status = handler_give(thread, thread, port, port_first(port));
        if (status != K_OK && status != K_BLOCKED)
            port_kick(port); /* another may have room for it */
        return status;
    }
    if (lap_call != NULL) {
        lap_give(thread, thread, lap_call);
        return K_OK;
    }
    thread->lent.idle = thread->ipc.receiving = true;
    return wait_queue_wait(&actor->lenders, thread, INT64_MAX, false);
}

static int64_t handler_wait(struct thread *thread)
{
    struct lent *lent = &thread->lent;
    if (thread->call.progress[STAGE] == NOT_ANSWERED) {
        int status = use_block(thread, thread->call.arg[0]);
        if (status == K_OK)
            status = answer(thread);
        if (status != K_OK)
            return status;
        if (thread->state == THREAD_DEAD)
            return CALL_NO_RETURN;
        thread->call.progress[STAGE] = ANSWERED;
        thread->ipc = (struct ipc_wait){ .desc = { .bodySize = lent->block->bodyRoom,
                                                   .bodyAddr = lent->block->body } };
    }
    lent->idle = false;
    return take_next(thread);
}

int64_t call_svHandlerWait(struct thread *thread)
{
    if (thread->call.for_trap)
        return K_EINVAL;
    int64_t result = handler_wait(thread);
    sched_pass(thread);
    return result;
}

/* ---- connecting ---- */

static void disconnect(struct port *port)
{
    port->routine = 0;
    list_remove(&port->pending_link);
    if (port->enabled)
        port_open(port);
}

int64_t call_svMsgHandler(struct thread *thread)
{
    const uint64_t *arg = thread->call.arg;
    struct actor *actor;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    struct port *port = port_by_li(actor, (int32_t)arg[1]);
    if (port == NULL)
        return K_EUNKNOWN;
    if (actor->privilege != K_SUPACTOR)
        return K_EINVAL;
    if (arg[2] == 0) {
        if (port->routine != 0)
            disconnect(port);
        return K_OK;
    }
    if (port->routine != 0 || port->enabled || wait_queue_first(&port->receivers) != NULL)
        return K_EBUSY;
    port->routine = arg[2];
    port->cookie = arg[4];
    port_open(port);
    return K_OK;
}

int64_t call_svGetInvoker(struct thread *thread)
{
    KnMsgId id = thread->lent.serves != 0 ? thread->lent.serves : thread->current;
    struct message *message = message_find(id);
    if (message == NULL)
        return K_ENOMSG;
    struct actor *invoker = actor_by_ui(&message->src_actor);
    if (invoker == NULL)
        return K_EUNKNOWN;
    int status = call_out(thread, thread->call.arg[0], &invoker->cap, sizeof invoker->cap);
    return status == 1 ? K_EINVAL : status;
}
