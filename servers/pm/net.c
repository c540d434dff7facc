/* Sockets of the Internet: what programs ask goes to sm, which never waits; what must wait is run again when sm sends its token. */

#include <stdio.h>

#include "net.h"

#include <netinet/in.h>

#include "call.h"
#include "deferred.h"
#include "polling.h"
#include "process.h"
#include "token.h"
#include "worker.h"

#define TRIES 300
#define PAUSE (NANOSECONDS / 100)

struct net_socket {
    struct socket socket;
    uint64_t handle;
    unsigned era; /* of the sm that it is at */
    struct socket_address peer; /* who connected, of an accepted one */
};

static KnIpcDest sm;
static uint64_t client;
static bool connected;
static unsigned era = 1;

static const struct file_operations net_operations;

static struct net_socket *net_of(const struct file *file)
{
    return file->object;
}

/* ---- exchanges ---- */

static int exchange_raw(struct net_exchange *exchange)
{
    KnMsgDesc message = { .bodySize = exchange->send_size, .bodyAddr = (void *)exchange->send, .annexAddr = &exchange->request };
    KnMsgDesc answer = { .bodySize = exchange->body_room, .bodyAddr = exchange->body, .annexAddr = &exchange->reply };
    pm_unlock();
    int status = ipcCall(&message, worker_port, &sm, &answer, K_FOREVER);
    pm_lock();
    exchange->body_size = answer.bodySize < exchange->body_room ? answer.bodySize : exchange->body_room;
    return status < 0 ? status : K_OK;
}

void net_server_gone(void)
{
    if (!connected)
        return;
    connected = false;
    era++;
    pm_log("the Socket Manager is gone; its connections are reset");
    token_server_gone(TOKEN_OF_SM);
}

static int connect_client(void)
{
    struct net_exchange exchange = { .request.operation = SOCKET_CLIENT };
    KnUniqueId port;
    memcpy(&exchange.request.event_port, &worker_port_ui, sizeof exchange.request.event_port);
    int status = exchange_raw(&exchange);
    if (status != K_OK)
        return status;
    if (connected) /* another worker was faster */
        return K_OK;
    memcpy(&port, exchange.reply.address, sizeof port);
    if (exchange.reply.status != 0 || actorWatch(&port, worker_port, NET_WATCH) != K_OK)
        return K_EFAIL;
    client = exchange.reply.handle;
    connected = true;
    return K_OK;
}

int net_server_find(void)
{
    if (connected)
        return 0;
    if (!pm_options.network)
        return -EAFNOSUPPORT;
    KnUniqueId group;
    uiBuild(&group, K_UISTATGROUP, 0, SOCKET_GROUP_STAMP);
    sm = (KnIpcDest){ .target = group, .mode = K_FUNCMODE };
    for (int tries = 0; tries < TRIES; tries++) {
        if (connect_client() == K_OK)
            return 0;
        pm_unlock();
        threadDelay(PAUSE);
        pm_lock();
    }
    return -EAFNOSUPPORT;
}

int net_ask(struct net_exchange *exchange)
{
    if (!connected)
        return -ECONNRESET;
    unsigned asked_in = era;
    int status = exchange_raw(exchange);
    if (status == K_OK)
        return exchange->reply.status;
    if (asked_in == era)
        net_server_gone();
    return -ECONNRESET;
}

int net_ask_of(struct call *call, struct file *file, uint32_t operation, struct net_exchange *exchange)
{
    if (file != NULL && net_of(file)->era != era)
        return -ECONNRESET;
    exchange->request.operation = operation;
    exchange->request.handle = file != NULL ? net_of(file)->handle : client;
    if (call != NULL && call_process(call)->credentials.effective != 0)
        exchange->request.flags |= SOCKET_PRIVILEGED;
    int status = net_ask(exchange);
    return status == -EBADF ? -ECONNRESET : status;
}

/* With a token if the call may wait; *waits: it is to wait for that. */
static int ask_waiting(struct call *call, struct file *file, uint32_t operation, struct net_exchange *exchange, bool may_wait)
{
    if (call->awaits_sign)
        token_forget(call);
    uint64_t token = may_wait ? token_new(call, TOKEN_OF_SM) : 0;
    exchange->request.flags = token != 0 ? SOCKET_NOTIFY : 0;
    exchange->request.token = token;
    int status = net_ask_of(call, file, operation, exchange);
    if (status != -EAGAIN && status != -EINPROGRESS && status != -EALREADY)
        token_drop(token);
    return status;
}

static void set_address(struct net_exchange *exchange, const struct socket_address *address)
{
    exchange->request.address_size = address->size < SOCKET_ADDRESS_ROOM ? address->size : SOCKET_ADDRESS_ROOM;
    memcpy(exchange->request.address, address->bytes, exchange->request.address_size);
}

