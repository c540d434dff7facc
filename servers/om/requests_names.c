/* The file protocol: making, removing and changing names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "requests.h"

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

int serve_mkdir(struct serving *serving)
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

int serve_mknod(struct serving *serving)
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

int serve_symlink(struct serving *serving)
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

int serve_link(struct serving *serving)
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

int serve_unlink(struct serving *serving)
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

int serve_rmdir(struct serving *serving)
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

int serve_rename(struct serving *serving)
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
    lease_change(serving->om, serving->number, FS_ID_INODE(to->at));
    free(to);
    return error;
}
