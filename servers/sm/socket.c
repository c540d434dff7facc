/* The table of sockets, the requests, and who is told when something has happened. */

#include "socket.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "stack.h"

#define SLOTS 1024
#define SOCKETS_MOST 16384
#define CLIENTS_MOST 16

const struct sm_host *sm_host;
struct sock *socks;

static struct sock *slots[SLOTS];
static unsigned count, lookers; /* lookers: at frames */
static struct sock *happened;

static struct { uint64_t handle, port; } clients[CLIENTS_MOST];
static uint64_t last_handle;

/* Notifications that found a full queue. */
struct unsent {
    struct unsent *next;
    uint64_t port, token;
};
static struct unsent *unsent;

/* ---- sockets ---- */

struct sock *sock_new(const struct sock_kind *kind, int family, int type, int protocol)
{
    struct sock *sock = count < SOCKETS_MOST ? calloc(1, sizeof *sock) : NULL;
    if (sock == NULL)
        return NULL;
    count++;
    lookers += kind == &packet_kind || kind == &raw_kind;
    *sock = (struct sock){ .kind = kind, .family = family, .type = type, .protocol = protocol, .receive_buffer = RECEIVE_BUFFER,
                           .ttl = 64, .multicast_ttl = 1, .multicast_loop = true };
    sock->last = &sock->first;
    sock->pending_last = &sock->pending;
    sock->all_next = socks;
    sock->all_link = &socks;
    if (socks != NULL)
        socks->all_link = &sock->all_next;
    socks = sock;
    return sock;
}

bool sock_looks_at_frames(void)
{
    return lookers > 0;
}

static uint64_t handle_new(void)
{
    return ++last_handle;
}

static void handle_give(struct sock *sock, uint64_t client)
{
    sock->handle = handle_new();
    sock->client = client;
    sock->next = slots[sock->handle % SLOTS];
    slots[sock->handle % SLOTS] = sock;
}

static struct sock *find(uint64_t handle)
{
    struct sock *sock = slots[handle % SLOTS];
    while (sock != NULL && sock->handle != handle)
        sock = sock->next;
    return handle == 0 ? NULL : sock;
}

static void leave_table(struct sock *sock)
{
    struct sock **at = &slots[sock->handle % SLOTS];
    while (sock->handle != 0 && *at != sock)
        at = &(*at)->next;
    if (sock->handle != 0)
        *at = sock->next;
}

void sock_free(struct sock *sock)
{
    lookers -= sock->kind == &packet_kind || sock->kind == &raw_kind;
    leave_table(sock);
    multicast_close(sock);
    while (sock->first != NULL)
        sock_drop_first(sock);
    while (sock->watchers != NULL) {
        struct watcher *watcher = sock->watchers;
        sock->watchers = watcher->next;
        free(watcher);
    }
    struct sock **at = &happened;
    while (sock->has_happened && *at != sock)
        at = &(*at)->happened_next;
    if (sock->has_happened)
        *at = sock->happened_next;
    *sock->all_link = sock->all_next;
    if (sock->all_next != NULL)
        sock->all_next->all_link = sock->all_link;
    free(sock);
    count--;
}

int sock_take_error(struct sock *sock)
{
    int error = sock->error;
    sock->error = 0;
    return -error;
}

/* ---- what is received ---- */

struct received *sock_put(struct sock *sock, struct pbuf *data, const ip_addr_t *from, uint16_t port)
{
    struct received *received = calloc(1, sizeof *received);
    if (received == NULL)
        return NULL;
    received->data = data;
    received->port = port;
    if (from != NULL)
        received->from = *from;
    sock->queued += data->tot_len;
    *sock->last = received;
    sock->last = &received->next;
    sock_happened(sock);
    return received;
}

