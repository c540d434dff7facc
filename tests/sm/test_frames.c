/* Frames from a wire on which anybody may say anything: sound ones are answered, and none ends the stack or keeps its memory. */

#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "interface.h"
#include "packets.h"
#include "wire_order.h"

#include <lwip/priv/tcp_priv.h>

/* How many frames; SM_FRAMES_FUZZ in the environment says another number. */
#define FUZZ_FRAMES 60000
#define FRAME_MOST 1600

static struct {
    struct ether_frame about;
    uint8_t bytes[FRAME_MOST];
} places[8];
static uint8_t *sent[8];
static size_t sent_size[8];
static unsigned sent_count;
static struct interface *interface;

static struct ether_frame *frame_room(unsigned number, size_t length)
{
    (void)number;
    if (length > FRAME_MOST)
        return NULL;
    unsigned place = sent_count++ % 8;
    sent_size[place] = length;
    sent[place] = places[place].bytes;
    places[place].about = (struct ether_frame){ .length = (uint32_t)length };
    return &places[place].about;
}

static bool frame_grow(unsigned number, size_t more)
{
    (void)number, (void)more;
    return false;
}

static const struct interface_wire wire = { frame_room, frame_grow };

static void begin(void)
{
    fake_begin();
    struct interface_description description = { .hardware = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500, .link_up = true, .address = { 10, 0, 0, 1 },
                                                 .router = { 10, 0, 0, 254 }, .prefix = 24 };
    interface = interface_add(0, &description, &wire);
    cr_assert_eq(sent_count, 0, "nothing is sent before somebody uses the network");
}

TestSuite(frames, .init = begin, .timeout = 120);

static void arrive(const uint8_t *frame, size_t size)
{
    interface_receive(interface, &(struct ether_frame){ .length = (uint32_t)size }, frame);
    fake_due = sm_settle();
}

/* ---- frames ---- */

static const uint8_t arp_request[42] = { 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2,
                                         0, 0, 0, 0, 0, 0, 10, 0, 0, 1 };

static const uint8_t echo[16] = { 8, 0, 0, 0, 0, 1, 0, 1, 'd', 'a', 't', 'a' };
static const uint8_t echo_v6[16] = { 128, 0, 0, 0, 0, 1, 0, 1, 'd', 'a', 't', 'a' };
static const uint8_t solicitation[32] = { 135, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1, 1, 1, 2, 0, 0, 0, 0, 2 };
static const uint8_t advertisement[48] = { 134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0,
                                           0x20, 1, 0xd, 0xb8 };
static const uint8_t syn[24] = { 0x30, 0x39, 0x17, 0x70, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4 }; /* 12345 to 6000 */
static const uint8_t datagram[16] = { 0x30, 0x39, 0x1b, 0x58, 0, 16, 0, 0, 'd', 'a', 't', 'a' };                                  /* to 7000 */
static const uint8_t unreachable[36] = { 3, 3, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x1b, 0x58, 0x30, 0x39 };

static size_t make_seed(uint8_t *frame, unsigned kind)
{
    switch (kind % 9) {
    case 0: memcpy(frame, arp_request, sizeof arp_request); return sizeof arp_request;
    case 1: return packet_v4(frame, IPPROTO_ICMP, echo, sizeof echo);
    case 2: return packet_v4(frame, IPPROTO_TCP, syn, sizeof syn);
    case 3: return packet_v4(frame, IPPROTO_UDP, datagram, sizeof datagram);
    case 4: return packet_v4(frame, IPPROTO_ICMP, unreachable, sizeof unreachable);
    case 5: return packet_v6(frame, IPPROTO_ICMPV6, echo_v6, sizeof echo_v6);
    case 6: return packet_v6(frame, IPPROTO_ICMPV6, solicitation, sizeof solicitation);
    case 7: return packet_v6(frame, IPPROTO_ICMPV6, advertisement, sizeof advertisement);
    default: return packet_v6(frame, IPPROTO_TCP, syn, sizeof syn);
    }
}

