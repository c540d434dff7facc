/* sm's core with everything that may come to it: malformed frames of every layer from the wire, and requests from actors that make no sense.
 *
 * An input is a list of steps. Frames are made layer by layer, with checksums that are right unless a step wants them wrong, and segments of TCP fit the
 * connections that sm has at that moment; so the input need not guess what it cannot know. When it ends all sockets are closed and all that lwIP keeps
 * is let go of: no memory may be left. Address errors are the sanitizer's to find. */
#include "sm.h"

#include <linux/if.h>
#include <linux/if_packet.h>
#include <linux/route.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <lwip/etharp.h>
#include <lwip/ip4_frag.h>
#include <lwip/ip6_frag.h>
#include <lwip/nd6.h>
#include <lwip/priv/tcp_priv.h>

#include "input.h"
#include "interface.h"
#include "offload.h"
#include "route.h"
#include "socket.h"
#include "stack.h"
#include "wire_order.h"

#define FRAME_MOST  65000u
#define HANDLES     12
#define FLOWS       8
#define TIME_MOST   (120 * 1000000000ll)    /* that one input may pass */
#define MILLISECOND 1000000ll

/* ---- the host ---- */

static int64_t now = 1000000000;
static uint64_t seed, client;
static bool events_are_refused;
static int64_t passed;

static bool host_send(uint64_t port, const struct socket_event *event)
{
    (void)port, (void)event;
    return !events_are_refused;
}

static int64_t host_now(void)
{
    return now;
}

static void host_random(void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)bytes)[i] = (uint8_t)(seed >> 56);
    }
}

static const struct sm_host host = { .send = host_send, .now = host_now, .random = host_random };

static void pass(int64_t nanoseconds)
{
    int64_t end = now + nanoseconds;
    if (passed + nanoseconds > TIME_MOST)
        return;
    passed += nanoseconds;
    for (int64_t due = sm_settle(); due <= end; due = sm_settle())
        now = due > now ? due : now;
    now = end;
    sm_settle();
}

/* ---- the wire ---- */

/* What sm sent last on a connection: what answers must fit to. */
struct flow {
    bool is_v6;
    uint16_t ours, theirs;
    uint32_t next, acknowledged;
};

static struct interface *interface;
static struct {
    struct ether_frame about;
    uint8_t bytes[ETHER_FRAME_MAX];
} place;
static uint8_t *const sent = place.bytes;
static size_t sent_size;
static bool wire_is_full, frames_are_on_their_way;
static struct ether_frame description; /* of the next frame that comes */
static struct flow flows[FLOWS];
static unsigned flow_next;

/* The frame in `sent`, if it is a segment of TCP. */
static void flow_note(void)
{
    const uint8_t *packet = sent + 14;
    bool is_v6 = get16(sent + 12) == 0x86dd;
    size_t header = is_v6 ? 40 : (packet[0] & 15) * 4u;
    if (sent_size < 14 + header + 20 || (is_v6 ? packet[6] : packet[9]) != IPPROTO_TCP || (!is_v6 && get16(sent + 12) != 0x800))
        return;
    const uint8_t *segment = packet + header;
    size_t length = (is_v6 ? get16(packet + 4) : get16(packet + 2) - header) - (segment[12] >> 4) * 4u;
    struct flow flow = { is_v6, get16(segment), get16(segment + 2),
                         get32(segment + 4) + (uint32_t)length + (segment[13] & 1) + (segment[13] >> 1 & 1), get32(segment + 8) };
    for (unsigned i = 0; i < FLOWS; i++)
        if (flows[i].is_v6 == is_v6 && flows[i].ours == flow.ours && flows[i].theirs == flow.theirs) {
            flows[i] = flow;
            return;
        }
    flows[flow_next++ % FLOWS] = flow;
}

/* It is on its way, and cut where the device would do it. */
static void frame_leaves(void)
{
    static uint8_t piece[ETHER_FRAME_MAX];
    if (sent_size == 0)
        return;
    flow_note();
    size_t size = 0;
    uint32_t length, headers = place.about.segmentation != ETHER_SEGMENTS_NONE ? place.about.headers_length : 0;
    for (unsigned i = 0; (length = offload_cut(&place.about, i, piece)) > 0; i++)
        size += length - headers;
    if (headers + size != place.about.length)
        abort();
    sent_size = 0;
}

