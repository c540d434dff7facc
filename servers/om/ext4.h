/* ext4: what its files share. See README.md for what is kept where, and when it is safe.
 *
 *   ext4_io.c      libext2fs reads and writes metadata through our cache
 *   ext4_mount.c   checks, recovery, opening, closing, going from one om to the next
 *   ext4_commit.c  what a commit brings from memory into the cache
 *   ext4_fs.c      the table of operations
 *   ext4_inode.c   inodes: reading, writing, times, the orphan list, deletion
 *   ext4_node.c    what is known of a file in use beyond its inode
 *   ext4_dir.c     entries of directories
 *   ext4_names.c   create, link, unlink, rename
 *   ext4_map.c     where the blocks of a file are
 *   ext4_data.c    the contents of files: pull, prepare, push
 *   ext4_size.c    blocks freed: truncation, deletion, holes
 */
#ifndef OM_EXT4_H
#define OM_EXT4_H

#include <ext2fs/ext2fs.h>

#include "cache.h"
#include "fs.h"
#include "journal.h"

#define EXT4_NODE_BUCKETS 256
#define EXT4_NAME_SLOTS   4096      /* a power of two */
#define EXT4_NAME_CACHED  40        /* longer names are not kept */

/* Blocks of a file that have their data, but are not marked written yet: [start, end). */
struct ext4_written {
    uint64_t start, end;
};

/* A file in use. Its size may be ahead of the inode's: the inode's follows when the data has
 * arrived, with the next commit. */
struct ext4_node {
    struct ext4_node *next;
    uint32_t inode;
    uint32_t holds;
    uint32_t transfers;         /* reads and writes of its blocks under way without the lock */
    uint32_t waiting;           /* threads that wait for one of the two */
    bool     resizing;          /* nobody may begin a transfer */
    bool     speculative;       /* may have blocks beyond its end */
    bool     ahead;             /* has such that nobody asked for: they can be taken back */
    bool     recalled;          /* nobody has asked for access since ext4_unsettled */
    uint64_t size;
    uint64_t pushed;            /* the file's size as far as its data has arrived */
    struct ext4_written *written;       /* in order, none touching another */
    size_t   written_count, written_room;
};

/* A name looked up before; inode 0: there is no such name. */
struct ext4_name {
    uint32_t directory;         /* 0: slot not in use */
    uint32_t inode;
    uint8_t  length;
    char     name[EXT4_NAME_CACHED];
};

struct ext4 {
    struct fs       fs;
    struct blockdev *device;
    struct cache    *cache;
    struct journal   journal;
    ext2_filsys      e2;
    pthread_cond_t   transfer_done;
    struct ext4_node *nodes[EXT4_NODE_BUCKETS];
    struct ext4_name *names;
    uint32_t next_generation;
    uint64_t reserve;           /* free blocks kept for metadata */
    uint32_t written_ranges;    /* of all nodes */
    uint32_t overhead;          /* blocks of a commit that are not counted elsewhere */
    uint64_t committing_freed;  /* blocks that become free with the commit under way */
};

static inline struct ext4 *ext4_of(struct fs *fs)
{
    return (struct ext4 *)fs;
}

/* The whole inode, also of images with small ones. */
struct ext4_inode {
    struct ext2_inode_large large;
};
#define SMALL(inode) ((struct ext2_inode *)&(inode)->large)

/* libext2fs's error as Linux's, negative. */
int ext4_error(errcode_t code);

/* ext4_io.c: an I/O manager whose channels read and write this cache (metadata). */
io_manager ext4_io_manager(struct cache *cache);

/* ext4_mount.c ------------------------------------------------------------------------------- */
int ext4_unmount(struct fs *fs);
int ext4_rest(struct fs *fs);
void ext4_hand_over(struct fs *fs, struct om_state *state);

/* ext4_fs.c ---------------------------------------------------------------------------------- */
extern const struct fs_operations ext4_operations;

/* ext4_commit.c ------------------------------------------------------------------------------ */
struct journal_client ext4_journal_client(struct ext4 *ext4);
/* From now on blocks that libext2fs frees stay marked until their transaction has committed. */
void ext4_freeing_watch(struct ext4 *ext4);
/* Would a commit bring something that is not in the cache yet? */
bool ext4_state_is_changed(void *ext4);

/* ext4_inode.c ------------------------------------------------------------------------------- */
int ext4_inode_read(struct ext4 *ext4, uint32_t number, struct ext4_inode *ret);
int ext4_inode_write(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode);
/* The inode that `id` names; -ESTALE when it has gone. */
int ext4_inode_get(struct ext4 *ext4, fs_id id, struct ext4_inode *ret);
fs_id ext4_id(uint32_t number, const struct ext4_inode *inode);
struct file_time ext4_now(struct ext4 *ext4);

enum ext4_time { EXT4_ATIME = 1, EXT4_MTIME = 2, EXT4_CTIME = 4, EXT4_CRTIME = 8 };
void ext4_time_set(struct ext4 *ext4, struct ext4_inode *inode, unsigned which,
                   struct file_time time);
void ext4_attributes_fill(struct ext4 *ext4, uint32_t number, const struct ext4_inode *inode,
                          struct file_attributes *ret);
/* A new inode, allocated, written, without a name. */
int ext4_inode_new(struct ext4 *ext4, uint32_t parent, const struct fs_new *new_node,
                   uint32_t *ret_number, struct ext4_inode *ret);
/* Undo ext4_inode_new. */
void ext4_inode_discard(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode);

