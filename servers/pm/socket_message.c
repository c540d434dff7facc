/* Sockets: the calls that send and receive, from read and write to sendmmsg and recvmmsg. */

#include <sys/uio.h>

#include "call.h"
#include "socket.h"
#include "time_of.h"

#define MESSAGES_MOST 1024 /* of one sendmmsg */
#define FLAG_CMSG_COMPAT 0x80000000u

/* As it lies in the process: struct msghdr, struct mmsghdr. */
struct header {
    uint64_t name;
    uint32_t name_size, pad;
    uint64_t vectors, vector_count;
    uint64_t control, control_size;
    uint32_t flags, pad_too;
};
struct counted_header {
    struct header header;
    uint32_t length, pad;
};
_Static_assert(sizeof(struct header) == sizeof(struct msghdr), "as Linux has it");

static struct file *find(struct call *call, int *error)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    *error = file == NULL ? -EBADF : file->operations->socket == NULL ? -ENOTSOCK : 0;
    return *error == 0 ? file : NULL;
}

static int64_t send_message(struct call *call, struct file *file, struct socket_message *message)
{
    if (file->flags & O_NONBLOCK)
        message->flags |= MSG_DONTWAIT;
    return file->operations->socket->send(call, file, message);
}

static int64_t receive_message(struct call *call, struct file *file, struct socket_message *message)
{
    if (file->flags & O_NONBLOCK)
        message->flags |= MSG_DONTWAIT;
    return file->operations->socket->receive(call, file, message);
}

bool socket_control_put(struct socket_message *message, int level, int type, const void *data, size_t size)
{
    size_t room = message->control_room - message->control_size;
    if (message->control == NULL || room < CMSG_LEN(size)) {
        message->flags_out |= MSG_CTRUNC;
        return false;
    }
    struct cmsghdr head = { .cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type };
    memcpy(message->control + message->control_size, &head, sizeof head);
    memcpy(message->control + message->control_size + CMSG_LEN(0), data, size);
    size_t space = CMSG_SPACE(size) < room ? CMSG_SPACE(size) : room;
    message->control_size += (uint32_t)space;
    return true;
}

/* ---- without a header ---- */

int64_t socket_read(struct call *call, struct file *file, struct user_io *io, int64_t *offset)
{
    struct socket_message message = { .io = *io };
    (void)offset;
    if (io->vectors == &io->one)
        message.io.vectors = &message.io.one;
    if (io->total == 0 && socket_of(file)->type == SOCK_STREAM)
        return 0;
    return receive_message(call, file, &message);
}

int64_t socket_write(struct call *call, struct file *file, struct user_io *io, int64_t *offset)
{
    struct socket_message message = { .io = *io };
    (void)offset;
    if (io->vectors == &io->one)
        message.io.vectors = &message.io.one;
    return send_message(call, file, &message);
}

int64_t linux_sendto(struct call *call)
{
    struct socket_message message = { .flags = (uint32_t)call->arg[3] };
    int error;
    struct file *file = find(call, &error);
    if (error != 0)
        return error;
    io_set(&message.io, call->arg[1], call->arg[2]);
    if (call->arg[4] != 0) {
        if ((int32_t)call->arg[5] < 0 || (uint32_t)call->arg[5] > SOCKET_ADDRESS_MAX)
            return -EINVAL;
        message.address.size = (uint32_t)call->arg[5];
        error = copy_in(call, message.address.bytes, call->arg[4], message.address.size);
    }
    return error != 0 ? error : send_message(call, file, &message);
}

int64_t linux_recvfrom(struct call *call)
{
    struct socket_message message = { .flags = (uint32_t)call->arg[3] };
    int error;
    struct file *file = find(call, &error);
    if (error != 0)
        return error;
    io_set(&message.io, call->arg[1], call->arg[2]);
    int64_t result = receive_message(call, file, &message);
    if (result < 0 || call->arg[4] == 0)
        return result;
    int32_t room = 0, size = (int32_t)message.address.size;
    if (copy_in(call, &room, call->arg[5], sizeof room) != 0)
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    if (copy_out(call, call->arg[4], message.address.bytes, (size_t)(room < size ? room : size)) != 0 ||
        copy_out(call, call->arg[5], &size, sizeof size) != 0)
        return -EFAULT;
    return result;
}

/* ---- with a header ---- */

static int fetch(struct call *call, VmAddr at, struct header *header, struct socket_message *message)
{
    int error = copy_in(call, header, at, sizeof *header);
    if (error != 0)
        return error;
    if (header->vector_count > IO_VECTORS_MAX)
        return -EMSGSIZE;
    if ((int32_t)header->name_size < 0)
        return -EINVAL;
    return io_fetch(call, &message->io, header->vectors, header->vector_count);
}

static int fetch_to_send(struct call *call, const struct header *header, struct socket_message *message)
{
    if (header->name != 0) {
        if (header->name_size > SOCKET_ADDRESS_MAX)
            return -EINVAL;
        message->address.size = header->name_size;
        if (copy_in(call, message->address.bytes, header->name, header->name_size) != 0)
            return -EFAULT;
    }
    if (header->control == 0 || header->control_size == 0)
        return 0;
    if (header->control_size > SOCKET_CONTROL_MAX)
        return -ENOBUFS;
    message->control = malloc(header->control_size);
    if (message->control == NULL)
        return -ENOMEM;
    message->control_size = (uint32_t)header->control_size;
    return copy_in(call, message->control, header->control, header->control_size);
}

