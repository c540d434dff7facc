/* stat and its kin: what the server says of a node, and the size that the cache knows. */

#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "call.h"
#include "descriptor.h"
#include "path.h"
#include "process.h"
#include "regular.h"
#include "remember.h"

#define PIPE_DEVICE 12u /* st_dev of what has no name */

static void stat_from(struct stat *to, const struct file_attributes *from)
{
    memset(to, 0, sizeof *to);
    to->st_dev = from->device;
    to->st_ino = from->inode;
    to->st_nlink = from->links;
    to->st_mode = from->mode;
    to->st_uid = from->uid;
    to->st_gid = from->gid;
    to->st_rdev = makedev(from->rdev >> 20, from->rdev & 0xfffff);
    to->st_size = (off_t)from->size;
    to->st_blksize = from->block_size;
    to->st_blocks = (blkcnt_t)from->blocks;
    to->st_atim = (struct timespec){ from->atime, from->atime_nanoseconds };
    to->st_mtim = (struct timespec){ from->mtime, from->mtime_nanoseconds };
    to->st_ctim = (struct timespec){ from->ctime, from->ctime_nanoseconds };
}

static struct statx_timestamp statx_time(int64_t seconds, uint32_t nanoseconds)
{
    return (struct statx_timestamp){ .tv_sec = seconds, .tv_nsec = nanoseconds };
}

static void statx_from(struct statx *to, const struct file_attributes *from)
{
    memset(to, 0, sizeof *to);
    to->stx_mask = STATX_BASIC_STATS;
    to->stx_blksize = from->block_size;
    to->stx_nlink = from->links;
    to->stx_uid = from->uid;
    to->stx_gid = from->gid;
    to->stx_mode = (uint16_t)from->mode;
    to->stx_ino = from->inode;
    to->stx_size = from->size;
    to->stx_blocks = from->blocks;
    to->stx_atime = statx_time(from->atime, from->atime_nanoseconds);
    to->stx_mtime = statx_time(from->mtime, from->mtime_nanoseconds);
    to->stx_ctime = statx_time(from->ctime, from->ctime_nanoseconds);
    to->stx_rdev_major = from->rdev >> 20;
    to->stx_rdev_minor = from->rdev & 0xfffff;
    to->stx_dev_major = major(from->device);
    to->stx_dev_minor = minor(from->device);
}

/* What its server says of a node. */
static int attributes_of_node(struct call *call, const struct file_node *node, struct file_attributes *to)
{
    struct file_lease leases[FILE_LEASES_MAX];
    struct file_exchange exchange = { .node = *node, .thread = call_thread(call), .body = leases, .body_room = sizeof leases };
    struct question question = { .start = *node, .operation = FILE_GETATTR, .start_path = "", .root_path = "", .path = "" };
    struct answer answer;
    remember_watch();
    if (remember_answer(&question, &answer)) {
        *to = answer.reply.attributes;
        return 0;
    }
    struct memory *memory = remember_begin(&question);
    exchange.request.operation = FILE_GETATTR;
    remember_ask(memory, &exchange);
    int error = file_exchange(&exchange);
    if (error == 0) {
        remember_told(memory, &exchange);
        *to = exchange.reply.attributes;
    }
    answer = (struct answer){ .reply = exchange.reply, .server = *node, .path = "" };
    remember_end(memory, error == 0 ? &answer : NULL);
    return error;
}

/* Of an open file. What has no node on a server is told from what we know. */
static int attributes_of_file(struct call *call, struct file *file, struct file_attributes *to)
{
    *to = file->attributes;
    if (file->place.path == NULL) {
        to->inode = file->number;
        to->device = PIPE_DEVICE;
        return 0;
    }
    int error = attributes_of_node(call, &file->place.node, to);
    if (error != 0)
        return error;
    if (file->has_segment && S_ISREG(to->mode)) {
        int64_t size = segment_size(&file->segment);
        if (size >= 0)
            to->size = (uint64_t)size;
    }
    return 0;
}

/* Of a name. */
static int attributes_of_path(struct call *call, int dirfd, const char *path, bool follow,
                              struct file_attributes *to)
{
    struct path_walk walk;
    int error = path_find(call, dirfd, path, follow, 0, &walk);
    if (error == 0 && walk.exchange.magic != NULL) {
        error = attributes_of_file(call, walk.exchange.magic, to);
    } else if (error == 0) {
        *to = walk.exchange.reply.attributes;
        struct file_node node = { .port = walk.server.port, .key = to->key };
        KnCap segment;
        if (S_ISREG(to->mode) && file_server_segment(&node, &segment)) {
            int64_t size = segment_size(&segment);
            if (size >= 0)
                to->size = (uint64_t)size;
        }
    }
    path_end(&walk);
    return error;
}

static int attributes_at(struct call *call, int dirfd, VmAddr path_at, uint32_t flags,
                         struct file_attributes *to)
{
    char *path = NULL;
    int error = 0;
    if (path_at != 0 || !(flags & AT_EMPTY_PATH))
        error = copy_in_path(call, path_at, flags & AT_EMPTY_PATH, &path);
    if (error != 0)
        return error;
    if ((path == NULL || *path == '\0') && dirfd != AT_FDCWD) {
        struct file *file = file_get_any(call, dirfd);
        error = file == NULL ? -EBADF : attributes_of_file(call, file, to);
    } else {
        error = attributes_of_path(call, dirfd, path == NULL ? "" : path,
                                   !(flags & AT_SYMLINK_NOFOLLOW), to);
    }
    free(path);
    return error;
}