static struct ether_frame *frame_room(unsigned number, size_t length)
{
    (void)number;
    frame_leaves();
    sent_size = wire_is_full || length > ETHER_FRAME_MAX ? 0 : length;
    place.about = (struct ether_frame){ .length = (uint32_t)length };
    return sent_size > 0 ? &place.about : NULL;
}

static bool frame_grow(unsigned number, size_t more)
{
    (void)number;
    if (frames_are_on_their_way || sent_size == 0 || more > ETHER_FRAME_MAX - place.about.length)
        return false;
    sent_size = place.about.length += (uint32_t)more;
    return true;
}

static const struct interface_wire wire = { frame_room, frame_grow };

/* In memory of exactly its size. */
static void arrive(const uint8_t *frame, size_t size)
{
    struct ether_frame about = description;
    uint8_t *copy = malloc(size > 0 ? size : 1);
    memcpy(copy, frame, size);
    about.length = (uint32_t)size;
    description = (struct ether_frame){ 0 };
    stack_catch_up();
    interface_receive(interface, &about, copy);
    free(copy);
    sm_settle();
    if (!frames_are_on_their_way)
        frame_leaves();
}

static uint16_t sum_over(const uint8_t *bytes, size_t size, uint32_t sum)
{
    for (size_t i = 0; i < size; i++)
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* Where the sum is in a header of this protocol; 0: it has none. */
static size_t sum_at(uint8_t protocol)
{
    return protocol == IPPROTO_TCP ? 16 : protocol == IPPROTO_UDP ? 6 : protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6 ? 2 : 0;
}

static void mend_payload(uint8_t *payload, size_t size, uint8_t protocol, const uint8_t *addresses, size_t addresses_size)
{
    size_t at = sum_at(protocol);
    if (at == 0 || size < at + 2)
        return;
    uint32_t pseudo = protocol == IPPROTO_ICMP ? 0 : protocol + (uint32_t)size + (uint16_t)~sum_over(addresses, addresses_size, 0);
    put16(payload + at, 0);
    put16(payload + at, sum_over(payload, size, pseudo));
}

/* Some bytes of it are others. */
static void damage(struct input *input, uint8_t *bytes, size_t size)
{
    for (unsigned changes = pick(input, 16); changes > 12 && size > 0; changes--) {
        size_t at = (size_t)take(input, 2) % size;
        bytes[at] = (uint8_t)take(input, 1);
    }
}

static const uint8_t our_v6[16] = { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1 };
static const uint8_t their_v6[16] = { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 2 };
static uint8_t frame[0x10000], payload[0x10000];

/* What is in `payload` as packets of IP, in pieces if the step wants it. */
static void arrive_v4(struct input *input, uint8_t protocol, size_t size)
{
    static const uint8_t begin[34] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 0, 0, 7, 0, 0, 64, 0, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1 };
    unsigned how = pick(input, 64);
    size_t options = how & 1 ? 4 * pick(input, 11) : 0, header = 34 + options;
    memcpy(frame, begin, sizeof begin);
    frame[14] = (uint8_t)(0x45 + options / 4);
    frame[23] = protocol;
    if (options > 0)
        take_bytes(input, frame + 34, options);
    if (how & 2)
        put16(frame + 20, (uint32_t)take(input, 2)); /* a fragment */
    if (how & 4)
        frame[19] = (uint8_t)take(input, 1);
    if (how & 8)
        memset(frame, 255, 6), memset(frame + 30, 255, 4);
    if (!(how & 16))
        mend_payload(payload, size, protocol, frame + 26, 8);
    size = size < FRAME_MOST - header ? size : FRAME_MOST - header;
    put16(frame + 16, (uint32_t)(header - 14 + size));
    memcpy(frame + header, payload, size);
    if (how & 32)
        damage(input, frame + 14, header + size - 14);
    put16(frame + 24, 0);
    put16(frame + 24, sum_over(frame + 14, header - 14, 0));
    arrive(frame, header + size);
}

