/* tmpfs: from one om to the next. All of it goes along: nodes by their numbers, the names of each directory in their order, and the
 * pages that were pushed out; those in the store stay there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"
#include "tmpfs.h"

/* A node, without what it points to. */
struct resting_node {
    uint32_t number;            /* 0: there are no more */
    uint32_t generation, holds, links, parent, entries;
    uint64_t next_cookie, pages;
    uint32_t link_length;       /* and a zero; 0: no link */
    struct file_attributes attributes;
};

struct resting_entry {
    uint64_t cookie;
    uint32_t node;
    uint8_t  length;
};

enum page_kind { PAGE_EMPTY, PAGE_HERE, PAGE_STORED };

struct resting_page {
    uint64_t index;
    uint32_t slot;
    uint8_t  kind;
};

static void page_put(const struct page *page, struct om_state *state)
{
    struct resting_page resting = { .index = page->index, .slot = page->slot,
                                    .kind = page->stored ? PAGE_STORED : page->data != NULL ? PAGE_HERE : PAGE_EMPTY };

    STATE_PUT(state, resting);
    if (page->data != NULL)
        state_put(state, page->data, PAGE);
}

static void node_put(const struct node *node, struct om_state *state)
{
    struct resting_node resting = {
        .number = node->number, .generation = node->generation, .holds = node->holds, .links = node->links,
        .parent = node->parent != NULL ? node->parent->number : 0, .entries = node->entries, .next_cookie = node->next_cookie,
        .pages = node->page_count, .link_length = node->link != NULL ? (uint32_t)strlen(node->link) + 1 : 0,
        .attributes = node->attributes,
    };

    STATE_PUT(state, resting);
    state_put(state, node->link, resting.link_length);
    for (size_t i = 0; i < node->page_count; i++)
        page_put(&node->pages[i], state);
}

/* Once all nodes are there. */
static void names_put(const struct node *node, struct om_state *state)
{
    for (const struct entry *entry = node->first; entry != NULL; entry = entry->next) {
        struct resting_entry resting = { .cookie = entry->cookie, .node = entry->node->number, .length = entry->length };

        STATE_PUT(state, resting);
        state_put(state, entry->name, entry->length);
    }
}

void tmpfs_hand_over(struct fs *fs, struct om_state *state)
{
    const struct tmpfs *tmpfs = tmpfs_of(fs);
    const struct resting_node end = { 0 };

    STATE_PUT(state, tmpfs->pages_max);
    STATE_PUT(state, tmpfs->next_free);
    STATE_PUT(state, tmpfs->generation);
    STATE_PUT(state, fs->root);
    for (uint32_t i = 0; i < tmpfs->node_room; i++)
        if (tmpfs->nodes[i] != NULL)
            node_put(tmpfs->nodes[i], state);
    STATE_PUT(state, end);
    for (uint32_t i = 0; i < tmpfs->node_room; i++)
        if (tmpfs->nodes[i] != NULL)
            names_put(tmpfs->nodes[i], state);
}

/* Reading ----------------------------------------------------------------------- */

static int page_get(struct tmpfs *tmpfs, struct node *node, struct om_state *state)
{
    struct resting_page resting;
    int error;

    STATE_GET(state, resting);
    error = state->failed ? -EINVAL : page_count_add(tmpfs, node, node->page_count, resting.index);
    if (error != 0)
        return error;
    struct page *page = &node->pages[node->page_count - 1];
    page->slot = resting.slot;
    page->stored = resting.kind == PAGE_STORED && tmpfs->store != NULL;
    if (resting.kind != PAGE_HERE)
        return 0;
    page->data = malloc(PAGE);
    if (page->data == NULL)
        return -ENOMEM;
    tmpfs->kept++;
    state_get(state, page->data, PAGE);
    return 0;
}

/* What is wrong with a node's number must not lead outside the table. */
static struct node *node_at(const struct tmpfs *tmpfs, uint32_t number)
{
    return number < tmpfs->node_room ? tmpfs->nodes[number] : NULL;
}

