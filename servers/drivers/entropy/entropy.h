/* The entropy driver without its actor: it knows the device's one queue, neither waits nor calls the Nucleus, and is not thread safe. */
#ifndef DRIVERS_ENTROPY_H
#define DRIVERS_ENTROPY_H

#include "../common/virtio_driver.h"
#include "protocol/entropy.h"

#define ENTROPY_SLOTS 8

/* A request that the device has. */
struct entropy_slot {
    bool busy;
    uint8_t *bytes;             /* ENTROPY_BYTES_MOST, locked */
    uint32_t wanted, got;
    uint64_t owner;             /* the actor's own */
};

struct entropy {
    struct virtio_driver driver;
    struct virtio_queue queue;
    struct entropy_slot slot[ENTROPY_SLOTS];
};

/* False: no such device, or no memory. `memory`: page aligned, zeroed, locked; NULL: none. */
bool entropy_begin(struct entropy *entropy, const struct driver_registers *registers, void *(*memory)(size_t size));
/* Ask the device for 1 to ENTROPY_BYTES_MOST bytes. NULL: as many requests as there can be are under way. */
struct entropy_slot *entropy_ask(struct entropy *entropy, uint32_t length, uint64_t owner);
/* The next request that is finished; it is the caller's until entropy_free. NULL: none is, and an interrupt comes with the next. */
struct entropy_slot *entropy_finished(struct entropy *entropy);
void entropy_free(struct entropy_slot *slot);

#endif
