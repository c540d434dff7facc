/* Routes. lwIP knows what is attached to each interface, and one router of each; here is the rest: the longest prefix wins, then the lowest metric,
 * then what was added last. */

#include "route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include <lwip/nd6.h>
#include <lwip/priv/nd6_priv.h>

#include "interface.h"

#define ATTACHED_BITS_V6 64 /* as lwIP takes it of addresses that are set */

struct entry {
    struct entry *next;
    struct route route;
};

static struct entry *entries;
static unsigned count;

/* ---- prefixes ---- */

static const uint8_t *bytes_of(const ip_addr_t *address)
{
    return IP_IS_V6(address) ? (const uint8_t *)ip_2_ip6(address)->addr : (const uint8_t *)&ip_2_ip4(address)->addr;
}

static unsigned bits_of(const ip_addr_t *address)
{
    return IP_IS_V6(address) ? 128 : 32;
}

static bool prefix_is_equal(const ip_addr_t *a, const ip_addr_t *b, unsigned bits)
{
    const uint8_t *x = bytes_of(a), *y = bytes_of(b);
    unsigned whole = bits / 8, rest = bits % 8;
    if (IP_GET_TYPE(a) != IP_GET_TYPE(b) || memcmp(x, y, whole) != 0)
        return false;
    return rest == 0 || (x[whole] ^ y[whole]) >> (8 - rest) == 0;
}

bool route_prefix_is_clean(const ip_addr_t *address, unsigned bits)
{
    const uint8_t *bytes = bytes_of(address);
    for (unsigned i = bits; i < bits_of(address); i++)
        if (bytes[i / 8] & 0x80 >> i % 8)
            return false;
    return true;
}

static void clean_prefix(ip_addr_t *address, unsigned bits)
{
    uint8_t *bytes = (uint8_t *)bytes_of(address);
    for (unsigned i = bits; i < bits_of(address); i++)
        bytes[i / 8] &= (uint8_t)~(0x80 >> i % 8);
}

uint32_t route_mask_of_bits(unsigned bits)
{
    return bits == 0 ? 0 : htonl(~0u << (32 - bits));
}

unsigned route_bits_of_mask(uint32_t network_order_mask)
{
    return (unsigned)__builtin_popcount(network_order_mask);
}

bool route_is_default(const struct route *route)
{
    return route->bits == 0;
}

/* ---- what is attached ---- */

static bool is_of_use(const struct netif *netif, uint8_t type)
{
    return netif_is_up(netif) && (type == IPADDR_TYPE_V6 || !ip4_addr_isany(netif_ip4_addr(netif)));
}

static bool attached_v4(struct netif *netif, struct route *route)
{
    memset(route, 0, sizeof *route);
    uint32_t mask = ip4_addr_get_u32(netif_ip4_netmask(netif));
    if (!is_of_use(netif, IPADDR_TYPE_V4) || mask == 0)
        return false;
    IP_SET_TYPE_VAL(route->to, IPADDR_TYPE_V4);
    ip4_addr_set_u32(ip_2_ip4(&route->to), ip4_addr_get_u32(netif_ip4_addr(netif)) & mask);
    route->bits = (uint8_t)route_bits_of_mask(mask);
    route->netif = netif;
    route->protocol = RTPROT_KERNEL;
    route->scope = RT_SCOPE_LINK;
    return true;
}

/* By its address number <i>. */
static bool attached_v6(struct netif *netif, int i, struct route *route)
{
    memset(route, 0, sizeof *route);
    if (!is_of_use(netif, IPADDR_TYPE_V6) || !ip6_addr_isvalid(netif_ip6_addr_state(netif, i)))
        return false;
    bool is_alone = interface_of(netif) == NULL || !netif_ip6_addr_isstatic(netif, i);
    ip_addr_copy_from_ip6(route->to, *netif_ip6_addr(netif, i));
    ip6_addr_clear_zone(ip_2_ip6(&route->to));
    route->bits = is_alone ? 128 : ATTACHED_BITS_V6;
    clean_prefix(&route->to, route->bits);
    route->netif = netif;
    route->metric = 256;
    route->protocol = RTPROT_KERNEL;
    return true;
}

/* ---- looking up ---- */

static bool is_better(const struct route *route, const struct route *than)
{
    return than->netif == NULL || route->bits > than->bits || (route->bits == than->bits && route->metric < than->metric);
}

