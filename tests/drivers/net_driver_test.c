/* The network driver against a real network device, whose wire is the test. */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host_bus.h"
#include "net/net.h"
#include "net_link.h"
#include "virtio_net.h"

static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 }, other[6] = { 2, 0, 0, 0, 0, 2 };

static struct device *device;
static struct driver_registers registers;
static struct net net;
static int wire;
static _Alignas(4096) uint8_t body[ETHER_BODY_MAX];

static void make(uint16_t mtu)
{
    int ends[2], room = 4 << 20;

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    wire = ends[1];
    struct net_link_options options = { .name = "hub:/tmp/x", .mtu = mtu, .control = -1, .descriptor = ends[0], .address = { 10, 0, 2, 15 }, .prefix = 24 };
    struct net_back_end *end = net_link_open(host_bus, &options);
    device = virtio_net_create("net0", &host_services, host_bus, end, mac, NULL);
    host_registers(&registers, device);
    memset(&net, 0, sizeof net);
    cr_assert(net_begin(&net, &registers, host_memory));
}

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    host_bus_start();
    make(1500);
}

static void destroy(void)
{
    for (device_reset(device); !device_quiet(device);)
        host_bus_step();
    device_destroy(device);
    close(wire);
}

static void end(void)
{
    destroy();
    host_bus_end();
}

TestSuite(net, .init = start, .fini = end, .timeout = 20);

/* ---- both sides ---- */

/* Append a frame to the body; the next place. */
static size_t put(size_t at, uint32_t length, unsigned seed)
{
    struct ether_frame *frame = (void *)(body + at);

    *frame = (struct ether_frame){ .length = length };
    for (uint32_t i = 0; i < length; i++)
        body[at + sizeof *frame + i] = (uint8_t)(i * 3 + seed);
    memcpy(frame + 1, other, 6);
    return at + ether_frame_space(length);
}

static void wire_read(void *to, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t more = recv(wire, (char *)to + done, length - done, MSG_DONTWAIT);
        done += more > 0 ? (size_t)more : 0;
        if (more < 0)
            host_bus_step();
    }
}

static void wire_expect(uint32_t length, unsigned seed)
{
    static uint8_t frame[65536];
    uint32_t prefix;

    wire_read(&prefix, sizeof prefix);
    cr_assert_eq(ntohl(prefix), length);
    wire_read(frame, length);
    cr_assert_arr_eq(frame, other, 6);
    for (uint32_t i = 6; i < length; i++)
        cr_assert_eq(frame[i], (uint8_t)(i * 3 + seed), "byte %u of %u", i, length);
}

static void wire_send(uint32_t length, unsigned seed)
{
    static uint8_t frame[65536];
    uint32_t prefix = htonl(length);

    for (uint32_t i = 0; i < length; i++)
        frame[i] = (uint8_t)(i * 3 + seed);
    memcpy(frame, mac, 6);
    cr_assert_eq(send(wire, &prefix, sizeof prefix, 0), (ssize_t)sizeof prefix);
    cr_assert_eq(send(wire, frame, length, 0), (ssize_t)length);
}

/* Receive until there is something. */
static uint32_t receive(size_t room, size_t *ret_size)
{
    uint32_t count;

    while ((count = net_receive(&net, body, room, ret_size)) == 0)
        host_bus_step();
    return count;
}

static size_t expect_frame(size_t at, uint32_t length, unsigned seed)
{
    const struct ether_frame *frame = (void *)(body + at);
    const uint8_t *bytes = (const uint8_t *)(frame + 1);

    cr_assert_eq(frame->length, length, "%u is not %u", frame->length, length);
    cr_assert(frame->flags == 0 && frame->segmentation == 0);
    for (uint32_t i = 6; i < length; i++)
        cr_assert_eq(bytes[i], (uint8_t)(i * 3 + seed));
    return at + ether_frame_space(length);
}

/* ---- tests ---- */

static void refuse(const struct ether_frame *frame, size_t size, uint32_t count)
{
    memcpy(body, frame, sizeof *frame);
    cr_assert_eq(net_check(&net, body, size, count), -EINVAL);
}

