/* tmpfs: a file system in memory.
 *
 * Nodes and names live here. The contents of a file live in its segment's pages, in the Nucleus;
 * only pages that are pushed out to us are kept here, in a sorted table for each file. A page
 * that was never pushed out reads as zero. Space is counted when it is prepared, page by page, so
 * that a full file system is noticed by the writer.
 *
 * A directory is a list in order of creation; an entry's cookie is a number that grows, so that
 * entries keep their place while others come and go. Names are found by a hash table over all
 * directories.
 */
#include "lease.h"
#include "tmpfs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int tmpfs_begin(struct fs *fs)
{
    return fs->read_only ? -EROFS : 0;
}

static int tmpfs_root(struct fs *fs, fs_id *ret)
{
    *ret = fs->root;
    return 0;
}

static int tmpfs_attributes(struct fs *fs, fs_id id, struct file_attributes *ret)
{
    const struct node *node = node_of(fs, id);

    if (node == NULL)
        return -ESTALE;
    *ret = node->attributes;
    ret->key = id;
    ret->inode = node->number;
    ret->links = node->links;
    ret->blocks = node->page_count * (PAGE / 512);
    ret->device = fs->number;
    ret->block_size = PAGE;
    if (type_of(node) == S_IFDIR)
        ret->size = node->entries * 20 + 40;
    return 0;
}

static int directory_of(struct fs *fs, fs_id id, struct node **ret)
{
    *ret = node_of(fs, id);
    if (*ret == NULL)
        return -ESTALE;
    return type_of(*ret) == S_IFDIR ? 0 : -ENOTDIR;
}

static int tmpfs_lookup(struct fs *fs, fs_id directory, const char *name, size_t length, fs_id *ret)
{
    struct node *node;
    struct entry *entry;
    int error = directory_of(fs, directory, &node);

    if (error != 0)
        return error;
    entry = entry_find(tmpfs_of(fs), node, name, length);
    if (entry == NULL)
        return -ENOENT;
    *ret = id_of(entry->node);
    return 0;
}

static int tmpfs_parent(struct fs *fs, fs_id directory, fs_id *ret)
{
    struct node *node;
    int error = directory_of(fs, directory, &node);

    if (error == 0)
        *ret = id_of(node->parent);
    return error;
}

static bool list_entry(uint8_t *buffer, size_t room, size_t *used, const struct node *node,
                       const char *name, size_t length, uint64_t cookie)
{
    size_t size = (offsetof(struct dirent64, d_name) + length + 1 + 7) & ~(size_t)7;
    struct dirent64 *entry = (void *)(buffer + *used);

    if (size > room - *used)
        return false;
    memset(entry, 0, size);
    entry->d_ino = node->number;
    entry->d_off = (int64_t)cookie;
    entry->d_reclen = (uint16_t)size;
    entry->d_type = (uint8_t)(type_of(node) >> 12);
    memcpy(entry->d_name, name, length);
    *used += size;
    return true;
}

static int tmpfs_readdir(struct fs *fs, fs_id directory, uint64_t cookie, void *buffer, size_t room,
                         size_t *ret_used)
{
    struct node *node;
    struct entry *entry;
    bool fits = true;
    int error = directory_of(fs, directory, &node);

    *ret_used = 0;
    if (error != 0)
        return error;
    if (cookie == 0)
        fits = list_entry(buffer, room, ret_used, node, ".", 1, 1);
    if (fits && cookie <= 1)
        fits = list_entry(buffer, room, ret_used, node->parent, "..", 2, FIRST_COOKIE);
    for (entry = node->first; fits && entry != NULL; entry = entry->next)
        if (entry->cookie >= cookie)
            fits = list_entry(buffer, room, ret_used, entry->node, entry->name, entry->length,
                              entry->cookie + 1);
    return !fits && *ret_used == 0 ? -EINVAL : 0;
}

static int tmpfs_readlink(struct fs *fs, fs_id id, char *buffer, size_t room, size_t *ret_length)
{
    const struct node *node = node_of(fs, id);

    if (node == NULL)
        return -ESTALE;
    if (node->link == NULL)
        return -EINVAL;
    *ret_length = node->attributes.size < room ? node->attributes.size : room;
    memcpy(buffer, node->link, *ret_length);
    return 0;
}

