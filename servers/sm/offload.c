/* Sums and segments that the driver may be left with.
 *
 * lwIP makes segments as large as the wire carries, and keeps them until they are acknowledged: it knows nothing of larger ones. When it sends several in a row they lie behind
 * one another in the batch for the driver. There each joins the one before it, if it says the same in its headers and goes on where that ended, and the device is told to cut them apart again. So
 * windows, congestion, retransmission and Nagle are lwIP's as ever, and what was joined on its way is nobody's state.
 */

#include "offload.h"

#include <netinet/in.h>
#include <string.h>

#include <lwip/inet_chksum.h>
#include <lwip/pbuf.h>
#include <lwip/priv/tcp_priv.h>

#include "wire_order.h"

#define ETHERNET 14u
#define TCP_HEADER 20u
#define SUM_AT(protocol) ((protocol) == IPPROTO_TCP ? 16u : 6u)
#define JOINED_LEAST 500u /* bytes of a segment that others join: many small ones are no gain */
#define DATA_FLAGS (TCP_ACK | TCP_PSH)

_Static_assert((OFFLOAD_NO_SUM & (PBUF_FLAG_PUSH | PBUF_FLAG_IS_CUSTOM | PBUF_FLAG_MCASTLOOP | PBUF_FLAG_LLBCAST | PBUF_FLAG_LLMCAST | PBUF_FLAG_TCP_FIN)) == 0,
               "a flag of our own");

/* A packet of TCP or UDP in a frame. */
struct transport {
    uint32_t at, end; /* its header, and the end of the packet: the frame may be longer */
    uint8_t protocol;
    bool is_v6;
};

/* Neither in pieces nor behind headers of IPv6 that we would have to follow. */
static bool transport_find(const uint8_t *bytes, uint32_t length, struct transport *ret_transport)
{
    const uint8_t *packet = bytes + ETHERNET;
    struct transport found;
    if (length < ETHERNET + 20)
        return false;
    uint32_t kind = get16(bytes + 12);
    if (kind == 0x800 && packet[0] >> 4 == 4) {
        uint32_t header = (packet[0] & 15) * 4u;
        if (header < 20 || (get16(packet + 6) & 0x3fff) != 0)
            return false;
        found = (struct transport){ ETHERNET + header, ETHERNET + get16(packet + 2), packet[9], false };
    } else if (kind == 0x86dd && packet[0] >> 4 == 6 && length >= ETHERNET + 40) {
        found = (struct transport){ ETHERNET + 40, ETHERNET + 40 + get16(packet + 4), packet[6], true };
    } else {
        return false;
    }
    if ((found.protocol != IPPROTO_TCP && found.protocol != IPPROTO_UDP) || found.end > length || found.at + (found.protocol == IPPROTO_TCP ? 20 : 8) > found.end)
        return false;
    *ret_transport = found;
    return true;
}

/* ---- sums: of 16-bit words in the order of memory, not yet complemented ---- */

static uint16_t sum_add(uint32_t one, uint32_t other)
{
    uint32_t sum = one + other;
    return (uint16_t)((sum >> 16) + (sum & 0xffff));
}

static uint16_t sum_of(const uint8_t *bytes, uint32_t length)
{
    return LWIP_CHKSUM(bytes, (int)length);
}

static uint16_t sum_of_pseudo_header(const uint8_t *bytes, const struct transport *transport)
{
    uint16_t sum = transport->is_v6 ? sum_of(bytes + ETHERNET + 8, 32) : sum_of(bytes + ETHERNET + 12, 8);
    return sum_add(sum_add(sum, htons(transport->protocol)), htons((uint16_t)(transport->end - transport->at)));
}

static void put_sum(uint8_t *to, uint16_t sum)
{
    memcpy(to, &sum, sizeof sum);
}

/* With the sum of the pseudo header in place. A sum of nothing is said to be all ones: zero means none to UDP. */
static void complete(uint8_t *bytes, uint32_t start, uint32_t offset, uint32_t end)
{
    uint16_t sum = (uint16_t)~sum_of(bytes + start, end - start);
    put_sum(bytes + start + offset, sum != 0 ? sum : 0xffff);
}

static void complete_segment(uint8_t *bytes, const struct transport *transport)
{
    put_sum(bytes + transport->at + 16, sum_of_pseudo_header(bytes, transport));
    complete(bytes, transport->at, 16, transport->end);
}

static void mend_header_v4(uint8_t *bytes)
{
    put16(bytes + ETHERNET + 10, 0);
    put_sum(bytes + ETHERNET + 10, (uint16_t)~sum_of(bytes + ETHERNET, (bytes[ETHERNET] & 15) * 4u));
}

