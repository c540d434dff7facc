/* Groups: which a socket is a member of, and where what it sends to groups goes out. A membership is the interface's, which is a member as long as one socket is:
 * so each bound to the port receives what comes for any group of the machine, as by Linux's IP_MULTICAST_ALL. */

#include <errno.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <stdlib.h>
#include <string.h>

#include <lwip/igmp.h>
#include <lwip/mld6.h>

#include "interface.h"
#include "route.h"
#include "socket.h"

#define MEMBERSHIPS_MOST 20 /* of a socket, as in Linux */

struct membership {
    struct membership *next;
    ip_addr_t group;
    struct netif *netif;
};

/* ---- memberships ---- */

static err_t pass_on(const struct membership *it, bool joins)
{
    const ip6_addr_t *v6 = ip_2_ip6(&it->group);
    const ip4_addr_t *v4 = ip_2_ip4(&it->group);
    if (IP_IS_V6_VAL(it->group))
        return joins ? mld6_joingroup_netif(it->netif, v6) : mld6_leavegroup_netif(it->netif, v6);
    if (ip4_addr_get_u32(v4) == PP_HTONL(0xe0000001))
        return ERR_OK; /* all systems: every interface is a member */
    return joins ? igmp_joingroup_netif(it->netif, v4) : igmp_leavegroup_netif(it->netif, v4);
}

static struct membership **find(struct sock *sock, const ip_addr_t *group, const struct netif *netif)
{
    struct membership **at = &sock->memberships;
    while (*at != NULL && !((*at)->netif == netif && ip_addr_cmp_zoneless(&(*at)->group, group)))
        at = &(*at)->next;
    return at;
}

static int join(struct sock *sock, const ip_addr_t *group, struct netif *netif)
{
    unsigned count = 0;
    if (*find(sock, group, netif) != NULL)
        return -EADDRINUSE;
    for (const struct membership *at = sock->memberships; at != NULL; at = at->next)
        count++;
    struct membership *membership = count < MEMBERSHIPS_MOST ? calloc(1, sizeof *membership) : NULL;
    if (membership == NULL)
        return -ENOBUFS;
    *membership = (struct membership){ sock->memberships, *group, netif };
    if (IP_IS_V6_VAL(*group))
        ip6_addr_assign_zone(ip_2_ip6(&membership->group), IP6_MULTICAST, netif);
    if (pass_on(membership, true) != ERR_OK) {
        free(membership);
        return -ENOBUFS;
    }
    sock->memberships = membership;
    return 0;
}

static int leave(struct membership **at)
{
    struct membership *membership = *at;
    if (membership == NULL)
        return -EADDRNOTAVAIL;
    *at = membership->next;
    pass_on(membership, false);
    free(membership);
    return 0;
}

void multicast_close(struct sock *sock)
{
    while (sock->memberships != NULL)
        leave(&sock->memberships);
}

bool multicast_loops(const struct sock *sock, const ip_addr_t *to)
{
    uint32_t device = sock->device != 0 ? sock->device : sock->multicast_device;
    if (!sock->multicast_loop || !ip_addr_ismulticast(to))
        return false;
    const struct netif *netif = device != 0 ? netif_get_by_index((u8_t)device) : ip_route(IP_IS_V6(to) ? IP6_ADDR_ANY : IP4_ADDR_ANY, to);
    return netif != NULL && interface_of(netif) != NULL;
}

/* ---- what programs say ---- */

static struct netif *netif_at(uint32_t index)
{
    return index > 255 ? NULL : netif_get_by_index((u8_t)index);
}

static struct netif *netif_with(uint32_t address)
{
    struct netif *netif = interface_next(NULL);
    while (netif != NULL && ip4_addr_get_u32(netif_ip4_addr(netif)) != address)
        netif = interface_next(netif);
    return netif;
}

/* Where packets to it go out, if nothing was said; the first one for IPv6, as any will do. */
static struct netif *netif_towards(const ip_addr_t *group)
{
    struct route route;
    if (route_lookup(group, &route))
        return route.netif;
    struct netif *first = interface_next(NULL), *second = first == NULL ? NULL : interface_next(first);
    return IP_IS_V6(group) ? (second != NULL ? second : first) : NULL;
}

/* struct ip_mreq: group and the interface's address; struct ip_mreqn: and its number. */
static int read_v4(const struct sm_call *call, ip_addr_t *group, struct netif **ret_netif)
{
    struct ip_mreqn request = { 0 };
    if (call->size < sizeof(struct ip_mreq))
        return -EINVAL;
    memcpy(&request, call->body, call->size < sizeof request ? sizeof(struct ip_mreq) : sizeof request);
    IP_SET_TYPE(group, IPADDR_TYPE_V4);
    ip4_addr_set_u32(ip_2_ip4(group), request.imr_multiaddr.s_addr);
    if (request.imr_ifindex != 0)
        *ret_netif = netif_at((uint32_t)request.imr_ifindex);
    else
        *ret_netif = request.imr_address.s_addr != 0 ? netif_with(request.imr_address.s_addr) : netif_towards(group);
    return 0;
}

