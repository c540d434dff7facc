/* virtio-console: see virtio_console.h.
 *
 * Each port has a ring for input that the driver has not taken, and at most one chain of output
 * that the host has not taken. What a driver got last stays in the ring as well: if it dies the next one gets
 * it again, and is told at which byte that begins. What the driver is to be told is kept as one bit for each port and
 * kind, not as a queue: the newest state is all that matters, and a driver that does not
 * offer control buffers costs nothing.
 */
#include "virtio_console.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host_stream.h"

#define QUEUE_SIZE  64
#define QUEUES      (2 * (VIRTIO_CONSOLE_PORTS + 1))
#define RING_ROOM   65536u      /* for input that the driver has not taken, */
#define RING_KEPT   65536u      /* and for what it has: more than a driver of ours has under way */
#define RING_SIZE   (RING_ROOM + RING_KEPT)
#define CHAINS_AT_ONCE 16       /* of output, for one event */
#define ESCAPE_BYTE 0x01

/* What the driver has still to be told of a port, in this order. */
enum { TELL_ADD = 1, TELL_CONSOLE = 2, TELL_NAME = 4, TELL_OPEN = 8, TELL_SIZE = 16,
       TELL_ERROR = 32, TELL_CLOSED = 64 };

struct console;

struct console_port {
    struct console *console;
    unsigned number;
    bool exists;
    struct host_stream *in, *out;
    unsigned tell;
    bool opened;                        /* by the driver */
    bool in_ended, end_told;
    bool out_broken;                    /* the host refuses; bytes are thrown away */
    int out_error;                      /* why */
    bool escape_seen;                   /* the last byte was ^A */
    uint8_t *ring;                      /* input */
    uint32_t ring_start, ring_length;   /* not taken; ring_kept bytes before it are */
    uint32_t ring_kept;
    struct virtio_console_position *position;
    bool sending;                       /* `chain` is an output request of the driver's */
    size_t sent;
    size_t shown;                       /* bytes that are still to come and have been shown: their driver died */
    struct virtio_chain chain;
};

struct console {
    struct virtio_device virtio;        /* first */
    struct virtio_console_config config;
    struct console_port port[VIRTIO_CONSOLE_PORTS];
    struct bus *bus;
    struct bus_completion again;        /* there is more to do than one event may take */
    bool again_posted;
    struct screen *screen;              /* shows what the terminal prints; or NULL */
    void (*escape)(void *cookie);
    void *cookie;
};

static const char *const port_names[VIRTIO_CONSOLE_PORTS] = {
    "terminal", "stdin", "stdout", "stderr",
};

static struct console *console_of(struct virtio_device *device)
{
    return (struct console *)device;
}

static unsigned queue_in(unsigned port)
{
    return port == 0 ? 0 : 2 * port + 2;
}

static unsigned queue_out(unsigned port)
{
    return queue_in(port) + 1;
}

static void come_again(struct console *console)
{
    if (console->again_posted)
        return;
    console->again_posted = true;
    bus_post(console->bus, &console->again);
}

/* ---- telling the driver ---- */

struct control_message {
    struct virtio_console_control head;
    union {
        uint16_t size[2];
        char name[16];
    };
    size_t length;
};

/* The next thing to be told of a port; clears its bit. */
static struct control_message control_next(struct console_port *port)
{
    const struct virtio_console_config *config = &port->console->config;
    unsigned what = port->tell & -port->tell;
    struct control_message message = { .head.port = port->number, .length = sizeof message.head };

    port->tell &= ~what;
    switch (what) {
    case TELL_ADD:
        message.head.event = VIRTIO_CONSOLE_PORT_ADD;
        message.head.value = 1;
        break;
    case TELL_CONSOLE:
        message.head.event = VIRTIO_CONSOLE_CONSOLE_PORT;
        message.head.value = 1;
        break;
    case TELL_NAME:
        message.head.event = VIRTIO_CONSOLE_PORT_NAME;
        message.head.value = 1;
        strncpy(message.name, port_names[port->number], sizeof message.name - 1);
        message.length += strlen(message.name);
        break;
    case TELL_SIZE:
        message.head.event = VIRTIO_CONSOLE_RESIZE;
        message.head.value = 1;
        message.size[0] = config->columns;
        message.size[1] = config->rows;
        message.length += sizeof message.size;
        break;
    case TELL_ERROR:
        message.head.event = VIRTIO_CONSOLE_PORT_ERROR;
        message.head.value = (uint16_t)port->out_error;
        break;
    default:
        message.head.event = VIRTIO_CONSOLE_PORT_OPEN;
        message.head.value = what == TELL_OPEN;
    }
    return message;
}

