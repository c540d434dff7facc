/* Regular files and directories.
 *
 * The data of a regular file go between its segment's cache and the process without us: we set the
 * offset and have the thread do sgRead or sgWrite itself. The offset is moved beforehand and
 * corrected if the call fails, so two reads at once never get the same bytes. Vectors of more than one
 * buffer go through a buffer of ours.
 *
 * Appending writes of one file take turns, since each must know where the one before it ended.
 */

#include "regular.h"

#include <sys/stat.h>
#include <unistd.h>

#include "call.h"
#include "deferred.h"
#include "file_server.h"
#include "remember.h"
#include "signals.h"
#include "waiting.h"

#define CHUNK 65536u
#define OFFSET_MOST ((int64_t)1 << 40) /* the Nucleus takes any up to here */
#define TELL_AFTER (NANOSECONDS / 100)

const KnCap *file_segment(const struct file *file)
{
    return file->has_segment || file->has_pages ? &file->segment : NULL;
}

int64_t segment_size(const KnCap *segment)
{
    KnSgStat stat;
    KnCap copy = *segment;
    pm_unlock();
    int status = sgStat(&copy, &stat);
    pm_lock();
    return status < 0 ? -EIO : (int64_t)stat.size;
}

int64_t regular_size(struct call *call, struct file *file)
{
    (void)call;
    if (file->has_segment)
        return segment_size(&file->segment);
    if (!S_ISREG(file->attributes.mode))
        return (int64_t)file->attributes.size;
    struct file_exchange exchange = { .node = file->opened };
    exchange.request.operation = FILE_GETATTR;
    int error = file_exchange(&exchange);
    return error != 0 ? error : (int64_t)exchange.reply.attributes.size;
}

int64_t regular_read_here(struct file *file, uint64_t offset, void *buffer, size_t size)
{
    KnCap segment = file->segment;
    pm_unlock();
    int64_t done = sgRead(&segment, offset, buffer, size);
    pm_lock();
    return done < 0 ? error_of((int)done) : done;
}

static int64_t message_fetch(struct call *call, struct file *file, uint64_t offset, void *buffer, size_t size)
{
    struct file_exchange exchange = { .node = file->opened, .body = buffer, .thread = call_thread(call) };
    exchange.body_room = (uint32_t)(size < FILE_BODY_MAX ? size : FILE_BODY_MAX);
    exchange.request.operation = FILE_READ;
    exchange.request.io.offset = offset;
    exchange.request.io.length = exchange.body_room;
    int error = file_exchange(&exchange);
    return error != 0 ? error : (int64_t)exchange.body_size;
}

int64_t regular_fetch(struct call *call, struct file *file, uint64_t offset, void *buffer, size_t size)
{
    size_t done = 0;
    int64_t result = 1;
    while (done < size && result > 0) {
        result = file->has_segment ? regular_read_here(file, offset + done, (char *)buffer + done, size - done)
                                   : message_fetch(call, file, offset + done, (char *)buffer + done, size - done);
        done += result > 0 ? (size_t)result : 0;
    }
    return done > 0 ? (int64_t)done : result;
}

int regular_sync(struct file *file, bool all)
{
    struct file_exchange exchange = { .node = file->opened };
    int status = K_OK;
    KnCap segment = file->segment;
    pm_unlock();
    if (file->has_segment)
        status = sgFlush(&segment, 0, 0, 0);
    pm_lock();
    if (status < 0 || !all)
        return status < 0 ? error_of(status) : 0;
    exchange.request.operation = FILE_FSYNC;
    return file_exchange(&exchange);
}

void regular_closed(struct file *file)
{
    if (file->held && !remember_keep(file->opened, file->access))
        deferred_close_file(file->opened, file->access);
}

/* ---- appending takes turns ---- */

struct turn {
    struct list link;
    struct file_node node;
    struct wait_queue next;
};

static struct list turns = { &turns, &turns };

