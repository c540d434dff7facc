/* What is left to the driver: a description that lies harms nothing, what a stranger wrote is not believed, and what a device is told to do gives the frames that we
 * would have sent ourselves. */

#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "interface.h"
#include "offload.h"
#include "packets.h"
#include "wire_order.h"

#define PLACES 64
#define SEGMENT 1460u
#define ALL (ETHER_SEND_CHECKSUM | ETHER_SEND_TCP4 | ETHER_SEND_TCP6)

struct place {
    struct ether_frame about;
    uint8_t bytes[ETHER_FRAME_MAX];
};

static struct place *sent;
static unsigned sent_count;
static bool all_is_on_its_way;
static struct interface *interface;

static struct ether_frame *frame_room(unsigned number, size_t length)
{
    (void)number;
    if (sent_count == PLACES)
        return NULL;
    sent[sent_count].about = (struct ether_frame){ .length = (uint32_t)length };
    return &sent[sent_count++].about;
}

static bool frame_grow(unsigned number, size_t more)
{
    (void)number;
    if (all_is_on_its_way || sent_count == 0 || more > ETHER_FRAME_MAX - sent[sent_count - 1].about.length)
        return false;
    sent[sent_count - 1].about.length += (uint32_t)more;
    return true;
}

static const struct interface_wire wire = { frame_room, frame_grow };
static const uint8_t arp_request[42] = { 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2,
                                         0, 0, 0, 0, 0, 0, 10, 0, 0, 1 };
static const uint8_t advertisement[32] = { 136, 0, 0, 0, 0x60, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 2, 2, 1, 2, 0, 0, 0, 0, 2 };

/* As the driver says it, in memory of exactly its size. */
static void arrive(struct ether_frame about, const uint8_t *bytes)
{
    uint8_t *copy = malloc(about.length);
    memcpy(copy, bytes, about.length);
    interface_receive(interface, &about, copy);
    free(copy);
    fake_due = sm_settle();
}

static void arrive_plain(const uint8_t *bytes, size_t size)
{
    arrive((struct ether_frame){ .length = (uint32_t)size }, bytes);
}

static void begin(void)
{
    fake_begin();
    sent = calloc(PLACES, sizeof *sent);
    struct interface_description description = { .hardware = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500, .link_up = true, .address = { 10, 0, 0, 1 }, .prefix = 24,
                                                 .offloads = ALL };
    interface = interface_add(0, &description, &wire);
    arrive_plain(arp_request, sizeof arp_request);
    sent_count = 0;
}

static void end(void)
{
    free(sent);
}

TestSuite(offload, .init = begin, .fini = end, .timeout = 120);

/* ---- received ---- */

static uint8_t frame[ETHER_FRAME_MAX];

static size_t datagram(bool is_v6)
{
    uint8_t bytes[16] = { 0x30, 0x39, 0x1b, 0x58, 0, 16, 0, 0, 'd', 'a', 't', 'a' };
    return is_v6 ? packet_v6(frame, IPPROTO_UDP, bytes, sizeof bytes) : packet_v4(frame, IPPROTO_UDP, bytes, sizeof bytes);
}

static int64_t receiver(void)
{
    int64_t sock = fake_open(AF_INET6, SOCK_DGRAM, 0);
    cr_assert_eq(fake_bind(sock, "::", 7000), 0);
    return sock;
}

Test(offload, a_description_of_a_sum_outside_of_the_frame_is_refused)
{
    int64_t sock = receiver();
    uint32_t length = (uint32_t)datagram(false);
    const uint16_t wrong[][2] = { { 0, 6 }, { 13, 40 }, { 34, 65535 }, { 65535, 65535 }, { 65535, 0 }, { (uint16_t)length, 0 }, { (uint16_t)(length - 1), 0 },
                                  { 34, (uint16_t)(length - 34 - 1) } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t before = interface->counters.dropped;
        arrive((struct ether_frame){ .length = length, .flags = ETHER_CHECKSUM_NEEDED, .checksum_start = wrong[i][0], .checksum_offset = wrong[i][1] }, frame);
        cr_expect_eq(interface->counters.dropped, before + 1, "%u and %u", wrong[i][0], wrong[i][1]);
    }
    cr_expect_eq(fake_receive(sock, 100, 0), -EAGAIN);
}

