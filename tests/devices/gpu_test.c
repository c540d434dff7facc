/* The gpu: what the driver draws is in the screen's memory; commands that are wrong are refused, memory that is not the driver's breaks the device. */
#include <criterion/criterion.h>
#include <string.h>

#include "fake_nucleus.h"
#include "virtio_gpu.h"

#define COMMAND (DRIVER_MEMORY + 16 * 4096)
#define ANSWER  (DRIVER_MEMORY + 17 * 4096)
#define PICTURE (DRIVER_MEMORY + 32 * 4096)
#define SIDE    100u

static struct screen *screen;
static struct device *gpu;
static struct driver_queue control;

static void driver_start(void)
{
    driver_begin(gpu, 0);
    driver_queue_set_up(&control, gpu, VIRTIO_GPU_CONTROL, 16, DRIVER_MEMORY);
    driver_ready(gpu);
}

static void start(void)
{
    fake_start();
    screen = screen_create(fake_bus, true, &(struct screen_listener){ 0 });
    gpu = virtio_gpu_create("screen0", &fake_services, fake_bus, screen, 640, 480);
    driver_start();
}

static bool quiet(void *device)
{
    return device_quiet(device);
}

static void end(void)
{
    if (!device_reset(gpu))
        cr_assert(fake_run_until(quiet, gpu));
    device_destroy(gpu);
    screen_destroy(screen);
    fake_end();
}

TestSuite(gpu, .init = start, .fini = end, .timeout = 20);

/* Do a command; returns the type of its answer, 0: the device is broken. */
static uint32_t ask(const void *command, uint32_t size, void *answer, uint32_t answer_size)
{
    struct driver_buffer buffers[] = { { COMMAND, size, false }, { ANSWER, answer_size, true } };
    struct virtio_gpu_header header = { 0 };
    uint32_t head, length;

    driver_put(COMMAND, command, size);
    driver_offer(&control, buffers, 2);
    driver_kick(&control);
    if (device_is_broken(gpu) || !driver_wait_used(&control, &head, &length))
        return 0;
    driver_get(ANSWER, answer, length);
    memcpy(&header, answer, sizeof header);
    return header.type;
}

#define ASK(...) ask(&(__VA_ARGS__), sizeof(__VA_ARGS__), &(struct virtio_gpu_header){ 0 }, sizeof(struct virtio_gpu_header))
#define HEAD(kind) .header = { .type = VIRTIO_GPU_##kind }

static uint32_t create(uint32_t resource, uint32_t format, uint32_t width, uint32_t height)
{
    return ASK((struct virtio_gpu_create_2d){ HEAD(RESOURCE_CREATE_2D), .resource = resource, .format = format, .width = width, .height = height });
}

static uint32_t attach(uint32_t resource, uint64_t address, uint32_t length)
{
    struct { struct virtio_gpu_backing head; struct virtio_gpu_piece piece[2]; } command = {
        { HEAD(RESOURCE_ATTACH_BACKING), .resource = resource, .entries = 2 }, { { address, 10000, 0 }, { address + 10000, length - 10000, 0 } } };

    return ASK(command);
}

static uint32_t transfer(uint32_t resource, struct virtio_gpu_rectangle part, uint64_t offset)
{
    return ASK((struct virtio_gpu_transfer){ HEAD(TRANSFER_TO_HOST_2D), .rectangle = part, .offset = offset, .resource = resource });
}

static uint32_t flush(uint32_t resource, struct virtio_gpu_rectangle part)
{
    return ASK((struct virtio_gpu_flush){ HEAD(RESOURCE_FLUSH), .rectangle = part, .resource = resource });
}

static uint32_t show(uint32_t scanout, uint32_t resource, struct virtio_gpu_rectangle part)
{
    return ASK((struct virtio_gpu_set_scanout){ HEAD(SET_SCANOUT), .rectangle = part, .scanout = scanout, .resource = resource });
}

static uint32_t of_resource(uint32_t type, uint32_t resource)
{
    return ASK((struct virtio_gpu_resource){ .header.type = type, .resource = resource });
}

