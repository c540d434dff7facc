/* Operations on names of ext4: each is one transaction's worth of changes.
 *
 * What can fail for want of space or for what it finds comes first; what follows cannot be
 * refused any more, and if it fails nevertheless (the disk is broken) the journal is aborted, so
 * that the half of an operation never reaches the disk.
 */
#include <errno.h>
#include <string.h>

#include "ext4.h"

#define LINKS_MAX 65000u

static int inode_of(struct ext4 *ext4, uint32_t directory, const char *name, size_t length,
                    uint32_t *ret_number, struct ext4_inode *ret)
{
    int error = ext4_dir_lookup(ext4, directory, name, length, ret_number);

    return error != 0 ? error : ext4_inode_read(ext4, *ret_number, ret);
}

static int directory_get(struct ext4 *ext4, fs_id id, struct ext4_inode *ret)
{
    int error = ext4_inode_get(ext4, id, ret);

    if (error != 0)
        return error;
    if (!LINUX_S_ISDIR(ret->large.i_mode))
        return -ENOTDIR;
    return ret->large.i_links_count != 0 ? 0 : -ENOENT;
}

static bool is_directory(const struct ext4_inode *inode)
{
    return LINUX_S_ISDIR(inode->large.i_mode);
}

/* The directory's times, and its count of links changed by `links`. */
static int directory_touch(struct ext4 *ext4, uint32_t number, int links)
{
    struct ext4_inode inode;
    int error = ext4_inode_read(ext4, number, &inode);

    if (error != 0)
        return error;
    ext4_time_set(ext4, &inode, EXT4_MTIME | EXT4_CTIME, ext4_now(ext4));
    if (inode.large.i_links_count != 1) {       /* 1: too many to count (dir_nlink) */
        uint32_t count = inode.large.i_links_count + (uint32_t)links;

        inode.large.i_links_count = count > LINKS_MAX ? 1 : (uint16_t)count;
    }
    return ext4_inode_write(ext4, number, &inode);
}

static int links_room(struct ext4 *ext4, const struct ext4_inode *directory)
{
    if (directory->large.i_links_count < LINKS_MAX)
        return 0;
    return ext2fs_has_feature_dir_nlink(ext4->e2->super) ? 0 : -EMLINK;
}

/* One name less for an inode. Without any, it goes on the orphan list: *ret_gone. */
static int name_lost(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode, bool *ret_gone)
{
    ext4_time_set(ext4, inode, EXT4_CTIME, ext4_now(ext4));
    if (is_directory(inode) || inode->large.i_links_count <= 1)
        inode->large.i_links_count = 0;
    else
        inode->large.i_links_count--;
    *ret_gone = inode->large.i_links_count == 0;
    if (*ret_gone)
        return ext4_orphan_add(ext4, number, inode);
    return ext4_inode_write(ext4, number, inode);
}

/* Nobody holds it any more: away with it. A failure leaves it to the next mount. */
static void reap_if_free(struct ext4 *ext4, uint32_t number)
{
    struct ext4_node *node = ext4_node_find(ext4, number);

    if (node == NULL || node->holds == 0)
        ext4_inode_reap(ext4, number);
}

/* Creating ------------------------------------------------------------------------ */

/* A block for a new directory or a long link, given to the inode as its first. */
static int first_block(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode, blk64_t *ret)
{
    ext2_filsys e2 = ext4->e2;
    blk64_t goal = ext2fs_find_inode_goal(e2, number, SMALL(inode), 0);
    errcode_t code = ext2fs_new_block2(e2, goal, NULL, ret);

    if (code != 0)
        return ext4_error(code);
    if ((inode->large.i_flags & EXT4_EXTENTS_FL) != 0) {
        ext2_extent_handle_t handle;

        code = ext2fs_extent_open2(e2, number, SMALL(inode), &handle);
        if (code == 0) {
            code = ext2fs_extent_set_bmap(handle, 0, *ret, 0);
            ext2fs_extent_free(handle);
        }
    } else {
        inode->large.i_block[0] = (uint32_t)*ret;
    }
    if (code != 0)
        return ext4_error(code);
    ext2fs_block_alloc_stats2(e2, *ret, +1);
    ext2fs_iblk_set(e2, SMALL(inode), 1);
    inode->large.i_size = e2->blocksize;
    return 0;
}

