/* dm's part in /dev/fb0 and /dev/input/event*. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/input.h>
#include <string.h>

#include "dm.h"
#include "picture.h"

static uint8_t body[TTY_BODY_MAX];
static struct tty_reply reply;
static struct tty_event last_event;
static uint64_t client;
static int uses, ready_events;
static bool used;

static bool fake_send(uint64_t port, const struct tty_event *event)
{
    (void)port;
    last_event = *event;
    ready_events += event->kind == TTY_EVENT_READY;
    return true;
}

static int64_t fake_now(void)
{
    return 1;
}

static void fake_random(void *bytes, size_t length)
{
    memset(bytes, 1, length);
}

static void fake_attend(unsigned channel)
{
    (void)channel;
}

static void fake_use(bool use)
{
    uses++;
    used = use;
}

static const struct dm_host host = { .send = fake_send, .now = fake_now, .random = fake_random, .attend = fake_attend, .picture_use = fake_use };

static int ask(struct tty_request request)
{
    dm_request(&request, &reply, body, 0);
    dm_settle();
    return reply.status;
}

static void start(void)
{
    dm_start(&host, 7);
    picture_start(true);
    evdev_start(2);
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_CONNECT, .event_port = 5 }), 0);
    client = reply.handle;
}

TestSuite(picture, .init = start, .fini = dm_end, .timeout = 20);

static int try_open(uint32_t device)
{
    return ask((struct tty_request){ .operation = TTY_OPEN, .handle = client, .device = device });
}

static uint64_t open_it(uint32_t device)
{
    cr_assert_eq(try_open(device), 0);
    return reply.handle;
}

static void driver_comes(void)
{
    picture_ready(&(struct picture_ready){ .width = 640, .height = 480, .stride = 2560, .size = 640 * 480 * 4 });
}

static void happen(unsigned device, uint16_t type, uint16_t code, int32_t value)
{
    input_happened(&(struct input_happened){ .device = device, .count = 1, .entry = { { type, code, value } } });
    dm_settle();
}

static int read_from(uint64_t handle, uint32_t length, uint32_t flags)
{
    return ask((struct tty_request){ .operation = TTY_READ, .handle = handle, .length = length, .flags = flags, .token = 99 });
}

static const struct input_event *got(unsigned number)
{
    return (const struct input_event *)body + number;
}

static int control(uint64_t handle, uint32_t command, uint64_t argument)
{
    struct tty_request request = { .operation = TTY_IOCTL, .handle = handle, .command = command };
    memcpy(request.argument, &argument, sizeof argument);
    return ask(request);
}

Test(picture, a_framebuffer_without_its_driver_cannot_be_opened)
{
    cr_expect_eq(try_open(TTY_FRAMEBUFFER), -ENXIO);
    cr_expect_eq(try_open(TTY_FRAMEBUFFER + 1), -ENXIO);
    driver_comes();
    cr_expect_eq(try_open(TTY_FRAMEBUFFER + 1), -ENXIO);
    cr_expect_eq(uses, 0);
}

Test(picture, it_is_shown_while_somebody_has_it_open)
{
    struct tty_picture picture;

    driver_comes();
    uint64_t first = open_it(TTY_FRAMEBUFFER);
    cr_expect(reply.flags & TTY_IS_PICTURE);
    memcpy(&picture, reply.argument, sizeof picture);
    cr_expect(picture.width == 640 && picture.height == 480 && picture.stride == 2560);
    cr_expect(uses == 1 && used);
    uint64_t second = open_it(TTY_FRAMEBUFFER);
    cr_expect_eq(uses, 1);
    ask((struct tty_request){ .operation = TTY_CLOSE, .handle = first });
    cr_expect_eq(uses, 1);
    driver_comes();
    cr_expect(uses == 2 && used, "another driver is told");
    ask((struct tty_request){ .operation = TTY_CLOSE, .handle = second });
    cr_expect(uses == 3 && !used);
}

Test(picture, the_nodes_are_listed)
{
    bool framebuffer = false, mouse = false;

    cr_assert_eq(ask((struct tty_request){ .operation = TTY_LIST, .handle = client }), 0);
    for (uint32_t i = 0; i < reply.length; i++) {
        const struct tty_node *node = (const struct tty_node *)body + i;
        framebuffer |= strcmp(node->name, "fb0") == 0 && node->device == TTY_FRAMEBUFFER;
        mouse |= strcmp(node->name, "input/event1") == 0 && node->device == TTY_INPUT(1);
    }
    cr_expect(framebuffer && mouse);
}

Test(picture, what_is_wrong_is_refused)
{
    cr_expect_eq(try_open(TTY_INPUT(2)), -ENXIO);
    cr_expect_eq(try_open(TTY_INPUT(0) - 1), -ENXIO);
    uint64_t keys = open_it(TTY_INPUT(0));
    cr_expect_eq(control(keys, 0x5401, 0), -ENOTTY);
    cr_expect_eq(control(keys, _IOC(_IOC_READ, 'E', 0xff, 8), 0), -EINVAL);
    cr_expect_eq(control(keys, EVIOCSCLOCKID, 77), -EINVAL);
    cr_expect_eq(control(keys, EVIOCGRAB, 0), -EINVAL);
    cr_expect_eq(control(keys, EVIOCGABS(ABS_X), 0), -EINVAL);
    cr_expect_eq(read_from(keys, 23, 0), -EINVAL);
    input_happened(&(struct input_happened){ .device = 77, .count = 1 });
    input_happened(&(struct input_happened){ .device = 0, .count = 77 });
    input_ready(9, &(struct input_about){ 0 });
    cr_expect_eq(read_from(keys, 24, TTY_NOTIFY), -EAGAIN);
}

Test(picture, a_reader_waits_and_is_told)
{
    uint64_t keys = open_it(TTY_INPUT(0)), mouse = open_it(TTY_INPUT(1));

    cr_expect_eq(read_from(keys, 240, TTY_NOTIFY), -EAGAIN);
    happen(1, EV_ABS, ABS_X, 5);
    cr_expect_eq(ready_events, 0);
    happen(0, EV_KEY, KEY_A, 1);
    cr_expect(ready_events == 1 && last_event.token == 99);
    cr_expect_eq(read_from(keys, 240, 0), 0);
    cr_expect(reply.length == 24 && got(0)->type == EV_KEY && got(0)->code == KEY_A && got(0)->value == 1 && got(0)->time.tv_sec > 1000000000);
    cr_expect_eq(read_from(mouse, 24, 0), 0);
    cr_expect(got(0)->type == EV_ABS && got(0)->value == 5);
}

Test(picture, each_reader_gets_all_and_one_that_grabs_gets_it_alone)
{
    uint64_t one = open_it(TTY_INPUT(0)), other = open_it(TTY_INPUT(0));

    happen(0, EV_KEY, KEY_A, 1);
    cr_expect(read_from(one, 48, 0) == 0 && read_from(other, 48, 0) == 0);
    cr_expect_eq(control(one, EVIOCGRAB, 1), 0);
    cr_expect_eq(control(other, EVIOCGRAB, 1), -EBUSY);
    happen(0, EV_KEY, KEY_A, 0);
    cr_expect(read_from(one, 48, 0) == 0 && read_from(other, 48, 0) == -EAGAIN);
    ask((struct tty_request){ .operation = TTY_CLOSE, .handle = one });
    happen(0, EV_KEY, KEY_B, 1);
    cr_expect_eq(read_from(other, 48, 0), 0);
}

Test(picture, who_reads_too_slowly_learns_that_something_is_lost)
{
    uint64_t keys = open_it(TTY_INPUT(0));

    for (int i = 0; i < 600; i++)
        happen(0, EV_KEY, KEY_A, i);
    cr_expect_eq(read_from(keys, 65536, 0), 0);
    cr_expect(got(0)->type == EV_SYN && got(0)->code == SYN_DROPPED);
    cr_expect_eq(got(reply.length / 24 - 1)->value, 599, "the last one is there");
}

Test(picture, what_the_device_has_is_told_in_the_size_asked_for)
{
    struct input_about about = { .name = "Some keyboard", .vendor = 7 };
    struct input_id id;

    about.bits[EV_KEY][KEY_A / 8] = 1u << KEY_A % 8;
    about.bits[EV_ABS][0] = 1;
    about.range[ABS_X].most = 99;
    input_ready(0, &about);
    uint64_t keys = open_it(TTY_INPUT(0));
    cr_expect_eq(control(keys, EVIOCGNAME(64), 0), 0);
    cr_expect(strcmp((char *)body, "Some keyboard") == 0 && reply.events == 14);
    cr_expect_eq(control(keys, EVIOCGNAME(4), 0), 0);
    cr_expect(reply.length == 4 && reply.events == 4);
    cr_expect_eq(control(keys, EVIOCGBIT(EV_KEY, 96), 0), 0);
    cr_expect_eq(body[KEY_A / 8], 1u << KEY_A % 8);
    cr_expect_eq(control(keys, EVIOCGID, 0), 0);
    memcpy(&id, body, sizeof id);
    cr_expect(id.vendor == 7 && reply.length == 8 && reply.events == 0);
    cr_expect_eq(control(keys, EVIOCGABS(ABS_X), 0), 0);
    cr_expect_eq(((struct input_absinfo *)body)->maximum, 99);
    happen(0, EV_KEY, KEY_A, 1);
    cr_expect_eq(control(keys, EVIOCGKEY(96), 0), 0);
    cr_expect_eq(body[KEY_A / 8], 1u << KEY_A % 8);
}

Test(picture, a_key_that_was_down_comes_up_when_the_driver_is_another)
{
    struct input_about about = { 0 };

    input_ready(0, &about);
    uint64_t keys = open_it(TTY_INPUT(0));
    cr_expect_eq(read_from(keys, 24, TTY_NOTIFY), -EAGAIN);
    happen(0, EV_KEY, KEY_A, 1);
    read_from(keys, 240, 0);
    input_ready(0, &about);
    cr_expect_eq(read_from(keys, 240, 0), 0);
    cr_expect(reply.length == 96 && got(0)->type == EV_SYN && got(0)->code == SYN_DROPPED && got(1)->code == SYN_REPORT, "events may be lost");
    cr_expect(got(2)->type == EV_KEY && got(2)->code == KEY_A && got(2)->value == 0);
}

Test(picture, a_reader_is_not_told_of_a_loss_when_the_first_driver_comes)
{
    uint64_t keys = open_it(TTY_INPUT(0));

    input_ready(0, &(struct input_about){ 0 });
    cr_expect_eq(read_from(keys, 24, TTY_NOTIFY), -EAGAIN);
}
