/* The operations of the file protocol: one handler for each.
 *
 * om_serve finds the file system, takes its lock, and calls the handler; what has to be told to the
 * world (a truncated file) is told after the lock was let go. Handlers first check everything, then
 * change. A walk that has to go on elsewhere is an answer, not an error.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "om.h"

/* A request being served. */
struct serving {
    struct om *om;
    struct om_call *call;
    const struct file_request *request;
    struct file_reply *reply;
    struct fs *fs;
    uint32_t number;
    struct walk walk;           /* of the first path */
    uint64_t cut_key;           /* a file whose size changes: tell the caches after the lock */
    uint64_t cut_size;
    uint64_t punched_key;       /* a file that gets a hole: the same */
};

typedef int handler(struct serving *serving);

/* Helpers ------------------------------------------------------------------------- */

static void outcome_reply(struct serving *serving, const struct walk *walk)
{
    struct file_reply *reply = serving->reply;
    size_t text = walk->outcome == FILE_AT_SYMLINK ? walk->text_length : 0;

    memset(reply, 0, sizeof *reply);
    reply->outcome = (uint16_t)walk->outcome;
    reply->at = walk->next;
    reply->length = (uint32_t)text;
    reply->rest_length = (uint32_t)walk->rest_length;
    reply->links_followed = walk->links;
    memcpy(serving->call->reply_body, walk->text, text);
    memcpy(serving->call->reply_body + text, walk->rest, walk->rest_length);
    serving->call->reply_size = text + walk->rest_length;
}

static const char *second_of(const struct serving *serving)
{
    return serving->call->body + serving->request->path_length;
}

static int path_walk(struct serving *serving, struct walk *walk, uint64_t key, const char *path,
                     size_t length, unsigned flags)
{
    const struct file_request *request = serving->request;
    int error;

    walk->om = serving->om;
    walk->fs = serving->fs;
    walk->number = serving->number;
    walk->credentials = &request->credentials;
    walk->root = request->root != 0 && OM_KEY_SYSTEM(request->root) == serving->number
                     ? OM_KEY_ID(request->root) : 0;
    walk->flags = flags;
    walk->follow_inside = (request->flags & FILE_FOLLOW_INSIDE) != 0;
    walk->links = request->links_followed;
    error = walk_run(walk, key == FILE_ROOT_KEY ? serving->fs->root : OM_KEY_ID(key), path, length);
    if (error == 0 && walk->outcome != FILE_DONE)
        outcome_reply(serving, walk);
    return error;
}

/* The first path. The caller looks at walk.outcome. */
static int first_walk(struct serving *serving, unsigned flags)
{
    if ((serving->request->flags & FILE_FOLLOW) != 0 && (flags & WALK_PARENT) == 0)
        flags |= WALK_FOLLOW;
    return path_walk(serving, &serving->walk, serving->request->key, serving->call->body,
                     serving->request->path_length, flags);
}

static bool left(const struct serving *serving)
{
    return serving->walk.outcome != FILE_DONE;
}

static void attributes_reply(struct serving *serving, const struct file_attributes *attributes)
{
    fs_id id = OM_KEY_ID(attributes->key);

    serving->reply->attributes = *attributes;
    serving->reply->attributes.key = OM_KEY(serving->number, id);
    serving->reply->node = (struct file_node){ serving->om->port, OM_KEY(serving->number, id) };
}

static int node_reply(struct serving *serving, fs_id id)
{
    struct file_attributes attributes;
    int error = serving->fs->operations->attributes(serving->fs, id, &attributes);

    if (error == 0)
        attributes_reply(serving, &attributes);
    return error;
}

static bool is_dots(const char *name, size_t length)
{
    return (length == 1 || length == 2) && memcmp(name, "..", length) == 0;
}

/* The directory of the first path's last component may be changed by the caller. */
static int change_check(const struct walk *walk)
{
    return permission_check(&walk->attributes, walk->credentials, MAY_WRITE | MAY_EXECUTE);
}

static int name_lookup(const struct walk *walk, fs_id *ret, struct file_attributes *ret_attributes)
{
    int error = walk->fs->operations->lookup(walk->fs, walk->at, walk->rest, walk->rest_length, ret);

    return error != 0 ? error : walk->fs->operations->attributes(walk->fs, *ret, ret_attributes);
}

static bool is_mounted(struct serving *serving, fs_id id)
{
    for (unsigned i = 0; i < OM_MOUNTS_MAX; i++)
        if (serving->om->mounts[i].at == OM_KEY(serving->number, id))
            return true;
    return false;
}

/* Looking ------------------------------------------------------------------------- */

static int serve_statfs(struct serving *serving)
{
    int error = first_walk(serving, 0);

    if (error != 0 || left(serving))
        return error;
    return serving->fs->operations->statfs(serving->fs, &serving->reply->statfs);
}

static int serve_walk(struct serving *serving)
{
    uint32_t wanted = serving->request->walk.mode;
    int error = first_walk(serving, 0);

    if (error != 0 || left(serving))
        return error;
    if (wanted != 0) {
        error = permission_check(&serving->walk.attributes, &serving->request->credentials, wanted);
        if (error == 0 && (wanted & MAY_WRITE) != 0 && serving->fs->read_only)
            error = -EROFS;
    }
    if (error == 0)
        attributes_reply(serving, &serving->walk.attributes);
    return error;
}

