/* fault.h: finding, making and mapping pages. */
#ifndef NUCLEUS_MEMORY_FAULT_H
#define NUCLEUS_MEMORY_FAULT_H

#include "region.h"

/* Have <page> of the region in memory, its own if <write>, and mapped, with neighbours, if <map>; *ret_frame is its frame, valid until
 * the next change. K_OK, K_BLOCKED, K_ENOMEM, K_EMAPPER, K_EOFFSET, K_EFAULT (would wait, and <thread> is NULL). Protection is the caller's
 * business. */
int page_get(struct region *region, page_t page, bool write, bool map, struct thread *thread, frame_t *ret_frame);
/* Map what is in memory of [from, to), at most around. */
void page_map_present(struct region *region, page_t from, page_t to);
/* The region's protection has changed: give what is mapped in [from, to) what it may have now. */
void page_map_adjust(struct region *region, page_t from, page_t to);
/* What the region's page may be mapped with now; 0: not in memory. */
unsigned page_allowed(struct region *region, page_t page, frame_t *ret_frame);

#endif
