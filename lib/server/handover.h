/* handover.h: how a running server hands over to its successor. docs/replace.md tells the whole story.
 *
 * A server that can be replaced describes its part by a struct server_handover. The loop of lib/server does the rest, on both sides:
 *
 *     successor                                  predecessor
 *     HANDOVER_BEGIN  ------------------------>  takes nothing more from its ports; waits until all its workers have finished what they
 *                                                do; hand_over() writes down what the successor must know
 *     fetches the state  <---------------------  where the state lies
 *     take_over(): may fail
 *     HANDOVER_COMMIT ------------------------>  all its ports migrate, with queued and unanswered messages, groups and watches
 *     taken_over(): must not fail  <-----------  their new LIs; the predecessor ends
 *     enables the ports
 *
 * Whatever goes wrong before HANDOVER_COMMIT (the successor says HANDOVER_CANCEL, or dies) the predecessor's resume() is called and it
 * goes on as if nothing had happened. Nothing is received between BEGIN and the end of either, so no request is lost and none is
 * served twice; those that come meanwhile wait in the ports' queues.
 *
 * The requests go to the predecessor's default port, whose UI the successor finds in its environment (HANDOVER_VARIABLE, "head.tail"
 * in hexadecimal). They are obeyed when a system or supervisor actor sends them.
 */
#ifndef SERVER_HANDOVER_H
#define SERVER_HANDOVER_H

#include <chorus.h>
#include <stddef.h>

#define HANDOVER_PROTOCOL 1u   /* the version of what follows */
#define HANDOVER_PORTS_MAX 16u /* ports of a server that can be replaced */

enum handover_operation {
    HANDOVER_BEGIN = 0x7f00, /* struct handover_begin -> struct handover_begun. K_EPRIV; K_EINVAL: another protocol, or server;
                              * K_EBUSY: another successor is at it; K_ENOSYS: this server cannot be replaced; K_ETIMEOUT: a
                              * request took too long; and what hand_over said */
    HANDOVER_COMMIT,         /* by the successor that began -> struct handover_committed, and a struct handover_port for each port in the body */
    HANDOVER_CANCEL,         /* by the same -> status */
    HANDOVER_PAUSE           /* of the predecessor to its own workers */
};

struct handover_begin {
    uint32_t operation;
    uint32_t protocol; /* HANDOVER_PROTOCOL */
    KnCap successor;
    char server[K_NAMEMAX];
};
struct handover_begun {
    int32_t status;
    uint32_t version; /* of the state */
    KnCap predecessor;
    VmAddr state; /* in the predecessor's memory, which does not change meanwhile: vmCopy */
    VmSize state_size;
};
struct handover_committed {
    int32_t status;
    uint32_t ports;
};
struct handover_port {
    KnUniqueId ui;
    int32_t li; /* in the successor */
    uint32_t priority; /* of K_ANYENABLED; UINT32_MAX: the server receives from it by name */
};

/* What the predecessor writes down: bytes, one after another. */
struct handover_state {
    unsigned char *bytes;
    size_t size, room;
    int status; /* K_ENOMEM: something did not fit */
};
/* Append; K_OK or K_ENOMEM, which is also kept in state->status. */
int handover_put(struct handover_state *state, const void *bytes, size_t size);
/* What the successor reads: the same bytes, from the beginning. K_EINVAL: there are no <size> more. */
int handover_get(struct handover_state *state, void *bytes, size_t size);

/* A server's own part. All functions but resume and taken_over may fail, with a negative K_ error. NULL: nothing to do. */
struct server_handover {
    uint32_t version; /* of the state; a successor refuses what it does not know: K_EINVAL */
    /* In the predecessor, in a handler, while no other worker handles anything. Saved requests (server_save) may stay: their ids hold
     * for the successor, which answers them. Threads that are not workers it must bring to rest itself. Bounded in time. */
    int (*hand_over)(struct handover_state *state);
    /* In the predecessor: there will be no successor. Also when hand_over failed. */
    void (*resume)(void);
    /* In the successor, in place of struct server's <start>: there are no ports yet. */
    int (*take_over)(struct handover_state *state, uint32_t version);
    /* In the successor: server_port() and server_port_at() are good; nothing has been received yet. */
    void (*taken_over)(void);
};

#endif
