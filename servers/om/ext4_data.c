/* The contents of ext4's files.
 *
 * Data does not go through the cache or the journal: the Nucleus caches it, as pages of the
 * file's segment. Before the first change of a range the Nucleus asks for access (prepare):
 * blocks are allocated then, so that a full disk is noticed by the writer, and they are marked
 * *unwritten*. When the data arrives (push) it is written straight to its blocks, and only then,
 * with the next commit, the blocks are marked written and the inode's size is raised. So whatever
 * moment the power fails: a file never shows what was in its blocks before.
 *
 * The blocks are read and written without the lock (see ext4_node.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ext4_map.h"

#define SPECULATION_MAX  (1u << 20)     /* bytes allocated ahead of a growing file, at most */
#define SPECULATION_FROM (16u << 10)    /* smaller files get what they need and no more */

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

/* Runs of [start, end) as they are now: the tree may change whenever the lock is let go. What is
 * not in memory is fetched without the lock. */
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

int ext4_pull(struct fs *fs, fs_id id, uint64_t offset, void *data, size_t length,
              size_t *ret_length)
{
    struct ext4 *ext4 = ext4_of(fs);
    uint32_t number = FS_ID_INODE(id);
    struct ext4_inode inode;
    struct ext4_node *node;
    uint64_t on_disk;
    int error = ext4_regular_get(ext4, id, &inode);

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

/* The blocks of a file that are on the disk; the others' pages stay as they are. Like blocks_read. */
static int blocks_read_pages(struct ext4 *ext4, uint32_t number, uint64_t start, uint64_t end, uint64_t pages)
{
    const uint64_t first = start;
    int error = 0;

    while (error == 0 && start < end) {
        struct run runs[RUNS_MAX];
        size_t count = 0;

        error = runs_look_up(ext4, number, start, end, runs, &count, &start);
        pthread_mutex_unlock(&ext4->fs.lock);
        for (size_t i = 0; i < count && error == 0; i++)
            if (runs[i].physical != 0 && !runs[i].unwritten)
                error = blockdev_read_pages(ext4->device, runs[i].physical * block_size(ext4),
                                            pages + (runs[i].logical - first) * block_size(ext4), runs[i].count * block_size(ext4));
        pthread_mutex_lock(&ext4->fs.lock);
    }
    return error;
}

/* Contents that only the cache has right (a journal replayed without writing) are not on the disk. */
bool ext4_is_direct(struct fs *fs, fs_id id)
{
    struct ext4 *ext4 = ext4_of(fs);

    (void)id;
    return ext4->device->read_pages != NULL && ext4->device->write_pages != NULL && ext4->cache->overlay_count == 0;
}

int ext4_pull_pages(struct fs *fs, fs_id id, uint64_t offset, uint64_t pages, size_t length, size_t *ret_length)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_inode inode;
    struct ext4_node *node;
    int error = ext4_regular_get(ext4, id, &inode);

    *ret_length = 0;
    if (error != 0)
        return error;
    node = ext4_node_get(ext4, FS_ID_INODE(id), EXT2_I_SIZE(SMALL(&inode)));
    if (node == NULL)
        return -ENOMEM;
    ext4_node_transfer_begin(ext4, node);
    error = ext4_inode_get(ext4, id, &inode);       /* a truncation may have been in between */
    uint64_t there = EXT2_I_SIZE(SMALL(&inode));
    if (node->pushed > there)
        there = node->pushed;
    if (there > node->size)
        there = node->size;
    if (error == 0 && offset < there) {
        there = there - offset < length ? there - offset : length;
        error = blocks_read_pages(ext4, FS_ID_INODE(id), offset / block_size(ext4), blocks_for(ext4, offset + there), pages);
        *ret_length = error == 0 ? (size_t)there : 0;
    }
    ext4_node_transfer_end(ext4, node);
    ext4_node_put(ext4, node);
    return error;
}

/* Preparing ----------------------------------------------------------------------- */

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

int ext4_prepare(struct fs *fs, fs_id id, uint64_t offset, uint64_t length, uint64_t size,
                 uint64_t *ret_end)
{
    struct ext4 *ext4 = ext4_of(fs);
    uint64_t end = offset + length, ahead;
    struct ext4_inode inode;
    struct ext4_node *node;
    int error = fs->read_only ? -EROFS : ext4_regular_get(ext4, id, &inode);

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
    if (ahead <= end || ext4_range_allocate(ext4, id, offset / block_size(ext4),
                                       blocks_for(ext4, ahead)) != 0)
        ahead = end;
    node->speculative = true;       /* until it is settled */
    node->ahead |= ahead > end;
    node->recalled = false;
    error = ext4_range_allocate(ext4, id, offset / block_size(ext4), blocks_for(ext4, end));
    if (error == 0)
        error = ext4_mtime_set(ext4, id);
    if (error == 0 && size > node->size)
        node->size = size;
    *ret_end = ahead;
    ext4_node_transfer_end(ext4, node);
    ext4_node_put(ext4, node);
    return error;
}

/* Writing ------------------------------------------------------------------------- */

