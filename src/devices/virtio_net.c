/* virtio-net: see virtio_net.h.
 *
 * A frame that is received may need several of the driver's buffers (VIRTIO_NET_F_MRG_RXBUF). They are taken one by one and kept until the frame has
 * enough of them; the frame is `frame` meanwhile. A frame to be sent that the back end has no room for is kept in `sending`.
 */
#include "virtio_net.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_SIZE      VIRTIO_QUEUE_SIZE_MAX
#define HEADER          ((uint32_t)sizeof(struct virtio_net_header))
#define CHAINS_MOST     40u             /* for one frame: of 2 KB buffers the longest takes 33 */
#define FRAMES_AT_ONCE  128u            /* in one event, each way, */
#define BYTES_AT_ONCE   (1u << 20)      /* and bytes */

#define GUEST_OFFLOADS  (VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6)

_Static_assert(sizeof(struct virtio_net_header) == 12, "the header as the specification has it");

struct net {
    struct virtio_device virtio;        /* first */
    struct virtio_net_config config;
    uint8_t address[6];                 /* in use */
    bool promiscuous;
    uint64_t guest_offloads;            /* that the driver wants now */
    struct net_back_end *end;
    struct net_capture *capture;
    struct bus *bus;
    struct bus_completion again;
    bool again_posted;

    bool is_sending;
    struct virtio_chain sending;

    const uint8_t *frame;               /* received and not yet given out; NULL: none */
    uint32_t frame_length;
    struct virtio_net_header frame_header;
    unsigned held;                      /* chains for it */
    uint32_t held_bytes;
    struct virtio_chain chain[CHAINS_MOST];
};

static struct net *net_of(struct virtio_device *device)
{
    return (struct net *)device;
}

static void come_again(struct net *net)
{
    if (net->again_posted)
        return;
    net->again_posted = true;
    bus_post(net->bus, &net->again);
}

static void captured(struct net *net, const struct device_span *pieces, unsigned count, uint32_t length)
{
    const struct device_services *services = net->virtio.device.services;

    if (net->capture != NULL)
        net_capture_frame(net->capture, services->now(services->cookie), pieces, count, length);
}

/* ---- the link ---- */

static void link_look(struct net *net)
{
    uint16_t status = net->end->up ? VIRTIO_NET_LINK_UP : 0;

    if (net->config.status == status)
        return;
    net->config.status = status;
    virtio_config_changed(&net->virtio);
}

/* ---- sending ---- */

/* What the driver may ask of the device for this frame. */
static bool offload_is_agreed(struct net *net, const struct virtio_net_header *header)
{
    switch (header->gso_type) {
    case VIRTIO_NET_GSO_NONE:
        return !(header->flags & VIRTIO_NET_NEEDS_CSUM) || virtio_has(&net->virtio, VIRTIO_NET_F_CSUM);
    case VIRTIO_NET_GSO_TCPV4: return virtio_has(&net->virtio, VIRTIO_NET_F_HOST_TSO4);
    case VIRTIO_NET_GSO_TCPV6: return virtio_has(&net->virtio, VIRTIO_NET_F_HOST_TSO6);
    default: return false;
    }
}

static bool length_is_sound(const struct net *net, const struct virtio_net_header *header, uint32_t length)
{
    uint32_t most = header->gso_type == VIRTIO_NET_GSO_NONE ? net->end->mtu + 14u : VIRTIO_NET_FRAME_MAX;

    return length >= 14 && length <= most;
}

/* Send net->sending. False: the back end has no room. */
static bool send_one(struct net *net)
{
    struct virtio_net_header header = { 0 };
    struct device_span pieces[VIRTIO_SPANS_MAX];
    size_t length;

    bool whole = chain_read(&net->sending, 0, &header, HEADER) == HEADER;
    unsigned count = chain_spans(&net->sending, false, HEADER, SIZE_MAX, pieces, VIRTIO_SPANS_MAX, &length);
    header.flags &= VIRTIO_NET_NEEDS_CSUM;
    header.buffers = 0;
    if (!whole || !net->end->up || !offload_is_agreed(net, &header) || !length_is_sound(net, &header, (uint32_t)length)) {
        net->config.dropped_sent++;
        return true;
    }
    if (!net->end->operations->send(net->end, &header, pieces, count, (uint32_t)length))
        return false;
    captured(net, pieces, count, (uint32_t)length);
    return true;
}