static struct turn *turn_find(const struct file *file)
{
    LIST_EACH(&turns, at) {
        struct turn *turn = LIST_ENTRY(at, struct turn, link);
        if (file_node_equal(&turn->node, &file->opened))
            return turn;
    }
    return NULL;
}

static int turn_take(const struct file *file)
{
    struct turn *turn = malloc(sizeof *turn);
    if (turn == NULL)
        return -ENOMEM;
    turn->node = file->opened;
    queue_init(&turn->next);
    list_append(&turns, &turn->link);
    return 0;
}

/* The call's turn is over; also when it is given up in the middle. */
static void turn_give_up(struct call *call)
{
    struct turn *turn = turn_find(call->file);
    call->cleanup = NULL;
    if (turn == NULL)
        return;
    queue_wake(&turn->next);
    list_remove(&turn->link);
    free(turn);
}

/* ---- one buffer: the thread does it ---- */

/* scratch[0]: where it began; [1]: how much; [2]: the offset was moved. */
static void put_back(struct call *call, struct file *file, int64_t done)
{
    if (call->scratch[2] && file->offset == (int64_t)(call->scratch[0] + call->scratch[1]))
        file->offset = (int64_t)call->scratch[0] + done;
    if (call->cleanup != NULL)
        turn_give_up(call);
    call->scratch[2] = 0;
}

/* The disk is full: what still fits is written by us, page by page. */
static int64_t write_what_fits(struct call *call, struct file *file)
{
    uint64_t at = call->scratch[0], left = call->scratch[1], done = 0;
    uint8_t page[K_PAGESIZE];
    while (left > 0) {
        uint64_t part = K_PAGESIZE - at % K_PAGESIZE;
        part = part < left ? part : left;
        if (copy_in(call, page, call->arg[1] + done, part) != 0)
            break;
        KnCap segment = file->segment;
        pm_unlock();
        int64_t written = sgWrite(&segment, at, page, part);
        pm_lock();
        if (written < 0)
            break;
        at += part, done += part, left -= part;
    }
    return done > 0 ? (int64_t)done : -ENOSPC;
}

static int64_t moved(struct call *call, int64_t result)
{
    struct file *file = call->file;
    bool writes = call->reply.number == DO_sgWrite;
    if (result == K_ENOSPACE && writes)
        result = write_what_fits(call, file);
    else if (result < 0 && result != K_EABORT)
        result = result == K_EOFFSET && !writes ? 0 : error_of((int)result);
    else if (result == K_EABORT) {
        put_back(call, file, 0);
        call->runs = 1;
        return CALL_WAITS;
    }
    put_back(call, file, result > 0 ? result : 0);
    if (writes && result > 0 && (file->flags & O_DSYNC)) {
        int error = regular_sync(file, true);
        return error != 0 ? error : result;
    }
    return result;
}

static int64_t move(struct call *call, struct file *file, bool writes, uint64_t at,
                    const struct user_io *io, uint64_t size, int64_t *offset, bool report)
{
    call->scratch[0] = at;
    call->scratch[1] = size;
    call->scratch[2] = offset == &file->offset;
    if (offset == &file->offset)
        file->offset = (int64_t)(at + size);
    call->policy = CALL_UNINTERRUPTED;
    uint64_t arguments[] = { call_do_body(call, &file->segment, sizeof file->segment), at,
                             (uint64_t)io->vectors[0].iov_base, size };
    return call_do(call, writes ? DO_sgWrite : DO_sgRead, arguments, 4, report, moved);
}

/* ---- several buffers: through ours ---- */

static int64_t vector_read(struct call *call, struct file *file, struct user_io *io, uint64_t at)
{
    uint8_t *buffer = malloc(CHUNK);
    size_t done = 0;
    int64_t result = 0;
    if (buffer == NULL)
        return -ENOMEM;
    while (done < io->total) {
        size_t part = io->total - done < CHUNK ? io->total - done : CHUNK;
        result = regular_read_here(file, at + done, buffer, part);
        if (result <= 0)
            break;
        int error = io_copy_out(call, io, done, buffer, (size_t)result);
        if (error != 0) {
            result = error;
            break;
        }
        done += (size_t)result;
        if ((size_t)result < part)
            break;
    }
    free(buffer);
    return done > 0 ? (int64_t)done : result;
}

