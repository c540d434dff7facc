/* Data from one file into another one, past the program: sendfile, splice, tee, vmsplice.
 *
 * The kinds of files are not asked for anything new. Who writes fetches its data with io_copy_in, who reads hands them over with io_copy_out; here
 * the other side of these is not the process's memory but the other file: a regular file is read where the data are wanted, a pipe's ring
 * is copied from or to. So whatever waits, is interrupted or goes on does so as in write and read, with the call's progress.
 *
 * One of the two files is call->file, the other one is held in scratch[1]. scratch[0]: the offset in the regular file at the beginning.
 */

#include <sys/stat.h>

#include "call.h"
#include "descriptor.h"
#include "file_server.h"
#include "pipe.h"
#include "regular.h"
#include "socket.h"
#include "waiting.h"

#define SIZE_MOST 0x7ffff000u /* of one call, as in Linux */
#define FLAG_NONBLOCK 2u
#define FLAGS_KNOWN 15u

/* ---- the other side ---- */

struct regular_source {
    struct io_other other;
    struct file *file;
    uint64_t base;
};

/* -ENODATA: the file has become shorter. */
static int bring_from_file(struct call *call, struct io_other *other, size_t offset, void *to, size_t size)
{
    struct regular_source *source = (struct regular_source *)other;
    int64_t done = regular_fetch(call, source->file, source->base + offset, to, size);
    return done < 0 ? (int)done : (size_t)done < size ? -ENODATA : 0;
}

struct pipe_side {
    struct io_other other;
    struct pipe *pipe;
    size_t gone; /* bytes of this call that are no more in the ring */
};

static int bring_from_pipe(struct call *call, struct io_other *other, size_t offset, void *to, size_t size)
{
    struct pipe_side *side = (struct pipe_side *)other;
    (void)call;
    pipe_peek(side->pipe, (uint32_t)(offset - side->gone), to, (uint32_t)size);
    return 0;
}

/* There is room: it has been reserved. Data come in their order. */
static int take_into_pipe(struct call *call, struct io_other *other, size_t offset, const void *from, size_t size)
{
    struct pipe_side *side = (struct pipe_side *)other;
    (void)call, (void)offset;
    return pipe_put(side->pipe, from, (uint32_t)size);
}

static void io_set_other(struct user_io *io, struct io_other *other, size_t total)
{
    *io = (struct user_io){ .vectors = &io->one, .total = total, .other = other };
}

/* ---- two files ---- */

static void let_go(struct call *call)
{
    file_release((struct file *)call->scratch[1]);
}

static struct file *second_file(struct call *call, int fd)
{
    struct file *file = call->runs == 0 ? descriptor_file(call_process(call), fd) : (struct file *)call->scratch[1];
    if (file == NULL || call->runs > 0)
        return file;
    file_reference(file);
    call->scratch[1] = (uint64_t)file;
    call->cleanup = let_go;
    return file;
}

/* Files of /proc tell no size: their readers find the end by reading. */
static bool is_regular(const struct file *file)
{
    return file->operations == &regular_operations || (file->operations == &message_operations && !file_node_is_own(&file->opened));
}

