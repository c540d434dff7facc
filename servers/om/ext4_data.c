/* The contents of ext4's files.
 *
 * Data does not go through the cache or the journal: the Nucleus caches it, as pages of the file's
 * segment. Before the first change of a range the Nucleus asks for access (prepare): blocks are
 * allocated then, so that a full disk is noticed by the writer, and they are marked *unwritten*. When
 * the data arrives (push) it is written straight to its blocks, and only then, with the next commit,
 * the blocks are marked written and the inode's size is raised. So whatever moment the power fails: a
 * file never shows what was in its blocks before.
 *
 * Files without extents (ext2, ext3) have no unwritten blocks: new ones are filled with zeros before
 * the inode gets them.
 *
 * The blocks are read and written without the lock (see ext4_node.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ext4.h"

#define SPECULATION_MAX  (1u << 20)     /* bytes allocated ahead of a growing file, at most */
#define SPECULATION_FROM (16u << 10)    /* smaller files get what they need and no more */
#define FREE_STEP_EXTENTS 32768u        /* blocks freed in one transaction */
#define FREE_STEP_BLOCKS  1024u         /* the same for files without extents */
#define RUNS_MAX 64

/* Blocks of a file that lie side by side on the disk, or a hole (physical 0). */
struct run {
    uint64_t logical, count;
    uint64_t physical;
    bool     unwritten;
};

static uint64_t block_size(const struct ext4 *ext4)
{
    return ext4->e2->blocksize;
}

static uint64_t blocks_for(const struct ext4 *ext4, uint64_t bytes)
{
    return (bytes + block_size(ext4) - 1) / block_size(ext4);
}

static uint64_t size_max(const struct ext4 *ext4, const struct ext4_inode *inode)
{
    uint64_t per_block = block_size(ext4) / 4;

    if ((inode->large.i_flags & EXT4_EXTENTS_FL) != 0)
        return ((1ull << 32) - 2) * block_size(ext4);
    return (12 + per_block + per_block * per_block) * block_size(ext4);
}

/* Where the blocks are ------------------------------------------------------------ */

/* The run at `logical`, cut at `end`. */
static int extent_run(ext2_extent_handle_t handle, uint64_t logical, uint64_t end, struct run *ret)
{
    struct ext2fs_extent extent;
    errcode_t code = ext2fs_extent_goto(handle, logical);

    *ret = (struct run){ .logical = logical, .count = end - logical };
    if (code != 0 && code != EXT2_ET_EXTENT_NOT_FOUND)
        return ext4_error(code);
    if (code == 0) {
        code = ext2fs_extent_get(handle, EXT2_EXTENT_CURRENT, &extent);
        if (code != 0)
            return ext4_error(code);
        ret->physical = extent.e_pblk + (logical - extent.e_lblk);
        ret->unwritten = (extent.e_flags & EXT2_EXTENT_FLAGS_UNINIT) != 0;
        if (extent.e_lblk + extent.e_len < end)
            ret->count = extent.e_lblk + extent.e_len - logical;
        return 0;
    }
    code = ext2fs_extent_get(handle, EXT2_EXTENT_CURRENT, &extent);     /* a hole: up to where? */
    while (code == 0 && extent.e_lblk <= logical)
        code = ext2fs_extent_get(handle, EXT2_EXTENT_NEXT_LEAF, &extent);
    if (code == 0 && extent.e_lblk < end)
        ret->count = extent.e_lblk - logical;
    return 0;
}

static int indirect_run(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode,
                        uint64_t logical, uint64_t end, struct run *ret)
{
    *ret = (struct run){ .logical = logical };
    while (logical + ret->count < end) {
        blk64_t block = 0;
        errcode_t code = ext2fs_bmap2(ext4->e2, number, SMALL(inode), NULL, 0,
                                      logical + ret->count, NULL, &block);

        if (code != 0)
            return ext4_error(code);
        if (ret->count == 0)
            ret->physical = block;
        else if (ret->physical == 0 ? block != 0 : block != ret->physical + ret->count)
            break;
        ret->count++;
    }
    return 0;
}

/* A way to ask for runs of one file. */
struct map {
    struct ext4 *ext4;
    uint32_t number;
    struct ext4_inode *inode;
    ext2_extent_handle_t handle;        /* NULL: no extents */
    const struct ext4_node *node;       /* NULL, or: blocks noted there are written */
};

