/* The network driver: an actor between lib/protocol/ether.h and the site's virtio network devices, all of them.
 *
 * Interrupts are asked for only while a client waits: for frames, or for room. Requests that wait are saved messages; of what they want to send there is
 * a copy here.
 *
 * It can be replaced while it is used: frames that came and that nobody has fetched, and frames that wait to be sent, go along; so does what ETHER_SET said.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <server/handover.h>
#include <server/server.h>

#include "../common/actor.h"
#include "net.h"

#define RECEIVERS_MOST  8               /* requests of one interface that wait for frames, */
#define SENDERS_MOST    4               /* and for room */
#define BACKLOG_MOST    16              /* batches that a hand-over takes along */

struct sender {
    KnMsgId id;
    uint32_t count, taken;              /* frames that it wants to send, and those that went */
    size_t at;                          /* where in <body> the next one is */
    uint8_t *body;                      /* those that had no room: ETHER_BODY_MAX bytes; NULL until first needed */
};

struct batch {
    uint32_t count;
    uint32_t size;
    uint8_t *body;
};

struct interface {
    struct net net;
    struct driver_registers registers;
    unsigned number, device, intr;
    bool device_is_ours;
    int port;
    uint64_t state, batches;
    KnMsgId receiver[RECEIVERS_MOST];   /* the oldest first */
    unsigned receivers;
    struct sender sender[SENDERS_MOST]; /* the oldest first */
    unsigned senders;
    struct batch backlog[BACKLOG_MOST]; /* frames that came before a hand-over, the oldest first */
    unsigned backlogs;
};

static struct interface interfaces[ETHER_INTERFACES_MAX];
static unsigned interface_count;
static _Alignas(4096) uint8_t received[ETHER_BODY_MAX];

static struct ether_reply reply_of(const struct interface *interface)
{
    return (struct ether_reply){ .flags = interface->net.info.flags, .state = interface->state };
}

/* ---- receiving ---- */

/* The next batch, at `body`, of at most `room` bytes. */
static uint32_t batch_take(struct interface *interface, uint8_t *body, size_t room, size_t *ret_size)
{
    struct batch *first = &interface->backlog[0], last;

    while (interface->backlogs > 0) {
        bool fits = first->size <= room;
        last = *first;
        memmove(first, first + 1, --interface->backlogs * sizeof *first);
        if (fits)
            memcpy(body, last.body, last.size);
        free(last.body);
        *ret_size = last.size;
        if (fits)
            return last.count;
    }
    return net_receive(&interface->net, body, room, ret_size);
}

/* Answer those that wait, as far as there are frames. */
static void receivers_serve(struct interface *interface)
{
    while (interface->receivers > 0) {
        struct ether_reply reply = reply_of(interface);
        size_t size;
        reply.count = batch_take(interface, received, sizeof received, &size);
        if (reply.count == 0) {
            if (net_receive_interrupts(&interface->net, true))
                continue;
            return;
        }
        reply.batch = ++interface->batches;
        KnMsgId id = interface->receiver[0];
        memmove(interface->receiver, interface->receiver + 1, --interface->receivers * sizeof id);
        server_reply_later(id, &reply, sizeof reply, received, size);
    }
    net_receive_interrupts(&interface->net, false);
}

/* All of them learn that something has changed. */
static void receivers_tell(struct interface *interface)
{
    struct ether_reply reply;

    interface->state++;
    reply = reply_of(interface);
    while (interface->receivers > 0)
        server_reply_later(interface->receiver[--interface->receivers], &reply, sizeof reply, NULL, 0);
}

static void receive(struct interface *interface, struct server_request *request)
{
    const struct ether_request *ask = (const void *)request->annex;
    size_t room = ask->room == 0 || ask->room > ETHER_BODY_MAX ? ETHER_BODY_MAX : ask->room, size = 0;
    struct ether_reply reply = reply_of(interface);

    if (room > request->body_room)
        room = request->body_room;
    /* Who asks for less than a whole body is not kept waiting: it would be answered with more than it has room for. */
    if (interface->receivers == 0 && (reply.count = batch_take(interface, request->body, room, &size)) > 0)
        reply.batch = ++interface->batches;
    else if (ask->state == interface->state && room == ETHER_BODY_MAX && interface->receivers < RECEIVERS_MOST
             && server_save(request, &interface->receiver[interface->receivers]) == K_OK) {
        interface->receivers++;
        receivers_serve(interface);
        return;
    }
    server_reply_body(request, &reply, sizeof reply, request->body, size);
}

