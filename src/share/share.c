/* The file protocol on a folder of the host: see share.h. */
#include "share.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "share_cache.h"
#include "share_nodes.h"

#define MAY_READ    4u
#define MAY_WRITE   2u
#define MAY_EXECUTE 1u

/* A request while it is served. */
struct serving {
    struct share *share;
    const struct file_request *request;
    const char *path, *second;          /* in the body, not terminated */
    const char *data;
    size_t data_size;
    struct file_reply *reply;
    struct share_changed *changed;
    char *reply_body;
    size_t reply_size;
};

/* Where a path leads. The descriptor (O_PATH) is open until walk_end. */
struct walk {
    struct node *at;
    int descriptor;
    struct seen seen;
    char last[FILE_NAME_MAX + 1];       /* with WALK_PARENT: the last component; "" : the path names `at` itself */
    bool slash;                         /* and a slash followed it */
    bool left;                          /* it goes on elsewhere: the reply is filled */
};
enum { WALK_PARENT = 1, WALK_UNCROSSED = 2 };

/* Permissions ------------------------------------------------------------------------------- */

static int permission(const struct file_attributes *attributes, const struct file_credentials *credentials, uint32_t wanted)
{
    uint32_t granted = attributes->mode & 7;
    bool in_group = credentials->gid == attributes->gid;
    for (uint32_t i = 0; i < credentials->group_count && i < FILE_GROUPS_MAX; i++)
        in_group |= credentials->groups[i] == attributes->gid;
    if (credentials->uid == 0)
        return wanted & MAY_EXECUTE && !S_ISDIR(attributes->mode) && (attributes->mode & 0111) == 0 ? -EACCES : 0;
    if (credentials->uid == attributes->uid)
        granted = attributes->mode >> 6 & 7;
    else if (in_group)
        granted = attributes->mode >> 3 & 7;
    return (granted & wanted) == wanted ? 0 : -EACCES;
}

static int may_change_names(const struct serving *serving, const struct walk *walk)
{
    if (serving->share->read_only)
        return -EROFS;
    return permission(&walk->seen.attributes, &serving->request->credentials, MAY_WRITE | MAY_EXECUTE);
}

/* In a sticky directory only who owns one of them takes a name away. */
static int may_take_away(const struct serving *serving, const struct walk *walk, const struct seen *victim)
{
    uint32_t uid = serving->request->credentials.uid;
    int error = may_change_names(serving, walk);
    if (error == 0 && (walk->seen.attributes.mode & S_ISVTX) && uid != 0 && uid != victim->attributes.uid && uid != walk->seen.attributes.uid)
        error = -EPERM;
    return error;
}

/* Walking ----------------------------------------------------------------------------------- */

static void walk_end(struct walk *walk)
{
    if (walk->descriptor >= 0)
        close(walk->descriptor);
    walk->descriptor = -1;
}

static int leave(struct serving *serving, struct walk *walk, enum file_outcome outcome, struct file_node at, const char *text, size_t length,
                 const char *rest, size_t rest_length)
{
    if (length + rest_length > FILE_BODY_MAX)
        return -ENAMETOOLONG;
    memcpy(serving->reply_body, text, length);
    memcpy(serving->reply_body + length, rest, rest_length);
    serving->reply_size = length + rest_length;
    serving->reply->outcome = (uint16_t)outcome;
    serving->reply->at = at;
    serving->reply->length = (uint32_t)length;
    serving->reply->rest_length = (uint32_t)rest_length;
    serving->reply->links_followed = serving->request->links_followed + (outcome == FILE_AT_SYMLINK);
    walk->left = true;
    return 0;
}

static struct file_node here(const struct node *node) { return (struct file_node){ .key = node->key }; }

/* A link in the way. */
static int link_found(struct serving *serving, struct walk *walk, const struct node *directory, int link, const char *rest, size_t rest_length)
{
    char text[FILE_PATH_MAX + 1];
    if (serving->request->links_followed >= FILE_LINKS_MAX)
        return -ELOOP;
    ssize_t length = readlinkat(link, "", text, sizeof text);
    if (length < 0)
        return -errno;
    return leave(serving, walk, FILE_AT_SYMLINK, here(directory), text, (size_t)length, rest, rest_length);
}

static int walk_up(struct serving *serving, struct walk *walk, const char *rest, size_t rest_length)
{
    struct node *up = walk->at->parent;
    if (serving->request->root != 0 && walk->at->key == serving->request->root)
        return 0;
    if (up == NULL)
        return leave(serving, walk, FILE_AT_PARENT, here(walk->at), "", 0, rest, rest_length);
    struct seen seen;
    int descriptor = node_open(serving->share, up, O_PATH, &seen);
    if (descriptor < 0)
        return descriptor;
    close(walk->descriptor);
    walk->descriptor = descriptor;
    walk->seen = seen;
    walk->at = up;
    return 0;
}

