/* dm's /dev/rtc0. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dm.h"

static uint8_t body[TTY_BODY_MAX];
static struct tty_reply reply;
static uint64_t client, device;
static int64_t clock_says;

static bool fake_send(uint64_t port, const struct tty_event *event) { return port == 0 || event != NULL; }
static int64_t fake_now(void) { return 1; }
static void fake_random(void *bytes, size_t length) { memset(bytes, 1, length); }
static void fake_attend(unsigned channel) { (void)channel; }
static int64_t fake_clock(void) { return clock_says; }

static const struct dm_host host = { .send = fake_send, .now = fake_now, .random = fake_random, .attend = fake_attend, .wall_clock = fake_clock };

static int ask(struct tty_request request)
{
    dm_request(&request, &reply, body, 0);
    dm_settle();
    return reply.status;
}

static void start(void)
{
    dm_start(&host, 7);
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_CONNECT, .event_port = 5 }), 0);
    client = reply.handle;
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_OPEN, .handle = client, .device = TTY_RTC }), 0);
    device = reply.handle;
}

TestSuite(rtc, .init = start, .fini = dm_end, .timeout = 20);

static int command(uint32_t number) { return ask((struct tty_request){ .operation = TTY_IOCTL, .handle = device, .command = number }); }

Test(rtc, it_is_not_set_and_knows_nothing_else)
{
    clock_says = 1;
    cr_expect_eq(command(0x4024700a), -EPERM);
    cr_expect_eq(command(0x5401), -ENOTTY);
    clock_says = -1;
    cr_expect_eq(command(0x80247009), -EIO);
    cr_expect_eq(ask((struct tty_request){ .operation = TTY_OPEN, .handle = client, .device = TTY_RTC + 1 }), -ENXIO);
}

Test(rtc, its_days_are_those_of_the_library)
{
    srand(3);
    for (int i = 0; i < 200000; i++) {
        time_t seconds = i < 60000 ? (time_t)i * 86400 + 86399 : (time_t)(((uint64_t)rand() << 20 ^ (uint64_t)rand()) % 9200000000u);
        struct tm *wanted = gmtime(&seconds);
        int32_t got[9];
        clock_says = (int64_t)seconds * 1000000000 + 999999999;
        cr_assert_eq(command(0x80247009), 0);
        memcpy(got, reply.argument, sizeof got);
        const int32_t all[9] = { wanted->tm_sec, wanted->tm_min, wanted->tm_hour, wanted->tm_mday, wanted->tm_mon, wanted->tm_year, wanted->tm_wday,
                                 wanted->tm_yday, 0 };
        cr_assert_eq(memcmp(got, all, sizeof got), 0, "%ld", (long)seconds);
    }
}
