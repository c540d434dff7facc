/* Calls that change names and attributes: one operation on one path each, or on two. */

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>
#include <limits.h>
#include <stdio.h>

#include "call.h"
#include "descriptor.h"
#include "path.h"
#include "process.h"
#include "regular.h"

/* Do <walk> on the path at <address>; the walk is ended, its reply stays. */
static int do_at(struct call *call, int dirfd, VmAddr address, bool may_be_empty,
                 struct path_walk *walk)
{
    char *path;
    int error = copy_in_path(call, address, may_be_empty, &path);
    if (error != 0)
        return error;
    error = path_do(call, dirfd, path, walk);
    path_end(walk);
    free(path);
    return error;
}

static uint32_t masked(struct call *call, uint64_t mode)
{
    return (uint32_t)mode & ~call_process(call)->fs->umask;
}

/* ---- making ---- */

static int64_t make_directory(struct call *call, int dirfd, VmAddr path, uint64_t mode)
{
    struct path_walk walk = { .exchange.request.operation = FILE_MKDIR };
    walk.exchange.request.mknod.mode = masked(call, mode & 01777) | S_IFDIR;
    return do_at(call, dirfd, path, false, &walk);
}

int64_t linux_mkdir(struct call *call)
{
    return make_directory(call, AT_FDCWD, call->arg[0], call->arg[1]);
}

int64_t linux_mkdirat(struct call *call)
{
    return make_directory(call, (int)call->arg[0], call->arg[1], call->arg[2]);
}

/* Device numbers as user programs give them, 12 bits of major and 20 of minor. */
static uint32_t device_of(uint32_t number)
{
    uint32_t major = number >> 8 & 0xfff, minor = (number & 0xff) | (number >> 12 & 0xfff00);
    return FILE_DEVICE(major, minor);
}

static int64_t make_node(struct call *call, int dirfd, VmAddr path, uint32_t mode, uint64_t device)
{
    struct path_walk walk = { .exchange.request.operation = FILE_MKNOD };
    uint32_t type = mode & S_IFMT;
    if (type == 0)
        type = S_IFREG;
    if (type == S_IFDIR)
        return -EPERM;
    if (type != S_IFREG && type != S_IFCHR && type != S_IFBLK && type != S_IFIFO &&
        type != S_IFSOCK)
        return -EINVAL;
    walk.exchange.request.mknod.mode = masked(call, mode & 07777) | type;
    walk.exchange.request.mknod.device = device_of((uint32_t)device);
    return do_at(call, dirfd, path, false, &walk);
}

int64_t linux_mknod(struct call *call)
{
    return make_node(call, AT_FDCWD, call->arg[0], (uint32_t)call->arg[1], call->arg[2]);
}

int64_t linux_mknodat(struct call *call)
{
    return make_node(call, (int)call->arg[0], call->arg[1], (uint32_t)call->arg[2], call->arg[3]);
}

static int64_t make_link(struct call *call, VmAddr text_at, int dirfd, VmAddr path)
{
    struct path_walk walk = { .exchange.request.operation = FILE_SYMLINK };
    char *text;
    int error = copy_in_path(call, text_at, false, &text);
    if (error != 0)
        return error;
    walk.second = text;
    walk.exchange.request.second_length = (uint16_t)strlen(text);
    error = do_at(call, dirfd, path, false, &walk);
    free(text);
    return error;
}

int64_t linux_symlink(struct call *call)
{
    return make_link(call, call->arg[0], AT_FDCWD, call->arg[1]);
}

int64_t linux_symlinkat(struct call *call)
{
    return make_link(call, call->arg[0], (int)call->arg[1], call->arg[2]);
}

/* ---- removing ---- */

static int64_t take_away(struct call *call, int dirfd, VmAddr path, bool directory)
{
    struct path_walk walk = { .exchange.request.operation = directory ? FILE_RMDIR : FILE_UNLINK };
    return do_at(call, dirfd, path, false, &walk);
}

int64_t linux_unlink(struct call *call)
{
    return take_away(call, AT_FDCWD, call->arg[0], false);
}

int64_t linux_rmdir(struct call *call)
{
    return take_away(call, AT_FDCWD, call->arg[0], true);
}

