/* Messages between actors: ipcSend, ipcCall, ipcReceive, ipcReply and their relatives.
 *
 * The quick path: who brings a message or a reply to a thread that already waits for it completes
 * that thread's call, writing into its memory; a large body is then copied once, from memory to
 * memory. The safe path, when something is not at hand (a page is with its mapper, a descriptor
 * lies in a hole, nobody waits yet): the message is kept in the Nucleus, and the receiver, started
 * again, fetches it itself.
 *
 * Each call first reads and checks all that it was given, which may wait and be started again, and
 * changes something only afterwards. */
#include "ipc.h"

#include <string.h>
#include "actor.h"
#include "assert.h"
#include "call.h"
#include "group.h"
#include "handler.h"
#include "kcall_impl.h"
#include "nucleus.h"
#include "trap.h"
#include "ui.h"
#include "vm.h"

/* Bodies up to this size are kept although they were delivered: ipcGetData by another thread, after
 * ipcSave, still finds them. */
#define KEPT_BODY_MAX 4096u

enum { STAGE = 0, WAITED = 1 }; /* places in call.progress */
enum { NOT_SENT = 0, SENT = 1 };

static uint64_t address_of(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static int64_t complete_call(struct thread *thread, int64_t result)
{
    thread->ipc.receiving = false;
    thread_wake(thread, K_OK);
    call_finish(thread, result);
    return K_OK;
}

/* ---- copying from memory to memory ---- */

/* From the caller's memory to that of an actor that waits. K_EAGAIN: a page of the latter is not at
 * hand. */
static int copy_direct(struct thread *thread, uint64_t from, struct actor *actor, uint64_t to,
                       size_t size)
{
    while (size > 0) {
        size_t part = PAGE_SIZE - to % PAGE_SIZE;
        if (part > size)
            part = size;
        void *at = vm_pin(actor, to, part, true);
        if (at == NULL)
            return K_EAGAIN;
        int status = vm_copy_in(thread, thread->actor, at, from, part);
        vm_unpin(actor, to, part);
        if (status != K_OK)
            return status;
        from += part;
        to += part;
        size -= part;
    }
    return K_OK;
}

/* Annex and descriptor of a message or reply, into the memory of <thread>. <waiter>: who waits if
 * it must be waited, NULL nobody. */
static int copy_out_head(struct thread *thread, struct thread *waiter, const uint8_t *annex,
                         uint32_t body_size, uint32_t seq_num, KnMsgId id)
{
    static const uint8_t no_annex[K_CMSGANNEXSIZE];
    const struct ipc_wait *wait = &thread->ipc;
    if (wait->desc.annexAddr != NULL) {
        int status = vm_copy_out(waiter, thread->actor, address_of(wait->desc.annexAddr),
                                 annex == NULL ? no_annex : annex, K_CMSGANNEXSIZE);
        if (status != K_OK)
            return status;
    }
    if (wait->desc_at == 0)
        return K_OK;
    KnMsgDesc desc = wait->desc;
    desc.bodySize = body_size;
    desc.seqNum = seq_num;
    desc.id = id;
    return vm_copy_out(waiter, thread->actor, wait->desc_at, &desc, sizeof desc);
}

int ipc_copy_out_body(struct thread *thread, struct thread *waiter, struct message *message)
{
    uint32_t size = least(message->body_size, thread->ipc.desc.bodySize);
    if (size == 0 || message->in_place)
        return K_OK;
    const uint8_t *bytes = message_bytes(message, 0, size);
    if (bytes == NULL)
        return K_OK; /* the Nucleus has taken its question back */
    return vm_copy_out(waiter, thread->actor, address_of(thread->ipc.desc.bodyAddr), bytes, size);
}

static int copy_out_port(struct thread *thread, struct thread *waiter, int li)
{
    if (thread->ipc.port_at == 0)
        return K_OK;
    return vm_copy_out(waiter, thread->actor, thread->ipc.port_at, &li, sizeof li);
}

static int copy_out_message(struct thread *thread, struct thread *waiter, struct port *port,
                            struct message *message)
{
    int status = ipc_copy_out_body(thread, waiter, message);
    if (status == K_OK)
        status = copy_out_head(thread, waiter, message->has_annex ? message->annex : NULL,
                               message->body_size, port->received + 1, message->id);
    if (status == K_OK)
        status = copy_out_port(thread, waiter, port->li);
    return status;
}

/* ---- sending ---- */

struct sending {
    KnMsgDesc desc;
    KnIpcDest dest;
    struct port *source;
    struct group *group; /* a broadcast */
    struct port *port;   /* everything else */
};

static int nobody_there(const KnUniqueId *group)
{
    if (nucleus_hooks.nobody_there != NULL)
        nucleus_hooks.nobody_there(group);
    return K_EUNKNOWN;
}

static int find_destination(struct sending *sending)
{
    const KnIpcDest *dest = &sending->dest;
    if (dest->mode == K_PORTMODE) {
        sending->port = port_find(&dest->target);
        return sending->port == NULL ? K_EUNKNOWN : K_OK;
    }
    if (dest->mode > K_FUNCXMODE)
        return K_EINVAL;
    struct group *group = group_by_ui(&dest->target);
    if (group == NULL || group->count == 0)
        return nobody_there(&dest->target);
    if (dest->mode == K_BROADMODE) {
        sending->group = group;
        return K_OK;
    }
    sending->port = group_choose(group, dest->mode, &dest->coTarget);
    return sending->port == NULL ? K_EUNKNOWN : K_OK;
}

/* The arguments that ipcSend and ipcCall have in common. */
static int read_sending(struct thread *thread, struct sending *sending)
{
    *sending = (struct sending){ 0 };
    int status = call_in(thread, thread->call.arg[0], &sending->desc, sizeof sending->desc);
    if (status == K_OK)
        status = call_in(thread, thread->call.arg[2], &sending->dest, sizeof sending->dest);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    if (sending->desc.bodySize > K_CMSGSIZEMAX)
        return K_ETOOMUCH;
    sending->source = port_by_li(thread->actor, (int32_t)thread->call.arg[1]);
    if (sending->source == NULL)
        return K_EINVAL;
    return find_destination(sending);
}

/* A message without its body. */
static int build_message(struct thread *thread, const struct sending *sending, uint32_t flags,
                         struct message **ret_message)
{
    struct message *message = message_new();
    if (message == NULL)
        return K_ENOMEM;
    message->flags = flags | (call_is_trusted(thread) ? K_HEAD_TRUSTED : 0);
    message->src_port = sending->source->ui;
    message->port_pi = sending->source->pi;
    message->src_actor = thread->actor->cap.ui;
    message->actor_pi = thread->actor->pi;
    message->target = sending->dest.target;
    message->co_target = sending->dest.coTarget;
    message->body_size = sending->desc.bodySize;
    if (sending->desc.annexAddr != NULL) {
        message->has_annex = true;
        int status = vm_copy_in(thread, thread->actor, message->annex,
                                address_of(sending->desc.annexAddr), K_CMSGANNEXSIZE);
        if (status != K_OK) {
            message_free(message);
            return status;
        }
    }
    *ret_message = message;
    return K_OK;
}

static int take_body(struct thread *thread, struct message *message, const KnMsgDesc *desc)
{
    if (desc->bodySize == 0)
        return K_OK;
    message->body = body_new(desc->bodySize);
    if (message->body == NULL)
        return K_ENOMEM;
    return vm_copy_in(thread, thread->actor, message->body->bytes, address_of(desc->bodyAddr),
                      desc->bodySize);
}

/* Try to put the body where it is wanted. K_OK: the receive is complete. K_EAGAIN: it cannot be
 * done. */
static int hand_over(struct thread *thread, const struct sending *sending, struct message *message)
{
    struct thread *receiver = port_next_receiver(sending->port);
    const KnMsgDesc *desc = &sending->desc;
    if (receiver == NULL || desc->bodySize <= KEPT_BODY_MAX || receiver->call.for_trap ||
        receiver->ipc.desc.bodySize < desc->bodySize)
        return K_EAGAIN;
    int status = copy_direct(thread, address_of(desc->bodyAddr), receiver->actor,
                             address_of(receiver->ipc.desc.bodyAddr), desc->bodySize);
    if (status != K_OK)
        return status;
    message->in_place = true;
    if (nucleus_hooks.message != NULL)
        nucleus_hooks.message(message, false);
    if (ipc_complete_receive(receiver, sending->port, message))
        return K_OK;
    message->in_place = false;
    return K_EAGAIN;
}

static int send_to_port(struct thread *thread, const struct sending *sending, uint32_t flags,
                        KnMsgId *ret_id)
{
    struct message *message = NULL;
    if (port_is_full(sending->port))
        return K_EFULL;
    int status = build_message(thread, sending, flags, &message);
    if (status != K_OK)
        return status;
    *ret_id = message->id;
    status = hand_over(thread, sending, message);
    if (status == K_EAGAIN) {
        status = message_charge(message, thread->actor);
        if (status == K_OK)
            status = take_body(thread, message, &sending->desc);
        if (status == K_OK)
            port_deliver(sending->port, message);
    }
    if (status != K_OK)
        message_free(message);
    return status;
}

/* One body for all members. Who has a full queue goes without. */
static int send_to_group(struct thread *thread, struct sending *sending)
{
    struct message *model = NULL;
    int status = build_message(thread, sending, 0, &model);
    if (status != K_OK)
        return status;
    status = take_body(thread, model, &sending->desc);
    struct port *port = NULL;
    while (status == K_OK && (port = group_next(sending->group, port)) != NULL) {
        struct message *copy = port_is_full(port) ? NULL : message_new();
        if (copy == NULL)
            continue;
        message_copy(copy, model);
        if (message_charge(copy, thread->actor) == K_OK)
            port_deliver(port, copy);
        else
            message_free(copy);
    }
    message_free(model);
    return status;
}

int64_t call_ipcSend(struct thread *thread)
{
    struct sending sending;
    KnMsgId id;
    int status = read_sending(thread, &sending);
    if (status != K_OK)
        return status;
    status = sending.group != NULL ? send_to_group(thread, &sending)
                                   : send_to_port(thread, &sending, 0, &id);
    if (status == K_OK)
        thread->actor->messages++;
    return status;
}

/* ---- calling ---- */

/* The reply came while something of the caller's memory was not at hand. */
static int64_t fetch_reply(struct thread *thread)
{
    struct message *reply = thread->calling.reply;
    int status = ipc_copy_out_body(thread, thread, reply);
    if (status == K_OK)
        status = copy_out_head(thread, thread, reply->has_annex ? reply->annex : NULL,
                               reply->body_size, 0, 0);
    if (status == K_BLOCKED)
        return status;
    uint32_t size = reply->body_size;
    call_record_close(&thread->calling);
    if (status != K_OK)
        return status;
    return size > thread->ipc.desc.bodySize ? K_ETOOMUCH : (int64_t)size;
}

/* Where the reply is wanted. NULL: nowhere. */
static int read_reply_place(struct thread *thread, uint64_t argument)
{
    struct ipc_wait *wait = &thread->ipc;
    *wait = (struct ipc_wait){ 0 };
    int status = call_in(thread, argument, &wait->desc, sizeof wait->desc);
    if (status < 0)
        return status;
    if (status == K_OK && !thread->call.for_trap)
        wait->desc_at = argument;
    return K_OK;
}

int64_t call_ipcCall(struct thread *thread)
{
    struct sending sending;
    if (thread->call.progress[STAGE] == SENT)
        return thread->calling.reply != NULL ? fetch_reply(thread) : thread->call.woken;
    int status = read_sending(thread, &sending);
    if (status == K_OK)
        status = read_reply_place(thread, thread->call.arg[3]);
    if (status != K_OK)
        return status;
    if (sending.group != NULL)
        return K_EINVAL;
    bool abortable =
        thread->call.for_trap || (sending.desc.flags | thread->ipc.desc.flags) & K_ABORTABLE;
    int64_t deadline = call_deadline(thread, (KnTime)thread->call.arg[4]);
    status = wait_check(thread, deadline, abortable);
    if (status != K_OK)
        return status;
    KnMsgId id;
    handler_expect(sending.port);
    status = send_to_port(thread, &sending, K_HEAD_CALL, &id);
    if (status == K_OK) {
        thread->actor->messages++;
        call_record_open(&thread->calling, id, CALL_BY_THREAD);
        thread->call.progress[STAGE] = SENT;
        status = wait_queue_wait(NULL, thread, deadline, abortable);
    }
    handler_pass(thread);
    return status;
}

/* ---- receiving ---- */

/* <message>, the current one of <thread>, stays with its port. */
static int park(struct thread *thread, struct message *message)
{
    bool is_call = (message->flags & K_HEAD_CALL) != 0;
    if (is_call && call_record_find(message->id) == NULL) {
        message_free(message); /* its caller is gone */
        return K_ENOMSG;
    }
    if (!is_call && message->port->parked_sends >= K_CPORTQUEUE)
        return K_EFULL;
    if (!is_call)
        message->port->parked_sends++;
    message->place = MESSAGE_PARKED;
    message->holder = NULL;
    thread->current = 0;
    return K_OK;
}

bool ipc_complete_receive(struct thread *receiver, struct port *port, struct message *message)
{
    if (receiver->lent.idle)
        return handler_give(receiver, NULL, port, message) == K_OK;
    if (receiver->call.for_trap)
        return false;
    if (copy_out_message(receiver, NULL, port, message) != K_OK)
        return false;
    message->port = port;
    message_receive(message, receiver);
    complete_call(receiver, message->body_size);
    return true;
}

void ipc_receiver_gone(struct thread *thread)
{
    thread->ipc.receiving = false;
    ports_kick(thread->actor);
}

static int64_t take_message(struct thread *thread, struct port *port)
{
    struct message *message = LIST_OWNER(port->queue.next, struct message, link);
    int status = copy_out_message(thread, thread, port, message);
    if (status == K_BLOCKED)
        return status;
    if (status != K_OK) {
        port_kick(port);
        return status;
    }
    message_receive(message, thread);
    return message->body_size;
}

static int read_receive_place(struct thread *thread, unsigned first, int *ret_li)
{
    struct ipc_wait *wait = &thread->ipc;
    const uint64_t *arg = thread->call.arg + first;
    *wait = (struct ipc_wait){ 0 };
    int status = call_in(thread, arg[0], &wait->desc, sizeof wait->desc);
    if (status == K_OK)
        status = call_in(thread, arg[1], ret_li, sizeof *ret_li);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    if (!thread->call.for_trap) {
        wait->desc_at = arg[0];
        wait->port_at = arg[1];
    }
    return K_OK;
}

/* The current message is no more when another is received. */
static void leave_current(struct thread *thread)
{
    struct message *message = message_find(thread->current);
    bool stays = message != NULL && message->flags & K_HEAD_CALL && thread->ipc.desc.flags & K_MSG_PARK;
    if (!stays || park(thread, message) != K_OK)
        message_drop_current(thread);
}

/* Receive by the arguments from <first> on: descriptor, LI, delay. */
static int64_t receive(struct thread *thread, unsigned first)
{
    struct actor *actor = thread->actor;
    uint64_t *waited = &thread->call.progress[WAITED];
    if (*waited != 0 && thread->call.woken != K_OK)
        return thread->call.woken;
    *waited = 0;
    int li = 0;
    int status = read_receive_place(thread, first, &li);
    if (status != K_OK)
        return status;
    leave_current(thread);
    struct port *port = li == K_ANYENABLED ? port_best_pending(actor, false) : port_by_li(actor, li);
    if (port == NULL && li != K_ANYENABLED)
        return K_EUNKNOWN;
    if (port != NULL && port->routine != 0)
        return K_EINVAL;
    if (port != NULL && !list_is_empty(&port->queue))
        return take_message(thread, port);
    struct wait_queue *queue = li == K_ANYENABLED ? &actor->any_receivers : &port->receivers;
    bool abortable = thread->call.for_trap || (thread->ipc.desc.flags & K_ABORTABLE) != 0;
    *waited = 1;
    return wait_queue_wait(queue, thread,
                           call_deadline(thread, (KnTime)thread->call.arg[first + 2]), abortable);
}

static int64_t receive_and_note(struct thread *thread, unsigned first)
{
    int64_t result = receive(thread, first);
    thread->ipc.receiving = result == K_BLOCKED;
    return result;
}

int64_t call_ipcReceive(struct thread *thread)
{
    return receive_and_note(thread, 0);
}

/* ---- replying ---- */

/* The request is dealt with when a reply function returns K_OK; it and the caller may be gone then,
 * and so may the thread that replied. */

/* Straight into the memory of a caller that waits. K_EAGAIN: something of it is not at hand. */
static int reply_direct(struct thread *thread, const KnMsgDesc *desc, const uint8_t *annex,
                        struct thread *caller)
{
    if (caller->call.for_trap)
        return K_EAGAIN;
    uint32_t room = caller->ipc.desc.bodySize;
    int status = copy_direct(thread, address_of(desc->bodyAddr), caller->actor,
                             address_of(caller->ipc.desc.bodyAddr), least(desc->bodySize, room));
    if (status != K_OK)
        return status;
    if (copy_out_head(caller, NULL, annex, desc->bodySize, 0, 0) != K_OK)
        return K_EAGAIN;
    call_record_close(&caller->calling);
    return (int)complete_call(caller, desc->bodySize > room ? K_ETOOMUCH : (int64_t)desc->bodySize);
}

/* Leave the reply with the Nucleus; the caller fetches it. */
static int reply_kept(struct thread *thread, const KnMsgDesc *desc, const uint8_t *annex,
                      struct thread *caller)
{
    struct message *reply = message_new();
    if (reply == NULL)
        return K_ENOMEM;
    reply->body_size = desc->bodySize;
    reply->has_annex = annex != NULL;
    if (annex != NULL)
        memcpy(reply->annex, annex, K_CMSGANNEXSIZE);
    int status = take_body(thread, reply, desc);
    if (status != K_OK) {
        message_free(reply);
        return status;
    }
    caller->calling.reply = reply;
    thread_wake(caller, K_OK);
    return K_OK;
}

static int reply_to_thread(struct thread *thread, const KnMsgDesc *desc, const uint8_t *annex,
                           struct call_record *record, struct message *request)
{
    struct thread *caller = LIST_OWNER(record, struct thread, calling);
    int status = reply_direct(thread, desc, annex, caller);
    if (status == K_EAGAIN)
        status = reply_kept(thread, desc, annex, caller);
    if (status == K_OK)
        message_free(request);
    return status;
}

static int reply_to_trap(struct thread *thread, const KnMsgDesc *desc, const uint8_t *annex,
                         struct call_record *record, struct message *request)
{
    struct thread *caller = LIST_OWNER(record, struct thread, calling);
    uint8_t body[CALL_SCRATCH];
    KnTrapReply reply;
    if (annex == NULL)
        return K_EINVAL;
    memcpy(&reply, annex, sizeof reply);
    int status = trap_check_reply(&reply, desc->bodySize);
    if (status == K_OK && desc->bodySize > 0)
        status =
            vm_copy_in(thread, thread->actor, body, address_of(desc->bodyAddr), desc->bodySize);
    if (status != K_OK)
        return status;
    message_free(request);
    call_record_close(record);
    trap_reply(caller, &reply, body, desc->bodySize);
    return K_OK;
}

static int reply_to_nucleus(struct thread *thread, const KnMsgDesc *desc, const uint8_t *annex,
                            struct call_record *record, struct message *request)
{
    static uint8_t body[K_CMSGSIZEMAX];
    if (desc->bodySize > kcall_reply_max(record))
        return K_ETOOMUCH;
    int status =
        vm_copy_in(thread, thread->actor, body, address_of(desc->bodyAddr), desc->bodySize);
    if (status != K_OK)
        return status;
    message_free(request);
    kcall_replied(record, annex, body, desc->bodySize);
    return K_OK;
}

/* What <desc> answers. NULL: nothing. */
static struct message *find_request(const struct thread *thread, const KnMsgDesc *desc)
{
    if (!(desc->flags & K_MSG_BYID))
        return message_find(thread->current);
    struct message *message = message_find(desc->id);
    bool is_received = message != NULL && message->lap == NULL &&
                       (message->place == MESSAGE_CURRENT || message->place == MESSAGE_PARKED);
    return is_received && message->port->actor == thread->actor ? message : NULL;
}

int ipc_reply(struct thread *thread, const KnMsgDesc *desc, const uint8_t *annex)
{
    struct message *request = find_request(thread, desc);
    if (request == NULL || !(request->flags & K_HEAD_CALL))
        return K_ENOMSG;
    if (desc->bodySize > K_CMSGSIZEMAX)
        return K_ETOOMUCH;
    struct call_record *record = call_record_find(request->id);
    if (record == NULL) {
        message_free(request); /* nobody waits any more, the reply goes nowhere */
        return K_OK;
    }
    if (record->kind == CALL_BY_NUCLEUS)
        return reply_to_nucleus(thread, desc, annex, record, request);
    if (record->kind == CALL_FOR_TRAP)
        return reply_to_trap(thread, desc, annex, record, request);
    return reply_to_thread(thread, desc, annex, record, request);
}

static int reply(struct thread *thread, const KnMsgDesc *desc)
{
    uint8_t annex[K_CMSGANNEXSIZE];
    if (find_request(thread, desc) == NULL)
        return K_ENOMSG;
    if (desc->annexAddr == NULL)
        return ipc_reply(thread, desc, NULL);
    int status = vm_copy_in(thread, thread->actor, annex, address_of(desc->annexAddr), sizeof annex);
    return status != K_OK ? status : ipc_reply(thread, desc, annex);
}

int64_t call_ipcReply(struct thread *thread)
{
    KnMsgDesc desc;
    int status = call_in(thread, thread->call.arg[0], &desc, sizeof desc);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    return reply(thread, &desc);
}

int64_t call_ipcReplyReceive(struct thread *thread)
{
    if (thread->call.progress[STAGE] == NOT_SENT) {
        KnMsgDesc desc;
        int status = call_in(thread, thread->call.arg[0], &desc, sizeof desc);
        if (status == K_OK)
            status = reply(thread, &desc);
        if (status < 0 && status != K_ENOMSG)
            return status;
        if (thread->state == THREAD_DEAD)
            return CALL_NO_RETURN; /* the reply ended its own actor */
        thread->call.progress[STAGE] = SENT;
    }
    return receive_and_note(thread, 1);
}

/* ---- the current message ---- */

int64_t call_ipcSave(struct thread *thread)
{
    struct message *message = message_find(thread->current);
    if (message == NULL)
        return K_ENOMSG;
    int status = call_out(thread, thread->call.arg[0], &message->id, sizeof message->id);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    return park(thread, message);
}

int64_t call_ipcRestore(struct thread *thread)
{
    KnMsgId id = 0;
    int status = call_in(thread, thread->call.arg[0], &id, sizeof id);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    struct message *message = message_find(id);
    if (message == NULL || message->place != MESSAGE_PARKED ||
        message->port->actor != thread->actor)
        return K_EUNKNOWN;
    message_drop_current(thread);
    if (!(message->flags & K_HEAD_CALL))
        message->port->parked_sends--;
    message->place = MESSAGE_CURRENT;
    message->holder = thread;
    thread->current = id;
    return K_OK;
}

int64_t call_ipcGetData(struct thread *thread)
{
    struct message *message = message_find(thread->current);
    KnMsgDesc desc;
    int status = call_in(thread, thread->call.arg[0], &desc, sizeof desc);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    if (message == NULL)
        return K_ENOMSG;
    if (desc.bodyOffset > message->body_size)
        return K_EOFFSET;
    uint32_t size = least(desc.bodySize, message->body_size - desc.bodyOffset);
    const uint8_t *bytes = size == 0 ? NULL : message_bytes(message, desc.bodyOffset, size);
    if (size > 0 && bytes == NULL)
        return K_EUNKNOWN;
    if (size > 0)
        status = vm_copy_out(thread, thread->actor, address_of(desc.bodyAddr), bytes, size);
    if (status == K_OK && desc.annexAddr != NULL && message->has_annex)
        status = vm_copy_out(thread, thread->actor, address_of(desc.annexAddr), message->annex,
                             K_CMSGANNEXSIZE);
    if (status != K_OK)
        return status;
    desc.bodySize = message->body_size;
    desc.seqNum = message->seq_num;
    status = call_out(thread, thread->call.arg[0], &desc, sizeof desc);
    return status < 0 ? status : (int64_t)size;
}

int64_t call_ipcSysInfo(struct thread *thread)
{
    struct message *message = message_find(thread->current);
    if (message == NULL)
        return K_ENOMSG;
    bool is_call = (message->flags & K_HEAD_CALL) != 0;
    KnMsgHead head = {
        .bodySize = message->body_size,
        .flags = message->flags,
        .srcPort = message->src_port,
        .target = message->target,
        .coTarget = message->co_target,
        .srcActor = message->src_actor,
        .transId = is_call ? message->id : 0,
        .actorId = message->actor_pi,
        .portId = message->port_pi,
        .seqNum = message->seq_num,
    };
    int status = call_out(thread, thread->call.arg[0], &head, sizeof head);
    return status == 1 ? K_EINVAL : status;
}
