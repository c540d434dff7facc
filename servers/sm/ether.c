/* Ethernet frames in and out, by two threads for each interface: one asks the driver for frames, the other one sends, in batches.
 *
 * Frames that are made while a batch is under way fill the next ones; when all are full they are refused, and TCP sends them when there is
 * room again. Nothing is asked of a driver before a program uses the network.
 */

#include "ether.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lwip/priv/tcp_priv.h>
#include <protocol/ether.h>
#include <dki/dki.h>
#include <protocol/virtio.h>
#include <server/client.h>

#include "interface.h"
#include "lock.h"

#define BATCHES 16
#define PATIENCE_FIRST 1000000000ll /* ns for a driver to be there when the network is first used */
#define PATIENCE 60000000000ll      /* and to be there again */

struct batch {
    uint32_t size, count;
    _Alignas(8) uint8_t body[ETHER_BODY_MAX];
};

struct line {
    unsigned number;
    KnIpcDest driver;
    struct interface *interface;
    struct batch *batches; /* a ring */
    unsigned first, filled; /* the one to be sent next; how many are not sent, the one that is filled included */
    bool under_way, refused;
    pthread_cond_t work;
    uint8_t *received;
};

static struct line *lines[INTERFACES_MOST];
static pthread_mutex_t queues = PTHREAD_MUTEX_INITIALIZER; /* of all lines; taken inside the core's lock, never around it */

/* ---- sending ---- */

static struct batch *batch_with_room(struct line *line, uint32_t space)
{
    struct batch *last = line->filled > 0 ? &line->batches[(line->first + line->filled - 1) % BATCHES] : NULL;
    bool is_open = last != NULL && !(line->filled == 1 && line->under_way);
    if (is_open && ETHER_BODY_MAX - last->size >= space && last->count < ETHER_BATCH_MAX)
        return last;
    if (line->filled == BATCHES)
        return NULL;
    last = &line->batches[(line->first + line->filled++) % BATCHES];
    last->size = last->count = 0;
    return last;
}

/* With both locks: the core's, and until ether_flush the frame is being written. */
static uint8_t *frame_room(unsigned number, size_t length)
{
    struct line *line = lines[number];
    uint32_t space = ether_frame_space((uint32_t)length);
    uint8_t *room = NULL;
    if (length > ETHER_FRAME_MAX)
        return NULL;
    pthread_mutex_lock(&queues);
    struct batch *batch = batch_with_room(line, space);
    if (batch == NULL) {
        line->refused = true;
    } else {
        struct ether_frame frame = { .length = (uint32_t)length };
        memcpy(batch->body + batch->size, &frame, sizeof frame);
        room = batch->body + batch->size + sizeof frame;
        batch->size += space;
        batch->count++;
    }
    pthread_mutex_unlock(&queues);
    return room;
}

void ether_flush(void)
{
    for (unsigned i = 0; i < INTERFACES_MOST; i++) {
        if (lines[i] == NULL)
            continue;
        pthread_mutex_lock(&queues);
        if (lines[i]->filled > 0 && !lines[i]->under_way)
            pthread_cond_signal(&lines[i]->work);
        pthread_mutex_unlock(&queues);
    }
}

/* The core's lock is taken so that no frame is half written. */
static struct batch *next_batch(struct line *line)
{
    pthread_mutex_lock(&queues);
    while (line->filled == 0)
        pthread_cond_wait(&line->work, &queues);
    pthread_mutex_unlock(&queues);
    sm_lock();
    pthread_mutex_lock(&queues);
    line->under_way = true;
    pthread_mutex_unlock(&queues);
    sm_unlock();
    return &line->batches[line->first];
}

static void send_batch(struct line *line, const struct batch *batch)
{
    struct ether_request request = { .operation = ETHER_SEND, .flags = ETHER_WAIT, .count = batch->count };
    struct ether_reply reply;
    struct client_data data = { .out = batch->body, .out_size = batch->size };
    client_call_patiently(&line->driver, &request, sizeof request, &reply, sizeof reply, &data, PATIENCE);
}

