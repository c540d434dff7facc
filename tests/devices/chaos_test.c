/* Drivers that write random queues: every device breaks or works, lets go of all memory, and writes nowhere
 * outside the buffers that it was given. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_nucleus.h"
#include "virtio_blk.h"
#include "net_link.h"
#include "virtio_console.h"
#include "virtio_gpu.h"
#include "virtio_input.h"
#include "virtio_net.h"
#include "virtio_rng.h"
#include "virtio_share.h"

#define SIZE    16
#define BUFFERS (DRIVER_MEMORY + 64 * 4096)
#define AREA    (100 * 4096)

static unsigned seed = 20;

static unsigned dice(unsigned sides)
{
    return (unsigned)rand_r(&seed) % sides;
}

/* A descriptor that is mostly sensible. */
static struct virtq_descriptor random_descriptor(void)
{
    bool good = dice(12) != 0;

    return (struct virtq_descriptor){
        .address = good ? BUFFERS + dice(AREA) : (uint64_t)rand_r(&seed) << dice(40),
        .length = dice(3) == 0 ? 1 + dice(24) : good ? 512 * (1 + dice(8)) : (uint32_t)rand_r(&seed) * 2,
        .flags = (uint16_t)(dice(2) | dice(2) << 1 | (dice(10) == 0) << 2),
        .next = (uint16_t)dice(good ? SIZE : 65536) };
}

/* Something that may be a request's header or control message. */
static void random_memory(void)
{
    for (int i = 0; i < 300; i++) {
        uint32_t words[4] = { dice(16), dice(6), dice(4096), dice(30) == 0 ? ~0u : 0 };
        driver_put(BUFFERS + dice(AREA) / 16 * 16, words, sizeof words);
    }
}

static bool quiet(void *device)
{
    return device_quiet(device);
}

static void round_of_chaos(struct device *device, unsigned queues)
{
    struct driver_queue queue[16];

    driver_begin(device, ((uint64_t)rand_r(&seed) << 8 | VIRTIO_F_INDIRECT_DESC));
    random_memory();
    for (unsigned i = 0; i < queues; i++) {
        memset(driver_at(DRIVER_MEMORY + 4096 * i), 0, 4096);
        driver_queue_set_up(&queue[i], device, i, dice(2) ? SIZE : 8, DRIVER_MEMORY + 4096 * i);
    }
    driver_ready(device);
    for (int step = 0; step < 20; step++) {
        struct driver_queue *one = &queue[dice(queues)];
        for (unsigned i = 0; i < one->size; i++)
            driver_descriptor(one, i, random_descriptor());
        unsigned count = 1 + dice(3);
        for (unsigned i = 0; i < count; i++)
            driver_available(one, (uint16_t)(one->available_next + i), (uint16_t)dice(one->size));
        driver_available_index(one, (uint16_t)(one->available_next + count));
        driver_kick(one);
        if (dice(3) == 0)
            bus_run(fake_bus);
        if (dice(30) == 0)
            device_write(device, dice(0x200) * 4, rand_r(&seed));
    }
    if (!device_reset(device))
        cr_assert(fake_run_until(quiet, device));
    cr_assert_eq(fake_pins(), 0u);
}

TestSuite(chaos, .init = fake_start, .fini = fake_end, .timeout = 60);

Test(chaos, random_requests_to_a_disk_do_no_harm)
{
    char path[] = "/tmp/chorus-chaos-XXXXXX", reason[100];
    int file = mkstemp(path);
    cr_assert_eq(ftruncate(file, 1 << 20), 0);
    struct disk_image *image = disk_image_open(path, DISK_IMAGE_SNAPSHOT, reason, sizeof reason);
    struct device *disk = virtio_blk_create("disk0", &fake_services, fake_bus, fake_pool, NULL, image);

    for (int round = 0; round < 1500; round++)
        round_of_chaos(disk, 1);
    device_destroy(disk);
    unlink(path);
    close(file);
}

Test(chaos, random_requests_to_a_console_do_no_harm)
{
    int terminal[2], output[2];
    char bytes[65536];

    signal(SIGPIPE, SIG_IGN);
    cr_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, terminal) == 0 && pipe(output) == 0);
    struct virtio_console_backing backing = {
        .terminal_in = terminal[0], .terminal_out = terminal[0],
        .stdin_descriptor = open("/dev/zero", O_RDONLY), .stdout_descriptor = output[1],
        .stderr_descriptor = open("/dev/full", O_WRONLY) };
    struct device *console = virtio_console_create("console0", &fake_services, fake_bus, fake_pool,
                                                   &backing);
    fcntl(output[0], F_SETFL, O_NONBLOCK);
    for (int round = 0; round < 1500; round++) {
        round_of_chaos(console, 10);
        send(terminal[1], bytes, dice(5000), MSG_DONTWAIT);
        recv(terminal[1], bytes, dice(sizeof bytes), MSG_DONTWAIT);
        ssize_t some = read(output[0], bytes, dice(sizeof bytes));
        (void)some;
    }
    device_destroy(console);
    fake_run_idle();
}

