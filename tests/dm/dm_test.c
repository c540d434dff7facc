/* The Device Manager as pm sees it: by requests. A fake pm counts events; a fake console driver moves bytes. */
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "dm.h"

#define SECOND INT64_C(1000000000)

static int64_t now;
static bool port_full;
static struct tty_event event[512];
static unsigned events, attended[CHANNELS];
static uint8_t body[TTY_BODY_MAX];
static uint64_t client;
static struct tty_reply reply;

static bool fake_send(uint64_t port, const struct tty_event *sent)
{
    cr_assert(port == 0x1234 || port == 0x5678);
    if (port_full)
        return false;
    cr_assert(events < 512);
    event[events++] = *sent;
    return true;
}

static int64_t fake_now(void)
{
    return now;
}

static void fake_random(void *bytes, size_t length)
{
    memset(bytes, 0xa5, length);
}

static void fake_attend(unsigned number)
{
    attended[number]++;
}

static const struct dm_host host = {
    .send = fake_send, .now = fake_now, .random = fake_random, .attend = fake_attend,
};

/* ---- asking ---- */

static struct tty_identity shell = { .pgrp = 100, .sid = 100, .flags = TTY_SESSION_LEADER };
static struct tty_identity job = { .pgrp = 200, .sid = 100, .flags = TTY_HAS_TERMINAL };
static struct tty_identity stranger = { .pgrp = 300, .sid = 300, .flags = TTY_SESSION_LEADER };
static struct tty_identity root = { .pgrp = 400, .sid = 400, .uid = 0,
                                    .flags = TTY_SESSION_LEADER | TTY_PRIVILEGED };

static int ask(struct tty_request request, const void *bytes, size_t length)
{
    if (length > 0)
        memcpy(body, bytes, length);
    size_t size = dm_request(&request, &reply, body, length);
    cr_assert(size <= TTY_BODY_MAX);
    dm_settle();
    return reply.status;
}

static uint64_t connect_client(uint64_t port)
{
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_CONNECT, .event_port = port }, NULL, 0),
                 0);
    return reply.handle;
}

static int try_open(uint32_t device, struct tty_identity who, uint32_t flags)
{
    return ask((struct tty_request){ .operation = TTY_OPEN, .handle = client, .device = device,
                                     .identity = who, .flags = flags }, NULL, 0);
}

static uint64_t open_as(uint32_t device, struct tty_identity who, uint32_t flags)
{
    cr_assert_eq(try_open(device, who, flags), 0, "open of %x: %d", device, reply.status);
    return reply.handle;
}

static int close_it(uint64_t handle)
{
    return ask((struct tty_request){ .operation = TTY_CLOSE, .handle = handle }, NULL, 0);
}

static int read_as(uint64_t handle, uint32_t length, struct tty_identity who, uint64_t token)
{
    return ask((struct tty_request){ .operation = TTY_READ, .handle = handle, .length = length,
                                     .identity = who, .token = token,
                                     .flags = token != 0 ? TTY_NOTIFY : 0 }, NULL, 0);
}

static int write_as(uint64_t handle, const char *text, struct tty_identity who, uint64_t token)
{
    return ask((struct tty_request){ .operation = TTY_WRITE, .handle = handle, .identity = who,
                                     .token = token, .flags = token != 0 ? TTY_NOTIFY : 0 },
               text, strlen(text));
}

static int ioctl_as(uint64_t handle, uint32_t command, const void *argument, size_t size,
                    struct tty_identity who)
{
    struct tty_request request = { .operation = TTY_IOCTL, .handle = handle, .command = command,
                                   .identity = who };

    if (size > 0)
        memcpy(request.argument, argument, size);
    return ask(request, NULL, 0);
}

static int32_t ioctl_number(uint64_t handle, uint32_t command, struct tty_identity who)
{
    int32_t number;

    cr_assert_eq(ioctl_as(handle, command, NULL, 0, who), 0, "ioctl %x: %d", command, reply.status);
    memcpy(&number, reply.argument, sizeof number);
    return number;
}

static int ioctl_set(uint64_t handle, uint32_t command, uint64_t value, struct tty_identity who)
{
    return ioctl_as(handle, command, &value, sizeof value, who);
}

static unsigned watch(uint64_t handle, unsigned wanted, uint64_t token)
{
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_WATCH, .handle = handle,
                                           .events = wanted, .token = token,
                                           .flags = token != 0 ? TTY_NOTIFY : 0 }, NULL, 0), 0);
    return reply.events;
}

#define expect_read(handle, text) do { \
    cr_assert_eq(read_as(handle, 1000, shell, 0), 0, "read: %d", reply.status); \
    cr_assert_eq(reply.length, strlen(text), "%u bytes", reply.length); \
    cr_assert_arr_eq(body, text, reply.length); } while (0)

/* The events so far are exactly one: ready, for this token. */
static void expect_ready(uint64_t token)
{
    cr_assert_eq(events, 1u, "%u events", events);
    cr_assert_eq(event[0].kind, (uint32_t)TTY_EVENT_READY);
    cr_assert_eq(event[0].token, token);
    events = 0;
}

static bool was_signalled(int32_t pgrp, int number)
{
    for (unsigned i = 0; i < events; i++)
        if (event[i].kind == TTY_EVENT_SIGNAL && event[i].pgrp == pgrp && event[i].signal == number)
            return true;
    return false;
}

static bool was_hung_up(int32_t sid, int number)
{
    for (unsigned i = 0; i < events; i++)
        if (event[i].kind == TTY_EVENT_HANGUP && event[i].sid == sid && event[i].signal == number)
            return true;
    return false;
}