static int directory_fill(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode,
                          uint32_t parent)
{
    char *block = NULL;
    blk64_t where = 0;
    errcode_t code;
    int error = first_block(ext4, number, inode, &where);

    if (error != 0)
        return error;
    inode->large.i_links_count = 2;
    code = ext2fs_new_dir_block(ext4->e2, number, parent, &block);
    if (code == 0)
        code = ext2fs_write_dir_block4(ext4->e2, where, block, 0, number);
    ext2fs_free_mem(&block);
    return code != 0 ? ext4_error(code) : ext4_inode_write(ext4, number, inode);
}

static int symlink_fill(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode,
                        const struct fs_new *new_node)
{
    uint32_t size = ext4->e2->blocksize;
    uint8_t block[4096] = { 0 };
    blk64_t where = 0;
    int error;

    if (new_node->link_length >= size)
        return -ENAMETOOLONG;
    if (new_node->link_length < sizeof inode->large.i_block) {
        memcpy(inode->large.i_block, new_node->link, new_node->link_length);
    } else {
        if (ext2fs_has_feature_extents(ext4->e2->super))
            inode->large.i_flags |= EXT4_EXTENTS_FL;
        error = first_block(ext4, number, inode, &where);
        if (error != 0)
            return error;
        memcpy(block, new_node->link, new_node->link_length);
        error = ext4_error(io_channel_write_blk64(ext4->e2->io, where, 1, block));
        if (error != 0)
            return error;
    }
    inode->large.i_size = (uint32_t)new_node->link_length;
    return ext4_inode_write(ext4, number, inode);
}

static int content_fill(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode,
                        uint32_t parent, const struct fs_new *new_node)
{
    if (LINUX_S_ISDIR(new_node->mode))
        return directory_fill(ext4, number, inode, parent);
    if (LINUX_S_ISLNK(new_node->mode))
        return symlink_fill(ext4, number, inode, new_node);
    return 0;
}

/* Take back an inode that got no name, with its one block if it has one. */
static void creation_undo(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode)
{
    if (ext2fs_inode_has_valid_blocks2(ext4->e2, SMALL(inode)))
        ext2fs_punch(ext4->e2, number, SMALL(inode), NULL, 0, ~0ull);
    ext4_inode_discard(ext4, number, inode);
}

int ext4_create(struct fs *fs, fs_id directory, const char *name, size_t length,
                const struct fs_new *new_node, fs_id *ret)
{
    struct ext4 *ext4 = ext4_of(fs);
    uint32_t parent = FS_ID_INODE(directory), number;
    struct ext4_inode parent_inode, inode;
    int error = directory_get(ext4, directory, &parent_inode);

    if (error == 0 && ext4_dir_lookup(ext4, parent, name, length, &number) != -ENOENT)
        error = -EEXIST;
    if (error == 0 && LINUX_S_ISDIR(new_node->mode))
        error = links_room(ext4, &parent_inode);
    if (error == 0 && LINUX_S_ISLNK(new_node->mode) && new_node->link_length >= ext4->e2->blocksize)
        error = -ENAMETOOLONG;
    if (error == 0)
        error = ext4_inode_new(ext4, parent, new_node, &number, &inode);
    if (error != 0)
        return error;
    error = content_fill(ext4, number, &inode, parent, new_node);
    if (error == 0)
        error = ext4_dir_add(ext4, parent, name, length, number, new_node->mode);
    if (error != 0) {
        creation_undo(ext4, number, &inode);
        return error;
    }
    error = directory_touch(ext4, parent, LINUX_S_ISDIR(new_node->mode) ? 1 : 0);
    if (error != 0)
        return ext4_broken(ext4, error, "creating a file");
    *ret = ext4_id(number, &inode);
    return 0;
}