static void control_tell(struct console *console)
{
    struct virtio_device *device = &console->virtio;
    struct virtio_chain chain;

    for (unsigned i = 0; i < VIRTIO_CONSOLE_PORTS; i++) {
        struct console_port *port = &console->port[i];
        while (port->tell != 0 && virtqueue_take(device, VIRTIO_CONSOLE_CONTROL_IN, &chain)) {
            struct control_message message = control_next(port);
            size_t told = chain_write(&chain, 0, &message, message.length);
            virtqueue_put(device, VIRTIO_CONSOLE_CONTROL_IN, &chain, (uint32_t)told);
        }
    }
    virtqueue_signal(device, VIRTIO_CONSOLE_CONTROL_IN);
}

static void tell(struct console_port *port, unsigned what)
{
    if (!virtio_has(&port->console->virtio, VIRTIO_CONSOLE_F_MULTIPORT))
        return;
    port->tell |= what;
    control_tell(port->console);
}

/* ---- input: host -> ring -> driver ---- */

static void ring_append(struct console_port *port, uint8_t byte)
{
    port->ring[(port->ring_start + port->ring_length++) % RING_SIZE] = byte;
}

/* A byte from the terminal, with ^A as the escape. Appends at most two bytes. */
static void terminal_byte(struct console_port *port, uint8_t byte)
{
    struct console *console = port->console;

    if (!port->escape_seen) {
        port->escape_seen = byte == ESCAPE_BYTE;
        if (!port->escape_seen)
            ring_append(port, byte);
        return;
    }
    port->escape_seen = false;
    if (byte == 'x' || byte == 'X') {
        console->escape(console->cookie);
        return;
    }
    ring_append(port, ESCAPE_BYTE);
    if (byte != ESCAPE_BYTE && byte != 'a')
        ring_append(port, byte);
}

static void ring_take_in(struct console_port *port, const uint8_t *bytes, size_t length)
{
    bool filter = port->number == VIRTIO_CONSOLE_TERMINAL && port->console->escape != NULL;

    for (size_t i = 0; i < length; i++) {
        if (filter)
            terminal_byte(port, bytes[i]);
        else
            ring_append(port, bytes[i]);
    }
}

/* The port takes part: without F_MULTIPORT there is only the terminal, and it is always open. */
static bool port_is_open(const struct console_port *port)
{
    const struct virtio_device *device = &port->console->virtio;

    return port->exists && virtio_running(device)
        && (port->opened || (port->number == VIRTIO_CONSOLE_TERMINAL
                             && !virtio_has(device, VIRTIO_CONSOLE_F_MULTIPORT)));
}

/* The terminal is read ahead, for the escape. Standard input is read when somebody inside wants it:
 * what the command does not read is left to the next one that the host's shell runs. */
static bool input_is_wanted(const struct console_port *port)
{
    return !port->in_ended && (port->number == VIRTIO_CONSOLE_TERMINAL || port_is_open(port));
}

/* Read from the host while there is room. The escape may make one byte two, so one is kept free.
 * True: the ring got something, or the end came. */
static bool input_read(struct console_port *port)
{
    uint8_t bytes[4096];
    bool news = false;

    if (port->in == NULL)
        return false;
    while (input_is_wanted(port)) {
        size_t room = port->ring_length + 1 < RING_ROOM ? RING_ROOM - port->ring_length - 1 : 0;
        if (room > sizeof bytes)
            room = sizeof bytes;
        if (room == 0)
            break;
        ssize_t length = host_stream_read(port->in, bytes, room);
        if (length == -EAGAIN)
            break;
        if (length <= 0)
            port->in_ended = true;
        else
            ring_take_in(port, bytes, (size_t)length);
        news = true;
    }
    bool full = port->ring_length + 1 >= RING_ROOM;
    host_stream_want(port->in, input_is_wanted(port) && !full);
    return news;
}

