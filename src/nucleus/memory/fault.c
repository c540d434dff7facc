/* fault.c: page faults.
 *
 * A fault fills a window around the address, as one run of frames where there is one, since what costs is the order to the machine
 * and not the page. Windows are aligned; they grow while faults in a region come one after another.
 */
#include "fault.h"

#include <host/event.h>
#include <string.h>
#include "../vm.h"
#include "budget.h"
#include "cache.h"
#include "mapping.h"
#include "pressure.h"

#define WINDOW_FIRST 16u /* pages */
#define WINDOW_MAX 512u
#define TEXT_WINDOW 1024u /* of a segment that is only read here, as much as is in memory */
#define UPGRADE_MAX 512u /* pages that get more protection at once when their region does */
#define COPY_WINDOW 16u /* pages copied at once when a deferred copy ends: 64 KB */
#define SCARCE 256      /* with fewer free frames, windows are one page */

struct window {
    page_t from, to;
};

/* The aligned window of <pages> around a page, inside the region. */
static struct window window_around(const struct region *region, page_t page, uint64_t pages)
{
    struct window window = {page & ~(pages - 1), (page & ~(pages - 1)) + pages};
    if (window.from < region->start)
        window.from = region->start;
    if (window.to > region->end)
        window.to = region->end;
    return window;
}

/* The window of a fault at <page>: larger if it goes on where the last one ended. */
static struct window window_of_fault(struct region *region, page_t page)
{
    if (region->cache != NULL && !(region->options & K_WRITABLE))
        return window_around(region, page, TEXT_WINDOW);
    if (frame_free_count() < SCARCE)
        return (struct window){page, page + 1};
    if (budget_is_tight(region->space))
        region->window = WINDOW_FIRST;
    else if (page == region->next_fault && page != region->start)
        region->window = region->window < WINDOW_MAX ? region->window * 2 : WINDOW_MAX;
    else if (region->window < WINDOW_FIRST || page != region->next_fault)
        region->window = WINDOW_FIRST;
    struct window window = window_around(region, page, region->window);
    if (page == region->next_fault)
        window.from = page;
    region->next_fault = window.to;
    return window;
}

static unsigned host_protection(const struct region *region)
{
    unsigned protection = 0;
    if (region->options & (K_READABLE | K_WRITABLE))
        protection |= HOST_READ;
    if (region->options & K_WRITABLE)
        protection |= HOST_WRITE;
    if (region->options & K_EXECUTABLE)
        protection |= HOST_READ | HOST_EXEC;
    return protection;
}

unsigned page_allowed(struct region *region, page_t page, frame_t *ret_frame)
{
    unsigned protection = host_protection(region);
    if (region->object != NULL) {
        bool own;
        page_t key = region_object_page(region, page);
        struct tree_node *leaf = tree_leaf(&region->object->tree, key, &own);
        uint32_t slot = leaf == NULL ? 0 : leaf->slot[key % TREE_WAYS];
        if (slot_present(slot)) {
            *ret_frame = slot_frame(slot);
            return own && frame_record(*ret_frame)->slots == 1 ? protection : protection & ~HOST_WRITE;
        }
    }
    return region->cache == NULL ? 0 : cache_page_allowed(region, page, protection, ret_frame);
}

/* Map a page's neighbours, too: those in memory, in runs. Entries that are right already stay. */
void page_map_present(struct region *region, page_t from, page_t to)
{
    struct vm_space *space = region->space;
    page_t begin = from;
    frame_t first = 0;
    size_t count = 0;
    unsigned protection = 0;
    if (space->host == NULL || host_protection(region) == 0)
        return;
    for (page_t page = from; page <= to; page++) {
        frame_t frame = FRAME_NONE;
        unsigned allowed = page < to ? page_allowed(region, page, &frame) : 0;
        uint32_t entry = allowed != 0 ? mapping_get(space, page) : 0;
        if (entry != 0 && entry_frame(entry) == frame && (allowed & ~entry_protection(entry)) == 0)
            allowed = 0;
        if (count > 0 && allowed == protection && frame == first + count) {
            count++;
            continue;
        }
        if (count > 0)
            mapping_set(space, begin, first, count, protection);
        begin = page;
        first = frame;
        protection = allowed;
        count = allowed != 0;
    }
}

/* Give mapped pages of [from, to) more, where they may have it, about UPGRADE_MAX of them; the others get it by faults. */
static void page_map_upgrade(struct region *region, page_t from, page_t to)
{
    struct vm_space *space = region->space;
    page_t begin = from, expected = from, page = from;
    unsigned wanted = 0, left = UPGRADE_MAX;
    uint32_t entry;
    for (; left > 0 && tree_next(&space->table, &page, to, &entry); page++, left--) {
        frame_t frame;
        unsigned allowed = page_allowed(region, page, &frame);
        if (allowed == entry_protection(entry))
            allowed = 0;
        if (page != expected || allowed != wanted) {
            if (wanted != 0)
                mapping_protect(space, begin, expected, wanted);
            begin = page;
            wanted = allowed;
        }
        expected = page + 1;
    }
    if (wanted != 0)
        mapping_protect(space, begin, expected, wanted);
}