Test(frames, who_asks_for_our_address_is_told_and_an_echo_comes_back)
{
    uint8_t frame[FRAME_MOST];
    arrive(arp_request, sizeof arp_request);
    cr_assert_eq(sent_count, 1);
    cr_assert(sent[0][21] == 2 && memcmp(sent[0] + 22, interface->netif.hwaddr, 6) == 0);
    arrive(frame, make_seed(frame, 1));
    cr_assert_eq(sent_count, 2);
    cr_assert(sent[1][34] == 0 && memcmp(sent[1] + 42, "data", 4) == 0 && memcmp(sent[1], "\2\0\0\0\0\2", 6) == 0);
}

Test(frames, what_loops_back_is_counted_at_lo_and_what_comes_from_the_wire_is_not)
{
    uint8_t frame[FRAME_MOST];
    const struct interface_counters *lo = interface_counters(interface_netif("lo"));
    const char *places[] = { "127.0.0.1", "10.0.0.1" };
    for (int i = 0; i < 2; i++) {
        int64_t udp = fake_open(AF_INET, SOCK_DGRAM, 0);
        uint64_t packets = lo->received, bytes = lo->received_bytes;
        cr_assert_eq(fake_bind(udp, places[i], 7000), 0);
        cr_assert_eq(fake_connect(udp, places[i], 7000, 0), 0);
        cr_assert_eq(fake_send(udp, frame, 100, 0), 100);
        cr_assert_eq(fake_receive(udp, 200, 0), 100);
        cr_assert(lo->received == packets + 1 && lo->sent == lo->received && lo->received_bytes == bytes + 128 && lo->sent_bytes == lo->received_bytes);
        cr_assert_eq(interface_counters(&interface->netif)->received, 0);
    }
    uint64_t packets = lo->received;
    arrive(frame, make_seed(frame, 1));
    cr_assert_eq(lo->received, packets);
    cr_assert_eq(interface_counters(&interface->netif)->received, 1);
}

Test(frames, an_interface_that_is_down_hears_nothing)
{
    uint8_t frame[FRAME_MOST];
    size_t size = make_seed(frame, 5);
    int64_t packet = fake_open(AF_PACKET, SOCK_RAW, htons(3));
    arrive(frame, size);
    cr_assert_gt(fake_receive(packet, 2000, 0), 0);
    netif_set_down(&interface->netif);
    unsigned before = sent_count;
    arrive(frame, size);
    cr_assert_eq(sent_count, before);
    cr_assert_eq(fake_receive(packet, 2000, 0), -EAGAIN);
}

Test(frames, a_connection_from_outside_is_accepted_and_a_datagram_received)
{
    uint8_t frame[FRAME_MOST];
    int64_t listener = fake_open(AF_INET, SOCK_STREAM, 0), udp = fake_open(AF_INET, SOCK_DGRAM, 0);
    cr_assert_eq(fake_bind(listener, "0.0.0.0", 6000), 0);
    cr_assert_eq(fake_listen(listener, 5), 0);
    cr_assert_eq(fake_bind(udp, "0.0.0.0", 7000), 0);
    arrive(arp_request, sizeof arp_request);
    arrive(frame, make_seed(frame, 2));
    cr_assert_eq(sent_count, 2);
    cr_assert_eq(sent[1][47], 0x12, "SYN and ACK, not %x", sent[1][47]);
    uint8_t acknowledgement[20] = { 0x30, 0x39, 0x17, 0x70, 0, 0, 0, 2, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff };
    for (int i = 0; i < 4; i++)
        acknowledgement[8 + i] = sent[1][38 + i];
    for (int i = 11; i >= 8 && ++acknowledgement[i] == 0; i--)
        ;
    cr_assert_eq(fake_accept(listener, 1), -EAGAIN);
    arrive(frame, packet_v4(frame, IPPROTO_TCP, acknowledgement, sizeof acknowledgement));
    cr_assert(fake_came(1));
    cr_assert_gt(fake_accept(listener, 0), 0);
    arrive(frame, make_seed(frame, 3));
    cr_assert_eq(fake_receive(udp, 100, 0), 8);
}