void sock_put_datagram(struct sock *sock, struct pbuf *data, const ip_addr_t *from, uint16_t port)
{
    bool is_full = sock->queued > 0 && sock->queued + data->tot_len > sock->receive_buffer;
    struct received *received = sock->shut_read || is_full ? NULL : sock_put(sock, data, from, port);
    if (received == NULL) {
        pbuf_free(data);
        return;
    }
    struct socket_arrival *arrival = &received->arrival;
    arrival->interface = netif_get_index(ip_current_input_netif());
    if (ip_current_is_v6()) {
        memcpy(arrival->destination, ip6_current_dest_addr()->addr, sizeof arrival->destination);
        arrival->ttl = IP6H_HOPLIM(ip6_current_header());
        arrival->traffic_class = IP6H_TC(ip6_current_header());
    } else {
        memcpy(arrival->destination, ip4_current_dest_addr(), 4);
        arrival->ttl = IPH_TTL(ip4_current_header());
        arrival->traffic_class = IPH_TOS(ip4_current_header());
    }
}

void sock_drop_first(struct sock *sock)
{
    struct received *received = sock->first;
    sock->first = received->next;
    if (sock->first == NULL)
        sock->last = &sock->first;
    sock->queued -= received->data->tot_len - received->taken;
    pbuf_free(received->data);
    free(received);
}

int sock_receive_datagram(struct sock *sock, struct sm_call *call)
{
    struct received *received = sock->first;
    struct socket_reply *reply = call->reply;
    if (received == NULL && sock->error != 0)
        return sock_take_error(sock);
    if (received == NULL)
        return sock->shut_read ? 0 : -EAGAIN;
    reply->whole_length = received->data->tot_len;
    reply->length = call->request->length < reply->whole_length ? call->request->length : reply->whole_length;
    reply->length = reply->length < SOCKET_BODY_MAX ? reply->length : SOCKET_BODY_MAX;
    pbuf_copy_partial(received->data, call->body, (u16_t)(reply->length > 0xffff ? 0xffff : reply->length), 0);
    call->answer_size = reply->length;
    address_out(sock, &received->from, received->port, reply->address, &reply->address_size);
    reply->arrival = received->arrival;
    reply->flags = (sock->tell_info ? SOCKET_TELL_INFO : 0) | (sock->tell_ttl ? SOCKET_TELL_TTL : 0) |
                   (sock->tell_old_ttl ? SOCKET_TELL_OLD_TTL : 0);
    if (!(call->request->message_flags & MSG_PEEK))
        sock_drop_first(sock);
    return 0;
}

int sock_receive_linked(struct sock *sock, struct sm_call *call, uint32_t size)
{
    uint8_t from[sizeof sock->first->link] = { 0 };
    if (sock->first != NULL)
        memcpy(from, sock->first->link, sizeof from);
    int status = sock_receive_datagram(sock, call);
    if (status == 0) {
        memcpy(call->reply->address, from, size);
        call->reply->address_size = size;
    }
    return status;
}

/* ---- who waits ---- */

void sock_happened(struct sock *sock)
{
    sock->wakes++;
    if (sock->has_happened)
        return;
    sock->has_happened = true;
    sock->happened_next = happened;
    happened = sock;
}

static int watch(struct sock *sock, uint64_t token, unsigned events)
{
    struct watcher *watcher = malloc(sizeof *watcher);
    if (watcher == NULL)
        return -ENOMEM;
    *watcher = (struct watcher){ sock->watchers, sock->client, token, events };
    sock->watchers = watcher;
    return 0;
}

static void unwatch(uint64_t token)
{
    for (struct sock *sock = socks; sock != NULL; sock = sock->all_next)
        for (struct watcher **at = &sock->watchers; *at != NULL;) {
            struct watcher *watcher = *at;
            if (watcher->token != token) {
                at = &watcher->next;
                continue;
            }
            *at = watcher->next;
            free(watcher);
            return;
        }
}

