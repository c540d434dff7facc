/* mapping.c: page tables, orders to the machine, and frames that wait for its report. See mapping.h. */
#include "mapping.h"

#include <host/event.h>
#include <stdlib.h>
#include <string.h>
#include "cache.h"
#include "pressure.h"

/* From a frame to its mappings. An anonymous frame mapped once, by far the most frequent case, has it in its record: (space << 35 | page);
 * one mapped more often has a chain of links there. One that is mapped very often (it is shared, or an actor plays) has none: its mappings are found by a search. */
#define WHERE_SHIFT 35
#define CHAIN_MAX 64
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

static void chain_give_up(struct frame *record)
{
    for (struct mapping_link *link = (struct mapping_link *)record->mappings, *next; link != NULL; link = next) {
        next = link->next;
        link_free(link);
    }
    record->mappings = 0;
    record->flags = (record->flags & ~FRAME_CHAINED) | FRAME_CROWDED;
}

static void reverse_add(frame_t frame, uint64_t where)
{
    struct frame *record = frame_record(frame);
    if (record->flags & (FRAME_CACHE | FRAME_CROWDED))
        return;
    if (record->mappings == 0) {
        record->mappings = where;
        return;
    }
    struct mapping_link *chain = (struct mapping_link *)record->mappings;
    if (!(record->flags & FRAME_CHAINED)) {
        chain = link_new(record->mappings, NULL);
        record->flags |= FRAME_CHAINED;
        record->next = 1;
    }
    record->mappings = (uint64_t)link_new(where, chain);
    if (++record->next > CHAIN_MAX)
        chain_give_up(record);
}

