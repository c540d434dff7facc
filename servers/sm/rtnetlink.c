/* NETLINK_ROUTE: what there is, as messages; and changes, which go the same ways as those by ioctl. */

#include "rtnetlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include <lwip/etharp.h>
#include <lwip/priv/nd6_priv.h>

#include "interface.h"

#define FOREVER 0xffffffffu

static struct netlink_writer writer; /* of the one who is answered, or of those who are told */

/* ---- interfaces ---- */

static void put_counters(const struct interface_counters *of)
{
    struct rtnl_link_stats64 large = { .rx_packets = of->received, .tx_packets = of->sent, .rx_bytes = of->received_bytes, .tx_bytes = of->sent_bytes,
                                       .tx_dropped = of->dropped };
    struct rtnl_link_stats small = { .rx_packets = (uint32_t)of->received, .tx_packets = (uint32_t)of->sent, .rx_bytes = (uint32_t)of->received_bytes,
                                     .tx_bytes = (uint32_t)of->sent_bytes, .tx_dropped = (uint32_t)of->dropped };
    netlink_put(&writer, IFLA_STATS64, &large, sizeof large);
    netlink_put(&writer, IFLA_STATS, &small, sizeof small);
}

static void put_link(struct netif *netif, uint16_t type)
{
    static const uint8_t zeros[6], ones[6] = { 255, 255, 255, 255, 255, 255 };
    const struct interface *interface = interface_of(netif);
    unsigned flags = interface_flags(netif);
    struct ifinfomsg head = { .ifi_type = interface == NULL ? ARPHRD_LOOPBACK : ARPHRD_ETHER, .ifi_index = netif_get_index(netif) };
    head.ifi_flags = flags | (flags & IFF_RUNNING ? IFF_LOWER_UP : 0);
    uint8_t state = interface == NULL ? IF_OPER_UNKNOWN : flags & IFF_RUNNING ? IF_OPER_UP : IF_OPER_DOWN, mode = 0, carrier = (flags & IFF_RUNNING) != 0;
    char name[16];
    interface_name(netif, name);
    netlink_begin(&writer, type, &head, sizeof head);
    netlink_put_string(&writer, IFLA_IFNAME, name);
    netlink_put_u32(&writer, IFLA_TXQLEN, 1000);
    netlink_put(&writer, IFLA_OPERSTATE, &state, 1);
    netlink_put(&writer, IFLA_LINKMODE, &mode, 1);
    netlink_put_u32(&writer, IFLA_MTU, interface_mtu(netif));
    netlink_put_u32(&writer, IFLA_GROUP, 0);
    netlink_put_u32(&writer, IFLA_PROMISCUITY, 0);
    netlink_put_u32(&writer, IFLA_NUM_TX_QUEUES, 1);
    netlink_put_u32(&writer, IFLA_NUM_RX_QUEUES, 1);
    netlink_put(&writer, IFLA_CARRIER, &carrier, 1);
    netlink_put_string(&writer, IFLA_QDISC, interface == NULL ? "noqueue" : "pfifo_fast");
    netlink_put(&writer, IFLA_ADDRESS, interface == NULL ? zeros : netif->hwaddr, 6);
    netlink_put(&writer, IFLA_BROADCAST, interface == NULL ? zeros : ones, 6);
    put_counters(interface_counters(netif));
    netlink_end(&writer);
}

static void list_links(void)
{
    for (struct netif *netif = interface_next(NULL); netif != NULL; netif = interface_next(netif))
        put_link(netif, RTM_NEWLINK);
}

static const uint8_t link_least[IFLA_IFNAME + 2] = { [IFLA_IFNAME] = 1, [IFLA_MTU] = 4 };
_Static_assert(IFLA_MTU == IFLA_IFNAME + 1, "the table ends with the MTU");