static int map_open(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode, struct map *ret)
{
    *ret = (struct map){ .ext4 = ext4, .number = number, .inode = inode };
    if ((inode->large.i_flags & EXT4_EXTENTS_FL) == 0)
        return 0;
    return ext4_error(ext2fs_extent_open2(ext4->e2, number, SMALL(inode), &ret->handle));
}

static void map_close(struct map *map)
{
    if (map->handle != NULL)
        ext2fs_extent_free(map->handle);
    map->handle = NULL;
}

/* A part of an unwritten run may have its data already. */
static void run_correct(const struct ext4_node *node, struct run *run)
{
    const struct ext4_written *written = ext4_node_written_after(node, run->logical);
    uint64_t end = run->logical + run->count;

    if (written == NULL || written->start >= end)
        return;
    run->unwritten = written->start > run->logical;
    if (run->unwritten)
        end = written->start;
    else if (written->end < end)
        end = written->end;
    run->count = end - run->logical;
}

static int map_run(struct map *map, uint64_t logical, uint64_t end, struct run *ret)
{
    int error;

    if (map->handle == NULL)
        error = indirect_run(map->ext4, map->number, map->inode, logical, end, ret);
    else
        error = extent_run(map->handle, logical, end, ret);
    if (error == 0 && ret->count == 0)
        error = -EIO;
    if (error == 0 && ret->unwritten && map->node != NULL)
        run_correct(map->node, ret);
    if (error == 0 && ret->physical != 0 &&
        ret->physical + ret->count > ext2fs_blocks_count(map->ext4->e2->super))
        error = -EIO;
    return error;
}

/* Up to RUNS_MAX runs of [start, end); *ret_end is where they end. */
static int map_runs(struct map *map, uint64_t start, uint64_t end, struct run *runs,
                    size_t *ret_count, uint64_t *ret_end)
{
    *ret_count = 0;
    while (start < end && *ret_count < RUNS_MAX) {
        int error = map_run(map, start, end, &runs[*ret_count]);

        if (error != 0)
            return error;
        start += runs[(*ret_count)++].count;
    }
    *ret_end = start;
    return 0;
}

/* Reading ------------------------------------------------------------------------- */

/* Blocks that only the cache has right (a journal replayed without writing). */
static void overlay_read(struct ext4 *ext4, const struct run *runs, size_t count, uint64_t start,
                         uint8_t *data)
{
    for (size_t i = 0; i < count && ext4->cache->overlay_count != 0; i++)
        for (uint64_t n = 0; runs[i].physical != 0 && !runs[i].unwritten && n < runs[i].count; n++) {
            struct cache_block *block = cache_find(ext4->cache, runs[i].physical + n);

            if (block != NULL && block->overlay)
                memcpy(data + (runs[i].logical - start + n) * block_size(ext4), block->data,
                       block_size(ext4));
        }
}

static int runs_read(struct ext4 *ext4, const struct run *runs, size_t count, uint64_t start,
                     uint8_t *data)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t *to = data + (runs[i].logical - start) * block_size(ext4);
        size_t length = runs[i].count * block_size(ext4);
        int error;

        if (runs[i].physical == 0 || runs[i].unwritten) {
            memset(to, 0, length);
            continue;
        }
        error = blockdev_read(ext4->device, runs[i].physical * block_size(ext4), to, length);
        if (error != 0)
            return error;
    }
    return 0;
}

/* Runs of [start, end) as they are now: the tree may change whenever the lock is let go. What is not
 * in memory is fetched without the lock. */
static int runs_look_up(struct ext4 *ext4, uint32_t number, uint64_t start, uint64_t end,
                        struct run *runs, size_t *ret_count, uint64_t *ret_end)
{
    int error;

    do {
        struct ext4_inode inode;
        struct map map = { 0 };

        ext4->cache->looking = true;
        error = ext4_inode_read(ext4, number, &inode);
        if (error == 0)
            error = map_open(ext4, number, &inode, &map);
        map.node = ext4_node_find(ext4, number);
        if (error == 0)
            error = map_runs(&map, start, end, runs, ret_count, ret_end);
        map_close(&map);
        ext4->cache->looking = false;
    } while (ext4_fetch(&ext4->fs) && error != 0);
    return error == -EAGAIN ? -EIO : error;
}

