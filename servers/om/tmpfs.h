/* tmpfs: what its files share: nodes, names and pages in memory. */
#ifndef OM_TMPFS_H
#define OM_TMPFS_H

#include <sys/stat.h>

#include "fs.h"

#define PAGE 4096u
#define TMPFS_TYPE 0x01021994u
#define NODES_MAX (1u << 24)
#define FIRST_COOKIE 2u                 /* 0 and 1 are "." and ".." */

/* A page of a file. Without data and stored it is counted, but nothing was pushed out. */
struct page {
    uint64_t index;
    uint8_t *data;
    uint32_t slot;                      /* in the store, if `stored` */
    bool     stored;
};

struct entry {
    struct entry *next, *previous;      /* in the directory */
    struct entry *hash_next;
    struct node  *directory, *node;
    uint64_t cookie;
    uint32_t hash;
    uint8_t  length;
    char     name[];
};

struct node {
    uint32_t number, generation;
    uint32_t holds, links;
    struct file_attributes attributes;  /* mode, owners, times, size, rdev */
    char    *link;                      /* a symbolic link's text */
    struct node  *parent;               /* of a directory */
    struct entry *first, *last;         /* of a directory */
    uint32_t entries;
    uint64_t next_cookie;
    struct page *pages;                 /* of a file, sorted by index */
    size_t   page_count, page_room;
};

struct tmpfs {
    struct fs fs;
    struct node **nodes;                /* by number; NULL: free */
    uint32_t node_room, node_count, next_free, generation;
    struct entry **buckets;
    uint32_t bucket_count, entry_count;
    uint64_t pages_max, pages_used;     /* max 0: no limit */
    struct fs_store *store;             /* NULL: all pages stay in memory */
    uint64_t kept, kept_max;            /* pages in memory; more go to the store */
};

enum { TIME_ACCESS = 1, TIME_MODIFY = 2, TIME_CHANGE = 4 };

static inline struct tmpfs *tmpfs_of(struct fs *fs)
{
    return (struct tmpfs *)fs;
}

static inline fs_id id_of(const struct node *node)
{
    return FS_ID(node->number, node->generation);
}

static inline struct node *node_of(struct fs *fs, fs_id id)
{
    struct tmpfs *tmpfs = tmpfs_of(fs);
    uint32_t number = FS_ID_INODE(id);
    struct node *node = number < tmpfs->node_room ? tmpfs->nodes[number] : NULL;

    return node != NULL && id_of(node) == id ? node : NULL;
}

static inline uint32_t type_of(const struct node *node)
{
    return node->attributes.mode & S_IFMT;
}

/* tmpfs.c: one without a root; NULL: no memory. */
struct tmpfs *tmpfs_new(uint64_t size);
/* tmpfs_handover.c */
void tmpfs_hand_over(struct fs *fs, struct om_state *state);
/* tmpfs_nodes.c */
void touch(struct fs *fs, struct node *node, unsigned which);
/* The place of the page, or where it would be. */
size_t page_find(const struct node *node, uint64_t index);
bool page_exists(const struct node *node, size_t place, uint64_t index);
int number_room(struct tmpfs *tmpfs, uint32_t number);
int page_count_add(struct tmpfs *tmpfs, struct node *node, size_t place, uint64_t index);
/* Pages [start, end) go. */
void pages_free(struct tmpfs *tmpfs, struct node *node, uint64_t start, uint64_t end);
/* Zero some bytes of one page, if it is here. */
void page_clear(struct tmpfs *tmpfs, struct node *node, uint64_t offset, uint64_t length);
/* The contents of a page, and new ones for `length` bytes at `start` in it. */
int page_read(struct tmpfs *tmpfs, const struct page *page, void *data);
int page_write(struct tmpfs *tmpfs, struct page *page, size_t start, const void *data, size_t length);
void node_free(struct tmpfs *tmpfs, struct node *node);
int node_new(struct tmpfs *tmpfs, const struct fs_new *new_node, struct node **ret);
void node_free_if_unused(struct tmpfs *tmpfs, struct node *node);
struct entry *entry_find(struct tmpfs *tmpfs, const struct node *directory, const char *name,
                                size_t length);
int entry_add(struct tmpfs *tmpfs, struct node *directory, const char *name, size_t length,
                     struct node *node);
void entry_remove(struct tmpfs *tmpfs, struct entry *entry);

#endif