Test(offload, a_large_segment_that_is_none_or_another_one_is_refused)
{
    uint8_t segment[20 + 3000] = { 0x30, 0x39, 0x17, 0x70, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10 };
    uint32_t v4 = (uint32_t)packet_v4(frame, IPPROTO_TCP, segment, sizeof segment);
    uint64_t before = interface->counters.dropped;
    const struct ether_frame good = { .length = v4, .flags = ETHER_CHECKSUM_GOOD, .segmentation = ETHER_SEGMENTS_TCP4, .headers_length = 54, .segment_size = 1460 };
    struct ether_frame lie = good;
    arrive(good, frame);
    cr_assert_eq(interface->counters.dropped, before);
    lie.segmentation = ETHER_SEGMENTS_TCP6;
    arrive(lie, frame);
    lie = good;
    lie.length--;
    arrive(lie, frame);
    lie.length = v4 + 1; /* a frame that is longer than its packet */
    arrive(lie, frame);
    lie = good;
    frame[14] = 0x4f; /* all options, in a packet that is long enough */
    arrive(lie, frame);
    frame[14] = 0x44;
    arrive(lie, frame);
    frame[14] = 0x45;
    frame[20] = 0x20; /* a fragment */
    arrive(lie, frame);
    frame[20] = 0;
    frame[23] = IPPROTO_UDP;
    arrive(lie, frame);
    cr_expect_eq(interface->counters.dropped, before + 6, "%d", (int)(interface->counters.dropped - before));
    arrive((struct ether_frame){ .length = 20, .segmentation = ETHER_SEGMENTS_TCP6 }, frame);
    arrive((struct ether_frame){ .length = 14, .segmentation = 77 }, frame);
    cr_expect_eq(interface->counters.dropped, before + 8);
}

Test(offload, random_descriptions_of_random_frames_touch_nothing_else)
{
    unsigned random = 1;
    for (unsigned i = 0; i < 200000; i++) {
        struct ether_frame about;
        uint8_t bytes[14 + 40 + 60];
        size_t size = i % 2 == 0 ? datagram(i % 4 == 0) : packet_v4(frame, IPPROTO_TCP, arp_request, 40);
        memcpy(bytes, frame, size);
        for (unsigned j = 0; j < sizeof about; j++)
            ((uint8_t *)&about)[j] = (uint8_t)((random = random * 1103515245 + 12345) >> 16);
        bytes[12 + random / 65536 % (size - 12)] = (uint8_t)(random >> 24);
        about.length = 14 + about.length % (uint32_t)(size - 13);
        about.checksum_start %= 128;
        about.checksum_offset %= 128;
        arrive(about, bytes);
    }
    cr_assert_eq(fake_close(receiver()), 0);
}

Test(offload, what_a_stranger_wrote_is_believed_only_where_the_driver_vouches_for_it)
{
    int64_t sock = receiver();
    uint32_t length = (uint32_t)datagram(false);
    frame[length - 1] ^= 1; /* its sum is wrong now */
    arrive_plain(frame, length);
    cr_expect_eq(fake_receive(sock, 100, 0), -EAGAIN, "nobody has looked at it");
    arrive((struct ether_frame){ .length = length, .flags = ETHER_CHECKSUM_GOOD }, frame);
    cr_expect_eq(fake_receive(sock, 100, 0), 8);
    frame[20] = 0x20; /* the first piece of one: who looked at it saw no sum */
    put16(frame + 24, 0);
    put16(frame + 24, packet_sum(frame + 14, 20, 0));
    arrive((struct ether_frame){ .length = length, .flags = ETHER_CHECKSUM_GOOD }, frame);
    frame[20] = 0;
    frame[21] = 2; /* and the last one, of 8 bytes */
    put16(frame + 16, 28);
    put16(frame + 24, 0);
    put16(frame + 24, packet_sum(frame + 14, 20, 0));
    arrive((struct ether_frame){ .length = 42, .flags = ETHER_CHECKSUM_GOOD }, frame);
    cr_expect_eq(fake_receive(sock, 100, 0), -EAGAIN);
    length = (uint32_t)datagram(false);
    frame[24] ^= 1; /* the header's own sum is ours to check */
    arrive((struct ether_frame){ .length = length, .flags = ETHER_CHECKSUM_GOOD }, frame);
    cr_expect_eq(fake_receive(sock, 100, 0), -EAGAIN);
}

