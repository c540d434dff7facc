/* tmpfs: nodes, the names in directories, and the pages that were pushed out. */
#include "tmpfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lease.h"

void touch(struct fs *fs, struct node *node, unsigned which)
{
    struct file_attributes *attributes = &node->attributes;
    struct file_time now;

    lease_change(fs->om, fs->number, node->number);
    fs->now(&now);
    if ((which & TIME_ACCESS) != 0) {
        attributes->atime = now.seconds;
        attributes->atime_nanoseconds = now.nanoseconds;
    }
    if ((which & TIME_MODIFY) != 0) {
        attributes->mtime = now.seconds;
        attributes->mtime_nanoseconds = now.nanoseconds;
    }
    if ((which & TIME_CHANGE) != 0) {
        attributes->ctime = now.seconds;
        attributes->ctime_nanoseconds = now.nanoseconds;
    }
}

/* Pages ------------------------------------------------------------------------- */

/* The place of the page, or where it would be. */
size_t page_find(const struct node *node, uint64_t index)
{
    size_t low = 0, high = node->page_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (node->pages[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool page_exists(const struct node *node, size_t place, uint64_t index)
{
    return place < node->page_count && node->pages[place].index == index;
}

int page_count_add(struct tmpfs *tmpfs, struct node *node, size_t place, uint64_t index)
{
    if (tmpfs->pages_max != 0 && tmpfs->pages_used >= tmpfs->pages_max)
        return -ENOSPC;
    if (node->page_count == node->page_room) {
        size_t room = node->page_room * 2 + 4;
        struct page *bigger = realloc(node->pages, room * sizeof *bigger);

        if (bigger == NULL)
            return -ENOMEM;
        node->pages = bigger;
        node->page_room = room;
    }
    memmove(&node->pages[place + 1], &node->pages[place],
            (node->page_count - place) * sizeof *node->pages);
    node->pages[place] = (struct page){ .index = index };
    node->page_count++;
    tmpfs->pages_used++;
    return 0;
}

/* Its contents go. */
static void page_empty(struct tmpfs *tmpfs, struct page *page)
{
    if (page->stored)
        tmpfs->store->free(tmpfs->store, page->slot);
    tmpfs->kept -= page->data != NULL;
    free(page->data);
    page->data = NULL;
    page->stored = false;
}

int page_read(struct tmpfs *tmpfs, const struct page *page, void *data)
{
    if (page->stored)
        return tmpfs->store->read(tmpfs->store, page->slot, data);
    if (page->data != NULL)
        memcpy(data, page->data, PAGE);
    else
        memset(data, 0, PAGE);
    return 0;
}

/* Memory for the page, unless there is a store and enough is kept already. */
static uint8_t *page_memory(struct tmpfs *tmpfs)
{
    uint8_t *data;

    if (tmpfs->store != NULL && tmpfs->kept >= tmpfs->kept_max)
        return NULL;
    data = malloc(PAGE);
    tmpfs->kept += data != NULL;
    return data;
}

int page_write(struct tmpfs *tmpfs, struct page *page, size_t start, const void *data, size_t length)
{
    uint8_t whole[PAGE];
    uint32_t slot;
    int error;

    if (page->data != NULL) {
        memcpy(page->data + start, data, length);
        return 0;
    }
    error = page_read(tmpfs, page, whole);
    if (error != 0)
        return error;
    memcpy(whole + start, data, length);
    page_empty(tmpfs, page);
    page->data = page_memory(tmpfs);
    if (page->data != NULL) {
        memcpy(page->data, whole, PAGE);
        return 0;
    }
    error = tmpfs->store != NULL ? tmpfs->store->write(tmpfs->store, whole, &slot) : -ENOMEM;
    if (error == 0) {
        page->slot = slot;
        page->stored = true;
    }
    return error;
}

/* Pages [start, end) go. */
void pages_free(struct tmpfs *tmpfs, struct node *node, uint64_t start, uint64_t end)
{
    size_t first = page_find(node, start), last = page_find(node, end);

    if (first == last)
        return;
    for (size_t i = first; i < last; i++)
        page_empty(tmpfs, &node->pages[i]);
    memmove(&node->pages[first], &node->pages[last],
            (node->page_count - last) * sizeof *node->pages);
    node->page_count -= last - first;
    tmpfs->pages_used -= last - first;
}

/* Zero some bytes of one page, if it is here. A store that fails leaves them: it is broken. */
void page_clear(struct tmpfs *tmpfs, struct node *node, uint64_t offset, uint64_t length)
{
    static const uint8_t zeros[PAGE];
    size_t place = page_find(node, offset / PAGE);

    if (length != 0 && page_exists(node, place, offset / PAGE) &&
        (node->pages[place].data != NULL || node->pages[place].stored))
        page_write(tmpfs, &node->pages[place], offset % PAGE, zeros, length);
}

/* Nodes ------------------------------------------------------------------------- */

/* So that there may be a node of that number. */
int number_room(struct tmpfs *tmpfs, uint32_t number)
{
    uint32_t room = tmpfs->node_room;
    struct node **bigger;

    if (number < room)
        return 0;
    if (number >= NODES_MAX)
        return -ENOSPC;
    while (room <= number)
        room = room * 2 + 64;
    bigger = realloc(tmpfs->nodes, room * sizeof *bigger);
    if (bigger == NULL)
        return -ENOMEM;
    memset(bigger + tmpfs->node_room, 0, (room - tmpfs->node_room) * sizeof *bigger);
    tmpfs->nodes = bigger;
    tmpfs->node_room = room;
    return 0;
}

static int number_find(struct tmpfs *tmpfs, uint32_t *ret)
{
    if (tmpfs->node_count + 1 >= tmpfs->node_room) {
        int error = number_room(tmpfs, tmpfs->node_room);

        if (error != 0)
            return error;
    }
    do {
        if (++tmpfs->next_free >= tmpfs->node_room)
            tmpfs->next_free = 1;
    } while (tmpfs->nodes[tmpfs->next_free] != NULL);
    *ret = tmpfs->next_free;
    return 0;
}

void node_free(struct tmpfs *tmpfs, struct node *node)
{
    pages_free(tmpfs, node, 0, UINT64_MAX);
    tmpfs->nodes[node->number] = NULL;
    tmpfs->node_count--;
    free(node->pages);
    free(node->link);
    free(node);
}

int node_new(struct tmpfs *tmpfs, const struct fs_new *new_node, struct node **ret)
{
    struct node *node = calloc(1, sizeof *node);
    int error = node == NULL ? -ENOMEM : number_find(tmpfs, &node->number);

    if (error == 0 && S_ISLNK(new_node->mode)) {
        node->link = malloc(new_node->link_length + 1);
        error = node->link == NULL ? -ENOMEM : 0;
    }
    if (error != 0) {
        free(node);
        return error;
    }
    if (node->link != NULL) {
        memcpy(node->link, new_node->link, new_node->link_length);
        node->link[new_node->link_length] = '\0';
        node->attributes.size = new_node->link_length;
    }
    node->generation = ++tmpfs->generation & 0xffffff;
    node->next_cookie = FIRST_COOKIE;
    node->links = S_ISDIR(new_node->mode) ? 2 : 1;
    node->attributes.mode = new_node->mode;
    node->attributes.uid = new_node->uid;
    node->attributes.gid = new_node->gid;
    node->attributes.rdev = new_node->rdev;
    touch(&tmpfs->fs, node, TIME_ACCESS | TIME_MODIFY | TIME_CHANGE);
    tmpfs->nodes[node->number] = node;
    tmpfs->node_count++;
    *ret = node;
    return 0;
}

void node_free_if_unused(struct tmpfs *tmpfs, struct node *node)
{
    if (node->links == 0 && node->holds == 0)
        node_free(tmpfs, node);
}

/* Entries ----------------------------------------------------------------------- */

static uint32_t hash_of(const struct node *directory, const char *name, size_t length)
{
    uint32_t hash = directory->number * 2654435761u;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return hash ^ hash >> 15;
}

struct entry *entry_find(struct tmpfs *tmpfs, const struct node *directory, const char *name,
                                size_t length)
{
    uint32_t hash = hash_of(directory, name, length);
    struct entry *entry = tmpfs->buckets[hash & (tmpfs->bucket_count - 1)];

    while (entry != NULL && !(entry->hash == hash && entry->directory == directory &&
                              entry->length == length && memcmp(entry->name, name, length) == 0))
        entry = entry->hash_next;
    return entry;
}

static void buckets_grow(struct tmpfs *tmpfs)
{
    uint32_t count = tmpfs->bucket_count * 2;
    struct entry **buckets = calloc(count, sizeof *buckets);

    if (buckets == NULL)
        return;                 /* it works with long chains, too */
    for (uint32_t i = 0; i < tmpfs->bucket_count; i++)
        while (tmpfs->buckets[i] != NULL) {
            struct entry *entry = tmpfs->buckets[i];

            tmpfs->buckets[i] = entry->hash_next;
            entry->hash_next = buckets[entry->hash & (count - 1)];
            buckets[entry->hash & (count - 1)] = entry;
        }
    free(tmpfs->buckets);
    tmpfs->buckets = buckets;
    tmpfs->bucket_count = count;
}

int entry_add(struct tmpfs *tmpfs, struct node *directory, const char *name, size_t length,
                     struct node *node)
{
    struct entry *entry = calloc(1, sizeof *entry + length);
    struct entry **bucket;

    if (entry == NULL)
        return -ENOMEM;
    if (tmpfs->entry_count > tmpfs->bucket_count)
        buckets_grow(tmpfs);
    entry->directory = directory;
    entry->node = node;
    entry->cookie = directory->next_cookie++;
    entry->hash = hash_of(directory, name, length);
    entry->length = (uint8_t)length;
    memcpy(entry->name, name, length);
    bucket = &tmpfs->buckets[entry->hash & (tmpfs->bucket_count - 1)];
    entry->hash_next = *bucket;
    *bucket = entry;
    entry->previous = directory->last;
    *(directory->last != NULL ? &directory->last->next : &directory->first) = entry;
    directory->last = entry;
    directory->entries++;
    tmpfs->entry_count++;
    return 0;
}

void entry_remove(struct tmpfs *tmpfs, struct entry *entry)
{
    struct node *directory = entry->directory;
    struct entry **place = &tmpfs->buckets[entry->hash & (tmpfs->bucket_count - 1)];

    while (*place != entry)
        place = &(*place)->hash_next;
    *place = entry->hash_next;
    *(entry->previous != NULL ? &entry->previous->next : &directory->first) = entry->next;
    *(entry->next != NULL ? &entry->next->previous : &directory->last) = entry->previous;
    directory->entries--;
    tmpfs->entry_count--;
    free(entry);
}