/* One name further. */
static int walk_down(struct serving *serving, struct walk *walk, const char *name, bool is_last, bool slash, unsigned flags, const char *rest,
                     size_t rest_length)
{
    struct node *child;
    struct seen seen;
    int descriptor = node_child(serving->share, walk->descriptor, walk->at, name, &child, &seen), error = 0;
    if (descriptor < 0)
        return descriptor;
    bool follows = !is_last || slash || (serving->request->flags & FILE_FOLLOW);
    if (S_ISLNK(seen.attributes.mode) && follows) {
        error = link_found(serving, walk, walk->at, descriptor, rest, rest_length);
        close(descriptor);
        return error;
    }
    if (child->mounted.port != 0 && !(is_last && (flags & WALK_UNCROSSED))) {
        close(descriptor);
        return leave(serving, walk, FILE_AT_MOUNT, child->mounted, "", 0, rest, rest_length);
    }
    close(walk->descriptor);
    walk->descriptor = descriptor;
    walk->at = child;
    walk->seen = seen;
    return (!is_last || slash) && !S_ISDIR(seen.attributes.mode) ? -ENOTDIR : 0;
}

/* On an error the walk is ended. */
static int walk_run(struct serving *serving, uint64_t key, const char *path, size_t length, unsigned flags, struct walk *walk)
{
    *walk = (struct walk){ .descriptor = -1, .at = node_by_key(serving->share, key) };
    if (walk->at == NULL)
        return -ESTALE;
    if (length > 0 && *path == '/')
        return -EINVAL;
    walk->descriptor = node_open(serving->share, walk->at, O_PATH, &walk->seen);
    int error = walk->descriptor < 0 ? walk->descriptor : 0;
    while (error == 0 && length > 0 && !walk->left) {
        const char *end = memchr(path, '/', length), *next;
        size_t part = end != NULL ? (size_t)(end - path) : length, skip = part;
        char name[FILE_NAME_MAX + 1];
        while (skip < length && path[skip] == '/')
            skip++;
        next = path + skip;
        bool is_last = skip == length, slash = skip > part;
        if (part > FILE_NAME_MAX) {
            error = -ENAMETOOLONG;
            break;
        }
        memcpy(name, path, part);
        name[part] = '\0';
        if (strlen(name) != part || !S_ISDIR(walk->seen.attributes.mode)) {
            error = strlen(name) != part ? -EINVAL : -ENOTDIR;
            break;
        }
        error = permission(&walk->seen.attributes, &serving->request->credentials, MAY_EXECUTE);
        if (error != 0)
            break;
        bool dots = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
        if (is_last && (flags & WALK_PARENT) && !dots) {
            strcpy(walk->last, name);
            walk->slash = slash;
            return 0;
        }
        const char *rest = is_last && slash ? "." : next;
        size_t rest_length = is_last && slash ? 1 : length - skip;
        if (strcmp(name, "..") == 0)
            error = walk_up(serving, walk, path, length);
        else if (strcmp(name, ".") != 0)
            error = walk_down(serving, walk, name, is_last, slash, flags, rest, rest_length);
        path = next;
        length -= skip;
    }
    if (error != 0 || walk->left)
        walk_end(walk);
    return error;
}

static int first_walk(struct serving *serving, unsigned flags, struct walk *walk)
{
    return walk_run(serving, serving->request->key, serving->path, serving->request->path_length, flags, walk);
}

/* Whoever is told about a file has its cached pages looked after. */
static void attributes_reply(struct serving *serving, struct node *node, const struct seen *seen)
{
    cache_look(node, &seen->attributes, serving->request->operation >= SHARE_BEGIN, serving->changed);
    serving->reply->attributes = seen->attributes;
    serving->reply->attributes.key = node->key;
    serving->reply->node.key = node->key;
}

/* Looking ----------------------------------------------------------------------------------- */

static int serve_statfs(struct serving *serving)
{
    struct statfs found;
    struct walk walk;
    int error = first_walk(serving, 0, &walk);
    if (error != 0 || walk.left)
        return error;
    error = fstatfs(walk.descriptor, &found) != 0 ? -errno : 0;
    walk_end(&walk);
    serving->reply->statfs = (struct file_statfs){
        .blocks = found.f_blocks, .blocks_free = found.f_bfree, .blocks_available = found.f_bavail, .inodes = found.f_files,
        .inodes_free = found.f_ffree, .id = 0x5368, .block_size = (uint32_t)found.f_bsize, .type = 0x5368, .name_max = FILE_NAME_MAX,
        .flags = serving->share->read_only };
    return error;
}

