/* offload.h: what the driver spares us: sums of TCP and UDP, and the cutting of streams into segments. Pure functions on frames, as lib/protocol/ether.h has them. */
#ifndef SM_OFFLOAD_H
#define SM_OFFLOAD_H

#include <protocol/ether.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- receiving ---- */

enum offload_verdict {
    OFFLOAD_CHECK,  /* a frame as from any wire: lwIP sums it up */
    OFFLOAD_SOUND,  /* its sum is known to be right, or the one of a frame that never was on a wire */
    OFFLOAD_REFUSE, /* it is not what its description says */
};
/* What is to be done with a frame that the driver describes so. With <completes>, or where the description is of a sum that is none of TCP's or UDP's, the sum is put into its
 * place. Only a packet of TCP or UDP whose length and place in the frame are beyond doubt is sound: strangers write what is in it. */
enum offload_verdict offload_look(const struct ether_frame *about, uint8_t *bytes, bool completes);

/* A connection has got a segment of so many bytes: one that is several of its peer's is acknowledged at once, as those would be. */
struct tcp_pcb;
void offload_came(struct tcp_pcb *pcb, unsigned size);

/* ---- sending ---- */

/* lwIP sends segments of TCP without a sum (it knows no sums of which a part is done): offload_finish makes it, when the segment has become a frame, or the device
 * does. Here is where they are told from what programs sum up themselves: by a flag of their pbuf. */
#define OFFLOAD_NO_SUM 0x40u /* of pbuf.flags; lwIP has no such */
struct pbuf;
struct tcp_hdr;
void offload_mark(struct pbuf *segment, struct tcp_hdr *header, const struct tcp_pcb *pcb);

/* A segment of TCP that has just become a frame, without a sum: complete it, or tell the device, which has these features (ETHER_SEND_...), how to. */
void offload_finish(struct ether_frame *frame, uint32_t features);
/* May segments that follow go into the same frame? Said after offload_finish. */
bool offload_is_open(const struct ether_frame *frame, uint32_t features);
/* Is the segment with these headers (of the next frame, without a sum; <size> bytes of it lie at <bytes>, of <length>) the one that follows upon what is in <open>? Then the bytes
 * behind its headers may be put to its end. Returns how many those are; 0: it is a frame of its own. */
uint32_t offload_follows(const struct ether_frame *open, const uint8_t *bytes, size_t size, uint32_t length);
/* They were: <open> is <more> bytes longer already, and its headers become those of all. <bytes>: the headers of the segment. */
void offload_joined(struct ether_frame *open, const uint8_t *bytes, uint32_t more);

/* Where the driver does not do any more what it did: the <number>th of the complete frames that a frame is cut into. <to> has room for ETHER_FRAME_MAX bytes. Returns its length;
 * 0: there are no more. */
uint32_t offload_cut(const struct ether_frame *frame, unsigned number, uint8_t *to);

#endif