/* Whom a request about an interface is about: by number, or by name. */
static int find_link(const struct netlink_request *request, struct ifinfomsg *head, struct netlink_attribute *found, struct netif **ret_netif)
{
    char name[IFNAMSIZ] = "";
    int error = netlink_attributes(request, sizeof *head, link_least, found, IFLA_MTU);
    if (error != 0)
        return error;
    memcpy(head, request->payload, sizeof *head);
    if (found[IFLA_IFNAME].data != NULL) {
        size_t size = strnlen((const char *)found[IFLA_IFNAME].data, found[IFLA_IFNAME].size);
        if (size >= IFNAMSIZ)
            return -ERANGE;
        memcpy(name, found[IFLA_IFNAME].data, size);
    }
    if (head->ifi_index < 0)
        return -EINVAL;
    if (head->ifi_index > 0)
        *ret_netif = head->ifi_index > 255 ? NULL : netif_get_by_index((u8_t)head->ifi_index);
    else if (name[0] != '\0')
        *ret_netif = interface_netif(name);
    else
        return -EINVAL;
    return *ret_netif == NULL ? -ENODEV : 0;
}

static int get_link(const struct netlink_request *request)
{
    struct netlink_attribute found[IFLA_MTU + 1];
    struct ifinfomsg head;
    struct netif *netif;
    int error = find_link(request, &head, found, &netif);
    if (error == 0)
        put_link(netif, RTM_NEWLINK);
    return error;
}

/* Up or down, and the MTU; names and hardware addresses stay. */
static int set_link(const struct netlink_request *request)
{
    struct netlink_attribute found[IFLA_MTU + 1];
    struct ifinfomsg head;
    struct netif *netif = NULL;
    char name[16];
    int error = find_link(request, &head, found, &netif);
    if (error == -ENODEV && (request->header.nlmsg_flags & NLM_F_CREATE))
        return -EOPNOTSUPP;
    if (error != 0)
        return error;
    if (request->header.nlmsg_flags & NLM_F_EXCL)
        return -EEXIST;
    interface_name(netif, name);
    bool is_renamed = found[IFLA_IFNAME].data != NULL && strncmp((const char *)found[IFLA_IFNAME].data, name, found[IFLA_IFNAME].size) != 0;
    if (is_renamed || found[IFLA_ADDRESS].data != NULL || found[IFLA_BROADCAST].data != NULL)
        return -EOPNOTSUPP;
    if (found[IFLA_MTU].data != NULL && netlink_u32(&found[IFLA_MTU]) != interface_mtu(netif))
        error = interface_set_mtu(netif, netlink_u32(&found[IFLA_MTU]));
    if (error != 0)
        return error;
    if ((head.ifi_change == 0 && head.ifi_flags != 0) || (head.ifi_change & IFF_UP))
        interface_set_up(netif, head.ifi_flags & IFF_UP);
    rtnetlink_tell_link(netif);
    return 0;
}

/* ---- addresses ---- */

static void begin_address(const struct netif *netif, uint16_t type, uint8_t family, uint8_t bits, uint8_t scope, uint32_t flags)
{
    struct ifaddrmsg head = { family, bits, (uint8_t)flags, scope, netif_get_index(netif) };
    netlink_begin(&writer, type, &head, sizeof head);
    netlink_put_u32(&writer, IFA_FLAGS, flags);
}

static void put_address_v4(const struct netif *netif, uint16_t type)
{
    const ip4_addr_t *address = netif_ip4_addr(netif);
    ip4_addr_t broadcast = interface_broadcast(netif);
    struct ifa_cacheinfo life = { .ifa_prefered = FOREVER, .ifa_valid = FOREVER };
    unsigned bits = route_bits_of_mask(ip4_addr_get_u32(netif_ip4_netmask(netif)));
    bool is_loopback = interface_of(netif) == NULL;
    char name[16];
    interface_name(netif, name);
    begin_address(netif, type, AF_INET, (uint8_t)bits, is_loopback ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE, IFA_F_PERMANENT);
    netlink_put(&writer, IFA_ADDRESS, address, 4);
    netlink_put(&writer, IFA_LOCAL, address, 4);
    if (!is_loopback && bits < 31)
        netlink_put(&writer, IFA_BROADCAST, &broadcast, 4);
    netlink_put_string(&writer, IFA_LABEL, name);
    netlink_put(&writer, IFA_CACHEINFO, &life, sizeof life);
    netlink_end(&writer);
}

static bool is_alone_v6(struct netif *netif, int number)
{
    return interface_of(netif) == NULL || netif_ip6_addr_valid_life(netif, number) == IP6_ADDR_LIFE_INFINITE;
}

