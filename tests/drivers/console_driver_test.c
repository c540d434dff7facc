/* The console driver against a real console, whose back ends are pipes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "console/console.h"
#include "host_bus.h"
#include "virtio_console.h"

static struct device *device;
static struct driver_registers registers;
static struct console console;
static int terminal[2], input[2], output[2], error[2];
static struct console_reply reply;
static uint8_t body[CONSOLE_BODY_MAX];
static struct console_event last;
static unsigned events;
static uint32_t had[CONSOLE_PORTS];     /* bytes read, or accepted */

static void on_event(const struct console_event *event)
{
    last = *event;
    events++;
}

/* Let the host and the device work, and the driver hear of it. */
static void step(void)
{
    host_bus_step();
    if (host_interrupts > 0) {
        host_interrupts = 0;
        console_interrupt(&console);
    }
}

static void start_with(struct virtio_console_backing backing)
{
    signal(SIGPIPE, SIG_IGN);
    host_bus_start();
    device = virtio_console_create("console0", &host_services, host_bus, host_pool, &backing);
    cr_assert_not_null(device);
    host_registers(&registers, device);
    cr_assert(console_begin(&console, &registers, host_memory, on_event));
}

static void start(void)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, terminal), 0);
    cr_assert(pipe(input) == 0 && pipe(output) == 0 && pipe(error) == 0);
    start_with((struct virtio_console_backing){
        .terminal_in = terminal[0], .terminal_out = terminal[0], .columns = 80, .rows = 25,
        .stdin_descriptor = input[0], .stdout_descriptor = output[1],
        .stderr_descriptor = error[1] });
}

static void end(void)
{
    for (device_reset(device); !device_quiet(device);)
        host_bus_step();
    device_destroy(device);
    host_bus_end();
}

TestSuite(console, .init = start, .fini = end, .timeout = 30);

static size_t ask(uint32_t operation, uint32_t port, uint32_t length, const void *bytes)
{
    /* What is read and written of the terminal is not counted together. */
    static uint32_t terminal_written;
    uint32_t *position = port >= CONSOLE_PORTS || (port == 0 && operation == CONSOLE_WRITE) ? &terminal_written : &had[port];
    struct console_request request = { .operation = operation, .port = port, .length = length, .position = *position };

    if (operation == CONSOLE_WRITE)
        memcpy(body, bytes, length);
    size_t size = console_request(&console, &request, &reply, body, operation == CONSOLE_WRITE ? length : 0);
    if (reply.status == 0 && (operation == CONSOLE_READ || operation == CONSOLE_WRITE))
        *position += reply.length;
    return size;
}

/* Read until something comes: waits for the event each time that it is told to. */
static size_t port_read(uint32_t port, uint32_t length)
{
    for (;;) {
        unsigned before = events;
        size_t got = ask(CONSOLE_READ, port, length, NULL);
        if (reply.status == 0)
            return got;
        cr_assert_eq(reply.status, -EAGAIN);
        while (events == before)
            step();
        cr_assert_eq(last.kind, (uint32_t)CONSOLE_EVENT_READABLE);
        cr_assert_eq(last.port, port);
    }
}

static void port_write(uint32_t port, const uint8_t *bytes, size_t length, int drain_from)
{
    uint8_t sink[65536];

    while (length > 0) {
        unsigned before = events;
        uint32_t piece = length < CONSOLE_BODY_MAX ? (uint32_t)length : CONSOLE_BODY_MAX;
        ask(CONSOLE_WRITE, port, piece, bytes);
        if (reply.status == 0) {
            bytes += reply.length;
            length -= reply.length;
            continue;
        }
        cr_assert_eq(reply.status, -EAGAIN);
        while (events == before) {
            if (drain_from >= 0 && read(drain_from, sink, sizeof sink) == 0)
                cr_assert(false);
            step();
        }
        cr_assert_eq(last.kind, (uint32_t)CONSOLE_EVENT_WRITABLE);
    }
}

Test(console, requests_that_make_no_sense_are_refused)
{
    ask(0, 0, 0, NULL);
    cr_assert_eq(reply.status, -ENOSYS);
    ask(CONSOLE_DRAIN + 1, 0, 0, NULL);
    cr_assert_eq(reply.status, -ENOSYS);
    ask(CONSOLE_READ, 4, 10, NULL);
    cr_assert_eq(reply.status, -ENXIO);
    ask(CONSOLE_READ, 2, 10, NULL);
    cr_assert_eq(reply.status, -EINVAL, "standard output cannot be read");
    ask(CONSOLE_WRITE, 1, 10, "0123456789");
    cr_assert_eq(reply.status, -EINVAL);
    ask(CONSOLE_READ, 0, 0, NULL);
    cr_assert_eq(reply.status, -EINVAL);
    ask(CONSOLE_READ, 0, CONSOLE_BODY_MAX + 1, NULL);
    cr_assert_eq(reply.status, -EINVAL);
}