/* ---- sending ---- */

static void sender_forget(struct interface *interface, unsigned index)
{
    struct sender gone = interface->sender[index];

    memmove(&interface->sender[index], &interface->sender[index + 1], (--interface->senders - index) * sizeof gone);
    interface->sender[interface->senders] = (struct sender){ .body = gone.body };
}

/* Go on with those that wait, in their order. */
static void senders_serve(struct interface *interface)
{
    while (interface->senders > 0) {
        struct sender *first = &interface->sender[0];
        size_t bytes;
        uint32_t taken = net_send(&interface->net, first->body + first->at, first->count - first->taken, &bytes);
        first->taken += taken;
        first->at += bytes;
        if (first->taken == first->count) {
            struct ether_reply reply = reply_of(interface);
            reply.count = first->count;
            server_reply_later(first->id, &reply, sizeof reply, NULL, 0);
            sender_forget(interface, 0);
        } else if (taken == 0 && !net_send_interrupts(&interface->net, true)) {
            return;
        }
    }
    net_send_interrupts(&interface->net, false);
}

/* Keep a copy of the frames that there is no room for. False: no more can wait. */
static bool sender_keep(struct interface *interface, struct server_request *request, uint32_t count, uint32_t taken, size_t at)
{
    struct sender *sender = &interface->sender[interface->senders];

    if (interface->senders == SENDERS_MOST || (sender->body == NULL && (sender->body = malloc(ETHER_BODY_MAX)) == NULL))
        return false;
    memcpy(sender->body, (const uint8_t *)request->body + at, request->body_size - at);
    sender->count = count;
    sender->taken = taken;
    sender->at = 0;
    if (server_save(request, &sender->id) != K_OK)
        return false;
    interface->senders++;
    return true;
}

static void send(struct interface *interface, struct server_request *request)
{
    const struct ether_request *ask = (const void *)request->annex;
    struct ether_reply reply = reply_of(interface);
    uint32_t taken = 0;
    size_t at = 0;

    reply.status = ask->flags & ~ETHER_WAIT ? -EINVAL : net_check(&interface->net, request->body, request->body_size, ask->count);
    for (uint32_t more = 1; reply.status == 0 && interface->senders == 0 && taken < ask->count && more > 0; taken += more) {
        size_t bytes;
        more = net_send(&interface->net, (const uint8_t *)request->body + at, ask->count - taken, &bytes);
        at += bytes;
    }
    reply.count = taken;
    if (reply.status != 0 || taken == ask->count || !(ask->flags & ETHER_WAIT) || !sender_keep(interface, request, ask->count, taken, at))
        server_reply(request, &reply, sizeof reply);
    else
        senders_serve(interface);
}

/* ---- other requests ---- */

static void tell_info(struct interface *interface, struct server_request *request)
{
    struct ether_reply reply = reply_of(interface);
    struct ether_info *info = request->body;

    net_info(&interface->net, info);
    info->state = interface->state;
    snprintf(info->name, sizeof info->name, "net%u", interface->number);
    server_reply_body(request, &reply, sizeof reply, info, sizeof *info);
}

static void set(struct interface *interface, struct server_request *request)
{
    struct ether_reply reply = reply_of(interface);

    reply.status = net_set(&interface->net, (const struct ether_request *)(const void *)request->annex);
    server_reply(request, &reply, sizeof reply);
}

static void handle(struct server_request *request)
{
    for (unsigned i = 0; i < interface_count; i++) {
        struct interface *interface = &interfaces[i];
        if (interface->port != request->port)
            continue;
        switch (request->operation) {
        case ETHER_INFO: tell_info(interface, request); return;
        case ETHER_SET: set(interface, request); return;
        case ETHER_SEND: send(interface, request); return;
        case ETHER_RECEIVE: receive(interface, request); return;
        }
    }
    server_reply(request, &(struct ether_reply){ .status = -ENODEV }, sizeof(struct ether_reply));
}

static void interrupt(unsigned which, uint64_t count)
{
    (void)count;
    for (unsigned i = 0; i < interface_count; i++) {
        struct interface *interface = &interfaces[i];
        if (interface->intr != which)
            continue;
        uint32_t reasons = virtio_acknowledge(&interface->net.driver);
        if (virtio_needs_reset(&interface->net.driver)) {
            fprintf(stderr, "net%u: the device stopped; starting again\n", i);
            exit(1);                    /* clients come to the next driver */
        }
        if (reasons & VIRTIO_INTERRUPT_CONFIG && net_link_changed(&interface->net))
            receivers_tell(interface);
        receivers_serve(interface);
        senders_serve(interface);
    }
}