static uint64_t port_of(uint64_t client)
{
    for (size_t i = 0; i < CLIENTS_MOST; i++)
        if (clients[i].handle == client && client != 0)
            return clients[i].port;
    return 0;
}

static void tell(uint64_t port, uint64_t token)
{
    struct socket_event event = { .kind = SOCKET_EVENT_READY, .token = token };
    if (port == 0 || (unsent == NULL && sm_host->send(port, &event)))
        return;
    struct unsent *wait = malloc(sizeof *wait), **at = &unsent;
    if (wait == NULL)
        return;
    *wait = (struct unsent){ NULL, port, token };
    while (*at != NULL)
        at = &(*at)->next;
    *at = wait;
}

static void tell_unsent(void)
{
    while (unsent != NULL) {
        struct unsent *first = unsent;
        struct socket_event event = { .kind = SOCKET_EVENT_READY, .token = first->token };
        if (!sm_host->send(first->port, &event))
            return;
        unsent = first->next;
        free(first);
    }
}

static void tell_watchers(struct sock *sock)
{
    unsigned events = sock->kind->events(sock);
    for (struct watcher **at = &sock->watchers; *at != NULL;) {
        struct watcher *watcher = *at;
        if (!(events & (watcher->events | POLLERR | POLLHUP))) {
            at = &watcher->next;
            continue;
        }
        *at = watcher->next;
        tell(port_of(watcher->client), watcher->token);
        free(watcher);
    }
}

#define UNSENT_AGAIN 5000000ll /* ns until a full queue is tried again */

int64_t sm_settle(void)
{
    stack_catch_up();
    do {
        stack_run();
        while (happened != NULL) {
            struct sock *sock = happened;
            happened = sock->happened_next;
            sock->has_happened = false;
            tell_watchers(sock);
        }
    } while (happened != NULL);
    tell_unsent();
    int64_t due = stack_due();
    if (unsent != NULL && sm_host->now() + UNSENT_AGAIN < due)
        due = sm_host->now() + UNSENT_AGAIN;
    return due;
}

void sm_start(const struct sm_host *host)
{
    sm_host = host;
    host->random(&last_handle, sizeof last_handle);
    last_handle &= 0xffffffffffffull; /* those of an earlier life are not met again */
    stack_start();
}

/* ---- requests ---- */

static int client_new(struct sm_call *call)
{
    static unsigned next;
    /* Two workers of a client may ask at once: both get the same answer. */
    for (size_t i = 0; i < CLIENTS_MOST; i++)
        if (clients[i].port == call->request->event_port) {
            call->reply->handle = clients[i].handle;
            return 0;
        }
    clients[next] = (typeof(*clients)){ handle_new(), call->request->event_port };
    call->reply->handle = clients[next].handle;
    next = (next + 1) % CLIENTS_MOST;
    return 0;
}

static const struct sock_kind *kind_of(const struct socket_request *request, int *protocol, int *error)
{
    bool is_packet = request->family == AF_PACKET;
    *protocol = request->protocol;
    *error = 0;
    if (request->family == AF_NETLINK) {
        bool is_kind = request->type == SOCK_RAW || request->type == SOCK_DGRAM;
        *error = !is_kind ? -ESOCKTNOSUPPORT : *protocol != NETLINK_ROUTE ? -EPROTONOSUPPORT : 0;
        return &netlink_kind;
    }
    if (request->family != AF_INET && request->family != AF_INET6 && !is_packet) {
        *error = -EAFNOSUPPORT;
        return NULL;
    }
    if (is_packet) {
        *error = request->type != SOCK_RAW && request->type != SOCK_DGRAM ? -ESOCKTNOSUPPORT : !(request->flags & SOCKET_PRIVILEGED) ? -EPERM : 0;
        return &packet_kind;
    }
    switch (request->type) {
    case SOCK_STREAM:
        *error = *protocol != 0 && *protocol != IPPROTO_TCP ? -EPROTONOSUPPORT : 0;
        *protocol = IPPROTO_TCP;
        return &tcp_kind;
    case SOCK_DGRAM:
        if (*protocol == (request->family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6))
            return &raw_kind;
        *error = *protocol != 0 && *protocol != IPPROTO_UDP ? -EPROTONOSUPPORT : 0;
        *protocol = IPPROTO_UDP;
        return &udp_kind;
    case SOCK_RAW:
        *error = !(request->flags & SOCKET_PRIVILEGED) ? -EPERM : *protocol <= 0 || *protocol > 255 ? -EPROTONOSUPPORT : 0;
        return &raw_kind;
    default: *error = -ESOCKTNOSUPPORT; return NULL;
    }
}

