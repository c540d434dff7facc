/* The framebuffer's driver without its actor: see framebuffer.h. */
#include "framebuffer.h"

#include <string.h>

#define RESOURCE   1
#define PAGE       4096u
#define PIXEL      4u
#define RUNS_MOST  8                    /* of changed lines in one update; what is between further ones is shown, too */
#define PAUSES_MOST 1000                /* of a device that does not answer: it is broken */

struct framebuffer_command {
    union {
        struct virtio_gpu_header header;
        struct virtio_gpu_create_2d create;
        struct virtio_gpu_set_scanout scanout;
        struct virtio_gpu_flush flush;
        struct virtio_gpu_transfer transfer;
        struct {
            struct virtio_gpu_backing head;
            struct virtio_gpu_piece piece;
        } attach;
    };
    union {
        struct virtio_gpu_header answer;
        struct virtio_gpu_display_info info;
    };
};

/* ---- commands ---- */

static void collect(struct framebuffer *screen)
{
    struct framebuffer_command *command;
    uint32_t length;

    while ((command = virtio_queue_take(&screen->control, &length)) != NULL) {
        screen->busy[command - screen->command] = false;
        if (length < sizeof command->answer || command->answer.type >= VIRTIO_GPU_ERR_UNSPEC)
            screen->failed = true;
    }
}

/* Wait until the device has answered all. */
static void settle(struct framebuffer *screen)
{
    const struct driver_registers *registers = screen->driver.registers;

    for (int pauses = 0; !screen->failed; pauses++) {
        bool busy = false;
        collect(screen);
        for (unsigned i = 0; i < FRAMEBUFFER_COMMANDS; i++)
            busy |= screen->busy[i];
        if (!busy)
            return;
        if (pauses == PAUSES_MOST || virtio_needs_reset(&screen->driver))
            screen->failed = true;
        else
            registers->pause(registers->cookie);
    }
}

/* A free command, zeroed but for its type; NULL: the device has failed. */
static struct framebuffer_command *command_new(struct framebuffer *screen, uint32_t type)
{
    for (int tries = 0; tries < 2 && !screen->failed; tries++) {
        for (unsigned i = 0; i < FRAMEBUFFER_COMMANDS; i++) {
            struct framebuffer_command *command = &screen->command[i];
            if (screen->busy[i])
                continue;
            memset(command, 0, sizeof *command);
            command->header.type = type;
            return command;
        }
        settle(screen);
    }
    return NULL;
}

static void send(struct framebuffer *screen, struct framebuffer_command *command, size_t size)
{
    struct virtio_buffer buffers[] = { { command, (uint32_t)size, false }, { &command->info, sizeof command->info, true } };

    if (!virtio_queue_add(&screen->control, buffers, 2, command)) {
        screen->failed = true;
        return;
    }
    screen->busy[command - screen->command] = true;
}

/* ---- beginning ---- */

static bool size_ask(struct framebuffer *screen)
{
    struct framebuffer_command *command = command_new(screen, VIRTIO_GPU_GET_DISPLAY_INFO);

    send(screen, command, sizeof command->header);
    virtio_queue_kick(&screen->control);
    settle(screen);
    screen->width = command->info.scanout[0].rectangle.width;
    screen->height = command->info.scanout[0].rectangle.height;
    return !screen->failed && command->answer.type == VIRTIO_GPU_OK_DISPLAY_INFO && screen->width > 0 && screen->height > 0
        && screen->width <= FRAMEBUFFER_SIDE_MOST && screen->height <= FRAMEBUFFER_SIDE_MOST;
}

static void resource_make(struct framebuffer *screen)
{
    struct framebuffer_command *command = command_new(screen, VIRTIO_GPU_RESOURCE_CREATE_2D);

    command->create = (struct virtio_gpu_create_2d){ .header = command->header, .resource = RESOURCE, .format = VIRTIO_GPU_FORMAT_B8G8R8X8,
                                                     .width = screen->width, .height = screen->height };
    send(screen, command, sizeof command->create);
    command = command_new(screen, VIRTIO_GPU_RESOURCE_ATTACH_BACKING);
    command->attach.head.resource = RESOURCE;
    command->attach.head.entries = 1;
    command->attach.piece = (struct virtio_gpu_piece){ .address = (uintptr_t)screen->pixels, .length = (uint32_t)screen->size };
    send(screen, command, sizeof command->attach);
    virtio_queue_kick(&screen->control);
    settle(screen);
}