static fs_id id_given(const struct serving *serving)
{
    return serving->request->key == FILE_ROOT_KEY ? serving->fs->root
                                                  : OM_KEY_ID(serving->request->key);
}

static int serve_getattr(struct serving *serving)
{
    return node_reply(serving, id_given(serving));
}

static int serve_readlink(struct serving *serving)
{
    size_t length = 0;
    int error = first_walk(serving, 0);

    if (error != 0 || left(serving))
        return error;
    error = serving->fs->operations->readlink(serving->fs, serving->walk.at,
                                              (char *)serving->call->reply_body, FILE_BODY_MAX,
                                              &length);
    serving->call->reply_size = length;
    serving->reply->io.length = length;
    return error;
}

static int serve_readdir(struct serving *serving)
{
    uint64_t room = serving->request->io.length;
    size_t used = 0;
    int error;

    if (room > FILE_BODY_MAX)
        room = FILE_BODY_MAX;
    error = serving->fs->operations->readdir(serving->fs, id_given(serving),
                                             serving->request->io.offset,
                                             serving->call->reply_body, room, &used);
    if (error == 0) {
        serving->call->reply_size = used;
        serving->reply->io.length = used;
    }
    return error;
}

/* Attributes ---------------------------------------------------------------------- */

static void cut_begin(struct serving *serving, fs_id id)
{
    serving->cut_key = OM_KEY(serving->number, id);
    serving->cut_size = UINT64_MAX;
    om_cut_begin(serving->om, serving->cut_key);
}

static int serve_setattr(struct serving *serving)
{
    struct fs_change change;
    struct file_time now;
    int error = serving->fs->operations->begin(serving->fs);

    if (error == 0)
        error = first_walk(serving, 0);
    if (error != 0 || left(serving))
        return error;
    serving->fs->now(&now);
    error = permission_change(&serving->walk.attributes, serving->request, now, &change);
    if (error == 0 && (change.valid & FILE_SET_SIZE) != 0)
        cut_begin(serving, serving->walk.at);
    if (error == 0)
        error = serving->fs->operations->change(serving->fs, serving->walk.at, &change);
    if (error == 0 && (change.valid & FILE_SET_SIZE) != 0)
        serving->cut_size = change.size;
    return error != 0 ? error : node_reply(serving, serving->walk.at);
}

/* Opening ------------------------------------------------------------------------- */

static int open_check(struct serving *serving, const struct file_attributes *attributes)
{
    uint32_t access = serving->request->open.access, wanted = 0;
    bool writes = (access & (FILE_O_WRITE | FILE_O_TRUNCATE)) != 0;

    if ((access & FILE_O_DIRECTORY) != 0 && !S_ISDIR(attributes->mode))
        return -ENOTDIR;
    if ((access & FILE_O_PATH) != 0)
        return 0;
    if (S_ISLNK(attributes->mode))
        return -ELOOP;
    if (S_ISDIR(attributes->mode) && writes)
        return -EISDIR;
    if ((access & FILE_O_READ) != 0)
        wanted |= MAY_READ;
    if (writes)
        wanted |= MAY_WRITE;
    if ((access & FILE_O_EXECUTE) != 0)
        wanted |= MAY_EXECUTE;
    if (writes && serving->fs->read_only && (S_ISREG(attributes->mode) || S_ISDIR(attributes->mode)))
        return -EROFS;
    return permission_check(attributes, &serving->request->credentials, wanted);
}

/* A file that others may write to must not act as its owner any more. */
static int privilege_drop(struct serving *serving, const struct file_attributes *attributes)
{
    struct fs_change change = { .valid = FILE_SET_MODE };
    uint32_t lost = S_ISUID | ((attributes->mode & S_IXGRP) != 0 ? S_ISGID : 0);

    if (serving->request->credentials.uid == 0 || (attributes->mode & lost) == 0)
        return 0;
    change.mode = attributes->mode & 07777 & ~lost;
    return serving->fs->operations->change(serving->fs, OM_KEY_ID(attributes->key), &change);
}

static int file_truncate(struct serving *serving, fs_id id)
{
    const struct fs_change change = { .valid = FILE_SET_SIZE };
    int error;

    cut_begin(serving, id);
    error = serving->fs->operations->change(serving->fs, id, &change);
    if (error == 0)
        serving->cut_size = 0;
    return error;
}

/* What has been found, or made, is opened. */
static int node_open(struct serving *serving, const struct file_attributes *attributes, bool made)
{
    uint32_t access = serving->request->open.access;
    fs_id id = OM_KEY_ID(attributes->key);
    bool writes = (access & (FILE_O_WRITE | FILE_O_TRUNCATE)) != 0 && (access & FILE_O_PATH) == 0;
    int error = serving->fs->operations->hold(serving->fs, id);

    if (error != 0)
        return error;
    if (!made && writes && S_ISREG(attributes->mode))
        error = privilege_drop(serving, attributes);
    if (error == 0 && !made && (access & FILE_O_TRUNCATE) != 0 && S_ISREG(attributes->mode))
        error = file_truncate(serving, id);
    if (error == 0)
        error = node_reply(serving, id);
    if (error != 0) {
        serving->fs->operations->release(serving->fs, id);
        return error;
    }
    if (S_ISREG(attributes->mode))
        serving->reply->node.port = serving->om->mapper_port;
    if (made)
        serving->reply->flags |= FILE_CREATED;
    return 0;
}

