/* A network back end on a stream socket: see net_link.h. */
#include "net_link.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frame_stream.h"

struct net_link {
    struct net_back_end end;            /* first */
    struct bus *bus;
    struct frame_stream stream;
    struct bus_watch watch;             /* the stream's, while it is connected */
    int control;
    struct bus_watch control_watch;
    bool lazy;
    bool asked;                         /* the keeper, who has not answered */
    bool wants_frames, wants_room;
};

static struct net_link *link_of(struct net_back_end *end)
{
    return (struct net_link *)end;
}

static void watch_update(struct net_link *link)
{
    bool unsent = link->stream.out_end > link->stream.out_start;

    if (link->stream.descriptor >= 0)
        bus_watch_set(&link->watch, (link->wants_frames ? EPOLLIN : 0) | (unsent || link->wants_room ? EPOLLOUT : 0));
}

static void tell(struct net_link *link)
{
    if (link->end.ready != NULL)
        link->end.ready(link->end.cookie);
}

/* ---- the keeper ---- */

/* Its answer comes by the bus. */
static void keeper_ask(struct net_link *link)
{
    if (link->asked || link->control < 0)
        return;
    link->asked = send(link->control, "c", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

static void keeper_lost(struct net_link *link)
{
    bus_watch_stop(&link->control_watch);
    close(link->control);
    link->control = -1;
    link->asked = false;
    if (link->stream.descriptor < 0)
        link->end.up = false;
}

/* The connection is gone, with what was under way. */
static void connection_lost(struct net_link *link)
{
    bus_watch_stop(&link->watch);
    frame_stream_connect(&link->stream, -1, false);
    link->end.up = link->lazy && link->control >= 0;
    keeper_ask(link);
}

static void stream_ready(struct bus_watch *watch, uint32_t events)
{
    struct net_link *link = (struct net_link *)((char *)watch - offsetof(struct net_link, watch));

    (void)events;
    if (frame_stream_flush(&link->stream) < 0)
        connection_lost(link);
    if (frame_stream_has_room(&link->stream))
        link->wants_room = false;
    watch_update(link);
    tell(link);
}

static void connection_made(struct net_link *link, int descriptor)
{
    if (!bus_watch_start(link->bus, &link->watch, descriptor, stream_ready)) {
        close(descriptor);
        return;
    }
    frame_stream_connect(&link->stream, descriptor, true);  /* what waits was put there since the last one was lost */
    link->end.up = true;
    if (frame_stream_flush(&link->stream) < 0)
        connection_lost(link);
    watch_update(link);
}

bool net_link_answer_receive(int control, struct net_link_answer *answer, int *ret_descriptor)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } rights = { 0 };
    struct iovec piece = { answer, sizeof *answer };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights };
    ssize_t length = recvmsg(control, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = length > 0 ? CMSG_FIRSTHDR(&message) : NULL;

    *ret_descriptor = -1;
    if (head != NULL && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_descriptor, CMSG_DATA(head), sizeof(int));
    if (length < 0)
        answer->error = EAGAIN;
    return length == (ssize_t)sizeof *answer || (length < 0 && (errno == EAGAIN || errno == EINTR));
}

static void keeper_ready(struct bus_watch *watch, uint32_t events)
{
    struct net_link *link = (struct net_link *)((char *)watch - offsetof(struct net_link, control_watch));
    struct net_link_answer answer = { 0 };
    int descriptor;

    (void)events;
    if (!net_link_answer_receive(link->control, &answer, &descriptor)) {
        keeper_lost(link);
    } else if (descriptor >= 0 && link->stream.descriptor < 0) {
        link->asked = false;
        connection_made(link, descriptor);
        descriptor = -1;
    } else if (answer.error != EAGAIN) {
        link->asked = false;
    }
    if (descriptor >= 0)
        close(descriptor);
    tell(link);
}

/* ---- what the model asks for ---- */

static bool link_send(struct net_back_end *end, const struct virtio_net_header *header, const struct device_span *pieces, unsigned count,
                      uint32_t length)
{
    struct net_link *link = link_of(end);
    const struct iovec *vectors = (const struct iovec *)pieces;

    _Static_assert(sizeof(struct iovec) == sizeof(struct device_span), "a span is a vector");
    (void)header;
    if (frame_stream_put(&link->stream, vectors, count, length))
        return true;
    if (frame_stream_flush(&link->stream) < 0)
        connection_lost(link);
    if (frame_stream_put(&link->stream, vectors, count, length))
        return true;
    if (link->stream.descriptor < 0) {
        end->lost++;                    /* who knows when there will be a connection */
        return true;
    }
    link->wants_room = true;
    watch_update(link);
    return false;
}

static void link_flush(struct net_back_end *end)
{
    struct net_link *link = link_of(end);

    if (link->stream.descriptor < 0)
        keeper_ask(link);
    else if (frame_stream_flush(&link->stream) < 0)
        connection_lost(link);
    watch_update(link);
}

static uint32_t link_receive(struct net_back_end *end, struct virtio_net_header *ret_header, const uint8_t **ret_frame)
{
    struct net_link *link = link_of(end);
    uint32_t length;
    int filled;

    (void)ret_header;
    while ((*ret_frame = frame_stream_next(&link->stream, &length)) == NULL) {
        if ((filled = frame_stream_fill(&link->stream)) < 0)
            connection_lost(link);
        if (filled <= 0)
            return 0;
    }
    return length;
}

static void link_want(struct net_back_end *end, bool frames)
{
    struct net_link *link = link_of(end);

    link->wants_frames = frames;
    watch_update(link);
}

static void link_close(struct net_back_end *end)
{
    struct net_link *link = link_of(end);

    bus_watch_stop(&link->watch);
    bus_watch_stop(&link->control_watch);
    frame_stream_close(&link->stream);
    if (link->control >= 0)
        close(link->control);
    free(link);
}

static const struct net_back_end_operations link_operations = {
    .send = link_send, .flush = link_flush, .receive = link_receive, .want = link_want, .close = link_close };

static bool keeper_watch(struct net_link *link)
{
    if (link->control < 0)
        return true;
    if (!bus_watch_start(link->bus, &link->control_watch, link->control, keeper_ready))
        return false;
    bus_watch_set(&link->control_watch, EPOLLIN);
    return true;
}

struct net_back_end *net_link_open(struct bus *bus, const struct net_link_options *options)
{
    struct net_link *link = calloc(1, sizeof *link);

    if (link == NULL)
        return NULL;
    link->end = (struct net_back_end){ .operations = &link_operations, .mtu = options->mtu, .hint_prefix = options->prefix,
                                       .up = options->lazy || options->descriptor >= 0 };
    snprintf(link->end.name, sizeof link->end.name, "%s", options->name);
    memcpy(link->end.hint_address, options->address, 4);
    memcpy(link->end.hint_router, options->router, 4);
    memcpy(link->end.hint_name_server, options->name_server, 4);
    link->bus = bus;
    link->control = options->control;
    link->lazy = options->lazy;
    if (!frame_stream_open(&link->stream, -1) || !keeper_watch(link)) {
        int error = errno;
        frame_stream_close(&link->stream);
        free(link);
        errno = error;
        return NULL;
    }
    if (options->descriptor >= 0)
        connection_made(link, options->descriptor);
    return &link->end;
}
