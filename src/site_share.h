/* Shared folders: for each a process of the host that serves it, made before there is a site. */
#ifndef CHORUS_SITE_SHARE_H
#define CHORUS_SITE_SHARE_H

#include <stdbool.h>

struct site_share;

/* Open the folders and start their processes. False, and a message on standard error: one cannot be used. */
bool site_shares_prepare(const struct site_share *shares, unsigned count);
/* The socket that leads to the process of folder `index`: the caller's from now on. */
int site_share_take(unsigned index);
/* The processes end by themselves when their sockets are closed: wait for that. */
void site_shares_stop(void);

#endif