static void size_set(struct fs *fs, struct node *node, uint64_t size)
{
    if (size < node->attributes.size) {
        pages_free(tmpfs_of(fs), node, (size + PAGE - 1) / PAGE, UINT64_MAX);
        if (size % PAGE != 0)
            page_clear(tmpfs_of(fs), node, size, PAGE - size % PAGE);
    }
    node->attributes.size = size;
    touch(fs, node, TIME_MODIFY | TIME_CHANGE);
}

static int tmpfs_change(struct fs *fs, fs_id id, const struct fs_change *change)
{
    struct node *node = node_of(fs, id);
    struct file_attributes *attributes;

    if (node == NULL)
        return -ESTALE;
    attributes = &node->attributes;
    if ((change->valid & FILE_SET_SIZE) != 0) {
        if (type_of(node) != S_IFREG)
            return type_of(node) == S_IFDIR ? -EISDIR : -EINVAL;
        if (change->size > INT64_MAX - PAGE)
            return -EFBIG;
        size_set(fs, node, change->size);
    }
    if ((change->valid & FILE_SET_MODE) != 0)
        attributes->mode = type_of(node) | (change->mode & 07777);
    if ((change->valid & FILE_SET_UID) != 0)
        attributes->uid = change->uid;
    if ((change->valid & FILE_SET_GID) != 0)
        attributes->gid = change->gid;
    if ((change->valid & FILE_SET_ATIME) != 0) {
        attributes->atime = change->atime.seconds;
        attributes->atime_nanoseconds = change->atime.nanoseconds;
    }
    if ((change->valid & FILE_SET_MTIME) != 0) {
        attributes->mtime = change->mtime.seconds;
        attributes->mtime_nanoseconds = change->mtime.nanoseconds;
    }
    touch(fs, node, TIME_CHANGE);
    return 0;
}

/* A directory without a name takes no new ones. */
static int living_directory_of(struct fs *fs, fs_id id, struct node **ret)
{
    int error = directory_of(fs, id, ret);

    return error == 0 && (*ret)->links == 0 ? -ENOENT : error;
}

static int tmpfs_create(struct fs *fs, fs_id directory, const char *name, size_t length,
                        const struct fs_new *new_node, fs_id *ret)
{
    struct tmpfs *tmpfs = tmpfs_of(fs);
    struct node *parent, *node;
    int error = living_directory_of(fs, directory, &parent);

    if (error == 0 && entry_find(tmpfs, parent, name, length) != NULL)
        error = -EEXIST;
    if (error == 0)
        error = node_new(tmpfs, new_node, &node);
    if (error != 0)
        return error;
    error = entry_add(tmpfs, parent, name, length, node);
    if (error != 0) {
        node_free(tmpfs, node);
        return error;
    }
    if (type_of(node) == S_IFDIR) {
        node->parent = parent;
        parent->links++;
    }
    touch(fs, parent, TIME_MODIFY | TIME_CHANGE);
    *ret = id_of(node);
    return 0;
}

static int tmpfs_link(struct fs *fs, fs_id id, fs_id directory, const char *name, size_t length)
{
    struct tmpfs *tmpfs = tmpfs_of(fs);
    struct node *parent, *node = node_of(fs, id);
    int error = living_directory_of(fs, directory, &parent);

    if (error != 0 || node == NULL)
        return error != 0 ? error : -ESTALE;
    if (type_of(node) == S_IFDIR)
        return -EPERM;
    if (node->links == 0)
        return -ENOENT;
    if (entry_find(tmpfs, parent, name, length) != NULL)
        return -EEXIST;
    error = entry_add(tmpfs, parent, name, length, node);
    if (error != 0)
        return error;
    node->links++;
    touch(fs, node, TIME_CHANGE);
    touch(fs, parent, TIME_MODIFY | TIME_CHANGE);
    return 0;
}

