/* Opening by name: the server of the name opens the node; then its kind decides what serves it. */

#include "open.h"

#include <sys/stat.h>

#include "block.h"
#include "call.h"
#include "deferred.h"
#include "device.h"
#include "file_server.h"
#include "path.h"
#include "pipe.h"
#include "process.h"
#include "regular.h"

static const struct file_operations path_operations = { .seekable = false };

static uint32_t access_of(uint32_t flags)
{
    uint32_t mode = flags & O_ACCMODE, access = 0;
    if (mode == O_RDONLY || mode == O_RDWR)
        access |= FILE_O_READ;
    if (mode == O_WRONLY || mode == O_RDWR)
        access |= FILE_O_WRITE;
    if (flags & O_TRUNC)
        access |= FILE_O_TRUNCATE;
    if (flags & O_DIRECTORY)
        access |= FILE_O_DIRECTORY;
    if ((flags & O_EXCL) && (flags & O_CREAT))
        access |= FILE_O_EXCLUSIVE;
    return access;
}

static void request_of(struct path_walk *walk, const struct process *process, uint32_t flags,
                       uint32_t mode, uint32_t access)
{
    struct file_request *request = &walk->exchange.request;
    bool exclusive = (flags & O_CREAT) && (flags & O_EXCL);
    memset(walk, 0, sizeof *walk);
    request->flags = (flags & O_NOFOLLOW) || exclusive ? 0 : FILE_FOLLOW;
    if (flags & O_PATH) {
        request->operation = FILE_WALK;
        return;
    }
    request->operation = flags & O_CREAT ? FILE_CREATE : FILE_OPEN;
    request->open.access = access != 0 ? access : access_of(flags);
    request->open.mode = mode & 07777 & ~process->fs->umask;
}

/* Regular files and directories. */
static struct file *file_of_server(struct path_walk *walk, uint32_t flags)
{
    const struct file_reply *reply = &walk->exchange.reply;
    bool is_directory = S_ISDIR(reply->attributes.mode);
    bool by_message = reply->flags & FILE_BY_MESSAGE;
    struct file *file = file_new(is_directory   ? &directory_operations
                                 : S_ISBLK(reply->attributes.mode) ? &block_operations
                                 : by_message   ? &message_operations
                                                : &regular_operations, flags);
    if (file == NULL)
        return NULL;
    file->held = true;
    file->access = walk->exchange.request.open.access;
    file->has_segment = !is_directory && !by_message;
    file->has_pages = by_message && (reply->flags & FILE_MAPPABLE);
    bool harmless = (reply->attributes.mode & (S_ISUID | S_ISGID)) == 0;
    if (harmless && ((reply->flags & FILE_CREATED) || (flags & O_TRUNC))) {
        file->mtime_set = time_now();
        file->mtime_era = regular_era;
    }
    if (file->has_segment || file->has_pages) {
        memcpy(&file->segment.ui, &reply->node.port, sizeof file->segment.ui);
        file->segment.key = reply->node.key;
    }
    if (file->has_segment)
        file_server_note_mapper(walk->server.port, reply->node.port);
    return file;
}

static void name_file(struct file *file, struct path_walk *walk)
{
    file->attributes = walk->exchange.reply.attributes;
    file->opened = (struct file_node){ .port = walk->server.port,
                                       .key = walk->exchange.reply.attributes.key };
    file->place.node = file->opened;
    file->place.path = walk->path;
    walk->path = NULL;
}

/* The node is held by the server and is not to be: a device, a FIFO, or something went wrong. */
static void let_go(struct path_walk *walk)
{
    deferred_close_file((struct file_node){ .port = walk->server.port,
                                            .key = walk->exchange.reply.attributes.key },
                        walk->exchange.request.open.access);
}

/* A disk: what its node stands for is om's, under another key. */
static int64_t open_block(struct call *call, uint32_t device, uint32_t flags, struct file **ret_file)
{
    struct path_walk walk;
    if (device >> 20 != FILE_BLOCK_MAJOR)
        return -ENXIO;
    request_of(&walk, call_process(call), flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC), 0, 0);
    if (flags & O_EXCL)
        walk.exchange.request.open.access |= FILE_O_EXCLUSIVE;
    walk.server = walk.exchange.node = file_server_block(device);
    walk.exchange.thread = call_thread(call);
    file_credentials_of(&walk.exchange.request.credentials, call_process(call));
    deferred_settle(); /* who has just closed it must not be in the way */
    int error = file_exchange(&walk.exchange);
    struct file *file = error == 0 ? file_of_server(&walk, flags) : NULL;
    if (error == 0 && file == NULL)
        let_go(&walk);
    if (file == NULL)
        return error != 0 ? error == -ESTALE ? -ENXIO : error : -ENOMEM;
    file->device = device;
    file->opened = (struct file_node){ .port = walk.server.port, .key = walk.exchange.reply.attributes.key };
    *ret_file = file;
    return 0;
}

static int64_t open_special(struct call *call, struct path_walk *walk, uint32_t flags,
                            struct file **ret_file)
{
    const struct file_attributes *attributes = &walk->exchange.reply.attributes;
    struct file_node node = { .port = walk->server.port, .key = attributes->key };
    struct file *file = NULL;
    int64_t error;
    let_go(walk);
    if (S_ISFIFO(attributes->mode))
        error = pipe_open_fifo(call, attributes, node, flags, &file);
    else if (S_ISCHR(attributes->mode))
        error = device_open(call, attributes->rdev, flags, &file);
    else if (S_ISBLK(attributes->mode))
        error = open_block(call, attributes->rdev, flags, &file);
    else
        error = -ENXIO;
    if (error == CALL_WAITS)
        file = call->file;
    else if (error != 0)
        return error;
    struct file_node opened = file->opened;
    if (file->place.path == NULL)
        name_file(file, walk);
    file->held = S_ISBLK(attributes->mode);
    if (file->held)
        file->opened = opened;
    *ret_file = file;
    return error;
}

