/* Local sockets: making, connecting, closing. */

#include "local.h"

#include <asm/ioctls.h>

#include "call.h"
#include "net.h"
#include "polling.h"
#include "process.h"

#define BUFFER_LEAST 4608u
#define BUFFER_MOST (2u * LOCAL_BUFFER)

struct list locals = { &locals, &locals };

static const struct file_operations local_operations;

bool file_is_local(const struct file *file)
{
    return file->operations == &local_operations;
}

static struct ucred credentials_of(struct call *call)
{
    const struct process *process = call_process(call);
    return (struct ucred){ process->pid, process->credentials.euid, process->credentials.egid };
}

/* ---- life and death ---- */

static struct local *local_new(struct call *call, int type)
{
    struct local *local = calloc(1, sizeof *local);
    if (local == NULL)
        return NULL;
    local->socket = (struct socket){ .family = AF_UNIX, .type = type };
    local->references = 1;
    local->send_buffer = local->receive_buffer = LOCAL_BUFFER;
    local->credentials = credentials_of(call);
    list_append(&locals, &local->link);
    list_init(&local->packets);
    list_init(&local->pending);
    list_init(&local->pending_link);
    queue_init(&local->changed);
    return local;
}

void local_reference(struct local *local)
{
    local->references++;
}

void local_release(struct local *local)
{
    if (--local->references > 0)
        return;
    queue_end(&local->changed);
    local_name_release(local->name);
    free(local);
}

static void disconnect(struct local *local)
{
    struct local *peer = local->peer;
    local->peer = NULL;
    if (peer != NULL)
        local_release(peer);
}

static void local_close(struct local *local);

static void refuse_pending(struct local *local)
{
    struct list *link;
    while ((link = list_take_first(&local->pending)) != NULL) {
        struct local *waiting = LIST_ENTRY(link, struct local, pending_link);
        waiting->peer->error = ECONNRESET;
        local_close(waiting);
    }
    local->pending_count = 0;
}

/* Nothing leads to it any more but its peer. Takes over a reference. */
static void local_close(struct local *local)
{
    struct local *peer = local->peer;
    local->state = LOCAL_CLOSED;
    local->file = NULL;
    list_remove(&local->link);
    local_name_close(local);
    refuse_pending(local);
    if (peer != NULL && !local_is_datagram(local)) {
        peer->shut_read = peer->shut_write = true;
        if (local->packet_count > 0)
            peer->error = ECONNRESET;
    }
    local_drop_packets(local);
    if (peer != NULL)
        queue_wake(&peer->changed);
    disconnect(local);
    queue_wake(&local->changed);
    local_release(local);
}

static void local_file_release(struct file *file)
{
    local_close(local_of(file));
    rights_collect();
}

int local_take_error(struct local *local)
{
    int error = local->error;
    local->error = 0;
    return -error;
}

/* ---- making ---- */

static int check_type(int *type, int protocol)
{
    if (protocol != 0 && protocol != PF_UNIX)
        return -EPROTONOSUPPORT;
    if (*type == SOCK_RAW)
        *type = SOCK_DGRAM;
    return *type == SOCK_STREAM || *type == SOCK_DGRAM || *type == SOCK_SEQPACKET ? 0 : -ESOCKTNOSUPPORT;
}

static int make(struct call *call, int type, uint32_t flags, struct file **ret_file)
{
    struct local *local = local_new(call, type);
    struct file *file = local == NULL ? NULL : socket_file_new(&local_operations, &local->socket, flags);
    if (file == NULL) {
        if (local != NULL) {
            list_remove(&local->link);
            local_release(local);
        }
        return -ENOMEM;
    }
    local->file = file;
    *ret_file = file;
    return 0;
}

int64_t local_socket_new(struct call *call, int type, int protocol, uint32_t flags, struct file **ret_file)
{
    int error = check_type(&type, protocol);
    return error != 0 ? error : make(call, type, flags, ret_file);
}

static void join(struct local *one, struct local *other)
{
    local_reference(one);
    local_reference(other);
    one->peer = other;
    other->peer = one;
    one->peer_credentials = other->credentials;
    other->peer_credentials = one->credentials;
    if (!local_is_datagram(one))
        one->state = other->state = LOCAL_CONNECTED;
}

int64_t local_socket_pair(struct call *call, int type, int protocol, uint32_t flags, struct file *ret_files[2])
{
    int error = check_type(&type, protocol);
    if (error == 0)
        error = make(call, type, flags, &ret_files[0]);
    if (error != 0)
        return error;
    error = make(call, type, flags, &ret_files[1]);
    if (error != 0)
        file_release(ret_files[0]);
    else
        join(local_of(ret_files[0]), local_of(ret_files[1]));
    return error;
}

/* ---- names and connections ---- */

static int local_bind(struct call *call, struct file *file, const struct socket_address *address)
{
    return local_name_bind(call, local_of(file), address);
}