/* The node of an entry that is going away has one name less. */
static void name_lost(struct fs *fs, struct node *parent, struct node *node)
{
    if (type_of(node) == S_IFDIR) {
        node->links = 0;
        parent->links--;
    } else {
        node->links--;
    }
    touch(fs, node, TIME_CHANGE);
    node_free_if_unused(tmpfs_of(fs), node);
}

static int name_remove(struct fs *fs, fs_id directory, const char *name, size_t length,
                       bool is_directory)
{
    struct node *parent, *node;
    struct entry *entry;
    int error = directory_of(fs, directory, &parent);

    if (error != 0)
        return error;
    entry = entry_find(tmpfs_of(fs), parent, name, length);
    if (entry == NULL)
        return -ENOENT;
    node = entry->node;
    if (is_directory != (type_of(node) == S_IFDIR))
        return is_directory ? -ENOTDIR : -EISDIR;
    if (is_directory && node->entries != 0)
        return -ENOTEMPTY;
    entry_remove(tmpfs_of(fs), entry);
    touch(fs, parent, TIME_MODIFY | TIME_CHANGE);
    name_lost(fs, parent, node);
    return 0;
}

static int tmpfs_unlink(struct fs *fs, fs_id directory, const char *name, size_t length)
{
    return name_remove(fs, directory, name, length, false);
}

static int tmpfs_rmdir(struct fs *fs, fs_id directory, const char *name, size_t length)
{
    return name_remove(fs, directory, name, length, true);
}

static bool is_above(const struct tmpfs *tmpfs, const struct node *above, const struct node *inside)
{
    const struct node *root = tmpfs->nodes[FS_ID_INODE(tmpfs->fs.root)];

    while (inside != above && inside != root)
        inside = inside->parent;
    return inside == above;
}

static int rename_check(struct fs *fs, const struct entry *from, const struct entry *to,
                        const struct node *to_directory, uint32_t flags)
{
    if (from == NULL || ((flags & FILE_RENAME_EXCHANGE) != 0 && to == NULL))
        return -ENOENT;
    if ((flags & FILE_RENAME_NOREPLACE) != 0 && to != NULL)
        return -EEXIST;
    if (type_of(from->node) == S_IFDIR && is_above(tmpfs_of(fs), from->node, to_directory))
        return -EINVAL;
    if (to == NULL)
        return 0;
    if ((flags & FILE_RENAME_EXCHANGE) != 0)
        return type_of(to->node) == S_IFDIR &&
               is_above(tmpfs_of(fs), to->node, from->directory) ? -EINVAL : 0;
    if ((type_of(from->node) == S_IFDIR) != (type_of(to->node) == S_IFDIR))
        return type_of(to->node) == S_IFDIR ? -EISDIR : -ENOTDIR;
    return type_of(to->node) == S_IFDIR && to->node->entries != 0 ? -ENOTEMPTY : 0;
}

/* A directory moved from one parent to another. */
static void parent_set(struct node *node, struct node *from, struct node *to)
{
    if (type_of(node) != S_IFDIR)
        return;
    node->parent = to;
    from->links--;
    to->links++;
}

static void exchange(struct entry *one, struct entry *other)
{
    struct node *node = one->node;

    parent_set(one->node, one->directory, other->directory);
    parent_set(other->node, other->directory, one->directory);
    one->node = other->node;
    other->node = node;
}

