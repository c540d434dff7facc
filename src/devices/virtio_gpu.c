/* virtio-gpu: see virtio_gpu.h.
 *
 * Commands are answered in their order. Only TRANSFER_TO_HOST_2D may take long; it copies COPY_AT_ONCE bytes and comes again by the bus, its chain
 * still taken, and the commands behind it wait.
 */
#include "virtio_gpu.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_SIZE       64
#define RESOURCES_MOST   16
#define PIECES_MOST      4096u
#define COMMANDS_AT_ONCE 16
#define COPY_AT_ONCE     (256u << 10)
#define PIXEL            4u

struct resource {
    uint32_t id;                        /* 0: free */
    uint32_t width, height;
    uint8_t *pixels;
    struct virtio_gpu_piece *pieces;    /* attached memory; NULL: none */
    uint32_t piece_count;
};

struct gpu {
    struct virtio_device virtio;        /* first */
    struct screen *screen;
    uint16_t width, height;
    struct resource resource[RESOURCES_MOST];
    uint32_t shown;                     /* resource; 0: none */
    struct virtio_gpu_rectangle view;   /* of it */

    bool copying;                       /* the transfer of `chain`, which came to row `row` */
    struct virtio_chain chain;
    struct virtio_gpu_transfer transfer;
    uint32_t row;

    struct bus *bus;
    struct bus_completion again;
    bool again_posted;
};

static struct gpu *gpu_of(struct virtio_device *device)
{
    return (struct gpu *)device;
}

static void come_again(struct gpu *gpu)
{
    if (gpu->again_posted)
        return;
    gpu->again_posted = true;
    bus_post(gpu->bus, &gpu->again);
}

/* ---- resources ---- */

static uint32_t stride_of(const struct resource *resource)
{
    return resource->width * PIXEL;
}

static uint32_t bytes_of(const struct resource *resource)
{
    return stride_of(resource) * resource->height;
}

static struct resource *resource_find(struct gpu *gpu, uint32_t id)
{
    for (unsigned i = 0; i < RESOURCES_MOST && id != 0; i++)
        if (gpu->resource[i].id == id)
            return &gpu->resource[i];
    return NULL;
}

static void show_nothing(struct gpu *gpu)
{
    if (gpu->shown != 0)
        screen_picture_show(gpu->screen, NULL, 0, 0, 0);
    gpu->shown = 0;
}

static void resource_free(struct gpu *gpu, struct resource *resource)
{
    if (gpu->shown == resource->id)
        show_nothing(gpu);
    screen_picture_free(gpu->screen, resource->pixels, bytes_of(resource));
    free(resource->pieces);
    *resource = (struct resource){ 0 };
}

/* Does the rectangle lie in the picture, and is there anything of it? */
static bool lies_within(const struct virtio_gpu_rectangle *rectangle, const struct resource *resource)
{
    return rectangle->width > 0 && rectangle->height > 0 && rectangle->width <= resource->width && rectangle->height <= resource->height
        && rectangle->x <= resource->width - rectangle->width && rectangle->y <= resource->height - rectangle->height;
}

/* ---- commands: each returns its answer ---- */

union command {
    struct virtio_gpu_header header;
    struct virtio_gpu_create_2d create;
    struct virtio_gpu_resource resource;
    struct virtio_gpu_set_scanout scanout;
    struct virtio_gpu_flush flush;
    struct virtio_gpu_transfer transfer;
    struct virtio_gpu_backing backing;
};

static uint32_t create(struct gpu *gpu, const struct virtio_gpu_create_2d *command)
{
    struct resource *resource = gpu->resource, made = { .id = command->resource, .width = command->width, .height = command->height };

    if (made.id == 0 || resource_find(gpu, made.id) != NULL)
        return VIRTIO_GPU_ERR_INVALID_RESOURCE_ID;
    if ((command->format != VIRTIO_GPU_FORMAT_B8G8R8A8 && command->format != VIRTIO_GPU_FORMAT_B8G8R8X8)
        || made.width == 0 || made.height == 0 || made.width > VIRTIO_GPU_SIDE_MOST || made.height > VIRTIO_GPU_SIDE_MOST)
        return VIRTIO_GPU_ERR_INVALID_PARAMETER;
    while (resource < gpu->resource + RESOURCES_MOST && resource->id != 0)
        resource++;
    if (resource == gpu->resource + RESOURCES_MOST)
        return VIRTIO_GPU_ERR_OUT_OF_MEMORY;
    made.pixels = screen_picture_allocate(gpu->screen, bytes_of(&made));
    if (made.pixels == NULL)
        return VIRTIO_GPU_ERR_OUT_OF_MEMORY;
    *resource = made;
    return VIRTIO_GPU_OK_NODATA;
}