static void type(const char *keys)
{
    cr_assert(channel_wants_input(CHANNEL_TERMINAL));
    channel_give(CHANNEL_TERMINAL, (const uint8_t *)keys, strlen(keys));
    dm_settle();
}

static void expect_screen(const char *text)
{
    char screen[70000];
    size_t length = channel_take(CHANNEL_TERMINAL, (uint8_t *)screen, sizeof screen - 1);

    screen[length] = '\0';
    cr_assert_str_eq(screen, text);
    dm_settle();
}

static void start(void)
{
    now = SECOND;
    dm_start(&host, 7);
    for (unsigned i = 0; i < CHANNELS; i++)
        cr_assert(channel_open(i));
    client = connect_client(0x1234);
}

static void end(void)
{
    dm_end();
}

TestSuite(dm, .init = start, .fini = end, .timeout = 20);

/* ---- what is wrong ---- */

Test(dm, requests_that_make_no_sense_are_refused)
{
    uint64_t null = open_as(TTY_NULL, shell, 0);

    cr_assert_eq(ask((struct tty_request){ .operation = 0 }, NULL, 0), -ENOSYS);
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_LIST + 1, .handle = null }, NULL, 0),
                 -ENOSYS);
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_OPEN, .handle = null }, NULL, 0),
                 -EBADF, "only clients open");
    cr_assert_eq(read_as(client, 10, shell, 0), -EBADF, "a client cannot be read");
    cr_assert_eq(close_it(client), -EBADF);
    cr_assert_eq(read_as(null, TTY_BODY_MAX + 1, shell, 0), -EINVAL);
    cr_assert_eq(close_it(null), 0);
    cr_assert_eq(read_as(null, 10, shell, 0), -EBADF, "a closed handle is not used twice");
    open_as(TTY_NULL, shell, 0);
    cr_assert_eq(read_as(null, 10, shell, 0), -EBADF);
}

Test(dm, a_handle_of_an_earlier_life_is_hung_up)
{
    cr_assert_eq(read_as((uint64_t)6 << 48 | 1 << 24, 10, shell, 0), -EIO);
    cr_assert_eq(try_open(TTY_NULL, shell, 0), 0);
    client = (uint64_t)6 << 48;
    cr_assert_eq(try_open(TTY_NULL, shell, 0), -EBADF);
}

Test(dm, devices_that_do_not_exist_cannot_be_opened)
{
    static const uint32_t none[] = {
        0, TTY_DEVICE(1, 1), TTY_DEVICE(4, 64), TTY_DEVICE(5, 3), TTY_DEVICE(229, 1), TTY_PTS(0),
        TTY_PTS(100000), TTY_DEVICE(240, 3), TTY_DEVICE(4095, 1048575), TTY_CURRENT,
    };

    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        cr_assert_eq(try_open(none[i], shell, 0), -ENXIO, "device %x", none[i]);
}

Test(dm, random_requests_do_no_harm)
{
    unsigned seed = 1;
    uint64_t handles[64] = { client };
    unsigned count = 1;

    for (int i = 0; i < 200000; i++) {
        static const uint32_t devices[] = { TTY_NULL, TTY_HVC, TTY_PTMX, TTY_PTS(0), TTY_PTS(1),
                                            TTY_CURRENT, TTY_STDIN, TTY_STDOUT, TTY_CONSOLE };
        static const uint32_t commands[] = {
#define COMMAND(name, number, kind, in, out) number,
            TTY_IOCTLS(COMMAND)
#undef COMMAND
        };
        struct tty_request request = { .operation = TTY_CONNECT + 1 + rand_r(&seed) % 11 };
        for (size_t j = 8; j < sizeof request; j++)
            ((uint8_t *)&request)[j] = (uint8_t)rand_r(&seed);
        request.flags = rand_r(&seed) % 16;
        request.length = rand_r(&seed) % 300;
        request.handle = handles[rand_r(&seed) % count];
        request.identity.sid = rand_r(&seed) % 3 * 100;
        request.identity.pgrp = rand_r(&seed) % 3 * 100;
        if (request.operation == TTY_OPEN) {
            request.device = devices[rand_r(&seed) % (sizeof devices / sizeof *devices)];
            request.handle = client;
        } else if (request.operation == TTY_IOCTL) {
            request.command = commands[rand_r(&seed) % (sizeof commands / sizeof *commands)];
        }
        size_t length = rand_r(&seed) % 200;
        dm_request(&request, &reply, body, length);
        if (request.operation == TTY_OPEN && reply.status == 0)
            handles[count < 64 ? count++ : 1 + (unsigned)rand_r(&seed) % 63] = reply.handle;
        if (rand_r(&seed) % 10 == 0) {
            dm_settle();
            events = 0;
        }
        while (channel_take(CHANNEL_TERMINAL, body, 1000) > 0)
            ;
    }
}

/* ---- memory devices ---- */

Test(dm, null_is_empty_and_takes_everything)
{
    uint64_t null = open_as(TTY_NULL, shell, 0);

    expect_read(null, "");
    cr_assert_eq(write_as(null, "gone", shell, 0), 0);
    cr_assert_eq(reply.length, 4u);
    cr_assert_eq(ioctl_as(null, TCGETS, NULL, 0, shell), -ENOTTY);
    cr_assert_eq(watch(null, TTY_READABLE | TTY_WRITABLE, 0), TTY_READABLE | TTY_WRITABLE);
}

