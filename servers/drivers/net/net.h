/* The network driver without its actor: batches of lib/protocol/ether.h become requests of a virtio network device.
 *
 * A batch to be sent is copied into a slot, whose frames the device gets one by one; the slot is free again when it has taken all of them. What is received
 * lies in small buffers, of which a large frame takes several, until net_receive puts it into a batch. Nothing here waits, but for the device's
 * answer on its control queue, which comes at once. Not thread safe.
 */
#ifndef DRIVERS_NET_H
#define DRIVERS_NET_H

#include "../common/virtio_driver.h"
#include "protocol/ether.h"

#define NET_SLOTS       8
#define NET_RECEIVE_STEP   (64u << 10)      /* bytes for frames that nobody has asked for yet, to begin with, */
#define NET_RECEIVE_STEPS  8                /* and so many times that when they are needed */
#define NET_PIECES_MOST 64                  /* buffers of one frame */

struct net_slot {
    uint8_t *data;              /* ETHER_BODY_MAX bytes; NULL until first needed */
    unsigned frames;            /* that the device has not taken yet */
};

struct net_piece {
    uint8_t *buffer;
    uint32_t length;
};

struct net {
    const struct driver_registers *registers;
    struct virtio_driver driver;
    struct virtio_queue receive, send, control;
    void *(*memory)(size_t size);           /* page aligned, zeroed, locked; NULL: none. Never given back */
    uint8_t *queue_memory, *control_memory, *receive_memory[NET_RECEIVE_STEPS];
    unsigned steps;                         /* of the receive memory, that the device has */
    uint32_t buffer_size;                   /* of the buffers in receive_memory */
    struct net_slot slot[NET_SLOTS];
    struct net_piece piece[NET_PIECES_MOST];    /* of a frame that is received */
    unsigned pieces, pieces_needed;         /* 0: the first one tells */
    struct ether_info info;                 /* but what is asked of the device each time */
};

/* False: no network device there, or no memory. `net` is all zeros, or one that was used before and is begun anew, with its memory and with what
 * net_set said. */
bool net_begin(struct net *net, const struct driver_registers *registers, void *(*memory)(size_t size));

/* ETHER_SET: 0, or a negative error of Linux. */
int net_set(struct net *net, const struct ether_request *request);
/* Fill in the body of ETHER_INFO. */
void net_info(struct net *net, struct ether_info *info);
/* Look at the link. True: it is not as it was. */
bool net_link_changed(struct net *net);

/* Are these bytes `count` frames that may be sent? 0 or -EINVAL. */
int net_check(const struct net *net, const uint8_t *body, size_t size, uint32_t count);
/* Send frames of a body that was checked, from the first one, as many as there is room for. Returns how many; *ret_bytes of the body they are. */
uint32_t net_send(struct net *net, const uint8_t *body, uint32_t count, size_t *ret_bytes);
/* See what the device has taken. How many slots are in use. */
unsigned net_sending(struct net *net);

/* Put frames that have come into a body of at most `room` bytes. Returns their number; *ret_size bytes. */
uint32_t net_receive(struct net *net, uint8_t *body, size_t room, size_t *ret_size);

/* Be told by an interrupt of the next frame, or of the next frame taken. True: there is one already. */
bool net_receive_interrupts(struct net *net, bool on);
bool net_send_interrupts(struct net *net, bool on);

#endif
