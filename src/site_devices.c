/* The site's hardware.
 *
 * A device asks the Nucleus for three things: its driver's memory (pinned, by the driver's own
 * addresses), an interrupt, and random numbers. The Nucleus asks a device for its registers. This
 * file is where the two meet; neither includes the other's headers. */

#include "site_devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <devices/bus.h>
#include <devices/clock_device.h>
#include <devices/device.h>
#include <devices/io_pool.h>
#include <devices/io_ring.h>
#include <devices/virtio_blk.h>
#include <devices/net_capture.h>
#include <devices/net_tap.h>
#include <devices/screen.h>
#include <devices/virtio_console.h>
#include <devices/virtio_gpu.h>
#include <devices/virtio_input.h>
#include <devices/virtio_net.h>
#include <devices/virtio_rng.h>
#include <devices/virtio_share.h>
#include <host/event.h>
#include <hostarch.h>
#include <nucleus/actor.h>
#include <nucleus/device.h>
#include <nucleus/nucleus.h>
#include <nucleus/random.h>
#include <nucleus/vm.h>

#include "site_net.h"

enum { POOL_THREADS = 2, DEVICES_MOST = 56 };

/* What is pinned for a device: a span is given back by its place in the Nucleus's memory, the
 * Nucleus wants the driver's address. */
struct pinned {
    void *base;
    size_t length;
    uint64_t address;
    uint64_t frame; /* the first, of a mapper's pages */
};
_Static_assert(DEVICE_PAGES == VM_DEVICE_PAGES, "devices and the Nucleus mean the same");

struct site_device {
    struct device *device;
    int number; /* the Nucleus's */
    struct pinned *pins;
    size_t pin_count, pin_room;
    KnUniqueId driver; /* whose memory the pins are of */
    int64_t lost;      /* its driver died then, and no other drives it yet; 0: no */
};

static struct {
    struct bus *bus;
    struct io_pool *pool;
    struct io_pool *disk_pools[SITE_DISKS]; /* of the disks after the root: a slow one keeps no other waiting */
    struct io_ring *ring; /* NULL: the host does not allow it */
    struct site_device devices[DEVICES_MOST];
    unsigned count;
    struct device *console, *inputs[SCREEN_INPUTS];
    struct screen *screen;
    bool window_decides; /* how large the console is */
} site;

static struct site_device *owner_of(struct device *device) { return device->owner; }

static bool pin(void *cookie, struct device *device, uint64_t address, size_t length, bool write,
                struct device_span *ret_span)
{
    (void)cookie;
    struct site_device *mine = owner_of(device);
    struct actor *driver = device_driver((unsigned)mine->number);
    size_t in_page = PAGE_SIZE - address % PAGE_SIZE;
    size_t size = length < in_page ? length : in_page;
    uint64_t frame = 0;
    if (driver == NULL || length == 0)
        return false;
    if (mine->pin_count == mine->pin_room) {
        size_t room = mine->pin_room ? mine->pin_room * 2 : 64;
        struct pinned *pins = realloc(mine->pins, room * sizeof *pins);
        if (pins == NULL)
            return false;
        mine->pins = pins;
        mine->pin_room = room;
    }
    void *base = address & DEVICE_PAGES ? vm_pages_pin(address, length, write, &size, &frame) : vm_pin(driver, address, size, write);
    if (base == NULL)
        return false;
    mine->driver = driver->cap.ui;
    mine->pins[mine->pin_count++] = (struct pinned){base, size, address, frame};
    *ret_span = (struct device_span){base, size};
    return true;
}

static void unpin(void *cookie, struct device *device, struct device_span span)
{
    (void)cookie;
    struct site_device *mine = owner_of(device);
    struct actor *driver = device_driver((unsigned)mine->number);
    for (size_t i = mine->pin_count; i > 0; i--) {
        struct pinned *found = &mine->pins[i - 1];
        if (found->base != span.base || found->length != span.length)
            continue;
        /* A driver that is gone took its pins along when its space ended. */
        if (found->address & DEVICE_PAGES)
            vm_pages_unpin(found->frame, found->address, found->length);
        else if (driver != NULL && uiEqual(&driver->cap.ui, &mine->driver))
            vm_unpin(driver, found->address, found->length);
        *found = mine->pins[--mine->pin_count];
        return;
    }
}

static void raise_interrupt(void *cookie, struct device *device)
{
    (void)cookie;
    device_interrupt((unsigned)owner_of(device)->number);
}

static void fill_random(void *cookie, void *bytes, size_t length)
{
    (void)cookie;
    random_bytes(bytes, length);
}

static int64_t now(void *cookie)
{
    (void)cookie;
    return nucleus_time_of_day();
}

