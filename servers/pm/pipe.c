/* Pipes: a ring of 64 KB between two ends.
 *
 * A write of at most PIPE_BUF bytes goes in as a whole or waits. While one reader copies out of the ring
 * (the lock is not held then) the next one waits, so a bad address loses no data.
 */

#include "pipe.h"

#include <asm/ioctls.h>
#include <limits.h>
#include <sys/stat.h>

#include "call.h"
#include "path.h"
#include "signals.h"
#include "waiting.h"

#define RING 65536u

struct pipe {
    unsigned references; /* ends, and FIFO opens that wait */
    unsigned readers, writers;
    uint64_t readers_ever, writers_ever; /* counted up, for FIFO opens */
    uint32_t start, length;
    uint32_t reserved; /* room that somebody fills just now: splice.c */
    bool reading;
    uint8_t *ring; /* allocated when first written to */
    struct wait_queue changed;
    /* Of a FIFO. */
    struct list link;
    struct file_node node;
};

static struct list fifos = { &fifos, &fifos };
static const struct file_operations read_end, write_end, both_ends;

static struct pipe *pipe_new(void)
{
    struct pipe *pipe = calloc(1, sizeof *pipe);
    if (pipe == NULL)
        return NULL;
    queue_init(&pipe->changed);
    list_init(&pipe->link);
    return pipe;
}

static void pipe_release(struct pipe *pipe)
{
    if (--pipe->references > 0)
        return;
    list_remove(&pipe->link);
    free(pipe->ring);
    free(pipe);
}

static bool reads(const struct file *file)
{
    return (file->flags & O_ACCMODE) != O_WRONLY;
}

static bool writes(const struct file *file)
{
    return (file->flags & O_ACCMODE) != O_RDONLY;
}

static struct file *end_new(struct pipe *pipe, uint32_t flags)
{
    uint32_t mode = flags & O_ACCMODE;
    struct file *file = file_new(mode == O_RDONLY   ? &read_end
                                 : mode == O_WRONLY ? &write_end
                                                    : &both_ends, flags);
    if (file == NULL)
        return NULL;
    file->object = pipe;
    file->attributes.mode = S_IFIFO | 0600;
    file->attributes.links = 1;
    file->attributes.block_size = 4096;
    pipe->references++;
    if (reads(file))
        pipe->readers++, pipe->readers_ever++;
    if (writes(file))
        pipe->writers++, pipe->writers_ever++;
    queue_wake(&pipe->changed);
    return file;
}

static void pipe_file_release(struct file *file)
{
    struct pipe *pipe = file->object;
    pipe->readers -= reads(file);
    pipe->writers -= writes(file);
    queue_wake(&pipe->changed);
    pipe_release(pipe);
}

struct file *pipe_reopen(struct file *file, uint32_t flags)
{
    return end_new(file->object, flags);
}

/* ---- what splice.c sees of it ---- */

struct pipe *pipe_of(const struct file *file)
{
    bool is_pipe = file->operations == &read_end || file->operations == &write_end || file->operations == &both_ends;
    return is_pipe ? file->object : NULL;
}

struct wait_queue *pipe_queue(struct pipe *pipe)
{
    return &pipe->changed;
}

uint32_t pipe_readable(const struct pipe *pipe)
{
    return pipe->reading ? 0 : pipe->length;
}

bool pipe_has_ended(const struct pipe *pipe)
{
    return pipe->length == 0 && pipe->writers == 0;
}

bool pipe_has_readers(const struct pipe *pipe)
{
    return pipe->readers > 0;
}

uint32_t pipe_room(const struct pipe *pipe)
{
    return RING - pipe->length - pipe->reserved;
}

void pipe_hold(struct pipe *pipe, bool on)
{
    pipe->reading = on;
    if (!on)
        queue_wake(&pipe->changed);
}

void pipe_peek(const struct pipe *pipe, uint32_t offset, void *to, uint32_t size)
{
    uint32_t at = (pipe->start + offset) % RING, first = size < RING - at ? size : RING - at;
    memcpy(to, pipe->ring + at, first);
    memcpy((uint8_t *)to + first, pipe->ring, size - first);
}

void pipe_drop(struct pipe *pipe, uint32_t size)
{
    pipe->start = (pipe->start + size) % RING;
    pipe->length -= size;
    queue_wake(&pipe->changed);
}

void pipe_reserve(struct pipe *pipe, int32_t size)
{
    pipe->reserved += (uint32_t)size;
    if (size < 0)
        queue_wake(&pipe->changed);
}

/* ---- reading ---- */

