/* tree.c: the shared radix trees. See tree.h. */
#include "tree.h"

#include <chorus.h>
#include <host/event.h>
#include <stdlib.h>
#include <string.h>
#include "frame.h"

#define LEAF_SIZE (offsetof(struct tree_node, slot) + TREE_WAYS * sizeof(uint32_t))
#define CHUNK 32 /* nodes allocated at once */

/* Free nodes: leaves and the others. And those that nobody refers to any more, which wait to be taken apart. */
static struct node_pool {
    struct tree_node *first;
    size_t free;
} leaves, branches;
static struct tree_node *dead;
static uint64_t in_use;

static int node_pool_fill(struct node_pool *pool, size_t size, size_t count)
{
    while (pool->free < count) {
        char *chunk = malloc(CHUNK * size);
        if (chunk == NULL)
            return K_ENOMEM;
        for (unsigned i = 0; i < CHUNK; i++) {
            struct tree_node *node = (struct tree_node *)(chunk + i * size);
            node->next = pool->first;
            pool->first = node;
        }
        pool->free += CHUNK;
    }
    return K_OK;
}

int tree_nodes_reserve(size_t count)
{
    if (leaves.free >= count && branches.free >= count)
        return K_OK;
    if (node_pool_fill(&leaves, LEAF_SIZE, count) != K_OK)
        return K_ENOMEM;
    return node_pool_fill(&branches, sizeof(struct tree_node), count);
}

uint64_t tree_nodes_in_use(void) { return in_use; }

static struct tree_node *node_new(unsigned level)
{
    struct node_pool *pool = level == 0 ? &leaves : &branches;
    struct tree_node *node = pool->first;
    if (node == NULL)
        host_panic("tree nodes were not reserved");
    pool->first = node->next;
    pool->free--;
    in_use++;
    memset(node, 0, level == 0 ? LEAF_SIZE : sizeof *node);
    node->references = 1;
    node->level = level;
    return node;
}

static void node_free(struct tree_node *node)
{
    struct node_pool *pool = node->level == 0 ? &leaves : &branches;
    node->next = pool->first;
    pool->first = node;
    pool->free++;
    in_use--;
}

static inline unsigned node_shift(unsigned level) { return level * TREE_BITS; }
/* Pages below a node of this level. */
static inline uint64_t node_span(unsigned level) { return 1ull << node_shift(level + 1); }
static inline unsigned node_index(unsigned level, page_t page) { return page >> node_shift(level) & (TREE_WAYS - 1); }


static void node_unref(struct tree_node *node)
{
    if (--node->references == 0) {
        node->next = dead;
        dead = node;
    }
}

/* Free runs of frames together. */
static void leaf_drop(struct tree_node *leaf)
{
    for (unsigned i = 0; i < TREE_WAYS && leaf->used > 0; i++) {
        if (leaf->slot[i] != 0) {
            frame_slot_drop(slot_frame(leaf->slot[i]));
            leaf->used--;
        }
    }
}

bool tree_reap(uint64_t budget)
{
    while (dead != NULL && budget > 0) {
        struct tree_node *node = dead;
        dead = node->next;
        if (node->level == 0) {
            leaf_drop(node);
        } else {
            for (unsigned i = 0; i < TREE_WAYS; i++) {
                if (node->child[i] != NULL)
                    node_unref(node->child[i]);
            }
        }
        node_free(node);
        budget -= budget < TREE_WAYS ? budget : TREE_WAYS;
    }
    return dead != NULL;
}

uint32_t tree_get(const struct tree *tree, page_t page)
{
    const struct tree_node *node = tree->root;
    if (node == NULL || page >= node_span(node->level))
        return 0;
    while (node->level > 0) {
        node = node->child[node_index(node->level, page)];
        if (node == NULL)
            return 0;
    }
    return node->slot[page % TREE_WAYS];
}

/* The node of <level> that covers <page>. */
static struct tree_node *tree_node_at(const struct tree *tree, page_t page, unsigned level, bool *ret_own)
{
    struct tree_node *node = tree->root;
    *ret_own = true;
    if (node == NULL || page >= node_span(node->level) || node->level < level)
        return NULL;
    while (node != NULL) {
        if (node->references > 1)
            *ret_own = false;
        if (node->level == level)
            return node;
        node = node->child[node_index(node->level, page)];
    }
    return NULL;
}

struct tree_node *tree_leaf(const struct tree *tree, page_t page, bool *ret_own) { return tree_node_at(tree, page, 0, ret_own); }

