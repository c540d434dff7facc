/* A file system as om sees it: one table of operations; ext4 and tmpfs fill it in.
 *
 * A node is named inside its file system by an fs_id: the inode's number and 24 bits of its
 * generation, so that an id is good for one file only, also after a restart. A name is bytes with
 * a length, never "." or "..", at most FILE_NAME_MAX long; the caller (requests.c) has checked that,
 * and permissions.
 *
 * One lock for each file system. Every operation is called with it held; those marked [w] let it
 * go while they wait for a disk and take it again. `begin` is called first by whoever changes
 * something, before anything is looked up. Errors are Linux's, negative; an operation that fails
 * has changed nothing.
 */
#ifndef OM_FS_H
#define OM_FS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/file.h"

typedef uint64_t fs_id;
#define FS_ID(inode, generation)  ((uint64_t)(inode) | ((uint64_t)(generation) & 0xffffff) << 32)
#define FS_ID_INODE(id)           ((uint32_t)(id))
#define FS_SOURCE_SIZE            (FILE_NAME_MAX + 1)

struct blockdev;
struct fs;
struct om_state;

/* What a new node is to be. */
struct fs_new {
    uint32_t mode;              /* type and permissions */
    uint32_t uid, gid;
    uint32_t rdev;
    const char *link;           /* text of a symbolic link */
    size_t   link_length;
};

/* What is to be changed; `valid` is of FILE_SET_MODE, _UID, _GID, _SIZE, _ATIME, _MTIME. The time
 * of change is always set. */
struct fs_change {
    uint32_t valid;
    uint32_t mode, uid, gid;
    uint64_t size;
    struct file_time atime, mtime;
};

struct om;

struct fs_operations {
    const char *name;           /* "ext4" */

    /* [w] Room for one operation. -EROFS */
    int (*begin)(struct fs *fs);

    /* Between look(true) and look(false) an operation that only looks fails rather than wait for a
     * disk with the lock held; then `fetch` [w] gets what it missed, without the lock, and says
     * whether to try again. Both NULL: nothing is ever missed. */
    void (*look)(struct fs *fs, bool looking);
    bool (*fetch)(struct fs *fs);

    int (*root)(struct fs *fs, fs_id *ret);
    int (*attributes)(struct fs *fs, fs_id id, struct file_attributes *ret);
    int (*lookup)(struct fs *fs, fs_id directory, const char *name, size_t length, fs_id *ret);
    int (*parent)(struct fs *fs, fs_id directory, fs_id *ret);      /* ".." */
    /* Entries after `cookie` as struct linux_dirent64; *ret_used bytes. */
    int (*readdir)(struct fs *fs, fs_id directory, uint64_t cookie, void *buffer, size_t room,
                   size_t *ret_used);
    int (*readlink)(struct fs *fs, fs_id id, char *buffer, size_t room, size_t *ret_length);

    /* [w] for a new size only */
    int (*change)(struct fs *fs, fs_id id, const struct fs_change *change);
    int (*create)(struct fs *fs, fs_id directory, const char *name, size_t length,
                  const struct fs_new *new_node, fs_id *ret);
    int (*link)(struct fs *fs, fs_id id, fs_id directory, const char *name, size_t length);
    /* [w] The node, and for a directory its emptiness, are looked at by the operation itself. */
    int (*unlink)(struct fs *fs, fs_id directory, const char *name, size_t length);
    int (*rmdir)(struct fs *fs, fs_id directory, const char *name, size_t length);
    /* [w] flags of FILE_RENAME_*. The kinds, loops and emptiness are checked by the operation. */
    int (*rename)(struct fs *fs, fs_id from, const char *from_name, size_t from_length, fs_id to,
                  const char *to_name, size_t to_length, uint32_t flags);

    /* A held node lives on without names. [w] release: the last one deletes it. */
    int (*hold)(struct fs *fs, fs_id id);
    void (*release)(struct fs *fs, fs_id id);
    /* It is opened, and closed again, with FILE_O_*. The second: true when nobody has it open any more. NULL: nothing to do. */
    int (*opened)(struct fs *fs, const struct om *om, fs_id id, uint32_t access);
    bool (*closed)(struct fs *fs, fs_id id, uint32_t access);
    bool (*is_busy)(struct fs *fs);         /* is any node held? */
    uint32_t (*holds)(struct fs *fs, fs_id id);     /* how often is this one? */
    /* A file without a name, held once: for anonymous memory. It goes with its last hold. */
    int (*temporary)(struct fs *fs, fs_id *ret);