static const struct virtio_gpu_rectangle all = { 0, 0, SIDE, SIDE };

static void picture_make(void)
{
    cr_assert_eq(create(1, VIRTIO_GPU_FORMAT_B8G8R8X8, SIDE, SIDE), VIRTIO_GPU_OK_NODATA);
    cr_assert_eq(attach(1, PICTURE, SIDE * SIDE * 4), VIRTIO_GPU_OK_NODATA);
    for (uint32_t i = 0; i < SIDE * SIDE; i++)
        driver_put(PICTURE + 4 * i, &i, sizeof i);
}

static uint32_t shown(uint32_t x, uint32_t y)
{
    struct screen_share *share = screen_share(screen);
    uint32_t pixel;

    memcpy(&pixel, (uint8_t *)share + share->picture_at + y * share->stride + x * 4, sizeof pixel);
    return pixel;
}

Test(gpu, commands_that_are_wrong_are_refused)
{
    static const uint32_t short_command[] = { VIRTIO_GPU_RESOURCE_CREATE_2D, 0, 0, 0, 0, 0, 1 }, unknown[6] = { 0x222 };

    cr_expect_eq(ASK(short_command), VIRTIO_GPU_ERR_INVALID_PARAMETER);
    cr_expect_eq(ASK(unknown), VIRTIO_GPU_ERR_UNSPEC);
    cr_expect_eq(create(0, 2, 10, 10), VIRTIO_GPU_ERR_INVALID_RESOURCE_ID);
    cr_expect_eq(create(1, 3, 10, 10), VIRTIO_GPU_ERR_INVALID_PARAMETER);
    cr_expect_eq(create(1, 2, 0, 10), VIRTIO_GPU_ERR_INVALID_PARAMETER);
    cr_expect_eq(create(1, 2, 10, 4097), VIRTIO_GPU_ERR_INVALID_PARAMETER);
    cr_expect_eq(create(1, 2, 0x40000001, 0x40000001), VIRTIO_GPU_ERR_INVALID_PARAMETER);
    cr_expect_eq(transfer(1, all, 0), VIRTIO_GPU_ERR_INVALID_RESOURCE_ID);
    cr_expect_eq(flush(1, all), VIRTIO_GPU_ERR_INVALID_RESOURCE_ID);
    cr_expect_eq(attach(1, PICTURE, 20000), VIRTIO_GPU_ERR_INVALID_RESOURCE_ID);
    cr_expect_eq(of_resource(VIRTIO_GPU_RESOURCE_UNREF, 1), VIRTIO_GPU_ERR_INVALID_RESOURCE_ID);
    cr_expect_eq(of_resource(VIRTIO_GPU_RESOURCE_DETACH_BACKING, 1), VIRTIO_GPU_ERR_INVALID_RESOURCE_ID);
    cr_expect_eq(show(0, 1, all), VIRTIO_GPU_ERR_INVALID_RESOURCE_ID);
    picture_make();
    cr_expect_eq(create(1, 2, 10, 10), VIRTIO_GPU_ERR_INVALID_RESOURCE_ID);
    cr_expect_eq(attach(1, PICTURE, 20000), VIRTIO_GPU_ERR_UNSPEC);
    cr_expect_eq(show(1, 1, all), VIRTIO_GPU_ERR_INVALID_SCANOUT_ID);
    cr_expect_eq(transfer(1, all, UINT64_MAX - 4), VIRTIO_GPU_ERR_INVALID_PARAMETER);
    static const struct virtio_gpu_rectangle beside[] = { { 0, 0, SIDE + 1, 1 }, { 1, 0, SIDE, 1 }, { 0, 0, 0, 1 }, { 0, 0xffffffff, 1, 2 },
                                                          { 0xffffff9c, 0, SIDE, 1 }, { 0, SIDE, 1, 1 }, { 0, 0, 1, 0xffffffff } };
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        cr_expect_eq(show(0, 1, beside[i]), VIRTIO_GPU_ERR_INVALID_PARAMETER, "%zu", i);
        cr_expect_eq(transfer(1, beside[i], 0), VIRTIO_GPU_ERR_INVALID_PARAMETER, "%zu", i);
        cr_expect_eq(flush(1, beside[i]), VIRTIO_GPU_ERR_INVALID_PARAMETER, "%zu", i);
    }
    cr_expect(!device_is_broken(gpu));
}