int64_t linux_unlinkat(struct call *call)
{
    if (call->arg[2] & ~(uint64_t)AT_REMOVEDIR)
        return -EINVAL;
    return take_away(call, (int)call->arg[0], call->arg[1], call->arg[2] & AT_REMOVEDIR);
}

/* ---- two names ---- */

/* The second path is reduced to its directory and a name, so that one server gets both. */
static int64_t two_names(struct call *call, int old_dirfd, VmAddr old_at, int dirfd, VmAddr new_at,
                         struct path_walk *walk, bool old_may_be_empty)
{
    char *old = NULL, *new = NULL;
    const char *name;
    struct file_node directory;
    int error = copy_in_path(call, old_at, old_may_be_empty, &old);
    if (error == 0)
        error = copy_in_path(call, new_at, false, &new);
    if (error == 0)
        error = path_parent(call, dirfd, new, &directory, &name);
    if (error == -EBUSY && walk->exchange.request.operation == FILE_LINK)
        error = -EEXIST;
    if (error == 0) {
        walk->second = name;
        walk->exchange.request.second_length = (uint16_t)strlen(name);
        walk->exchange.request.rename.second_key = directory.key;
        /* Look where the first one lies before anything is done. */
        struct path_walk first;
        const char *slash = strrchr(old, '/');
        char *parent = strndup(old, slash == NULL ? 0 : (size_t)(slash - old) + 1);
        error = parent == NULL ? -ENOMEM : path_find(call, old_dirfd, parent, true, 0, &first);
        if (error == 0 && first.server.port != directory.port)
            error = -EXDEV;
        if (parent != NULL)
            path_end(&first);
        free(parent);
    }
    if (error == 0)
        error = path_do(call, old_dirfd, old, walk);
    if (error == 0 && (walk->exchange.reply.flags & FILE_SECOND))
        error = -EXDEV;
    path_end(walk);
    free(old);
    free(new);
    return error;
}

static int64_t rename_at(struct call *call, int old_dirfd, VmAddr old, int dirfd, VmAddr new,
                         uint32_t flags)
{
    struct path_walk walk = { .exchange.request.operation = FILE_RENAME };
    if ((flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE)) ||
        flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    walk.exchange.request.rename.flags = flags;
    return two_names(call, old_dirfd, old, dirfd, new, &walk, false);
}

int64_t linux_rename(struct call *call)
{
    return rename_at(call, AT_FDCWD, call->arg[0], AT_FDCWD, call->arg[1], 0);
}

int64_t linux_renameat(struct call *call)
{
    return rename_at(call, (int)call->arg[0], call->arg[1], (int)call->arg[2], call->arg[3], 0);
}

int64_t linux_renameat2(struct call *call)
{
    return rename_at(call, (int)call->arg[0], call->arg[1], (int)call->arg[2], call->arg[3],
                     (uint32_t)call->arg[4]);
}

