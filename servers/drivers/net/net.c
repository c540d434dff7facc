/* The network driver without its actor: see net.h. */
#include "net.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define OFFLOADS (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 \
                  | VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_OFFLOADS)
#define WANTED (VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_MTU | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX \
                | VIRTIO_NET_F_CTRL_MAC_ADDR | OFFLOADS)
#define NEEDED (VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_CTRL_VQ)

#define HEADER          ((uint32_t)sizeof(struct virtio_net_header))
#define BEFORE_HEADER   (sizeof(struct ether_frame) - HEADER)   /* the header takes the end of the frame's description */
#define SMALL_BUFFER    2048u
#define LARGE_BUFFER    4096u
#define CONTROL_MEMORY  4096u
#define ANSWER_PAUSES   1000        /* of a device that does not answer on its control queue: it is broken */

/* Pairs of our features and the device's. */
static const struct {
    uint32_t ether;
    uint64_t virtio;
} features[] = {
    { ETHER_SEND_CHECKSUM, VIRTIO_NET_F_CSUM },
    { ETHER_SEND_TCP4, VIRTIO_NET_F_HOST_TSO4 },
    { ETHER_SEND_TCP6, VIRTIO_NET_F_HOST_TSO6 },
    { ETHER_RECEIVE_CHECKSUM, VIRTIO_NET_F_GUEST_CSUM },
    { ETHER_RECEIVE_TCP4, VIRTIO_NET_F_GUEST_TSO4 },
    { ETHER_RECEIVE_TCP6, VIRTIO_NET_F_GUEST_TSO6 },
};
#define FEATURES (sizeof features / sizeof *features)
#define RECEIVE_FEATURES (ETHER_RECEIVE_CHECKSUM | ETHER_RECEIVE_TCP4 | ETHER_RECEIVE_TCP6)

/* ---- the control queue ---- */

/* False: the device refuses. */
static bool control(struct net *net, uint8_t class, uint8_t command, const void *bytes, size_t length)
{
    struct virtio_net_control *head = (struct virtio_net_control *)net->control_memory;
    uint8_t *answer = net->control_memory + 1024;
    uint32_t written;
    struct virtio_buffer buffers[] = { { head, (uint32_t)(sizeof *head + length), false }, { answer, 1, true } };

    *head = (struct virtio_net_control){ class, command };
    memcpy(head + 1, bytes, length);
    *answer = VIRTIO_NET_CONTROL_ERROR;
    if (!virtio_queue_add(&net->control, buffers, 2, net))
        return false;
    virtio_queue_kick(&net->control);
    for (int i = 0; virtio_queue_take(&net->control, &written) == NULL; i++) {
        if (i == ANSWER_PAUSES)
            return false;
        net->registers->pause(net->registers->cookie);
    }
    return *answer == VIRTIO_NET_CONTROL_OK;
}

/* Have the device do what info says. */
static bool settings_apply(struct net *net)
{
    uint8_t promiscuous = (net->info.receive_flags & ETHER_PROMISCUOUS) != 0;
    uint64_t offloads = 0;

    for (unsigned i = 0; i < FEATURES; i++)
        if (net->info.features_set & features[i].ether & RECEIVE_FEATURES)
            offloads |= features[i].virtio;
    return (!virtio_has_feature(&net->driver, VIRTIO_NET_F_GUEST_OFFLOADS)
            || control(net, VIRTIO_NET_CONTROL_OFFLOADS, VIRTIO_NET_OFFLOADS_SET, &offloads, sizeof offloads))
        && control(net, VIRTIO_NET_CONTROL_RX, VIRTIO_NET_RX_PROMISCUOUS, &promiscuous, sizeof promiscuous)
        && control(net, VIRTIO_NET_CONTROL_MAC, VIRTIO_NET_MAC_ADDRESS, net->info.address, sizeof net->info.address);
}

/* ---- beginning ---- */