Test(dm, zero_and_full_give_zeros_and_full_is_full)
{
    uint64_t zero = open_as(TTY_ZERO, shell, 0), full = open_as(TTY_FULL, shell, 0);

    memset(body, 1, 100);
    cr_assert_eq(read_as(zero, 100, shell, 0), 0);
    cr_assert(reply.length == 100 && body[0] == 0 && body[99] == 0);
    cr_assert_eq(read_as(full, 100, shell, 0), 0);
    cr_assert_eq(reply.length, 100u);
    cr_assert_eq(write_as(full, "x", shell, 0), -ENOSPC);
    cr_assert_eq(write_as(zero, "x", shell, 0), 0);
}

Test(dm, random_gives_random_bytes)
{
    cr_assert_eq(read_as(open_as(TTY_URANDOM, shell, 0), 100, shell, 0), 0);
    cr_assert(reply.length == 100 && body[99] == 0xa5);
}

Test(dm, the_list_names_all_devices_once)
{
    struct tty_node nodes[40];
    unsigned count = 0;

    open_as(TTY_PTMX, shell, 0);
    for (;;) {                                  /* one by one, and all at once */
        cr_assert_eq(ask((struct tty_request){ .operation = TTY_LIST, .handle = client,
                                               .length = count }, NULL, 0), 0);
        if (reply.length == 0)
            break;
        memcpy(&nodes[count++], body, sizeof *nodes);
        cr_assert(count < 40);
    }
    ask((struct tty_request){ .operation = TTY_LIST, .handle = client }, NULL, 0);
    cr_assert_eq(reply.length, count);
    cr_assert_eq(memcmp(body, nodes, count * sizeof *nodes), 0);
    cr_assert_str_eq(nodes[count - 1].name, "pts/0");
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < i; j++)
            cr_assert_str_neq(nodes[i].name, nodes[j].name);
    cr_assert_eq(count, 5u + 3 + 4 + 1);
}

/* ---- the console ---- */

Test(dm, a_reader_waits_and_is_told_once)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    cr_assert_eq(read_as(tty, 100, shell, 55), -EAGAIN);
    cr_assert_neq(reply.begun, 0u);
    type("hel");
    cr_assert_eq(events, 0u);
    type("lo\n");
    expect_ready(55);
    expect_read(tty, "hello\n");
    type("more\n");
    cr_assert_eq(events, 0u);
    expect_screen("hello\r\nmore\r\n");
}

Test(dm, a_read_that_was_withdrawn_loses_nothing)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    cr_assert_eq(read_as(tty, 100, shell, 55), -EAGAIN);
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_UNWATCH, .handle = client,
                                           .token = 55 }, NULL, 0), 0);
    type("kept\n");
    cr_assert_eq(events, 0u);
    expect_read(tty, "kept\n");
}

Test(dm, a_reader_without_token_is_not_told)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    cr_assert_eq(read_as(tty, 100, shell, 0), -EAGAIN);
    type("x\n");
    cr_assert_eq(events, 0u);
}

Test(dm, events_wait_while_the_clients_queue_is_full)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    read_as(tty, 100, shell, 1);
    port_full = true;
    type("\003x\n");
    cr_assert_eq(events, 0u);
    cr_assert(dm_settle() <= now + SECOND, "it is tried again soon");
    port_full = false;
    dm_settle();
    cr_assert_eq(events, 2u);
    cr_assert(event[0].kind == TTY_EVENT_SIGNAL && event[1].kind == TTY_EVENT_READY,
              "in the order of their happening");
}

static void raw_mode(uint64_t tty, uint8_t min, uint8_t time)
{
    uint8_t settings[36];

    ioctl_as(tty, TCGETS, NULL, 0, shell);
    memcpy(settings, reply.argument, sizeof settings);
    settings[12] &= (uint8_t)~(ICANON | ECHO | ISIG);
    settings[17 + VMIN] = min;
    settings[17 + VTIME] = time;
    cr_assert_eq(ioctl_as(tty, TCSETS, settings, sizeof settings, shell), 0);
}

Test(dm, vtime_counts_from_the_first_try)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    raw_mode(tty, 0, 10);
    cr_assert_eq(read_as(tty, 100, shell, 9), -EAGAIN);
    uint64_t begun = reply.begun;
    cr_assert_eq(dm_settle(), now + SECOND);
    now += SECOND / 2;
    struct tty_request again = { .operation = TTY_READ, .handle = tty, .length = 100, .token = 9,
                                 .flags = TTY_NOTIFY, .begun = begun, .identity = shell };
    cr_assert_eq(ask(again, NULL, 0), -EAGAIN);
    cr_assert_eq(reply.begun, begun);
    now += SECOND / 2;
    dm_settle();
    expect_ready(9);
    cr_assert_eq(ask(again, NULL, 0), 0);
    cr_assert_eq(reply.length, 0u);
}

Test(dm, a_reader_that_will_not_wait_gets_what_is_there)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);
    struct tty_request request = { .operation = TTY_READ, .handle = tty, .length = 100,
                                   .flags = TTY_NO_WAIT, .identity = shell };

    cr_assert_eq(ask(request, NULL, 0), -EAGAIN);
    raw_mode(tty, 5, 0);
    cr_assert_eq(ask(request, NULL, 0), -EAGAIN);
    type("ab");
    cr_assert_eq(ask(request, NULL, 0), 0);
    cr_assert_eq(reply.length, 2u);
}

