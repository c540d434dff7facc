/* mapping.c: page tables, orders to the machine, and frames that wait for its report. See mapping.h. */
#include "mapping.h"

#include <host/event.h>
#include <stdlib.h>
#include <string.h>
#include "cache.h"
#include "pressure.h"

/* From a frame to its mappings. An anonymous frame mapped once, by far the most frequent case, has it in its record: (space << 35 | page);
 * one mapped more often has a chain of links there. */
#define WHERE_SHIFT 35
struct mapping_link {
    uint64_t where;
    struct mapping_link *next;
};
static struct mapping_link *free_links;
static size_t free_link_count;

static uint64_t where_of(const struct vm_space *space, page_t page) { return (uint64_t)space->id << WHERE_SHIFT | page; }

static int links_reserve(size_t count)
{
    while (free_link_count < count) {
        struct mapping_link *chunk = malloc(64 * sizeof *chunk);
        if (chunk == NULL)
            return K_ENOMEM;
        for (unsigned i = 0; i < 64; i++) {
            chunk[i].next = free_links;
            free_links = &chunk[i];
        }
        free_link_count += 64;
    }
    return K_OK;
}

int mapping_reserve(size_t pages)
{
    int status = tree_nodes_reserve(tree_nodes_for(pages));
    return status == K_OK ? links_reserve(2 * pages) : status;
}

static struct mapping_link *link_new(uint64_t where, struct mapping_link *next)
{
    struct mapping_link *link = free_links;
    if (link == NULL)
        host_panic("mapping links were not reserved");
    free_links = link->next;
    free_link_count--;
    *link = (struct mapping_link){.where = where, .next = next};
    return link;
}

static void link_free(struct mapping_link *link)
{
    link->next = free_links;
    free_links = link;
    free_link_count++;
}

static void reverse_add(frame_t frame, uint64_t where)
{
    struct frame *record = frame_record(frame);
    if (record->flags & FRAME_CACHE)
        return;
    if (record->mappings == 0) {
        record->mappings = where;
        return;
    }
    struct mapping_link *chain = (struct mapping_link *)record->mappings;
    if (!(record->flags & FRAME_CHAINED))
        chain = link_new(record->mappings, NULL);
    record->flags |= FRAME_CHAINED;
    record->mappings = (uint64_t)link_new(where, chain);
}

static void reverse_remove(frame_t frame, uint64_t where)
{
    struct frame *record = frame_record(frame);
    if (record->flags & FRAME_CACHE)
        return;
    if (!(record->flags & FRAME_CHAINED)) {
        record->mappings = 0;
        return;
    }
    struct mapping_link *head = (struct mapping_link *)record->mappings;
    for (struct mapping_link **place = &head; *place != NULL; place = &(*place)->next) {
        struct mapping_link *link = *place;
        if (link->where == where) {
            *place = link->next;
            link_free(link);
            break;
        }
    }
    record->mappings = (uint64_t)head;
    if (head->next == NULL) {
        record->mappings = head->where;
        record->flags &= ~FRAME_CHAINED;
        link_free(head);
    }
}

void mapping_each(frame_t frame, mapping_visit *visit, void *argument)
{
    struct frame *record = frame_record(frame);
    uint64_t where = record->mappings;
    if (record->flags & FRAME_CHAINED) {
        for (struct mapping_link *link = (struct mapping_link *)where, *next; link != NULL; link = next) {
            next = link->next;
            visit(space_by_id(link->where >> WHERE_SHIFT), link->where & ((1ull << WHERE_SHIFT) - 1), argument);
        }
    } else if (where != 0) {
        visit(space_by_id(where >> WHERE_SHIFT), where & ((1ull << WHERE_SHIFT) - 1), argument);
    }
}

/* --- frames that wait for a report --- */

static void quarantine_grow(struct quarantine *quarantine)
{
    size_t room = quarantine->room == 0 ? 64 : quarantine->room * 2;
    struct quarantined *entries = malloc(room * sizeof *entries);
    if (entries == NULL)
        host_panic("no memory to remember frames that wait for a report");
    for (size_t i = 0; i < quarantine->count; i++)
        entries[i] = quarantine->entries[(quarantine->head + i) & (quarantine->room - 1)];
    free(quarantine->entries);
    quarantine->entries = entries;
    quarantine->room = room;
    quarantine->head = 0;
}

/* The frame's hold is let go when all orders so far have been reported. */
static void quarantine_add(struct vm_space *space, frame_t frame)
{
    if (space->host == NULL) {
        frame_unhold(frame);
        return;
    }
    struct quarantine *quarantine = &space->quarantine;
    host_ticket_t ticket = space_takes_orders(space) ? host_space_ticket(space->host) : UINT64_MAX;
    if (quarantine->count > 0) {
        struct quarantined *last = &quarantine->entries[(quarantine->head + quarantine->count - 1) & (quarantine->room - 1)];
        if (last->first + last->count == frame && last->count < UINT32_MAX) {
            last->count++;
            last->ticket = ticket;
            return;
        }
    }
    if (quarantine->count == quarantine->room)
        quarantine_grow(quarantine);
    quarantine->entries[(quarantine->head + quarantine->count) & (quarantine->room - 1)] =
        (struct quarantined){.ticket = ticket, .first = frame, .count = 1};
    quarantine->count++;
}

void mapping_reported(struct vm_space *space)
{
    struct quarantine *quarantine = &space->quarantine;
    host_ticket_t reported = space->host == NULL ? UINT64_MAX : host_space_reported(space->host);
    while (quarantine->count > 0 && quarantine->entries[quarantine->head].ticket <= reported) {
        struct quarantined entry = quarantine->entries[quarantine->head];
        quarantine->head = (quarantine->head + 1) & (quarantine->room - 1);
        quarantine->count--;
        frame_unhold_run(entry.first, entry.count);
    }
    wait_queue_wake_all(&space->reports, K_OK);
    transfers_reported();
    pressure_relieved();
}

