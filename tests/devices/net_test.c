/* The network device and its back ends: frames both ways unchanged, back-pressure, filters, links that go and come, captures. */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_nucleus.h"
#include "net_link.h"
#include "virtio_net.h"

#define QUEUE_SIZE   64
#define QUEUE_AT(n)  (DRIVER_MEMORY + 4096 * (n))
#define BUFFER_AT(n) (DRIVER_MEMORY + 4096 * (16 + (n)))
#define HEADER       12u
#define FEATURES     (VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_MTU | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_CTRL_VQ \
                      | VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_MAC_ADDR)

static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 }, other[6] = { 2, 0, 0, 0, 0, 2 }, broadcast[6] = { 255, 255, 255, 255, 255, 255 };

static struct device *net;
static struct driver_queue queue[3];
static int wire, control;               /* the other ends */

static void driver_start(uint64_t features)
{
    driver_begin(net, features);
    for (unsigned i = 0; i < 3; i++) {
        memset(driver_at(QUEUE_AT(i)), 0, 4096);
        driver_queue_set_up(&queue[i], net, i, QUEUE_SIZE, QUEUE_AT(i));
    }
    driver_ready(net);
}

static void make(bool connected, bool lazy, uint16_t mtu, struct net_capture *capture)
{
    int ends[2], controls[2];

    cr_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, controls) == 0);
    wire = ends[1];
    control = controls[1];
    struct net_link_options options = { .name = "hub:/tmp/x", .mtu = mtu, .lazy = lazy, .control = controls[0], .descriptor = connected ? ends[0] : -1,
                                        .address = { 10, 0, 2, 15 }, .prefix = 24 };
    if (!connected)
        close(ends[0]);
    struct net_back_end *end = net_link_open(fake_bus, &options);
    cr_assert_not_null(end);
    net = virtio_net_create("net0", &fake_services, fake_bus, end, mac, capture);
    cr_assert_not_null(net);
}

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    fake_start();
    make(true, false, 1500, NULL);
    driver_start(FEATURES);
}

static void destroy(void)
{
    cr_assert(device_reset(net), "nothing holds a reset up");
    cr_assert_eq(fake_pins(), 0u);
    device_destroy(net);
    close(wire);
    close(control);
}

static void end(void)
{
    destroy();
    fake_run_idle();
    fake_end();
}

TestSuite(net, .init = start, .fini = end, .timeout = 30);

static void again_with(bool connected, bool lazy, uint16_t mtu)
{
    destroy();
    make(connected, lazy, mtu, NULL);
    driver_start(FEATURES);
}

/* ---- frames ---- */

static size_t frame_make(uint8_t *frame, const uint8_t to[6], uint32_t length, unsigned seed)
{
    for (uint32_t i = 0; i < length; i++)
        frame[i] = (uint8_t)(i * 13 + seed * 7);
    memcpy(frame, to, 6);
    return length;
}

static void wire_send(const uint8_t *frame, uint32_t length)
{
    uint32_t prefix = htonl(length);

    cr_assert_eq(send(wire, &prefix, sizeof prefix, MSG_DONTWAIT), (ssize_t)sizeof prefix);
    cr_assert_eq(send(wire, frame, length, MSG_DONTWAIT), (ssize_t)length);
}

static void wire_read(void *to, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t more = recv(wire, (char *)to + done, length - done, MSG_DONTWAIT);
        fake_run_idle();
        cr_assert(more > 0 || errno == EAGAIN);
        done += more > 0 ? (size_t)more : 0;
    }
}

static uint32_t wire_receive(uint8_t *frame)
{
    uint32_t prefix;

    wire_read(&prefix, sizeof prefix);
    cr_assert(ntohl(prefix) <= 65536);
    wire_read(frame, ntohl(prefix));
    return ntohl(prefix);
}

/* Have the driver send a frame from its page `page` on. */
static void driver_send(const struct virtio_net_header *header, const uint8_t *frame, uint32_t length, unsigned page)
{
    struct virtio_net_header none = { 0 };

    driver_put(BUFFER_AT(page), header == NULL ? &none : header, HEADER);
    driver_put(BUFFER_AT(page) + HEADER, frame, length);
    driver_offer(&queue[1], (struct driver_buffer[]){ { BUFFER_AT(page), HEADER + length, false } }, 1);
    driver_kick(&queue[1]);
}

static void buffers_offer(unsigned count, uint32_t length)
{
    for (unsigned i = 0; i < count; i++)
        driver_offer(&queue[0], (struct driver_buffer[]){ { BUFFER_AT(100 + i), length, true } }, 1);
    driver_kick(&queue[0]);
}

