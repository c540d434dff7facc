/* Nucleus calls on ports, and the watches that tell of their end and of actors'. */
#include <stdlib.h>
#include <string.h>
#include "actor.h"
#include "call.h"
#include "message.h"
#include "port.h"
#include "ui.h"
#include "vm.h"

/* ---- watches ---- */

struct watch {
    struct list of_object; /* the actor's or port's watches */
    struct list of_port;   /* of the port that is told */
    struct port *port;
    KnUniqueId asker;
    uint64_t cookie;
};

static size_t watches_alive;

size_t watch_count(void)
{
    return watches_alive;
}

static void watch_end(struct watch *watch)
{
    struct actor *asker = actor_by_ui(&watch->asker);
    if (asker != NULL)
        asker->watching--;
    list_remove(&watch->of_object);
    list_remove(&watch->of_port);
    watches_alive--;
    free(watch);
}

static int watch_tell(struct port *port, uint64_t cookie, const KnUniqueId *ui, const char *name,
                      int reason)
{
    struct message *message = message_new();
    if (message == NULL)
        return K_ENOMEM;
    KnWatchMsg annex = { .type = K_MSG_WATCH, .ui = *ui, .cookie = cookie, .reason = reason };
    memcpy(annex.name, name, sizeof annex.name);
    message->flags = K_HEAD_NUCLEUS;
    message->target = port->ui;
    message->has_annex = true;
    memset(message->annex, 0, sizeof message->annex);
    memcpy(message->annex, &annex, sizeof annex);
    port_deliver(port, message);
    return K_OK;
}

void watches_fire(struct list *watches, const KnUniqueId *ui, const char *name, int reason)
{
    while (!list_is_empty(watches)) {
        struct watch *watch = LIST_OWNER(watches->next, struct watch, of_object);
        struct port *port = watch->port;
        uint64_t cookie = watch->cookie;
        watch_end(watch);
        watch_tell(port, cookie, ui, name, reason);
    }
}

void watches_drop(struct port *port)
{
    while (!list_is_empty(&port->watching))
        watch_end(LIST_OWNER(port->watching.next, struct watch, of_port));
}

int64_t call_actorWatch(struct thread *thread)
{
    static const char nobody[K_NAMEMAX];
    struct actor *asker = thread->actor;
    KnUniqueId ui;
    int status = call_in(thread, thread->call.arg[0], &ui, sizeof ui);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    struct port *port = port_by_li(asker, (int32_t)thread->call.arg[1]);
    if (port == NULL)
        return K_EINVAL;
    struct actor *actor = actor_by_ui(&ui);
    struct port *object = port_find(&ui);
    if (actor == NULL && object == NULL)
        return watch_tell(port, thread->call.arg[2], &ui, nobody, K_EUNKNOWN);
    if (asker->watching >= ACTOR_WATCHES_MAX)
        return K_ELIMIT;
    struct watch *watch = malloc(sizeof *watch);
    if (watch == NULL)
        return K_ENOMEM;
    *watch = (struct watch){ .port = port, .asker = asker->cap.ui, .cookie = thread->call.arg[2] };
    list_append(actor != NULL ? &actor->watches : &object->watches, &watch->of_object);
    list_append(&port->watching, &watch->of_port);
    asker->watching++;
    watches_alive++;
    return K_OK;
}

/* ---- ports ---- */

/* The actor of argument <index>, and its port of argument <index> + 1. */
static int read_port(struct thread *thread, unsigned index, struct port **ret_port)
{
    struct actor *actor;
    int status = call_actor(thread, index, &actor);
    if (status < 0)
        return status;
    *ret_port = port_by_li(actor, (int32_t)thread->call.arg[index + 1]);
    return *ret_port == NULL ? K_EUNKNOWN : K_OK;
}

static int64_t finish_create(struct thread *thread, struct actor *actor, const KnUniqueId *ui,
                             uint64_t ret_ui)
{
    struct port *port;
    int status = port_create(actor, ui, false, &port);
    if (status != K_OK)
        return status;
    if (ui == NULL) {
        status = call_out(thread, ret_ui, &port->ui, sizeof port->ui);
        if (status < 0) {
            port_delete(port, K_OK);
            return status;
        }
    }
    return port->li;
}

int64_t call_portCreate(struct thread *thread)
{
    struct actor *actor;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    return finish_create(thread, actor, NULL, thread->call.arg[1]);
}

