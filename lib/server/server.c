/* server.c: the loop that all servers share.
 *
 * Each worker takes a message, hands it to its handler, and gives the answer away together with its
 * wish for the next message: one nucleus call per request. Where the Nucleus has message handlers the
 * worker lends itself, and is called with each message: that differs in the last part of this file alone.
 */
#include "internal.h"

#include <dki/dki.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUCLEUS_OPERATIONS 128 /* below: messages of the Nucleus */
#define FIRST_PORT_PRIORITY 128

struct server_port server_ports[HANDOVER_PORTS_MAX];
unsigned server_port_count;
/* Workers of a successor start before it has its ports, and wait here. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
/* The request that the calling thread handles. */
static __thread struct server_request *handled;
/* In a supervisor actor: the ports have a message handler, which calls the one server of this actor with the calling worker's own request. */
static bool has_handlers;
static const struct server *the_server;
static __thread struct server_request *lent;
static void handler_routine(const KnMsgDesc *message, void *port);

/* --- ports --- */

static int group_join(uint32_t stamp, const KnUniqueId *port)
{
    KnCap group;
    int status = grpAllocate(K_STATSYS, &group, stamp);
    return status < 0 ? status : grpPortInsert(&group, port);
}

static void port_note(int port, const KnUniqueId *ui, unsigned priority)
{
    if (server_port_count < HANDOVER_PORTS_MAX)
        server_ports[server_port_count] = (struct server_port){ .ui = *ui, .li = port, .priority = priority };
    server_port_count++;
}

int server_port_attach(int port, unsigned priority)
{
    int status = has_handlers ? svMsgHandler(K_MYACTOR, port, handler_routine, 0, (void *)(intptr_t)port) : K_OK;
    return status == K_OK ? portEnable(K_MYACTOR, port, priority) : status;
}

void server_port_detach(int port)
{
    portDisable(K_MYACTOR, port);
    if (has_handlers)
        svMsgHandler(K_MYACTOR, port, NULL, 0, NULL);
}

int server_port_open(uint32_t stamp, unsigned priority, KnUniqueId *ui)
{
    KnUniqueId name;
    int port = portCreate(K_MYACTOR, &name);
    if (port < 0)
        return port;
    int status = server_port_attach(port, priority);
    if (status == K_OK && stamp != 0)
        status = group_join(stamp, &name);
    if (status != K_OK) {
        portDelete(K_MYACTOR, port);
        return status;
    }
    port_note(port, &name, priority);
    if (ui != NULL)
        *ui = name;
    return port;
}

int server_port_declare(const KnUniqueId *ui, unsigned priority)
{
    int port = portDeclare(K_MYACTOR, ui);
    if (port < 0)
        return port;
    int status = server_port_attach(port, priority);
    if (status != K_OK) {
        portDelete(K_MYACTOR, port);
        return status;
    }
    port_note(port, ui, priority);
    return port;
}

int server_port_add(int port)
{
    KnUniqueId name;
    int status = portUi(K_MYACTOR, port, &name);
    if (status == K_OK)
        port_note(port, &name, PORT_NOT_ENABLED);
    return status;
}

int server_port_at(unsigned index)
{
    return index < server_port_count && index < HANDOVER_PORTS_MAX ? server_ports[index].li : K_EUNKNOWN;
}

int server_port(void)
{
    return server_port_at(0);
}

/* --- answers --- */

void server_reply_body(struct server_request *request, const void *annex, size_t annex_size,
                       const void *body, size_t body_size)
{
    if (annex_size > K_CMSGANNEXSIZE)
        annex_size = K_CMSGANNEXSIZE;
    memcpy(request->reply_annex, annex, annex_size);
    memset(request->reply_annex + annex_size, 0, K_CMSGANNEXSIZE - annex_size);
    request->reply_body = body;
    request->reply_body_size = (uint32_t)body_size;
    request->answered = true;
}

void server_reply(struct server_request *request, const void *annex, size_t annex_size)
{
    server_reply_body(request, annex, annex_size, NULL, 0);
}