Test(frames, a_packet_socket_sees_frames_and_sends_its_own)
{
    fake_unprivileged = true;
    cr_expect_eq(fake_open(AF_PACKET, SOCK_RAW, htons(3)), -EPERM);
    fake_unprivileged = false;
    int64_t arp = fake_open(AF_PACKET, SOCK_DGRAM, htons(0x806)), all = fake_open(AF_PACKET, SOCK_RAW, htons(3));
    uint8_t frame[FRAME_MOST];
    cr_assert_eq(fake_send(all, arp_request, sizeof arp_request, 0), -ENXIO, "it is bound to no interface");
    struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = netif_get_index(&interface->netif) };
    struct socket_request request = { .operation = SOCKET_BIND, .handle = (uint64_t)all, .address_size = sizeof to };
    memcpy(request.address, &to, sizeof to);
    cr_assert_eq(fake_ask(request, NULL, 0), 0);
    cr_assert_eq(fake_send(all, arp_request, 13, 0), -EINVAL);
    cr_assert_eq(fake_send(all, arp_request, sizeof arp_request, 0), (int)sizeof arp_request);
    cr_assert(sent_count == 1 && memcmp(sent[0], arp_request, sizeof arp_request) == 0);
    arrive(arp_request, sizeof arp_request);
    cr_assert_eq(fake_receive(arp, 2000, 0), (int)sizeof arp_request - 14);
    cr_assert_eq(fake_receive(all, 2000, 0), (int)sizeof arp_request);
    arrive(frame, make_seed(frame, 1));
    cr_assert_eq(fake_receive(arp, 2000, 0), -EAGAIN);
    cr_assert_gt(fake_receive(all, 2000, 0), 0);
}

/* The number that the newest frame begins with, as the client's peer counts bytes. */
static uint32_t sent_number(void)
{
    uint32_t number;
    memcpy(&number, sent[(sent_count - 1) % 8] + 38, sizeof number);
    return ntohl(number);
}

/* How many of the newest frames, <count> of them, begin with this one. */
static unsigned sent_this(uint32_t wanted, unsigned count)
{
    unsigned found = 0;
    uint32_t number;
    for (unsigned i = 1; i <= count && i <= 8; i++) {
        memcpy(&number, sent[(sent_count - i) % 8] + 38, sizeof number);
        found += ntohl(number) == wanted;
    }
    return found;
}

/* The client has everything before this byte. */
static void acknowledge(uint32_t number)
{
    uint8_t frame[FRAME_MOST], acknowledgement[20] = { 0x30, 0x39, 0x17, 0x70, 0, 0, 0, 2, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff };
    number = htonl(number);
    memcpy(acknowledgement + 8, &number, sizeof number);
    arrive(frame, packet_v4(frame, IPPROTO_TCP, acknowledgement, sizeof acknowledgement));
}

/* A whole handshake of one client, in whose middle some more strangers come. */
static void connect_from_outside(int64_t listener)
{
    uint8_t frame[FRAME_MOST], one[sizeof syn];
    arrive(frame, packet_v4(frame, IPPROTO_TCP, syn, sizeof syn));
    uint32_t number = sent_number() + 1;
    memcpy(one, syn, sizeof one);
    for (unsigned i = 0; i < 100; i++) {
        put16(one, (uint16_t)(20000 + i));
        arrive(frame, packet_v4(frame, IPPROTO_TCP, one, sizeof one));
    }
    acknowledge(number);
    cr_assert_gt(fake_accept(listener, 0), 0, "an honest client is let in all the same");
}

static unsigned half_open(void)
{
    unsigned count = 0;
    for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next)
        count += pcb->state == SYN_RCVD;
    return count;
}