static int64_t vector_write(struct call *call, struct file *file, struct user_io *io, uint64_t at)
{
    uint8_t *buffer = malloc(CHUNK);
    size_t done = 0;
    int64_t result = 0;
    if (buffer == NULL)
        return -ENOMEM;
    while (done < io->total) {
        size_t part = io->total - done < CHUNK ? io->total - done : CHUNK;
        result = io_copy_in(call, io, done, buffer, part);
        if (result != 0)
            break;
        KnCap segment = file->segment;
        pm_unlock();
        result = sgWrite(&segment, at + done, buffer, part);
        pm_lock();
        if (result < 0) {
            result = error_of((int)result);
            break;
        }
        done += part;
    }
    free(buffer);
    return done > 0 ? (int64_t)done : result;
}

/* ---- operations ---- */

static bool is_single(const struct user_io *io)
{
    return io->count == 1;
}

/* A read that moves no offset needs not know beforehand how much there is. */
static bool needs_size(const struct file *file, const struct user_io *io, const int64_t *offset)
{
    return offset == &file->offset || !is_single(io) || *offset > OFFSET_MOST;
}

int64_t regular_read(struct call *call, struct file *file, struct user_io *io,
                            int64_t *offset)
{
    int64_t at = *offset;
    if (!needs_size(file, io, offset))
        return io->total == 0 ? 0 : move(call, file, false, (uint64_t)at, io, io->total, offset, false);
    int64_t size = segment_size(&file->segment);
    if (size < 0)
        return size;
    if (at >= size || io->total == 0)
        return 0;
    uint64_t length = (uint64_t)(size - at) < io->total ? (uint64_t)(size - at) : io->total;
    if (is_single(io))
        return move(call, file, false, (uint64_t)at, io, length, offset, false);
    int64_t done = vector_read(call, file, io, (uint64_t)at);
    if (done > 0 && offset == &file->offset)
        file->offset = at + done;
    return done;
}

/* The limit on the size of files. Returns how much may be written, or -EFBIG with a signal. */
static int64_t within_limit(struct call *call, int64_t at, size_t total)
{
    uint64_t limit = call_process(call)->limits[1 /* RLIMIT_FSIZE */].current;
    if (at < 0 || (uint64_t)at >= INT64_MAX - total)
        return -EFBIG;
    if ((uint64_t)at + total <= limit)
        return (int64_t)total;
    if ((uint64_t)at < limit)
        return (int64_t)(limit - (uint64_t)at);
    signal_send_thread(call_thread(call), &(siginfo_t){ .si_signo = SIGXFSZ,
                                                        .si_code = SI_KERNEL });
    return -EFBIG;
}

uint64_t regular_era;

/* The data do not pass by the server, so it is told that the file changes, for its times and set-uid bits: before
 * the data do, since what is set afterwards, by touch or tar, must stay. Once in a while is enough: clocks of files
 * are coarse, and whoever sets times or such bits begins a new era. */
static void tell_written(struct call *call, struct file *file)
{
    KnTime now = time_now();
    if (file->mtime_set != 0 && now - file->mtime_set < TELL_AFTER &&
        file->mtime_era == regular_era)
        return;
    struct file_exchange exchange = { .node = file->opened };
    exchange.request.operation = FILE_SETATTR;
    exchange.request.flags = FILE_OPENED;
    exchange.request.setattr.valid = FILE_SET_MTIME_NOW;
    file_credentials_of(&exchange.request.credentials, call_process(call));
    file->mtime_set = now;
    file->mtime_era = regular_era;
    file_exchange(&exchange);
}

static int64_t wait_for_turn(struct call *call, struct file *file)
{
    struct turn *turn = turn_find(file);
    if (turn == NULL)
        return turn_take(file);
    call->policy = CALL_UNINTERRUPTED;
    return wait_in(call, &turn->next) == 0 ? CALL_WAITS : -ENOMEM;
}

