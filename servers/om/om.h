/* om: requests of the file protocol, carried out on the table of file systems.
 *
 * Pure logic: the actor (main.c) receives messages and calls om_serve; unit tests call it as well.
 *   walk.c        paths
 *   permission.c  who may do what
 *   requests*.c   one handler for each operation of the file protocol
 *   mapper.c      the Nucleus' requests for the contents of segments
 */
#ifndef OM_OM_H
#define OM_OM_H

#include <mem/chMapper.h>
#include <pthread.h>
#include <stdatomic.h>

#include "blockdev.h"
#include "fs.h"
#include "lease.h"
#include "state.h"

#define OM_SYSTEMS_MAX 256
#define OM_MOUNTS_MAX  64
#define OM_CLAIMS_MAX  16
#define OM_SEGMENT_BUCKETS 256
#define OM_STATE_VERSION 2     /* of what om_hand_over writes */

/* The file system's number is in the upper byte of a key. */
#define OM_KEY(number, id)  ((uint64_t)(number) << 56 | (id))
#define OM_KEY_SYSTEM(key)  ((uint32_t)((key) >> 56))
#define OM_KEY_ID(key)      ((fs_id)((key) & 0xffffffffffffffull))

struct om_mount {
    uint64_t at;                /* key of the directory; 0: not in use */
    struct file_node node;      /* what is mounted there */
};

/* A local cache of one of our files in the Nucleus: it holds the file. */
struct om_segment {
    struct om_segment *next;
    uint64_t key;
    KnCap    lc;                /* cleared: a temporary segment that no cache has asked for yet */
    uint64_t ordinal;           /* after the last truncation: requests with a smaller one are older */
    bool     cutting;           /* a truncation is under way: they all are */
    bool     lingers;           /* the file has no name, and nobody else holds it */
};

/* What om asks of the world around it; called without locks of om or a file system. */
struct om_world {
    /* Set the size of a cached segment: lcTrunc. Returns its ordinal, or an error. */
    int (*truncate)(struct om_world *world, const KnCap *lc, uint64_t size);
    /* The bytes of a cached segment are zero from now on. */
    void (*zero)(struct om_world *world, const KnCap *lc, uint64_t offset, uint64_t length);
    /* The cache is to ask again before it lets anybody write; what was written is pushed out. */
    int (*recall)(struct om_world *world, const KnCap *lc); /* 0 or -EIO */
    /* Drop all pages of a cache that nobody maps or has open: true when that was done. */
    bool (*drop)(struct om_world *world, const KnCap *lc);
    /* All that was changed in a cache is to be pushed out: waits for it. 0 or -EIO */
    int (*flush)(struct om_world *world, const KnCap *lc);
    /* What was changed is pushed out, and all pages go. 0 or -EIO */
    int (*invalidate)(struct om_world *world, const KnCap *lc);
    unsigned (*disks)(struct om_world *world);      /* how many there are; NULL: none are shown */
    /* Write `count` versions to the memory of who watches, from place `first` on. False: it is not there any more. Never waits;
     * may be called with locks. NULL: nobody can watch. */
    bool (*tell)(struct om_world *world, const struct file_watch *watch, unsigned first, const uint32_t *versions, unsigned count);
    /* The disk of that name ("disk1"), or an error. */
    int (*device)(struct om_world *world, const char *name, struct blockdev **ret);
};

struct om {
    pthread_rwlock_t lock;      /* of systems and mounts; taken before a file system's lock */
    struct fs *systems[OM_SYSTEMS_MAX];     /* by number; 1 is the root; 0 is not used */
    struct om_mount mounts[OM_MOUNTS_MAX];
    uint16_t claims[OM_CLAIMS_MAX];         /* disks that are being mounted or unmounted: minor number + 1, 0: none */
    uint64_t port, mapper_port; /* UIs of our ports */
    struct om_world *world;
    uint32_t cache_memory;      /* for each file system, bytes */
    struct fs_store *store;     /* on the root, for tmpfs; made with the first */
    uint64_t tmpfs_keep;        /* pages that each keeps in memory before it uses the store */
    uint64_t tmpfs_size;        /* of a tmpfs that says nothing of it, bytes; 0: no limit */
    bool     stopped;
    pthread_mutex_t segments_lock;      /* of what follows; taken last */
    struct om_segment *segments[OM_SEGMENT_BUCKETS];
    unsigned lingering;         /* how many segments linger */
    struct leases leases;
    pthread_mutex_t settle_lock;        /* one settles at a time; taken before all others */
    atomic_uint settle_waiting;
};

/* A request while it is served. */
struct om_call {
    const struct file_request *request;
    const char *body;           /* of the request */
    size_t   body_size;
    struct file_reply *reply;
    uint8_t *reply_body;        /* FILE_BODY_MAX bytes, other memory than `body` */
    size_t   reply_size;
};