/* Opening may change: truncation, set-uid bits. */
static int begin_if_writing(struct serving *serving)
{
    uint32_t access = serving->request->open.access;

    if ((access & (FILE_O_WRITE | FILE_O_TRUNCATE)) == 0 || serving->fs->read_only)
        return 0;
    return serving->fs->operations->begin(serving->fs);
}

static int serve_open(struct serving *serving)
{
    int error = begin_if_writing(serving);

    if (error == 0)
        error = first_walk(serving, 0);
    if (error != 0 || left(serving))
        return error;
    error = open_check(serving, &serving->walk.attributes);
    return error != 0 ? error : node_open(serving, &serving->walk.attributes, false);
}

/* What a new node gets from the caller, and its group from a set-gid directory. */
static struct fs_new new_node(const struct walk *walk, uint32_t mode)
{
    struct fs_new ret = { .mode = mode, .uid = walk->credentials->uid,
                          .gid = walk->credentials->gid };

    if ((walk->attributes.mode & S_ISGID) != 0) {
        ret.gid = walk->attributes.gid;
        if (S_ISDIR(mode))
            ret.mode |= S_ISGID;
    }
    return ret;
}

/* Make the first path's last component. The walk stands at its directory. */
static int node_make(struct serving *serving, const struct fs_new *made, fs_id *ret)
{
    struct walk *walk = &serving->walk;
    int error = change_check(walk);

    if (error != 0)
        return error;
    return serving->fs->operations->create(serving->fs, walk->at, walk->rest, walk->rest_length,
                                           made, ret);
}

/* The name of FILE_CREATE is there already. */
static int existing_open(struct serving *serving, fs_id id, const struct file_attributes *attributes)
{
    int error;

    if ((serving->request->open.access & FILE_O_EXCLUSIVE) != 0)
        return -EEXIST;
    if (S_ISDIR(attributes->mode) && !is_mounted(serving, id))
        return -EISDIR;
    if (is_mounted(serving, id)) {
        error = first_walk(serving, 0);
        return error != 0 || left(serving) ? error : -EISDIR;
    }
    if (serving->walk.must_be_directory)
        return -ENOTDIR;
    error = open_check(serving, attributes);
    return error != 0 ? error : node_open(serving, attributes, false);
}

/* The name of FILE_CREATE is free. */
static int new_file_open(struct serving *serving)
{
    struct fs_new made = new_node(&serving->walk, S_IFREG | (serving->request->open.mode & 07777));
    struct file_attributes attributes;
    fs_id id;
    int error = node_make(serving, &made, &id);

    if (error == 0)
        error = serving->fs->operations->attributes(serving->fs, id, &attributes);
    return error != 0 ? error : node_open(serving, &attributes, true);
}

static int serve_create(struct serving *serving)
{
    struct walk *walk = &serving->walk;
    struct file_attributes attributes;
    fs_id id;
    int error = serving->fs->read_only ? 0 : serving->fs->operations->begin(serving->fs);

    if (error == 0)
        error = first_walk(serving, WALK_PARENT);
    for (;;) {                  /* as long as the name turns out to be a link */
        if (error != 0 || left(serving))
            return error;
        if (walk->rest_length == 0 || is_dots(walk->rest, walk->rest_length))
            return -EISDIR;
        error = name_lookup(walk, &id, &attributes);
        if (error != 0 || !S_ISLNK(attributes.mode) ||
            (serving->request->flags & FILE_FOLLOW) == 0 ||
            (serving->request->open.access & FILE_O_EXCLUSIVE) != 0)
            break;
        error = walk_go_on(walk, id);
        if (error == 0 && left(serving))
            outcome_reply(serving, walk);
    }
    if (error == 0)
        return existing_open(serving, id, &attributes);
    if (error != -ENOENT)
        return error;
    if (serving->fs->read_only)
        return -EROFS;
    if (walk->must_be_directory)
        return -EISDIR;
    return new_file_open(serving);
}

static int serve_close(struct serving *serving)
{
    serving->fs->operations->release(serving->fs, id_given(serving));
    om_segment_check(serving->om, serving->fs, OM_KEY(serving->number, id_given(serving)));
    return 0;
}

/* Making names -------------------------------------------------------------------- */

/* To the directory where a new name is to be; the name must not be there. */
static int new_name_walk(struct serving *serving)
{
    struct walk *walk = &serving->walk;
    struct file_attributes attributes;
    fs_id id;
    int error = serving->fs->read_only ? 0 : serving->fs->operations->begin(serving->fs);

    if (error == 0)
        error = first_walk(serving, WALK_PARENT);
    if (error != 0 || left(serving))
        return error;
    if (walk->rest_length == 0 || is_dots(walk->rest, walk->rest_length))
        return -EEXIST;
    error = name_lookup(walk, &id, &attributes);
    if (error == 0)
        return -EEXIST;
    if (error == -ENOENT)
        error = serving->fs->read_only ? -EROFS : 0;
    return error;
}