/* Whole blocks of a file: [start, end). No truncation comes between; the lock is let go. */
static int blocks_read(struct ext4 *ext4, uint32_t number, uint64_t start, uint64_t end,
                       uint8_t *data)
{
    int error = 0;

    while (error == 0 && start < end) {
        struct run runs[RUNS_MAX];
        size_t count = 0;
        uint64_t upto = start;

        error = runs_look_up(ext4, number, start, end, runs, &count, &upto);
        if (error != 0)
            break;
        pthread_mutex_unlock(&ext4->fs.lock);
        error = runs_read(ext4, runs, count, start, data);
        pthread_mutex_lock(&ext4->fs.lock);
        overlay_read(ext4, runs, count, start, data);
        data += (upto - start) * block_size(ext4);
        start = upto;
    }
    return error;
}

/* Any bytes, by way of whole blocks. */
static int bytes_read(struct ext4 *ext4, uint32_t number, uint64_t offset, void *data,
                      size_t length)
{
    uint64_t start = offset / block_size(ext4), end = blocks_for(ext4, offset + length);
    uint8_t *whole;
    int error;

    if (offset % block_size(ext4) == 0 && length % block_size(ext4) == 0)
        return blocks_read(ext4, number, start, end, data);
    whole = malloc((end - start) * block_size(ext4));
    if (whole == NULL)
        return -ENOMEM;
    error = blocks_read(ext4, number, start, end, whole);
    if (error == 0)
        memcpy(data, whole + offset % block_size(ext4), length);
    free(whole);
    return error;
}

static int regular_get(struct ext4 *ext4, fs_id id, struct ext4_inode *ret)
{
    int error = ext4_inode_get(ext4, id, ret);

    if (error != 0)
        return error;
    if (LINUX_S_ISREG(ret->large.i_mode))
        return 0;
    return LINUX_S_ISDIR(ret->large.i_mode) ? -EISDIR : -EINVAL;
}

int ext4_pull(struct fs *fs, fs_id id, uint64_t offset, void *data, size_t length,
              size_t *ret_length)
{
    struct ext4 *ext4 = ext4_of(fs);
    uint32_t number = FS_ID_INODE(id);
    struct ext4_inode inode;
    struct ext4_node *node;
    uint64_t on_disk;
    int error = regular_get(ext4, id, &inode);

    *ret_length = 0;
    if (error != 0)
        return error;
    node = ext4_node_get(ext4, number, EXT2_I_SIZE(SMALL(&inode)));
    if (node == NULL)
        return -ENOMEM;
    ext4_node_transfer_begin(ext4, node);
    error = ext4_inode_get(ext4, id, &inode);       /* a truncation may have been in between */
    on_disk = EXT2_I_SIZE(SMALL(&inode));
    if (node->pushed > on_disk)
        on_disk = node->pushed;
    if (error == 0 && offset < node->size) {
        size_t wanted = node->size - offset < length ? (size_t)(node->size - offset) : length;
        size_t there = offset >= on_disk ? 0
                                         : on_disk - offset < wanted ? (size_t)(on_disk - offset)
                                                                     : wanted;

        memset((uint8_t *)data + there, 0, length - there);
        if (there != 0)
            error = bytes_read(ext4, number, offset, data, there);
        *ret_length = error == 0 ? wanted : 0;
    }
    ext4_node_transfer_end(ext4, node);
    ext4_node_put(ext4, node);
    return error;
}

/* Allocation ---------------------------------------------------------------------- */

static int extent_insert(struct map *map, const struct run *run)
{
    struct ext2fs_extent extent, new_extent = {
        .e_pblk = run->physical, .e_lblk = run->logical, .e_len = (uint32_t)run->count,
        .e_flags = EXT2_EXTENT_FLAGS_UNINIT,
    };
    errcode_t code = ext2fs_extent_goto(map->handle, run->logical);
    int how = 0;

    if (code == 0)
        return -EIO;            /* there is something already */
    code = ext2fs_extent_get(map->handle, EXT2_EXTENT_CURRENT, &extent);
    if (code == 0 && extent.e_lblk < run->logical) {
        if ((extent.e_flags & EXT2_EXTENT_FLAGS_UNINIT) != 0 &&
            extent.e_lblk + extent.e_len == run->logical &&
            extent.e_pblk + extent.e_len == run->physical &&
            extent.e_len + run->count <= EXT_UNINIT_MAX_LEN) {
            extent.e_len += (uint32_t)run->count;
            return ext4_error(ext2fs_extent_replace(map->handle, 0, &extent));
        }
        how = EXT2_EXTENT_INSERT_AFTER;
    }
    code = ext2fs_extent_insert(map->handle, how, &new_extent);
    if (code == 0)
        code = ext2fs_extent_fix_parents(map->handle);
    return ext4_error(code);
}

