/* Messages and call records: see message.h. */
#include "message.h"

#include <stdlib.h>
#include <string.h>
#include "actor.h"
#include "assert.h"
#include "call.h"
#include "kcall_impl.h"
#include "lap.h"
#include "nucleus.h"
#include "port.h"
#include "trap.h"
#include "ui.h"

static struct table messages, records;
static KnMsgId last_id;
static size_t queued_in_all; /* bytes that senders pay for */

/* Some of those that were freed last: most calls free one before the next is made. */
#define SPARES_MOST 16
static struct message *spares[SPARES_MOST];
static unsigned spare_count;

struct message *message_new(void)
{
    struct message *message = spare_count > 0 ? spares[--spare_count] : malloc(sizeof *message);
    if (message == NULL)
        return NULL;
    memset(message, 0, offsetof(struct message, annex));
    memset(&message->body_size, 0, sizeof *message - offsetof(struct message, body_size));
    list_init(&message->link);
    message->id = (KnMsgId)ui_site() << 44 | ++last_id;
    table_insert(&messages, &message->entry, message->id);
    return message;
}

void message_copy(struct message *copy, const struct message *model)
{
    copy->flags = model->flags;
    copy->src_port = model->src_port;
    copy->target = model->target;
    copy->co_target = model->co_target;
    copy->src_actor = model->src_actor;
    copy->actor_pi = model->actor_pi;
    copy->port_pi = model->port_pi;
    copy->has_annex = model->has_annex;
    memcpy(copy->annex, model->annex, sizeof copy->annex);
    copy->body_size = model->body_size;
    copy->body = model->body;
    if (copy->body != NULL)
        copy->body->references++;
}

static void message_unlink(struct message *message)
{
    if (message->lap != NULL) {
        lap_call_ended(message);
        return;
    }
    if (message->place == MESSAGE_QUEUED)
        port_queue_remove(message);
    else if (message->place == MESSAGE_PARKED && !(message->flags & K_HEAD_CALL))
        message->port->parked_sends--;
    list_remove(&message->link);
    if (message->holder != NULL)
        message->holder->current = 0;
    message->holder = NULL;
    message->port = NULL;
    message->place = MESSAGE_NOWHERE;
}

int message_charge(struct message *message, struct actor *sender)
{
    size_t size = sizeof *message + message->body_size;
    if (size > ACTOR_QUEUED_MAX - sender->queued || size > SITE_QUEUED_MAX - queued_in_all)
        return K_EFULL;
    sender->queued += size;
    queued_in_all += size;
    message->charged = size;
    return K_OK;
}

static void message_uncharge(struct message *message)
{
    struct actor *sender = message->charged == 0 ? NULL : actor_by_ui(&message->src_actor);
    if (sender != NULL)
        sender->queued -= message->charged;
    queued_in_all -= message->charged;
    message->charged = 0;
}

void message_free(struct message *message)
{
    message_unlink(message);
    message_uncharge(message);
    body_unref(message->body);
    table_remove(&messages, &message->entry);
    if (spare_count < SPARES_MOST)
        spares[spare_count++] = message;
    else
        free(message);
}

struct message *message_find(KnMsgId id)
{
    struct table_entry *entry = id == 0 ? NULL : table_find(&messages, id);
    return entry == NULL ? NULL : LIST_OWNER(entry, struct message, entry);
}

size_t message_count(void)
{
    return messages.count;
}

void message_receive(struct message *message, struct thread *holder)
{
    struct port *port = message->port;
    if (message->place == MESSAGE_QUEUED)
        port_queue_remove(message);
    ASSERT(holder->current == 0);
    list_append(&port->unanswered, &message->link);
    message->place = MESSAGE_CURRENT;
    message->holder = holder;
    message->seq_num = ++port->received;
    holder->current = message->id;
    port->actor->messages++;
    nucleus_counters.messages++;
    if (nucleus_hooks.message != NULL)
        nucleus_hooks.message(message, true);
}

void message_refuse(struct message *message, int status)
{
    struct call_record *record = call_record_find(message->id);
    message_free(message);
    if (record != NULL)
        call_record_fail(record, status);
}

void message_drop_current(struct thread *thread)
{
    struct message *message = message_find(thread->current);
    if (message != NULL)
        message_refuse(message, K_EDEAD);
    thread->current = 0;
}

const uint8_t *message_bytes(struct message *message, size_t offset, size_t size)
{
    static uint8_t made[K_CMSGSIZEMAX];
    ASSERT(offset + size <= message->body_size);
    if (message->body != NULL)
        return message->body->bytes + offset;
    if (message->fill == NULL)
        return NULL;
    message->fill(message->cookie, made, message->body_size);
    return made + offset;
}

struct body *body_new(size_t size)
{
    struct body *body = malloc(sizeof *body + size);
    if (body != NULL) {
        body->references = 1;
        body->size = (uint32_t)size;
    }
    return body;
}

void body_unref(struct body *body)
{
    if (body != NULL && --body->references == 0)
        free(body);
}

void call_record_open(struct call_record *record, KnMsgId id, enum call_kind kind)
{
    ASSERT(record->id == 0);
    record->id = id;
    record->kind = kind;
    record->reply = NULL;
    table_insert(&records, &record->entry, id);
}

void call_record_close(struct call_record *record)
{
    if (record->id == 0)
        return;
    table_remove(&records, &record->entry);
    record->id = 0;
    if (record->reply != NULL)
        message_free(record->reply);
    record->reply = NULL;
}

struct call_record *call_record_find(KnMsgId id)
{
    struct table_entry *entry = table_find(&records, id);
    return entry == NULL ? NULL : LIST_OWNER(entry, struct call_record, entry);
}

size_t call_record_count(void)
{
    return records.count;
}

void call_record_fail(struct call_record *record, int status)
{
    enum call_kind kind = record->kind;
    call_record_close(record);
    if (kind == CALL_BY_NUCLEUS)
        kcall_failed(record, status);
    else if (kind == CALL_FOR_TRAP)
        trap_failed(LIST_OWNER(record, struct thread, calling), status);
    else
        thread_wake(LIST_OWNER(record, struct thread, calling), status);
}

void message_tell_aborted(struct message *message)
{
    struct port *port = message->port;
    if (message->place != MESSAGE_PARKED || port->actor == call_caller())
        return;
    struct message *note = message_new();
    if (note == NULL)
        return;
    KnAbortedMsg annex = { .type = K_MSG_ABORTED, .id = message->id };
    note->flags = K_HEAD_NUCLEUS;
    note->target = port->ui;
    note->has_annex = true;
    memset(note->annex, 0, sizeof note->annex);
    memcpy(note->annex, &annex, sizeof annex);
    port_deliver(port, note);
}

void call_record_abandon(struct call_record *record, bool abort)
{
    struct message *message = message_find(record->id);
    enum call_kind kind = record->kind;
    call_record_close(record);
    if (message == NULL)
        return;
    if (message->place == MESSAGE_CURRENT) {
        if (abort && (kind == CALL_BY_THREAD || kind == CALL_OF_LAP))
            thread_abort(message->holder);
        return;
    }
    message_tell_aborted(message);
    message_free(message);
}