static void send_pump(struct net *net)
{
    unsigned frames = 0;

    for (uint32_t bytes = 0;; frames++) {
        if (frames == FRAMES_AT_ONCE || bytes >= BYTES_AT_ONCE) {
            come_again(net);
            break;
        }
        if (!net->is_sending && !virtqueue_take(&net->virtio, VIRTIO_NET_SEND, &net->sending))
            break;
        net->is_sending = true;
        if (!send_one(net))
            break;
        bytes += net->sending.readable_bytes;
        net->is_sending = false;
        virtqueue_put(&net->virtio, VIRTIO_NET_SEND, &net->sending, 0);
    }
    if (frames > 0) {
        net->end->operations->flush(net->end);
        virtqueue_signal(&net->virtio, VIRTIO_NET_SEND);
    }
    link_look(net);
}

/* ---- receiving ---- */

static bool is_for_us(const struct net *net, const uint8_t *frame)
{
    return net->promiscuous || frame[0] & 1 || memcmp(frame, net->address, 6) == 0;
}

/* Host and driver may have changed their minds about offloads while the frame was on its way. */
static bool is_understood(const struct net *net, const struct virtio_net_header *header)
{
    uint64_t needed = (header->flags & VIRTIO_NET_NEEDS_CSUM ? VIRTIO_NET_F_GUEST_CSUM : 0)
                    | (header->gso_type == VIRTIO_NET_GSO_TCPV4 ? VIRTIO_NET_F_GUEST_TSO4
                       : header->gso_type == VIRTIO_NET_GSO_TCPV6 ? VIRTIO_NET_F_GUEST_TSO6
                       : header->gso_type != VIRTIO_NET_GSO_NONE ? UINT64_MAX : 0);

    return (needed & ~net->guest_offloads) == 0;
}

/* Have a frame in net->frame. False: there is none. */
static bool frame_fetch(struct net *net)
{
    while (net->frame == NULL) {
        net->frame_header = (struct virtio_net_header){ 0 };
        net->frame_length = net->end->operations->receive(net->end, &net->frame_header, &net->frame);
        if (net->frame_length == 0) {
            net->frame = NULL;
            return false;
        }
        captured(net, &(struct device_span){ (void *)net->frame, net->frame_length }, 1, net->frame_length);
        if (!is_for_us(net, net->frame)) {
            net->frame = NULL;
        } else if (!is_understood(net, &net->frame_header) || !length_is_sound(net, &net->frame_header, net->frame_length)) {
            net->config.dropped_received++;
            net->frame = NULL;
        }
    }
    return true;
}

/* Hold enough buffers for net->frame. False: the driver has no more at present. */
static bool buffers_fetch(struct net *net)
{
    while (net->held_bytes < HEADER + net->frame_length) {
        if (net->held == CHAINS_MOST || !virtqueue_take(&net->virtio, VIRTIO_NET_RECEIVE, &net->chain[net->held]))
            return false;
        net->held_bytes += net->chain[net->held++].writable_bytes;
        if (!virtio_has(&net->virtio, VIRTIO_NET_F_MRG_RXBUF))
            break;
    }
    return true;
}

static void buffers_return(struct net *net)
{
    for (unsigned i = 0; i < net->held; i++)
        virtqueue_put(&net->virtio, VIRTIO_NET_RECEIVE, &net->chain[i], 0);
    net->held = 0;
    net->held_bytes = 0;
}

/* Put net->frame into the buffers. */
static void frame_give(struct net *net)
{
    uint32_t done = 0;

    net->frame_header.buffers = (uint16_t)net->held;
    for (unsigned i = 0; i < net->held; i++) {
        uint32_t at = i == 0 ? (uint32_t)chain_write(&net->chain[0], 0, &net->frame_header, HEADER) : 0;
        uint32_t length = (uint32_t)chain_write(&net->chain[i], at, net->frame + done, net->frame_length - done);
        done += length;
        net->chain[i].writable_bytes = at + length;
    }
    for (unsigned i = 0; i < net->held; i++)
        virtqueue_put(&net->virtio, VIRTIO_NET_RECEIVE, &net->chain[i], net->chain[i].writable_bytes);
    net->held = 0;
    net->held_bytes = 0;
}

