/* tree.h: a map from page numbers to 32-bit values, whose copy costs nothing.
 *
 * A radix tree of 64-way nodes with counts of references. Two trees may share nodes: a copy of a tree is one more reference to its root,
 * and a change first copies the nodes on its path that are shared. However many copies of copies are made, a look-up walks one
 * path; when a copy goes, nothing of it stays. The height grows with the largest page number.
 *
 * A value that is not 0 is a slot: a frame and flags. A slot holds one count of its frame's <slots>, one for each leaf it is in. (64 and not 512: a small
 * program's few pages then cost hundreds of bytes to copy and to free, not tens of thousands.)
 */
#ifndef NUCLEUS_MEMORY_TREE_H
#define NUCLEUS_MEMORY_TREE_H

#include <host/memory.h>
#include <stdbool.h>
#include <stdint.h>

#define TREE_BITS 6
#define TREE_WAYS (1u << TREE_BITS)
#define TREE_LEVEL_MAX 6 /* 42 bits of page number */

typedef uint64_t page_t; /* a page number: of an address, or in a segment */

#define SLOT_USED 0x80000000u
#define SLOT_EMPTY 0x40000000u /* the frame is set aside for this page, which is not in it yet */
#define SLOT_FRAME 0x1fffffffu
static inline frame_t slot_frame(uint32_t slot) { return slot & SLOT_FRAME; }
static inline bool slot_present(uint32_t slot) { return (slot & (SLOT_USED | SLOT_EMPTY)) == SLOT_USED; }

struct tree_node {
    uint32_t references;
    uint16_t used; /* children or slots in use */
    uint8_t level; /* 0: a leaf */
    uint8_t unused;
    struct tree_node *next; /* free, or waiting to be taken apart */
    union {
        struct tree_node *child[TREE_WAYS];
        uint32_t slot[TREE_WAYS]; /* a leaf is allocated no larger than these */
    };
};

struct tree {
    struct tree_node *root;
};

/* Operations that add nodes take them from a pool that cannot run dry in the middle: ask first for what is needed at most. Changes of pages
 * within one leaf need TREE_NODES_PATH. K_ENOMEM. */
#define TREE_NODES_PATH (TREE_LEVEL_MAX + 2)
static inline size_t tree_nodes_for(uint64_t pages) { return pages / TREE_WAYS * 2 + 3 * TREE_NODES_PATH; }
int tree_nodes_reserve(size_t count);
uint64_t tree_nodes_in_use(void);

/* The value at <page>, 0: none. */
uint32_t tree_get(const struct tree *tree, page_t page);
/* The leaf for <page>, NULL: none; *ret_own: it is this tree's alone, with all above it. The 64 values from page & ~63 on are
 * leaf->slot[]. */
struct tree_node *tree_leaf(const struct tree *tree, page_t page, bool *ret_own);
/* Set a value (0 removes). No frame's count changes: that is the caller's. The path becomes this tree's own. */
void tree_set(struct tree *tree, page_t page, uint32_t value);
/* The leaf for <page>, made if need be and this tree's own, to change its values and its count <used> directly; tree_leaf_done afterwards. */
struct tree_node *tree_leaf_make(struct tree *tree, page_t page);
void tree_leaf_done(struct tree *tree, struct tree_node *leaf, page_t page);
/* The first page at or after *page, below <end>, with a value. False: none. */
bool tree_next(const struct tree *tree, page_t *page, page_t end, uint32_t *ret_value);
/* The first leaf that has values and covers a page at or after *page, below <end>; *page becomes its first page, unless it is within it
 * already. NULL: none. */
struct tree_node *tree_next_leaf(const struct tree *tree, page_t *page, page_t end);
/* The number of slots in a range, counting no further than about <limit>. */
uint64_t tree_count(const struct tree *tree, page_t from, page_t to, uint64_t limit);
/* Remove a range and drop the slot counts of its frames. Whole nodes are only cut off here and taken apart by tree_reap. Needs TREE_NODES_PATH * 2
 * nodes if the tree is shared. */
void tree_remove(struct tree *tree, page_t from, page_t to);
/* Take nodes apart that nobody refers to any more, at most about <budget> pages' worth. True: there is more. */
bool tree_reap(uint64_t budget);
/* Let <to> have the pages [from, from + count) of <source>, at to_page and on; it has none there. Nodes are shared where both ranges lie
 * alike in them, frames (slot count added) elsewhere. Needs tree_share_nodes(count). */
void tree_share(struct tree *to, page_t to_page, const struct tree *source, page_t from, uint64_t count);
size_t tree_share_nodes(page_t to_page, page_t from, uint64_t count);

#endif
