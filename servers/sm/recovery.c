/* Several segments of one window that are lost. After three equal acknowledgements lwIP sends the first one again, and with the next one that says anything new takes all for mended: what
 * else is missing then waits for a time-out each. Here is what RFC 6582 (NewReno) adds: until all is acknowledged that was under way when the loss was found, an acknowledgement of a part of it
 * names the next segment that is missing, which is sent at once.
 *
 * And the way up: who acknowledges many segments at once, as receivers with offloads do, lets lwIP's congestion window grow by two of them; all of them count, while it is to
 * double with each round trip.
 *
 * And a window that stays closed: lwIP asks it with the next byte. When that was all there was to send, and it is taken, lwIP goes on asking, and asserts that there is something to ask with.
 *
 * lwIP shows each packet before it looks at it itself. A connection's argument says up to where the recovery goes. */

#include <lwip/priv/tcp_priv.h>

#include "bounds.h"
#include "stack.h"

#define RECOVERS (1ull << 32) /* in the argument: the number below is valid */

static uint8_t argument_id;

void recovery_start(void)
{
    argument_id = tcp_ext_arg_alloc_id();
}

/* To the head of what is to be sent, where lwIP keeps its order; it sends when it has looked at the packet. */
static void send_again(struct tcp_pcb *pcb, struct tcp_seg **at)
{
    struct tcp_seg *segment = *at;
    *at = segment->next;
    segment->next = pcb->unsent;
    pcb->unsent = segment;
#if TCP_OVERSIZE
    if (segment->next == NULL)
        pcb->unsent_oversize = 0;
#endif
    pcb->rttest = 0; /* its round trip says nothing */
}

static void send_what_is_missing(struct tcp_pcb *pcb, uint32_t acknowledged)
{
    struct tcp_seg **at = &pcb->unacked;
    while (*at != NULL && TCP_SEQ_LT(lwip_ntohl((*at)->tcphdr->seqno), acknowledged))
        at = &(*at)->next;
    if (*at != NULL && lwip_ntohl((*at)->tcphdr->seqno) == acknowledged)
        send_again(pcb, at);
}

static void open_window(struct tcp_pcb *pcb, uint32_t acknowledged)
{
    uint32_t size = acknowledged - pcb->lastack;
    if (pcb->cwnd < pcb->ssthresh && !(pcb->flags & TF_RTO) && TCP_SEQ_BETWEEN(acknowledged, pcb->lastack + 1, pcb->snd_nxt) && size > 2u * pcb->mss)
        TCP_WND_INC(pcb->cwnd, size - 2u * pcb->mss);
}

err_t recovery_look(struct tcp_pcb *pcb, const struct tcp_hdr *header)
{
    if (pcb->state == LISTEN)
        return (TCPH_FLAGS(header) & TCP_SYN) && !bounds_let_in((const struct tcp_pcb_listen *)pcb) ? ERR_MEM : ERR_OK;
    if (pcb->state < ESTABLISHED || pcb->state == TIME_WAIT || !(TCPH_FLAGS(header) & TCP_ACK))
        return ERR_OK;
    uint64_t recovery = (uintptr_t)tcp_ext_arg_get(pcb, argument_id);
    if (recovery == 0 && (pcb->flags & TF_INFR))
        recovery = RECOVERS | pcb->snd_nxt;
    if (recovery == 0) {
        open_window(pcb, header->ackno);
        return ERR_OK;
    }
    uint32_t end = (uint32_t)recovery, acknowledged = header->ackno;
    bool goes_on = TCP_SEQ_LT(acknowledged, end) && !(pcb->flags & TF_RTO); /* after a time-out all is sent again anyhow */
    if (goes_on) {
        pcb->flags |= TF_INFR; /* so that equal acknowledgements make room for new segments, and send nothing twice */
        if (TCP_SEQ_GT(acknowledged, pcb->lastack))
            send_what_is_missing(pcb, acknowledged);
    }
    tcp_ext_arg_set(pcb, argument_id, (void *)(uintptr_t)(goes_on ? recovery : 0));
    return ERR_OK;
}

void recovery_tick(void)
{
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next) {
        if (pcb->persist_backoff == 0 || (pcb->unsent != NULL && pcb->unacked == NULL))
            continue;
        pcb->persist_cnt = pcb->persist_backoff = pcb->persist_probe = 0;
        if (pcb->unacked != NULL && pcb->rtime < 0)
            pcb->rtime = 0;
    }
}
