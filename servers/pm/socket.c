/* Sockets: the calls that make, name, join and ask them. */

#include "socket.h"

#include <sys/stat.h>
#include <sys/time.h>

#include "call.h"
#include "net.h"
#include "path.h"
#include "signals.h"
#include "time_of.h"
#include "waiting.h"

#define BACKLOG_MOST 4096

/* ---- what families use ---- */

struct file *socket_file_new(const struct file_operations *operations, struct socket *socket, uint32_t flags)
{
    struct file *file = file_new(operations, O_RDWR | (flags & SOCK_NONBLOCK ? (uint32_t)O_NONBLOCK : 0));
    if (file == NULL)
        return NULL;
    file->object = socket;
    file->attributes.mode = S_IFSOCK | 0777;
    file->attributes.links = 1;
    file->attributes.block_size = 4096;
    return file;
}

int socket_give(struct call *call, struct file *file, bool close_on_exec)
{
    int fd = descriptor_add(call_process(call), file, close_on_exec, 0);
    if (fd < 0)
        file_release(file);
    return fd;
}

int64_t socket_waits(struct call *call, struct wait_queue *queue, uint32_t flags, KnTime timeout)
{
    if (timeout > 0) {
        call_deadline_after(call, timeout);
        call->policy = CALL_INTERRUPTS;
    }
    if ((flags & MSG_DONTWAIT) || call->timed_out)
        return call->progress > 0 ? call->progress : -EAGAIN;
    if (queue != NULL && wait_in(call, queue) != 0)
        return call->progress > 0 ? call->progress : -ENOMEM;
    return CALL_WAITS;
}

int64_t socket_broken(struct call *call, uint32_t flags)
{
    siginfo_t info = { .si_signo = SIGPIPE, .si_code = SI_USER };
    info.si_pid = call_process(call)->pid;
    info.si_uid = call_process(call)->credentials.uid;
    if (call->progress > 0)
        return call->progress;
    if (!(flags & MSG_NOSIGNAL))
        signal_send_thread(call_thread(call), &info);
    return -EPIPE;
}

/* ---- what calls use ---- */

static struct file *find(struct call *call, int *error)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    *error = file == NULL ? -EBADF : file->operations->socket == NULL ? -ENOTSOCK : 0;
    return *error == 0 ? file : NULL;
}

static int address_in(struct call *call, VmAddr at, uint64_t size, struct socket_address *address)
{
    if ((int32_t)size < 0 || (uint32_t)size > SOCKET_ADDRESS_MAX)
        return -EINVAL;
    address->size = (uint32_t)size;
    memset(address->bytes, 0, sizeof address->bytes);
    return copy_in(call, address->bytes, at, (uint32_t)size);
}

static int address_out(struct call *call, VmAddr at, VmAddr size_at, const struct socket_address *address)
{
    int32_t room, size = (int32_t)address->size;
    int error = copy_in(call, &room, size_at, sizeof room);
    if (error == 0 && room < 0)
        error = -EINVAL;
    if (error == 0)
        error = copy_out(call, at, address->bytes, (size_t)(room < size ? room : size));
    return error != 0 ? error : copy_out(call, size_at, &size, sizeof size);
}

/* ---- making ---- */

#define TYPE_FLAGS ((uint32_t)(SOCK_NONBLOCK | SOCK_CLOEXEC))

static int64_t check_kind(uint32_t type)
{
    if (type & ~(0xfu | TYPE_FLAGS))
        return -EINVAL;
    return (type & 0xf) == 0 || (type & 0xf) > SOCK_PACKET ? -EINVAL : 0;
}

int64_t linux_socket(struct call *call)
{
    int family = (int)call->arg[0], protocol = (int)call->arg[2];
    uint32_t type = (uint32_t)call->arg[1];
    struct file *file = NULL;
    int64_t error = check_kind(type);
    if (error == 0)
        error = family == AF_UNIX ? local_socket_new(call, type & 0xf, protocol, type & TYPE_FLAGS, &file)
                                  : net_socket_new(call, family, type & 0xf, protocol, type & TYPE_FLAGS, &file);
    return error != 0 ? error : socket_give(call, file, type & SOCK_CLOEXEC);
}