static void aborted(KnMsgId id)
{
    for (unsigned i = 0; i < interface_count; i++) {
        struct interface *interface = &interfaces[i];
        for (unsigned j = 0; j < interface->receivers; j++)
            if (interface->receiver[j] == id)
                memmove(&interface->receiver[j], &interface->receiver[j + 1], (--interface->receivers - j) * sizeof id);
        for (unsigned j = 0; j < interface->senders; j++)
            if (interface->sender[j].id == id)
                sender_forget(interface, j);
    }
}

/* ---- starting ---- */

static int device_begin(struct interface *interface)
{
    int found = driver_device_open(VIRTIO_TYPE_NETWORK, interface->number, &interface->intr);

    if (found < 0)
        return found;
    interface->device = (unsigned)found;
    interface->device_is_ours = true;
    driver_registers_init(&interface->registers, &interface->device);
    return net_begin(&interface->net, &interface->registers, driver_memory) ? K_OK : K_EFAIL;
}

/* How many there are. */
static unsigned devices_count(void)
{
    KnDevice stat;
    unsigned count = 0;

    for (unsigned i = 0; deviceStat(i, &stat) == K_OK; i++)
        count += stat.bus == K_DEVICE_VIRTIO && stat.type == VIRTIO_TYPE_NETWORK;
    return count < ETHER_INTERFACES_MAX ? count : ETHER_INTERFACES_MAX;
}

static int devices_begin(void)
{
    int status = K_OK;

    interface_count = devices_count();
    for (unsigned i = 0; i < interface_count && status == K_OK; i++) {
        interfaces[i].number = i;
        if (!interfaces[i].device_is_ours)
            status = device_begin(&interfaces[i]);
    }
    return interface_count == 0 ? K_EUNKNOWN : status;
}

static int interrupts_attach(void)
{
    int status = K_OK;

    for (unsigned i = 0; i < interface_count && status == K_OK; i++)
        status = svIntrAttach(interfaces[i].intr, server_port());
    return status;
}

static int start(void)
{
    KnTime now;
    int status = devices_begin();

    sysTime(&now);
    for (unsigned i = 0; i < interface_count && status == K_OK; i++) {
        interfaces[i].state = (uint64_t)now + i + 1;
        interfaces[i].port = i == 0 ? server_port() : server_port_open(ETHER_GROUP_STAMP + 16 * i, 128, NULL);
        status = interfaces[i].port < 0 ? interfaces[i].port : K_OK;
    }
    return status == K_OK ? interrupts_attach() : status;
}

/* ---- replacing ---- */

#define LOOKS_MOST 1000                 /* at a device that does not take what is to be sent, */
#define LOOK_AGAIN 50000                /* ns after each other; then it is lost */

/* Give the device back, and keep what it has brought. */
static int device_end(struct interface *interface)
{
    size_t size;
    uint32_t count;

    for (int i = 0; net_sending(&interface->net) > 0 && i < LOOKS_MOST; i++)
        threadDelay(LOOK_AGAIN);
    while (interface->backlogs < BACKLOG_MOST && (count = net_receive(&interface->net, received, sizeof received, &size)) > 0) {
        uint8_t *body = malloc(size);
        if (body == NULL)
            break;
        memcpy(body, received, size);
        interface->backlog[interface->backlogs++] = (struct batch){ count, (uint32_t)size, body };
    }
    int status = deviceClose(interface->device);
    interface->device_is_ours = status != K_OK;
    return status;
}

static void interface_put(const struct interface *interface, struct handover_state *state)
{
    handover_put(state, &interface->state, sizeof interface->state);
    handover_put(state, &interface->batches, sizeof interface->batches);
    handover_put(state, &interface->net.info, sizeof interface->net.info);
    handover_put(state, &interface->receivers, sizeof interface->receivers);
    handover_put(state, interface->receiver, sizeof interface->receiver);
    handover_put(state, &interface->senders, sizeof interface->senders);
    for (unsigned i = 0; i < interface->senders; i++) {
        handover_put(state, &interface->sender[i], sizeof interface->sender[i]);
        handover_put(state, interface->sender[i].body, ETHER_BODY_MAX);
    }
    handover_put(state, &interface->backlogs, sizeof interface->backlogs);
    for (unsigned i = 0; i < interface->backlogs; i++) {
        handover_put(state, &interface->backlog[i], sizeof interface->backlog[i]);
        handover_put(state, interface->backlog[i].body, interface->backlog[i].size);
    }
}