Test(console, ports_and_size_are_told)
{
    ask(CONSOLE_CONNECT, 0, 0, NULL);
    cr_assert_eq(reply.ports, 15u);
    cr_assert(reply.columns == 80 && reply.rows == 25);
    virtio_console_resize(device, 100, 40);
    step();
    cr_assert_eq(last.kind, (uint32_t)CONSOLE_EVENT_RESIZE);
    cr_assert(last.columns == 100 && last.rows == 40);
}

Test(console, what_is_typed_is_read_in_pieces_of_any_size)
{
    cr_assert_eq(write(terminal[1], "hello", 5), 5);
    cr_assert_eq(port_read(0, 2), 2u);
    cr_assert_arr_eq(body, "he", 2);
    cr_assert_eq(port_read(0, 100), 3u);
    cr_assert_arr_eq(body, "llo", 3);
    ask(CONSOLE_READ, 0, 10, NULL);
    cr_assert_eq(reply.status, -EAGAIN);
}

Test(console, a_lot_of_input_arrives_whole_and_then_ends)
{
    static uint8_t out[300000], in[300000];
    size_t sent = 0, got = 0, some = 1;

    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i ^ i / 251);
    fcntl(input[1], F_SETFL, O_NONBLOCK);
    while (some > 0) {
        ssize_t more = sent < sizeof out ? write(input[1], out + sent, sizeof out - sent) : 0;
        sent += more > 0 ? (size_t)more : 0;
        if (sent == sizeof out && input[1] >= 0) {
            close(input[1]);
            input[1] = -1;
        }
        some = port_read(1, got % 2 ? 65536 : 999);
        memcpy(in + got, body, some);
        got += some;
    }
    cr_assert_eq(got, sizeof out);
    cr_assert_arr_eq(in, out, sizeof out);
    cr_assert_eq(port_read(1, 10), 0u, "the end stays the end");
}

Test(console, an_empty_input_ends_at_once)
{
    close(input[1]);
    cr_assert_eq(port_read(1, 10), 0u);
}

Test(console, input_that_nobody_wants_stays_with_the_host)
{
    char bytes[20];

    cr_assert_eq(write(input[1], "not ours", 8), 8);
    for (int i = 0; i < 5; i++)
        step();
    cr_assert_eq(read(input[0], bytes, sizeof bytes), 8);
}

Test(console, output_passes_whole_under_back_pressure)
{
    static uint8_t out[500000], in[500000];
    size_t sent = 0, got = 0;

    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 5 ^ i / 509);
    fcntl(output[0], F_SETFL, O_NONBLOCK);
    while (got < sizeof out) {
        if (sent < sizeof out) {
            size_t piece = sizeof out - sent < 30000 ? sizeof out - sent : 30000;
            ask(CONSOLE_WRITE, 2, (uint32_t)piece, out + sent);
            cr_assert(reply.status == 0 || reply.status == -EAGAIN);
            sent += reply.length;
        }
        ssize_t some = read(output[0], in + got, sizeof in - got < 10000 ? sizeof in - got : 10000);
        got += some > 0 ? (size_t)some : 0;
        step();
    }
    cr_assert_arr_eq(in, out, sizeof out);
    ask(CONSOLE_DRAIN, 2, 0, NULL);
    cr_assert_eq(reply.status, 0);
}

Test(console, draining_waits_for_the_host)
{
    static uint8_t out[200000], sink[65536];
    unsigned before = events;

    fcntl(output[0], F_SETFL, O_NONBLOCK);
    do {
        ask(CONSOLE_WRITE, 2, 60000, out);
    } while (reply.status == 0);
    ask(CONSOLE_DRAIN, 2, 0, NULL);
    cr_assert_eq(reply.status, -EAGAIN);
    for (int i = 0; i < 3; i++)
        step();
    cr_assert_eq(events, before);
    while (ask(CONSOLE_DRAIN, 2, 0, NULL), reply.status == -EAGAIN) {
        while (read(output[0], sink, sizeof sink) > 0)
            ;
        step();
    }
    cr_assert_eq(reply.status, 0);
    cr_assert(events > before);
}

Test(console, the_streams_do_not_mix)
{
    char bytes[20];

    port_write(0, (const uint8_t *)"screen", 6, -1);
    port_write(2, (const uint8_t *)"out", 3, -1);
    port_write(3, (const uint8_t *)"err", 3, -1);
    step();
    cr_assert(read(terminal[1], bytes, 20) == 6 && memcmp(bytes, "screen", 6) == 0);
    cr_assert(read(output[0], bytes, 20) == 3 && memcmp(bytes, "out", 3) == 0);
    cr_assert(read(error[0], bytes, 20) == 3 && memcmp(bytes, "err", 3) == 0);
}

