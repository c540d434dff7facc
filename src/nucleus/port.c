/* Ports: see port.h. Their nucleus calls are in port_calls.c. */
#include "port.h"

#include <stdlib.h>
#include <string.h>
#include "actor.h"
#include "assert.h"
#include "group.h"
#include "handler.h"
#include "ipc.h"
#include "message.h"
#include "nucleus.h"
#include "ui.h"

static struct table ports;

struct port *port_find(const KnUniqueId *ui)
{
    struct table_entry *entry = table_find(&ports, ui_key(ui));
    return entry == NULL ? NULL : LIST_OWNER(entry, struct port, entry);
}

struct port *port_by_li(const struct actor *actor, int64_t li)
{
    return li == K_DEFAULTPORT ? actor->default_port : id_table_find(&actor->port_ids, li);
}

size_t port_count(void)
{
    return ports.count;
}

static void port_init(struct port *port, struct actor *actor, const KnUniqueId *ui)
{
    port->actor = actor;
    port->ui = ui == NULL ? ui_new(K_UIPORT) : *ui;
    port->pi = actor->pi;
    list_init(&port->queue);
    list_init(&port->unanswered);
    list_init(&port->pending_link);
    list_init(&port->memberships);
    list_init(&port->watches);
    list_init(&port->watching);
    wait_queue_init(&port->receivers);
}

int port_create(struct actor *actor, const KnUniqueId *ui, bool is_default, struct port **ret_port)
{
    if (ports.count >= SITE_PORTS_MAX)
        return K_ELIMIT;
    struct port *port = calloc(1, sizeof *port);
    if (port == NULL)
        return K_ENOMEM;
    if (!is_default) {
        port->li = id_table_insert(&actor->port_ids, port);
        if (port->li < 0) {
            int status = port->li;
            free(port);
            return status;
        }
    }
    port_init(port, actor, ui);
    table_insert(&ports, &port->entry, ui_key(&port->ui));
    list_append(&actor->ports, &port->of_actor);
    *ret_port = port;
    return K_OK;
}

static void port_refuse_all(struct port *port)
{
    while (!list_is_empty(&port->queue))
        message_refuse(LIST_OWNER(port->queue.next, struct message, link), K_EDEAD);
    while (!list_is_empty(&port->unanswered))
        message_refuse(LIST_OWNER(port->unanswered.next, struct message, link), K_EDEAD);
}

/* It is out of sight before anybody is told, so that nobody who is told can send to it. */
void port_delete(struct port *port, int reason)
{
    struct actor *actor = port->actor;
    table_remove(&ports, &port->entry);
    list_remove(&port->of_actor);
    if (port->li != 0)
        id_table_remove(&actor->port_ids, port->li);
    if (actor->default_port == port)
        actor->default_port = NULL;
    group_forget_port(port);
    watches_drop(port);
    port_refuse_all(port);
    wait_queue_wake_all(&port->receivers, K_EUNKNOWN);
    list_remove(&port->pending_link);
    watches_fire(&port->watches, &port->ui, actor->name, reason);
    free(port);
}

bool port_is_full(const struct port *port)
{
    return port->queued >= K_CPORTQUEUE;
}

void port_queue_append(struct port *port, struct message *message)
{
    message->port = port;
    message->place = MESSAGE_QUEUED;
    list_append(&port->queue, &message->link);
    port->queued++;
    if ((port->enabled || port->routine != 0) && list_is_empty(&port->pending_link))
        list_append(&port->actor->pending_ports, &port->pending_link);
}

void port_queue_remove(struct message *message)
{
    struct port *port = message->port;
    list_remove(&message->link);
    port->queued--;
    if (list_is_empty(&port->queue))
        list_remove(&port->pending_link);
}

struct message *port_first(struct port *port)
{
    return LIST_OWNER(port->queue.next, struct message, link);
}

struct port *port_best_pending(struct actor *actor, bool handled)
{
    struct port *best = NULL;
    LIST_FOR_EACH (link, &actor->pending_ports) {
        struct port *port = LIST_OWNER(link, struct port, pending_link);
        if ((port->routine != 0) != handled)
            continue;
        if (best == NULL || port->priority < best->priority ||
            (port->priority == best->priority && port_first(port)->id < port_first(best)->id))
            best = port;
    }
    return best;
}

/* Those who want this very port go before those who take any; of equals the one that came last, whose memory is still warm: a server's workers are alike. */
static struct thread *waiting_receiver(struct port *port)
{
    if (port->routine != 0)
        return handler_lender(port->actor);
    struct thread *receiver = wait_queue_last(&port->receivers);
    if (receiver == NULL && port->enabled)
        receiver = wait_queue_last(&port->actor->any_receivers);
    return receiver;
}

struct thread *port_next_receiver(struct port *port)
{
    return list_is_empty(&port->queue) ? waiting_receiver(port) : NULL;
}

void port_kick(struct port *port)
{
    struct thread *receiver = list_is_empty(&port->queue) ? NULL : waiting_receiver(port);
    if (receiver != NULL)
        thread_wake(receiver, K_OK);
}

static void kick_for_all(struct port *port)
{
    for (unsigned i = 0; i < port->queued; i++)
        port_kick(port);
}

void ports_kick(struct actor *actor)
{
    LIST_FOR_EACH (link, &actor->ports)
        kick_for_all(LIST_OWNER(link, struct port, of_actor));
}

void port_open(struct port *port)
{
    if (!list_is_empty(&port->queue) && list_is_empty(&port->pending_link))
        list_append(&port->actor->pending_ports, &port->pending_link);
    kick_for_all(port);
}

void port_keep(struct port *port, struct message *message)
{
    if (nucleus_hooks.message != NULL)
        nucleus_hooks.message(message, false);
    port_queue_append(port, message);
}

void port_deliver(struct port *port, struct message *message)
{
    if (nucleus_hooks.message != NULL)
        nucleus_hooks.message(message, false);
    struct thread *receiver = port_next_receiver(port);
    if (receiver != NULL && ipc_complete_receive(receiver, port, message))
        return;
    port_queue_append(port, message);
    if (receiver != NULL)
        thread_wake(receiver, K_OK);
    else
        port_kick(port);
}
