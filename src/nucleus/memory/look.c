/* look.c: looking at an actor's memory from outside: for core files, backtraces and the debugger.
 *
 * Nothing here changes anything, waits, or brings a page in: a page that is not in memory is not there. */
#include "../vm.h"

#include "mapping.h"

bool vm_region_look(const struct actor *actor, vaddr_t address, struct vm_region_view *view)
{
    struct vm_space *space = actor->vm;
    if (space == NULL || space->actor == NULL)
        return false;
    size_t index = region_index(space, PAGE_OF(address));
    if (index == space->region_count)
        return false;
    const struct region *region = space->regions[index];
    *view = (struct vm_region_view){
        .start = ADDRESS_OF(region->start),
        .end = ADDRESS_OF(region->end),
        .options = region->options,
        .segment = region->cache != NULL,
    };
    return true;
}

/* The first page of the region at or after <page> whose own page is in memory. */
static bool next_own(const struct region *region, page_t *page)
{
    if (region->object == NULL)
        return false;
    page_t key = region_object_page(region, *page);
    page_t end = region_object_page(region, region->end);
    for (uint32_t slot; tree_next(&region->object->tree, &key, end, &slot); key++)
        if (slot_present(slot)) {
            *page = region->start + (key - region->object_page);
            return true;
        }
    return false;
}

static frame_t frame_at(const struct region *region, page_t page)
{
    uint32_t slot = region->object == NULL
                        ? 0
                        : tree_get(&region->object->tree, region_object_page(region, page));
    return slot_present(slot) ? slot_frame(slot) : entry_frame(mapping_get(region->space, page));
}

const void *vm_page_look(const struct actor *actor, vaddr_t *address, vaddr_t end)
{
    struct vm_space *space = actor->vm;
    if (space == NULL || space->actor == NULL)
        return NULL;
    size_t index = region_index(space, PAGE_OF(*address));
    page_t wanted = PAGE_OF(*address), last = PAGE_OF(end);
    for (; index < space->region_count && space->regions[index]->start < last; index++) {
        const struct region *region = space->regions[index];
        page_t own = wanted > region->start ? wanted : region->start, mapped = own;
        uint32_t entry;
        bool has_own = next_own(region, &own);
        bool has_mapped = tree_next(&space->table, &mapped, region->end, &entry);
        if (!has_own && !has_mapped)
            continue;
        page_t page = !has_mapped || (has_own && own < mapped) ? own : mapped;
        if (page >= last)
            return NULL;
        *address = ADDRESS_OF(page);
        return host_frame_address(frame_at(region, page));
    }
    return NULL;
}
