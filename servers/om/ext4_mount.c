/* ext4: from an image to a file system in use, and back.
 *
 * Mounting reads much and writes late: the superblock, the device's size, the features, the group
 * descriptors and the journal are checked before the first byte is written. What is wrong is said
 * in a sentence, and the image stays as it was. Then the journal is replayed, orphans are
 * removed, and the image is marked "needs recovery" until it is cleanly unmounted.
 *
 * A read-only mount of an unclean image replays the journal into the cache only.
 */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ext4.h"
#include "state.h"

#define BLOCK_SIZE_MAX 4096         /* a block must fit into a page of the Nucleus' cache */
#define CACHE_BLOCKS_MIN 256

#define INCOMPAT_KNOWN (EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_RECOVER | \
                        EXT2_FEATURE_INCOMPAT_META_BG | EXT3_FEATURE_INCOMPAT_EXTENTS | \
                        EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG | \
                        EXT4_FEATURE_INCOMPAT_CSUM_SEED | EXT4_FEATURE_INCOMPAT_LARGEDIR)
#define RO_COMPAT_KNOWN (EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE | \
                         EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_GDT_CSUM | \
                         EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | \
                         EXT4_FEATURE_RO_COMPAT_METADATA_CSUM)

struct feature_name {
    uint32_t bit;
    const char *name;
};

static const struct feature_name incompat_names[] = {
    { EXT2_FEATURE_INCOMPAT_COMPRESSION, "compression" },
    { EXT3_FEATURE_INCOMPAT_JOURNAL_DEV, "journal_dev" },
    { EXT4_FEATURE_INCOMPAT_MMP, "mmp" },
    { EXT4_FEATURE_INCOMPAT_EA_INODE, "ea_inode" },
    { EXT4_FEATURE_INCOMPAT_DIRDATA, "dirdata" },
    { EXT4_FEATURE_INCOMPAT_INLINE_DATA, "inline_data" },
    { EXT4_FEATURE_INCOMPAT_ENCRYPT, "encrypt" },
    { EXT4_FEATURE_INCOMPAT_CASEFOLD, "casefold" },
};

static const struct feature_name ro_compat_names[] = {
    { EXT4_FEATURE_RO_COMPAT_HAS_SNAPSHOT, "snapshot" },
    { EXT4_FEATURE_RO_COMPAT_QUOTA, "quota" },
    { EXT4_FEATURE_RO_COMPAT_BIGALLOC, "bigalloc" },
    { EXT4_FEATURE_RO_COMPAT_REPLICA, "replica" },
    { EXT4_FEATURE_RO_COMPAT_READONLY, "read-only" },
    { EXT4_FEATURE_RO_COMPAT_PROJECT, "project" },
    { EXT4_FEATURE_RO_COMPAT_SHARED_BLOCKS, "shared_blocks" },
    { EXT4_FEATURE_RO_COMPAT_VERITY, "verity" },
    { EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT, "orphan_present" },
};

/* A mount in progress. */
struct mounting {
    struct ext4 *ext4;
    struct blockdev *device;
    bool     read_only;
    size_t   memory;
    uint32_t block_size;
    struct ext2_super_block super;
    struct journal_place place;
    struct jbd2_superblock journal;
    bool     has_journal;
    bool     rests;             /* the image is marked as in use, and yet needs nothing: another om left it so */
    char    *why;
    size_t   why_size;
};

__attribute__((format(printf, 3, 4)))
static int refuse(struct mounting *mounting, int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(mounting->why, mounting->why_size, format, arguments);
    va_end(arguments);
    return error;
}

static const char *feature_find(const struct feature_name *names, size_t count, uint32_t bits)
{
    for (size_t i = 0; i < count; i++)
        if ((names[i].bit & bits) != 0)
            return names[i].name;
    return "one of a later time";
}

/* The superblock ---------------------------------------------------------------- */

static int super_read(struct mounting *mounting)
{
    uint8_t buffer[2048];
    int error;

    if (mounting->device->size < sizeof buffer)
        return refuse(mounting, -EINVAL, "it is too small for a file system");
    error = blockdev_read(mounting->device, 0, buffer, sizeof buffer);
    if (error != 0)
        return refuse(mounting, error, "it cannot be read (%s)", strerror(-error));
    memcpy(&mounting->super, buffer + 1024, sizeof mounting->super);
    if (mounting->super.s_magic != EXT2_SUPER_MAGIC)
        return refuse(mounting, -EINVAL, "it is not an ext4 file system");
    if (mounting->super.s_log_block_size > 2)
        return refuse(mounting, -EOPNOTSUPP, "its blocks are larger than %d bytes", BLOCK_SIZE_MAX);
    mounting->block_size = 1024u << mounting->super.s_log_block_size;
    return 0;
}

