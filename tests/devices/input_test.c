/* Keyboard and mouse: events arrive whole, or not at all, and a key never stays down. */
#include <criterion/criterion.h>
#include <linux/input.h>
#include <string.h>

#include "fake_nucleus.h"
#include "screen_share.h"
#include "virtio_input.h"

#define BUFFERS (DRIVER_MEMORY + 16 * 4096)

static struct device *device;
static struct driver_queue events;
static unsigned offered;

static void begin(unsigned kind)
{
    fake_start();
    offered = 0;
    device = virtio_input_create("input0", &fake_services, kind);
    driver_begin(device, 0);
    driver_queue_set_up(&events, device, VIRTIO_INPUT_EVENTS, 16, DRIVER_MEMORY);
    driver_ready(device);
}

static void end(void)
{
    device_reset(device);
    device_destroy(device);
    fake_end();
}

TestSuite(input, .fini = end, .timeout = 20);

static void offer(unsigned count)
{
    for (unsigned i = 0; i < count; i++, offered++)
        driver_offer(&events, &(struct driver_buffer){ BUFFERS + 8 * (offered % 64), 8, true }, 1);
    driver_kick(&events);
}

/* The next event, as type * 1000000 + code * 100 + value; 0: none. */
static unsigned taken(void)
{
    struct virtio_input_event event;
    uint32_t head, length;

    if (!driver_take_used(&events, &head, &length))
        return 0;
    cr_assert_eq(length, 8u);
    struct virtq_descriptor descriptor;
    driver_get(events.descriptors + head * 16, &descriptor, sizeof descriptor);
    driver_get(descriptor.address, &event, sizeof event);
    return 1 + event.type * 1000000u + event.code * 100u + event.value;
}

#define EVENT(type, code, value) (1 + (type) * 1000000u + (code) * 100u + (value))

static unsigned config(uint8_t select, uint8_t subselect, void *to)
{
    uint8_t bytes[136];

    device_write(device, VIRTIO_CONFIG, select | subselect << 8);
    for (unsigned at = 0; at < sizeof bytes; at += 4) {
        uint32_t word = (uint32_t)device_read(device, VIRTIO_CONFIG + at);
        memcpy(bytes + at, &word, 4);
    }
    memcpy(to, bytes + 8, 128);
    return bytes[2];
}

Test(input, it_says_what_it_is_and_has)
{
    uint8_t data[128];
    begin(SCREEN_MOUSE);
    cr_expect_eq(config(VIRTIO_INPUT_CFG_ID_NAME, 0, data), strlen("Chorus mouse"));
    cr_expect_eq(memcmp(data, "Chorus mouse", 12), 0);
    cr_expect_eq(config(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY, data), BTN_MIDDLE / 8 + 1);
    cr_expect_eq(data[BTN_LEFT / 8], 7u);
    cr_expect_eq(config(VIRTIO_INPUT_CFG_EV_BITS, EV_ABS, data), 1u);
    cr_expect_eq(config(VIRTIO_INPUT_CFG_EV_BITS, EV_SW, data), 0u);
    cr_expect_eq(config(VIRTIO_INPUT_CFG_ABS_INFO, ABS_X, data), sizeof(struct virtio_input_range));
    cr_expect_eq(config(VIRTIO_INPUT_CFG_ABS_INFO, ABS_Z, data), 0u);
    cr_expect_eq(config(0x77, 200, data), 0u);
    cr_expect_eq(config(VIRTIO_INPUT_CFG_EV_BITS, 255, data), 0u);
}

Test(input, events_arrive_in_their_order)
{
    begin(SCREEN_KEYBOARD);
    offer(8);
    virtio_input_event(device, EV_KEY, KEY_A, 1);
    cr_expect_eq(taken(), 0u, "the group is not whole");
    virtio_input_event(device, EV_SYN, SYN_REPORT, 0);
    cr_expect_eq(taken(), EVENT(EV_KEY, KEY_A, 1));
    cr_expect_eq(taken(), EVENT(EV_SYN, 0, 0));
    cr_expect_eq(taken(), 0u);
}

Test(input, events_that_it_does_not_have_are_dropped)
{
    begin(SCREEN_KEYBOARD);
    offer(8);
    virtio_input_event(device, EV_ABS, ABS_X, 3);
    virtio_input_event(device, EV_KEY, 0x2ff, 1);
    virtio_input_event(device, 0x1234, 0x5678, 1);
    cr_expect_eq(taken(), 0u);
}

/* A key is told as its place and whether it is down. */
Test(input, of_what_nobody_reads_the_last_is_forgotten_but_keys_come_up_again)
{
    bool a_is_down = false, b_is_down = false;
    unsigned count = 0, one;

    begin(SCREEN_KEYBOARD);
    offer(2);
    virtio_input_event(device, EV_KEY, KEY_A, 1);
    virtio_input_event(device, EV_SYN, SYN_REPORT, 0);
    for (int i = 0; i < 1001; i++) {
        virtio_input_event(device, EV_KEY, KEY_B, i % 2 == 0);
        virtio_input_event(device, EV_SYN, SYN_REPORT, 0);
    }
    virtio_input_event(device, EV_KEY, KEY_A, 0);
    virtio_input_event(device, EV_KEY, KEY_B, 0);
    virtio_input_event(device, EV_SYN, SYN_REPORT, 0);
    for (unsigned got = 1; got > 0; count += got, offer(got))
        for (got = 0; (one = taken()) != 0; got++) {
            a_is_down = one == EVENT(EV_KEY, KEY_A, 1) || (a_is_down && one != EVENT(EV_KEY, KEY_A, 0));
            b_is_down = one == EVENT(EV_KEY, KEY_B, 1) || (b_is_down && one != EVENT(EV_KEY, KEY_B, 0));
        }
    cr_expect(!a_is_down && !b_is_down);
    cr_expect(count >= 200 && count < 400, "%u", count);
}

Test(input, what_comes_before_the_driver_has_buffers_is_told_in_order)
{
    begin(SCREEN_KEYBOARD);
    for (unsigned i = 0; i < 50; i++) {
        virtio_input_event(device, EV_KEY, (uint16_t)(1 + i), 1);
        virtio_input_event(device, EV_SYN, SYN_REPORT, 0);
    }
    for (unsigned i = 0; i < 50; i++) {
        offer(2);
        cr_expect_eq(taken(), EVENT(EV_KEY, 1 + i, 1));
        cr_expect_eq(taken(), EVENT(EV_SYN, 0, 0));
    }
    cr_expect_eq(taken(), 0u);
}

Test(input, a_group_without_end_does_no_harm)
{
    begin(SCREEN_KEYBOARD);
    offer(16);
    for (int i = 0; i < 1000; i++)
        virtio_input_event(device, EV_KEY, KEY_A, i % 3);
    virtio_input_event(device, EV_SYN, SYN_REPORT, 0);
    unsigned count = 0;
    while (taken() != 0)
        count++;
    cr_expect_eq(count, 16u);
}