static void put_address_v6(struct netif *netif, int number, uint16_t type)
{
    const ip6_addr_t *address = netif_ip6_addr(netif, number);
    uint8_t state = netif_ip6_addr_state(netif, number);
    uint32_t valid = netif_ip6_addr_valid_life(netif, number), preferred = netif_ip6_addr_pref_life(netif, number);
    bool is_forever = netif_ip6_addr_isstatic(netif, number) || valid == IP6_ADDR_LIFE_INFINITE;
    struct ifa_cacheinfo life = { .ifa_prefered = is_forever ? FOREVER : preferred, .ifa_valid = is_forever ? FOREVER : valid };
    uint8_t scope = ip6_addr_isloopback(address) ? RT_SCOPE_HOST : ip6_addr_islinklocal(address) ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    uint32_t flags = (is_forever ? IFA_F_PERMANENT : 0) | (!is_forever && state == IP6_ADDR_DEPRECATED ? IFA_F_DEPRECATED : 0);
    begin_address(netif, type, AF_INET6, is_alone_v6(netif, number) ? 128 : 64, scope, flags);
    netlink_put(&writer, IFA_ADDRESS, address->addr, 16);
    netlink_put(&writer, IFA_CACHEINFO, &life, sizeof life);
    netlink_end(&writer);
}

static bool is_wanted(uint8_t family, uint8_t what)
{
    return family == what || (family != AF_INET && family != AF_INET6); /* families that nobody has mean all, as in Linux */
}

static void list_addresses(uint8_t family)
{
    for (struct netif *netif = interface_next(NULL); netif != NULL; netif = interface_next(netif))
        if (is_wanted(family, AF_INET) && !ip4_addr_isany(netif_ip4_addr(netif)))
            put_address_v4(netif, RTM_NEWADDR);
    for (struct netif *netif = interface_next(NULL); netif != NULL; netif = interface_next(netif))
        for (int i = 0; is_wanted(family, AF_INET6) && i < LWIP_IPV6_NUM_ADDRESSES; i++)
            if (ip6_addr_isvalid(netif_ip6_addr_state(netif, i)))
                put_address_v6(netif, i, RTM_NEWADDR);
}

/* What a request about an address says. */
struct address_request {
    struct ifaddrmsg head;
    ip_addr_t address;
    struct netif *netif;
};

static int read_address(const struct netlink_request *request, struct address_request *it)
{
    static const uint8_t none[IFA_BROADCAST + 1];
    struct netlink_attribute found[IFA_BROADCAST + 1];
    int error = netlink_attributes(request, sizeof it->head, none, found, IFA_BROADCAST);
    if (error != 0)
        return error;
    memset(it, 0, sizeof *it);
    memcpy(&it->head, request->payload, sizeof it->head);
    bool is_v4 = it->head.ifa_family == AF_INET;
    const struct netlink_attribute *local = &found[IFA_LOCAL], *address = &found[IFA_ADDRESS];
    const struct netlink_attribute *own = local->data != NULL ? local : is_v4 ? NULL : address;
    if (!is_v4 && it->head.ifa_family != AF_INET6)
        return -EOPNOTSUPP;
    if ((local->data != NULL && local->size < (is_v4 ? 4 : 16)) || (address->data != NULL && address->size < (is_v4 ? 4 : 16)))
        return -ERANGE;
    if (it->head.ifa_prefixlen > (is_v4 ? 32 : 128) || own == NULL || own->data == NULL)
        return -EINVAL;
    IP_SET_TYPE_VAL(it->address, is_v4 ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6);
    if (is_v4)
        memcpy(ip_2_ip4(&it->address), own->data, 4);
    else
        memcpy(ip_2_ip6(&it->address)->addr, own->data, 16);
    it->netif = it->head.ifa_index > 255 ? NULL : netif_get_by_index((u8_t)it->head.ifa_index);
    return it->netif == NULL ? -ENODEV : 0;
}

