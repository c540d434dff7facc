/* Interfaces: making them, frames in and out, and what programs may change of them: by ioctls (interface_control.c) or rtnetlink. */

#include "interface.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lwip/etharp.h>
#include <lwip/ethip6.h>
#include <lwip/mld6.h>
#include <netif/ethernet.h>

#include "offload.h"
#include "route.h"
#include "socket.h"
#include "stack.h"

#define FRAME_HEADER 14
#define FRAME_LEAST 60u
#define LOOPBACK_MTU 65536
#define MTU_LEAST 68
#define GROUP_IDLE 2 /* of lwIP's mld6.c */
/* Sums of TCP and UDP that lwIP looks at, of frames of which nobody else did; what loops back on an interface was never on a wire. */
#define CHECKED (NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP)

struct interface *interfaces[INTERFACES_MOST];
static struct interface_counters looped; /* what comes back without having been on a wire is lo's, whichever interface's address it is for */
static bool is_from_wire;

/* ---- frames ---- */

static struct ether_frame *frame_new(struct interface *interface, size_t length)
{
    interface->open = NULL;
    if (interface->wire == NULL)
        return NULL; /* it is being made */
    struct ether_frame *frame = interface->wire->room(interface->number, length);
    stack_used();
    interface->counters.dropped += frame == NULL;
    interface->counters.sent += frame != NULL;
    interface->counters.sent_bytes += frame != NULL ? length : 0;
    return frame;
}

uint8_t *interface_room(struct interface *interface, size_t length)
{
    struct ether_frame *frame = frame_new(interface, length);
    return frame == NULL ? NULL : (uint8_t *)(frame + 1);
}

/* The segment becomes a part of the frame before it, which the device cuts again. */
static bool join(struct interface *interface, const struct pbuf *segment)
{
    struct ether_frame *open = interface->open;
    if (open == NULL)
        return false;
    uint32_t more = offload_follows(open, segment->payload, segment->len, segment->tot_len), end = open->length;
    if (more == 0 || !interface->wire->grow(interface->number, more))
        return false;
    pbuf_copy_partial(segment, (uint8_t *)(open + 1) + end, (u16_t)more, (u16_t)(segment->tot_len - more));
    offload_joined(open, segment->payload, more);
    interface->counters.sent++;
    interface->counters.sent_bytes += segment->tot_len;
    return true;
}

static err_t transmit(struct netif *netif, struct pbuf *data)
{
    struct interface *interface = netif->state;
    bool is_segment = data->flags & OFFLOAD_NO_SUM;
    if (!is_segment || !join(interface, data)) {
        struct ether_frame *frame = frame_new(interface, data->tot_len);
        if (frame == NULL)
            return ERR_MEM;
        pbuf_copy_partial(data, frame + 1, data->tot_len, 0);
        if (!is_segment)
            return ERR_OK;
        offload_finish(frame, interface->offloads);
        interface->open = frame;
    }
    if (!offload_is_open(interface->open, interface->offloads))
        interface->open = NULL;
    return ERR_OK;
}

void interface_receive(struct interface *interface, const struct ether_frame *about, const uint8_t *frame)
{
    uint32_t length = about->length;
    if (length < FRAME_HEADER || length > ETHER_FRAME_MAX || !netif_is_up(&interface->netif)) {
        interface->counters.dropped++;
        return;
    }
    /* lwIP relies on frames being as long as the shortest on a wire. */
    size_t whole = length < FRAME_LEAST ? FRAME_LEAST : length;
    struct pbuf *data = pbuf_alloc(PBUF_RAW, (u16_t)whole, PBUF_RAM);
    if (data == NULL)
        return;
    memcpy(data->payload, frame, length);
    memset((uint8_t *)data->payload + length, 0, whole - length);
    enum offload_verdict verdict = offload_look(about, data->payload, sock_looks_at_frames());
    if (verdict == OFFLOAD_REFUSE) {
        interface->counters.dropped++;
        pbuf_free(data);
        return;
    }
    interface->counters.received++;
    interface->counters.received_bytes += length;
    stack_used();
    packet_arrived(interface, data->payload, length);
    interface->netif.chksum_flags |= verdict == OFFLOAD_CHECK ? CHECKED : 0;
    is_from_wire = true;
    if (interface->netif.input(data, &interface->netif) != ERR_OK)
        pbuf_free(data);
    is_from_wire = false;
    interface->netif.chksum_flags &= (u16_t)~CHECKED;
}

/* lwIP's hook: each packet of IP that comes. */
void interface_count(const struct pbuf *packet)
{
    if (is_from_wire)
        return;
    looped.sent = ++looped.received;
    looped.sent_bytes = looped.received_bytes += packet->tot_len;
}

static err_t begin(struct netif *netif)
{
    netif->name[0] = 'e';
    netif->name[1] = 't';
    netif->output = etharp_output;
    netif->output_ip6 = ethip6_output;
    netif->linkoutput = transmit;
    netif->hwaddr_len = 6;
    netif->flags |= NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    NETIF_SET_CHECKSUM_CTRL(netif, NETIF_CHECKSUM_ENABLE_ALL & ~(NETIF_CHECKSUM_GEN_TCP | CHECKED)); /* of segments that are sent: offload.c */
    return ERR_OK;
}

