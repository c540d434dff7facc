/* The cache of metadata blocks: what the journal works on.
 *
 * libext2fs reads and writes metadata through it (ext4_io.c); the contents of files pass it by. A
 * changed block is *dirty* until a transaction takes it (*frozen* while that is being written to
 * the log), then *logged*: it stands in the log but not yet at home. A dirty or logged block is
 * not evicted, and goes home by the journal's checkpoint only, so nothing uncommitted reaches its
 * place.
 *
 * A block may be dirty and logged at once. Its last committed contents are kept aside then
 * (`committed`), since a checkpoint must not write what no transaction has committed.
 *
 * Callers hold the file system's lock for every function here. Blocks are found in a hash table and
 * evicted least recently used first.
 */
#ifndef OM_CACHE_H
#define OM_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockdev.h"

struct cache_link {
    struct cache_link *previous, *next;
};

struct cache_block {
    struct cache_link   recent;     /* in cache.recent: all blocks, least recently used first */
    struct cache_link   changed;    /* in cache.changed while dirty */
    struct cache_link   in_log;     /* in cache.logged while logged */
    struct cache_block *hash_next;
    uint64_t number;
    uint8_t *data;
    uint8_t *committed;             /* while logged and (dirty or frozen): what the log has */
    uint8_t *frozen_copy;           /* while frozen and dirty: what the log is getting */
    bool dirty, frozen, logged;
    bool overlay;                   /* differs from the disk for good (read-only recovery) */
};

struct cache {
    struct blockdev *device;
    uint32_t block_size;
    size_t   limit;                 /* blocks to keep; more while they cannot be evicted */
    size_t   count, dirty_count, logged_count, overlay_count;
    struct cache_link recent, changed, logged;
    struct cache_block **buckets;
    size_t   bucket_count;          /* a power of two */
    bool     compare;               /* writing what is there already changes nothing */
    bool     looking;               /* a block that is not here is not read, but noted: -EAGAIN */
    uint64_t missed;                /* that block, or CACHE_NONE */
};
#define CACHE_NONE UINT64_MAX

/* Returns NULL without memory. The device stays the caller's. */
struct cache *cache_open(struct blockdev *device, uint32_t block_size, size_t limit);
/* What is dirty is lost. */
void cache_close(struct cache *cache);

/* Copy bytes out of, or into, the metadata: any offset, any length, 0 or -EIO, -ENOMEM, -EROFS,
 * -EAGAIN (while looking). A write makes blocks dirty. */
int cache_read(struct cache *cache, uint64_t offset, void *data, size_t length);
int cache_write(struct cache *cache, uint64_t offset, const void *data, size_t length);

/* The block if it is in the cache, else NULL. */
struct cache_block *cache_find(struct cache *cache, uint64_t number);
/* A block as it is on the disk; nothing happens if it is here. */
void cache_insert(struct cache *cache, uint64_t number, const void *data);
/* Out of the cache, whatever state it is in: the block is no metadata any more. */
void cache_forget(struct cache *cache, uint64_t number);
/* Contents that differ from the disk and stay so (a journal replayed without writing). */
int cache_overlay(struct cache *cache, uint64_t number, const void *data);

/* The journal's moves. */
void cache_freeze(struct cache *cache, struct cache_block *block);      /* dirty -> frozen */
void cache_committed(struct cache *cache, struct cache_block *block);   /* frozen -> logged */
void cache_discard_change(struct cache *cache, struct cache_block *block); /* dirty -> not; contents void */
void cache_checkpointed(struct cache *cache, struct cache_block *block);   /* logged -> at home */
/* What a checkpoint writes for a logged block. */
const uint8_t *cache_committed_data(const struct cache_block *block);

#define CACHE_BLOCK(link, member) \
    ((struct cache_block *)((uint8_t *)(link) - offsetof(struct cache_block, member)))

#endif
