/* ext4 as a file system of om: the table of operations, and those that are only a step away from
 * what the other files do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ext4.h"

int ext4_broken(struct ext4 *ext4, int error, const char *doing)
{
    char why[96];

    snprintf(why, sizeof why, "%s went wrong half-way (%s)", doing, strerror(-error));
    journal_abort(&ext4->journal, why);
    return error;
}

static uint64_t free_now(struct ext4 *ext4)
{
    uint64_t free_blocks = ext2fs_free_blocks_count(ext4->e2->super);
    uint64_t pending = ext4->journal.freed_blocks + ext4->committing_freed;

    return free_blocks > pending ? free_blocks - pending : 0;
}

int ext4_room(struct ext4 *ext4, uint64_t blocks)
{
    for (int tries = 0; tries < 3; tries++) {
        int error;

        if (free_now(ext4) >= ext4->reserve + blocks)
            return 0;
        if (ext2fs_free_blocks_count(ext4->e2->super) < ext4->reserve + blocks)
            return -ENOSPC;
        error = journal_commit(&ext4->journal);     /* what was freed can be used then */
        if (error != 0)
            return error;
    }
    return -ENOSPC;
}

bool ext4_metadata_room(struct ext4 *ext4)
{
    return free_now(ext4) >= 8;
}

static int ext4_begin(struct fs *fs)
{
    struct ext4 *ext4 = ext4_of(fs);
    int error;

    if (fs->read_only)
        return -EROFS;
    ext4->journal.overhead = ext4->overhead + ext4->written_ranges;
    if (ext4->written_ranges > ext4->journal.transaction_max / 4)
        error = journal_commit(&ext4->journal);
    else
        error = journal_begin(&ext4->journal, 24);
    if (error == 0 && !ext4_metadata_room(ext4) && ext4->journal.freed_blocks != 0)
        error = journal_commit(&ext4->journal);
    return error;
}

static int ext4_sync(struct fs *fs)
{
    struct ext4 *ext4 = ext4_of(fs);

    return fs->read_only ? 0 : journal_sync(&ext4->journal);
}

static bool ext4_is_changed(struct fs *fs)
{
    struct ext4 *ext4 = ext4_of(fs);

    return !fs->read_only && !ext4->journal.aborted &&
           (ext4->cache->dirty_count != 0 || ext4->journal.freed.count != 0 ||
            ext4_state_is_changed(ext4));
}

static int ext4_statfs(struct fs *fs, struct file_statfs *ret)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext2_super_block *super = ext4->e2->super;
    uint64_t free_blocks = ext2fs_free_blocks_count(super), kept = ext2fs_r_blocks_count(super);
    uint64_t overhead = super->s_first_data_block +
                        (uint64_t)ext4->e2->group_desc_count * (ext4->e2->inode_blocks_per_group + 2);

    memset(ret, 0, sizeof *ret);
    if (kept < ext4->reserve)
        kept = ext4->reserve;
    ret->blocks = ext2fs_blocks_count(super) - overhead;
    ret->blocks_free = free_blocks;
    ret->blocks_available = free_blocks > kept ? free_blocks - kept : 0;
    ret->inodes = super->s_inodes_count;
    ret->inodes_free = super->s_free_inodes_count;
    memcpy(&ret->id, super->s_uuid, sizeof ret->id);
    ret->block_size = ext4->e2->blocksize;
    ret->type = EXT2_SUPER_MAGIC;
    ret->name_max = FILE_NAME_MAX;
    ret->flags = fs->read_only ? 1 : 0;
    return 0;
}

static void ext4_look(struct fs *fs, bool looking)
{
    ext4_of(fs)->cache->looking = looking;
}

/* What is read without the lock is put into the cache only if no commit or checkpoint was done
 * meanwhile: one of them might have made it old. */
