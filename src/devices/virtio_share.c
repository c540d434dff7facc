/* The device of a shared folder: requests go out over a socket, answers come back, in whatever order. Nothing of the driver's memory is
 * the host's: bodies are copied by the calls that send and receive, so the device is at rest as soon as it is told to.
 */
#include "virtio_share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/file.h"
#include "protocol/share.h"
#include "share/share.h"

#define QUEUE_SIZE  32
#define UNDER_WAY   16
#define AT_ONCE     16                  /* answers that are taken in one event */

struct share_request {
    struct virtio_chain chain;
    uint64_t number;                    /* 0: free */
    bool sent;
};

struct virtio_share {
    struct virtio_device virtio;        /* first */
    struct bus *bus;
    int socket;                         /* -1: the process is gone */
    struct bus_watch watch;
    uint64_t last;
    struct share_request requests[UNDER_WAY];
    char body[FILE_BODY_MAX];           /* of an answer */
};

static struct virtio_share *share_of(struct virtio_device *device) { return (struct virtio_share *)device; }

static void finish(struct virtio_share *share, struct share_request *request, const struct share_answer *answer, const void *body, size_t size)
{
    size_t written = chain_write(&request->chain, 0, answer, sizeof *answer);
    written += chain_write(&request->chain, sizeof *answer, body, size);
    virtqueue_put(&share->virtio, 0, &request->chain, (uint32_t)written);
    request->number = 0;
}

static void fail(struct virtio_share *share, struct share_request *request)
{
    const struct share_answer answer = { .reply.error = -EIO };
    finish(share, request, &answer, NULL, 0);
}

/* The process is gone: everybody gets an error, from now on at once. */
static void lose(struct virtio_share *share)
{
    if (share->socket < 0)
        return;
    device_complain(&share->virtio.device, "the process that serves the folder is gone");
    bus_watch_stop(&share->watch);
    close(share->socket);
    share->socket = -1;
    for (unsigned i = 0; i < UNDER_WAY; i++)
        if (share->requests[i].number != 0)
            fail(share, &share->requests[i]);
}

/* False: the socket is full. */
static bool send_request(struct virtio_share *share, struct share_request *request)
{
    struct share_message head = { .number = request->number };
    struct iovec parts[VIRTIO_SPANS_MAX + 1] = { { &head, sizeof head } };
    size_t size, body = request->chain.readable_bytes - sizeof head.request;
    chain_read(&request->chain, 0, &head.request, sizeof head.request);
    unsigned count = chain_spans(&request->chain, false, sizeof head.request, body, (struct device_span *)(parts + 1), VIRTIO_SPANS_MAX, &size);
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = 1 + (body > 0 ? count : 0) };
    ssize_t sent = sendmsg(share->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    request->sent = sent >= 0;
    if (sent >= 0 || errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
        return sent >= 0;
    lose(share);
    return true;
}

static bool is_request(struct virtio_share *share, const struct virtio_chain *chain)
{
    if (chain->readable_bytes >= sizeof(struct file_request) && chain->readable_bytes <= sizeof(struct file_request) + FILE_BODY_MAX &&
        chain->writable_bytes >= sizeof(struct share_answer))
        return true;
    virtio_break(&share->virtio, "a request of %u bytes, with room for an answer of %u", chain->readable_bytes, chain->writable_bytes);
    return false;
}

static struct share_request *request_free(struct virtio_share *share)
{
    for (unsigned i = 0; i < UNDER_WAY; i++)
        if (share->requests[i].number == 0)
            return &share->requests[i];
    return NULL;
}

static void queue_work(struct virtio_share *share)
{
    struct share_request *request;
    bool full = false;
    for (unsigned i = 0; i < UNDER_WAY && !full && share->socket >= 0; i++)
        if (share->requests[i].number != 0 && !share->requests[i].sent)
            full = !send_request(share, &share->requests[i]);
    while (!full && (request = request_free(share)) != NULL && virtqueue_take(&share->virtio, 0, &request->chain)) {
        if (!is_request(share, &request->chain)) {
            virtqueue_put(&share->virtio, 0, &request->chain, 0);
            break;
        }
        request->number = ++share->last;
        request->sent = false;
        if (share->socket < 0)
            fail(share, request);
        else
            full = !send_request(share, request);
    }
    if (share->socket >= 0)
        bus_watch_set(&share->watch, EPOLLIN | (full ? EPOLLOUT : 0));
    virtqueue_signal(&share->virtio, 0);
}

/* One answer; false: there is none now. */
static bool receive(struct virtio_share *share)
{
    struct share_message head;
    struct iovec parts[] = { { &head, sizeof head }, { share->body, sizeof share->body } };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
    ssize_t size = recvmsg(share->socket, &message, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (size < (ssize_t)sizeof head) {
        lose(share);
        return false;
    }
    for (unsigned i = 0; i < UNDER_WAY; i++)
        if (head.number != 0 && share->requests[i].number == head.number)
            finish(share, &share->requests[i], &head.answer, share->body, (size_t)size - sizeof head);
    return true;
}

static void ready(struct bus_watch *watch, uint32_t events)
{
    struct virtio_share *share = (struct virtio_share *)((char *)watch - offsetof(struct virtio_share, watch));
    (void)events;
    for (int i = 0; i < AT_ONCE && share->socket >= 0 && receive(share); i++)
        ;
    queue_work(share);
}

static void share_notify(struct virtio_device *device, unsigned queue)
{
    (void)queue;
    queue_work(share_of(device));
}

/* An answer that comes later is to nobody. */
static void share_stop(struct virtio_device *device)
{
    struct virtio_share *share = share_of(device);
    for (unsigned i = 0; i < UNDER_WAY; i++) {
        if (share->requests[i].number == 0)
            continue;
        share->requests[i].number = 0;
        virtqueue_put(device, 0, &share->requests[i].chain, 0);
    }
}

static void share_destroy(struct virtio_device *device)
{
    struct virtio_share *share = share_of(device);
    if (share->socket >= 0) {
        bus_watch_stop(&share->watch);
        close(share->socket);
    }
    free(share);
}

static const struct virtio_model share_model = { .queues = 1, .notify = share_notify, .stop = share_stop, .destroy = share_destroy };

struct device *virtio_share_create(const char *name, const struct device_services *services, struct bus *bus, int socket)
{
    struct virtio_share *share = calloc(1, sizeof *share);
    if (share == NULL || !bus_watch_start(bus, &share->watch, socket, ready)) {
        free(share);
        close(socket);
        return NULL;
    }
    virtio_init(&share->virtio, name, SHARE_DEVICE_TYPE, &share_model, services, 0, QUEUE_SIZE);
    share->bus = bus;
    share->socket = socket;
    bus_watch_set(&share->watch, EPOLLIN);
    return &share->virtio.device;
}
