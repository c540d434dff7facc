/* dm's /dev/hwrng. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "dm.h"

static uint8_t body[TTY_BODY_MAX];
static struct tty_reply reply;
static uint64_t client, device;
static unsigned asked, told;

static bool fake_send(uint64_t port, const struct tty_event *event)
{
    told += event->kind == TTY_EVENT_READY;
    return port == 5;
}

static int64_t fake_now(void) { return 1; }
static void fake_random(void *bytes, size_t length) { memset(bytes, 1, length); }
static void fake_attend(unsigned channel) { (void)channel; }
static void fake_entropy_ask(void) { asked++; }

static struct dm_host host = { .send = fake_send, .now = fake_now, .random = fake_random, .attend = fake_attend };

static int ask(struct tty_request request)
{
    dm_request(&request, &reply, body, 0);
    dm_settle();
    return reply.status;
}

static void start(void)
{
    host.entropy_ask = fake_entropy_ask;
    dm_start(&host, 7);
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_CONNECT, .event_port = 5 }), 0);
    client = reply.handle;
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_OPEN, .handle = client, .device = TTY_HWRNG }), 0);
    device = reply.handle;
}

TestSuite(hwrng, .init = start, .fini = dm_end, .timeout = 20);

static int read_device(uint32_t length)
{
    return ask((struct tty_request){ .operation = TTY_READ, .handle = device, .length = length, .flags = TTY_NOTIFY, .token = 9 });
}

static void give(size_t length)
{
    uint8_t bytes[DM_ENTROPY_PIECE];

    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)i;
    hwrng_give(bytes, length);
    dm_settle();
}

Test(hwrng, without_a_device_there_is_no_node)
{
    host.entropy_ask = NULL;
    cr_expect_eq(ask((struct tty_request){ .operation = TTY_OPEN, .handle = client, .device = TTY_HWRNG }), -ENXIO);
    cr_expect_eq(ask((struct tty_request){ .operation = TTY_LIST, .handle = client }), 0);
    for (uint32_t i = 0; i < reply.length; i++)
        cr_expect_neq(((struct tty_node *)body)[i].device, TTY_HWRNG);
}

Test(hwrng, it_is_not_written_and_others_of_its_major_are_not_there)
{
    cr_expect_eq(ask((struct tty_request){ .operation = TTY_WRITE, .handle = device }), -EINVAL);
    cr_expect_eq(ask((struct tty_request){ .operation = TTY_OPEN, .handle = client, .device = TTY_HWRNG + 1 }), -ENXIO);
}

Test(hwrng, who_reads_waits_for_the_driver_which_is_asked_once)
{
    cr_expect_eq(asked, 0, "opening asks for nothing");
    cr_expect_eq(read_device(10), -EAGAIN);
    cr_expect_eq(read_device(10), -EAGAIN);
    cr_expect_eq(asked, 1);
    give(DM_ENTROPY_PIECE);
    cr_expect_eq(told, 1);
    cr_assert_eq(read_device(10), 0);
    cr_expect_eq(reply.length, 10);
}

Test(hwrng, each_byte_is_given_once)
{
    unsigned seen[256] = { 0 };

    for (uint32_t left = DM_ENTROPY_PIECE, length = 1; left > 0; left -= reply.length, length = length * 2 + 1) {
        if (left == DM_ENTROPY_PIECE) {
            read_device(1);
            give(DM_ENTROPY_PIECE);
        }
        cr_assert_eq(read_device(length), 0);
        cr_assert_eq(reply.length, length < left ? length : left);
        for (uint32_t i = 0; i < reply.length; i++)
            seen[body[i]]++;
    }
    for (unsigned i = 0; i < 256; i++)
        cr_expect_eq(seen[i], DM_ENTROPY_PIECE / 256, "byte %u", i);
    cr_expect_eq(read_device(1), -EAGAIN);
    cr_expect_eq(asked, 2);
}

Test(hwrng, a_driver_that_does_not_answer_is_an_error_and_asked_again)
{
    read_device(10);
    give(0);
    cr_expect_eq(told, 1);
    cr_expect_eq(read_device(10), -EIO);
    cr_expect_eq(read_device(10), -EAGAIN);
    cr_expect_eq(asked, 2);
}

Test(hwrng, without_patience_it_is_asked_as_well)
{
    cr_expect_eq(ask((struct tty_request){ .operation = TTY_READ, .handle = device, .length = 5, .flags = TTY_NO_WAIT }), -EAGAIN);
    cr_expect_eq(asked, 1);
}
