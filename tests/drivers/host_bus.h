/* Between a driver and a device in one process: the driver's addresses are the device's, an interrupt is a flag. */
#ifndef TESTS_DRIVERS_HOST_BUS_H
#define TESTS_DRIVERS_HOST_BUS_H

#include <stdbool.h>
#include <stddef.h>

#include "bus.h"
#include "common/virtio_driver.h"
#include "device.h"
#include "io_pool.h"

extern const struct device_services host_services;
extern struct bus *host_bus;
extern struct io_pool *host_pool;
extern unsigned host_interrupts;        /* raised and not yet handled */

void host_bus_start(void);
void host_bus_end(void);                /* nothing is pinned */

/* Registers of this device. */
void host_registers(struct driver_registers *registers, struct device *device);
void *host_memory(size_t size);

/* Run the bus once, waiting up to some milliseconds for something to happen. */
void host_bus_step(void);

#endif