bool framebuffer_begin(struct framebuffer *screen, const struct driver_registers *registers, void *(*memory)(size_t size))
{
    const struct framebuffer old = *screen;
    uint8_t *queues = old.queues != NULL ? old.queues : memory(2 * VIRTIO_DRIVER_QUEUE_MEMORY);

    *screen = (struct framebuffer){ .queues = queues, .command = old.command, .pixels = old.pixels, .room = old.room };
    if (screen->command == NULL)
        screen->command = memory((FRAMEBUFFER_COMMANDS * sizeof *screen->command + PAGE - 1) / PAGE * PAGE);
    if (queues == NULL || screen->command == NULL || !virtio_begin(&screen->driver, registers, VIRTIO_TYPE_GPU, 0)
        || !virtio_queue_open(&screen->driver, &screen->control, VIRTIO_GPU_CONTROL, queues)
        || !virtio_queue_open(&screen->driver, &screen->cursor, VIRTIO_GPU_CURSOR, queues + VIRTIO_DRIVER_QUEUE_MEMORY)
        || !virtio_ready(&screen->driver))
        return false;
    virtio_queue_interrupts(&screen->control, false);
    if (!size_ask(screen))
        return false;
    screen->stride = screen->width * PIXEL;
    screen->size = ((size_t)screen->stride * screen->height + PAGE - 1) / PAGE * PAGE;
    if (screen->room < screen->size) {
        screen->pixels = memory(screen->size);
        screen->room = screen->size;
    }
    if (screen->pixels == NULL)
        return false;
    resource_make(screen);
    return !screen->failed;
}

bool framebuffer_end(struct framebuffer *screen)
{
    framebuffer_update(screen);
    settle(screen);
    return virtio_end(&screen->driver);
}

/* ---- showing ---- */

void framebuffer_show(struct framebuffer *screen, bool on)
{
    struct framebuffer_command *command = command_new(screen, VIRTIO_GPU_SET_SCANOUT);

    if (command == NULL || on == screen->shown)
        return;
    command->scanout.resource = on ? RESOURCE : 0;
    command->scanout.rectangle = (struct virtio_gpu_rectangle){ .width = screen->width, .height = screen->height };
    send(screen, command, sizeof command->scanout);
    virtio_queue_kick(&screen->control);
    screen->shown = on;
    if (on)
        framebuffer_changed(screen, 0, screen->size);
}

void framebuffer_changed(struct framebuffer *screen, size_t offset, size_t length)
{
    size_t first = offset / screen->stride, end = (offset + length + screen->stride - 1) / screen->stride;

    for (size_t line = first; line < end && line < screen->height; line++)
        screen->changed[line / 64] |= UINT64_C(1) << (line % 64);
}

static bool is_changed(const struct framebuffer *screen, uint32_t line)
{
    return screen->changed[line / 64] >> (line % 64) & 1;
}

/* The next changed lines from *line on, which goes behind them. False: there are none. */
static bool run_next(const struct framebuffer *screen, uint32_t *line, struct virtio_gpu_rectangle *run, bool to_the_end)
{
    while (*line < screen->height && !is_changed(screen, *line))
        ++*line;
    if (*line == screen->height)
        return false;
    *run = (struct virtio_gpu_rectangle){ .y = *line, .width = screen->width };
    while (*line < screen->height && (to_the_end || is_changed(screen, *line)))
        ++*line;
    run->height = *line - run->y;
    return true;
}

static void run_show(struct framebuffer *screen, const struct virtio_gpu_rectangle *run)
{
    struct framebuffer_command *command = command_new(screen, VIRTIO_GPU_TRANSFER_TO_HOST_2D);

    if (command == NULL)
        return;
    command->transfer = (struct virtio_gpu_transfer){ .header = command->header, .rectangle = *run, .resource = RESOURCE,
                                                      .offset = (uint64_t)run->y * screen->stride };
    send(screen, command, sizeof command->transfer);
    command = command_new(screen, VIRTIO_GPU_RESOURCE_FLUSH);
    if (command == NULL)
        return;
    command->flush = (struct virtio_gpu_flush){ .header = command->header, .rectangle = *run, .resource = RESOURCE };
    send(screen, command, sizeof command->flush);
}

bool framebuffer_update(struct framebuffer *screen)
{
    struct virtio_gpu_rectangle run;
    uint32_t line = 0;
    unsigned runs = 0;

    settle(screen);                     /* the last update: so the device is never behind by more than one */
    while (run_next(screen, &line, &run, ++runs >= RUNS_MOST) && !screen->failed)
        run_show(screen, &run);
    memset(screen->changed, 0, sizeof screen->changed);
    virtio_queue_kick(&screen->control);
    return runs > 1;
}
