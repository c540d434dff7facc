/* The framebuffer's driver against a real gpu model. */
#include <criterion/criterion.h>
#include <string.h>

#include "host_bus.h"
#include "screen.h"
#include "screen/framebuffer.h"
#include "virtio_gpu.h"

#define WIDTH  200u
#define HEIGHT 100u

static struct framebuffer driver;
static struct driver_registers registers;
static struct device *device;
static struct screen *screen;

static void start(void)
{
    host_bus_start();
    screen = screen_create(host_bus, true, &(struct screen_listener){ 0 });
    device = virtio_gpu_create("screen0", &host_services, host_bus, screen, WIDTH, HEIGHT);
    host_registers(&registers, device);
    cr_assert(framebuffer_begin(&driver, &registers, host_memory));
}

static void end(void)
{
    for (device_reset(device); !device_quiet(device);)
        host_bus_step();
    device_destroy(device);
    screen_destroy(screen);
    host_bus_end();
}

TestSuite(framebuffer, .init = start, .fini = end, .timeout = 20);

static uint32_t shown(uint32_t x, uint32_t y)
{
    struct screen_share *share = screen_share(screen);
    uint32_t pixel;

    memcpy(&pixel, (uint8_t *)share + share->picture_at + y * share->stride + x * 4, sizeof pixel);
    return pixel;
}

static void draw(uint32_t x, uint32_t y, uint32_t pixel)
{
    size_t at = y * driver.stride + x * 4;

    memcpy(driver.pixels + at, &pixel, sizeof pixel);
    framebuffer_changed(&driver, at, sizeof pixel);
}

static unsigned damages(void)
{
    return (unsigned)screen_share(screen)->damage_head;
}

Test(framebuffer, it_has_the_size_of_the_screen)
{
    cr_expect(driver.width == WIDTH && driver.height == HEIGHT && driver.stride == 4 * WIDTH);
    cr_expect(driver.size >= 4 * WIDTH * HEIGHT && driver.size % 4096 == 0);
    cr_expect_eq(screen_share(screen)->picture_on, 0u, "nobody wants to see it");
}

Test(framebuffer, what_was_drawn_before_is_there_when_it_is_shown)
{
    draw(3, 4, 0x112233);
    framebuffer_show(&driver, true);
    framebuffer_update(&driver);
    host_bus_step();
    cr_expect_eq(shown(3, 4), 0x112233u);
    cr_expect_eq(screen_share(screen)->picture_on, 1u);
    framebuffer_show(&driver, false);
    host_bus_step();
    cr_expect_eq(screen_share(screen)->picture_on, 0u);
}

Test(framebuffer, only_changed_lines_are_shown)
{
    framebuffer_show(&driver, true);
    framebuffer_update(&driver);
    unsigned before = damages();
    cr_expect(!framebuffer_update(&driver), "nothing changed");
    cr_expect_eq(damages(), before);
    draw(0, 10, 1);
    draw(WIDTH - 1, 11, 2);
    draw(0, 50, 3);
    driver.pixels[70 * driver.stride] = 9;      /* not said to be changed */
    cr_expect(framebuffer_update(&driver));
    cr_expect_eq(damages(), before + 2);
    cr_expect(shown(0, 10) == 1 && shown(WIDTH - 1, 11) == 2 && shown(0, 50) == 3 && shown(0, 70) == 0);
}

Test(framebuffer, many_scattered_lines_are_shown_in_few_commands)
{
    framebuffer_show(&driver, true);
    framebuffer_update(&driver);
    unsigned before = damages();
    for (uint32_t y = 0; y < HEIGHT; y += 2)
        draw(7, y, y + 1);
    framebuffer_update(&driver);
    cr_expect_leq(damages() - before, 8u);
    for (uint32_t y = 0; y < HEIGHT; y += 2)
        cr_expect_eq(shown(7, y), y + 1);
}

Test(framebuffer, changes_beyond_the_picture_do_no_harm)
{
    framebuffer_changed(&driver, driver.size - 1, 1 << 20);
    framebuffer_changed(&driver, 1u << 30, 4096);
    framebuffer_update(&driver);
    cr_expect(!driver.failed);
}

/* A device of which there is nothing but a status. */
static uint64_t broken_read(void *cookie, uint32_t offset)
{
    (void)cookie;
    return offset == VIRTIO_STATUS ? VIRTIO_NEEDS_RESET : 0;
}

Test(framebuffer, a_device_that_stopped_is_noticed)
{
    struct driver_registers broken = registers;

    broken.read = broken_read;
    driver.driver.registers = &broken;
    driver.busy[0] = true;                  /* a command that is never answered */
    framebuffer_show(&driver, true);
    framebuffer_update(&driver);
    cr_expect(driver.failed);
}

Test(framebuffer, the_picture_is_there_when_it_is_begun_again)
{
    framebuffer_show(&driver, true);
    draw(3, 50, 0x123456);
    cr_assert(framebuffer_end(&driver));
    cr_expect_eq(screen_share(screen)->picture_on, 0u);
    cr_assert(framebuffer_begin(&driver, &registers, host_memory));
    framebuffer_show(&driver, true);
    framebuffer_update(&driver);
    for (int i = 0; i < 100 && shown(3, 50) != 0x123456; i++)
        host_bus_step();
    cr_expect_eq(shown(3, 50), 0x123456u);
}