/* The sum of the pseudo header is in its place. */
static struct ether_frame make_partial(bool is_v6)
{
    uint32_t length = (uint32_t)datagram(is_v6), at = is_v6 ? 54 : 34;
    uint32_t sum = IPPROTO_UDP + 16u + (uint16_t)~packet_sum(frame + (is_v6 ? 22 : 26), is_v6 ? 32 : 8, 0);
    put16(frame + at + 6, (uint16_t)((sum & 0xffff) + (sum >> 16)));
    return (struct ether_frame){ .length = length, .flags = ETHER_CHECKSUM_NEEDED, .checksum_start = (uint16_t)at, .checksum_offset = 6 };
}

Test(offload, a_sum_that_is_not_complete_yet_is_good_and_complete_for_who_looks_at_frames)
{
    uint8_t whole[200];
    int64_t sock = receiver();
    for (unsigned is_v6 = 0; is_v6 < 2; is_v6++) {
        arrive(make_partial(is_v6), frame);
        cr_expect_eq(fake_receive(sock, 100, 0), 8);
        int64_t packets = fake_open(AF_PACKET, SOCK_RAW, htons(3));
        struct ether_frame partial = make_partial(is_v6);
        memcpy(whole, frame, partial.length);
        packet_mend(whole, partial.length);
        arrive(partial, frame);
        cr_expect_eq(fake_receive(sock, 100, 0), 8);
        cr_expect_eq(fake_receive(packets, 200, 0), (int)partial.length);
        cr_expect_arr_eq(fake_body, whole, partial.length);
        fake_close(packets);
    }
}

Test(offload, a_sum_that_is_none_of_ours_is_made_as_the_description_says_and_then_looked_at)
{
    static const uint8_t echo[16] = { 8, 0, 0, 0, 0, 1, 0, 1, 'd', 'a', 't', 'a' };
    uint32_t length = (uint32_t)packet_v4(frame, IPPROTO_ICMP, echo, sizeof echo);
    put16(frame + 36, 0);
    struct ether_frame about = { .length = length, .flags = ETHER_CHECKSUM_NEEDED, .checksum_start = 34, .checksum_offset = 2 };
    arrive(about, frame);
    cr_expect_eq(sent_count, 1, "it is answered");
    about.checksum_offset = 8; /* elsewhere */
    arrive(about, frame);
    cr_expect_eq(sent_count, 1);
    int64_t sock = receiver();
    about = make_partial(false);
    about.checksum_start -= 2;
    arrive(about, frame);
    cr_expect_eq(fake_receive(sock, 100, 0), -EAGAIN);
}

/* ---- a connection ---- */

static uint32_t theirs, ours; /* what is next of each side's stream */
static bool is_v6;

static unsigned headers(void)
{
    return is_v6 ? 74 : 54;
}

static void segment_arrive(uint8_t flags, const uint8_t *data, uint32_t size, struct ether_frame about)
{
    uint8_t *segment = calloc(1, 24 + size);
    uint32_t header = flags & 2 ? 24 : 20;
    memcpy(segment, (uint8_t[]){ 0x30, 0x39, 0x17, 0x70 }, 4);
    put32(segment + 4, theirs);
    put32(segment + 8, ours);
    segment[12] = (uint8_t)(header / 4 << 4);
    segment[13] = flags;
    put16(segment + 14, 0xffff);
    if (flags & 2)
        memcpy(segment + 20, (uint8_t[]){ 2, 4, 5, 0xb4 }, 4);
    if (size > 0)
        memcpy(segment + header, data, size);
    about.length = (uint32_t)(is_v6 ? packet_v6(frame, IPPROTO_TCP, segment, header + size) : packet_v4(frame, IPPROTO_TCP, segment, header + size));
    theirs += size + (flags & 2 ? 1 : 0);
    if (about.flags & ETHER_CHECKSUM_NEEDED)
        frame[headers() - 4] ^= 0x55;
    arrive(about, frame);
    free(segment);
}

