/* Sockets of TCP. lwIP calls back when a connection is made, data come, room is free, or all is over; the control block is gone then. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#undef TCP_MSS
#include <string.h>

#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>

#include "bounds.h"
#include "stack.h"

#define BACKLOG_MOST 255u
#define PIECE_MOST 0xffffu
#define TICK (2000u * TCP_TMR_INTERVAL) /* us: lwIP's of round trips */

uint8_t tcp_linux_state(int of_lwip)
{
    static const uint8_t of[] = { [CLOSED] = 7, [LISTEN] = 10, [SYN_SENT] = 2, [SYN_RCVD] = 3, [ESTABLISHED] = 1, [FIN_WAIT_1] = 4,
                                  [FIN_WAIT_2] = 5, [CLOSE_WAIT] = 8, [CLOSING] = 11, [LAST_ACK] = 9, [TIME_WAIT] = 6 };
    return of[of_lwip];
}

/* ---- what lwIP says ---- */

static void let_go(struct tcp_pcb *pcb)
{
    tcp_arg(pcb, NULL);
    if (pcb->state == LISTEN) {
        tcp_accept(pcb, NULL);
        return;
    }
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
}

static void leave_pending(struct sock *sock)
{
    struct sock *listener = sock->listener, **at;
    if (listener == NULL)
        return;
    at = &listener->pending;
    while (*at != sock)
        at = &(*at)->pending;
    *at = sock->pending;
    if (listener->pending_last == &sock->pending)
        listener->pending_last = at;
    listener->pending_count--;
    sock->listener = NULL;
    sock->pending = NULL;
}

static void on_error(void *argument, err_t error)
{
    struct sock *sock = argument;
    bool refused = sock->state == TCP_CONNECTING && error == ERR_RST;
    sock->tcp = NULL;
    sock->state = TCP_DEAD;
    sock->ended = true;
    sock->error = refused ? ECONNREFUSED : error == ERR_RST ? ECONNRESET : error == ERR_CLSD ? 0 : ETIMEDOUT;
    if (sock->listener != NULL) {
        leave_pending(sock);
        sock_free(sock);
        return;
    }
    sock_happened(sock);
}

/* lwIP lets go of a connection in TIME_WAIT without a word: before it does, no socket has it any more. */
void tcp_leave_time_wait(void)
{
    for (struct tcp_pcb *pcb = tcp_tw_pcbs; pcb != NULL; pcb = pcb->next) {
        struct sock *sock = pcb->callback_arg;
        if (pcb->errf == NULL)
            continue;
        let_go(pcb);
        on_error(sock, ERR_CLSD);
    }
}

static err_t on_received(void *argument, struct tcp_pcb *pcb, struct pbuf *data, err_t error)
{
    struct sock *sock = argument;
    (void)error;
    if (data == NULL) {
        sock->ended = true;
        sock_happened(sock);
        return ERR_OK;
    }
    if (!sock->shut_read)
        return sock_put(sock, data, NULL, 0) == NULL ? ERR_MEM : ERR_OK;
    tcp_recved(pcb, data->tot_len);
    pbuf_free(data);
    return ERR_OK;
}

static err_t on_sent(void *argument, struct tcp_pcb *pcb, u16_t length)
{
    (void)pcb;
    bounds_sent(argument, length);
    sock_happened(argument);
    return ERR_OK;
}

/* On this machine small segments cost little, and nobody holds them back for an acknowledgement that is late. */
static bool is_on_this_machine(const struct tcp_pcb *pcb)
{
    return pcb->remote_port != 0 && ip_addr_cmp(&pcb->local_ip, &pcb->remote_ip);
}

static void pass_options(struct sock *sock)
{
    struct tcp_pcb *pcb = sock->tcp;
    if (pcb == NULL)
        return;
    pcb->ttl = (u8_t)sock->ttl;
    pcb->tos = (u8_t)sock->traffic_class;
    pcb->so_options = (u8_t)((sock->reuse_address ? SOF_REUSEADDR : 0) | (sock->keep_alive ? SOF_KEEPALIVE : 0));
    if (sock->state == TCP_LISTENING)
        return;
    if (sock->no_delay || is_on_this_machine(pcb))
        tcp_nagle_disable(pcb);
    else
        tcp_nagle_enable(pcb);
    if (sock->state == TCP_FRESH && address_is_any(&pcb->local_ip))
        IP_SET_TYPE(&pcb->local_ip, address_type(sock));
}

