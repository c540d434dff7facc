/* Interfaces: making them, frames in and out, and the ioctls by which programs look at them and set them. */

#include "interface.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/route.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lwip/etharp.h>
#include <lwip/ethip6.h>
#include <netif/ethernet.h>

#include "socket.h"
#include "stack.h"

#define FRAME_HEADER 14
#define FRAME_LEAST 60u
#define LOOPBACK_MTU 65536

struct interface *interfaces[INTERFACES_MOST];

/* ---- frames ---- */

uint8_t *interface_room(struct interface *interface, size_t length)
{
    uint8_t *room = interface->frame_room(interface->number, length);
    stack_used();
    interface->dropped += room == NULL;
    interface->sent += room != NULL;
    interface->sent_bytes += room != NULL ? length : 0;
    return room;
}

static err_t transmit(struct netif *netif, struct pbuf *data)
{
    uint8_t *room = interface_room(netif->state, data->tot_len);
    if (room == NULL)
        return ERR_MEM;
    pbuf_copy_partial(data, room, data->tot_len, 0);
    return ERR_OK;
}

void interface_receive(struct interface *interface, const uint8_t *frame, size_t length)
{
    if (length < FRAME_HEADER || length > 0xffff - 64) {
        interface->dropped++;
        return;
    }
    /* lwIP relies on frames being as long as the shortest on a wire. */
    size_t whole = length < FRAME_LEAST ? FRAME_LEAST : length;
    struct pbuf *data = pbuf_alloc(PBUF_RAW, (u16_t)whole, PBUF_RAM);
    if (data == NULL)
        return;
    memcpy(data->payload, frame, length);
    memset((uint8_t *)data->payload + length, 0, whole - length);
    interface->received++;
    interface->received_bytes += length;
    stack_used();
    packet_arrived(interface, frame, length);
    if (interface->netif.input(data, &interface->netif) != ERR_OK)
        pbuf_free(data);
}

static err_t begin(struct netif *netif)
{
    netif->name[0] = 'e';
    netif->name[1] = 't';
    netif->output = etharp_output;
    netif->output_ip6 = ethip6_output;
    netif->linkoutput = transmit;
    netif->hwaddr_len = 6;
    return ERR_OK;
}

/* Its own address of IPv6 and being up are settled before it can send, so that nothing is. */
struct interface *interface_add(unsigned number, const struct interface_description *description,
                                uint8_t *(*frame_room)(unsigned number, size_t length))
{
    struct interface *interface = number < INTERFACES_MOST ? calloc(1, sizeof *interface) : NULL;
    ip4_addr_t address, mask, router;
    if (interface == NULL)
        return NULL;
    interface->number = number;
    interface->frame_room = frame_room;
    snprintf(interface->name, sizeof interface->name, "eth%u", number);
    memcpy(interface->name_server, description->name_server, 4);
    memcpy(&address, description->address, 4);
    memcpy(&router, description->router, 4);
    uint32_t prefix = description->prefix <= 32 ? description->prefix : 0;
    ip4_addr_set_u32(&mask, prefix == 0 ? 0 : htonl(~0u << (32 - prefix)));
    if (netif_add(&interface->netif, &address, &mask, &router, interface, begin, ethernet_input) == NULL) {
        free(interface);
        return NULL;
    }
    struct netif *netif = &interface->netif;
    netif->mtu = (u16_t)(description->mtu < 0xffff - FRAME_HEADER ? description->mtu : 0xffff - FRAME_HEADER);
    memcpy(netif->hwaddr, description->hardware, 6);
    netif_set_link_up(netif);
    netif_set_up(netif);
    netif_create_ip6_linklocal_address(netif, 1);
    netif_ip6_addr_set_state(netif, 0, IP6_ADDR_PREFERRED);
    netif_set_ip6_autoconfig_enabled(netif, 1);
    netif->flags |= NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
    interface_link(interface, description->link_up);
    if (netif_default == NULL && !ip4_addr_isany_val(router))
        netif_set_default(netif);
    interfaces[number] = interface;
    return interface;
}

void interface_link(struct interface *interface, bool up)
{
    if (up)
        interface->netif.flags |= NETIF_FLAG_LINK_UP;
    else
        netif_set_link_down(&interface->netif);
}

/* ---- names ---- */

struct interface *interface_of(const struct netif *netif)
{
    return netif->name[0] == 'l' ? NULL : netif->state;
}

void interface_name(const struct netif *netif, char name[16])
{
    const struct interface *interface = interface_of(netif);
    snprintf(name, 16, "%s", interface == NULL ? "lo" : interface->name);
}

struct netif *interface_netif(const char *name)
{
    struct netif *netif;
    NETIF_FOREACH(netif) {
        char its_name[16];
        interface_name(netif, its_name);
        if (strcmp(name, its_name) == 0)
            return netif;
    }
    return NULL;
}

unsigned interface_index(const char *name)
{
    struct netif *netif = interface_netif(name);
    return netif == NULL ? 0 : netif_get_index(netif);
}

/* ---- ioctls ---- */

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

static short flags_of(const struct netif *netif)
{
    bool is_loopback = interface_of(netif) == NULL, up = netif_is_up(netif);
    short flags = (short)(is_loopback ? IFF_LOOPBACK : IFF_BROADCAST | IFF_MULTICAST);
    flags |= (short)(up ? IFF_UP : 0);
    return (short)(flags | (up && (is_loopback || netif_is_link_up(netif)) ? IFF_RUNNING : 0));
}

