/* The journal's writing side: begin, commit, checkpoint; see journal.h for the idea.
 *
 * A commit builds its piece of the log in memory (journal_piece.c) while it holds the lock, and
 * writes it without. The ring always has room: a
 * transaction takes at most a quarter of it, and a checkpoint empties it when it is half full.
 */
#include "journal_piece.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ext2fs/ext2fs.h>

#define TRANSACTION_MAX   1024u     /* blocks; bounds the memory that a commit needs */
#define CHECKPOINT_BATCH  128u      /* blocks copied and written at once */

/* Opening ---------------------------------------------------------------- */

static void superblock_prepare(struct journal *journal, bool wide_blocks, bool checksums)
{
    struct jbd2_superblock *superblock = &journal->superblock;
    uint32_t incompat;

    if (superblock->header.type == htobe32(JBD2_SUPERBLOCK_V1)) {
        uint8_t *rest = (uint8_t *)superblock + offsetof(struct jbd2_superblock, compat);

        memset(rest, 0, sizeof *superblock - offsetof(struct jbd2_superblock, compat));
        superblock->header.type = htobe32(JBD2_SUPERBLOCK_V2);
    }
    incompat = be32toh(superblock->incompat) | JBD2_INCOMPAT_REVOKE;
    incompat &= ~(JBD2_INCOMPAT_ASYNC_COMMIT | JBD2_INCOMPAT_CSUM_V2 | JBD2_INCOMPAT_CSUM_V3 |
                  JBD2_INCOMPAT_FAST_COMMIT);
    if (wide_blocks)
        incompat |= JBD2_INCOMPAT_64BIT;
    superblock->compat &= htobe32(~JBD2_COMPAT_CHECKSUM);
    superblock->checksum_type = 0;
    superblock->checksum = 0;
    if (checksums) {
        incompat |= JBD2_INCOMPAT_CSUM_V3;
        superblock->checksum_type = JBD2_CHECKSUM_CRC32C;
    }
    superblock->incompat = htobe32(incompat);
    superblock->start = 0;
    superblock->sequence = htobe32(journal->running);
}

int journal_open(struct journal *journal, struct cache *cache, pthread_mutex_t *lock,
                 const struct journal_client *client, const struct journal_place *place,
                 const struct jbd2_superblock *superblock, bool wide_blocks, bool checksums)
{
    memset(journal, 0, sizeof *journal);
    journal->cache = cache;
    journal->device = cache->device;
    journal->client = *client;
    journal->lock = lock;
    journal->running = 1;
    journal->transaction_max = TRANSACTION_MAX;
    if (journal->transaction_max > cache->limit / 2)
        journal->transaction_max = (uint32_t)(cache->limit / 2);
    pthread_cond_init(&journal->idle, NULL);
    if (place == NULL)
        return 0;
    journal->present = true;
    journal->place = *place;
    journal->superblock = *superblock;
    journal->running = be32toh(superblock->sequence);
    if (journal->running == 0)
        journal->running = 1;
    superblock_prepare(journal, wide_blocks, checksums);
    journal->seed = journal_seed(&journal->superblock);
    journal->first = journal->head = be32toh(superblock->first);
    journal->end = be32toh(superblock->block_count);
    if (journal->transaction_max > (journal->end - journal->first) / 4)
        journal->transaction_max = (journal->end - journal->first) / 4;
    return journal_write_superblock(journal->device, &journal->place, cache->block_size,
                                    &journal->superblock);
}

void journal_destroy(struct journal *journal)
{
    pthread_cond_destroy(&journal->idle);
    free(journal->place.blocks);
    free(journal->freed.items);
    memset(journal, 0, sizeof *journal);
}

void journal_abort(struct journal *journal, const char *why)
{
    if (journal->aborted)
        return;
    journal->aborted = true;
    fprintf(stderr, "%s; nothing more is written to this file system\n", why);
}

/* Freed blocks ---------------------------------------------------------------- */

