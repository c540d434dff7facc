/* Raw sockets, and ping sockets: those send echo requests and receive the answers to them, and nothing else. */

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <lwip/icmp.h>
#include <lwip/inet_chksum.h>
#include <lwip/raw.h>

#include "socket.h"
#include "stack.h"

#define DATAGRAM_MOST 65515u
#define ECHO_REQUEST_V6 128
#define ECHO_REPLY_V6 129
#define FILTER_MOST 32 /* types that ICMP_FILTER knows */

static bool is_ping(const struct sock *sock)
{
    return sock->type == SOCK_DGRAM;
}

static uint8_t byte_at(const struct pbuf *data, uint16_t at)
{
    return pbuf_get_at(data, at);
}

/* Whether a message of ICMP, which begins at <at>, is for the socket. */
static bool is_wanted(const struct sock *sock, const struct pbuf *data, uint16_t at)
{
    if (sock->protocol != IPPROTO_ICMP && sock->protocol != IPPROTO_ICMPV6)
        return true;
    if (data->tot_len < at + 8)
        return false;
    uint8_t type = byte_at(data, at);
    if (!is_ping(sock))
        return sock->protocol == IPPROTO_ICMPV6 || type >= FILTER_MOST || !(sock->icmp_filter >> type & 1);
    uint16_t id = (uint16_t)(byte_at(data, (uint16_t)(at + 4)) << 8 | byte_at(data, (uint16_t)(at + 5)));
    return id == sock->ping_id && type == (sock->family == AF_INET ? ICMP_ER : ECHO_REPLY_V6);
}

static u8_t on_received(void *argument, struct raw_pcb *pcb, struct pbuf *data, const ip_addr_t *from)
{
    struct sock *sock = argument;
    uint16_t header = ip_current_header_tot_len();
    bool without_header = is_ping(sock) || sock->family == AF_INET6;
    (void)pcb;
    if (data->tot_len < header || !is_wanted(sock, data, header))
        return 0;
    struct pbuf *copy = pbuf_clone(PBUF_RAW, PBUF_RAM, data);
    if (copy == NULL)
        return 0;
    if (without_header)
        pbuf_remove_header(copy, header);
    sock_put_datagram(sock, copy, from, is_ping(sock) ? 0 : (uint16_t)(sock->family == AF_INET ? 0 : sock->protocol));
    return 0; /* others may want it, too */
}

static void pass_options(struct sock *sock)
{
    struct raw_pcb *pcb = sock->raw;
    pcb->ttl = (u8_t)sock->ttl;
    pcb->tos = (u8_t)sock->traffic_class;
    pcb->so_options = sock->broadcast ? SOF_BROADCAST : 0;
    pcb->netif_idx = (u8_t)sock->device;
    pcb->mcast_ttl = (u8_t)sock->multicast_ttl;
    pcb->mcast_ifindex = (u8_t)sock->multicast_device;
    raw_set_flags(pcb, sock->header_included ? RAW_FLAGS_HDRINCL : 0);
    if (!sock->header_included)
        raw_clear_flags(pcb, RAW_FLAGS_HDRINCL);
}

static uint16_t ping_id_new(void)
{
    static uint16_t last;
    return ++last == 0 ? ++last : last;
}

static int open_raw(struct sock *sock)
{
    sock->raw = raw_new_ip_type(sock->family == AF_INET ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6, (u8_t)sock->protocol);
    if (sock->raw == NULL)
        return -ENOBUFS;
    sock->header_included = sock->protocol == IPPROTO_RAW;
    sock->ping_id = is_ping(sock) ? ping_id_new() : 0;
    raw_recv(sock->raw, on_received, sock);
    if (sock->protocol == IPPROTO_ICMPV6) {
        sock->raw->chksum_reqd = 1;
        sock->raw->chksum_offset = 2;
    }
    pass_options(sock);
    return 0;
}

static void close_raw(struct sock *sock)
{
    raw_remove(sock->raw);
    sock_free(sock);
}

static int bind_raw(struct sock *sock, const ip_addr_t *address, uint16_t port)
{
    if (is_ping(sock) && port != 0)
        sock->ping_id = port;
    return stack_error(raw_bind(sock->raw, address));
}

static int connect_raw(struct sock *sock, const ip_addr_t *address, uint16_t port)
{
    (void)port;
    return stack_error(raw_connect(sock->raw, address));
}

static int disconnect_raw(struct sock *sock)
{
    raw_disconnect(sock->raw);
    return 0;
}