static void get_address(struct socket_address *address, const struct net_exchange *exchange)
{
    address->size = exchange->reply.address_size < SOCKET_ADDRESS_ROOM ? exchange->reply.address_size : SOCKET_ADDRESS_ROOM;
    memcpy(address->bytes, exchange->reply.address, address->size);
}

/* ---- life and death ---- */

static int make(int family, int type, int protocol, uint32_t flags, uint64_t handle, struct file **ret_file)
{
    struct net_socket *net = calloc(1, sizeof *net);
    struct file *file = net == NULL ? NULL : socket_file_new(&net_operations, &net->socket, flags);
    if (file == NULL) {
        free(net);
        deferred_close_socket(handle);
        return -ENOMEM;
    }
    net->socket = (struct socket){ .family = family, .type = type, .protocol = protocol };
    net->handle = handle;
    net->era = era;
    *ret_file = file;
    return 0;
}

static int protocol_of(int family, int type, int protocol)
{
    bool is_chosen = protocol != 0 || (family != AF_INET && family != AF_INET6);
    return is_chosen ? protocol : type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
}

int64_t net_socket_new(struct call *call, int family, int type, int protocol, uint32_t flags, struct file **ret_file)
{
    struct net_exchange exchange = { .request.operation = SOCKET_OPEN };
    if (family != AF_INET && family != AF_INET6 && family != AF_PACKET && family != AF_NETLINK)
        return -EAFNOSUPPORT;
    for (int tries = 0; tries < 2; tries++) { /* sm may have died, and the next one is there */
        int error = net_server_find();
        if (error != 0)
            return error;
        exchange.request.handle = client;
        exchange.request.family = family;
        exchange.request.type = type;
        exchange.request.protocol = protocol;
        exchange.request.flags = call_process(call)->credentials.effective != 0 ? SOCKET_PRIVILEGED : 0;
        error = net_ask(&exchange);
        if (error == 0)
            return make(family, type, protocol_of(family, type, protocol), flags, exchange.reply.handle, ret_file);
        if (error != -ECONNRESET)
            return error;
    }
    return -EAFNOSUPPORT;
}

static void net_release(struct file *file)
{
    struct net_socket *net = net_of(file);
    if (net->era == era)
        deferred_close_socket(net->handle);
    free(net);
}

void net_server_close(uint64_t handle)
{
    struct net_exchange exchange = { .request.operation = SOCKET_CLOSE };
    exchange.request.handle = handle;
    net_ask(&exchange);
}

void net_server_unwatch(uint64_t token)
{
    struct net_exchange exchange = { .request.operation = SOCKET_UNWATCH };
    exchange.request.handle = client;
    exchange.request.token = token;
    net_ask(&exchange);
}

/* ---- names and connections ---- */

static int net_bind(struct call *call, struct file *file, const struct socket_address *address)
{
    struct net_exchange exchange = { 0 };
    set_address(&exchange, address);
    return net_ask_of(call, file, SOCKET_BIND, &exchange);
}

static int64_t net_connect(struct call *call, struct file *file, const struct socket_address *address)
{
    struct net_exchange exchange = { 0 };
    bool waits = !(file->flags & O_NONBLOCK);
    set_address(&exchange, address);
    int64_t status = ask_waiting(call, file, SOCKET_CONNECT, &exchange, waits);
    if (status == -EISCONN && call->runs > 0)
        return 0;
    if ((status != -EINPROGRESS && status != -EALREADY) || !waits)
        return status;
    status = socket_waits(call, NULL, 0, net_of(file)->socket.send_timeout);
    return status == -EAGAIN ? -EINPROGRESS : status;
}

static int net_listen(struct call *call, struct file *file, int backlog)
{
    struct net_exchange exchange = { .request.length = (uint32_t)backlog };
    return net_ask_of(call, file, SOCKET_LISTEN, &exchange);
}

static int64_t net_accept(struct call *call, struct file *file, uint32_t flags, struct file **ret_file)
{
    struct net_exchange exchange = { 0 };
    const struct socket *socket = &net_of(file)->socket;
    bool waits = !(file->flags & O_NONBLOCK);
    int64_t status = ask_waiting(call, file, SOCKET_ACCEPT, &exchange, waits);
    if (status == -EAGAIN)
        return socket_waits(call, NULL, waits ? 0 : MSG_DONTWAIT, socket->receive_timeout);
    if (status != 0)
        return status;
    int error = make(socket->family, socket->type, socket->protocol, flags, exchange.reply.handle, ret_file);
    if (error == 0)
        get_address(&net_of(*ret_file)->peer, &exchange);
    return error;
}