int64_t regular_write_at(struct call *call, struct file *file, struct user_io *io, uint64_t at, uint64_t length, int64_t *offset,
                         bool report)
{
    if (is_single(io))
        return move(call, file, true, at, io, length, offset, report);
    io->total = (size_t)length;
    int64_t done = vector_write(call, file, io, at);
    if (done > 0 && offset == &file->offset)
        file->offset = (int64_t)at + done;
    return done;
}

int64_t regular_write(struct call *call, struct file *file, struct user_io *io,
                             int64_t *offset)
{
    bool appends = file->flags & O_APPEND;
    if (io->total == 0)
        return 0;
    if (appends) {
        int64_t error = wait_for_turn(call, file);
        if (error != 0)
            return error;
        call->cleanup = turn_give_up;
    }
    tell_written(call, file);
    int64_t at = *offset;
    if (appends)
        at = segment_size(&file->segment);
    int64_t length = at < 0 ? at : within_limit(call, at, io->total);
    if (length > 0 && is_single(io)) {
        if (appends)
            file->offset = offset == &file->offset ? at : file->offset;
        return regular_write_at(call, file, io, (uint64_t)at, (uint64_t)length, offset,
                                appends || (file->flags & O_DSYNC));
    }
    if (length > 0)
        length = regular_write_at(call, file, io, (uint64_t)at, (uint64_t)length, offset, false);
    if (appends)
        turn_give_up(call);
    return length;
}

int64_t regular_seek(struct call *call, struct file *file, int64_t offset, int whence)
{
    int64_t base = 0, size;
    switch (whence) {
    case SEEK_SET: break;
    case SEEK_CUR: base = file->offset; break;
    case SEEK_END:
    case SEEK_DATA:
    case SEEK_HOLE:
        size = regular_size(call, file);
        if (size < 0)
            return size;
        if (whence != SEEK_END) {
            if (offset < 0 || offset >= size)
                return -ENXIO;
            return file->offset = whence == SEEK_DATA ? offset : size;
        }
        base = size;
        break;
    default: return -EINVAL;
    }
    int64_t to;
    if (__builtin_add_overflow(base, offset, &to))
        return -EOVERFLOW;
    if (to < 0)
        return -EINVAL;
    file->offset = to;
    return to;
}

const struct file_operations regular_operations = {
    .seekable = true, .read = regular_read, .write = regular_write, .release = regular_closed,
    .seek = regular_seek,
};

/* ---- by messages ---- */

static int64_t message_read(struct call *call, struct file *file, struct user_io *io,
                            int64_t *offset)
{
    size_t done = 0;
    uint8_t *buffer = malloc(FILE_BODY_MAX);
    int64_t error = buffer == NULL ? -ENOMEM : 0;
    while (error == 0 && done < io->total) {
        size_t part = io->total - done < FILE_BODY_MAX ? io->total - done : FILE_BODY_MAX;
        int64_t fetched = message_fetch(call, file, (uint64_t)*offset + done, buffer, part);
        error = fetched > 0 ? io_copy_out(call, io, done, buffer, (size_t)fetched) : fetched;
        if (error != 0 || fetched == 0)
            break;
        done += (size_t)fetched;
        if ((size_t)fetched < part)
            break;
    }
    free(buffer);
    if (done == 0)
        return error;
    *offset += (int64_t)done;
    return (int64_t)done;
}

static int64_t message_write(struct call *call, struct file *file, struct user_io *io,
                             int64_t *offset)
{
    size_t size = io->total < FILE_BODY_MAX ? io->total : FILE_BODY_MAX;
    uint8_t *buffer = malloc(size + 1);
    if (buffer == NULL)
        return -ENOMEM;
    int64_t error = io_copy_in(call, io, 0, buffer, size);
    struct file_exchange exchange = { .node = file->opened, .send = buffer,
                                      .send_size = (uint32_t)size, .thread = call_thread(call) };
    exchange.request.operation = FILE_WRITE;
    exchange.request.flags = file->flags & O_APPEND ? FILE_APPEND : 0;
    exchange.request.io.offset = (uint64_t)*offset;
    exchange.request.io.length = size;
    if (error == 0)
        error = file_exchange(&exchange);
    free(buffer);
    if (error != 0)
        return error;
    *offset += (int64_t)exchange.reply.io.length;
    return (int64_t)exchange.reply.io.length;
}