Test(frames, half_open_connections_are_bounded_and_given_up)
{
    uint8_t frame[FRAME_MOST], one[sizeof syn];
    int64_t listener = fake_open(AF_INET, SOCK_STREAM, 0), udp = fake_open(AF_INET, SOCK_DGRAM, 0);
    cr_assert_eq(fake_bind(listener, "0.0.0.0", 6000), 0);
    cr_assert_eq(fake_listen(listener, 5), 0);
    arrive(arp_request, sizeof arp_request);
    for (unsigned i = 0; i < 5000; i++) {
        memcpy(one, syn, sizeof one);
        put16(one, (uint16_t)(1000 + i));
        arrive(frame, packet_v4(frame, IPPROTO_TCP, one, sizeof one));
    }
    cr_assert_gt(half_open(), 100);
    cr_assert_lt(half_open(), 256);
    connect_from_outside(listener);
    cr_assert_lt(half_open(), 256);
    fake_pass(120000000000);
    cr_assert_eq(half_open(), 0, "they are given up");
    unsigned before = sent_count;
    arrive(arp_request, sizeof arp_request);
    arrive(frame, make_seed(frame, 2));
    cr_assert_geq(sent_count, before + 2, "it listens again");
    (void)udp;
}

Test(frames, of_several_segments_that_are_lost_each_is_sent_again_as_soon_as_it_is_named)
{
    enum { SEGMENT = 1460, WARM = 8 };
    static uint8_t data[60000];
    uint8_t frame[FRAME_MOST];
    int64_t listener = fake_open(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(fake_bind(listener, "0.0.0.0", 6000), 0);
    cr_assert_eq(fake_listen(listener, 5), 0);
    arrive(arp_request, sizeof arp_request);
    arrive(frame, packet_v4(frame, IPPROTO_TCP, syn, sizeof syn));
    uint32_t first = sent_number() + 1;
    acknowledge(first);
    int64_t connection = fake_accept(listener, 0);
    cr_assert_gt(connection, 0);
    cr_assert_eq(fake_send(connection, data, sizeof data, 0), (int)sizeof data);
    for (unsigned i = 1; i <= WARM; i++)
        acknowledge(first + i * SEGMENT); /* many are under way now */
    uint32_t lost = first + WARM * SEGMENT;
    for (int i = 0; i < 3; i++)
        acknowledge(lost);
    cr_assert_eq(sent_this(lost, 3), 1, "the first one again");
    for (unsigned more = 2; more <= 8; more += 2) {
        unsigned before = sent_count;
        acknowledge(lost + more * SEGMENT); /* what was sent again, and what came behind it; the next one is missing */
        cr_assert_eq(sent_this(lost + more * SEGMENT, sent_count - before), 1, "segment %u, of %u sent", more, sent_count - before);
    }
}

Test(frames, what_waits_for_a_neighbour_that_is_not_known_is_bounded)
{
    static const uint8_t solicited[32] = { 136, 0, 0, 0, 0x60, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 2, 2, 1, 2, 0, 0, 0, 0, 2 };
    static const uint8_t arp_reply[42] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2,
                                           2, 0, 0, 0, 0, 1, 10, 0, 0, 1 };
    uint8_t frame[FRAME_MOST];
    int64_t v4 = fake_open(AF_INET, SOCK_DGRAM, 0), v6 = fake_open(AF_INET6, SOCK_DGRAM, 0);
    cr_assert_eq(fake_connect(v4, "10.0.0.2", 7000, 0), 0);
    struct sockaddr_in6 there = { .sin6_family = AF_INET6, .sin6_port = htons(7000), .sin6_scope_id = netif_get_index(&interface->netif) };
    memcpy(&there.sin6_addr, solicited + 8, 16);
    struct socket_request connect = { .operation = SOCKET_CONNECT, .handle = (uint64_t)v6, .address_size = sizeof there };
    memcpy(connect.address, &there, sizeof there);
    cr_assert_eq(fake_ask(connect, NULL, 0), 0);
    for (int i = 0; i < 1000; i++) {
        fake_send(v4, frame, 1000, 0);
        fake_send(v6, frame, 1000, 0);
    }
    unsigned asked = sent_count;
    arrive(arp_reply, sizeof arp_reply);
    cr_assert(sent_count > asked && sent_count <= asked + 20, "%u", sent_count - asked);
    asked = sent_count;
    arrive(frame, packet_v6(frame, IPPROTO_ICMPV6, solicited, sizeof solicited));
    cr_assert(sent_count > asked && sent_count <= asked + 20, "%u", sent_count - asked);
}