int journal_free(struct journal *journal, uint64_t start, uint64_t count)
{
    struct journal_ranges *ranges = &journal->freed;
    struct journal_range *last = ranges->count > 0 ? &ranges->items[ranges->count - 1] : NULL;

    journal->freed_blocks += count;
    if (last != NULL && last->start + last->count == start) {
        last->count += count;
        return 0;
    }
    if (last != NULL && start + count == last->start) {
        last->start = start;
        last->count += count;
        return 0;
    }
    if (ranges->count == ranges->room) {
        size_t room = ranges->room * 2 + 32;
        struct journal_range *bigger = realloc(ranges->items, room * sizeof *bigger);

        if (bigger == NULL)
            return -ENOMEM;
        ranges->items = bigger;
        ranges->room = room;
    }
    ranges->items[ranges->count++] = (struct journal_range){ start, count };
    return 0;
}

static void freed_discard(struct journal *journal, struct cache_block *block, void *context)
{
    (void)context;
    cache_discard_change(journal->cache, block);
}

static void freed_forget(struct journal *journal, struct cache_block *block, void *context)
{
    (void)context;
    cache_forget(journal->cache, block->number);
}

/* Writing it ---------------------------------------------------------------- */

/* Write blocks of the piece at the head of the ring, as few requests as the ring's place allows. */
static int ring_write(struct journal *journal, const uint8_t *blocks, uint32_t count)
{
    uint32_t size = journal->cache->block_size;

    while (count != 0) {
        uint64_t start = journal->place.blocks[journal->head];
        uint32_t run = 1;
        int error;

        while (run < count && journal->head + run < journal->end &&
               journal->place.blocks[journal->head + run] == start + run)
            run++;
        error = blockdev_write(journal->device, start * size, blocks, (size_t)run * size);
        if (error != 0)
            return error;
        blocks += (size_t)run * size;
        count -= run;
        journal->head += run;
        if (journal->head == journal->end)
            journal->head = journal->first;
    }
    return 0;
}

/* The ring was empty: from now on recovery begins at its head. */
static int ring_start(struct journal *journal)
{
    if (journal->superblock.start != 0)
        return 0;
    journal->superblock.start = htobe32(journal->head);
    journal->superblock.sequence = htobe32(journal->running);
    return journal_write_superblock(journal->device, &journal->place, journal->cache->block_size,
                                    &journal->superblock);
}

/* All but the commit block, flush, the commit block, flush. Without the lock. */
static int piece_write(struct journal *journal, const struct log_piece *piece)
{
    uint32_t body = piece->count - 1;
    int error = ring_start(journal);

    if (error == 0)
        error = ring_write(journal, piece->blocks, body);
    if (error == 0)
        error = blockdev_flush(journal->device);
    if (error == 0)
        error = ring_write(journal, piece->blocks + (size_t)body * journal->cache->block_size, 1);
    if (error == 0)
        error = blockdev_flush(journal->device);
    return error;
}

/* Checkpoint ---------------------------------------------------------------- */

static int block_order(const void *one, const void *two)
{
    const struct cache_block *a = *(struct cache_block *const *)one;
    const struct cache_block *b = *(struct cache_block *const *)two;

    return a->number < b->number ? -1 : a->number > b->number;
}

/* Write `count` blocks home that are sorted by number; `copies` holds their contents. */
static int home_write(struct journal *journal, const uint64_t *numbers, const uint8_t *copies,
                      uint32_t count)
{
    uint32_t size = journal->cache->block_size;

    for (uint32_t i = 0, run; i < count; i += run) {
        int error;

        for (run = 1; i + run < count && numbers[i + run] == numbers[i] + run;)
            run++;
        error = blockdev_write(journal->device, numbers[i] * size, copies + (size_t)i * size,
                               (size_t)run * size);
        if (error != 0)
            return error;
    }
    return 0;
}

/* All logged blocks now; none is added or forgotten meanwhile, since that needs a commit. */
static struct cache_block **logged_collect(struct journal *journal, size_t *ret_count)
{
    struct cache_block **blocks = malloc((journal->cache->logged_count + 1) * sizeof *blocks);
    size_t count = 0;

    if (blocks == NULL)
        return NULL;
    for (struct cache_link *link = journal->cache->logged.next; link != &journal->cache->logged;
         link = link->next)
        blocks[count++] = CACHE_BLOCK(link, in_log);
    qsort(blocks, count, sizeof *blocks, block_order);
    *ret_count = count;
    return blocks;
}