    /* Contents, as a mapper gives and takes them. [w] all.
     * pull: bytes of the file; *ret_length is less than `length` at its end; the rest is zero.
     * prepare: a place for every byte of the range, and the size that the file will have: after it a push
     *   does not fail for want of space. *ret_end: up to where there is place, at least offset + length.
     * push: bytes to be kept; `size` is the file's size now. Bytes beyond the size are ignored.
     * is_direct: the data can go between pages and the disk: the node is pulled and pushed by pull_pages and push_pages (NULL: never). What
     *   pull_pages does not put there, or puts there behind *ret_length, counts as zero; what push_pages finds behind `size` in its page
     *   is zero, unless `size` has become smaller since, then `is_cut`. */
    int (*pull)(struct fs *fs, fs_id id, uint64_t offset, void *data, size_t length,
                size_t *ret_length);
    int (*prepare)(struct fs *fs, fs_id id, uint64_t offset, uint64_t length, uint64_t size,
                   uint64_t *ret_end);
    int (*push)(struct fs *fs, fs_id id, uint64_t offset, const void *data, size_t length,
                uint64_t size);
    bool (*is_direct)(struct fs *fs, fs_id id);
    int (*pull_pages)(struct fs *fs, fs_id id, uint64_t offset, uint64_t pages, size_t length, size_t *ret_length);
    int (*push_pages)(struct fs *fs, fs_id id, uint64_t offset, uint64_t pages, size_t length, uint64_t size, bool is_cut);
    /* [w] mode of FILE_ALLOCATE_* */
    int (*allocate)(struct fs *fs, fs_id id, uint64_t offset, uint64_t length, uint32_t mode);
    /* The local cache has gone: nobody counts on what was prepared any more. */
    void (*settle)(struct fs *fs, fs_id id);
    /* At most `most` files for which more was prepared than was asked for. When all their caches have been recalled,
     * settle_recalled [w] takes it back, unless somebody has asked anew. NULL: this kind never prepares more. */
    size_t (*unsettled)(struct fs *fs, fs_id *ids, size_t most);
    void (*settle_recalled)(struct fs *fs, fs_id id);

    /* [w] All that was changed is durable. */
    int (*sync)(struct fs *fs);
    int (*sync_node)(struct fs *fs, fs_id id);      /* [w] the same for this one; NULL: sync does it */
    bool (*is_changed)(struct fs *fs);      /* would sync have something to do? */
    int (*statfs)(struct fs *fs, struct file_statfs *ret);
    /* [w] All is on the disk and nothing is under way: another om can open it. */
    int (*rest)(struct fs *fs);
    /* What it must know that is not on the disk. Nobody else uses the file system. */
    void (*hand_over)(struct fs *fs, struct om_state *state);
    /* Write back and close; `fs` is freed, whatever is returned. Nobody else uses it; lock not
     * held. */
    int (*unmount)(struct fs *fs);
};

struct fs {
    const struct fs_operations *operations;
    pthread_mutex_t lock;
    bool     read_only;
    bool     in_memory;         /* nothing of it outlives the site: it need not be pushed out */
    struct blockdev *device;    /* closed with it; NULL: somebody else's, or none */
    struct om *om;              /* where it needs it */
    uint32_t number;            /* of this file system in keys, 1..255 */
    fs_id    root;
    char     source[FS_SOURCE_SIZE];    /* the device, by the name that it was attached by */
    /* The current time; tests put theirs here. */
    void (*now)(struct file_time *ret);
};

void fs_clock(struct file_time *ret);

/* Open an image. On failure ret_why is a sentence for the person at the terminal.
 * Nothing is written unless it is clean or could be recovered, and not at all with `read_only`.
 * `memory` bytes are used for the cache, about. The device stays the caller's. */
int ext4_mount(struct blockdev *device, bool read_only, size_t memory, struct fs **ret, char *ret_why,
               size_t why_size);

/* The same for an image that another om has at rest, and uses no more: what that one's operations->hand_over wrote is read. Nothing
 * that was not there before is written. */
int ext4_take_over(struct blockdev *device, bool read_only, size_t memory, struct om_state *state, struct fs **ret, char *ret_why,
                   size_t why_size);

/* A file system in memory; `size` bytes at most, 0: no limit of its own. */
int tmpfs_mount(uint64_t size, uint32_t mode, struct fs **ret);

/* Somewhere to put pages that memory is too dear for, by slots of 4096 bytes. */
struct fs_store {
    int (*write)(struct fs_store *store, const void *page, uint32_t *ret_slot);     /* -ENOSPC */
    int (*read)(struct fs_store *store, uint32_t slot, void *page);
    void (*free)(struct fs_store *store, uint32_t slot);
};
/* From now on a tmpfs keeps at most `pages` pushed-out pages in memory, the others in the store. */
void tmpfs_use_store(struct fs *fs, struct fs_store *store, uint64_t pages);

int tmpfs_take_over(struct fs_store *store, uint64_t pages, struct om_state *state, struct fs **ret);

/* A store in a file without a name on `fs`, which is unmounted after it was closed. */
struct fs_store *store_open(struct fs *fs);
void store_close(struct fs_store *store);
void store_hand_over(struct fs_store *store, struct om_state *state);
int store_take_over(struct fs_store *store, struct om_state *state);    /* into one that was just opened */

#endif