static err_t on_connected(void *argument, struct tcp_pcb *pcb, err_t error)
{
    struct sock *sock = argument;
    (void)pcb, (void)error;
    sock->state = TCP_CONNECTED;
    bounds_begin(sock);
    pass_options(sock);
    sock_happened(sock);
    return ERR_OK;
}

static void attach(struct sock *sock, struct tcp_pcb *pcb)
{
    sock->tcp = pcb;
    tcp_arg(pcb, sock);
    tcp_recv(pcb, on_received);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_error);
}

static err_t on_accepted(void *argument, struct tcp_pcb *pcb, err_t error)
{
    struct sock *listener = argument, *sock;
    if (error != ERR_OK || pcb == NULL)
        return ERR_VAL;
    sock = sock_new(&tcp_kind, listener->family, listener->type, listener->protocol);
    if (sock == NULL)
        return ERR_MEM; /* lwIP resets it */
    sock->client = listener->client;
    sock->state = TCP_CONNECTED;
    sock->ttl = listener->ttl;
    sock->traffic_class = listener->traffic_class;
    sock->no_delay = listener->no_delay;
    sock->keep_alive = listener->keep_alive;
    sock->reuse_address = listener->reuse_address;
    attach(sock, pcb);
    bounds_begin(sock);
    pass_options(sock);
    tcp_backlog_delayed(pcb);
    sock->listener = listener;
    *listener->pending_last = sock;
    listener->pending_last = &sock->pending;
    listener->pending_count++;
    sock_happened(listener);
    return ERR_OK;
}

/* ---- what programs ask for ---- */

static int open_tcp(struct sock *sock)
{
    struct tcp_pcb *pcb = tcp_new_ip_type(address_type(sock));
    if (pcb == NULL)
        return -ENOBUFS;
    attach(sock, pcb);
    pass_options(sock);
    return 0;
}

static void close_pcb(struct sock *sock)
{
    struct tcp_pcb *pcb = sock->tcp;
    if (pcb == NULL)
        return;
    if (sock->state == TCP_CONNECTED)
        bounds_end(sock);
    sock->tcp = NULL;
    let_go(pcb);
    if ((sock->linger && sock->linger_time == 0 && pcb->state != CLOSED && pcb->state != LISTEN) || tcp_close(pcb) != ERR_OK)
        tcp_abort(pcb);
}

static void close_tcp(struct sock *sock)
{
    while (sock->state == TCP_LISTENING && sock->pending != NULL) {
        struct sock *waiting = sock->pending;
        struct tcp_pcb *pcb = waiting->tcp;
        leave_pending(waiting);
        let_go(pcb);
        tcp_abort(pcb);
        sock_free(waiting);
    }
    close_pcb(sock);
    sock_free(sock);
}

static int bind_tcp(struct sock *sock, const ip_addr_t *address, uint16_t port)
{
    if (sock->state != TCP_FRESH || sock->tcp->local_port != 0)
        return -EINVAL;
    int error = stack_error(tcp_bind(sock->tcp, address, port));
    return error;
}

static int connect_tcp(struct sock *sock, const ip_addr_t *address, uint16_t port)
{
    switch (sock->state) {
    case TCP_CONNECTING: return -EALREADY;
    case TCP_CONNECTED:
    case TCP_LISTENING: return -EISCONN;
    case TCP_DEAD:
        if (sock->error != 0)
            return sock_take_error(sock);
        sock->state = TCP_FRESH;
        sock->ended = false;
        if (open_tcp(sock) != 0) {
            sock->state = TCP_DEAD;
            return -ENOBUFS;
        }
        break;
    default: break;
    }
    if (ip_addr_ismulticast(address))
        return -ENETUNREACH;
    if (port == 0)
        return -ECONNREFUSED;
    err_t error = tcp_connect(sock->tcp, address, port, on_connected);
    if (error == ERR_RTE || error == ERR_VAL)
        return -ENETUNREACH;
    if (error != ERR_OK)
        return error == ERR_USE || error == ERR_BUF ? -EADDRNOTAVAIL : stack_error(error);
    sock->state = TCP_CONNECTING;
    stack_run(); /* on this machine it is connected at once */
    if (sock->state == TCP_CONNECTED)
        return 0;
    return sock->state == TCP_DEAD ? sock_take_error(sock) : -EINPROGRESS;
}