Test(console, an_output_that_nobody_reads_is_an_error)
{
    close(output[0]);
    ask(CONSOLE_WRITE, 2, 4, "lost");
    cr_assert_eq(reply.status, 0, "it is accepted");
    while (ask(CONSOLE_DRAIN, 2, 0, NULL), reply.status == -EAGAIN)
        step();
    cr_assert_eq(reply.status, -EPIPE);
    ask(CONSOLE_WRITE, 2, 4, "more");
    cr_assert_eq(reply.status, -EPIPE);
    ask(CONSOLE_WRITE, 3, 4, "good");
    cr_assert_eq(reply.status, 0);
}

Test(console, a_new_driver_goes_on)
{
    cr_assert_eq(write(terminal[1], "abc", 3), 3);
    step();
    cr_assert(console_begin(&console, &registers, host_memory, on_event));
    cr_assert_eq(write(terminal[1], "def", 3), 3);
    char text[8] = "";
    for (size_t got = 0, more; got < 6; got += more) {
        more = port_read(0, (uint32_t)(6 - got));
        memcpy(text + got, body, more);
    }
    cr_assert_str_eq(text, "abcdef", "what the last one had and nobody read comes first");
    close(input[1]);
    cr_assert_eq(port_read(1, 10), 0u);
}

TestSuite(bare_console, .timeout = 30);

Test(bare_console, ports_that_are_not_there_are_not_there)
{
    cr_assert(pipe(output) == 0);
    start_with((struct virtio_console_backing){
        .terminal_in = -1, .terminal_out = -1, .stdin_descriptor = -1,
        .stdout_descriptor = output[1], .stderr_descriptor = -1 });
    ask(CONSOLE_CONNECT, 0, 0, NULL);
    cr_assert_eq(reply.ports, 4u);
    ask(CONSOLE_READ, 0, 10, NULL);
    cr_assert_eq(reply.status, -ENXIO);
    end();
}

/* ---- drivers that die ---- */

#define STREAM (1u << 20)

static uint8_t byte_at(uint32_t position)
{
    return (uint8_t)(position * 2654435761u >> 24);
}

/* The next one takes over the device; the rings of the last one are as it left them. */
static void die(void)
{
    host_interrupts = 0;
    cr_assert(console_begin(&console, &registers, host_memory, on_event));
}

Test(console, output_that_a_dead_driver_had_comes_once)
{
    static uint8_t stream[STREAM], piece[CONSOLE_BODY_MAX];
    uint32_t done = 0, came = 0, deaths = 0;

    for (uint32_t i = 0; i < STREAM; i++)
        stream[i] = byte_at(i);
    srand(4);
    fcntl(output[0], F_SETFL, O_NONBLOCK);
    while (came < STREAM) {
        uint32_t *sent = &had[VIRTIO_CONSOLE_STDOUT], left = STREAM - *sent, wish = (uint32_t)(rand() % CONSOLE_BODY_MAX) + 1;
        if (left > 0) {
            ask(CONSOLE_WRITE, VIRTIO_CONSOLE_STDOUT, wish < left ? wish : left, stream + *sent);
            if (reply.status == 0)
                done = reply.done;
        }
        cr_assert(done <= *sent && *sent - done <= CONSOLE_OUT_BUFFERS * CONSOLE_OUT_SIZE);
        ssize_t got = read(output[0], piece, (size_t)rand() % sizeof piece);
        for (ssize_t i = 0; i < got; i++)
            cr_assert_eq(piece[i], byte_at(came++), "at %u after %u deaths", came, deaths);
        if (rand() % 4 == 0) {
            die();
            deaths++;
            *sent = done;               /* what the host does not have, as far as we were told, is written again */
        }
        step();
    }
    cr_assert_eq(read(output[0], piece, 1), -1, "nothing comes after it");
    cr_assert_gt(deaths, 5u);
}

Test(console, input_that_a_dead_driver_had_is_read_once)
{
    uint32_t written = 0, deaths = 0, *position = &had[VIRTIO_CONSOLE_STDIN];
    uint8_t piece[3000];

    srand(5);
    fcntl(input[1], F_SETFL, O_NONBLOCK);
    while (*position < STREAM) {
        for (size_t i = 0; i < sizeof piece; i++)
            piece[i] = byte_at(written + (uint32_t)i);
        ssize_t put = write(input[1], piece, STREAM - written < sizeof piece ? STREAM - written : sizeof piece);
        written += put > 0 ? (uint32_t)put : 0;
        uint32_t before = *position;
        size_t got = ask(CONSOLE_READ, VIRTIO_CONSOLE_STDIN, (uint32_t)(rand() % CONSOLE_BODY_MAX) + 1, NULL);
        for (size_t i = 0; i < got; i++)
            cr_assert_eq(body[i], byte_at(before + (uint32_t)i), "at %u after %u deaths", before + (uint32_t)i, deaths);
        switch (rand() % 12) {
        case 0:
            *position = before;         /* it died before it had answered */
            /* fallthrough */
        case 1:
            die();
            deaths++;
        }
        step();
    }
    cr_assert_gt(deaths, 5u);
}