int ext4_link(struct fs *fs, fs_id id, fs_id directory, const char *name, size_t length)
{
    struct ext4 *ext4 = ext4_of(fs);
    uint32_t parent = FS_ID_INODE(directory), number = FS_ID_INODE(id), other;
    struct ext4_inode parent_inode, inode;
    int error = directory_get(ext4, directory, &parent_inode);

    if (error == 0)
        error = ext4_inode_get(ext4, id, &inode);
    if (error != 0)
        return error;
    if (is_directory(&inode))
        return -EPERM;
    if (inode.large.i_links_count == 0)
        return -ENOENT;
    if (inode.large.i_links_count >= LINKS_MAX)
        return -EMLINK;
    if (ext4_dir_lookup(ext4, parent, name, length, &other) != -ENOENT)
        return -EEXIST;
    error = ext4_dir_add(ext4, parent, name, length, number, inode.large.i_mode);
    if (error != 0)
        return error;
    inode.large.i_links_count++;
    ext4_time_set(ext4, &inode, EXT4_CTIME, ext4_now(ext4));
    error = ext4_inode_write(ext4, number, &inode);
    if (error == 0)
        error = directory_touch(ext4, parent, 0);
    return error == 0 ? 0 : ext4_broken(ext4, error, "linking a file");
}

/* Removing ------------------------------------------------------------------------ */

/* Take a name away whose inode has been looked at. */
static int name_remove(struct ext4 *ext4, uint32_t parent, const char *name, size_t length,
                       uint32_t number, struct ext4_inode *inode)
{
    bool gone = false, directory = is_directory(inode);
    int error = ext4_dir_remove(ext4, parent, name, length);

    if (error != 0)
        return error;
    error = name_lost(ext4, number, inode, &gone);
    if (error == 0)
        error = directory_touch(ext4, parent, directory ? -1 : 0);
    if (error != 0)
        return ext4_broken(ext4, error, "removing a name");
    if (directory)
        ext4_dir_forget(ext4, number);
    if (gone)
        reap_if_free(ext4, number);
    return 0;
}

int ext4_unlink(struct fs *fs, fs_id directory, const char *name, size_t length)
{
    struct ext4 *ext4 = ext4_of(fs);
    uint32_t parent = FS_ID_INODE(directory), number;
    struct ext4_inode parent_inode, inode;
    int error = directory_get(ext4, directory, &parent_inode);

    if (error == 0)
        error = inode_of(ext4, parent, name, length, &number, &inode);
    if (error != 0)
        return error;
    if (is_directory(&inode))
        return -EISDIR;
    return name_remove(ext4, parent, name, length, number, &inode);
}

static int empty_check(struct ext4 *ext4, uint32_t number)
{
    int empty = ext4_dir_is_empty(ext4, number);

    return empty == 1 ? 0 : empty == 0 ? -ENOTEMPTY : empty;
}

int ext4_rmdir(struct fs *fs, fs_id directory, const char *name, size_t length)
{
    struct ext4 *ext4 = ext4_of(fs);
    uint32_t parent = FS_ID_INODE(directory), number;
    struct ext4_inode parent_inode, inode;
    int error = directory_get(ext4, directory, &parent_inode);

    if (error == 0)
        error = inode_of(ext4, parent, name, length, &number, &inode);
    if (error == 0 && !is_directory(&inode))
        error = -ENOTDIR;
    if (error == 0)
        error = empty_check(ext4, number);
    return error != 0 ? error : name_remove(ext4, parent, name, length, number, &inode);
}

/* Renaming ------------------------------------------------------------------------ */

/* One side of a rename. */
struct end {
    uint32_t directory;
    const char *name;
    size_t   length;
    bool     exists;
    uint32_t number;
    struct ext4_inode inode;
};