Test(dm, a_writer_waits_for_room)
{
    static char text[40001];
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    memset(text, 't', 40000);
    cr_assert_eq(write_as(tty, text, shell, 0), 0);
    cr_assert(reply.length > 30000 && reply.length < 40000);
    cr_assert_eq(write_as(tty, text, shell, 66), -EAGAIN);
    cr_assert_eq(watch(tty, TTY_WRITABLE, 0), 0u);
    uint8_t bytes[20000];
    channel_take(CHANNEL_TERMINAL, bytes, sizeof bytes);
    dm_settle();
    expect_ready(66);
    cr_assert_eq(write_as(tty, text, shell, 0), 0);
}

Test(dm, poll_is_told_of_what_it_wants_only)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    cr_assert_eq(watch(tty, TTY_READABLE | TTY_WRITABLE, 3), TTY_WRITABLE);
    cr_assert_eq(watch(tty, TTY_READABLE, 3), 0u);
    cr_assert_eq(write_as(tty, "x", shell, 0), 0);
    cr_assert_eq(events, 0u);
    type("\n");
    cr_assert_eq(event[0].events, TTY_READABLE);
    expect_ready(3);
    cr_assert_eq(watch(tty, TTY_READABLE, 3), TTY_READABLE);
}

Test(dm, waiting_for_the_output_ends_when_the_host_has_it)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);
    uint8_t bytes[100];
    struct tty_request drain = { .operation = TTY_IOCTL, .handle = tty, .command = TCSBRK,
                                 .argument = { 1 }, .token = 8, .flags = TTY_NOTIFY };

    cr_assert_eq(ask(drain, NULL, 0), 0);
    write_as(tty, "text", shell, 0);
    cr_assert_eq(ask(drain, NULL, 0), -EAGAIN);
    cr_assert_not(channel_wants_drain(CHANNEL_TERMINAL));
    cr_assert_eq(channel_take(CHANNEL_TERMINAL, bytes, sizeof bytes), 4u);
    dm_settle();
    cr_assert_eq(events, 0u, "the driver has it, but not the host");
    cr_assert(channel_wants_drain(CHANNEL_TERMINAL));
    channel_flushed(CHANNEL_TERMINAL);
    dm_settle();
    expect_ready(8);
    cr_assert_eq(ask(drain, NULL, 0), 0);
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_DRAIN, .handle = tty }, NULL, 0), 0);
}

/* ---- sessions and job control ---- */

Test(dm, a_session_leader_gets_its_terminal_by_opening_it)
{
    open_as(TTY_HVC, shell, TTY_NO_CONTROL);
    cr_assert_eq(reply.flags, TTY_IS_TERMINAL);
    open_as(TTY_CONSOLE, shell, 0);
    cr_assert_eq(reply.flags, TTY_IS_TERMINAL, "the console itself never");
    cr_assert_eq(reply.device, TTY_HVC);
    open_as(TTY_HVC, job, 0);
    cr_assert_eq(reply.flags, TTY_IS_TERMINAL, "only a leader");
    uint64_t tty = open_as(TTY_HVC, shell, 0);
    cr_assert_eq(reply.flags, TTY_IS_TERMINAL | TTY_BECAME_CONTROLLING);
    cr_assert_eq(ioctl_number(tty, TIOCGPGRP, shell), 100);
    cr_assert_eq(ioctl_number(tty, TIOCGSID, shell), 100);
    open_as(TTY_HVC, stranger, 0);
    cr_assert_eq(reply.flags, TTY_IS_TERMINAL, "it has a session already");
    open_as(TTY_CURRENT, job, 0);
    cr_assert_eq(reply.device, TTY_HVC);
    cr_assert_eq(try_open(TTY_CURRENT, stranger, 0), -ENXIO);
}

Test(dm, taking_control_by_ioctl_follows_the_rules)
{
    uint64_t tty = open_as(TTY_HVC, shell, TTY_NO_CONTROL);
    struct tty_identity has = shell;

    has.flags |= TTY_HAS_TERMINAL;
    cr_assert_eq(ioctl_set(tty, TIOCSCTTY, 0, job), -EPERM);
    cr_assert_eq(ioctl_set(tty, TIOCSCTTY, 0, has), -EPERM);
    cr_assert_eq(ioctl_set(tty, TIOCSCTTY, 0, shell), 0);
    cr_assert_eq(ioctl_set(tty, TIOCSCTTY, 0, has), 0, "again is no error");
    cr_assert_eq(ioctl_set(tty, TIOCSCTTY, 1, stranger), -EPERM);
    cr_assert_eq(ioctl_set(tty, TIOCSCTTY, 0, root), -EPERM);
    cr_assert_eq(ioctl_set(tty, TIOCSCTTY, 1, root), 0);
    cr_assert(was_hung_up(100, 0), "the other session is told");
    cr_assert_eq(ioctl_as(tty, TIOCGPGRP, NULL, 0, shell), -ENOTTY);
    cr_assert_eq(ioctl_number(tty, TIOCGPGRP, root), 400);
}

static uint64_t with_job_in_foreground(void)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    cr_assert_eq(ioctl_set(tty, TIOCSPGRP, 200, shell), 0);
    return tty;
}

Test(dm, keys_signal_the_foreground_group)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    type("\003");
    cr_assert(was_signalled(100, SIGINT));
    cr_assert_eq(ioctl_set(tty, TIOCSPGRP, 200, shell), 0);
    events = 0;
    type("\032\034");
    cr_assert(was_signalled(200, SIGTSTP) && was_signalled(200, SIGQUIT) && events == 2);
}

