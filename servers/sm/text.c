/* The files of /proc/net, as Linux prints them. */

#include <errno.h>
#include <linux/route.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lwip/etharp.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/raw.h>
#include <lwip/udp.h>

#include "interface.h"
#include "route.h"
#include "socket.h"

/* ---- interfaces and routes ---- */

static void print_dev(FILE *out)
{
    fputs("Inter-|   Receive                                                |  Transmit\n"
          " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n", out);
    for (struct netif *netif = interface_next(NULL); netif != NULL; netif = interface_next(netif)) {
        const struct interface_counters *of = interface_counters(netif);
        char name[16];
        interface_name(netif, name);
        fprintf(out, "%6s: %7llu %7llu    0    0    0     0          0         0 %8llu %7llu    0 %4llu    0     0       0          0\n", name,
                (unsigned long long)of->received_bytes, (unsigned long long)of->received, (unsigned long long)of->sent_bytes,
                (unsigned long long)of->sent, (unsigned long long)of->dropped);
    }
}

static void print_route(FILE *out)
{
    static struct route list[ROUTE_LIST_MOST];
    unsigned count = route_list(list, ROUTE_LIST_MOST);
    fputs("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n", out);
    for (unsigned i = 0; i < count; i++) {
        const struct route *route = &list[i];
        char name[16];
        if (IP_IS_V6_VAL(route->to))
            continue;
        interface_name(route->netif, name);
        fprintf(out, "%s\t%08X\t%08X\t%04X\t0\t0\t%u\t%08X\t0\t0\t0\n", name, ip4_addr_get_u32(ip_2_ip4(&route->to)),
                route->has_router ? ip4_addr_get_u32(ip_2_ip4(&route->router)) : 0, RTF_UP | (route->has_router ? RTF_GATEWAY : 0), route->metric,
                route_mask_of_bits(route->bits));
    }
}

static void print_v6_address(FILE *out, const ip6_addr_t *address)
{
    for (int i = 0; i < 4; i++)
        fprintf(out, "%08x", ntohl(address->addr[i]));
}

static void print_if_inet6(FILE *out)
{
    for (struct netif *netif = interface_next(NULL); netif != NULL; netif = interface_next(netif))
        for (int i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
            const ip6_addr_t *address = netif_ip6_addr(netif, i);
            char name[16];
            if (!ip6_addr_isvalid(netif_ip6_addr_state(netif, i)))
                continue;
            bool is_loopback = ip6_addr_isloopback(address);
            interface_name(netif, name);
            print_v6_address(out, address);
            fprintf(out, " %02x %02x %02x %02x %8s\n", netif_get_index(netif), is_loopback ? 128 : 64,
                    is_loopback ? 0x10 : ip6_addr_islinklocal(address) ? 0x20 : 0, 0x80, name);
        }
}

static void print_ipv6_route(FILE *out)
{
    static const ip6_addr_t none;
    static struct route list[ROUTE_LIST_MOST];
    unsigned count = route_list(list, ROUTE_LIST_MOST);
    for (unsigned i = 0; i < count; i++) {
        const struct route *route = &list[i];
        char name[16];
        if (!IP_IS_V6_VAL(route->to))
            continue;
        interface_name(route->netif, name);
        print_v6_address(out, ip_2_ip6(&route->to));
        fprintf(out, " %02x ", route->bits);
        print_v6_address(out, &none);
        fputs(" 00 ", out);
        print_v6_address(out, route->has_router ? ip_2_ip6(&route->router) : &none);
        fprintf(out, " %08x 00000000 00000000 %08x %8s\n", route->metric, RTF_UP | (route->has_router ? RTF_GATEWAY : 0), name);
    }
}

static void print_arp(FILE *out)
{
    fputs("IP address       HW type     Flags       HW address            Mask     Device\n", out);
    for (size_t i = 0; i < ARP_TABLE_SIZE; i++) {
        ip4_addr_t *address;
        struct netif *netif;
        struct eth_addr *hardware;
        char name[16], text[16];
        if (!etharp_get_entry(i, &address, &netif, &hardware))
            continue;
        interface_name(netif, name);
        ip4addr_ntoa_r(address, text, sizeof text);
        fprintf(out, "%-16s 0x1         0x2         %02x:%02x:%02x:%02x:%02x:%02x     *        %s\n", text, hardware->addr[0],
                hardware->addr[1], hardware->addr[2], hardware->addr[3], hardware->addr[4], hardware->addr[5], name);
    }
}

static void print_pnp(FILE *out)
{
    for (unsigned i = 0; i < INTERFACES_MOST; i++) {
        const uint8_t *server = interfaces[i] != NULL ? interfaces[i]->name_server : NULL;
        if (server != NULL && (server[0] | server[1] | server[2] | server[3]) != 0)
            fprintf(out, "nameserver %u.%u.%u.%u\n", server[0], server[1], server[2], server[3]);
    }
}