static int tmpfs_rename(struct fs *fs, fs_id from_id, const char *from_name, size_t from_length,
                        fs_id to_id, const char *to_name, size_t to_length, uint32_t flags)
{
    struct tmpfs *tmpfs = tmpfs_of(fs);
    struct node *from_directory, *to_directory, *moved, *lost = NULL;
    struct entry *from, *to;
    int error = directory_of(fs, from_id, &from_directory);

    if (error == 0)
        error = living_directory_of(fs, to_id, &to_directory);
    if (error != 0)
        return error;
    from = entry_find(tmpfs, from_directory, from_name, from_length);
    to = entry_find(tmpfs, to_directory, to_name, to_length);
    error = rename_check(fs, from, to, to_directory, flags);
    if (error != 0)
        return error;
    if (to != NULL && to->node == from->node)
        return 0;
    moved = from->node;
    if ((flags & FILE_RENAME_EXCHANGE) != 0) {
        exchange(from, to);
    } else if (to != NULL) {
        lost = to->node;
        to->node = moved;
    } else {
        error = entry_add(tmpfs, to_directory, to_name, to_length, moved);
        if (error != 0)
            return error;
    }
    if ((flags & FILE_RENAME_EXCHANGE) == 0) {
        parent_set(moved, from_directory, to_directory);
        entry_remove(tmpfs, from);
    }
    touch(fs, from_directory, TIME_MODIFY | TIME_CHANGE);
    touch(fs, to_directory, TIME_MODIFY | TIME_CHANGE);
    touch(fs, moved, TIME_CHANGE);
    if (lost != NULL)
        name_lost(fs, to_directory, lost);
    return 0;
}

static int tmpfs_hold(struct fs *fs, fs_id id)
{
    struct node *node = node_of(fs, id);

    if (node == NULL)
        return -ESTALE;
    node->holds++;
    return 0;
}

static void tmpfs_release(struct fs *fs, fs_id id)
{
    struct node *node = node_of(fs, id);

    if (node == NULL || node->holds == 0)
        return;
    node->holds--;
    node_free_if_unused(tmpfs_of(fs), node);
}

static bool tmpfs_is_busy(struct fs *fs)
{
    struct tmpfs *tmpfs = tmpfs_of(fs);

    for (uint32_t i = 0; i < tmpfs->node_room; i++)
        if (tmpfs->nodes[i] != NULL && tmpfs->nodes[i]->holds > 0)
            return true;
    return false;
}

static uint32_t tmpfs_holds(struct fs *fs, fs_id id)
{
    const struct node *node = node_of(fs, id);

    return node != NULL ? node->holds : 0;
}

static int tmpfs_temporary(struct fs *fs, fs_id *ret)
{
    const struct fs_new file = { .mode = S_IFREG | 0600 };
    struct node *node;
    int error = node_new(tmpfs_of(fs), &file, &node);

    if (error != 0)
        return error;
    node->links = 0;
    node->holds = 1;
    *ret = id_of(node);
    return 0;
}

static int file_of(struct fs *fs, fs_id id, struct node **ret)
{
    *ret = node_of(fs, id);
    if (*ret == NULL)
        return -ESTALE;
    if (type_of(*ret) == S_IFREG)
        return 0;
    return type_of(*ret) == S_IFDIR ? -EISDIR : -EINVAL;
}

static int tmpfs_pull(struct fs *fs, fs_id id, uint64_t offset, void *data, size_t length,
                      size_t *ret_length)
{
    struct node *node;
    int error = file_of(fs, id, &node);

    *ret_length = 0;
    if (error != 0 || offset >= node->attributes.size)
        return error;
    if (length > node->attributes.size - offset)
        length = (size_t)(node->attributes.size - offset);
    for (size_t done = 0, step; done < length; done += step) {
        uint64_t at = offset + done;
        size_t place = page_find(node, at / PAGE);
        uint8_t page[PAGE] = { 0 };

        step = PAGE - at % PAGE < length - done ? PAGE - at % PAGE : length - done;
        if (page_exists(node, place, at / PAGE))
            error = page_read(tmpfs_of(fs), &node->pages[place], page);
        if (error != 0)
            return error;
        memcpy((uint8_t *)data + done, page + at % PAGE, step);
    }
    *ret_length = length;
    return 0;
}

/* Count all pages of [first, end); what was counted stays when it fails half-way. */
static int pages_count(struct fs *fs, struct node *node, uint64_t first, uint64_t end)
{
    for (uint64_t index = first; index < end; index++) {
        size_t place = page_find(node, index);
        int error = page_exists(node, place, index) ? 0 : page_count_add(tmpfs_of(fs), node, place,
                                                                         index);

        if (error != 0)
            return error;
    }
    return 0;
}