void page_map_adjust(struct region *region, page_t from, page_t to)
{
    unsigned protection = host_protection(region);
    if (protection == 0) {
        mapping_remove(region->space, from, to);
        return;
    }
    mapping_withdraw(region->space, from, to, ~protection & (HOST_READ | HOST_WRITE | HOST_EXEC));
    page_map_upgrade(region, from, to);
}

/* Would the page be zero if it were touched? */
static bool page_is_absent(struct region *region, page_t page)
{
    return tree_get(&region->object->tree, region_object_page(region, page)) == 0 &&
           (region->cache == NULL || cache_page_is_beyond(region, page));
}

/* The stretch of such pages around <page>, inside the window. */
static struct window window_of_absent(struct region *region, page_t page, struct window window)
{
    struct window absent = {page, page + 1};
    while (absent.from > window.from && page_is_absent(region, absent.from - 1))
        absent.from--;
    while (absent.to < window.to && page_is_absent(region, absent.to))
        absent.to++;
    return absent;
}

/* Put a run of frames into the object. */
static void object_put(struct object *object, page_t key, frame_t first, size_t count)
{
    struct tree_node *leaf = NULL;
    for (size_t i = 0; i < count; i++) {
        if (leaf == NULL || (key + i) % TREE_WAYS == 0)
            leaf = tree_leaf_make(&object->tree, key + i);
        uint32_t *slot = &leaf->slot[(key + i) % TREE_WAYS];
        leaf->used += *slot == 0;
        *slot = SLOT_USED | (first + i);
        frame_slot_add(first + i);
    }
}

/* An anonymous page that was never touched, and its neighbours. */
static int zero_fill(struct region *region, page_t page, struct window window, struct thread *thread)
{
    struct window absent = window_of_absent(region, page, window);
    frame_t first;
    size_t got;
    int status = frames_get(absent.to - absent.from, FRAME_FOR_ZEROS, thread, &first, &got);
    if (status != K_OK)
        return status;
    if (absent.from + got <= page)
        absent.from = page + 1 - got > absent.from ? page + 1 - got : absent.from;
    object_put(region->object, region_object_page(region, absent.from), first, got);
    return K_OK;
}

/* An object that others copied from, or that is a copy, is about to be written: pages around <page> that are shared get frames of
 * their own. A shared object's windows see the new ones. */
static void windows_forget(struct object *object, page_t key)
{
    LIST_FOR_EACH(link, &object->windows) {
        struct region *window = LIST_OWNER(link, struct region, of_object);
        page_t page = window->start + (key - window->object_page);
        if (key >= window->object_page && page < window->end)
            mapping_remove(window->space, page, page + 1);
    }
}

/* Can nobody write the pages that this region shares copy-on-write any more? */
static int region_settled(struct region *region, struct thread *thread)
{
    int status = space_settled(region->space, thread);
    if (!region->object->shared)
        return status;
    LIST_FOR_EACH(link, &region->object->windows) {
        struct region *window = LIST_OWNER(link, struct region, of_object);
        if (status == K_OK)
            status = space_await(window->space, window->space->protected_at, thread);
    }
    return status;
}

static int copy_shared(struct region *region, page_t page, struct thread *thread)
{
    int status = region_settled(region, thread);
    if (status != K_OK)
        return status;
    struct window window = window_around(region, page, frame_free_count() < SCARCE ? 1 : COPY_WINDOW);
    struct object *object = region->object;
    frame_t run = 0;
    size_t left = 0;
    for (page_t at = window.from; at < window.to; at++) {
        bool own;
        page_t key = region_object_page(region, at);
        struct tree_node *leaf = tree_leaf(&object->tree, key, &own);
        uint32_t slot = leaf == NULL ? 0 : leaf->slot[key % TREE_WAYS];
        if (!slot_present(slot) || (own && frame_record(slot_frame(slot))->slots == 1))
            continue;
        if (left == 0 && (status = frames_get(window.to - at, FRAME_FOR_COPY, thread, &run, &left)) != K_OK)
            return at > page ? K_OK : status;
        memcpy(frame_bytes(run), frame_bytes(slot_frame(slot)), PAGE_SIZE);
        object_put(object, key, run, 1);
        if (object->shared)
            windows_forget(object, key);
        frame_slot_drop(slot_frame(slot));
        run++;
        left--;
    }
    frame_return(run, left);
    return K_OK;
}

