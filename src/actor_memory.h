/* An actor's memory, read from outside, as far as it is in memory: for backtraces and core files. */

#ifndef CHORUS_ACTOR_MEMORY_H
#define CHORUS_ACTOR_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include <nucleus/actor.h>

/* False: not all of the word is in memory. */
bool actor_memory_word(const struct actor *actor, uint64_t address, uint64_t *ret_word);

/* Does it lie in a region that may be executed? */
bool actor_memory_is_code(const struct actor *actor, uint64_t address);

#endif
