/* The size of ext4's files, and blocks that are given back: truncation, deletion, holes.
 *
 * Many blocks are freed in steps, each a transaction's worth. Meanwhile the inode is on the
 * orphan list with its new size, so that whoever mounts the image after a crash goes on with it.
 */
#include <errno.h>
#include <string.h>

#include "ext4_map.h"

#define FREE_STEP_EXTENTS 32768u        /* blocks freed in one transaction */
#define FREE_STEP_BLOCKS  1024u         /* the same for files without extents */

/* The first block that no block of the file lies behind. */
static int blocks_end(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode, uint64_t *ret)
{
    struct ext2fs_extent extent;
    struct map map;
    errcode_t code;
    int error = map_open(ext4, number, inode, &map);

    *ret = 0;
    if (error != 0)
        return error;
    if (map.handle == NULL) {
        uint64_t per_block = block_size(ext4) / 4;

        *ret = blocks_for(ext4, EXT2_I_SIZE(SMALL(inode)));
        if (inode->large.i_block[EXT2_TIND_BLOCK] != 0)
            *ret = 12 + per_block + per_block * per_block + per_block * per_block * per_block;
        else if (inode->large.i_block[EXT2_DIND_BLOCK] != 0)
            *ret = 12 + per_block + per_block * per_block;
        else if (inode->large.i_block[EXT2_IND_BLOCK] != 0)
            *ret = 12 + per_block;
        else
            *ret = 12;
        return 0;
    }
    code = ext2fs_extent_get(map.handle, EXT2_EXTENT_ROOT, &extent);
    if (code == 0)
        code = ext2fs_extent_get(map.handle, EXT2_EXTENT_LAST_LEAF, &extent);
    if (code == 0)
        *ret = extent.e_lblk + extent.e_len;
    map_close(&map);
    return code == 0 || code == EXT2_ET_EXTENT_NO_NEXT || code == EXT2_ET_NO_CURRENT_NODE ||
           code == EXT2_ET_EXTENT_NO_DOWN ? 0 : ext4_error(code);
}

/* From the end backwards. Each step frees all that is left behind its start: libext2fs's punch
 * errs in files without extents when the range ends before the file does. */
int ext4_blocks_free(struct ext4 *ext4, uint32_t number, uint64_t first)
{
    uint64_t end = UINT64_MAX;

    while (end > first) {
        struct ext4_inode inode;
        uint64_t step, start;
        errcode_t code;
        int error = journal_begin(&ext4->journal, 48);

        if (error == 0)
            error = ext4_inode_read(ext4, number, &inode);
        if (error == 0 && end == UINT64_MAX)
            error = blocks_end(ext4, number, &inode, &end);
        if (error != 0)
            return error;
        if (end <= first)
            return 0;
        step = (inode.large.i_flags & EXT4_EXTENTS_FL) != 0 ? FREE_STEP_EXTENTS : FREE_STEP_BLOCKS;
        start = end - first > step ? end - step : first;
        code = ext2fs_punch(ext4->e2, number, SMALL(&inode), NULL, start, ~0ull);
        error = code == 0 ? ext4_inode_write(ext4, number, &inode) : ext4_error(code);
        if (error != 0)
            return ext4_broken(ext4, error, "freeing blocks");
        end = start;
    }
    return 0;
}

/* What is behind the new end in its last block must not come back when the file grows again. */
static int tail_clear(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode, uint64_t size)
{
    uint64_t logical = size / block_size(ext4), inside = size % block_size(ext4);
    uint8_t block[4096];
    struct run run;
    struct map map;
    int error;

    if (inside == 0)
        return 0;
    error = map_open(ext4, number, inode, &map);
    if (error == 0)
        error = map_run(&map, logical, logical + 1, &run);
    map_close(&map);
    if (error != 0 || run.physical == 0 || run.unwritten)
        return error;
    error = blockdev_read(ext4->device, run.physical * block_size(ext4), block, block_size(ext4));
    if (error != 0)
        return error;
    memset(block + inside, 0, block_size(ext4) - inside);
    return blockdev_write(ext4->device, run.physical * block_size(ext4), block, block_size(ext4));
}