static void complain(void *cookie, struct device *device, const char *text)
{
    (void)cookie;
    host_log(0, "device %s: %s", device->name, text);
}

static const struct device_services services = {
    .pin = pin, .unpin = unpin, .raise = raise_interrupt, .random = fill_random, .now = now, .complain = complain};

static uint64_t read_register(void *device, uint32_t offset) { return device_read(device, offset); }

static void write_register(void *device, uint32_t offset, uint64_t value)
{
    struct site_device *mine = owner_of(device);
    device_write(device, offset, value);
    if (mine->lost != 0 && offset == VIRTIO_STATUS && (value & VIRTIO_DRIVER_OK) != 0) {
        host_log(1, "device %s: driven again after %lld us", mine->device->name, (long long)(host_time() - mine->lost) / 1000);
        mine->lost = 0;
    }
}

static bool reset(void *device)
{
    owner_of(device)->lost = host_time();
    return device_reset(device);
}

static bool quiet(void *device) { return device_quiet(device); }
static const struct device_interface interface = {read_register, write_register, reset, quiet};

static bool add(struct device *device, const char *what)
{
    if (device == NULL) {
        fprintf(stderr, "chorus: %s: %s\n", what, strerror(errno));
        return false;
    }
    struct site_device *mine = &site.devices[site.count];
    mine->device = device;
    device->owner = mine;
    mine->number = devices_add(&interface, device, device->kind, device->type, device->name);
    if (mine->number < 0)
        return false;
    site.count++;
    return true;
}

/* The bus says that the host has something: by a descriptor that the interrupt thread watches, or by a post of the I/O pool. */
static void run_bus(void *unused)
{
    (void)unused;
    if (bus_run(site.bus))
        host_post(run_bus, NULL);
}

static void bus_ready(void *cookie, uint32_t events)
{
    (void)events;
    run_bus(cookie);
    hostarch_watch(bus_descriptor(site.bus), EPOLLIN, bus_ready, NULL);
}

static void wake(void *cookie) { host_post(run_bus, cookie); }

static struct io_ring *ring_of(struct disk_image *const *images, unsigned images_count)
{
    int descriptors[2 * SITE_DISKS];
    unsigned count = 0;
    for (unsigned i = 0; i < images_count; i++)
        count += disk_image_descriptors(images[i], descriptors + count);
    struct io_ring *ring = io_ring_create(site.bus, descriptors, count);
    host_log(1, "disks: reads that would wait go by %s", ring != NULL ? "io_uring" : "a pool of threads (the host allows no io_uring)");
    return ring;
}

/* The back end and the capture of a network device; what was taken over is -1 afterwards. */
static struct net_back_end *back_end_of(struct site_net *net, struct net_capture **ret_capture)
{
    struct net_back_end *end = net->kind == NET_TAP ? net_tap_open(site.bus, net->tap, net->link.name + strlen("tap:"), net->link.mtu)
                                                    : net_link_open(site.bus, &net->link);
    *ret_capture = NULL;
    if (end == NULL)
        return NULL;
    net->tap = net->link.control = net->link.descriptor = -1;
    if (net->capture >= 0) {
        *ret_capture = net_capture_create(site.bus, site.pool, net->capture);
        net->capture = -1;
    }
    return end;
}

static bool nets_add(struct site_net *nets, unsigned count)
{
    static const char *const names[NETS_MOST] = {"net0", "net1", "net2", "net3", "net4", "net5", "net6", "net7"};
    for (unsigned i = 0; i < count; i++) {
        struct net_capture *capture;
        struct net_back_end *end = back_end_of(&nets[i], &capture);
        if (!add(end != NULL ? virtio_net_create(names[i], &services, site.bus, end, nets[i].mac, capture) : NULL, names[i]))
            return false;
    }
    return true;
}

static bool disks_ready(void) { return io_ring_ready(site.ring); }
static void disks_look(void *unused)
{
    (void)unused;
    io_ring_look(site.ring);
}

static bool add_disks(const struct site_devices_options *options)
{
    static char names[SITE_DISKS][8];
    site.ring = ring_of(options->disks, options->disk_count);
    if (site.ring != NULL)
        hostarch_poll(disks_ready, disks_look, NULL, io_ring_word(site.ring));
    for (unsigned i = 0; i < options->disk_count; i++) {
        struct io_pool *pool = i == 0 ? site.pool : io_pool_create(site.bus, POOL_THREADS);
        site.disk_pools[i] = i == 0 ? NULL : pool;
        snprintf(names[i], sizeof names[i], "disk%u", i);
        if (!add(pool != NULL ? virtio_blk_create(names[i], &services, site.bus, pool, site.ring, options->disks[i]) : NULL, names[i]))
            return false;
    }
    return true;
}

/* What comes from windows. */

