/* table.h: finding objects by their identifiers.
 *
 * A `struct table` finds objects by a 64-bit key (a unique identifier, a message's number) through
 * an entry inside the object: putting one in needs no memory, and the number of buckets is fixed,
 * so no call pays for growth. A `struct id_table` gives out the small local identifiers of one
 * actor, from 1. An identifier that was freed is not given out again soon, so that a stale one is
 * unlikely to meet a newcomer. */
#ifndef NUCLEUS_TABLE_H
#define NUCLEUS_TABLE_H

#include <chorus.h>
#include "list.h"

#define TABLE_BUCKETS 8192u

struct table_entry {
    struct table_entry *next;
    uint64_t key;
};

struct table {
    struct table_entry *buckets[TABLE_BUCKETS];
    size_t count;
};

void table_insert(struct table *table, struct table_entry *entry, uint64_t key);
void table_remove(struct table *table, struct table_entry *entry);
struct table_entry *table_find(const struct table *table, uint64_t key); /* NULL: none */

static inline uint64_t ui_key(const KnUniqueId *ui)
{
    return (uint64_t)ui->uiHead << 32 | ui->uiTail;
}

struct id_table {
    void **slots; /* slot n holds identifier n + 1 */
    int room, used, next, most;
};

/* At most <most> identifiers. */
void id_table_init(struct id_table *table, int most);
void id_table_fini(struct id_table *table);
/* The new identifier; K_ELIMIT, K_ENOMEM. One that was freed comes after all others that are free. */
int id_table_insert(struct id_table *table, void *object);
void id_table_remove(struct id_table *table, int id);
void *id_table_find(const struct id_table *table, int64_t id); /* NULL: none */

#endif
