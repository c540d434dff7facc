/* dki/dki.h: devices and interrupts, for driver actors (system or supervisor actors).
 *
 * A device is found in the site's table, claimed, and driven through registers (virtio's MMIO layout) by calls. Addresses
 * that a driver gives to a device (queues, buffers) are the driver's own virtual addresses; the Nucleus translates and pins
 * them, so no driver learns a frame number, and no frame under I/O is freed. An interrupt arrives as a message (KnIntrMsg) on
 * a port; the next one is sent after svIntrDone.
 */
#ifndef DKI_DKI_H
#define DKI_DKI_H

#include <chorus.h>

enum { K_DEVICE_VIRTIO = 1, K_DEVICE_CLOCK = 2 };
typedef struct KnDevice {
    uint32_t device; /* its number in the calls below */
    uint32_t bus;    /* K_DEVICE_ */
    uint32_t type;   /* virtio: the device type (1 network, 2 block, 3 console, 4 entropy) */
    uint32_t intr;   /* its interrupt */
    uint32_t claimed;
    char name[K_NAMEMAX];
} KnDevice;
/* Describe the <index>th device of the site, from 0. K_EUNKNOWN past the last. */
int deviceStat(unsigned index, KnDevice *stat);
/* Claim a device. K_EUNKNOWN, K_EBUSY: another has it, or the host is not done with the memory of its last driver. */
int deviceOpen(unsigned device);
/* Give it back: it is reset. So it is when its driver ends. K_EUNKNOWN: it is not the caller's, here and below. */
int deviceClose(unsigned device);
/* Read a register. <offset> a multiple of 4 below 4096: K_EINVAL. */
int deviceRead(unsigned device, unsigned offset, uint64_t *value);
/* Write a register; writing the notify register is the doorbell. */
int deviceWrite(unsigned device, unsigned offset, uint64_t value);
/* Have the interrupt sent to a port of the caller; what was raised before is sent at once. K_EINVAL (port), K_EBUSY (attached already). */
int svIntrAttach(unsigned intr, int portli);
/* The opposite. */
int svIntrDetach(unsigned intr);
/* The interrupt's message was handled: the next one is sent, at once if it was raised meanwhile. */
int svIntrDone(unsigned intr);

#endif
