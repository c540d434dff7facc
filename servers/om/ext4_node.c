/* Files in use: what must be known of them beyond their inodes.
 *
 * The blocks of a file are read and written without the lock (a transfer), so that one slow disk
 * request does not stop everybody. Whoever frees blocks of the file (a truncation, a deletion)
 * waits until no transfer is under way and keeps new ones out.
 */
#include <stdlib.h>

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

    if (node->holds > 0 || node->transfers > 0 || node->resizing || node->speculative)
        return;
    while (*place != node)
        place = &(*place)->next;
    *place = node->next;
    free(node);
}

void ext4_node_resize_begin(struct ext4 *ext4, struct ext4_node *node)
{
    while (node->resizing)
        pthread_cond_wait(&ext4->transfer_done, &ext4->fs.lock);
    node->resizing = true;
    while (node->transfers > 0)
        pthread_cond_wait(&ext4->transfer_done, &ext4->fs.lock);
}

void ext4_node_resize_end(struct ext4 *ext4, struct ext4_node *node)
{
    node->resizing = false;
    pthread_cond_broadcast(&ext4->transfer_done);
}

void ext4_node_transfer_begin(struct ext4 *ext4, struct ext4_node *node)
{
    while (node->resizing)
        pthread_cond_wait(&ext4->transfer_done, &ext4->fs.lock);
    node->transfers++;
}

void ext4_node_transfer_end(struct ext4 *ext4, struct ext4_node *node)
{
    if (--node->transfers == 0)
        pthread_cond_broadcast(&ext4->transfer_done);
}