static int local_name(struct call *call, struct file *file, bool of_peer, struct socket_address *address)
{
    const struct local *local = local_of(file);
    (void)call;
    if (of_peer && local->peer == NULL)
        return -ENOTCONN;
    const struct local_name *name = of_peer ? local->peer->name : local->name;
    sa_family_t family = AF_UNIX;
    if (name != NULL) {
        *address = name->address;
    } else {
        address->size = sizeof family;
        memcpy(address->bytes, &family, sizeof family);
    }
    return 0;
}

/* The other end of a connection, which waits to be accepted. */
static int64_t connect_to(struct call *call, struct local *local, struct local *listener)
{
    struct local *end = local_new(call, local->socket.type);
    if (end == NULL)
        return -ENOMEM;
    local->credentials = credentials_of(call);
    end->credentials = listener->credentials;
    end->pass_credentials = listener->pass_credentials;
    end->name = listener->name;
    end->name->references++;
    join(local, end);
    list_append(&listener->pending, &end->pending_link);
    listener->pending_count++;
    queue_wake(&listener->changed);
    queue_wake(&local->changed);
    return 0;
}

static int64_t connect_stream(struct call *call, struct file *file, struct local *listener)
{
    struct local *local = local_of(file);
    if (local->state == LOCAL_CONNECTED)
        return -EISCONN;
    if (local->state != LOCAL_NEW)
        return -EINVAL;
    if (listener->state != LOCAL_LISTENS || listener->shut_read)
        return -ECONNREFUSED;
    if (listener->pending_count <= listener->backlog)
        return connect_to(call, local, listener);
    return socket_waits(call, &listener->changed, file->flags & O_NONBLOCK ? MSG_DONTWAIT : 0, local->socket.send_timeout);
}

static int64_t connect_datagram(struct local *local, struct local *to)
{
    if (to->state == LOCAL_CLOSED)
        return -ECONNREFUSED;
    if (to->peer != NULL && to->peer != local)
        return -EPERM;
    disconnect(local);
    local_reference(to);
    local->peer = to;
    queue_wake(&local->changed);
    return 0;
}

static int64_t local_connect(struct call *call, struct file *file, const struct socket_address *address)
{
    struct local *local = local_of(file), *to;
    sa_family_t family;
    memcpy(&family, address->bytes, sizeof family);
    if (local_is_datagram(local) && family == AF_UNSPEC) {
        disconnect(local);
        return 0;
    }
    int error = local_name_find(call, address, local->socket.type, &to);
    if (error != 0)
        return error;
    if (local->pass_credentials)
        error = local_name_choose(local);
    int64_t result = error != 0 ? error : local_is_datagram(local) ? connect_datagram(local, to) : connect_stream(call, file, to);
    local_release(to);
    return result;
}

static int local_listen(struct call *call, struct file *file, int backlog)
{
    struct local *local = local_of(file);
    if (local_is_datagram(local))
        return -EOPNOTSUPP;
    if (local->name == NULL || (local->state != LOCAL_NEW && local->state != LOCAL_LISTENS))
        return -EINVAL;
    local->state = LOCAL_LISTENS;
    local->backlog = (unsigned)backlog;
    local->credentials = credentials_of(call);
    queue_wake(&local->changed);
    return 0;
}

static int64_t local_accept(struct call *call, struct file *file, uint32_t flags, struct file **ret_file)
{
    struct local *local = local_of(file);
    if (local_is_datagram(local))
        return -EOPNOTSUPP;
    if (local->state != LOCAL_LISTENS || local->shut_read)
        return -EINVAL;
    if (list_is_empty(&local->pending))
        return socket_waits(call, &local->changed, file->flags & O_NONBLOCK ? MSG_DONTWAIT : 0, local->socket.receive_timeout);
    struct local *end = LIST_ENTRY(local->pending.next, struct local, pending_link);
    *ret_file = socket_file_new(&local_operations, &end->socket, flags);
    if (*ret_file == NULL)
        return -ENOMEM;
    end->file = *ret_file;
    list_remove(&end->pending_link);
    local->pending_count--;
    queue_wake(&local->changed);
    return 0;
}

static int local_shutdown(struct call *call, struct file *file, int how)
{
    struct local *local = local_of(file), *peer = local->peer;
    bool read = how != SHUT_WR, write = how != SHUT_RD;
    (void)call;
    local->shut_read |= read;
    local->shut_write |= write;
    if (peer != NULL && local->state == LOCAL_CONNECTED) {
        peer->shut_read |= write;
        peer->shut_write |= read;
        queue_wake(&peer->changed);
    }
    queue_wake(&local->changed);
    return 0;
}

/* ---- the rest ---- */