int64_t linux_socketpair(struct call *call)
{
    uint32_t type = (uint32_t)call->arg[1];
    struct file *files[2];
    int fds[2];
    int64_t error = check_kind(type);
    if (error == 0 && call->arg[0] != AF_UNIX)
        error = call->arg[0] == AF_INET || call->arg[0] == AF_INET6 ? -EOPNOTSUPP : -EAFNOSUPPORT;
    if (error == 0)
        error = local_socket_pair(call, type & 0xf, (int)call->arg[2], type & TYPE_FLAGS, files);
    if (error != 0)
        return error;
    fds[0] = socket_give(call, files[0], type & SOCK_CLOEXEC);
    fds[1] = socket_give(call, files[1], type & SOCK_CLOEXEC);
    error = fds[0] < 0 ? fds[0] : fds[1] < 0 ? fds[1] : copy_out(call, call->arg[3], fds, sizeof fds);
    for (int i = 0; error != 0 && i < 2; i++)
        if (fds[i] >= 0)
            descriptor_close(call_process(call), fds[i]);
    return error;
}

/* ---- names and connections ---- */

static int64_t with_address(struct call *call,
                            int64_t (*run)(struct call *call, struct file *file, const struct socket_address *address))
{
    struct socket_address address;
    int error;
    struct file *file = find(call, &error);
    if (error == 0)
        error = address_in(call, call->arg[1], call->arg[2], &address);
    if (error == 0 && address.size < sizeof(sa_family_t))
        error = -EINVAL;
    return error != 0 ? error : run(call, file, &address);
}

static int64_t run_bind(struct call *call, struct file *file, const struct socket_address *address)
{
    const struct socket_operations *operations = file->operations->socket;
    return operations->bind == NULL ? -EOPNOTSUPP : operations->bind(call, file, address);
}

static int64_t run_connect(struct call *call, struct file *file, const struct socket_address *address)
{
    const struct socket_operations *operations = file->operations->socket;
    return operations->connect == NULL ? -EOPNOTSUPP : operations->connect(call, file, address);
}

int64_t linux_bind(struct call *call)
{
    return with_address(call, run_bind);
}

int64_t linux_connect(struct call *call)
{
    return with_address(call, run_connect);
}

int64_t linux_listen(struct call *call)
{
    int error;
    uint32_t backlog = (uint32_t)call->arg[1];
    struct file *file = find(call, &error);
    if (error != 0)
        return error;
    if (file->operations->socket->listen == NULL)
        return -EOPNOTSUPP;
    return file->operations->socket->listen(call, file, backlog < BACKLOG_MOST ? (int)backlog : BACKLOG_MOST);
}

static int64_t accept_with(struct call *call, uint32_t flags)
{
    int error;
    struct file *file = find(call, &error), *connection;
    struct socket_address address = { 0 };
    if (error == 0 && (flags & ~TYPE_FLAGS))
        error = -EINVAL;
    if (error == 0 && file->operations->socket->accept == NULL)
        error = -EOPNOTSUPP;
    if (error == 0 && !descriptor_is_free(call_process(call)))
        error = -EMFILE;
    if (error != 0)
        return error;
    int64_t result = file->operations->socket->accept(call, file, flags, &connection);
    if (result != 0)
        return result;
    if (call->arg[1] != 0)
        error = file->operations->socket->name(call, connection, true, &address);
    if (error == 0 && call->arg[1] != 0)
        error = address_out(call, call->arg[1], call->arg[2], &address);
    if (error == -ENOTCONN)
        error = -ECONNABORTED;
    if (error != 0)
        file_release(connection);
    return error != 0 ? error : socket_give(call, connection, flags & SOCK_CLOEXEC);
}

int64_t linux_accept(struct call *call)
{
    return accept_with(call, 0);
}

int64_t linux_accept4(struct call *call)
{
    return accept_with(call, (uint32_t)call->arg[3]);
}

int64_t linux_shutdown(struct call *call)
{
    int error, how = (int)call->arg[1];
    struct file *file = find(call, &error);
    if (error != 0)
        return error;
    if (how < SHUT_RD || how > SHUT_RDWR)
        return -EINVAL;
    return file->operations->socket->shutdown == NULL ? -EOPNOTSUPP : file->operations->socket->shutdown(call, file, how);
}

static int64_t tell_name(struct call *call, bool of_peer)
{
    struct socket_address address = { 0 };
    int error;
    struct file *file = find(call, &error);
    if (error == 0)
        error = file->operations->socket->name(call, file, of_peer, &address);
    return error != 0 ? error : address_out(call, call->arg[1], call->arg[2], &address);
}

