/* Host streams: see host_stream.h.
 *
 * A stream that works through a host thread has a buffer and one job at a time: reading fills it ahead,
 * writing empties it behind. The thread owns buffer, `length` and `result` while `busy`.
 */
#include "host_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

enum way { BY_OWN_DESCRIPTION, BY_SOCKET_CALLS, BY_THREAD };

struct host_stream {
    struct bus *bus;
    enum way way;
    bool output;
    int descriptor;             /* what we read or write */
    bool descriptor_is_ours;
    bool want;
    bool closed;                /* by the user; the thread still works: freed when it has finished */
    void (*ready)(void *cookie);
    void *cookie;
    struct bus_watch watch;     /* not BY_THREAD */
    /* BY_THREAD: */
    struct io_pool *pool;
    bool pool_is_ours;
    bool is_file;               /* worth trying without waiting; learnt */
    struct io_job job;
    bool busy;
    bool have_result;           /* input: a result waits to be fetched */
    ssize_t result;
    size_t length, taken;       /* output: bytes to write; input: bytes of `result` handed out */
    char *buffer;
};

/* ---- by a host thread ---- */

static void thread_work(struct io_job *job)
{
    struct host_stream *stream = (struct host_stream *)((char *)job
                                                        - offsetof(struct host_stream, job));
    size_t done = 0;

    if (!stream->output) {
        do {
            stream->result = read(stream->descriptor, stream->buffer, HOST_STREAM_PIECE);
        } while (stream->result < 0 && errno == EINTR);
        if (stream->result < 0)
            stream->result = -errno;
        return;
    }
    stream->result = 0;
    while (done < stream->length && stream->result == 0) {
        ssize_t bytes = write(stream->descriptor, stream->buffer + done, stream->length - done);
        if (bytes >= 0)
            done += (size_t)bytes;
        else if (errno != EINTR)
            stream->result = -errno;
    }
}

static void stream_free(struct host_stream *stream)
{
    if (stream->pool_is_ours)
        io_pool_destroy(stream->pool);
    if (stream->descriptor_is_ours)
        close(stream->descriptor);
    free(stream->buffer);
    free(stream);
}

static void thread_done(struct io_job *job)
{
    struct host_stream *stream = (struct host_stream *)((char *)job
                                                        - offsetof(struct host_stream, job));
    stream->busy = false;
    stream->have_result = true;
    if (stream->closed)
        stream_free(stream);
    else if (stream->want)
        stream->ready(stream->cookie);
}

static void thread_begin(struct host_stream *stream)
{
    stream->job = (struct io_job){ .work = thread_work, .done = thread_done };
    stream->busy = true;
    stream->have_result = false;
    io_pool_submit(stream->pool, &stream->job);
}

/* A file, /dev/null: what can be had at once. */
static ssize_t file_try(struct host_stream *stream, void *bytes, size_t length)
{
    struct iovec piece = { bytes, length };

    if (!stream->is_file)
        return -EAGAIN;
    ssize_t moved = stream->output ? pwritev2(stream->descriptor, &piece, 1, -1, RWF_NOWAIT)
                                   : preadv2(stream->descriptor, &piece, 1, -1, RWF_NOWAIT);
    if (moved >= 0)
        return moved;
    if (errno == EOPNOTSUPP || errno == EINVAL || errno == ESPIPE)
        stream->is_file = false;
    return errno == EAGAIN || !stream->is_file || errno == EINTR ? -EAGAIN : -errno;
}

static ssize_t thread_read(struct host_stream *stream, void *to, size_t length)
{
    if (stream->busy)
        return -EAGAIN;
    if (!stream->have_result) {
        ssize_t bytes = file_try(stream, to, length);
        if (bytes == -EAGAIN)
            thread_begin(stream);
        return bytes;
    }
    if (stream->result <= 0)
        return stream->result;              /* the end, or an error: stays so */
    size_t left = (size_t)stream->result - stream->taken;
    if (length > left)
        length = left;
    memcpy(to, stream->buffer + stream->taken, length);
    stream->taken += length;
    if (stream->taken == (size_t)stream->result) {
        stream->have_result = false;
        stream->taken = 0;
    }
    return (ssize_t)length;
}

static ssize_t thread_write(struct host_stream *stream, const void *from, size_t length)
{
    if (stream->busy)
        return -EAGAIN;
    if (stream->have_result && stream->result < 0)
        return stream->result;              /* of the write before; stays so */
    ssize_t bytes = file_try(stream, (void *)from, length);
    if (bytes != -EAGAIN)
        return bytes;
    if (length > HOST_STREAM_PIECE)
        length = HOST_STREAM_PIECE;
    memcpy(stream->buffer, from, length);
    stream->length = length;
    thread_begin(stream);
    return (ssize_t)length;
}

/* ---- opening ---- */