static int tmpfs_prepare(struct fs *fs, fs_id id, uint64_t offset, uint64_t length, uint64_t size,
                         uint64_t *ret_end)
{
    struct node *node;
    int error = fs->read_only ? -EROFS : file_of(fs, id, &node);

    if (error != 0)
        return error;
    if (offset + length < offset || offset + length > INT64_MAX - PAGE)
        return -EFBIG;
    error = pages_count(fs, node, offset / PAGE, (offset + length + PAGE - 1) / PAGE);
    if (error != 0)
        return error;
    if (size > node->attributes.size)
        node->attributes.size = size;
    touch(fs, node, TIME_MODIFY | TIME_CHANGE);
    *ret_end = offset + length;
    return 0;
}

static int page_push(struct fs *fs, struct node *node, uint64_t offset, const uint8_t *data,
                     size_t length)
{
    size_t place = page_find(node, offset / PAGE);
    int error = 0;

    if (!page_exists(node, place, offset / PAGE))
        error = page_count_add(tmpfs_of(fs), node, place, offset / PAGE);
    if (error == 0)
        error = page_write(tmpfs_of(fs), &node->pages[place], offset % PAGE, data, length);
    return error;
}

static int tmpfs_push(struct fs *fs, fs_id id, uint64_t offset, const void *data, size_t length,
                      uint64_t size)
{
    struct node *node;
    int error = file_of(fs, id, &node);

    if (error != 0)
        return error;
    if (size > node->attributes.size)
        node->attributes.size = size;
    if (offset >= node->attributes.size)
        return 0;
    lease_change(fs->om, fs->number, node->number); /* it has more blocks */
    if (length > node->attributes.size - offset)
        length = (size_t)(node->attributes.size - offset);
    for (size_t done = 0, step; done < length && error == 0; done += step) {
        uint64_t at = offset + done;

        step = PAGE - at % PAGE < length - done ? PAGE - at % PAGE : length - done;
        error = page_push(fs, node, at, (const uint8_t *)data + done, step);
    }
    return error;
}

static void hole_punch(struct fs *fs, struct node *node, uint64_t offset, uint64_t end)
{
    uint64_t first = (offset + PAGE - 1) / PAGE, last = end / PAGE;

    if (first > last) {
        page_clear(tmpfs_of(fs), node, offset, end - offset);
        return;
    }
    page_clear(tmpfs_of(fs), node, offset, first * PAGE - offset);
    page_clear(tmpfs_of(fs), node, last * PAGE, end - last * PAGE);
    pages_free(tmpfs_of(fs), node, first, last);
}

static int tmpfs_allocate(struct fs *fs, fs_id id, uint64_t offset, uint64_t length, uint32_t mode)
{
    struct node *node;
    uint64_t end = offset + length;
    int error = file_of(fs, id, &node);

    if (error != 0)
        return error;
    if (length == 0 || end < offset)
        return -EINVAL;
    if (end > INT64_MAX - PAGE)
        return -EFBIG;
    if (mode == (FILE_ALLOCATE_PUNCH_HOLE | FILE_ALLOCATE_KEEP_SIZE)) {
        hole_punch(fs, node, offset, end);
        touch(fs, node, TIME_MODIFY | TIME_CHANGE);
        return 0;
    }
    if ((mode & ~FILE_ALLOCATE_KEEP_SIZE) != 0)
        return -EOPNOTSUPP;
    error = pages_count(fs, node, offset / PAGE, (end + PAGE - 1) / PAGE);
    if (error == 0 && mode == 0 && end > node->attributes.size)
        node->attributes.size = end;
    lease_change(fs->om, fs->number, node->number);
    return error;
}

static void tmpfs_settle(struct fs *fs, fs_id id)
{
    (void)fs, (void)id;
}

static int tmpfs_sync(struct fs *fs)
{
    (void)fs;
    return 0;
}

static bool tmpfs_is_changed(struct fs *fs)
{
    (void)fs;
    return false;
}