void server_reply_status(struct server_request *request, int32_t status)
{
    server_reply_body(request, &status, sizeof status, NULL, 0);
}

/* What the Nucleus says of the request; NULL: it does not say. */
static const KnMsgHead *head_of(struct server_request *request)
{
    if (!request->head_known && ipcSysInfo(&request->head) == K_OK)
        request->head_known = true;
    return request->head_known ? &request->head : NULL;
}

int server_sender(struct server_request *request, KnMsgHead *head)
{
    const KnMsgHead *known = head_of(request);
    if (known == NULL)
        return K_ENOMSG;
    *head = *known;
    return K_OK;
}

int server_save(struct server_request *request, KnMsgId *id)
{
    const KnMsgHead *head = request->saved ? NULL : head_of(request);
    if (head == NULL || !(head->flags & K_HEAD_CALL))
        return K_ENOMSG;
    int status = ipcSave(id);
    if (status == K_OK)
        request->saved = true;
    return status;
}

/* A thread has one current message: while it answers another one, its own is parked. */
int server_reply_later(KnMsgId id, const void *annex, size_t annex_size, const void *body,
                       size_t body_size)
{
    _Alignas(16) uint8_t reply_annex[K_CMSGANNEXSIZE] = { 0 };
    KnMsgId own = 0;
    if (annex_size > sizeof reply_annex)
        return K_EINVAL;
    memcpy(reply_annex, annex, annex_size);

    if (handled != NULL && !handled->saved && ipcSave(&own) != K_OK)
        own = 0; /* too many are parked: it is dropped, its caller gets K_EDEAD */
    int status = ipcRestore(&id);
    if (status == K_OK) {
        KnMsgDesc reply = { .annexAddr = reply_annex,
                            .bodyAddr = (void *)body,
                            .bodySize = (uint32_t)body_size };
        status = ipcReply(&reply);
    }
    if (own != 0 && ipcRestore(&own) != K_OK)
        handled->saved = true; /* its caller is gone meanwhile: nothing is left to be answered */
    return status;
}

/* --- from a message to its handler --- */

