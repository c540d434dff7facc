/* The guard: what programs inside reach on the host itself.
 *
 * libslirp connects, on the programs' behalf, to whatever they name; the host's loopback is among it. guard.c takes the place of libc's connect, sendto and
 * recvfrom, which libslirp calls, and refuses loopback addresses, in whatever guise: unless they were allowed, or somebody there
 * has sent a datagram to a forwarded port before and is answered, or it is the host's resolver.
 *
 * It takes the place of listen, too: libslirp lets one connection wait at a forwarded port, and of many clients at once the host let the others stand, connected
 * as they believed, for seconds up to a minute.
 */
#ifndef NET_USER_GUARD_H
#define NET_USER_GUARD_H

#include <stdbool.h>
#include <sys/socket.h>

void guard_allow_loopback(void);
/* Does this address mean the host itself, or nothing that is known? */
bool guard_is_loopback(const struct sockaddr *address, socklen_t length);

#endif