static int features_check(struct mounting *mounting)
{
    uint32_t incompat = mounting->super.s_feature_incompat & ~INCOMPAT_KNOWN;
    uint32_t ro_compat = mounting->super.s_feature_ro_compat & ~RO_COMPAT_KNOWN;

    if (incompat != 0)
        return refuse(mounting, -EOPNOTSUPP, "it uses the feature %s, which is not supported",
                      feature_find(incompat_names, sizeof incompat_names / sizeof *incompat_names,
                                   incompat));
    if ((ro_compat & EXT4_FEATURE_RO_COMPAT_BIGALLOC) != 0)
        return refuse(mounting, -EOPNOTSUPP,
                      "it uses the feature bigalloc, which is not supported");
    if (ro_compat != 0 && !mounting->read_only)
        return refuse(mounting, -EOPNOTSUPP,
                      "it uses the feature %s, with which it can only be read",
                      feature_find(ro_compat_names, sizeof ro_compat_names / sizeof *ro_compat_names,
                                   ro_compat));
    if (mounting->super.s_journal_dev != 0 && mounting->super.s_journal_inum == 0)
        return refuse(mounting, -EOPNOTSUPP, "its journal is on another disk");
    return 0;
}

static int state_check(struct mounting *mounting)
{
    uint64_t blocks = mounting->super.s_blocks_count;

    if ((mounting->super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT) != 0)
        blocks |= (uint64_t)mounting->super.s_blocks_count_hi << 32;
    if (blocks > mounting->device->size / mounting->block_size)
        return refuse(mounting, -EINVAL,
                      "it is truncated: the file system has %llu blocks of %u bytes, the image ends "
                      "after %llu", (unsigned long long)blocks, mounting->block_size,
                      (unsigned long long)(mounting->device->size / mounting->block_size));
    if ((mounting->super.s_state & EXT2_ERROR_FS) != 0)
        return refuse(mounting, -EUCLEAN,
                      "it is marked as having errors; check it with e2fsck first");
    if ((mounting->super.s_state & EXT2_VALID_FS) == 0 && !mounting->read_only && !mounting->rests &&
        (mounting->super.s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) == 0)
        return refuse(mounting, -EUCLEAN, "it was not unmounted, and has no journal to recover it "
                      "by; check it with e2fsck first");
    return 0;
}

/* libext2fs --------------------------------------------------------------------- */

static int library_open(struct mounting *mounting, bool read_only)
{
    struct ext4 *ext4 = mounting->ext4;
    int flags = EXT2_FLAG_64BITS | (read_only ? 0 : EXT2_FLAG_RW);
    errcode_t code = ext2fs_open("image", flags, 0, 0, ext4_io_manager(ext4->cache), &ext4->e2);

    if (code == EXT2_ET_SB_CSUM_INVALID)
        return refuse(mounting, -EUCLEAN, "the checksum of its superblock is wrong; check it with "
                      "e2fsck");
    if (code != 0)
        return refuse(mounting, -EUCLEAN, "its superblock is damaged (%s); check it with e2fsck",
                      error_message(code));
    ext4->e2->flags |= EXT2_FLAG_MASTER_SB_ONLY;
    return 0;
}

static void library_close(struct ext4 *ext4)
{
    if (ext4->e2 != NULL)
        ext2fs_free(ext4->e2);
    ext4->e2 = NULL;
}

static int descriptors_check(struct mounting *mounting)
{
    ext2_filsys e2 = mounting->ext4->e2;
    errcode_t code;

    for (dgrp_t group = 0; group < e2->group_desc_count; group++)
        if (!ext2fs_group_desc_csum_verify(e2, group))
            return refuse(mounting, -EUCLEAN, "the descriptor of block group %u is damaged; check "
                          "it with e2fsck", group);
    code = ext2fs_check_desc(e2);
    if (code != 0)
        return refuse(mounting, -EUCLEAN, "its group descriptors are damaged (%s); check it with "
                      "e2fsck", error_message(code));
    return 0;
}