static void arrive_v6(struct input *input, uint8_t protocol, size_t size)
{
    static const uint8_t begin[22] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 0, 255 };
    static const uint8_t headers[] = { 0, 60, 43, 44, 59, 51, 44, 44 };
    unsigned how = pick(input, 64);
    size_t header = 54;
    memcpy(frame, begin, sizeof begin);
    memcpy(frame + 22, their_v6, 16);
    memcpy(frame + 38, our_v6, 16);
    if (how & 8)
        memcpy(frame + 38, (uint8_t[16]){ 0xff, 2, [15] = 1 }, 16);
    if (!(how & 16))
        mend_payload(payload, size, protocol, frame + 22, 32);
    uint8_t *last = frame + 20;
    for (unsigned extensions = how & 7; extensions > 3; extensions--) {
        *last = headers[pick(input, sizeof headers)];
        last = frame + header;
        size_t more = 8 * (1 + (*last != 44 ? (size_t)pick(input, 4) : 0));
        take_bytes(input, last, more);
        last[1] = (uint8_t)(more / 8 - 1);
        header += more;
    }
    *last = protocol;
    size = size < FRAME_MOST - header ? size : FRAME_MOST - header;
    put16(frame + 18, (uint32_t)(header - 54 + size));
    memcpy(frame + header, payload, size);
    if (how & 32)
        damage(input, frame + 14, header + size - 14);
    arrive(frame, header + size);
}

static void arrive_packet(struct input *input, bool is_v6, uint8_t protocol, size_t size)
{
    if (is_v6)
        arrive_v6(input, protocol, size);
    else
        arrive_v4(input, protocol, size);
}

static size_t length_of(struct input *input)
{
    size_t length = (size_t)take(input, 2);
    return length < 0xc000 ? length % 1600 : length == 0xffff ? FRAME_MOST - 100 : length % 9000;
}

static void step_segment(struct input *input)
{
    unsigned which = pick(input, 2 * FLOWS);
    struct flow fresh = { which & 1, (uint16_t)(6000 + (which >> 1 & 3)), (uint16_t)(12345 + pick(input, 4)), 0, 0 };
    const struct flow *flow = which < FLOWS && flows[which].ours != 0 ? &flows[which] : &fresh;
    size_t options = 4 * (size_t)pick(input, 11), size = length_of(input);
    put16(payload, flow->theirs);
    put16(payload + 2, flow->ours);
    payload[13] = (uint8_t)take(input, 1);
    put32(payload + 4, flow->acknowledged + (uint32_t)(int16_t)take(input, 2));
    put32(payload + 8, flow->next + (uint32_t)(int16_t)take(input, 2));
    payload[12] = (uint8_t)((5 + options / 4) << 4);
    put16(payload + 14, (uint32_t)take(input, 2));
    put16(payload + 18, (uint32_t)take(input, 2));
    take_bytes(input, payload + 20, options);
    take_bytes(input, payload + 20 + options, size);
    arrive_packet(input, flow->is_v6, IPPROTO_TCP, 20 + options + size);
}

static void step_datagram(struct input *input)
{
    size_t size = length_of(input);
    put16(payload, 12345 + pick(input, 4));
    put16(payload + 2, 6000 + pick(input, 4));
    put16(payload + 4, (uint32_t)(pick(input, 8) == 0 ? take(input, 2) : 8 + size));
    take_bytes(input, payload + 8, size);
    arrive_packet(input, pick(input, 2), IPPROTO_UDP, 8 + size);
}