static int64_t link_at(struct call *call, int old_dirfd, VmAddr old, int dirfd, VmAddr new,
                       uint32_t flags)
{
    struct path_walk walk = { .exchange.request.operation = FILE_LINK };
    if (flags & ~(uint32_t)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    walk.exchange.request.flags = flags & AT_SYMLINK_FOLLOW ? FILE_FOLLOW : 0;
    return two_names(call, old_dirfd, old, dirfd, new, &walk, flags & AT_EMPTY_PATH);
}

int64_t linux_link(struct call *call)
{
    return link_at(call, AT_FDCWD, call->arg[0], AT_FDCWD, call->arg[1], 0);
}

int64_t linux_linkat(struct call *call)
{
    return link_at(call, (int)call->arg[0], call->arg[1], (int)call->arg[2], call->arg[3],
                   (uint32_t)call->arg[4]);
}

/* ---- attributes ---- */

/* Change what an open file names. */
static int set_of_file(struct call *call, struct file *file, struct path_walk *walk)
{
    if (file->place.path == NULL)
        return 0; /* a pipe: nobody sees it */
    struct file_exchange *exchange = &walk->exchange;
    exchange->node = file->place.node;
    exchange->thread = call_thread(call);
    file_credentials_of(&exchange->request.credentials, call_process(call));
    return file_exchange(exchange);
}

static int64_t set_at(struct call *call, int dirfd, VmAddr path, uint32_t flags,
                      struct path_walk *walk)
{
    walk->exchange.request.operation = FILE_SETATTR;
    walk->exchange.request.flags = flags & AT_SYMLINK_NOFOLLOW ? 0 : FILE_FOLLOW;
    int error = do_at(call, dirfd, path, flags & AT_EMPTY_PATH, walk);
    return error;
}

static int64_t set_of_descriptor(struct call *call, int fd, struct path_walk *walk)
{
    struct file *file = file_get(call, fd);
    if (file == NULL)
        return -EBADF;
    walk->exchange.request.operation = FILE_SETATTR;
    return set_of_file(call, file, walk);
}

static void mode_wish(struct path_walk *walk, uint64_t mode)
{
    *walk = (struct path_walk){ 0 };
    walk->exchange.request.setattr.valid = FILE_SET_MODE;
    walk->exchange.request.setattr.mode = (uint32_t)mode & 07777;
    if (mode & (S_ISUID | S_ISGID))
        regular_era++;
}

int64_t linux_chmod(struct call *call)
{
    struct path_walk walk;
    mode_wish(&walk, call->arg[1]);
    return set_at(call, AT_FDCWD, call->arg[0], 0, &walk);
}

int64_t linux_fchmod(struct call *call)
{
    struct path_walk walk;
    mode_wish(&walk, call->arg[1]);
    return set_of_descriptor(call, (int)call->arg[0], &walk);
}

int64_t linux_fchmodat(struct call *call)
{
    struct path_walk walk;
    mode_wish(&walk, call->arg[2]);
    return set_at(call, (int)call->arg[0], call->arg[1], 0, &walk);
}

int64_t linux_fchmodat2(struct call *call)
{
    struct path_walk walk;
    if (call->arg[3] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    mode_wish(&walk, call->arg[2]);
    return set_at(call, (int)call->arg[0], call->arg[1], (uint32_t)call->arg[3], &walk);
}

static void owner_wish(struct path_walk *walk, uint64_t uid, uint64_t gid)
{
    *walk = (struct path_walk){ 0 };
    if ((uint32_t)uid != UINT32_MAX)
        walk->exchange.request.setattr.valid |= FILE_SET_UID;
    if ((uint32_t)gid != UINT32_MAX)
        walk->exchange.request.setattr.valid |= FILE_SET_GID;
    walk->exchange.request.setattr.uid = (uint32_t)uid;
    walk->exchange.request.setattr.gid = (uint32_t)gid;
}

int64_t linux_chown(struct call *call)
{
    struct path_walk walk;
    owner_wish(&walk, call->arg[1], call->arg[2]);
    return set_at(call, AT_FDCWD, call->arg[0], 0, &walk);
}

int64_t linux_lchown(struct call *call)
{
    struct path_walk walk;
    owner_wish(&walk, call->arg[1], call->arg[2]);
    return set_at(call, AT_FDCWD, call->arg[0], AT_SYMLINK_NOFOLLOW, &walk);
}

int64_t linux_fchown(struct call *call)
{
    struct path_walk walk;
    owner_wish(&walk, call->arg[1], call->arg[2]);
    return set_of_descriptor(call, (int)call->arg[0], &walk);
}

int64_t linux_fchownat(struct call *call)
{
    struct path_walk walk;
    if (call->arg[4] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    owner_wish(&walk, call->arg[2], call->arg[3]);
    return set_at(call, (int)call->arg[0], call->arg[1], (uint32_t)call->arg[4], &walk);
}

/* ---- times ---- */

static void times_now(struct path_walk *walk)
{
    regular_era++;
    walk->exchange.request.setattr.valid = FILE_SET_ATIME_NOW | FILE_SET_MTIME_NOW;
}

static int times_wish(struct path_walk *walk, const struct timespec times[2])
{
    struct file_request *request = &walk->exchange.request;
    regular_era++;
    for (int i = 0; i < 2; i++)
        if (times[i].tv_nsec != UTIME_NOW && times[i].tv_nsec != UTIME_OMIT &&
            (times[i].tv_nsec < 0 || times[i].tv_nsec >= NANOSECONDS))
            return -EINVAL;
    if (times[0].tv_nsec == UTIME_NOW) {
        request->setattr.valid |= FILE_SET_ATIME_NOW;
    } else if (times[0].tv_nsec != UTIME_OMIT) {
        request->setattr.valid |= FILE_SET_ATIME;
        request->setattr.atime = times[0].tv_sec;
        request->setattr.atime_nanoseconds = (uint32_t)times[0].tv_nsec;
    }
    if (times[1].tv_nsec == UTIME_NOW) {
        request->setattr.valid |= FILE_SET_MTIME_NOW;
    } else if (times[1].tv_nsec != UTIME_OMIT) {
        request->setattr.valid |= FILE_SET_MTIME;
        request->setattr.mtime = times[1].tv_sec;
        request->setattr.mtime_nanoseconds = (uint32_t)times[1].tv_nsec;
    }
    return 0;
}

int64_t linux_utimensat(struct call *call)
{
    struct path_walk walk = { 0 };
    struct timespec times[2];
    int error = 0;
    if (call->arg[3] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (call->arg[2] == 0)
        times_now(&walk);
    else if ((error = copy_in(call, times, call->arg[2], sizeof times)) == 0)
        error = times_wish(&walk, times);
    if (error != 0)
        return error;
    if (walk.exchange.request.setattr.valid == 0)
        return 0;
    if (call->arg[1] == 0)
        return set_of_descriptor(call, (int)call->arg[0], &walk);
    return set_at(call, (int)call->arg[0], call->arg[1], (uint32_t)call->arg[3], &walk);
}

static int64_t set_microseconds(struct call *call, int dirfd, VmAddr path, VmAddr at)
{
    struct path_walk walk = { 0 };
    struct timeval given[2];
    times_now(&walk);
    if (at != 0) {
        int error = copy_in(call, given, at, sizeof given);
        if (error != 0)
            return error;
        struct timespec times[2];
        for (int i = 0; i < 2; i++) {
            if (given[i].tv_usec < 0 || given[i].tv_usec >= 1000000)
                return -EINVAL;
            times[i] = (struct timespec){ given[i].tv_sec, given[i].tv_usec * 1000 };
        }
        walk = (struct path_walk){ 0 };
        times_wish(&walk, times);
    }
    return set_at(call, dirfd, path, 0, &walk);
}

int64_t linux_utimes(struct call *call)
{
    return set_microseconds(call, AT_FDCWD, call->arg[0], call->arg[1]);
}

int64_t linux_futimesat(struct call *call)
{
    return set_microseconds(call, (int)call->arg[0], call->arg[1], call->arg[2]);
}

int64_t linux_utime(struct call *call)
{
    struct path_walk walk = { 0 };
    int64_t given[2];
    times_now(&walk);
    if (call->arg[1] != 0) {
        int error = copy_in(call, given, call->arg[1], sizeof given);
        if (error != 0)
            return error;
        walk = (struct path_walk){ 0 };
        times_wish(&walk, (struct timespec[2]){ { given[0], 0 }, { given[1], 0 } });
    }
    return set_at(call, AT_FDCWD, call->arg[0], 0, &walk);
}

/* ---- size ---- */

static int check_size(struct call *call, int64_t size)
{
    if (size < 0)
        return -EINVAL;
    if ((uint64_t)size > call_process(call)->limits[1 /* RLIMIT_FSIZE */].current)
        return -EFBIG;
    return 0;
}

int64_t linux_truncate(struct call *call)
{
    struct path_walk walk = { 0 };
    int error = check_size(call, (int64_t)call->arg[1]);
    if (error != 0)
        return error;
    walk.exchange.request.setattr.valid = FILE_SET_SIZE;
    walk.exchange.request.setattr.size = call->arg[1];
    return set_at(call, AT_FDCWD, call->arg[0], 0, &walk);
}

int64_t linux_ftruncate(struct call *call)
{
    struct path_walk walk = { 0 };
    struct file *file = file_get(call, (int)call->arg[0]);
    if (file == NULL)
        return -EBADF;
    int error = check_size(call, (int64_t)call->arg[1]);
    if (error != 0)
        return error;
    if (!S_ISREG(file->attributes.mode) || !file_may_write(file))
        return -EINVAL;
    walk.exchange.request.operation = FILE_SETATTR;
    walk.exchange.request.flags = FILE_OPENED;
    walk.exchange.request.setattr.valid = FILE_SET_SIZE;
    walk.exchange.request.setattr.size = call->arg[1];
    return set_of_file(call, file, &walk);
}

/* ---- links' texts ---- */

static int64_t read_link(struct call *call, int dirfd, VmAddr path_at, VmAddr to, int64_t room)
{
    char *path;
    struct path_walk walk = { .exchange.request.operation = FILE_READLINK };
    if (room <= 0)
        return -EINVAL;
    int64_t error = copy_in_path(call, path_at, true, &path);
    if (error != 0)
        return error;
    if (*path == '\0' && dirfd == AT_FDCWD) {
        free(path);
        return -ENOENT;
    }
    char *text = malloc(2 * PATH_MAX);
    walk.exchange.body = text;
    walk.exchange.body_room = 2 * PATH_MAX;
    error = text == NULL ? -ENOMEM : path_do(call, dirfd, path, &walk);
    if (error == 0) {
        int64_t length = walk.exchange.body_size;
        length = length < room ? length : room;
        error = copy_out(call, to, text, (size_t)length);
        error = error != 0 ? error : length;
    }
    path_end(&walk);
    free(text);
    free(path);
    return error;
}

int64_t linux_readlink(struct call *call)
{
    return read_link(call, AT_FDCWD, call->arg[0], call->arg[1], (int)call->arg[2]);
}

int64_t linux_readlinkat(struct call *call)
{
    return read_link(call, (int)call->arg[0], call->arg[1], call->arg[2], (int)call->arg[3]);
}

/* ---- where a process is ---- */

int64_t linux_chdir(struct call *call)
{
    struct place place;
    int error = place_find(call, call->arg[0], PLACE_ENTERED, &place);
    if (error != 0)
        return error;
    place_clear(&call_process(call)->fs->cwd);
    call_process(call)->fs->cwd = place;
    return 0;
}

int64_t linux_fchdir(struct call *call)
{
    struct file *file = file_get_any(call, (int)call->arg[0]);
    struct place place;
    if (file == NULL)
        return -EBADF;
    if (!S_ISDIR(file->attributes.mode) || file->place.path == NULL)
        return -ENOTDIR;
    struct file_exchange exchange = { .node = file->place.node, .thread = call_thread(call) };
    exchange.request.operation = FILE_WALK;
    exchange.request.walk.mode = X_OK;
    file_credentials_of(&exchange.request.credentials, call_process(call));
    int error = file_exchange(&exchange);
    if (error == 0)
        error = place_copy(&place, &file->place);
    if (error != 0)
        return error;
    place_clear(&call_process(call)->fs->cwd);
    call_process(call)->fs->cwd = place;
    return 0;
}

int64_t linux_chroot(struct call *call)
{
    struct place place;
    if (call_process(call)->credentials.euid != 0)
        return -EPERM;
    int error = place_find(call, call->arg[0], PLACE_ENTERED, &place);
    if (error != 0)
        return error;
    place_clear(&call_process(call)->fs->root);
    call_process(call)->fs->root = place;
    return 0;
}

/* The path that is remembered is right unless something above was renamed or removed; a walk tells. */
int64_t linux_getcwd(struct call *call)
{
    struct fs_view *fs = call_process(call)->fs;
    size_t root_length = strcmp(fs->root.path, "/") == 0 ? 0 : strlen(fs->root.path);
    char path[PATH_MAX + 16];
    struct path_walk walk;
    const char *inside = fs->cwd.path + root_length;
    bool reachable = strncmp(fs->cwd.path, fs->root.path, root_length) == 0 &&
                     (*inside == '/' || *inside == '\0');
    int length = snprintf(path, sizeof path, "%s%s", reachable ? "" : "(unreachable)",
                          reachable ? *inside != '\0' ? inside : "/" : fs->cwd.path);
    if (reachable) {
        int error = path_find(call, AT_FDCWD, path, false, 0, &walk);
        path_end(&walk);
        if (error == -EACCES)
            error = 0;
        else if (error == 0 && walk.exchange.reply.attributes.key != fs->cwd.node.key)
            error = -ENOENT;
        if (error != 0)
            return -ENOENT;
    }
    if ((uint64_t)length + 1 > call->arg[1])
        return -ERANGE;
    int error = copy_out(call, call->arg[0], path, (size_t)length + 1);
    return error != 0 ? error : length + 1;
}

int64_t linux_umask(struct call *call)
{
    struct fs_view *fs = call_process(call)->fs;
    uint32_t old = fs->umask;
    fs->umask = (uint32_t)call->arg[0] & 0777;
    return old;
}
