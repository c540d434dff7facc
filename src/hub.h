/* A hub: an Ethernet on a Unix socket. Whatever one station sends, all others get, in the order in which it came.
 *
 * Stations are sites (`--net hub:SOCKET`) and whoever speaks frame_stream.h. A station that does not take its frames holds the others up, which
 * is how a sender learns that it is too fast; after a while it misses frames until it has taken those that wait. One that sends nonsense is dropped.
 */
#ifndef CHORUS_HUB_H
#define CHORUS_HUB_H

#include <stdbool.h>

struct hub_options {
    bool ends_with_last;        /* when the last station goes, after one has come */
    unsigned long patience;     /* ms that a station without room holds the others up; then it misses frames */
    unsigned lose, twice, late; /* of a thousand frames so many are lost, sent twice, sent after their successor */
    unsigned long seed;         /* of the dice by which that happens; not 0 */
};

/* Listen on a socket of this name, which goes when the hub ends. A socket that a dead hub left is replaced. A descriptor, or an error made
 * negative: -EADDRINUSE: a hub is there already; -EEXIST: a file that is no socket. */
int hub_listen(const char *path);
/* Connect to the hub of this name. A descriptor, or an error made negative. */
int hub_connect(const char *path);

/* The opposite of hub_listen. False: somebody has just come, and nothing has happened; not with `all_the_same`. */
bool hub_leave(const char *path, int listener, bool all_the_same);

/* Serve until `*stop` or the last station goes. 0, or an error made negative. */
int hub_serve(int listener, const struct hub_options *options, const volatile int *stop);

#endif