static void config_read(struct net *net, size_t offset, void *to, size_t length)
{
    for (size_t done = 0; done < length; done += 4) {
        uint32_t word = virtio_read_config(&net->driver, (uint32_t)(offset + done));
        memcpy((uint8_t *)to + done, &word, length - done < 4 ? length - done : 4);
    }
}

static void info_read(struct net *net)
{
    static const uint8_t none[6];
    struct virtio_net_config config;
    struct ether_info *info = &net->info;

    config_read(net, 0, &config, sizeof config);
    memcpy(info->device_address, config.mac, sizeof config.mac);
    if (memcmp(info->address, none, sizeof none) == 0)
        memcpy(info->address, config.mac, sizeof config.mac);
    info->mtu = !virtio_has_feature(&net->driver, VIRTIO_NET_F_MTU) ? 1500 : config.mtu < ETHER_MTU_MAX ? config.mtu : ETHER_MTU_MAX;
    info->flags = !virtio_has_feature(&net->driver, VIRTIO_NET_F_STATUS) || config.status & VIRTIO_NET_LINK_UP ? ETHER_LINK_UP : 0;
    memcpy(info->hint_address, config.hint_address, 4);
    memcpy(info->hint_router, config.hint_router, 4);
    memcpy(info->hint_name_server, config.hint_name_server, 4);
    info->hint_prefix = config.hint_prefix;
    memcpy(info->back_end, config.back_end, sizeof info->back_end);
    info->back_end[sizeof info->back_end - 1] = '\0';
    info->features = 0;
    for (unsigned i = 0; i < FEATURES; i++)
        if (virtio_has_feature(&net->driver, features[i].virtio)
            && (!(features[i].ether & RECEIVE_FEATURES) || virtio_has_feature(&net->driver, VIRTIO_NET_F_GUEST_OFFLOADS)))
            info->features |= features[i].ether;
    info->features_set &= info->features;
}

static bool memory_get(struct net *net)
{
    if (net->queue_memory == NULL)
        net->queue_memory = net->memory(2 * VIRTIO_DRIVER_QUEUE_MEMORY_LARGE + VIRTIO_DRIVER_QUEUE_MEMORY + CONTROL_MEMORY);
    if (net->queue_memory != NULL)
        net->control_memory = net->queue_memory + 2 * VIRTIO_DRIVER_QUEUE_MEMORY_LARGE + VIRTIO_DRIVER_QUEUE_MEMORY;
    return net->queue_memory != NULL;
}

static void buffer_offer(struct net *net, uint8_t *buffer)
{
    virtio_queue_add(&net->receive, &(struct virtio_buffer){ buffer, net->buffer_size, true }, 1, buffer);
}

/* Give the device one more step of memory for what comes. Without memory it stays as it is. */
static bool buffers_add(struct net *net)
{
    if (net->steps == NET_RECEIVE_STEPS)
        return false;
    uint8_t **step = &net->receive_memory[net->steps];
    if (*step == NULL)
        *step = net->memory(NET_RECEIVE_STEP);
    if (*step == NULL)
        return false;
    net->steps++;
    for (uint32_t at = 0; at + net->buffer_size <= NET_RECEIVE_STEP; at += net->buffer_size)
        buffer_offer(net, *step + at);
    return true;
}

/* A frame of the ordinary size shall fit into one buffer, the longest into as many as the device takes for one. */
static bool buffers_begin(struct net *net)
{
    bool small = net->info.mtu + 14 + HEADER <= SMALL_BUFFER && !(net->info.features & (ETHER_RECEIVE_TCP4 | ETHER_RECEIVE_TCP6));

    net->buffer_size = small ? SMALL_BUFFER : LARGE_BUFFER;
    net->steps = 0;
    if (!buffers_add(net) || (!small && !buffers_add(net)))
        return false;
    virtio_queue_kick(&net->receive);
    return true;
}