static int64_t open_reached(struct call *call, struct path_walk *walk, uint32_t flags,
                            struct file **ret_file)
{
    uint32_t type = walk->exchange.reply.attributes.mode & S_IFMT;
    struct file *file;
    if (flags & O_PATH) {
        if ((flags & O_DIRECTORY) && type != S_IFDIR)
            return -ENOTDIR;
        file = file_new(&path_operations, flags);
    } else if (type == S_IFREG || type == S_IFDIR) {
        file = file_of_server(walk, flags);
        if (file == NULL)
            let_go(walk);
    } else {
        return open_special(call, walk, flags, ret_file);
    }
    if (file == NULL)
        return -ENOMEM;
    name_file(file, walk);
    *ret_file = file;
    return 0;
}

/* What is open already is opened once more, by its node. */
static int open_node(struct call *call, struct file *old, uint32_t flags, struct file **ret_file)
{
    struct path_walk walk;
    request_of(&walk, call_process(call), flags & ~(uint32_t)(O_CREAT | O_EXCL), 0, 0);
    walk.exchange.node = old->place.node;
    walk.exchange.thread = call_thread(call);
    file_credentials_of(&walk.exchange.request.credentials, call_process(call));
    int error = file_exchange(&walk.exchange);
    if (error != 0)
        return error;
    walk.server = old->place.node;
    walk.path = strdup(old->place.path != NULL ? old->place.path : "/");
    error = walk.path == NULL ? -ENOMEM : (int)open_reached(call, &walk, flags, ret_file);
    path_end(&walk);
    return error;
}

int open_again(struct call *call, struct file *file, uint32_t flags, struct file **ret_file)
{
    uint32_t type = file->attributes.mode & S_IFMT;
    if (type == S_IFREG || type == S_IFDIR)
        return open_node(call, file, flags, ret_file);
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    if (type == S_IFIFO && file->operations->name != NULL) {
        *ret_file = pipe_reopen(file, flags);
        if (*ret_file == NULL)
            return -ENOMEM;
        (*ret_file)->number = file->number;
        return 0;
    }
    if (type != S_IFCHR && type != S_IFBLK)
        return -ENXIO;
    int error = type == S_IFCHR ? (int)device_open(call, file->device, flags, ret_file)
                                : (int)open_block(call, file->device, flags, ret_file);
    if (error != 0)
        return error;
    (*ret_file)->attributes = file->attributes;
    return file->place.path == NULL ? 0 : place_copy(&(*ret_file)->place, &file->place);
}

int64_t open_path(struct call *call, int dirfd, const char *path, uint32_t flags, uint32_t mode,
                  uint32_t access, struct file **ret_file)
{
    struct path_walk walk;
    if (call->runs > 0 && call->scratch[2] != 0)
        return pipe_open_fifo(call, NULL, (struct file_node){ 0 }, flags, ret_file);
    request_of(&walk, call_process(call), flags, mode, access);
    int64_t error = path_do(call, dirfd, path, &walk);
    if (error == 0 && walk.exchange.magic != NULL)
        error = open_again(call, walk.exchange.magic, flags, ret_file);
    else if (error == 0)
        error = open_reached(call, &walk, flags, ret_file);
    path_end(&walk);
    return error;
}

static int64_t open_descriptor(struct call *call, int dirfd, VmAddr path_at, uint32_t flags,
                               uint32_t mode)
{
    char *path;
    struct file *file;
    int64_t error = copy_in_path(call, path_at, false, &path);
    if (error != 0)
        return error;
    if ((flags & O_ACCMODE) == O_ACCMODE || ((flags & O_TMPFILE) == O_TMPFILE))
        error = (flags & O_ACCMODE) == O_ACCMODE ? -EINVAL : -EOPNOTSUPP;
    else if ((flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY))
        error = -EINVAL;
    else
        error = open_path(call, dirfd, path, flags & ~(uint32_t)O_CLOEXEC, mode, 0, &file);
    free(path);
    if (error != 0)
        return error;
    int fd = descriptor_add(call_process(call), file, flags & O_CLOEXEC, 0);
    if (fd < 0)
        file_release(file);
    return fd;
}

int64_t linux_open(struct call *call)
{
    return open_descriptor(call, AT_FDCWD, call->arg[0], (uint32_t)call->arg[1],
                           (uint32_t)call->arg[2]);
}

int64_t linux_openat(struct call *call)
{
    return open_descriptor(call, (int)call->arg[0], call->arg[1], (uint32_t)call->arg[2],
                           (uint32_t)call->arg[3]);
}

int64_t linux_creat(struct call *call)
{
    return open_descriptor(call, AT_FDCWD, call->arg[0], O_CREAT | O_WRONLY | O_TRUNC,
                           (uint32_t)call->arg[1]);
}

int64_t linux_openat2(struct call *call)
{
    struct { uint64_t flags, mode, resolve; } how;
    if (call->arg[3] < sizeof how)
        return -EINVAL;
    if (call->arg[3] > sizeof how)
        return -E2BIG;
    int error = copy_in(call, &how, call->arg[2], sizeof how);
    if (error != 0)
        return error;
    if (how.resolve != 0 || how.flags >> 32 || (how.mode & ~UINT64_C(07777)) ||
        (how.mode != 0 && !(how.flags & O_CREAT)))
        return -EINVAL;
    return open_descriptor(call, (int)call->arg[0], call->arg[1], (uint32_t)how.flags,
                           (uint32_t)how.mode);
}