static uint32_t ring_give_out(struct console_port *port, struct virtio_chain *chain)
{
    size_t done = 0;

    while (port->ring_length > 0 && done < chain->writable_bytes) {
        uint32_t run = RING_SIZE - port->ring_start;
        if (run > port->ring_length)
            run = port->ring_length;
        size_t given = chain_write(chain, done, port->ring + port->ring_start, run);
        port->ring_start = (port->ring_start + (uint32_t)given) % RING_SIZE;
        port->ring_length -= (uint32_t)given;
        done += given;
    }
    port->position->in += (uint32_t)done;
    port->ring_kept = port->ring_kept + done < RING_KEPT ? port->ring_kept + (uint32_t)done : RING_KEPT;
    return (uint32_t)done;
}

/* The driver is gone, and perhaps what it had. */
static void ring_rewind(struct console_port *port)
{
    port->ring_start = (port->ring_start + RING_SIZE - port->ring_kept) % RING_SIZE;
    port->ring_length += port->ring_kept;
    port->position->in -= port->ring_kept;
    port->ring_kept = 0;
}

/* Give the driver what there is, and read what follows. */
static void input_pump(struct console_port *port)
{
    struct virtio_device *device = &port->console->virtio;
    unsigned queue = queue_in(port->number);
    struct virtio_chain chain;
    uint32_t moved = 0;

    if (port->ring == NULL)
        return;
    do {
        while (port_is_open(port) && port->ring_length > 0
               && virtqueue_take(device, queue, &chain)) {
            uint32_t length = ring_give_out(port, &chain);
            moved += length;
            virtqueue_put(device, queue, &chain, length);
        }
        if (moved >= RING_ROOM) {
            come_again(port->console);
            break;
        }
    } while (input_read(port) && virtqueue_waiting(device, queue));
    virtqueue_signal(device, queue);
    if (port_is_open(port) && port->in_ended && port->ring_length == 0 && !port->end_told) {
        port->end_told = true;
        tell(port, TELL_CLOSED);
    }
}

static void input_ready(void *cookie)
{
    input_pump(cookie);
}

/* ---- output: driver -> host ---- */

static void output_break(struct console_port *port, int error)
{
    port->out_broken = true;
    port->out_error = error;
    host_stream_want(port->out, false);
    tell(port, TELL_ERROR | TELL_CLOSED);
}

/* Send on the present chain. True: the host has all of it. */
static bool output_send(struct console_port *port)
{
    struct device_span span;
    size_t bytes;

    while (!port->out_broken && port->sent < port->chain.readable_bytes) {
        chain_spans(&port->chain, false, port->sent, SIZE_MAX, &span, 1, &bytes);
        ssize_t length = host_stream_write(port->out, span.base, span.length);
        if (length == -EAGAIN)
            return false;
        if (length < 0)
            output_break(port, (int)-length);
        else
            port->sent += (size_t)length, port->position->out += (uint32_t)length;
    }
    if (!port->out_broken && host_stream_error(port->out) != 0)
        output_break(port, host_stream_error(port->out));
    return port->out_broken || !host_stream_pending(port->out);
}

/* What the terminal prints is shown at once, whether the host takes it or not. */
static void output_show(struct console_port *port)
{
    struct screen *screen = port->console->screen;
    struct device_span span;
    size_t bytes;

    if (screen == NULL || port->number != VIRTIO_CONSOLE_TERMINAL)
        return;
    size_t at = port->shown < port->chain.readable_bytes ? port->shown : port->chain.readable_bytes;
    port->shown -= at;
    for (; at < port->chain.readable_bytes; at += bytes) {
        chain_spans(&port->chain, false, at, SIZE_MAX, &span, 1, &bytes);
        screen_print(screen, span.base, span.length);
    }
}