static int serve_walk(struct serving *serving)
{
    struct walk walk;
    uint32_t wanted = serving->request->walk.mode;
    int error = first_walk(serving, 0, &walk);
    if (error != 0 || walk.left)
        return error;
    error = permission(&walk.seen.attributes, &serving->request->credentials, wanted & 7);
    if (error == 0 && (wanted & MAY_WRITE) && serving->share->read_only)
        error = -EROFS;
    attributes_reply(serving, walk.at, &walk.seen);
    walk_end(&walk);
    return error;
}

static int serve_getattr(struct serving *serving)
{
    struct node *node = node_by_key(serving->share, serving->request->key);
    struct seen seen;
    if (node == NULL)
        return -ESTALE;
    int held = node->reads >= 0 ? node->reads : node->writes;
    int descriptor = held >= 0 ? -1 : node_open(serving->share, node, O_PATH, &seen);
    int error = held >= 0 ? seen_from(serving->share, held, &seen) : descriptor < 0 ? descriptor : 0;
    if (descriptor >= 0)
        close(descriptor);
    if (error == 0)
        attributes_reply(serving, node, &seen);
    return error;
}

static int serve_readlink(struct serving *serving)
{
    struct walk walk;
    int error = first_walk(serving, 0, &walk);
    if (error != 0 || walk.left)
        return error;
    ssize_t length = S_ISLNK(walk.seen.attributes.mode) ? readlinkat(walk.descriptor, "", serving->reply_body, FILE_PATH_MAX) : -1;
    error = S_ISLNK(walk.seen.attributes.mode) ? length < 0 ? -errno : 0 : -EINVAL;
    if (error == 0)
        serving->reply->io.length = serving->reply_size = (size_t)length;
    walk_end(&walk);
    return error;
}

/* Open nodes -------------------------------------------------------------------------------- */

static int open_check(const struct serving *serving, const struct seen *seen)
{
    uint32_t access = serving->request->open.access, mode = seen->attributes.mode;
    bool writes = (access & (FILE_O_WRITE | FILE_O_TRUNCATE)) != 0;
    uint32_t wanted = (access & FILE_O_READ ? MAY_READ : 0) | (writes ? MAY_WRITE : 0) | (access & FILE_O_EXECUTE ? MAY_EXECUTE : 0);
    if ((access & FILE_O_DIRECTORY) && !S_ISDIR(mode))
        return -ENOTDIR;
    if (access & FILE_O_PATH)
        return 0;
    if (S_ISLNK(mode))
        return -ELOOP;
    if (S_ISDIR(mode) && writes)
        return -EISDIR;
    if (writes && serving->share->read_only && S_ISREG(mode))
        return -EROFS;
    return permission(&seen->attributes, &serving->request->credentials, wanted);
}

static int node_opened(struct serving *serving, struct node *node, struct seen *seen)
{
    uint32_t access = serving->request->open.access, mode = seen->attributes.mode;
    int error = open_check(serving, seen);
    if (error != 0)
        return error;
    if ((access & FILE_O_PATH) == 0 && (S_ISREG(mode) || S_ISDIR(mode))) {
        error = node_hold(serving->share, node, access | (access & FILE_O_TRUNCATE ? FILE_O_WRITE : 0), S_ISDIR(mode));
        if (error == 0 && (access & FILE_O_TRUNCATE) && ftruncate(node->writes, 0) != 0)
            error = -errno;
        if (access & FILE_O_TRUNCATE)
            cache_outdate(node);
        if (error == 0)
            error = seen_from(serving->share, node->reads >= 0 ? node->reads : node->writes, seen);
        if (error != 0 && node->opens > 0)
            node_let_go(node);
    }
    if (error == 0) {
        attributes_reply(serving, node, seen);
        serving->reply->flags |= S_ISREG(mode) ? FILE_BY_MESSAGE | FILE_MAPPABLE : 0;
    }
    return error;
}

static int serve_open(struct serving *serving)
{
    struct walk walk;
    int error = first_walk(serving, 0, &walk);
    if (error != 0 || walk.left)
        return error;
    error = node_opened(serving, walk.at, &walk.seen);
    walk_end(&walk);
    return error;
}

/* What has just been made under the walk's last name. */
static int made_reply(struct serving *serving, struct walk *walk, struct node **ret, struct seen *seen)
{
    int descriptor = node_child(serving->share, walk->descriptor, walk->at, walk->last, ret, seen);
    if (descriptor < 0)
        return descriptor;
    close(descriptor);
    attributes_reply(serving, *ret, seen);
    return 0;
}

