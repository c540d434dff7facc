/* The file protocol: looking at nodes, changing their attributes, opening and creating files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "requests.h"

/* Looking ------------------------------------------------------------------------- */

int serve_statfs(struct serving *serving)
{
    int error = first_walk(serving, 0);

    if (error != 0 || left(serving))
        return error;
    return serving->fs->operations->statfs(serving->fs, &serving->reply->statfs);
}

int serve_walk(struct serving *serving)
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

int serve_getattr(struct serving *serving)
{
    return node_reply(serving, id_given(serving));
}

int serve_readlink(struct serving *serving)
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

int serve_readdir(struct serving *serving)
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

int serve_setattr(struct serving *serving)
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
    if (serving->fs->operations->opened != NULL)
        error = serving->fs->operations->opened(serving->fs, serving->om, id, access);
    if (error != 0) {
        serving->fs->operations->release(serving->fs, id);
        return error;
    }
    if (!made && writes && S_ISREG(attributes->mode))
        error = privilege_drop(serving, attributes);
    if (error == 0 && !made && (access & FILE_O_TRUNCATE) != 0 && S_ISREG(attributes->mode))
        error = file_truncate(serving, id);
    if (error == 0 && writes && !made)
        error = node_reply(serving, id); /* it may have changed */
    else if (error == 0)
        attributes_reply(serving, attributes);
    if (error != 0) {
        serving->fs->operations->release(serving->fs, id);
        return error;
    }
    if (S_ISREG(attributes->mode) || (S_ISBLK(attributes->mode) && serving->fs->operations->opened != NULL))
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

int serve_open(struct serving *serving)
{
    int error = begin_if_writing(serving);

    if (error == 0)
        error = first_walk(serving, 0);
    if (error != 0 || left(serving))
        return error;
    error = open_check(serving, &serving->walk.attributes);
    return error != 0 ? error : node_open(serving, &serving->walk.attributes, false);
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

int serve_create(struct serving *serving)
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

int serve_close(struct serving *serving)
{
    const struct fs_operations *operations = serving->fs->operations;
    fs_id id = id_given(serving);

    if (operations->closed != NULL && operations->closed(serving->fs, id, serving->request->open.access))
        serving->idle_key = OM_KEY(serving->number, id);
    operations->release(serving->fs, id);
    om_segment_check(serving->om, serving->fs, OM_KEY(serving->number, id_given(serving)));
    return 0;
}
