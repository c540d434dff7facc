/* handover.c: a server hands over to its successor: both sides. See handover.h for the protocol.
 *
 * How all workers come to rest: the ports are detached, so that workers receive from the default port alone; then each of the others
 * is sent one HANDOVER_PAUSE there. A worker takes it when it has finished what it did before, and stays in it. So once as many pauses
 * are held as there are other workers, none of them has a request in hand: no flag has to be believed, and no wait is disturbed.
 */
#include "internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE 10000000000ll /* ns, for the requests that are being served */
#define PAUSE_LOOK 50000ll     /* ns between two looks */
#define BEGIN_PATIENCE (PATIENCE + 5000000000ll)
#define COPY_STEP (1u << 20) /* bytes of the state at a time */

struct pause_message {
    uint32_t operation;
    uint32_t generation;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t released;
    bool under_way;      /* between HANDOVER_BEGIN and its end */
    uint32_t generation; /* of the pause */
    unsigned paused;
    KnCap successor;
    struct handover_state state;
} handover = { .lock = PTHREAD_MUTEX_INITIALIZER, .released = PTHREAD_COND_INITIALIZER };

/* ---- the state ---- */

int handover_put(struct handover_state *state, const void *bytes, size_t size)
{
    if (size > state->room - state->size) {
        size_t room = state->room * 2 > state->size + size ? state->room * 2 : state->size + size;
        unsigned char *more = realloc(state->bytes, room);
        if (more == NULL)
            return state->status = K_ENOMEM;
        state->bytes = more;
        state->room = room;
    }
    memcpy(state->bytes + state->size, bytes, size);
    state->size += size;
    return K_OK;
}

/* On this side <room> is all there is, and <size> what has been read. */
int handover_get(struct handover_state *state, void *bytes, size_t size)
{
    if (size > state->room - state->size)
        return state->status = K_EINVAL;
    memcpy(bytes, state->bytes + state->size, size);
    state->size += size;
    return K_OK;
}

static void state_free(struct handover_state *state)
{
    free(state->bytes);
    *state = (struct handover_state){ 0 };
}

/* ---- the predecessor: workers at rest ---- */

static void ports_disable(void)
{
    for (unsigned i = 0; i < server_port_count; i++)
        if (server_ports[i].priority != PORT_NOT_ENABLED)
            server_port_detach(server_ports[i].li);
}

static void ports_enable(void)
{
    for (unsigned i = 0; i < server_port_count; i++)
        if (server_ports[i].priority != PORT_NOT_ENABLED)
            server_port_attach(server_ports[i].li, server_ports[i].priority);
}

static void pause_here(const struct server_request *request)
{
    struct pause_message message;
    memcpy(&message, request->annex, sizeof message);
    pthread_mutex_lock(&handover.lock);
    if (message.generation == handover.generation) /* else it is of a pause that is over */
        handover.paused++;
    while (message.generation == handover.generation)
        pthread_cond_wait(&handover.released, &handover.lock);
    pthread_mutex_unlock(&handover.lock);
}

static bool all_are_paused(unsigned others)
{
    pthread_mutex_lock(&handover.lock);
    bool all = handover.paused == others;
    pthread_mutex_unlock(&handover.lock);
    return all;
}

static int others_pause(void)
{
    unsigned others = server_pool_close() - 1;
    _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    struct pause_message message = { .operation = HANDOVER_PAUSE, .generation = handover.generation };
    KnMsgDesc desc = { .annexAddr = annex };
    KnIpcDest dest = { .mode = K_PORTMODE };
    int status = portUi(K_MYACTOR, K_DEFAULTPORT, &dest.target);
    memcpy(annex, &message, sizeof message);
    for (unsigned i = 0; i < others && status == K_OK; i++)
        status = ipcSend(&desc, K_DEFAULTPORT, &dest);
    KnTime now = 0, end;
    sysTime(&end);
    end += PATIENCE;
    while (status == K_OK && !all_are_paused(others)) {
        threadDelay(PAUSE_LOOK);
        sysTime(&now);
        if (now > end)
            status = K_ETIMEOUT;
    }
    return status;
}

static void others_release(void)
{
    pthread_mutex_lock(&handover.lock);
    handover.generation++;
    handover.paused = 0;
    pthread_cond_broadcast(&handover.released);
    pthread_mutex_unlock(&handover.lock);
    server_pool_open();
}

/* ---- the predecessor: requests ---- */

/* There is no successor after all. */
static void go_on(const struct server *server, bool has_handed_over)
{
    state_free(&handover.state);
    if (has_handed_over && server->handover->resume != NULL)
        server->handover->resume();
    handover.under_way = false;
    ports_enable();
    others_release();
}