/* ---- sockets ---- */

static void print_address(FILE *out, int family, const ip_addr_t *address, uint16_t port)
{
    if (family == AF_INET) {
        fprintf(out, "%08X:%04X", IP_IS_V6_VAL(*address) ? 0 : ip4_addr_get_u32(ip_2_ip4(address)), port);
        return;
    }
    uint32_t words[4] = { 0 };
    if (IP_IS_V6_VAL(*address))
        memcpy(words, ip_2_ip6(address)->addr, sizeof words);
    else if (!address_is_any(address))
        words[2] = htonl(0xffff), words[3] = ip4_addr_get_u32(ip_2_ip4(address));
    fprintf(out, "%08X%08X%08X%08X:%04X", words[0], words[1], words[2], words[3], port);
}

static void print_line(FILE *out, unsigned *number, int family, const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote,
                       uint16_t remote_port, unsigned state, size_t sending, size_t received)
{
    fprintf(out, "%4u: ", (*number)++);
    print_address(out, family, local, local_port);
    fputc(' ', out);
    print_address(out, family, remote, remote_port);
    fprintf(out, " %02X %08zX:%08zX 00:00000000 00000000     0        0 0 1 0000000000000000 100 0 0 10 0\n", state, sending, received);
}

static bool is_family(int family, const ip_addr_t *address)
{
    return (family == AF_INET) == IP_IS_V4_VAL(*address);
}

static void print_tcp(FILE *out, int family)
{
    static const ip_addr_t none;
    unsigned number = 0;
    fputs(family == AF_INET ? "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
                            : "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when "
                              "retrnsmt   uid  timeout inode\n", out);
    for (const struct tcp_pcb_listen *pcb = tcp_listen_pcbs.listen_pcbs; pcb != NULL; pcb = pcb->next)
        if (is_family(family, &pcb->local_ip))
            print_line(out, &number, family, &pcb->local_ip, pcb->local_port, &none, 0, 10, 0, 0);
    struct tcp_pcb *lists[] = { tcp_active_pcbs, tcp_tw_pcbs };
    for (size_t i = 0; i < 2; i++)
        for (const struct tcp_pcb *pcb = lists[i]; pcb != NULL; pcb = pcb->next)
            if (is_family(family, &pcb->local_ip))
                print_line(out, &number, family, &pcb->local_ip, pcb->local_port, &pcb->remote_ip, pcb->remote_port, tcp_linux_state(pcb->state),
                           pcb->state == TIME_WAIT ? 0 : TCP_SND_BUF - pcb->snd_buf, 0);
}

static void print_others(FILE *out, const struct sock_kind *kind, int family)
{
    unsigned number = 0;
    fputs("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n", out);
    for (struct sock *sock = socks; sock != NULL; sock = sock->all_next) {
        ip_addr_t local, remote;
        uint16_t local_port, remote_port = 0;
        memset(&remote, 0, sizeof remote);
        if (sock->kind != kind || sock->family != family || kind->name(sock, false, &local, &local_port) != 0)
            continue;
        bool connected = kind->name(sock, true, &remote, &remote_port) == 0;
        if (local_port != 0)
            print_line(out, &number, family, &local, local_port, &remote, remote_port, connected ? 1 : 7, 0, sock->queued);
    }
}

int text_print(struct sm_call *call)
{
    char *text = NULL;
    size_t size = 0, from = call->request->length;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return -ENOMEM;
    switch (call->request->option) {
    case SOCKET_TEXT_DEV: print_dev(out); break;
    case SOCKET_TEXT_ROUTE: print_route(out); break;
    case SOCKET_TEXT_TCP: print_tcp(out, AF_INET); break;
    case SOCKET_TEXT_TCP6: print_tcp(out, AF_INET6); break;
    case SOCKET_TEXT_UDP: print_others(out, &udp_kind, AF_INET); break;
    case SOCKET_TEXT_UDP6: print_others(out, &udp_kind, AF_INET6); break;
    case SOCKET_TEXT_RAW: print_others(out, &raw_kind, AF_INET); break;
    case SOCKET_TEXT_RAW6: print_others(out, &raw_kind, AF_INET6); break;
    case SOCKET_TEXT_ARP: print_arp(out); break;
    case SOCKET_TEXT_IF_INET6: print_if_inet6(out); break;
    case SOCKET_TEXT_IPV6_ROUTE: print_ipv6_route(out); break;
    case SOCKET_TEXT_PNP: print_pnp(out); break;
    default: fclose(out); free(text); return -EINVAL;
    }
    if (fclose(out) != 0) {
        free(text);
        return -ENOMEM;
    }
    size = size > from ? size - from : 0;
    size = size < SOCKET_BODY_MAX ? size : SOCKET_BODY_MAX;
    memcpy(call->body, text + (size > 0 ? from : 0), size);
    free(text);
    call->reply->length = call->answer_size = (uint32_t)size;
    return 0;
}