/* The journal ------------------------------------------------------------------- */

static int place_find(struct mounting *mounting)
{
    struct ext4 *ext4 = mounting->ext4;
    uint32_t number = mounting->super.s_journal_inum;
    struct ext4_inode inode;
    uint64_t count;
    int error;

    error = number == 0 ? -EUCLEAN : ext4_inode_read(ext4, number, &inode);
    if (error != 0 || inode.large.i_links_count == 0 || !LINUX_S_ISREG(inode.large.i_mode))
        return refuse(mounting, -EUCLEAN, "its journal is damaged (no such file); check it with "
                      "e2fsck");
    count = EXT2_I_SIZE(SMALL(&inode)) / mounting->block_size;
    if (count > 1u << 26 || count < 16)
        return refuse(mounting, -EUCLEAN, "its journal is damaged (its size is absurd); check it "
                      "with e2fsck");
    mounting->place.blocks = malloc(count * sizeof *mounting->place.blocks);
    if (mounting->place.blocks == NULL)
        return refuse(mounting, -ENOMEM, "there is not enough memory");
    mounting->place.count = (uint32_t)count;
    for (uint64_t n = 0; n < count; n++) {
        blk64_t block = 0;
        errcode_t code = ext2fs_bmap2(ext4->e2, number, SMALL(&inode), NULL, 0, n, NULL, &block);

        if (code != 0 || block == 0 || block >= ext2fs_blocks_count(ext4->e2->super))
            return refuse(mounting, -EUCLEAN, "its journal is damaged (it has holes); check it with "
                          "e2fsck");
        mounting->place.blocks[n] = block;
    }
    return 0;
}

static int replay_to_disk(void *context, uint64_t block, const void *data)
{
    struct mounting *mounting = context;

    return blockdev_write(mounting->device, block * mounting->block_size, data,
                          mounting->block_size);
}

static int replay_to_cache(void *context, uint64_t block, const void *data)
{
    struct mounting *mounting = context;

    return cache_overlay(mounting->ext4->cache, block, data);
}

static int cache_renew(struct mounting *mounting)
{
    size_t limit = mounting->memory / mounting->block_size;

    cache_close(mounting->ext4->cache);
    mounting->ext4->cache = cache_open(mounting->device, mounting->block_size,
                                       limit < CACHE_BLOCKS_MIN ? CACHE_BLOCKS_MIN : limit);
    return mounting->ext4->cache != NULL ? 0
                                         : refuse(mounting, -ENOMEM, "there is not enough memory");
}

/* The flag in the superblock on the disk that says: replay the journal first. */
static int needs_recovery_write(struct mounting *mounting, bool needed)
{
    ext2_filsys e2 = mounting->ext4->e2;
    int error;

    if (needed)
        ext2fs_set_feature_journal_needs_recovery(e2->super);
    else
        ext2fs_clear_feature_journal_needs_recovery(e2->super);
    error = ext4_error(ext2fs_superblock_csum_set(e2, e2->super));
    if (error == 0)
        error = blockdev_write(mounting->device, 1024, e2->super, 1024);
    if (error == 0)
        error = blockdev_flush(mounting->device);
    return error == 0 ? 0 : refuse(mounting, error, "it cannot be written (%s)", strerror(-error));
}

/* Replay, and open what came out of it. */
static int journal_recover(struct mounting *mounting)
{
    uint64_t blocks = 0;
    uint32_t next = 0;
    const char *why = NULL;
    int error;

    library_close(mounting->ext4);
    if (mounting->read_only) {
        error = cache_renew(mounting);
        if (error != 0)
            return error;
    }
    error = journal_replay(mounting->device, &mounting->place, mounting->block_size,
                           &mounting->journal,
                           mounting->read_only ? replay_to_cache : replay_to_disk, mounting, &next,
                           &blocks, &why);
    if (error != 0)
        return refuse(mounting, error, "its journal cannot be replayed: %s; check it with e2fsck",
                      why != NULL ? why : strerror(-error));
    if (mounting->read_only)
        return library_open(mounting, true);
    error = blockdev_flush(mounting->device);
    if (error == 0) {
        mounting->journal.start = 0;
        mounting->journal.sequence = htobe32(next + 1);
        error = journal_write_superblock(mounting->device, &mounting->place, mounting->block_size,
                                         &mounting->journal);
    }
    if (error != 0)
        return refuse(mounting, error, "its journal cannot be replayed (%s)", strerror(-error));
    fprintf(stderr, "the file system was not unmounted: %llu blocks recovered from its journal\n",
            (unsigned long long)blocks);
    return 0;
}

