/* `chorus show`, on the site's side: what happens is told to one who looks, and costs nothing while nobody does. */

#ifndef CHORUS_SITE_SHOW_H
#define CHORUS_SITE_SHOW_H

#include <stdint.h>

struct actor;
struct control;

/* A command came with this socket (taken over; -1: none), whose end is the end of the looking. Answers it. By the Nucleus's thread. */
void site_show(struct control *control, uint64_t ticket, int socket);
/* An actor has ended. */
void site_show_gone(const struct actor *actor, int reason);
void site_show_stop(void);

#endif