static int64_t tell_stat(struct call *call, int dirfd, VmAddr path, uint32_t flags, VmAddr to)
{
    struct file_attributes attributes;
    struct stat stat;
    int error = attributes_at(call, dirfd, path, flags, &attributes);
    if (error != 0)
        return error;
    stat_from(&stat, &attributes);
    return copy_out(call, to, &stat, sizeof stat);
}

int64_t linux_stat(struct call *call)
{
    return tell_stat(call, AT_FDCWD, call->arg[0], 0, call->arg[1]);
}

int64_t linux_lstat(struct call *call)
{
    return tell_stat(call, AT_FDCWD, call->arg[0], AT_SYMLINK_NOFOLLOW, call->arg[1]);
}

int64_t linux_newfstatat(struct call *call)
{
    uint32_t flags = (uint32_t)call->arg[3];
    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
        return -EINVAL;
    return tell_stat(call, (int)call->arg[0], call->arg[1], flags, call->arg[2]);
}

int64_t linux_fstat(struct call *call)
{
    struct file *file = file_get_any(call, (int)call->arg[0]);
    struct file_attributes attributes;
    struct stat stat;
    if (file == NULL)
        return -EBADF;
    int error = attributes_of_file(call, file, &attributes);
    if (error != 0)
        return error;
    stat_from(&stat, &attributes);
    return copy_out(call, call->arg[1], &stat, sizeof stat);
}

int64_t linux_statx(struct call *call)
{
    uint32_t flags = (uint32_t)call->arg[2], mask = (uint32_t)call->arg[3];
    struct file_attributes attributes;
    struct statx statx;
    if ((flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | 0x6000)) ||
        (flags & 0x6000) == 0x6000 || (mask & 0x80000000u))
        return -EINVAL;
    int error = attributes_at(call, (int)call->arg[0], call->arg[1], flags, &attributes);
    if (error != 0)
        return error;
    statx_from(&statx, &attributes);
    return copy_out(call, call->arg[4], &statx, sizeof statx);
}

/* ---- access ---- */

/* The real ids count, not the effective ones, unless asked otherwise. */
static int64_t check_access(struct call *call, int dirfd, VmAddr path_at, uint32_t mode,
                            uint32_t flags)
{
    char *path;
    if (mode & ~7u || (flags & ~(uint32_t)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
        return -EINVAL;
    int error = copy_in_path(call, path_at, flags & AT_EMPTY_PATH, &path);
    if (error != 0)
        return error;
    struct path_walk walk = { .real_ids = !(flags & AT_EACCESS),
                              .exchange.request.operation = FILE_WALK };
    walk.exchange.request.flags = flags & AT_SYMLINK_NOFOLLOW ? 0 : FILE_FOLLOW;
    walk.exchange.request.walk.mode = mode;
    error = path_do(call, dirfd, path, &walk);
    path_end(&walk);
    free(path);
    return error;
}

int64_t linux_access(struct call *call)
{
    return check_access(call, AT_FDCWD, call->arg[0], (uint32_t)call->arg[1], 0);
}

int64_t linux_faccessat(struct call *call)
{
    return check_access(call, (int)call->arg[0], call->arg[1], (uint32_t)call->arg[2], 0);
}

int64_t linux_faccessat2(struct call *call)
{
    return check_access(call, (int)call->arg[0], call->arg[1], (uint32_t)call->arg[2],
                        (uint32_t)call->arg[3]);
}

/* ---- statfs ---- */

static int64_t tell_statfs(struct call *call, const struct file_statfs *from, VmAddr at)
{
    struct statfs to = { 0 };
    to.f_type = from->type;
    to.f_bsize = to.f_frsize = from->block_size;
    to.f_blocks = from->blocks;
    to.f_bfree = from->blocks_free;
    to.f_bavail = from->blocks_available;
    to.f_files = from->inodes;
    to.f_ffree = from->inodes_free;
    memcpy(&to.f_fsid, &from->id, sizeof to.f_fsid);
    to.f_namelen = from->name_max;
    to.f_flags = (from->flags & 1 ? 1 /* ST_RDONLY */ : 0) | 0x20 /* ST_VALID */;
    return copy_out(call, at, &to, sizeof to);
}

int64_t linux_statfs(struct call *call)
{
    char *path;
    struct path_walk walk = { 0 };
    int64_t error = copy_in_path(call, call->arg[0], false, &path);
    if (error != 0)
        return error;
    walk.exchange.request.operation = FILE_STATFS;
    walk.exchange.request.flags = FILE_FOLLOW;
    error = path_do(call, AT_FDCWD, path, &walk);
    if (error == 0)
        error = tell_statfs(call, &walk.exchange.reply.statfs, call->arg[1]);
    path_end(&walk);
    free(path);
    return error;
}

int64_t linux_fstatfs(struct call *call)
{
    struct file *file = file_get_any(call, (int)call->arg[0]);
    if (file == NULL)
        return -EBADF;
    if (file->place.path == NULL) {
        struct file_statfs pipes = { .type = 0x50495045, .block_size = 4096, .name_max = 255 };
        return tell_statfs(call, &pipes, call->arg[1]);
    }
    struct file_exchange exchange = { .node = file->place.node, .thread = call_thread(call) };
    exchange.request.operation = FILE_STATFS;
    int error = file_exchange(&exchange);
    return error != 0 ? error : tell_statfs(call, &exchange.reply.statfs, call->arg[1]);
}