void mapping_submit(struct vm_space *space)
{
    if (space_takes_orders(space) && space->quarantine.count > 0)
        host_space_commit(space->host);
}

/* --- the table --- */

/* Does the machine keep <entry> and the one before it as one mapping? */
static inline bool entries_join(uint32_t before, uint32_t entry)
{
    return entry_protection(before) == entry_protection(entry) && entry_frame(before) + 1 == entry_frame(entry);
}

/* Does one of the machine's mappings begin with <entry>, <before> being the entry before it? */
static inline unsigned entry_begins(uint32_t before, uint32_t entry)
{
    return entry != 0 && (before == 0 || !entries_join(before, entry));
}

/* How many of the machine's mappings begin in [from, to]. */
static uint64_t mappings_in(struct vm_space *space, page_t from, page_t to)
{
    uint32_t before = from == 0 ? 0 : mapping_get(space, from - 1), entry;
    page_t expected = from, page = from;
    uint64_t count = 0;
    while (tree_next(&space->table, &page, to + 1, &entry)) {
        count += entry_begins(page == expected ? before : 0, entry);
        before = entry;
        expected = ++page;
    }
    return count;
}

static void entry_drop(struct vm_space *space, page_t page, uint32_t entry)
{
    reverse_remove(entry_frame(entry), where_of(space, page));
    quarantine_add(space, entry_frame(entry));
    space->mapped--;
}

void mapping_set(struct vm_space *space, page_t page, frame_t first, size_t count, unsigned protection)
{
    uint32_t before = page == 0 ? 0 : mapping_get(space, page - 1), old_before = before, last = 0;
    int64_t begins = 0;
    if (space_takes_orders(space))
        host_space_map(space->host, ADDRESS_OF(page), first, count, protection);
    struct tree_node *leaf = NULL;
    for (size_t i = 0; i < count; i++) {
        if (leaf == NULL || (page + i) % TREE_WAYS == 0)
            leaf = tree_leaf_make(&space->table, page + i);
        uint32_t *slot = &leaf->slot[(page + i) % TREE_WAYS], old = *slot;
        *slot = last = (uint32_t)protection << ENTRY_SHIFT | (first + i);
        begins -= entry_begins(old_before, old);
        old_before = old;
        if (old != 0 && entry_frame(old) == first + i)
            continue;
        leaf->used += old == 0;
        if (old != 0)
            entry_drop(space, page + i, old);
        frame_hold(first + i);
        reverse_add(first + i, where_of(space, page + i));
        space->mapped++;
    }
    uint32_t next = mapping_get(space, page + count);
    begins += entry_begins(before, (uint32_t)protection << ENTRY_SHIFT | first);
    begins += (int)entry_begins(last, next) - (int)entry_begins(old_before, next);
    space->machine_mappings += begins;
}

void mapping_remove(struct vm_space *space, page_t from, page_t to)
{
    page_t page = from, first = 0, last = 0;
    uint32_t entry;
    if (!tree_next(&space->table, &page, to, &entry))
        return;
    uint64_t before = mappings_in(space, from, to);
    first = last = page;
    for (; tree_next(&space->table, &page, to, &entry); page++)
        last = page;
    if (space_takes_orders(space))
        host_space_unmap(space->host, ADDRESS_OF(first), last + 1 - first);
    for (page = first; tree_next(&space->table, &page, last + 1, &entry); page++) {
        tree_set(&space->table, page, 0);
        entry_drop(space, page, entry);
    }
    space->machine_mappings += mappings_in(space, from, to) - before;
}

/* One order for pages without holes that get the same protection. */
static void protect_run(struct vm_space *space, page_t from, page_t to, unsigned protection)
{
    if (space_takes_orders(space) && from < to)
        host_space_protect(space->host, ADDRESS_OF(from), to - from, protection);
    for (page_t page = from; page < to; page++) {
        struct tree_node *leaf = tree_leaf_make(&space->table, page);
        uint32_t *slot = &leaf->slot[page % TREE_WAYS];
        *slot = (uint32_t)protection << ENTRY_SHIFT | entry_frame(*slot);
    }
}

void mapping_withdraw(struct vm_space *space, page_t from, page_t to, unsigned protection)
{
    uint64_t before = mappings_in(space, from, to);
    page_t begin = from, page = from;
    unsigned wanted = 0;
    page_t expected = from;
    uint32_t entry;
    for (; tree_next(&space->table, &page, to, &entry); page++) {
        unsigned rest = entry_protection(entry) & ~protection;
        bool changes = rest != entry_protection(entry);
        if (page != expected || !changes || rest != wanted) {
            if (wanted != 0)
                protect_run(space, begin, expected, wanted);
            begin = page;
            wanted = changes ? rest : 0;
        }
        expected = page + 1;
    }
    if (wanted != 0)
        protect_run(space, begin, expected, wanted);
    space->machine_mappings += mappings_in(space, from, to) - before;
}

void mapping_protect(struct vm_space *space, page_t from, page_t to, unsigned protection)
{
    uint64_t before = mappings_in(space, from, to);
    protect_run(space, from, to, protection);
    space->machine_mappings += mappings_in(space, from, to) - before;
}

page_t mapping_forget(struct vm_space *space, page_t from, uint64_t budget)
{
    uint32_t entry;
    while (tree_next(&space->table, &from, space->top, &entry)) {
        if (budget-- == 0)
            return from;
        tree_set(&space->table, from, 0);
        entry_drop(space, from, entry);
        from++;
    }
    space->machine_mappings = 0;
    return space->top;
}
