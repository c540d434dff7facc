/* Devices: the checks that all have in common, and the operations of those that need none. */
#include "device.h"

#include <stdarg.h>
#include <stdio.h>

static bool offset_is_sound(uint32_t offset)
{
    return offset % 4 == 0 && offset < DEVICE_REGISTERS_SIZE;
}

uint64_t device_read(struct device *device, uint32_t offset)
{
    return offset_is_sound(offset) ? device->operations->read_register(device, offset) : 0;
}

void device_write(struct device *device, uint32_t offset, uint64_t value)
{
    if (offset_is_sound(offset))
        device->operations->write_register(device, offset, value);
}

void device_notify(struct device *device, unsigned queue)
{
    device->operations->notify(device, queue);
}

bool device_reset(struct device *device)
{
    return device->operations->reset(device);
}

bool device_quiet(struct device *device)
{
    return device->operations->quiet(device);
}

void device_destroy(struct device *device)
{
    if (device != NULL)
        device->operations->destroy(device);
}

void device_write_nothing(struct device *device, uint32_t offset, uint64_t value)
{
    (void)device, (void)offset, (void)value;
}

void device_notify_nothing(struct device *device, unsigned queue)
{
    (void)device, (void)queue;
}

bool device_always_quiet(struct device *device)
{
    (void)device;
    return true;
}

void device_complain(struct device *device, const char *format, ...)
{
    char text[160];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    device->services->complain(device->services->cookie, device, text);
}