Test(dm, a_terminal_without_session_signals_nobody)
{
    open_as(TTY_HVC, shell, TTY_NO_CONTROL);
    type("\003");
    cr_assert_eq(events, 0u);
}

Test(dm, the_background_may_not_read_nor_change_the_terminal)
{
    uint64_t tty = with_job_in_foreground();
    uint8_t settings[36];

    type("text\n");
    cr_assert_eq(read_as(tty, 100, shell, 5), -TTY_BACKGROUND_READ);
    ioctl_as(tty, TCGETS, NULL, 0, shell);
    memcpy(settings, reply.argument, sizeof settings);
    cr_assert_eq(ioctl_as(tty, TCSETS, settings, 36, shell), -TTY_BACKGROUND_WRITE);
    cr_assert_eq(ioctl_set(tty, TIOCSPGRP, 100, shell), -TTY_BACKGROUND_WRITE);
    cr_assert_eq(ioctl_set(tty, TCFLSH, TCIFLUSH, shell), -TTY_BACKGROUND_WRITE);
    cr_assert_eq(write_as(tty, "x", shell, 0), 0, "writing is allowed");
    settings[13] |= TOSTOP >> 8;
    cr_assert_eq(ioctl_as(tty, TCSETS, settings, 36, job), 0);
    cr_assert_eq(write_as(tty, "x", shell, 0), -TTY_BACKGROUND_WRITE, "unless TOSTOP is set");
    cr_assert_eq(events, 0u);
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_IOCTL, .handle = tty,
        .command = TIOCSPGRP, .identity = shell, .argument = { 100 },
        .flags = TTY_PERMITTED }, NULL, 0), 0, "and when pm has looked at it");
    expect_read(tty, "text\n");
}

Test(dm, who_does_not_belong_to_the_session_is_not_its_background)
{
    uint64_t tty = with_job_in_foreground();

    type("text\n");
    cr_assert_eq(read_as(tty, 100, stranger, 0), 0);
    cr_assert_eq(ioctl_set(tty, TIOCSPGRP, 300, stranger), -ENOTTY);
}

Test(dm, a_group_that_cannot_be_is_refused)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    cr_assert_eq(ioctl_set(tty, TIOCSPGRP, (uint32_t)-5, shell), -EINVAL);
    cr_assert_eq(ioctl_set(tty, TIOCSPGRP, 0, shell), -EINVAL);
}

Test(dm, the_end_of_a_session_hangs_the_terminal_up)
{
    uint64_t tty = with_job_in_foreground();

    type("unread\n");
    cr_assert_eq(read_as(tty, 100, job, 0), 0);
    cr_assert_eq(read_as(tty, 100, job, 77), -EAGAIN);
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_SESSION_END, .handle = client,
                                           .identity = shell }, NULL, 0), 0);
    cr_assert(was_signalled(200, SIGHUP));
    cr_assert(was_hung_up(100, SIGHUP));
    cr_assert_eq(event[events - 1].token, 77u, "the reader is woken");
    cr_assert_eq(read_as(tty, 100, job, 0), 0);
    cr_assert_eq(reply.length, 0u);
    cr_assert_eq(write_as(tty, "x", job, 0), -EIO);
    cr_assert_eq(ioctl_as(tty, TCGETS, NULL, 0, job), -EIO);
    cr_assert(watch(tty, TTY_READABLE, 0) & TTY_HANGUP);
    uint64_t anew = open_as(TTY_HVC, stranger, 0);
    cr_assert(reply.flags & TTY_BECAME_CONTROLLING);
    cr_assert_eq(write_as(anew, "login: ", stranger, 0), 0);
    cr_assert_eq(close_it(tty), 0);
}

Test(dm, a_session_can_give_its_terminal_up)
{
    uint64_t tty = with_job_in_foreground();

    cr_assert_eq(ioctl_as(tty, TIOCNOTTY, NULL, 0, stranger), -ENOTTY);
    cr_assert_eq(ioctl_as(tty, TIOCNOTTY, NULL, 0, job), 0);
    cr_assert_eq(events, 0u, "one process alone changes nothing here");
    cr_assert_eq(ioctl_as(tty, TIOCNOTTY, NULL, 0, shell), 0);
    cr_assert(was_signalled(200, SIGHUP) && was_signalled(200, SIGCONT) && was_hung_up(100, 0));
    cr_assert_eq(write_as(tty, "x", shell, 0), 0, "the open file stays alive");
}

Test(dm, an_exclusive_terminal_is_busy)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    cr_assert_eq(ioctl_as(tty, TIOCEXCL, NULL, 0, shell), 0);
    cr_assert_eq(try_open(TTY_HVC, job, 0), -EBUSY);
    close_it(open_as(TTY_HVC, root, 0));
    cr_assert_eq(try_open(TTY_HVC, job, 0), -EBUSY);
    close_it(tty);
    open_as(TTY_HVC, job, 0);
}

Test(dm, the_size_is_kept_and_its_change_is_a_signal)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);
    uint16_t size[4] = { 50, 132, 0, 0 };

    channel_resize(100, 30);
    dm_settle();
    cr_assert(was_signalled(100, SIGWINCH));
    ioctl_as(tty, TIOCGWINSZ, NULL, 0, shell);
    cr_assert_eq(memcmp(reply.argument, (uint16_t[]){ 30, 100, 0, 0 }, 8), 0);
    events = 0;
    cr_assert_eq(ioctl_as(tty, TIOCSWINSZ, size, sizeof size, shell), 0);
    cr_assert_eq(events, 1u);
    cr_assert_eq(ioctl_as(tty, TIOCSWINSZ, size, sizeof size, shell), 0);
    cr_assert_eq(events, 1u, "no change, no signal");
}

