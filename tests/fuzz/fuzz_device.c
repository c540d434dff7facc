/* The virtual hardware with a driver that does what the bytes of an input say, and with anything on its other side.
 *
 * $FUZZ_TARGET names the device; each input has a new one. The first bytes say how its queues lie and what is behind it, the rest are steps: descriptors,
 * indices, doorbells, registers, memory that goes away while it is used. Whatever they are, the device breaks or works; after a reset it has let go
 * of all memory. It touches none that is not pinned: the sanitizer of addresses sees to that. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock_device.h"
#include "fake_nucleus.h"
#include "input.h"
#include "net_capture.h"
#include "net_link.h"
#include "virtio_blk.h"
#include "virtio_console.h"
#include "virtio_gpu.h"
#include "virtio_input.h"
#include "virtio_net.h"
#include "virtio_rng.h"
#include "virtio_share.h"
#include "wire.h"

#define BUFFERS_PAGE 64
#define BUFFERS      (DRIVER_MEMORY + BUFFERS_PAGE * 4096)
#define QUEUES_MOST  10

static struct device *device;
static struct screen *screen;
static int ours[3]; /* our ends of what is behind the device; -1: none */
static int lent[4]; /* descriptors that the device uses and that stay ours */
static unsigned lent_count;
static char bytes[70000];

static void keep(int end)
{
    for (unsigned i = 0; i < 3; i++)
        if (ours[i] < 0) {
            ours[i] = end;
            return;
        }
    close(end);
}

/* The device's end of a new socket; ours is kept. */
static int socket_new(int type)
{
    int ends[2];
    if (socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, ends) != 0)
        abort();
    keep(ends[0]);
    return ends[1];
}

/* Of what comes from the other side: mostly short. */
static size_t take_length(struct input *input)
{
    size_t length = (size_t)take(input, 2);
    return length < 0xf000 ? length % 2000 : length;
}

/* ---- the models, and what is behind them ---- */

static void make_disk(struct input *input)
{
    static const enum disk_image_mode modes[] = { DISK_IMAGE_SNAPSHOT, DISK_IMAGE_WRITABLE, DISK_IMAGE_READ_ONLY, DISK_IMAGE_WRITABLE };
    char path[] = "/tmp/chorus-fuzz-XXXXXX", reason[200];
    int file = mkstemp(path);
    if (file < 0 || ftruncate(file, 1 << 20) != 0)
        abort();
    struct disk_image *image = disk_image_open(path, modes[pick(input, 4)], reason, sizeof reason);
    unlink(path);
    keep(file);
    device = virtio_blk_create("disk0", &fake_services, fake_bus, fake_pool, NULL, image);
}

/* The file becomes shorter under the device. */
static void other_side_of_disk(struct input *input)
{
    if (ftruncate(ours[0], pick(input, 4) == 0 ? (long)take(input, 2) : 1 << 20) != 0)
        abort();
}

static void make_share(struct input *input)
{
    (void)input;
    device = virtio_share_create("share0", &fake_services, fake_bus, socket_new(SOCK_SEQPACKET));
}

/* An answer to what was asked last, or to nothing. */
static void other_side_of_share(struct input *input)
{
    ssize_t size = recv(ours[0], bytes, sizeof bytes, MSG_DONTWAIT);
    if (pick(input, 4) == 0)
        take_bytes(input, (uint8_t *)bytes, 200);
    unsigned how = pick(input, 8);
    if (how == 0)
        shutdown(ours[0], SHUT_RDWR);
    else if (how < 3)
        size = (ssize_t)take(input, 2);
    if (size > 0)
        send(ours[0], bytes, (size_t)size, MSG_DONTWAIT);
}

static void make_entropy(struct input *input)
{
    (void)input;
    device = virtio_rng_create("entropy0", &fake_services);
}

static void escape(void *cookie)
{
    (void)cookie;
}

static void make_console(struct input *input)
{
    unsigned how = pick(input, 8);
    struct virtio_console_backing backing = { .terminal_in = -1, .terminal_out = -1, .stdin_descriptor = open("/dev/zero", O_RDONLY),
                                              .stdout_descriptor = open("/dev/null", O_WRONLY), .stderr_descriptor = open("/dev/full", O_WRONLY),
                                              .escape = how & 1 ? escape : NULL, .terminal_is_window = how & 2 };
    lent[lent_count++] = backing.stderr_descriptor;
    lent[lent_count++] = backing.stdout_descriptor;
    lent[lent_count++] = backing.stdin_descriptor;
    if (!(how & 2))
        lent[lent_count++] = backing.terminal_in = backing.terminal_out = socket_new(SOCK_STREAM);
    if (how & 4)
        backing.stdin_descriptor = -1;
    device = virtio_console_create("console0", &fake_services, fake_bus, fake_pool, &backing);
}