/* lwIP has one address of IPv4 for an interface. */
static int add_v4(const struct address_request *it, unsigned flags)
{
    const ip4_addr_t *old = netif_ip4_addr(it->netif), *address = ip_2_ip4(&it->address);
    ip4_addr_t mask;
    ip4_addr_set_u32(&mask, route_mask_of_bits(it->head.ifa_prefixlen));
    if (ip4_addr_isany(address) || ip4_addr_ismulticast(address))
        return -EINVAL;
    bool is_there = ip4_addr_cmp(address, old) && ip4_addr_cmp(&mask, netif_ip4_netmask(it->netif));
    if (is_there && ((flags & NLM_F_EXCL) || !(flags & NLM_F_REPLACE)))
        return -EEXIST;
    if (!is_there && !ip4_addr_isany(old))
        return -EOPNOTSUPP;
    interface_set_v4(it->netif, address, &mask);
    rtnetlink_tell_address_v4(it->netif, true);
    return 0;
}

static int find_v6(const struct address_request *it)
{
    ip6_addr_t address = *ip_2_ip6(&it->address);
    ip6_addr_assign_zone(&address, IP6_UNICAST, it->netif);
    return netif_get_ip6_addr_match(it->netif, &address);
}

/* One of 128 bits has no neighbours by itself; those that live for ever, but are not static, are so for lwIP. */
static int add_v6(const struct address_request *it, unsigned flags)
{
    ip6_addr_t address = *ip_2_ip6(&it->address);
    s8_t number = (s8_t)find_v6(it);
    if (ip6_addr_isany(&address) || ip6_addr_ismulticast(&address) || (ip6_addr_isloopback(&address) && interface_of(it->netif) != NULL))
        return -EADDRNOTAVAIL;
    if (number >= 0)
        return (flags & NLM_F_EXCL) || !(flags & NLM_F_REPLACE) ? -EEXIST : 0;
    if (it->head.ifa_prefixlen != 64 && it->head.ifa_prefixlen != 128)
        return -EOPNOTSUPP;
    ip6_addr_assign_zone(&address, IP6_UNICAST, it->netif);
    if (netif_add_ip6_address(it->netif, &address, &number) != ERR_OK)
        return -ENOBUFS;
    uint32_t life = it->head.ifa_prefixlen == 128 ? IP6_ADDR_LIFE_INFINITE : IP6_ADDR_LIFE_STATIC;
    netif_ip6_addr_set_valid_life(it->netif, number, life);
    netif_ip6_addr_set_pref_life(it->netif, number, life);
    netif_ip6_addr_set_state(it->netif, number, IP6_ADDR_PREFERRED);
    rtnetlink_tell_address_v6(it->netif, number, true);
    return 0;
}

static int add_address(const struct netlink_request *request)
{
    struct address_request it;
    int error = read_address(request, &it);
    if (error != 0)
        return error;
    return it.head.ifa_family == AF_INET ? add_v4(&it, request->header.nlmsg_flags) : add_v6(&it, request->header.nlmsg_flags);
}

static int remove_address(const struct netlink_request *request)
{
    struct address_request it;
    int error = read_address(request, &it);
    if (error != 0)
        return error;
    if (it.head.ifa_family == AF_INET) {
        unsigned bits = route_bits_of_mask(ip4_addr_get_u32(netif_ip4_netmask(it.netif)));
        if (ip4_addr_isany_val(*ip_2_ip4(&it.address)) || !ip4_addr_cmp(ip_2_ip4(&it.address), netif_ip4_addr(it.netif)) ||
            (it.head.ifa_prefixlen != bits && it.head.ifa_prefixlen != 32))
            return -EADDRNOTAVAIL;
        rtnetlink_tell_address_v4(it.netif, false);
        interface_set_v4(it.netif, IP4_ADDR_ANY4, IP4_ADDR_ANY4);
        return 0;
    }
    int number = find_v6(&it);
    if (number < 0)
        return -EADDRNOTAVAIL;
    rtnetlink_tell_address_v6(it.netif, number, false);
    netif_ip6_addr_set_state(it.netif, (s8_t)number, IP6_ADDR_INVALID);
    return 0;
}

/* ---- routes ---- */

static uint8_t family_of(const ip_addr_t *address)
{
    return IP_IS_V6(address) ? AF_INET6 : AF_INET;
}

static void put_ip(uint16_t type, const ip_addr_t *address)
{
    netlink_put(&writer, type, IP_IS_V6(address) ? (const void *)ip_2_ip6(address)->addr : ip_2_ip4(address), IP_IS_V6(address) ? 16 : 4);
}

