/* The nodes of a shared folder that somebody has asked for. */
#ifndef SHARE_NODES_H
#define SHARE_NODES_H

#include <limits.h>

#include "share.h"

#define NODES_MAX    1000000
#define NODE_BUCKETS 16384

struct node {
    struct node *by_key, *by_file;      /* in the tables */
    uint64_t key;
    uint64_t device, inode, birth;      /* what it is on the host */
    struct node *parent;                /* where it was seen last; NULL: the folder itself */
    char *name;
    unsigned opens;
    int reads, writes;                  /* descriptors, while it is open; else -1 */
    struct file_node mounted;           /* port 0: nothing is */
};

struct share {
    int folder;
    bool read_only;
    uid_t uid;
    gid_t gid;
    uint64_t last_key;
    unsigned count;
    struct node *root;
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
int seen_from(const struct share *share, int descriptor, struct seen *ret);
int open_beneath(int directory, const char *path, int flags, mode_t mode);

#endif