static server_handler *operation_find(const struct server *server, uint32_t number)
{
    size_t low = 0, high = server->operation_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (server->operations[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < server->operation_count && server->operations[low].number == number)
        return server->operations[low].handler;
    return server->other;
}

static bool is_of_nucleus(struct server_request *request)
{
    const KnMsgHead *head = request->flags_known ? NULL : head_of(request);
    uint32_t flags = request->flags_known ? request->flags : head != NULL ? head->flags : 0;
    return (flags & K_HEAD_NUCLEUS) != 0;
}

/* Messages that the Nucleus sends by itself and for which struct server has a function. */
static bool event_dispatch(const struct server *server, const struct server_request *request)
{
    const void *annex = request->annex;
    switch (request->operation) {
    case K_MSG_TIMER: {
        const KnTimerMsg *message = annex;
        if (server->timer != NULL)
            server->timer(message->timer, message->cookie, message->overruns);
        return server->timer != NULL;
    }
    case K_MSG_INTERRUPT: {
        const KnIntrMsg *message = annex;
        if (server->interrupt == NULL)
            return false;
        server->interrupt(message->intr, message->count);
        svIntrDone(message->intr);
        return true;
    }
    case K_MSG_WATCH:
        if (server->gone != NULL)
            server->gone(annex);
        return server->gone != NULL;
    case K_MSG_ABORTED: {
        const KnAbortedMsg *message = annex;
        if (server->aborted != NULL)
            server->aborted(message->id);
        return true; /* a server that saves nothing has nothing to forget */
    }
    default:
        return false;
    }
}

static void request_dispatch(const struct server *server, struct server_request *request)
{
    memcpy(&request->operation, request->annex, sizeof request->operation);
    if (request->port == K_DEFAULTPORT) {
        handover_dispatch(server, request);
        return;
    }
    if (request->operation < NUCLEUS_OPERATIONS) {
        if (!is_of_nucleus(request)) {
            fprintf(stderr, "%s: dropped a forged message of the Nucleus, kind %u\n", server->name,
                    request->operation);
            return;
        }
        if (event_dispatch(server, request))
            return;
    }
    server_handler *handler = operation_find(server, request->operation);
    if (handler != NULL && request->body_size <= request->body_room)
        handler(request);
    else
        server_reply_status(request, server->unsupported);
}

/* --- the pool of workers --- */

static struct {
    pthread_mutex_t lock; /* of what makes it grow */
    bool closed;
    _Atomic unsigned count, busy;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .count = 1 };

static void *worker_thread(void *server);

static int worker_start(const struct server *server)
{
    pthread_t thread;
    pool.count++;
    if (pthread_create(&thread, NULL, worker_thread, (void *)server) != 0) {
        pool.count--;
        return K_ENOMEM;
    }
    pthread_detach(thread);
    return K_OK;
}

/* The last one that was free is busy from now on. */
static void pool_grow(const struct server *server)
{
    pthread_mutex_lock(&pool.lock);
    if (!pool.closed && pool.count < server->workers_most && pool.busy >= pool.count)
        worker_start(server); /* or it waits for one of those that there are */
    pthread_mutex_unlock(&pool.lock);
}

unsigned server_pool_close(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.closed = true;
    unsigned count = pool.count;
    pthread_mutex_unlock(&pool.lock);
    return count;
}

void server_pool_open(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.closed = false;
    pthread_mutex_unlock(&pool.lock);
}

static void request_serve(const struct server *server, struct server_request *request)
{
    bool counts = request->port != K_DEFAULTPORT; /* a worker that is to rest is no reason for another */
    if (counts && ++pool.busy >= pool.count && pool.count < server->workers_most)
        pool_grow(server);
    handled = request;
    request_dispatch(server, request);
    handled = NULL;
    if (counts)
        pool.busy--;
}

/* --- the loop --- */

/* Give the answer to <request> away, if it has one, and take the next message. */
static int request_next(struct server_request *request)
{
    KnMsgDesc reply = { .annexAddr = request->reply_annex,
                        .bodyAddr = (void *)request->reply_body,
                        .bodySize = request->reply_body_size };
    KnMsgDesc message = { .flags = K_ABORTABLE,
                          .annexAddr = request->annex,
                          .bodyAddr = request->body,
                          .bodySize = request->body_room };
    int port = K_ANYENABLED;
    bool answer = request->answered && !request->saved;

    request->answered = request->saved = request->head_known = false;
    int status = ipcReplyReceive(answer ? &reply : NULL, &message, &port, K_FOREVER);
    request->port = port;
    request->body_size = message.bodySize;
    return status;
}

/* Serve until receiving fails for good: then nothing of the reply can be blamed any more. */
static int worker_loop(const struct server *server, struct server_request *request)
{
    for (;;) {
        bool answered = request->answered;
        int status = request_next(request);
        if (status == K_EABORT || status == K_ETIMEOUT)
            continue; /* the caller of the last request was aborted: no matter any more */
        if (status < 0 && answered) {
            fprintf(stderr, "%s: a reply failed: %s\n", server->name, knStrError(status));
            continue;
        }
        if (status < 0)
            return status;
        request_serve(server, request);
    }
}

/* --- the loop, where there are message handlers: the Nucleus has it --- */

static void handler_routine(const KnMsgDesc *message, void *port)
{
    struct server_request *request = lent;
    memcpy(request->annex, message->annexAddr, sizeof request->annex);
    request->port = (int)(intptr_t)port;
    request->body = message->bodyAddr;
    request->body_size = message->bodySize;
    request->flags = message->flags;
    request->flags_known = true;
    request->answered = request->saved = request->head_known = false;
    request_serve(the_server, request);
    if (request->answered && !request->saved)
        svMsgHdlReply(&(KnMsgDesc){ .annexAddr = request->reply_annex,
                                    .bodyAddr = (void *)request->reply_body,
                                    .bodySize = request->reply_body_size });
}

static uint32_t body_room(const struct server *server)
{
    return server->body_max == 0 ? K_CMSGSIZEMAX : server->body_max;
}

static int worker_receive(const struct server *server, struct server_request *request)
{
    size_t room = ((size_t)body_room(server) + K_PAGESIZE - 1) / K_PAGESIZE * K_PAGESIZE;
    void *body = aligned_alloc(K_PAGESIZE, room);
    int status = K_ENOMEM;
    request->body = body;
    if (body != NULL)
        status = worker_loop(server, request);
    free(body);
    return status;
}

static int worker_lend(const struct server *server, struct server_request *request)
{
    lent = request;
    int status = svHandlerServe(body_room(server));
    lent = NULL;
    return status;
}

static int worker_run(const struct server *server)
{
    struct server_request *request = calloc(1, sizeof *request);
    int status = K_ENOMEM;
    if (request != NULL) {
        request->body_room = body_room(server);
        status = has_handlers ? worker_lend(server, request) : worker_receive(server, request);
    }
    free(request);
    fprintf(stderr, "%s: a worker ends: %s\n", server->name, knStrError(status));
    return status;
}

static void *worker_thread(void *server)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    worker_run(server);
    return NULL;
}