int64_t call_portDeclare(struct thread *thread)
{
    struct actor *actor;
    KnUniqueId ui;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    status = call_in(thread, thread->call.arg[1], &ui, sizeof ui);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    if (uiGetType(&ui) != K_UISTATPORT)
        return K_EINVAL;
    if (port_find(&ui) != NULL)
        return K_EBUSY;
    return finish_create(thread, actor, &ui, 0);
}

int64_t call_portDelete(struct thread *thread)
{
    struct port *port;
    int status = read_port(thread, 0, &port);
    if (status != K_OK)
        return status;
    if (port->li == K_DEFAULTPORT)
        return K_EINVAL;
    port_delete(port, K_OK);
    return K_OK;
}

int64_t call_portEnable(struct thread *thread)
{
    struct port *port;
    uint64_t priority = thread->call.arg[2];
    int status = read_port(thread, 0, &port);
    if (status != K_OK)
        return status;
    if (priority > 255)
        return K_EINVAL;
    port->enabled = true;
    port->priority = (uint8_t)priority;
    port_open(port);
    return K_OK;
}

int64_t call_portDisable(struct thread *thread)
{
    struct port *port;
    int status = read_port(thread, 0, &port);
    if (status != K_OK)
        return status;
    port->enabled = false;
    if (port->routine == 0)
        list_remove(&port->pending_link);
    return K_OK;
}

int64_t call_portUi(struct thread *thread)
{
    struct port *port;
    int status = read_port(thread, 0, &port);
    if (status == K_OK)
        status = call_out(thread, thread->call.arg[2], &port->ui, sizeof port->ui);
    return status == 1 ? K_EINVAL : status;
}

int64_t call_portLi(struct thread *thread)
{
    struct actor *actor;
    KnUniqueId ui;
    int status = call_actor(thread, 0, &actor);
    if (status >= 0)
        status = call_in(thread, thread->call.arg[1], &ui, sizeof ui);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    struct port *port = port_find(&ui);
    return port == NULL || port->actor != actor ? K_EUNKNOWN : port->li;
}

int64_t call_portPi(struct thread *thread)
{
    struct port *port;
    KnProtId pi;
    const uint64_t *arg = thread->call.arg;
    int status = read_port(thread, 0, &port);
    if (status != K_OK)
        return status;
    int has_new = call_in(thread, arg[3], &pi, sizeof pi);
    if (has_new < 0)
        return has_new;
    if (has_new == K_OK && !call_is_trusted(thread))
        return K_EPRIV;
    status = call_out(thread, arg[2], &port->pi, sizeof port->pi);
    if (status < 0)
        return status;
    if (has_new == K_OK)
        port->pi = pi;
    return K_OK;
}

int64_t call_portGetSeqNum(struct thread *thread)
{
    struct port *port;
    int status = read_port(thread, 0, &port);
    return status != K_OK ? status : (int64_t)port->received + 1;
}

/* ---- migration ---- */

static void port_move(struct port *port, struct actor *target, int li)
{
    id_table_remove(&port->actor->port_ids, port->li);
    list_remove(&port->pending_link);
    list_remove(&port->of_actor);
    port->enabled = false;
    wait_queue_wake_all(&port->receivers, K_EUNKNOWN);
    port->actor = target;
    port->li = li;
    port->received = 0;
    list_append(&target->ports, &port->of_actor);
}

static void discard_queued(struct port *port)
{
    while (!list_is_empty(&port->queue))
        message_refuse(LIST_OWNER(port->queue.next, struct message, link), K_EDEAD);
}

int64_t call_portMigrate(struct thread *thread)
{
    struct port *port;
    struct actor *target;
    KnCap cap = { 0 };
    uint64_t options = thread->call.arg[0];
    int status = read_port(thread, 1, &port);
    if (status != K_OK)
        return status;
    status = call_in(thread, thread->call.arg[3], &cap, sizeof cap);
    if (status < 0)
        return status;
    target = actor_find(&cap, thread->actor);
    if (target == NULL)
        return K_EUNKNOWN;
    if (options > K_MIGRATE_DISCARD || port->li == K_DEFAULTPORT || target == port->actor || port->routine != 0)
        return K_EINVAL;
    uint32_t seq_num = port->received + 1;
    status = call_out(thread, thread->call.arg[4], &seq_num, sizeof seq_num);
    if (status < 0)
        return status;
    int li = id_table_insert(&target->port_ids, port);
    if (li < 0)
        return li;
    port_move(port, target, li);
    if (options == K_MIGRATE_DISCARD)
        discard_queued(port);
    return li;
}