static int begin_check(const struct server *server, struct server_request *request, const struct handover_begin *ask)
{
    KnMsgHead head;
    if (server_sender(request, &head) != K_OK || !(head.flags & K_HEAD_TRUSTED))
        return K_EPRIV;
    if (server->handover == NULL || server_port_count > HANDOVER_PORTS_MAX)
        return K_ENOSYS;
    if (handover.under_way)
        return K_EBUSY;
    if (ask->protocol != HANDOVER_PROTOCOL || memchr(ask->server, 0, sizeof ask->server) == NULL || strcmp(ask->server, server->name) != 0 ||
        !uiEqual(&head.srcActor, &ask->successor.ui))
        return K_EINVAL;
    return K_OK;
}

static int hand_over(const struct server *server)
{
    int status = server->handover->hand_over != NULL ? server->handover->hand_over(&handover.state) : K_OK;
    if (status == K_OK)
        status = handover.state.status;
    /* If the successor is gone before it has taken over, this is how we hear of it. */
    if (status == K_OK)
        status = actorWatch(&handover.successor.ui, K_DEFAULTPORT, handover.generation);
    return status;
}

static void begin(const struct server *server, struct server_request *request)
{
    struct handover_begin ask;
    struct handover_begun answer = { .version = server->handover != NULL ? server->handover->version : 0 };
    memcpy(&ask, request->annex, sizeof ask);
    answer.status = begin_check(server, request, &ask);
    if (answer.status == K_OK) {
        handover.under_way = true;
        handover.successor = ask.successor;
        ports_disable();
        answer.status = others_pause();
        bool paused = answer.status == K_OK;
        if (paused)
            answer.status = hand_over(server);
        if (answer.status == K_OK)
            answer.status = actorSelf(&answer.predecessor);
        if (answer.status != K_OK)
            go_on(server, paused);
    }
    answer.state = (VmAddr)(uintptr_t)handover.state.bytes;
    answer.state_size = handover.state.size;
    server_reply(request, &answer, sizeof answer);
}

/* Is it the successor that began who asks? */
static bool is_successor(struct server_request *request)
{
    KnMsgHead head;
    return handover.under_way && server_sender(request, &head) == K_OK && (head.flags & K_HEAD_TRUSTED) &&
           uiEqual(&head.srcActor, &handover.successor.ui);
}

static int ports_migrate(struct handover_port *moved)
{
    for (unsigned i = 0; i < server_port_count; i++) {
        uint32_t received;
        int li = portMigrate(K_MIGRATE_KEEP, K_MYACTOR, server_ports[i].li, &handover.successor, &received);
        if (li < 0 && i == 0)
            return li; /* nothing has happened */
        if (li < 0) {
            fprintf(stderr, "a port could not be handed over after others were: %s\n", knStrError(li));
            actorDelete(K_MYACTOR);
        }
        moved[i] = (struct handover_port){ .ui = server_ports[i].ui, .li = li, .priority = server_ports[i].priority };
    }
    return K_OK;
}

/* The answer is the last thing that it does. */
static void commit(const struct server *server, struct server_request *request)
{
    struct handover_port moved[HANDOVER_PORTS_MAX];
    struct handover_committed answer = { .status = K_EPRIV, .ports = server_port_count };
    KnMsgId id;
    if (is_successor(request)) {
        answer.status = ports_migrate(moved);
        if (answer.status != K_OK)
            go_on(server, true);
    }
    if (answer.status != K_OK || server_save(request, &id) != K_OK) {
        server_reply(request, &answer, sizeof answer);
        return;
    }
    server_reply_later(id, &answer, sizeof answer, moved, server_port_count * sizeof *moved);
    actorDelete(K_MYACTOR);
}

static void cancel(const struct server *server, struct server_request *request)
{
    bool may = is_successor(request);
    if (may)
        go_on(server, true);
    server_reply_status(request, may ? K_OK : K_EPRIV);
}

static void successor_gone(const struct server *server, struct server_request *request)
{
    KnWatchMsg watch;
    KnMsgHead head;
    memcpy(&watch, request->annex, sizeof watch);
    if (server_sender(request, &head) == K_OK && (head.flags & K_HEAD_NUCLEUS) && handover.under_way &&
        uiEqual(&watch.ui, &handover.successor.ui))
        go_on(server, true);
}

static bool is_own(struct server_request *request)
{
    KnMsgHead head;
    KnCap self;
    return server_sender(request, &head) == K_OK && actorSelf(&self) == K_OK && uiEqual(&head.srcActor, &self.ui);
}