static int open_socket(struct sm_call *call)
{
    const struct socket_request *request = call->request;
    int protocol, error;
    const struct sock_kind *kind = kind_of(request, &protocol, &error);
    if (error != 0)
        return error;
    struct sock *sock = sock_new(kind, request->family, request->type, protocol);
    if (sock == NULL)
        return -ENFILE;
    error = kind->open(sock);
    if (error != 0) {
        sock_free(sock);
        return error;
    }
    handle_give(sock, request->handle);
    call->reply->handle = sock->handle;
    return 0;
}

static int bind_socket(struct sock *sock, struct sm_call *call)
{
    ip_addr_t address;
    uint16_t port;
    int error = address_in(sock, call->request->address, call->request->address_size, &address, &port);
    if (error != 0)
        return error;
    if (!address_is_own(&address))
        return -EADDRNOTAVAIL;
    if (port > 0 && port < 1024 && !(call->request->flags & SOCKET_PRIVILEGED))
        return -EACCES;
    if (address_is_any(&address))
        IP_SET_TYPE(&address, address_type(sock));
    return sock->kind->bind(sock, &address, port);
}

static int connect_socket(struct sock *sock, struct sm_call *call)
{
    ip_addr_t address;
    uint16_t port;
    sa_family_t family = AF_UNSPEC;
    if (call->request->address_size >= sizeof family)
        memcpy(&family, call->request->address, sizeof family);
    if (family == AF_UNSPEC && call->request->address_size >= sizeof family)
        return sock->kind->disconnect == NULL ? -EOPNOTSUPP : sock->kind->disconnect(sock);
    int error = address_in(sock, call->request->address, call->request->address_size, &address, &port);
    if (error == 0)
        address_to_here(&address);
    return error != 0 ? error : sock->kind->connect(sock, &address, port);
}

static int accept_socket(struct sock *sock, struct sm_call *call)
{
    struct sock *connection;
    ip_addr_t address;
    uint16_t port;
    int error = sock->kind->accept == NULL ? -EOPNOTSUPP : sock->kind->accept(sock, &connection);
    if (error != 0)
        return error;
    handle_give(connection, sock->client);
    call->reply->handle = connection->handle;
    if (connection->kind->name(connection, true, &address, &port) == 0)
        address_out(connection, &address, port, call->reply->address, &call->reply->address_size);
    return 0;
}

static int tell_name(struct sock *sock, struct sm_call *call)
{
    ip_addr_t address;
    uint16_t port = 0;
    memset(&address, 0, sizeof address);
    int error = sock->kind->name(sock, call->request->flags & SOCKET_OF_PEER, &address, &port);
    if (error == 0)
        address_out(sock, &address, port, call->reply->address, &call->reply->address_size);
    return error;
}

static int watch_socket(struct sock *sock, struct sm_call *call)
{
    unsigned events = sock->kind->events(sock) & (call->request->events | POLLERR | POLLHUP);
    call->reply->events = events;
    call->reply->wakes = sock->wakes;
    return events == 0 && (call->request->flags & SOCKET_NOTIFY) ? watch(sock, call->request->token, call->request->events) : 0;
}