/* Errors quote a packet of ours; the others have what the input says. */
static void step_icmp(struct input *input, bool is_v6)
{
    static const uint8_t types[] = { 0, 3, 4, 5, 8, 11, 12, 13, 17 }, types_v6[] = { 1, 2, 3, 4, 128, 129, 130, 131, 133, 134, 135, 136, 137 };
    size_t size = length_of(input);
    payload[0] = is_v6 ? types_v6[pick(input, sizeof types_v6)] : types[pick(input, sizeof types)];
    payload[1] = (uint8_t)pick(input, 8);
    take_bytes(input, payload + 4, size);
    if (is_v6 && (payload[0] == 135 || payload[0] == 136))
        memcpy(payload + 8, payload[0] == 135 ? our_v6 : their_v6, 16);
    if (!is_v6 && payload[0] == 3)
        memcpy(payload + 8, (uint8_t[]){ 0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x17, 0x70 }, 22);
    arrive_packet(input, is_v6, is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 4 + size);
}

static const uint8_t arp[42] = { 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2,
                                 0, 0, 0, 0, 0, 0, 10, 0, 0, 1 };

static void step_arp(struct input *input)
{
    memcpy(frame, arp, sizeof arp);
    frame[21] = (uint8_t)pick(input, 3);
    frame[31] = (uint8_t)take(input, 1);
    damage(input, frame, sizeof arp);
    arrive(frame, pick(input, 8) == 0 ? pick(input, 60) : sizeof arp);
}

static void step_any(struct input *input)
{
    static const uint16_t kinds[] = { 0x800, 0x86dd, 0x806, 0x8100, 0 };
    size_t size = pick(input, 4) == 0 ? pick(input, 60) : length_of(input);
    take_bytes(input, frame, size);
    memcpy(frame, arp + 6, 6);
    frame[5] = 1;
    put16(frame + 12, kinds[pick(input, 5)]);
    arrive(frame, size);
}

/* ---- the client ---- */

static uint64_t handles[HANDLES];
static uint8_t body[SOCKET_BODY_MAX];
static struct socket_reply reply;

static int ask(const struct socket_request *request, const void *bytes, uint32_t size)
{
    uint32_t answer = 0;
    if (bytes != body && size > 0)
        memcpy(body, bytes, size);
    sm_request(request, &reply, body, size, &answer);
    if (answer > SOCKET_BODY_MAX || reply.address_size > SOCKET_ADDRESS_ROOM)
        abort();
    sm_settle();
    return reply.status;
}

static void put_address(struct input *input, struct socket_request *request)
{
    static const uint8_t v4[][4] = { { 0, 0, 0, 0 }, { 127, 0, 0, 1 }, { 10, 0, 0, 1 }, { 10, 0, 0, 2 }, { 10, 0, 0, 255 }, { 255, 255, 255, 255 },
                                     { 224, 0, 0, 1 }, { 8, 8, 8, 8 } };
    unsigned which = pick(input, 16);
    uint16_t port = htons((uint16_t)(pick(input, 16) == 0 ? take(input, 2) : 6000 + pick(input, 4)));
    if (which < 8) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = port };
        memcpy(&to.sin_addr, v4[which], 4);
        memcpy(request->address, &to, request->address_size = sizeof to);
        return;
    }
    struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = port };
    uint8_t *bytes = to.sin6_addr.s6_addr;
    switch (which) {
    case 9: bytes[15] = 1; break;
    case 10: memcpy(bytes, our_v6, 16); break;
    case 11: memcpy(bytes, their_v6, 16); break;
    case 12: memcpy(bytes, (uint8_t[]){ 0xff, 2 }, 2); bytes[15] = 1; break;
    case 13: bytes[10] = bytes[11] = 0xff; memcpy(bytes + 12, v4[pick(input, 8)], 4); break;
    case 14: take_bytes(input, bytes, 16); break;
    case 15: /* a device, or nothing sensible */
        take_bytes(input, request->address, SOCKET_ADDRESS_ROOM);
        memcpy(request->address, &(sa_family_t){ pick(input, 2) ? AF_PACKET : (sa_family_t)pick(input, 20) }, 2);
        request->address_size = pick(input, 40);
        return;
    default: break;
    }
    to.sin6_scope_id = pick(input, 4);
    memcpy(request->address, &to, request->address_size = sizeof to);
}