static int serve_mkdir(struct serving *serving)
{
    struct fs_new made;
    fs_id id;
    int error = new_name_walk(serving);

    if (error != 0 || left(serving))
        return error;
    made = new_node(&serving->walk, S_IFDIR | (serving->request->mknod.mode & 07777));
    error = node_make(serving, &made, &id);
    return error != 0 ? error : node_reply(serving, id);
}

static int serve_mknod(struct serving *serving)
{
    uint32_t mode = serving->request->mknod.mode;
    struct fs_new made;
    fs_id id;
    int error = new_name_walk(serving);

    if (error != 0 || left(serving))
        return error;
    if ((mode & S_IFMT) == 0)
        mode |= S_IFREG;
    if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode) && !S_ISCHR(mode) && !S_ISBLK(mode))
        return S_ISDIR(mode) ? -EPERM : -EINVAL;
    if ((S_ISCHR(mode) || S_ISBLK(mode)) && serving->request->credentials.uid != 0)
        return -EPERM;
    if (serving->walk.must_be_directory)
        return -ENOENT;
    made = new_node(&serving->walk, mode);
    made.rdev = S_ISCHR(mode) || S_ISBLK(mode) ? serving->request->mknod.device : 0;
    error = node_make(serving, &made, &id);
    return error != 0 ? error : node_reply(serving, id);
}

static int serve_symlink(struct serving *serving)
{
    struct fs_new made;
    fs_id id;
    int error = new_name_walk(serving);

    if (error != 0 || left(serving))
        return error;
    if (serving->request->second_length == 0 || serving->walk.must_be_directory)
        return -ENOENT;
    if (serving->request->second_length > FILE_PATH_MAX)
        return -ENAMETOOLONG;
    made = new_node(&serving->walk, S_IFLNK | 0777);
    made.link = second_of(serving);
    made.link_length = serving->request->second_length;
    error = node_make(serving, &made, &id);
    return error != 0 ? error : node_reply(serving, id);
}

/* The second path, of link and rename. NULL when the walk ended elsewhere (answered), or failed. */
static struct walk *second_walk(struct serving *serving, int *ret_error)
{
    struct walk *walk = calloc(1, sizeof *walk);
    uint64_t key = serving->request->rename.second_key;
    uint32_t number = key == FILE_ROOT_KEY ? 1 : OM_KEY_SYSTEM(key);

    *ret_error = walk == NULL ? -ENOMEM : number != serving->number ? -EXDEV : 0;
    if (*ret_error == 0)
        *ret_error = path_walk(serving, walk, key, second_of(serving),
                               serving->request->second_length, WALK_PARENT);
    if (*ret_error == 0 && walk->outcome == FILE_DONE)
        return walk;
    if (*ret_error == 0)
        serving->reply->flags |= FILE_SECOND;
    free(walk);
    return NULL;
}

static int link_make(struct serving *serving, struct walk *to)
{
    struct file_attributes attributes;
    fs_id id;
    int error = 0;

    if (to->rest_length == 0 || is_dots(to->rest, to->rest_length))
        return -EEXIST;
    if (name_lookup(to, &id, &attributes) == 0)
        return -EEXIST;
    if (to->must_be_directory)
        return -ENOENT;
    error = change_check(to);
    if (error == 0)
        error = serving->fs->operations->link(serving->fs, serving->walk.at, to->at, to->rest,
                                              to->rest_length);
    return error != 0 ? error : node_reply(serving, serving->walk.at);
}

static int serve_link(struct serving *serving)
{
    struct walk *to;
    int error = serving->fs->operations->begin(serving->fs);

    if (error == 0)
        error = first_walk(serving, 0);
    if (error != 0 || left(serving))
        return error;
    if (S_ISDIR(serving->walk.attributes.mode))
        return -EPERM;
    to = second_walk(serving, &error);
    if (to == NULL)
        return error;
    error = link_make(serving, to);
    free(to);
    return error;
}

/* Taking names away --------------------------------------------------------------- */

static int old_name_walk(struct serving *serving, fs_id *ret, struct file_attributes *ret_attributes)
{
    struct walk *walk = &serving->walk;
    int error = serving->fs->operations->begin(serving->fs);

    if (error == 0)
        error = first_walk(serving, WALK_PARENT);
    if (error != 0 || left(serving))
        return error;
    if (walk->rest_length == 0)
        return -EBUSY;
    if (is_dots(walk->rest, walk->rest_length))
        return walk->rest_length == 1 ? -EINVAL : -ENOTEMPTY;
    error = name_lookup(walk, ret, ret_attributes);
    if (error == 0)
        error = permission_remove(&walk->attributes, ret_attributes, walk->credentials);
    if (error == 0 && is_mounted(serving, *ret))
        error = -EBUSY;
    return error;
}