static int socket_ioctl(struct sock *sock, struct sm_call *call)
{
    int32_t number;
    switch (call->request->command) {
    case FIONREAD: number = (int32_t)(sock->type == SOCK_STREAM ? sock->queued : sock->first != NULL ? sock->first->data->tot_len : 0); break;
    case TIOCOUTQ: number = sock->kind->unsent != NULL ? (int32_t)sock->kind->unsent(sock) : 0; break;
    case SIOCATMARK: number = 0; break;
    default: return interface_ioctl(call);
    }
    memcpy(call->body, &number, sizeof number);
    call->answer_size = sizeof number;
    return 0;
}

static int of_socket(struct sock *sock, struct sm_call *call)
{
    const struct socket_request *request = call->request;
    const struct sock_kind *kind = sock->kind;
    switch (request->operation) {
    case SOCKET_CLOSE: kind->close(sock); return 0;
    case SOCKET_BIND: return kind->bind_link != NULL ? kind->bind_link(sock, call) : bind_socket(sock, call);
    case SOCKET_CONNECT:
        if (kind->connect_link != NULL)
            return kind->connect_link(sock, call);
        return kind->connect == NULL ? -EOPNOTSUPP : connect_socket(sock, call);
    case SOCKET_LISTEN: return kind->listen == NULL ? -EOPNOTSUPP : kind->listen(sock, request->length);
    case SOCKET_ACCEPT: return accept_socket(sock, call);
    case SOCKET_SEND: return kind->send(sock, call);
    case SOCKET_RECEIVE: return kind->receive(sock, call);
    case SOCKET_SHUTDOWN: return request->length > SHUT_RDWR ? -EINVAL : kind->shutdown(sock, (int)request->length);
    case SOCKET_NAME: return kind->name_link != NULL ? kind->name_link(sock, call) : tell_name(sock, call);
    case SOCKET_SET_OPTION: return option_set(sock, call);
    case SOCKET_GET_OPTION: return option_get(sock, call);
    case SOCKET_IOCTL: return socket_ioctl(sock, call);
    case SOCKET_WATCH: return watch_socket(sock, call);
    default: return -ENOSYS;
    }
}

/* What a wait for the operation waits for. */
static unsigned events_of(uint32_t operation)
{
    return operation == SOCKET_SEND || operation == SOCKET_CONNECT ? POLLOUT : POLLIN;
}

static int dispatch(struct sm_call *call)
{
    const struct socket_request *request = call->request;
    switch (request->operation) {
    case SOCKET_CLIENT: return client_new(call);
    case SOCKET_OPEN: return open_socket(call);
    case SOCKET_UNWATCH: unwatch(request->token); return 0;
    case SOCKET_TEXT: return text_print(call);
    }
    if (request->operation < SOCKET_CLIENT || request->operation > SOCKET_TEXT)
        return -ENOSYS;
    struct sock *sock = find(request->handle);
    if (sock == NULL && request->operation == SOCKET_IOCTL && port_of(request->handle) != 0)
        return interface_ioctl(call);
    if (sock == NULL)
        return -EBADF;
    int status = of_socket(sock, call);
    bool not_yet = status == -EAGAIN || status == -EINPROGRESS || status == -EALREADY;
    if (not_yet && (request->flags & SOCKET_NOTIFY) && watch(sock, request->token, events_of(request->operation)) != 0)
        return -ENOMEM;
    return status;
}

void sm_request(const struct socket_request *request, struct socket_reply *reply, uint8_t *body, uint32_t size, uint32_t *ret_size)
{
    struct sm_call call = { .request = request, .reply = reply, .body = body, .size = size };
    memset(reply, 0, sizeof *reply);
    stack_catch_up();
    if (request->address_size > SOCKET_ADDRESS_ROOM || size > SOCKET_BODY_MAX)
        reply->status = -EINVAL;
    else
        reply->status = dispatch(&call);
    *ret_size = reply->status == 0 ? call.answer_size : 0;
}
