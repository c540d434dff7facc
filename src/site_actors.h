/* The actors that a site boots with. */

#ifndef CHORUS_SITE_ACTORS_H
#define CHORUS_SITE_ACTORS_H

#include <stdbool.h>

struct site_options;

/* Load and start them. False after it has said what is wrong. */
bool site_actors_start(const struct site_options *options);
/* Ask the Unix subsystem to end everything and close the disk; `status` becomes the program's exit status. False: there is nobody to ask. */
bool site_actors_ask_to_end(int status);

#endif