/* Make *place this tree's own: what is above it is already. */
static void node_own(struct tree_node **place)
{
    struct tree_node *old = *place;
    if (old->references == 1)
        return;
    struct tree_node *node = node_new(old->level);
    node->used = old->used;
    if (old->level == 0) {
        memcpy(node->slot, old->slot, sizeof node->slot);
        for (unsigned i = 0; i < TREE_WAYS; i++) {
            if (node->slot[i] != 0)
                frame_slot_add(slot_frame(node->slot[i]));
        }
    } else {
        memcpy(node->child, old->child, sizeof node->child);
        for (unsigned i = 0; i < TREE_WAYS; i++) {
            if (node->child[i] != NULL)
                node->child[i]->references++;
        }
    }
    old->references--;
    *place = node;
}

/* Make the tree high enough for <page>, and for a node of <level> below its root. */
static void tree_grow(struct tree *tree, page_t page, unsigned level)
{
    if (tree->root == NULL) {
        while (page >= node_span(level))
            level++;
        tree->root = node_new(level);
        return;
    }
    while (page >= node_span(tree->root->level) || tree->root->level < level) {
        struct tree_node *root = node_new(tree->root->level + 1);
        root->child[0] = tree->root;
        root->used = 1;
        tree->root = root;
    }
}

/* The place that holds the node of <level> for <page>; all above it is made this tree's own. */
static struct tree_node **tree_place(struct tree *tree, page_t page, unsigned level)
{
    struct tree_node **place = &tree->root;
    while ((*place)->level > level) {
        node_own(place);
        struct tree_node *node = *place;
        place = &node->child[node_index(node->level, page)];
        if (node->level == level + 1)
            break;
        if (*place == NULL) {
            *place = node_new(node->level - 1);
            node->used++;
        }
    }
    return place;
}

/* Take empty nodes away along the path to <page>. The path is the tree's own. */
static bool node_prune(struct tree_node **place, page_t page)
{
    struct tree_node *node = *place;
    if (node->level > 0) {
        struct tree_node **below = &node->child[node_index(node->level, page)];
        if (*below != NULL && (*below)->references == 1 && node_prune(below, page))
            node->used--;
    }
    if (node->used > 0)
        return false;
    *place = NULL;
    node_free(node);
    return true;
}

struct tree_node *tree_leaf_make(struct tree *tree, page_t page)
{
    tree_grow(tree, page, 0);
    struct tree_node **place = tree_place(tree, page, 0);
    if (*place == NULL) {
        *place = node_new(0);
        if (place != &tree->root) {
            bool own;
            tree_node_at(tree, page, 1, &own)->used++;
        }
    }
    node_own(place);
    return *place;
}

void tree_leaf_done(struct tree *tree, struct tree_node *leaf, page_t page)
{
    if (leaf->used == 0)
        node_prune(&tree->root, page);
}

void tree_set(struct tree *tree, page_t page, uint32_t value)
{
    if (value == 0 && tree_get(tree, page) == 0)
        return;
    struct tree_node *leaf = tree_leaf_make(tree, page);
    uint32_t *slot = &leaf->slot[page % TREE_WAYS];
    leaf->used += (value != 0) - (*slot != 0);
    *slot = value;
    tree_leaf_done(tree, leaf, page);
}

static bool node_next(const struct tree_node *node, page_t base, page_t *page, page_t end, uint32_t *ret_value)
{
    unsigned from = *page > base ? node_index(node->level, *page) : 0;
    for (unsigned i = from; i < TREE_WAYS; i++) {
        page_t at = base + ((page_t)i << node_shift(node->level));
        if (at >= end)
            return false;
        if (node->level == 0) {
            if (node->slot[i] != 0) {
                *page = at;
                *ret_value = node->slot[i];
                return true;
            }
        } else if (node->child[i] != NULL && node_next(node->child[i], at, page, end, ret_value)) {
            return true;
        }
    }
    return false;
}

bool tree_next(const struct tree *tree, page_t *page, page_t end, uint32_t *ret_value)
{
    if (tree->root == NULL || *page >= end || *page >= node_span(tree->root->level))
        return false;
    return node_next(tree->root, 0, page, end, ret_value);
}

static struct tree_node *node_next_leaf(struct tree_node *node, page_t base, page_t *page, page_t end)
{
    if (node->level == 0) {
        if (*page < base)
            *page = base;
        return node;
    }
    unsigned from = *page > base ? node_index(node->level, *page) : 0;
    for (unsigned i = from; i < TREE_WAYS; i++) {
        page_t at = base + ((page_t)i << node_shift(node->level));
        if (at >= end)
            return NULL;
        struct tree_node *leaf = node->child[i] == NULL ? NULL : node_next_leaf(node->child[i], at, page, end);
        if (leaf != NULL)
            return leaf;
    }
    return NULL;
}

struct tree_node *tree_next_leaf(const struct tree *tree, page_t *page, page_t end)
{
    if (tree->root == NULL || *page >= end || *page >= node_span(tree->root->level))
        return NULL;
    return node_next_leaf(tree->root, 0, page, end);
}

