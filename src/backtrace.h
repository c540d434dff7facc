/* Backtraces of actors: which functions a thread of an actor is in.
 *
 * The unwinder is libdw's: it follows the call frame information of the actor's file, and frame
 * pointers where there is none. What it cannot follow (a jump to nowhere, a stack overwritten) is
 * made up for by looking through the stack for return addresses; those lines are marked with '?'. */

#ifndef CHORUS_BACKTRACE_H
#define CHORUS_BACKTRACE_H

#include <stdbool.h>
#include <stdint.h>

#include <nucleus/actor.h>

#include "site_load.h"

/* One line, without its end: "#1 0x0000555555556abc tree_walk+0x34 (servers/om/walk.c:120)". */
typedef void backtrace_print(const char *line);

/* <image> NULL: nothing is known of its program, so only addresses are told. */
void backtrace(const struct actor *actor, const struct site_image *image,
               const KnThreadCtx *registers, backtrace_print *print);

#endif