void om_init(struct om *om, struct om_world *world);
/* Unmount all. The first error. */
int om_stop(struct om *om);
/* A file system becomes number `number` (0: the next free one). -ENOSPC: no number is free. */
int om_add(struct om *om, struct fs *fs, uint32_t number);
/* Show the disks of the world. -ENOMEM */
int om_add_blocks(struct om *om);
/* handover.c: everything is on the disks, or in memory that goes along. Nobody else uses om. -EIO, -EROFS, -EBUSY: it was stopped */
int om_rest(struct om *om);
/* After om_rest: write down what the next om must know. -ENOMEM; -EBUSY: there is no root */
int om_hand_over(struct om *om, struct om_state *state);
/* The opposite, into an `om` after om_init, to all of its bytes. Nothing new is written to a disk; after an error `om` is of no use. */
int om_take_over(struct om *om, struct om_state *state);

/* Serve one request: fills the reply, and its body if it has one. */
void om_serve(struct om *om, struct om_call *call);
/* Does the operation change nothing that would have to be undone, or committed? */
bool om_only_looks(const struct file_request *request);
/* Make durable what is not. */
int om_sync(struct om *om);
bool om_is_changed(struct om *om);

/* mapper.c ------------------------------------------------------------------------ */

/* Serve a request of the Nucleus. `room` bytes fit into reply_body; *ret_size of them are used. */
void om_map(struct om *om, const KnMpRequest *request, const void *body, size_t body_size,
            KnMpReply *reply, void *reply_body, size_t room, size_t *ret_size);
/* A change of the file's size, or of its contents behind the Nucleus' back, begins; and it is done
 * (`size` UINT64_MAX: the size is as it was). No locks held for the second. */
void om_cut_begin(struct om *om, uint64_t key);
void om_cut_end(struct om *om, uint64_t key, uint64_t size);
/* For each cache of the segment: call the world's `zero`, or `recall`. No locks held. */
void om_segment_zero(struct om *om, uint64_t key, uint64_t offset, uint64_t length);
int om_segment_recall(struct om *om, uint64_t key);
/* The same for `invalidate`. */
int om_segment_invalidate(struct om *om, uint64_t key);
/* Push out and drop all caches of a file system that nobody uses. No locks held. The first error of pushing out. */
int om_segments_drop(struct om *om, uint32_t number);
/* Have all caches of files that outlive the site pushed out. No locks held. The first error. */
int om_segments_flush(struct om *om);
/* A name or a hold of the file has gone: is the Nucleus the last to hold it? Lock of the file
 * system held. */
void om_segment_check(struct om *om, struct fs *fs, uint64_t key);
/* Where the segments of that key are. */
struct om_segment **om_segment_bucket(struct om *om, uint64_t key);
/* Let go of files that nobody but an idle cache holds. No locks held. True: some are left. */
bool om_linger_end(struct om *om);

/* settle.c ------------------------------------------------------------------------ */

/* Take back what was prepared ahead of growing files. No locks held. True: there was some. */
bool om_settle(struct om *om);
/* A disk is full: the same, at once. True: try again. */
bool om_settle_for_room(struct om *om);

/* walk.c -------------------------------------------------------------------------- */

#define WALK_FOLLOW    1u       /* the last component too */
#define WALK_PARENT    2u       /* stop at the directory of the last component */
#define WALK_UNCROSSED 4u       /* the last component may be a mount point */

struct walk {
    struct om *om;
    struct fs *fs;
    const struct file_credentials *credentials;
    fs_id    root;              /* ".." stays there; 0: nowhere */
    uint32_t number;            /* of the file system */
    unsigned flags;
    bool     follow_inside;
    uint32_t links;
    fs_id    at;                /* where the walk is */
    struct file_attributes attributes;      /* of it */
    enum file_outcome outcome;
    struct lease_nodes looked;  /* what the outcome depends on */
    struct file_node next;      /* outcome: where to go on */
    char    *rest;              /* what is left of the path; with WALK_PARENT the last component,
                                 * or nothing, when the path names the start itself */
    size_t   rest_length;
    bool     must_be_directory; /* the path ended in a slash */
    size_t   text_length;       /* of the link, in `text` */
    char     text[FILE_PATH_MAX + 1];
    char     buffer[2 * FILE_PATH_MAX + 2];
};

/* Walk from `key`'s node along the path. The file system is locked. 0 and an outcome, or an
 * error. */
int walk_run(struct walk *walk, fs_id from, const char *path, size_t length);
/* The last component is a link after all (FILE_CREATE): go on with its text. */
int walk_go_on(struct walk *walk, fs_id link);

/* permission.c -------------------------------------------------------------------- */

#define MAY_READ    4u
#define MAY_WRITE   2u
#define MAY_EXECUTE 1u

bool group_has(const struct file_credentials *credentials, uint32_t gid);
/* 0 or -EACCES */
int permission_check(const struct file_attributes *attributes,
                     const struct file_credentials *credentials, uint32_t wanted);
/* May `victim`'s name be taken out of `directory`? 0, -EACCES, -EPERM (sticky). */
int permission_remove(const struct file_attributes *directory, const struct file_attributes *victim,
                      const struct file_credentials *credentials);
/* May it be changed so? Fills what is to be done. 0, -EPERM, -EACCES. */
int permission_change(const struct file_attributes *attributes, const struct file_request *request,
                      struct file_time now, struct fs_change *ret);

#endif