const struct file_operations message_operations = {
    .seekable = true, .read = message_read, .write = message_write, .release = regular_closed,
    .seek = regular_seek,
};

/* ---- directories ---- */

static int64_t directory_read(struct call *call, struct file *file, struct user_io *io,
                              int64_t *offset)
{
    (void)call, (void)file, (void)io, (void)offset;
    return -EISDIR;
}

static int64_t directory_seek(struct call *call, struct file *file, int64_t offset, int whence)
{
    (void)call;
    if (whence == SEEK_CUR)
        offset += file->offset;
    else if (whence != SEEK_SET)
        return -EINVAL;
    if (offset < 0)
        return -EINVAL;
    return file->offset = offset;
}

const struct file_operations directory_operations = {
    .seekable = true, .read = directory_read, .release = regular_closed, .seek = directory_seek,
};

struct entry64 {
    uint64_t inode;
    int64_t next;
    uint16_t length;
    uint8_t type;
    char name[];
} __attribute__((packed));

/* Fetch entries; the offset moves past the last. Bytes in <buffer>, or an error. */
static int64_t fetch_entries(struct call *call, struct file *file, uint8_t *buffer, size_t room)
{
    struct file_exchange exchange = { .node = file->opened, .body = buffer,
                                      .body_room = (uint32_t)room, .thread = call_thread(call) };
    exchange.request.operation = FILE_READDIR;
    exchange.request.io.offset = (uint64_t)file->offset;
    exchange.request.io.length = room;
    int error = file_exchange(&exchange);
    return error != 0 ? error : (int64_t)exchange.body_size;
}

static int64_t last_offset(const uint8_t *buffer, size_t size, int64_t offset)
{
    for (size_t at = 0; at + sizeof(struct entry64) <= size;) {
        const struct entry64 *entry = (const void *)(buffer + at);
        offset = entry->next;
        if (entry->length < sizeof *entry)
            break;
        at += entry->length;
    }
    return offset;
}

/* The old form: the same entries, the type at the end. Done in place: it is never longer. */
static size_t make_old(uint8_t *buffer, size_t size)
{
    for (size_t at = 0; at + sizeof(struct entry64) <= size;) {
        struct entry64 *entry = (void *)(buffer + at);
        uint16_t length = entry->length;
        uint8_t type = entry->type;
        size_t name = strnlen(entry->name, length - sizeof *entry);
        memmove(buffer + at + 18, entry->name, name);
        memset(buffer + at + 18 + name, 0, length - 18 - name);
        buffer[at + length - 1] = type;
        at += length;
    }
    return size;
}

static int64_t get_entries(struct call *call, bool old)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    size_t room = (uint32_t)call->arg[2];
    if (file == NULL)
        return -EBADF;
    if (file->operations != &directory_operations)
        return -ENOTDIR;
    room = room < FILE_BODY_MAX ? room : FILE_BODY_MAX;
    uint8_t *buffer = malloc(room + 1);
    if (buffer == NULL)
        return -ENOMEM;
    int64_t size = fetch_entries(call, file, buffer, room);
    if (size > 0) {
        int64_t next = last_offset(buffer, (size_t)size, file->offset);
        if (old)
            make_old(buffer, (size_t)size);
        int error = copy_out(call, call->arg[1], buffer, (size_t)size);
        if (error != 0)
            size = error;
        else
            file->offset = next;
    }
    free(buffer);
    return size;
}

int64_t linux_getdents64(struct call *call)
{
    return get_entries(call, false);
}

int64_t linux_getdents(struct call *call)
{
    return get_entries(call, true);
}
