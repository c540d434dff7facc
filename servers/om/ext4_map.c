/* Where the blocks of an ext4 file are.
 *
 * Blocks are allocated unwritten: they read as zeros until their data has arrived and a commit
 * has marked them. Files without extents (ext2, ext3) have no such blocks: new ones are filled
 * with zeros before the inode gets them.
 */
#include "ext4_map.h"

#include <errno.h>
#include <string.h>

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

int map_open(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode, struct map *ret)
{
    *ret = (struct map){ .ext4 = ext4, .number = number, .inode = inode };
    if ((inode->large.i_flags & EXT4_EXTENTS_FL) == 0)
        return 0;
    return ext4_error(ext2fs_extent_open2(ext4->e2, number, SMALL(inode), &ret->handle));
}

void map_close(struct map *map)
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

int map_run(struct map *map, uint64_t logical, uint64_t end, struct run *ret)
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
int map_runs(struct map *map, uint64_t start, uint64_t end, struct run *runs,
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

int ext4_regular_get(struct ext4 *ext4, fs_id id, struct ext4_inode *ret)
{
    int error = ext4_inode_get(ext4, id, ret);

    if (error != 0)
        return error;
    if (LINUX_S_ISREG(ret->large.i_mode))
        return 0;
    return LINUX_S_ISDIR(ret->large.i_mode) ? -EISDIR : -EINVAL;
}

int ext4_mtime_set(struct ext4 *ext4, fs_id id)
{
    struct ext4_inode inode;
    int error = journal_begin(&ext4->journal, 24);

    if (error == 0)
        error = ext4_regular_get(ext4, id, &inode);

    if (error != 0)
        return error;
    ext4_time_set(ext4, &inode, EXT4_MTIME | EXT4_CTIME, ext4_now(ext4));
    return ext4_inode_write(ext4, FS_ID_INODE(id), &inode);
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
int ext4_range_allocate(struct ext4 *ext4, fs_id id, uint64_t start, uint64_t end)
{
    uint32_t number = FS_ID_INODE(id);

    while (start < end) {
        uint64_t step = end - start < 8192 ? end : start + 8192, holes = 0, upto = start;
        struct ext4_inode inode;
        struct map map = { 0 };
        int error = ext4_regular_get(ext4, id, &inode);

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
            error = ext4_regular_get(ext4, id, &inode);      /* both may have let the lock go */
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

/* Marking written ------------------------------------------------------------------ */

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
