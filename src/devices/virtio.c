/* Virtio devices: registers, the steps of initialisation, interrupts, breaking and resetting.
 *
 * A reset is finished when the last chain that the model holds has come back, since the host may
 * still be writing to its memory. Until then the status reads as before and every other register
 * is dead; the driver polls the status, as the specification has it.
 */
#include "virtio.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COMMON_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)

bool virtio_has(const struct virtio_device *device, uint64_t feature)
{
    return (device->accepted & feature) != 0;
}

bool virtio_running(const struct virtio_device *device)
{
    return (device->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET | VIRTIO_FAILED))
               == VIRTIO_DRIVER_OK
        && !device->resetting;
}

void virtio_interrupt(struct virtio_device *device, uint32_t reason)
{
    const struct device_services *services = device->device.services;

    /* The line is up as long as a reason is not acknowledged; it goes up only once. */
    bool up = device->interrupts != 0;
    device->interrupts |= reason;
    if (!up)
        services->raise(services->cookie, &device->device);
}

static void stop(struct virtio_device *device)
{
    if (device->model->stop != NULL)
        device->model->stop(device);
}

void virtio_break(struct virtio_device *device, const char *format, ...)
{
    char text[120];
    va_list arguments;

    if (device->status & VIRTIO_NEEDS_RESET)
        return;
    device->status |= VIRTIO_NEEDS_RESET;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    device_complain(&device->device, "%s: the driver broke the device: %s", device->device.name,
                    text);
    if (device->status & VIRTIO_DRIVER_OK)
        virtio_interrupt(device, VIRTIO_INTERRUPT_CONFIG);
}

void virtio_config_changed(struct virtio_device *device)
{
    device->config_generation++;
    if (virtio_running(device))
        virtio_interrupt(device, VIRTIO_INTERRUPT_CONFIG);
}

/* ---- reset ---- */

static unsigned outstanding(const struct virtio_device *device)
{
    unsigned count = 0;

    for (unsigned i = 0; i < device->model->queues; i++)
        count += device->queue[i].outstanding;
    return count;
}

void virtio_settle(struct virtio_device *device)
{
    if (!device->resetting || outstanding(device) != 0)
        return;
    for (unsigned i = 0; i < device->model->queues; i++) {
        struct virtqueue *queue = &device->queue[i];
        virtqueue_close(device, i);
        *queue = (struct virtqueue){ .size_limit = queue->size_limit };
    }
    device->status = device->interrupts = 0;
    device->accepted = 0;
    device->queue_select = device->device_features_select = device->driver_features_select = 0;
    device->resetting = false;
}

static void reset_begin(struct virtio_device *device)
{
    if (device->resetting)
        return;
    device->resetting = true;
    stop(device);
    virtio_settle(device);
}

static bool virtio_quiet(struct device *base)
{
    const struct virtio_device *device = (struct virtio_device *)base;

    return device->status == 0 && !device->resetting;
}

static bool virtio_reset(struct device *base)
{
    reset_begin((struct virtio_device *)base);
    return virtio_quiet(base);
}

/* ---- registers ---- */

static void write_status(struct virtio_device *device, uint32_t value)
{
    uint32_t kept = device->status & VIRTIO_NEEDS_RESET, added = value & ~device->status;

    if (value == 0) {
        reset_begin(device);
        return;
    }
    if (added & VIRTIO_FEATURES_OK && !virtio_has(device, VIRTIO_F_VERSION_1))
        value &= ~VIRTIO_FEATURES_OK;       /* the driver reads it back, and gives up */
    if (added & VIRTIO_DRIVER_OK && !(value & VIRTIO_FEATURES_OK)) {
        virtio_break(device, "ready before the features were agreed upon");
        return;
    }
    device->status = (value & 0x8f) | kept;
    if (added & VIRTIO_DRIVER_OK && virtio_running(device) && device->model->start != NULL)
        device->model->start(device);
}

static void write_features(struct virtio_device *device, uint32_t value)
{
    unsigned shift = 32 * device->driver_features_select;

    if (device->status & VIRTIO_FEATURES_OK || device->driver_features_select > 1)
        return;
    uint64_t kept = device->accepted & ~(UINT64_C(0xffffffff) << shift);
    device->accepted = kept | (((uint64_t)value << shift) & device->offered);
}

static struct virtqueue *selected(struct virtio_device *device)
{
    return device->queue_select < device->model->queues ? &device->queue[device->queue_select]
                                                        : NULL;
}

static void write_queue_ready(struct virtio_device *device, uint32_t value)
{
    struct virtqueue *queue = selected(device);

    if (queue == NULL || queue->ready == (value & 1))
        return;
    if (!(value & 1))                       /* only a reset takes a queue back */
        virtio_break(device, "queue %u was withdrawn", device->queue_select);
    else if (!(device->status & VIRTIO_FEATURES_OK) || device->status & VIRTIO_NEEDS_RESET)
        virtio_break(device, "queue %u was made ready too early", device->queue_select);
    else
        virtqueue_open(device, device->queue_select);
}

static void set_low(uint64_t *address, uint32_t value)
{
    *address = (*address & ~UINT64_C(0xffffffff)) | value;
}

static void set_high(uint64_t *address, uint32_t value)
{
    *address = (*address & UINT64_C(0xffffffff)) | (uint64_t)value << 32;
}