static void add_default_route(struct netif *netif, const ip4_addr_t *router)
{
    struct route route = { .has_router = true, .netif = netif, .protocol = RTPROT_BOOT };
    IP_SET_TYPE_VAL(route.to, IPADDR_TYPE_V4);
    ip_addr_copy_from_ip4(route.router, *router);
    route_add(&route, (struct route_mode){ .create = true, .exclusive = true }); /* of several interfaces the first one has it */
}

/* Its own address of IPv6 and being up are settled before it can send, so that nothing is. */
struct interface *interface_add(unsigned number, const struct interface_description *description, const struct interface_wire *wire)
{
    struct interface *interface = number < INTERFACES_MOST ? calloc(1, sizeof *interface) : NULL;
    ip4_addr_t address, mask, router;
    if (interface == NULL)
        return NULL;
    interface->number = number;
    snprintf(interface->name, sizeof interface->name, "eth%u", number);
    memcpy(interface->name_server, description->name_server, 4);
    memcpy(&address, description->address, 4);
    memcpy(&router, description->router, 4);
    uint32_t prefix = description->prefix <= 32 ? description->prefix : 0;
    ip4_addr_set_u32(&mask, prefix == 0 ? 0 : htonl(~0u << (32 - prefix)));
    if (netif_add(&interface->netif, &address, &mask, IP4_ADDR_ANY4, interface, begin, ethernet_input) == NULL) {
        free(interface);
        return NULL;
    }
    struct netif *netif = &interface->netif;
    interface->mtu_most = description->mtu < 0xffff - FRAME_HEADER ? description->mtu : 0xffff - FRAME_HEADER;
    netif->mtu = (u16_t)interface->mtu_most;
    memcpy(netif->hwaddr, description->hardware, 6);
    netif_set_link_up(netif);
    netif_set_up(netif);
    netif_create_ip6_linklocal_address(netif, 1);
    netif_ip6_addr_set_state(netif, 0, IP6_ADDR_PREFERRED);
    netif_set_ip6_autoconfig_enabled(netif, 1);
    for (struct mld_group *group = netif_mld6_data(netif); group != NULL; group = group->next)
        group->timer = 0, group->group_state = GROUP_IDLE;
    netif->flags |= NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
    interface->wire = wire;
    interface_set_offloads(interface, description->offloads);
    interface_link(interface, description->link_up);
    interfaces[number] = interface;
    if (!ip4_addr_isany_val(router))
        add_default_route(netif, &router);
    return interface;
}

void interface_link(struct interface *interface, bool up)
{
    if (up)
        interface->netif.flags |= NETIF_FLAG_LINK_UP;
    else
        netif_set_link_down(&interface->netif);
}

void interface_set_offloads(struct interface *interface, uint32_t offloads)
{
    interface->offloads = offloads;
    interface->open = NULL;
}

/* ---- names ---- */

struct interface *interface_of(const struct netif *netif)
{
    return netif->name[0] == 'l' ? NULL : netif->state;
}

const struct interface_counters *interface_counters(const struct netif *netif)
{
    const struct interface *interface = interface_of(netif);
    return interface == NULL ? &looped : &interface->counters;
}

void interface_name(const struct netif *netif, char name[16])
{
    const struct interface *interface = interface_of(netif);
    snprintf(name, 16, "%s", interface == NULL ? "lo" : interface->name);
}

struct netif *interface_next(const struct netif *netif)
{
    struct netif *next = NULL;
    for (unsigned i = netif == NULL ? 1 : netif_get_index(netif) + 1u; next == NULL && i <= INTERFACES_MOST + 1; i++)
        next = netif_get_by_index((u8_t)i);
    return next;
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

/* ---- what is told and changed ---- */

uint32_t interface_mtu(const struct netif *netif)
{
    return interface_of(netif) == NULL ? LOOPBACK_MTU : netif->mtu;
}

unsigned interface_flags(const struct netif *netif)
{
    bool is_loopback = interface_of(netif) == NULL, up = netif_is_up(netif), runs = up && (is_loopback || netif_is_link_up(netif));
    unsigned flags = is_loopback ? IFF_LOOPBACK : IFF_BROADCAST | IFF_MULTICAST;
    return flags | (up ? IFF_UP : 0) | (runs ? IFF_RUNNING : 0);
}

ip4_addr_t interface_broadcast(const struct netif *netif)
{
    ip4_addr_t address;
    ip4_addr_set_u32(&address, ip4_addr_get_u32(netif_ip4_addr(netif)) | ~ip4_addr_get_u32(netif_ip4_netmask(netif)));
    return address;
}

void interface_set_up(struct netif *netif, bool up)
{
    if (up == !!netif_is_up(netif))
        return;
    if (up) {
        netif_set_up(netif);
        return;
    }
    netif_set_down(netif);
    route_interface_gone(netif, IPADDR_TYPE_V4);
    route_interface_gone(netif, IPADDR_TYPE_V6);
}

int interface_set_mtu(struct netif *netif, uint32_t mtu)
{
    const struct interface *interface = interface_of(netif);
    if (interface == NULL || mtu < MTU_LEAST || mtu > interface->mtu_most)
        return -EINVAL;
    netif->mtu = (u16_t)mtu;
    return 0;
}

/* Routes by routers that are no neighbours any more go, as in Linux. */
void interface_set_v4(struct netif *netif, const ip4_addr_t *address, const ip4_addr_t *mask)
{
    bool moves = !ip4_addr_cmp(address, netif_ip4_addr(netif));
    netif_set_addr(netif, address, mask, IP4_ADDR_ANY4);
    if (moves)
        route_interface_gone(netif, IPADDR_TYPE_V4);
}