int64_t linux_getsockname(struct call *call)
{
    return tell_name(call, false);
}

int64_t linux_getpeername(struct call *call)
{
    return tell_name(call, true);
}

/* ---- options ---- */

#define OPTION_MAX 256u
#define SO_RCVTIMEO_TIMEVAL 20
#define SO_SNDTIMEO_TIMEVAL 21

/* Microseconds of a wait; 0: no bound. */
static int timeout_in(const void *value, uint32_t size, KnTime *to)
{
    struct timeval time;
    if (size < sizeof time)
        return -EINVAL;
    memcpy(&time, value, sizeof time);
    if (time.tv_usec < 0 || time.tv_usec >= 1000000)
        return -EDOM;
    *to = time.tv_sec < 0 ? 1 : time_add(time.tv_sec, time.tv_usec * 1000);
    return 0;
}

static int set_common(struct socket *socket, int option, const void *value, uint32_t size)
{
    switch (option) {
    case SO_RCVTIMEO_TIMEVAL: return timeout_in(value, size, &socket->receive_timeout);
    case SO_SNDTIMEO_TIMEVAL: return timeout_in(value, size, &socket->send_timeout);
    case SO_TYPE:
    case SO_PROTOCOL:
    case SO_DOMAIN:
    case SO_ERROR:
    case SO_ACCEPTCONN: return -ENOPROTOOPT;
    default: return -EAFNOSUPPORT; /* not here */
    }
}

static int get_common(const struct socket *socket, int option, void *value, uint32_t *size)
{
    int32_t number;
    struct timeval time;
    KnTime timeout = option == SO_RCVTIMEO_TIMEVAL ? socket->receive_timeout : socket->send_timeout;
    switch (option) {
    case SO_TYPE: number = socket->type; break;
    case SO_PROTOCOL: number = socket->protocol; break;
    case SO_DOMAIN: number = socket->family; break;
    case SO_RCVTIMEO_TIMEVAL:
    case SO_SNDTIMEO_TIMEVAL:
        time = (struct timeval){ timeout / NANOSECONDS, timeout % NANOSECONDS / 1000 };
        memcpy(value, &time, sizeof time);
        *size = sizeof time;
        return 0;
    default: return -EAFNOSUPPORT;
    }
    memcpy(value, &number, sizeof number);
    *size = sizeof number;
    return 0;
}

int64_t linux_setsockopt(struct call *call)
{
    _Alignas(8) uint8_t value[OPTION_MAX] = { 0 };
    int error, level = (int)call->arg[1], option = (int)call->arg[2];
    int32_t size = (int32_t)call->arg[4];
    struct file *file = find(call, &error);
    if (error != 0)
        return error;
    if (size < 0)
        return -EINVAL;
    uint32_t given = (uint32_t)size < sizeof value ? (uint32_t)size : sizeof value;
    if (copy_in(call, value, call->arg[3], given) != 0)
        return -EFAULT;
    error = level == SOL_SOCKET ? set_common(file->object, option, value, given) : -EAFNOSUPPORT;
    if (error != -EAFNOSUPPORT)
        return error;
    const struct socket_operations *operations = file->operations->socket;
    return operations->set_option == NULL ? -ENOPROTOOPT : operations->set_option(call, file, level, option, value, given);
}

int64_t linux_getsockopt(struct call *call)
{
    _Alignas(8) uint8_t value[OPTION_MAX] = { 0 };
    int error, level = (int)call->arg[1], option = (int)call->arg[2];
    int32_t room;
    struct file *file = find(call, &error);
    if (error != 0)
        return error;
    if (copy_in(call, &room, call->arg[4], sizeof room) != 0)
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    uint32_t size = sizeof value;
    error = level == SOL_SOCKET ? get_common(file->object, option, value, &size) : -EAFNOSUPPORT;
    const struct socket_operations *operations = file->operations->socket;
    if (error == -EAFNOSUPPORT)
        error = operations->get_option == NULL ? -ENOPROTOOPT
                                               : operations->get_option(call, file, level, option, value, &size);
    if (error != 0)
        return error;
    room = room < (int32_t)size ? room : (int32_t)size;
    error = copy_out(call, call->arg[3], value, (size_t)room);
    return error != 0 ? error : copy_out(call, call->arg[4], &room, sizeof room);
}
