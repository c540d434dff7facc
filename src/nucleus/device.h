/* device.h: the site's devices, as the Nucleus knows them: a table of abstract devices, each with
 * registers and one interrupt. What they are is the business of who adds them (the program, from
 * src/devices/). See <dki/dki.h> for what driver actors see.
 *
 * All functions are called by the Nucleus's thread, and return soon. */
#ifndef NUCLEUS_DEVICE_H
#define NUCLEUS_DEVICE_H

#include <chorus.h>
#include <dki/dki.h>
#include <stdbool.h>

struct actor;

struct device_interface {
    uint64_t (*read)(void *device, uint32_t offset);
    void (*write)(void *device, uint32_t offset, uint64_t value); /* doorbells, too */
    /* Its driver is gone: forget its queues, give back what is pinned. False: the host still works
     * on its memory; <quiet> tells when not. */
    bool (*reset)(void *device);
    bool (*quiet)(void *device);
};

/* Add a device: its number, which is its interrupt's number, too; K_ELIMIT. <bus> and <type> as in
 * KnDevice. */
int devices_add(const struct device_interface *interface, void *device, unsigned bus, unsigned type,
                const char *name);
/* The device wants its driver's attention. */
void device_interrupt(unsigned number);
/* Whose memory its descriptors speak of: the actor that claimed it; NULL: nobody. */
struct actor *device_driver(unsigned number);

/* The actor dies: its devices are reset and free again. Its pinned memory is held until they are
 * quiet. */
void devices_release(struct actor *actor);
bool devices_quiet(const struct actor *actor); /* the host is done with all of it */
void devices_fini(void);

#endif
