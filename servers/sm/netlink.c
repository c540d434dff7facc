/* Sockets of AF_NETLINK. Each message is carried out when it is sent, so that its answers, whole dumps among them, wait to be received at once. There is one
 * protocol: NETLINK_ROUTE.
 */

#include "netlink.h"

#include <errno.h>
#include <string.h>

#include "rtnetlink.h"

#define LOWEST_NAME 0x40000000u /* of sockets that choose none: above all numbers of processes */

/* ---- what comes ---- */

int netlink_attributes(const struct netlink_request *request, size_t skip, const uint8_t *least, struct netlink_attribute *found, unsigned most)
{
    memset(found, 0, (most + 1) * sizeof *found);
    if (request->size < skip)
        return -EINVAL;
    for (size_t at = NLMSG_ALIGN(skip); at < request->size && request->size - at >= NLA_HDRLEN;) {
        struct nlattr head;
        memcpy(&head, request->payload + at, sizeof head);
        if (head.nla_len < NLA_HDRLEN || head.nla_len > request->size - at)
            break;
        unsigned type = head.nla_type & NLA_TYPE_MASK;
        uint32_t size = (uint32_t)(head.nla_len - NLA_HDRLEN);
        if (type > 0 && type <= most) {
            if (size < least[type])
                return -ERANGE;
            found[type] = (struct netlink_attribute){ request->payload + at + NLA_HDRLEN, size };
        }
        at += NLA_ALIGN(head.nla_len);
    }
    return 0;
}

uint32_t netlink_u32(const struct netlink_attribute *attribute)
{
    uint32_t number = 0;
    if (attribute->data != NULL && attribute->size >= sizeof number)
        memcpy(&number, attribute->data, sizeof number);
    return number;
}

/* ---- what goes ---- */

static bool deliver_to(struct sock *sock, const uint8_t *bytes, size_t size, unsigned group)
{
    struct sockaddr_nl from = { .nl_family = AF_NETLINK, .nl_groups = group == 0 ? 0 : 1u << (group - 1) };
    bool is_full = sock->queued + size > sock->receive_buffer;
    struct pbuf *data = is_full ? NULL : pbuf_alloc(PBUF_RAW, (u16_t)size, PBUF_RAM);
    struct received *received = data == NULL ? NULL : sock_put(sock, data, NULL, 0);
    if (received == NULL) {
        if (data != NULL)
            pbuf_free(data);
        sock->error = ENOBUFS;
        sock_happened(sock);
        return false;
    }
    memcpy(data->payload, bytes, size);
    memcpy(received->link, &from, sizeof from);
    return true;
}

static void deliver(struct netlink_writer *writer, size_t size)
{
    if (size == 0)
        return;
    if (writer->sock != NULL) {
        writer->failed = writer->failed || !deliver_to(writer->sock, writer->bytes, size, 0);
        return;
    }
    for (struct sock *sock = socks; sock != NULL; sock = sock->all_next)
        if (sock->kind == &netlink_kind && sock->netlink_groups >> (writer->group - 1) & 1)
            deliver_to(sock, writer->bytes, size, writer->group);
}

/* The bytes are left as they are: all that is looked at is written before. */
static void begin_writer(struct netlink_writer *writer, struct sock *sock, unsigned group, uint32_t sequence, uint16_t flags)
{
    writer->sock = sock;
    writer->group = group;
    writer->sequence = sequence;
    writer->flags = flags;
    writer->failed = false;
    writer->size = writer->begun = 0;
}

void netlink_answer(struct netlink_writer *writer, const struct netlink_request *request, uint16_t flags)
{
    begin_writer(writer, request->sock, 0, request->header.nlmsg_seq, flags);
}

void netlink_publish(struct netlink_writer *writer, unsigned group)
{
    begin_writer(writer, NULL, group, 0, 0);
}

static void put_bytes(struct netlink_writer *writer, const void *bytes, size_t size)
{
    memcpy(writer->bytes + writer->size, bytes, size);
    memset(writer->bytes + writer->size + size, 0, NLMSG_ALIGN(size) - size);
    writer->size += (uint32_t)NLMSG_ALIGN(size);
}

static bool has_room(const struct netlink_writer *writer, size_t size)
{
    return writer->size - writer->begun + NLMSG_ALIGN(size) <= NETLINK_MESSAGE_MOST;
}

void netlink_begin(struct netlink_writer *writer, uint16_t type, const void *header, size_t size)
{
    struct nlmsghdr head = { .nlmsg_type = type, .nlmsg_flags = writer->flags, .nlmsg_seq = writer->sequence };
    head.nlmsg_pid = writer->sock != NULL ? writer->sock->netlink_port : 0;
    writer->begun = writer->size;
    put_bytes(writer, &head, sizeof head);
    if (has_room(writer, size))
        put_bytes(writer, header, size);
}