/* The image as it is on the disk after recovery, opened anew. */
static int image_reopen(struct mounting *mounting)
{
    int error = cache_renew(mounting);

    if (error == 0)
        error = super_read(mounting);
    if (error == 0)
        error = state_check(mounting);
    if (error == 0)
        error = library_open(mounting, mounting->read_only);
    return error == 0 ? descriptors_check(mounting) : error;
}

static int replay_to_nowhere(void *context, uint64_t block, const void *data)
{
    (void)context, (void)block, (void)data;
    return 0;
}

/* The image is clean: what stands in its journal is void, but its numbers must not come again. */
static int journal_skip(struct mounting *mounting)
{
    uint64_t blocks;
    uint32_t next;
    const char *why;

    if (mounting->journal.start == 0)
        return 0;
    if (journal_replay(mounting->device, &mounting->place, mounting->block_size,
                       &mounting->journal, replay_to_nowhere, NULL, &next, &blocks, &why) != 0)
        return refuse(mounting, -EUCLEAN, "its journal is damaged (%s); check it with e2fsck", why);
    mounting->journal.sequence = htobe32(next + 1);
    mounting->journal.start = 0;
    return 0;
}

static int journal_examine(struct mounting *mounting)
{
    bool unclean;
    const char *why = NULL;
    int error;

    mounting->has_journal =
        (mounting->super.s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) != 0;
    if (!mounting->has_journal)
        return 0;
    error = place_find(mounting);
    if (error != 0)
        return error;
    error = journal_read_superblock(mounting->device, &mounting->place, mounting->block_size,
                                    &mounting->journal, &why);
    if (error != 0)
        return refuse(mounting, error, "its journal is damaged (%s); check it with e2fsck", why);
    if (mounting->journal.error != 0)
        return refuse(mounting, -EUCLEAN, "its journal was given up after an error; check it with "
                      "e2fsck");
    unclean = (mounting->super.s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) != 0 && !mounting->rests;
    return unclean ? journal_recover(mounting) : journal_skip(mounting);
}

/* Beginning to write ------------------------------------------------------------- */

static int writing_begin(struct mounting *mounting)
{
    struct ext4 *ext4 = mounting->ext4;
    ext2_filsys e2 = ext4->e2;
    const struct journal_client client = ext4_journal_client(ext4);
    errcode_t code = ext2fs_read_bitmaps(e2);
    int error;

    if (code != 0)
        return refuse(mounting, -EUCLEAN, "its bitmaps cannot be read (%s); check it with e2fsck",
                      error_message(code));
    error = journal_open(&ext4->journal, ext4->cache, &ext4->fs.lock, &client,
                         mounting->has_journal ? &mounting->place : NULL, &mounting->journal,
                         ext2fs_has_feature_64bit(e2->super) != 0,
                         ext2fs_has_feature_metadata_csum(e2->super) != 0);
    mounting->place.blocks = NULL;
    if (error != 0)
        return refuse(mounting, error, "its journal cannot be written (%s)", strerror(-error));
    ext4->overhead = e2->desc_blocks + 2 * e2->group_desc_count + 2;
    if (ext4->overhead > ext4->journal.transaction_max / 2)
        ext4->overhead = ext4->journal.transaction_max / 2;
    ext4->journal.overhead = ext4->overhead;
    ext4_freeing_watch(ext4);
    if (mounting->rests)
        return 0;
    e2->super->s_mtime = (uint32_t)ext4_now(ext4).seconds;
    if (!mounting->has_journal) {
        e2->super->s_state &= ~EXT2_VALID_FS;
        ext2fs_mark_super_dirty(e2);
        return 0;
    }
    return needs_recovery_write(mounting, true);
}

static void sizes_set(struct ext4 *ext4)
{
    uint64_t blocks = ext2fs_blocks_count(ext4->e2->super);

    ext4->reserve = blocks / 50 < 1024 ? blocks / 50 + 8 : 1024;
    ext4->next_generation = (uint32_t)ext4_now(ext4).seconds * 2654435761u;
}

