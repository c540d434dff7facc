/* output.c: standard input, output and error of an actor.
 *
 * Output and error are the site's log, input is empty. fstat says that they are terminals, so that
 * stdio sends each line when it ends. No other descriptor is open.
 */
#include "internal.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#define PSEUDO_TERMINAL makedev(136, 0) /* stdio asks for no more than this number */

static bool is_standard(uint64_t descriptor)
{
    return (uint32_t)descriptor <= 2;
}

int64_t libc_write(struct libc_call *call)
{
    uint32_t descriptor = (uint32_t)call->arg[0];
    if (descriptor != 1 && descriptor != 2)
        return -EBADF;
    log_write(descriptor - 1, (const char *)call->arg[1], call->arg[2]);
    return (int64_t)call->arg[2];
}

int64_t libc_writev(struct libc_call *call)
{
    uint32_t descriptor = (uint32_t)call->arg[0];
    const struct iovec *part = (const struct iovec *)call->arg[1];
    int64_t written = 0;
    if (descriptor != 1 && descriptor != 2)
        return -EBADF;
    if (call->arg[2] > 1024)
        return -EINVAL;
    for (uint64_t i = 0; i < call->arg[2]; i++) {
        log_write(descriptor - 1, part[i].iov_base, part[i].iov_len);
        written += (int64_t)part[i].iov_len;
    }
    return written;
}

int64_t libc_read(struct libc_call *call)
{
    return (uint32_t)call->arg[0] == 0 ? 0 : -EBADF; /* input is at its end */
}

static int64_t stat_standard(uint64_t descriptor, struct stat *to)
{
    if (!is_standard(descriptor))
        return -EBADF;
    bytes_clear(to, sizeof *to);
    to->st_mode = S_IFCHR | 0620;
    to->st_nlink = 1;
    to->st_ino = 1;
    to->st_rdev = PSEUDO_TERMINAL;
    to->st_blksize = 1024;
    return 0;
}

int64_t libc_fstat(struct libc_call *call)
{
    return stat_standard(call->arg[0], (struct stat *)call->arg[1]);
}

int64_t libc_newfstatat(struct libc_call *call)
{
    const char *path = (const char *)call->arg[1];
    if (!(call->arg[3] & AT_EMPTY_PATH) || path == NULL || path[0] != 0)
        return -ENOENT;
    return stat_standard(call->arg[0], (struct stat *)call->arg[2]);
}

int64_t libc_ioctl(struct libc_call *call)
{
    return is_standard(call->arg[0]) ? -ENOTTY : -EBADF;
}

int64_t libc_fcntl(struct libc_call *call)
{
    if (!is_standard(call->arg[0]))
        return -EBADF;
    switch ((uint32_t)call->arg[1]) {
    case F_GETFD:
    case F_SETFD:
    case F_SETFL:
        return 0;
    case F_GETFL:
        return (uint32_t)call->arg[0] == 0 ? O_RDONLY : O_WRONLY;
    default:
        return -EINVAL;
    }
}

int64_t libc_lseek(struct libc_call *call)
{
    return is_standard(call->arg[0]) ? -ESPIPE : -EBADF;
}

int64_t libc_close(struct libc_call *call)
{
    return is_standard(call->arg[0]) ? 0 : -EBADF;
}