static void put_route(const struct route *route, uint16_t type)
{
    struct rtmsg head = { .rtm_family = family_of(&route->to), .rtm_dst_len = route->bits, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = route->protocol,
                          .rtm_scope = route->scope, .rtm_type = RTN_UNICAST };
    netlink_begin(&writer, type, &head, sizeof head);
    netlink_put_u32(&writer, RTA_TABLE, RT_TABLE_MAIN);
    if (route->bits > 0)
        put_ip(RTA_DST, &route->to);
    if (route->has_router)
        put_ip(RTA_GATEWAY, &route->router);
    if (route->metric > 0)
        netlink_put_u32(&writer, RTA_PRIORITY, route->metric);
    if (route->protocol == RTPROT_KERNEL && !IP_IS_V6_VAL(route->to))
        netlink_put(&writer, RTA_PREFSRC, netif_ip4_addr(route->netif), 4);
    netlink_put_u32(&writer, RTA_OIF, netif_get_index(route->netif));
    netlink_end(&writer);
}

static void list_routes(uint8_t family)
{
    static struct route list[ROUTE_LIST_MOST];
    unsigned count = route_list(list, ROUTE_LIST_MOST);
    for (unsigned i = 0; i < count; i++)
        if (is_wanted(family, family_of(&list[i].to)))
            put_route(&list[i], RTM_NEWROUTE);
}

static const uint8_t route_least[RTA_TABLE + 1] = { [RTA_DST] = 4, [RTA_SRC] = 4, [RTA_OIF] = 4, [RTA_GATEWAY] = 4, [RTA_PRIORITY] = 4,
                                                    [RTA_PREFSRC] = 4, [RTA_TABLE] = 4 };

/* An attribute that is an address of the request's family. Nothing is there: *to is not touched. */
static int read_ip(const struct netlink_attribute *attribute, uint8_t family, ip_addr_t *to)
{
    uint32_t size = family == AF_INET ? 4 : 16;
    if (attribute->data == NULL)
        return 0;
    if (attribute->size < size)
        return -ERANGE;
    memcpy(family == AF_INET ? (void *)ip_2_ip4(to) : ip_2_ip6(to)->addr, attribute->data, size);
    return 0;
}

static int read_route_head(const struct netlink_request *request, struct rtmsg *head, struct netlink_attribute *found, struct route *route)
{
    int error = netlink_attributes(request, sizeof *head, route_least, found, RTA_TABLE);
    if (error != 0)
        return error;
    memset(route, 0, sizeof *route);
    memcpy(head, request->payload, sizeof *head);
    if (head->rtm_family != AF_INET && head->rtm_family != AF_INET6)
        return -EOPNOTSUPP;
    if (head->rtm_dst_len > (head->rtm_family == AF_INET ? 32 : 128))
        return -EINVAL;
    uint8_t type = head->rtm_family == AF_INET ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6;
    IP_SET_TYPE_VAL(route->to, type);
    IP_SET_TYPE_VAL(route->router, type);
    error = read_ip(&found[RTA_DST], head->rtm_family, &route->to);
    return error != 0 ? error : read_ip(&found[RTA_GATEWAY], head->rtm_family, &route->router);
}

/* One table, and routes to somewhere: no others. */
static int read_route(const struct netlink_request *request, struct rtmsg *head, struct route *route)
{
    struct netlink_attribute found[RTA_TABLE + 1];
    int error = read_route_head(request, head, found, route);
    if (error != 0)
        return error;
    uint32_t table = found[RTA_TABLE].data != NULL ? netlink_u32(&found[RTA_TABLE]) : head->rtm_table, device = netlink_u32(&found[RTA_OIF]);
    bool is_any_type = head->rtm_type == RTN_UNSPEC && request->header.nlmsg_type == RTM_DELROUTE;
    if (head->rtm_type > RTN_MAX)
        return -EINVAL;
    if ((head->rtm_type != RTN_UNICAST && !is_any_type) || (table != RT_TABLE_MAIN && table != RT_TABLE_UNSPEC) || head->rtm_src_len != 0 ||
        found[RTA_MULTIPATH].data != NULL)
        return -EOPNOTSUPP;
    route->bits = head->rtm_dst_len;
    route->has_router = found[RTA_GATEWAY].data != NULL;
    route->metric = netlink_u32(&found[RTA_PRIORITY]);
    route->protocol = head->rtm_protocol;
    route->scope = head->rtm_family == AF_INET ? head->rtm_scope : RT_SCOPE_UNIVERSE;
    route->netif = device > 255 ? NULL : netif_get_by_index((u8_t)device);
    return device != 0 && route->netif == NULL ? -ENODEV : 0;
}

