/* The memory of processes. */

#include "user.h"

#include <limits.h>

#include "call.h"

#define IO_MOST 0x7ffff000u /* bytes that one read or write moves at most, as in Linux */

static int copied(int status)
{
    if (status >= 0)
        return 0;
    return status == K_ENOMEM ? -ENOMEM : status == K_EMAPPER ? -EFAULT : -EFAULT;
}

static bool is_user_range(VmAddr address, size_t size)
{
    return address < (UINT64_C(1) << 47) && size <= (UINT64_C(1) << 47) - address;
}

int space_read(struct space *space, void *to, VmAddr from, size_t size)
{
    if (size == 0)
        return 0;
    if (!is_user_range(from, size))
        return -EFAULT;
    KnCap actor = space->actor;
    pm_unlock();
    int status;
    while ((status = vmCopy(&actor, from, K_MYACTOR, (VmAddr)to, size)) == K_EABORT)
        ;
    pm_lock();
    return copied(status);
}

int space_write(struct space *space, VmAddr to, const void *from, size_t size)
{
    if (size == 0)
        return 0;
    if (!is_user_range(to, size))
        return -EFAULT;
    KnCap actor = space->actor;
    pm_unlock();
    int status;
    while ((status = vmCopy(K_MYACTOR, (VmAddr)from, &actor, to, size)) == K_EABORT)
        ;
    pm_lock();
    return copied(status);
}

int copy_in(struct call *call, void *to, VmAddr from, size_t size)
{
    return space_read(call_process(call)->space, to, from, size);
}

int copy_out(struct call *call, VmAddr to, const void *from, size_t size)
{
    return space_write(call_process(call)->space, to, from, size);
}

int copy_in_string(struct call *call, char *to, VmAddr from, size_t size)
{
    if (!is_user_range(from, 1))
        return -EFAULT;
    KnCap actor = call_process(call)->space->actor;
    pm_unlock();
    int length;
    while ((length = vmCopyString(&actor, from, to, size)) == K_EABORT)
        ;
    pm_lock();
    if (length == K_ETOOMUCH)
        return -ENAMETOOLONG;
    return length < 0 ? -EFAULT : length;
}

int copy_in_path(struct call *call, VmAddr from, bool may_be_empty, char **ret_path)
{
    char path[PATH_MAX];
    int length = copy_in_string(call, path, from, sizeof path);
    if (length == 0 && !may_be_empty)
        length = -ENOENT;
    if (length < 0)
        return length;
    *ret_path = strdup(path);
    return *ret_path == NULL ? -ENOMEM : 0;
}

void io_set(struct user_io *io, VmAddr address, size_t size)
{
    io->total = size < IO_MOST ? size : IO_MOST;
    io->one = (struct iovec){ .iov_base = (void *)address, .iov_len = io->total };
    io->vectors = &io->one;
    io->count = 1;
    io->other = NULL;
}

int io_fetch(struct call *call, struct user_io *io, VmAddr vectors, uint64_t count)
{
    if (count > IO_VECTORS_MAX)
        return -EINVAL;
    io->count = count;
    io->total = 0;
    io->other = NULL;
    io->vectors = &io->one;
    if (count > 1) {
        io->vectors = malloc(count * sizeof *io->vectors);
        if (io->vectors == NULL)
            return -ENOMEM;
    }
    int error = copy_in(call, io->vectors, vectors, count * sizeof *io->vectors);
    for (size_t i = 0; error == 0 && i < count; i++) {
        struct iovec *vector = &io->vectors[i];
        if (vector->iov_len > SSIZE_MAX)
            error = -EINVAL;
        else if (vector->iov_len > IO_MOST - io->total)
            vector->iov_len = IO_MOST - io->total;
        io->total += error == 0 ? vector->iov_len : 0;
    }
    if (error != 0)
        io_end(io);
    return error;
}

void io_end(struct user_io *io)
{
    if (io->vectors != &io->one)
        free(io->vectors);
    io->vectors = &io->one;
}

static int io_copy(struct call *call, const struct user_io *io, size_t offset, char *buffer,
                   size_t size, bool out)
{
    for (size_t i = 0; i < io->count && size > 0; i++) {
        size_t length = io->vectors[i].iov_len;
        if (offset >= length) {
            offset -= length;
            continue;
        }
        size_t part = length - offset < size ? length - offset : size;
        VmAddr address = (VmAddr)io->vectors[i].iov_base + offset;
        int error = out ? copy_out(call, address, buffer, part)
                        : copy_in(call, buffer, address, part);
        if (error != 0)
            return error;
        buffer += part;
        size -= part;
        offset = 0;
    }
    return size == 0 ? 0 : -EFAULT;
}

int io_copy_in(struct call *call, const struct user_io *io, size_t offset, void *to, size_t size)
{
    if (io->other != NULL)
        return io->other->bring(call, io->other, offset, to, size);
    return io_copy(call, io, offset, to, size, false);
}

int io_copy_out(struct call *call, const struct user_io *io, size_t offset, const void *from,
                size_t size)
{
    if (io->other != NULL)
        return io->other->take(call, io->other, offset, from, size);
    return io_copy(call, io, offset, (char *)from, size, true);
}
