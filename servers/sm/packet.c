/* Packet sockets: frames of Ethernet as they are on the wire (SOCK_RAW), or without their header (SOCK_DGRAM). Filters (SO_ATTACH_FILTER) are taken, and not
 * followed: who sets one checks what it receives all the same.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>

#include "interface.h"
#include "socket.h"

#define HEADER 14u

static const uint8_t to_all[6] = { 255, 255, 255, 255, 255, 255 };

static int open_packet(struct sock *sock)
{
    (void)sock;
    return 0;
}

static void close_packet(struct sock *sock)
{
    sock_free(sock);
}

static int address_of(const struct sm_call *call, struct sockaddr_ll *to)
{
    memset(to, 0, sizeof *to);
    if (call->request->address_size < offsetof(struct sockaddr_ll, sll_addr))
        return -EINVAL;
    memcpy(to, call->request->address, call->request->address_size < sizeof *to ? call->request->address_size : sizeof *to);
    return to->sll_family == AF_PACKET ? 0 : -EINVAL;
}

static int bind_packet(struct sock *sock, struct sm_call *call)
{
    struct sockaddr_ll to;
    int error = address_of(call, &to);
    if (error == 0 && to.sll_ifindex != 0 && netif_get_by_index((u8_t)to.sll_ifindex) == NULL)
        error = -ENODEV;
    if (error != 0)
        return error;
    sock->device = (uint32_t)to.sll_ifindex;
    if (to.sll_protocol != 0)
        sock->protocol = to.sll_protocol;
    return 0;
}

static int name_packet(struct sock *sock, struct sm_call *call)
{
    struct sockaddr_ll name = { .sll_family = AF_PACKET, .sll_protocol = (uint16_t)sock->protocol, .sll_ifindex = (int)sock->device };
    struct netif *netif = netif_get_by_index((u8_t)sock->device);
    if (call->request->flags & SOCKET_OF_PEER)
        return -EOPNOTSUPP;
    if (netif != NULL) {
        name.sll_halen = 6;
        memcpy(name.sll_addr, netif->hwaddr, 6);
    }
    memcpy(call->reply->address, &name, sizeof name);
    call->reply->address_size = sizeof name;
    return 0;
}

static struct interface *ethernet(unsigned index)
{
    struct netif *netif = netif_get_by_index((u8_t)index);
    return netif == NULL ? NULL : interface_of(netif);
}

static int send_packet(struct sock *sock, struct sm_call *call)
{
    struct sockaddr_ll to = { .sll_ifindex = (int)sock->device, .sll_protocol = (uint16_t)sock->protocol };
    int error = call->request->address_size != 0 ? address_of(call, &to) : 0;
    struct interface *interface = error == 0 ? ethernet((unsigned)to.sll_ifindex) : NULL;
    size_t header = sock->type == SOCK_RAW ? 0 : HEADER;
    if (error != 0)
        return error;
    if (interface == NULL)
        return -ENXIO;
    if (!netif_is_up(&interface->netif))
        return -ENETDOWN;
    if (call->size + header < HEADER)
        return -EINVAL;
    if (call->size + header > interface->netif.mtu + HEADER)
        return -EMSGSIZE;
    uint8_t *frame = interface_room(interface, call->size + header);
    if (frame == NULL)
        return -ENOBUFS;
    if (header > 0) {
        memcpy(frame, to.sll_halen == 6 ? to.sll_addr : to_all, 6);
        memcpy(frame + 6, interface->netif.hwaddr, 6);
        memcpy(frame + 12, &to.sll_protocol, 2);
    }
    memcpy(frame + header, call->body, call->size);
    call->reply->length = call->size;
    return 0;
}

static int receive_packet(struct sock *sock, struct sm_call *call)
{
    return sock_receive_linked(sock, call, sizeof(struct sockaddr_ll));
}

static void give(struct sock *sock, struct interface *interface, const uint8_t *frame, size_t length)
{
    size_t header = sock->type == SOCK_RAW ? 0 : HEADER;
    struct sockaddr_ll from = { .sll_family = AF_PACKET, .sll_ifindex = netif_get_index(&interface->netif), .sll_hatype = 1, .sll_halen = 6 };
    if (sock->queued + length > sock->receive_buffer)
        return;
    struct pbuf *data = pbuf_alloc(PBUF_RAW, (u16_t)(length - header), PBUF_RAM);
    struct received *received = data == NULL ? NULL : sock_put(sock, data, NULL, 0);
    if (received == NULL) {
        if (data != NULL)
            pbuf_free(data);
        return;
    }
    memcpy(data->payload, frame + header, length - header);
    memcpy(&from.sll_protocol, frame + 12, 2);
    memcpy(from.sll_addr, frame + 6, 6);
    bool is_own = memcmp(frame, interface->netif.hwaddr, 6) == 0;
    from.sll_pkttype = is_own ? PACKET_HOST : memcmp(frame, to_all, 6) == 0 ? PACKET_BROADCAST : frame[0] & 1 ? PACKET_MULTICAST : PACKET_OTHERHOST;
    memcpy(received->link, &from, sizeof from);
}

void packet_arrived(struct interface *interface, const uint8_t *frame, size_t length)
{
    uint16_t protocol;
    memcpy(&protocol, frame + 12, sizeof protocol);
    for (struct sock *sock = socks; sock != NULL; sock = sock->all_next)
        if (sock->kind == &packet_kind && (sock->protocol == protocol || sock->protocol == htons(ETH_P_ALL)) &&
            (sock->device == 0 || sock->device == netif_get_index(&interface->netif)))
            give(sock, interface, frame, length);
}

static int shutdown_packet(struct sock *sock, int how)
{
    (void)sock, (void)how;
    return -EOPNOTSUPP;
}

static unsigned events_packet(struct sock *sock)
{
    return POLLOUT | POLLWRNORM | (sock->first != NULL ? POLLIN | POLLRDNORM : 0);
}

static int set_packet(struct sock *sock, int level, int option, int number)
{
    (void)sock, (void)number;
    return level == SOL_PACKET || (level == SOL_SOCKET && (option == SO_ATTACH_FILTER || option == SO_DETACH_FILTER)) ? 0 : -ENOPROTOOPT;
}

static void no_ip_options(struct sock *sock)
{
    (void)sock;
}

const struct sock_kind packet_kind = {
    .open = open_packet, .close = close_packet, .bind_link = bind_packet, .name_link = name_packet, .send = send_packet,
    .receive = receive_packet, .shutdown = shutdown_packet, .events = events_packet, .set_option = set_packet, .ip_options = no_ip_options,
};
