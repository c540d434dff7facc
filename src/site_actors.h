/* The actors that a site boots with. */

#ifndef CHORUS_SITE_ACTORS_H
#define CHORUS_SITE_ACTORS_H

#include <stdbool.h>

struct actor;
struct site_options;

/* Load and start them. False after it has said what is wrong. */
bool site_actors_start(const struct site_options *options);
/* An actor was loaded: under the name of a boot actor that does not run it takes its place, and is looked after as that one was. */
void site_actors_adopt(const struct actor *actor);
/* An actor is about to be ended because somebody wants that: a driver is not started again. */
void site_actors_let_go(const struct actor *actor);
/* `next` has taken over from `last`. */
void site_actors_replaced(const struct actor *last, const struct actor *next);
/* Ask the Unix subsystem to end everything and close the disk; `status` becomes the program's exit status. False: there is nobody to ask. */
bool site_actors_ask_to_end(int status);

#endif
