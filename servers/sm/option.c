/* Options of sockets: those that all kinds have. What lwIP must know goes to its control block by the kind's ip_options. */

#include <errno.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <string.h>

#include "interface.h"
#include "socket.h"

#define ANSWER_EMPTY 1 /* a value of no bytes */
#define BUFFER_LEAST 2304
#define BUFFER_MOST (4 * 1024 * 1024)

static int set_device(struct sock *sock, const struct sm_call *call)
{
    char name[16] = "";
    memcpy(name, call->body, call->size < sizeof name - 1 ? call->size : sizeof name - 1);
    unsigned index = name[0] == '\0' ? 0 : interface_index(name);
    if (name[0] != '\0' && index == 0)
        return -ENODEV;
    sock->device = index;
    return 0;
}

static int set_of_socket(struct sock *sock, int option, int number, const struct sm_call *call)
{
    switch (option) {
    case SO_REUSEADDR:
    case SO_REUSEPORT: sock->reuse_address = number != 0; return 0;
    case SO_KEEPALIVE: sock->keep_alive = number != 0; return 0;
    case SO_BROADCAST: sock->broadcast = number != 0; return 0;
    case SO_BINDTODEVICE: return set_device(sock, call);
    case SO_LINGER:
        if (call->size < sizeof(struct linger))
            return -EINVAL;
        sock->linger = number != 0;
        memcpy(&sock->linger_time, call->body + 4, sizeof sock->linger_time);
        return 0;
    case SO_RCVBUF:
    case SO_RCVBUFFORCE:
        number = number < 0 || number > BUFFER_MOST / 2 ? BUFFER_MOST : number * 2;
        sock->receive_buffer = (size_t)(number < BUFFER_LEAST ? BUFFER_LEAST : number);
        return 0;
    case SO_SNDBUF:
    case SO_SNDBUFFORCE:
    case SO_PRIORITY:
    case SO_MARK:
    case SO_OOBINLINE:
    case SO_DONTROUTE:
    case SO_TIMESTAMP:
    case SO_TIMESTAMPNS:
    case SO_RXQ_OVFL:
    case SO_RCVLOWAT: return 0; /* taken, and not followed */
    default: return -ENOPROTOOPT;
    }
}

/* Its name; an answer of no bytes: it is bound to none. */
static int get_device(const struct sock *sock, struct sm_call *call)
{
    const struct netif *netif = sock->device == 0 ? NULL : netif_get_by_index((u8_t)sock->device);
    char name[16] = "";
    if (netif != NULL)
        interface_name(netif, name);
    call->answer_size = netif == NULL ? 0 : (uint32_t)strlen(name) + 1;
    memcpy(call->body, name, call->answer_size);
    return call->answer_size == 0 ? ANSWER_EMPTY : 0;
}

static int get_of_socket(struct sock *sock, int option, struct sm_call *call, int *ret_number)
{
    switch (option) {
    case SO_ERROR: *ret_number = -sock_take_error(sock); return 0;
    case SO_REUSEADDR:
    case SO_REUSEPORT: *ret_number = sock->reuse_address; return 0;
    case SO_KEEPALIVE: *ret_number = sock->keep_alive; return 0;
    case SO_BROADCAST: *ret_number = sock->broadcast; return 0;
    case SO_RCVBUF: *ret_number = (int)sock->receive_buffer; return 0;
    case SO_SNDBUF: *ret_number = SEND_BUFFER; return 0;
    case SO_LINGER:
        memcpy(call->body, &(struct linger){ sock->linger, sock->linger_time }, sizeof(struct linger));
        call->answer_size = sizeof(struct linger);
        return 0;
    case SO_BINDTODEVICE: return get_device(sock, call);
    case SO_PEERCRED:
        memcpy(call->body, &(struct ucred){ 0, (uid_t)-1, (gid_t)-1 }, sizeof(struct ucred)); /* nobody's, as in Linux */
        call->answer_size = sizeof(struct ucred);
        return 0;
    case SO_ACCEPTCONN:
    case SO_DEBUG:
    case SO_PASSCRED:
    case SO_PRIORITY:
    case SO_MARK:
    case SO_OOBINLINE:
    case SO_DONTROUTE:
    case SO_TIMESTAMP:
    case SO_TIMESTAMPNS:
    case SO_RXQ_OVFL: *ret_number = 0; return 0;
    case SO_SNDLOWAT:
    case SO_RCVLOWAT: *ret_number = 1; return 0;
    default: return -ENOPROTOOPT;
    }
}

