/* See host_bus.h. */
#include "host_bus.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

struct bus *host_bus;
struct io_pool *host_pool;
unsigned host_interrupts;
static unsigned pins;

static bool pin(void *cookie, struct device *device, uint64_t address, size_t length, bool write,
                struct device_span *ret_span)
{
    (void)cookie, (void)device, (void)write;
    size_t left = 4096 - address % 4096;
    *ret_span = (struct device_span){ (void *)address, length < left ? length : left };
    pins++;
    return true;
}

static void unpin(void *cookie, struct device *device, struct device_span span)
{
    (void)cookie, (void)device, (void)span;
    pins--;
}

static void raise_interrupt(void *cookie, struct device *device)
{
    (void)cookie, (void)device;
    host_interrupts++;
}

static void random_fill(void *cookie, void *bytes, size_t length)
{
    (void)cookie;
    memset(bytes, 7, length);
}

static int64_t now(void *cookie)
{
    (void)cookie;
    return 0;
}

static void complain(void *cookie, struct device *device, const char *text)
{
    (void)cookie, (void)device;
    cr_assert(false, "the device complains: %s", text);
}

const struct device_services host_services = { .pin = pin, .unpin = unpin, .raise = raise_interrupt,
                                               .random = random_fill, .now = now,
                                               .complain = complain };

void host_bus_start(void)
{
    host_bus = bus_create(NULL, NULL);
    host_pool = io_pool_create(host_bus, 2);
    cr_assert(host_bus != NULL && host_pool != NULL);
}

void host_bus_end(void)
{
    cr_assert_eq(pins, 0u);
    io_pool_destroy(host_pool);
    bus_destroy(host_bus);
}

void host_bus_step(void)
{
    struct pollfd ready = { .fd = bus_descriptor(host_bus), .events = POLLIN };

    if (!bus_has_completions(host_bus))
        poll(&ready, 1, 5);
    bus_run(host_bus);
}

static uint64_t read_register(void *cookie, uint32_t offset)
{
    return device_read(cookie, offset);
}

static void write_register(void *cookie, uint32_t offset, uint64_t value)
{
    device_write(cookie, offset, value);
}

static void pause_a_little(void *cookie)
{
    (void)cookie;
    host_bus_step();
}

void host_registers(struct driver_registers *registers, struct device *device)
{
    *registers = (struct driver_registers){ .cookie = device, .read = read_register,
                                            .write = write_register, .pause = pause_a_little };
}

void *host_memory(size_t size)
{
    void *memory = aligned_alloc(4096, (size + 4095) / 4096 * 4096);

    if (memory != NULL)
        memset(memory, 0, size);
    return memory;
}