Test(gpu, memory_that_is_not_the_drivers_breaks_the_device)
{
    cr_assert_eq(create(1, 2, SIDE, SIDE), VIRTIO_GPU_OK_NODATA);
    cr_assert_eq(attach(1, DRIVER_MEMORY + DRIVER_PAGES * 4096ull - 20000, SIDE * SIDE * 4), VIRTIO_GPU_OK_NODATA);
    cr_assert_eq(transfer(1, all, 0), 0u);
    cr_expect(device_is_broken(gpu));
    cr_expect_neq(strstr(fake_complaint(), "not in the driver's memory"), NULL);
    cr_expect_eq(fake_pins(), 3u, "the queue's own pages alone");
    device_reset(gpu);
    driver_start();
    picture_make();
    cr_expect_eq(transfer(1, (struct virtio_gpu_rectangle){ 0, 1, SIDE, SIDE - 1 }, 4 * SIDE), VIRTIO_GPU_OK_NODATA, "it works again");
}

Test(gpu, a_picture_larger_than_what_is_attached_breaks_the_device)
{
    cr_assert_eq(create(1, 2, SIDE, SIDE), VIRTIO_GPU_OK_NODATA);
    cr_assert_eq(attach(1, PICTURE, SIDE * SIDE * 4 - 1), VIRTIO_GPU_OK_NODATA);
    cr_assert_eq(transfer(1, all, 0), 0u);
    cr_expect(device_is_broken(gpu));
}

Test(gpu, the_room_for_pictures_has_an_end_and_is_given_back)
{
    for (int times = 0; times < 3; times++) {
        uint32_t made = 0;
        while (create(made + 1, 1, 2048, 1024) == VIRTIO_GPU_OK_NODATA)
            made++;
        cr_expect_eq(made, SCREEN_PICTURES_SIZE / (2048 * 1024 * 4));
        for (uint32_t i = 1; i <= made; i++)
            cr_expect_eq(of_resource(VIRTIO_GPU_RESOURCE_UNREF, i), VIRTIO_GPU_OK_NODATA);
    }
}

Test(gpu, what_is_transferred_and_flushed_is_on_the_screen)
{
    struct screen_share *share = screen_share(screen);
    struct screen_rectangle damage;

    picture_make();
    cr_assert_eq(show(0, 1, all), VIRTIO_GPU_OK_NODATA);
    cr_expect(share->picture_on == 1 && share->width == SIDE && share->height == SIDE && share->stride == 4 * SIDE);
    cr_expect_eq(shown(5, 7), 0u, "nothing is there yet");
    cr_assert_eq(transfer(1, all, 0), VIRTIO_GPU_OK_NODATA);
    for (uint32_t y = 0; y < SIDE; y++)
        for (uint32_t x = 0; x < SIDE; x++)
            cr_assert_eq(shown(x, y), y * SIDE + x);
    cr_expect_eq(share->damage_head, 0u);
    cr_assert_eq(flush(1, (struct virtio_gpu_rectangle){ 3, 4, 5, 6 }), VIRTIO_GPU_OK_NODATA);
    memcpy(&damage, (void *)&share->damage[0], sizeof damage);
    cr_expect(share->damage_head == 1 && damage.x == 3 && damage.y == 4 && damage.width == 5 && damage.height == 6);
}

Test(gpu, a_part_is_copied_from_where_the_command_says)
{
    picture_make();
    cr_assert_eq(show(0, 1, (struct virtio_gpu_rectangle){ 10, 20, 30, 40 }), VIRTIO_GPU_OK_NODATA);
    cr_assert_eq(transfer(1, (struct virtio_gpu_rectangle){ 10, 20, 2, 2 }, 400 * 50 + 4 * 5), VIRTIO_GPU_OK_NODATA);
    cr_expect_eq(shown(0, 0), 50 * SIDE + 5);
    cr_expect_eq(shown(1, 1), 51 * SIDE + 6);
    cr_expect_eq(shown(2, 0), 0u);
}