static void other_side_of_console(struct input *input)
{
    size_t size = take_length(input);
    take_bytes(input, (uint8_t *)bytes, size);
    if (ours[0] >= 0) {
        ssize_t some = send(ours[0], bytes, size, MSG_DONTWAIT);
        some = recv(ours[0], bytes, pick(input, 2) ? sizeof bytes : 10, MSG_DONTWAIT);
        if (pick(input, 16) == 0)
            shutdown(ours[0], SHUT_RDWR);
        (void)some;
    }
    virtio_console_type(device, (const uint8_t *)bytes, size % 2000);
    virtio_console_resize(device, (uint16_t)take(input, 2), (uint16_t)take(input, 2));
}

static void make_screen(struct input *input)
{
    (void)input;
    screen = screen_create(fake_bus, true, &(struct screen_listener){ 0 });
    if (screen == NULL || !screen_attach(screen, socket_new(SOCK_SEQPACKET)))
        abort();
    device = virtio_gpu_create("screen0", &fake_services, fake_bus, screen, 64, 64);
}

/* A window says something. */
static void other_side_of_screen(struct input *input)
{
    struct screen_message message = { .kind = pick(input, 6), .count = (uint32_t)take(input, 2) };
    take_bytes(input, message.bytes, sizeof message.bytes);
    send(ours[0], &message, pick(input, 2) ? sizeof message : (size_t)take(input, 2) % sizeof message, MSG_DONTWAIT);
    while (recv(ours[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

static void make_input(struct input *input)
{
    device = virtio_input_create("input0", &fake_services, pick(input, 2));
}

static void other_side_of_input(struct input *input)
{
    for (unsigned count = pick(input, 80); count > 0; count--)
        virtio_input_event(device, (uint16_t)take(input, 1), (uint16_t)take(input, 2), (int32_t)take(input, 1));
    virtio_input_event(device, 0, 0, 0);
}

static void make_net(struct input *input)
{
    unsigned how = pick(input, 8);
    uint16_t mtu = how & 1 ? 65506 : 1500;
    struct net_capture *capture = how & 2 ? net_capture_create(fake_bus, fake_pool, open("/dev/null", O_WRONLY)) : NULL;
    struct net_link_options options = { .name = "hub:/tmp/x", .mtu = mtu, .lazy = how == 4 };
    if (how & 4) {
        options.control = socket_new(SOCK_SEQPACKET);
        options.descriptor = how == 4 ? -1 : socket_new(SOCK_STREAM);
    }
    struct net_back_end *end = how & 4 ? net_link_open(fake_bus, &options) : wire_open(mtu);
    device = virtio_net_create("net0", &fake_services, fake_bus, end, (uint8_t[6]){ 2 }, capture);
}

/* The keeper answers with a new connection, or with nonsense. */
static void keeper_answers(struct input *input)
{
    struct net_link_answer answer = { .error = (int32_t)pick(input, 3) };
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } rights = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
    struct iovec piece = { &answer, pick(input, 16) == 0 ? pick(input, 100) : sizeof answer };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };
    int other = -1;
    if (pick(input, 2)) {
        if (ours[1] >= 0)
            close(ours[1]);
        ours[1] = -1;
        other = socket_new(SOCK_STREAM);
        memcpy(CMSG_DATA(&rights.head), &other, sizeof other);
        message.msg_control = &rights;
        message.msg_controllen = sizeof rights;
    }
    sendmsg(ours[0], &message, MSG_DONTWAIT);
    if (other >= 0)
        close(other);
}

static void other_side_of_link(struct input *input)
{
    uint32_t length = (uint32_t)take_length(input), prefix = htonl(length);
    while (recv(ours[0], bytes, 100, MSG_DONTWAIT) > 0)
        ;
    if (pick(input, 8) == 0)
        keeper_answers(input);
    if (ours[1] < 0)
        return;
    if (pick(input, 2))
        recv(ours[1], bytes, sizeof bytes, MSG_DONTWAIT);
    if (pick(input, 32) == 0)
        prefix = (uint32_t)take(input, 4);
    take_bytes(input, (uint8_t *)bytes, length);
    send(ours[1], &prefix, sizeof prefix, MSG_DONTWAIT);
    send(ours[1], bytes, length, MSG_DONTWAIT);
}

static void other_side_of_net(struct input *input)
{
    if (ours[0] >= 0) {
        other_side_of_link(input);
        return;
    }
    struct virtio_net_header header = { .flags = (uint8_t)take(input, 1), .gso_type = (uint8_t)pick(input, 6), .header_length = (uint16_t)take(input, 1),
                                        .gso_size = (uint16_t)take(input, 2), .csum_start = (uint16_t)take(input, 1) };
    uint32_t length = (uint32_t)take_length(input);
    take_bytes(input, (uint8_t *)bytes, length);
    wire_bring(&header, (const uint8_t *)bytes, length);
    unsigned how = pick(input, 16);
    wire_set(how & 3, how & 12);
}

static void make_clock(struct input *input)
{
    (void)input;
    device = clock_device_create("clock0", &fake_services);
}

static const struct model {
    const char *name;
    unsigned queues; /* 0: not of virtio */
    void (*make)(struct input *input);
    void (*other_side)(struct input *input);
} models[] = {
    { "disk", 1, make_disk, other_side_of_disk },
    { "share", 1, make_share, other_side_of_share },
    { "entropy", 1, make_entropy, NULL },
    { "console", 10, make_console, other_side_of_console },
    { "screen", VIRTIO_GPU_QUEUES, make_screen, other_side_of_screen },
    { "input", VIRTIO_INPUT_QUEUES, make_input, other_side_of_input },
    { "net", VIRTIO_NET_QUEUES, make_net, other_side_of_net },
    { "clock", 0, make_clock, NULL },
};

static const struct model *model;

/* ---- the driver ---- */

static struct driver_queue queues[QUEUES_MOST];

static bool quiet(void *of)
{
    return device_quiet(of);
}

/* Set everything up, sensibly or not. */
static void driver_start(struct input *input)
{
    static const unsigned sizes[] = { 8, 16, 2, 128 };
    static const uint8_t zeros[4096];
    device_write(device, VIRTIO_DEVICE_FEATURES_SELECT, 0);
    uint64_t offered = device_read(device, VIRTIO_DEVICE_FEATURES);
    driver_begin(device, offered & ~(take(input, 3) | (take(input, 1) & 0x40 ? VIRTIO_F_EVENT_IDX : 0)));
    for (unsigned i = 0; i < model->queues; i++) {
        unsigned how = pick(input, 16);
        uint64_t where = DRIVER_MEMORY + 8192 * i;
        switch (how >> 2) {
        case 1: where = DRIVER_MEMORY; break;                               /* upon each other */
        case 2: where += 1024; break;                                       /* across two pages */
        case 3: where = how == 15 ? DRIVER_MEMORY + READ_ONLY_PAGE * 4096 : BUFFERS; break;
        }
        if (where + 8192 <= DRIVER_MEMORY + DRIVER_PAGES * 4096)
            driver_put(where, zeros, sizeof zeros);
        driver_queue_set_up(&queues[i], device, i, sizes[how & 3], where);
    }
    driver_ready(device);
}

static void driver_again(struct input *input)
{
    device_write(device, VIRTIO_STATUS, 0);
    if (!fake_run_until(quiet, device))
        abort();
    driver_start(input);
}

/* Near the buffers, mostly. */
static uint64_t take_address(struct input *input)
{
    uint64_t value = take(input, 3);
    switch (value >> 22) {
    case 3: return take(input, 8);
    case 2: return DRIVER_MEMORY + value % (BUFFERS_PAGE * 4096); /* the queues themselves */
    default: return BUFFERS + value % (400 * 4096);
    }
}

static void put_descriptor(struct input *input, struct driver_queue *queue)
{
    unsigned index = (unsigned)take(input, 1) % queue->size;
    struct virtq_descriptor descriptor = { .address = take_address(input) };
    uint32_t length = (uint32_t)take(input, 2);
    descriptor.length = length == 0xffff ? (uint32_t)take(input, 4) : length;
    descriptor.flags = (uint16_t)take(input, 1);
    descriptor.next = (uint16_t)take(input, 1);
    driver_descriptor(queue, index, descriptor);
}

/* A request as drivers make them: something to read, then something to write. */
static void put_request(struct input *input, struct driver_queue *queue)
{
    unsigned count = 1 + pick(input, 4), first = pick(input, queue->size), writable = pick(input, 5);
    for (unsigned i = 0; i < count; i++) {
        uint32_t length = (uint32_t)take(input, 1);
        length = length == 255 ? (uint32_t)take(input, 3) : length < 64 ? length : (length - 62) * 256;
        driver_descriptor(queue, (first + i) % queue->size, (struct virtq_descriptor){
            .address = BUFFERS + (take(input, 2) * 16) % (390 * 4096), .length = length,
            .flags = (uint16_t)((i >= writable ? VIRTQ_WRITE : 0) | (i + 1 < count ? VIRTQ_NEXT : 0)), .next = (uint16_t)((first + i + 1) % queue->size) });
    }
    driver_available(queue, queue->available_next, (uint16_t)first);
    driver_available_index(queue, (uint16_t)(queue->available_next + 1));
    driver_kick(queue);
}

static void put_words(struct input *input)
{
    uint32_t words[8];
    unsigned count = 1 + pick(input, 8);
    uint64_t where = BUFFERS + take(input, 2) * 16 % (390 * 4096);
    for (unsigned i = 0; i < count; i++)
        words[i] = (uint32_t)take(input, 2);
    driver_put(where, words, 4 * count);
}

static void step(struct input *input)
{
    struct driver_queue *queue = &queues[model->queues > 1 ? pick(input, model->queues) : 0];
    switch (pick(input, 16)) {
    case 0: case 1: put_descriptor(input, queue); break;
    case 2: driver_available(queue, (uint16_t)take(input, 1), (uint16_t)take(input, 1)); break;
    case 3: driver_available_index(queue, (uint16_t)(queue->available_next + (int8_t)take(input, 1))); break;
    case 4: driver_kick(queue); break;
    case 5: device_write(device, (uint32_t)take(input, 1) * 4, take(input, 4)); break;
    case 6: device_read(device, (uint32_t)take(input, 1) * 4); break;
    case 7: case 8: put_words(input); break;
    case 9: bus_run(fake_bus); break;
    case 10: fake_page(pick(input, 2) ? BUFFERS_PAGE + pick(input, 64) : pick(input, 24), pick(input, 2)); break;
    case 11: driver_again(input); break;
    case 12: case 13: put_request(input, queue); break;
    default:
        if (model->other_side != NULL)
            model->other_side(input);
    }
}

static void step_of_registers(struct input *input)
{
    uint32_t offset = (uint32_t)take(input, 2);
    switch (pick(input, 3)) {
    case 0: device_write(device, offset, take(input, 8)); break;
    case 1: device_read(device, offset); break;
    default: device_notify(device, offset); break;
    }
}

/* ---- an input ---- */

static void start(void)
{
    const char *target = getenv("FUZZ_TARGET");
    for (unsigned i = 0; i < sizeof models / sizeof *models; i++)
        if (target != NULL && strcmp(models[i].name, target) == 0)
            model = &models[i];
    if (model == NULL) {
        fprintf(stderr, "fuzz_device: FUZZ_TARGET is none of the devices\n");
        exit(2);
    }
    signal(SIGPIPE, SIG_IGN);
    fake_start();
    fake_guard();
}

static void end(void)
{
    if (!device_reset(device) && !fake_run_until(quiet, device))
        abort();
    if (fake_pins() != 0)
        abort();
    device_destroy(device);
    screen_destroy(screen);
    screen = NULL;
    fake_run_idle();
    for (unsigned i = 0; i < 3; i++)
        if (ours[i] >= 0)
            close(ours[i]);
    while (lent_count > 0)
        close(lent[--lent_count]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, data + size };
    if (model == NULL)
        start();
    for (unsigned page = 0; page < DRIVER_PAGES; page++)
        fake_page(page, true);
    ours[0] = ours[1] = ours[2] = -1;
    model->make(&input);
    if (device == NULL)
        abort();
    if (model->queues > 0)
        driver_start(&input);
    while (input.at < input.end)
        if (model->queues > 0)
            step(&input);
        else
            step_of_registers(&input);
    end();
    return 0;
}