bool net_begin(struct net *net, const struct driver_registers *registers, void *(*memory)(size_t size))
{
    net->registers = registers;
    net->memory = memory;
    net->pieces = net->pieces_needed = 0;
    for (unsigned i = 0; i < NET_SLOTS; i++)
        net->slot[i].frames = 0;
    if (!memory_get(net) || !virtio_begin(&net->driver, registers, VIRTIO_TYPE_NETWORK, WANTED) || (net->driver.features & NEEDED) != NEEDED
        || !virtio_queue_open_large(&net->driver, &net->receive, VIRTIO_NET_RECEIVE, net->queue_memory)
        || !virtio_queue_open_large(&net->driver, &net->send, VIRTIO_NET_SEND, net->queue_memory + VIRTIO_DRIVER_QUEUE_MEMORY_LARGE)
        || !virtio_queue_open(&net->driver, &net->control, VIRTIO_NET_CONTROL, net->queue_memory + 2 * VIRTIO_DRIVER_QUEUE_MEMORY_LARGE)
        || !virtio_ready(&net->driver))
        return false;
    virtio_queue_interrupts(&net->receive, false);
    virtio_queue_interrupts(&net->send, false);
    virtio_queue_interrupts(&net->control, false);
    info_read(net);
    return settings_apply(net) && buffers_begin(net);
}

/* ---- settings ---- */

int net_set(struct net *net, const struct ether_request *request)
{
    static const uint8_t none[6];
    bool own = memcmp(request->address, none, sizeof none) == 0;
    uint32_t wanted = request->features;

    if (request->flags & ~ETHER_PROMISCUOUS || wanted & ~net->info.features || request->address[0] & 1
        || (wanted & (ETHER_RECEIVE_TCP4 | ETHER_RECEIVE_TCP6) && !(wanted & ETHER_RECEIVE_CHECKSUM)))
        return -EINVAL;
    memcpy(net->info.address, own ? net->info.device_address : request->address, sizeof net->info.address);
    net->info.receive_flags = request->flags;
    net->info.features_set = wanted;
    return settings_apply(net) ? 0 : -ENODEV;
}

void net_info(struct net *net, struct ether_info *info)
{
    uint32_t dropped[2];

    config_read(net, offsetof(struct virtio_net_config, dropped_sent), dropped, sizeof dropped);
    *info = net->info;
    info->send_dropped += dropped[0];
    info->receive_dropped += dropped[1];
}

bool net_link_changed(struct net *net)
{
    uint32_t before = net->info.flags;

    info_read(net);
    return net->info.flags != before;
}

/* ---- sending ---- */

static bool frame_is_sound(const struct net *net, const struct ether_frame *frame)
{
    uint32_t needed = (frame->flags & ETHER_CHECKSUM_NEEDED ? ETHER_SEND_CHECKSUM : 0)
                    | (frame->segmentation == ETHER_SEGMENTS_TCP4 ? ETHER_SEND_TCP4 : frame->segmentation == ETHER_SEGMENTS_TCP6 ? ETHER_SEND_TCP6 : 0);
    bool cut = frame->segmentation != ETHER_SEGMENTS_NONE;

    return frame->length >= ETHER_FRAME_MIN && frame->length <= (cut ? ETHER_FRAME_MAX : net->info.mtu + 14)
        && frame->segmentation <= ETHER_SEGMENTS_TCP6 && !(needed & ~net->info.features_set)
        && (!cut || (frame->flags & ETHER_CHECKSUM_NEEDED && frame->segment_size != 0));
}

int net_check(const struct net *net, const uint8_t *body, size_t size, uint32_t count)
{
    size_t at = 0;

    if (count == 0 || count > ETHER_BATCH_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++) {
        const struct ether_frame *frame = (const struct ether_frame *)(const void *)(body + at);
        if (at >= size || size - at < sizeof *frame || !frame_is_sound(net, frame) || frame->length > size - at - sizeof *frame)
            return -EINVAL;
        at += ether_frame_space(frame->length);
    }
    return 0;
}

