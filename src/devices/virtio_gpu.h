/* virtio-gpu: one screen, the 2D part of the device. What it shows is the picture of a struct screen.
 *
 * The driver makes resources (pictures on the host's side), attaches memory of its own to them, and has parts of that
 * copied over and shown. Addresses of attached memory are looked up anew for each copy: nothing stays pinned, and memory that the driver has
 * given back meanwhile is a broken rule, not a danger. A copy goes in pieces, so that nobody waits long for the Nucleus.
 */
#ifndef DEVICES_VIRTIO_GPU_H
#define DEVICES_VIRTIO_GPU_H

#include "bus.h"
#include "screen.h"
#include "virtio.h"

#define VIRTIO_GPU_SIDE_MOST 4096u      /* pixels, either way */

/* `width` and `height`: what the driver is told to use. The screen stays the caller's. NULL and errno: no memory. */
struct device *virtio_gpu_create(const char *name, const struct device_services *services, struct bus *bus, struct screen *screen,
                                 uint16_t width, uint16_t height);

#endif