/* Give out the frames that there are. Returns whether more may be had at once. */
static bool receive_some(struct net *net)
{
    uint32_t bytes = 0;

    for (unsigned frames = 0; frames < FRAMES_AT_ONCE && bytes < BYTES_AT_ONCE; frames++) {
        if (net->frame == NULL && (!virtqueue_waiting(&net->virtio, VIRTIO_NET_RECEIVE) || !frame_fetch(net)))
            return false;
        if (!buffers_fetch(net) && net->held < CHAINS_MOST)
            return false;
        bytes += net->frame_length;
        if (net->held_bytes >= HEADER + net->frame_length && net->chain[0].writable_bytes >= HEADER) {
            frame_give(net);
        } else {                        /* the driver's buffers are too small for it */
            net->config.dropped_received++;
            buffers_return(net);
        }
        net->frame = NULL;
    }
    return true;
}

static void receive_pump(struct net *net)
{
    if (virtio_running(&net->virtio) && receive_some(net))
        come_again(net);
    virtqueue_signal(&net->virtio, VIRTIO_NET_RECEIVE);
    /* Without buffers, the driver's next doorbell is what counts. */
    net->end->operations->want(net->end, net->frame == NULL && virtqueue_waiting(&net->virtio, VIRTIO_NET_RECEIVE));
    link_look(net);
}

/* ---- events ---- */

static void back_end_ready(void *cookie)
{
    struct net *net = cookie;

    send_pump(net);
    receive_pump(net);
}

static void pump_again(struct bus_completion *completion)
{
    struct net *net = (struct net *)((char *)completion - offsetof(struct net, again));

    net->again_posted = false;
    back_end_ready(net);
}

/* ---- the control queue ---- */

static void offloads_set(struct net *net, uint64_t offloads)
{
    net->guest_offloads = offloads & net->virtio.accepted & GUEST_OFFLOADS;
    if (net->end->operations->set_offloads != NULL)
        net->end->operations->set_offloads(net->end, net->guest_offloads);
}

static bool control_rx(struct net *net, uint8_t command, const struct virtio_chain *chain, uint32_t length)
{
    uint8_t on = 0;

    chain_read(chain, sizeof(struct virtio_net_control), &on, sizeof on);
    if (length != sizeof on || command > VIRTIO_NET_RX_ALL_MULTICASTS)
        return false;
    if (command == VIRTIO_NET_RX_PROMISCUOUS)
        net->promiscuous = on != 0;
    return true;
}

static bool control_mac(struct net *net, uint8_t command, const struct virtio_chain *chain, uint32_t length)
{
    uint8_t address[6];

    if (command == VIRTIO_NET_MAC_TABLE)
        return length >= 8;
    if (command != VIRTIO_NET_MAC_ADDRESS || length != sizeof address)
        return false;
    chain_read(chain, sizeof(struct virtio_net_control), address, sizeof address);
    if (address[0] & 1)
        return false;
    memcpy(net->address, address, sizeof address);
    return true;
}

static bool control_offloads(struct net *net, uint8_t command, const struct virtio_chain *chain, uint32_t length)
{
    uint64_t offloads = 0;

    if (command != VIRTIO_NET_OFFLOADS_SET || length != sizeof offloads)
        return false;
    chain_read(chain, sizeof(struct virtio_net_control), &offloads, sizeof offloads);
    if ((offloads & ~(net->virtio.accepted & GUEST_OFFLOADS)) != 0)
        return false;
    offloads_set(net, offloads);
    return true;
}

static bool control_obey(struct net *net, const struct virtio_chain *chain)
{
    struct virtio_net_control control;

    if (chain_read(chain, 0, &control, sizeof control) != sizeof control)
        return false;
    uint32_t length = chain->readable_bytes - (uint32_t)sizeof control;
    switch (control.class) {
    case VIRTIO_NET_CONTROL_RX: return control_rx(net, control.command, chain, length);
    case VIRTIO_NET_CONTROL_MAC: return control_mac(net, control.command, chain, length);
    case VIRTIO_NET_CONTROL_OFFLOADS: return control_offloads(net, control.command, chain, length);
    default: return false;
    }
}

