/* The cache of metadata blocks; see cache.h for the states of a block. */
#include "cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void list_init(struct cache_link *list)
{
    list->previous = list->next = list;
}

static void list_remove(struct cache_link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->previous = link->next = link;
}

static void list_append(struct cache_link *list, struct cache_link *link)
{
    link->previous = list->previous;
    link->next = list;
    list->previous->next = link;
    list->previous = link;
}

static struct cache_block **bucket_of(struct cache *cache, uint64_t number)
{
    uint64_t hash = number * 0x9e3779b97f4a7c15ull;

    return &cache->buckets[(hash >> 32) & (cache->bucket_count - 1)];
}

struct cache *cache_open(struct blockdev *device, uint32_t block_size, size_t limit)
{
    struct cache *cache = calloc(1, sizeof *cache);

    if (cache == NULL)
        return NULL;
    cache->bucket_count = 256;
    while (cache->bucket_count < limit)
        cache->bucket_count *= 2;
    cache->buckets = calloc(cache->bucket_count, sizeof *cache->buckets);
    if (cache->buckets == NULL) {
        free(cache);
        return NULL;
    }
    cache->device = device;
    cache->block_size = block_size;
    cache->limit = limit;
    cache->missed = CACHE_NONE;
    list_init(&cache->recent);
    list_init(&cache->changed);
    list_init(&cache->logged);
    return cache;
}

static void block_delete(struct cache *cache, struct cache_block *block)
{
    struct cache_block **place = bucket_of(cache, block->number);

    while (*place != block)
        place = &(*place)->hash_next;
    *place = block->hash_next;
    list_remove(&block->recent);
    list_remove(&block->changed);
    list_remove(&block->in_log);
    cache->count--;
    cache->dirty_count -= block->dirty;
    cache->logged_count -= block->logged;
    cache->overlay_count -= block->overlay;
    free(block->committed);
    free(block->frozen_copy);
    free(block->data);
    free(block);
}

void cache_close(struct cache *cache)
{
    if (cache == NULL)
        return;
    while (cache->recent.next != &cache->recent)
        block_delete(cache, CACHE_BLOCK(cache->recent.next, recent));
    free(cache->buckets);
    free(cache);
}

struct cache_block *cache_find(struct cache *cache, uint64_t number)
{
    struct cache_block *block = *bucket_of(cache, number);

    while (block != NULL && block->number != number)
        block = block->hash_next;
    return block;
}

static void evict_some(struct cache *cache)
{
    struct cache_link *link = cache->recent.next;

    for (int looked = 0; cache->count >= cache->limit && looked < 64; looked++) {
        struct cache_block *block = CACHE_BLOCK(link, recent);

        if (link == &cache->recent)
            return;
        link = link->next;
        if (block->dirty || block->frozen || block->logged || block->overlay) {
            list_remove(&block->recent);            /* not asked again soon */
            list_append(&cache->recent, &block->recent);
        } else {
            block_delete(cache, block);
        }
    }
}

static struct cache_block *block_create(struct cache *cache, uint64_t number)
{
    struct cache_block *block;
    struct cache_block **bucket = bucket_of(cache, number);

    evict_some(cache);
    block = calloc(1, sizeof *block);
    if (block == NULL)
        return NULL;
    block->data = malloc(cache->block_size);
    if (block->data == NULL) {
        free(block);
        return NULL;
    }
    block->number = number;
    list_init(&block->changed);
    list_init(&block->in_log);
    list_append(&cache->recent, &block->recent);
    block->hash_next = *bucket;
    *bucket = block;
    cache->count++;
    return block;
}

/* The block; read from the disk if it is not here, unless it is overwritten anyway (`whole`). */
static int block_get(struct cache *cache, uint64_t number, bool whole, struct cache_block **ret)
{
    struct cache_block *block = cache_find(cache, number);
    int error;

    if (block != NULL) {
        list_remove(&block->recent);
        list_append(&cache->recent, &block->recent);
        *ret = block;
        return 0;
    }
    if (number >= cache->device->size / cache->block_size)
        return -EIO;
    if (cache->looking && !whole) {
        cache->missed = number;
        return -EAGAIN;
    }
    block = block_create(cache, number);
    if (block == NULL)
        return -ENOMEM;
    if (!whole) {
        error = blockdev_read(cache->device, number * cache->block_size, block->data,
                              cache->block_size);
        if (error != 0) {
            block_delete(cache, block);
            return error;
        }
    }
    *ret = block;
    return 0;
}