/* ---- ioctls ---- */

Test(dm, settings_can_be_read_and_set_in_all_three_forms)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);
    uint8_t new[44], old[36], oldest[18];

    cr_assert_eq(ioctl_as(tty, TCGETS2, NULL, 0, shell), 0);
    memcpy(new, reply.argument, 44);
    cr_assert_eq(ioctl_as(tty, TCGETS, NULL, 0, shell), 0);
    memcpy(old, reply.argument, 36);
    cr_assert_arr_eq(old, new, 36);
    cr_assert_eq(ioctl_as(tty, TCGETA, NULL, 0, shell), 0);
    memcpy(oldest, reply.argument, 18);
    cr_assert_eq(oldest[9 + VINTR], 3);
    new[17 + VINTR] = 7;
    cr_assert_eq(ioctl_as(tty, TCSETSW2, new, 44, shell), 0);
    cr_assert_eq(ioctl_as(tty, TCGETS, NULL, 0, shell), 0);
    cr_assert_eq(reply.argument[17 + VINTR], 7);
    oldest[9 + VINTR] = 5;
    cr_assert_eq(ioctl_as(tty, TCSETAF, oldest, 18, shell), 0);
    cr_assert_eq(ioctl_as(tty, TCGETS, NULL, 0, shell), 0);
    cr_assert_eq(reply.argument[17 + VINTR], 5);
    cr_assert_eq(memcmp(reply.argument, old, 17), 0, "the rest stayed");
}

Test(dm, the_speed_follows_its_code)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);
    uint32_t flags, speed;
    uint8_t settings[44];

    ioctl_as(tty, TCGETS2, NULL, 0, shell);
    memcpy(settings, reply.argument, 44);
    memcpy(&flags, settings + 8, 4);
    flags = (flags & ~CBAUD) | B115200;
    memcpy(settings + 8, &flags, 4);
    cr_assert_eq(ioctl_as(tty, TCSETS2, settings, 44, shell), 0);
    ioctl_as(tty, TCGETS2, NULL, 0, shell);
    memcpy(&speed, reply.argument + 40, 4);
    cr_assert_eq(speed, 115200u);
}

Test(dm, settings_with_flush_drop_what_was_typed)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);
    uint8_t settings[36];

    type("dropped\n");
    ioctl_as(tty, TCGETS, NULL, 0, shell);
    memcpy(settings, reply.argument, sizeof settings);
    expect_screen("dropped\r\n");
    cr_assert_eq(ioctl_as(tty, TCSETSF, settings, 36, shell), -EAGAIN, "output is under way");
    cr_assert_eq(ioctl_number(tty, FIONREAD, shell), 8);
    channel_flushed(CHANNEL_TERMINAL);
    cr_assert_eq(ioctl_as(tty, TCSETSF, settings, 36, shell), 0);
    cr_assert_eq(ioctl_number(tty, FIONREAD, shell), 0);
}

Test(dm, flushing_and_flow_control_by_ioctl)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    type("in\n");
    cr_assert_eq(ioctl_set(tty, TCFLSH, TCIFLUSH, shell), 0);
    cr_assert_eq(read_as(tty, 10, shell, 0), -EAGAIN);
    cr_assert_eq(ioctl_set(tty, TCXONC, TCOOFF, shell), 0);
    write_as(tty, "held", shell, 0);
    cr_assert_eq(ioctl_number(tty, TIOCOUTQ, shell), 8);
    cr_assert_eq(ioctl_set(tty, TCFLSH, TCOFLUSH, shell), 0);
    cr_assert_eq(ioctl_set(tty, TCXONC, TCOON, shell), 0);
    expect_screen("");
    cr_assert_eq(ioctl_set(tty, TCXONC, TCIOFF, shell), 0);
    expect_screen("\023");
    cr_assert_eq(ioctl_set(tty, TCXONC, 9, shell), -EINVAL);
    cr_assert_eq(ioctl_set(tty, TCFLSH, 9, shell), -EINVAL);
    cr_assert_eq(ioctl_set(tty, TIOCSETD, 3, shell), -EINVAL);
    cr_assert_eq(ioctl_set(tty, 0xdeadbeef, 0, shell), -ENOTTY);
}

Test(dm, simulated_input_needs_the_own_terminal)
{
    uint64_t tty = open_as(TTY_HVC, shell, 0);

    cr_assert_eq(ioctl_set(tty, TIOCSTI, 'x', stranger), -EPERM);
    cr_assert_eq(ioctl_set(tty, TIOCSTI, 'x', shell), 0);
    cr_assert_eq(ioctl_set(tty, TIOCSTI, '\n', shell), 0);
    expect_read(tty, "x\n");
}

/* ---- ptys ---- */

static uint64_t master, slave;
static unsigned number;

static void make_pty(struct tty_identity who)
{
    master = open_as(TTY_PTMX, who, 0);
    memcpy(&number, reply.argument, sizeof number);
    cr_assert_eq(reply.flags, TTY_IS_TERMINAL);
    cr_assert_eq(try_open(TTY_PTS(number), who, 0), -EIO, "it is locked");
    cr_assert_eq(ioctl_number(master, TIOCGPTLCK, who), 1);
    cr_assert_eq(ioctl_number(master, TIOCGPTN, who), (int32_t)number);
    cr_assert_eq(ioctl_set(master, TIOCSPTLCK, 0, who), 0);
    slave = open_as(TTY_PTS(number), who, 0);
    cr_assert_eq(reply.device, TTY_PTS(number));
}