static int file_create(struct serving *serving, struct walk *walk)
{
    struct node *node;
    struct seen seen;
    int error = may_change_names(serving, walk);
    if (error != 0)
        return error;
    int descriptor = open_beneath(walk->descriptor, walk->last, O_CREAT | O_EXCL | O_RDWR, serving->request->open.mode & 0777);
    if (descriptor < 0)
        return descriptor;
    fchmod(descriptor, serving->request->open.mode & 0777);     /* whatever our own umask is */
    error = made_reply(serving, walk, &node, &seen);
    if (error == 0) {
        node->opens++;
        node->reads = node->reads < 0 ? descriptor : node->reads;
        node->writes = node->writes < 0 ? fcntl(descriptor, F_DUPFD_CLOEXEC, 0) : node->writes;
        serving->reply->flags |= FILE_BY_MESSAGE | FILE_MAPPABLE | FILE_CREATED;
    }
    if (error != 0 || node->reads != descriptor)
        close(descriptor);
    return error;
}

static int serve_create(struct serving *serving)
{
    struct walk walk;
    struct node *node;
    struct seen seen;
    bool exclusive = (serving->request->open.access & FILE_O_EXCLUSIVE) != 0;
    int error = first_walk(serving, WALK_PARENT, &walk);
    if (error != 0 || walk.left)
        return error;
    error = walk.last[0] == '\0' || walk.slash ? -EISDIR : 0;
    int child = error == 0 ? node_child(serving->share, walk.descriptor, walk.at, walk.last, &node, &seen) : error;
    if (child == -ENOENT)
        error = file_create(serving, &walk);
    else if (child < 0)
        error = child;
    else if (exclusive)
        error = -EEXIST;
    else if (node->mounted.port != 0)
        error = leave(serving, &walk, FILE_AT_MOUNT, node->mounted, "", 0, "", 0);
    else if (S_ISLNK(seen.attributes.mode) && (serving->request->flags & FILE_FOLLOW))
        error = link_found(serving, &walk, walk.at, child, "", 0);
    else if (S_ISDIR(seen.attributes.mode))
        error = -EISDIR;
    else
        error = node_opened(serving, node, &seen);
    if (child >= 0)
        close(child);
    walk_end(&walk);
    return error;
}

static int serve_close(struct serving *serving)
{
    struct node *node = node_by_key(serving->share, serving->request->key);
    if (node == NULL)
        return -ESTALE;
    node_let_go(node);
    cache_look_if_gone(serving->share, node, serving->changed);
    return 0;
}

static int serve_readdir(struct serving *serving)
{
    struct node *node = node_by_key(serving->share, serving->request->key);
    size_t room = serving->request->io.length < FILE_BODY_MAX ? serving->request->io.length : FILE_BODY_MAX;
    struct seen seen;
    if (node == NULL)
        return -ESTALE;
    bool held = node->reads >= 0;
    int descriptor = held ? node->reads : node_open(serving->share, node, O_RDONLY | O_DIRECTORY, &seen), error = 0;
    if (descriptor < 0)
        return descriptor;
    if (lseek(descriptor, (off_t)serving->request->io.offset, SEEK_SET) < 0)
        error = -errno;
    long used = error == 0 ? syscall(SYS_getdents64, descriptor, serving->reply_body, room) : 0;
    if (used < 0)
        error = -errno;
    else
        serving->reply->io.length = serving->reply_size = (size_t)used;
    if (!held)
        close(descriptor);
    return error;
}

static int serve_read(struct serving *serving)
{
    struct node *node = node_by_key(serving->share, serving->request->key);
    size_t length = serving->request->io.length < FILE_BODY_MAX ? serving->request->io.length : FILE_BODY_MAX;
    if (node == NULL || node->reads < 0)
        return node == NULL ? -ESTALE : -EBADF;
    ssize_t done = pread(node->reads, serving->reply_body, length, (off_t)serving->request->io.offset);
    if (done < 0)
        return -errno;
    serving->reply->io.length = serving->reply_size = (size_t)done;
    return 0;
}

/* By us, so it is no matter what the times say. */
static void written(struct serving *serving, struct node *node)
{
    struct seen seen;
    cache_outdate(node);
    if (node->cache_count > 0 && seen_from(serving->share, node->writes, &seen) == 0)
        cache_look(node, &seen.attributes, false, serving->changed);
}