static int workers_start(const struct server *server)
{
    int status = K_OK;
    for (unsigned i = 1; i < server->workers && status == K_OK; i++)
        status = worker_start(server);
    return status;
}

static int server_check(const struct server *server)
{
    if (server->name == NULL || strlen(server->name) >= K_NAMEMAX ||
        body_room(server) > K_CMSGSIZEMAX)
        return K_EINVAL;
    for (size_t i = 0; i < server->operation_count; i++)
        if (server->operations[i].handler == NULL ||
            (i > 0 && server->operations[i].number <= server->operations[i - 1].number))
            return K_EINVAL;
    return K_OK;
}

/* Who loaded it may have given it a name of his own. */
static int name_set(const struct server *server)
{
    char name[K_NAMEMAX] = { 0 };
    const char *given = getenv(SERVER_NAME_VARIABLE);
    snprintf(name, sizeof name, "%s", given != NULL ? given : server->name);
    return actorName(K_MYACTOR, NULL, name);
}

/* By the default port others ask it to hand over. */
static int default_port_enable(void)
{
    return server_port_attach(K_DEFAULTPORT, 0);
}

/* The group is joined last: then the server is ready for whoever finds it there. */
static int start_afresh(const struct server *server)
{
    KnUniqueId ui;
    int status = server_port_open(0, FIRST_PORT_PRIORITY, &ui);
    if (status < 0)
        return status;
    status = server->start != NULL ? server->start() : K_OK;
    if (status == K_OK && server->stamp != 0)
        status = group_join(server->stamp, &ui);
    if (status == K_OK)
        status = default_port_enable();
    return status == K_OK ? workers_start(server) : status;
}

/* All that can fail comes before the ports do. */
static int start_as_successor(const struct server *server)
{
    int status = handover_prepare(server);
    if (status != K_OK)
        return status;
    pthread_mutex_lock(&gate);
    status = workers_start(server);
    if (status == K_OK)
        status = default_port_enable();
    if (status == K_OK)
        status = handover_finish(server);
    pthread_mutex_unlock(&gate);
    return status;
}

static int server_start(const struct server *server)
{
    int privilege;
    int status = server_check(server);
    if (status == K_OK)
        status = actorPrivilege(K_MYACTOR, &privilege, NULL);
    has_handlers = status == K_OK && privilege == K_SUPACTOR && !server->receives;
    the_server = server;
    if (status == K_OK)
        status = name_set(server);
    if (status != K_OK)
        return status;
    return handover_is_wanted() ? start_as_successor(server) : start_afresh(server);
}

int server_run(const struct server *server)
{
    int status = server_start(server);
    if (status != K_OK) {
        fprintf(stderr, "%s: cannot start: %s\n", server->name == NULL ? "a server" : server->name,
                knStrError(status));
        return status;
    }
    return worker_run(server);
}