static void step_open(struct input *input)
{
    static const struct { int family, type, protocol; } kinds[] = {
        { AF_INET, SOCK_STREAM, 0 }, { AF_INET6, SOCK_STREAM, 0 }, { AF_INET, SOCK_DGRAM, 0 }, { AF_INET6, SOCK_DGRAM, 0 },
        { AF_INET, SOCK_DGRAM, IPPROTO_ICMP }, { AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6 }, { AF_INET, SOCK_RAW, IPPROTO_ICMP },
        { AF_INET, SOCK_RAW, IPPROTO_RAW }, { AF_INET6, SOCK_RAW, IPPROTO_ICMPV6 }, { AF_INET6, SOCK_RAW, IPPROTO_UDP }, { AF_INET, SOCK_RAW, IPPROTO_TCP },
        { AF_PACKET, SOCK_RAW, 0x300 }, { AF_PACKET, SOCK_DGRAM, 0x300 }, { AF_NETLINK, SOCK_RAW, NETLINK_ROUTE }, { AF_INET, SOCK_STREAM, 0 }, { AF_INET6, SOCK_STREAM, 0 } };
    unsigned kind = pick(input, 16), slot = pick(input, HANDLES);
    struct socket_request request = { .operation = SOCKET_OPEN, .flags = SOCKET_PRIVILEGED, .handle = client };
    request.family = kinds[kind].family;
    request.type = kinds[kind].type;
    request.protocol = kinds[kind].protocol;
    if (ask(&request, NULL, 0) == 0)
        handles[slot] = reply.handle;
}

static void step_ioctl(struct input *input)
{
    static const uint32_t commands[] = {
        SIOCGIFCONF, SIOCADDRT, SIOCDELRT, SIOCGIFNAME, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFADDR, SIOCSIFADDR, SIOCGIFNETMASK, SIOCSIFNETMASK,
        SIOCGIFBRDADDR, SIOCSIFBRDADDR, SIOCGIFMTU, SIOCSIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFMAP, SIOCGIFTXQLEN, FIONREAD, TIOCOUTQ };
    struct socket_request request = { .operation = SOCKET_IOCTL, .flags = SOCKET_PRIVILEGED, .handle = handles[pick(input, HANDLES)] };
    unsigned which = pick(input, 21);
    struct ifreq ifreq;
    request.command = which < 20 ? commands[which] : (uint32_t)take(input, 4);
    take_bytes(input, body, 200);
    if (request.command != SIOCADDRT && request.command != SIOCDELRT) {
        memcpy(&ifreq, body, sizeof ifreq);
        snprintf(ifreq.ifr_name, sizeof ifreq.ifr_name, "%s", pick(input, 3) == 0 ? "lo" : "eth0");
        if (request.command == SIOCSIFADDR || request.command == SIOCSIFNETMASK)
            memcpy(&ifreq.ifr_addr, &(sa_family_t){ AF_INET }, sizeof(sa_family_t));
        memcpy(body, &ifreq, sizeof ifreq);
    } else {
        struct rtentry route = { 0 };
        route.rt_dst.sa_family = route.rt_genmask.sa_family = route.rt_gateway.sa_family = AF_INET;
        memcpy(route.rt_gateway.sa_data + 2, (uint8_t[]){ 10, 0, 0, (uint8_t)pick(input, 4) }, 4);
        route.rt_flags = RTF_UP | (pick(input, 2) ? RTF_GATEWAY : 0);
        memcpy(body, &route, sizeof route);
        snprintf((char *)body + sizeof route, 16, "%s", pick(input, 2) ? "eth0" : "");
    }
    ask(&request, body, pick(input, 8) == 0 ? pick(input, 200) : 200);
}

static void step_option(struct input *input)
{
    static const int levels[] = { SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_ICMPV6, 255 /* SOL_RAW */, SOL_PACKET };
    struct socket_request request = { .flags = SOCKET_PRIVILEGED, .handle = handles[pick(input, HANDLES)] };
    request.operation = pick(input, 4) == 0 ? SOCKET_GET_OPTION : SOCKET_SET_OPTION;
    request.level = levels[pick(input, 7)];
    request.option = (int32_t)take(input, 1);
    uint32_t value = (uint32_t)(pick(input, 2) ? take(input, 1) : take(input, 4));
    memcpy(body, &value, 4);
    take_bytes(input, body + 4, 28);
    if (request.level == SOL_SOCKET && request.option == SO_BINDTODEVICE)
        memcpy(body, pick(input, 2) ? "eth0" : "lo\0\0", 5);
    ask(&request, body, pick(input, 8) == 0 ? pick(input, 32) : 16);
}