static int64_t connection(bool over_v6)
{
    int64_t listener = fake_open(AF_INET6, SOCK_STREAM, 0);
    is_v6 = over_v6;
    fake_set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
    cr_assert_eq(fake_bind(listener, "::", 6000), 0);
    cr_assert_eq(fake_listen(listener, 5), 0);
    if (is_v6)
        arrive_plain(frame, packet_v6(frame, IPPROTO_ICMPV6, advertisement, sizeof advertisement));
    theirs = 1, ours = 0;
    segment_arrive(2, NULL, 0, (struct ether_frame){ 0 });
    if (is_v6)
        arrive_plain(frame, packet_v6(frame, IPPROTO_ICMPV6, advertisement, sizeof advertisement)); /* it was asked for */
    ours = get32(sent[sent_count - 1].bytes + headers() - 16) + 1;
    segment_arrive(0x10, NULL, 0, (struct ether_frame){ 0 });
    int64_t accepted = fake_accept(listener, 0);
    cr_assert_gt(accepted, 0);
    fake_close(listener);
    sent_count = 0;
    return accepted;
}

static void acknowledge(uint32_t more)
{
    ours += more;
    segment_arrive(0x10, NULL, 0, (struct ether_frame){ 0 });
}

static const struct place *sent_at(uint32_t number)
{
    for (unsigned i = 0; i < sent_count; i++)
        if (get32(sent[i].bytes + headers() - 16) == number && sent[i].about.length > headers())
            return &sent[i];
    cr_assert_fail("what begins there was not sent");
    return NULL;
}

Test(offload, a_large_segment_is_received_at_once_and_acknowledged_at_once)
{
    static uint8_t data[60000];
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    for (unsigned v6 = 0; v6 < 2; v6++) {
        int64_t sock = connection(v6);
        struct ether_frame about = { .flags = ETHER_CHECKSUM_NEEDED, .segmentation = v6 ? ETHER_SEGMENTS_TCP6 : ETHER_SEGMENTS_TCP4,
                                     .headers_length = (uint16_t)headers(), .segment_size = SEGMENT, .checksum_start = (uint16_t)(headers() - 20), .checksum_offset = 16 };
        segment_arrive(0x18, data, sizeof data, about);
        cr_expect_eq(sent_count, 1, "its acknowledgement");
        cr_expect_eq(get32(sent[0].bytes + headers() - 12), theirs);
        cr_expect_eq(fake_receive(sock, sizeof data, 0), (int)sizeof data);
        cr_expect_arr_eq(fake_body, data, sizeof data);
        fake_close(sock);
        sent_count = 0;
    }
}

