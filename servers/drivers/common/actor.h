/* What driver actors share: finding their device, its registers, locked memory. */
#ifndef DRIVERS_ACTOR_H
#define DRIVERS_ACTOR_H

#include <chorus.h>
#include <dki/dki.h>

#include "virtio_driver.h"

/* Claim the index-th virtio device of this type; waits while its last driver's reset is under way. Returns its number or a
 * negative K_ error; its interrupt in *ret_intr. */
int driver_device_open(uint32_t type, unsigned index, unsigned *ret_intr);

/* Registers of a claimed device. */
void driver_registers_init(struct driver_registers *registers, const unsigned *device);

/* Page aligned, zeroed, locked memory, for as long as the actor lives; NULL: none. */
void *driver_memory(size_t size);

#endif
