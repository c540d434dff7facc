/* virtio-input: a keyboard or a mouse. What happened at a window is given to it, and to the driver by the event queue.
 *
 * The mouse is an absolute one (as a tablet is), so that it is where the person sees it, with three buttons and a wheel.
 */
#ifndef DEVICES_VIRTIO_INPUT_H
#define DEVICES_VIRTIO_INPUT_H

#include "virtio.h"

/* `kind`: SCREEN_KEYBOARD or SCREEN_MOUSE. NULL and errno: no memory. */
struct device *virtio_input_create(const char *name, const struct device_services *services, unsigned kind);

/* An event of Linux's kind. One that such a device does not have is dropped; so is a whole group of events, up to its EV_SYN, for which
 * the driver has no room: a keyboard that nobody reads forgets what was typed first. Nucleus thread. */
void virtio_input_event(struct device *device, uint16_t type, uint16_t code, int32_t value);

#endif