/* The next frame that the driver gets; the buffers that it takes are told by their heads, which are given in order. */
static uint32_t driver_receive(uint8_t *frame, unsigned *ret_buffers)
{
    struct virtio_net_header header;
    uint32_t head, length, done = 0;

    cr_assert(driver_wait_used(&queue[0], &head, &length), "a frame comes");
    driver_get(BUFFER_AT(100 + head), &header, HEADER);
    driver_get(BUFFER_AT(100 + head) + HEADER, frame, length - HEADER);
    done = length - HEADER;
    for (unsigned i = 1; i < header.buffers; i++) {
        cr_assert(driver_take_used(&queue[0], &head, &length), "and all of it");
        driver_get(BUFFER_AT(100 + head), frame + done, length);
        done += length;
    }
    if (ret_buffers != NULL)
        *ret_buffers = header.buffers;
    return done;
}

static uint32_t config(uint32_t offset)
{
    return (uint32_t)device_read(net, VIRTIO_CONFIG + offset);
}

static bool link_is_up(void)
{
    return config(4) >> 16 & VIRTIO_NET_LINK_UP;
}

static unsigned dropped_sent(void)
{
    return config(offsetof(struct virtio_net_config, dropped_sent));
}

Test(net, what_is_sent_goes_out_as_it_was)
{
    uint8_t frame[1514], back[65536];

    for (uint32_t length = 14; length <= 1514; length += 50) {
        frame_make(frame, other, length, length);
        driver_send(NULL, frame, length, 0);
        cr_assert_eq(wire_receive(back), length);
        cr_assert_arr_eq(back, frame, length);
    }
}

Test(net, what_comes_fills_as_many_buffers_as_it_needs)
{
    static uint8_t frame[65520], back[65520];
    unsigned buffers;

    again_with(true, false, 65506);
    for (uint32_t length = 14; length <= 65520; length += 4093) {
        buffers_offer(20, 4096);
        frame_make(frame, mac, length, length);
        wire_send(frame, length);
        cr_assert_eq(driver_receive(back, &buffers), length);
        cr_assert_arr_eq(back, frame, length);
        cr_assert_eq(buffers, (length + HEADER + 4095) / 4096);
        driver_start(FEATURES);         /* anew, so that heads are buffers again */
    }
}

Test(net, the_configuration_tells_address_mtu_link_and_hints)
{
    cr_assert_eq(config(0), 2u);
    cr_assert_eq(config(4), 0x100u | VIRTIO_NET_LINK_UP << 16);
    cr_assert_eq(config(8) >> 16, 1500u);
    cr_assert_eq(config(offsetof(struct virtio_net_config, hint_address)), 10u | 2u << 16 | 15u << 24);
    cr_assert_eq(config(offsetof(struct virtio_net_config, hint_prefix)), 24u);
    cr_assert_eq(config(offsetof(struct virtio_net_config, back_end)), 0x3a627568u, "hub:");
    cr_assert_eq(config(sizeof(struct virtio_net_config)), 0u);
    cr_assert_eq(config(0xe00), 0u);
}

Test(net, frames_wait_for_buffers_and_none_is_lost)
{
    uint8_t frame[200], back[200];

    for (unsigned i = 0; i < 40; i++) {
        frame_make(frame, mac, sizeof frame, i);
        wire_send(frame, sizeof frame);
        fake_run_idle();
    }
    buffers_offer(40, 2048);
    for (unsigned i = 0; i < 40; i++) {
        frame_make(frame, mac, sizeof frame, i);
        cr_assert_eq(driver_receive(back, NULL), sizeof back);
        cr_assert_arr_eq(back, frame, sizeof frame);
    }
}

Test(net, a_frame_waits_until_the_driver_has_buffers_enough_for_all_of_it)
{
    uint8_t frame[1000], back[1000];
    uint32_t head, length;

    frame_make(frame, mac, sizeof frame, 1);
    wire_send(frame, sizeof frame);
    buffers_offer(9, 100);
    fake_run_idle();
    cr_assert_not(driver_take_used(&queue[0], &head, &length), "900 bytes are too few");
    for (unsigned i = 9; i < 12; i++)
        driver_offer(&queue[0], (struct driver_buffer[]){ { BUFFER_AT(100 + i), 100, true } }, 1);
    driver_kick(&queue[0]);
    cr_assert_eq(driver_receive(back, NULL), sizeof frame);
    cr_assert_arr_eq(back, frame, sizeof frame);
}