static int root_set(struct mounting *mounting)
{
    struct ext4_inode inode;
    int error = ext4_inode_read(mounting->ext4, EXT2_ROOT_INO, &inode);

    if (error != 0 || !LINUX_S_ISDIR(inode.large.i_mode))
        return refuse(mounting, -EUCLEAN, "its root directory is damaged; check it with e2fsck");
    mounting->ext4->fs.root = ext4_id(EXT2_ROOT_INO, &inode);
    return 0;
}

static int mount_run(struct mounting *mounting)
{
    struct ext4 *ext4 = mounting->ext4;
    int error = super_read(mounting);

    if (error == 0)
        error = features_check(mounting);
    if (error == 0)
        error = state_check(mounting);
    if (error == 0)
        error = cache_renew(mounting);
    if (error == 0)
        error = library_open(mounting, true);
    if (error == 0)
        error = journal_examine(mounting);
    if (error == 0 && mounting->read_only)
        error = descriptors_check(mounting);
    if (error == 0 && !mounting->read_only) {
        library_close(ext4);
        error = image_reopen(mounting);
    }
    if (error == 0)
        error = root_set(mounting);
    if (error == 0 && !mounting->read_only)
        error = writing_begin(mounting);
    if (error == 0)
        sizes_set(ext4);
    return error;
}

static void ext4_free(struct ext4 *ext4)
{
    library_close(ext4);
    if (ext4->journal.cache != NULL)
        journal_destroy(&ext4->journal);
    cache_close(ext4->cache);
    pthread_cond_destroy(&ext4->transfer_done);
    pthread_mutex_destroy(&ext4->fs.lock);
    free(ext4->names);
    free(ext4);
}

static struct ext4 *ext4_new(bool read_only)
{
    struct ext4 *ext4 = calloc(1, sizeof *ext4);

    if (ext4 == NULL)
        return NULL;
    ext4->names = calloc(EXT4_NAME_SLOTS, sizeof *ext4->names);
    if (ext4->names == NULL) {
        free(ext4);
        return NULL;
    }
    ext4->fs.operations = &ext4_operations;
    ext4->fs.now = fs_clock;
    ext4->fs.read_only = read_only;
    pthread_mutex_init(&ext4->fs.lock, NULL);
    pthread_cond_init(&ext4->transfer_done, NULL);
    return ext4;
}

static int orphans_clean(struct mounting *mounting)
{
    struct ext4 *ext4 = mounting->ext4;
    int error;

    pthread_mutex_lock(&ext4->fs.lock);
    error = ext4_orphans_clean(ext4);
    pthread_mutex_unlock(&ext4->fs.lock);
    return error == 0 ? 0 : refuse(mounting, error, "its list of deleted files is damaged; check it "
                                   "with e2fsck");
}

static int mount(struct mounting *mounting, struct fs **ret)
{
    int error;

    initialize_ext2_error_table();
    mounting->ext4 = ext4_new(mounting->read_only);
    if (mounting->ext4 == NULL)
        return refuse(mounting, -ENOMEM, "there is not enough memory");
    mounting->ext4->device = mounting->device;
    error = mount_run(mounting);
    free(mounting->place.blocks);
    if (error == 0 && !mounting->read_only && !mounting->rests)
        error = orphans_clean(mounting);
    if (error != 0) {
        ext4_free(mounting->ext4);
        return error;
    }
    *ret = &mounting->ext4->fs;
    return 0;
}

int ext4_mount(struct blockdev *device, bool read_only, size_t memory, struct fs **ret,
               char *ret_why, size_t why_size)
{
    struct mounting mounting = {
        .device = device, .read_only = read_only || device->read_only, .memory = memory,
        .why = ret_why, .why_size = why_size,
    };

    return mount(&mounting, ret);
}

/* From one om to the next ----------------------------------------------------------- */

/* What is kept of a file in use. At rest nothing of it is under way, and all that arrived is recorded. */
struct resting_node {
    uint32_t inode, holds;
    uint64_t size;
    uint8_t  speculative;
};

int ext4_rest(struct fs *fs)
{
    struct ext4 *ext4 = ext4_of(fs);

    if (fs->read_only)
        return 0;
    return ext4->journal.aborted ? -EROFS : journal_close(&ext4->journal);
}

