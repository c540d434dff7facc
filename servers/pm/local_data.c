/* What is under way between local sockets.
 *
 * A sender makes a packet, copies into it, and puts it into the receiver's queue: so what was sent is there until it is received,
 * whatever becomes of the sender. Datagrams are received one packet at a time. A stream's packets are filled up while they are
 * the last, and what is received runs over their borders, but not over descriptors.
 * While one reader copies out of the first packet (the lock is not held then) the next one waits.
 */

#include "call.h"
#include "local.h"
#include "process.h"

#define PIECE_LEAST 2048u  /* room of a stream's packet: small writes share one */
#define PIECE_MOST 65536u
#define ROOM_LEAST 4096u   /* a stream is not written to in smaller pieces than this, unless there is no more to write */

/* What a packet counts for in a queue. */
static uint32_t weight(const struct packet *packet)
{
    return packet->room + (uint32_t)sizeof *packet;
}

static struct packet *first_packet(const struct local *local)
{
    return local->packet_count == 0 ? NULL : LIST_ENTRY(local->packets.next, struct packet, link);
}

static struct packet *packet_new(struct call *call, uint32_t room)
{
    const struct process *process = call_process(call);
    struct packet *packet = malloc(sizeof *packet + room);
    if (packet == NULL)
        return NULL;
    *packet = (struct packet){ .room = room };
    list_init(&packet->link);
    packet->sender = (struct ucred){ process->pid, process->credentials.uid, process->credentials.gid };
    return packet;
}

static void packet_free(struct packet *packet)
{
    rights_drop(packet->rights);
    local_name_release(packet->from);
    free(packet);
}

/* The first packet has been received. */
static void take_off(struct local *local, struct packet *packet)
{
    list_remove(&packet->link);
    local->packet_count--;
    local->queued -= weight(packet);
    packet_free(packet);
}

void local_drop_packets(struct local *local)
{
    while (local->packet_count > 0)
        take_off(local, first_packet(local));
}

uint32_t local_readable(const struct local *local)
{
    uint32_t size = 0;
    LIST_EACH(&local->packets, at) {
        const struct packet *packet = LIST_ENTRY(at, struct packet, link);
        size += packet->size - packet->taken;
        if (local->socket.type != SOCK_STREAM)
            break;
    }
    return size;
}

/* ---- sending ---- */

static uint32_t room_at(const struct local *local, const struct local *to)
{
    return to->queued < local->send_buffer ? local->send_buffer - to->queued : 0;
}

bool local_may_send(const struct local *local, const struct local *to)
{
    if (local_is_datagram(local) && to->packet_count >= LOCAL_PACKETS)
        return false;
    return room_at(local, to) >= local->send_buffer / 4 * 3;
}

static void put(struct local *to, struct packet *packet)
{
    list_append(&to->packets, &packet->link);
    to->packet_count++;
    to->queued += weight(packet);
    queue_wake(&to->changed);
}