/* Fill a hole, or the first part of it: *ret_count blocks. */
static int extent_fill(struct map *map, const struct run *hole, uint64_t *ret_count)
{
    ext2_filsys e2 = map->ext4->e2;
    struct run run = *hole;
    blk64_t goal = ext2fs_find_inode_goal(e2, map->number, SMALL(map->inode), hole->logical);
    blk64_t most = hole->count < EXT_UNINIT_MAX_LEN ? hole->count : EXT_UNINIT_MAX_LEN;
    blk64_t count = 0, first = 0;
    errcode_t code = ext2fs_new_range(e2, 0, goal, most, NULL, &first, &count);
    int error;

    if (code != 0 || count == 0)
        return code != 0 ? ext4_error(code) : -ENOSPC;
    run.physical = first;
    run.count = count < most ? count : most;
    ext2fs_block_alloc_stats_range(e2, run.physical, (blk_t)run.count, +1);
    error = extent_insert(map, &run);
    if (error != 0) {
        ext2fs_block_alloc_stats_range(e2, run.physical, (blk_t)run.count, -1);
        return error;
    }
    ext2fs_iblk_add_blocks(e2, SMALL(map->inode), run.count);
    *ret_count = run.count;
    return 0;
}

/* Without extents: one block, full of zeros before the inode knows it. */
static int indirect_fill(struct map *map, const struct run *hole, uint64_t *ret_count)
{
    struct ext4 *ext4 = map->ext4;
    blk64_t block = 0;
    errcode_t code = ext2fs_bmap2(ext4->e2, map->number, SMALL(map->inode), NULL, BMAP_ALLOC,
                                  hole->logical, NULL, &block);

    if (code != 0)
        return ext4_error(code);
    cache_forget(ext4->cache, block);       /* libext2fs wrote zeros, as if it were metadata */
    *ret_count = 1;
    return blockdev_zero(ext4->device, block * block_size(ext4), block_size(ext4));
}

/* Blocks for all of [start, end). *ret_end: how far it got, also after an error. */
static int blocks_allocate(struct map *map, uint64_t start, uint64_t end, uint64_t *ret_end)
{
    *ret_end = start;
    while (*ret_end < end) {
        struct run run;
        int error = map_run(map, *ret_end, end, &run);

        if (error == 0 && run.physical == 0)
            error = map->handle != NULL ? extent_fill(map, &run, &run.count)
                                        : indirect_fill(map, &run, &run.count);
        if (error != 0)
            return error;
        *ret_end += run.count;
    }
    return 0;
}

/* How many blocks of [start, end) have no place yet. */
static int holes_count(struct map *map, uint64_t start, uint64_t end, uint64_t *ret)
{
    *ret = 0;
    while (start < end) {
        struct run run;
        int error = map_run(map, start, end, &run);

        if (error != 0)
            return error;
        if (run.physical == 0)
            *ret += run.count;
        start += run.count;
    }
    return 0;
}

/* Allocate [start, end): in steps that fit into a transaction. [w] */
static int range_allocate(struct ext4 *ext4, fs_id id, uint64_t start, uint64_t end)
{
    uint32_t number = FS_ID_INODE(id);

    while (start < end) {
        uint64_t step = end - start < 8192 ? end : start + 8192, holes = 0, upto = start;
        struct ext4_inode inode;
        struct map map = { 0 };
        int error = regular_get(ext4, id, &inode);

        if (error == 0)
            error = map_open(ext4, number, &inode, &map);
        if (error == 0)
            error = holes_count(&map, start, step, &holes);
        map_close(&map);
        if (error == 0 && holes != 0)
            error = ext4_room(ext4, holes + 2);
        if (error == 0 && holes != 0)
            error = journal_begin(&ext4->journal, 32);
        if (error == 0)
            error = regular_get(ext4, id, &inode);      /* both may have let the lock go */
        if (error == 0)
            error = map_open(ext4, number, &inode, &map);
        if (error != 0)
            return error;
        error = blocks_allocate(&map, start, step, &upto);
        map_close(&map);
        if (upto > start && ext4_inode_write(ext4, number, &inode) != 0)
            return ext4_broken(ext4, -EIO, "allocating blocks");
        if (error != 0)
            return error;
        start = step;
    }
    return 0;
}

