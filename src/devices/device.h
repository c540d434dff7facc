/* Devices: what the Nucleus sees of the virtual hardware.
 *
 * A device is one table of operations. A driver actor finds it in the Nucleus's device table, reads
 * and writes its registers and rings its doorbells by nucleus calls, and gets its interrupts as
 * messages; the Nucleus forwards all that with the functions below. The other way, a device asks
 * the Nucleus for the driver's memory, and to interrupt the driver, through `struct device_services`.
 *
 * Everything here runs in the Nucleus thread and returns soon: a device never blocks. What must
 * wait for the host goes through the bus (bus.h).
 *
 * What a driver gives is untrusted: any offset, value and address. A device checks it, and
 * a driver that breaks the rules breaks its device, nothing else.
 */
#ifndef DEVICES_DEVICE_H
#define DEVICES_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device;

/* Addresses with this bit are not the driver's memory but pages of a mapper's request that it was told of (<mem/chMapper.h>). They
 * may be gone at any time: that is an error of the request which names them, not the driver's. */
#define DEVICE_PAGES (UINT64_C(1) << 63)

/* Memory of the driver as the Nucleus sees it. */
struct device_span {
    void  *base;
    size_t length;
};

/* What a device needs of the Nucleus. Every function is called in the Nucleus thread only, with
 * `cookie` first. None may be NULL. */
struct device_services {
    void *cookie;

    /* Translate and pin memory of the device's present driver, as an IOMMU would. `address` is the
     * driver's own virtual address, or has DEVICE_PAGES. On success the span holds where the Nucleus sees the
     * first bytes of [address, address + length): at least one, as many as lie side by side.
     * They stay where they are, and their frames allocated, until `unpin` of exactly this span.
     * False, and nothing pinned: not (wholly) the driver's memory, not writable though `write`, not
     * resident and not to be had without waiting (drivers lock their memory), or no driver. */
    bool (*pin)(void *cookie, struct device *device, uint64_t address, size_t length, bool write,
                struct device_span *ret_span);
    void (*unpin)(void *cookie, struct device *device, struct device_span span);

    /* Interrupt the driver: a message to the port that it connected. Several before the driver
     * has received the message may become one. */
    void (*raise)(void *cookie, struct device *device);

    /* The site's generator of random numbers and its clock (nanoseconds since 1970). */
    void (*random)(void *cookie, void *bytes, size_t length);
    int64_t (*now)(void *cookie);

    /* Say to the person at the site that something is wrong; one line, without a line end. */
    void (*complain)(void *cookie, struct device *device, const char *text);
};

struct device_operations {
    /* `offset` is a multiple of 4. */
    uint64_t (*read_register)(struct device *device, uint32_t offset);
    void (*write_register)(struct device *device, uint32_t offset, uint64_t value);
    /* A doorbell: there is something in `queue`. */
    void (*notify)(struct device *device, unsigned queue);
    /* The driver is gone. False: the host still works on its memory; ask again with `quiet`. */
    bool (*reset)(struct device *device);
    /* Nothing pinned, nothing under way. After a reset this becomes true without further help. */
    bool (*quiet)(struct device *device);
    /* The machine goes: free everything. */
    void (*destroy)(struct device *device);
};

/* How a driver talks to it; the values are those of <dki/dki.h>. */
enum device_kind {
    DEVICE_VIRTIO = 1,      /* registers of 32 bits as in virtio-mmio version 2 */
    DEVICE_CLOCK = 2,       /* see clock_device.h */
};

struct device {
    const char *name;                           /* "console0", unique in the site */
    enum device_kind kind;
    uint32_t type;                              /* DEVICE_VIRTIO: the virtio device type */
    const struct device_operations *operations;
    const struct device_services *services;
    void *owner;                                /* the Nucleus's own; devices leave it alone */
};

#define DEVICE_REGISTERS_SIZE 0x1000u           /* bytes of register space of every device */

/* What the Nucleus calls. A misaligned or unheard-of register reads as zero, writing it does
 * nothing; neither is an error of the call. How wide a register is, is the device's matter. */
uint64_t device_read(struct device *device, uint32_t offset);
void device_write(struct device *device, uint32_t offset, uint64_t value);
void device_notify(struct device *device, unsigned queue);

/* Take the device away from its driver. It gives back all pinned memory: at once (true), or as
 * soon as the host lets go of it (false; then device_quiet tells, and until it is true
 * no other driver may have the device). */
bool device_reset(struct device *device);
bool device_quiet(struct device *device);
void device_destroy(struct device *device);     /* NULL does nothing. The device must be quiet. */

/* Operations for devices that do not need their own. */
void device_write_nothing(struct device *device, uint32_t offset, uint64_t value);
void device_notify_nothing(struct device *device, unsigned queue);
bool device_always_quiet(struct device *device);

/* For devices: complain with a formatted line. */
void device_complain(struct device *device, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
