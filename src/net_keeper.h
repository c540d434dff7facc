/* The keeper: a small process that makes sockets for the site's network devices when the site's own process may not any more.
 *
 * It is forked before the site grows, and does nothing until a device asks for a connection, by a byte on a socket of its own (net_link.h): then it
 * connects to the hub, or starts one, or starts the helper of `--net user` (net_user/). It ends when the site closes all these sockets, however the site ends.
 */
#ifndef CHORUS_NET_KEEPER_H
#define CHORUS_NET_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define NET_KEEPER_LINKS_MOST 8

struct net_keeper_link {
    const char *hub;            /* the socket of the hub; NULL: the helper */
    char **helper;              /* its words, the first is the file; ends with NULL */
    int control;                /* filled in: the site's end */
};

/* The process, or a negative error of the host. Strings must stay. */
pid_t net_keeper_start(struct net_keeper_link *links, unsigned count);

/* Ask for a connection and wait for it, before the site runs. A descriptor, or -1 with a sentence in `why`. */
int net_keeper_connect(int control, char *why, size_t size);

/* Wait until it has ended; the sockets are closed. */
void net_keeper_stop(pid_t keeper);

#endif