Test(dm, what_the_master_writes_is_typed_and_what_the_slave_writes_is_seen)
{
    make_pty(shell);
    cr_assert_eq(read_as(slave, 100, shell, 4), -EAGAIN);
    cr_assert_eq(read_as(master, 100, stranger, 0), -EAGAIN);
    cr_assert_eq(write_as(master, "ls\r", stranger, 0), 0);
    expect_ready(4);
    expect_read(slave, "ls\n");
    write_as(slave, "file\n", shell, 0);
    expect_read(master, "ls\r\nfile\r\n");
    cr_assert_eq(ioctl_as(slave, TIOCGPTN, NULL, 0, shell), -ENOTTY);
}

Test(dm, keys_of_the_master_signal_the_slaves_foreground_group)
{
    make_pty(shell);
    write_as(master, "\003", stranger, 0);
    cr_assert(was_signalled(100, SIGINT));
    cr_assert_eq(ioctl_number(master, TIOCGPGRP, stranger), 100);
    cr_assert_eq(ioctl_set(master, TIOCSIG, SIGTSTP, stranger), 0);
    cr_assert(was_signalled(100, SIGTSTP));
    cr_assert_eq(ioctl_set(master, TIOCSIG, SIGKILL, stranger), -EINVAL);
    uint16_t size[4] = { 10, 20, 0, 0 };
    cr_assert_eq(ioctl_as(master, TIOCSWINSZ, size, 8, stranger), 0);
    cr_assert(was_signalled(100, SIGWINCH));
}

Test(dm, a_master_waits_for_the_first_slave_and_ends_with_the_last)
{
    uint64_t early = open_as(TTY_PTMX, shell, 0);
    cr_assert_eq(read_as(early, 10, shell, 0), -EAGAIN);

    make_pty(shell);
    write_as(slave, "last words", shell, 0);
    uint64_t second = open_as(TTY_PTS(number), shell, 0);
    cr_assert_eq(close_it(slave), 0);
    expect_read(master, "last words");
    cr_assert_eq(read_as(master, 100, stranger, 6), -EAGAIN);
    cr_assert_eq(close_it(second), 0);
    expect_ready(6);
    cr_assert_eq(read_as(master, 100, stranger, 0), -EIO);
    cr_assert(watch(master, TTY_READABLE, 0) & TTY_HANGUP);
    cr_assert_eq(write_as(master, "x", stranger, 0), -EIO);
    slave = open_as(TTY_PTS(number), shell, 0);
    cr_assert_eq(read_as(master, 100, stranger, 0), -EAGAIN, "opened again, it lives again");
}

Test(dm, closing_the_master_hangs_the_slave_up)
{
    make_pty(shell);
    cr_assert_eq(read_as(slave, 100, shell, 5), -EAGAIN);
    cr_assert_eq(close_it(master), 0);
    cr_assert(was_signalled(100, SIGHUP) && was_hung_up(100, SIGHUP));
    cr_assert_eq(read_as(slave, 100, shell, 0), 0);
    cr_assert_eq(reply.length, 0u);
    cr_assert_eq(write_as(slave, "x", shell, 0), -EIO);
    cr_assert_eq(try_open(TTY_PTS(number), shell, 0), -EIO);
    cr_assert_eq(close_it(slave), 0);
    cr_assert_eq(try_open(TTY_PTS(number), shell, 0), -ENXIO, "now it is gone");
}

Test(dm, the_end_of_a_session_on_a_pty_leaves_its_files_alive)
{
    make_pty(shell);
    ask((struct tty_request){ .operation = TTY_SESSION_END, .handle = client, .identity = shell },
        NULL, 0);
    cr_assert(was_signalled(100, SIGHUP) && was_hung_up(100, 0));
    cr_assert_eq(write_as(slave, "still here", shell, 0), 0);
}

Test(dm, packet_mode_tells_of_flow_control)
{
    make_pty(shell);
    cr_assert_eq(ioctl_set(master, TIOCPKT, 1, shell), 0);
    cr_assert_eq(ioctl_number(master, TIOCGPKT, shell), 1);
    write_as(slave, "data", shell, 0);
    cr_assert_eq(read_as(master, 100, shell, 0), 0);
    cr_assert_eq(reply.length, 5u);
    cr_assert_arr_eq(body, "\0data", 5);
    cr_assert_eq(read_as(master, 100, shell, 12), -EAGAIN);
    ioctl_set(slave, TCXONC, TCOOFF, shell);
    expect_ready(12);
    cr_assert_eq(watch(master, TTY_PRIORITY, 0), TTY_PRIORITY);
    cr_assert_eq(read_as(master, 100, shell, 0), 0);
    cr_assert(reply.length == 1 && body[0] == TIOCPKT_STOP);
}

Test(dm, the_master_is_held_back_when_the_slave_does_not_read)
{
    uint64_t written = 0;

    make_pty(shell);
    while (write_as(master, "0123456789012345678901234567890123456789012345678\n", shell, 0) == 0) {
        written += reply.length;
        cr_assert(written < 10000);
        if (read_as(master, 1000, shell, 0) != 0)
            cr_assert_eq(reply.status, -EAGAIN);
    }
    cr_assert_eq(reply.status, -EAGAIN);
    cr_assert_eq(write_as(master, "x", shell, 13), -EAGAIN);
    uint64_t got = 0;
    while (read_as(slave, 1000, shell, 0) == 0)
        got += reply.length;
    expect_ready(13);
    cr_assert_eq(write_as(master, "\n", shell, 0), 0, "the end of the line that was cut");
    cr_assert_eq(read_as(slave, 1000, shell, 0), 0);
    cr_assert_eq(got + reply.length, written + 1, "%lu and %lu", got, written);
}

