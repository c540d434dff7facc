/* The console: bytes both ways unchanged, ends, back-pressure, the escape, the size. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_nucleus.h"
#include "host_stream.h"
#include "virtio_console.h"

#define QUEUE_SIZE   16
#define QUEUE_AT(n)  (DRIVER_MEMORY + 4096 * (n))
#define BUFFER_AT(n) (DRIVER_MEMORY + 4096 * (32 + (n)))

static struct device *console;
static struct driver_queue queue[10];
static int terminal[2], input[2], output[2], error[2];     /* pipes: [0] is read, [1] is written */
static int escapes;
static struct virtio_console_backing backing;

static void escaped(void *cookie)
{
    ++*(int *)cookie;
}

static void offer_control(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        driver_offer(&queue[2], (struct driver_buffer[]){ { BUFFER_AT(i), 64, true } }, 1);
    driver_kick(&queue[2]);
}

static void tell_device(uint32_t port, uint16_t event, uint16_t value)
{
    struct virtio_console_control message = { port, event, value };
    uint32_t head, length;

    driver_put(BUFFER_AT(20), &message, sizeof message);
    driver_offer(&queue[3], (struct driver_buffer[]){ { BUFFER_AT(20), 8, false } }, 1);
    driver_kick(&queue[3]);
    cr_assert(driver_wait_used(&queue[3], &head, &length));
}