static int listen_tcp(struct sock *sock, unsigned backlog)
{
    backlog = backlog == 0 ? 1 : backlog < BACKLOG_MOST ? backlog : BACKLOG_MOST;
    if (sock->state == TCP_LISTENING) {
        sock->backlog = backlog;
        return 0;
    }
    if (sock->state != TCP_FRESH)
        return -EINVAL;
    if (sock->tcp->local_port == 0) {
        ip_addr_t any;
        memset(&any, 0, sizeof any);
        IP_SET_TYPE(&any, address_type(sock));
        int error = bind_tcp(sock, &any, 0);
        if (error != 0)
            return error;
    }
    err_t error;
    struct tcp_pcb *pcb = tcp_listen_with_backlog_and_err(sock->tcp, BACKLOG_MOST, &error);
    if (pcb == NULL)
        return stack_error(error);
    sock->backlog = backlog;
    sock->tcp = pcb;
    sock->state = TCP_LISTENING;
    tcp_arg(pcb, sock);
    tcp_accept(pcb, on_accepted);
    sock_happened(sock);
    return 0;
}

/* Who found the listener full, on this machine, need not wait until its time-out tells it to try again. */
static void let_in(const struct tcp_pcb *listener)
{
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next) {
        if (pcb->state != SYN_SENT || pcb->remote_port != listener->local_port || !is_on_this_machine(pcb) || pcb->unacked == NULL)
            continue;
        pcb->nrtx = 0;
        tcp_rexmit_rto(pcb);
        return;
    }
}

static int accept_tcp(struct sock *sock, struct sock **ret_sock)
{
    if (sock->state != TCP_LISTENING)
        return -EINVAL;
    if (sock->pending == NULL)
        return -EAGAIN;
    struct sock *connection = sock->pending;
    leave_pending(connection);
    tcp_backlog_accepted(connection->tcp);
    let_in(sock->tcp);
    *ret_sock = connection;
    return 0;
}

static int send_tcp(struct sock *sock, struct sm_call *call)
{
    if (sock->error != 0)
        return sock_take_error(sock);
    if (sock->state == TCP_CONNECTING)
        return -EAGAIN;
    if (sock->state != TCP_CONNECTED || sock->shut_write)
        return -EPIPE;
    uint32_t done = 0, room = bounds_send_room(sock), size = call->size < room ? call->size : room;
    bool more = (call->request->message_flags & MSG_MORE) || sock->cork;
    err_t error = ERR_OK;
    while (done < size && error == ERR_OK) {
        uint32_t piece = size - done < PIECE_MOST ? size - done : PIECE_MOST;
        bool last = done + piece == call->size && !more;
        error = tcp_write(sock->tcp, call->body + done, (u16_t)piece, (u8_t)(TCP_WRITE_FLAG_COPY | (last ? 0 : TCP_WRITE_FLAG_MORE)));
        done += error == ERR_OK ? piece : 0;
    }
    if (!more || done < call->size) /* who has more to say and no room for it waits until something was sent */
        tcp_output(sock->tcp);
    call->reply->length = done;
    return done == 0 && call->size > 0 ? -EAGAIN : 0;
}

/* Data that were received make room for more. */
static void make_room(struct sock *sock, size_t size)
{
    size += bounds_read(sock, size);
    for (; sock->tcp != NULL && size > 0; size -= size < PIECE_MOST ? size : PIECE_MOST)
        tcp_recved(sock->tcp, (u16_t)(size < PIECE_MOST ? size : PIECE_MOST));
}

static int receive_tcp(struct sock *sock, struct sm_call *call)
{
    uint32_t wanted = call->request->length < SOCKET_BODY_MAX ? call->request->length : SOCKET_BODY_MAX, done = 0;
    bool peek = call->request->message_flags & MSG_PEEK;
    if (sock->first == NULL && sock->error != 0)
        return sock_take_error(sock);
    if (sock->state == TCP_FRESH || sock->state == TCP_LISTENING)
        return -ENOTCONN;
    if (sock->first == NULL)
        return sock->ended || sock->shut_read ? 0 : -EAGAIN;
    for (struct received *received = sock->first, *next; received != NULL && done < wanted; received = next) {
        size_t there = received->data->tot_len - received->taken, size = wanted - done < there ? wanted - done : there;
        next = received->next;
        pbuf_copy_partial(received->data, call->body + done, (u16_t)size, (u16_t)received->taken);
        done += (uint32_t)size;
        if (peek)
            continue;
        received->taken += size;
        sock->queued -= size;
        if (size == there)
            sock_drop_first(sock);
    }
    if (!peek)
        make_room(sock, done);
    call->reply->length = call->reply->whole_length = call->answer_size = done;
    return 0;
}