/* A message of rtnetlink, whole or not. */
static void step_netlink(struct input *input)
{
    static const uint16_t types[] = { RTM_NEWLINK, RTM_SETLINK, RTM_GETLINK, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE,
                                      RTM_GETNEIGH, RTM_NEWNEIGH };
    static const uint8_t heads[] = { sizeof(struct ifinfomsg), sizeof(struct ifaddrmsg), sizeof(struct rtmsg), sizeof(struct ndmsg), 1 };
    static const uint8_t addresses[][16] = { { 10, 0, 0, 2 }, { 10, 0, 0, 254 }, { 10, 1, 0, 0 }, { 0xfe, 0x80, [15] = 3 }, { 0x20, 1, [15] = 1 }, { 1 }, { 2 } };
    uint8_t message[600] = { 0 };
    struct nlmsghdr *header = (void *)message;
    unsigned flags = pick(input, 16), size = NLMSG_HDRLEN + NLMSG_ALIGN(heads[pick(input, 5)]);
    header->nlmsg_type = flags == 15 ? (uint16_t)take(input, 2) : types[pick(input, 11)];
    header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | (flags & 1 ? NLM_F_DUMP : flags << 8 & 0xe00) | NLM_F_CREATE);
    take_bytes(input, message + NLMSG_HDRLEN, size - NLMSG_HDRLEN);
    message[NLMSG_HDRLEN] = (uint8_t[]){ AF_INET, AF_INET6, 0, AF_INET }[pick(input, 4)];
    for (unsigned attributes = pick(input, 6); attributes > 0; attributes--) {
        struct nlattr attribute = { .nla_type = pick(input, 20) };
        unsigned length = (unsigned[]){ 4, 4, 16, 6, 1, 0, 40, 2 }[pick(input, 8)], which = pick(input, 10);
        attribute.nla_len = (uint16_t)(pick(input, 16) == 0 ? take(input, 2) : NLA_HDRLEN + length);
        memcpy(message + size, &attribute, sizeof attribute);
        if (which < 7)
            memcpy(message + size + NLA_HDRLEN, addresses[which], 16);
        else
            take_bytes(input, message + size + NLA_HDRLEN, length);
        size += NLA_HDRLEN + NLA_ALIGN(length);
    }
    header->nlmsg_len = pick(input, 16) == 0 ? (uint32_t)take(input, 2) : size;
    struct socket_request request = { .operation = SOCKET_SEND, .flags = SOCKET_PRIVILEGED, .handle = handles[pick(input, HANDLES)] };
    ask(&request, message, pick(input, 16) == 0 ? pick(input, size) : size);
}

/* Operations of an ordinary client. */
static void step_call(struct input *input)
{
    static const uint32_t operations[] = { SOCKET_BIND, SOCKET_CONNECT, SOCKET_LISTEN, SOCKET_ACCEPT, SOCKET_SEND, SOCKET_RECEIVE, SOCKET_SHUTDOWN,
                                           SOCKET_NAME, SOCKET_WATCH, SOCKET_UNWATCH, SOCKET_TEXT, SOCKET_CLOSE };
    struct socket_request request = { .operation = operations[pick(input, 12)] };
    unsigned slot = pick(input, HANDLES), flags = pick(input, 16);
    uint32_t size = 0;
    request.handle = handles[slot];
    request.flags = flags & 7;
    if (flags & SOCKET_NOTIFY)
        request.token = pick(input, 8);
    switch (request.operation) {
    case SOCKET_CONNECT:
    case SOCKET_BIND: put_address(input, &request); break;
    case SOCKET_LISTEN: request.length = pick(input, 4); break;
    case SOCKET_SHUTDOWN: request.length = pick(input, 4); break;
    case SOCKET_RECEIVE:
        request.length = (uint32_t)take(input, 3);
        request.message_flags = flags & 8 ? MSG_PEEK : 0;
        break;
    case SOCKET_WATCH: request.events = (uint32_t)take(input, 2); break;
    case SOCKET_TEXT: request.option = pick(input, 13); request.length = flags & 8 ? (uint32_t)take(input, 2) : 0; break;
    case SOCKET_SEND:
        size = pick(input, 4) == 0 ? SOCKET_BODY_MAX - pick(input, 100) : (uint32_t)length_of(input);
        take_bytes(input, body, size);
        request.message_flags = flags & 8 ? MSG_MORE : 0;
        if (pick(input, 2))
            put_address(input, &request);
        break;
    default: break;
    }
    int status = ask(&request, body, size);
    if (request.operation == SOCKET_ACCEPT && status == 0)
        handles[pick(input, HANDLES)] = reply.handle;
}