/* How many frames answer a packet of IPv6 made of these parts. */
static unsigned answers_to(uint8_t protocol, const void *first, size_t first_size, const void *second, size_t second_size)
{
    uint8_t frame[FRAME_MOST], data[FRAME_MOST], swapped[FRAME_MOST];
    memcpy(data, first, first_size);
    memcpy(data + first_size, second, second_size);
    size_t size = packet_v6(frame, IPPROTO_ICMPV6, second, second_size);  /* the sum is that of the packet without extension headers */
    memcpy(data + first_size, frame + 54, second_size);
    size = packet_v6(swapped, IPPROTO_NONE, data, first_size + second_size);
    swapped[20] = protocol;
    memcpy(swapped + 54, data, first_size + second_size);
    unsigned before = sent_count;
    arrive(swapped, size);
    return sent_count - before;
}

Test(frames, neighbour_discovery_whose_lengths_lie_is_not_answered)
{
    static const uint8_t padding[8] = { IPPROTO_ICMPV6, 0, 1, 4 }, too_long[8] = { IPPROTO_ICMPV6, 9, 1, 4 }, beyond[8] = { IPPROTO_ICMPV6, 0, 1, 5 },
                         fragment[8] = { IPPROTO_ICMPV6, 0, 0, 0, 0, 0, 0, 1 };
    uint8_t lying[32];
    cr_assert_gt(answers_to(IPPROTO_ICMPV6, "", 0, solicitation, sizeof solicitation), 0);
    memcpy(lying, solicitation, sizeof lying);
    lying[25] = 0;
    cr_assert_eq(answers_to(IPPROTO_ICMPV6, "", 0, lying, sizeof lying), 0);
    cr_assert_eq(answers_to(IPPROTO_ICMPV6, "", 0, lying, 26), 0, "and none behind it");
    lying[25] = 2;
    cr_assert_eq(answers_to(IPPROTO_ICMPV6, "", 0, lying, sizeof lying), 0);
    cr_assert_eq(answers_to(IPPROTO_ICMPV6, "", 0, solicitation, 25), 0);

    cr_assert_gt(answers_to(IPPROTO_DSTOPTS, padding, 8, solicitation, sizeof solicitation), 0);
    cr_assert_eq(answers_to(IPPROTO_DSTOPTS, too_long, 8, solicitation, sizeof solicitation), 0);
    cr_assert_eq(answers_to(IPPROTO_DSTOPTS, beyond, 8, solicitation, sizeof solicitation), 0);
    cr_assert_eq(answers_to(IPPROTO_HOPOPTS, "", 0, solicitation, 1), 0);
    cr_assert_eq(answers_to(IPPROTO_FRAGMENT, fragment, 8, solicitation, sizeof solicitation), 0);
    cr_assert_gt(answers_to(IPPROTO_FRAGMENT, fragment, 8, echo_v6, sizeof echo_v6), 0, "a fragment that is the whole packet");
}

static unsigned next(unsigned *random)
{
    *random = *random * 1103515245 + 12345;
    return *random >> 12;
}

/* Mostly behind the addresses of Ethernet. */
static void damage(uint8_t *frame, size_t size, unsigned *random)
{
    size_t from = next(random) % 4 == 0 ? 0 : 12, at = from + next(random) % (size - from);
    uint8_t byte = (uint8_t)next(random);
    frame[at] = next(random) % 3 == 0 ? 255 : byte;
}