static int shutdown_tcp(struct sock *sock, int how)
{
    if (sock->state == TCP_LISTENING && how != SHUT_WR)
        return 0;
    if (sock->state != TCP_CONNECTED)
        return -ENOTCONN;
    if (how != SHUT_WR)
        sock->shut_read = true;
    if (how != SHUT_RD && !sock->shut_write) {
        sock->shut_write = true;
        tcp_shutdown(sock->tcp, 0, 1);
    }
    sock_happened(sock);
    return 0;
}

static int name_tcp(struct sock *sock, bool of_peer, ip_addr_t *address, uint16_t *port)
{
    if (of_peer && (sock->state != TCP_CONNECTED || sock->tcp == NULL))
        return -ENOTCONN;
    memset(address, 0, sizeof *address);
    *port = 0;
    if (sock->tcp == NULL)
        return 0;
    *address = of_peer ? sock->tcp->remote_ip : sock->tcp->local_ip;
    *port = of_peer ? sock->tcp->remote_port : sock->tcp->local_port;
    return 0;
}

static unsigned events_tcp(struct sock *sock)
{
    unsigned events = sock->error != 0 ? POLLERR : 0;
    if (sock->first != NULL || sock->ended || sock->shut_read || sock->pending_count > 0)
        events |= POLLIN | POLLRDNORM;
    switch (sock->state) {
    case TCP_FRESH: return events | POLLOUT | POLLWRNORM | POLLHUP;
    case TCP_CONNECTING: return events;
    case TCP_LISTENING: return events;
    case TCP_DEAD: return events | POLLOUT | POLLWRNORM | POLLHUP | POLLRDHUP;
    default: break;
    }
    events |= sock->ended || sock->shut_read ? POLLRDHUP : 0;
    events |= sock->ended && sock->shut_write ? POLLHUP : 0;
    if (sock->shut_write || (bounds_send_room(sock) >= sock->send_room / 4 && sock->tcp->snd_queuelen < TCP_SNDQUEUELOWAT))
        events |= POLLOUT | POLLWRNORM;
    return events;
}

static size_t unsent_tcp(struct sock *sock)
{
    return sock->state == TCP_CONNECTED ? TCP_SND_BUF - sock->tcp->snd_buf : 0;
}

/* ---- options ---- */

static int set_tcp(struct sock *sock, int level, int option, int number)
{
    struct tcp_pcb *pcb = sock->state == TCP_LISTENING ? NULL : sock->tcp;
    if (level != IPPROTO_TCP)
        return -ENOPROTOOPT;
    switch (option) {
    case TCP_NODELAY:
        sock->no_delay = number != 0;
        pass_options(sock);
        if (sock->no_delay && pcb != NULL && sock->state == TCP_CONNECTED)
            tcp_output(pcb);
        return 0;
    case TCP_CORK:
        sock->cork = number != 0;
        if (!sock->cork && pcb != NULL && sock->state == TCP_CONNECTED)
            tcp_output(pcb);
        return 0;
    case TCP_KEEPIDLE:
    case TCP_KEEPINTVL:
    case TCP_KEEPCNT:
        if (number < 1 || number > 32767)
            return -EINVAL;
        if (pcb != NULL && option == TCP_KEEPIDLE)
            pcb->keep_idle = (u32_t)number * 1000;
        else if (pcb != NULL && option == TCP_KEEPINTVL)
            pcb->keep_intvl = (u32_t)number * 1000;
        else if (pcb != NULL)
            pcb->keep_cnt = (u32_t)number;
        return 0;
    case TCP_MAXSEG:
    case TCP_QUICKACK:
    case TCP_DEFER_ACCEPT:
    case TCP_SYNCNT:
    case TCP_LINGER2:
    case TCP_USER_TIMEOUT:
    case TCP_NOTSENT_LOWAT:
    case TCP_WINDOW_CLAMP: return 0; /* hints; not followed */
    default: return -ENOPROTOOPT;
    }
}