/* Blocks to allocate for an access: more than asked when the file grows step by step. */
static uint64_t speculate(struct ext4 *ext4, uint64_t offset, uint64_t length, uint64_t size)
{
    uint64_t end = offset + length, more = size;

    if (end < size || size <= SPECULATION_FROM)
        return end;
    if (more > SPECULATION_MAX)
        more = SPECULATION_MAX;
    if (ext2fs_free_blocks_count(ext4->e2->super) < ext2fs_blocks_count(ext4->e2->super) / 10)
        return end;
    return (end + more) & ~(uint64_t)0xffff;
}

static int mtime_set(struct ext4 *ext4, fs_id id)
{
    struct ext4_inode inode;
    int error = journal_begin(&ext4->journal, 24);

    if (error == 0)
        error = regular_get(ext4, id, &inode);

    if (error != 0)
        return error;
    ext4_time_set(ext4, &inode, EXT4_MTIME | EXT4_CTIME, ext4_now(ext4));
    return ext4_inode_write(ext4, FS_ID_INODE(id), &inode);
}

int ext4_prepare(struct fs *fs, fs_id id, uint64_t offset, uint64_t length, uint64_t size,
                 uint64_t *ret_end)
{
    struct ext4 *ext4 = ext4_of(fs);
    uint64_t end = offset + length, ahead;
    struct ext4_inode inode;
    struct ext4_node *node;
    int error = fs->read_only ? -EROFS : regular_get(ext4, id, &inode);

    if (error != 0)
        return error;
    if (end < offset || end > size_max(ext4, &inode) || size > size_max(ext4, &inode))
        return -EFBIG;
    node = ext4_node_get(ext4, FS_ID_INODE(id), EXT2_I_SIZE(SMALL(&inode)));
    if (node == NULL)
        return -ENOMEM;
    ext4_node_transfer_begin(ext4, node);       /* no truncation meanwhile */
    ahead = (inode.large.i_flags & EXT4_EXTENTS_FL) != 0 ? speculate(ext4, offset, length, size)
                                                         : end;
    if (ahead <= end || range_allocate(ext4, id, offset / block_size(ext4),
                                       blocks_for(ext4, ahead)) != 0)
        ahead = end;
    node->speculative = true;       /* until it is settled */
    error = range_allocate(ext4, id, offset / block_size(ext4), blocks_for(ext4, end));
    if (error == 0)
        error = mtime_set(ext4, id);
    if (error == 0 && size > node->size)
        node->size = size;
    *ret_end = ahead;
    ext4_node_transfer_end(ext4, node);
    ext4_node_put(ext4, node);
    return error;
}

/* Writing ------------------------------------------------------------------------- */

static int runs_write(struct ext4 *ext4, const struct run *runs, size_t count, uint64_t start,
                      const uint8_t *data)
{
    for (size_t i = 0; i < count; i++) {
        int error;

        if (runs[i].physical == 0)
            return -EIO;
        error = blockdev_write(ext4->device, runs[i].physical * block_size(ext4),
                               data + (runs[i].logical - start) * block_size(ext4),
                               runs[i].count * block_size(ext4));
        if (error != 0)
            return error;
    }
    return 0;
}

/* An unwritten extent that lies wholly in the range becomes a written one; it joins the one before
 * it where they meet. */
static int extent_convert_whole(ext2_extent_handle_t handle, struct ext2fs_extent *extent)
{
    struct ext2fs_extent before;
    errcode_t code;

    extent->e_flags &= ~(uint32_t)EXT2_EXTENT_FLAGS_UNINIT;
    code = ext2fs_extent_replace(handle, 0, extent);
    if (code != 0 || ext2fs_extent_get(handle, EXT2_EXTENT_PREV_SIB, &before) != 0)
        return ext4_error(code);
    if ((before.e_flags & EXT2_EXTENT_FLAGS_UNINIT) != 0 ||
        before.e_lblk + before.e_len != extent->e_lblk ||
        before.e_pblk + before.e_len != extent->e_pblk ||
        before.e_len + extent->e_len > EXT_INIT_MAX_LEN)
        return 0;
    before.e_len += extent->e_len;
    code = ext2fs_extent_replace(handle, 0, &before);
    if (code == 0)
        code = ext2fs_extent_get(handle, EXT2_EXTENT_NEXT_SIB, extent);
    if (code == 0)
        code = ext2fs_extent_delete(handle, 0);
    if (code == 0)
        code = ext2fs_extent_fix_parents(handle);
    return ext4_error(code);
}