void netlink_put(struct netlink_writer *writer, uint16_t type, const void *data, size_t size)
{
    struct nlattr head = { .nla_len = (uint16_t)(NLA_HDRLEN + size), .nla_type = type };
    if (!has_room(writer, NLA_HDRLEN + size))
        return;
    put_bytes(writer, &head, sizeof head);
    put_bytes(writer, data, size);
}

void netlink_put_u32(struct netlink_writer *writer, uint16_t type, uint32_t number)
{
    netlink_put(writer, type, &number, sizeof number);
}

void netlink_put_string(struct netlink_writer *writer, uint16_t type, const char *text)
{
    netlink_put(writer, type, text, strlen(text) + 1);
}

/* When it does not fit behind the ones before those go first. */
void netlink_end(struct netlink_writer *writer)
{
    uint32_t length = writer->size - writer->begun;
    memcpy(writer->bytes + writer->begun, &length, sizeof length); /* nlmsg_len is the first field */
    if (writer->size <= NETLINK_DATAGRAM)
        return;
    deliver(writer, writer->begun);
    memmove(writer->bytes, writer->bytes + writer->begun, length);
    writer->size = length;
    writer->begun = 0;
}

void netlink_flush(struct netlink_writer *writer)
{
    deliver(writer, writer->size);
    writer->size = writer->begun = 0;
}

/* ---- names ---- */

static bool is_taken(uint32_t name)
{
    for (struct sock *sock = socks; sock != NULL; sock = sock->all_next)
        if (sock->kind == &netlink_kind && sock->netlink_port == name)
            return true;
    return false;
}

static uint32_t name_new(void)
{
    static uint32_t last;
    do
        last = (last + 1) % LOWEST_NAME;
    while (is_taken(LOWEST_NAME + last));
    return LOWEST_NAME + last;
}

/* ---- requests ---- */

/* An error brings the request back, an acknowledgement its header. */
static void acknowledge(const struct netlink_request *request, int status)
{
    static uint8_t bytes[0xffff];
    struct nlmsgerr error = { .error = status, .msg = request->header };
    struct nlmsghdr head = { .nlmsg_type = NLMSG_ERROR, .nlmsg_seq = request->header.nlmsg_seq, .nlmsg_pid = request->sock->netlink_port };
    bool capped = status == 0 || request->sock->netlink_cap_ack || request->size > sizeof bytes - sizeof head - sizeof error;
    head.nlmsg_flags = capped ? NLM_F_CAPPED : 0;
    head.nlmsg_len = (uint32_t)(sizeof head + sizeof error + (capped ? 0 : request->size));
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, &error, sizeof error);
    memcpy(bytes + sizeof head + sizeof error, request->payload, capped ? 0 : request->size);
    deliver_to(request->sock, bytes, head.nlmsg_len, 0);
}

static int carry_out(struct netlink_request *request, bool *is_answered)
{
    if (!(request->header.nlmsg_flags & NLM_F_REQUEST) || request->header.nlmsg_type < NLMSG_MIN_TYPE)
        return 0;
    return rtnetlink_request(request, is_answered);
}

static int send_netlink(struct sock *sock, struct sm_call *call)
{
    struct netlink_request request = { .sock = sock, .privileged = call->request->flags & SOCKET_PRIVILEGED };
    struct sockaddr_nl to = { 0 };
    static uint8_t messages[SOCKET_BODY_MAX]; /* the body is the answer's room, too */
    if (call->request->address_size > 0 && call->request->address_size < sizeof to)
        return -EINVAL;
    if (call->size == 0)
        return -ENODATA;
    memcpy(&to, call->request->address, call->request->address_size == 0 ? 0 : sizeof to);
    if (call->request->address_size > 0 && to.nl_family != AF_NETLINK)
        return -EINVAL;
    if (to.nl_pid != 0 || to.nl_groups != 0)
        return request.privileged ? -ECONNREFUSED : -EPERM;
    if (sock->netlink_port == 0)
        sock->netlink_port = name_new();
    memcpy(messages, call->body, call->size);
    for (uint32_t at = 0; at < call->size && call->size - at >= NLMSG_HDRLEN;) {
        memcpy(&request.header, messages + at, sizeof request.header);
        if (request.header.nlmsg_len < NLMSG_HDRLEN || request.header.nlmsg_len > call->size - at)
            break;
        request.payload = messages + at + NLMSG_HDRLEN;
        request.size = request.header.nlmsg_len - NLMSG_HDRLEN;
        bool is_answered = false;
        int status = carry_out(&request, &is_answered);
        if (!is_answered && (status != 0 || request.header.nlmsg_flags & NLM_F_ACK))
            acknowledge(&request, status);
        at += NLMSG_ALIGN(request.header.nlmsg_len);
    }
    call->reply->length = call->size;
    return 0;
}