static int in_range(int number, int most, int *to)
{
    if (number < -1 || number > most)
        return -EINVAL;
    *to = number;
    return 0;
}

static int set_of_ip(struct sock *sock, int option, int number)
{
    switch (option) {
    case IP_TTL: return number == 0 ? -EINVAL : in_range(number == -1 ? 64 : number, 255, &sock->ttl);
    case IP_TOS: sock->traffic_class = number & 0xff; return 0;
    case IP_PKTINFO: sock->tell_info = number != 0; return 0;
    case IP_RECVTTL: sock->tell_ttl = number != 0; return 0;
    case IP_HDRINCL:
        if (sock->type != SOCK_RAW)
            return -ENOPROTOOPT;
        sock->header_included = number != 0;
        return 0;
    case IP_MULTICAST_TTL: return in_range(number == -1 ? 1 : number, 255, &sock->multicast_ttl);
    case IP_MULTICAST_LOOP: sock->multicast_loop = number != 0; return 0;
    case IP_MTU_DISCOVER:
    case IP_RECVERR:
    case IP_RECVOPTS:
    case IP_RETOPTS:
    case IP_RECVTOS:
    case IP_FREEBIND:
    case IP_MULTICAST_ALL:
    case IP_BIND_ADDRESS_NO_PORT: return 0; /* taken, and not followed */
    default: return -ENOPROTOOPT;
    }
}

/* What goes through in one piece to the peer: its interface's. */
static int get_mtu(struct sock *sock, int *ret_number)
{
    ip_addr_t local, peer;
    uint16_t port;
    if (sock->kind->name == NULL || sock->kind->name(sock, true, &peer, &port) != 0 || sock->kind->name(sock, false, &local, &port) != 0)
        return -ENOTCONN;
    const struct netif *netif = ip_route(&local, &peer);
    if (netif == NULL)
        return -ENOTCONN;
    *ret_number = (int)interface_mtu(netif);
    return 0;
}

static int get_of_ip(struct sock *sock, int option, int *ret_number)
{
    switch (option) {
    case IP_MTU: return get_mtu(sock, ret_number);
    case IP_MULTICAST_ALL: *ret_number = 1; return 0;
    case IP_TTL: *ret_number = sock->ttl; return 0;
    case IP_TOS: *ret_number = sock->traffic_class; return 0;
    case IP_PKTINFO: *ret_number = sock->tell_info; return 0;
    case IP_RECVTTL: *ret_number = sock->tell_ttl; return 0;
    case IP_HDRINCL: *ret_number = sock->header_included; return 0;
    case IP_MULTICAST_TTL: *ret_number = sock->multicast_ttl; return 0;
    case IP_MULTICAST_LOOP: *ret_number = sock->multicast_loop; return 0;
    case IP_OPTIONS:
    case IP_MTU_DISCOVER:
    case IP_RECVOPTS:
    case IP_RETOPTS:
    case IP_RECVERR:
    case IP_RECVTOS:
    case IP_FREEBIND: *ret_number = 0; return 0;
    default: return -ENOPROTOOPT;
    }
}

static int set_of_ipv6(struct sock *sock, int option, int number)
{
    if (sock->family != AF_INET6)
        return -ENOPROTOOPT;
    switch (option) {
    case IPV6_V6ONLY: sock->only_v6 = number != 0; return 0;
    case IPV6_UNICAST_HOPS: return in_range(number == -1 ? 64 : number, 255, &sock->ttl);
    case IPV6_MULTICAST_HOPS: return in_range(number == -1 ? 1 : number, 255, &sock->multicast_ttl);
    case IPV6_MULTICAST_LOOP: sock->multicast_loop = number != 0; return 0;
    case IPV6_TCLASS: sock->traffic_class = number == -1 ? 0 : number & 0xff; return 0;
    case IPV6_RECVPKTINFO: sock->tell_info = number != 0; return 0;
    case IPV6_RECVHOPLIMIT: sock->tell_ttl = number != 0; return 0;
    case IPV6_2292HOPLIMIT: sock->tell_old_ttl = number != 0; return 0;
    case IPV6_2292PKTINFO: return 0;
    case IPV6_MULTICAST_ALL:
    case IPV6_MTU_DISCOVER:
    case IPV6_RECVERR:
    case IPV6_RECVTCLASS:
    case IPV6_DONTFRAG: return 0; /* taken, and not followed */
    default: return -ENOPROTOOPT;
    }
}