Test(frames, malformed_frames_harm_nothing)
{
    const char *wish = getenv("SM_FRAMES_FUZZ");
    unsigned long count = wish != NULL ? strtoul(wish, NULL, 10) : FUZZ_FRAMES;
    unsigned random = wish != NULL ? (unsigned)count : 1;
    int64_t listener = fake_open(AF_INET6, SOCK_STREAM, 0), udp = fake_open(AF_INET, SOCK_DGRAM, 0), raw = fake_open(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    int64_t packet = fake_open(AF_PACKET, SOCK_DGRAM, htons(3)); /* all protocols */
    cr_assert_gt(packet, 0);
    cr_assert_eq(fake_bind(listener, "::", 6000), 0);
    cr_assert_eq(fake_listen(listener, 100), 0);
    cr_assert_eq(fake_bind(udp, "0.0.0.0", 7000), 0);
    cr_assert_eq(fake_connect(udp, "10.0.0.2", 12345, 0), 0);
    for (unsigned long i = 0; i < count; i++) {
        uint8_t frame[FRAME_MOST] = { 0 };
        size_t size = make_seed(frame, next(&random));
        for (unsigned changes = next(&random) % 6; changes > 0; changes--)
            damage(frame, size, &random);
        if (next(&random) % 4 == 0)
            size = next(&random) % 5 == 0 ? next(&random) % FRAME_MOST : next(&random) % (size + 1);
        if (next(&random) % 8 != 0)
            packet_mend(frame, size);
        arrive(frame, size);
        if (i % 64 == 0)
            fake_pass(30000000);
        if (i % 4096 == 0)
            fake_pass(20000000000);
        if (next(&random) % 16 == 0) {
            int64_t end = fake_accept(listener, 0);
            if (end > 0)
                fake_close(end);
            fake_receive(udp, 2000, 0);
            fake_receive(raw, 2000, 0);
            fake_receive(packet, 2000, 0);
        }
    }
    /* It still works. */
    fake_pass(300000000000);
    unsigned before = sent_count;
    arrive(arp_request, sizeof arp_request);
    cr_assert_eq(sent_count, before + 1);
}

Test(frames, who_joins_a_group_says_so_and_hears_what_is_sent_to_it)
{
    static const uint8_t group_head[14] = { 1, 0, 0x5e, 1, 2, 3, 2, 0, 0, 0, 0, 2, 8, 0 };
    uint8_t packet[14 + 28 + 5] = { 0 };
    struct ip_mreq request = { .imr_multiaddr.s_addr = htonl(0xef010203) };
    int64_t sock = fake_open(AF_INET, SOCK_DGRAM, 0);
    cr_assert_eq(fake_bind(sock, "0.0.0.0", 7000), 0);
    memcpy(packet, group_head, sizeof group_head);
    memcpy(packet + 14, (uint8_t[]){ 0x45, 0, 0, 33, 0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 0, 2, 239, 1, 2, 3, 0x1b, 0x58, 0x1b, 0x58, 0, 13, 0, 0 }, 28);
    memcpy(packet + 42, "hello", 5);
    packet_mend(packet, sizeof packet);
    arrive(packet, sizeof packet);
    cr_expect_eq(fake_receive(sock, 100, 0), -EAGAIN, "nobody is a member yet");
    unsigned before = sent_count;
    struct socket_request option = { .operation = SOCKET_SET_OPTION, .handle = (uint64_t)sock };
    option.level = IPPROTO_IP;
    option.option = IP_ADD_MEMBERSHIP;
    cr_assert_eq(fake_ask(option, &request, sizeof request), 0);
    cr_assert_eq(sent_count, before + 1);
    cr_expect_eq(sent[before % 8][23], IPPROTO_IGMP);
    arrive(packet, sizeof packet);
    cr_expect_eq(fake_receive(sock, 100, 0), 5);
    fake_pass(60000000000ll);
    cr_expect_eq(fake_due, INT64_MAX, "groups wake nobody for ever");
    cr_assert_eq(fake_close(sock), 0);
}
