/* Host streams: one end of something that the host gave us (a terminal, pipe, socket, file), read or
 * written without the Nucleus thread ever waiting, and without changing it for those who share it.
 *
 * O_NONBLOCK belongs to the open file description, which the person's shell shares with us, so it is
 * never set there. A stream is handled in the first way that works:
 *   - pipes, terminals and other character devices are opened again through /proc/self/fd, which
 *     gives a description of our own, without waiting;
 *   - sockets have a flag for each call, and a descriptor of our own, so that input and output may be one socket;
 *   - files never make the bus ready: what the host's cache does not have is done by the I/O pool;
 *   - what is left (a pipe of another user) gets a host thread of its own, which may wait for ever.
 */
#ifndef DEVICES_HOST_STREAM_H
#define DEVICES_HOST_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bus.h"
#include "io_pool.h"

#define HOST_STREAM_PIECE 65536     /* bytes that one read or write moves at most */

struct host_stream;

/* `descriptor` stays the caller's, and must stay open. `ready` is called in the Nucleus thread when it is worth
 * trying again, after host_stream_want. NULL and errno: no memory, or the host refuses.
 * SIGPIPE must be ignored in the process: a closed output is an error of the write. */
struct host_stream *host_stream_open(struct bus *bus, struct io_pool *pool, int descriptor,
                                     bool output, void (*ready)(void *cookie), void *cookie);

/* What is under way in a host thread goes on. NULL does nothing. */
void host_stream_close(struct host_stream *stream);

/* Bytes read, 0 at the end, -EAGAIN, or another error made negative. A terminal that was hung up
 * is at its end. */
ssize_t host_stream_read(struct host_stream *stream, void *to, size_t length);

/* Bytes accepted, -EAGAIN, or another error made negative: -EPIPE when nobody reads any more. */
ssize_t host_stream_write(struct host_stream *stream, const void *from, size_t length);

/* Accepted, and not yet given to the host. */
bool host_stream_pending(const struct host_stream *stream);

/* The error that bytes accepted earlier met later; 0: none so far. */
int host_stream_error(const struct host_stream *stream);

/* Ask for `ready` calls, or for no more. They repeat as long as there is something to be had, and come at
 * least once after the last -EAGAIN. */
void host_stream_want(struct host_stream *stream, bool want);

#endif