static int serve_write(struct serving *serving)
{
    struct node *node = node_by_key(serving->share, serving->request->key);
    struct seen seen;
    off_t at = (off_t)serving->request->io.offset;
    if (node == NULL || node->writes < 0)
        return node == NULL ? -ESTALE : -EBADF;
    if (serving->request->flags & FILE_APPEND) {
        int error = seen_from(serving->share, node->writes, &seen);
        if (error != 0)
            return error;
        at = (off_t)seen.attributes.size;
    }
    ssize_t done = pwrite(node->writes, serving->data, serving->data_size, at);
    if (done < 0)
        return -errno;
    serving->reply->io.length = (uint64_t)done;
    written(serving, node);
    return 0;
}

static int serve_allocate(struct serving *serving)
{
    struct node *node = node_by_key(serving->share, serving->request->key);
    if (node == NULL || node->writes < 0)
        return node == NULL ? -ESTALE : -EBADF;
    const uint32_t known = FILE_ALLOCATE_KEEP_SIZE | FILE_ALLOCATE_PUNCH_HOLE;
    if (serving->request->io.mode & ~known)
        return -EOPNOTSUPP;
    if (fallocate(node->writes, (int)serving->request->io.mode, (off_t)serving->request->io.offset, (off_t)serving->request->io.length) != 0)
        return -errno;
    written(serving, node);
    return 0;
}

static int serve_fsync(struct serving *serving)
{
    struct node *node = node_by_key(serving->share, serving->request->key);
    if (node == NULL)
        return -ESTALE;
    int held = node->writes >= 0 ? node->writes : node->reads;
    return held >= 0 && fsync(held) != 0 ? -errno : 0;
}

