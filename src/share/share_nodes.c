/* Nodes: see share_nodes.h. A node is known by what the host calls it (device, inode, time of birth), and found by the way from the folder
 * on which it was seen last; what is found is compared with what was meant. */
#include "share_nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534u

/* The host guarantees that what is opened lies below the directory, without a link on the way. */
int open_beneath(int directory, const char *path, int flags, mode_t mode)
{
    struct open_how how = { .flags = (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK),
                            .mode = flags & O_CREAT ? mode : 0,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
    if (flags & O_PATH)
        how.flags &= ~(uint64_t)(O_NOCTTY | O_NONBLOCK);
    for (int tries = 0;; tries++) {
        long descriptor = syscall(SYS_openat2, directory, path, &how, sizeof how);
        if (descriptor >= 0)
            return (int)descriptor;
        if (errno != EAGAIN || tries == 100)    /* somebody renames things: the host cannot be sure, and wants to be asked again */
            return errno == EXDEV ? -ENOENT : -errno;
    }
}

static uint64_t time_of(struct statx_timestamp time) { return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec; }

int seen_from(const struct share *share, int descriptor, struct seen *ret)
{
    struct statx found;
    if (statx(descriptor, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &found) != 0)
        return -errno;
    bool special = S_ISCHR(found.stx_mode) || S_ISBLK(found.stx_mode);
    *ret = (struct seen){ .device = (uint64_t)found.stx_dev_major << 32 | found.stx_dev_minor, .inode = found.stx_ino,
                          .birth = found.stx_mask & STATX_BTIME ? time_of(found.stx_btime) : 0 };
    ret->attributes = (struct file_attributes){
        .inode = found.stx_ino, .size = found.stx_size, .blocks = found.stx_blocks, .links = found.stx_nlink,
        .atime = found.stx_atime.tv_sec, .mtime = found.stx_mtime.tv_sec, .ctime = found.stx_ctime.tv_sec,
        .atime_nanoseconds = found.stx_atime.tv_nsec, .mtime_nanoseconds = found.stx_mtime.tv_nsec,
        .ctime_nanoseconds = found.stx_ctime.tv_nsec,
        .mode = found.stx_mode & (S_ISREG(found.stx_mode) ? ~(uint32_t)(S_ISUID | S_ISGID) : ~0u),
        .uid = found.stx_uid == share->uid ? 0 : found.stx_uid == 0 ? NOBODY : found.stx_uid,
        .gid = found.stx_gid == share->gid ? 0 : found.stx_gid == 0 ? NOBODY : found.stx_gid,
        .device = 0x5368, .block_size = 65536 };
    if (special)
        ret->attributes.rdev = 0;
    return 0;
}

static struct node **key_bucket(struct share *share, uint64_t key) { return &share->keys[key % NODE_BUCKETS]; }

static struct node **file_bucket(struct share *share, const struct seen *seen)
{
    return &share->files[(seen->inode * 0x9e3779b97f4a7c15ull >> 32) % NODE_BUCKETS];
}

struct node *node_by_key(struct share *share, uint64_t key)
{
    struct node *node = key == FILE_ROOT_KEY ? share->root : *key_bucket(share, key);
    while (node != NULL && key != FILE_ROOT_KEY && node->key != key)
        node = node->by_key;
    return node;
}

static bool is_that(const struct node *node, const struct seen *seen)
{
    return node->device == seen->device && node->inode == seen->inode && node->birth == seen->birth;
}

int node_rename(struct node *node, struct node *parent, const char *name)
{
    if (node->parent == parent && node->name != NULL && strcmp(node->name, name) == 0)
        return 0;
    char *copy = strdup(name);
    if (copy == NULL)
        return -ENOMEM;
    free(node->name);
    node->name = copy;
    node->parent = parent;
    return 0;
}

/* The node that was seen under that name, a new one if nobody has seen it before. */
static int node_note(struct share *share, const struct seen *seen, struct node *parent, const char *name, struct node **ret)
{
    struct node **bucket = file_bucket(share, seen), *node = *bucket;
    while (node != NULL && !is_that(node, seen))
        node = node->by_file;
    if (node != NULL) {
        *ret = node;
        return node == share->root ? 0 : node_rename(node, parent, name);
    }
    if (share->count >= NODES_MAX || (node = calloc(1, sizeof *node)) == NULL)
        return -ENOMEM;
    *node = (struct node){ .key = ++share->last_key, .device = seen->device, .inode = seen->inode, .birth = seen->birth,
                           .reads = -1, .writes = -1 };
    if (node_rename(node, parent, name) != 0) {
        free(node);
        return -ENOMEM;
    }
    node->by_file = *bucket;
    *bucket = node;
    node->by_key = *key_bucket(share, node->key);
    *key_bucket(share, node->key) = node;
    share->count++;
    *ret = node;
    return 0;
}

/* The way from the folder. */
static int path_of(const struct node *node, char path[PATH_MAX])
{
    size_t at = PATH_MAX - 1;
    path[at] = '\0';
    for (; node->parent != NULL; node = node->parent) {
        size_t length = strlen(node->name);
        if (length + 1 > at)
            return -ENAMETOOLONG;       /* or in circles: the host has moved things */
        if (path[at] != '\0')
            path[--at] = '/';
        at -= length;
        memcpy(path + at, node->name, length);
    }
    memmove(path, path + at, PATH_MAX - at);
    if (*path == '\0')
        strcpy(path, ".");
    return 0;
}

int node_open(struct share *share, const struct node *node, int flags, struct seen *ret_seen)
{
    char path[PATH_MAX];
    int descriptor = path_of(node, path);
    if (descriptor == 0)
        descriptor = open_beneath(share->folder, path, flags, 0);
    int error = descriptor < 0 ? descriptor : seen_from(share, descriptor, ret_seen);
    if (error == 0 && is_that(node, ret_seen))
        return descriptor;
    if (descriptor >= 0)
        close(descriptor);
    bool gone = error == 0 || error == -ENOENT || error == -ENOTDIR || error == -ELOOP || error == -ENAMETOOLONG;
    /* It is open, and has no name, or another one: it is itself all the same. */
    int held = node->reads >= 0 ? node->reads : node->writes;
    if (gone && held >= 0 && (flags & O_PATH)) {
        error = seen_from(share, held, ret_seen);
        descriptor = error == 0 ? fcntl(held, F_DUPFD_CLOEXEC, 0) : error;
        return descriptor == -1 ? -errno : descriptor;
    }
    return gone ? -ESTALE : error;
}

int node_child(struct share *share, int directory, struct node *parent, const char *name, struct node **ret, struct seen *ret_seen)
{
    int descriptor = open_beneath(directory, name, O_PATH, 0);
    if (descriptor < 0)
        return descriptor;
    int error = seen_from(share, descriptor, ret_seen);
    if (error == 0)
        error = node_note(share, ret_seen, parent, name, ret);
    if (error != 0)
        close(descriptor);
    return error != 0 ? error : descriptor;
}

int node_hold(struct share *share, struct node *node, uint32_t access, bool is_directory)
{
    struct seen seen;
    bool writes = (access & FILE_O_WRITE) != 0;
    int descriptor;
    if (!writes || (access & FILE_O_READ) || is_directory)
        if (node->reads < 0) {
            descriptor = node_open(share, node, O_RDONLY | (is_directory ? O_DIRECTORY : 0), &seen);
            if (descriptor < 0)
                return descriptor;
            node->reads = descriptor;
        }
    if (writes && node->writes < 0) {
        descriptor = node_open(share, node, O_WRONLY, &seen);
        if (descriptor < 0)
            return descriptor;
        node->writes = descriptor;
    }
    node->opens++;
    return 0;
}

void node_let_go(struct node *node)
{
    if (node->opens > 0 && --node->opens > 0)
        return;
    if (node->reads >= 0)
        close(node->reads);
    if (node->writes >= 0)
        close(node->writes);
    node->reads = node->writes = -1;
}

struct share *share_new(int folder, bool read_only)
{
    struct share *share = calloc(1, sizeof *share);
    struct seen seen;
    if (share == NULL)
        return NULL;
    *share = (struct share){ .folder = folder, .read_only = read_only, .uid = geteuid(), .gid = getegid() };
    int error = seen_from(share, folder, &seen);
    if (error == 0 && !S_ISDIR(seen.attributes.mode))
        error = -ENOTDIR;
    if (error == 0)
        error = node_note(share, &seen, NULL, "", &share->root);
    if (error == 0)
        return share;
    free(share);
    errno = -error;
    return NULL;
}

void share_free(struct share *share)
{
    for (unsigned i = 0; i < NODE_BUCKETS; i++)
        for (struct node *node = share->keys[i], *next; node != NULL; node = next) {
            next = node->by_key;
            if (node->reads >= 0)
                close(node->reads);
            if (node->writes >= 0)
                close(node->writes);
            free(node->name);
            free(node);
        }
    close(share->folder);
    free(share);
}