Test(net, frames_that_wait_for_buffers_survive_a_reset)
{
    uint8_t frame[1000], back[1000];

    frame_make(frame, mac, sizeof frame, 1);
    wire_send(frame, sizeof frame);
    buffers_offer(3, 100);
    fake_run_idle();
    cr_assert(device_reset(net));
    cr_assert_eq(fake_pins(), 0u);
    driver_start(FEATURES);
    buffers_offer(1, 2048);
    cr_assert_eq(driver_receive(back, NULL), sizeof frame);
    cr_assert_arr_eq(back, frame, sizeof frame);
}

Test(net, a_wire_that_takes_nothing_holds_the_driver_up_and_nothing_is_lost)
{
    uint8_t frame[1514], back[65536];
    uint32_t head, length;
    unsigned sent = 0, received = 0;

    for (int idle = 0; idle < 3; sent++) {
        frame_make(frame, other, sizeof frame, sent);
        driver_send(NULL, frame, sizeof frame, sent % 60);
        fake_run_idle();
        idle = driver_take_used(&queue[1], &head, &length) ? 0 : idle + 1;
        cr_assert(sent < 5000, "it takes without end");
    }
    for (; received < sent; received++) {
        frame_make(frame, other, sizeof frame, received);
        cr_assert_eq(wire_receive(back), sizeof frame);
        cr_assert_arr_eq(back, frame, sizeof frame);
    }
    cr_assert_eq(dropped_sent(), 0u);
}

Test(net, frames_that_cannot_be_sent_are_dropped_and_counted)
{
    static uint8_t frame[4000];
    uint8_t back[65536];
    struct virtio_net_header checksum = { .flags = VIRTIO_NET_NEEDS_CSUM }, cut = { .gso_type = VIRTIO_NET_GSO_TCPV4, .gso_size = 1000 };
    uint32_t head, length;

    frame_make(frame, other, sizeof frame, 1);
    driver_send(NULL, frame, 13, 0);
    driver_send(NULL, frame, 1515, 1);
    driver_send(&checksum, frame, 100, 2);
    driver_send(&cut, frame, 3000, 3);
    driver_offer(&queue[1], (struct driver_buffer[]){ { BUFFER_AT(0), 5, false } }, 1);
    driver_offer(&queue[1], (struct driver_buffer[]){ { BUFFER_AT(0), 2000, true } }, 1);
    driver_send(NULL, frame, 1514, 4);
    for (int i = 0; i < 7; i++)
        cr_assert(driver_take_used(&queue[1], &head, &length));
    cr_assert_eq(dropped_sent(), 6u);
    cr_assert_eq(wire_receive(back), 1514u, "only the good one goes out");
    cr_assert_not(device_is_broken(net));
}

Test(net, frames_for_others_come_only_when_wanted)
{
    uint8_t frame[60], back[200];
    uint8_t group[6] = { 1, 0, 0x5e, 0, 0, 1 };
    uint32_t head, length;

    buffers_offer(10, 2048);
    wire_send(frame, frame_make(frame, other, sizeof frame, 1));
    wire_send(frame, frame_make(frame, broadcast, sizeof frame, 2));
    wire_send(frame, frame_make(frame, group, sizeof frame, 3));
    wire_send(frame, frame_make(frame, mac, sizeof frame, 4));
    for (unsigned seed = 2; seed <= 4; seed++) {
        driver_receive(back, NULL);
        cr_assert_eq(back[20], (uint8_t)(20 * 13 + seed * 7));
    }
    driver_put(BUFFER_AT(90), (uint8_t[]){ VIRTIO_NET_CONTROL_RX, VIRTIO_NET_RX_PROMISCUOUS, 1 }, 3);
    driver_offer(&queue[2], (struct driver_buffer[]){ { BUFFER_AT(90), 3, false }, { BUFFER_AT(91), 1, true } }, 2);
    driver_kick(&queue[2]);
    cr_assert(driver_take_used(&queue[2], &head, &length) && length == 1);
    wire_send(frame, frame_make(frame, other, sizeof frame, 5));
    driver_receive(back, NULL);
    cr_assert_eq(back[20], (uint8_t)(20 * 13 + 5 * 7));
}

