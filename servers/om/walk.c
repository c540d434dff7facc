/* Walking a path inside one file system, as far as it goes; see protocol/file.h, Paths. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "om.h"

/* One component, cut off the rest. */
struct component {
    char  *name;
    size_t length;
    char  *after;               /* what follows, without slashes before it */
    size_t after_length;
    bool   last;
    bool   slash;               /* a slash followed it */
};

static struct component component_cut(const struct walk *walk)
{
    struct component ret = { .name = walk->rest };
    size_t end;

    while (ret.length < walk->rest_length && walk->rest[ret.length] != '/')
        ret.length++;
    for (end = ret.length; end < walk->rest_length && walk->rest[end] == '/'; end++)
        ;
    ret.slash = end > ret.length;
    ret.after = walk->rest + end;
    ret.after_length = walk->rest_length - end;
    ret.last = ret.after_length == 0;
    return ret;
}

static bool is_name(const struct component *component, const char *name)
{
    return component->length == strlen(name) && memcmp(component->name, name, component->length) == 0;
}

/* The walk ends here for us: the caller goes on elsewhere with what follows. */
static int leave(struct walk *walk, enum file_outcome outcome, struct file_node next,
                 const struct component *component)
{
    static char dot[] = ".";    /* "x/" means "x/.": what it names must be a directory */

    walk->outcome = outcome;
    walk->next = next;
    walk->rest = component->last && component->slash ? dot : component->after;
    walk->rest_length = component->last && component->slash ? 1 : component->after_length;
    return 0;
}

static struct file_node node_here(const struct walk *walk)
{
    return (struct file_node){ walk->om->port, OM_KEY(walk->number, walk->at) };
}

/* A link in the way: its text, then the rest, from the directory that we are in. */
static int link_enter(struct walk *walk, fs_id id, const struct component *component)
{
    size_t length, tail = component->after_length;
    int error;

    if (++walk->links > FILE_LINKS_MAX)
        return -ELOOP;
    error = walk->fs->operations->readlink(walk->fs, id, walk->text, FILE_PATH_MAX, &length);
    if (error != 0)
        return error;
    if (length == 0)
        return -ENOENT;
    if (!walk->follow_inside || walk->text[0] == '/') {
        walk->text_length = length;
        return leave(walk, FILE_AT_SYMLINK, node_here(walk), component);
    }
    if (length + 1 + tail > FILE_PATH_MAX)
        return -ENAMETOOLONG;
    memmove(walk->buffer + length + 1, component->after, tail);
    memcpy(walk->buffer, walk->text, length);
    if (component->slash)
        walk->buffer[length] = '/';
    walk->rest = walk->buffer;
    walk->rest_length = length + (component->slash ? 1 + tail : 0);
    return 0;
}

static int dots_enter(struct walk *walk, const struct component *component)
{
    struct component whole = *component;

    if (walk->at == walk->root)
        return 0;
    if (walk->at == walk->fs->root) {
        whole.after = component->name;      /* the ".." belongs to the rest */
        whole.after_length = walk->rest_length;
        whole.last = false;
        return leave(walk, FILE_AT_PARENT, node_here(walk), &whole);
    }
    int error = walk->fs->operations->parent(walk->fs, walk->at, &walk->at);

    lease_look(&walk->looked, walk->number, FS_ID_INODE(walk->at));
    return error;
}

static const struct om_mount *mount_at(const struct walk *walk, fs_id id)
{
    uint64_t key = OM_KEY(walk->number, id);

    for (unsigned i = 0; i < OM_MOUNTS_MAX; i++)
        if (walk->om->mounts[i].at == key)
            return &walk->om->mounts[i];
    return NULL;
}

/* Is the walk done with its component, or did it leave? Enters the node of that name. */
static int name_enter(struct walk *walk, const struct component *component)
{
    bool follow = !component->last || component->slash || (walk->flags & WALK_FOLLOW) != 0;
    struct file_attributes attributes;
    const struct om_mount *mount;
    fs_id id;
    int error = walk->fs->operations->lookup(walk->fs, walk->at, component->name,
                                             component->length, &id);

    if (error == 0)
        error = walk->fs->operations->attributes(walk->fs, id, &attributes);
    if (error != 0)
        return error;
    lease_look(&walk->looked, walk->number, FS_ID_INODE(id));
    if (S_ISLNK(attributes.mode) && follow)
        return link_enter(walk, id, component);
    mount = mount_at(walk, id);
    if (mount != NULL && !(component->last && (walk->flags & WALK_UNCROSSED) != 0))
        return leave(walk, FILE_AT_MOUNT, mount->node, component);
    walk->at = id;
    walk->attributes = attributes;
    walk->rest = component->after;
    walk->rest_length = component->after_length;
    return 0;
}

/* One component further. *ret_done: the walk has come to its end. */
static int walk_step(struct walk *walk, bool *ret_done)
{
    struct component component = component_cut(walk);
    const char *before = walk->rest;
    int error;

    *ret_done = false;
    if (component.length > FILE_NAME_MAX)
        return -ENAMETOOLONG;
    if (!S_ISDIR(walk->attributes.mode))
        return -ENOTDIR;
    error = permission_check(&walk->attributes, walk->credentials, MAY_EXECUTE);
    if (error != 0)
        return error;
    if (component.last)
        walk->must_be_directory = component.slash;
    if (component.last && (walk->flags & WALK_PARENT) != 0) {
        walk->rest_length = component.length;
        *ret_done = true;
        return 0;
    }
    if (is_name(&component, ".") || is_name(&component, "..")) {
        error = is_name(&component, "..") ? dots_enter(walk, &component) : 0;
        if (error == 0 && walk->outcome == FILE_DONE && walk->rest == before) {
            walk->rest = component.after;
            walk->rest_length = component.after_length;
        }
        if (error == 0 && walk->outcome == FILE_DONE)
            error = walk->fs->operations->attributes(walk->fs, walk->at, &walk->attributes);
        return error;
    }
    return name_enter(walk, &component);
}

static int walk_loop(struct walk *walk)
{
    bool done = false;

    while (!done && walk->outcome == FILE_DONE && walk->rest_length != 0) {
        int error = walk_step(walk, &done);

        if (error != 0)
            return error;
    }
    if (walk->outcome == FILE_DONE && !done && walk->must_be_directory &&
        !S_ISDIR(walk->attributes.mode))
        return -ENOTDIR;
    return 0;
}

int walk_run(struct walk *walk, fs_id from, const char *path, size_t length)
{
    int error;

    if (length > FILE_PATH_MAX)
        return -ENAMETOOLONG;
    if (length != 0 && (path[0] == '/' || memchr(path, '\0', length) != NULL))
        return -EINVAL;
    memcpy(walk->buffer, path, length);
    walk->rest = walk->buffer;
    walk->rest_length = length;
    walk->at = from;
    walk->outcome = FILE_DONE;
    lease_look(&walk->looked, walk->number, FS_ID_INODE(from));
    error = walk->fs->operations->attributes(walk->fs, from, &walk->attributes);
    return error != 0 ? error : walk_loop(walk);
}

int walk_go_on(struct walk *walk, fs_id link)
{
    struct component component = { .name = walk->rest, .length = walk->rest_length, .last = true,
                                   .slash = walk->must_be_directory };
    int error;

    component.after = walk->rest + walk->rest_length;
    error = link_enter(walk, link, &component);
    return error != 0 || walk->outcome != FILE_DONE ? error : walk_loop(walk);
}