static void control_pump(struct net *net)
{
    struct virtio_chain chain;

    for (unsigned i = 0; i < QUEUE_SIZE && virtqueue_take(&net->virtio, VIRTIO_NET_CONTROL, &chain); i++) {
        uint8_t answer = control_obey(net, &chain) ? VIRTIO_NET_CONTROL_OK : VIRTIO_NET_CONTROL_ERROR;
        uint32_t written = (uint32_t)chain_write(&chain, 0, &answer, sizeof answer);
        virtqueue_put(&net->virtio, VIRTIO_NET_CONTROL, &chain, written);
    }
    virtqueue_signal(&net->virtio, VIRTIO_NET_CONTROL);
}

/* ---- the model ---- */

static void net_notify(struct virtio_device *device, unsigned queue)
{
    if (queue == VIRTIO_NET_SEND)
        send_pump(net_of(device));
    else if (queue == VIRTIO_NET_RECEIVE)
        receive_pump(net_of(device));
    else
        control_pump(net_of(device));
}

static void net_start(struct virtio_device *device)
{
    offloads_set(net_of(device), UINT64_MAX);
    receive_pump(net_of(device));
}

static void net_stop(struct virtio_device *device)
{
    struct net *net = net_of(device);

    buffers_return(net);
    if (net->is_sending) {
        net->is_sending = false;
        virtqueue_put(device, VIRTIO_NET_SEND, &net->sending, 0);
    }
    offloads_set(net, 0);
    net->end->operations->want(net->end, false);
    net->promiscuous = false;
    memcpy(net->address, net->config.mac, sizeof net->address);
}

static uint32_t net_read_config(struct virtio_device *device, uint32_t offset)
{
    struct net *net = net_of(device);
    struct virtio_net_config config = net->config;
    uint32_t word;

    if (offset > sizeof config - sizeof word)
        return 0;
    config.dropped_sent += net->end->lost;
    memcpy(&word, (const char *)&config + offset, sizeof word);
    return word;
}

static void net_destroy(struct virtio_device *device)
{
    struct net *net = net_of(device);

    bus_cancel(net->bus, &net->again);
    net->end->operations->close(net->end);
    int64_t left_out = net_capture_close(net->capture);
    if (left_out < 0)
        device_complain(&device->device, "the capture could not be written");
    else if (left_out > 0)
        device_complain(&device->device, "%lld frames are missing in the capture: the disk was too slow", (long long)left_out);
    free(net);
}

static const struct virtio_model net_model = {
    .features = VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_MTU | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_CTRL_VQ
              | VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_MAC_ADDR,
    .queues = VIRTIO_NET_QUEUES,
    .start = net_start,
    .notify = net_notify,
    .stop = net_stop,
    .read_config = net_read_config,
    .destroy = net_destroy,
};

static void config_fill(struct net *net, const uint8_t mac[6])
{
    const struct net_back_end *end = net->end;

    net->config = (struct virtio_net_config){ .status = end->up ? VIRTIO_NET_LINK_UP : 0, .queue_pairs = 1, .mtu = end->mtu,
                                              .hint_prefix = end->hint_prefix };
    memcpy(net->config.mac, mac, sizeof net->config.mac);
    memcpy(net->address, mac, sizeof net->address);
    memcpy(net->config.hint_address, end->hint_address, 4);
    memcpy(net->config.hint_router, end->hint_router, 4);
    memcpy(net->config.hint_name_server, end->hint_name_server, 4);
    memcpy(net->config.back_end, end->name, sizeof net->config.back_end);
}

struct device *virtio_net_create(const char *name, const struct device_services *services, struct bus *bus,
                                 struct net_back_end *end, const uint8_t mac[6], struct net_capture *capture)
{
    struct net *net = calloc(1, sizeof *net);
    uint64_t features = end->offloads | (end->offloads & GUEST_OFFLOADS ? VIRTIO_NET_F_GUEST_OFFLOADS : 0);

    if (net == NULL) {
        end->operations->close(end);
        net_capture_close(capture);
        return NULL;
    }
    virtio_init(&net->virtio, name, VIRTIO_TYPE_NETWORK, &net_model, services, features, QUEUE_SIZE);
    net->end = end;
    net->capture = capture;
    net->bus = bus;
    net->again.done = pump_again;
    config_fill(net, mac);
    end->ready = back_end_ready;
    end->cookie = net;
    return &net->virtio.device;
}