/* The blocks have their data: mark them written. */
static int run_convert(struct map *map, const struct run *run)
{
    struct ext2fs_extent extent;
    errcode_t code = ext2fs_extent_goto(map->handle, run->logical);

    if (code == 0)
        code = ext2fs_extent_get(map->handle, EXT2_EXTENT_CURRENT, &extent);
    if (code != 0)
        return ext4_error(code);
    if (extent.e_lblk == run->logical && extent.e_len == run->count)
        return extent_convert_whole(map->handle, &extent);
    for (uint64_t n = 0; n < run->count; n++) {
        code = ext2fs_extent_set_bmap(map->handle, run->logical + n, run->physical + n, 0);
        if (code != 0)
            return ext4_error(code);
    }
    return 0;
}

static int range_convert(struct map *map, uint64_t start, uint64_t end, bool *ret_changed)
{
    while (map->handle != NULL && start < end) {
        struct run run;
        int error = map_run(map, start, end, &run);

        if (error == 0 && run.physical != 0 && run.unwritten) {
            *ret_changed = true;
            error = run_convert(map, &run);
        }
        if (error != 0)
            return error;
        start += run.count;
    }
    return 0;
}

/* What has arrived of a file is shown by its inode from now on. */
int ext4_written_record(struct ext4 *ext4, struct ext4_node *node)
{
    struct ext4_inode inode;
    struct map map = { 0 };
    bool changed = false;
    int error;

    if (node->written_count == 0 && node->pushed == 0)
        return 0;
    error = ext4_inode_read(ext4, node->inode, &inode);
    if (error == 0)
        error = map_open(ext4, node->inode, &inode, &map);
    for (size_t i = 0; error == 0 && i < node->written_count; i++)
        error = range_convert(&map, node->written[i].start, node->written[i].end, &changed);
    map_close(&map);
    if (error == 0 && node->pushed > EXT2_I_SIZE(SMALL(&inode))) {
        ext2fs_inode_size_set(ext4->e2, SMALL(&inode), (ext2_off64_t)node->pushed);
        changed = true;
    }
    if (error == 0 && changed)
        error = ext4_inode_write(ext4, node->inode, &inode);
    ext4_node_written_forget(ext4, node);
    return error;
}

int ext4_written_record_all(struct ext4 *ext4)
{
    for (unsigned i = 0; i < EXT4_NODE_BUCKETS; i++) {
        struct ext4_node *node = ext4->nodes[i];

        while (node != NULL) {
            struct ext4_node *next = node->next;
            int error = ext4_written_record(ext4, node);

            if (error != 0)
                return error;
            ext4_node_put(ext4, node);
            node = next;
        }
    }
    return 0;
}

/* Blocks [start, end) get `data`. A transfer has begun. [w] */
static int blocks_write(struct ext4 *ext4, fs_id id, uint64_t start, uint64_t end,
                        const uint8_t *data)
{
    uint32_t number = FS_ID_INODE(id);
    int error = range_allocate(ext4, id, start, end);   /* done already, but after a truncation */

    while (error == 0 && start < end) {
        struct run runs[RUNS_MAX];
        struct ext4_inode inode;
        struct map map = { 0 };
        size_t count = 0;
        uint64_t upto = start;

        error = regular_get(ext4, id, &inode);
        if (error == 0)
            error = map_open(ext4, number, &inode, &map);
        if (error == 0)
            error = map_runs(&map, start, end, runs, &count, &upto);
        map_close(&map);
        if (error != 0)
            break;
        pthread_mutex_unlock(&ext4->fs.lock);
        error = runs_write(ext4, runs, count, start, data);
        pthread_mutex_lock(&ext4->fs.lock);
        data += (upto - start) * block_size(ext4);
        start = upto;
    }
    return error;
}