/* One command; its answer. */
static int command(const void *bytes, uint32_t length)
{
    uint8_t answer = 99;
    uint32_t head, written;

    driver_put(BUFFER_AT(90), bytes, length);
    driver_put(BUFFER_AT(91), &answer, 1);
    driver_offer(&queue[2], (struct driver_buffer[]){ { BUFFER_AT(90), length, false }, { BUFFER_AT(91), 1, true } }, 2);
    driver_kick(&queue[2]);
    cr_assert(driver_take_used(&queue[2], &head, &written));
    driver_get(BUFFER_AT(91), &answer, 1);
    return answer;
}

Test(net, commands_that_make_no_sense_are_refused)
{
    uint8_t bytes[300];

    for (unsigned class = 0; class < 8; class++)
        for (unsigned number = 0; number < 8; number++) {
            memset(bytes, 0xff, sizeof bytes);
            bytes[0] = (uint8_t)class;
            bytes[1] = (uint8_t)number;
            cr_assert_eq(command(bytes, 2), VIRTIO_NET_CONTROL_ERROR);
            cr_assert_eq(command(bytes, 7), VIRTIO_NET_CONTROL_ERROR);
        }
    cr_assert_eq(command(bytes, 1), VIRTIO_NET_CONTROL_ERROR);
    cr_assert_eq(command((uint8_t[]){ 1, 1, 3, 0, 0, 0, 0, 9 }, 8), VIRTIO_NET_CONTROL_ERROR, "a group address");
    cr_assert_eq(command((uint8_t[]){ 1, 1, 2, 0, 0, 0, 0, 9 }, 8), VIRTIO_NET_CONTROL_OK);
    cr_assert_not(device_is_broken(net));
}

/* ---- links ---- */

static bool is_down(void *unused)
{
    (void)unused;
    return !link_is_up();
}

static bool is_up(void *unused)
{
    (void)unused;
    return link_is_up();
}

static bool keeper_is_asked(void *unused)
{
    char order;

    (void)unused;
    return recv(control, &order, 1, MSG_DONTWAIT) == 1 && order == 'c';
}

static void keeper_answers(int descriptor)
{
    struct net_link_answer answer = { .error = descriptor < 0 ? EIO : 0 };
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } rights = { 0 };
    struct iovec piece = { &answer, sizeof answer };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };

    if (descriptor >= 0) {
        message.msg_control = &rights;
        message.msg_controllen = sizeof rights;
        rights.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(&rights.head), &descriptor, sizeof descriptor);
    }
    cr_assert_eq(sendmsg(control, &message, 0), (ssize_t)sizeof answer);
    if (descriptor >= 0)
        close(descriptor);
}

static void connect_again(void)
{
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    close(wire);
    wire = ends[1];
    keeper_answers(ends[0]);
}

Test(net, a_link_that_is_lost_goes_down_and_comes_back)
{
    uint8_t frame[60], back[65536];
    unsigned interrupts = fake_interrupts();

    buffers_offer(5, 2048);
    shutdown(wire, SHUT_RDWR);
    cr_assert(fake_run_until(is_down, NULL));
    cr_assert(fake_interrupts() > interrupts && device_read(net, VIRTIO_INTERRUPT_STATUS) & VIRTIO_INTERRUPT_CONFIG);
    driver_send(NULL, frame, frame_make(frame, other, sizeof frame, 1), 0);     /* lost */
    cr_assert(fake_run_until(keeper_is_asked, NULL));
    connect_again();
    cr_assert(fake_run_until(is_up, NULL));
    driver_send(NULL, frame, frame_make(frame, other, sizeof frame, 2), 1);
    cr_assert_eq(wire_receive(back), sizeof frame);
    cr_assert_eq(back[20], (uint8_t)(20 * 13 + 2 * 7));
    wire_send(frame, frame_make(frame, mac, sizeof frame, 3));
    cr_assert_eq(driver_receive(back, NULL), sizeof frame);
}

Test(net, nonsense_on_the_wire_ends_the_connection)
{
    uint8_t bytes[100];

    memset(bytes, 0xff, sizeof bytes);
    buffers_offer(5, 2048);
    cr_assert_eq(send(wire, bytes, sizeof bytes, 0), (ssize_t)sizeof bytes);
    cr_assert(fake_run_until(is_down, NULL));
    cr_assert(fake_run_until(keeper_is_asked, NULL));
    cr_assert_eq(recv(wire, bytes, 1, MSG_DONTWAIT), 0, "the connection is closed");
}

