/* virtio-net: an Ethernet device on a back end (net_back_end.h).
 *
 * Frames to other stations are not given to the driver, unless it wants all; multicasts are. When the driver has no buffers, frames stay with
 * the back end; when the back end has no room, they stay in the driver's queue: so nothing is lost here, and memory is bounded.
 */
#ifndef DEVICES_VIRTIO_NET_H
#define DEVICES_VIRTIO_NET_H

#include "bus.h"
#include "net_back_end.h"
#include "net_capture.h"
#include "virtio.h"

#define VIRTIO_NET_FRAME_MAX 65520u     /* bytes of the longest frame, header included */

/* The device takes the back end and the capture over (also when it fails); `capture` NULL: none. `mac`: the device's own address. `name` must live as
 * long as the device. NULL: no memory. */
struct device *virtio_net_create(const char *name, const struct device_services *services, struct bus *bus,
                                 struct net_back_end *end, const uint8_t mac[6], struct net_capture *capture);

#endif