/* What the driver says of the next frame, true or not, and what it does. */
static void step_offload(struct input *input)
{
    static const uint16_t starts[] = { 34, 54, 34, 54, 14, 0, 38, 0xffff }, offsets[] = { 16, 6, 2, 16, 0, 0xffff, 10, 17 };
    unsigned how = pick(input, 16);
    switch (how) {
    case 0: case 1: interface_set_offloads(interface, (uint32_t)take(input, 1)); return;
    case 2: frames_are_on_their_way = pick(input, 2); return;
    case 3: take_bytes(input, (uint8_t *)&description, sizeof description); return;
    default: break;
    }
    description.flags = (uint8_t)(how & 3);
    description.segmentation = (uint8_t)pick(input, 4);
    description.headers_length = 54;
    description.segment_size = 1460;
    description.checksum_start = starts[pick(input, 8)];
    description.checksum_offset = offsets[pick(input, 8)];
}

/* Somebody who knows nothing of the protocol. */
static void step_hostile(struct input *input)
{
    struct socket_request request;
    uint8_t bytes[sizeof request];
    take_bytes(input, bytes, sizeof bytes);
    memcpy(&request, bytes, sizeof request);
    request.operation = SOCKET_CLIENT + pick(input, SOCKET_TEXT - SOCKET_CLIENT + 2);
    if (pick(input, 2))
        request.handle = handles[pick(input, HANDLES)];
    if (request.operation == SOCKET_OPEN)
        request.handle = client;
    uint32_t size = (uint32_t)take(input, 2);
    take_bytes(input, body, size);
    ask(&request, body, size);
}

static void step(struct input *input)
{
    static const int64_t times[] = { 1, 50, 100, 250, 1000, 6000, 16000, 35000 };
    switch (pick(input, 32)) {
    case 0: case 1: step_open(input); break;
    case 2: step_ioctl(input); break;
    case 3: case 4: step_option(input); break;
    case 5: step_hostile(input); break;
    case 6: case 7: pass(times[pick(input, 8)] * MILLISECOND); break;
    case 8: interface_link(interface, pick(input, 4) != 0); break;
    case 9: wire_is_full = pick(input, 4) == 0; break;
    case 10: events_are_refused = pick(input, 4) == 0; break;
    case 11: step_any(input); break;
    case 24: case 25: step_netlink(input); break;
    case 26: step_offload(input); break;
    case 12: step_arp(input); break;
    case 13: case 14: step_icmp(input, false); break;
    case 15: case 16: step_icmp(input, true); break;
    case 17: case 18: step_datagram(input); break;
    case 19: case 20: case 21: case 22: case 23: step_segment(input); break;
    default: step_call(input); break;
    }
}

/* ---- an input ---- */

/* Blocks of memory that were taken and not given back, in our thread (the fuzzer has others); only the sanitizer of addresses counts them. */
static _Thread_local long blocks;

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if __has_feature(address_sanitizer) || defined(__SANITIZE_ADDRESS__)
#include <sanitizer/allocator_interface.h>

static void count_block(const volatile void *block, size_t size)
{
    (void)size;
    blocks += block != NULL;
}

