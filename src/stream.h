/* Streams: reading and writing standard input, output and error without ever blocking.
 *
 * Not by O_NONBLOCK: that flag belongs to the open file, which we share with the shell that
 * started us and with every other program of its pipeline. */

#ifndef CHORUS_STREAM_H
#define CHORUS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The number of bytes, which may be fewer than asked for, or -1 with errno set. EAGAIN: not now,
 * wait by poll or epoll. Reading 0 is the end of the file. A regular file is read from its disk
 * while one waits. Writing may fail with EPIPE; SIGPIPE must be ignored. */
ssize_t stream_read(int fd, void *to, size_t size);
ssize_t stream_write(int fd, const void *from, size_t size);

/* Regular files are always ready, and epoll refuses them (EPERM). */
bool stream_is_always_ready(int fd);

#endif