static int add_route(const struct netlink_request *request)
{
    struct rtmsg head;
    struct route route;
    unsigned flags = request->header.nlmsg_flags;
    int error = read_route(request, &head, &route);
    if (error != 0)
        return error;
    if (head.rtm_family == AF_INET6 && route.metric == 0)
        route.metric = 1024;
    error = route_add(&route, (struct route_mode){ .create = flags & NLM_F_CREATE, .exclusive = flags & NLM_F_EXCL, .replace = flags & NLM_F_REPLACE,
                                                   .append = flags & NLM_F_APPEND });
    if (error == 0)
        rtnetlink_tell_route(&route, true);
    return error;
}

static int remove_route(const struct netlink_request *request)
{
    struct rtmsg head;
    struct route route;
    int error = read_route(request, &head, &route);
    if (error == 0)
        error = route_remove(&route);
    if (error == 0)
        rtnetlink_tell_route(&route, false);
    return error;
}

/* Where would a packet go? */
static int get_route(const struct netlink_request *request)
{
    struct netlink_attribute found[RTA_TABLE + 1];
    struct rtmsg head;
    struct route route, way;
    int error = read_route_head(request, &head, found, &route);
    if (error != 0)
        return error;
    if (found[RTA_DST].data == NULL)
        return -EINVAL;
    bool is_v6 = head.rtm_family == AF_INET6;
    struct netif *netif = ip_route(is_v6 ? IP6_ADDR_ANY : IP4_ADDR_ANY, &route.to);
    if (netif == NULL)
        return -ENETUNREACH;
    const ip_addr_t *from = ip_netif_get_local_ip(netif, &route.to);
    bool has_router = route_lookup(&route.to, &way) && way.netif == netif && way.has_router;
    struct rtmsg answer = { .rtm_family = head.rtm_family, .rtm_dst_len = is_v6 ? 128 : 32, .rtm_table = RT_TABLE_MAIN, .rtm_type = RTN_UNICAST,
                            .rtm_flags = RTM_F_CLONED };
    netlink_begin(&writer, RTM_NEWROUTE, &answer, sizeof answer);
    netlink_put_u32(&writer, RTA_TABLE, RT_TABLE_MAIN);
    put_ip(RTA_DST, &route.to);
    if (has_router)
        put_ip(RTA_GATEWAY, &way.router);
    netlink_put_u32(&writer, RTA_OIF, netif_get_index(netif));
    if (from != NULL)
        put_ip(RTA_PREFSRC, from);
    netlink_end(&writer);
    return 0;
}

/* ---- neighbours ---- */

static void put_neighbour(const struct netif *netif, uint8_t family, uint16_t state, const void *address, const void *hardware)
{
    struct ndmsg head = { .ndm_family = family, .ndm_ifindex = netif_get_index(netif), .ndm_state = state, .ndm_type = RTN_UNICAST };
    netlink_begin(&writer, RTM_NEWNEIGH, &head, sizeof head);
    netlink_put(&writer, NDA_DST, address, family == AF_INET ? 4 : 16);
    if (hardware != NULL)
        netlink_put(&writer, NDA_LLADDR, hardware, 6);
    netlink_end(&writer);
}