static uint32_t unref(struct gpu *gpu, const struct virtio_gpu_resource *command)
{
    struct resource *resource = resource_find(gpu, command->resource);

    if (resource == NULL)
        return VIRTIO_GPU_ERR_INVALID_RESOURCE_ID;
    resource_free(gpu, resource);
    return VIRTIO_GPU_OK_NODATA;
}

static uint32_t set_scanout(struct gpu *gpu, const struct virtio_gpu_set_scanout *command)
{
    struct resource *resource = resource_find(gpu, command->resource);

    if (command->scanout != 0)
        return VIRTIO_GPU_ERR_INVALID_SCANOUT_ID;
    if (command->resource == 0) {
        show_nothing(gpu);
        return VIRTIO_GPU_OK_NODATA;
    }
    if (resource == NULL)
        return VIRTIO_GPU_ERR_INVALID_RESOURCE_ID;
    if (!lies_within(&command->rectangle, resource))
        return VIRTIO_GPU_ERR_INVALID_PARAMETER;
    gpu->shown = resource->id;
    gpu->view = command->rectangle;
    screen_picture_show(gpu->screen, resource->pixels + gpu->view.y * stride_of(resource) + gpu->view.x * PIXEL, gpu->view.width,
                        gpu->view.height, stride_of(resource));
    return VIRTIO_GPU_OK_NODATA;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t most(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t flush(struct gpu *gpu, const struct virtio_gpu_flush *command)
{
    struct resource *resource = resource_find(gpu, command->resource);
    const struct virtio_gpu_rectangle *part = &command->rectangle, *view = &gpu->view;

    if (resource == NULL)
        return VIRTIO_GPU_ERR_INVALID_RESOURCE_ID;
    if (!lies_within(part, resource))
        return VIRTIO_GPU_ERR_INVALID_PARAMETER;
    uint32_t left = most(part->x, view->x), right = least(part->x + part->width, view->x + view->width);
    uint32_t top = most(part->y, view->y), bottom = least(part->y + part->height, view->y + view->height);
    if (gpu->shown == resource->id && left < right && top < bottom)
        screen_damage(gpu->screen, &(struct screen_rectangle){ .x = (uint16_t)(left - view->x), .y = (uint16_t)(top - view->y),
                                                               .width = (uint16_t)(right - left), .height = (uint16_t)(bottom - top) });
    return VIRTIO_GPU_OK_NODATA;
}

static uint32_t attach(struct gpu *gpu, const struct virtio_gpu_backing *command, const struct virtio_chain *chain)
{
    struct resource *resource = resource_find(gpu, command->resource);
    size_t size = (size_t)command->entries * sizeof *resource->pieces;

    if (resource == NULL)
        return VIRTIO_GPU_ERR_INVALID_RESOURCE_ID;
    if (resource->pieces != NULL || command->entries == 0)
        return VIRTIO_GPU_ERR_UNSPEC;
    if (command->entries > PIECES_MOST)
        return VIRTIO_GPU_ERR_OUT_OF_MEMORY;
    struct virtio_gpu_piece *pieces = malloc(size);
    if (pieces == NULL)
        return VIRTIO_GPU_ERR_OUT_OF_MEMORY;
    if (chain_read(chain, sizeof *command, pieces, size) != size) {
        free(pieces);
        return VIRTIO_GPU_ERR_INVALID_PARAMETER;
    }
    resource->pieces = pieces;
    resource->piece_count = command->entries;
    return VIRTIO_GPU_OK_NODATA;
}

static uint32_t detach(struct gpu *gpu, const struct virtio_gpu_resource *command)
{
    struct resource *resource = resource_find(gpu, command->resource);

    if (resource == NULL)
        return VIRTIO_GPU_ERR_INVALID_RESOURCE_ID;
    free(resource->pieces);
    resource->pieces = NULL;
    resource->piece_count = 0;
    return VIRTIO_GPU_OK_NODATA;
}

/* ---- copying ---- */

/* Copy `length` bytes of the driver's memory at `address`. False: it is not his. */
static bool memory_copy(struct gpu *gpu, uint64_t address, uint8_t *to, size_t length)
{
    const struct device_services *services = gpu->virtio.device.services;
    struct device_span span;

    for (size_t done = 0; done < length; done += span.length) {
        if (address + length < address
            || !services->pin(services->cookie, &gpu->virtio.device, address + done, length - done, false, &span))
            return false;
        memcpy(to + done, span.base, span.length);
        services->unpin(services->cookie, &gpu->virtio.device, span);
    }
    return true;
}

/* The same, of attached memory at `offset`. False: there is not so much, or it is not the driver's. */
static bool backing_copy(struct gpu *gpu, const struct resource *resource, uint64_t offset, uint8_t *to, size_t length)
{
    for (uint32_t i = 0; i < resource->piece_count && length > 0; i++) {
        const struct virtio_gpu_piece *piece = &resource->pieces[i];
        if (offset >= piece->length) {
            offset -= piece->length;
            continue;
        }
        size_t part = piece->length - offset < length ? piece->length - (size_t)offset : length;
        if (!memory_copy(gpu, piece->address + offset, to, part))
            return false;
        to += part;
        length -= part;
        offset = 0;
    }
    return length == 0;
}

/* The next rows of the transfer under way; *ret_answer 0: there are more. */
static void transfer_rows(struct gpu *gpu, uint32_t *ret_answer)
{
    const struct virtio_gpu_rectangle *part = &gpu->transfer.rectangle;
    const struct resource *resource = resource_find(gpu, gpu->transfer.resource);
    uint32_t stride = stride_of(resource), rows = COPY_AT_ONCE / (part->width * PIXEL) + 1;

    for (; rows > 0 && gpu->row < part->height; rows--, gpu->row++) {
        uint8_t *to = resource->pixels + (size_t)(part->y + gpu->row) * stride + part->x * PIXEL;
        if (!backing_copy(gpu, resource, gpu->transfer.offset + (uint64_t)gpu->row * stride, to, part->width * PIXEL)) {
            virtio_break(&gpu->virtio, "a picture that is not in the driver's memory");
            *ret_answer = VIRTIO_GPU_ERR_UNSPEC;
            return;
        }
    }
    *ret_answer = gpu->row == part->height ? VIRTIO_GPU_OK_NODATA : 0;
}

static uint32_t transfer(struct gpu *gpu, const struct virtio_gpu_transfer *command)
{
    const struct resource *resource = resource_find(gpu, command->resource);

    if (resource == NULL)
        return VIRTIO_GPU_ERR_INVALID_RESOURCE_ID;
    if (!lies_within(&command->rectangle, resource) || command->offset > UINT32_MAX)
        return VIRTIO_GPU_ERR_INVALID_PARAMETER;
    if (resource->pieces == NULL)
        return VIRTIO_GPU_ERR_UNSPEC;
    gpu->transfer = *command;
    gpu->row = 0;
    uint32_t answer;
    transfer_rows(gpu, &answer);
    return answer;
}

/* ---- the queues ---- */

static void answer(struct gpu *gpu, unsigned queue, struct virtio_chain *chain, const struct virtio_gpu_header *command, uint32_t type)
{
    struct virtio_gpu_display_info info = { .header.type = type };
    size_t size = type == VIRTIO_GPU_OK_DISPLAY_INFO ? sizeof info : sizeof info.header;

    if (command->flags & VIRTIO_GPU_FLAG_FENCE) {
        info.header.flags = VIRTIO_GPU_FLAG_FENCE;
        info.header.fence = command->fence;
        info.header.context = command->context;
    }
    info.scanout[0].rectangle = (struct virtio_gpu_rectangle){ .width = gpu->width, .height = gpu->height };
    info.scanout[0].enabled = 1;
    virtqueue_put(&gpu->virtio, queue, chain, (uint32_t)chain_write(chain, 0, &info, size));
}

static size_t size_of(uint32_t type)
{
    switch (type) {
    case VIRTIO_GPU_RESOURCE_CREATE_2D: return sizeof(struct virtio_gpu_create_2d);
    case VIRTIO_GPU_RESOURCE_UNREF:
    case VIRTIO_GPU_RESOURCE_DETACH_BACKING: return sizeof(struct virtio_gpu_resource);
    case VIRTIO_GPU_SET_SCANOUT: return sizeof(struct virtio_gpu_set_scanout);
    case VIRTIO_GPU_RESOURCE_FLUSH: return sizeof(struct virtio_gpu_flush);
    case VIRTIO_GPU_TRANSFER_TO_HOST_2D: return sizeof(struct virtio_gpu_transfer);
    case VIRTIO_GPU_RESOURCE_ATTACH_BACKING: return sizeof(struct virtio_gpu_backing);
    default: return sizeof(struct virtio_gpu_header);
    }
}

/* Returns the answer; 0: not yet. */
static uint32_t command_do(struct gpu *gpu, const union command *command, size_t size, const struct virtio_chain *chain)
{
    if (size < sizeof command->header || size < size_of(command->header.type))
        return VIRTIO_GPU_ERR_INVALID_PARAMETER;
    switch (command->header.type) {
    case VIRTIO_GPU_GET_DISPLAY_INFO: return VIRTIO_GPU_OK_DISPLAY_INFO;
    case VIRTIO_GPU_RESOURCE_CREATE_2D: return create(gpu, &command->create);
    case VIRTIO_GPU_RESOURCE_UNREF: return unref(gpu, &command->resource);
    case VIRTIO_GPU_SET_SCANOUT: return set_scanout(gpu, &command->scanout);
    case VIRTIO_GPU_RESOURCE_FLUSH: return flush(gpu, &command->flush);
    case VIRTIO_GPU_TRANSFER_TO_HOST_2D: return transfer(gpu, &command->transfer);
    case VIRTIO_GPU_RESOURCE_ATTACH_BACKING: return attach(gpu, &command->backing, chain);
    case VIRTIO_GPU_RESOURCE_DETACH_BACKING: return detach(gpu, &command->resource);
    default: return VIRTIO_GPU_ERR_UNSPEC;
    }
}

static void control_run(struct gpu *gpu)
{
    struct virtio_device *device = &gpu->virtio;
    uint32_t result;

    for (int i = 0; i < COMMANDS_AT_ONCE; i++) {
        union command command = { .transfer = gpu->transfer };
        if (gpu->copying) {
            transfer_rows(gpu, &result);
        } else {
            if (!virtqueue_take(device, VIRTIO_GPU_CONTROL, &gpu->chain))
                break;
            memset(&command, 0, sizeof command);
            size_t size = chain_read(&gpu->chain, 0, &command, sizeof command);
            result = command_do(gpu, &command, size, &gpu->chain);
        }
        gpu->copying = result == 0;
        if (gpu->copying)
            break;
        answer(gpu, VIRTIO_GPU_CONTROL, &gpu->chain, &command.header, result);
    }
    virtqueue_signal(device, VIRTIO_GPU_CONTROL);
    if (gpu->copying || virtqueue_waiting(device, VIRTIO_GPU_CONTROL))
        come_again(gpu);
}

/* The window has a pointer of its own: cursors are taken and not shown. */
static void cursor_run(struct gpu *gpu)
{
    struct virtio_chain chain;
    struct virtio_gpu_header command = { 0 };

    for (int i = 0; i < QUEUE_SIZE && virtqueue_take(&gpu->virtio, VIRTIO_GPU_CURSOR, &chain); i++) {
        chain_read(&chain, 0, &command, sizeof command);
        answer(gpu, VIRTIO_GPU_CURSOR, &chain, &command, VIRTIO_GPU_OK_NODATA);
    }
    virtqueue_signal(&gpu->virtio, VIRTIO_GPU_CURSOR);
}

static void go_on(struct bus_completion *completion)
{
    struct gpu *gpu = (struct gpu *)((char *)completion - offsetof(struct gpu, again));

    gpu->again_posted = false;
    if (gpu->copying || virtio_running(&gpu->virtio))
        control_run(gpu);
}

static void gpu_notify(struct virtio_device *device, unsigned queue)
{
    struct gpu *gpu = gpu_of(device);

    if (queue == VIRTIO_GPU_CURSOR)
        cursor_run(gpu);
    else if (!gpu->copying)
        control_run(gpu);
}

static void gpu_stop(struct virtio_device *device)
{
    struct gpu *gpu = gpu_of(device);

    show_nothing(gpu);
    if (gpu->copying) {
        gpu->copying = false;
        virtqueue_put(device, VIRTIO_GPU_CONTROL, &gpu->chain, 0);
    }
    for (unsigned i = 0; i < RESOURCES_MOST; i++)
        if (gpu->resource[i].id != 0)
            resource_free(gpu, &gpu->resource[i]);
}

static uint32_t gpu_read_config(struct virtio_device *device, uint32_t offset)
{
    (void)device;
    return offset == offsetof(struct virtio_gpu_config, scanouts) ? 1 : 0;
}

static void gpu_destroy(struct virtio_device *device)
{
    struct gpu *gpu = gpu_of(device);

    bus_cancel(gpu->bus, &gpu->again);
    for (unsigned i = 0; i < RESOURCES_MOST; i++)
        free(gpu->resource[i].pieces);
    free(gpu);
}

static const struct virtio_model gpu_model = {
    .queues = VIRTIO_GPU_QUEUES,
    .notify = gpu_notify,
    .stop = gpu_stop,
    .read_config = gpu_read_config,
    .destroy = gpu_destroy,
};

struct device *virtio_gpu_create(const char *name, const struct device_services *services, struct bus *bus, struct screen *screen,
                                 uint16_t width, uint16_t height)
{
    struct gpu *gpu = calloc(1, sizeof *gpu);

    if (gpu == NULL)
        return NULL;
    virtio_init(&gpu->virtio, name, VIRTIO_TYPE_GPU, &gpu_model, services, 0, QUEUE_SIZE);
    gpu->screen = screen;
    gpu->bus = bus;
    gpu->again.done = go_on;
    gpu->width = width;
    gpu->height = height;
    return &gpu->virtio.device;
}