static int get_of_ipv6(struct sock *sock, int option, int *ret_number)
{
    if (sock->family != AF_INET6)
        return -ENOPROTOOPT;
    switch (option) {
    case IPV6_MTU: return get_mtu(sock, ret_number);
    case IPV6_MULTICAST_ALL: *ret_number = 1; return 0;
    case IPV6_V6ONLY: *ret_number = sock->only_v6; return 0;
    case IPV6_UNICAST_HOPS: *ret_number = sock->ttl; return 0;
    case IPV6_MULTICAST_HOPS: *ret_number = sock->multicast_ttl; return 0;
    case IPV6_MULTICAST_LOOP: *ret_number = sock->multicast_loop; return 0;
    case IPV6_TCLASS: *ret_number = sock->traffic_class; return 0;
    case IPV6_RECVPKTINFO: *ret_number = sock->tell_info; return 0;
    case IPV6_RECVHOPLIMIT: *ret_number = sock->tell_ttl; return 0;
    case IPV6_MTU_DISCOVER:
    case IPV6_RECVERR:
    case IPV6_RECVTCLASS:
    case IPV6_DONTFRAG: *ret_number = 0; return 0;
    default: return -ENOPROTOOPT;
    }
}

int option_set(struct sock *sock, struct sm_call *call)
{
    int number = 0, level = call->request->level, option = call->request->option, error = -ENOPROTOOPT;
    bool is_byte = call->size > 0 && call->size < sizeof number && level == IPPROTO_IP; /* as Linux takes them */
    bool is_name = level == SOL_SOCKET && option == SO_BINDTODEVICE;
    int grouped = multicast_set(sock, call);
    if (grouped != -ENOPROTOOPT) {
        sock->kind->ip_options(sock);
        return grouped;
    }
    if (call->size < sizeof number && !is_byte && !is_name)
        return -EINVAL;
    if (is_byte)
        number = call->body[0];
    else if (call->size >= sizeof number)
        memcpy(&number, call->body, sizeof number);
    if (sock->kind->set_option != NULL)
        error = sock->kind->set_option(sock, level, option, number);
    if (error == -ENOPROTOOPT && level == SOL_SOCKET)
        error = set_of_socket(sock, option, number, call);
    else if (error == -ENOPROTOOPT && level == IPPROTO_IP)
        error = set_of_ip(sock, option, number);
    else if (error == -ENOPROTOOPT && level == IPPROTO_IPV6)
        error = set_of_ipv6(sock, option, number);
    if (error == 0)
        sock->kind->ip_options(sock);
    return error;
}

int option_get(struct sock *sock, struct sm_call *call)
{
    int number = 0, level = call->request->level, option = call->request->option, error = -ENOPROTOOPT;
    if (sock->kind->get_option != NULL)
        error = sock->kind->get_option(sock, level, option, call, &number);
    if (error == -ENOPROTOOPT)
        error = multicast_get(sock, level, option, &number);
    if (error == -ENOPROTOOPT && level == SOL_SOCKET)
        error = get_of_socket(sock, option, call, &number);
    else if (error == -ENOPROTOOPT && level == IPPROTO_IP)
        error = get_of_ip(sock, option, &number);
    else if (error == -ENOPROTOOPT && level == IPPROTO_IPV6)
        error = get_of_ipv6(sock, option, &number);
    if (error == ANSWER_EMPTY)
        return 0;
    if (error == 0 && call->answer_size == 0) {
        memcpy(call->body, &number, sizeof number);
        call->answer_size = sizeof number;
    }
    return error;
}