static int shrink(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode, uint64_t size)
{
    int error = tail_clear(ext4, number, inode, size);

    if (error != 0)
        return error;
    ext2fs_inode_size_set(ext4->e2, SMALL(inode), (ext2_off64_t)size);
    error = ext4_orphan_add(ext4, number, inode);
    if (error == 0)
        error = ext4_blocks_free(ext4, number, blocks_for(ext4, size));
    if (error == 0)
        error = journal_begin(&ext4->journal, 24);
    if (error == 0)
        error = ext4_inode_read(ext4, number, inode);
    if (error == 0)
        error = ext4_orphan_remove(ext4, number, inode);
    return error;
}

/* A new size, and the times of a change. The node keeps transfers out. */
static int resize(struct ext4 *ext4, uint32_t number, struct ext4_node *node, uint64_t size)
{
    struct ext4_inode inode;
    bool named;
    int error = journal_begin(&ext4->journal, 32);

    if (error == 0)
        error = ext4_written_record(ext4, node);
    if (error == 0)
        error = ext4_inode_read(ext4, number, &inode);
    if (error == 0 && size > size_max(ext4, &inode))
        error = -EFBIG;
    if (error != 0)
        return error;
    named = inode.large.i_links_count != 0;     /* else it is an orphan already */
    if (size >= EXT2_I_SIZE(SMALL(&inode)) && size >= node->size) {
        ext2fs_inode_size_set(ext4->e2, SMALL(&inode), (ext2_off64_t)size);
    } else if (named) {
        error = shrink(ext4, number, &inode, size);
    } else {
        error = tail_clear(ext4, number, &inode, size);
        ext2fs_inode_size_set(ext4->e2, SMALL(&inode), (ext2_off64_t)size);
        if (error == 0)
            error = ext4_inode_write(ext4, number, &inode);
        if (error == 0)
            error = ext4_blocks_free(ext4, number, blocks_for(ext4, size));
        if (error == 0)
            error = ext4_inode_read(ext4, number, &inode);
    }
    if (error != 0)
        return error;
    node->size = size;
    node->speculative = node->ahead = false;
    ext4_time_set(ext4, &inode, EXT4_MTIME | EXT4_CTIME, ext4_now(ext4));
    return ext4_inode_write(ext4, number, &inode);
}

int ext4_resize(struct ext4 *ext4, uint32_t number, uint64_t size)
{
    struct ext4_inode inode;
    struct ext4_node *node;
    int error = ext4_inode_read(ext4, number, &inode);

    if (error != 0)
        return error;
    node = ext4_node_get(ext4, number, EXT2_I_SIZE(SMALL(&inode)));
    if (node == NULL)
        return -ENOMEM;
    ext4_node_resize_begin(ext4, node);
    error = resize(ext4, number, node, size);
    ext4_node_resize_end(ext4, node);
    ext4_node_put(ext4, node);
    return error;
}

/* What was written has arrived: blocks beyond are free again. No transfer is under way. */
static void blocks_settle(struct ext4 *ext4, struct ext4_node *node, fs_id id)
{
    struct ext4_inode inode;

    node->speculative = node->ahead = false;
    if (ext4_written_record(ext4, node) != 0 || ext4_inode_get(ext4, id, &inode) != 0)
        return;
    node->size = EXT2_I_SIZE(SMALL(&inode));
    ext4_blocks_free(ext4, node->inode, blocks_for(ext4, node->size));
}

void ext4_settle(struct fs *fs, fs_id id)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_node *node = ext4_node_find(ext4, FS_ID_INODE(id));

    if (node == NULL || !node->speculative || fs->read_only)
        return;
    ext4_node_resize_begin(ext4, node);
    blocks_settle(ext4, node, id);
    ext4_node_resize_end(ext4, node);
    ext4_node_put(ext4, node);
}

size_t ext4_unsettled(struct fs *fs, fs_id *ids, size_t most)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_inode inode;
    size_t count = 0;

    for (unsigned i = 0; i < EXT4_NODE_BUCKETS && !fs->read_only; i++)
        for (struct ext4_node *node = ext4->nodes[i]; node != NULL && count < most; node = node->next) {
            if (!node->ahead || ext4_inode_read(ext4, node->inode, &inode) != 0)
                continue;
            node->recalled = true;
            ids[count++] = ext4_id(node->inode, &inode);
        }
    return count;
}