void handover_dispatch(const struct server *server, struct server_request *request)
{
    switch (request->operation) {
    case HANDOVER_BEGIN: begin(server, request); break;
    case HANDOVER_COMMIT: commit(server, request); break;
    case HANDOVER_CANCEL: cancel(server, request); break;
    case HANDOVER_PAUSE:
        if (is_own(request))
            pause_here(request);
        break;
    case K_MSG_WATCH: successor_gone(server, request); break;
    default: server_reply_status(request, server->unsupported); break;
    }
}

/* ---- the successor ---- */

static KnIpcDest predecessor;

bool handover_is_wanted(void)
{
    return getenv(HANDOVER_VARIABLE) != NULL;
}

static int ask(const void *request, size_t request_size, void *reply, size_t reply_size, void *body, size_t body_size, KnTime delay)
{
    _Alignas(16) uint8_t out[K_CMSGANNEXSIZE] = { 0 }, in[K_CMSGANNEXSIZE] = { 0 };
    KnMsgDesc message = { .annexAddr = out }, answer = { .annexAddr = in, .bodyAddr = body, .bodySize = (uint32_t)body_size };
    memcpy(out, request, request_size);
    int size = ipcCall(&message, K_DEFAULTPORT, &predecessor, &answer, delay);
    memcpy(reply, in, reply_size);
    return size;
}

static int state_fetch(const struct handover_begun *begun)
{
    struct handover_state *state = &handover.state;
    *state = (struct handover_state){ .bytes = malloc(begun->state_size + 1), .room = begun->state_size };
    if (state->bytes == NULL)
        return K_ENOMEM;
    int status = K_OK;
    for (size_t at = 0; at < state->room && status >= 0; at += COPY_STEP)
        status = vmCopy(&begun->predecessor, begun->state + at, K_MYACTOR, (VmAddr)(uintptr_t)state->bytes + at,
                        state->room - at < COPY_STEP ? state->room - at : COPY_STEP);
    return status < 0 ? status : K_OK;
}

static int begin_ask(const struct server *server, struct handover_begun *begun)
{
    struct handover_begin request = { .operation = HANDOVER_BEGIN, .protocol = HANDOVER_PROTOCOL };
    const char *place = getenv(HANDOVER_VARIABLE);
    predecessor = (KnIpcDest){ .mode = K_PORTMODE };
    if (sscanf(place, "%8x.%8x", &predecessor.target.uiHead, &predecessor.target.uiTail) != 2 || server->handover == NULL)
        return K_EINVAL;
    int status = actorSelf(&request.successor);
    if (status != K_OK)
        return status;
    strcpy(request.server, server->name); /* server_check has seen to its length */
    status = ask(&request, sizeof request, begun, sizeof *begun, NULL, 0, BEGIN_PATIENCE);
    return status < 0 ? status : begun->status;
}

static void cancel_ask(void)
{
    const uint32_t request = HANDOVER_CANCEL;
    int32_t status;
    ask(&request, sizeof request, &status, sizeof status, NULL, 0, BEGIN_PATIENCE);
}

int handover_prepare(const struct server *server)
{
    struct handover_begun begun;
    int status = begin_ask(server, &begun);
    if (status != K_OK) {
        fprintf(stderr, "%s: the one before does not hand over: %s\n", server->name, knStrError(status));
        return status;
    }
    status = state_fetch(&begun);
    if (status == K_OK && server->handover->take_over != NULL)
        status = server->handover->take_over(&handover.state, begun.version);
    if (status != K_OK)
        cancel_ask();
    state_free(&handover.state);
    return status;
}

int handover_finish(const struct server *server)
{
    const uint32_t request = HANDOVER_COMMIT;
    struct handover_committed committed;
    struct handover_port moved[HANDOVER_PORTS_MAX];
    int size = ask(&request, sizeof request, &committed, sizeof committed, moved, sizeof moved, K_FOREVER);
    if (size >= 0 && committed.status != K_OK)
        return committed.status;
    if (size < 0 || committed.ports > HANDOVER_PORTS_MAX || (size_t)size != committed.ports * sizeof *moved)
        return size < 0 ? size : K_EINVAL;
    server_port_count = committed.ports;
    for (unsigned i = 0; i < committed.ports; i++)
        server_ports[i] = (struct server_port){ .ui = moved[i].ui, .li = moved[i].li, .priority = moved[i].priority };
    if (server->handover->taken_over != NULL)
        server->handover->taken_over();
    ports_enable();
    unsetenv(HANDOVER_VARIABLE);
    return K_OK;
}
