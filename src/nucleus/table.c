/* Tables: see table.h. */
#include "table.h"

#include <stdlib.h>
#include <string.h>
#include "assert.h"

/* Identifiers are counted up: neighbours in time are neighbours in memory. */
static size_t bucket_of(uint64_t key)
{
    return (key ^ key >> 32) & (TABLE_BUCKETS - 1);
}

void table_insert(struct table *table, struct table_entry *entry, uint64_t key)
{
    struct table_entry **bucket = &table->buckets[bucket_of(key)];
    entry->key = key;
    entry->next = *bucket;
    *bucket = entry;
    table->count++;
}

void table_remove(struct table *table, struct table_entry *entry)
{
    struct table_entry **place = &table->buckets[bucket_of(entry->key)];
    while (*place != entry) {
        ASSERT(*place != NULL);
        place = &(*place)->next;
    }
    *place = entry->next;
    table->count--;
}

struct table_entry *table_find(const struct table *table, uint64_t key)
{
    struct table_entry *entry = table->buckets[bucket_of(key)];
    while (entry != NULL && entry->key != key)
        entry = entry->next;
    return entry;
}

void id_table_init(struct id_table *table, int most)
{
    *table = (struct id_table){ .most = most };
}

void id_table_fini(struct id_table *table)
{
    ASSERT(table->used == 0);
    free(table->slots);
    table->slots = NULL;
    table->room = 0;
}

static int id_table_grow(struct id_table *table)
{
    if (table->room >= table->most)
        return K_ELIMIT;
    int room = table->room == 0 ? 8 : table->room * 2;
    if (room > table->most)
        room = table->most;
    void **slots = realloc(table->slots, (size_t)room * sizeof *slots);
    if (slots == NULL)
        return K_ENOMEM;
    memset(slots + table->room, 0, (size_t)(room - table->room) * sizeof *slots);
    table->slots = slots;
    table->next = table->room;
    table->room = room;
    return K_OK;
}

int id_table_insert(struct id_table *table, void *object)
{
    if (table->used == table->room) {
        int status = id_table_grow(table);
        if (status != K_OK)
            return status;
    }
    while (table->slots[table->next] != NULL)
        table->next = (table->next + 1) % table->room;
    int slot = table->next;
    table->next = (slot + 1) % table->room;
    table->slots[slot] = object;
    table->used++;
    return slot + 1;
}

void id_table_remove(struct id_table *table, int id)
{
    ASSERT(id_table_find(table, id) != NULL);
    table->slots[id - 1] = NULL;
    table->used--;
}

void *id_table_find(const struct id_table *table, int64_t id)
{
    return id < 1 || id > table->room ? NULL : table->slots[id - 1];
}
