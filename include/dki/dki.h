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
    uint32_t type;   /* virtio: the device type (2 block, 3 console, 4 entropy) */
    uint32_t intr;   /* its interrupt */
    uint32_t claimed;
    char name[K_NAMEMAX];
} KnDevice;
int deviceStat(unsigned index, KnDevice *stat);
int deviceOpen(unsigned device); /* K_EBUSY */
int deviceClose(unsigned device);
int deviceRead(unsigned device, unsigned offset, uint64_t *value);
int deviceWrite(unsigned device, unsigned offset, uint64_t value);
int svIntrAttach(unsigned intr, int portli);
int svIntrDetach(unsigned intr);
int svIntrDone(unsigned intr);

#endif