Test(net, bodies_that_make_no_sense_are_refused)
{
    struct ether_frame good = { .length = 60 }, frame;

    memcpy(body, &good, sizeof good);
    cr_assert_eq(net_check(&net, body, 76, 1), 0);
    refuse(&good, 76, 0);
    refuse(&good, 76, 2);
    refuse(&good, 76, ETHER_BATCH_MAX + 1);
    refuse(&good, 75, 1);
    refuse(&good, 15, 1);
    refuse(&good, 0, 1);
    static const uint32_t lengths[] = { 0, 13, 1515, 65520, 0x80000000u, UINT32_MAX, UINT32_MAX - 15 };
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        frame = (struct ether_frame){ .length = lengths[i] };
        refuse(&frame, ETHER_BODY_MAX, 1);
    }
    frame = (struct ether_frame){ .length = 60, .flags = ETHER_CHECKSUM_NEEDED };
    refuse(&frame, 76, 1);
    for (unsigned i = 1; i < 256; i++) {
        frame = (struct ether_frame){ .length = 60, .segmentation = (uint8_t)i, .segment_size = 10, .flags = ETHER_CHECKSUM_NEEDED };
        refuse(&frame, 76, 1);
    }
}

Test(net, settings_that_make_no_sense_are_refused)
{
    struct ether_request request = { .features = ETHER_SEND_CHECKSUM };

    cr_assert_eq(net_set(&net, &request), -EINVAL, "this wire has no offloads");
    request = (struct ether_request){ .flags = 2 };
    cr_assert_eq(net_set(&net, &request), -EINVAL);
    request = (struct ether_request){ .address = { 1, 2, 3, 4, 5, 6 } };
    cr_assert_eq(net_set(&net, &request), -EINVAL);
    request = (struct ether_request){ .address = { 2, 2, 3, 4, 5, 6 }, .flags = ETHER_PROMISCUOUS };
    cr_assert_eq(net_set(&net, &request), 0);
    cr_assert_eq(net.info.address[5], 6);
    request = (struct ether_request){ 0 };
    cr_assert_eq(net_set(&net, &request), 0);
    cr_assert_arr_eq(net.info.address, mac, 6);
}

Test(net, the_interface_is_told)
{
    struct ether_info info;

    net_info(&net, &info);
    cr_assert_arr_eq(info.device_address, mac, 6);
    cr_assert(info.mtu == 1500 && info.features == 0 && info.flags == ETHER_LINK_UP && info.hint_prefix == 24 && info.hint_address[3] == 15);
    cr_assert_str_eq(info.back_end, "hub:/tmp/x");
}

Test(net, batches_go_out_whole_and_in_order)
{
    static const uint32_t lengths[] = { 14, 15, 60, 61, 62, 63, 64, 65, 1514 };
    size_t at, bytes;

    for (unsigned round = 0; round < 20; round++) {
        at = 0;
        for (unsigned i = 0; i < 9; i++)
            at = put(at, lengths[i], round + i);
        cr_assert_eq(net_check(&net, body, at, 9), 0);
        cr_assert_eq(net_send(&net, body, 9, &bytes), 9u);
        cr_assert_eq(bytes, at);
        memset(body, 0xee, sizeof body);        /* it has a copy */
        for (unsigned i = 0; i < 9; i++)
            wire_expect(lengths[i], round + i);
    }
    cr_assert_eq(net_sending(&net), 0u);
    cr_assert_eq(net.info.frames_sent, 180u);
}

Test(net, a_full_device_takes_what_it_can_and_the_rest_later)
{
    unsigned sent = 0, idle = 0, received = 0;
    size_t bytes;

    while (idle < 3) {
        size_t at = 0;
        for (unsigned i = 0; i < 40; i++)
            at = put(at, 1500, sent + i);
        uint32_t taken = net_send(&net, body, 40, &bytes);
        sent += taken;
        idle = taken == 0 ? idle + 1 : 0;
        host_bus_step();
        cr_assert(sent < 10000, "it takes without end");
    }
    cr_assert(net_sending(&net) > 0);
    for (; received < sent; received++)
        wire_expect(1500, received);
    cr_assert_eq(net_sending(&net), 0u);
    put(0, 1500, 7);
    cr_assert_eq(net_send(&net, body, 1, &bytes), 1u);
    wire_expect(1500, 7);
}

Test(net, frames_come_in_batches_and_in_order)
{
    unsigned seed = 0;
    size_t size;

    for (unsigned i = 0; i < 300; i++)
        wire_send(14 + i * 5, i);
    while (seed < 300) {
        uint32_t count = receive(sizeof body, &size);
        size_t at = 0;
        for (uint32_t i = 0; i < count; i++, seed++)
            at = expect_frame(at, 14 + seed * 5, seed);
        cr_assert_eq(at, size);
    }
}