Test(chaos, random_requests_to_a_network_device_do_no_harm)
{
    int wire[2], control[2];
    char bytes[65536];

    signal(SIGPIPE, SIG_IGN);
    cr_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, wire) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control) == 0);
    struct net_link_options options = { .name = "hub:/tmp/x", .mtu = 1500, .control = control[0], .descriptor = wire[0] };
    struct net_back_end *end = net_link_open(fake_bus, &options);
    struct device *net = virtio_net_create("net0", &fake_services, fake_bus, end, (uint8_t[6]){ 2 }, NULL);
    memset(bytes, 0, sizeof bytes);
    for (int round = 0; round < 1500; round++) {
        round_of_chaos(net, 3);
        /* Frames of 60 bytes, to everybody. */
        for (size_t at = 0; at + 64 <= sizeof bytes; at += 64) {
            bytes[at + 3] = 60;
            memset(bytes + at + 4, 0xff, 6);
        }
        send(wire[1], bytes, 64 * dice(40), MSG_DONTWAIT);
        recv(wire[1], bytes, dice(sizeof bytes), MSG_DONTWAIT);
    }
    device_destroy(net);
    fake_run_idle();
}

Test(chaos, random_requests_for_entropy_do_no_harm)
{
    struct device *entropy = virtio_rng_create("entropy0", &fake_services);

    for (int round = 0; round < 1500; round++)
        round_of_chaos(entropy, 1);
    device_destroy(entropy);
}

/* Half of them are commands of a gpu. */
static void random_commands(void)
{
    static const uint32_t types[] = { 0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107, 0x300, 0x999 };

    for (int i = 0; i < 200; i++) {
        uint32_t words[16] = { types[dice(10)], dice(2), dice(9), 0, 0, 0 };
        for (int word = 6; word < 16; word++)
            words[word] = dice(40) == 0 ? (uint32_t)rand_r(&seed) * 2 : dice(64);
        if (words[0] == 0x106 && dice(2)) {
            words[6] = dice(4);
            words[7] = 1 + dice(2);
            uint64_t address = BUFFERS + dice(AREA);
            memcpy(&words[8], &address, sizeof address);
            words[10] = dice(1 << 16);
        }
        driver_put(BUFFERS + dice(AREA) / 64 * 64, words, sizeof words);
    }
}

Test(chaos, random_commands_to_a_gpu_do_no_harm)
{
    struct screen *screen = screen_create(fake_bus, true, &(struct screen_listener){ 0 });
    struct device *gpu = virtio_gpu_create("screen0", &fake_services, fake_bus, screen, 64, 64);

    for (int round = 0; round < 1500; round++) {
        random_commands();
        round_of_chaos(gpu, VIRTIO_GPU_QUEUES);
        cr_assert_eq(screen_share(screen)->picture_on, 0u);
    }
    device_destroy(gpu);
    fake_run_idle();
    screen_destroy(screen);
}

Test(chaos, random_buffers_for_keys_do_no_harm)
{
    struct device *mouse = virtio_input_create("mouse0", &fake_services, SCREEN_MOUSE);

    for (int round = 0; round < 1500; round++) {
        for (int i = 0; i < 20; i++)
            virtio_input_event(mouse, (uint16_t)dice(6), (uint16_t)dice(0x300), (int32_t)dice(3));
        round_of_chaos(mouse, VIRTIO_INPUT_QUEUES);
    }
    device_destroy(mouse);
}

Test(chaos, random_requests_to_a_shared_folder_and_random_answers_do_no_harm)
{
    int wire[2];
    static char bytes[70000];

    signal(SIGPIPE, SIG_IGN);
    cr_assert(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, wire) == 0);
    struct device *share = virtio_share_create("share0", &fake_services, fake_bus, wire[0]);
    cr_assert_not_null(share);
    for (int round = 0; round < 1500; round++) {
        round_of_chaos(share, 1);
        /* Answers with numbers that were, or were not, given out; the last message that came is sent back, cut or not. */
        ssize_t size = recv(wire[1], bytes, sizeof bytes, MSG_DONTWAIT);
        if (size > 0)
            send(wire[1], bytes, dice(4) ? (size_t)size : 128 + dice(1000), MSG_DONTWAIT);
        uint64_t number = dice(100);
        memcpy(bytes, &number, sizeof number);
        send(wire[1], bytes, 128 + dice(66000), MSG_DONTWAIT);
    }
    close(wire[1]);                     /* the process is gone */
    for (int round = 0; round < 20; round++)
        round_of_chaos(share, 1);
    device_destroy(share);
}