static int open_again(int descriptor, bool output)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return open(path, (output ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void watched(struct bus_watch *watch, uint32_t events)
{
    struct host_stream *stream = (struct host_stream *)((char *)watch
                                                        - offsetof(struct host_stream, watch));
    (void)events;
    stream->ready(stream->cookie);
}

/* True: the stream works without a thread. */
static bool open_watched(struct host_stream *stream, int descriptor, const struct stat *about)
{
    mode_t type = about->st_mode;
    bool pty_maker = S_ISCHR(type) && about->st_rdev == makedev(5, 2);

    if (S_ISSOCK(type)) {
        stream->way = BY_SOCKET_CALLS;
        stream->descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 3); /* another stream may watch the caller's */
        stream->descriptor_is_ours = stream->descriptor >= 0;
    } else if (S_ISFIFO(type) || (S_ISCHR(type) && !pty_maker)) {
        stream->way = BY_OWN_DESCRIPTION;
        stream->descriptor = open_again(descriptor, stream->output);
        stream->descriptor_is_ours = stream->descriptor >= 0;
    }
    if (stream->descriptor >= 0
        && bus_watch_start(stream->bus, &stream->watch, stream->descriptor, watched))
        return true;
    if (stream->descriptor_is_ours)             /* /dev/null and its like cannot be watched */
        close(stream->descriptor);
    stream->descriptor_is_ours = false;
    return false;
}

static bool open_threaded(struct host_stream *stream, struct io_pool *pool, int descriptor,
                          mode_t type)
{
    stream->way = BY_THREAD;
    stream->descriptor = descriptor;
    stream->is_file = !S_ISFIFO(type) && !S_ISSOCK(type);
    stream->buffer = malloc(HOST_STREAM_PIECE);
    stream->pool_is_ours = !S_ISREG(type) && !S_ISBLK(type);
    stream->pool = stream->pool_is_ours ? io_pool_create(stream->bus, 1) : pool;
    return stream->buffer != NULL && stream->pool != NULL;
}

struct host_stream *host_stream_open(struct bus *bus, struct io_pool *pool, int descriptor,
                                     bool output, void (*ready)(void *cookie), void *cookie)
{
    struct host_stream *stream = calloc(1, sizeof *stream);
    struct stat about;

    if (stream == NULL || fstat(descriptor, &about) < 0) {
        free(stream);
        return NULL;
    }
    *stream = (struct host_stream){ .bus = bus, .output = output, .descriptor = -1,
                                    .ready = ready, .cookie = cookie };
    if (open_watched(stream, descriptor, &about)
        || open_threaded(stream, pool, descriptor, about.st_mode))
        return stream;
    stream_free(stream);
    errno = ENOMEM;
    return NULL;
}

void host_stream_close(struct host_stream *stream)
{
    if (stream == NULL)
        return;
    if (stream->way != BY_THREAD)
        bus_watch_stop(&stream->watch);
    stream->closed = true;
    if (stream->busy && !io_pool_cancel(stream->pool, &stream->job))
        return;                                 /* thread_done frees it */
    stream_free(stream);
}

/* ---- reading and writing ---- */

static ssize_t direct(struct host_stream *stream, void *bytes, size_t length)
{
    ssize_t moved;

    do {
        if (stream->way == BY_SOCKET_CALLS)
            moved = stream->output ? send(stream->descriptor, bytes, length,
                                          MSG_DONTWAIT | MSG_NOSIGNAL)
                                   : recv(stream->descriptor, bytes, length, MSG_DONTWAIT);
        else
            moved = stream->output ? write(stream->descriptor, bytes, length)
                                   : read(stream->descriptor, bytes, length);
    } while (moved < 0 && errno == EINTR);
    return moved < 0 ? -errno : moved;
}

ssize_t host_stream_read(struct host_stream *stream, void *to, size_t length)
{
    if (length > HOST_STREAM_PIECE)
        length = HOST_STREAM_PIECE;
    ssize_t bytes = stream->way == BY_THREAD ? thread_read(stream, to, length)
                                             : direct(stream, to, length);
    return bytes == -EIO && stream->way != BY_THREAD ? 0 : bytes;   /* a terminal hung up */
}

ssize_t host_stream_write(struct host_stream *stream, const void *from, size_t length)
{
    if (length > HOST_STREAM_PIECE)
        length = HOST_STREAM_PIECE;
    return stream->way == BY_THREAD ? thread_write(stream, from, length)
                                    : direct(stream, (void *)from, length);
}

bool host_stream_pending(const struct host_stream *stream)
{
    return stream->output && stream->busy;
}

int host_stream_error(const struct host_stream *stream)
{
    bool failed = stream->output && !stream->busy && stream->have_result && stream->result < 0;

    return failed ? (int)-stream->result : 0;
}

void host_stream_want(struct host_stream *stream, bool want)
{
    if (stream->way != BY_THREAD)
        bus_watch_set(&stream->watch, !want ? 0 : stream->output ? EPOLLOUT : EPOLLIN);
    stream->want = want;
}