static void put_packet_length(uint8_t *bytes, bool is_v6, uint32_t frame_length)
{
    if (is_v6) {
        put16(bytes + ETHERNET + 4, frame_length - ETHERNET - 40);
        return;
    }
    put16(bytes + ETHERNET + 2, frame_length - ETHERNET);
    mend_header_v4(bytes);
}

/* ---- receiving ---- */

/* What the description says, whatever it is that is summed up. */
static bool complete_as_told(const struct ether_frame *about, uint8_t *bytes)
{
    uint32_t start = about->checksum_start, place = start + about->checksum_offset;
    if (start < ETHERNET || place + 2 > about->length)
        return false;
    complete(bytes, start, about->checksum_offset, about->length);
    return true;
}

enum offload_verdict offload_look(const struct ether_frame *about, uint8_t *bytes, bool completes)
{
    struct transport transport;
    bool is_plain = transport_find(bytes, about->length, &transport);
    bool is_v6 = about->segmentation == ETHER_SEGMENTS_TCP6, is_needed = about->flags & ETHER_CHECKSUM_NEEDED;
    if (about->segmentation != ETHER_SEGMENTS_NONE &&
        (!is_plain || transport.protocol != IPPROTO_TCP || transport.is_v6 != is_v6 || transport.end != about->length))
        return OFFLOAD_REFUSE;
    if (!is_needed)
        return is_plain && about->flags & ETHER_CHECKSUM_GOOD ? OFFLOAD_SOUND : OFFLOAD_CHECK;
    bool is_sound = is_plain && about->checksum_start == transport.at && about->checksum_offset == SUM_AT(transport.protocol) && transport.end == about->length;
    if ((!is_sound || completes) && !complete_as_told(about, bytes))
        return OFFLOAD_REFUSE;
    return is_sound ? OFFLOAD_SOUND : OFFLOAD_CHECK;
}

/* lwIP acknowledges every second segment: it takes this one for the second. */
void offload_came(struct tcp_pcb *pcb, unsigned size)
{
    if (pcb->state >= ESTABLISHED && pcb->state != TIME_WAIT && size > pcb->mss)
        tcp_set_flags(pcb, TF_ACK_DELAY);
}

/* ---- sending ---- */

/* One that the interface does not carry, since its MTU or the route has changed, leaves in fragments: then its sum can only be made now. Segments without data have nobody's pcb, perhaps. */
void offload_mark(struct pbuf *segment, struct tcp_hdr *header, const struct tcp_pcb *pcb)
{
    uint32_t data = segment->tot_len - TCPH_HDRLEN_BYTES(header);
    segment->flags |= OFFLOAD_NO_SUM;
    if (data <= 1)
        return;
    struct netif *netif = pcb->netif_idx != NETIF_NO_INDEX ? netif_get_by_index(pcb->netif_idx) : ip_route(&pcb->local_ip, &pcb->remote_ip);
    if (netif == NULL || data <= tcp_eff_send_mss_netif(TCP_MSS, netif, &pcb->remote_ip))
        return;
    segment->flags &= (u8_t)~OFFLOAD_NO_SUM;
    header->chksum = ip_chksum_pseudo(segment, IPPROTO_TCP, segment->tot_len, &pcb->local_ip, &pcb->remote_ip);
}

void offload_finish(struct ether_frame *frame, uint32_t features)
{
    uint8_t *bytes = (uint8_t *)(frame + 1);
    struct transport transport;
    if (!transport_find(bytes, frame->length, &transport))
        return;
    if (!(features & ETHER_SEND_CHECKSUM) || transport.end != frame->length) {
        complete_segment(bytes, &transport);
        return;
    }
    put_sum(bytes + transport.at + 16, sum_of_pseudo_header(bytes, &transport));
    frame->flags = ETHER_CHECKSUM_NEEDED;
    frame->checksum_start = (uint16_t)transport.at;
    frame->checksum_offset = 16;
}

/* Its headers, with a plain header of TCP; 0: it has others. */
static uint32_t plain_headers(const uint8_t *bytes, uint32_t length)
{
    struct transport transport;
    bool is_plain = transport_find(bytes, length, &transport) && transport.end == length && transport.protocol == IPPROTO_TCP &&
                    transport.at == ETHERNET + (transport.is_v6 ? 40 : 20) && bytes[transport.at + 12] >> 4 == 5;
    return is_plain ? transport.at + TCP_HEADER : 0;
}

static uint8_t flags_of(const uint8_t *bytes, uint32_t headers)
{
    return bytes[headers - TCP_HEADER + 13];
}

