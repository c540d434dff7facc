/* The screen: what the console printed and where windows look. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_nucleus.h"
#include "screen.h"

static char typed_bytes[4096];
static size_t typed_length;
static unsigned inputs, columns, rows;

static void typed(void *cookie, const uint8_t *bytes, size_t length)
{
    (void)cookie;
    memcpy(typed_bytes + typed_length, bytes, length);
    typed_length += length;
}

static void resized(void *cookie, uint16_t new_columns, uint16_t new_rows)
{
    (void)cookie;
    columns = new_columns;
    rows = new_rows;
}

static void input(void *cookie, const struct screen_input *event)
{
    (void)cookie, (void)event;
    inputs++;
}

static const struct screen_listener listener = { .typed = typed, .resized = resized, .input = input };
static struct screen *screen;
static int window;

static void attach(void)
{
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    cr_assert(screen_attach(screen, ends[0]));
    window = ends[1];
}

static void start(void)
{
    fake_start();
    typed_length = inputs = columns = rows = 0;
    screen = screen_create(fake_bus, true, &listener);
    attach();
}

static void end(void)
{
    close(window);
    screen_destroy(screen);
    fake_end();
}

TestSuite(screen, .init = start, .fini = end, .timeout = 20);

static void say(const void *bytes, size_t size)
{
    cr_assert_eq(send(window, bytes, size, 0), (ssize_t)size);
    fake_run_idle();
}

static bool is_told(void)
{
    char byte;

    return recv(window, &byte, 1, MSG_DONTWAIT) == 1;
}

static void await(uint64_t seen)
{
    say(&(struct screen_message){ .kind = SCREEN_AWAIT, .number = seen }, 16);
}

Test(screen, nonsense_costs_a_window_its_connection)
{
    static const struct { struct screen_message message; size_t size; } wrong[] = {
        { { .kind = 99 }, 16 }, { { .kind = SCREEN_TYPED, .count = 5 }, 12 }, { { .kind = SCREEN_TYPED, .count = 0xffffffff }, 12 },
        { { .kind = SCREEN_INPUT, .count = 1 }, 8 }, { { .kind = SCREEN_INPUT, .count = 33 }, 8 + 33 * 12 }, { { .kind = SCREEN_RESIZE }, 12 },
        { { .kind = SCREEN_AWAIT }, 8 }, { { .kind = SCREEN_TYPED }, 4 } };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char byte;
        say(&wrong[i].message, wrong[i].size);
        cr_expect_eq(screen_windows(screen), 0u, "%zu", i);
        cr_expect_eq(recv(window, &byte, 1, MSG_DONTWAIT), 0, "%zu", i);
        close(window);
        attach();
    }
    cr_expect(typed_length == 0 && inputs == 0 && columns == 0);
}

Test(screen, what_a_window_says_is_heard)
{
    struct screen_message message = { .kind = SCREEN_TYPED, .count = 3, .bytes = "abc" };

    say(&message, 11);
    cr_expect(typed_length == 3 && memcmp(typed_bytes, "abc", 3) == 0);
    say(&(struct screen_message){ .kind = SCREEN_RESIZE, .columns = 90, .rows = 33 }, 12);
    cr_expect(columns == 90 && rows == 33);
    message = (struct screen_message){ .kind = SCREEN_INPUT, .count = 2, .events = { { .device = 1 }, { .device = 9 } } };
    say(&message, 8 + 24);
    cr_expect_eq(inputs, 1u, "there are two devices");
}

Test(screen, a_window_is_told_once_and_then_asks_again)
{
    screen_print(screen, "a", 1);
    cr_expect(!is_told(), "it has not asked");
    await(screen_share(screen)->changes);
    cr_expect(!is_told(), "it has seen all");
    screen_print(screen, "b", 1);
    screen_print(screen, "c", 1);
    cr_expect(is_told());
    cr_expect(!is_told(), "once");
    await(0);
    cr_expect(is_told(), "it has not seen all");
}

Test(screen, a_window_that_goes_is_forgotten_and_there_are_not_too_many)
{
    int ends[2], more[8];

    for (int i = 0; i < 3; i++) {
        cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
        cr_assert(screen_attach(screen, ends[0]));
        more[i] = ends[1];
    }
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    cr_expect(!screen_attach(screen, ends[0]) && errno == EMFILE);
    close(ends[1]);
    for (int i = 0; i < 3; i++)
        close(more[i]);
    fake_run_idle();
    cr_expect_eq(screen_windows(screen), 1u);
}

Test(screen, a_window_that_reads_nothing_holds_up_nothing)
{
    for (int i = 0; i < 100000; i++) {
        screen_print(screen, "x", 1);
        if (i % 64 == 0)
            await(0);
    }
    cr_expect_eq(screen_share(screen)->console_head, 100000u);
}

Test(screen, the_last_bytes_of_the_console_are_there)
{
    const uint8_t *ring = (uint8_t *)screen_share(screen) + SCREEN_CONSOLE_AT;
    uint8_t byte;

    for (uint32_t i = 0; i < SCREEN_CONSOLE_SIZE + 1000; i += 100) {
        uint8_t bytes[100];
        memset(bytes, (int)(i / 100), sizeof bytes);
        screen_print(screen, bytes, sizeof bytes);
    }
    byte = (uint8_t)((SCREEN_CONSOLE_SIZE + 999) / 100);
    cr_expect_eq(ring[(screen_share(screen)->console_head - 1) % SCREEN_CONSOLE_SIZE], byte);
}

Test(screen, who_looks_can_neither_write_nor_shorten)
{
    int descriptor = screen_descriptor(screen);

    cr_expect_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), MAP_FAILED);
    cr_expect_eq(ftruncate(descriptor, 0), -1);
    void *share = mmap(NULL, 4096, PROT_READ, MAP_SHARED, descriptor, 0);
    cr_assert_neq(share, MAP_FAILED);
    cr_expect_eq(((struct screen_share *)share)->magic, SCREEN_MAGIC);
    munmap(share, 4096);
}