int ext4_orphan_add(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode);
int ext4_orphan_remove(struct ext4 *ext4, uint32_t number, struct ext4_inode *inode);
/* At mount: finish what was being deleted or truncated. */
int ext4_orphans_clean(struct ext4 *ext4);
/* [w] Delete an inode that is on the orphan list and has no name and no holder. */
int ext4_inode_reap(struct ext4 *ext4, uint32_t number);

/* ext4_node.c -------------------------------------------------------------------------------- */
struct ext4_node *ext4_node_find(struct ext4 *ext4, uint32_t inode);
/* Found or made; NULL without memory. */
struct ext4_node *ext4_node_get(struct ext4 *ext4, uint32_t inode, uint64_t size);
/* Forget it if nothing is known of it. */
void ext4_node_put(struct ext4 *ext4, struct ext4_node *node);
/* The blocks [start, end) have their data, and the file reaches to `size`. -ENOMEM */
int ext4_node_written(struct ext4 *ext4, struct ext4_node *node, uint64_t start, uint64_t end,
                      uint64_t size);
/* The first range that ends behind `block`, or NULL. */
const struct ext4_written *ext4_node_written_after(const struct ext4_node *node, uint64_t block);
void ext4_node_written_forget(struct ext4 *ext4, struct ext4_node *node);
/* [w] Keep transfers away, or begin and end one. */
void ext4_node_resize_begin(struct ext4 *ext4, struct ext4_node *node);
void ext4_node_resize_end(struct ext4 *ext4, struct ext4_node *node);
void ext4_node_transfer_begin(struct ext4 *ext4, struct ext4_node *node);
void ext4_node_transfer_end(struct ext4 *ext4, struct ext4_node *node);

/* ext4_dir.c --------------------------------------------------------------------------------- */
int ext4_dir_lookup(struct ext4 *ext4, uint32_t directory, const char *name, size_t length,
                    uint32_t *ret);
int ext4_dir_add(struct ext4 *ext4, uint32_t directory, const char *name, size_t length,
                 uint32_t inode, uint32_t mode);
int ext4_dir_remove(struct ext4 *ext4, uint32_t directory, const char *name, size_t length);
int ext4_dir_replace(struct ext4 *ext4, uint32_t directory, const char *name, size_t length,
                     uint32_t inode, uint32_t mode);
/* 1 empty, 0 not, or an error. */
int ext4_dir_is_empty(struct ext4 *ext4, uint32_t directory);
int ext4_dir_read(struct ext4 *ext4, uint32_t directory, uint64_t cookie, void *buffer, size_t room,
                  size_t *ret_used);
/* All that is known of names in a directory that goes away. */
void ext4_dir_forget(struct ext4 *ext4, uint32_t directory);

/* ext4_names.c ------------------------------------------------------------------------------- */
int ext4_create(struct fs *fs, fs_id directory, const char *name, size_t length,
                const struct fs_new *new_node, fs_id *ret);
int ext4_link(struct fs *fs, fs_id id, fs_id directory, const char *name, size_t length);
int ext4_unlink(struct fs *fs, fs_id directory, const char *name, size_t length);
int ext4_rmdir(struct fs *fs, fs_id directory, const char *name, size_t length);
int ext4_rename(struct fs *fs, fs_id from, const char *from_name, size_t from_length, fs_id to,
                const char *to_name, size_t to_length, uint32_t flags);
int ext4_readlink(struct fs *fs, fs_id id, char *buffer, size_t room, size_t *ret_length);

/* ext4_data.c -------------------------------------------------------------------------------- */
int ext4_pull(struct fs *fs, fs_id id, uint64_t offset, void *data, size_t length,
              size_t *ret_length);
int ext4_prepare(struct fs *fs, fs_id id, uint64_t offset, uint64_t length, uint64_t size,
                 uint64_t *ret_end);
int ext4_push(struct fs *fs, fs_id id, uint64_t offset, const void *data, size_t length,
              uint64_t size);
bool ext4_is_direct(struct fs *fs, fs_id id);
int ext4_pull_pages(struct fs *fs, fs_id id, uint64_t offset, uint64_t pages, size_t length, size_t *ret_length);
int ext4_push_pages(struct fs *fs, fs_id id, uint64_t offset, uint64_t pages, size_t length, uint64_t size, bool is_cut);
int ext4_allocate(struct fs *fs, fs_id id, uint64_t offset, uint64_t length, uint32_t mode);
void ext4_settle(struct fs *fs, fs_id id);
size_t ext4_unsettled(struct fs *fs, fs_id *ids, size_t most);
void ext4_settle_recalled(struct fs *fs, fs_id id);
/* [w] A new size for a file. */
int ext4_resize(struct ext4 *ext4, uint32_t number, uint64_t size);
/* [w] Free the blocks from `first` on, in steps; the inode is on the orphan list. */
int ext4_blocks_free(struct ext4 *ext4, uint32_t number, uint64_t first);

/* Mark the blocks written whose data has arrived, and set the inode's size: of one file, or of
 * all. */
int ext4_written_record(struct ext4 *ext4, struct ext4_node *node);
int ext4_written_record_all(struct ext4 *ext4);

/* Space: may `blocks` more be used by files, or by metadata? 0, or -ENOSPC. [w] */
int ext4_room(struct ext4 *ext4, uint64_t blocks);
bool ext4_metadata_room(struct ext4 *ext4);

/* [w] Get the block that a look missed (fs_operations.fetch). */
bool ext4_fetch(struct fs *fs);

/* Something failed in the middle of a change: keep the disk as it is. Returns `error`. */
int ext4_broken(struct ext4 *ext4, int error, const char *doing);

#endif