static int tmpfs_statfs(struct fs *fs, struct file_statfs *ret)
{
    struct tmpfs *tmpfs = tmpfs_of(fs);

    memset(ret, 0, sizeof *ret);
    ret->blocks = tmpfs->pages_max;
    ret->blocks_free = ret->blocks_available =
        tmpfs->pages_max > tmpfs->pages_used ? tmpfs->pages_max - tmpfs->pages_used : 0;
    ret->inodes = NODES_MAX;
    ret->inodes_free = NODES_MAX - tmpfs->node_count;
    ret->id = fs->number;
    ret->block_size = PAGE;
    ret->type = TMPFS_TYPE;
    ret->name_max = FILE_NAME_MAX;
    ret->flags = fs->read_only ? 1 : 0;
    return 0;
}

static int tmpfs_unmount(struct fs *fs)
{
    struct tmpfs *tmpfs = tmpfs_of(fs);

    for (uint32_t i = 0; i < tmpfs->bucket_count; i++)
        while (tmpfs->buckets[i] != NULL)
            entry_remove(tmpfs, tmpfs->buckets[i]);
    for (uint32_t i = 0; i < tmpfs->node_room; i++)
        if (tmpfs->nodes[i] != NULL)
            node_free(tmpfs, tmpfs->nodes[i]);
    free(tmpfs->nodes);
    free(tmpfs->buckets);
    pthread_mutex_destroy(&fs->lock);
    free(tmpfs);
    return 0;
}

static const struct fs_operations tmpfs_operations = {
    .name = "tmpfs",
    .begin = tmpfs_begin,
    .root = tmpfs_root,
    .attributes = tmpfs_attributes,
    .lookup = tmpfs_lookup,
    .parent = tmpfs_parent,
    .readdir = tmpfs_readdir,
    .readlink = tmpfs_readlink,
    .change = tmpfs_change,
    .create = tmpfs_create,
    .link = tmpfs_link,
    .unlink = tmpfs_unlink,
    .rmdir = tmpfs_rmdir,
    .rename = tmpfs_rename,
    .hold = tmpfs_hold,
    .release = tmpfs_release,
    .is_busy = tmpfs_is_busy,
    .holds = tmpfs_holds,
    .temporary = tmpfs_temporary,
    .pull = tmpfs_pull,
    .prepare = tmpfs_prepare,
    .push = tmpfs_push,
    .allocate = tmpfs_allocate,
    .settle = tmpfs_settle,
    .sync = tmpfs_sync,
    .is_changed = tmpfs_is_changed,
    .statfs = tmpfs_statfs,
    .rest = tmpfs_sync,
    .hand_over = tmpfs_hand_over,
    .unmount = tmpfs_unmount,
};

void tmpfs_use_store(struct fs *fs, struct fs_store *store, uint64_t pages)
{
    tmpfs_of(fs)->store = store;
    tmpfs_of(fs)->kept_max = pages;
}

/* Without a root. */
struct tmpfs *tmpfs_new(uint64_t size)
{
    struct tmpfs *tmpfs = calloc(1, sizeof *tmpfs);

    if (tmpfs == NULL)
        return NULL;
    tmpfs->fs.operations = &tmpfs_operations;
    tmpfs->fs.now = fs_clock;
    tmpfs->fs.in_memory = true;
    tmpfs->pages_max = (size + PAGE - 1) / PAGE;
    tmpfs->bucket_count = 64;
    tmpfs->buckets = calloc(tmpfs->bucket_count, sizeof *tmpfs->buckets);
    pthread_mutex_init(&tmpfs->fs.lock, NULL);
    if (tmpfs->buckets != NULL)
        return tmpfs;
    tmpfs_unmount(&tmpfs->fs);
    return NULL;
}

int tmpfs_mount(uint64_t size, uint32_t mode, struct fs **ret)
{
    const struct fs_new root = { .mode = S_IFDIR | (mode & 07777) };
    struct tmpfs *tmpfs = tmpfs_new(size);
    struct node *node;

    if (tmpfs == NULL)
        return -ENOMEM;
    if (node_new(tmpfs, &root, &node) != 0) {
        tmpfs_unmount(&tmpfs->fs);
        return -ENOMEM;
    }
    node->parent = node;
    tmpfs->fs.root = id_of(node);
    *ret = &tmpfs->fs;
    return 0;
}
