/* A folder of the host, which another process serves: see lib/protocol/share.h and src/share/. */
#ifndef DEVICES_VIRTIO_SHARE_H
#define DEVICES_VIRTIO_SHARE_H

#include "bus.h"
#include "virtio.h"

/* `socket` (taken over, also on failure; of SOCK_SEQPACKET, not blocking) leads to the process. NULL: no memory. */
struct device *virtio_share_create(const char *name, const struct device_services *services, struct bus *bus, int socket);

#endif