unsigned net_sending(struct net *net)
{
    struct net_slot *slot;
    uint32_t written;
    unsigned used = 0;

    while ((slot = virtio_queue_take(&net->send, &written)) != NULL)
        slot->frames--;
    for (unsigned i = 0; i < NET_SLOTS; i++)
        used += net->slot[i].frames > 0;
    return used;
}

static struct net_slot *slot_find(struct net *net)
{
    if (net_sending(net) == NET_SLOTS)
        return NULL;
    for (unsigned i = 0; i < NET_SLOTS; i++) {
        struct net_slot *slot = &net->slot[i];
        if (slot->frames > 0)
            continue;
        if (slot->data == NULL)
            slot->data = net->memory(ETHER_BODY_MAX);
        return slot->data != NULL ? slot : NULL;
    }
    return NULL;
}

/* Give the frame at `at` of the slot to the device: its description becomes the device's header. */
static bool frame_send(struct net *net, struct net_slot *slot, size_t at)
{
    struct ether_frame frame;
    struct virtio_net_header header;

    memcpy(&frame, slot->data + at, sizeof frame);
    header = (struct virtio_net_header){
        .flags = frame.flags & ETHER_CHECKSUM_NEEDED ? VIRTIO_NET_NEEDS_CSUM : 0,
        .gso_type = frame.segmentation == ETHER_SEGMENTS_TCP4 ? VIRTIO_NET_GSO_TCPV4
                    : frame.segmentation == ETHER_SEGMENTS_TCP6 ? VIRTIO_NET_GSO_TCPV6 : VIRTIO_NET_GSO_NONE,
        .header_length = frame.headers_length, .gso_size = frame.segment_size,
        .csum_start = frame.checksum_start, .csum_offset = frame.checksum_offset };
    memcpy(slot->data + at + BEFORE_HEADER, &header, sizeof header);
    struct virtio_buffer buffer = { slot->data + at + BEFORE_HEADER, HEADER + frame.length, false };
    if (!virtio_queue_add(&net->send, &buffer, 1, slot))
        return false;
    slot->frames++;
    net->info.frames_sent++;
    net->info.bytes_sent += frame.length;
    return true;
}

/* How many bytes of the body the first `count` frames are. */
static size_t bytes_of(const uint8_t *body, uint32_t count)
{
    size_t at = 0;

    for (uint32_t i = 0; i < count; i++)
        at += ether_frame_space(((const struct ether_frame *)(const void *)(body + at))->length);
    return at;
}

uint32_t net_send(struct net *net, const uint8_t *body, uint32_t count, size_t *ret_bytes)
{
    struct net_slot *slot = slot_find(net);
    uint32_t taken = slot == NULL ? 0 : count < net->send.free_count ? count : net->send.free_count;
    size_t at = 0;

    *ret_bytes = bytes_of(body, taken);
    if (taken == 0)
        return 0;
    /* The last frame's padding may lie beyond the body that was sent, and beyond the slot. */
    memcpy(slot->data, body, *ret_bytes < ETHER_BODY_MAX ? *ret_bytes : ETHER_BODY_MAX);
    for (uint32_t i = 0; i < taken; i++) {
        uint32_t length = ((const struct ether_frame *)(const void *)(body + at))->length;
        frame_send(net, slot, at);
        at += ether_frame_space(length);
    }
    virtio_queue_kick(&net->send);
    return taken;
}

/* ---- receiving ---- */

static void pieces_return(struct net *net)
{
    for (unsigned i = 0; i < net->pieces; i++)
        buffer_offer(net, net->piece[i].buffer);
    net->pieces = net->pieces_needed = 0;
}

/* Have all pieces of the next frame. The device may still be writing its used ring: then the rest comes later. */
static bool pieces_take(struct net *net)
{
    while (net->pieces_needed == 0 || net->pieces < net->pieces_needed) {
        struct net_piece *piece = &net->piece[net->pieces];
        piece->buffer = virtio_queue_take(&net->receive, &piece->length);
        if (piece->buffer == NULL)
            return false;
        if (piece->length > net->buffer_size)
            piece->length = net->buffer_size;
        if (net->pieces++ > 0)
            continue;
        uint16_t needed = ((const struct virtio_net_header *)(const void *)piece->buffer)->buffers;
        net->pieces_needed = needed == 0 || needed > NET_PIECES_MOST ? 1 : needed;
    }
    return true;
}