static bool is_socket(const struct file *file)
{
    return file->operations->socket != NULL;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What a write or read says it has done, or has done before it waits. */
static int64_t done_by(const struct call *call, int64_t result)
{
    return result >= 0 ? result : result == CALL_WAITS ? call->progress : 0;
}

static int64_t wait_for(struct call *call, struct pipe *pipe, bool may_wait)
{
    if (call->progress > 0)
        return call->progress;
    if (!may_wait)
        return -EAGAIN;
    return wait_in(call, pipe_queue(pipe)) == 0 ? CALL_WAITS : -ENOMEM;
}

/* ---- offsets ---- */

/* Where a regular file is read or written: what the program names, or the file's own place. */
static int begin_at(struct call *call, const struct file *file, VmAddr named_at)
{
    int64_t named = file->offset;
    if (call->runs > 0)
        return 0;
    int error = named_at != 0 ? copy_in(call, &named, named_at, sizeof named) : 0;
    if (error == 0 && named < 0)
        error = -EINVAL;
    call->scratch[0] = (uint64_t)named;
    return error;
}

static int64_t tell_offset(struct call *call, struct file *file, VmAddr named_at, int64_t result)
{
    int64_t now = (int64_t)call->scratch[0] + done_by(call, result);
    if (named_at == 0)
        file->offset = now;
    else if (copy_out(call, named_at, &now, sizeof now) != 0 && result >= 0)
        return -EFAULT;
    return result;
}

/* ---- from a regular file ---- */

/* Up to <room> bytes more than what has been done. */
static int64_t from_regular(struct call *call, struct file *in, VmAddr named_at, struct file *out, size_t wanted, size_t room)
{
    int64_t size = regular_size(call, in), base = (int64_t)call->scratch[0];
    if (size < 0)
        return size;
    if (size == 0 && in->operations == &message_operations)
        return -EINVAL; /* files of /proc do not say how much is in them: programs read */
    size_t total = base < size ? smaller(wanted, (size_t)(size - base)) : 0, done = (size_t)call->progress;
    if (total <= done)
        return call->progress;
    struct regular_source source = { { .bring = bring_from_file }, in, (uint64_t)base };
    struct user_io io;
    io_set_other(&io, &source.other, done + smaller(total - done, room));
    int64_t result = out->operations->write(call, out, &io, NULL);
    return tell_offset(call, in, named_at, result == -ENODATA ? 0 : result);
}

int64_t linux_sendfile(struct call *call)
{
    struct file *out = file_get(call, (int)call->arg[0]), *in = second_file(call, (int)call->arg[1]);
    if (in == NULL || out == NULL || !file_may_read(in) || !file_may_write(out))
        return -EBADF;
    if (call->arg[2] != 0 && !in->operations->seekable)
        return -ESPIPE;
    if (!is_regular(in) || (!is_socket(out) && pipe_of(out) == NULL) || (int64_t)call->arg[3] < 0)
        return -EINVAL; /* programs read and write then */
    int error = begin_at(call, in, call->arg[2]);
    return error != 0 ? error : from_regular(call, in, call->arg[2], out, smaller(call->arg[3], SIZE_MOST), SIZE_MOST);
}

/* ---- from a pipe ---- */

/* How much may be taken from it now; 0 or less: what the call returns instead, *over. */
static int64_t readable(struct call *call, struct pipe *pipe, bool may_wait, bool *over)
{
    uint32_t there = pipe_readable(pipe);
    *over = there == 0;
    if (there > 0)
        return there;
    return pipe_has_ended(pipe) ? call->progress : wait_for(call, pipe, may_wait);
}

static int64_t from_pipe(struct call *call, struct pipe *pipe, struct file *out, size_t wanted, int64_t *offset, bool keeps)
{
    struct pipe_side side = { { .bring = bring_from_pipe }, pipe, keeps ? 0 : (size_t)call->progress };
    struct user_io io;
    int64_t before = call->progress;
    io_set_other(&io, &side.other, wanted);
    pipe_hold(pipe, true);
    int64_t result = out->operations->write(call, out, &io, offset);
    int64_t done = done_by(call, result) - before;
    pipe_hold(pipe, false);
    if (!keeps && done > 0)
        pipe_drop(pipe, (uint32_t)done);
    return result;
}

/* Into another pipe no more than there is room for. 0 or less: what the call returns instead, *over. */
static int64_t writable(struct call *call, struct pipe *pipe, bool may_wait, bool *over)
{
    uint32_t room = pipe_has_readers(pipe) ? pipe_room(pipe) : 1; /* the write finds out that it is broken */
    *over = room == 0;
    return room > 0 ? room : wait_for(call, pipe, may_wait);
}

static int64_t pipe_to_other(struct call *call, struct file *in, struct file *out, VmAddr named_at, size_t size, bool may_wait)
{
    bool over;
    int64_t there = readable(call, pipe_of(in), may_wait && !(in->flags & O_NONBLOCK), &over), room = SIZE_MOST;
    if (over)
        return there;
    if (pipe_of(out) != NULL)
        room = writable(call, pipe_of(out), may_wait && !(out->flags & O_NONBLOCK), &over);
    if (over)
        return room;
    size_t done = (size_t)call->progress, wanted = done + smaller(smaller(size - done, (size_t)there), (size_t)room);
    if (!is_regular(out))
        return from_pipe(call, pipe_of(in), out, wanted, NULL, false);
    int error = begin_at(call, out, named_at);
    int64_t at = (int64_t)call->scratch[0];
    if (error != 0 || (out->flags & O_APPEND))
        return error != 0 ? error : -EINVAL;
    return tell_offset(call, out, named_at, from_pipe(call, pipe_of(in), out, wanted, &at, false));
}

/* ---- into a pipe ---- */

static int64_t other_to_pipe(struct call *call, struct file *in, VmAddr named_at, struct file *out, size_t size, bool may_wait)
{
    struct pipe *pipe = pipe_of(out);
    bool over;
    int error = is_regular(in) ? begin_at(call, in, named_at) : 0;
    int64_t room = error != 0 ? error : writable(call, pipe, may_wait && !(out->flags & O_NONBLOCK), &over);
    if (error != 0 || over)
        return room;
    if (is_regular(in))
        return from_regular(call, in, named_at, out, size, (size_t)room);
    if (!pipe_has_readers(pipe))
        return pipe_broken(call);
    struct pipe_side side = { { .take = take_into_pipe }, pipe, 0 };
    struct user_io io;
    io_set_other(&io, &side.other, smaller(size, (size_t)room));
    pipe_reserve(pipe, (int32_t)io.total);
    int64_t result = in->operations->read(call, in, &io, NULL);
    pipe_reserve(pipe, -(int32_t)io.total);
    return result;
}

int64_t linux_splice(struct call *call)
{
    struct file *in = file_get(call, (int)call->arg[0]), *out = second_file(call, (int)call->arg[2]);
    VmAddr in_at = call->arg[1], out_at = call->arg[3];
    size_t size = smaller(call->arg[4], SIZE_MOST);
    bool may_wait = !(call->arg[5] & FLAG_NONBLOCK);
    if (size == 0)
        return 0;
    if (call->arg[5] & ~(uint64_t)FLAGS_KNOWN)
        return -EINVAL;
    if (in == NULL || out == NULL || !file_may_read(in) || !file_may_write(out))
        return -EBADF;
    if ((pipe_of(in) != NULL && in_at != 0) || (pipe_of(out) != NULL && out_at != 0))
        return -ESPIPE;
    if ((in_at != 0 && !is_regular(in)) || (out_at != 0 && !is_regular(out)) || pipe_of(in) == pipe_of(out))
        return -EINVAL;
    if (pipe_of(in) != NULL && (pipe_of(out) != NULL || is_socket(out) || is_regular(out)))
        return pipe_to_other(call, in, out, out_at, size, may_wait);
    return pipe_of(out) != NULL && (is_regular(in) || is_socket(in)) ? other_to_pipe(call, in, in_at, out, size, may_wait) : -EINVAL;
}

int64_t linux_tee(struct call *call)
{
    struct file *in = file_get(call, (int)call->arg[0]), *out = second_file(call, (int)call->arg[1]);
    size_t size = smaller(call->arg[2], SIZE_MOST);
    bool may_wait = !(call->arg[3] & FLAG_NONBLOCK), over;
    if (call->arg[3] & ~(uint64_t)FLAGS_KNOWN)
        return -EINVAL;
    if (size == 0)
        return 0;
    if (in == NULL || out == NULL || !file_may_read(in) || !file_may_write(out))
        return -EBADF;
    if (pipe_of(in) == NULL || pipe_of(out) == NULL || pipe_of(in) == pipe_of(out))
        return -EINVAL;
    int64_t there = readable(call, pipe_of(in), may_wait && !(in->flags & O_NONBLOCK), &over);
    if (over)
        return there;
    int64_t room = writable(call, pipe_of(out), may_wait && !(out->flags & O_NONBLOCK), &over);
    return over ? room : from_pipe(call, pipe_of(in), out, smaller(size, smaller((size_t)there, (size_t)room)), NULL, true);
}

/* The memory's pages are copied, not given. */
int64_t linux_vmsplice(struct call *call)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    struct user_io io;
    if (call->arg[3] & ~(uint64_t)FLAGS_KNOWN)
        return -EINVAL;
    if (file == NULL || pipe_of(file) == NULL)
        return -EBADF;
    int error = io_fetch(call, &io, call->arg[1], call->arg[2]);
    if (error != 0)
        return error;
    bool writes = file_may_write(file), may_wait = !(call->arg[3] & FLAG_NONBLOCK);
    bool is_stuck = writes ? pipe_has_readers(pipe_of(file)) && pipe_room(pipe_of(file)) == 0
                           : pipe_readable(pipe_of(file)) == 0 && !pipe_has_ended(pipe_of(file));
    int64_t result = -EAGAIN;
    if (writes && !may_wait && !is_stuck && pipe_has_readers(pipe_of(file)))
        io.total = smaller(io.total, pipe_room(pipe_of(file)));
    if (may_wait || !is_stuck)
        result = writes ? file->operations->write(call, file, &io, NULL) : file->operations->read(call, file, &io, NULL);
    io_end(&io);
    return result;
}
