/* A driver that does what the bytes of an input say: the body of a fuzzer, and of the replay of what fuzzers found (fuzz_replay.c).
 *
 * The first byte chooses the device, the rest are steps: descriptors, indices, doorbells, registers, memory. Whatever they are, the device breaks or
 * works; after a reset it has let go of all memory, and works again. Address errors are the sanitizer's to find. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_nucleus.h"
#include "virtio_blk.h"
#include "virtio_console.h"
#include "virtio_gpu.h"
#include "virtio_input.h"
#include "virtio_rng.h"
#include "virtio_share.h"

#define SIZE    8
#define BUFFERS (DRIVER_MEMORY + 64 * 4096)

enum { DISK, SHARE, RANDOM, CONSOLE, GPU, MOUSE, DEVICES };
#define LATER 0xf0 /* first bytes from here on are GPU and MOUSE: what was found before they were there keeps its meaning */

static struct device *devices[DEVICES];
static const unsigned queues[DEVICES] = { 1, 1, 1, 10, VIRTIO_GPU_QUEUES, VIRTIO_INPUT_QUEUES };
static int wire[2], terminal[2];

static void start(void)
{
    char path[] = "/tmp/chorus-fuzz-XXXXXX", reason[200];
    int file = mkstemp(path);
    signal(SIGPIPE, SIG_IGN);
    fake_start();
    if (file < 0 || ftruncate(file, 1 << 20) != 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, wire) != 0 ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, terminal) != 0)
        abort();
    struct disk_image *image = disk_image_open(path, DISK_IMAGE_SNAPSHOT, reason, sizeof reason);
    unlink(path);
    struct virtio_console_backing backing = { .terminal_in = terminal[0], .terminal_out = dup(terminal[0]),
                                              .stdin_descriptor = open("/dev/zero", O_RDONLY), .stdout_descriptor = open("/dev/null", O_WRONLY),
                                              .stderr_descriptor = open("/dev/full", O_WRONLY) };
    devices[DISK] = virtio_blk_create("disk0", &fake_services, fake_bus, fake_pool, NULL, image);
    devices[SHARE] = virtio_share_create("share0", &fake_services, fake_bus, wire[0]);
    devices[RANDOM] = virtio_rng_create("entropy0", &fake_services);
    devices[CONSOLE] = virtio_console_create("console0", &fake_services, fake_bus, fake_pool, &backing);
    devices[GPU] = virtio_gpu_create("screen0", &fake_services, fake_bus, screen_create(fake_bus, true, &(struct screen_listener){ 0 }), 64, 64);
    devices[MOUSE] = virtio_input_create("mouse0", &fake_services, SCREEN_MOUSE);
}

/* The input, read from the front; zeros behind its end. */
struct input {
    const uint8_t *at, *end;
};

static uint64_t take(struct input *input, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)(input->at < input->end ? *input->at++ : 0) << 8 * i;
    return value;
}

/* Near the buffers, mostly. */
static uint64_t take_address(struct input *input)
{
    uint64_t value = take(input, 3);
    return value >> 22 == 3 ? take(input, 8) : BUFFERS + value % (400 * 4096);
}

static void step(struct input *input, struct device *device, struct driver_queue *queue)
{
    uint32_t words[4];
    char bytes[70000];
    ssize_t size;
    switch (take(input, 1) % 9) {
    case 0: {
        unsigned index = (unsigned)take(input, 1) % SIZE;
        struct virtq_descriptor descriptor = { .address = take_address(input) };
        uint32_t length = (uint32_t)take(input, 2);
        descriptor.length = length == 0xffff ? (uint32_t)take(input, 4) : length;
        descriptor.flags = (uint16_t)take(input, 1);
        descriptor.next = (uint16_t)take(input, 1);
        driver_descriptor(queue, index, descriptor);
        break;
    }
    case 1: driver_available(queue, (uint16_t)take(input, 1), (uint16_t)take(input, 1)); break;
    case 2: driver_available_index(queue, (uint16_t)(queue->available_next + (int8_t)take(input, 1))); break;
    case 3: driver_kick(queue); break;
    case 4: device_write(device, (uint32_t)take(input, 1) * 4, take(input, 4)); break;
    case 5: device_read(device, (uint32_t)take(input, 1) * 4); break;
    case 6:
        for (int i = 0; i < 4; i++)
            words[i] = (uint32_t)take(input, 2);
        driver_put(BUFFERS + take(input, 2) * 16 % (390 * 4096), words, sizeof words);
        break;
    case 7: bus_run(fake_bus); break;
    default: /* the other side */
        size = recv(wire[1], bytes, sizeof bytes, MSG_DONTWAIT);
        if (size > 0)
            send(wire[1], bytes, (size_t)size, MSG_DONTWAIT);
        send(terminal[1], bytes, take(input, 2), MSG_DONTWAIT);
        recv(terminal[1], bytes, sizeof bytes, MSG_DONTWAIT);
        virtio_input_event(devices[MOUSE], (uint16_t)take(input, 1), (uint16_t)take(input, 2), (int32_t)take(input, 1));
        virtio_input_event(devices[MOUSE], 0, 0, 0);
    }
}

static bool quiet(void *device) { return device_quiet(device); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, data + size };
    struct driver_queue queue[16];
    if (devices[DISK] == NULL)
        start();
    unsigned first = (unsigned)take(&input, 1), which = first >= LATER ? GPU + first % (DEVICES - GPU) : first % GPU;
    struct device *device = devices[which];
    driver_begin(device, (take(&input, 2) << 8) | VIRTIO_F_INDIRECT_DESC);
    for (unsigned i = 0; i < queues[which]; i++) {
        memset(driver_at(DRIVER_MEMORY + 4096 * i), 0, 4096);
        driver_queue_set_up(&queue[i], device, i, SIZE, DRIVER_MEMORY + 4096 * i);
    }
    driver_ready(device);
    while (input.at < input.end)
        step(&input, device, &queue[queues[which] == 1 ? 0 : take(&input, 1) % queues[which]]);
    if (!device_reset(device) && !fake_run_until(quiet, device))
        abort();
    if (fake_pins() != 0)
        abort();
    return 0;
}
