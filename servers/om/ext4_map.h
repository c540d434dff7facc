/* Where the blocks of an ext4 file are, and changing that: runs, allocation, marking written. */
#ifndef OM_EXT4_MAP_H
#define OM_EXT4_MAP_H

#include "ext4.h"

#define RUNS_MAX 64

/* Blocks of a file that lie side by side on the disk, or a hole (physical 0). */
struct run {
    uint64_t logical, count;
    uint64_t physical;
    bool     unwritten;
};

/* A way to ask for runs of one file. */
struct map {
    struct ext4 *ext4;
    uint32_t number;
    struct ext4_inode *inode;
    ext2_extent_handle_t handle;        /* NULL: no extents */
    const struct ext4_node *node;       /* NULL, or: blocks noted there are written */
};

static inline uint64_t block_size(const struct ext4 *ext4)
{
    return ext4->e2->blocksize;
}

static inline uint64_t blocks_for(const struct ext4 *ext4, uint64_t bytes)
{
    return (bytes + block_size(ext4) - 1) / block_size(ext4);
}

static inline uint64_t size_max(const struct ext4 *ext4, const struct ext4_inode *inode)
{
    uint64_t per_block = block_size(ext4) / 4;

    if ((inode->large.i_flags & EXT4_EXTENTS_FL) != 0)
        return ((1ull << 32) - 2) * block_size(ext4);
    return (12 + per_block + per_block * per_block) * block_size(ext4);
}

/* `inode` is the caller's, and stays in use; libext2fs changes it as blocks are added. */
int map_open(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode, struct map *ret);
void map_close(struct map *map);
/* The run at `logical`, cut at `end`. */
int map_run(struct map *map, uint64_t logical, uint64_t end, struct run *ret);
/* Up to RUNS_MAX runs of [start, end); *ret_end is where they end. */
int map_runs(struct map *map, uint64_t start, uint64_t end, struct run *runs, size_t *ret_count,
             uint64_t *ret_end);

/* The inode, if it is a regular file's. */
int ext4_regular_get(struct ext4 *ext4, fs_id id, struct ext4_inode *ret);
/* The file changes now. */
int ext4_mtime_set(struct ext4 *ext4, fs_id id);
/* [w] Blocks for all of [start, end): unwritten ones, or zeros. */
int ext4_range_allocate(struct ext4 *ext4, fs_id id, uint64_t start, uint64_t end);
/* [w] Any bytes of a file, at once; nothing is noted (ext4_data.c). */
int ext4_bytes_write(struct ext4 *ext4, fs_id id, uint64_t offset, const void *data, size_t length);

#endif
