/* A network back end on a tap interface of the host: frames go to the host's own network stack. It may be asked to complete checksums and to
 * cut large TCP segments, and gives such frames, when the driver wants that. */
#ifndef DEVICES_NET_TAP_H
#define DEVICES_NET_TAP_H

#include "bus.h"
#include "net_back_end.h"

/* Open an interface that exists, or that this process may make. A descriptor, and its MTU; or an error of the host's made negative. May only be
 * called before the site's filter. */
int net_tap_attach(const char *name, uint16_t *ret_mtu);
/* `descriptor` is taken over, when it succeeds. NULL and errno. */
struct net_back_end *net_tap_open(struct bus *bus, int descriptor, const char *name, uint16_t mtu);

#endif
