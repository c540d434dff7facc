/* The console driver without its actor: see console.h. */
#include "console.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* ---- control ---- */

/* Tell the device; the messages are few, and it takes them at once. */
static void control_send(struct console *console, uint32_t port, uint16_t event, uint16_t value)
{
    uint32_t length;
    bool *done;

    while ((done = virtio_queue_take(&console->control_out, &length)) != NULL)
        *done = false;
    for (unsigned i = 0; i < CONSOLE_CONTROL_BUFFERS; i++) {
        if (console->message_busy[i])
            continue;
        console->message[i] = (struct virtio_console_control){ port, event, value };
        struct virtio_buffer buffer = { &console->message[i], sizeof *console->message, false };
        console->message_busy[i] = virtio_queue_add(&console->control_out, &buffer, 1,
                                                    &console->message_busy[i]);
        virtio_queue_kick(&console->control_out);
        return;
    }
    console->failed = true;
}

static bool buffer_offer(struct virtio_queue *queue, struct console_buffer *buffer, uint32_t size)
{
    struct virtio_buffer part = { buffer->memory, size, true };

    buffer->busy = virtio_queue_add(queue, &part, 1, buffer);
    return buffer->busy;
}

/* ---- ports ---- */

static bool port_memory(struct console *console, struct console_port *port)
{
    size_t in = port->has_input ? CONSOLE_IN_BUFFERS * CONSOLE_IN_SIZE : 0;
    size_t out = port->has_output ? CONSOLE_OUT_BUFFERS * CONSOLE_OUT_SIZE : 0;
    uint8_t *memory = port->memory != NULL ? port->memory : console->memory(in + out);

    if (memory == NULL)
        return false;
    port->memory = memory;
    for (unsigned i = 0; port->has_input && i < CONSOLE_IN_BUFFERS; i++, memory += CONSOLE_IN_SIZE)
        port->in_buffer[i].memory = memory;
    for (unsigned i = 0; port->has_output && i < CONSOLE_OUT_BUFFERS; i++, memory += CONSOLE_OUT_SIZE)
        port->out_buffer[i].memory = memory;
    return true;
}