static int serve_sync(struct serving *serving)
{
    int descriptor = openat(serving->share->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = descriptor < 0 || syncfs(descriptor) != 0 ? -errno : 0;
    if (descriptor >= 0)
        close(descriptor);
    return error;
}

/* Attributes -------------------------------------------------------------------------------- */

/* The node itself, by the descriptor that we have of it: no name is looked up again. */
static void path_of_descriptor(int descriptor, char path[64]) { snprintf(path, 64, "/proc/self/fd/%d", descriptor); }

static int times_set(const struct file_request *request, int descriptor)
{
    const uint32_t atime = FILE_SET_ATIME | FILE_SET_ATIME_NOW, mtime = FILE_SET_MTIME | FILE_SET_MTIME_NOW;
    uint32_t valid = request->setattr.valid;
    struct timespec times[2] = { { request->setattr.atime, request->setattr.atime_nanoseconds },
                                 { request->setattr.mtime, request->setattr.mtime_nanoseconds } };
    if ((valid & (atime | mtime)) == 0)
        return 0;
    times[0].tv_nsec = valid & FILE_SET_ATIME_NOW ? UTIME_NOW : valid & FILE_SET_ATIME ? times[0].tv_nsec : UTIME_OMIT;
    times[1].tv_nsec = valid & FILE_SET_MTIME_NOW ? UTIME_NOW : valid & FILE_SET_MTIME ? times[1].tv_nsec : UTIME_OMIT;
    return utimensat(descriptor, "", times, AT_EMPTY_PATH) != 0 ? -errno : 0;
}

static int setattr_check(const struct serving *serving, const struct walk *walk)
{
    const struct file_request *request = serving->request;
    const struct file_attributes *attributes = &walk->seen.attributes;
    const uint32_t now = FILE_SET_ATIME_NOW | FILE_SET_MTIME_NOW;
    uint32_t valid = request->setattr.valid;
    bool owner = request->credentials.uid == 0 || request->credentials.uid == attributes->uid;
    if (serving->share->read_only)
        return -EROFS;
    if (((valid & FILE_SET_UID) && request->setattr.uid != attributes->uid) || ((valid & FILE_SET_GID) && request->setattr.gid != attributes->gid))
        return -EPERM;                  /* the host's user gives nothing away */
    if ((valid & FILE_SET_MODE) && !owner)
        return -EPERM;
    if (request->flags & FILE_OPENED)
        return 0;
    if ((valid & FILE_SET_SIZE) && !S_ISREG(attributes->mode))
        return S_ISDIR(attributes->mode) ? -EISDIR : -EINVAL;
    if ((valid & FILE_SET_SIZE) || ((valid & now) && !owner && (valid & (FILE_SET_ATIME | FILE_SET_MTIME)) == 0))
        return permission(attributes, &request->credentials, MAY_WRITE);
    return (valid & (FILE_SET_ATIME | FILE_SET_MTIME)) && !owner ? -EPERM : 0;
}

static int serve_setattr(struct serving *serving)
{
    const struct file_request *request = serving->request;
    struct walk walk;
    char path[64];
    int error = first_walk(serving, 0, &walk);
    if (error != 0 || walk.left)
        return error;
    error = setattr_check(serving, &walk);
    path_of_descriptor(walk.descriptor, path);
    if (error == 0 && (request->setattr.valid & FILE_SET_MODE))
        error = S_ISLNK(walk.seen.attributes.mode) ? -EOPNOTSUPP : chmod(path, request->setattr.mode & 01777) != 0 ? -errno : 0;
    if (error == 0 && (request->setattr.valid & FILE_SET_SIZE))
        error = (walk.at->writes >= 0 ? ftruncate(walk.at->writes, (off_t)request->setattr.size) : truncate(path, (off_t)request->setattr.size)) != 0
                    ? -errno : 0;
    if (request->setattr.valid & FILE_SET_SIZE)
        cache_outdate(walk.at);
    /* That a file was written to, its own host knows. */
    if (error == 0 && !(request->flags & FILE_OPENED && request->setattr.valid == FILE_SET_MTIME_NOW))
        error = times_set(request, walk.descriptor);
    if (error == 0)
        error = seen_from(serving->share, walk.descriptor, &walk.seen);
    attributes_reply(serving, walk.at, &walk.seen);
    walk_end(&walk);
    return error;
}

/* Names ------------------------------------------------------------------------------------- */

/* To the directory of a new name. */
static int new_name(struct serving *serving, struct walk *walk)
{
    int error = first_walk(serving, WALK_PARENT, walk);
    if (error != 0 || walk->left)
        return error;
    error = walk->last[0] == '\0' ? -EEXIST : may_change_names(serving, walk);
    if (error != 0)
        walk_end(walk);
    return error;
}

static int made(struct serving *serving, struct walk *walk, int failed)
{
    struct node *node;
    struct seen seen;
    int error = failed != 0 ? -errno : made_reply(serving, walk, &node, &seen);
    walk_end(walk);
    return error;
}

static int serve_mkdir(struct serving *serving)
{
    struct walk walk;
    int error = new_name(serving, &walk);
    return error != 0 || walk.left ? error : made(serving, &walk, mkdirat(walk.descriptor, walk.last, serving->request->mknod.mode & 01777));
}

static int serve_mknod(struct serving *serving)
{
    struct walk walk;
    mode_t type = serving->request->mknod.mode & S_IFMT;
    int error = type == S_IFREG || type == S_IFIFO || type == S_IFSOCK ? new_name(serving, &walk) : -EPERM;
    return error != 0 || walk.left ? error : made(serving, &walk, mknodat(walk.descriptor, walk.last, type | (serving->request->mknod.mode & 0777), 0));
}

static int serve_symlink(struct serving *serving)
{
    struct walk walk;
    char text[FILE_PATH_MAX + 1];
    size_t length = serving->request->second_length;
    if (length == 0 || length > FILE_PATH_MAX || memchr(serving->second, '\0', length) != NULL)
        return length == 0 ? -ENOENT : -ENAMETOOLONG;
    memcpy(text, serving->second, length);
    text[length] = '\0';
    int error = new_name(serving, &walk);
    return error != 0 || walk.left ? error : made(serving, &walk, symlinkat(text, walk.descriptor, walk.last));
}

/* A name that is to go; its node. */
static int old_name(struct serving *serving, struct walk *walk, struct node **ret)
{
    struct seen seen;
    int error = first_walk(serving, WALK_PARENT | WALK_UNCROSSED, walk);
    if (error != 0 || walk->left)
        return error;
    error = walk->last[0] == '\0' ? -EBUSY : 0;
    int child = error == 0 ? node_child(serving->share, walk->descriptor, walk->at, walk->last, ret, &seen) : error;
    if (child < 0)
        error = child;
    else
        close(child);
    if (error == 0)
        error = (*ret)->mounted.port != 0 ? -EBUSY : may_take_away(serving, walk, &seen);
    if (error != 0)
        walk_end(walk);
    return error;
}

static int name_remove(struct serving *serving, int flags)
{
    struct walk walk;
    struct node *node;
    struct seen seen;
    int error = old_name(serving, &walk, &node);
    if (error != 0 || walk.left)
        return error;
    int descriptor = node_open(serving->share, node, O_PATH, &seen);
    error = unlinkat(walk.descriptor, walk.last, flags) != 0 ? -errno : 0;
    if (error == 0 && descriptor >= 0 && seen_from(serving->share, descriptor, &seen) == 0)
        attributes_reply(serving, node, &seen);
    if (descriptor >= 0)
        close(descriptor);
    cache_look_if_gone(serving->share, node, serving->changed);
    walk_end(&walk);
    return error;
}

static int serve_unlink(struct serving *serving) { return name_remove(serving, 0); }
static int serve_rmdir(struct serving *serving) { return name_remove(serving, AT_REMOVEDIR); }

/* The directory of the second path. A walk that leaves is answered as the second's. */
static int second_walk(struct serving *serving, struct walk *walk)
{
    int error = walk_run(serving, serving->request->rename.second_key, serving->second, serving->request->second_length, WALK_PARENT, walk);
    if (error == 0 && walk->left)
        serving->reply->flags |= FILE_SECOND;
    if (error != 0 || walk->left)
        return error;
    error = walk->last[0] == '\0' ? -EEXIST : may_change_names(serving, walk);
    if (error != 0)
        walk_end(walk);
    return error;
}

static int serve_link(struct serving *serving)
{
    struct walk from, to = { .descriptor = -1 };
    struct node *node;
    struct seen seen;
    int error = first_walk(serving, WALK_PARENT, &from);
    if (error != 0 || from.left)
        return error;
    error = from.last[0] == '\0' ? -EPERM : second_walk(serving, &to);
    if (error == 0 && !to.left)
        error = linkat(from.descriptor, from.last, to.descriptor, to.last, 0) != 0 ? -errno : made_reply(serving, &to, &node, &seen);
    walk_end(&from);
    walk_end(&to);
    return error;
}

/* The name that goes away for the new one is one that may go. */
static int target_check(struct serving *serving, struct walk *to)
{
    struct node *node;
    struct seen seen;
    int child = node_child(serving->share, to->descriptor, to->at, to->last, &node, &seen);
    if (child < 0)
        return child == -ENOENT ? 0 : child;
    close(child);
    return node->mounted.port != 0 ? -EBUSY : may_take_away(serving, to, &seen);
}

static int serve_rename(struct serving *serving)
{
    const unsigned known = FILE_RENAME_NOREPLACE | FILE_RENAME_EXCHANGE;
    struct walk from, to = { .descriptor = -1 };
    struct node *node;
    int error = serving->request->rename.flags & ~known ? -EINVAL : old_name(serving, &from, &node);
    if (error != 0 || from.left)
        return error;
    error = second_walk(serving, &to);
    if (error == 0 && !to.left)
        error = target_check(serving, &to);
    if (error == 0 && !to.left &&
        syscall(SYS_renameat2, from.descriptor, from.last, to.descriptor, to.last, serving->request->rename.flags) != 0)
        error = -errno;
    if (error == 0 && !to.left)
        error = node_rename(node, to.at, to.last);
    walk_end(&from);
    walk_end(&to);
    return error;
}

/* Mounts ------------------------------------------------------------------------------------ */

static int serve_mount(struct serving *serving)
{
    struct walk walk;
    int error = serving->request->credentials.uid != 0 ? -EPERM : first_walk(serving, 0, &walk);
    if (error != 0 || walk.left)
        return error;
    error = !S_ISDIR(walk.seen.attributes.mode) ? -ENOTDIR : walk.at == serving->share->root || walk.at->mounted.port != 0 ? -EBUSY : 0;
    if (error == 0) {
        walk.at->mounted = serving->request->mount.node;
        attributes_reply(serving, walk.at, &walk.seen);
    }
    walk_end(&walk);
    return error;
}

static int serve_unmount(struct serving *serving)
{
    struct walk walk;
    int error = serving->request->credentials.uid != 0 ? -EPERM : first_walk(serving, WALK_UNCROSSED, &walk);
    if (error != 0 || walk.left)
        return error;
    error = walk.at->mounted.port == 0 ? -EINVAL : 0;
    serving->reply->node = walk.at->mounted;
    walk.at->mounted = (struct file_node){ 0 };
    walk_end(&walk);
    return error;
}

/* It stays attached as long as the site runs. */
static int serve_nothing(struct serving *serving)
{
    (void)serving;
    return 0;
}

/* Pages of the site's --------------------------------------------------------------------- */

static struct share_cache cache_of(const struct file_request *request)
{
    struct share_cache cache;
    memcpy(&cache, request->words, sizeof cache);
    return cache;
}

static int serve_begin(struct serving *serving)
{
    cache_outdate_all(serving->share);
    return 0;
}

static int serve_pull(struct serving *serving)
{
    const struct share_cache ask = cache_of(serving->request);
    struct node *node = node_by_key(serving->share, serving->request->key);
    struct seen seen;
    bool pulls = serving->request->operation == SHARE_PULL;
    size_t length = ask.length < FILE_BODY_MAX ? ask.length : FILE_BODY_MAX;
    int error = node == NULL ? -ESTALE : cache_note(serving->share, node, &ask.cache, serving->changed);
    if (error != 0)
        return error;
    ssize_t done = pulls ? pread(node->reads, serving->reply_body, length, (off_t)ask.offset) : 0;
    if (done < 0)
        return -errno;
    serving->reply_size = (size_t)done;
    error = seen_from(serving->share, node->reads, &seen);      /* after the bytes: who changes them meanwhile is noticed */
    if (error == 0)
        attributes_reply(serving, node, &seen);
    return error;
}

static int serve_uncache(struct serving *serving)
{
    const struct share_cache ask = cache_of(serving->request);
    struct node *node = node_by_key(serving->share, serving->request->key);
    if (node != NULL)
        cache_forget(serving->share, node, &ask.cache);
    return node != NULL ? 0 : -ESTALE;
}

/* Serving ----------------------------------------------------------------------------------- */

typedef int handler(struct serving *serving);
static handler *const handlers[FILE_OPERATION_END - FILE_STATFS] = {
    [FILE_STATFS - FILE_STATFS] = serve_statfs, [FILE_WALK - FILE_STATFS] = serve_walk, [FILE_GETATTR - FILE_STATFS] = serve_getattr,
    [FILE_SETATTR - FILE_STATFS] = serve_setattr, [FILE_OPEN - FILE_STATFS] = serve_open, [FILE_CREATE - FILE_STATFS] = serve_create,
    [FILE_CLOSE - FILE_STATFS] = serve_close, [FILE_MKDIR - FILE_STATFS] = serve_mkdir, [FILE_MKNOD - FILE_STATFS] = serve_mknod,
    [FILE_SYMLINK - FILE_STATFS] = serve_symlink, [FILE_READLINK - FILE_STATFS] = serve_readlink, [FILE_LINK - FILE_STATFS] = serve_link,
    [FILE_UNLINK - FILE_STATFS] = serve_unlink, [FILE_RMDIR - FILE_STATFS] = serve_rmdir, [FILE_RENAME - FILE_STATFS] = serve_rename,
    [FILE_READDIR - FILE_STATFS] = serve_readdir, [FILE_READ - FILE_STATFS] = serve_read, [FILE_WRITE - FILE_STATFS] = serve_write,
    [FILE_ALLOCATE - FILE_STATFS] = serve_allocate, [FILE_FSYNC - FILE_STATFS] = serve_fsync, [FILE_SYNC - FILE_STATFS] = serve_sync,
    [FILE_MOUNT - FILE_STATFS] = serve_mount, [FILE_UNMOUNT - FILE_STATFS] = serve_unmount, [FILE_DETACH - FILE_STATFS] = serve_nothing,
};
static handler *const own_handlers[SHARE_OPERATION_END - SHARE_BEGIN] = {
    [SHARE_BEGIN - SHARE_BEGIN] = serve_begin, [SHARE_CACHE - SHARE_BEGIN] = serve_pull, [SHARE_UNCACHE - SHARE_BEGIN] = serve_uncache,
    [SHARE_PULL - SHARE_BEGIN] = serve_pull,
};

static handler *handler_of(uint32_t operation)
{
    if (operation >= FILE_STATFS && operation < FILE_OPERATION_END)
        return handlers[operation - FILE_STATFS];
    return operation >= SHARE_BEGIN && operation < SHARE_OPERATION_END ? own_handlers[operation - SHARE_BEGIN] : NULL;
}

void share_serve(struct share *share, const struct file_request *request, const char *body, size_t body_size, struct share_answer *answer,
                 char *reply_body, size_t *ret_size)
{
    struct serving serving = { .share = share, .request = request, .path = body, .reply = &answer->reply, .changed = &answer->changed,
                               .reply_body = reply_body };
    size_t texts = (size_t)request->path_length + request->second_length;
    handler *handle = handler_of(request->operation);
    int error = handle == NULL ? -ENOSYS : texts > body_size ? -EINVAL
              : request->path_length > FILE_PATH_MAX || request->second_length > FILE_PATH_MAX ? -ENAMETOOLONG : 0;
    memset(answer, 0, sizeof *answer);
    *ret_size = 0;
    if (error == 0) {
        serving.second = body + request->path_length;
        serving.data = body + texts;
        serving.data_size = body_size - texts;
        error = handle(&serving);
    }
    if (error == 0) {
        *ret_size = serving.reply_size;
        return;
    }
    memset(&answer->reply, 0, sizeof answer->reply);
    answer->reply.error = error;
}