static int serve_unlink(struct serving *serving)
{
    struct walk *walk = &serving->walk;
    struct file_attributes attributes;
    fs_id id;
    int error = old_name_walk(serving, &id, &attributes);

    if (error == -EINVAL || error == -ENOTEMPTY || (error == -EBUSY && walk->rest_length == 0))
        return -EISDIR;
    if (error != 0 || left(serving))
        return error;
    if (S_ISDIR(attributes.mode))
        return -EISDIR;
    if (walk->must_be_directory)
        return -ENOTDIR;
    error = serving->fs->operations->unlink(serving->fs, walk->at, walk->rest, walk->rest_length);
    if (error != 0)
        return error;
    om_segment_check(serving->om, serving->fs, OM_KEY(serving->number, id));
    if (node_reply(serving, id) != 0) {     /* it has gone altogether */
        attributes.links = 0;
        attributes_reply(serving, &attributes);
    }
    return 0;
}

static int serve_rmdir(struct serving *serving)
{
    struct file_attributes attributes;
    fs_id id;
    int error = old_name_walk(serving, &id, &attributes);

    if (error != 0 || left(serving))
        return error;
    if (!S_ISDIR(attributes.mode))
        return -ENOTDIR;
    return serving->fs->operations->rmdir(serving->fs, serving->walk.at, serving->walk.rest,
                                          serving->walk.rest_length);
}

/* The name that a rename replaces, if it is there. */
static int replaced_check(struct serving *serving, const struct walk *to,
                          const struct file_attributes *moved, fs_id *ret_replaced)
{
    struct file_attributes attributes;
    fs_id id;
    int error;

    *ret_replaced = 0;

    if (to->rest_length == 0 || is_dots(to->rest, to->rest_length))
        return -EBUSY;
    if (to->must_be_directory && !S_ISDIR(moved->mode))
        return -ENOTDIR;
    error = name_lookup(to, &id, &attributes);
    if (error == -ENOENT)
        return change_check(to);
    if (error != 0)
        return error;
    if (is_mounted(serving, id))
        return -EBUSY;
    *ret_replaced = id;
    return permission_remove(&to->attributes, &attributes, to->credentials);
}

static int serve_rename(struct serving *serving)
{
    struct walk *from = &serving->walk, *to;
    struct file_attributes attributes;
    uint32_t flags = serving->request->rename.flags;
    fs_id id, replaced;
    int error = old_name_walk(serving, &id, &attributes);

    if (error == -EINVAL || error == -ENOTEMPTY)
        return -EBUSY;          /* "." and ".." */
    if (error != 0 || left(serving))
        return error;
    if ((flags & ~(FILE_RENAME_NOREPLACE | FILE_RENAME_EXCHANGE)) != 0 ||
        flags == (FILE_RENAME_NOREPLACE | FILE_RENAME_EXCHANGE))
        return -EINVAL;
    if (from->must_be_directory && !S_ISDIR(attributes.mode))
        return -ENOTDIR;
    to = second_walk(serving, &error);
    if (to == NULL)
        return error;
    error = replaced_check(serving, to, &attributes, &replaced);
    if (error == 0 && S_ISDIR(attributes.mode) && from->at != to->at)
        error = permission_check(&attributes, from->credentials, MAY_WRITE);    /* its ".." changes */
    if (error == 0)
        error = serving->fs->operations->rename(serving->fs, from->at, from->rest,
                                                from->rest_length, to->at, to->rest,
                                                to->rest_length, flags);
    if (error == 0 && replaced != 0)
        om_segment_check(serving->om, serving->fs, OM_KEY(serving->number, replaced));
    free(to);
    return error;
}

/* Contents and the disk ----------------------------------------------------------- */

/* Regular files are segments, and nothing else of ours has contents. */
static int serve_transfer(struct serving *serving)
{
    struct file_attributes attributes;
    int error = serving->fs->operations->attributes(serving->fs, id_given(serving), &attributes);

    if (error != 0)
        return error;
    return S_ISDIR(attributes.mode) ? -EISDIR : -EINVAL;
}

static int serve_allocate(struct serving *serving)
{
    const struct file_request *request = serving->request;
    bool hole = (request->io.mode & FILE_ALLOCATE_PUNCH_HOLE) != 0;
    fs_id id = id_given(serving);
    int error = serving->fs->operations->begin(serving->fs);

    if (error == 0)
        error = serving->fs->operations->allocate(serving->fs, id, request->io.offset,
                                                  request->io.length, request->io.mode);
    if (error == 0)
        error = node_reply(serving, id);
    if (error == 0 && hole)
        serving->punched_key = OM_KEY(serving->number, id);
    if (error == 0 && request->io.mode == 0) {
        cut_begin(serving, id);
        serving->cut_size = serving->reply->attributes.size;
    }
    return error;
}

static int serve_fsync(struct serving *serving)
{
    return serving->fs->operations->sync(serving->fs);
}

/* Mounting ------------------------------------------------------------------------ */

