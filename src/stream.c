/* Streams: reading and writing standard input, output and error without ever blocking. */

#include "stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Where RWF_NOWAIT is not known (terminals before Linux 6.4): a terminal that is ready takes this
 * much without blocking, and a pipe PIPE_BUF. */
enum { TERMINAL_CHUNK = 256 };

bool stream_is_always_ready(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
}

/* Ready at this moment? An error or a hang-up counts as ready: the call then tells it. */
static bool is_ready(int fd, short events)
{
    struct pollfd one = { .fd = fd, .events = events };
    if (poll(&one, 1, 0) > 0)
        return true;
    errno = EAGAIN;
    return false;
}

static bool is_unknown(ssize_t result)
{
    return result < 0 && (errno == EOPNOTSUPP || errno == ESPIPE || errno == ENOSYS);
}

static ssize_t read_once(int fd, void *to, size_t size)
{
    struct iovec part = { .iov_base = to, .iov_len = size };
    if (stream_is_always_ready(fd))
        return read(fd, to, size);
    ssize_t got = preadv2(fd, &part, 1, -1, RWF_NOWAIT);
    if (is_unknown(got))
        got = is_ready(fd, POLLIN) ? read(fd, to, size) : -1;
    return got;
}

static ssize_t write_once(int fd, const void *from, size_t size)
{
    struct iovec part = { .iov_base = (void *)from, .iov_len = size };
    if (stream_is_always_ready(fd))
        return write(fd, from, size);
    ssize_t put = pwritev2(fd, &part, 1, -1, RWF_NOWAIT);
    if (is_unknown(put)) {
        size_t chunk = isatty(fd) ? TERMINAL_CHUNK : PIPE_BUF;
        put = is_ready(fd, POLLOUT) ? write(fd, from, size < chunk ? size : chunk) : -1;
    }
    return put;
}

ssize_t stream_read(int fd, void *to, size_t size)
{
    ssize_t got;
    do
        got = read_once(fd, to, size);
    while (got < 0 && errno == EINTR);
    return got;
}

ssize_t stream_write(int fd, const void *from, size_t size)
{
    ssize_t put;
    do
        put = write_once(fd, from, size);
    while (put < 0 && errno == EINTR);
    return put;
}
