/* The ioctls by which programs look at interfaces and routes, and set them. */

#include "interface.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/route.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <string.h>

#include "route.h"
#include "rtnetlink.h"
#include "socket.h"

static void put_address(struct sockaddr *to, const ip4_addr_t *address)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    v4.sin_addr.s_addr = ip4_addr_get_u32(address);
    memcpy(to, &v4, sizeof v4);
}

static int get_address(const struct sockaddr *from, ip4_addr_t *address)
{
    struct sockaddr_in v4;
    memcpy(&v4, from, sizeof v4);
    if (v4.sin_family != AF_INET)
        return -EINVAL;
    ip4_addr_set_u32(address, v4.sin_addr.s_addr);
    return 0;
}

static int get_one(struct netif *netif, uint32_t command, struct ifreq *request)
{
    ip4_addr_t broadcast = interface_broadcast(netif);
    bool is_loopback = interface_of(netif) == NULL;
    switch (command) {
    case SIOCGIFFLAGS: request->ifr_flags = (short)interface_flags(netif); return 0;
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
        if (ip4_addr_isany(netif_ip4_addr(netif)))
            return -EADDRNOTAVAIL;
        put_address(&request->ifr_addr, netif_ip4_addr(netif));
        return 0;
    case SIOCGIFBRDADDR: put_address(&request->ifr_addr, &broadcast); return 0;
    case SIOCGIFNETMASK: put_address(&request->ifr_addr, netif_ip4_netmask(netif)); return 0;
    case SIOCGIFMETRIC: request->ifr_metric = 0; return 0;
    case SIOCGIFMTU: request->ifr_mtu = (int)interface_mtu(netif); return 0;
    case SIOCGIFINDEX: request->ifr_ifindex = netif_get_index(netif); return 0;
    case SIOCGIFTXQLEN: request->ifr_qlen = 1000; return 0;
    case SIOCGIFMAP: memset(&request->ifr_map, 0, sizeof request->ifr_map); return 0;
    case SIOCGIFHWADDR:
        memset(&request->ifr_hwaddr, 0, sizeof request->ifr_hwaddr);
        request->ifr_hwaddr.sa_family = is_loopback ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
        memcpy(request->ifr_hwaddr.sa_data, netif->hwaddr, netif->hwaddr_len);
        return 0;
    default: return -ENOTTY;
    }
}

/* The mask is that of the address's class until another one is given. */
static uint32_t mask_of_class(const ip4_addr_t *address)
{
    uint32_t number = ntohl(ip4_addr_get_u32(address));
    return htonl(number == 0 ? 0 : number >> 31 == 0 ? 0xff000000u : number >> 30 == 2 ? 0xffff0000u : 0xffffff00u);
}

static int set_address(struct netif *netif, uint32_t command, const struct ifreq *request)
{
    ip4_addr_t address = *netif_ip4_addr(netif), mask;
    int error = get_address(&request->ifr_addr, command == SIOCSIFADDR ? &address : &mask);
    if (error != 0)
        return error;
    if (command == SIOCSIFADDR)
        ip4_addr_set_u32(&mask, mask_of_class(&address));
    rtnetlink_tell_address_v4(netif, false);
    interface_set_v4(netif, &address, &mask);
    rtnetlink_tell_address_v4(netif, true);
    return 0;
}

static int set_one(struct netif *netif, uint32_t command, const struct ifreq *request)
{
    int error = 0;
    switch (command) {
    case SIOCSIFFLAGS: interface_set_up(netif, request->ifr_flags & IFF_UP); break;
    case SIOCSIFADDR:
    case SIOCSIFNETMASK: return set_address(netif, command, request);
    case SIOCSIFBRDADDR:
    case SIOCSIFMETRIC:
    case SIOCSIFTXQLEN: return 0; /* follow from the others */
    case SIOCSIFMTU: error = request->ifr_mtu < 0 ? -EINVAL : interface_set_mtu(netif, (uint32_t)request->ifr_mtu); break;
    default: return -ENOTTY;
    }
    if (error == 0)
        rtnetlink_tell_link(netif);
    return error;
}