static void consider(const struct route *route, const ip_addr_t *to, struct route *best)
{
    if (prefix_is_equal(&route->to, to, route->bits) && is_better(route, best))
        *best = *route;
}

static void look_at_attached(const ip_addr_t *to, struct route *best)
{
    struct netif *netif;
    struct route route;
    NETIF_FOREACH(netif) {
        if (!IP_IS_V6(to)) {
            if (attached_v4(netif, &route))
                consider(&route, to, best);
            continue;
        }
        for (int i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++)
            if (attached_v6(netif, i, &route))
                consider(&route, to, best);
    }
}

bool route_lookup(const ip_addr_t *to, struct route *ret_route)
{
    memset(ret_route, 0, sizeof *ret_route);
    look_at_attached(to, ret_route);
    for (struct entry *entry = entries; entry != NULL; entry = entry->next)
        if (is_of_use(entry->route.netif, IP_GET_TYPE(to)))
            consider(&entry->route, to, ret_route);
    return ret_route->netif != NULL;
}

/* ---- what lwIP asks ---- */

struct netif *route_hook_v4(const void *to)
{
    ip_addr_t address;
    struct route route;
    ip_addr_copy_from_ip4(address, *(const ip4_addr_t *)to);
    return route_lookup(&address, &route) && netif_is_link_up(route.netif) ? route.netif : NULL;
}

/* Only who is not attached is asked about: whom frames to it go to. */
const void *route_hook_router_v4(struct netif *netif, const void *to)
{
    static ip4_addr_t router;
    ip_addr_t address;
    struct route route;
    ip_addr_copy_from_ip4(address, *(const ip4_addr_t *)to);
    if (!route_lookup(&address, &route) || route.netif != netif)
        return NULL;
    router = route.has_router ? *ip_2_ip4(&route.router) : *ip_2_ip4(&address);
    return &router;
}

/* Of IPv6 lwIP knows what is attached, and what routers announce, by itself. */
static bool added_v6(const void *to, struct route *route)
{
    ip_addr_t address;
    ip_addr_copy_from_ip6(address, *(const ip6_addr_t *)to);
    return entries != NULL && route_lookup(&address, route) && route->protocol != RTPROT_KERNEL;
}

struct netif *route_hook_v6(const void *to)
{
    struct route route;
    return added_v6(to, &route) && netif_is_link_up(route.netif) ? route.netif : NULL;
}

const void *route_hook_router_v6(struct netif *netif, const void *to)
{
    static ip6_addr_t router;
    struct route route;
    if (!added_v6(to, &route) || route.netif != netif)
        return NULL;
    router = route.has_router ? *ip_2_ip6(&route.router) : *(const ip6_addr_t *)to;
    if (ip6_addr_lacks_zone(&router, IP6_UNICAST))
        ip6_addr_assign_zone(&router, IP6_UNICAST, netif);
    return &router;
}

/* ---- changing ---- */

/* What lwIP falls back to, and what it remembers of IPv6's destinations, follow. */
static void changed(void)
{
    struct entry *entry = entries;
    while (entry != NULL && !(route_is_default(&entry->route) && !IP_IS_V6_VAL(entry->route.to)))
        entry = entry->next;
    netif_set_default(entry == NULL ? NULL : entry->route.netif);
    nd6_clear_destination_cache();
}

/* The router must be attached to the interface, which is found by it if it is not said. */
static int check_router(struct route *route)
{
    struct route way;
    bool is_link_local = IP_IS_V6_VAL(route->router) && ip6_addr_islinklocal(ip_2_ip6(&route->router));
    if (IP_GET_TYPE(&route->router) != IP_GET_TYPE(&route->to) || ip_addr_isany_val(route->router) || ip_addr_ismulticast(&route->router))
        return -EINVAL;
    if (is_link_local)
        return route->netif == NULL ? -ENODEV : 0;
    if (!route_lookup(&route->router, &way) || way.has_router || interface_of(way.netif) == NULL)
        return -ENETUNREACH;
    if (route->netif != NULL && route->netif != way.netif)
        return -ENETUNREACH;
    route->netif = way.netif;
    return 0;
}

static bool is_same_place(const struct route *a, const struct route *b)
{
    return a->bits == b->bits && prefix_is_equal(&a->to, &b->to, a->bits);
}

static bool is_same_way(const struct route *a, const struct route *b)
{
    return a->netif == b->netif && a->has_router == b->has_router && (!a->has_router || ip_addr_cmp_zoneless(&a->router, &b->router));
}