static int end_find(struct ext4 *ext4, fs_id directory, const char *name, size_t length,
                    struct end *ret)
{
    struct ext4_inode inode;
    int error = directory_get(ext4, directory, &inode);

    if (error != 0)
        return error;
    ret->directory = FS_ID_INODE(directory);
    ret->name = name;
    ret->length = length;
    error = inode_of(ext4, ret->directory, name, length, &ret->number, &ret->inode);
    ret->exists = error == 0;
    return error == -ENOENT ? 0 : error;
}

/* Is `number` the directory `inside`, or one of those above it? */
static int is_above(struct ext4 *ext4, uint32_t number, uint32_t inside)
{
    for (uint32_t steps = 0; steps < ext4->e2->super->s_inodes_count; steps++) {
        uint32_t parent;
        int error;

        if (inside == number)
            return 1;
        if (inside == EXT2_ROOT_INO)
            return 0;
        error = ext4_dir_lookup(ext4, inside, "..", 2, &parent);
        if (error != 0)
            return error;
        inside = parent;
    }
    return -EIO;
}

/* A directory must not come to lie inside itself. */
static int loop_check(struct ext4 *ext4, const struct end *moved, uint32_t to)
{
    int above = is_directory(&moved->inode) && moved->directory != to
                    ? is_above(ext4, moved->number, to) : 0;

    return above == 1 ? -EINVAL : above;
}

static int replace_check(struct ext4 *ext4, const struct end *from, const struct end *to)
{
    if (!to->exists)
        return 0;
    if (is_directory(&from->inode) && !is_directory(&to->inode))
        return -ENOTDIR;
    if (!is_directory(&from->inode) && is_directory(&to->inode))
        return -EISDIR;
    if (!is_directory(&to->inode))
        return 0;
    return empty_check(ext4, to->number);
}

static int rename_check(struct ext4 *ext4, const struct end *from, const struct end *to,
                        uint32_t flags)
{
    int error;

    if (!from->exists)
        return -ENOENT;
    if ((flags & FILE_RENAME_NOREPLACE) != 0 && to->exists)
        return -EEXIST;
    if ((flags & FILE_RENAME_EXCHANGE) != 0 && !to->exists)
        return -ENOENT;
    error = loop_check(ext4, from, to->directory);
    if (error == 0 && (flags & FILE_RENAME_EXCHANGE) != 0)
        return loop_check(ext4, to, from->directory);
    if (error == 0)
        error = replace_check(ext4, from, to);
    if (error == 0 && is_directory(&from->inode) && from->directory != to->directory &&
        !to->exists) {
        struct ext4_inode directory;

        error = ext4_inode_read(ext4, to->directory, &directory);
        if (error == 0)
            error = links_room(ext4, &directory);
    }
    return error;
}

/* A directory has a new parent. */
static int dots_set(struct ext4 *ext4, const struct end *moved, uint32_t parent)
{
    if (!is_directory(&moved->inode) || moved->directory == parent)
        return 0;
    return ext4_dir_replace(ext4, moved->number, "..", 2, parent, LINUX_S_IFDIR);
}

static int ctime_set(struct ext4 *ext4, uint32_t number)
{
    struct ext4_inode inode;
    int error = ext4_inode_read(ext4, number, &inode);

    if (error != 0)
        return error;
    ext4_time_set(ext4, &inode, EXT4_CTIME, ext4_now(ext4));
    return ext4_inode_write(ext4, number, &inode);
}

static int exchange(struct ext4 *ext4, struct end *from, struct end *to)
{
    int change = (int)is_directory(&to->inode) - (int)is_directory(&from->inode);
    int error = ext4_dir_replace(ext4, to->directory, to->name, to->length, from->number,
                                 from->inode.large.i_mode);

    if (error != 0)
        return error;
    if (from->directory == to->directory)
        change = 0;
    error = ext4_dir_replace(ext4, from->directory, from->name, from->length, to->number,
                             to->inode.large.i_mode);
    if (error == 0)
        error = dots_set(ext4, from, to->directory);
    if (error == 0)
        error = dots_set(ext4, to, from->directory);
    if (error == 0)
        error = directory_touch(ext4, from->directory, change);
    if (error == 0)
        error = directory_touch(ext4, to->directory, -change);
    if (error == 0)
        error = ctime_set(ext4, from->number);
    if (error == 0)
        error = ctime_set(ext4, to->number);
    return error == 0 ? 0 : ext4_broken(ext4, error, "exchanging two names");
}

