/* `chorus replace`: a new server takes over from one that runs. docs/replace.md tells how the two agree (lib/server/handover.h); here
 * is what the site does: start the new one, tell it whom it replaces, and see which of the two is left. */

#ifndef CHORUS_SITE_REPLACE_H
#define CHORUS_SITE_REPLACE_H

#include <stdint.h>

struct actor;
struct site_file;

/* Begin; answered (site_command_answer) when one of the two has gone. <arguments> NULL: those of `last`. */
void site_replace(uint64_t ticket, struct actor *last, const struct site_file *file, int privilege, const char *const *arguments);
/* An actor is gone. */
void site_replace_gone(const struct actor *actor, int reason);

#endif