static void port_add(struct console *console, uint32_t number)
{
    struct console_port *port = &console->port[number];

    if (port->exists)
        return;
    port->has_input = number <= VIRTIO_CONSOLE_STDIN;
    port->has_output = number != VIRTIO_CONSOLE_STDIN;
    if (!port_memory(console, port)) {
        console->failed = true;
        return;
    }
    port->exists = true;
    for (unsigned i = 0; port->has_input && i < CONSOLE_IN_BUFFERS; i++)
        buffer_offer(&port->in, &port->in_buffer[i], CONSOLE_IN_SIZE);
    if (port->has_input) {
        virtio_queue_interrupts(&port->in, true);
        virtio_queue_kick(&port->in);
    }
    control_send(console, number, VIRTIO_CONSOLE_PORT_READY, 1);
    /* Standard input is opened by its first reader. */
    port->opened = number != VIRTIO_CONSOLE_STDIN;
    if (port->opened)
        control_send(console, number, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static void event_send(struct console *console, uint32_t kind, uint32_t port)
{
    console->event(&(struct console_event){ .kind = kind, .port = port,
                                            .columns = console->columns, .rows = console->rows });
}

static void resized(struct console *console, const uint8_t *size)
{
    uint16_t columns_rows[2];

    memcpy(columns_rows, size, sizeof columns_rows);
    console->columns = columns_rows[0];
    console->rows = columns_rows[1];
    event_send(console, CONSOLE_EVENT_RESIZE, VIRTIO_CONSOLE_TERMINAL);
}

static void port_closed(struct console *console, struct console_port *port)
{
    if (port->has_input)
        port->ended = true;
    else if (port->error == 0)
        port->error = EIO;
    (void)console;
}

static void control_message(struct console *console, const uint8_t *bytes, uint32_t length)
{
    struct virtio_console_control message;

    memcpy(&message, bytes, sizeof message);
    if (message.port >= CONSOLE_PORTS)
        return;
    struct console_port *port = &console->port[message.port];
    if (message.event == VIRTIO_CONSOLE_PORT_ADD)
        port_add(console, message.port);
    else if (message.event == VIRTIO_CONSOLE_RESIZE && length >= sizeof message + 4)
        resized(console, bytes + sizeof message);
    else if (message.event == VIRTIO_CONSOLE_PORT_ERROR)
        port->error = message.value;
    else if (message.event == VIRTIO_CONSOLE_PORT_OPEN && message.value == 0)
        port_closed(console, port);
}

static void control_listen(struct console *console)
{
    struct console_buffer *buffer;
    uint32_t length;

    do {
        while ((buffer = virtio_queue_take(&console->control_in, &length)) != NULL) {
            if (length >= sizeof(struct virtio_console_control))
                control_message(console, buffer->memory, length);
            buffer_offer(&console->control_in, buffer, CONSOLE_CONTROL_SIZE);
        }
        virtio_queue_kick(&console->control_in);
    } while (virtio_queue_interrupts(&console->control_in, true));
}

/* ---- input ---- */

/* Put what the device filled behind what arrived. */
static void input_collect(struct console_port *port)
{
    struct console_buffer *buffer;
    uint32_t length;

    if (!port->exists || !port->has_input)
        return;
    do {
        while ((buffer = virtio_queue_take(&port->in, &length)) != NULL) {
            buffer->busy = false;
            buffer->length = length <= CONSOLE_IN_SIZE ? length : CONSOLE_IN_SIZE;
            buffer->taken = 0;
            buffer->next = NULL;
            *port->arrived_end = buffer;
            port->arrived_end = &buffer->next;
        }
    } while (virtio_queue_interrupts(&port->in, true));
}

/* `bytes` NULL: throw away. */
static size_t input_take(struct console_port *port, uint8_t *bytes, size_t length)
{
    size_t done = 0;

    while (port->arrived != NULL && done < length) {
        struct console_buffer *buffer = port->arrived;
        size_t piece = buffer->length - buffer->taken;
        if (piece > length - done)
            piece = length - done;
        if (bytes != NULL)
            memcpy(bytes + done, buffer->memory + buffer->taken, piece);
        buffer->taken += (uint32_t)piece;
        done += piece;
        if (buffer->taken < buffer->length)
            break;
        port->arrived = buffer->next;
        if (port->arrived == NULL)
            port->arrived_end = &port->arrived;
        buffer_offer(&port->in, buffer, CONSOLE_IN_SIZE);
    }
    port->in_position += (uint32_t)done;
    virtio_queue_kick(&port->in);
    return done;
}

/* What arrived from `position` on; what is before that a driver before us has given out. */
static size_t input_take_from(struct console_port *port, uint32_t position, uint8_t *bytes, size_t length)
{
    int32_t known;

    while ((known = (int32_t)(position - port->in_position)) > 0) {
        input_collect(port);
        if (input_take(port, NULL, (size_t)known) == 0)
            return 0;
    }
    return input_take(port, bytes, length);
}

/* The end is told on another queue than the bytes, after them: whoever has seen it looks for bytes once more. */
static size_t do_read(struct console *console, struct console_port *port,
                      const struct console_request *request, struct console_reply *reply,
                      uint8_t *body)
{
    bool ended = port->ended;

    if (!port->has_input || request->length == 0 || request->length > CONSOLE_BODY_MAX) {
        reply->status = -EINVAL;
        return 0;
    }
    if (!port->opened) {
        port->opened = true;
        control_send(console, request->port, VIRTIO_CONSOLE_PORT_OPEN, 1);
    }
    input_collect(port);
    reply->length = (uint32_t)input_take_from(port, request->position, body, request->length);
    if (reply->length == 0 && !ended) {
        reply->status = -EAGAIN;
        port->read_wanted = true;
        /* The doorbell of this very call may have brought something. */
        input_collect(port);
        if (port->arrived != NULL) {
            port->read_wanted = false;
            reply->status = 0;
            reply->length = (uint32_t)input_take_from(port, request->position, body, request->length);
        }
    }
    return reply->length;
}

/* ---- output ---- */

/* True: all buffers have come back. */
static bool output_collect(struct console_port *port)
{
    struct console_buffer *buffer;
    uint32_t length;
    bool idle = true;

    if (!port->exists || !port->has_output)
        return true;
    while ((buffer = virtio_queue_take(&port->out, &length)) != NULL)
        buffer->busy = false;
    for (unsigned i = 0; i < CONSOLE_OUT_BUFFERS; i++)
        idle &= !port->out_buffer[i].busy;
    return idle;
}

static bool output_has_room(const struct console_port *port)
{
    for (unsigned i = 0; i < CONSOLE_OUT_BUFFERS; i++)
        if (!port->out_buffer[i].busy)
            return true;
    return false;
}

static uint32_t output_put(struct console_port *port, const uint8_t *bytes, size_t length)
{
    uint32_t done = 0;

    for (unsigned i = 0; i < CONSOLE_OUT_BUFFERS && done < length; i++) {
        struct console_buffer *buffer = &port->out_buffer[i];
        uint32_t piece = length - done < CONSOLE_OUT_SIZE ? (uint32_t)(length - done)
                                                          : CONSOLE_OUT_SIZE;
        if (buffer->busy)
            continue;
        memcpy(buffer->memory, bytes + done, piece);
        buffer->length = piece;
        struct virtio_buffer part = { buffer->memory, piece, false };
        buffer->busy = virtio_queue_add(&port->out, &part, 1, buffer);
        if (!buffer->busy)
            break;
        done += piece;
    }
    port->out_position += done;
    virtio_queue_kick(&port->out);
    return done;
}

/* The device gives buffers back in their order. */
static uint32_t output_done(struct console_port *port)
{
    uint32_t under_way = 0;

    output_collect(port);
    for (unsigned i = 0; i < CONSOLE_OUT_BUFFERS; i++)
        under_way += port->out_buffer[i].busy ? port->out_buffer[i].length : 0;
    return port->out_position - under_way;
}

static void do_write(struct console_port *port, const struct console_request *request, struct console_reply *reply, const uint8_t *body,
                     size_t body_size)
{
    int32_t had = (int32_t)(port->out_position - request->position);
    size_t skip = had < 0 ? 0 : (size_t)had < body_size ? (size_t)had : body_size;    /* by us, or by a driver before us */

    if (!port->has_output || body_size == 0) {
        reply->status = -EINVAL;
        return;
    }
    if (had < 0) {
        reply->status = -ESTALE;
        return;
    }
    do {
        output_collect(port);
        if (port->error != 0) {
            reply->status = -port->error;
            return;
        }
        reply->length = (uint32_t)skip + output_put(port, body + skip, body_size - skip);
    } while (reply->length == 0 && virtio_queue_interrupts(&port->out, true));
    reply->done = output_done(port);
    if (reply->length == 0) {
        port->write_wanted = true;
        reply->status = -EAGAIN;
    }
}

/* An error is told before the buffer comes back that met it. */
static void do_drain(struct console *console, struct console_port *port,
                     struct console_reply *reply)
{
    if (!port->has_output)
        return;
    while (!output_collect(port)) {
        if (!virtio_queue_interrupts(&port->out, true)) {
            port->drain_wanted = true;
            reply->status = -EAGAIN;
            return;
        }
    }
    control_listen(console);
    reply->done = port->out_position;
    reply->status = -port->error;
}

/* ---- requests and interrupts ---- */

size_t console_request(struct console *console, const struct console_request *request,
                       struct console_reply *reply, uint8_t *body, size_t body_size)
{
    *reply = (struct console_reply){ 0 };
    if (request->operation == CONSOLE_CONNECT) {
        for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
            reply->ports |= (uint32_t)console->port[i].exists << i;
            reply->position[i] = (struct console_position){ console->port[i].in_position, console->port[i].out_position };
        }
        reply->columns = console->columns;
        reply->rows = console->rows;
        return 0;
    }
    if (request->operation < CONSOLE_CONNECT || request->operation > CONSOLE_DRAIN) {
        reply->status = -ENOSYS;
        return 0;
    }
    if (request->port >= CONSOLE_PORTS || !console->port[request->port].exists) {
        reply->status = -ENXIO;
        return 0;
    }
    struct console_port *port = &console->port[request->port];
    control_listen(console);                /* an error may have been told meanwhile */
    switch (request->operation) {
    case CONSOLE_READ: return do_read(console, port, request, reply, body);
    case CONSOLE_WRITE: do_write(port, request, reply, body, body_size); return 0;
    default: do_drain(console, port, reply); return 0;
    }
}

static void port_look(struct console *console, unsigned number)
{
    struct console_port *port = &console->port[number];

    input_collect(port);
    if (port->read_wanted && (port->arrived != NULL || port->ended)) {
        port->read_wanted = false;
        event_send(console, CONSOLE_EVENT_READABLE, number);
    }
    if (!port->write_wanted && !port->drain_wanted)
        return;
    bool idle;
    do {
        idle = output_collect(port);
    } while (!idle && virtio_queue_interrupts(&port->out, true));
    if ((port->write_wanted && (output_has_room(port) || port->error != 0))
        || (port->drain_wanted && idle)) {
        port->write_wanted = port->drain_wanted = false;
        event_send(console, CONSOLE_EVENT_WRITABLE, number);
    }
}

void console_interrupt(struct console *console)
{
    virtio_acknowledge(&console->driver);
    control_listen(console);
    for (unsigned i = 0; i < CONSOLE_PORTS; i++)
        if (console->port[i].exists)
            port_look(console, i);
}

/* ---- beginning ---- */

static bool queues_open(struct console *console, uint8_t *memory)
{
    bool good = virtio_queue_open(&console->driver, &console->control_in, VIRTIO_CONSOLE_CONTROL_IN,
                                  memory)
             && virtio_queue_open(&console->driver, &console->control_out,
                                  VIRTIO_CONSOLE_CONTROL_OUT, memory + 4096);

    for (unsigned i = 0; i < CONSOLE_PORTS && good; i++) {
        struct console_port *port = &console->port[i];
        unsigned first = i == 0 ? 0 : 2 * i + 2;
        good = virtio_queue_open(&console->driver, &port->in, first, memory + 8192 * (i + 1))
            && virtio_queue_open(&console->driver, &port->out, first + 1,
                                 memory + 8192 * (i + 1) + 4096);
        virtio_queue_interrupts(&port->out, false);
        port->arrived_end = &port->arrived;
    }
    return good;
}

/* Where the driver before us was. */
static void positions_read(struct console *console)
{
    uint32_t at = offsetof(struct virtio_console_config, position);

    for (unsigned i = 0; i < CONSOLE_PORTS; i++, at += sizeof(struct virtio_console_position)) {
        console->port[i].in_position = virtio_read_config(&console->driver, at);
        console->port[i].out_position = virtio_read_config(&console->driver, at + 4);
    }
}

bool console_begin(struct console *console, const struct driver_registers *registers,
                   void *(*memory)(size_t size), void (*event)(const struct console_event *event))
{
    const struct console old = *console;
    uint8_t *queues = old.queue_memory != NULL ? old.queue_memory : memory(2 * (CONSOLE_PORTS + 1) * VIRTIO_DRIVER_QUEUE_MEMORY);
    uint8_t *control = old.control_memory != NULL ? old.control_memory
                                                  : memory(CONSOLE_CONTROL_BUFFERS * (CONSOLE_CONTROL_SIZE + sizeof *console->message));

    *console = (struct console){ .memory = memory, .event = event, .queue_memory = queues, .control_memory = control };
    for (unsigned i = 0; i < CONSOLE_PORTS; i++)
        console->port[i].memory = old.port[i].memory;
    if (queues == NULL || control == NULL
        || !virtio_begin(&console->driver, registers, VIRTIO_TYPE_CONSOLE,
                         VIRTIO_CONSOLE_F_SIZE | VIRTIO_CONSOLE_F_MULTIPORT)
        || !virtio_has_feature(&console->driver, VIRTIO_CONSOLE_F_MULTIPORT)
        || !queues_open(console, queues) || !virtio_ready(&console->driver))
        return false;
    positions_read(console);
    uint32_t size = virtio_read_config(&console->driver, 0);
    console->columns = (uint16_t)size;
    console->rows = (uint16_t)(size >> 16);
    for (unsigned i = 0; i < CONSOLE_CONTROL_BUFFERS; i++) {
        console->control_buffer[i].memory = control + i * CONSOLE_CONTROL_SIZE;
        buffer_offer(&console->control_in, &console->control_buffer[i], CONSOLE_CONTROL_SIZE);
    }
    console->message = (void *)(control + CONSOLE_CONTROL_BUFFERS * CONSOLE_CONTROL_SIZE);
    virtio_queue_interrupts(&console->control_out, false);
    virtio_queue_kick(&console->control_in);
    control_send(console, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    control_listen(console);                /* the device answers within the doorbell's call */
    return !console->failed;
}