static int net_shutdown(struct call *call, struct file *file, int how)
{
    struct net_exchange exchange = { .request.length = (uint32_t)how };
    return net_ask_of(call, file, SOCKET_SHUTDOWN, &exchange);
}

static int net_name(struct call *call, struct file *file, bool of_peer, struct socket_address *address)
{
    struct net_exchange exchange = { .request.flags = of_peer ? SOCKET_OF_PEER : 0 };
    struct socket_address *peer = &net_of(file)->peer;
    if (of_peer && peer->size != 0) { /* accept tells it without asking */
        *address = *peer;
        peer->size = 0;
        return 0;
    }
    int status = net_ask_of(call, file, SOCKET_NAME, &exchange);
    get_address(address, &exchange);
    return status;
}

/* ---- data ---- */

static bool may_wait(const struct socket_message *message)
{
    return !(message->flags & MSG_DONTWAIT);
}

#define FLAGS_FOR_SM (MSG_PEEK | MSG_MORE | MSG_TRUNC)

static int64_t send_piece(struct call *call, struct file *file, struct socket_message *message, uint8_t *buffer, uint32_t size)
{
    struct net_exchange exchange = { .send = buffer, .send_size = size };
    int64_t result = io_copy_in(call, &message->io, (size_t)call->progress, buffer, size);
    if (result != 0)
        return call->progress > 0 ? call->progress : result;
    bool more = (size_t)call->progress + size < message->io.total;
    exchange.request.message_flags = (message->flags & FLAGS_FOR_SM) | (more ? (uint32_t)MSG_MORE : 0);
    set_address(&exchange, &message->address);
    result = ask_waiting(call, file, SOCKET_SEND, &exchange, may_wait(message));
    if (result == 0 && exchange.reply.length > size)
        result = -EIO;
    if (result == 0)
        call->progress += exchange.reply.length;
    else if (result == -EAGAIN)
        result = socket_waits(call, NULL, message->flags, net_of(file)->socket.send_timeout);
    else if (result == -EPIPE)
        result = socket_broken(call, message->flags);
    else if (call->progress > 0)
        result = call->progress;
    return result;
}

static int64_t net_send(struct call *call, struct file *file, struct socket_message *message)
{
    bool is_stream = net_of(file)->socket.type == SOCK_STREAM;
    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (!is_stream && message->io.total > SOCKET_BODY_MAX)
        return -EMSGSIZE;
    if (is_stream)
        message->address.size = 0; /* Linux does not look at it */
    uint8_t small[2048], *buffer = message->io.total <= sizeof small ? small : malloc(SOCKET_BODY_MAX);
    if (buffer == NULL)
        return call->progress > 0 ? call->progress : -ENOMEM;
    int64_t result;
    do {
        size_t left = message->io.total - (size_t)call->progress;
        result = send_piece(call, file, message, buffer, left < SOCKET_BODY_MAX ? (uint32_t)left : SOCKET_BODY_MAX);
    } while (result == 0 && is_stream && (size_t)call->progress < message->io.total);
    if (buffer != small)
        free(buffer);
    return result != 0 ? result : call->progress;
}

