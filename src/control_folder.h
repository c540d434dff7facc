/* The folder of control sockets: one socket for each running site of this user.
 *
 * It is $XDG_RUNTIME_DIR/chorus, or /tmp/chorus-UID where the former is not ours to use. Only its
 * owner can enter it, so the sockets inside need no further guard; who connects is checked all
 * the same. */

#ifndef CHORUS_CONTROL_FOLDER_H
#define CHORUS_CONTROL_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The folder's path, to be freed. It is made if `make`. NULL with errno set: there is none, or it
 * belongs to another user or is open to others (EPERM). */
char *control_folder(bool make);

/* The address of a site's socket. ENAMETOOLONG if it does not fit. */
int control_address(const char *folder, const char *name, struct sockaddr_un *ret_address);

/* A connection to the site's socket, or -1 with errno set. ECONNREFUSED means a stale socket:
 * whoever made it is gone. */
int control_connect(const char *folder, const char *name);

/* The lock that whoever makes or clears a socket holds: a descriptor to be closed, -1 with errno.
 * So of two sites that start at once with one name, one is refused. */
int control_lock(const char *folder);

/* Does a site of this name run? A stale socket is cleared away. With the lock held. */
bool control_is_alive_locked(const char *folder, const char *name);

/* Does the other side of the connection belong to us (or to root)? */
bool control_peer_is_owner(int fd);

#endif