/* Where it goes in: in front of its like, or behind with <append>. */
static int insert(const struct route *route, bool append)
{
    struct entry *entry = count < ROUTES_MOST ? calloc(1, sizeof *entry) : NULL, **at = &entries;
    if (entry == NULL)
        return -ENOBUFS;
    while (append && *at != NULL)
        at = &(*at)->next;
    *entry = (struct entry){ *at, *route };
    *at = entry;
    count++;
    changed();
    return 0;
}

int route_add(struct route *route, struct route_mode mode)
{
    int error = route->has_router ? check_router(route) : route->netif == NULL ? -ENODEV : 0;
    if (error == 0 && !netif_is_up(route->netif))
        error = -ENETDOWN;
    if (error == 0 && !route_prefix_is_clean(&route->to, route->bits))
        error = -EINVAL;
    if (error != 0)
        return error;
    for (struct entry *entry = entries; entry != NULL; entry = entry->next) {
        if (!is_same_place(&entry->route, route) || entry->route.metric != route->metric)
            continue;
        if (mode.exclusive)
            return -EEXIST;
        if (mode.replace) {
            entry->route = *route;
            changed();
            return 0;
        }
        if (is_same_way(&entry->route, route))
            return -EEXIST;
    }
    return mode.create ? insert(route, mode.append) : -ENOENT;
}

static void take_out(struct entry **at)
{
    struct entry *entry = *at;
    *at = entry->next;
    free(entry);
    count--;
    changed();
}

int route_remove(struct route *route)
{
    for (struct entry **at = &entries; *at != NULL; at = &(*at)->next) {
        const struct route *there = &(*at)->route;
        bool is_meant = is_same_place(there, route) && (route->netif == NULL || route->netif == there->netif) &&
                        (route->metric == 0 || route->metric == there->metric) && (route->protocol == 0 || route->protocol == there->protocol) &&
                        (!route->has_router || (there->has_router && ip_addr_cmp_zoneless(&route->router, &there->router)));
        if (!is_meant)
            continue;
        *route = *there;
        take_out(at);
        return 0;
    }
    return -ESRCH;
}

void route_interface_gone(const struct netif *netif, uint8_t type)
{
    for (struct entry **at = &entries; *at != NULL;)
        if ((*at)->route.netif == netif && IP_GET_TYPE(&(*at)->route.to) == type)
            take_out(at);
        else
            at = &(*at)->next;
}

/* ---- the list ---- */

static unsigned announced(struct route *list, unsigned most)
{
    unsigned found = 0;
    for (unsigned i = 0; i < LWIP_ND6_NUM_ROUTERS && found < most; i++) {
        const struct nd6_router_list_entry *router = &default_router_list[i];
        if (router->neighbor_entry == NULL || router->neighbor_entry->netif == NULL || router->invalidation_timer == 0)
            continue;
        struct route *route = &list[found++];
        memset(route, 0, sizeof *route);
        IP_SET_TYPE_VAL(route->to, IPADDR_TYPE_V6);
        route->has_router = true;
        ip_addr_copy_from_ip6(route->router, router->neighbor_entry->next_hop_address);
        route->netif = router->neighbor_entry->netif;
        route->metric = 1024;
        route->protocol = RTPROT_RA;
    }
    return found;
}

static int compare(const void *a, const void *b)
{
    const struct route *x = a, *y = b;
    int order = (int)IP_GET_TYPE(&x->to) - (int)IP_GET_TYPE(&y->to);
    if (order == 0)
        order = memcmp(bytes_of(&x->to), bytes_of(&y->to), bits_of(&x->to) / 8);
    if (order == 0)
        order = (int)x->bits - (int)y->bits;
    if (order == 0 && x->metric != y->metric)
        order = x->metric < y->metric ? -1 : 1;
    return order;
}

unsigned route_list(struct route *list, unsigned most)
{
    struct netif *netif;
    unsigned found = 0;
    for (struct entry *entry = entries; entry != NULL && found < most; entry = entry->next)
        list[found++] = entry->route;
    found += announced(list + found, most - found);
    NETIF_FOREACH(netif) {
        if (interface_of(netif) == NULL)
            continue;
        if (found < most && attached_v4(netif, &list[found]))
            found++;
        for (int i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++)
            if (found < most && attached_v6(netif, i, &list[found]))
                found++;
    }
    qsort(list, found, sizeof *list, compare);
    return found;
}