static void list_neighbours(uint8_t family)
{
    static const uint16_t states[] = { [ND6_INCOMPLETE] = NUD_INCOMPLETE, [ND6_REACHABLE] = NUD_REACHABLE, [ND6_STALE] = NUD_STALE, [ND6_DELAY] = NUD_DELAY,
                                       [ND6_PROBE] = NUD_PROBE };
    for (size_t i = 0; is_wanted(family, AF_INET) && i < ARP_TABLE_SIZE; i++) {
        ip4_addr_t *address;
        struct netif *netif;
        struct eth_addr *hardware;
        if (etharp_get_entry(i, &address, &netif, &hardware))
            put_neighbour(netif, AF_INET, NUD_REACHABLE, address, hardware->addr);
    }
    for (size_t i = 0; is_wanted(family, AF_INET6) && i < LWIP_ND6_NUM_NEIGHBORS; i++) {
        const struct nd6_neighbor_cache_entry *entry = &neighbor_cache[i];
        if (entry->state != ND6_NO_ENTRY && entry->netif != NULL)
            put_neighbour(entry->netif, AF_INET6, states[entry->state], entry->next_hop_address.addr,
                          entry->state == ND6_INCOMPLETE ? NULL : entry->lladdr);
    }
}

/* ---- requests ---- */

static int dump(const struct netlink_request *request, uint8_t family)
{
    int32_t status = 0;
    netlink_answer(&writer, request, NLM_F_MULTI);
    switch (request->header.nlmsg_type) {
    case RTM_GETLINK: list_links(); break;
    case RTM_GETADDR: list_addresses(family); break;
    case RTM_GETROUTE: list_routes(family); break;
    case RTM_GETNEIGH: list_neighbours(family); break;
    default: return -EOPNOTSUPP;
    }
    netlink_begin(&writer, NLMSG_DONE, &status, sizeof status);
    netlink_end(&writer);
    netlink_flush(&writer);
    return 0;
}

static int get_one(const struct netlink_request *request)
{
    int error;
    netlink_answer(&writer, request, 0);
    switch (request->header.nlmsg_type) {
    case RTM_GETLINK: error = get_link(request); break;
    case RTM_GETROUTE: error = get_route(request); break;
    default: error = -EOPNOTSUPP; break;
    }
    if (error == 0)
        netlink_flush(&writer);
    return error;
}

static int change(const struct netlink_request *request)
{
    switch (request->header.nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_SETLINK: return set_link(request);
    case RTM_NEWADDR: return add_address(request);
    case RTM_DELADDR: return remove_address(request);
    case RTM_NEWROUTE: return add_route(request);
    case RTM_DELROUTE: return remove_route(request);
    default: return -EOPNOTSUPP;
    }
}

int rtnetlink_request(const struct netlink_request *request, bool *is_answered)
{
    unsigned type = request->header.nlmsg_type;
    bool gets = (type - RTM_BASE) % 4 == 2;
    if (type > RTM_MAX)
        return -EOPNOTSUPP;
    if (request->size < sizeof(struct rtgenmsg))
        return 0;
    if (!gets)
        return request->privileged ? change(request) : -EPERM;
    if (!(request->header.nlmsg_flags & NLM_F_DUMP))
        return get_one(request);
    int error = dump(request, request->payload[0]);
    *is_answered = error == 0;
    return error;
}

/* ---- telling those who listen ---- */

void rtnetlink_tell_link(struct netif *netif)
{
    netlink_publish(&writer, RTNLGRP_LINK);
    put_link(netif, RTM_NEWLINK);
    netlink_flush(&writer);
}

void rtnetlink_tell_address_v4(struct netif *netif, bool is_there)
{
    if (ip4_addr_isany(netif_ip4_addr(netif)))
        return;
    netlink_publish(&writer, RTNLGRP_IPV4_IFADDR);
    put_address_v4(netif, is_there ? RTM_NEWADDR : RTM_DELADDR);
    netlink_flush(&writer);
}

void rtnetlink_tell_address_v6(struct netif *netif, int number, bool is_there)
{
    netlink_publish(&writer, RTNLGRP_IPV6_IFADDR);
    put_address_v6(netif, number, is_there ? RTM_NEWADDR : RTM_DELADDR);
    netlink_flush(&writer);
}

void rtnetlink_tell_route(const struct route *route, bool is_there)
{
    netlink_publish(&writer, IP_IS_V6_VAL(route->to) ? RTNLGRP_IPV6_ROUTE : RTNLGRP_IPV4_ROUTE);
    put_route(route, is_there ? RTM_NEWROUTE : RTM_DELROUTE);
    netlink_flush(&writer);
}
