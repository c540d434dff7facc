/* region.c: the ordered set of a space's regions: finding, splitting, merging, gaps. */
#include "region.h"

#include <stdlib.h>
#include <string.h>
#include "cache.h"
#include "mapping.h"

#define REGIONS_MAX 65536u /* of a space */

size_t region_index(struct vm_space *space, page_t page)
{
    size_t low = 0, high = space->region_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (space->regions[middle]->end > page)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct region *region_find(struct vm_space *space, page_t page)
{
    if (space->region_hint < space->region_count) {
        struct region *hint = space->regions[space->region_hint];
        if (page >= hint->start && page < hint->end)
            return hint;
    }
    size_t index = region_index(space, page);
    if (index == space->region_count || space->regions[index]->start > page)
        return NULL;
    space->region_hint = index;
    return space->regions[index];
}

bool region_range_is_free(struct vm_space *space, page_t from, page_t to)
{
    size_t index = region_index(space, from);
    return index == space->region_count || space->regions[index]->start >= to;
}

/* The highest start at or below <limit> that is as wanted. */
static page_t start_below(page_t limit, uint64_t align, page_t congruent)
{
    page_t rest = (limit - congruent) & (align - 1);
    return limit < rest ? 0 : limit - rest;
}

page_t region_gap(struct vm_space *space, page_t end, uint64_t pages, uint64_t align, page_t congruent)
{
    if (end > space->top)
        end = space->top;
    size_t index = region_index(space, end);
    if (index < space->region_count && space->regions[index]->start < end)
        end = space->regions[index]->start;
    for (;;) {
        page_t bottom = index > 0 ? space->regions[index - 1]->end : space->bottom;
        if (bottom < space->bottom)
            bottom = space->bottom;
        if (end >= bottom && end - bottom >= pages) {
            page_t start = start_below(end - pages, align, congruent);
            if (start >= bottom)
                return start;
        }
        if (index == 0)
            return 0;
        end = space->regions[--index]->start;
    }
}

static int regions_room(struct vm_space *space, size_t more)
{
    if (space->region_count + more > REGIONS_MAX)
        return K_ELIMIT;
    if (space->region_count + more <= space->region_room)
        return K_OK;
    size_t room = space->region_room == 0 ? 32 : space->region_room * 2;
    struct region **regions = realloc(space->regions, room * sizeof *regions);
    if (regions == NULL)
        return K_ENOMEM;
    space->regions = regions;
    space->region_room = room;
    return K_OK;
}

static void region_insert_at(struct vm_space *space, size_t index, struct region *region)
{
    memmove(&space->regions[index + 1], &space->regions[index], (space->region_count - index) * sizeof *space->regions);
    space->regions[index] = region;
    space->region_count++;
}

/* A new region that has its references and links. */
static struct region *region_new(const struct region *model)
{
    struct region *region = malloc(sizeof *region);
    if (region == NULL)
        return NULL;
    *region = *model;
    list_init(&region->of_cache);
    list_init(&region->of_object);
    if (region->object != NULL && region->object->shared) {
        object_ref(region->object);
        list_append(&region->object->windows, &region->of_object);
    }
    if (region->cache != NULL)
        cache_window_add(region->cache, region);
    return region;
}

static void region_free(struct region *region)
{
    list_remove(&region->of_object);
    if (region->cache != NULL)
        cache_window_remove(region->cache, region);
    if (region->object != NULL && region->object->shared)
        object_unref(region->object);
    free(region);
}

/* Could <next>, which begins where <region> ends, be its continuation? */
static bool regions_alike(const struct region *region, const struct region *next)
{
    page_t pages = next->start - region->start;
    return region->end == next->start && region->options == next->options && region->opaque == next->opaque &&
           region->object == next->object && (region->object == NULL || region->object_page + pages == next->object_page) &&
           region->cache == next->cache && (region->cache == NULL || region->cache_page + pages == next->cache_page) &&
           region->cache_bytes == next->cache_bytes;
}

static bool region_merge_next(struct vm_space *space, size_t index)
{
    if (index + 1 >= space->region_count)
        return false;
    struct region *region = space->regions[index], *next = space->regions[index + 1];
    if (!regions_alike(region, next))
        return false;
    region->end = next->end;
    space->region_count--;
    memmove(&space->regions[index + 1], &space->regions[index + 2], (space->region_count - index - 1) * sizeof *space->regions);
    region_free(next);
    return true;
}

void region_merge_range(struct vm_space *space, page_t from, page_t to)
{
    size_t index = region_index(space, from > 0 ? from - 1 : 0);
    while (index < space->region_count && space->regions[index]->start <= to) {
        if (!region_merge_next(space, index))
            index++;
    }
}

int region_add(struct vm_space *space, const struct region *model)
{
    int status = regions_room(space, 1);
    if (status != K_OK)
        return status;
    struct region *region = region_new(model);
    if (region == NULL)
        return K_ENOMEM;
    size_t index = region_index(space, model->start);
    region->space = space;
    region_insert_at(space, index, region);
    space->pages += region->end - region->start;
    region_merge_next(space, index);
    if (index > 0)
        region_merge_next(space, index - 1);
    return K_OK;
}

int region_split(struct vm_space *space, page_t page)
{
    struct region *region = region_find(space, page);
    if (region == NULL || region->start == page)
        return K_OK;
    int status = regions_room(space, 1);
    if (status != K_OK)
        return status;
    struct region model = *region;
    model.start = page;
    model.object_page = region_object_page(region, page);
    model.cache_page = region_cache_page(region, page);
    struct region *second = region_new(&model);
    if (second == NULL)
        return K_ENOMEM;
    region->end = page;
    region_insert_at(space, region_index(space, page), second);
    return K_OK;
}

void region_remove(struct vm_space *space, size_t index, size_t count, bool pages)
{
    if (count == 0)
        return;
    for (size_t i = index; i < index + count; i++) {
        struct region *region = space->regions[i];
        if (pages && region_is_private(region))
            tree_remove(&space->own.tree, region->start, region->end);
        space->pages -= region->end - region->start;
        region_free(region);
    }
    space->region_count -= count;
    memmove(&space->regions[index], &space->regions[index + count], (space->region_count - index) * sizeof *space->regions);
}

int region_free_range(struct vm_space *space, page_t from, page_t to)
{
    if (region_range_is_free(space, from, to))
        return K_OK;
    int status = tree_nodes_reserve(4 * TREE_NODES_PATH);
    if (status == K_OK)
        status = region_split(space, from);
    if (status == K_OK)
        status = region_split(space, to);
    if (status != K_OK) {
        region_merge_range(space, from, to);
        return status;
    }
    mapping_remove(space, from, to);
    size_t first = region_index(space, from), last = first;
    while (last < space->region_count && space->regions[last]->start < to)
        last++;
    region_remove(space, first, last - first, true);
    tree_reap(1024);
    return K_OK;
}
