/* What others can make us keep, and its bounds. lwIP has none here: its memory is the C library's.
 *
 *   half open        A listener has places for 255 connections that have begun. When a SYN comes and all are taken, one gives way: the oldest of the same sender, or the oldest of all.
 *                    So who floods with SYNs pushes out his own; who does so under many names, the oldest, and an honest client needs its place for one round trip only.
 *   not accepted     As many as the program's backlog says; from outside at least BACKLOG_OUTSIDE, since who is turned away there comes again after a second, or six. On this machine he comes
 *                    again as soon as one is accepted (tcp.c).
 *   closed           The newest REMEMBERED_MOST of those in TIME-WAIT.
 *   given up         What a program has closed, and whose peer takes nothing for some twenty seconds.
 *   never read       The window of a connection, and the room for what it sends, begin with ROOM_FIRST and grow with what passes, up to lwIP's 1 MB: only who reads has much under way.
 */

#include "bounds.h"

#include <lwip/priv/tcp_priv.h>
#include <netinet/in.h>

#define BACKLOG_OUTSIDE 128u
#define REMEMBERED_MOST 2048
#define GIVEN_UP 7 /* of lwIP's steps of asking a closed window: 0.3 s, twice as long each time */
#define ROOM_FIRST (64 * 1024u)

/* ---- who is let in ---- */

/* One of the newcomer's own address, if there is one. */
static void drop_oldest_half_open(const struct tcp_pcb_listen *listener)
{
    struct tcp_pcb *oldest = NULL, *oldest_own = NULL;
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next) {
        if (pcb->state != SYN_RCVD || pcb->listener != listener)
            continue;
        if (oldest == NULL || tcp_ticks - pcb->tmr >= tcp_ticks - oldest->tmr)
            oldest = pcb;
        if (ip_addr_cmp(&pcb->remote_ip, ip_current_src_addr()) && (oldest_own == NULL || tcp_ticks - pcb->tmr >= tcp_ticks - oldest_own->tmr))
            oldest_own = pcb;
    }
    if (oldest != NULL)
        tcp_abandon(oldest_own != NULL ? oldest_own : oldest, 0);
}

bool bounds_let_in(const struct tcp_pcb_listen *listener)
{
    const struct sock *sock = listener->callback_arg;
    bool is_outside = !ip_addr_cmp(ip_current_src_addr(), ip_current_dest_addr());
    unsigned most = sock == NULL ? 0 : is_outside && sock->backlog < BACKLOG_OUTSIDE ? BACKLOG_OUTSIDE : sock->backlog;
    if (sock == NULL || sock->pending_count >= most)
        return false;
    if (listener->accepts_pending >= listener->backlog)
        drop_oldest_half_open(listener);
    return true;
}

/* ---- what no program knows of any more ---- */

static void forget_oldest_closed(void)
{
    unsigned count = 0;
    for (struct tcp_pcb *pcb = tcp_tw_pcbs, *next; pcb != NULL; pcb = next) { /* the newest is the first */
        next = pcb->next;
        if (++count > REMEMBERED_MOST)
            tcp_abort(pcb);
    }
}

static void give_up(void)
{
    for (struct tcp_pcb *pcb = tcp_active_pcbs, *next; pcb != NULL; pcb = next) {
        next = pcb->next;
        if (pcb->callback_arg == NULL && pcb->persist_backoff >= GIVEN_UP)
            tcp_abort(pcb);
    }
}

void bounds_keep(void)
{
    forget_oldest_closed();
    give_up();
}

/* ---- room ---- */

/* Before anything but SYNs was sent, whose windows are smaller than this. */
void bounds_begin(struct sock *sock)
{
    struct tcp_pcb *pcb = sock->tcp;
    sock->window = sock->send_room = ROOM_FIRST;
    if (pcb->rcv_wnd <= ROOM_FIRST)
        return;
    pcb->rcv_wnd = pcb->rcv_ann_wnd = ROOM_FIRST;
    pcb->rcv_ann_right_edge = pcb->rcv_nxt + ROOM_FIRST; /* lwIP takes its whole window for announced */
}

static uint32_t grow(uint32_t *room, size_t passed, uint32_t most)
{
    uint32_t more = most - *room < passed ? most - *room : (uint32_t)passed;
    *room += more;
    return more;
}

uint32_t bounds_read(struct sock *sock, size_t size)
{
    return grow(&sock->window, size, TCP_WND);
}

void bounds_sent(struct sock *sock, size_t size)
{
    grow(&sock->send_room, size, TCP_SND_BUF);
}

uint32_t bounds_send_room(const struct sock *sock)
{
    uint32_t under_way = TCP_SND_BUF - sock->tcp->snd_buf;
    return under_way < sock->send_room ? sock->send_room - under_way : 0;
}

/* All was read: a window that has not grown must not look to lwIP as if something lay in it, for which it resets the connection. */
void bounds_end(struct sock *sock)
{
    if (sock->first == NULL && sock->tcp->refused_data == NULL)
        sock->tcp->rcv_wnd = TCP_WND_MAX(sock->tcp);
}
