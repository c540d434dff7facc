/* Sockets of UDP. */

#include <errno.h>
#include <string.h>

#include <lwip/udp.h>

#include "socket.h"
#include "stack.h"

#define DATAGRAM_MOST 65507u

static void on_received(void *argument, struct udp_pcb *pcb, struct pbuf *data, const ip_addr_t *from, u16_t port)
{
    (void)pcb;
    sock_put_datagram(argument, data, from, port);
}

static void pass_options(struct sock *sock)
{
    struct udp_pcb *pcb = sock->udp;
    pcb->ttl = (u8_t)sock->ttl;
    pcb->tos = (u8_t)sock->traffic_class;
    pcb->so_options = (u8_t)((sock->reuse_address ? SOF_REUSEADDR : 0) | (sock->broadcast ? SOF_BROADCAST : 0));
    pcb->netif_idx = (u8_t)sock->device;
    pcb->mcast_ttl = (u8_t)sock->multicast_ttl;
    pcb->mcast_ifindex = (u8_t)sock->multicast_device;
    if (pcb->local_port == 0)
        IP_SET_TYPE(&pcb->local_ip, address_type(sock));
}

static int open_udp(struct sock *sock)
{
    sock->udp = udp_new_ip_type(address_type(sock));
    if (sock->udp == NULL)
        return -ENOBUFS;
    udp_recv(sock->udp, on_received, sock);
    pass_options(sock);
    return 0;
}

static void close_udp(struct sock *sock)
{
    udp_remove(sock->udp);
    sock_free(sock);
}

static int bind_udp(struct sock *sock, const ip_addr_t *address, uint16_t port)
{
    return sock->udp->local_port != 0 ? -EINVAL : stack_error(udp_bind(sock->udp, address, port));
}

static int connect_udp(struct sock *sock, const ip_addr_t *address, uint16_t port)
{
    struct netif *netif = ip_route(&sock->udp->local_ip, address);
    if (netif == NULL)
        return -ENETUNREACH;
    if (ip_addr_isbroadcast(address, netif) && !sock->broadcast)
        return -EACCES;
    int error = stack_error(udp_connect(sock->udp, address, port));
    sock_happened(sock);
    return error;
}

static int disconnect_udp(struct sock *sock)
{
    udp_disconnect(sock->udp);
    return 0;
}

static int send_to(struct sock *sock, struct pbuf *data, const ip_addr_t *address, uint16_t port)
{
    udp_clear_flags(sock->udp, UDP_FLAGS_MULTICAST_LOOP);
    udp_set_flags(sock->udp, multicast_loops(sock, address) ? UDP_FLAGS_MULTICAST_LOOP : 0);
    err_t error = udp_sendto(sock->udp, data, address, port);
    if (error == ERR_VAL && !sock->broadcast && !IP_IS_V6(address))
        return -EACCES; /* a broadcast */
    return error == ERR_VAL ? -ENETUNREACH : stack_error(error);
}

static int send_udp(struct sock *sock, struct sm_call *call)
{
    const struct socket_request *request = call->request;
    bool connected = sock->udp->flags & UDP_FLAGS_CONNECTED;
    ip_addr_t address = sock->udp->remote_ip;
    uint16_t port = sock->udp->remote_port;
    if (sock->error != 0)
        return sock_take_error(sock);
    if (sock->shut_write)
        return -EPIPE;
    if (request->address_size == 0 && !connected)
        return -EDESTADDRREQ;
    int error = request->address_size == 0 ? 0 : address_in(sock, request->address, request->address_size, &address, &port);
    if (error != 0)
        return error;
    if (port == 0)
        return -EINVAL;
    if (call->size > DATAGRAM_MOST)
        return -EMSGSIZE;
    address_to_here(&address);
    struct pbuf *data = pbuf_alloc(PBUF_TRANSPORT, (u16_t)call->size, PBUF_RAM);
    if (data == NULL)
        return -ENOBUFS;
    pbuf_take(data, call->body, (u16_t)call->size);
    error = send_to(sock, data, &address, port);
    pbuf_free(data);
    call->reply->length = call->size;
    return error;
}

static int shutdown_udp(struct sock *sock, int how)
{
    if (!(sock->udp->flags & UDP_FLAGS_CONNECTED))
        return -ENOTCONN;
    sock->shut_read |= how != SHUT_WR;
    sock->shut_write |= how != SHUT_RD;
    sock_happened(sock);
    return 0;
}

static int name_udp(struct sock *sock, bool of_peer, ip_addr_t *address, uint16_t *port)
{
    const struct udp_pcb *pcb = sock->udp;
    bool connected = pcb->flags & UDP_FLAGS_CONNECTED;
    if (of_peer && !connected)
        return -ENOTCONN;
    *address = of_peer ? pcb->remote_ip : pcb->local_ip;
    *port = of_peer ? pcb->remote_port : pcb->local_port;
    if (of_peer || !connected || !address_is_any(address))
        return 0;
    /* Where it is connected to says which address it sends from. */
    struct netif *netif = ip_route(&pcb->local_ip, &pcb->remote_ip);
    const ip_addr_t *from = netif == NULL ? NULL : ip_netif_get_local_ip(netif, &pcb->remote_ip);
    if (from != NULL)
        *address = *from;
    return 0;
}

static unsigned events_udp(struct sock *sock)
{
    unsigned events = POLLOUT | POLLWRNORM;
    events |= sock->first != NULL || sock->shut_read ? POLLIN | POLLRDNORM : 0;
    events |= sock->shut_read ? POLLRDHUP : 0;
    events |= sock->error != 0 ? POLLERR : 0;
    return events | (sock->shut_read && sock->shut_write ? POLLHUP : 0);
}

const struct sock_kind udp_kind = {
    .open = open_udp, .close = close_udp, .bind = bind_udp, .connect = connect_udp, .disconnect = disconnect_udp, .send = send_udp,
    .receive = sock_receive_datagram, .shutdown = shutdown_udp, .name = name_udp, .events = events_udp, .ip_options = pass_options,
};