/* Copy a batch under the lock, write it without. */
static int batch_write(struct journal *journal, struct cache_block **blocks, uint32_t count,
                       uint8_t *copies)
{
    uint64_t numbers[CHECKPOINT_BATCH];
    int error;

    for (uint32_t i = 0; i < count; i++) {
        numbers[i] = blocks[i]->number;
        memcpy(copies + (size_t)i * journal->cache->block_size, cache_committed_data(blocks[i]),
               journal->cache->block_size);
    }
    pthread_mutex_unlock(journal->lock);
    error = home_write(journal, numbers, copies, count);
    pthread_mutex_lock(journal->lock);
    return error;
}

/* Bring all logged blocks home and empty the ring. The caller is the one who made it busy. */
static int checkpoint(struct journal *journal)
{
    uint8_t *copies = malloc((size_t)CHECKPOINT_BATCH * journal->cache->block_size);
    size_t count = 0, done = 0;
    struct cache_block **blocks = logged_collect(journal, &count);
    int error = copies == NULL || blocks == NULL ? -ENOMEM : 0;

    while (error == 0 && done < count) {
        uint32_t batch = count - done < CHECKPOINT_BATCH ? (uint32_t)(count - done)
                                                         : CHECKPOINT_BATCH;

        error = batch_write(journal, blocks + done, batch, copies);
        done += batch;
    }
    if (error == 0) {
        journal->superblock.start = 0;
        journal->superblock.sequence = htobe32(journal->running);
        pthread_mutex_unlock(journal->lock);
        error = blockdev_flush(journal->device);
        if (error == 0)
            error = journal_write_superblock(journal->device, &journal->place,
                                             journal->cache->block_size, &journal->superblock);
        pthread_mutex_lock(journal->lock);
    }
    if (error == 0) {
        for (size_t i = 0; i < count; i++)
            cache_checkpointed(journal->cache, blocks[i]);
        journal->used = 0;
        journal->checkpoints++;
    }
    free(copies);
    free(blocks);
    return error;
}

/* Commit ---------------------------------------------------------------- */

static bool is_changed(struct journal *journal)
{
    return journal->cache->dirty_count != 0 || journal->freed.count != 0 ||
           journal->client.is_changed(journal->client.context);
}

/* All dirty blocks, sorted; they become frozen. */
static struct cache_block **dirty_freeze(struct journal *journal, uint32_t *ret_count)
{
    struct cache *cache = journal->cache;
    struct cache_block **blocks = malloc((cache->dirty_count + 1) * sizeof *blocks);
    uint32_t count = 0;

    if (blocks == NULL)
        return NULL;
    while (cache->changed.next != &cache->changed) {
        blocks[count] = CACHE_BLOCK(cache->changed.next, changed);
        cache_freeze(cache, blocks[count++]);
    }
    qsort(blocks, count, sizeof *blocks, block_order);
    *ret_count = count;
    return blocks;
}

/* Write a transaction into the log. Lock held, let go meanwhile. */
static int commit_to_log(struct journal *journal, const struct journal_ranges *freed,
                         struct cache_block **frozen, uint32_t count)
{
    struct log_piece piece = { 0 };
    uint32_t room;
    int error = piece_build(journal, &piece, freed, frozen, count);

    room = journal->end - journal->first - journal->used;
    if (error == 0 && piece.count >= room)
        error = journal->used != 0 ? checkpoint(journal) : 0;
    if (error == 0 && piece.count >= journal->end - journal->first - journal->used)
        error = -EFBIG;
    if (error == 0) {
        pthread_mutex_unlock(journal->lock);
        error = piece_write(journal, &piece);
        pthread_mutex_lock(journal->lock);
        journal->used += piece.count;
    }
    free(piece.blocks);
    for (uint32_t i = 0; i < count && error == 0; i++)
        cache_committed(journal->cache, frozen[i]);
    return error;
}