static int serve_mount(struct serving *serving)
{
    struct om_mount *place = NULL;
    int error;

    if (serving->request->credentials.uid != 0)
        return -EPERM;
    error = first_walk(serving, WALK_FOLLOW);
    if (error != 0 || left(serving))
        return error;
    if (!S_ISDIR(serving->walk.attributes.mode))
        return -ENOTDIR;
    for (unsigned i = 0; i < OM_MOUNTS_MAX && place == NULL; i++)
        if (serving->om->mounts[i].at == 0)
            place = &serving->om->mounts[i];
    if (place == NULL)
        return -ENOSPC;
    error = serving->fs->operations->hold(serving->fs, serving->walk.at);
    if (error != 0)
        return error;
    place->at = OM_KEY(serving->number, serving->walk.at);
    place->node = serving->request->mount.node;
    return node_reply(serving, serving->walk.at);
}

static int serve_unmount(struct serving *serving)
{
    int error;

    if (serving->request->credentials.uid != 0)
        return -EPERM;
    error = first_walk(serving, WALK_FOLLOW | WALK_UNCROSSED);
    if (error != 0 || left(serving))
        return error;
    for (unsigned i = 0; i < OM_MOUNTS_MAX; i++) {
        struct om_mount *mount = &serving->om->mounts[i];

        if (mount->at != OM_KEY(serving->number, serving->walk.at))
            continue;
        serving->reply->node = mount->node;
        mount->at = 0;
        serving->fs->operations->release(serving->fs, serving->walk.at);
        return 0;
    }
    return -EINVAL;
}

/* "tmpfs,size=1048576,mode=1777" */
struct attach_options {
    char     type[16];
    bool     read_only;
    uint64_t size;
    uint32_t mode;
};

static int options_parse(const char *text, size_t length, struct attach_options *ret)
{
    char copy[256], *next = copy, *option;

    *ret = (struct attach_options){ .mode = 01777 };
    if (length >= sizeof copy)
        return -EINVAL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    option = strsep(&next, ",");
    if (strlen(option) >= sizeof ret->type)
        return -ENODEV;
    strcpy(ret->type, option);
    while ((option = strsep(&next, ",")) != NULL) {
        char *end = "";

        if (strcmp(option, "ro") == 0)
            ret->read_only = true;
        else if (strncmp(option, "size=", 5) == 0)
            ret->size = strtoull(option + 5, &end, 10);
        else if (strncmp(option, "mode=", 5) == 0)
            ret->mode = (uint32_t)strtoul(option + 5, &end, 8);
        else if (*option != '\0' && strcmp(option, "rw") != 0)
            return -EINVAL;
        if (*end != '\0')
            return -EINVAL;
    }
    return 0;
}

static int ext4_attach(struct om *om, const char *source, const struct attach_options *options,
                       struct fs **ret)
{
    struct blockdev *device = NULL;
    char why[256] = "";
    int error = om->world->device(om->world, source, &device);

    if (error != 0)
        return error;
    error = ext4_mount(device, options->read_only, om->cache_memory, ret, why, sizeof why);
    if (error != 0)
        fprintf(stderr, "%s cannot be mounted: %s\n", source, why);
    return error;
}