void ext4_settle_recalled(struct fs *fs, fs_id id)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_node *node = ext4_node_find(ext4, FS_ID_INODE(id));

    if (node == NULL || !node->ahead || fs->read_only)
        return;
    ext4_node_resize_begin(ext4, node);
    if (node->recalled)     /* still: an access may have been under way */
        blocks_settle(ext4, node, id);
    ext4_node_resize_end(ext4, node);
    ext4_node_put(ext4, node);
}

/* fallocate ----------------------------------------------------------------------- */

/* Bytes inside blocks become zero; only where there is something. */
static int bytes_clear(struct ext4 *ext4, fs_id id, uint64_t offset, uint64_t length)
{
    static const uint8_t zeros[4096];
    struct ext4_inode inode;
    struct run run;
    struct map map;
    uint64_t logical = offset / block_size(ext4);
    int error = length == 0 ? -EALREADY : ext4_regular_get(ext4, id, &inode);

    if (error == 0)
        error = map_open(ext4, FS_ID_INODE(id), &inode, &map);
    if (error == 0) {
        error = map_run(&map, logical, logical + 1, &run);
        map_close(&map);
    }
    if (error != 0)
        return error == -EALREADY ? 0 : error;
    if (run.physical == 0 || run.unwritten)
        return 0;
    return ext4_bytes_write(ext4, id, offset, zeros, (size_t)length);
}

static int hole_punch(struct ext4 *ext4, fs_id id, uint64_t offset, uint64_t end)
{
    uint64_t size = block_size(ext4), first = (offset + size - 1) / size, last = end / size;
    int error = 0;

    if (first > last)           /* inside one block */
        return bytes_clear(ext4, id, offset, end - offset);
    error = bytes_clear(ext4, id, offset, first * size - offset);
    if (error == 0)
        error = bytes_clear(ext4, id, last * size, end - last * size);
    while (error == 0 && first < last) {
        uint64_t upto = last - first > FREE_STEP_BLOCKS ? first + FREE_STEP_BLOCKS : last;
        struct ext4_inode inode;

        error = journal_begin(&ext4->journal, 48);
        if (error == 0)
            error = ext4_regular_get(ext4, id, &inode);
        if (error != 0)
            return error;
        error = ext4_error(ext2fs_punch(ext4->e2, FS_ID_INODE(id), SMALL(&inode), NULL, first,
                                        upto - 1));
        if (error == 0)
            error = ext4_inode_write(ext4, FS_ID_INODE(id), &inode);
        if (error != 0)
            return ext4_broken(ext4, error, "punching a hole");
        first = upto;
    }
    return error;
}

int ext4_allocate(struct fs *fs, fs_id id, uint64_t offset, uint64_t length, uint32_t mode)
{
    struct ext4 *ext4 = ext4_of(fs);
    uint64_t end = offset + length;
    struct ext4_inode inode;
    struct ext4_node *node;
    int error = ext4_regular_get(ext4, id, &inode);

    if (error != 0)
        return error;
    if (length == 0 || end < offset)
        return -EINVAL;
    if (end > size_max(ext4, &inode))
        return -EFBIG;
    if ((mode & ~(FILE_ALLOCATE_KEEP_SIZE | FILE_ALLOCATE_PUNCH_HOLE)) != 0 ||
        mode == FILE_ALLOCATE_PUNCH_HOLE || (inode.large.i_flags & EXT4_EXTENTS_FL) == 0)
        return -EOPNOTSUPP;     /* as Linux for files without extents */
    node = ext4_node_get(ext4, FS_ID_INODE(id), EXT2_I_SIZE(SMALL(&inode)));
    if (node == NULL)
        return -ENOMEM;
    ext4_node_resize_begin(ext4, node);
    error = ext4_written_record(ext4, node);
    if (error != 0)
        ext4_broken(ext4, error, "writing a file");
    else if ((mode & FILE_ALLOCATE_PUNCH_HOLE) != 0)
        error = hole_punch(ext4, id, offset, end < node->size ? end : node->size > offset
                                                                          ? node->size : offset);
    else
        error = ext4_range_allocate(ext4, id, offset / block_size(ext4), blocks_for(ext4, end));
    ext4_node_resize_end(ext4, node);
    if (error == 0)
        error = ext4_mtime_set(ext4, id);
    if (error == 0 && mode == 0 && end > node->size)
        error = ext4_resize(ext4, FS_ID_INODE(id), end);
    ext4_node_put(ext4, node);
    return error;
}
