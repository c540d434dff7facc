/* What is behind a network device on the host: a hub, a helper process with a network stack, a tap interface.
 *
 * A back end moves frames, and never waits. The model (virtio_net.c) gives it a `ready` function, which the back end calls, in the
 * Nucleus thread, when frames may have come that `want` asked for, when there is room again after a `send` that had none, and
 * when the link went up or down. What a back end gets from the host may be anything: it checks the lengths, and nothing else is relied on.
 */
#ifndef DEVICES_NET_BACK_END_H
#define DEVICES_NET_BACK_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "protocol/virtio.h"

struct net_back_end;

struct net_back_end_operations {
    /* Take a frame of these pieces, `length` bytes together. False: there is no room; nothing has happened, `ready` follows. What cannot be sent for
     * other reasons is taken, and lost (`lost` is counted). `header` is all zeros but for what `offloads` permits. */
    bool (*send)(struct net_back_end *end, const struct virtio_net_header *header, const struct device_span *pieces, unsigned count,
                 uint32_t length);
    /* No more frames follow soon: what was taken is to go out. */
    void (*flush)(struct net_back_end *end);
    /* The next frame, good until the next call of anything here. 0: none now. */
    uint32_t (*receive)(struct net_back_end *end, struct virtio_net_header *ret_header, const uint8_t **ret_frame);
    /* Call `ready` when there are frames, or not. */
    void (*want)(struct net_back_end *end, bool frames);
    /* Offloads that the driver agreed upon, of VIRTIO_NET_F_GUEST_. NULL: none. */
    void (*set_offloads)(struct net_back_end *end, uint64_t offloads);
    void (*close)(struct net_back_end *end);
};

/* Lies at the beginning of the back end's own structure. */
struct net_back_end {
    const struct net_back_end_operations *operations;
    char name[64];              /* "hub:/tmp/hub" */
    uint16_t mtu;
    uint64_t offloads;          /* VIRTIO_NET_F_: CSUM, HOST_TSO, GUEST_CSUM, GUEST_TSO */
    uint8_t hint_address[4], hint_router[4], hint_name_server[4];
    uint32_t hint_prefix;
    bool up;
    uint32_t lost;              /* frames taken and not sent */
    /* The model's. */
    void (*ready)(void *cookie);
    void *cookie;
};

#endif