bool ext4_fetch(struct fs *fs)
{
    struct ext4 *ext4 = ext4_of(fs);
    uint64_t number = ext4->cache->missed, written;
    uint32_t size = ext4->cache->block_size;
    uint8_t *data;
    int error;

    ext4->cache->missed = CACHE_NONE;
    if (number == CACHE_NONE)
        return false;
    data = malloc(size);
    if (data == NULL)
        return false;
    written = ext4->journal.commits + ext4->journal.checkpoints;
    pthread_mutex_unlock(&fs->lock);
    error = blockdev_read(ext4->device, number * size, data, size);
    pthread_mutex_lock(&fs->lock);
    if (error == 0 && written == ext4->journal.commits + ext4->journal.checkpoints)
        cache_insert(ext4->cache, number, data);
    free(data);
    return error == 0;
}

static int ext4_root(struct fs *fs, fs_id *ret)
{
    *ret = fs->root;
    return 0;
}

static int ext4_attributes(struct fs *fs, fs_id id, struct file_attributes *ret)
{
    struct ext4_inode inode;
    int error = ext4_inode_get(ext4_of(fs), id, &inode);

    if (error == 0)
        ext4_attributes_fill(ext4_of(fs), FS_ID_INODE(id), &inode, ret);
    return error;
}

static int directory_check(struct ext4 *ext4, fs_id id)
{
    struct ext4_inode inode;
    int error = ext4_inode_get(ext4, id, &inode);

    if (error != 0)
        return error;
    return LINUX_S_ISDIR(inode.large.i_mode) ? 0 : -ENOTDIR;
}

static int ext4_lookup(struct fs *fs, fs_id directory, const char *name, size_t length, fs_id *ret)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_inode inode;
    uint32_t number;
    int error = directory_check(ext4, directory);

    if (error == 0)
        error = ext4_dir_lookup(ext4, FS_ID_INODE(directory), name, length, &number);
    if (error == 0)
        error = ext4_inode_read(ext4, number, &inode);
    if (error == 0)
        *ret = ext4_id(number, &inode);
    return error;
}

static int ext4_parent(struct fs *fs, fs_id directory, fs_id *ret)
{
    return ext4_lookup(fs, directory, "..", 2, ret);
}

static int ext4_readdir(struct fs *fs, fs_id directory, uint64_t cookie, void *buffer, size_t room,
                        size_t *ret_used)
{
    int error = directory_check(ext4_of(fs), directory);

    if (error != 0)
        return error;
    return ext4_dir_read(ext4_of(fs), FS_ID_INODE(directory), cookie, buffer, room, ret_used);
}

static int ext4_hold(struct fs *fs, fs_id id)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_inode inode;
    struct ext4_node *node;
    int error = ext4_inode_get(ext4, id, &inode);

    if (error != 0)
        return error;
    node = ext4_node_get(ext4, FS_ID_INODE(id), EXT2_I_SIZE(SMALL(&inode)));
    if (node == NULL)
        return -ENOMEM;
    node->holds++;
    return 0;
}

static void ext4_release(struct fs *fs, fs_id id)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_node *node = ext4_node_find(ext4, FS_ID_INODE(id));
    struct ext4_inode inode;

    ext4->cache->looking = false;       /* it must not fail */
    if (node == NULL || node->holds == 0 || ext4_inode_get(ext4, id, &inode) != 0)
        return;
    if (--node->holds > 0)
        return;
    if (inode.large.i_links_count == 0 && !fs->read_only)
        ext4_inode_reap(ext4, FS_ID_INODE(id));
    else
        ext4_node_put(ext4, node);
}

static bool ext4_is_busy(struct fs *fs)
{
    struct ext4 *ext4 = ext4_of(fs);

    for (unsigned i = 0; i < EXT4_NODE_BUCKETS; i++)
        for (struct ext4_node *node = ext4->nodes[i]; node != NULL; node = node->next)
            if (node->holds > 0)
                return true;
    return false;
}

static uint32_t ext4_holds(struct fs *fs, fs_id id)
{
    struct ext4_node *node = ext4_node_find(ext4_of(fs), FS_ID_INODE(id));

    return node != NULL ? node->holds : 0;
}

