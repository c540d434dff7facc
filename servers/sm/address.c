/* Addresses: those of Linux, and lwIP's. A socket of AF_INET6 reaches IPv4 as ::ffff:a.b.c.d, unless IPV6_V6ONLY. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "socket.h"
#include "stack.h"

uint8_t address_type(const struct sock *sock)
{
    if (sock->family == AF_INET)
        return IPADDR_TYPE_V4;
    return sock->only_v6 ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY;
}

static void v4_in(uint32_t network_order, ip_addr_t *to)
{
    IP_SET_TYPE(to, IPADDR_TYPE_V4);
    ip4_addr_set_u32(ip_2_ip4(to), network_order);
}

static int v6_in(const struct sock *sock, const struct sockaddr_in6 *from, ip_addr_t *to)
{
    uint32_t words[4];
    memcpy(words, &from->sin6_addr, sizeof words);
    if (IN6_IS_ADDR_V4MAPPED(&from->sin6_addr)) {
        if (sock->only_v6)
            return -ENETUNREACH;
        v4_in(words[3], to);
        return 0;
    }
    IP_SET_TYPE(to, IPADDR_TYPE_V6);
    IP6_ADDR(ip_2_ip6(to), words[0], words[1], words[2], words[3]);
    ip6_addr_clear_zone(ip_2_ip6(to));
    struct netif *netif = netif_get_by_index((u8_t)(from->sin6_scope_id != 0 ? from->sin6_scope_id : sock->device));
    if (ip6_addr_has_scope(ip_2_ip6(to), IP6_UNICAST) || ip6_addr_ismulticast(ip_2_ip6(to))) {
        if (netif != NULL)
            ip6_addr_assign_zone(ip_2_ip6(to), IP6_UNKNOWN, netif);
        else
            ip6_addr_select_zone(ip_2_ip6(to), IP6_ADDR_ANY6);
    }
    return 0;
}

int address_in(const struct sock *sock, const uint8_t *bytes, uint32_t size, ip_addr_t *ret_address, uint16_t *ret_port)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6 = { 0 };
    sa_family_t family;
    if (size < sizeof family)
        return -EINVAL;
    memcpy(&family, bytes, sizeof family);
    memset(ret_address, 0, sizeof *ret_address);
    if (sock->family == AF_INET6 && family == AF_INET6) {
        if (size < 24) /* without the scope, as it once was */
            return -EINVAL;
        memcpy(&v6, bytes, size < sizeof v6 ? size : sizeof v6);
        *ret_port = ntohs(v6.sin6_port);
        return v6_in(sock, &v6, ret_address);
    }
    if (family != AF_INET || sock->only_v6)
        return -EAFNOSUPPORT;
    if (size < sizeof v4)
        return -EINVAL;
    memcpy(&v4, bytes, sizeof v4);
    *ret_port = ntohs(v4.sin_port);
    v4_in(v4.sin_addr.s_addr, ret_address);
    return 0;
}

void address_out(const struct sock *sock, const ip_addr_t *address, uint16_t port, uint8_t *bytes, uint32_t *ret_size)
{
    if (sock->family == AF_INET) {
        struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
        v4.sin_addr.s_addr = IP_IS_V6_VAL(*address) ? 0 : ip4_addr_get_u32(ip_2_ip4(address));
        memcpy(bytes, &v4, sizeof v4);
        *ret_size = sizeof v4;
        return;
    }
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    uint32_t words[4] = { 0 };
    if (IP_IS_V6_VAL(*address)) {
        memcpy(words, ip_2_ip6(address)->addr, sizeof words);
        v6.sin6_scope_id = ip6_addr_zone(ip_2_ip6(address));
    } else if (!address_is_any(address)) {
        words[2] = htonl(0xffff);
        words[3] = ip4_addr_get_u32(ip_2_ip4(address));
    }
    memcpy(&v6.sin6_addr, words, sizeof words);
    memcpy(bytes, &v6, sizeof v6);
    *ret_size = sizeof v6;
}

bool address_is_any(const ip_addr_t *address)
{
    return IP_IS_ANY_TYPE_VAL(*address) || ip_addr_isany_val(*address);
}

bool address_is_own(const ip_addr_t *address)
{
    struct netif *netif;
    if (address_is_any(address))
        return true;
    if (!IP_IS_V6_VAL(*address) && ip4_addr_isloopback(ip_2_ip4(address)))
        return true;
    NETIF_FOREACH(netif) {
        if (!IP_IS_V6_VAL(*address) && ip4_addr_cmp(ip_2_ip4(address), netif_ip4_addr(netif)))
            return true;
        if (IP_IS_V6_VAL(*address) && netif_get_ip6_addr_match(netif, ip_2_ip6(address)) >= 0)
            return true;
    }
    return IP_IS_V6_VAL(*address) ? ip6_addr_ismulticast(ip_2_ip6(address))
                                  : ip4_addr_ismulticast(ip_2_ip4(address)) || ip4_addr_get_u32(ip_2_ip4(address)) == 0xffffffff;
}

void address_to_here(ip_addr_t *address)
{
    if (!address_is_any(address))
        return;
    if (IP_IS_V6_VAL(*address))
        ip6_addr_set_loopback(ip_2_ip6(address));
    else
        ip4_addr_set_loopback(ip_2_ip4(address));
}