Test(net, who_has_little_room_gets_what_fits)
{
    size_t size;

    wire_send(60, 1);
    wire_send(1000, 2);
    wire_send(61, 3);
    wire_send(60, 4);
    cr_assert_eq(receive(16 + 60, &size), 1u);
    cr_assert_eq(size, 76u);
    expect_frame(0, 60, 1);
    /* The large one does not even fit alone: it is dropped. */
    cr_assert_eq(receive(16 + 61, &size), 1u);
    expect_frame(0, 61, 3);
    cr_assert_eq(size, 77u);
    cr_assert_eq(receive(sizeof body, &size), 1u);
    expect_frame(0, 60, 4);
    cr_assert_eq(net.info.receive_dropped, 1u);
}

Test(net, the_longest_frames_pass_both_ways)
{
    static const uint32_t lengths[] = { 65520, 4082, 4083, 4084, 8178, 8179, 30000 };
    size_t size, bytes;

    destroy();
    make(65506);
    for (unsigned i = 0; i < 7; i++) {
        wire_send(lengths[i], i);
        cr_assert_eq(receive(sizeof body, &size), 1u);
        expect_frame(0, lengths[i], i);
        put(0, lengths[i], i + 100);
        cr_assert_eq(net_check(&net, body, sizeof(struct ether_frame) + lengths[i], 1), 0);
        cr_assert_eq(net_send(&net, body, 1, &bytes), 1u);
        wire_expect(lengths[i], i + 100);
    }
}

Test(net, the_memory_grows_with_the_traffic)
{
    size_t size;
    unsigned got = 0;

    cr_assert_eq(net.steps, 1u);
    for (unsigned i = 0; i < 2000; i++)
        wire_send(60, i);
    while (got < 2000)
        got += receive(sizeof body, &size);
    cr_assert(net.steps > 1);
}

Test(net, an_interrupt_tells_of_the_next_frame)
{
    size_t size;

    host_interrupts = 0;
    cr_assert_not(net_receive_interrupts(&net, true));
    wire_send(60, 1);
    while (host_interrupts == 0)
        host_bus_step();
    cr_assert_eq(virtio_acknowledge(&net.driver), VIRTIO_INTERRUPT_QUEUE);
    cr_assert_eq(receive(sizeof body, &size), 1u);
    wire_send(60, 2);
    while (net_receive(&net, body, 0, &size) == 0 && net.info.receive_dropped == 0)
        host_bus_step();
    wire_send(60, 3);
    host_bus_step();
    cr_assert(net_receive_interrupts(&net, true), "there is one already");
}

Test(net, a_driver_begins_anew_with_what_was_set)
{
    struct ether_request request = { .address = { 2, 9, 9, 9, 9, 9 } };
    size_t size, bytes;

    cr_assert_eq(net_set(&net, &request), 0);
    put(0, 60, 1);
    net_send(&net, body, 1, &bytes);
    wire_expect(60, 1);
    while (!device_reset(device) && !device_quiet(device))
        host_bus_step();
    cr_assert(net_begin(&net, &registers, host_memory));
    cr_assert_eq(net.info.address[1], 9);
    wire_send(60, 1);                   /* to the device's own address: not for us now */
    static uint8_t frame[64] = { 0, 0, 0, 60, 2, 9, 9, 9, 9, 9 };
    cr_assert_eq(send(wire, frame, sizeof frame, 0), (ssize_t)sizeof frame);
    cr_assert_eq(receive(sizeof body, &size), 1u);
    cr_assert_eq(body[17], 9);
}

Test(net, a_link_that_goes_is_seen)
{
    cr_assert_not(net_link_changed(&net));
    net_receive_interrupts(&net, true);
    host_interrupts = 0;
    shutdown(wire, SHUT_RDWR);
    while (host_interrupts == 0)
        host_bus_step();
    cr_assert(virtio_acknowledge(&net.driver) & VIRTIO_INTERRUPT_CONFIG);
    cr_assert(net_link_changed(&net));
    cr_assert_eq(net.info.flags, 0u);
    size_t bytes;
    put(0, 60, 1);
    cr_assert_eq(net_send(&net, body, 1, &bytes), 1u, "taken, and lost");
    struct ether_info info;
    net_info(&net, &info);
    cr_assert_eq(info.send_dropped, 1u);
}