/* `data` NULL: it is in `pages`. */
static int runs_write(struct ext4 *ext4, const struct run *runs, size_t count, uint64_t start,
                      const uint8_t *data, uint64_t pages)
{
    for (size_t i = 0; i < count; i++) {
        int error;

        if (runs[i].physical == 0)
            return -EIO;
        uint64_t where = runs[i].physical * block_size(ext4), at = (runs[i].logical - start) * block_size(ext4);
        size_t length = runs[i].count * block_size(ext4);

        error = data != NULL ? blockdev_write(ext4->device, where, data + at, length)
                             : blockdev_write_pages(ext4->device, where, pages + at, length);
        if (error != 0)
            return error;
    }
    return 0;
}

/* Blocks [start, end) get `data`, or if that is NULL what is in `pages`. A transfer has begun. [w] */
static int blocks_write(struct ext4 *ext4, fs_id id, uint64_t start, uint64_t end,
                        const uint8_t *data, uint64_t pages)
{
    const uint64_t first = start;
    uint32_t number = FS_ID_INODE(id);
    int error = ext4_range_allocate(ext4, id, start, end);   /* done already, but after a truncation */

    while (error == 0 && start < end) {
        struct run runs[RUNS_MAX];
        struct ext4_inode inode;
        struct map map = { 0 };
        size_t count = 0;
        uint64_t upto = start;

        error = ext4_regular_get(ext4, id, &inode);
        if (error == 0)
            error = map_open(ext4, number, &inode, &map);
        if (error == 0)
            error = map_runs(&map, start, end, runs, &count, &upto);
        map_close(&map);
        if (error != 0)
            break;
        pthread_mutex_unlock(&ext4->fs.lock);
        error = runs_write(ext4, runs, count, first, data, pages);
        pthread_mutex_lock(&ext4->fs.lock);
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

int ext4_bytes_write(struct ext4 *ext4, fs_id id, uint64_t offset, const void *data, size_t length)
{
    uint64_t start = offset / block_size(ext4), end = blocks_for(ext4, offset + length);
    uint8_t *whole;
    int error;

    if (offset % block_size(ext4) == 0 && length % block_size(ext4) == 0)
        return blocks_write(ext4, id, start, end, data, 0);
    whole = malloc((end - start) * block_size(ext4));
    if (whole == NULL)
        return -ENOMEM;
    error = edges_fill(ext4, id, offset, data, length, start, end, whole);
    if (error == 0)
        error = blocks_write(ext4, id, start, end, whole, 0);
    free(whole);
    return error;
}

/* What arrives: whole blocks in `pages`, or, if `data` is not NULL, bytes. */
struct push {
    uint64_t offset, length, size;      /* bytes; the file's size */
    const void *data;
    uint64_t pages;
    bool is_cut;                        /* what is behind the file's end in the last page must be made zero */
};

/* Where a push ends: with the file's last block, if what is behind the file's end there is zero, as it must be on the disk, or is made so; else with the file. */
static uint64_t push_end(struct ext4 *ext4, const struct push *push)
{
    uint64_t end = push->offset + push->length, whole = blocks_for(ext4, push->size) * block_size(ext4);
    const uint8_t *data = push->data;

    if (end <= push->size)
        return end;
    if (end > whole)
        end = whole;
    for (uint64_t at = push->size; data != NULL && at < end; at++)
        if (data[at - push->offset] != 0)
            return push->size;
    return end;
}

static int push_write(struct ext4 *ext4, fs_id id, const struct push *push, uint64_t end)
{
    static const uint8_t zeros[4096];
    int error;

    if (push->data != NULL)
        return ext4_bytes_write(ext4, id, push->offset, push->data, (size_t)(end - push->offset));
    error = blocks_write(ext4, id, push->offset / block_size(ext4), blocks_for(ext4, end), NULL, push->pages);
    if (error == 0 && push->is_cut && end > push->size)
        error = ext4_bytes_write(ext4, id, push->size, zeros, (size_t)(end - push->size));
    return error;
}

static int push_take(struct fs *fs, fs_id id, const struct push *push)
{
    struct ext4 *ext4 = ext4_of(fs);
    struct ext4_inode inode;
    struct ext4_node *node;
    uint64_t end;
    int error = fs->read_only ? -EROFS : ext4_regular_get(ext4, id, &inode);

    if (error != 0)
        return error;
    if (push->size > size_max(ext4, &inode))
        return -EFBIG;
    if (push->offset >= push->size)
        return 0;
    end = push_end(ext4, push);
    node = ext4_node_get(ext4, FS_ID_INODE(id), EXT2_I_SIZE(SMALL(&inode)));
    if (node == NULL)
        return -ENOMEM;
    ext4_node_transfer_begin(ext4, node);
    if (push->size > node->size)
        node->size = push->size;
    error = push_write(ext4, id, push, end);
    if (error == 0)
        error = ext4_node_written(ext4, node, push->offset / block_size(ext4), blocks_for(ext4, end),
                                  end < push->size ? end : push->size);
    ext4_node_transfer_end(ext4, node);
    ext4_node_put(ext4, node);
    return error;
}

int ext4_push(struct fs *fs, fs_id id, uint64_t offset, const void *data, size_t length,
              uint64_t size)
{
    return push_take(fs, id, &(struct push){ .offset = offset, .length = length, .size = size, .data = data });
}

int ext4_push_pages(struct fs *fs, fs_id id, uint64_t offset, uint64_t pages, size_t length, uint64_t size, bool is_cut)
{
    return push_take(fs, id, &(struct push){ .offset = offset, .length = length, .size = size, .pages = pages, .is_cut = is_cut });
}