void ext4_hand_over(struct fs *fs, struct om_state *state)
{
    struct ext4 *ext4 = ext4_of(fs);
    const struct resting_node end = { 0 };

    STATE_PUT(state, ext4->next_generation);
    for (unsigned i = 0; i < EXT4_NODE_BUCKETS; i++)
        for (const struct ext4_node *node = ext4->nodes[i]; node != NULL; node = node->next) {
            struct resting_node resting = { .inode = node->inode, .holds = node->holds, .size = node->size,
                                            .speculative = node->speculative };

            STATE_PUT(state, resting);
        }
    STATE_PUT(state, end);
}

static int nodes_take_over(struct ext4 *ext4, struct om_state *state)
{
    struct resting_node resting;

    STATE_GET(state, ext4->next_generation);
    for (STATE_GET(state, resting); resting.inode != 0; STATE_GET(state, resting)) {
        struct ext4_node *node = ext4_node_get(ext4, resting.inode, resting.size);

        if (node == NULL)
            return -ENOMEM;
        node->holds = resting.holds;
        node->speculative = node->ahead = resting.speculative != 0;
    }
    return state->failed ? -EINVAL : 0;
}

int ext4_take_over(struct blockdev *device, bool read_only, size_t memory, struct om_state *state, struct fs **ret,
                   char *ret_why, size_t why_size)
{
    struct mounting mounting = {
        .device = device, .read_only = read_only || device->read_only, .memory = memory,
        .why = ret_why, .why_size = why_size, .rests = !read_only,
    };
    int error = mount(&mounting, ret);

    if (error == 0) {
        error = nodes_take_over(mounting.ext4, state);
        if (error != 0)
            refuse(&mounting, error, "what the one before knew of its files cannot be read");
    }
    return error;
}

/* Closing ------------------------------------------------------------------------- */

/* Blocks beyond the end of files, allocated for a growth that did not come. */
static void speculation_end(struct ext4 *ext4)
{
    for (unsigned i = 0; i < EXT4_NODE_BUCKETS; i++) {
        struct ext4_node *node = ext4->nodes[i];

        while (node != NULL) {
            struct ext4_node *next = node->next;
            struct ext4_inode inode;

            if (node->speculative && ext4_inode_read(ext4, node->inode, &inode) == 0)
                ext4_settle(&ext4->fs, ext4_id(node->inode, &inode));
            node = next;
        }
    }
}

static void nodes_free(struct ext4 *ext4)
{
    for (unsigned i = 0; i < EXT4_NODE_BUCKETS; i++)
        while (ext4->nodes[i] != NULL) {
            struct ext4_node *next = ext4->nodes[i]->next;

            free(ext4->nodes[i]->written);
            free(ext4->nodes[i]);
            ext4->nodes[i] = next;
        }
}

/* Files without names that are still held: nobody can come back to them. */
static void nameless_end(struct ext4 *ext4)
{
    for (unsigned i = 0; i < EXT4_NODE_BUCKETS; i++)
        for (struct ext4_node *node = ext4->nodes[i]; node != NULL; node = node->next)
            node->holds = 0;
    if (ext4_orphans_clean(ext4) != 0)
        fprintf(stderr, "files without a name could not be deleted; the next mount tries again\n");
}

/* The last transaction, the checkpoint, and only then the mark of a clean image. */
static int writing_end(struct ext4 *ext4)
{
    struct mounting mounting = { .ext4 = ext4, .device = ext4->device };
    char why[128];
    int error;

    mounting.why = why;
    mounting.why_size = sizeof why;
    if (!ext4->journal.present) {
        ext4->e2->super->s_state |= EXT2_VALID_FS;
        ext2fs_mark_super_dirty(ext4->e2);
    }
    error = journal_close(&ext4->journal);
    if (error == 0 && ext4->journal.present)
        error = needs_recovery_write(&mounting, false);
    return error;
}

int ext4_unmount(struct fs *fs)
{
    struct ext4 *ext4 = ext4_of(fs);
    int error = 0;

    if (!fs->read_only) {
        pthread_mutex_lock(&fs->lock);
        if (!ext4->journal.aborted) {
            nameless_end(ext4);
            speculation_end(ext4);
        }
        error = ext4->journal.aborted ? -EROFS : writing_end(ext4);
        pthread_mutex_unlock(&fs->lock);
    }
    nodes_free(ext4);
    ext4_free(ext4);
    return error;
}
