/* Ethernet frames in and out, by two threads for each interface: one asks the driver for frames, the other one sends, in batches.
 *
 * Frames that are made while a batch is under way fill the next ones; when all are full they are refused, and TCP sends them when there is
 * room again. Nothing is asked of a driver before a program uses the network.
 *
 * What the driver offers to do with frames (offload.c) is asked of each driver that comes, when its state tells that it is another one. A batch that was made for one that did more is
 * refused by the next one: that is asked, too, and what it does not do with the batch is done here.
 */

#include "ether.h"

#include <errno.h>
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
#include "offload.h"

#define BATCHES 16
#define PATIENCE_FIRST 5000000000ll /* ns for a driver to be there when the network is first used */
#define PATIENCE 60000000000ll      /* and to be there again */
#define FEATURES (ETHER_SEND_CHECKSUM | ETHER_SEND_TCP4 | ETHER_SEND_TCP6 | ETHER_RECEIVE_CHECKSUM | ETHER_RECEIVE_TCP4 | ETHER_RECEIVE_TCP6)

struct batch {
    uint32_t size, count;
    uint32_t last; /* where the last frame is */
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

/* The one that is being filled; NULL: none is. */
static struct batch *batch_open(struct line *line)
{
    bool is_open = line->filled > (line->under_way ? 1 : 0);
    return is_open ? &line->batches[(line->first + line->filled - 1) % BATCHES] : NULL;
}

static struct batch *batch_with_room(struct line *line, uint32_t space)
{
    struct batch *last = batch_open(line);
    if (last != NULL && ETHER_BODY_MAX - last->size >= space && last->count < ETHER_BATCH_MAX)
        return last;
    if (line->filled == BATCHES)
        return NULL;
    last = &line->batches[(line->first + line->filled++) % BATCHES];
    last->size = last->count = 0;
    return last;
}

/* With both locks: the core's, and until ether_flush the frame is being written. */
static struct ether_frame *frame_room(unsigned number, size_t length)
{
    struct line *line = lines[number];
    uint32_t space = ether_frame_space((uint32_t)length);
    struct ether_frame *room = NULL;
    if (length > ETHER_FRAME_MAX)
        return NULL;
    pthread_mutex_lock(&queues);
    struct batch *batch = batch_with_room(line, space);
    if (batch == NULL) {
        line->refused = true;
    } else {
        room = (struct ether_frame *)(void *)(batch->body + batch->size);
        *room = (struct ether_frame){ .length = (uint32_t)length };
        batch->last = batch->size;
        batch->size += space;
        batch->count++;
    }
    pthread_mutex_unlock(&queues);
    return room;
}

static bool frame_grow(unsigned number, size_t more)
{
    struct line *line = lines[number];
    pthread_mutex_lock(&queues);
    struct batch *batch = batch_open(line);
    struct ether_frame *last = batch == NULL ? NULL : (struct ether_frame *)(void *)(batch->body + batch->last);
    bool fits = last != NULL && more <= ETHER_FRAME_MAX - last->length && batch->last + ether_frame_space(last->length + (uint32_t)more) <= ETHER_BODY_MAX;
    if (fits) {
        last->length += (uint32_t)more;
        batch->size = batch->last + ether_frame_space(last->length);
    }
    pthread_mutex_unlock(&queues);
    return fits;
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

/* False: the driver does not take such frames. */
static bool send_frames(struct line *line, const void *frames, uint32_t size, uint32_t count)
{
    struct ether_request request = { .operation = ETHER_SEND, .flags = ETHER_WAIT, .count = count };
    struct ether_reply reply;
    struct client_data data = { .out = frames, .out_size = size };
    return client_call_patiently(&line->driver, &request, sizeof request, &reply, sizeof reply, &data, PATIENCE) < 0 || reply.status != -EINVAL;
}

/* Frame by frame as it is on a wire. */
static void send_cut(struct line *line, const struct batch *batch)
{
    struct ether_frame *one = calloc(1, sizeof *one + ETHER_FRAME_MAX);
    for (uint32_t at = 0, i = 0; one != NULL && i < batch->count; i++) {
        const struct ether_frame *frame = (const struct ether_frame *)(const void *)(batch->body + at);
        for (unsigned piece = 0; (one->length = offload_cut(frame, piece, (uint8_t *)(one + 1))) > 0; piece++)
            send_frames(line, one, (uint32_t)sizeof *one + one->length, 1);
        at += ether_frame_space(frame->length);
    }
    free(one);
}

static void agree_again(struct line *line);

static void send_batch(struct line *line, const struct batch *batch)
{
    if (send_frames(line, batch->body, batch->size, batch->count))
        return;
    agree_again(line);
    if (!send_frames(line, batch->body, batch->size, batch->count))
        send_cut(line, batch);
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

/* ---- what the driver does ---- */

static bool ask_info(struct line *line, struct ether_info *info, KnTime patience)
{
    struct ether_request request = { .operation = ETHER_INFO };
    struct ether_reply reply;
    struct client_data data = { .in = info, .in_size = sizeof *info };
    memset(info, 0, sizeof *info);
    int size = client_call_patiently(&line->driver, &request, sizeof request, &reply, sizeof reply, &data, patience);
    return size >= (int)sizeof *info && reply.status == 0;
}

/* Have the driver do all that it can. Returns what that is. */
static uint32_t agree(struct line *line, const struct ether_info *info)
{
    uint32_t wanted = info->features & FEATURES;
    struct ether_reply reply = { .status = -EINVAL };
    if (!(wanted & ETHER_SEND_CHECKSUM))
        wanted &= ~(ETHER_SEND_TCP4 | ETHER_SEND_TCP6);
    if (!(wanted & ETHER_RECEIVE_CHECKSUM))
        wanted &= ~(ETHER_RECEIVE_TCP4 | ETHER_RECEIVE_TCP6);
    if (wanted == info->features_set)
        return wanted;
    struct ether_request request = { .operation = ETHER_SET, .flags = info->receive_flags, .features = wanted };
    memcpy(request.address, info->address, sizeof request.address);
    int size = client_call_patiently(&line->driver, &request, sizeof request, &reply, sizeof reply, NULL, PATIENCE);
    return size < 0 || reply.status != 0 ? 0 : request.features;
}

/* It is another driver, perhaps. */
static void agree_again(struct line *line)
{
    struct ether_info info;
    uint32_t agreed = ask_info(line, &info, PATIENCE) ? agree(line, &info) : 0;
    sm_lock();
    interface_set_offloads(line->interface, agreed);
    sm_unlock();
}

/* ---- receiving ---- */

static void take_frames(struct line *line, uint32_t count, size_t size)
{
    struct ether_frame frame;
    for (size_t at = 0; count > 0 && size - at >= sizeof frame; count--) {
        memcpy(&frame, line->received + at, sizeof frame);
        if (frame.length > size - at - sizeof frame)
            return;
        interface_receive(line->interface, &frame, line->received + at + sizeof frame);
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
        if (reply.state != state)
            agree_again(line);
        state = reply.state;
        sm_lock();
        interface_link(line->interface, reply.flags & ETHER_LINK_UP);
        take_frames(line, reply.count, size < ETHER_BODY_MAX ? (size_t)size : ETHER_BODY_MAX);
        sm_unlock();
    }
    return NULL;
}

/* ---- beginning ---- */

static struct interface *make_interface(struct line *line, const struct ether_info *info)
{
    static const struct interface_wire wire = { frame_room, frame_grow };
    struct interface_description description = { .mtu = info->mtu, .link_up = info->flags & ETHER_LINK_UP, .prefix = info->hint_prefix,
                                                 .offloads = agree(line, info) };
    memcpy(description.hardware, info->address, 6);
    memcpy(description.address, info->hint_address, 4);
    memcpy(description.router, info->hint_router, 4);
    memcpy(description.name_server, info->hint_name_server, 4);
    lines[line->number] = line;
    return interface_add(line->number, &description, &wire);
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
    if (!ask_info(line, &info, PATIENCE_FIRST) || (line->interface = make_interface(line, &info)) == NULL || !start_threads(line))
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