static void output_pump(struct console_port *port)
{
    struct virtio_device *device = &port->console->virtio;
    unsigned queue = queue_out(port->number);

    for (int i = 0; ; i++) {
        if (i == CHAINS_AT_ONCE) {
            come_again(port->console);
            break;
        }
        if (!port->sending) {
            if (!virtqueue_take(device, queue, &port->chain))
                break;
            port->sending = true;
            port->sent = 0;
            output_show(port);
        }
        if (port->out != NULL && !output_send(port))
            break;
        port->sending = false;
        port->position->out += (uint32_t)(port->chain.readable_bytes - port->sent);     /* nobody takes them */
        virtqueue_put(device, queue, &port->chain, 0);
    }
    virtqueue_signal(device, queue);
    if (port->out != NULL && !port->out_broken)
        host_stream_want(port->out, port->sending);
}

static void output_ready(void *cookie)
{
    output_pump(cookie);
}

static void pump_all(struct bus_completion *completion)
{
    struct console *console = (struct console *)((char *)completion
                                                 - offsetof(struct console, again));

    console->again_posted = false;
    for (unsigned i = 0; i < VIRTIO_CONSOLE_PORTS; i++) {
        input_pump(&console->port[i]);
        output_pump(&console->port[i]);
    }
}

/* ---- what the driver says ---- */

static void control_message(struct console *console, const struct virtio_console_control *message)
{
    if (message->event == VIRTIO_CONSOLE_DEVICE_READY) {
        for (unsigned i = 0; i < VIRTIO_CONSOLE_PORTS && message->value == 1; i++)
            if (console->port[i].exists)
                tell(&console->port[i], TELL_ADD);
        return;
    }
    if (message->port >= VIRTIO_CONSOLE_PORTS || !console->port[message->port].exists)
        return;
    struct console_port *port = &console->port[message->port];
    if (message->event == VIRTIO_CONSOLE_PORT_READY && message->value == 1) {
        tell(port, TELL_NAME | TELL_OPEN | (port->number == 0 ? TELL_CONSOLE | TELL_SIZE : 0)
                       | (port->out_broken ? TELL_ERROR | TELL_CLOSED : 0));
    } else if (message->event == VIRTIO_CONSOLE_PORT_OPEN) {
        port->opened = message->value == 1;
        input_pump(port);
    }
}

static void control_listen(struct console *console)
{
    struct virtio_device *device = &console->virtio;
    struct virtio_console_control message;
    struct virtio_chain chain;

    while (virtqueue_take(device, VIRTIO_CONSOLE_CONTROL_OUT, &chain)) {
        size_t length = chain_read(&chain, 0, &message, sizeof message);
        virtqueue_put(device, VIRTIO_CONSOLE_CONTROL_OUT, &chain, 0);
        if (length == sizeof message)
            control_message(console, &message);
    }
    virtqueue_signal(device, VIRTIO_CONSOLE_CONTROL_OUT);
}

/* ---- the model ---- */

static void console_notify(struct virtio_device *device, unsigned queue)
{
    struct console *console = console_of(device);

    if (queue == VIRTIO_CONSOLE_CONTROL_IN)
        control_tell(console);
    else if (queue == VIRTIO_CONSOLE_CONTROL_OUT)
        control_listen(console);
    else {
        struct console_port *port = &console->port[queue < 2 ? 0 : queue / 2 - 1];
        if (queue % 2 == 0)
            input_pump(port);
        else
            output_pump(port);
    }
}

static void console_stop(struct virtio_device *device)
{
    struct console *console = console_of(device);

    for (unsigned i = 0; i < VIRTIO_CONSOLE_PORTS; i++) {
        struct console_port *port = &console->port[i];
        port->tell = 0;
        port->opened = false;
        port->end_told = false;             /* the next driver is told again */
        if (port->out != NULL)
            host_stream_want(port->out, false);
        if (port->ring != NULL)
            ring_rewind(port);
        if (port->sending) {
            port->sending = false;
            port->shown += port->chain.readable_bytes - port->sent;
            virtqueue_put(device, queue_out(i), &port->chain, 0);
        }
    }
}

static uint32_t console_read_config(struct virtio_device *device, uint32_t offset)
{
    const struct virtio_console_config *config = &console_of(device)->config;
    uint32_t word;

    if (offset > sizeof *config - sizeof word)
        return 0;
    memcpy(&word, (const char *)config + offset, sizeof word);
    return word;
}

