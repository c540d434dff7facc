/* cache.c: local caches of segments. */
#include "cache.h"

#include <string.h>

KnCap cache_segment(const struct cache *cache) { (void)cache; return (KnCap){0}; }
void cache_window_add(struct cache *cache, struct region *region) { (void)cache, (void)region; }
void cache_window_remove(struct cache *cache, struct region *region) { (void)cache, (void)region; }
int cache_page_get(struct region *region, page_t page, bool write, struct thread *thread, frame_t *ret_frame)
{
    (void)region, (void)page, (void)write, (void)thread, (void)ret_frame;
    return K_EMAPPER;
}
unsigned cache_page_allowed(struct region *region, page_t page, unsigned protection, frame_t *ret_frame)
{
    (void)region, (void)page, (void)protection, (void)ret_frame;
    return 0;
}

/* Bytes of the page that count. */
static uint64_t page_bytes(const struct region *region, page_t page)
{
    uint64_t begin = region_cache_page(region, page) * PAGE_SIZE;
    if (region->cache_bytes >= begin + PAGE_SIZE)
        return PAGE_SIZE;
    return region->cache_bytes > begin ? region->cache_bytes - begin : 0;
}
bool cache_page_needs_trim(const struct region *region, page_t page) { return page_bytes(region, page) < PAGE_SIZE; }
void cache_trim_copy(const struct region *region, page_t page, void *bytes)
{
    uint64_t count = page_bytes(region, page);
    memset((char *)bytes + count, 0, PAGE_SIZE - count);
}