/* As far as lwIP knows: times in its ticks, no counts of what was sent again. */
static int get_info(const struct sock *sock, struct sm_call *call)
{
    struct tcp_info info = { 0 };
    const struct tcp_pcb *pcb = sock->state == TCP_LISTENING ? NULL : sock->tcp;
    info.tcpi_state = pcb != NULL ? tcp_linux_state(pcb->state) : sock->state == TCP_LISTENING ? TCP_LISTEN : TCP_CLOSE;
    if (pcb != NULL) {
        info.tcpi_options = (pcb->flags & TF_WND_SCALE ? TCPI_OPT_WSCALE : 0) | (pcb->flags & TF_SACK ? TCPI_OPT_SACK : 0);
        info.tcpi_snd_wscale = pcb->snd_scale & 15;
        info.tcpi_rcv_wscale = pcb->rcv_scale & 15;
        info.tcpi_retransmits = pcb->nrtx;
        info.tcpi_rto = (uint32_t)pcb->rto * TICK;
        info.tcpi_snd_mss = info.tcpi_rcv_mss = info.tcpi_advmss = pcb->mss;
        info.tcpi_pmtu = pcb->mss + (IP_IS_V6_VAL(pcb->remote_ip) ? 60 : 40);
        info.tcpi_unacked = pcb->snd_queuelen;
        info.tcpi_rtt = (uint32_t)(pcb->sa >> 3) * TICK;
        info.tcpi_rttvar = (uint32_t)(pcb->sv >> 2) * TICK;
        info.tcpi_snd_ssthresh = pcb->ssthresh / pcb->mss;
        info.tcpi_snd_cwnd = pcb->cwnd / pcb->mss;
        info.tcpi_rcv_space = pcb->rcv_wnd;
    }
    memcpy(call->body, &info, sizeof info);
    call->answer_size = sizeof info;
    return 0;
}

static int get_congestion(struct sm_call *call)
{
    static const char name[16] = "reno";
    memcpy(call->body, name, sizeof name);
    call->answer_size = sizeof name;
    return 0;
}

static int get_tcp(struct sock *sock, int level, int option, struct sm_call *call, int *ret_number)
{
    const struct tcp_pcb *pcb = sock->state == TCP_LISTENING ? NULL : sock->tcp;
    if (level == SOL_SOCKET && option == SO_ACCEPTCONN) {
        *ret_number = sock->state == TCP_LISTENING;
        return 0;
    }
    if (level != IPPROTO_TCP)
        return -ENOPROTOOPT;
    *ret_number = 0;
    switch (option) {
    case TCP_INFO: return get_info(sock, call);
    case TCP_CONGESTION: return get_congestion(call);
    case TCP_NODELAY: *ret_number = sock->no_delay; return 0;
    case TCP_CORK: *ret_number = sock->cork; return 0;
    case TCP_MAXSEG: *ret_number = pcb != NULL ? pcb->mss : 536; return 0;
    case TCP_KEEPIDLE: *ret_number = pcb != NULL ? (int)(pcb->keep_idle / 1000) : 7200; return 0;
    case TCP_KEEPINTVL: *ret_number = pcb != NULL ? (int)(pcb->keep_intvl / 1000) : 75; return 0;
    case TCP_KEEPCNT: *ret_number = pcb != NULL ? (int)pcb->keep_cnt : 9; return 0;
    case TCP_QUICKACK:
    case TCP_DEFER_ACCEPT:
    case TCP_SYNCNT:
    case TCP_LINGER2:
    case TCP_USER_TIMEOUT:
    case TCP_NOTSENT_LOWAT:
    case TCP_WINDOW_CLAMP: return 0;
    default: return -ENOPROTOOPT;
    }
}

const struct sock_kind tcp_kind = {
    .open = open_tcp, .close = close_tcp, .bind = bind_tcp, .connect = connect_tcp, .listen = listen_tcp, .accept = accept_tcp,
    .send = send_tcp, .receive = receive_tcp, .shutdown = shutdown_tcp, .name = name_tcp, .events = events_tcp, .unsent = unsent_tcp,
    .set_option = set_tcp, .get_option = get_tcp, .ip_options = pass_options,
};
