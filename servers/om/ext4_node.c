/* Files in use: what must be known of them beyond their inodes.
 *
 * The blocks of a file are read and written without the lock (a transfer), so that one slow disk
 * request does not stop everybody. Whoever frees blocks of the file (a truncation, a deletion)
 * waits until no transfer is under way and keeps new ones out.
 *
 * That blocks have their data is noted here, and in the inode only with the next commit: many small
 * pieces that arrive in whatever order have become few large ones by then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ext4.h"

static struct ext4_node **bucket_of(struct ext4 *ext4, uint32_t inode)
{
    return &ext4->nodes[inode % EXT4_NODE_BUCKETS];
}

struct ext4_node *ext4_node_find(struct ext4 *ext4, uint32_t inode)
{
    struct ext4_node *node = *bucket_of(ext4, inode);

    while (node != NULL && node->inode != inode)
        node = node->next;
    return node;
}

struct ext4_node *ext4_node_get(struct ext4 *ext4, uint32_t inode, uint64_t size)
{
    struct ext4_node *node = ext4_node_find(ext4, inode);

    if (node != NULL)
        return node;
    node = calloc(1, sizeof *node);
    if (node == NULL)
        return NULL;
    node->inode = inode;
    node->size = size;
    node->next = *bucket_of(ext4, inode);
    *bucket_of(ext4, inode) = node;
    return node;
}

void ext4_node_put(struct ext4 *ext4, struct ext4_node *node)
{
    struct ext4_node **place = bucket_of(ext4, node->inode);

    if (node->holds > 0 || node->transfers > 0 || node->waiting > 0 || node->resizing ||
        node->speculative || node->written_count > 0 || node->pushed > 0)
        return;
    while (*place != node)
        place = &(*place)->next;
    *place = node->next;
    free(node->written);
    free(node);
}

/* Where a range that ends at or behind `block` is, or would be. */
static size_t written_find(const struct ext4_node *node, uint64_t block)
{
    size_t low = 0, high = node->written_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (node->written[middle].end < block)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int written_room(struct ext4_node *node)
{
    size_t room = node->written_room * 2 + 4;
    struct ext4_written *bigger;

    if (node->written_count < node->written_room)
        return 0;
    bigger = realloc(node->written, room * sizeof *bigger);
    if (bigger == NULL)
        return -ENOMEM;
    node->written = bigger;
    node->written_room = room;
    return 0;
}

int ext4_node_written(struct ext4 *ext4, struct ext4_node *node, uint64_t start, uint64_t end,
                      uint64_t size)
{
    size_t first = written_find(node, start), last = first;
    int error = written_room(node);

    if (error != 0)
        return error;
    while (last < node->written_count && node->written[last].start <= end)
        last++;                 /* those that touch the new one: they become one */
    if (last > first) {
        if (node->written[first].start < start)
            start = node->written[first].start;
        if (node->written[last - 1].end > end)
            end = node->written[last - 1].end;
    }
    memmove(&node->written[first + 1], &node->written[last],
            (node->written_count - last) * sizeof *node->written);
    node->written[first] = (struct ext4_written){ start, end };
    node->written_count = node->written_count + 1 - (last - first);
    ext4->written_ranges = ext4->written_ranges + 1 - (uint32_t)(last - first);
    if (size > node->pushed)
        node->pushed = size;
    return 0;
}

const struct ext4_written *ext4_node_written_after(const struct ext4_node *node, uint64_t block)
{
    size_t place = written_find(node, block + 1);

    return place < node->written_count ? &node->written[place] : NULL;
}

void ext4_node_written_forget(struct ext4 *ext4, struct ext4_node *node)
{
    ext4->written_ranges -= (uint32_t)node->written_count;
    node->written_count = 0;
    node->pushed = 0;
}

static void node_wait(struct ext4 *ext4, struct ext4_node *node)
{
    node->waiting++;
    pthread_cond_wait(&ext4->transfer_done, &ext4->fs.lock);
    node->waiting--;
}

void ext4_node_resize_begin(struct ext4 *ext4, struct ext4_node *node)
{
    while (node->resizing)
        node_wait(ext4, node);
    node->resizing = true;
    while (node->transfers > 0)
        node_wait(ext4, node);
}

void ext4_node_resize_end(struct ext4 *ext4, struct ext4_node *node)
{
    node->resizing = false;
    pthread_cond_broadcast(&ext4->transfer_done);
}

void ext4_node_transfer_begin(struct ext4 *ext4, struct ext4_node *node)
{
    while (node->resizing)
        node_wait(ext4, node);
    node->transfers++;
}

void ext4_node_transfer_end(struct ext4 *ext4, struct ext4_node *node)
{
    if (--node->transfers == 0)
        pthread_cond_broadcast(&ext4->transfer_done);
}