/* The bytes at the range's ends that share a block with others: read them, to write whole blocks. */
static int edges_fill(struct ext4 *ext4, fs_id id, uint64_t offset, const void *data, size_t length,
                      uint64_t start, uint64_t end, uint8_t *whole)
{
    int error = blocks_read(ext4, FS_ID_INODE(id), start, start + 1, whole);

    if (error == 0 && end - start > 1)
        error = blocks_read(ext4, FS_ID_INODE(id), end - 1, end,
                            whole + (end - start - 1) * block_size(ext4));
    memcpy(whole + (offset - start * block_size(ext4)), data, length);
    return error;
}

static int bytes_write(struct ext4 *ext4, fs_id id, uint64_t offset, const void *data, size_t length)
{
    uint64_t start = offset / block_size(ext4), end = blocks_for(ext4, offset + length);
    uint8_t *whole;
    int error;

    if (offset % block_size(ext4) == 0 && length % block_size(ext4) == 0)
        return blocks_write(ext4, id, start, end, data);
    whole = malloc((end - start) * block_size(ext4));
    if (whole == NULL)
        return -ENOMEM;
    error = edges_fill(ext4, id, offset, data, length, start, end, whole);
    if (error == 0)
        error = blocks_write(ext4, id, start, end, whole);
    free(whole);
    return error;
}

/* Where a push of [offset, end) ends when the file ends at `size`: with the file's last block, if what
 * is behind its end there is zero, as it must be on the disk; else with the file. */
static uint64_t push_end(struct ext4 *ext4, uint64_t offset, uint64_t end, uint64_t size,
                         const uint8_t *data)
{
    uint64_t whole = blocks_for(ext4, size) * block_size(ext4);

    if (end <= size)
        return end;
    if (end > whole)
        end = whole;
    for (uint64_t at = size; at < end; at++)
        if (data[at - offset] != 0)
            return size;
    return end;
}

int ext4_push(struct fs *fs, fs_id id, uint64_t offset, const void *data, size_t length,
              uint64_t size)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_inode inode;
    struct ext4_node *node;
    uint64_t end = offset + length;
    int error = fs->read_only ? -EROFS : regular_get(ext4, id, &inode);

    if (error != 0)
        return error;
    if (size > size_max(ext4, &inode))
        return -EFBIG;
    if (offset >= size)
        return 0;
    end = push_end(ext4, offset, end, size, data);
    node = ext4_node_get(ext4, FS_ID_INODE(id), EXT2_I_SIZE(SMALL(&inode)));
    if (node == NULL)
        return -ENOMEM;
    ext4_node_transfer_begin(ext4, node);
    if (size > node->size)
        node->size = size;
    error = bytes_write(ext4, id, offset, data, (size_t)(end - offset));
    if (error == 0)
        error = ext4_node_written(ext4, node, offset / block_size(ext4), blocks_for(ext4, end),
                                  end < size ? end : size);
    ext4_node_transfer_end(ext4, node);
    ext4_node_put(ext4, node);
    return error;
}

/* Freeing ------------------------------------------------------------------------- */

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

/* From the end backwards. Each step frees all that is left behind its start: libext2fs's punch errs in
 * files without extents when the range ends before the file does. */
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
    node->speculative = false;
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

void ext4_settle(struct fs *fs, fs_id id)
{
    struct ext4 *ext4 = ext4_of(fs);
    uint32_t number = FS_ID_INODE(id);
    struct ext4_node *node = ext4_node_find(ext4, number);
    struct ext4_inode inode;
    uint64_t first;

    if (node == NULL || !node->speculative || fs->read_only)
        return;
    ext4_node_resize_begin(ext4, node);
    node->speculative = false;
    if (ext4_written_record(ext4, node) == 0 && ext4_inode_get(ext4, id, &inode) == 0) {
        first = blocks_for(ext4, EXT2_I_SIZE(SMALL(&inode)));
        node->size = EXT2_I_SIZE(SMALL(&inode));
        ext4_blocks_free(ext4, number, first);
    }
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
    int error = length == 0 ? -EALREADY : regular_get(ext4, id, &inode);

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
    return bytes_write(ext4, id, offset, zeros, (size_t)length);
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
            error = regular_get(ext4, id, &inode);
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
    int error = regular_get(ext4, id, &inode);

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
        error = range_allocate(ext4, id, offset / block_size(ext4), blocks_for(ext4, end));
    ext4_node_resize_end(ext4, node);
    if (error == 0)
        error = mtime_set(ext4, id);
    if (error == 0 && mode == 0 && end > node->size)
        error = ext4_resize(ext4, FS_ID_INODE(id), end);
    ext4_node_put(ext4, node);
    return error;
}