static void reverse_remove(frame_t frame, uint64_t where)
{
    struct frame *record = frame_record(frame);
    if (record->flags & (FRAME_CACHE | FRAME_CROWDED))
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
            record->next--;
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

static void search_each(frame_t frame, mapping_visit *visit, void *argument)
{
    uint32_t entry;
    LIST_FOR_EACH(of_all, &all_spaces) {
        struct vm_space *space = LIST_OWNER(of_all, struct vm_space, of_all);
        for (page_t page = 0; tree_next(&space->table, &page, space->top, &entry); page++) {
            if (entry_frame(entry) == frame)
                visit(space, page, argument);
        }
    }
}

void mapping_each(frame_t frame, mapping_visit *visit, void *argument)
{
    struct frame *record = frame_record(frame);
    uint64_t where = record->mappings;
    if (record->flags & FRAME_CROWDED) {
        search_each(frame, visit, argument);
    } else if (record->flags & FRAME_CHAINED) {
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

/* The frames' holds are let go when all orders so far have been reported. */
static void quarantine_add(struct vm_space *space, frame_t first, uint32_t count)
{
    if (space->host == NULL) {
        frame_unhold_run(first, count);
        return;
    }
    struct quarantine *quarantine = &space->quarantine;
    host_ticket_t ticket = space_takes_orders(space) ? host_space_ticket(space->host) : UINT64_MAX;
    if (quarantine->count == 0 && ticket <= host_space_reported(space->host)) { /* a supervisor space's orders are carried out as they are given: no event tells of it */
        frame_unhold_run(first, count);
        return;
    }
    if (quarantine->count > 0) {
        struct quarantined *last = &quarantine->entries[(quarantine->head + quarantine->count - 1) & (quarantine->room - 1)];
        if (last->first + last->count == first) {
            last->count += count;
            last->ticket = ticket;
            return;
        }
    }
    if (quarantine->count == quarantine->room)
        quarantine_grow(quarantine);
    quarantine->entries[(quarantine->head + quarantine->count) & (quarantine->room - 1)] =
        (struct quarantined){.ticket = ticket, .first = first, .count = count};
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

/* Does one of the machine's mappings begin with <entry>, <before> being the entry before it? Entries of neighbouring frames with one protection
 * are numbers that follow each other. */
static inline unsigned entry_begins(uint32_t before, uint32_t entry) { return entry != 0 && entry != before + 1; }

/* In the slots of a whole leaf, but for the first. */
static unsigned leaf_begins(const uint32_t *slot)
{
    uint32_t count = 0;
    for (unsigned i = 1; i < TREE_WAYS; i++)
        count += (slot[i] != 0) & (slot[i] != slot[i - 1] + 1);
    return count;
}

/* How many of the machine's mappings begin in [from, to]. */
static uint64_t mappings_in(struct vm_space *space, page_t from, page_t to)
{
    uint32_t before = from == 0 ? 0 : mapping_get(space, from - 1);
    page_t page = from, expected = from;
    uint64_t count = 0;
    struct tree_node *leaf;
    while ((leaf = tree_next_leaf(&space->table, &page, to + 1)) != NULL) {
        unsigned first = page % TREE_WAYS, end = to + 1 - page < TREE_WAYS - first ? first + (to + 1 - page) : TREE_WAYS;
        const uint32_t *slot = leaf->slot;
        count += entry_begins(page == expected ? before : 0, slot[first]);
        if (end - first == TREE_WAYS) {
            count += leaf_begins(slot);
        } else {
            for (unsigned i = first + 1; i < end; i++)
                count += entry_begins(slot[i - 1], slot[i]);
        }
        before = slot[end - 1];
        page += end - first;
        expected = page;
    }
    return count;
}

uint64_t mapping_pieces(struct vm_space *space, page_t from, page_t to) { return mappings_in(space, from, to - 1); }

/* Supervisor spaces share the Nucleus's own address space on the host. */
static uint64_t supervisor_mappings;

static void mappings_count(struct vm_space *space, int64_t more)
{
    space->machine_mappings += more;
    if (space->supervisor)
        supervisor_mappings += more;
}

uint64_t mapping_count_shared(const struct vm_space *space)
{
    return space->supervisor ? supervisor_mappings : space->machine_mappings;
}

/* Before the table changes: copy.c looks there no more than it must. */
static void forget_recent(struct vm_space *space)
{
    if (!space->has_recent)
        return;
    memset(space->recent, 0, sizeof space->recent);
    space->has_recent = false;
}

static void entry_drop(struct vm_space *space, page_t page, uint32_t entry)
{
    reverse_remove(entry_frame(entry), where_of(space, page));
    quarantine_add(space, entry_frame(entry), 1);
    space->mapped--;
}

void mapping_set(struct vm_space *space, page_t page, frame_t first, size_t count, unsigned protection)
{
    uint32_t before = page == 0 ? 0 : mapping_get(space, page - 1), old_before = before, last = 0;
    int64_t begins = 0;
    forget_recent(space);
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
    mappings_count(space, begins);
}

/* Empty the entries of a leaf from <page> on, below <to>; frames go in runs. Returns how many went. */
static unsigned leaf_empty(struct vm_space *space, struct tree_node *leaf, page_t page, page_t to)
{
    unsigned first = page % TREE_WAYS, end = to - page < TREE_WAYS - first ? first + (to - page) : TREE_WAYS, went = 0;
    forget_recent(space);
    for (unsigned i = first; i < end;) {
        uint32_t entry = leaf->slot[i];
        if (entry == 0) {
            i++;
            continue;
        }
        unsigned count = 0;
        while (i < end && leaf->slot[i] != 0 && entry_frame(leaf->slot[i]) == entry_frame(entry) + count) {
            reverse_remove(entry_frame(entry) + count, where_of(space, page + (i - first)));
            leaf->slot[i++] = 0;
            count++;
        }
        quarantine_add(space, entry_frame(entry), count);
        went += count;
    }
    leaf->used -= went;
    space->mapped -= went;
    tree_leaf_done(&space->table, leaf, page);
    return went;
}

/* The last page below <to> that has an entry; there is one at or after <from>. */
static page_t last_entry(struct vm_space *space, page_t from, page_t to)
{
    page_t page = from, last = from;
    struct tree_node *leaf;
    while ((leaf = tree_next_leaf(&space->table, &page, to)) != NULL) {
        for (; page < to; page++) {
            if (leaf->slot[page % TREE_WAYS] != 0)
                last = page;
            if (page % TREE_WAYS == TREE_WAYS - 1) {
                page++;
                break;
            }
        }
    }
    return last;
}

void mapping_remove(struct vm_space *space, page_t from, page_t to)
{
    page_t page = from;
    uint32_t entry;
    struct tree_node *leaf;
    if (!tree_next(&space->table, &page, to, &entry))
        return;
    uint64_t before = mappings_in(space, from, to);
    if (space_takes_orders(space))
        host_space_unmap(space->host, ADDRESS_OF(page), last_entry(space, page, to) + 1 - page);
    while ((leaf = tree_next_leaf(&space->table, &page, to)) != NULL) {
        leaf_empty(space, leaf, page, to);
        page = (page | (TREE_WAYS - 1)) + 1;
    }
    mappings_count(space, (int64_t)(mappings_in(space, from, to) - before));
}

/* One order for pages without holes that get the same protection. */
static void protect_run(struct vm_space *space, page_t from, page_t to, unsigned protection)
{
    if (from >= to)
        return;
    forget_recent(space);
    if (space_takes_orders(space))
        host_space_protect(space->host, ADDRESS_OF(from), to - from, protection);
    for (page_t page = from; page < to;) {
        struct tree_node *leaf = tree_leaf_make(&space->table, page);
        unsigned first = page % TREE_WAYS, end = to - page < TREE_WAYS - first ? first + (to - page) : TREE_WAYS;
        if (end - first == TREE_WAYS) {
            for (unsigned i = 0; i < TREE_WAYS; i++)
                leaf->slot[i] = (uint32_t)protection << ENTRY_SHIFT | entry_frame(leaf->slot[i]);
        } else {
            for (unsigned i = first; i < end; i++)
                leaf->slot[i] = (uint32_t)protection << ENTRY_SHIFT | entry_frame(leaf->slot[i]);
        }
        page += end - first;
    }
}

/* A stretch of entries without holes, which shall all have the same rest of protection, and some of which have more. */
struct stretch {
    page_t from, to;
    unsigned rest;
    bool changes;
};

static void stretch_end(struct vm_space *space, struct stretch *stretch)
{
    if (stretch->changes)
        protect_run(space, stretch->from, stretch->to, stretch->rest);
    *stretch = (struct stretch){0};
}

/* Have all entries of a full leaf the same protection? */
static bool leaf_is_uniform(const struct tree_node *leaf)
{
    uint32_t differs = 0;
    if (leaf->used < TREE_WAYS)
        return false;
    for (unsigned i = 1; i < TREE_WAYS; i++)
        differs |= leaf->slot[i] ^ leaf->slot[0];
    return differs >> ENTRY_SHIFT == 0;
}

static void stretch_add(struct vm_space *space, struct stretch *stretch, page_t page, unsigned count, uint32_t entry, unsigned protection)
{
    unsigned rest = entry_protection(entry) & ~protection;
    if (page != stretch->to || rest != stretch->rest) {
        stretch_end(space, stretch);
        stretch->from = page;
        stretch->rest = rest;
    }
    stretch->to = page + count;
    stretch->changes |= rest != entry_protection(entry);
}

void mapping_withdraw(struct vm_space *space, page_t from, page_t to, unsigned protection)
{
    uint64_t before = mappings_in(space, from, to);
    struct stretch stretch = {0};
    struct tree_node *leaf;
    for (page_t page = from; (leaf = tree_next_leaf(&space->table, &page, to)) != NULL;) {
        unsigned first = page % TREE_WAYS, end = to - page < TREE_WAYS - first ? first + (to - page) : TREE_WAYS;
        if (end - first == TREE_WAYS && leaf_is_uniform(leaf)) {
            stretch_add(space, &stretch, page, TREE_WAYS, leaf->slot[0], protection);
            page += TREE_WAYS;
            continue;
        }
        for (unsigned i = first; i < end; i++, page++) {
            if (leaf->slot[i] != 0)
                stretch_add(space, &stretch, page, 1, leaf->slot[i], protection);
        }
    }
    stretch_end(space, &stretch);
    mappings_count(space, (int64_t)(mappings_in(space, from, to) - before));
}

void mapping_protect(struct vm_space *space, page_t from, page_t to, unsigned protection)
{
    uint64_t before = mappings_in(space, from, to);
    protect_run(space, from, to, protection);
    mappings_count(space, (int64_t)(mappings_in(space, from, to) - before));
}

page_t mapping_end_of(struct vm_space *space, page_t from, page_t to, uint64_t pages)
{
    struct tree_node *leaf;
    while (pages > 0 && (leaf = tree_next_leaf(&space->table, &from, to)) != NULL) {
        pages -= leaf->used < pages ? leaf->used : pages;
        from = (from | (TREE_WAYS - 1)) + 1;
    }
    return pages > 0 || from > to ? to : from;
}

page_t mapping_forget(struct vm_space *space, page_t from, uint64_t budget)
{
    struct tree_node *leaf;
    while ((leaf = tree_next_leaf(&space->table, &from, space->top)) != NULL) {
        if (budget < TREE_WAYS)
            return from;
        leaf_empty(space, leaf, from, space->top);
        from = (from | (TREE_WAYS - 1)) + 1;
        budget -= TREE_WAYS;
    }
    mappings_count(space, -(int64_t)space->machine_mappings);
    return space->top;
}
