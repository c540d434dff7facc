/* Segments that lwIP itself does not cope with, found by fuzzing: what would make it assert, or never end, is mended or dropped before it looks.
 *
 *   An endless exchange     Two ends that answer each other's empty segments; on the loopback interface a loop without an end. With a closed window lwIP takes every segment for one
 *                           outside of it, and acknowledges it; so two ends that have both closed theirs would never stop. One byte of window, which is not told to the
 *                           other side, makes the next segment in order one that is inside. And whoever invents numbers makes both ends think that the other one is wrong, each of
 *                           which is told so: that is done so often only in each of lwIP's ticks.
 *   Data beyond the end     A segment that fills the window, over an end that came before its turn: lwIP counts that end too, one more than the window has room for, and
 *                           asserts. No honest peer sends such data.
 */

#include <lwip/priv/tcp_priv.h>

#include "stack.h"

#define ANSWERS_MOST 64

static bool is_odd(const struct tcp_pcb *pcb, const struct tcp_hdr *header)
{
    return TCP_SEQ_GT(header->ackno, pcb->snd_nxt) || !TCP_SEQ_BETWEEN(header->seqno, pcb->rcv_nxt, pcb->rcv_nxt + pcb->rcv_wnd - 1);
}

static bool is_answered_too_often(void)
{
    static uint32_t tick;
    static unsigned answers;
    answers = tick == tcp_ticks ? answers + 1 : 1;
    tick = tcp_ticks;
    return answers > ANSWERS_MOST;
}

static bool goes_beyond_end(const struct tcp_pcb *pcb, const struct tcp_hdr *header, unsigned size)
{
    if (TCP_SEQ_LT(header->seqno + size, pcb->rcv_nxt + pcb->rcv_wnd))
        return false;
    for (const struct tcp_seg *early = pcb->ooseq; early != NULL; early = early->next)
        if (TCPH_FLAGS(early->tcphdr) & TCP_FIN)
            return true;
    return false;
}

bool guard_look(struct tcp_pcb *pcb, const struct tcp_hdr *header, unsigned size)
{
    if (pcb->state < SYN_RCVD || pcb->state == TIME_WAIT)
        return false;
    if (size > 0)
        return goes_beyond_end(pcb, header, size);
    if (TCPH_FLAGS(header) & (TCP_SYN | TCP_FIN | TCP_RST))
        return false;
    if (pcb->rcv_wnd == 0)
        pcb->rcv_wnd = 1;
    return is_odd(pcb, header) && is_answered_too_often();
}