static void uncount_block(const volatile void *block)
{
    blocks -= block != NULL;
}

static void count_start(void)
{
    __sanitizer_install_malloc_and_free_hooks(count_block, uncount_block);
}
#else
static void count_start(void) {}
#endif

static void lo_restore(void)
{
    struct netif *lo = interface_netif("lo");
    ip4_addr_t address, mask, none = { 0 };
    ip4_addr_set_u32(&address, htonl(0x7f000001));
    ip4_addr_set_u32(&mask, htonl(0xff000000));
    route_interface_gone(lo, IPADDR_TYPE_V4);
    route_interface_gone(lo, IPADDR_TYPE_V6);
    for (int i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++)
        netif_ip6_addr_set_state(lo, (s8_t)i, IP6_ADDR_INVALID);
    netif_ip6_addr_set_parts(lo, 0, 0, 0, 0, htonl(1));
    netif_ip6_addr_set_state(lo, 0, IP6_ADDR_PREFERRED);
    netif_set_addr(lo, &address, &mask, &none);
    netif_set_link_up(lo);
    netif_set_up(lo);
}

static void begin(void)
{
    static bool started;
    seed = 1;
    if (!started)
        sm_start(&host);
    started = true;
    if (ask(&(struct socket_request){ .operation = SOCKET_CLIENT, .event_port = 77 }, NULL, 0) != 0)
        abort();
    client = reply.handle;
    lo_restore();
    struct interface_description about = { .hardware = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500, .link_up = true, .address = { 10, 0, 0, 1 },
                                                 .router = { 10, 0, 0, 254 }, .prefix = 24 };
    interface = interface_add(0, &about, &wire);
    if (interface == NULL)
        abort();
    interface->netif.num = 1; /* lwIP gives another number each time; the zone of its address goes with it */
    netif_create_ip6_linklocal_address(&interface->netif, 1);
    netif_ip6_addr_set_state(&interface->netif, 0, IP6_ADDR_PREFERRED);
    memset(handles, 0, sizeof handles);
    memset(flows, 0, sizeof flows);
    flow_next = 0;
    wire_is_full = events_are_refused = frames_are_on_their_way = false;
    description = (struct ether_frame){ 0 };
    passed = 0;
    arrive(arp, sizeof arp);
}

/* Close everything, and have lwIP forget everything. */
static void end(void)
{
    events_are_refused = frames_are_on_their_way = false;
    sent_size = 0;
    for (struct sock *sock = socks; sock != NULL;) {
        struct sock *next = sock->all_next;
        bool is_open = sock->handle != 0;
        if (is_open)
            ask(&(struct socket_request){ .operation = SOCKET_CLOSE, .handle = sock->handle }, NULL, 0);
        sock = is_open ? socks : next;
    }
    while (tcp_active_pcbs != NULL)
        tcp_abort(tcp_active_pcbs);
    while (tcp_tw_pcbs != NULL)
        tcp_abort(tcp_tw_pcbs);
    sm_settle();
    if (socks != NULL || tcp_bound_pcbs != NULL || tcp_listen_pcbs.pcbs != NULL)
        abort();
    for (int i = 0; i < 70; i++) {
        ip_reass_tmr();
        ip6_reass_tmr();
    }
    etharp_cleanup_netif(&interface->netif);
    nd6_cleanup_netif(&interface->netif);
    route_interface_gone(&interface->netif, IPADDR_TYPE_V4);
    route_interface_gone(&interface->netif, IPADDR_TYPE_V6);
    netif_remove(&interface->netif);
    free(interface);
    interfaces[0] = NULL;
}

static void run(const uint8_t *data, size_t size)
{
    struct input input = { data, data + size };
    begin();
    while (input.at < input.end)
        step(&input);
    end();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool warm;
    if (!warm) {
        run(data, 0); /* what is made once is made */
        count_start();
    }
    warm = true;
    blocks = 0;
    run(data, size);
    if (blocks != 0) {
        fprintf(stderr, "fuzz_sm: %ld blocks of memory are left\n", blocks);
        abort();
    }
    return 0;
}
