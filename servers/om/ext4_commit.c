/* What a commit of the journal asks of ext4: bring into the cache what libext2fs and the nodes
 * keep in memory, and keep freed blocks from being allocated before they are free on the disk.
 */
#include <errno.h>

#include "ext4.h"


static void freed_mark(struct ext4 *ext4, const struct journal_ranges *freed, bool in_use)
{
    for (size_t i = 0; i < freed->count; i++) {
        if (in_use)
            ext2fs_mark_block_bitmap_range2(ext4->e2->block_map, freed->items[i].start,
                                            (unsigned)freed->items[i].count);
        else
            ext2fs_unmark_block_bitmap_range2(ext4->e2->block_map, freed->items[i].start,
                                              (unsigned)freed->items[i].count);
    }
}

bool ext4_state_is_changed(void *context)
{
    struct ext4 *ext4 = context;

    return ext4->written_ranges != 0 ||
           (ext4->e2->flags & (EXT2_FLAG_DIRTY | EXT2_FLAG_BB_DIRTY | EXT2_FLAG_IB_DIRTY)) != 0;
}

static int client_prepare(void *context, const struct journal_ranges *freed)
{
    struct ext4 *ext4 = context;
    errcode_t code = 0;
    int error = ext4_written_record_all(ext4);

    if (error != 0)
        return error;
    ext4->committing_freed = ext4->journal.freed_blocks;
    freed_mark(ext4, freed, false);
    ext4->cache->compare = true;
    if (ext4_state_is_changed(ext4))
        code = ext2fs_flush2(ext4->e2, EXT2_FLAG_FLUSH_NO_SYNC);
    ext4->cache->compare = false;
    freed_mark(ext4, freed, true);
    return ext4_error(code);
}

static void client_committed(void *context, const struct journal_ranges *freed)
{
    struct ext4 *ext4 = context;

    freed_mark(ext4, freed, false);
    ext4->committing_freed = 0;
}

static void client_now(void *context, int64_t *seconds, uint32_t *nanoseconds)
{
    struct file_time now = ext4_now(context);

    *seconds = now.seconds;
    *nanoseconds = now.nanoseconds;
}

/* libext2fs has changed its block bitmap: what is freed stays marked until it is committed. */
static void block_freed(ext2_filsys e2, blk64_t block, blk_t count, int in_use)
{
    struct ext4 *ext4 = e2->priv_data;

    if (in_use > 0)
        return;
    ext2fs_mark_block_bitmap_range2(e2->block_map, block, count);
    if (journal_free(&ext4->journal, block, count) != 0)
        journal_abort(&ext4->journal, "out of memory");
}

static void one_block_freed(ext2_filsys e2, blk64_t block, int in_use)
{
    block_freed(e2, block, 1, in_use);
}

struct journal_client ext4_journal_client(struct ext4 *ext4)
{
    return (struct journal_client){
        .context = ext4, .is_changed = ext4_state_is_changed, .prepare = client_prepare,
        .committed = client_committed, .now = client_now,
    };
}

void ext4_freeing_watch(struct ext4 *ext4)
{
    ext4->e2->priv_data = ext4;
    ext2fs_set_block_alloc_stats_callback(ext4->e2, one_block_freed, NULL);
    ext2fs_set_block_alloc_stats_range_callback(ext4->e2, block_freed, NULL);
}