/* A queue is set up while it is not ready; later writes do nothing. */
static void write_queue(struct virtio_device *device, uint32_t offset, uint32_t value)
{
    struct virtqueue *queue = selected(device);

    if (queue == NULL || queue->ready)
        return;
    switch (offset) {
    case VIRTIO_QUEUE_SIZE: queue->size = value; break;
    case VIRTIO_QUEUE_DESCRIPTORS_LOW: set_low(&queue->descriptors_address, value); break;
    case VIRTIO_QUEUE_DESCRIPTORS_HIGH: set_high(&queue->descriptors_address, value); break;
    case VIRTIO_QUEUE_DRIVER_LOW: set_low(&queue->driver_address, value); break;
    case VIRTIO_QUEUE_DRIVER_HIGH: set_high(&queue->driver_address, value); break;
    case VIRTIO_QUEUE_DEVICE_LOW: set_low(&queue->device_address, value); break;
    case VIRTIO_QUEUE_DEVICE_HIGH: set_high(&queue->device_address, value); break;
    }
}

static void virtio_notify(struct device *base, unsigned index)
{
    struct virtio_device *device = (struct virtio_device *)base;

    if (virtio_running(device) && index < device->model->queues && device->queue[index].ready)
        device->model->notify(device, index);
}

static void write_config(struct virtio_device *device, uint32_t offset, uint32_t value)
{
    if (device->model->write_config != NULL && virtio_running(device))
        device->model->write_config(device, offset, value);
}

static void virtio_write(struct device *base, uint32_t offset, uint64_t wide)
{
    struct virtio_device *device = (struct virtio_device *)base;
    uint32_t value = (uint32_t)wide;

    if (device->resetting)
        return;
    switch (offset) {
    case VIRTIO_DEVICE_FEATURES_SELECT: device->device_features_select = value; break;
    case VIRTIO_DRIVER_FEATURES_SELECT: device->driver_features_select = value; break;
    case VIRTIO_DRIVER_FEATURES: write_features(device, value); break;
    case VIRTIO_QUEUE_SELECT: device->queue_select = value; break;
    case VIRTIO_QUEUE_READY: write_queue_ready(device, value); break;
    case VIRTIO_QUEUE_NOTIFY: virtio_notify(base, value); break;
    case VIRTIO_INTERRUPT_ACK: device->interrupts &= ~value; break;
    case VIRTIO_STATUS: write_status(device, value); break;
    default:
        if (offset >= VIRTIO_CONFIG)
            write_config(device, offset - VIRTIO_CONFIG, value);
        else
            write_queue(device, offset, value);
    }
}

static uint32_t offered_features(const struct virtio_device *device)
{
    unsigned select = device->device_features_select;

    return select > 1 ? 0 : (uint32_t)(device->offered >> (32 * select));
}

static uint32_t read_queue_size_limit(struct virtio_device *device)
{
    const struct virtqueue *queue = selected(device);

    return queue == NULL ? 0 : queue->size_limit;
}

static uint32_t read_queue_ready(struct virtio_device *device)
{
    const struct virtqueue *queue = selected(device);

    return queue != NULL && queue->ready;
}

static uint32_t read_config(struct virtio_device *device, uint32_t offset)
{
    return device->model->read_config == NULL ? 0 : device->model->read_config(device, offset);
}

static uint64_t virtio_read(struct device *base, uint32_t offset)
{
    struct virtio_device *device = (struct virtio_device *)base;

    switch (offset) {
    case VIRTIO_MAGIC: return VIRTIO_MAGIC_VALUE;
    case VIRTIO_VERSION: return 2;
    case VIRTIO_DEVICE_ID: return device->device.type;
    case VIRTIO_VENDOR_ID: return VIRTIO_VENDOR;
    case VIRTIO_DEVICE_FEATURES: return offered_features(device);
    case VIRTIO_QUEUE_SIZE_LIMIT: return read_queue_size_limit(device);
    case VIRTIO_QUEUE_READY: return read_queue_ready(device);
    case VIRTIO_INTERRUPT_STATUS: return device->interrupts;
    case VIRTIO_STATUS: return device->status;
    case VIRTIO_CONFIG_GENERATION: return device->config_generation;
    default: return offset >= VIRTIO_CONFIG ? read_config(device, offset - VIRTIO_CONFIG) : 0;
    }
}

static void virtio_destroy(struct device *base)
{
    struct virtio_device *device = (struct virtio_device *)base;

    device->model->destroy(device);
}

static const struct device_operations virtio_operations = {
    .read_register = virtio_read,
    .write_register = virtio_write,
    .notify = virtio_notify,
    .reset = virtio_reset,
    .quiet = virtio_quiet,
    .destroy = virtio_destroy,
};

void virtio_init(struct virtio_device *device, const char *name, uint32_t type,
                 const struct virtio_model *model, const struct device_services *services,
                 uint64_t features, uint16_t queue_size)
{
    memset(device, 0, sizeof *device);
    device->device = (struct device){
        .name = name, .kind = DEVICE_VIRTIO, .type = type,
        .operations = &virtio_operations, .services = services,
    };
    device->model = model;
    device->offered = COMMON_FEATURES | model->features | features;
    for (unsigned i = 0; i < model->queues; i++)
        device->queue[i].size_limit = queue_size;
}
