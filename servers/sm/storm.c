/* Two ends that answer each other's empty segments for ever. On the loopback interface that would be a loop without an end.
 *
 * With a closed window lwIP takes every segment for one that is outside of it, and acknowledges it; so two ends that have both closed theirs would never stop. One byte of window,
 * which is not told to the other side, makes the next segment in order one that is inside. And whoever invents numbers makes both ends think that the other one is
 * wrong, each of which is told so: that is done so often only in each of lwIP's ticks.
 */

#include <lwip/priv/tcp_priv.h>

#include "stack.h"

#define ANSWERS_MOST 64

static bool is_odd(const struct tcp_pcb *pcb, const struct tcp_hdr *header)
{
    return TCP_SEQ_GT(header->ackno, pcb->snd_nxt) || !TCP_SEQ_BETWEEN(header->seqno, pcb->rcv_nxt, pcb->rcv_nxt + pcb->rcv_wnd - 1);
}

bool storm_look(struct tcp_pcb *pcb, const struct tcp_hdr *header, unsigned size)
{
    static uint32_t tick;
    static unsigned answers;
    if (pcb->state < SYN_RCVD || size > 0 || (TCPH_FLAGS(header) & (TCP_SYN | TCP_FIN | TCP_RST)))
        return false;
    if (pcb->rcv_wnd == 0)
        pcb->rcv_wnd = 1;
    if (!is_odd(pcb, header))
        return false;
    answers = tick == tcp_ticks ? answers + 1 : 1;
    tick = tcp_ticks;
    return answers > ANSWERS_MOST;
}