int cache_read(struct cache *cache, uint64_t offset, void *data, size_t length)
{
    uint8_t *to = data;

    while (length != 0) {
        uint32_t start = offset % cache->block_size;
        size_t step = cache->block_size - start;
        struct cache_block *block;
        int error;

        if (step > length)
            step = length;
        error = block_get(cache, offset / cache->block_size, false, &block);
        if (error != 0)
            return error;
        memcpy(to, block->data + start, step);
        to += step;
        offset += step;
        length -= step;
    }
    return 0;
}

/* Before the contents change: keep what the log has, or is getting, of the block. */
static int block_dirty(struct cache *cache, struct cache_block *block)
{
    if (block->dirty)
        return 0;
    if (block->frozen || block->logged) {
        uint8_t *copy = malloc(cache->block_size);

        if (copy == NULL)
            return -ENOMEM;
        memcpy(copy, block->data, cache->block_size);
        *(block->frozen ? &block->frozen_copy : &block->committed) = copy;
    }
    block->dirty = true;
    cache->dirty_count++;
    list_append(&cache->changed, &block->changed);
    return 0;
}

int cache_write(struct cache *cache, uint64_t offset, const void *data, size_t length)
{
    const uint8_t *from = data;

    if (cache->device->read_only)
        return -EROFS;
    while (length != 0) {
        uint32_t start = offset % cache->block_size;
        size_t step = cache->block_size - start;
        bool whole;
        struct cache_block *block;
        int error;

        if (step > length)
            step = length;
        whole = step == cache->block_size && !cache->compare;
        error = block_get(cache, offset / cache->block_size, whole, &block);
        if (error != 0)
            return error;
        if (!cache->compare || memcmp(block->data + start, from, step) != 0) {
            error = block_dirty(cache, block);
            if (error != 0)
                return error;
            memcpy(block->data + start, from, step);
        }
        from += step;
        offset += step;
        length -= step;
    }
    return 0;
}

void cache_insert(struct cache *cache, uint64_t number, const void *data)
{
    struct cache_block *block;

    if (cache_find(cache, number) == NULL && block_get(cache, number, true, &block) == 0)
        memcpy(block->data, data, cache->block_size);
}

void cache_forget(struct cache *cache, uint64_t number)
{
    struct cache_block *block = cache_find(cache, number);

    if (block != NULL)
        block_delete(cache, block);
}

int cache_overlay(struct cache *cache, uint64_t number, const void *data)
{
    struct cache_block *block;
    int error = block_get(cache, number, true, &block);

    if (error != 0)
        return error;
    memcpy(block->data, data, cache->block_size);
    cache->overlay_count += !block->overlay;
    block->overlay = true;
    return 0;
}

void cache_discard_change(struct cache *cache, struct cache_block *block)
{
    if (!block->dirty)
        return;
    block->dirty = false;
    cache->dirty_count--;
    list_remove(&block->changed);
}

void cache_freeze(struct cache *cache, struct cache_block *block)
{
    cache_discard_change(cache, block);
    block->frozen = true;
}

void cache_committed(struct cache *cache, struct cache_block *block)
{
    free(block->committed);
    block->committed = block->frozen_copy;
    block->frozen_copy = NULL;
    block->frozen = false;
    if (!block->logged) {
        block->logged = true;
        cache->logged_count++;
        list_append(&cache->logged, &block->in_log);
    }
}

const uint8_t *cache_committed_data(const struct cache_block *block)
{
    return block->committed != NULL ? block->committed : block->data;
}

void cache_checkpointed(struct cache *cache, struct cache_block *block)
{
    if (!block->logged)
        return;
    block->logged = false;
    cache->logged_count--;
    list_remove(&block->in_log);
    free(block->committed);
    block->committed = NULL;
}