Test(dm, there_are_so_many_ptys_and_their_numbers_are_used_again)
{
    uint64_t all[256];

    for (int i = 0; i < 256; i++)
        all[i] = open_as(TTY_PTMX, shell, 0);
    cr_assert_eq(try_open(TTY_PTMX, shell, 0), -ENOSPC);
    close_it(all[17]);
    uint64_t again = open_as(TTY_PTMX, shell, 0);
    cr_assert_eq(ioctl_number(again, TIOCGPTN, shell), 17);
}

/* ---- standard streams ---- */

Test(dm, standard_input_is_fetched_when_somebody_reads_and_has_an_end)
{
    uint64_t in = open_as(TTY_STDIN, shell, 0);

    cr_assert_eq(reply.flags, 0u, "it is no terminal");
    cr_assert_eq(ioctl_as(in, TCGETS, NULL, 0, shell), -ENOTTY);
    cr_assert_not(channel_wants_input(CHANNEL_STDIN));
    cr_assert_eq(read_as(in, 3, shell, 2), -EAGAIN);
    cr_assert(channel_wants_input(CHANNEL_STDIN) && attended[CHANNEL_STDIN] > 0);
    channel_give(CHANNEL_STDIN, (const uint8_t *)"\0\001\002\003", 4);
    dm_settle();
    expect_ready(2);
    cr_assert_not(channel_wants_input(CHANNEL_STDIN));
    cr_assert_eq(read_as(in, 3, shell, 0), 0);
    cr_assert_eq(reply.length, 3u);
    cr_assert_arr_eq(body, "\0\001\002", 3);
    cr_assert_eq(read_as(in, 3, shell, 0), 0);
    cr_assert_eq(reply.length, 1u);
    cr_assert_eq(read_as(in, 3, shell, 2), -EAGAIN);
    channel_end_input(CHANNEL_STDIN);
    dm_settle();
    expect_ready(2);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(read_as(in, 3, shell, 0), 0);
        cr_assert_eq(reply.length, 0u);
    }
    cr_assert_eq(write_as(in, "x", shell, 0), -EINVAL);
}

Test(dm, standard_output_holds_back_and_tells_its_error)
{
    static char text[TTY_BODY_MAX - 1];
    uint64_t out = open_as(TTY_STDOUT, shell, 0);
    uint8_t bytes[1000];

    memset(text, 'o', sizeof text - 1);
    cr_assert_eq(write_as(out, text, shell, 0), 0);
    cr_assert(reply.flags & TTY_UNCONFIRMED);
    cr_assert_eq(write_as(out, text, shell, 0), 0);
    cr_assert_eq(reply.length, 2u);
    cr_assert_eq(write_as(out, text, shell, 3), -EAGAIN);
    cr_assert_eq(channel_take(CHANNEL_STDOUT, bytes, sizeof bytes), sizeof bytes);
    dm_settle();
    expect_ready(3);
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_DRAIN, .handle = out, .token = 4,
                                           .flags = TTY_NOTIFY }, NULL, 0), -EAGAIN);
    channel_fail_output(CHANNEL_STDOUT, EPIPE);
    dm_settle();
    expect_ready(4);
    cr_assert_eq(ask((struct tty_request){ .operation = TTY_DRAIN, .handle = out }, NULL, 0), -EPIPE);
    cr_assert_eq(write_as(out, "x", shell, 0), -EPIPE);
    cr_assert(watch(out, TTY_WRITABLE, 0) & TTY_ERROR);
    uint64_t err = open_as(TTY_STDERR, shell, 0);
    cr_assert_eq(write_as(err, "x", shell, 0), 0, "the other stream goes on");
}

/* ---- clients ---- */

Test(dm, what_a_dead_client_had_open_is_closed)
{
    uint64_t first = client, pty;

    client = connect_client(0x5678);
    pty = open_as(TTY_PTMX, shell, 0);
    open_as(TTY_HVC, shell, 0);
    cr_assert(reply.flags & TTY_BECAME_CONTROLLING);
    dm_client_gone(0x5678);
    dm_settle();
    cr_assert_eq(read_as(pty, 10, shell, 0), -EBADF);
    client = first;
    cr_assert_eq(try_open(TTY_PTS(0), shell, 0), -ENXIO);
    open_as(TTY_HVC, shell, 0);
    cr_assert(reply.flags & TTY_BECAME_CONTROLLING, "the terminal is free again");
}

Test(dm, sessions_of_two_clients_are_not_mixed_up)
{
    uint64_t first = client;

    open_as(TTY_HVC, shell, 0);
    client = connect_client(0x5678);
    cr_assert_eq(try_open(TTY_CURRENT, shell, 0), -ENXIO);
    uint64_t tty = open_as(TTY_HVC, shell, 0);
    cr_assert_not(reply.flags & TTY_BECAME_CONTROLLING);
    cr_assert_eq(ioctl_as(tty, TIOCGPGRP, NULL, 0, shell), -ENOTTY);
    client = first;
    close_it(open_as(TTY_CURRENT, shell, 0));
}