Test(net, a_lazy_link_asks_for_its_connection_when_there_is_something_to_send)
{
    uint8_t frame[60], back[65536];

    again_with(false, true, 1500);
    cr_assert(link_is_up());
    fake_run_idle();
    cr_assert_not(keeper_is_asked(NULL));
    for (unsigned i = 0; i < 5; i++)
        driver_send(NULL, frame, frame_make(frame, other, sizeof frame, i), i);
    cr_assert(fake_run_until(keeper_is_asked, NULL));
    cr_assert_not(keeper_is_asked(NULL), "once");
    connect_again();
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(wire_receive(back), sizeof frame, "what was sent before it was there is not lost");
        cr_assert_eq(back[20], (uint8_t)(20 * 13 + i * 7));
    }
}

Test(net, a_lazy_link_that_gets_none_asks_again_at_the_next_frame)
{
    uint8_t frame[60];

    again_with(false, true, 1500);
    for (unsigned i = 0; i < 3; i++) {
        driver_send(NULL, frame, frame_make(frame, other, sizeof frame, i), i);
        cr_assert(fake_run_until(keeper_is_asked, NULL));
        keeper_answers(-1);
        fake_run_idle();
    }
    cr_assert(link_is_up());
    for (unsigned i = 0; i < 400; i++) {
        uint32_t head, length;
        driver_send(NULL, frame, frame_make(frame, other, sizeof frame, i), i % 60);
        cr_assert(driver_take_used(&queue[1], &head, &length), "who has no connection holds nobody up");
        fake_run_idle();
    }
}

Test(net, without_a_keeper_the_link_stays_down)
{
    close(control);
    control = -1;
    buffers_offer(5, 2048);
    shutdown(wire, SHUT_RDWR);
    cr_assert(fake_run_until(is_down, NULL));
    fake_run_idle();
    cr_assert_not(link_is_up());
}

Test(net, random_bytes_from_the_wire_harm_nothing)
{
    unsigned seed = 5;
    uint8_t bytes[5000];

    for (unsigned round = 0; round < 600; round++) {
        driver_start(FEATURES);
        buffers_offer(20, 512 << rand_r(&seed) % 3);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)rand_r(&seed);
        /* Half of them look like frames at first. */
        for (size_t at = 0; at + 4 < sizeof bytes && rand_r(&seed) % 8 != 0;) {
            uint32_t length = (uint32_t)rand_r(&seed) % 2000;
            memcpy(bytes + at, &(uint32_t){ htonl(length) }, 4);
            if (at + 10 < sizeof bytes)
                memcpy(bytes + at + 4, mac, 6);
            at += 4 + length;
        }
        send(wire, bytes, 1 + (size_t)rand_r(&seed) % sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        fake_run_idle();
        if (rand_r(&seed) % 4 == 0)
            shutdown(wire, SHUT_WR);
        fake_run_idle();
        if (keeper_is_asked(NULL))
            connect_again();
        fake_run_idle();
        cr_assert_not(device_is_broken(net));
    }
}

Test(net, an_idle_device_wakes_nobody)
{
    struct pollfd bus = { .fd = bus_descriptor(fake_bus), .events = POLLIN };
    uint8_t frame[60];

    buffers_offer(5, 2048);
    driver_send(NULL, frame, frame_make(frame, other, sizeof frame, 1), 0);
    fake_run_idle();
    cr_assert_eq(poll(&bus, 1, 50), 0);
    shutdown(wire, SHUT_RDWR);
    cr_assert(fake_run_until(is_down, NULL));
    fake_run_idle();
    cr_assert_eq(poll(&bus, 1, 50), 0, "nor when the wire is gone");
    cr_assert_not(bus_has_completions(fake_bus));
}

/* ---- offloads: a back end that has them ---- */

static struct {
    struct net_back_end end;
    struct virtio_net_header sent, received;
    uint32_t sent_length;
    bool has_one;
    uint64_t offloads;
} able;

static bool able_send(struct net_back_end *back, const struct virtio_net_header *header, const struct device_span *pieces, unsigned count, uint32_t length)
{
    (void)back, (void)pieces, (void)count;
    able.sent = *header;
    able.sent_length = length;
    return true;
}

static uint32_t able_receive(struct net_back_end *back, struct virtio_net_header *header, const uint8_t **frame)
{
    static uint8_t bytes[3000];

    (void)back;
    if (!able.has_one)
        return 0;
    able.has_one = false;
    memcpy(bytes, mac, 6);
    *header = able.received;
    *frame = bytes;
    return sizeof bytes;
}

static void able_nothing(struct net_back_end *back) { (void)back; }
static void able_want(struct net_back_end *back, bool frames) { (void)back, (void)frames; }
static void able_offloads(struct net_back_end *back, uint64_t offloads) { (void)back, able.offloads = offloads; }

