/* light.h: actors that use little CPU time answer soon, however many compute.
 *
 * Among round-robin threads of one priority, one that was woken goes before its equals, and takes
 * the CPU from one that is no longer light, if its actor has used little CPU time lately: an
 * editor's key is not answered behind a hundred computing threads. It is no way to get more of the
 * CPU: an actor is light up to SCHED_LIGHT in a window of SCHED_WINDOW, and all light ones together
 * up to a tenth of the site's CPUs; what goes beyond waits its turn. */
#ifndef NUCLEUS_LIGHT_H
#define NUCLEUS_LIGHT_H

#include "thread.h"

void light_init(int cpus);
/* CPU time that <actor> used in this window. */
KnTime light_used(const struct actor *actor);
bool light_is(const struct thread *thread);
/* <actor> used <time> more; <before_equals>: having gone before them. */
void light_note(struct actor *actor, KnTime time, bool before_equals);

#endif