/* What is told about a datagram as control messages. */
static void tell_arrival(const struct net_socket *net, const struct socket_reply *reply, struct socket_message *message)
{
    const struct socket_arrival *arrival = &reply->arrival;
    int32_t ttl = arrival->ttl;
    if ((reply->flags & SOCKET_TELL_INFO) && net->socket.family == AF_INET) {
        struct in_pktinfo info = { .ipi_ifindex = (int)arrival->interface };
        memcpy(&info.ipi_addr, arrival->destination, 4);
        info.ipi_spec_dst = info.ipi_addr;
        socket_control_put(message, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else if (reply->flags & SOCKET_TELL_INFO) {
        struct in6_pktinfo info = { .ipi6_ifindex = arrival->interface };
        memcpy(&info.ipi6_addr, arrival->destination, 16);
        socket_control_put(message, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
    if ((reply->flags & SOCKET_TELL_TTL) && net->socket.family == AF_INET)
        socket_control_put(message, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
    else if (reply->flags & SOCKET_TELL_TTL)
        socket_control_put(message, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl, sizeof ttl);
    if (reply->flags & SOCKET_TELL_OLD_TTL)
        socket_control_put(message, IPPROTO_IPV6, IPV6_2292HOPLIMIT, &ttl, sizeof ttl);
}

static int64_t datagram_came(struct call *call, const struct net_socket *net, struct socket_message *message, const struct net_exchange *exchange)
{
    (void)call;
    get_address(&message->address, exchange);
    tell_arrival(net, &exchange->reply, message);
    if (exchange->reply.whole_length > exchange->reply.length)
        message->flags_out |= MSG_TRUNC;
    return message->flags & MSG_TRUNC ? exchange->reply.whole_length : exchange->reply.length;
}

/* 0: and there may be more. */
static int64_t receive_piece(struct call *call, struct file *file, struct socket_message *message, uint8_t *buffer, uint32_t size)
{
    const struct net_socket *net = net_of(file);
    struct net_exchange exchange = { .body = buffer, .body_room = size };
    exchange.request.length = size;
    exchange.request.message_flags = message->flags & FLAGS_FOR_SM;
    int64_t result = ask_waiting(call, file, SOCKET_RECEIVE, &exchange, may_wait(message));
    if (result == -EAGAIN)
        return socket_waits(call, NULL, message->flags, net->socket.receive_timeout);
    if (result == 0 && exchange.reply.length > exchange.body_size)
        result = -EIO;
    if (result == 0)
        result = io_copy_out(call, &message->io, (size_t)call->progress, buffer, exchange.reply.length);
    if (result != 0)
        return call->progress > 0 ? call->progress : result;
    if (net->socket.type != SOCK_STREAM)
        return datagram_came(call, net, message, &exchange);
    call->progress += exchange.reply.length;
    bool all = (size_t)call->progress == message->io.total || exchange.reply.length == 0;
    return (message->flags & MSG_WAITALL) && !(message->flags & MSG_PEEK) && !all ? 0 : call->progress;
}

static int64_t net_receive(struct call *call, struct file *file, struct socket_message *message)
{
    size_t total = message->io.total;
    if (message->flags & MSG_OOB)
        return -EINVAL;
    if (message->flags & MSG_ERRQUEUE)
        return -EAGAIN;
    uint8_t small[2048], *buffer = total <= sizeof small ? small : malloc(SOCKET_BODY_MAX);
    if (buffer == NULL)
        return call->progress > 0 ? call->progress : -ENOMEM;
    bool goes_on = true;
    int64_t result = 0;
    while (goes_on) {
        int64_t before = call->progress;
        size_t left = total - (size_t)call->progress;
        result = receive_piece(call, file, message, buffer, left < SOCKET_BODY_MAX ? (uint32_t)left : SOCKET_BODY_MAX);
        goes_on = result == 0 && call->progress > before;
    }
    if (buffer != small)
        free(buffer);
    return result;
}

/* ---- the rest ---- */

static unsigned net_poll(struct call *call, struct file *file, unsigned wanted)
{
    uint64_t token = call != NULL ? token_new(call, TOKEN_OF_SM) : 0;
    struct net_exchange exchange = { .request.events = wanted };
    exchange.request.flags = token != 0 ? SOCKET_NOTIFY : 0;
    exchange.request.token = token;
    int status = net_ask_of(call, file, SOCKET_WATCH, &exchange);
    unsigned events = status != 0 ? POLLIN | POLLOUT | POLLERR | POLLHUP : exchange.reply.events;
    if (events != 0 && token != 0)
        token_drop(token);
    if (call != NULL)
        call->stood += exchange.reply.wakes + 1;
    return events;
}

static int net_set_option(struct call *call, struct file *file, int level, int option, const void *value, uint32_t size)
{
    struct net_exchange exchange = { .send = value, .send_size = size };
    exchange.request.level = level;
    exchange.request.option = option;
    return net_ask_of(call, file, SOCKET_SET_OPTION, &exchange);
}

static int net_get_option(struct call *call, struct file *file, int level, int option, void *value, uint32_t *size)
{
    struct net_exchange exchange = { .body = value, .body_room = *size };
    exchange.request.level = level;
    exchange.request.option = option;
    int status = net_ask_of(call, file, SOCKET_GET_OPTION, &exchange);
    int32_t reset = ECONNRESET;
    if (status == -ECONNRESET && level == SOL_SOCKET && option == SO_ERROR) {
        memcpy(value, &reset, sizeof reset);
        *size = sizeof reset;
        return 0;
    }
    *size = exchange.body_size;
    return status;
}

static const struct socket_operations net_socket_operations = {
    .bind = net_bind, .connect = net_connect, .listen = net_listen, .accept = net_accept, .send = net_send, .receive = net_receive,
    .shutdown = net_shutdown, .name = net_name, .set_option = net_set_option, .get_option = net_get_option,
};

static const struct file_operations net_operations = {
    .name = "socket", .read = socket_read, .write = socket_write, .poll = net_poll, .ioctl = net_ioctl, .release = net_release,
    .socket = &net_socket_operations,
};