static int read_v6(const struct sm_call *call, ip_addr_t *group, struct netif **ret_netif)
{
    struct ipv6_mreq request;
    if (call->size < sizeof request)
        return -EINVAL;
    memcpy(&request, call->body, sizeof request);
    IP_SET_TYPE(group, IPADDR_TYPE_V6);
    memcpy(ip_2_ip6(group)->addr, &request.ipv6mr_multiaddr, 16);
    *ret_netif = request.ipv6mr_ifindex != 0 ? netif_at((uint32_t)request.ipv6mr_ifindex) : netif_towards(group);
    return 0;
}

/* Of either family: the number of the interface, and the group as an address. */
static int read_any(const struct sm_call *call, ip_addr_t *group, struct netif **ret_netif)
{
    struct group_req request;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (call->size < sizeof request)
        return -EINVAL;
    memcpy(&request, call->body, sizeof request);
    memcpy(&v4, &request.gr_group, sizeof v4);
    memcpy(&v6, &request.gr_group, sizeof v6);
    if (v4.sin_family != AF_INET && v4.sin_family != AF_INET6)
        return -EINVAL;
    IP_SET_TYPE(group, v4.sin_family == AF_INET ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6);
    if (v4.sin_family == AF_INET)
        ip4_addr_set_u32(ip_2_ip4(group), v4.sin_addr.s_addr);
    else
        memcpy(ip_2_ip6(group)->addr, &v6.sin6_addr, 16);
    *ret_netif = request.gr_interface != 0 ? netif_at(request.gr_interface) : netif_towards(group);
    return 0;
}

static int change(struct sock *sock, struct sm_call *call, bool joins, int (*read)(const struct sm_call *, ip_addr_t *, struct netif **))
{
    ip_addr_t group;
    struct netif *netif = NULL;
    memset(&group, 0, sizeof group);
    if (sock->type == SOCK_STREAM)
        return -EPROTO;
    int error = read(call, &group, &netif);
    if (error != 0)
        return error;
    if (!ip_addr_ismulticast(&group))
        return -EINVAL;
    if (netif == NULL)
        return -ENODEV;
    return joins ? join(sock, &group, netif) : leave(find(sock, &group, netif));
}

/* An address, or struct ip_mreqn. */
static int set_device_v4(struct sock *sock, const struct sm_call *call)
{
    struct ip_mreqn request = { 0 };
    if (call->size < 4)
        return -EINVAL;
    if (call->size >= sizeof(struct ip_mreq))
        memcpy(&request, call->body, call->size < sizeof request ? sizeof(struct ip_mreq) : sizeof request);
    else
        memcpy(&request.imr_address, call->body, 4);
    bool is_any = request.imr_ifindex == 0 && request.imr_address.s_addr == 0;
    struct netif *netif = request.imr_ifindex != 0 ? netif_at((uint32_t)request.imr_ifindex) : netif_with(request.imr_address.s_addr);
    if (!is_any && netif == NULL)
        return -EADDRNOTAVAIL;
    sock->multicast_device = is_any ? 0 : netif_get_index(netif);
    return 0;
}

static int set_device_v6(struct sock *sock, const struct sm_call *call)
{
    uint32_t number;
    if (call->size < sizeof number)
        return -EINVAL;
    memcpy(&number, call->body, sizeof number);
    if (number != 0 && netif_at(number) == NULL)
        return -ENODEV;
    sock->multicast_device = number;
    return 0;
}

int multicast_set(struct sock *sock, struct sm_call *call)
{
    int level = call->request->level, option = call->request->option;
    bool is_v6 = level == IPPROTO_IPV6 && sock->family == AF_INET6;
    if (level != IPPROTO_IP && !is_v6)
        return -ENOPROTOOPT;
    if (option == MCAST_JOIN_GROUP || option == MCAST_LEAVE_GROUP)
        return change(sock, call, option == MCAST_JOIN_GROUP, read_any);
    if (!is_v6) {
        switch (option) {
        case IP_ADD_MEMBERSHIP:
        case IP_DROP_MEMBERSHIP: return change(sock, call, option == IP_ADD_MEMBERSHIP, read_v4);
        case IP_MULTICAST_IF: return set_device_v4(sock, call);
        default: return -ENOPROTOOPT;
        }
    }
    switch (option) {
    case IPV6_ADD_MEMBERSHIP:
    case IPV6_DROP_MEMBERSHIP: return change(sock, call, option == IPV6_ADD_MEMBERSHIP, read_v6);
    case IPV6_MULTICAST_IF: return set_device_v6(sock, call);
    default: return -ENOPROTOOPT;
    }
}

int multicast_get(const struct sock *sock, int level, int option, int *ret_number)
{
    const struct netif *netif = netif_at(sock->multicast_device);
    if (level == IPPROTO_IP && option == IP_MULTICAST_IF) {
        *ret_number = netif == NULL ? 0 : (int)ip4_addr_get_u32(netif_ip4_addr(netif));
        return 0;
    }
    if (level == IPPROTO_IPV6 && option == IPV6_MULTICAST_IF && sock->family == AF_INET6) {
        *ret_number = (int)sock->multicast_device;
        return 0;
    }
    return -ENOPROTOOPT;
}
