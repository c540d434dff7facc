/* The real-time clock: see clock_device.h. */
#include "clock_device.h"

#include <stdlib.h>

static uint64_t clock_read(struct device *device, uint32_t offset)
{
    switch (offset) {
    case CLOCK_DEVICE_MAGIC: return CLOCK_DEVICE_MAGIC_VALUE;
    case CLOCK_DEVICE_NOW: return (uint64_t)device->services->now(device->services->cookie);
    default: return 0;
    }
}

static void clock_destroy(struct device *device)
{
    free(device);
}

static const struct device_operations clock_operations = {
    .read_register = clock_read,
    .write_register = device_write_nothing,
    .notify = device_notify_nothing,
    .reset = device_always_quiet,
    .quiet = device_always_quiet,
    .destroy = clock_destroy,
};

struct device *clock_device_create(const char *name, const struct device_services *services)
{
    struct device *device = calloc(1, sizeof *device);

    if (device == NULL)
        return NULL;
    *device = (struct device){ .name = name, .kind = DEVICE_CLOCK,
                               .operations = &clock_operations, .services = services };
    return device;
}