static void *send_all(void *argument)
{
    struct line *line = argument;
    for (;;) {
        send_batch(line, next_batch(line));
        pthread_mutex_lock(&queues);
        line->under_way = false;
        line->first = (line->first + 1) % BATCHES;
        line->filled--;
        bool refused = line->refused;
        line->refused = false;
        pthread_mutex_unlock(&queues);
        if (refused) {
            sm_lock();
            tcp_txnow();
            sm_unlock();
        }
    }
    return NULL;
}

/* ---- receiving ---- */

static void take_frames(struct line *line, uint32_t count, size_t size)
{
    struct ether_frame frame;
    for (size_t at = 0; count > 0 && size - at >= sizeof frame; count--) {
        memcpy(&frame, line->received + at, sizeof frame);
        if (frame.length > size - at - sizeof frame)
            return;
        interface_receive(line->interface, line->received + at + sizeof frame, frame.length);
        size_t space = ether_frame_space(frame.length);
        at += space < size - at ? space : size - at;
    }
}

static void *receive_all(void *argument)
{
    struct line *line = argument;
    uint64_t state = 0;
    for (;;) {
        struct ether_request request = { .operation = ETHER_RECEIVE, .state = state };
        struct ether_reply reply;
        struct client_data data = { .in = line->received, .in_size = ETHER_BODY_MAX };
        int size = client_call_patiently(&line->driver, &request, sizeof request, &reply, sizeof reply, &data, PATIENCE);
        if (size < 0)
            continue;
        if (reply.status != 0) {
            fprintf(stderr, "sm: %s: its driver gives up: error %d\n", line->interface->name, -reply.status);
            return NULL;
        }
        state = reply.state;
        sm_lock();
        interface_link(line->interface, reply.flags & ETHER_LINK_UP);
        take_frames(line, reply.count, size < ETHER_BODY_MAX ? (size_t)size : ETHER_BODY_MAX);
        sm_unlock();
    }
    return NULL;
}

/* ---- beginning ---- */

static bool ask_info(struct line *line, struct ether_info *info)
{
    struct ether_request request = { .operation = ETHER_INFO };
    struct ether_reply reply;
    struct client_data data = { .in = info, .in_size = sizeof *info };
    memset(info, 0, sizeof *info);
    int size = client_call_patiently(&line->driver, &request, sizeof request, &reply, sizeof reply, &data, PATIENCE_FIRST);
    return size >= (int)sizeof *info && reply.status == 0;
}

static struct interface *make_interface(struct line *line, const struct ether_info *info)
{
    struct interface_description description = { .mtu = info->mtu, .link_up = info->flags & ETHER_LINK_UP, .prefix = info->hint_prefix };
    memcpy(description.hardware, info->address, 6);
    memcpy(description.address, info->hint_address, 4);
    memcpy(description.router, info->hint_router, 4);
    memcpy(description.name_server, info->hint_name_server, 4);
    lines[line->number] = line;
    return interface_add(line->number, &description, frame_room);
}

static bool start_threads(struct line *line)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, send_all, line) != 0)
        return false;
    pthread_detach(thread);
    if (pthread_create(&thread, NULL, receive_all, line) != 0)
        return false;
    pthread_detach(thread);
    return true;
}

static void start_line(unsigned number)
{
    struct ether_info info;
    struct line *line = calloc(1, sizeof *line);
    if (line != NULL) {
        line->number = number;
        line->driver = client_group(ETHER_GROUP_STAMP + 16 * number);
        line->batches = calloc(BATCHES, sizeof *line->batches);
        line->received = malloc(ETHER_BODY_MAX);
        pthread_cond_init(&line->work, NULL);
    }
    if (line == NULL || line->batches == NULL || line->received == NULL) {
        fprintf(stderr, "sm: no memory for interface %u\n", number);
        return;
    }
    if (!ask_info(line, &info) || (line->interface = make_interface(line, &info)) == NULL || !start_threads(line))
        fprintf(stderr, "sm: interface %u cannot be used: its driver does not answer\n", number);
}

void ether_start(void)
{
    KnDevice stat;
    unsigned number = 0;
    for (unsigned i = 0; deviceStat(i, &stat) == K_OK && number < INTERFACES_MOST; i++)
        if (stat.bus == K_DEVICE_VIRTIO && stat.type == VIRTIO_TYPE_NETWORK)
            start_line(number++);
}