Test(offload, segments_in_a_row_are_one_frame_that_is_cut_into_what_would_have_been_sent)
{
    static uint8_t data[60000], piece[ETHER_FRAME_MAX], copy[8][1600];
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 11 + i / 256);
    for (unsigned v6 = 0; v6 < 2; v6++) {
        int64_t sock = connection(v6);
        unsigned size = v6 ? 1440 : SEGMENT;
        fake_set(sock, IPPROTO_TCP, 1 /* TCP_NODELAY */, 1);
        cr_assert_eq(fake_send(sock, data, 3 * size - 100, 0), (int)(3 * size - 100));
        cr_assert_eq(sent_count, 1, "%u frames", sent_count);
        const struct ether_frame *about = &sent[0].about;
        cr_expect_eq(about->length, headers() + 3 * size - 100);
        cr_expect_eq(about->segmentation, v6 ? ETHER_SEGMENTS_TCP6 : ETHER_SEGMENTS_TCP4);
        cr_expect(about->segment_size == size && about->headers_length == headers());
        cr_expect(about->flags == ETHER_CHECKSUM_NEEDED && about->checksum_start == headers() - 20 && about->checksum_offset == 16);
        for (unsigned i = 0; i < 3; i++)
            cr_expect_eq(offload_cut(about, i, copy[i]), headers() + (i < 2 ? size : size - 100));
        cr_expect_eq(offload_cut(about, 3, copy[3]), 0);
        /* Each is whole, and they are the stream. */
        for (unsigned i = 0; i < 3; i++) {
            unsigned length = headers() + (i < 2 ? size : size - 100);
            memcpy(piece, copy[i], length);
            packet_mend(piece, length);
            cr_expect_arr_eq(piece, copy[i], length, "piece %u: its sums", i);
            cr_expect_eq(get32(piece + headers() - 16), ours + i * size);
            cr_expect_arr_eq(piece + headers(), data + i * size, length - headers());
        }
        cr_expect_eq(copy[0][headers() - 7], 0x10);
        cr_expect_eq(copy[2][headers() - 7], 0x18, "the end of what was written");
        /* The same without: sent again, one by one. */
        interface_set_offloads(interface, 0);
        sent_count = 0;
        for (unsigned i = 0; i < 3; i++) {
            fake_pass(4000000000ll);
            const struct place *again = sent_at(ours);
            cr_expect_eq(again->about.flags, 0);
            cr_assert_eq(again->about.length, headers() + (i < 2 ? size : size - 100));
            memcpy(copy[i] + 18, again->bytes + 18, v6 ? 0 : 2); /* its number, which the header's sum is about */
            packet_mend(copy[i], again->about.length);
            cr_expect_arr_eq(again->bytes, copy[i], again->about.length, "piece %u", i);
            sent_count = 0;
            acknowledge(again->about.length - headers());
        }
        fake_close(sock);
        interface_set_offloads(interface, ALL);
        sent_count = 0;
    }
}

Test(offload, who_acknowledges_all_at_once_has_the_window_doubled)
{
    static uint8_t data[60000];
    int64_t sock = connection(false);
    cr_assert_eq(fake_send(sock, data, sizeof data, 0), (int)sizeof data);
    for (unsigned flight = 3; flight <= 12; flight *= 2) {
        cr_assert_eq(sent_count, 1);
        cr_expect_eq(sent[0].about.length, headers() + flight * SEGMENT, "%u bytes for %u segments", sent[0].about.length, flight);
        sent_count = 0;
        acknowledge(flight * SEGMENT);
    }
}

Test(offload, what_is_on_its_way_and_what_does_not_follow_is_not_joined)
{
    static uint8_t data[60000];
    int64_t sock = connection(false);
    all_is_on_its_way = true;
    cr_assert_eq(fake_send(sock, data, 2 * SEGMENT, 0), (int)(2 * SEGMENT));
    cr_expect_eq(sent_count, 2);
    cr_expect(sent[0].about.segmentation == ETHER_SEGMENTS_NONE && sent[0].about.flags == ETHER_CHECKSUM_NEEDED);
    acknowledge(2 * SEGMENT);
    all_is_on_its_way = false;
    sent_count = 0;
    /* A short one is the end, a frame of somebody else's is one. */
    cr_assert_eq(fake_send(sock, data, SEGMENT + 10, 0), (int)(SEGMENT + 10));
    fake_set(sock, IPPROTO_TCP, 1 /* TCP_NODELAY */, 1);
    cr_assert_eq(fake_send(sock, data, 20, 0), 20);
    cr_expect_eq(sent_count, 2);
    cr_expect_eq(sent[1].about.segmentation, ETHER_SEGMENTS_NONE);
    acknowledge(SEGMENT + 30);
    sent_count = 0;
    cr_assert_eq(fake_send(sock, data, SEGMENT, 0), (int)SEGMENT);
    arrive_plain(arp_request, sizeof arp_request);
    cr_assert_eq(fake_send(sock, data, SEGMENT, 0), (int)SEGMENT);
    cr_expect_eq(sent_count, 3);
    acknowledge(2 * SEGMENT);
    /* Small ones stay what they are. */
    sent_count = 0;
    cr_assert_eq(fake_send(sock, data, 400, 0), 400);
    cr_assert_eq(fake_send(sock, data, 400, 0), 400);
    cr_expect_eq(sent_count, 2);
}

