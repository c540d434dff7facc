/* The Nucleus's own calls: see kcall.h. */
#include "kcall_impl.h"

#include <stdlib.h>
#include <string.h>
#include "assert.h"
#include "port.h"

struct kcall {
    struct call_record record;
    size_t reply_max;
    kcall_done *done;
    void *cookie;
};

static struct message *nucleus_message(const struct port *port, const void *annex)
{
    struct message *message = message_new();
    if (message == NULL)
        return NULL;
    message->flags = K_HEAD_NUCLEUS;
    message->target = port->ui;
    message->has_annex = true;
    memcpy(message->annex, annex, K_CMSGANNEXSIZE);
    return message;
}

int kcall_start(struct kcall **ret_call, const KnUniqueId *port_ui, const void *annex,
                size_t body_size, kcall_fill *fill, size_t reply_max, kcall_done *done,
                void *cookie)
{
    ASSERT(body_size <= K_CMSGSIZEMAX && (body_size == 0 || fill != NULL));
    struct port *port = port_find(port_ui);
    if (port == NULL)
        return K_EUNKNOWN;
    struct kcall *call = calloc(1, sizeof *call);
    struct message *message = call == NULL ? NULL : nucleus_message(port, annex);
    if (message == NULL) {
        free(call);
        return K_ENOMEM;
    }
    call->reply_max = reply_max;
    call->done = done;
    call->cookie = cookie;
    message->flags |= K_HEAD_CALL;
    message->body_size = (uint32_t)body_size;
    message->fill = body_size == 0 ? NULL : fill;
    message->cookie = cookie;
    call_record_open(&call->record, message->id, CALL_BY_NUCLEUS);
    *ret_call = call;
    port_deliver(port, message);
    return K_OK;
}

/* The message outlives the call if a server holds it; it must not ask for its body any more. */
static void forget_fill(KnMsgId id)
{
    struct message *message = message_find(id);
    if (message != NULL)
        message->fill = NULL;
}

void kcall_cancel(struct kcall *call)
{
    forget_fill(call->record.id);
    call_record_abandon(&call->record, false);
    free(call);
}

void kcall_failed(struct call_record *record, int status)
{
    struct kcall *call = LIST_OWNER(record, struct kcall, record);
    kcall_done *done = call->done;
    void *cookie = call->cookie;
    free(call);
    done(cookie, status, NULL, NULL, 0);
}

size_t kcall_reply_max(const struct call_record *record)
{
    return LIST_OWNER(record, struct kcall, record)->reply_max;
}

void kcall_replied(struct call_record *record, const uint8_t *annex, const uint8_t *body,
                   size_t size)
{
    static const uint8_t no_annex[K_CMSGANNEXSIZE];
    struct kcall *call = LIST_OWNER(record, struct kcall, record);
    kcall_done *done = call->done;
    void *cookie = call->cookie;
    forget_fill(record->id);
    call_record_close(record);
    free(call);
    done(cookie, K_OK, annex == NULL ? no_annex : annex, body, size);
}

int kcall_send(const KnUniqueId *port_ui, const void *annex, const void *bytes, size_t size)
{
    ASSERT(size <= K_CMSGSIZEMAX);
    struct port *port = port_find(port_ui);
    if (port == NULL)
        return K_EUNKNOWN;
    if (port_is_full(port))
        return K_EFULL;
    struct message *message = nucleus_message(port, annex);
    if (message == NULL)
        return K_ENOMEM;
    if (size > 0) {
        message->body = body_new(size);
        if (message->body == NULL) {
            message_free(message);
            return K_ENOMEM;
        }
        memcpy(message->body->bytes, bytes, size);
        message->body_size = (uint32_t)size;
    }
    port_deliver(port, message);
    return K_OK;
}
