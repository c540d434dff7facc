/* cache.h: local caches: the pages of segments that are in memory. */
#ifndef NUCLEUS_MEMORY_CACHE_H
#define NUCLEUS_MEMORY_CACHE_H

#include "region.h"

/* The capability that it was found by. */
KnCap cache_segment(const struct cache *cache);
void cache_window_add(struct cache *cache, struct region *region);
void cache_window_remove(struct cache *cache, struct region *region);
/* Have a page of the segment under a region in memory, dirty and writable there if <write>. K_OK, K_BLOCKED, K_EMAPPER, K_EOFFSET, K_ENOMEM. */
int cache_page_get(struct region *region, page_t page, bool write, struct thread *thread, frame_t *ret_frame);
/* What the cache's page under a region's may be mapped with, at most <protection>; 0: not in memory. */
unsigned cache_page_allowed(struct region *region, page_t page, unsigned protection, frame_t *ret_frame);
/* The last page of a copy of a segment holds bytes that do not count: they are zero in the copy. */
bool cache_page_needs_trim(const struct region *region, page_t page);
void cache_trim_copy(const struct region *region, page_t page, void *bytes);

#endif