static int node_get(struct tmpfs *tmpfs, const struct resting_node *resting, struct om_state *state)
{
    struct node *node;
    int error = number_room(tmpfs, resting->number);

    if (error == 0 && (tmpfs->nodes[resting->number] != NULL || resting->link_length > state->room - state->size))
        error = -EINVAL;
    node = error == 0 ? calloc(1, sizeof *node) : NULL;
    if (node == NULL)
        return error != 0 ? error : -ENOMEM;
    node->number = resting->number;
    node->generation = resting->generation;
    node->holds = resting->holds;
    node->links = resting->links;
    node->next_cookie = resting->next_cookie;
    node->attributes = resting->attributes;
    tmpfs->nodes[node->number] = node;
    tmpfs->node_count++;
    if (resting->link_length > 0) {
        node->link = malloc(resting->link_length);
        if (node->link == NULL)
            return -ENOMEM;
        state_get(state, node->link, resting->link_length);
        node->link[resting->link_length - 1] = '\0';
    }
    for (uint64_t i = 0; i < resting->pages && error == 0; i++)
        error = page_get(tmpfs, node, state);
    return error;
}

static int name_get(struct tmpfs *tmpfs, struct node *directory, struct om_state *state)
{
    struct resting_entry resting;
    char name[UINT8_MAX];
    uint64_t next = directory->next_cookie;
    int error;

    STATE_GET(state, resting);
    state_get(state, name, resting.length);
    if (state->failed || node_at(tmpfs, resting.node) == NULL)
        return -EINVAL;
    directory->next_cookie = resting.cookie;
    error = entry_add(tmpfs, directory, name, resting.length, node_at(tmpfs, resting.node));
    directory->next_cookie = next;
    return error;
}

/* What is to be done when all nodes are there. */
struct parents {
    struct resting_node *nodes;
    size_t count, room;
};

static int parents_note(struct parents *parents, const struct resting_node *resting)
{
    if (parents->count == parents->room) {
        size_t room = parents->room * 2 + 64;
        struct resting_node *bigger = realloc(parents->nodes, room * sizeof *bigger);

        if (bigger == NULL)
            return -ENOMEM;
        parents->nodes = bigger;
        parents->room = room;
    }
    parents->nodes[parents->count++] = *resting;
    return 0;
}

static int names_get(struct tmpfs *tmpfs, const struct parents *parents, struct om_state *state)
{
    int error = 0;

    for (size_t i = 0; i < parents->count && error == 0; i++) {
        struct node *node = tmpfs->nodes[parents->nodes[i].number];

        node->parent = node_at(tmpfs, parents->nodes[i].parent);
        if (type_of(node) == S_IFDIR && node->parent == NULL && node->links != 0)
            return -EINVAL;
        for (uint32_t n = 0; n < parents->nodes[i].entries && error == 0; n++)
            error = name_get(tmpfs, node, state);
    }
    return error;
}

static int all_get(struct tmpfs *tmpfs, struct om_state *state)
{
    struct parents parents = { 0 };
    struct resting_node resting;
    int error = 0;

    for (STATE_GET(state, resting); resting.number != 0 && error == 0; STATE_GET(state, resting)) {
        error = node_get(tmpfs, &resting, state);
        if (error == 0)
            error = parents_note(&parents, &resting);
        if (error != 0)
            break;
    }
    if (error == 0)
        error = names_get(tmpfs, &parents, state);
    free(parents.nodes);
    return error == 0 && (state->failed || node_of(&tmpfs->fs, tmpfs->fs.root) == NULL) ? -EINVAL : error;
}

int tmpfs_take_over(struct fs_store *store, uint64_t pages, struct om_state *state, struct fs **ret)
{
    struct tmpfs *tmpfs = tmpfs_new(0);
    uint64_t pages_max;
    int error;

    if (tmpfs == NULL)
        return -ENOMEM;
    STATE_GET(state, pages_max);
    STATE_GET(state, tmpfs->next_free);
    STATE_GET(state, tmpfs->generation);
    STATE_GET(state, tmpfs->fs.root);
    if (store != NULL)
        tmpfs_use_store(&tmpfs->fs, store, pages);
    error = all_get(tmpfs, state); /* counts pages, and is not to fail for that: the limit comes afterwards */
    tmpfs->pages_max = pages_max;
    *ret = &tmpfs->fs;
    return error; /* an om that cannot take over ends: nothing is freed here, least of all in the store */
}