static int receive_netlink(struct sock *sock, struct sm_call *call)
{
    return sock->error != 0 ? sock_take_error(sock) : sock_receive_linked(sock, call, sizeof(struct sockaddr_nl));
}

/* ---- being named ---- */

static int address_of(const struct sm_call *call, struct sockaddr_nl *to)
{
    if (call->request->address_size < sizeof *to)
        return -EINVAL;
    memcpy(to, call->request->address, sizeof *to);
    return to->nl_family == AF_NETLINK ? 0 : -EINVAL;
}

static int bind_netlink(struct sock *sock, struct sm_call *call)
{
    struct sockaddr_nl to;
    int error = address_of(call, &to);
    if (error != 0)
        return error;
    if (sock->netlink_port != 0 && to.nl_pid != sock->netlink_port && to.nl_pid != 0)
        return -EINVAL;
    if (sock->netlink_port == 0 && to.nl_pid != 0 && is_taken(to.nl_pid))
        return -EADDRINUSE;
    if (sock->netlink_port == 0)
        sock->netlink_port = to.nl_pid != 0 ? to.nl_pid : name_new();
    sock->netlink_groups = to.nl_groups;
    return 0;
}

/* To the kernel: there is nobody else. */
static int connect_netlink(struct sock *sock, struct sm_call *call)
{
    struct sockaddr_nl to;
    sa_family_t family = AF_UNSPEC;
    if (call->request->address_size >= sizeof family)
        memcpy(&family, call->request->address, sizeof family);
    if (family == AF_UNSPEC && call->request->address_size >= sizeof family)
        return 0;
    int error = address_of(call, &to);
    if (error != 0)
        return error;
    if (sock->netlink_port == 0)
        sock->netlink_port = name_new();
    return to.nl_pid == 0 && to.nl_groups == 0 ? 0 : -EPERM;
}

static int name_netlink(struct sock *sock, struct sm_call *call)
{
    struct sockaddr_nl name = { .nl_family = AF_NETLINK };
    if (!(call->request->flags & SOCKET_OF_PEER)) {
        name.nl_pid = sock->netlink_port;
        name.nl_groups = sock->netlink_groups;
    }
    memcpy(call->reply->address, &name, sizeof name);
    call->reply->address_size = sizeof name;
    return 0;
}

/* ---- the rest ---- */

static int open_netlink(struct sock *sock)
{
    (void)sock;
    return 0;
}

static void close_netlink(struct sock *sock)
{
    sock_free(sock);
}

static int shutdown_netlink(struct sock *sock, int how)
{
    (void)sock, (void)how;
    return -EOPNOTSUPP;
}

static unsigned events_netlink(struct sock *sock)
{
    return POLLOUT | POLLWRNORM | (sock->first != NULL ? POLLIN | POLLRDNORM : 0) | (sock->error != 0 ? POLLERR : 0);
}

static int set_netlink(struct sock *sock, int level, int option, int number)
{
    bool joins = option == NETLINK_ADD_MEMBERSHIP;
    if (level != SOL_NETLINK)
        return -ENOPROTOOPT;
    switch (option) {
    case NETLINK_ADD_MEMBERSHIP:
    case NETLINK_DROP_MEMBERSHIP:
        if (number < 1 || number > 32)
            return -EINVAL;
        sock->netlink_groups = (sock->netlink_groups & ~(1u << (number - 1))) | (joins ? 1u << (number - 1) : 0);
        return 0;
    case NETLINK_CAP_ACK: sock->netlink_cap_ack = number != 0; return 0;
    case NETLINK_EXT_ACK: /* there is nothing more to say of errors */
    case NETLINK_NO_ENOBUFS:
    case NETLINK_BROADCAST_ERROR: return 0;
    default: return -ENOPROTOOPT;
    }
}

static void no_ip_options(struct sock *sock)
{
    (void)sock;
}

const struct sock_kind netlink_kind = {
    .open = open_netlink, .close = close_netlink, .bind_link = bind_netlink, .connect_link = connect_netlink, .name_link = name_netlink,
    .send = send_netlink, .receive = receive_netlink, .shutdown = shutdown_netlink, .events = events_netlink, .set_option = set_netlink,
    .ip_options = no_ip_options,
};
