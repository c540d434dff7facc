/* message.h: messages, their bodies, and the records of calls in progress.
 *
 * A request has two sides: the message, which belongs to the port where it is queued or was
 * received, and the call record, which belongs to who waits for the reply. Both are found by the
 * same number (KnMsgId), and neither points to the other: either may be gone, and the server may be
 * on another site one day. */
#ifndef NUCLEUS_MESSAGE_H
#define NUCLEUS_MESSAGE_H

#include <chorus.h>
#include <stdbool.h>
#include "kcall.h"
#include "list.h"
#include "table.h"
#include "thread.h"

struct port;

/* Bytes that several messages may share (a broadcast). */
struct body {
    unsigned references;
    uint32_t size;
    uint8_t bytes[];
};

enum message_place { MESSAGE_NOWHERE, MESSAGE_QUEUED, MESSAGE_CURRENT, MESSAGE_PARKED };

struct message {
    struct table_entry entry; /* by its number */
    struct list link;         /* the port's queue or unanswered list */
    struct port *port;        /* NULL: NOWHERE */
    enum message_place place;
    struct thread *holder; /* CURRENT: whose */
    struct lap *lap;       /* it is a call of this LAP: QUEUED in its actor's lap_calls, or CURRENT and served */
    KnMsgId id;
    uint32_t flags; /* K_HEAD_ */
    KnUniqueId src_port, target, co_target, src_actor;
    KnProtId actor_pi, port_pi;
    uint32_t seq_num;
    bool has_annex;
    uint8_t annex[K_CMSGANNEXSIZE];
    uint32_t body_size;
    struct body *body; /* NULL: none, or all of it is with the receiver, or <fill> makes it */
    kcall_fill *fill;
    void *cookie;
    bool in_place;  /* the whole body was put into its receiver's memory and is not here */
    size_t charged; /* bytes counted in its sender's <queued> */
};

/* A fresh one with a number of its own; NULL: no memory. */
struct message *message_new(void);
/* <copy>, fresh, says what <model> says and shares its body. */
void message_copy(struct message *copy, const struct message *model);
/* Out of whatever it is in; freed. Its caller, if any, is told nothing. */
void message_free(struct message *message);
struct message *message_find(KnMsgId id); /* NULL: none */
/* It was received: counted, on the port's unanswered list, current of <holder>. */
void message_receive(struct message *message, struct thread *holder);
/* Its caller gets <status> instead of a reply; the message is freed. */
void message_refuse(struct message *message, int status);
/* The current message of <thread>, if there is one, is refused (a request) or dropped. */
void message_drop_current(struct thread *thread);
/* Bytes [offset, offset + size) of the body, in the Nucleus's memory until the next call of this.
 * NULL: they are not (no longer) here. */
const uint8_t *message_bytes(struct message *message, size_t offset, size_t size);
size_t message_count(void);

struct body *body_new(size_t size); /* NULL: no memory */
void body_unref(struct body *body); /* takes NULL */
/* The sender pays for what it leaves in others' queues, until the message is freed. K_EFULL. */
int message_charge(struct message *message, struct actor *sender);

/* Call records. */
void call_record_open(struct call_record *record, KnMsgId id, enum call_kind kind);
void call_record_close(struct call_record *record); /* takes a closed one */
struct call_record *call_record_find(KnMsgId id);   /* NULL: nobody waits any more */
size_t call_record_count(void);
/* Whoever waits gets <status> instead of a reply. */
void call_record_fail(struct call_record *record, int status);
/* The caller gives up: a queued or parked message vanishes, and of a parked one the port is told,
 * unless the port's own actor does this. With <abort> (false: a timeout) the thread that serves it
 * is aborted. */
void call_record_abandon(struct call_record *record, bool abort);
/* Tell the port where a parked message is that its caller gave it up. */
void message_tell_aborted(struct message *message);

#endif