static uint64_t node_count(const struct tree_node *node, page_t base, page_t from, page_t to, uint64_t limit)
{
    uint64_t count = 0;
    if (node->level == 0 && base >= from && base + TREE_WAYS <= to)
        return node->used;
    for (unsigned i = 0; i < TREE_WAYS && count < limit; i++) {
        page_t at = base + ((page_t)i << node_shift(node->level));
        if (at >= to)
            break;
        if (at + (1ull << node_shift(node->level)) <= from)
            continue;
        if (node->level == 0)
            count += node->slot[i] != 0;
        else if (node->child[i] != NULL)
            count += node_count(node->child[i], at, from, to, limit - count);
    }
    return count;
}

uint64_t tree_count(const struct tree *tree, page_t from, page_t to, uint64_t limit)
{
    return tree->root == NULL ? 0 : node_count(tree->root, 0, from, to, limit);
}

/* Remove [from, to) below *place. True: the node is empty and gone. */
static bool node_remove(struct tree_node **place, page_t base, page_t from, page_t to)
{
    struct tree_node *node = *place;
    if (from <= base && base + node_span(node->level) <= to) {
        *place = NULL;
        node_unref(node);
        return true;
    }
    node_own(place);
    node = *place;
    uint64_t step = 1ull << node_shift(node->level);
    unsigned first = from > base ? (from - base) >> node_shift(node->level) : 0;
    for (unsigned i = first; i < TREE_WAYS && base + i * step < to; i++) {
        if (node->level == 0) {
            if (node->slot[i] == 0)
                continue;
            frame_slot_drop(slot_frame(node->slot[i]));
            node->slot[i] = 0;
            node->used--;
        } else if (node->child[i] != NULL && node_remove(&node->child[i], base + i * step, from, to)) {
            node->used--;
        }
    }
    if (node->used > 0)
        return false;
    *place = NULL;
    node_free(node);
    return true;
}

void tree_remove(struct tree *tree, page_t from, page_t to)
{
    uint32_t value;
    page_t first = from;
    if (from >= to || !tree_next(tree, &first, to, &value))
        return;
    node_remove(&tree->root, 0, from, to);
}

/* Let <to> share one whole node. False: it has something of its own there. */
static bool tree_attach(struct tree *to, page_t page, struct tree_node *node)
{
    if (to->root == NULL && page == 0) {
        to->root = node;
        node->references++;
        return true;
    }
    tree_grow(to, page, node->level + 1);
    struct tree_node **place = tree_place(to, page, node->level);
    if (*place != NULL)
        return false;
    *place = node;
    node->references++;
    bool own;
    tree_node_at(to, page, node->level + 1, &own)->used++;
    return true;
}

static void tree_share_slots(struct tree *to, page_t to_page, const struct tree *source, page_t from, uint64_t count)
{
    page_t page = from;
    uint32_t value;
    while (tree_next(source, &page, from + count, &value)) {
        frame_slot_add(slot_frame(value));
        tree_set(to, to_page + (page - from), value);
        page++;
    }
}

/* The level of the largest node that [from, from + count) and to_page can have in common; -1: none. */
static int share_level(page_t to_page, page_t from, uint64_t count)
{
    int level = -1;
    while (level < TREE_LEVEL_MAX && ((from | to_page) & (node_span(level + 1) - 1)) == 0 && count >= node_span(level + 1))
        level++;
    return level;
}

void tree_share(struct tree *to, page_t to_page, const struct tree *source, page_t from, uint64_t count)
{
    page_t delta = to_page - from, end = from + count, page = from;
    uint32_t value;
    while (page = from, tree_next(source, &page, end, &value)) {
        bool own;
        struct tree_node *node = NULL;
        int level = share_level(from + delta, from, end - from);
        if (source->root->level < level)
            level = source->root->level;
        if (level >= 0)
            node = tree_node_at(source, from, level, &own);
        if (node != NULL) {
            if (!tree_attach(to, from + delta, node))
                tree_share_slots(to, from + delta, source, from, node_span(level));
            from += node_span(level);
        } else if (page - from >= TREE_WAYS) {
            from += (page - from) & ~(page_t)(TREE_WAYS - 1); /* nothing there */
        } else {
            uint64_t step = TREE_WAYS - from % TREE_WAYS;
            if (step > end - from)
                step = end - from;
            tree_share_slots(to, from + delta, source, from, step);
            from += step;
        }
    }
}

size_t tree_share_nodes(page_t to_page, page_t from, uint64_t count)
{
    if ((to_page - from) % TREE_WAYS == 0) /* heads and tails of up to 64 nodes a level, and their paths */
        return 2 * TREE_WAYS + 4 * TREE_NODES_PATH;
    return tree_nodes_for(count);
}