static void set_up(struct netif *netif, bool up)
{
    if (up == !!netif_is_up(netif))
        return;
    if (up)
        netif_set_up(netif);
    else
        netif_set_down(netif);
}

static ip4_addr_t broadcast_of(const struct netif *netif)
{
    ip4_addr_t address;
    ip4_addr_set_u32(&address, ip4_addr_get_u32(netif_ip4_addr(netif)) | ~ip4_addr_get_u32(netif_ip4_netmask(netif)));
    return address;
}

static int get_one(struct netif *netif, uint32_t command, struct ifreq *request)
{
    ip4_addr_t broadcast = broadcast_of(netif);
    bool is_loopback = interface_of(netif) == NULL;
    switch (command) {
    case SIOCGIFFLAGS: request->ifr_flags = flags_of(netif); return 0;
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
        if (ip4_addr_isany(netif_ip4_addr(netif)))
            return -EADDRNOTAVAIL;
        put_address(&request->ifr_addr, netif_ip4_addr(netif));
        return 0;
    case SIOCGIFBRDADDR: put_address(&request->ifr_addr, &broadcast); return 0;
    case SIOCGIFNETMASK: put_address(&request->ifr_addr, netif_ip4_netmask(netif)); return 0;
    case SIOCGIFMETRIC: request->ifr_metric = 0; return 0;
    case SIOCGIFMTU: request->ifr_mtu = is_loopback ? LOOPBACK_MTU : netif->mtu; return 0;
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
static void set_address(struct netif *netif, const ip4_addr_t *address)
{
    ip4_addr_t mask;
    uint32_t number = ntohl(ip4_addr_get_u32(address));
    uint32_t of_class = number == 0 ? 0 : number >> 31 == 0 ? 0xff000000u : number >> 30 == 2 ? 0xffff0000u : 0xffffff00u;
    ip4_addr_set_u32(&mask, htonl(of_class));
    netif_set_ipaddr(netif, address);
    netif_set_netmask(netif, &mask);
}

static int set_one(struct netif *netif, uint32_t command, const struct ifreq *request)
{
    ip4_addr_t address;
    switch (command) {
    case SIOCSIFFLAGS: set_up(netif, request->ifr_flags & IFF_UP); return 0;
    case SIOCSIFADDR:
    case SIOCSIFNETMASK: {
        int error = get_address(&request->ifr_addr, &address);
        if (error == 0 && command == SIOCSIFADDR)
            set_address(netif, &address);
        else if (error == 0)
            netif_set_netmask(netif, &address);
        return error;
    }
    case SIOCSIFBRDADDR:
    case SIOCSIFMETRIC:
    case SIOCSIFTXQLEN: return 0; /* follow from the others */
    case SIOCSIFMTU:
        if (interface_of(netif) == NULL || request->ifr_mtu < 68 || request->ifr_mtu > netif->mtu)
            return -EINVAL;
        netif->mtu = (u16_t)request->ifr_mtu;
        return 0;
    default: return -ENOTTY;
    }
}

static int list_all(struct sm_call *call)
{
    struct netif *netif;
    struct ifreq *out = (void *)call->body;
    unsigned count = 0;
    NETIF_FOREACH(netif) {
        if (ip4_addr_isany(netif_ip4_addr(netif)))
            continue;
        memset(&out[count], 0, sizeof *out);
        interface_name(netif, out[count].ifr_name);
        put_address(&out[count++].ifr_addr, netif_ip4_addr(netif));
    }
    call->answer_size = count * (uint32_t)sizeof *out;
    return 0;
}

/* lwIP knows what is attached to each interface, and one router of each. */
static int change_route(const struct rtentry *route, const char *device, bool add)
{
    ip4_addr_t to, mask, router;
    struct netif *netif = device[0] != '\0' ? interface_netif(device) : NULL;
    if (get_address(&route->rt_dst, &to) != 0)
        return -EINVAL;
    ip4_addr_set_u32(&mask, 0);
    ip4_addr_set_u32(&router, 0);
    get_address(&route->rt_genmask, &mask);
    if ((route->rt_flags & RTF_GATEWAY) && get_address(&route->rt_gateway, &router) != 0)
        return -EINVAL;
    if (device[0] != '\0' && netif == NULL)
        return -ENODEV;
    if (!ip4_addr_isany_val(to))
        return route->rt_flags & RTF_GATEWAY ? -EOPNOTSUPP : 0; /* what is attached is a route by its address */
    if (netif == NULL && !ip4_addr_isany_val(router))
        netif = ip4_route(&router);
    if (netif == NULL)
        netif = netif_default;
    if (netif == NULL)
        return add ? -ENETUNREACH : -ESRCH;
    if (!add && netif != netif_default)
        return -ESRCH;
    netif_set_gw(netif, &router);
    netif_set_default(add ? netif : NULL);
    return 0;
}

static int route_ioctl(struct sm_call *call)
{
    struct rtentry route;
    char device[17] = "";
    if (!(call->request->flags & SOCKET_PRIVILEGED))
        return -EPERM;
    if (call->size < sizeof route + 16)
        return -EINVAL;
    memcpy(&route, call->body, sizeof route);
    memcpy(device, call->body + sizeof route, 16); /* pm puts the device's name behind it */
    return change_route(&route, device, call->request->command == SIOCADDRT);
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