/* Without a journal: home at once, in whatever order. */
static int commit_home(struct journal *journal, struct cache_block **frozen, uint32_t count)
{
    uint8_t *copies = malloc((size_t)CHECKPOINT_BATCH * journal->cache->block_size);
    int error = copies == NULL ? -ENOMEM : 0;

    for (uint32_t i = 0; i < count; i++)
        cache_committed(journal->cache, frozen[i]);
    for (uint32_t i = 0, batch; i < count && error == 0; i += batch) {
        batch = count - i < CHECKPOINT_BATCH ? count - i : CHECKPOINT_BATCH;
        error = batch_write(journal, frozen + i, batch, copies);
        for (uint32_t n = i; n < i + batch && error == 0; n++)
            cache_checkpointed(journal->cache, frozen[n]);
    }
    if (error == 0) {
        pthread_mutex_unlock(journal->lock);
        error = blockdev_flush(journal->device);
        pthread_mutex_lock(journal->lock);
    }
    free(copies);
    return error;
}

/* Take everything out of the running transaction: what comes from now on is the next one's. */
static int transaction_freeze(struct journal *journal, struct journal_ranges *ret_freed,
                              struct cache_block ***ret_frozen, uint32_t *ret_count)
{
    int error = journal->client.prepare(journal->client.context, &journal->freed);

    if (error != 0)
        return error;
    freed_visit(journal, &journal->freed, freed_discard, NULL);
    *ret_frozen = dirty_freeze(journal, ret_count);
    if (*ret_frozen == NULL)
        return -ENOMEM;
    *ret_freed = journal->freed;
    journal->freed = (struct journal_ranges){ 0 };
    journal->freed_blocks = 0;
    return 0;
}

static int commit_running(struct journal *journal)
{
    struct journal_ranges freed = { 0 };
    struct cache_block **frozen = NULL;
    uint32_t count = 0;
    int error = transaction_freeze(journal, &freed, &frozen, &count);

    if (error != 0)
        return error;
    error = journal->present ? commit_to_log(journal, &freed, frozen, count)
                             : commit_home(journal, frozen, count);
    if (error == 0) {
        freed_visit(journal, &freed, freed_forget, NULL);
        journal->client.committed(journal->client.context, &freed);
        journal->running++;
        journal->commits++;
    }
    free(frozen);
    free(freed.items);
    return error;
}

static bool wants_checkpoint(const struct journal *journal)
{
    return journal->used > (journal->end - journal->first) / 2 ||
           journal->cache->logged_count > journal->cache->limit / 2;
}

static void wait_idle(struct journal *journal)
{
    while (journal->busy)
        pthread_cond_wait(&journal->idle, journal->lock);
}

/* Commit if there is anything, and checkpoint if it is time for it or `all`. */
static int commit(struct journal *journal, bool all)
{
    int error = 0;

    wait_idle(journal);
    if (journal->aborted)
        return -EROFS;
    journal->busy = true;
    if (is_changed(journal))
        error = commit_running(journal);
    if (error == 0 && journal->present && (all || wants_checkpoint(journal)))
        error = checkpoint(journal);
    journal->busy = false;
    pthread_cond_broadcast(&journal->idle);
    if (error != 0) {
        char why[80];

        snprintf(why, sizeof why, "the journal cannot be written (error %d)", -error);
        journal_abort(journal, why);
    }
    return error;
}

int journal_begin(struct journal *journal, uint32_t blocks)
{
    while (!journal->aborted && journal->cache->dirty_count != 0 &&
           journal->cache->dirty_count + journal->overhead + blocks > journal->transaction_max) {
        int error = commit(journal, false);

        if (error != 0)
            return error;
    }
    return journal->aborted ? -EROFS : 0;
}

int journal_commit(struct journal *journal)
{
    return commit(journal, false);
}

int journal_sync(struct journal *journal)
{
    int error;

    wait_idle(journal);
    if (journal->aborted)
        return -EROFS;
    if (is_changed(journal))
        return commit(journal, false);
    pthread_mutex_unlock(journal->lock);
    error = blockdev_flush(journal->device);
    pthread_mutex_lock(journal->lock);
    return error;
}

int journal_close(struct journal *journal)
{
    return commit(journal, true);
}