static int senders_get(struct interface *interface, struct handover_state *state)
{
    for (unsigned i = 0; i < interface->senders; i++) {
        struct sender *sender = &interface->sender[i];
        if (handover_get(state, sender, sizeof *sender) != K_OK || (sender->body = malloc(ETHER_BODY_MAX)) == NULL
            || handover_get(state, sender->body, ETHER_BODY_MAX) != K_OK)
            return K_EINVAL;
    }
    return K_OK;
}

static int backlog_get(struct interface *interface, struct handover_state *state)
{
    for (unsigned i = 0; i < interface->backlogs; i++) {
        struct batch *batch = &interface->backlog[i];
        if (handover_get(state, batch, sizeof *batch) != K_OK || batch->size > ETHER_BODY_MAX || (batch->body = malloc(batch->size)) == NULL
            || handover_get(state, batch->body, batch->size) != K_OK)
            return K_EINVAL;
    }
    return K_OK;
}

static int interface_get(struct interface *interface, struct handover_state *state)
{
    handover_get(state, &interface->state, sizeof interface->state);
    handover_get(state, &interface->batches, sizeof interface->batches);
    handover_get(state, &interface->net.info, sizeof interface->net.info);
    handover_get(state, &interface->receivers, sizeof interface->receivers);
    handover_get(state, interface->receiver, sizeof interface->receiver);
    if (handover_get(state, &interface->senders, sizeof interface->senders) != K_OK || interface->senders > SENDERS_MOST
        || interface->receivers > RECEIVERS_MOST || senders_get(interface, state) != K_OK
        || handover_get(state, &interface->backlogs, sizeof interface->backlogs) != K_OK || interface->backlogs > BACKLOG_MOST)
        return K_EINVAL;
    return backlog_get(interface, state);
}

static int hand_over(struct handover_state *state)
{
    int status = K_OK;

    for (unsigned i = 0; i < interface_count && status == K_OK; i++)
        status = device_end(&interfaces[i]);
    if (status != K_OK)
        return status;
    handover_put(state, &interface_count, sizeof interface_count);
    for (unsigned i = 0; i < interface_count; i++)
        interface_put(&interfaces[i], state);
    return state->status;
}

/* Those that wait go on waiting. */
static void go_on(void)
{
    for (unsigned i = 0; i < interface_count; i++) {
        if (net_link_changed(&interfaces[i].net))
            receivers_tell(&interfaces[i]);
        receivers_serve(&interfaces[i]);
        senders_serve(&interfaces[i]);
    }
}

static void resume(void)
{
    if (devices_begin() != K_OK || interrupts_attach() != K_OK) {
        fprintf(stderr, "net: the devices do not come back\n");
        exit(1);                        /* clients come to the next driver */
    }
    go_on();
}

static int take_over(struct handover_state *state, uint32_t version)
{
    unsigned count = 0;

    if (version != 1 || handover_get(state, &count, sizeof count) != K_OK || count != devices_count())
        return K_EINVAL;
    for (unsigned i = 0; i < count; i++)
        if (interface_get(&interfaces[i], state) != K_OK)
            return K_EINVAL;
    return devices_begin();
}

static void taken_over(void)
{
    for (unsigned i = 0; i < interface_count; i++)
        interfaces[i].port = server_port_at(i);
    if (interrupts_attach() != K_OK)
        fprintf(stderr, "net: no interrupts\n");
    go_on();
}

static const struct server_handover handover = { .version = 1, .hand_over = hand_over, .resume = resume,
                                                 .take_over = take_over, .taken_over = taken_over };

int main(void)
{
    static const struct server_operation operations[] = {
        { ETHER_INFO, handle }, { ETHER_SET, handle }, { ETHER_SEND, handle }, { ETHER_RECEIVE, handle },
    };

    return -server_run(&(struct server){
        .name = "net", .stamp = ETHER_GROUP_STAMP, .workers = 1, .body_max = ETHER_BODY_MAX, .unsupported = -ENOSYS,
        SERVER_TABLE(operations), .start = start, .aborted = aborted, .interrupt = interrupt, .handover = &handover });
}