static uint32_t pieces_length(const struct net *net)
{
    uint32_t length = 0;

    for (unsigned i = 0; i < net->pieces; i++)
        length += net->piece[i].length;
    return length < HEADER ? 0 : length - HEADER;
}

static void frame_describe(const struct net *net, uint32_t length, struct ether_frame *frame)
{
    struct virtio_net_header header;

    memcpy(&header, net->piece[0].buffer, sizeof header);
    *frame = (struct ether_frame){
        .length = length,
        .flags = (uint8_t)((header.flags & VIRTIO_NET_NEEDS_CSUM ? ETHER_CHECKSUM_NEEDED : 0)
                           | (header.flags & VIRTIO_NET_DATA_VALID ? ETHER_CHECKSUM_GOOD : 0)),
        .segmentation = header.gso_type == VIRTIO_NET_GSO_TCPV4 ? ETHER_SEGMENTS_TCP4
                        : header.gso_type == VIRTIO_NET_GSO_TCPV6 ? ETHER_SEGMENTS_TCP6 : ETHER_SEGMENTS_NONE };
    if (!(net->info.features_set & ETHER_RECEIVE_CHECKSUM))
        frame->flags = 0;
    if (frame->segmentation != ETHER_SEGMENTS_NONE) {
        frame->headers_length = header.header_length;
        frame->segment_size = header.gso_size;
    }
    if (frame->flags & ETHER_CHECKSUM_NEEDED) {
        frame->checksum_start = header.csum_start;
        frame->checksum_offset = header.csum_offset;
    }
}

static void frame_copy(const struct net *net, uint8_t *to)
{
    for (unsigned i = 0; i < net->pieces; i++) {
        uint32_t skip = i == 0 ? HEADER : 0;
        memcpy(to, net->piece[i].buffer + skip, net->piece[i].length - skip);
        to += net->piece[i].length - skip;
    }
}

uint32_t net_receive(struct net *net, uint8_t *body, size_t room, size_t *ret_size)
{
    uint32_t count = 0, buffers = 0;
    size_t size = 0;
    bool more = false;

    while (!(more = count == ETHER_BATCH_MAX) && pieces_take(net)) {
        struct ether_frame frame;
        uint32_t length = pieces_length(net);
        bool fits = size <= room && room - size >= sizeof frame + length;
        if ((more = !fits && count > 0))
            break;                          /* it begins the next batch */
        buffers += net->pieces;
        if (!fits || length < ETHER_FRAME_MIN || net->piece[0].length < HEADER) {
            net->info.receive_dropped++;
            pieces_return(net);
            continue;
        }
        frame_describe(net, length, &frame);
        memcpy(body + size, &frame, sizeof frame);
        frame_copy(net, body + size + sizeof frame);
        pieces_return(net);
        size_t end = size + sizeof frame + length;
        size += ether_frame_space(length);
        if (size <= room)
            memset(body + end, 0, size - end);
        *ret_size = size <= room ? size : end;
        count++;
        net->info.frames_received++;
        net->info.bytes_received += length;
    }
    if (count == 0)
        *ret_size = 0;
    if (more || 2 * buffers * net->buffer_size > net->steps * NET_RECEIVE_STEP)
        buffers_add(net);                   /* frames come faster than they are fetched */
    virtio_queue_kick(&net->receive);
    return count;
}

bool net_receive_interrupts(struct net *net, bool on)
{
    return virtio_queue_interrupts(&net->receive, on);
}

bool net_send_interrupts(struct net *net, bool on)
{
    return virtio_queue_interrupts(&net->send, on);
}
