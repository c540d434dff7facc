/* The driver of keyboard and mouse against the real models. */
#include <criterion/criterion.h>
#include <linux/input.h>
#include <string.h>

#include "host_bus.h"
#include "input/input.h"
#include "screen_share.h"
#include "virtio_input.h"

static struct input driver;
static struct driver_registers registers;
static struct device *device;

static void begin(unsigned kind)
{
    host_bus_start();
    device = virtio_input_create("input0", &host_services, kind);
    host_registers(&registers, device);
    cr_assert(input_begin(&driver, &registers, host_memory));
}

static void end(void)
{
    device_reset(device);
    device_destroy(device);
    host_bus_end();
}

TestSuite(input, .fini = end, .timeout = 20);

Test(input, it_learns_what_the_device_is)
{
    struct input_about about;

    begin(SCREEN_MOUSE);
    input_about(&driver, &about);
    cr_expect_str_eq(about.name, "Chorus mouse");
    cr_expect_eq(about.bits[0][0], 1u << EV_SYN | 1u << EV_KEY | 1u << EV_REL | 1u << EV_ABS);
    cr_expect_eq(about.bits[EV_KEY][BTN_LEFT / 8], 7u);
    cr_expect_eq(about.bits[EV_REL][1], 1u);
    cr_expect(about.range[ABS_X].most == SCREEN_MOUSE_RANGE - 1 && about.range[ABS_Y].most == SCREEN_MOUSE_RANGE - 1);
}

Test(input, a_thousand_keys_arrive_in_order_with_an_interrupt_each)
{
    struct input_entry entry[4];

    begin(SCREEN_KEYBOARD);
    for (unsigned i = 0; i < 1000; i++) {
        unsigned code = 1 + i % 200;
        host_interrupts = 0;
        virtio_input_event(device, EV_KEY, (uint16_t)code, 1);
        virtio_input_event(device, EV_SYN, SYN_REPORT, 0);
        cr_expect_eq(host_interrupts, 1u);
        virtio_acknowledge(&driver.driver);
        cr_assert_eq(input_take(&driver, entry, 4), 2u);
        cr_assert(entry[0].type == EV_KEY && entry[0].code == code && entry[0].value == 1 && entry[1].type == EV_SYN);
        cr_assert_eq(input_take(&driver, entry, 4), 0u);
    }
}

/* Pressed and released. */
static void strike(unsigned code)
{
    for (int value = 1; value >= 0; value--) {
        virtio_input_event(device, EV_KEY, (uint16_t)code, value);
        virtio_input_event(device, EV_SYN, SYN_REPORT, 0);
    }
}

static unsigned keys_taken(unsigned *code)
{
    struct input_entry entry[16];
    unsigned count, presses = 0;

    while ((count = input_take(&driver, entry, 16)) > 0)
        for (unsigned i = 0; i < count; i++)
            if (entry[i].type == EV_KEY && entry[i].value == 1) {
                cr_assert_eq(entry[i].code, ++*code);
                presses++;
            }
    return presses;
}

Test(input, what_happens_between_two_drivers_is_for_the_second)
{
    unsigned made = 0, taken = 0;

    begin(SCREEN_KEYBOARD);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 10; i++)
            strike(++made);
        cr_assert(input_end(&driver));
        for (int i = 0; i < 40; i++)
            strike(++made);
        keys_taken(&taken);
        cr_assert_eq(taken, made - 40);
        cr_assert(input_begin(&driver, &registers, host_memory));
        strike(++made);
        keys_taken(&taken);
        cr_assert_eq(taken, made, "round %d", round);
    }
}

Test(input, more_than_can_be_kept_is_lost_but_no_key_stays_down)
{
    struct input_entry entry[1];
    bool down[256] = { false };
    unsigned presses = 0;

    begin(SCREEN_KEYBOARD);
    virtio_input_event(device, EV_KEY, KEY_A, 1);
    virtio_input_event(device, EV_SYN, SYN_REPORT, 0);
    cr_assert_eq(input_take(&driver, entry, 1), 1u);
    cr_assert(input_end(&driver));
    for (unsigned i = 0; i < 2000; i++)
        strike(1 + i % 200);
    virtio_input_event(device, EV_KEY, KEY_A, 0);
    virtio_input_event(device, EV_SYN, SYN_REPORT, 0);
    down[KEY_A] = true;
    cr_assert(input_begin(&driver, &registers, host_memory));
    while (input_take(&driver, entry, 1) > 0)
        if (entry[0].type == EV_KEY) {
            down[entry[0].code] = entry[0].value != 0;
            presses += entry[0].value == 1;
        }
    cr_expect(presses >= 60 && presses < 200, "%u", presses);
    for (unsigned code = 0; code < 256; code++)
        cr_expect(!down[code], "key %u stays down", code);
}
