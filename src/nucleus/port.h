/* port.h: ports: where messages go, and the queue in which they wait. */
#ifndef NUCLEUS_PORT_H
#define NUCLEUS_PORT_H

#include <chorus.h>
#include <stdbool.h>
#include "list.h"
#include "table.h"
#include "thread.h"

struct actor;
struct message;

struct port {
    struct table_entry entry; /* by its UI */
    struct list of_actor;
    struct actor *actor;
    KnUniqueId ui;
    int li; /* 0: the default port */
    KnProtId pi;
    bool enabled;
    uint8_t priority;
    vaddr_t routine; /* its message handler; 0: none, threads receive */
    uint64_t cookie; /* the routine's */
    uint32_t received; /* messages so far */
    struct list queue; /* messages not received yet, oldest first */
    unsigned queued;
    struct list unanswered;   /* messages received: current ones of threads, and parked ones */
    unsigned parked_sends;    /* parked messages that await no reply: bounded */
    struct list pending_link; /* in the actor's pending_ports: enabled or with a handler, and not empty */
    struct wait_queue receivers;
    struct list memberships; /* of groups: group.h */
    struct list watches;     /* who wants to know of its end */
    struct list watching;    /* watches that report to this port */
};

struct port *port_find(const KnUniqueId *ui); /* NULL: none */
struct port *port_by_li(const struct actor *actor,
                        int64_t li); /* NULL: none. 0: the default port */
/* <ui> NULL: a fresh one. <li> 0 for the default port. */
int port_create(struct actor *actor, const KnUniqueId *ui, bool is_default, struct port **ret_port);
/* Its messages are answered K_EDEAD, its waiters get K_EUNKNOWN, its watchers <reason>. */
void port_delete(struct port *port, int reason);
size_t port_count(void);

/* Put a whole message (its body is in the Nucleus, or there is none) to the port: to the thread
 * that waits for it, or into the queue. Never refuses: who must be bounded asks port_is_full
 * before. */
void port_deliver(struct port *port, struct message *message);
bool port_is_full(const struct port *port);
/* The thread that would get the next message; NULL: none waits, or others' messages come first. */
struct thread *port_next_receiver(struct port *port);
/* The thread that was woken for a message did not take it: wake another one. */
void port_kick(struct port *port);
/* The same for all messages that are queued for the actor. */
void ports_kick(struct actor *actor);
/* The same as port_deliver, but into the queue, and nobody is woken: who takes it is awake. */
void port_keep(struct port *port, struct message *message);
/* Which enabled port an actor's thread should receive from now, or (<handled>) which port's message
 * should be handled next; NULL: all are empty. */
struct port *port_best_pending(struct actor *actor, bool handled);
struct message *port_first(struct port *port); /* of its queue, which is not empty */
/* It is enabled or has a handler from now on: its messages are to be had. */
void port_open(struct port *port);
/* Taking messages in and out of <queue>; keeps pending_ports in step. */
void port_queue_append(struct port *port, struct message *message);
void port_queue_remove(struct message *message);

/* Tell who asked (actorWatch) that <ui> is gone. */
void watches_fire(struct list *watches, const KnUniqueId *ui, const char *name, int reason);
void watches_drop(struct port *port); /* those that report to it */
size_t watch_count(void);

#endif