static int64_t send_headed(struct call *call, struct file *file, VmAddr at, uint32_t flags)
{
    struct socket_message message = { .flags = flags & ~FLAG_CMSG_COMPAT };
    struct header header;
    int64_t result = fetch(call, at, &header, &message);
    if (result != 0)
        return result;
    result = fetch_to_send(call, &header, &message);
    if (result == 0)
        result = send_message(call, file, &message);
    io_end(&message.io);
    free(message.control);
    return result;
}

int64_t linux_sendmsg(struct call *call)
{
    int error;
    struct file *file = find(call, &error);
    return error != 0 ? error : send_headed(call, file, call->arg[1], (uint32_t)call->arg[2]);
}

static int give_back(struct call *call, VmAddr at, const struct header *header, const struct socket_message *message)
{
    struct header out = *header;
    if (header->name != 0) {
        uint32_t size = message->address.size < header->name_size ? message->address.size : header->name_size;
        if (copy_out(call, header->name, message->address.bytes, size) != 0)
            return -EFAULT;
        out.name_size = message->address.size;
    }
    if (message->control_size > 0 && copy_out(call, header->control, message->control, message->control_size) != 0)
        return -EFAULT;
    out.control_size = message->control_size;
    out.flags = message->flags_out | (message->flags & MSG_CMSG_CLOEXEC);
    return copy_out(call, at, &out, sizeof out);
}

static int64_t receive_headed(struct call *call, struct file *file, VmAddr at, uint32_t flags)
{
    struct socket_message message = { .flags = flags & ~FLAG_CMSG_COMPAT };
    struct header header;
    int64_t result = fetch(call, at, &header, &message);
    if (result != 0)
        return result;
    if (header.control != 0 && header.control_size > 0) {
        message.control_room = header.control_size < SOCKET_CONTROL_MAX ? (uint32_t)header.control_size : SOCKET_CONTROL_MAX;
        message.control = calloc(1, message.control_room);
        result = message.control == NULL ? -ENOMEM : 0;
    }
    if (result == 0)
        result = receive_message(call, file, &message);
    if (result >= 0 && give_back(call, at, &header, &message) != 0)
        result = -EFAULT;
    io_end(&message.io);
    free(message.control);
    return result;
}

int64_t linux_recvmsg(struct call *call)
{
    int error;
    struct file *file = find(call, &error);
    return error != 0 ? error : receive_headed(call, file, call->arg[1], (uint32_t)call->arg[2]);
}

/* ---- several at once ----
 *
 * scratch[3] counts those that are done. While the call waits its progress is that number, which is what an interruption makes
 * it return; scratch[2] keeps how far the present one has come. */

static int64_t many_wait(struct call *call)
{
    call->scratch[2] = (uint64_t)call->progress;
    call->progress = (int64_t)call->scratch[3];
    return CALL_WAITS;
}

static void many_go_on(struct call *call)
{
    if (call->runs > 0)
        call->progress = (int64_t)call->scratch[2];
}

static int64_t many_result(const struct call *call, int64_t result)
{
    return result < 0 && call->scratch[3] == 0 ? result : (int64_t)call->scratch[3];
}

static int64_t note_length(struct call *call, VmAddr at, int64_t length)
{
    uint32_t bytes = (uint32_t)length;
    call->progress = 0;
    call->scratch[3]++;
    return copy_out(call, at + offsetof(struct counted_header, length), &bytes, sizeof bytes);
}

int64_t linux_sendmmsg(struct call *call)
{
    uint32_t count = (uint32_t)call->arg[2] < MESSAGES_MOST ? (uint32_t)call->arg[2] : MESSAGES_MOST;
    int error;
    struct file *file = find(call, &error);
    int64_t result = error;
    many_go_on(call);
    while (result >= 0 && call->scratch[3] < count) {
        VmAddr at = call->arg[1] + call->scratch[3] * sizeof(struct counted_header);
        result = send_headed(call, file, at, (uint32_t)call->arg[3]);
        if (result >= 0)
            result = note_length(call, at, result);
    }
    return result == CALL_WAITS ? many_wait(call) : many_result(call, result);
}

/* Its time is looked at after each message, as Linux does. */
int64_t linux_recvmmsg(struct call *call)
{
    uint32_t count = (uint32_t)call->arg[2] < MESSAGES_MOST ? (uint32_t)call->arg[2] : MESSAGES_MOST;
    uint32_t flags = (uint32_t)call->arg[3];
    int error;
    struct file *file = find(call, &error);
    if (error == 0 && call->arg[4] != 0)
        error = time_deadline_in(call, call->arg[4]);
    int64_t result = error;
    many_go_on(call);
    while (result >= 0 && call->scratch[3] < count) {
        VmAddr at = call->arg[1] + call->scratch[3] * sizeof(struct counted_header);
        bool is_late = call->deadline != K_FOREVER && call->deadline <= time_now();
        if (call->scratch[3] > 0 && ((flags & MSG_WAITFORONE) || is_late))
            flags |= MSG_DONTWAIT;
        result = receive_headed(call, file, at, flags & ~(uint32_t)MSG_WAITFORONE);
        if (result >= 0)
            result = note_length(call, at, result);
    }
    return result == CALL_WAITS ? many_wait(call) : many_result(call, result);
}