static void console_destroy(struct virtio_device *device)
{
    struct console *console = console_of(device);

    bus_cancel(console->bus, &console->again);
    for (unsigned i = 0; i < VIRTIO_CONSOLE_PORTS; i++) {
        host_stream_close(console->port[i].in);
        host_stream_close(console->port[i].out);
        free(console->port[i].ring);
    }
    free(console);
}

static const struct virtio_model console_model = {
    .features = VIRTIO_CONSOLE_F_SIZE | VIRTIO_CONSOLE_F_MULTIPORT,
    .queues = QUEUES,
    .notify = console_notify,
    .stop = console_stop,
    .read_config = console_read_config,
    .destroy = console_destroy,
};

/* `window`: it exists without descriptors, too. */
static bool port_create(struct console *console, unsigned number, struct bus *bus,
                        struct io_pool *pool, int in, int out, bool window)
{
    struct console_port *port = &console->port[number];

    port->console = console;
    port->number = number;
    port->position = &console->config.position[number];
    port->exists = in >= 0 || out >= 0 || window;
    if (in >= 0 || window) {
        port->ring = malloc(RING_SIZE);
        if (port->ring == NULL)
            return false;
    }
    if (in >= 0) {
        port->in = host_stream_open(bus, pool, in, false, input_ready, port);
        if (port->in == NULL)
            return false;
    }
    if (out >= 0)
        port->out = host_stream_open(bus, pool, out, true, output_ready, port);
    return out < 0 || port->out != NULL;
}

struct device *virtio_console_create(const char *name, const struct device_services *services,
                                     struct bus *bus, struct io_pool *pool,
                                     const struct virtio_console_backing *backing)
{
    struct console *console = calloc(1, sizeof *console);

    if (console == NULL)
        return NULL;
    virtio_init(&console->virtio, name, VIRTIO_TYPE_CONSOLE, &console_model, services, 0,
                QUEUE_SIZE);
    console->config = (struct virtio_console_config){ .columns = backing->columns,
                                                      .rows = backing->rows,
                                                      .ports = VIRTIO_CONSOLE_PORTS };
    console->bus = bus;
    console->again.done = pump_all;
    console->escape = backing->escape;
    console->cookie = backing->cookie;
    console->screen = backing->screen;
    if (!port_create(console, VIRTIO_CONSOLE_TERMINAL, bus, pool, backing->terminal_in,
                     backing->terminal_out, backing->terminal_is_window)
        || !port_create(console, VIRTIO_CONSOLE_STDIN, bus, pool, backing->stdin_descriptor, -1, false)
        || !port_create(console, VIRTIO_CONSOLE_STDOUT, bus, pool, -1, backing->stdout_descriptor, false)
        || !port_create(console, VIRTIO_CONSOLE_STDERR, bus, pool, -1, backing->stderr_descriptor,
                        false)) {
        int error = errno;
        console_destroy(&console->virtio);
        errno = error;
        return NULL;
    }
    for (unsigned i = 0; i < VIRTIO_CONSOLE_PORTS; i++)
        input_pump(&console->port[i]);
    return &console->virtio.device;
}

void virtio_console_type(struct device *device, const uint8_t *bytes, size_t length)
{
    struct console_port *port = &((struct console *)device)->port[VIRTIO_CONSOLE_TERMINAL];

    if (port->ring == NULL)
        return;
    for (size_t i = 0; i < length && port->ring_length < RING_ROOM; i++)
        ring_append(port, bytes[i]);
    input_pump(port);
}

void virtio_console_resize(struct device *device, uint16_t columns, uint16_t rows)
{
    struct console *console = (struct console *)device;

    if (console->config.columns == columns && console->config.rows == rows)
        return;
    console->config.columns = columns;
    console->config.rows = rows;
    virtio_config_changed(&console->virtio);
    if (console->port[VIRTIO_CONSOLE_TERMINAL].opened)
        tell(&console->port[VIRTIO_CONSOLE_TERMINAL], TELL_SIZE);
}
