/* route.h: the routes: what is attached to the interfaces, what programs add, and what routers of IPv6 announce. lwIP asks here where a packet goes. */
#ifndef SM_ROUTE_H
#define SM_ROUTE_H

#include <lwip/ip_addr.h>
#include <lwip/netif.h>
#include <stdbool.h>
#include <stdint.h>

#define ROUTES_MOST 256 /* that programs add */

struct route {
    ip_addr_t to;       /* of <bits> bits; the others are 0 */
    uint8_t bits;
    bool has_router;
    ip_addr_t router;   /* unless has_router: who is meant is attached */
    struct netif *netif;
    uint32_t metric;
    uint8_t protocol;   /* RTPROT_..., who made it */
    uint8_t scope;      /* RT_SCOPE_... */
};

/* How route_add deals with what is there already; as of rtnetlink (NLM_F_...). */
struct route_mode {
    bool create, exclusive, replace, append;
};

/* The interface may be left out (NULL) if there is a router. -ENODEV, -ENETDOWN, -ENETUNREACH (nobody is attached to the router), -EINVAL, -EEXIST,
 * -ENOENT (not to be created), -ENOBUFS. <route> is what it has become. */
int route_add(struct route *route, struct route_mode mode);
/* The first one that is like it: without interface, router, metric, protocol (0) any. -ESRCH. <route> is what it was. */
int route_remove(struct route *route);
/* The interface went down, or lost its address of that family: its routes go. */
void route_interface_gone(const struct netif *netif, uint8_t type);

/* The one that a packet takes. False: none. */
bool route_lookup(const ip_addr_t *to, struct route *ret_route);
/* All of them, those of the loopback interface excepted, in the order of their addresses; how many, at most <most>. */
unsigned route_list(struct route *list, unsigned most);
#define ROUTE_LIST_MOST (ROUTES_MOST + 128)

bool route_is_default(const struct route *route);
/* Nothing is set behind its first <bits> bits. */
bool route_prefix_is_clean(const ip_addr_t *address, unsigned bits);
unsigned route_bits_of_mask(uint32_t network_order_mask);
uint32_t route_mask_of_bits(unsigned bits); /* in network order */

#endif