static int64_t take(struct call *call, struct pipe *pipe, struct user_io *io)
{
    uint32_t size = io->total < pipe->length ? (uint32_t)io->total : pipe->length;
    uint32_t start = pipe->start, first = size < RING - start ? size : RING - start;
    pipe->reading = true;
    int error = io_copy_out(call, io, 0, pipe->ring + start, first);
    if (error == 0 && size > first)
        error = io_copy_out(call, io, first, pipe->ring, size - first);
    pipe->reading = false;
    queue_wake(&pipe->changed);
    if (error != 0)
        return error;
    pipe->start = (start + size) % RING;
    pipe->length -= size;
    return size;
}

static int64_t pipe_read(struct call *call, struct file *file, struct user_io *io, int64_t *offset)
{
    struct pipe *pipe = file->object;
    (void)offset;
    if (io->total == 0)
        return 0;
    if (pipe->length > 0 && !pipe->reading)
        return take(call, pipe, io);
    if (pipe->length == 0 && pipe->writers == 0)
        return 0;
    if ((file->flags & O_NONBLOCK) && pipe->length == 0)
        return -EAGAIN;
    return wait_in(call, &pipe->changed) == 0 ? CALL_WAITS : -ENOMEM;
}

/* ---- writing ---- */

static void put(struct pipe *pipe, const uint8_t *data, uint32_t size)
{
    uint32_t end = (pipe->start + pipe->length) % RING;
    uint32_t first = size < RING - end ? size : RING - end;
    memcpy(pipe->ring + end, data, first);
    memcpy(pipe->ring, data + first, size - first);
    pipe->length += size;
    queue_wake(&pipe->changed);
}

int64_t pipe_broken(struct call *call)
{
    siginfo_t info = { .si_signo = SIGPIPE, .si_code = SI_USER };
    info.si_pid = call_process(call)->pid;
    info.si_uid = call_process(call)->credentials.uid;
    if (call->progress > 0)
        return call->progress;
    signal_send_thread(call_thread(call), &info);
    return -EPIPE;
}

/* How much may be put now: all of a small write, or what there is room for. */
static uint32_t may_put(const struct pipe *pipe, size_t total, size_t left)
{
    uint32_t room = pipe_room(pipe);
    if (total <= PIPE_BUF)
        return room >= left ? (uint32_t)left : 0;
    return left < room ? (uint32_t)left : room;
}

int pipe_put(struct pipe *pipe, const void *data, uint32_t size)
{
    if (pipe->ring == NULL && (pipe->ring = malloc(RING)) == NULL)
        return -ENOMEM;
    put(pipe, data, size);
    return 0;
}

static int64_t pipe_write(struct call *call, struct file *file, struct user_io *io, int64_t *offset)
{
    struct pipe *pipe = file->object;
    (void)offset;
    if (pipe->readers == 0)
        return pipe_broken(call);
    if (io->total == 0)
        return 0;
    if (pipe->ring == NULL && (pipe->ring = malloc(RING)) == NULL)
        return -ENOMEM;
    while ((size_t)call->progress < io->total) {
        size_t left = io->total - (size_t)call->progress;
        uint32_t size = may_put(pipe, io->total, left);
        if (size == 0)
            break;
        uint8_t small[PIPE_BUF], *data = size <= sizeof small ? small : malloc(size);
        if (data == NULL)
            return call->progress > 0 ? call->progress : -ENOMEM;
        int error = io_copy_in(call, io, (size_t)call->progress, data, size);
        if (error == 0 && pipe->readers == 0) {
            error = 1;
        } else if (error == 0 && may_put(pipe, io->total, left) >= size) {
            put(pipe, data, size);
            call->progress += size;
        }
        if (data != small)
            free(data);
        if (error > 0)
            return pipe_broken(call);
        if (error < 0)
            return call->progress > 0 ? call->progress : error;
    }
    if ((size_t)call->progress == io->total)
        return call->progress;
    if (file->flags & O_NONBLOCK)
        return call->progress > 0 ? call->progress : -EAGAIN;
    return wait_in(call, &pipe->changed) == 0 ? CALL_WAITS : -ENOMEM;
}

/* ---- the rest ---- */

static unsigned pipe_poll(struct call *call, struct file *file, unsigned wanted)
{
    struct pipe *pipe = file->object;
    unsigned events = 0;
    (void)wanted;
    if (call != NULL)
        wait_in(call, &pipe->changed);
    if (reads(file)) {
        events |= pipe->length > 0 ? POLLIN | POLLRDNORM : 0;
        events |= pipe->writers == 0 && pipe->writers_ever > 0 ? POLLHUP : 0;
    }
    if (writes(file)) {
        events |= pipe_room(pipe) >= PIPE_BUF ? POLLOUT | POLLWRNORM : 0;
        events |= pipe->readers == 0 ? POLLERR : 0;
    }
    return events;
}