Test(net, offloads_are_used_only_when_both_sides_want_them)
{
    static const struct net_back_end_operations operations = { able_send, able_nothing, able_receive, able_want, able_offloads, able_nothing };
    uint64_t all = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_OFFLOADS;
    static uint8_t frame[3000], back[4000];

    destroy();
    wire = control = -1;
    able.end = (struct net_back_end){ .operations = &operations, .mtu = 1500, .up = true, .offloads = all & ~VIRTIO_NET_F_GUEST_OFFLOADS };
    net = virtio_net_create("net0", &fake_services, fake_bus, &able.end, mac, NULL);
    driver_start(FEATURES | all);
    cr_assert_eq(able.offloads, VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4);
    struct virtio_net_header cut = { .flags = VIRTIO_NET_NEEDS_CSUM, .gso_type = VIRTIO_NET_GSO_TCPV4, .header_length = 54, .gso_size = 1000,
                                     .csum_start = 34, .csum_offset = 16 };
    driver_send(&cut, frame, frame_make(frame, other, sizeof frame, 1), 0);
    cr_assert_eq(able.sent_length, sizeof frame);
    cr_assert_arr_eq(&able.sent, &cut, sizeof cut);
    cut.gso_type = VIRTIO_NET_GSO_TCPV6;
    driver_send(&cut, frame, 2000, 1);
    cr_assert_eq(able.sent_length, sizeof frame, "what was not agreed upon is dropped");
    cr_assert_eq(dropped_sent(), 1u);

    able.received = (struct virtio_net_header){ .gso_type = VIRTIO_NET_GSO_TCPV4, .gso_size = 1000 };
    able.has_one = true;
    buffers_offer(4, 2048);
    cr_assert_eq(driver_receive(back, NULL), 3000u);
    /* The driver does not want them any more; one is under way. */
    cr_assert_eq(command((uint8_t[10]){ VIRTIO_NET_CONTROL_OFFLOADS, 0, 1 << 1 }, 10), VIRTIO_NET_CONTROL_OK);
    cr_assert_eq(able.offloads, VIRTIO_NET_F_GUEST_CSUM);
    able.has_one = true;
    able.end.ready(able.end.cookie);
    uint32_t head, length;
    cr_assert_not(driver_take_used(&queue[0], &head, &length));
}

/* ---- captures ---- */

static uint32_t file_size(const char *path)
{
    int file = open(path, O_RDONLY);
    off_t size = lseek(file, 0, SEEK_END);

    close(file);
    return (uint32_t)size;
}

Test(net, a_capture_has_what_was_sent_and_what_came)
{
    char path[] = "/tmp/chorus-capture-XXXXXX";
    uint8_t frame[100], back[65536], there[100];
    uint32_t head[4];
    int file = mkstemp(path);

    destroy();
    make(true, false, 1500, net_capture_create(fake_bus, fake_pool, dup(file)));
    driver_start(FEATURES);
    driver_send(NULL, frame, frame_make(frame, other, sizeof frame, 1), 0);
    cr_assert_eq(wire_receive(back), sizeof frame);
    buffers_offer(2, 2048);
    wire_send(back, frame_make(back, mac, 60, 2));
    driver_receive(there, NULL);
    destroy();
    cr_assert_eq(file_size(path), 24u + 16 + 100 + 16 + 60);
    cr_assert_eq(pread(file, head, sizeof head, 24), (ssize_t)sizeof head);
    cr_assert(head[2] == 100 && head[3] == 100);
    cr_assert_eq(pread(file, there, 100, 40), 100);
    cr_assert_arr_eq(there, frame, 100);
    cr_assert_eq(pread(file, there, 60, 156), 60);
    cr_assert_arr_eq(there, back, 60);
    unlink(path);
    close(file);
    make(true, false, 1500, NULL);
}

Test(net, a_capture_that_cannot_be_written_is_complained_of)
{
    uint8_t frame[100], back[65536];

    destroy();
    make(true, false, 1500, net_capture_create(fake_bus, fake_pool, open("/dev/full", O_WRONLY)));
    driver_start(FEATURES);
    for (unsigned i = 0; i < 30; i++) {
        driver_send(NULL, frame, frame_make(frame, other, sizeof frame, i), i);
        cr_assert_eq(wire_receive(back), sizeof frame, "frames go on");
    }
    destroy();
    cr_assert_not_null(strstr(fake_complaint(), "could not be written"));
    make(true, false, 1500, NULL);
}