/* Can the page be copied up: the object has none, the cache has it, and it counts? */
static bool page_can_be_copied(struct region *region, page_t page, frame_t *ret_frame)
{
    uint32_t slot;
    if (tree_get(&region->object->tree, region_object_page(region, page)) != 0 || cache_page_is_beyond(region, page))
        return false;
    slot = cache_slot(region->cache, region_cache_page(region, page));
    *ret_frame = slot_frame(slot);
    return slot != 0;
}

static void page_copy_up(struct region *region, page_t page, frame_t source, frame_t frame)
{
    memcpy(frame_bytes(frame), frame_bytes(source), PAGE_SIZE);
    cache_trim_copy(region, page, frame_bytes(frame));
    object_put(region->object, region_object_page(region, page), frame, 1);
}

/* Copy of a segment, written for the first time: from the cache's pages into some of the object's own. Neighbours that are in memory go along: data is seldom
 * written in one page only. */
static int copy_from_cache(struct region *region, page_t page, frame_t source, bool around, struct thread *thread)
{
    struct window window = window_around(region, page, around && frame_free_count() >= SCARCE ? COPY_WINDOW : 1);
    frame_t run, frame;
    size_t want = 0, got, used = 0;
    for (page_t at = window.from; at < window.to; at++)
        want += page_can_be_copied(region, at, &frame);
    frame_hold(source);
    int status = frames_get(want, FRAME_FOR_COPY, thread, &run, &got);
    if (status == K_OK && got < want) {
        page_copy_up(region, page, source, run);
        used = 1;
    }
    for (page_t at = window.from; status == K_OK && got == want && at < window.to; at++) {
        if (page_can_be_copied(region, at, &frame) && used < got)
            page_copy_up(region, at, frame, run + used++);
    }
    if (status == K_OK)
        frame_return(run + used, got - used);
    frame_unhold(source);
    return status;
}

/* K_OK with the slot's page being there and, if <write>, this object's alone. */
static int object_page_get(struct region *region, page_t page, bool write, struct window window, struct thread *thread,
                           frame_t *ret_frame)
{
    bool own;
    page_t key = region_object_page(region, page);
    struct tree_node *leaf = tree_leaf(&region->object->tree, key, &own);
    uint32_t slot = leaf == NULL ? 0 : leaf->slot[key % TREE_WAYS];
    int status = K_OK;
    if (!slot_present(slot)) {
        if (region->cache != NULL && !cache_page_is_beyond(region, page)) {
            status = cache_page_get(region, page, false, thread, ret_frame);
            if (status != K_OK)
                return status;
            if (!write && !cache_page_needs_trim(region, page))
                return K_OK;
            status = copy_from_cache(region, page, *ret_frame, write, thread);
        } else {
            status = zero_fill(region, page, window, thread);
        }
    } else if (write && !(own && frame_record(slot_frame(slot))->slots == 1)) {
        status = copy_shared(region, page, thread);
    }
    if (status == K_OK)
        *ret_frame = slot_frame(tree_get(&region->object->tree, key));
    return status;
}

int page_get(struct region *region, page_t page, bool write, bool map, struct thread *thread, frame_t *ret_frame)
{
    int status = mapping_reserve(2 * WINDOW_MAX);
    if (status != K_OK)
        return status;
    if (map && budget_is_tight(region->space)) {
        status = budget_gather(region, page, thread);
        if (status != K_OK)
            return status;
    }
    struct window window = map ? window_of_fault(region, page) : window_around(region, page, 1);
    if (region->object != NULL)
        status = object_page_get(region, page, write, window, thread, ret_frame);
    else
        status = cache_page_get(region, page, write, thread, ret_frame);
    if (status == K_OK && map) {
        page_map_present(region, window.from, window.to);
        budget_keep(region->space, page);
    }
    return status;
}

/* May the region be accessed so? */
static int access_check(const struct region *region, bool write, bool exec)
{
    if (region->options & K_RESERVED)
        return K_EFAULT;
    unsigned needed = exec ? K_EXECUTABLE : write ? K_WRITABLE : PROTECTION;
    return region->options & needed ? K_OK : K_EPROTECT;
}

int vm_fault(struct thread *thread, vaddr_t address, bool write, bool exec)
{
    struct vm_space *space = thread->actor->vm;
    page_t page = PAGE_OF(address);
    struct region *region = space == NULL ? NULL : region_find(space, page);
    if (region == NULL)
        return K_EFAULT;
    int status = access_check(region, write, exec);
    if (status != K_OK)
        return status;
    space->faults++;
    uint32_t entry = mapping_get(space, page);
    unsigned needed = exec ? HOST_EXEC : write ? HOST_WRITE : HOST_READ;
    if (entry_protection(entry) & needed)
        return K_OK; /* another thread was first, or the orders are on their way */
    frame_t frame;
    status = page_get(region, page, write, true, thread, &frame);
    return status == K_ENOSPACE || status == K_EUNKNOWN ? K_EMAPPER : status;
}
