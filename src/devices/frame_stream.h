/* Ethernet frames on a stream socket: each is preceded by its length, 4 bytes, big endian (as qemu's and passt's stream sockets have it).
 *
 * What hubs, sites and the helper of `--net user` speak with each other. Nothing here waits: what does not fit into the socket stays in a
 * buffer until frame_stream_flush finds room. The other side is not trusted: a length that cannot be is an error of the connection.
 */
#ifndef DEVICES_FRAME_STREAM_H
#define DEVICES_FRAME_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define FRAME_LENGTH_MIN    14u         /* an Ethernet header; what is shorter is passed over */
#define FRAME_LENGTH_MAX    65520u      /* more, and the connection is broken */
#define FRAME_BUFFER_SIZE   (256u << 10)

struct frame_stream {
    int descriptor;                     /* -1: not connected; frames are kept, as many as fit */
    uint8_t *in, *out;                  /* FRAME_BUFFER_SIZE bytes each */
    uint32_t in_start, in_end, out_start, out_end;
    bool nonsense;                      /* a length that cannot be has come: the next fill says so */
};

/* False: no memory. */
bool frame_stream_open(struct frame_stream *stream, int descriptor);
/* Its buffers are freed; the descriptor is closed. */
void frame_stream_close(struct frame_stream *stream);
/* Go on with another descriptor, or -1. The old one is closed; what was half received or half sent is forgotten; with `keep` what waits
 * to be sent is not, which asks that nothing was sent before. */
void frame_stream_connect(struct frame_stream *stream, int descriptor, bool keep);

/* Read what the socket has into the buffer. Bytes; 0: none now; -ECONNRESET: the end, -EPROTO: nonsense, or the host's error. */
int frame_stream_fill(struct frame_stream *stream);
/* The next frame in the buffer, good until the next fill. NULL: no whole one. */
const uint8_t *frame_stream_next(struct frame_stream *stream, uint32_t *ret_length);

/* Append a frame of these pieces, `length` bytes together, FRAME_LENGTH_MAX at most. False: no room. */
bool frame_stream_put(struct frame_stream *stream, const struct iovec *pieces, unsigned count, uint32_t length);
/* Give the socket what it takes. Bytes that are left, or an error made negative. */
int frame_stream_flush(struct frame_stream *stream);
/* There is room for any frame. */
bool frame_stream_has_room(const struct frame_stream *stream);

#endif