static void typed(void *cookie, const uint8_t *bytes, size_t length)
{
    (void)cookie;
    if (site.console != NULL)
        virtio_console_type(site.console, bytes, length);
}

static void resized(void *cookie, uint16_t columns, uint16_t rows)
{
    (void)cookie;
    if (site.window_decides)
        site_devices_resize(columns, rows);
}

static void input(void *cookie, const struct screen_input *event)
{
    (void)cookie;
    if (site.inputs[event->device] != NULL)
        virtio_input_event(site.inputs[event->device], event->type, event->code, event->value);
}

static bool screen_start(const struct site_devices_options *options)
{
    struct screen_listener listener = {.typed = typed, .resized = resized, .input = input};
    site.screen = screen_create(site.bus, options->picture_width != 0, &listener);
    if (site.screen == NULL) {
        fprintf(stderr, "chorus: screen: %s\n", strerror(errno));
        return false;
    }
    site.window_decides = options->window;
    screen_share(site.screen)->window_decides = options->window;
    if (options->window || options->terminal_out >= 0)
        screen_console_size(site.screen, options->columns, options->rows);
    return true;
}

/* A framebuffer, a keyboard and a mouse. */
static bool picture_start(const struct site_devices_options *options)
{
    if (options->picture_width == 0)
        return true;
    return add(virtio_gpu_create("screen0", &services, site.bus, site.screen, options->picture_width, options->picture_height), "screen") &&
           add(site.inputs[SCREEN_KEYBOARD] = virtio_input_create("keyboard0", &services, SCREEN_KEYBOARD), "keyboard") &&
           add(site.inputs[SCREEN_MOUSE] = virtio_input_create("mouse0", &services, SCREEN_MOUSE), "mouse");
}

static bool add_shares(const struct site_devices_options *options)
{
    static char names[SITE_SHARES][8];
    for (unsigned i = 0; i < options->share_count; i++) {
        snprintf(names[i], sizeof names[i], "share%u", i);
        if (!add(virtio_share_create(names[i], &services, site.bus, options->shares[i]), names[i]))
            return false;
    }
    return true;
}

bool site_devices_start(const struct site_devices_options *options)
{
    site.bus = bus_create(wake, NULL);
    site.pool = site.bus ? io_pool_create(site.bus, POOL_THREADS) : NULL;
    if (site.pool == NULL || hostarch_watch(bus_descriptor(site.bus), EPOLLIN, bus_ready, NULL) != 0) {
        fprintf(stderr, "chorus: devices: %s\n", strerror(errno));
        return false;
    }
    if (!screen_start(options))
        return false;
    struct virtio_console_backing backing = {
        .terminal_in = options->terminal_in, .terminal_out = options->terminal_out,
        .columns = options->columns, .rows = options->rows,
        .stdin_descriptor = options->stdin_fd, .stdout_descriptor = options->stdout_fd, .stderr_descriptor = options->stderr_fd,
        .screen = site.screen, .terminal_is_window = options->window, .escape = options->escape, .cookie = options->cookie};
    site.console = virtio_console_create("console0", &services, site.bus, site.pool, &backing);
    return add(site.console, "console") && add_disks(options) && add_shares(options) &&
           add(virtio_rng_create("entropy0", &services), "entropy") && add(clock_device_create("clock0", &services), "clock") &&
           nets_add(options->nets, options->net_count) &&
           picture_start(options);
}

void site_devices_resize(uint16_t columns, uint16_t rows)
{
    if (site.console == NULL)
        return;
    virtio_console_resize(site.console, columns, rows);
    if (screen_share(site.screen)->has_console)
        screen_console_size(site.screen, columns, rows);
}

struct screen *site_devices_screen(void) { return site.screen; }

void site_devices_stop(void)
{
    hostarch_poll(NULL, NULL, NULL, NULL);
    for (unsigned i = 0; i < site.count; i++)
        device_reset(site.devices[i].device);
    for (unsigned i = 0; i < site.count; i++) {
        for (int patience = 0; !device_quiet(site.devices[i].device) && patience < 5000; patience++) {
            bus_run(site.bus);
            if (site.ring != NULL)
                io_ring_look(site.ring);
            usleep(1000);
        }
        if (device_quiet(site.devices[i].device))
            device_destroy(site.devices[i].device);
        free(site.devices[i].pins);
    }
    if (site.bus != NULL)
        hostarch_unwatch(bus_descriptor(site.bus));
    io_ring_destroy(site.ring);
    for (unsigned i = 0; i < SITE_DISKS; i++)
        io_pool_destroy(site.disk_pools[i]);
    io_pool_destroy(site.pool);
    screen_destroy(site.screen);
    bus_destroy(site.bus);
    memset(&site, 0, sizeof site);
}