/* The new name is there; the old one and what the new one named before go. */
static int rename_finish(struct ext4 *ext4, struct end *from, struct end *to, bool *ret_gone)
{
    bool directory = is_directory(&from->inode);
    int moved_in = directory && from->directory != to->directory ? 1 : 0;
    int lost = to->exists && is_directory(&to->inode) ? 1 : 0;
    int error = ext4_dir_remove(ext4, from->directory, from->name, from->length);

    if (error == 0)
        error = dots_set(ext4, from, to->directory);
    if (error == 0 && to->exists)
        error = name_lost(ext4, to->number, &to->inode, ret_gone);
    if (error == 0)
        error = directory_touch(ext4, from->directory, -moved_in);
    if (error == 0)
        error = directory_touch(ext4, to->directory, moved_in - lost);
    if (error == 0)
        error = ctime_set(ext4, from->number);
    return error;
}

int ext4_rename(struct fs *fs, fs_id from_directory, const char *from_name, size_t from_length,
                fs_id to_directory, const char *to_name, size_t to_length, uint32_t flags)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct end from, to;
    bool gone = false;
    int error = end_find(ext4, from_directory, from_name, from_length, &from);

    if (error == 0)
        error = end_find(ext4, to_directory, to_name, to_length, &to);
    if (error == 0)
        error = rename_check(ext4, &from, &to, flags);
    if (error != 0)
        return error;
    if (to.exists && to.number == from.number)
        return 0;               /* two names of one file: nothing happens */
    if ((flags & FILE_RENAME_EXCHANGE) != 0)
        return exchange(ext4, &from, &to);
    if (to.exists)
        error = ext4_dir_replace(ext4, to.directory, to_name, to_length, from.number,
                                 from.inode.large.i_mode);
    else
        error = ext4_dir_add(ext4, to.directory, to_name, to_length, from.number,
                             from.inode.large.i_mode);
    if (error != 0)
        return error;
    error = rename_finish(ext4, &from, &to, &gone);
    if (error != 0)
        return ext4_broken(ext4, error, "renaming a file");
    if (to.exists && is_directory(&to.inode))
        ext4_dir_forget(ext4, to.number);
    if (gone)
        reap_if_free(ext4, to.number);
    return 0;
}

/* Symbolic links ------------------------------------------------------------------ */

int ext4_readlink(struct fs *fs, fs_id id, char *buffer, size_t room, size_t *ret_length)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_inode inode;
    uint8_t block[4096];
    blk64_t where = 0;
    uint64_t size;
    int error = ext4_inode_get(ext4, id, &inode);

    if (error != 0)
        return error;
    if (!LINUX_S_ISLNK(inode.large.i_mode))
        return -EINVAL;
    size = EXT2_I_SIZE(SMALL(&inode));
    if (size == 0 || size >= ext4->e2->blocksize || size > room)
        return -EIO;
    *ret_length = size;
    if (ext2fs_is_fast_symlink(SMALL(&inode))) {
        memcpy(buffer, inode.large.i_block, size);
        return 0;
    }
    error = ext4_error(ext2fs_bmap2(ext4->e2, FS_ID_INODE(id), SMALL(&inode), NULL, 0, 0, NULL,
                                    &where));
    if (error == 0 && where == 0)
        error = -EIO;
    if (error == 0)
        error = ext4_error(io_channel_read_blk64(ext4->e2->io, where, 1, block));
    if (error == 0)
        memcpy(buffer, block, size);
    return error;
}
