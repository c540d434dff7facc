/* libext2fs's I/O on our cache.
 *
 * libext2fs reads and writes metadata only through this manager: the contents of files are moved
 * by ext4_data.c. So every write here belongs to the running transaction. The one exception is
 * `zeroout`, which it uses for blocks that were free until now: they are written at once, which
 * is safe since a freed block is not allocated before its transaction has committed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ext4.h"

static _Thread_local struct cache *opening;     /* handed from ext4_io_manager to channel_open */

static struct cache *cache_of(io_channel channel)
{
    return channel->private_data;
}

static errcode_t channel_open(const char *name, int flags, io_channel *ret)
{
    io_channel channel = calloc(1, sizeof *channel);

    (void)flags;
    if (channel == NULL)
        return EXT2_ET_NO_MEMORY;
    channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    channel->manager = ext4_io_manager(opening);
    channel->name = strdup(name);
    channel->block_size = 1024;
    channel->refcount = 1;
    channel->private_data = opening;
    if (channel->name == NULL) {
        free(channel);
        return EXT2_ET_NO_MEMORY;
    }
    *ret = channel;
    return 0;
}

static errcode_t channel_close(io_channel channel)
{
    if (--channel->refcount > 0)
        return 0;
    free(channel->name);
    free(channel);
    return 0;
}

static errcode_t channel_set_block_size(io_channel channel, int size)
{
    channel->block_size = size;
    return 0;
}

/* A count below zero is a number of bytes. */
static size_t bytes_of(io_channel channel, int count)
{
    return count < 0 ? (size_t)-(int64_t)count : (size_t)count * channel->block_size;
}

static errcode_t channel_read64(io_channel channel, unsigned long long block, int count, void *data)
{
    return -cache_read(cache_of(channel), block * channel->block_size, data,
                       bytes_of(channel, count));
}

static errcode_t channel_write64(io_channel channel, unsigned long long block, int count,
                                 const void *data)
{
    return -cache_write(cache_of(channel), block * channel->block_size, data,
                        bytes_of(channel, count));
}

static errcode_t channel_read(io_channel channel, unsigned long block, int count, void *data)
{
    return channel_read64(channel, block, count, data);
}

static errcode_t channel_write(io_channel channel, unsigned long block, int count, const void *data)
{
    return channel_write64(channel, block, count, data);
}

static errcode_t channel_write_byte(io_channel channel, unsigned long offset, int count,
                                    const void *data)
{
    return -cache_write(cache_of(channel), offset, data, count);
}

/* Durability is the journal's business. */
static errcode_t channel_flush(io_channel channel)
{
    (void)channel;
    return 0;
}

static errcode_t channel_zero(io_channel channel, unsigned long long block, unsigned long long count)
{
    struct cache *cache = cache_of(channel);

    for (unsigned long long n = block; n < block + count; n++)
        cache_forget(cache, n);
    return -blockdev_zero(cache->device, block * channel->block_size, count * channel->block_size);
}

static errcode_t channel_discard(io_channel channel, unsigned long long block,
                                 unsigned long long count)
{
    (void)channel, (void)block, (void)count;
    return EXT2_ET_UNIMPLEMENTED;
}

static struct struct_io_manager manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "om's cache",
    .open = channel_open,
    .close = channel_close,
    .set_blksize = channel_set_block_size,
    .read_blk = channel_read,
    .write_blk = channel_write,
    .read_blk64 = channel_read64,
    .write_blk64 = channel_write64,
    .flush = channel_flush,
    .write_byte = channel_write_byte,
    .zeroout = channel_zero,
    .discard = channel_discard,
};

io_manager ext4_io_manager(struct cache *cache)
{
    opening = cache;
    return &manager;
}

int ext4_error(errcode_t code)
{
    switch (code) {
    case 0:
        return 0;
    case EXT2_ET_NO_MEMORY:
        return -ENOMEM;
    case EXT2_ET_BLOCK_ALLOC_FAIL:
    case EXT2_ET_INODE_ALLOC_FAIL:
    case EXT2_ET_DIR_NO_SPACE:
    case EXT2_ET_CANT_INSERT_EXTENT:
        return -ENOSPC;
    case EXT2_ET_FILE_NOT_FOUND:
        return -ENOENT;
    case EXT2_ET_FILE_TOO_BIG:
        return -EFBIG;
    case EXT2_ET_RO_FILSYS:
        return -EROFS;
    default:
        return code > 0 && code < 256 ? -(int)code : -EIO;
    }
}