static void driver_start(void)
{
    driver_begin(console, VIRTIO_CONSOLE_F_MULTIPORT | VIRTIO_CONSOLE_F_SIZE);
    for (unsigned i = 0; i < 10; i++) {
        memset(driver_at(QUEUE_AT(i)), 0, 4096);
        driver_queue_set_up(&queue[i], console, i, QUEUE_SIZE, QUEUE_AT(i));
    }
    driver_ready(console);
    tell_device(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
}

static void open_port(uint32_t port)
{
    tell_device(port, VIRTIO_CONSOLE_PORT_READY, 1);
    tell_device(port, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

/* The next message of the device: event, port and value, and what follows. */
static struct virtio_console_control told(void *rest, size_t size, size_t *ret_rest)
{
    struct virtio_console_control message;
    uint32_t head, length;

    cr_assert(driver_wait_used(&queue[2], &head, &length), "the device tells something");
    cr_assert(length >= sizeof message);
    driver_get(BUFFER_AT(head), &message, sizeof message);
    *ret_rest = length - sizeof message;
    if (size > 0)
        driver_get(BUFFER_AT(head) + 8, rest, *ret_rest < size ? *ret_rest : size);
    return message;
}

static void expect_told(uint32_t port, uint16_t event, uint16_t value)
{
    size_t rest;
    struct virtio_console_control message = told(NULL, 0, &rest);

    cr_assert_eq(message.port, port, "of port %u, not %u", message.port, port);
    cr_assert_eq(message.event, event, "event %u, not %u", message.event, event);
    cr_assert_eq(message.value, value);
}

static void make(void)
{
    console = virtio_console_create("console0", &fake_services, fake_bus, fake_pool, &backing);
    cr_assert_not_null(console);
}

static void start(void)
{
    signal(SIGPIPE, SIG_IGN);
    fake_start();
    escapes = 0;
    cr_assert(pipe(input) == 0 && pipe(output) == 0 && pipe(error) == 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, terminal), 0);
    backing = (struct virtio_console_backing){
        .terminal_in = terminal[0], .terminal_out = terminal[0], .columns = 80, .rows = 25,
        .stdin_descriptor = input[0], .stdout_descriptor = output[1], .stderr_descriptor = error[1],
        .escape = escaped, .cookie = &escapes,
    };
    make();
    driver_start();
}

static bool is_quiet(void *argument)
{
    return device_quiet(argument);
}

static void destroy(void)
{
    if (!device_reset(console))
        cr_assert(fake_run_until(is_quiet, console));
    device_destroy(console);
}

static void end(void)
{
    destroy();
    fake_run_idle();
    fake_end();
}

TestSuite(console, .init = start, .fini = end, .timeout = 30);

Test(console, ports_introduce_themselves)
{
    char name[16] = "";
    uint16_t size[2];
    size_t rest;

    offer_control(12);
    for (uint32_t port = 0; port < 4; port++)
        expect_told(port, VIRTIO_CONSOLE_PORT_ADD, 1);
    tell_device(0, VIRTIO_CONSOLE_PORT_READY, 1);
    expect_told(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
    cr_assert_eq(told(name, sizeof name, &rest).event, VIRTIO_CONSOLE_PORT_NAME);
    cr_assert_str_eq(name, "terminal");
    expect_told(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
    cr_assert_eq(told(size, sizeof size, &rest).event, VIRTIO_CONSOLE_RESIZE);
    cr_assert(size[0] == 80 && size[1] == 25);
    tell_device(1, VIRTIO_CONSOLE_PORT_READY, 1);
    told(name, sizeof name, &rest);
    cr_assert_eq(memcmp(name, "stdin", 5), 0);
    expect_told(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

Test(console, nonsense_on_the_control_queue_is_ignored)
{
    uint32_t head, length;

    for (uint32_t port = 0; port < 6; port++)
        for (uint16_t event = 0; event < 80; event++)
            tell_device(port * 1000003u, event, 9);
    tell_device(UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
    driver_offer(&queue[3], (struct driver_buffer[]){ { BUFFER_AT(20), 3, false } }, 1);
    driver_offer(&queue[3], (struct driver_buffer[]){ { BUFFER_AT(20), 8, true } }, 1);
    driver_kick(&queue[3]);
    cr_assert(driver_take_used(&queue[3], &head, &length));
    cr_assert(driver_take_used(&queue[3], &head, &length));
    cr_assert_not(device_is_broken(console));
}

/* Read up to `length` bytes through a port's input queue. */
static size_t port_read(unsigned port, uint8_t *bytes, size_t length)
{
    unsigned in = port == 0 ? 0 : 2 * port + 2;
    uint32_t head, got;

    cr_assert(length <= 4096);
    driver_offer(&queue[in], (struct driver_buffer[]){ { BUFFER_AT(10), (uint32_t)length, true } },
                 1);
    driver_kick(&queue[in]);
    cr_assert(driver_wait_used(&queue[in], &head, &got), "input arrives");
    driver_get(BUFFER_AT(10), bytes, got);
    return got;
}

/* Write through a port's output queue; false: the host does not take it yet. */
static bool port_write(unsigned port, const void *bytes, size_t length)
{
    unsigned out = port == 0 ? 1 : 2 * port + 3;
    uint32_t head, got;

    driver_put(BUFFER_AT(40), bytes, length);
    driver_offer(&queue[out], (struct driver_buffer[]){ { BUFFER_AT(40), (uint32_t)length, false } },
                 1);
    driver_kick(&queue[out]);
    for (int i = 0; i < 20; i++) {
        fake_run_idle();
        if (driver_take_used(&queue[out], &head, &got))
            return true;
        poll(NULL, 0, 1);
    }
    return false;
}

Test(console, what_is_typed_arrives)
{
    uint8_t bytes[100];

    open_port(0);
    cr_assert_eq(write(terminal[1], "hello", 5), 5);
    cr_assert_eq(port_read(0, bytes, sizeof bytes), 5u);
    cr_assert_arr_eq(bytes, "hello", 5);
}

Test(console, what_is_written_is_shown)
{
    char bytes[10];

    cr_assert(port_write(0, "prompt$ ", 8));
    cr_assert_eq(read(terminal[1], bytes, sizeof bytes), 8);
    cr_assert_arr_eq(bytes, "prompt$ ", 8);
}

Test(console, the_escape_is_heard_although_nobody_reads)
{
    cr_assert_eq(write(terminal[1], "ab\001", 3), 3);
    fake_run_idle();
    cr_assert_eq(escapes, 0);
    cr_assert_eq(write(terminal[1], "x", 1), 1);
    fake_run_idle();
    cr_assert_eq(escapes, 1);
}

Test(console, the_escape_passes_other_bytes)
{
    uint8_t bytes[100];

    open_port(0);
    cr_assert_eq(write(terminal[1], "1\001\0012\001a3\001b", 9), 9);
    cr_assert_eq(port_read(0, bytes, sizeof bytes), 7u);
    cr_assert_arr_eq(bytes, "1\0012\0013\001b", 7);
    cr_assert_eq(escapes, 0);
}

Test(console, the_size_and_its_change_are_told)
{
    uint16_t size[2];
    size_t rest;

    cr_assert_eq(device_read(console, VIRTIO_CONFIG), 80u | 25u << 16);
    cr_assert_eq(device_read(console, VIRTIO_CONFIG + 4), 4u);
    open_port(0);
    offer_control(12);
    for (int i = 0; i < 8; i++)
        told(NULL, 0, &rest);                   /* the introductions */
    virtio_console_resize(console, 132, 50);
    cr_assert_eq(told(size, sizeof size, &rest).event, VIRTIO_CONSOLE_RESIZE);
    cr_assert(size[0] == 132 && size[1] == 50);
    cr_assert_eq(device_read(console, VIRTIO_CONFIG), 132u | 50u << 16);
    cr_assert(device_read(console, VIRTIO_INTERRUPT_STATUS) & VIRTIO_INTERRUPT_CONFIG);
}

static void discard_introductions(void)
{
    size_t rest;

    offer_control(15);
    for (int i = 0; i < 4; i++)
        told(NULL, 0, &rest);
}

/* Until the port is told to be closed, skipping what comes before. */
static void expect_closed(uint32_t port)
{
    size_t rest;

    for (;;) {
        struct virtio_console_control message = told(NULL, 0, &rest);
        if (message.port == port && message.event == VIRTIO_CONSOLE_PORT_OPEN
            && message.value == 0)
            return;
    }
}

Test(console, every_byte_of_standard_input_arrives_and_then_its_end)
{
    uint8_t out[40000], in[40000], bytes[4096];
    size_t done = 0;

    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 31 + i / 256);
    discard_introductions();
    open_port(1);
    cr_assert_eq(write(input[1], out, sizeof out), (ssize_t)sizeof out);
    close(input[1]);
    while (done < sizeof in) {
        size_t got = port_read(1, bytes, done % 2 ? 4096 : 777);
        memcpy(in + done, bytes, got);
        done += got;
    }
    cr_assert_arr_eq(in, out, sizeof out);
    expect_closed(1);
}

Test(console, standard_input_is_not_read_before_it_is_wanted)
{
    struct pollfd there = { .fd = input[0], .events = POLLIN };

    cr_assert_eq(write(input[1], "for another", 11), 11);
    fake_run_idle();
    cr_assert_eq(poll(&there, 1, 0), 1);
    char bytes[20];
    cr_assert_eq(read(input[0], bytes, sizeof bytes), 11, "all of it is still there");
}

Test(console, standard_input_has_back_pressure)
{
    uint8_t bytes[4096] = { 0 };
    size_t written = 0;

    open_port(1);
    fcntl(input[1], F_SETFL, O_NONBLOCK);
    for (int idle = 0; idle < 50;) {
        ssize_t length = write(input[1], bytes, sizeof bytes);
        fake_run_idle();
        idle = length < 0 ? idle + 1 : 0;
        written += length < 0 ? 0 : (size_t)length;
        cr_assert(written < 1000000, "the device takes without end");
    }
    cr_assert(written > 100000);
    for (size_t done = 0; done < written;)
        done += port_read(1, bytes, sizeof bytes);
}

Test(console, standard_output_and_error_are_apart_and_unchanged)
{
    uint8_t bytes[256], back[256];

    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    cr_assert(port_write(2, bytes, sizeof bytes));
    cr_assert(port_write(3, "error", 5));
    cr_assert_eq(read(output[0], back, sizeof back), 256);
    cr_assert_arr_eq(back, bytes, sizeof bytes);
    cr_assert_eq(read(error[0], back, sizeof back), 5);
}

static bool output_used(void *argument)
{
    uint16_t index;

    (void)argument;
    driver_get(queue[7].used + 2, &index, sizeof index);
    return index != queue[7].used_seen;
}

Test(console, standard_output_has_back_pressure_and_loses_nothing)
{
    uint8_t bytes[4096], back[4096];
    size_t sent = 0, got = 0;
    uint32_t head, length;

    fcntl(output[0], F_SETFL, O_NONBLOCK);
    for (;;) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)((sent + i) * 7 / 3);
        sent += sizeof bytes;
        if (!port_write(2, bytes, sizeof bytes))
            break;
        cr_assert(sent < 1000000, "the device takes without end");
    }
    while (got < sent) {
        ssize_t some = read(output[0], back, sizeof back);
        for (ssize_t i = 0; i < some; i++)
            cr_assert_eq(back[i], (uint8_t)((got + (size_t)i) * 7 / 3));
        if (some > 0)
            got += (size_t)some;
        fake_run_idle();
    }
    cr_assert(fake_run_until(output_used, NULL));
    cr_assert(driver_take_used(&queue[7], &head, &length));
}

Test(console, an_output_that_nobody_reads_is_told_and_thrown_away)
{
    size_t rest;

    discard_introductions();
    close(output[0]);
    cr_assert(port_write(2, "lost", 4));
    struct virtio_console_control message = told(NULL, 0, &rest);
    cr_assert_eq(message.event, VIRTIO_CONSOLE_PORT_ERROR);
    cr_assert_eq(message.value, EPIPE);
    expect_closed(2);
    cr_assert(port_write(2, "lost too", 8));
    cr_assert(port_write(3, "not lost", 8));
}

static void use_files(int in, int out)
{
    destroy();
    backing.stdin_descriptor = in;
    backing.stdout_descriptor = out;
    make();
    driver_start();
}

Test(console, files_pass_through)
{
    char from[] = "/tmp/chorus-in-XXXXXX", to[] = "/tmp/chorus-out-XXXXXX";
    int in = mkstemp(from), out = mkstemp(to);
    uint8_t bytes[4096], back[5000];
    size_t done = 0;

    memset(back, 'q', sizeof back);
    cr_assert_eq(write(in, back, sizeof back), (ssize_t)sizeof back);
    lseek(in, 0, SEEK_SET);
    fcntl(out, F_SETFL, O_APPEND);
    use_files(in, out);
    discard_introductions();
    open_port(1);
    while (done < sizeof back)
        done += port_read(1, bytes, sizeof bytes);
    expect_closed(1);
    cr_assert(port_write(2, "first ", 6));
    cr_assert(port_write(2, "second", 6));
    cr_assert_eq(pread(out, back, sizeof back, 0), 12);
    cr_assert_arr_eq(back, "first second", 12);
    unlink(from);
    unlink(to);
}

Test(console, dev_null_is_an_empty_input_and_dev_full_an_error)
{
    size_t rest;

    use_files(open("/dev/null", O_RDONLY), open("/dev/full", O_WRONLY));
    discard_introductions();
    open_port(1);
    expect_closed(1);
    cr_assert(port_write(2, "lost", 4));
    struct virtio_console_control message = told(NULL, 0, &rest);
    cr_assert_eq(message.event, VIRTIO_CONSOLE_PORT_ERROR);
    cr_assert_eq(message.value, ENOSPC);
}

Test(console, the_descriptions_that_others_share_stay_blocking)
{
    cr_assert_not(fcntl(input[0], F_GETFL) & O_NONBLOCK);
    cr_assert_not(fcntl(output[1], F_GETFL) & O_NONBLOCK);
    cr_assert_not(fcntl(terminal[0], F_GETFL) & O_NONBLOCK);
}

Test(console, ports_without_backing_do_not_exist)
{
    uint32_t head, length;

    destroy();
    backing.stdin_descriptor = backing.stdout_descriptor = backing.stderr_descriptor = -1;
    make();
    driver_start();
    offer_control(5);
    expect_told(0, VIRTIO_CONSOLE_PORT_ADD, 1);
    fake_run_idle();
    cr_assert_not(driver_take_used(&queue[2], &head, &length));
    cr_assert(port_write(2, "nobody", 6), "bytes for it are thrown away");
}

Test(console, a_driver_that_starts_again_is_told_everything_and_gets_the_rest)
{
    uint8_t bytes[100];

    open_port(0);
    cr_assert_eq(write(terminal[1], "typed", 5), 5);
    fake_run_idle();
    device_reset(console);
    cr_assert(fake_run_until(is_quiet, console));
    cr_assert_eq(fake_pins(), 0u);
    driver_start();
    offer_control(4);
    expect_told(0, VIRTIO_CONSOLE_PORT_ADD, 1);
    open_port(0);
    cr_assert_eq(port_read(0, bytes, sizeof bytes), 5u);
}

Test(console, an_idle_console_wakes_nobody_even_when_the_terminal_is_gone)
{
    struct pollfd bus = { .fd = bus_descriptor(fake_bus), .events = POLLIN };

    open_port(0);
    open_port(1);
    close(terminal[1]);
    close(input[1]);
    fake_run_idle();
    cr_assert_eq(poll(&bus, 1, 50), 0);
    cr_assert_not(bus_has_completions(fake_bus));
}