/* Without the lock of any file system, and with om's own for writing. */
static int serve_attach(struct serving *serving)
{
    const struct file_request *request = serving->request;
    struct attach_options options;
    char source[FILE_NAME_MAX + 1];
    struct fs *fs = NULL;
    int error;

    if (request->credentials.uid != 0)
        return -EPERM;
    if (request->path_length > FILE_NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(source, serving->call->body, request->path_length);
    source[request->path_length] = '\0';
    error = options_parse(second_of(serving), request->second_length, &options);
    if (error != 0)
        return error;
    if (strcmp(options.type, "tmpfs") == 0)
        error = tmpfs_mount(options.size != 0 ? options.size : serving->om->tmpfs_size,
                            options.mode, &fs);
    else if (strcmp(options.type, "ext4") == 0)
        error = ext4_attach(serving->om, source, &options, &fs);
    else
        error = -ENODEV;
    if (error == 0)
        error = om_add(serving->om, fs, 0);
    if (error != 0)
        return error;
    serving->reply->node = (struct file_node){ serving->om->port, OM_KEY(fs->number, fs->root) };
    return 0;
}

static int serve_detach(struct serving *serving)
{
    struct om *om = serving->om;
    uint32_t number = OM_KEY_SYSTEM(serving->request->key);
    struct fs *fs = om->systems[number];

    if (serving->request->credentials.uid != 0)
        return -EPERM;
    if (fs == NULL || number == 1)
        return -EINVAL;
    for (unsigned i = 0; i < OM_MOUNTS_MAX; i++)
        if (om->mounts[i].at != 0 && OM_KEY_SYSTEM(om->mounts[i].at) == number)
            return -EBUSY;
    pthread_mutex_lock(&fs->lock);
    if (fs->operations->is_busy(fs)) {
        pthread_mutex_unlock(&fs->lock);
        return -EBUSY;
    }
    pthread_mutex_unlock(&fs->lock);
    om->systems[number] = NULL;
    return fs->operations->unmount(fs);
}

/* Serving ------------------------------------------------------------------------- */

static handler *const handlers[FILE_OPERATION_END - FILE_STATFS] = {
    [FILE_STATFS - FILE_STATFS] = serve_statfs,
    [FILE_WALK - FILE_STATFS] = serve_walk,
    [FILE_GETATTR - FILE_STATFS] = serve_getattr,
    [FILE_SETATTR - FILE_STATFS] = serve_setattr,
    [FILE_OPEN - FILE_STATFS] = serve_open,
    [FILE_CREATE - FILE_STATFS] = serve_create,
    [FILE_CLOSE - FILE_STATFS] = serve_close,
    [FILE_MKDIR - FILE_STATFS] = serve_mkdir,
    [FILE_MKNOD - FILE_STATFS] = serve_mknod,
    [FILE_SYMLINK - FILE_STATFS] = serve_symlink,
    [FILE_READLINK - FILE_STATFS] = serve_readlink,
    [FILE_LINK - FILE_STATFS] = serve_link,
    [FILE_UNLINK - FILE_STATFS] = serve_unlink,
    [FILE_RMDIR - FILE_STATFS] = serve_rmdir,
    [FILE_RENAME - FILE_STATFS] = serve_rename,
    [FILE_READDIR - FILE_STATFS] = serve_readdir,
    [FILE_READ - FILE_STATFS] = serve_transfer,
    [FILE_WRITE - FILE_STATFS] = serve_transfer,
    [FILE_ALLOCATE - FILE_STATFS] = serve_allocate,
    [FILE_FSYNC - FILE_STATFS] = serve_fsync,
    [FILE_MOUNT - FILE_STATFS] = serve_mount,
    [FILE_UNMOUNT - FILE_STATFS] = serve_unmount,
    [FILE_ATTACH - FILE_STATFS] = serve_attach,
    [FILE_DETACH - FILE_STATFS] = serve_detach,
};

static int request_check(const struct om_call *call)
{
    const struct file_request *request = call->request;

    if ((size_t)request->path_length + request->second_length > call->body_size)
        return -EINVAL;
    if (request->credentials.group_count > FILE_GROUPS_MAX)
        return -EINVAL;
    if (request->path_length > FILE_PATH_MAX)
        return -ENAMETOOLONG;
    return 0;
}

/* Does the operation change nothing that would have to be undone? */
static bool only_looks(const struct file_request *request)
{
    switch (request->operation) {
    case FILE_STATFS:
    case FILE_WALK:
    case FILE_GETATTR:
    case FILE_READLINK:
    case FILE_READDIR:
        return true;
    case FILE_OPEN:
        return (request->open.access & (FILE_O_WRITE | FILE_O_TRUNCATE)) == 0;
    default:
        return false;
    }
}

/* What an operation that changes something will look at first: its names. */
static int names_look(struct serving *serving)
{
    struct file_attributes attributes;
    struct walk *second;
    fs_id id;
    int error = first_walk(serving, WALK_PARENT);

    if (error == 0 && !left(serving))
        error = name_lookup(&serving->walk, &id, &attributes);
    if (serving->request->operation != FILE_RENAME && serving->request->operation != FILE_LINK)
        return error;
    second = second_walk(serving, &error);
    if (second != NULL)
        error = name_lookup(second, &id, &attributes);
    free(second);
    return error;
}

static void reply_reset(struct serving *serving)
{
    memset(serving->reply, 0, sizeof *serving->reply);
    serving->call->reply_size = 0;
}

/* Looking does not wait for the disk with the lock held. One that changes something looks first, and
 * then finds what it needs in memory. */
static int handle_locked(struct serving *serving, handler *handle)
{
    const struct fs_operations *operations = serving->fs->operations;
    bool looks = only_looks(serving->request);
    int error = -EAGAIN;

    for (int tries = 0; operations->look != NULL && tries < 1000; tries++) {
        operations->look(serving->fs, true);
        error = looks ? handle(serving) : names_look(serving);
        operations->look(serving->fs, false);
        if (!operations->fetch(serving->fs))
            break;
        if (looks && error == 0)
            return 0;
        reply_reset(serving);
        error = -EAGAIN;
    }
    if (operations->look != NULL && looks && error != -EAGAIN)
        return error;
    reply_reset(serving);
    return handle(serving);
}

/* On one file system, under its lock. */
static int serve_node(struct serving *serving, handler *handle)
{
    uint64_t key = serving->request->key;
    int error;

    serving->number = key == FILE_ROOT_KEY ? 1 : OM_KEY_SYSTEM(key);
    serving->fs = serving->om->systems[serving->number];
    if (serving->fs == NULL)
        return serving->om->stopped ? -EIO : serving->number == 1 ? -ENODEV : -ESTALE;
    pthread_mutex_lock(&serving->fs->lock);
    error = handle_locked(serving, handle);
    pthread_mutex_unlock(&serving->fs->lock);
    return error;
}

static bool changes_systems(uint32_t operation)
{
    return operation == FILE_ATTACH || operation == FILE_DETACH || operation == FILE_MOUNT ||
           operation == FILE_UNMOUNT;
}

static int serve_locked(struct serving *serving)
{
    uint32_t operation = serving->request->operation;
    handler *handle = operation >= FILE_STATFS && operation < FILE_OPERATION_END
                          ? handlers[operation - FILE_STATFS] : NULL;
    int error;

    if (handle == NULL)
        return -ENOSYS;
    if (changes_systems(operation))
        pthread_rwlock_wrlock(&serving->om->lock);
    else
        pthread_rwlock_rdlock(&serving->om->lock);
    if (operation == FILE_ATTACH || operation == FILE_DETACH)
        error = serving->om->stopped ? -EIO : handle(serving);
    else
        error = serve_node(serving, handle);
    pthread_rwlock_unlock(&serving->om->lock);
    return error;
}

static int serve_all(struct serving *serving)
{
    struct om *om = serving->om;

    if (serving->request->operation == FILE_SHUTDOWN && serving->request->credentials.uid != 0)
        return -EPERM;
    om->world->flush(om->world);
    return serving->request->operation == FILE_SYNC ? om_sync(om) : om_stop(om);
}

/* What the Nucleus' caches have to know of a change. Without locks. */
static void caches_tell(struct serving *serving, int error)
{
    const struct file_request *request = serving->request;

    if (serving->cut_key != 0)
        om_cut_end(serving->om, serving->cut_key, error == 0 ? serving->cut_size : UINT64_MAX);
    if (serving->punched_key != 0)
        om_segment_zero(serving->om, serving->punched_key, request->io.offset, request->io.length);
    if (serving->om->lingering != 0)
        om_linger_end(serving->om);
}

/* A hole is punched where nobody writes meanwhile: blocks granted for writing are called back. */
static void hole_prepare(struct serving *serving)
{
    const struct file_request *request = serving->request;

    if (request->operation == FILE_ALLOCATE && (request->io.mode & FILE_ALLOCATE_PUNCH_HOLE) != 0)
        om_segment_recall(serving->om, request->key);
}

void om_serve(struct om *om, struct om_call *call)
{
    struct serving *serving = calloc(1, sizeof *serving);
    int error = serving == NULL ? -ENOMEM : request_check(call);

    memset(call->reply, 0, sizeof *call->reply);
    call->reply_size = 0;
    if (error == 0) {
        *serving = (struct serving){ .om = om, .call = call, .request = call->request,
                                     .reply = call->reply };
        hole_prepare(serving);
        if (call->request->operation == FILE_SYNC || call->request->operation == FILE_SHUTDOWN)
            error = serve_all(serving);
        else
            error = serve_locked(serving);
        caches_tell(serving, error);
    }
    free(serving);
    if (error != 0) {
        memset(call->reply, 0, sizeof *call->reply);
        call->reply->error = error;
        call->reply_size = 0;
    }
}

/* om ------------------------------------------------------------------------------ */

void om_init(struct om *om, struct om_world *world)
{
    memset(om, 0, sizeof *om);
    pthread_rwlock_init(&om->lock, NULL);
    pthread_mutex_init(&om->segments_lock, NULL);
    om->world = world;
    om->cache_memory = 8u << 20;
}

int om_add(struct om *om, struct fs *fs, uint32_t number)
{
    if (number == 0)
        for (number = 2; number < OM_SYSTEMS_MAX && om->systems[number] != NULL; number++)
            ;
    if (number >= OM_SYSTEMS_MAX || om->systems[number] != NULL) {
        fs->operations->unmount(fs);
        return -ENOSPC;
    }
    fs->number = number;
    om->systems[number] = fs;
    return 0;
}

int om_sync(struct om *om)
{
    int first = 0;

    pthread_rwlock_rdlock(&om->lock);
    for (unsigned i = 0; i < OM_SYSTEMS_MAX; i++) {
        struct fs *fs = om->systems[i];
        int error;

        if (fs == NULL)
            continue;
        pthread_mutex_lock(&fs->lock);
        error = fs->operations->sync(fs);
        pthread_mutex_unlock(&fs->lock);
        if (first == 0)
            first = error;
    }
    pthread_rwlock_unlock(&om->lock);
    return first;
}

bool om_is_changed(struct om *om)
{
    bool changed = false;

    pthread_rwlock_rdlock(&om->lock);
    for (unsigned i = 0; i < OM_SYSTEMS_MAX && !changed; i++) {
        struct fs *fs = om->systems[i];

        if (fs == NULL)
            continue;
        pthread_mutex_lock(&fs->lock);
        changed = fs->operations->is_changed(fs);
        pthread_mutex_unlock(&fs->lock);
    }
    pthread_rwlock_unlock(&om->lock);
    return changed;
}

int om_stop(struct om *om)
{
    int first = 0;

    pthread_rwlock_wrlock(&om->lock);
    om->stopped = true;
    for (unsigned i = OM_SYSTEMS_MAX - 1; i > 0; i--) {
        int error = om->systems[i] != NULL
                        ? om->systems[i]->operations->unmount(om->systems[i]) : 0;

        om->systems[i] = NULL;
        if (first == 0)
            first = error;
    }
    memset(om->mounts, 0, sizeof om->mounts);
    pthread_rwlock_unlock(&om->lock);
    return first;
}
