/* space.h: actors, as processes live in them. */
#ifndef PM_SPACE_H
#define PM_SPACE_H

#include "pm.h"

#define STACK_TOP (K_USERTOP - 0x100000)

/* A fresh, empty actor whose traps come to us, like <like>'s if not NULL. -EAGAIN: the site's limit of
 * processes, -ENOMEM. */
int space_new(const struct space *like, struct space **ret_space);
/* The same, with a deferred copy of all memory. Gives up the lock. */
int space_fork(struct space *old, struct space **ret_space);
/* One process less lives in it; the actor goes with the last. */
void space_release(struct space *space);
/* Delete one actor that nobody lives in; false: there is none. */
bool spaces_finish(void);
bool spaces_to_finish(void);
/* The Nucleus says that an actor is gone. */
void space_actor_gone(uint64_t watch, int reason);

/* memory.c */
/* Map a file: shared, or a copy; <protection> as mmap has it. Fixed places overwrite. */
struct mapping {
    VmAddr address; /* where, or the wish; the result */
    VmSize size;
    unsigned protection;
    bool fixed, overwrite, shared;
    bool never_writable; /* shared, of a file that is not open for writing */
    const KnCap *segment; /* NULL: zeros */
    VmOffset offset;
};
int space_map(struct space *space, struct mapping *mapping);
int space_unmap(struct space *space, VmAddr address, VmSize size);
/* A fault below the stack: make it longer. False: it is no such fault. */
bool space_grow_stack(struct process *process, VmAddr fault, uint64_t sp);

#endif