Test(offload, a_device_without_segmentation_gets_segments_and_one_without_anything_whole_frames)
{
    static uint8_t data[10000];
    int64_t sock = connection(false);
    interface_set_offloads(interface, ETHER_SEND_CHECKSUM | ETHER_SEND_TCP6);
    cr_assert_eq(fake_send(sock, data, 2 * SEGMENT, 0), (int)(2 * SEGMENT));
    cr_expect(sent_count == 2 && sent[1].about.flags == ETHER_CHECKSUM_NEEDED && sent[1].about.segmentation == ETHER_SEGMENTS_NONE);
    acknowledge(2 * SEGMENT);
    sent_count = 0;
    interface_set_offloads(interface, 0);
    cr_assert_eq(fake_send(sock, data, 2 * SEGMENT, 0), (int)(2 * SEGMENT));
    cr_assert_eq(sent_count, 2);
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(sent[i].about.flags, 0);
        memcpy(frame, sent[i].bytes, sent[i].about.length);
        packet_mend(frame, sent[i].about.length);
        cr_expect_arr_eq(sent[i].bytes, frame, sent[i].about.length);
    }
}

Test(offload, a_segment_that_leaves_in_fragments_has_its_sum)
{
    static uint8_t data[SEGMENT], whole[2000];
    int64_t sock = connection(false);
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 5);
    cr_assert_eq(interface_set_mtu(&interface->netif, 1000), 0); /* the connection was made for another one */
    cr_assert_eq(fake_send(sock, data, SEGMENT, 0), (int)SEGMENT);
    cr_assert_eq(sent_count, 2);
    size_t size = 14 + 20;
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(sent[i].about.flags, 0);
        memcpy(whole + size, sent[i].bytes + 34, sent[i].about.length - 34);
        size += sent[i].about.length - 34;
    }
    cr_assert_eq(size, 54 + SEGMENT);
    memcpy(whole, sent[0].bytes, 34);
    put16(whole + 16, (uint16_t)(size - 14));
    put16(whole + 20, 0);
    memcpy(frame, whole, size);
    packet_mend(frame, size);
    cr_expect_arr_eq(whole + 34, frame + 34, size - 34);
    /* Sent again it is a whole one, if the interface bears it then. */
    cr_assert_eq(interface_set_mtu(&interface->netif, 1500), 0);
    sent_count = 0;
    fake_pass(4000000000ll);
    cr_assert_geq(sent_count, 1);
    cr_expect_eq(sent[0].about.flags, ETHER_CHECKSUM_NEEDED);
}

Test(offload, what_fills_the_room_goes_out_though_more_is_to_come)
{
    static uint8_t data[65536];
    int64_t sock = connection(false);
    struct socket_request request = { .operation = SOCKET_SEND, .handle = (uint64_t)sock };
    request.message_flags = MSG_MORE;
    cr_assert_eq(fake_ask(request, data, sizeof data), 0);
    cr_assert_eq(fake_ask(request, data, sizeof data), -EAGAIN);
    cr_expect_eq(sent_count, 1);
}

Test(offload, a_segment_that_a_program_makes_is_sent_as_it_is)
{
    uint8_t segment[20] = { 0x17, 0x70, 0x30, 0x39, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0, 0, 0xab, 0xcd };
    int64_t sock = fake_open(AF_INET, SOCK_RAW, IPPROTO_TCP);
    cr_assert_eq(fake_connect(sock, "10.0.0.2", 0, 0), 0);
    cr_assert_eq(fake_send(sock, segment, sizeof segment, 0), (int)sizeof segment);
    cr_assert_eq(sent_count, 1);
    cr_expect(sent[0].about.flags == 0 && sent[0].bytes[50] == 0xab && sent[0].bytes[51] == 0xcd);
}

Test(offload, who_connects_to_an_address_of_this_machine_is_connected)
{
    int64_t listener = fake_open(AF_INET, SOCK_STREAM, 0), sock = fake_open(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(fake_bind(listener, "0.0.0.0", 6000), 0);
    cr_assert_eq(fake_listen(listener, 5), 0);
    cr_assert_eq(fake_connect(sock, "10.0.0.1", 6000, 0), 0);
    cr_assert_eq(fake_send(sock, "hello", 5, 0), 5);
    cr_assert_eq(fake_receive(fake_accept(listener, 0), 100, 0), 5);
    cr_expect_eq(sent_count, 0);
}