static int64_t pipe_ioctl(struct call *call, struct file *file, uint32_t command, uint64_t argument)
{
    struct pipe *pipe = file->object;
    if (command != FIONREAD)
        return -ENOTTY;
    int32_t length = (int32_t)pipe->length;
    return copy_out(call, argument, &length, sizeof length);
}

static const struct file_operations read_end = {
    .name = "pipe", .read = pipe_read, .poll = pipe_poll, .ioctl = pipe_ioctl,
    .release = pipe_file_release,
};
static const struct file_operations write_end = {
    .name = "pipe", .write = pipe_write, .poll = pipe_poll, .ioctl = pipe_ioctl,
    .release = pipe_file_release,
};
static const struct file_operations both_ends = {
    .name = "pipe", .read = pipe_read, .write = pipe_write, .poll = pipe_poll, .ioctl = pipe_ioctl,
    .release = pipe_file_release,
};

static int64_t make_pipe(struct call *call, uint32_t flags)
{
    struct process *process = call_process(call);
    struct pipe *pipe = pipe_new();
    if (flags & ~(uint32_t)(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) {
        free(pipe);
        return -EINVAL;
    }
    if (pipe == NULL)
        return -ENFILE;
    uint32_t keep = flags & O_NONBLOCK;
    pipe->references++;
    struct file *in = end_new(pipe, O_RDONLY | keep), *out = end_new(pipe, O_WRONLY | keep);
    pipe_release(pipe);
    int fds[2] = { -ENFILE, -ENFILE };
    if (in != NULL && out != NULL) {
        in->number = out->number;
        fds[0] = descriptor_add(process, in, flags & O_CLOEXEC, 0);
        fds[1] = fds[0] < 0 ? fds[0] : descriptor_add(process, out, flags & O_CLOEXEC, 0);
    }
    int error = fds[1] < 0 ? fds[1] : copy_out(call, call->arg[0], fds, sizeof fds);
    if (error != 0 && fds[0] >= 0)
        descriptor_close(process, fds[0]);
    else if (error != 0 && in != NULL)
        file_release(in);
    if (error != 0 && fds[1] >= 0)
        descriptor_close(process, fds[1]);
    else if (error != 0 && out != NULL)
        file_release(out);
    return error;
}

int64_t linux_pipe(struct call *call)
{
    return make_pipe(call, 0);
}

int64_t linux_pipe2(struct call *call)
{
    return make_pipe(call, (uint32_t)call->arg[1]);
}

/* ---- FIFOs ---- */

static struct pipe *fifo_find(struct file_node node)
{
    LIST_EACH(&fifos, at) {
        struct pipe *pipe = LIST_ENTRY(at, struct pipe, link);
        if (pipe->node.port == node.port && pipe->node.key == node.key)
            return pipe;
    }
    struct pipe *pipe = pipe_new();
    if (pipe != NULL) {
        pipe->node = node;
        list_append(&fifos, &pipe->link);
    }
    return pipe;
}

/* The first run makes the end; it then waits until the other end has been there. scratch[2] the file,
 * scratch[3] how many others there had ever been. */
int64_t pipe_open_fifo(struct call *call, const struct file_attributes *attributes,
                       struct file_node node, uint32_t flags, struct file **ret_file)
{
    struct file *file = (struct file *)call->scratch[2];
    uint32_t mode = flags & O_ACCMODE;
    if (file == NULL) {
        struct pipe *pipe = fifo_find(node);
        if (pipe == NULL)
            return -ENOMEM;
        pipe->references++;
        bool nobody = mode == O_WRONLY && (flags & O_NONBLOCK) && pipe->readers == 0;
        file = nobody ? NULL : end_new(pipe, flags);
        uint64_t ever = mode == O_RDONLY ? pipe->writers_ever : pipe->readers_ever;
        pipe_release(pipe);
        if (file == NULL)
            return nobody ? -ENXIO : -ENOMEM;
        file->attributes = *attributes;
        bool there = mode == O_RDONLY ? pipe->writers > 0 : pipe->readers > 0;
        if (mode == O_RDWR || there || (flags & O_NONBLOCK)) {
            *ret_file = file;
            return 0;
        }
        /* The end is the call's file: it goes with the call if that is interrupted. */
        call->file = file;
        call->scratch[2] = (uint64_t)file;
        call->scratch[3] = ever;
    }
    struct pipe *pipe = file->object;
    uint64_t ever = mode == O_RDONLY ? pipe->writers_ever : pipe->readers_ever;
    if (ever == call->scratch[3])
        return wait_in(call, &pipe->changed) == 0 ? CALL_WAITS : -ENOMEM;
    file_reference(file);
    *ret_file = file;
    return 0;
}
