/* server.h: what servers share.
 *
 * A server is a table of handlers; this library owns the loop. server_run makes the server's port,
 * joins its group, starts the workers, and hands each message to the handler of its operation, the
 * first word of the annex. Smallest use: servers/hello.
 *
 *     static void hello_greet(struct server_request *request)
 *     {
 *         const struct hello_request *ask = (const void *)request->annex;
 *         struct hello_reply answer = { .status = K_OK, .number = ask->number + 1 };
 *         server_reply(request, &answer, sizeof answer);
 *     }
 *     static const struct server_operation operations[] = { { HELLO_GREET, hello_greet } };
 *     int main(void)
 *     {
 *         return server_run(&(struct server){ .name = "hello", .stamp = K_STAMP_HELLO, .workers = 2,
 *                                             .unsupported = K_ENOSYS, SERVER_TABLE(operations) });
 *     }
 *
 * In a supervisor actor the ports have message handlers (<ipc/chMsgHandler.h>): the workers do not receive, they are lent, and a call
 * is served on its caller's CPU without a switch. Nothing in the server's own code differs.
 *
 * Handlers of different workers run at the same time; what they share they lock themselves (pthread
 * or <sync/chMutex.h>). A bounded wait may hold a worker; a wait without bound is a saved message.
 *
 * Operations below 128 are the Nucleus's own messages (traps, timers, interrupts, watches, mapper
 * requests). The loop checks that the Nucleus sent them; a forged one is dropped with a log line.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <chorus.h>
#include <stdbool.h>

/* One message, while its handler runs. */
struct server_request {
    uint32_t operation; /* the first word of the annex */
    int port;           /* LI of the port that it came to */
    uint32_t body_size; /* bytes at <body>, the whole body */
    uint32_t body_room; /* bytes that <body> has room for */
    void *body;         /* page aligned; the handler may build the reply's body in it */
    _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE];

    /* Private to the loop. */
    bool answered, saved, head_known, flags_known;
    uint32_t flags; /* of <head>, when only they are known */
    KnMsgHead head;
    _Alignas(16) uint8_t reply_annex[K_CMSGANNEXSIZE];
    const void *reply_body;
    uint32_t reply_body_size;
};

/* Deals with one message. Before it returns it calls server_reply or server_save, or else a caller that
 * waits for an answer gets K_EDEAD. A message that was sent (ipcSend) needs neither. */
typedef void server_handler(struct server_request *request);

struct server_handover;

struct server_operation {
    uint32_t number;
    server_handler *handler;
};
#define SERVER_TABLE(table) .operations = (table), .operation_count = sizeof(table) / sizeof *(table)

struct server {
    const char *name;   /* of the actor, and in log lines */
    uint32_t stamp;     /* of the static system group that its port joins; 0: none */
    unsigned workers;   /* threads that handle messages; 0: one */
    unsigned workers_most; /* while all are busy more are started, up to so many; 0: none. For servers that wait for others, which may be slow or stopped */
    bool receives;      /* its workers receive in a supervisor actor, too, where they would be lent to a message handler */
    uint32_t body_max;  /* the largest body that it takes; 0: K_CMSGSIZEMAX. More is answered <unsupported> */
    int32_t unsupported; /* the status (first word of the reply's annex) for an unknown operation */
    const struct server_operation *operations; /* in ascending order */
    size_t operation_count;
    server_handler *other; /* operations that are not in the table; NULL: answer <unsupported> */

    /* All of these may be NULL. */
    int (*start)(void); /* once, when the port is there and before any message is taken; not K_OK: server_run returns it */
    void (*aborted)(KnMsgId id); /* the caller of a saved request was aborted. Forget it, or answer it: the answer goes
                                  * nowhere. An <id> that the server does not know (any more) must be ignored */
    void (*timer)(int timer, uint64_t cookie, uint32_t overruns);
    void (*interrupt)(unsigned intr, uint64_t count); /* svIntrDone follows by itself */
    void (*gone)(const KnWatchMsg *watch);            /* of actorWatch */
    const struct server_handover *handover;           /* how it is replaced while it runs: <server/handover.h>. NULL: it is not */
};

/* Serve. The calling thread becomes one of the workers, so it does not return, unless it cannot start: then with the
 * error, after a log line. <server> must stay. K_EINVAL: the table is not in ascending order. */
int server_run(const struct server *server);

/* The LI of the port that server_run made (from <start> on). Its UI: portUi. */
int server_port(void);
/* Make and enable one more port, which the same loop serves; <priority> 0 the best .. 255 (the first one has 128);
 * <stamp> of its group, or 0. Returns its LI, its UI in *ui (may be NULL). In <start>, or from any thread later. */
int server_port_open(uint32_t stamp, unsigned priority, KnUniqueId *ui);

/* The same for a static port, whose UI others know: a mapper's, say. K_EBUSY: somebody has it. */
int server_port_declare(const KnUniqueId *ui, unsigned priority);

/* <port>, which the server made itself (portDeclare) and receives from itself, goes along when the server is replaced. */
int server_port_add(int port);
/* The LI of the <index>th port, in the order in which they were opened or added; 0 is server_port(). After a take-over as in the
 * predecessor. K_EUNKNOWN. */
int server_port_at(unsigned index);

/* Answer: the annex is copied now (at most K_CMSGANNEXSIZE bytes, the rest is zero); the body must stay where it is until
 * the handler has returned: request->body, static memory, or memory that outlives this. The answer leaves when the handler
 * returns. */
void server_reply(struct server_request *request, const void *annex, size_t annex_size);
void server_reply_body(struct server_request *request, const void *annex, size_t annex_size, const void *body, size_t body_size);
/* The same with an annex that holds <status> in its first word and zeros. */
void server_reply_status(struct server_request *request, int32_t status);

/* Park the request: it is answered later, by whatever thread, with server_reply_later; the worker goes on with other messages.
 * K_ENOMSG: nobody waits for an answer, or it is saved already. */
int server_save(struct server_request *request, KnMsgId *id);
/* Answer a saved request. May be called in handlers (also of other requests) and in threads of the server's own.
 * K_EUNKNOWN: no such request (its caller was aborted, it was answered). */
int server_reply_later(KnMsgId id, const void *annex, size_t annex_size, const void *body, size_t body_size);

/* Who sent the request: ipcSysInfo, asked once. K_ENOMSG: it was saved before anybody asked. */
int server_sender(struct server_request *request, KnMsgHead *head);

#endif
