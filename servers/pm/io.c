/* read, write and their kin: check the descriptor, gather the buffers, ask the kind of file. */

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call.h"
#include "descriptor.h"
#include "file_server.h"
#include "regular.h"

enum direction { READ, WRITE };

/* <at>: NULL for the file's own offset. */
static int64_t transfer(struct call *call, enum direction direction, struct user_io *io, int64_t *at)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    if (file == NULL || !(direction == READ ? file_may_read(file) : file_may_write(file)))
        return -EBADF;
    if (at != NULL && !file->operations->seekable)
        return -ESPIPE;
    if (at == NULL)
        at = &file->offset;
    if (direction == READ)
        return file->operations->read == NULL ? -EINVAL
                                              : file->operations->read(call, file, io, at);
    return file->operations->write == NULL ? -EINVAL : file->operations->write(call, file, io, at);
}

static int64_t one_buffer(struct call *call, enum direction direction, int64_t *at)
{
    struct user_io io;
    io_set(&io, call->arg[1], call->arg[2]);
    return transfer(call, direction, &io, at);
}

static int64_t many_buffers(struct call *call, enum direction direction, int64_t *at)
{
    struct user_io io;
    int error = io_fetch(call, &io, call->arg[1], call->arg[2]);
    if (error != 0)
        return error;
    int64_t result = transfer(call, direction, &io, at);
    io_end(&io);
    return result;
}

int64_t linux_read(struct call *call)
{
    return one_buffer(call, READ, NULL);
}

int64_t linux_write(struct call *call)
{
    return one_buffer(call, WRITE, NULL);
}

int64_t linux_pread64(struct call *call)
{
    int64_t at = (int64_t)call->arg[3];
    return at < 0 ? -EINVAL : one_buffer(call, READ, &at);
}

int64_t linux_pwrite64(struct call *call)
{
    int64_t at = (int64_t)call->arg[3];
    return at < 0 ? -EINVAL : one_buffer(call, WRITE, &at);
}

int64_t linux_readv(struct call *call)
{
    return many_buffers(call, READ, NULL);
}

int64_t linux_writev(struct call *call)
{
    return many_buffers(call, WRITE, NULL);
}

int64_t linux_preadv(struct call *call)
{
    int64_t at = (int64_t)call->arg[3];
    return at < 0 ? -EINVAL : many_buffers(call, READ, &at);
}

int64_t linux_pwritev(struct call *call)
{
    int64_t at = (int64_t)call->arg[3];
    return at < 0 ? -EINVAL : many_buffers(call, WRITE, &at);
}

static int64_t with_flags(struct call *call, enum direction direction)
{
    int64_t at = (int64_t)call->arg[3];
    if (call->arg[5] != 0)
        return -EOPNOTSUPP;
    if (at < -1)
        return -EINVAL;
    return many_buffers(call, direction, at == -1 ? NULL : &at);
}

int64_t linux_preadv2(struct call *call)
{
    return with_flags(call, READ);
}

int64_t linux_pwritev2(struct call *call)
{
    return with_flags(call, WRITE);
}

int64_t linux_lseek(struct call *call)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    if (file == NULL)
        return -EBADF;
    if (file->operations->seek == NULL)
        return -ESPIPE;
    return file->operations->seek(call, file, (int64_t)call->arg[1], (int)call->arg[2]);
}

int64_t linux_ioctl(struct call *call)
{
    struct process *process = call_process(call);
    int fd = (int)call->arg[0];
    uint32_t command = (uint32_t)call->arg[1];
    struct file *file = file_get(call, fd);
    int32_t on;
    if (file == NULL)
        return -EBADF;
    switch (command) {
    case 0x5450: /* FIONCLEX */
    case 0x5451: /* FIOCLEX */
        process->descriptors->slots[fd].close_on_exec = command == 0x5451;
        return 0;
    case 0x5421: /* FIONBIO */
        if (copy_in(call, &on, call->arg[2], sizeof on) != 0)
            return -EFAULT;
        file->flags = on ? file->flags | O_NONBLOCK : file->flags & ~(uint32_t)O_NONBLOCK;
        return 0;
    case 0x541b: /* FIONREAD */
        if (S_ISREG(file->attributes.mode) && file->operations->ioctl == NULL) {
            int64_t size = regular_size(call, file);
            int32_t left = size > file->offset ? (int32_t)(size - file->offset) : 0;
            return copy_out(call, call->arg[2], &left, sizeof left);
        }
        break;
    }
    if (file->operations->ioctl == NULL)
        return -ENOTTY;
    return file->operations->ioctl(call, file, command, call->arg[2]);
}

/* ---- writing back ---- */

static int64_t sync_file(struct call *call)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    if (file == NULL)
        return -EBADF;
    return file->held ? regular_sync(file, true) : -EINVAL;
}

int64_t linux_fsync(struct call *call)
{
    return sync_file(call);
}

int64_t linux_fdatasync(struct call *call)
{
    return sync_file(call);
}

int64_t linux_sync_file_range(struct call *call)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    if (file == NULL)
        return -EBADF;
    if (call->arg[3] & ~7ull || (int64_t)call->arg[1] < 0 || (int64_t)call->arg[2] < 0)
        return -EINVAL;
    if (!file->operations->seekable)
        return -ESPIPE;
    return regular_sync(file, false);
}

int64_t linux_sync(struct call *call)
{
    (void)call;
    file_server_sync();
    return 0;
}

int64_t linux_syncfs(struct call *call)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    return file == NULL ? -EBADF : file_server_sync();
}

int64_t linux_readahead(struct call *call)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    if (file == NULL || !file_may_read(file))
        return -EBADF;
    return file->has_segment ? 0 : -EINVAL;
}

int64_t linux_fadvise64(struct call *call)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    if (file == NULL)
        return -EBADF;
    if (!file->operations->seekable)
        return -ESPIPE;
    return call->arg[3] > 5 ? -EINVAL : 0;
}

int64_t linux_fallocate(struct call *call)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    uint32_t mode = (uint32_t)call->arg[1];
    int64_t offset = (int64_t)call->arg[2], length = (int64_t)call->arg[3], end;
    if (file == NULL || !file_may_write(file))
        return -EBADF;
    if (offset < 0 || length <= 0)
        return -EINVAL;
    if (__builtin_add_overflow(offset, length, &end))
        return -EFBIG;
    if (!S_ISREG(file->attributes.mode))
        return S_ISFIFO(file->attributes.mode) ? -ESPIPE : -ENODEV;
    if (mode & ~3u)
        return -EOPNOTSUPP;
    struct file_exchange exchange = { .node = file->opened, .thread = call_thread(call) };
    exchange.request.operation = FILE_ALLOCATE;
    exchange.request.io.offset = (uint64_t)offset;
    exchange.request.io.length = (uint64_t)length;
    exchange.request.io.mode = (mode & 1 ? FILE_ALLOCATE_KEEP_SIZE : 0) |
                               (mode & 2 ? FILE_ALLOCATE_PUNCH_HOLE : 0);
    return file_exchange(&exchange);
}
