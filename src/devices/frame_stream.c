/* Ethernet frames on a stream socket: see frame_stream.h. */
#include "frame_stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PREFIX 4u

bool frame_stream_open(struct frame_stream *stream, int descriptor)
{
    *stream = (struct frame_stream){ .descriptor = descriptor, .in = malloc(FRAME_BUFFER_SIZE), .out = malloc(FRAME_BUFFER_SIZE) };
    if (stream->in != NULL && stream->out != NULL)
        return true;
    stream->descriptor = -1;
    frame_stream_close(stream);
    return false;
}

void frame_stream_close(struct frame_stream *stream)
{
    frame_stream_connect(stream, -1, false);
    free(stream->in);
    free(stream->out);
    stream->in = stream->out = NULL;
}

void frame_stream_connect(struct frame_stream *stream, int descriptor, bool keep)
{
    if (stream->descriptor >= 0)
        close(stream->descriptor);
    stream->descriptor = descriptor;
    stream->in_start = stream->in_end = 0;
    stream->nonsense = false;
    if (!keep)
        stream->out_start = stream->out_end = 0;
}

/* ---- receiving ---- */

int frame_stream_fill(struct frame_stream *stream)
{
    if (stream->descriptor < 0)
        return 0;
    if (stream->nonsense)
        return -EPROTO;
    if (stream->in_start > 0) {
        memmove(stream->in, stream->in + stream->in_start, stream->in_end - stream->in_start);
        stream->in_end -= stream->in_start;
        stream->in_start = 0;
    }
    if (stream->in_end == FRAME_BUFFER_SIZE)
        return 0;                       /* frames are there to be taken first */
    ssize_t length = recv(stream->descriptor, stream->in + stream->in_end, FRAME_BUFFER_SIZE - stream->in_end, MSG_DONTWAIT);
    if (length < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (length == 0)
        return -ECONNRESET;
    stream->in_end += (uint32_t)length;
    return (int)length;
}

static uint32_t length_at(const uint8_t *where)
{
    uint32_t big_endian;

    memcpy(&big_endian, where, sizeof big_endian);
    return ntohl(big_endian);
}

const uint8_t *frame_stream_next(struct frame_stream *stream, uint32_t *ret_length)
{
    while (stream->in_end - stream->in_start >= PREFIX) {
        uint32_t length = length_at(stream->in + stream->in_start);
        stream->nonsense = length > FRAME_LENGTH_MAX;
        if (stream->nonsense || stream->in_end - stream->in_start - PREFIX < length)
            return NULL;
        const uint8_t *frame = stream->in + stream->in_start + PREFIX;
        stream->in_start += PREFIX + length;
        if (length < FRAME_LENGTH_MIN)
            continue;
        *ret_length = length;
        return frame;
    }
    return NULL;
}

/* ---- sending ---- */

bool frame_stream_has_room(const struct frame_stream *stream)
{
    return FRAME_BUFFER_SIZE - (stream->out_end - stream->out_start) >= PREFIX + FRAME_LENGTH_MAX;
}

bool frame_stream_put(struct frame_stream *stream, const struct iovec *pieces, unsigned count, uint32_t length)
{
    uint32_t waiting = stream->out_end - stream->out_start, prefix = htonl(length);

    if (FRAME_BUFFER_SIZE - waiting < PREFIX + length)
        return false;
    if (FRAME_BUFFER_SIZE - stream->out_end < PREFIX + length) {
        memmove(stream->out, stream->out + stream->out_start, waiting);
        stream->out_start = 0;
        stream->out_end = waiting;
    }
    memcpy(stream->out + stream->out_end, &prefix, PREFIX);
    stream->out_end += PREFIX;
    for (unsigned i = 0; i < count; i++) {
        memcpy(stream->out + stream->out_end, pieces[i].iov_base, pieces[i].iov_len);
        stream->out_end += (uint32_t)pieces[i].iov_len;
    }
    return true;
}

int frame_stream_flush(struct frame_stream *stream)
{
    while (stream->descriptor >= 0 && stream->out_start < stream->out_end) {
        ssize_t length = send(stream->descriptor, stream->out + stream->out_start, stream->out_end - stream->out_start,
                              MSG_DONTWAIT | MSG_NOSIGNAL);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0 && errno != EAGAIN)
            return -errno;
        if (length < 0)
            break;
        stream->out_start += (uint32_t)length;
    }
    if (stream->out_start == stream->out_end)
        stream->out_start = stream->out_end = 0;
    return (int)(stream->out_end - stream->out_start);
}
