/* The core of the network's driver, on the real model of the device: what comes from the wire may be anything, and so may what its client asks for.
 * What it hands out is looked at: as many frames as it says, of the lengths that they say, within the room that there was. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "host_bus.h"
#include "input.h"
#include "net/net.h"
#include "virtio_net.h"
#include "wire.h"

static struct device *device;
static struct driver_registers registers;
static struct net net;
static uint8_t frame[70000];

/* Memory that is given back with the input. */
#define BLOCKS_MOST 64
static void *blocks[BLOCKS_MOST];
static unsigned block_count;

static void *memory(size_t size)
{
    void *block = block_count < BLOCKS_MOST ? host_memory(size) : NULL;
    if (block != NULL)
        blocks[block_count++] = block;
    return block;
}

static size_t take_length(struct input *input)
{
    size_t length = (size_t)take(input, 2);
    return length < 0xe000 ? length % 1600 : length;
}

static void step_wire(struct input *input)
{
    struct virtio_net_header header = { .flags = (uint8_t)pick(input, 4), .gso_type = (uint8_t)pick(input, 6), .header_length = (uint16_t)take(input, 1),
                                        .gso_size = (uint16_t)take(input, 2), .csum_start = (uint16_t)take(input, 2), .csum_offset = (uint16_t)take(input, 1) };
    uint32_t length = (uint32_t)take_length(input);
    take_bytes(input, frame, length);
    if (pick(input, 8) != 0)
        memcpy(frame, (uint8_t[6]){ 2 }, 6);
    wire_bring(&header, frame, length);
}

/* A body with frames in it, in memory of its size; with lengths that are so or not. */
static void step_send(struct input *input)
{
    size_t at = 0;
    unsigned count = 1 + pick(input, 8), tampered = pick(input, 16);
    static _Alignas(8) uint8_t body[ETHER_BODY_MAX];
    for (unsigned i = 0; i < count; i++) {
        struct ether_frame one = { .length = (uint32_t)take_length(input) };
        if (pick(input, 4) == 0)
            one = (struct ether_frame){ one.length, (uint8_t)pick(input, 4), (uint8_t)pick(input, 4), (uint16_t)take(input, 1), (uint16_t)take(input, 2),
                                        (uint16_t)take(input, 2), (uint16_t)take(input, 1), 0 };
        if (at + ether_frame_space(one.length < 60 ? 60 : one.length) > sizeof body)
            break;
        take_bytes(input, body + at + sizeof one, one.length);
        if (tampered == i)
            one.length = (uint32_t)take(input, 4);
        memcpy(body + at, &one, sizeof one);
        at += ether_frame_space(tampered == i ? 60 : one.length);
    }
    size_t size = pick(input, 8) == 0 ? (size_t)take(input, 2) % (at + 1) : at, done = 0, bytes;
    uint32_t asked = pick(input, 8) == 0 ? (uint32_t)take(input, 2) : count, taken = 0;
    uint8_t *exact = aligned_alloc(8, size / 8 * 8 + 8);
    memcpy(exact, body, size);
    if (net_check(&net, exact, size, asked) == 0)
        for (uint32_t more = 1; taken < asked && more > 0; taken += more, done += bytes)
            more = net_send(&net, exact + done, asked - taken, &bytes);
    free(exact);
}

static void step_receive(struct input *input)
{
    size_t room = pick(input, 2) ? ETHER_BODY_MAX : (size_t)take(input, 2), size = 0, at = 0;
    uint8_t *body = aligned_alloc(8, (room + 8) / 8 * 8);
    uint32_t count = net_receive(&net, body, room, &size);
    if (size > room || count > ETHER_BATCH_MAX)
        abort();
    for (; count > 0; count--) {
        struct ether_frame one;
        if (at > size || size - at < sizeof one)
            abort();
        memcpy(&one, body + at, sizeof one);
        if (one.length < ETHER_FRAME_MIN || one.length > size - at - sizeof one)
            abort();
        at += ether_frame_space(one.length);
    }
    free(body);
}

static void step_set(struct input *input)
{
    struct ether_request request = { .operation = ETHER_SET, .flags = pick(input, 4), .features = (uint32_t)take(input, 1) };
    struct ether_info info;
    take_bytes(input, request.address, 6);
    if (net_set(&net, &request) != 0 && net_set(&net, &(struct ether_request){ .operation = ETHER_SET }) != 0)
        abort(); /* nothing at all may always be wanted */
    net_info(&net, &info);
    if (info.mtu != net.info.mtu)
        abort();
}

static void step(struct input *input)
{
    switch (pick(input, 10)) {
    case 0: case 1: case 2: step_wire(input); break;
    case 3: case 4: step_send(input); break;
    case 5: case 6: step_receive(input); break;
    case 7: step_set(input); break;
    case 8: wire_set(pick(input, 4) != 0, pick(input, 4) != 0); net_link_changed(&net); break;
    default:
        net_receive_interrupts(&net, pick(input, 2));
        net_send_interrupts(&net, pick(input, 2));
        net_sending(&net);
        virtio_acknowledge(&net.driver);
        bus_run(host_bus);
    }
    if (virtio_needs_reset(&net.driver))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, data + size };
    if (host_bus == NULL) {
        signal(SIGPIPE, SIG_IGN);
        host_bus_start();
    }
    struct net_back_end *end = wire_open(pick(&input, 2) ? 65506 : 1500);
    device = virtio_net_create("net0", &host_services, host_bus, end, (uint8_t[6]){ 2 }, NULL);
    host_registers(&registers, device);
    memset(&net, 0, sizeof net);
    if (!net_begin(&net, &registers, memory))
        abort();
    while (input.at < input.end)
        step(&input);
    for (device_reset(device); !device_quiet(device);)
        host_bus_step();
    device_destroy(device);
    while (block_count > 0)
        free(blocks[--block_count]);
    return 0;
}