static bool same_sender(const struct ucred *a, const struct ucred *b)
{
    return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

/* Into the room that the last packet has left. */
static bool fill_up(struct local *to, const struct packet *packet)
{
    if (to->packet_count == 0 || packet->rights != NULL)
        return false;
    struct packet *last = LIST_ENTRY(to->packets.previous, struct packet, link);
    if (last->rights != NULL || last->room - last->size < packet->size || !same_sender(&last->sender, &packet->sender))
        return false;
    memcpy(last->data + last->size, packet->data, packet->size);
    last->size += packet->size;
    queue_wake(&to->changed);
    return true;
}

/* Why nothing can be sent to <to>; 0. */
static int64_t check_stream(struct call *call, struct local *local, uint32_t flags)
{
    if (local->error != 0)
        return local_take_error(local);
    if (local->state != LOCAL_CONNECTED)
        return -ENOTCONN;
    return local->shut_write ? socket_broken(call, flags) : 0;
}

/* Copy in and check again: nothing holds still meanwhile. */
static int64_t make_packet(struct call *call, struct local *local, struct socket_message *message, uint32_t size, uint32_t room,
                           struct packet **ret_packet)
{
    struct packet *packet = packet_new(call, room);
    if (packet == NULL)
        return -ENOMEM;
    packet->size = size;
    int error = call->progress == 0 ? rights_fetch(call, message, packet) : 0;
    if (error == 0)
        error = io_copy_in(call, &message->io, (size_t)call->progress, packet->data, size);
    if (error == 0 && local->name != NULL) {
        packet->from = local->name;
        packet->from->references++;
    }
    if (error != 0)
        packet_free(packet);
    *ret_packet = packet;
    return error;
}

/* One piece of a stream, or a whole packet. */
static int64_t send_piece(struct call *call, struct local *local, struct socket_message *message, uint32_t size)
{
    struct packet *packet;
    bool is_stream = local->socket.type == SOCK_STREAM;
    int64_t result = make_packet(call, local, message, size, is_stream && size < PIECE_LEAST ? PIECE_LEAST : size, &packet);
    if (result != 0)
        return call->progress > 0 ? call->progress : result;
    result = check_stream(call, local, message->flags);
    if (result != 0) {
        packet_free(packet);
        return result;
    }
    if (is_stream && fill_up(local->peer, packet))
        packet_free(packet);
    else
        put(local->peer, packet);
    call->progress += size;
    return 0;
}

static int64_t send_stream(struct call *call, struct file *file, struct socket_message *message)
{
    struct local *local = local_of(file);
    if (message->address.size != 0)
        return local->state == LOCAL_CONNECTED ? -EISCONN : -EOPNOTSUPP;
    int64_t result = check_stream(call, local, message->flags);
    while (result == 0 && (size_t)call->progress < message->io.total) {
        size_t left = message->io.total - (size_t)call->progress;
        uint32_t room = room_at(local, local->peer);
        if (room < ROOM_LEAST && room < left)
            return socket_waits(call, &local->changed, message->flags, local->socket.send_timeout);
        uint32_t size = left < room ? (uint32_t)left : room;
        result = send_piece(call, local, message, size < PIECE_MOST ? size : PIECE_MOST);
    }
    return result != 0 ? result : call->progress;
}

static int64_t send_whole(struct call *call, struct file *file, struct socket_message *message)
{
    struct local *local = local_of(file);
    size_t size = message->io.total;
    if (message->address.size != 0 && local->state == LOCAL_CONNECTED)
        return -EISCONN;
    int64_t result = check_stream(call, local, message->flags);
    if (result != 0)
        return result;
    if (size > local->send_buffer - sizeof(struct packet))
        return -EMSGSIZE;
    if (local->peer->packet_count > 0 && room_at(local, local->peer) < size + sizeof(struct packet))
        return socket_waits(call, &local->changed, message->flags, local->socket.send_timeout);
    result = send_piece(call, local, message, (uint32_t)size);
    return result != 0 ? result : (int64_t)size;
}

/* The receiver of a datagram: a reference. */
static int64_t find_receiver(struct call *call, struct local *local, const struct socket_address *address, struct local **ret_to)
{
    if (address->size != 0) {
        int error = local_name_find(call, address, SOCK_DGRAM, ret_to);
        if (error != 0)
            return error;
    } else if (local->peer == NULL) {
        return -ENOTCONN;
    } else {
        *ret_to = local->peer;
        local_reference(*ret_to);
    }
    return 0;
}

static int64_t check_receiver(const struct local *local, const struct local *to)
{
    if (to->state == LOCAL_CLOSED)
        return -ECONNREFUSED;
    return to->peer != NULL && to->peer != local ? -EPERM : 0;
}

static int64_t put_datagram(struct call *call, struct local *local, struct local *to, struct socket_message *message)
{
    uint32_t size = (uint32_t)message->io.total;
    struct packet *packet;
    int64_t result = check_receiver(local, to);
    if (result == 0 && (local->shut_write || to->shut_read))
        result = socket_broken(call, message->flags);
    if (result != 0)
        return result;
    bool is_full = to->packet_count >= LOCAL_PACKETS ||
                   (to->packet_count > 0 && room_at(local, to) < size + sizeof(struct packet));
    if (is_full && to != local->peer && wait_in(call, &local->changed) != 0)
        return -ENOMEM;
    if (is_full)
        return socket_waits(call, &to->changed, message->flags, local->socket.send_timeout);
    result = make_packet(call, local, message, size, size, &packet);
    if (result != 0)
        return result;
    result = check_receiver(local, to);
    if (result != 0) {
        packet_free(packet);
        return result;
    }
    put(to, packet);
    return size;
}

static int64_t send_datagram(struct call *call, struct file *file, struct socket_message *message)
{
    struct local *local = local_of(file), *to;
    if (local->error != 0)
        return local_take_error(local);
    if (message->io.total > local->send_buffer - sizeof(struct packet))
        return -EMSGSIZE;
    int64_t result = find_receiver(call, local, &message->address, &to);
    if (result != 0)
        return result;
    if (local->pass_credentials)
        result = local_name_choose(local);
    if (result == 0)
        result = put_datagram(call, local, to, message);
    if (result == -ECONNREFUSED && local->peer == to) {
        local->peer = NULL;
        local_release(to);
    }
    local_release(to);
    return result;
}

int64_t local_send(struct call *call, struct file *file, struct socket_message *message)
{
    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    switch (socket_of(file)->type) {
    case SOCK_STREAM: return send_stream(call, file, message);
    case SOCK_DGRAM: return send_datagram(call, file, message);
    default: return send_whole(call, file, message);
    }
}

/* ---- receiving ---- */

/* Who sent it and what goes along. */
static void tell_about(struct call *call, struct local *local, struct packet *packet, struct socket_message *message)
{
    if (local->pass_credentials)
        socket_control_put(message, SOL_SOCKET, SCM_CREDENTIALS, &packet->sender, sizeof packet->sender);
    if (packet->rights == NULL)
        return;
    bool keep = message->flags & MSG_PEEK;
    struct rights *rights = packet->rights;
    if (!keep)
        packet->rights = NULL;
    rights_deliver(call, message, rights, keep);
}

static void consumed(struct local *local)
{
    queue_wake(&local->changed);
    if (local->peer != NULL)
        queue_wake(&local->peer->changed);
}

static int64_t receive_waits(struct call *call, struct local *local, const struct socket_message *message)
{
    return socket_waits(call, &local->changed, local->reading ? message->flags & ~(uint32_t)MSG_DONTWAIT : message->flags,
                        local->socket.receive_timeout);
}

/* Copy out of the first packet while nobody else does. */
static int copy_packet(struct call *call, struct local *local, struct packet *packet, struct socket_message *message, size_t at,
                       uint32_t from, uint32_t size)
{
    local->reading = true;
    int error = io_copy_out(call, &message->io, at, packet->data + from, size);
    local->reading = false;
    queue_wake(&local->changed);
    return error;
}

static int64_t receive_packet(struct call *call, struct local *local, struct socket_message *message)
{
    if (local->error != 0)
        return local_take_error(local);
    if (local->packet_count == 0 && local->shut_read)
        return 0;
    if (local->packet_count == 0 || local->reading)
        return receive_waits(call, local, message);
    struct packet *packet = first_packet(local);
    uint32_t whole = packet->size, size = message->io.total < whole ? (uint32_t)message->io.total : whole;
    /* It is ours alone while `reading` is set. */
    int error = copy_packet(call, local, packet, message, 0, 0, size);
    if (error != 0)
        return error;
    if (packet->from != NULL)
        message->address = packet->from->address;
    message->flags_out |= size < whole ? MSG_TRUNC : 0;
    message->flags_out |= local->socket.type == SOCK_SEQPACKET ? MSG_EOR : 0;
    tell_about(call, local, packet, message);
    if (!(message->flags & MSG_PEEK)) {
        take_off(local, packet);
        consumed(local);
    }
    return message->flags & MSG_TRUNC ? whole : size;
}

/* From the packets that are there. *ended: what follows is not to be joined to it. */
static int64_t receive_pieces(struct call *call, struct local *local, struct socket_message *message, bool *ended)
{
    struct ucred sender = { 0 };
    bool first = call->progress == 0;
    while (local->packet_count > 0 && !local->reading && (size_t)call->progress < message->io.total) {
        struct packet *packet = first_packet(local);
        if (!first && (packet->rights != NULL || (local->pass_credentials && !same_sender(&sender, &packet->sender)))) {
            *ended = true;
            break;
        }
        sender = packet->sender;
        size_t left = message->io.total - (size_t)call->progress;
        uint32_t there = packet->size - packet->taken, size = left < there ? (uint32_t)left : there;
        int error = copy_packet(call, local, packet, message, (size_t)call->progress, packet->taken, size);
        if (error != 0)
            return call->progress > 0 ? 0 : error;
        *ended = packet->rights != NULL;
        if (first || packet->rights != NULL)
            tell_about(call, local, packet, message);
        first = false;
        call->progress += size;
        packet->taken += size;
        if (packet->taken == packet->size) {
            take_off(local, packet);
            consumed(local);
        }
        if (*ended)
            break;
    }
    return 0;
}

/* The same without taking: over the borders of packets, too, up to the next descriptors. */
static int64_t peek_pieces(struct call *call, struct local *local, struct socket_message *message)
{
    size_t done = 0;
    uint8_t *copy = malloc(message->io.total < local->queued ? message->io.total : local->queued);
    if (copy == NULL)
        return -ENOMEM;
    LIST_EACH(&local->packets, at) {
        struct packet *packet = LIST_ENTRY(at, struct packet, link);
        size_t left = message->io.total - done, there = packet->size - packet->taken, size = left < there ? left : there;
        if (size == 0 || (done > 0 && packet->rights != NULL))
            break;
        memcpy(copy + done, packet->data + packet->taken, size);
        if (done == 0)
            tell_about(call, local, packet, message);
        done += size;
    }
    int error = io_copy_out(call, &message->io, 0, copy, done);
    free(copy);
    return error != 0 ? error : (int64_t)done;
}

static int64_t receive_stream(struct call *call, struct file *file, struct socket_message *message)
{
    struct local *local = local_of(file);
    bool ended = false;
    if (local->state != LOCAL_CONNECTED)
        return -EINVAL;
    if (message->io.total == 0)
        return 0;
    if ((message->flags & MSG_PEEK) && local->packet_count > 0 && !local->reading)
        return peek_pieces(call, local, message);
    int64_t result = receive_pieces(call, local, message, &ended);
    bool enough = (size_t)call->progress == message->io.total || ended || !(message->flags & MSG_WAITALL);
    if (result < 0 || (call->progress > 0 && enough))
        return result < 0 ? result : call->progress;
    if (local->packet_count == 0 && call->progress == 0 && local->error != 0)
        return local_take_error(local);
    if (local->packet_count == 0 && local->shut_read)
        return call->progress;
    return receive_waits(call, local, message);
}

int64_t local_receive(struct call *call, struct file *file, struct socket_message *message)
{
    struct local *local = local_of(file);
    if (message->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (message->flags & MSG_ERRQUEUE)
        return -EAGAIN;
    if (local->socket.type == SOCK_STREAM)
        return receive_stream(call, file, message);
    if (local->socket.type == SOCK_SEQPACKET && local->state != LOCAL_CONNECTED)
        return -ENOTCONN;
    return receive_packet(call, local, message);
}