/* A ping socket's requests bear its number. */
static int make_request(const struct sock *sock, uint8_t *body, uint32_t size)
{
    if (size < 8)
        return -EINVAL;
    if (body[0] != (sock->family == AF_INET ? ICMP_ECHO : ECHO_REQUEST_V6) || body[1] != 0)
        return -EINVAL;
    body[4] = (uint8_t)(sock->ping_id >> 8);
    body[5] = (uint8_t)sock->ping_id;
    if (sock->family == AF_INET6)
        return 0; /* the raw pcb sums it up */
    body[2] = body[3] = 0;
    uint16_t sum = inet_chksum(body, (u16_t)size);
    memcpy(body + 2, &sum, sizeof sum);
    return 0;
}

static int send_raw(struct sock *sock, struct sm_call *call)
{
    const struct socket_request *request = call->request;
    ip_addr_t address = sock->raw->remote_ip;
    uint16_t port;
    if (request->address_size == 0 && !(sock->raw->flags & RAW_FLAGS_CONNECTED))
        return -EDESTADDRREQ;
    int error = request->address_size == 0 ? 0 : address_in(sock, request->address, request->address_size, &address, &port);
    if (error == 0 && call->size > DATAGRAM_MOST)
        error = -EMSGSIZE;
    if (error == 0 && sock->raw->chksum_reqd && sock->raw->chksum_offset + 2u > call->size)
        error = -EINVAL; /* the sum has no place in it */
    if (error == 0 && is_ping(sock))
        error = make_request(sock, call->body, call->size);
    if (error != 0)
        return error;
    address_to_here(&address);
    struct pbuf *data = pbuf_alloc(PBUF_IP, (u16_t)call->size, PBUF_RAM);
    if (data == NULL)
        return -ENOBUFS;
    pbuf_take(data, call->body, (u16_t)call->size);
    raw_clear_flags(sock->raw, RAW_FLAGS_MULTICAST_LOOP);
    raw_set_flags(sock->raw, multicast_loops(sock, &address) ? RAW_FLAGS_MULTICAST_LOOP : 0);
    err_t sent = raw_sendto(sock->raw, data, &address);
    pbuf_free(data);
    call->reply->length = call->size;
    return sent == ERR_VAL ? (sock->header_included ? -EINVAL : sock->broadcast ? -ENETUNREACH : -EACCES) : stack_error(sent);
}

static int shutdown_raw(struct sock *sock, int how)
{
    if (!(sock->raw->flags & RAW_FLAGS_CONNECTED))
        return -ENOTCONN;
    sock->shut_read |= how != SHUT_WR;
    sock_happened(sock);
    return 0;
}

static int name_raw(struct sock *sock, bool of_peer, ip_addr_t *address, uint16_t *port)
{
    if (of_peer && !(sock->raw->flags & RAW_FLAGS_CONNECTED))
        return -ENOTCONN;
    *address = of_peer ? sock->raw->remote_ip : sock->raw->local_ip;
    *port = of_peer ? 0 : is_ping(sock) ? sock->ping_id : (uint16_t)sock->protocol;
    return 0;
}

static unsigned events_raw(struct sock *sock)
{
    return POLLOUT | POLLWRNORM | (sock->first != NULL || sock->shut_read ? POLLIN | POLLRDNORM : 0) | (sock->error != 0 ? POLLERR : 0);
}

static int set_raw(struct sock *sock, int level, int option, int number)
{
    if (level == SOL_RAW && option == 1) { /* ICMP_FILTER */
        sock->icmp_filter = (uint32_t)number;
        return 0;
    }
    if (level == SOL_RAW && option == IPV6_CHECKSUM) {
        if (number > 0xffff || (number > 0 && number % 2 != 0))
            return -EINVAL;
        sock->raw->chksum_reqd = number >= 0;
        sock->raw->chksum_offset = number >= 0 ? (u16_t)number : 0;
        return 0;
    }
    return level == IPPROTO_ICMPV6 && option == 1 ? 0 : -ENOPROTOOPT; /* ICMP6_FILTER: taken, and not followed */
}

const struct sock_kind raw_kind = {
    .open = open_raw, .close = close_raw, .bind = bind_raw, .connect = connect_raw, .disconnect = disconnect_raw, .send = send_raw,
    .receive = sock_receive_datagram, .shutdown = shutdown_raw, .name = name_raw, .events = events_raw, .set_option = set_raw,
    .ip_options = pass_options,
};