Test(gpu, a_large_picture_is_copied_in_several_events)
{
    uint32_t last = 0x00123456;

    cr_assert_eq(create(1, 2, 512, 900), VIRTIO_GPU_OK_NODATA);
    cr_assert_eq(attach(1, DRIVER_MEMORY + 32 * 4096, 512 * 900 * 4), VIRTIO_GPU_OK_NODATA);
    cr_assert_eq(show(0, 1, (struct virtio_gpu_rectangle){ 0, 0, 512, 900 }), VIRTIO_GPU_OK_NODATA);
    driver_put(DRIVER_MEMORY + 32 * 4096 + (512 * 900 - 1) * 4, &last, sizeof last);
    cr_assert_eq(transfer(1, (struct virtio_gpu_rectangle){ 0, 0, 512, 900 }, 0), VIRTIO_GPU_OK_NODATA);
    cr_expect_eq(shown(511, 899), last);
    cr_expect_eq(fake_pins(), 3u);
}

Test(gpu, a_reset_in_the_middle_of_a_copy_lets_go_of_everything)
{
    struct virtio_gpu_transfer command = { HEAD(TRANSFER_TO_HOST_2D), .rectangle = { 0, 0, 512, 900 }, .resource = 1 };
    struct driver_buffer buffers[] = { { COMMAND, sizeof command, false }, { ANSWER, 24, true } };

    cr_assert_eq(create(1, 2, 512, 900), VIRTIO_GPU_OK_NODATA);
    cr_assert_eq(attach(1, DRIVER_MEMORY + 32 * 4096, 512 * 900 * 4), VIRTIO_GPU_OK_NODATA);
    cr_assert_eq(show(0, 1, (struct virtio_gpu_rectangle){ 0, 0, 512, 900 }), VIRTIO_GPU_OK_NODATA);
    driver_put(COMMAND, &command, sizeof command);
    driver_offer(&control, buffers, 2);
    driver_kick(&control);
    cr_expect(device_reset(gpu));
    cr_expect_eq(fake_pins(), 0u);
    cr_expect_eq(screen_share(screen)->picture_on, 0u);
    fake_run_idle();
    driver_start();
    cr_expect_eq(create(1, 2, 10, 10), VIRTIO_GPU_OK_NODATA);
}

Test(gpu, a_fence_comes_back_and_the_display_has_the_size_asked_for)
{
    struct virtio_gpu_display_info info = { 0 };
    struct virtio_gpu_header command = { .type = VIRTIO_GPU_GET_DISPLAY_INFO, .flags = VIRTIO_GPU_FLAG_FENCE, .fence = 77, .context = 5 };

    cr_assert_eq(ask(&command, sizeof command, &info, sizeof info), VIRTIO_GPU_OK_DISPLAY_INFO);
    cr_expect(info.header.flags == VIRTIO_GPU_FLAG_FENCE && info.header.fence == 77 && info.header.context == 5);
    cr_expect(info.scanout[0].enabled == 1 && info.scanout[0].rectangle.width == 640 && info.scanout[0].rectangle.height == 480);
    cr_expect_eq(info.scanout[1].enabled, 0u);
}

Test(gpu, a_picture_that_goes_is_shown_no_more)
{
    picture_make();
    cr_assert_eq(show(0, 1, all), VIRTIO_GPU_OK_NODATA);
    cr_assert_eq(of_resource(VIRTIO_GPU_RESOURCE_DETACH_BACKING, 1), VIRTIO_GPU_OK_NODATA);
    cr_expect_eq(transfer(1, all, 0), VIRTIO_GPU_ERR_UNSPEC);
    cr_assert_eq(of_resource(VIRTIO_GPU_RESOURCE_UNREF, 1), VIRTIO_GPU_OK_NODATA);
    cr_expect_eq(screen_share(screen)->picture_on, 0u);
}
