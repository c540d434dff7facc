/* The journal: changes of metadata reach the disk all together or not at all.
 *
 * An operation calls journal_begin, changes metadata through the cache, and lets the lock go;
 * what all operations changed since the last commit is one *running* transaction. A commit
 * freezes it, writes its blocks into the ring, flushes, writes the commit block and flushes
 * again. A checkpoint brings logged blocks home and empties the ring. Data is ordered before
 * metadata: the contents of files are written straight to their blocks before the metadata that
 * makes them visible is changed, and the commit's first flush covers them.
 *
 * Freed blocks are given back (journal_free) and may be used again only when the transaction that
 * freed them has committed. So data written in place never overwrites what an older state of the
 * disk still needs, and a freed metadata block is revoked in the same transaction.
 *
 * One lock, the file system's, protects all of it; journal_begin, journal_commit and journal_sync
 * let it go while they wait for the disk. One commit or checkpoint is under way at a time (`busy`);
 * those who come meanwhile wait for it and share the next one (group commit).
 *
 * An image without a journal works the same way, but a commit writes the blocks straight home: it
 * has to be checked after a crash.
 *
 * After an error of the disk the journal is aborted: nothing is written any more (-EROFS), the disk
 * keeps its last committed state.
 */
#ifndef OM_JOURNAL_H
#define OM_JOURNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "blockdev.h"
#include "cache.h"
#include "jbd2.h"

/* Where the journal's blocks are. */
struct journal_place {
    uint32_t  count;
    uint64_t *blocks;           /* block of the device, for each block of the journal */
};

struct journal_range {
    uint64_t start, count;      /* blocks */
};

struct journal_ranges {
    struct journal_range *items;
    size_t count, room;
};

/* What the journal asks of the file system above; called with the lock held. */
struct journal_client {
    void *context;
    /* Is there something that only the client knows of? */
    bool (*is_changed)(void *context);
    /* Bring everything into the cache; `freed` is free in the state to be committed, but must not be
     * allocated yet. 0 or an error. */
    int (*prepare)(void *context, const struct journal_ranges *freed);
    /* It is committed: `freed` may be allocated. */
    void (*committed)(void *context, const struct journal_ranges *freed);
    /* The current time. */
    void (*now)(void *context, int64_t *seconds, uint32_t *nanoseconds);
};

struct journal {
    struct cache *cache;
    struct blockdev *device;
    struct journal_client client;
    pthread_mutex_t *lock;
    pthread_cond_t idle;        /* with lock: busy became false */
    bool     present;           /* the image has a journal */
    bool     busy;
    bool     aborted;
    uint32_t running;           /* number of the running transaction */
    struct journal_place place;
    struct jbd2_superblock superblock;
    uint32_t seed;              /* for checksums */
    uint32_t first, end;        /* the ring: [first, end) of the journal's blocks */
    uint32_t head, used;        /* next free block of the ring; blocks in use */
    uint32_t transaction_max;   /* metadata blocks in one transaction */
    uint32_t overhead;          /* of these the client's prepare may make so many */
    struct journal_ranges freed;        /* by the running transaction */
    uint64_t freed_blocks;
    uint64_t commits, checkpoints;      /* counted for tests and `statistics` */
};

/* recovery.c ---------------------------------------------------------------------------------- */

/* Read and check the journal's superblock. 0, -EIO, -EUCLEAN (damaged; *ret_why says how),
 * -EOPNOTSUPP (something that we do not know). */
int journal_read_superblock(struct blockdev *device, const struct journal_place *place,
                            uint32_t block_size, struct jbd2_superblock *ret, const char **ret_why);

/* Replay what is committed in the ring: `write` gets each block in order. *ret_next is the number
 * for the next transaction, *ret_blocks how many blocks were replayed. Nothing else is written. */
typedef int (*journal_write_fn)(void *context, uint64_t block, const void *data);
int journal_replay(struct blockdev *device, const struct journal_place *place, uint32_t block_size,
                   const struct jbd2_superblock *superblock, journal_write_fn write, void *context,
                   uint32_t *ret_next, uint64_t *ret_blocks, const char **ret_why);

/* Write the superblock (its checksum is made here), and flush. */
int journal_write_superblock(struct blockdev *device, const struct journal_place *place,
                             uint32_t block_size, struct jbd2_superblock *superblock);

uint32_t journal_seed(const struct jbd2_superblock *superblock);
bool journal_has_checksums(const struct jbd2_superblock *superblock);
/* Bytes of one tag without the UUID. */
uint32_t journal_tag_size(const struct jbd2_superblock *superblock);

/* journal.c ----------------------------------------------------------------------------------- */

/* Use an empty ring (place NULL: the image has no journal). `wide` and `checksums` say what new
 * transactions look like. The blocks of `place` are taken over. Lock not held. */
int journal_open(struct journal *journal, struct cache *cache, pthread_mutex_t *lock,
                 const struct journal_client *client, const struct journal_place *place,
                 const struct jbd2_superblock *superblock, bool wide, bool checksums);

/* Commit and bring all home, leave the ring empty. Lock held; nobody else uses the file system. */
int journal_close(struct journal *journal);
void journal_destroy(struct journal *journal);

/* Start an operation that changes at most about `blocks` blocks. May wait: call it before looking
 * at anything. -EROFS after an abort. Lock held, and let go while it waits. */
int journal_begin(struct journal *journal, uint32_t blocks);

/* Something went wrong in the middle of an operation: never commit it. */
void journal_abort(struct journal *journal, const char *why);

/* These blocks are free when the running transaction has committed. -ENOMEM */
int journal_free(struct journal *journal, uint64_t start, uint64_t count);

/* All that was changed before is durable on return. Lock held, let go while waiting. */
int journal_commit(struct journal *journal);
int journal_sync(struct journal *journal);

#endif
