/* budget.h: a space may have so many of the machine's mappings, and no more. */
#ifndef NUCLEUS_MEMORY_BUDGET_H
#define NUCLEUS_MEMORY_BUDGET_H

#include "region.h"

/* Has the space so many mappings that new ones should be large? */
bool budget_is_tight(const struct vm_space *space);
/* A fault at <page> in a tight space: if its neighbourhood is in pieces, put it into one run. K_OK, K_BLOCKED; nothing else is an error. */
int budget_gather(struct region *region, page_t page, struct thread *thread);
/* After mappings were made: if there are nearly too many, take some away that are not near <page>; they come back by faults. */
void budget_keep(struct vm_space *space, page_t page);

#endif
