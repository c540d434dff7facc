/* The nodes of a shared folder that somebody has asked for. */
#ifndef SHARE_NODES_H
#define SHARE_NODES_H

#include <limits.h>

#include "share.h"

#define NODES_MAX    1000000
#define NODE_BUCKETS 16384
#define NODE_CACHES  2                  /* of one file: one, or two while one goes */

/* A file as it was when the site was told of it last. */
struct version {
    uint64_t size;
    int64_t mtime, ctime;
    uint32_t mtime_nanoseconds, ctime_nanoseconds;
    bool sure;                          /* a later change would have another time */
};

struct node {
    struct node *by_key, *by_file;      /* in the tables */
    uint64_t key;
    uint64_t device, inode, birth;      /* what it is on the host */
    struct node *parent;                /* where it was seen last; NULL: the folder itself */
    char *name;
    unsigned opens;
    int reads, writes;                  /* descriptors, while it is open; else -1 */
    struct file_node mounted;           /* port 0: nothing is */
    struct file_node caches[NODE_CACHES];   /* the site's, each of which is one of `opens` */
    unsigned cache_count;
    struct version version;             /* with a cache: what its pages are of */
    struct node *next_cached;           /* in the list of those with caches */
};

struct share {
    int folder;
    bool read_only;
    uid_t uid;
    gid_t gid;
    uint64_t last_key;
    unsigned count;
    struct node *root, *cached;
    struct node *keys[NODE_BUCKETS], *files[NODE_BUCKETS];
};

/* What the host says of a file. */
struct seen {
    uint64_t device, inode, birth;
    struct file_attributes attributes;  /* as they are to be inside; without the key */
};

struct node *node_by_key(struct share *share, uint64_t key);
/* Open a node with these flags (beside O_NOFOLLOW and the like). A descriptor, or an error: -ESTALE when it is not there any more. */
int node_open(struct share *share, const struct node *node, int flags, struct seen *ret_seen);
/* The child of a directory: looked up on the host now. */
int node_child(struct share *share, int directory, struct node *parent, const char *name, struct node **ret, struct seen *ret_seen);
/* It has another name now. */
int node_rename(struct node *node, struct node *parent, const char *name);
/* Hold it open for these ways (FILE_O_READ, FILE_O_WRITE), opened once for all who have it open. */
int node_hold(struct share *share, struct node *node, uint32_t access, bool is_directory);
void node_let_go(struct node *node);
int seen_from(const struct share *share, int descriptor, struct seen *ret);
int open_beneath(int directory, const char *path, int flags, mode_t mode);

#endif
