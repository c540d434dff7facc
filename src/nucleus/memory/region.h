/* region.h: address spaces and their regions; private to memory/.
 *
 * A region's page is looked for in two places: in the tree of its object, which holds pages of its own, and below that in its segment's local
 * cache. So there are four kinds:
 *   anonymous, private   object: the space's own, no cache
 *   anonymous, shared    object: a shared one, no cache
 *   copy of a segment    object: the space's own (or, when it was shared later, a shared one), and a cache: read there, written copies
 *   window on a segment  cache only
 * The space's own object is one tree for the whole space, keyed by address. So splitting, merging and duplicating regions moves no page.
 */
#ifndef NUCLEUS_MEMORY_REGION_H
#define NUCLEUS_MEMORY_REGION_H

#include "../actor.h"
#include "../thread.h"
#include "frame.h"
#include "tree.h"

#define PAGE_OF(address) ((page_t)((address) >> PAGE_SHIFT))
#define ADDRESS_OF(page) ((vaddr_t)(page) << PAGE_SHIFT)
#define PROTECTION (K_READABLE | K_WRITABLE | K_EXECUTABLE)

struct cache;

/* Pages that belong to no segment. */
struct object {
    struct tree tree;
    uint32_t regions;    /* that show it; 0 only for a space's own */
    bool shared;
    struct list windows; /* struct region.of_object; shared ones only */
};

struct region {
    page_t start, end; /* [start, end) */
    uint32_t options;  /* K_READABLE..K_EXECUTABLE, K_INHERIT*, K_RESERVED, K_NOSWAPOUT */
    uint32_t opaque;
    struct vm_space *space;
    struct object *object; /* NULL: none */
    page_t object_page;    /* the key of <start>; in the space's own object: <start> */
    struct cache *cache;   /* NULL: none */
    page_t cache_page;     /* the segment's page at <start> */
    uint64_t cache_bytes;  /* bytes of the segment that count, from its beginning; the rest of their page is zero. UINT64_MAX: all */
    struct list of_cache, of_object;
    page_t next_fault;     /* where a fault would be the next of a sequence */
    uint32_t window;       /* pages filled at a fault */
};

/* Frames whose unmapping was ordered but not reported. */
struct quarantine {
    struct quarantined {
        host_ticket_t ticket;
        frame_t first;
        uint32_t count;
    } *entries;
    size_t head, count, room;
};

#define RECENT 16
struct vm_space {
    struct list of_all, of_dying;
    struct actor *actor;     /* NULL: destroyed */
    struct host_space *host; /* NULL: the machine's side is dead */
    uint32_t id;             /* used again when the space is gone, */
    uint64_t serial;         /* never used again */
    bool supervisor;
    page_t bottom, top;
    struct object own;
    struct tree table; /* what is mapped: see mapping.h */
    struct recent {
        page_t page;
        char *bytes; /* NULL: nothing */
        bool write;
    } recent[RECENT];  /* pages that were found in <table> lately, by their low bits; emptied by whatever changes it */
    bool has_recent;
    struct region **regions; /* in order of address */
    size_t region_count, region_room, region_hint;
    uint64_t mapped, pages, locked, faults; /* pages mapped; pages of regions */
    uint64_t pinned;                        /* by devices: vm_pin less vm_unpin; the space stays until there are none */
    uint64_t machine_mappings; /* that the host has, or will have */
    page_t budget_hand;        /* where budget.c unmaps next */
    struct quarantine quarantine;
    struct wait_queue reports; /* threads that wait for a report of this space */
    host_ticket_t protected_at; /* after this the pages shared by the last deferred copy are read-only everywhere */
    struct awaited {
        uint32_t space;
        uint64_t serial;
        host_ticket_t ticket;
    } *sources;                /* spaces that this one shares pages with: until they have reported, those may still change */
    size_t source_count;
    struct pin {
        page_t page;
        frame_t frame;
        uint32_t count;
    } *pins;                   /* pages that devices use: pin.c */
    size_t pin_count, pin_room;
    page_t dying_at;           /* how far the taking apart got */
};

/* May orders be given? */
static inline bool space_takes_orders(const struct vm_space *space) { return space->host != NULL && space->actor != NULL; }

