/* mapping.h: the Nucleus's own page tables, and the orders that follow from them.
 *
 * A space's table says what its machine has mapped, or will have when it has executed all orders: per page a frame and a protection. A mapping holds its
 * frame; a mapping that was replaced or removed goes on holding it until the machine has reported that.
 */
#ifndef NUCLEUS_MEMORY_MAPPING_H
#define NUCLEUS_MEMORY_MAPPING_H

#include "region.h"

/* An entry: protection (HOST_READ...) << 29 | frame; 0: nothing. */
#define ENTRY_SHIFT 29
static inline unsigned entry_protection(uint32_t entry) { return entry >> ENTRY_SHIFT; }
static inline frame_t entry_frame(uint32_t entry) { return entry & SLOT_FRAME; }
static inline uint32_t mapping_get(const struct vm_space *space, page_t page) { return tree_get(&space->table, page); }

/* What mapping_set of so many pages may need. K_ENOMEM. */
int mapping_reserve(size_t pages);
/* Map a run of frames. What was there goes. */
void mapping_set(struct vm_space *space, page_t page, frame_t first, size_t count, unsigned protection);
void mapping_remove(struct vm_space *space, page_t from, page_t to);
/* Take <protection> away from what is mapped in a range: entries keep the rest, none: they are removed. */
void mapping_withdraw(struct vm_space *space, page_t from, page_t to, unsigned protection);
/* Give the pages of a range, which are all mapped, another protection (not none) by one order. */
void mapping_protect(struct vm_space *space, page_t from, page_t to, unsigned protection);
/* How many mappings the host has where this one's count: in its process. */
uint64_t mapping_count_shared(const struct vm_space *space);
/* In how many of the machine's mappings lies [from, to), about? */
uint64_t mapping_pieces(struct vm_space *space, page_t from, page_t to);
/* Where [from, to) is cut so that at most about <pages> pages are mapped in its first part. */
page_t mapping_end_of(struct vm_space *space, page_t from, page_t to, uint64_t pages);
/* The machine's report has moved, or (host NULL) it is dead: let go of what waited. */
void mapping_reported(struct vm_space *space);
/* Tear a dead machine's table down from <from> on, about <budget> pages; returns where it got to, its end when done. */
page_t mapping_forget(struct vm_space *space, page_t from, uint64_t budget);
/* Have all orders reported that frames wait for. */
void mapping_submit(struct vm_space *space);

/* Every mapping of an anonymous frame: calls visit for each. (Those of a segment's page are found by its windows, cache.c.) */
typedef void mapping_visit(struct vm_space *space, page_t page, void *argument);
void mapping_each(frame_t frame, mapping_visit *visit, void *argument);

#endif
