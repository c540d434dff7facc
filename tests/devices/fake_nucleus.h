/* A Nucleus and a driver for tests of devices.
 *
 * The driver's memory is a run of pages at DRIVER_MEMORY; where the "Nucleus" sees them is
 * in another order, so that no two pages that are neighbours for the driver are neighbours for the
 * device. Every pin is counted. The driver half sets devices up as the specification says, and
 * makes requests, good and bad.
 */
#ifndef TESTS_DEVICES_FAKE_NUCLEUS_H
#define TESTS_DEVICES_FAKE_NUCLEUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus.h"
#include "io_pool.h"
#include "io_ring.h"
#include "virtio.h"

#define DRIVER_MEMORY   UINT64_C(0x700000000000)
#define DRIVER_PAGES    512
#define READ_ONLY_PAGE  (DRIVER_PAGES - 1)      /* the driver may only read its last page */

extern const struct device_services fake_services;
extern struct bus *fake_bus;
extern struct io_pool *fake_pool;

void fake_start(void);          /* a test's .init */
void fake_end(void);            /* a test's .fini: nothing is pinned, no memory is left */

/* Where the driver's byte at `address` is. Good for the rest of its page only. */
void *driver_at(uint64_t address);
void driver_put(uint64_t address, const void *bytes, size_t length);
void driver_get(uint64_t address, void *bytes, size_t length);

/* From now on memory that is not pinned is not there for devices: with a sanitizer of addresses, who touches it is caught. */
void fake_guard(void);
/* The driver gives a page back, or has it again. What is pinned stays until it is unpinned, and cannot be pinned again. */
void fake_page(unsigned page, bool is_there);

unsigned fake_pins(void);               /* pinned spans */
unsigned fake_interrupts(void);         /* so far */
const char *fake_complaint(void);       /* the last one, "" for none */

extern struct io_ring *fake_ring;      /* is looked at along with the bus; NULL at the start of each test */

/* Run the bus until `true_now`, at most some seconds; false: it did not become true. */
bool fake_run_until(bool (*true_now)(void *), void *argument);
void fake_run_idle(void);               /* what can be done without waiting */

/* A queue as the driver sees it. */
struct driver_queue {
    struct device *device;
    unsigned number, size;
    uint64_t descriptors, available, used;
    uint16_t used_seen;
    uint16_t available_next;
    bool free[VIRTIO_QUEUE_SIZE_MAX];
};

struct driver_buffer {
    uint64_t address;
    uint32_t length;
    bool write;                         /* the device writes */
};

/* Initialise as the specification says; `features` beyond VIRTIO_F_VERSION_1. */
void driver_begin(struct device *device, uint64_t features);
void driver_queue_set_up(struct driver_queue *queue, struct device *device, unsigned number,
                         unsigned size, uint64_t where);
void driver_ready(struct device *device);

/* Make a request available (no doorbell); returns its head. */
unsigned driver_offer(struct driver_queue *queue, const struct driver_buffer *buffers,
                      unsigned count);
void driver_kick(struct driver_queue *queue);
/* An answered request: its head and the length written; false: none. */
bool driver_take_used(struct driver_queue *queue, uint32_t *ret_head, uint32_t *ret_length);
bool driver_wait_used(struct driver_queue *queue, uint32_t *ret_head, uint32_t *ret_length);

/* Raw access, for doing it wrong. */
void driver_descriptor(struct driver_queue *queue, unsigned index,
                       struct virtq_descriptor descriptor);
void driver_available(struct driver_queue *queue, uint16_t slot, uint16_t head);
void driver_available_index(struct driver_queue *queue, uint16_t index);

bool device_is_broken(struct device *device);

#endif