bool offload_is_open(const struct ether_frame *frame, uint32_t features)
{
    const uint8_t *bytes = (const uint8_t *)(frame + 1);
    uint32_t headers = plain_headers(bytes, frame->length), joined = headers == ETHERNET + 60 ? ETHER_SEND_TCP6 : ETHER_SEND_TCP4;
    if (headers == 0 || !(features & joined) || !(features & ETHER_SEND_CHECKSUM) || (flags_of(bytes, headers) & ~DATA_FLAGS) != 0)
        return false;
    uint32_t data = frame->length - headers;
    return frame->segmentation == ETHER_SEGMENTS_NONE ? data >= JOINED_LEAST : data % frame->segment_size == 0;
}

/* The headers of a segment, but for what differs in those of one that follows, which is <open>'s. */
static void headers_liken(uint8_t *like, const uint8_t *open, uint32_t headers)
{
    bool is_v6 = headers == ETHERNET + 60;
    uint32_t tcp = headers - TCP_HEADER;
    memcpy(like + ETHERNET + (is_v6 ? 4 : 2), open + ETHERNET + (is_v6 ? 4 : 2), is_v6 ? 2 : 4); /* length, IPv4's number of the packet */
    if (!is_v6)
        memcpy(like + ETHERNET + 10, open + ETHERNET + 10, 2);
    memcpy(like + tcp + 4, open + tcp + 4, 4);
    like[tcp + 13] = open[tcp + 13];
    memcpy(like + tcp + 16, open + tcp + 16, 2);
}

uint32_t offload_follows(const struct ether_frame *open, const uint8_t *bytes, size_t size, uint32_t length)
{
    const uint8_t *before = (const uint8_t *)(open + 1);
    uint32_t headers = plain_headers(before, open->length), tcp = headers - TCP_HEADER;
    uint8_t like[ETHERNET + 60];
    if (headers == 0 || size < headers || length <= headers)
        return 0;
    uint32_t data = length - headers, data_before = open->length - headers;
    uint32_t piece = open->segmentation == ETHER_SEGMENTS_NONE ? data_before : open->segment_size;
    memcpy(like, bytes, headers);
    headers_liken(like, before, headers);
    bool goes_on = memcmp(like, before, headers) == 0 && get32(bytes + tcp + 4) == get32(before + tcp + 4) + data_before &&
                   (flags_of(bytes, headers) & ~(DATA_FLAGS | TCP_FIN)) == 0;
    return goes_on && data <= piece ? data : 0;
}

void offload_joined(struct ether_frame *open, const uint8_t *bytes, uint32_t more)
{
    uint8_t *whole = (uint8_t *)(open + 1);
    bool is_v6 = get16(whole + 12) == 0x86dd;
    uint32_t headers = ETHERNET + (is_v6 ? 60 : 40);
    if (open->segmentation == ETHER_SEGMENTS_NONE) {
        open->segmentation = is_v6 ? ETHER_SEGMENTS_TCP6 : ETHER_SEGMENTS_TCP4;
        open->headers_length = (uint16_t)headers;
        open->segment_size = (uint16_t)(open->length - more - headers);
    }
    whole[headers - TCP_HEADER + 13] |= flags_of(bytes, headers);
    put_packet_length(whole, is_v6, open->length);
    struct transport transport = { headers - TCP_HEADER, open->length, IPPROTO_TCP, is_v6 };
    put_sum(whole + transport.at + 16, sum_of_pseudo_header(whole, &transport));
}

uint32_t offload_cut(const struct ether_frame *frame, unsigned number, uint8_t *to)
{
    const uint8_t *bytes = (const uint8_t *)(frame + 1);
    uint32_t headers = frame->headers_length, piece = frame->segment_size, at = headers + number * piece;
    struct transport transport;
    if (frame->segmentation == ETHER_SEGMENTS_NONE) {
        if (number > 0)
            return 0;
        memcpy(to, bytes, frame->length);
        if (frame->flags & ETHER_CHECKSUM_NEEDED)
            complete(to, frame->checksum_start, frame->checksum_offset, frame->length);
        return frame->length;
    }
    if (at >= frame->length)
        return 0;
    bool is_last = frame->length - at <= piece;
    uint32_t data = is_last ? frame->length - at : piece, length = headers + data;
    memcpy(to, bytes, headers);
    memcpy(to + headers, bytes + at, data);
    uint8_t *tcp = to + headers - TCP_HEADER;
    put32(tcp + 4, get32(tcp + 4) + number * piece);
    if (!is_last)
        tcp[13] &= (uint8_t)~(TCP_PSH | TCP_FIN);
    if (frame->segmentation == ETHER_SEGMENTS_TCP4)
        put16(to + ETHERNET + 4, get16(to + ETHERNET + 4) + number);
    put_packet_length(to, frame->segmentation == ETHER_SEGMENTS_TCP6, length);
    if (transport_find(to, length, &transport))
        complete_segment(to, &transport);
    return length;
}