static int list_all(struct sm_call *call)
{
    struct ifreq *out = (void *)call->body;
    unsigned count = 0;
    for (struct netif *netif = interface_next(NULL); netif != NULL; netif = interface_next(netif)) {
        if (ip4_addr_isany(netif_ip4_addr(netif)))
            continue;
        memset(&out[count], 0, sizeof *out);
        interface_name(netif, out[count].ifr_name);
        put_address(&out[count++].ifr_addr, netif_ip4_addr(netif));
    }
    call->answer_size = count * (uint32_t)sizeof *out;
    return 0;
}

static int route_of(const struct rtentry *from, const char *device, struct route *route)
{
    ip4_addr_t to, mask, router;
    memset(route, 0, sizeof *route);
    if (get_address(&from->rt_dst, &to) != 0)
        return -EINVAL;
    ip4_addr_set_u32(&mask, 0);
    get_address(&from->rt_genmask, &mask);
    route->bits = (uint8_t)(from->rt_flags & RTF_HOST ? 32 : route_bits_of_mask(ip4_addr_get_u32(&mask)));
    if (ip4_addr_get_u32(&mask) != route_mask_of_bits(route->bits) && !(from->rt_flags & RTF_HOST))
        return -EINVAL;
    ip_addr_copy_from_ip4(route->to, to);
    if (from->rt_flags & RTF_GATEWAY) {
        if (get_address(&from->rt_gateway, &router) != 0)
            return -EINVAL;
        route->has_router = !ip4_addr_isany_val(router); /* 0.0.0.0: when one is taken away, any */
        ip_addr_copy_from_ip4(route->router, router);
    }
    route->metric = from->rt_metric > 0 ? (uint32_t)from->rt_metric - 1 : 0;
    route->scope = route->has_router ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    route->netif = device[0] != '\0' ? interface_netif(device) : NULL;
    return device[0] != '\0' && route->netif == NULL ? -ENODEV : 0;
}

static int route_ioctl(struct sm_call *call)
{
    struct rtentry from;
    struct route route;
    char device[17] = "";
    bool adds = call->request->command == SIOCADDRT;
    if (!(call->request->flags & SOCKET_PRIVILEGED))
        return -EPERM;
    if (call->size < sizeof from + 16)
        return -EINVAL;
    memcpy(&from, call->body, sizeof from);
    memcpy(device, call->body + sizeof from, 16); /* pm puts the device's name behind it */
    int error = route_of(&from, device, &route);
    if (error == 0 && adds)
        route.protocol = RTPROT_BOOT;
    if (error == 0)
        error = adds ? route_add(&route, (struct route_mode){ .create = true }) : route_remove(&route);
    if (error == 0)
        rtnetlink_tell_route(&route, adds);
    return error;
}

static bool sets(uint32_t command)
{
    return command == SIOCSIFFLAGS || command == SIOCSIFADDR || command == SIOCSIFNETMASK || command == SIOCSIFBRDADDR ||
           command == SIOCSIFMTU || command == SIOCSIFMETRIC || command == SIOCSIFTXQLEN;
}

int interface_ioctl(struct sm_call *call)
{
    uint32_t command = call->request->command;
    struct ifreq request;
    if (command == SIOCGIFCONF)
        return list_all(call);
    if (command == SIOCADDRT || command == SIOCDELRT)
        return route_ioctl(call);
    if (call->size < sizeof request)
        return -ENOTTY;
    memcpy(&request, call->body, sizeof request);
    request.ifr_name[IFNAMSIZ - 1] = '\0';
    struct netif *netif = command == SIOCGIFNAME ? netif_get_by_index((u8_t)request.ifr_ifindex) : interface_netif(request.ifr_name);
    if (netif == NULL)
        return -ENODEV;
    if (sets(command) && !(call->request->flags & SOCKET_PRIVILEGED))
        return -EPERM;
    int error = 0;
    if (command == SIOCGIFNAME)
        interface_name(netif, request.ifr_name);
    else
        error = sets(command) ? set_one(netif, command, &request) : get_one(netif, command, &request);
    memcpy(call->body, &request, sizeof request);
    call->answer_size = error == 0 ? sizeof request : 0;
    return error;
}
