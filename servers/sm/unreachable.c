/* What ICMP says of packets that did not arrive. lwIP does not listen to it; a connected socket of UDP is to hear of it: its peer has no such
 * port. Only what names a socket's own two ports and addresses is believed. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <string.h>

#include <lwip/prot/ip6.h>
#include <lwip/udp.h>

#include "socket.h"

enum { V4_UNREACHABLE = 3, V4_NO_PORT = 3, V6_UNREACHABLE = 1, V6_NO_PORT = 4 };

/* The ports of a datagram of ours to <to> that came back. */
static void report(const ip_addr_t *to, const uint8_t ports[4])
{
    uint16_t from_port = (uint16_t)(ports[0] << 8 | ports[1]), to_port = (uint16_t)(ports[2] << 8 | ports[3]);
    for (struct sock *sock = socks; sock != NULL; sock = sock->all_next) {
        if (sock->kind != &udp_kind || !(sock->udp->flags & UDP_FLAGS_CONNECTED) || sock->udp->local_port != from_port ||
            sock->udp->remote_port != to_port || !ip_addr_cmp_zoneless(&sock->udp->remote_ip, to))
            continue;
        sock->error = ECONNREFUSED;
        sock_happened(sock);
    }
}

int unreachable_look_v4(struct pbuf *packet, struct netif *netif)
{
    struct iphdr outer, inner;
    uint8_t kind[2], ports[4];
    ip_addr_t to;
    (void)netif;
    if (pbuf_copy_partial(packet, &outer, sizeof outer, 0) != sizeof outer || outer.version != 4 || outer.protocol != IPPROTO_ICMP ||
        (outer.frag_off & htons(0x1fff)) != 0)
        return 0;
    uint16_t at = (uint16_t)(outer.ihl * 4);
    if (pbuf_copy_partial(packet, kind, sizeof kind, at) != sizeof kind || kind[0] != V4_UNREACHABLE || kind[1] != V4_NO_PORT)
        return 0;
    at = (uint16_t)(at + 8);
    if (pbuf_copy_partial(packet, &inner, sizeof inner, at) != sizeof inner || inner.protocol != IPPROTO_UDP ||
        pbuf_copy_partial(packet, ports, sizeof ports, (uint16_t)(at + inner.ihl * 4)) != sizeof ports)
        return 0;
    memset(&to, 0, sizeof to);
    ip4_addr_set_u32(ip_2_ip4(&to), inner.daddr);
    report(&to, ports);
    return 0;
}

int unreachable_look_v6(struct pbuf *packet, struct netif *netif)
{
    struct ip6_hdr outer, inner;
    uint8_t kind[2], ports[4];
    ip_addr_t to;
    (void)netif;
    if (pbuf_copy_partial(packet, &outer, sizeof outer, 0) != sizeof outer || IP6H_NEXTH(&outer) != IPPROTO_ICMPV6 ||
        pbuf_copy_partial(packet, kind, sizeof kind, sizeof outer) != sizeof kind || kind[0] != V6_UNREACHABLE || kind[1] != V6_NO_PORT)
        return 0;
    uint16_t at = sizeof outer + 8;
    if (pbuf_copy_partial(packet, &inner, sizeof inner, at) != sizeof inner || IP6H_NEXTH(&inner) != IPPROTO_UDP ||
        pbuf_copy_partial(packet, ports, sizeof ports, (uint16_t)(at + sizeof inner)) != sizeof ports)
        return 0;
    memset(&to, 0, sizeof to);
    IP_SET_TYPE(&to, IPADDR_TYPE_V6);
    memcpy(ip_2_ip6(&to)->addr, &inner.dest, sizeof ip_2_ip6(&to)->addr);
    report(&to, ports);
    return 0;
}