/* An inode on the orphan list: if the site is lost it goes at the next mount. */
static int ext4_temporary(struct fs *fs, fs_id *ret)
{
    const struct fs_new file = { .mode = LINUX_S_IFREG | 0600 };
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_inode inode;
    struct ext4_node *node;
    uint32_t number;
    int error = ext4_inode_new(ext4, EXT2_ROOT_INO, &file, &number, &inode);

    if (error != 0)
        return error;
    node = ext4_node_get(ext4, number, 0);
    inode.large.i_links_count = 0;
    error = node == NULL ? -ENOMEM : ext4_orphan_add(ext4, number, &inode);
    if (error != 0) {
        ext4_inode_discard(ext4, number, &inode);
        return error;
    }
    node->holds++;
    *ret = ext4_id(number, &inode);
    return 0;
}

static void change_apply(struct ext4 *ext4, struct ext4_inode *inode, const struct fs_change *change)
{
    struct ext2_inode_large *large = &inode->large;

    if ((change->valid & FILE_SET_MODE) != 0)
        large->i_mode = (uint16_t)((large->i_mode & LINUX_S_IFMT) | (change->mode & 07777));
    if ((change->valid & FILE_SET_UID) != 0) {
        large->i_uid = (uint16_t)change->uid;
        ext2fs_set_i_uid_high(*large, change->uid >> 16);
    }
    if ((change->valid & FILE_SET_GID) != 0) {
        large->i_gid = (uint16_t)change->gid;
        ext2fs_set_i_gid_high(*large, change->gid >> 16);
    }
    if ((change->valid & FILE_SET_ATIME) != 0)
        ext4_time_set(ext4, inode, EXT4_ATIME, change->atime);
    if ((change->valid & FILE_SET_MTIME) != 0)
        ext4_time_set(ext4, inode, EXT4_MTIME, change->mtime);
    ext4_time_set(ext4, inode, EXT4_CTIME, ext4_now(ext4));
}

static int ext4_change(struct fs *fs, fs_id id, const struct fs_change *change)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_inode inode;
    int error = ext4_inode_get(ext4, id, &inode);

    if (error == 0 && (change->valid & FILE_SET_SIZE) != 0) {
        if (!LINUX_S_ISREG(inode.large.i_mode))
            return LINUX_S_ISDIR(inode.large.i_mode) ? -EISDIR : -EINVAL;
        error = ext4_resize(ext4, FS_ID_INODE(id), change->size);
        if (error == 0)
            error = ext4_inode_get(ext4, id, &inode);
    }
    if (error != 0)
        return error;
    change_apply(ext4, &inode, change);
    return ext4_inode_write(ext4, FS_ID_INODE(id), &inode);
}

const struct fs_operations ext4_operations = {
    .name = "ext4",
    .begin = ext4_begin,
    .look = ext4_look,
    .fetch = ext4_fetch,
    .root = ext4_root,
    .attributes = ext4_attributes,
    .lookup = ext4_lookup,
    .parent = ext4_parent,
    .readdir = ext4_readdir,
    .readlink = ext4_readlink,
    .change = ext4_change,
    .create = ext4_create,
    .link = ext4_link,
    .unlink = ext4_unlink,
    .rmdir = ext4_rmdir,
    .rename = ext4_rename,
    .hold = ext4_hold,
    .release = ext4_release,
    .is_busy = ext4_is_busy,
    .holds = ext4_holds,
    .temporary = ext4_temporary,
    .pull = ext4_pull, .is_direct = ext4_is_direct, .pull_pages = ext4_pull_pages, .push_pages = ext4_push_pages,
    .prepare = ext4_prepare,
    .push = ext4_push,
    .allocate = ext4_allocate,
    .settle = ext4_settle,
    .unsettled = ext4_unsettled,
    .settle_recalled = ext4_settle_recalled,
    .sync = ext4_sync,
    .is_changed = ext4_is_changed,
    .statfs = ext4_statfs,
    .rest = ext4_rest,
    .hand_over = ext4_hand_over,
    .unmount = ext4_unmount,
};
