/* The real-time clock: the time of day, as a register.
 *
 * Register CLOCK_DEVICE_NOW holds the nanoseconds since 1970-01-01 00:00:00 UTC, 64 bits at once. It cannot be
 * set: who wants another time keeps the difference. No interrupts; time-outs are the Nucleus's.
 */
#ifndef DEVICES_CLOCK_DEVICE_H
#define DEVICES_CLOCK_DEVICE_H

#include "device.h"
#include "protocol/virtio.h"

/* `name` must live as long as the device. NULL: no memory. */
struct device *clock_device_create(const char *name, const struct device_services *services);

#endif