/* space.c */
void space_init(void);
struct vm_space *space_by_id(uint32_t id);
struct awaited space_awaited(const struct vm_space *space, host_ticket_t ticket);
struct vm_space *space_that_is_awaited(const struct awaited *awaited); /* NULL: it is gone */
extern struct list all_spaces;
/* Leave the CPU to others for once, in the middle of long work: returns K_BLOCKED, or K_OK if nobody can wait. */
int space_pause(struct thread *thread);
/* Wait until the space's machine has reported <ticket>: K_OK if it has, K_BLOCKED, or with <thread> NULL K_EFAULT. */
int space_await(struct vm_space *space, host_ticket_t ticket, struct thread *thread);
/* May pages that this space shares with others be read as final? Same results. */
int space_settled(struct vm_space *space, struct thread *thread);
/* Note that pages shared with another space are final when that has reported <ticket>. K_ENOMEM. */
int space_add_source(struct vm_space *space, const struct vm_space *source, host_ticket_t ticket);
/* Do what waits to be freed, at most about <budget> pages. True: there is more. */
bool space_reap(uint64_t budget);
void space_unpinned(struct vm_space *space);

/* region.c */
struct region *region_find(struct vm_space *space, page_t page);
/* The index of the first region that ends above <page>. */
size_t region_index(struct vm_space *space, page_t page);
bool region_range_is_free(struct vm_space *space, page_t from, page_t to);
/* The highest gap of <pages> below <end>, with start = congruent modulo <align> pages (a power of two). 0: none. */
page_t region_gap(struct vm_space *space, page_t end, uint64_t pages, uint64_t align, page_t congruent);
/* Add a region, a copy of *model; merged with its neighbours if they are alike. Counts its references. K_ENOMEM, K_ELIMIT. */
int region_add(struct vm_space *space, const struct region *model);
/* Make <page> a boundary. K_ENOMEM. */
int region_split(struct vm_space *space, page_t page);
/* Take away what is in [from, to): mappings, regions, private pages. K_ENOMEM before anything changed. */
int region_free_range(struct vm_space *space, page_t from, page_t to);
void region_merge_range(struct vm_space *space, page_t from, page_t to);
/* Remove regions from..from+count of the array, which are split off; private pages too if <pages>. */
void region_remove(struct vm_space *space, size_t index, size_t count, bool pages);
static inline bool region_is_private(const struct region *region) { return region->object != NULL && !region->object->shared; }
static inline page_t region_object_page(const struct region *region, page_t page) { return region->object_page + (page - region->start); }
static inline page_t region_cache_page(const struct region *region, page_t page) { return region->cache_page + (page - region->start); }

/* object.c */
struct object *object_create(void);
/* Make a region's private pages shared: its object becomes one that others can have windows on. K_ENOMEM. */
int object_share(struct region *region);
void object_ref(struct object *object);
void object_unref(struct object *object);

/* pin.c: hold a page's frame for a device, and let it go. A page's pins are counted. */
int pin_add(struct vm_space *space, page_t page, frame_t frame);
void pin_remove(struct vm_space *space, page_t page);
void pin_remove_all(struct vm_space *space);
bool pin_is_there(const struct vm_space *space, page_t page);

/* rgn.c: what the rgn calls have in common. */
struct range {
    page_t start, end;
};
/* Check a descriptor for a new region in <space> and find its place; with K_OVERWRITE nothing is freed yet. */
int range_for_new(struct vm_space *space, const KnRgnDesc *rgn, struct range *ret_range);
/* What is kept of a descriptor's options. */
uint32_t region_options(uint32_t options);
/* Check one that names what is there: holes allowed. */
int range_of(struct vm_space *space, VmAddr start, VmSize size, struct range *ret_range);
/* The space of the actor that capability argument <index> names. */
int call_space(struct thread *thread, unsigned index, struct vm_space **ret_space);
/* Free the range if asked, add the region, tell the caller where (<thread> NULL: only *rgn). */
int region_place(struct thread *thread, struct vm_space *space, KnRgnDesc *rgn, uint64_t argument, struct range range, struct region *model);

#endif
