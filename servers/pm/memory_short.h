/* memory_short.h: what happens when the site's memory has run out. */
#ifndef PM_MEMORY_SHORT_H
#define PM_MEMORY_SHORT_H

#include "pm.h"

/* A thread needs a page and there is none: the process that has most is ended, be it this one. The thread tries
 * again when its memory has come back. */
void memory_short(struct thread *thread);

/* The thread's fault is over in a moment: it waits some ms, and the instruction is tried again. */
void memory_again_later(struct thread *thread);

#endif