static unsigned local_poll(struct call *call, struct file *file, unsigned wanted)
{
    struct local *local = local_of(file), *peer = local->peer;
    unsigned events = local->error != 0 ? POLLERR : 0;
    (void)wanted;
    if (call != NULL)
        wait_in(call, &local->changed);
    if (call != NULL && peer != NULL && local_is_datagram(local))
        wait_in(call, &peer->changed);
    if (local->packet_count > 0 || local->shut_read || local->pending_count > 0)
        events |= POLLIN | POLLRDNORM;
    if (local->shut_read && local->state != LOCAL_LISTENS)
        events |= POLLRDHUP;
    if (local->shut_read && local->shut_write)
        events |= POLLHUP;
    if (!local_is_datagram(local) && local->state == LOCAL_NEW)
        events |= POLLHUP | POLLOUT | POLLWRNORM;
    else if (local->state != LOCAL_LISTENS && (peer == NULL || local_may_send(local, peer)))
        events |= POLLOUT | POLLWRNORM;
    return events;
}

static int64_t local_ioctl(struct call *call, struct file *file, uint32_t command, uint64_t argument)
{
    const struct local *local = local_of(file);
    int32_t number;
    if (command == FIONREAD && local->state == LOCAL_LISTENS)
        return -EINVAL;
    if (command == FIONREAD)
        number = (int32_t)local_readable(local);
    else if (command == TIOCOUTQ)
        number = local->peer != NULL && !local_is_datagram(local) ? (int32_t)local->peer->queued : 0;
    else
        return net_ioctl_elsewhere(call, command, argument); /* if_nametoindex asks on any socket */
    return copy_out(call, argument, &number, sizeof number);
}

static uint32_t buffer_size(int32_t wish)
{
    uint32_t size = wish < 0 || (uint32_t)wish > LOCAL_BUFFER ? BUFFER_MOST : 2 * (uint32_t)wish;
    return size < BUFFER_LEAST ? BUFFER_LEAST : size;
}

static int local_set_option(struct call *call, struct file *file, int level, int option, const void *value, uint32_t size)
{
    struct local *local = local_of(file);
    int32_t number = 0;
    (void)call;
    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    if (size < sizeof number)
        return -EINVAL;
    memcpy(&number, value, sizeof number);
    switch (option) {
    case SO_PASSCRED: local->pass_credentials = number != 0; return 0;
    case SO_SNDBUF:
    case SO_SNDBUFFORCE: local->send_buffer = buffer_size(number); return 0;
    case SO_RCVBUF:
    case SO_RCVBUFFORCE: local->receive_buffer = buffer_size(number); return 0;
    case SO_REUSEADDR: /* of no consequence here, as in Linux */
    case SO_REUSEPORT:
    case SO_KEEPALIVE:
    case SO_BROADCAST:
    case SO_DONTROUTE:
    case SO_OOBINLINE:
    case SO_LINGER:
    case SO_PRIORITY:
    case SO_TIMESTAMP: return 0;
    default: return -ENOPROTOOPT;
    }
}

static int local_get_option(struct call *call, struct file *file, int level, int option, void *value, uint32_t *size)
{
    struct local *local = local_of(file);
    int32_t number = 0;
    (void)call;
    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    switch (option) {
    case SO_PEERCRED:
        if (local->peer == NULL && local->state != LOCAL_LISTENS)
            local->peer_credentials = (struct ucred){ 0, (uid_t)-1, (gid_t)-1 };
        memcpy(value, local->state == LOCAL_LISTENS ? &local->credentials : &local->peer_credentials, sizeof(struct ucred));
        *size = sizeof(struct ucred);
        return 0;
    case SO_LINGER: *size = sizeof(struct linger); return 0;
    case SO_ERROR: number = -local_take_error(local); break;
    case SO_ACCEPTCONN: number = local->state == LOCAL_LISTENS; break;
    case SO_PASSCRED: number = local->pass_credentials; break;
    case SO_SNDBUF: number = (int32_t)local->send_buffer; break;
    case SO_RCVBUF: number = (int32_t)local->receive_buffer; break;
    case SO_REUSEADDR:
    case SO_REUSEPORT:
    case SO_KEEPALIVE:
    case SO_BROADCAST:
    case SO_DONTROUTE:
    case SO_OOBINLINE:
    case SO_PRIORITY:
    case SO_TIMESTAMP: break;
    default: return -ENOPROTOOPT;
    }
    memcpy(value, &number, sizeof number);
    *size = sizeof number;
    return 0;
}

static const struct socket_operations local_socket_operations = {
    .bind = local_bind, .connect = local_connect, .listen = local_listen, .accept = local_accept,
    .send = local_send, .receive = local_receive, .shutdown = local_shutdown, .name = local_name,
    .set_option = local_set_option, .get_option = local_get_option,
};

static const struct file_operations local_operations = {
    .name = "socket", .read = socket_read, .write = socket_write, .poll = local_poll, .ioctl = local_ioctl,
    .release = local_file_release, .socket = &local_socket_operations,
};
