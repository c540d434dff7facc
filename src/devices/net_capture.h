/* A capture: the frames of one network device, both ways, in a pcap file (nanoseconds, Ethernet), for wireshark and tcpdump.
 *
 * The Nucleus thread only copies; a thread of the I/O pool writes. What comes meanwhile is kept, up to 32 MB; frames beyond that are left out, and counted.
 */
#ifndef DEVICES_NET_CAPTURE_H
#define DEVICES_NET_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "device.h"
#include "io_pool.h"

struct net_capture;

/* Write to `descriptor`, which is taken over. NULL: no memory. */
struct net_capture *net_capture_create(struct bus *bus, struct io_pool *pool, int descriptor);
void net_capture_frame(struct net_capture *capture, int64_t time, const struct device_span *pieces, unsigned count, uint32_t length);
/* Writes what is left, waiting for the disk, and closes. Returns how many frames were left out, or -1 when the file could not be written. NULL does nothing. */
int64_t net_capture_close(struct net_capture *capture);

#endif
