/* The Device Manager's actor.
 *
 * One worker serves the protocol: no request waits. A second thread, the pump, moves bytes between the channels and the
 * console driver; it alone calls the driver, so a driver that is stopped holds up nothing but the console. A third one, made when somebody
 * first reads /dev/hwrng, asks the entropy driver. One lock is around the core; neither holds it while it calls.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dki/dki.h>
#include <server/client.h>
#include <server/core.h>
#include <server/server.h>

#include "channel.h"
#include "dm.h"
#include "picture.h"
#include "protocol/console.h"
#include "protocol/entropy.h"
#include "protocol/virtio.h"

#define CONNECT_PATIENCE 60000000000ll  /* ns for the console driver to be (again) there */
#define ENTROPY_PATIENCE 2000000000ll   /* ns for the entropy driver, which is started when somebody asks */
#define TERMINAL_PIECE   4096           /* taken from the terminal's line at once: what was taken can be flushed no more */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER, entropy_work = PTHREAD_COND_INITIALIZER;

/* Under the lock: */
static bool attention = true;           /* the pump should look at the channels */
static bool entropy_wanted;
static struct {
    bool readable, writable, drainable; /* worth asking the driver: cleared before, set again by events */
} hint[CHANNELS];
static struct server_alarm alarm_clock = { .timer = -1, .armed = INT64_MAX };
static uint64_t connections;            /* to a driver, the number of the present one: the cookie of its watch */
static bool driver_gone;                /* it has died, though no call has told yet; */
static bool driver_is_new;              /* or was replaced */

/* The pump's own: */
static KnIpcDest driver;                /* its own port: the next driver must be connected to first */
static struct {
    uint8_t bytes[2 * CHANNEL_SIZE];    /* the driver accepts up to half of that */
    size_t length, sent;                /* taken from the channel; of that accepted by the driver. What the host has goes */
    uint32_t position;                  /* in the port's bytes */
} outgoing[CHANNELS];
static uint32_t incoming_position[CHANNELS];
static uint8_t incoming[CHANNEL_SIZE];

/* ---- what the core needs ---- */

static bool host_send(uint64_t port, const struct tty_event *event)
{
    return server_notify(port, event);
}

static void host_attend(unsigned number)
{
    (void)number;
    attention = true;
    pthread_cond_signal(&work);
}

/* The driver that is not there is told when it comes. */
static void host_picture_use(bool use)
{
    struct picture_use message = { .operation = PICTURE_USE, .use = use };
    KnIpcDest to = client_group(PICTURE_GROUP_STAMP);

    ipcSend(&(KnMsgDesc){ .annexAddr = &message }, server_port(), &to);
}

/* The clock is claimed by the first who reads it. */
static int64_t host_wall_clock(void)
{
    static bool claimed;
    static unsigned clock;
    uint64_t now;
    KnDevice stat;

    for (unsigned i = 0; !claimed && deviceStat(i, &stat) == K_OK; i++)
        if (stat.bus == K_DEVICE_CLOCK) {
            clock = stat.device;
            claimed = deviceOpen(clock) == K_OK;
        }
    return claimed && deviceRead(clock, CLOCK_DEVICE_NOW, &now) == K_OK ? (int64_t)now : -1;
}

static void settle(void);

static void *entropy_thread(void *unused)
{
    static uint8_t bytes[DM_ENTROPY_PIECE];
    const struct entropy_request request = { ENTROPY_READ, sizeof bytes };
    KnIpcDest to = client_group(ENTROPY_GROUP_STAMP);

    pthread_mutex_lock(&lock);
    for (;;) {
        while (!entropy_wanted)
            pthread_cond_wait(&entropy_work, &lock);
        entropy_wanted = false;
        pthread_mutex_unlock(&lock);
        struct client_data data = { .in = bytes, .in_size = sizeof bytes };
        struct entropy_reply reply = { 0 };
        int size = client_call_patiently(&to, &request, sizeof request, &reply, sizeof reply, &data, ENTROPY_PATIENCE);
        pthread_mutex_lock(&lock);
        hwrng_give(bytes, size >= 0 && reply.status == 0 && reply.length <= sizeof bytes ? reply.length : 0);
        settle();
    }
    return unused;
}

static void host_entropy_ask(void)
{
    static bool started;
    pthread_t thread;

    if (!started && pthread_create(&thread, NULL, entropy_thread, NULL) == 0) {
        pthread_detach(thread);
        started = true;
    }
    if (!started)
        hwrng_give(NULL, 0);
    entropy_wanted = started;
    pthread_cond_signal(&entropy_work);
}

static const struct dm_host host = { .wall_clock = host_wall_clock, .send = host_send, .now = server_now, .random = server_random,
                                     .attend = host_attend, .picture_use = host_picture_use, .entropy_ask = host_entropy_ask };

/* With the lock: tell who waits, and come back when time has something to say. */
static void settle(void)
{
    server_alarm_set(&alarm_clock, dm_settle());
}

/* ---- the pump ---- */

static int driver_call(uint32_t operation, unsigned port, uint32_t length, uint32_t position,
                       struct console_reply *reply, const struct client_data *data)
{
    struct console_request request = { .operation = operation, .port = port, .length = length, .position = position };
    int size = client_call(&driver, &request, sizeof request, reply, sizeof *reply, data, K_FOREVER);

    return size < 0 ? size : K_OK;
}

/* Be told of its death: it may owe an event, and then nobody would call it again. */
static bool driver_watch(const KnUniqueId *port)
{
    pthread_mutex_lock(&lock);
    uint64_t cookie = ++connections;
    pthread_mutex_unlock(&lock);
    return actorWatch(port, server_port(), cookie) == K_OK;
}

/* Find the driver, or wait for the next one; learn what ports there are. */
static bool driver_connect(void)
{
    struct console_request request = { .operation = CONSOLE_CONNECT };
    struct console_reply reply;
    KnUniqueId port, driver_port;

    if (portUi(K_MYACTOR, server_port(), &port) != K_OK)
        return false;
    pthread_mutex_lock(&lock);
    driver_gone = driver_is_new = false;
    pthread_mutex_unlock(&lock);
    memcpy(&request.event_port, &port, sizeof port);
    driver = client_group(CONSOLE_GROUP_STAMP);
    int size = client_call_patiently(&driver, &request, sizeof request, &reply, sizeof reply, NULL,
                                     CONNECT_PATIENCE);
    if (size < 0 || reply.status != 0)
        return false;
    memcpy(&driver_port, &reply.driver_port, sizeof driver_port);
    driver = client_port(&driver_port);
    if (!driver_watch(&driver_port))
        return false;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < CHANNELS; i++) {
        outgoing[i].sent = 0;           /* what is left was the last driver's: once more */
        if (connections == 1) {
            outgoing[i].position = reply.position[i].out;
            incoming_position[i] = reply.position[i].in;
        }
        hint[i].readable = hint[i].writable = hint[i].drainable = true;
        if (reply.ports >> i & 1 && !channel_open(i))
            fprintf(stderr, "dm: no memory for port %u of the console\n", i);
    }
    if (reply.ports & 1)
        channel_resize(reply.columns, reply.rows);
    settle();
    pthread_mutex_unlock(&lock);
    return true;
}

/* Each of these is called with the lock, lets go of it for the call, and returns a K_ error when the driver is gone; *worked
 * says that there may be more to do. */
static int pump_input(unsigned number, bool *worked)
{
    struct console_reply reply;
    struct client_data data = { .in = incoming, .in_size = sizeof incoming };

    if (!hint[number].readable || !channel_wants_input(number))
        return K_OK;
    hint[number].readable = false;
    pthread_mutex_unlock(&lock);
    int status = driver_call(CONSOLE_READ, number, sizeof incoming, incoming_position[number], &reply, &data);
    pthread_mutex_lock(&lock);
    if (status != K_OK || reply.status == -EAGAIN)
        return status;
    hint[number].readable = true;
    *worked = true;
    if (reply.status != 0 || reply.length == 0)
        channel_end_input(number);
    else
        channel_give(number, incoming, reply.length);
    incoming_position[number] += reply.status == 0 ? reply.length : 0;
    settle();
    return K_OK;
}

/* The host has everything before `done`. */
static void outgoing_confirm(unsigned number, uint32_t done)
{
    size_t had = done - outgoing[number].position;

    if (had > outgoing[number].sent)
        return;                         /* no sensible driver */
    outgoing[number].position = done;
    outgoing[number].length -= had;
    outgoing[number].sent -= had;
    memmove(outgoing[number].bytes, outgoing[number].bytes + had, outgoing[number].length);
}

static void outgoing_fail(unsigned number, int error)
{
    outgoing[number].position += (uint32_t)outgoing[number].sent;
    outgoing[number].length = outgoing[number].sent = 0;
    channel_fail_output(number, error);
}

static int pump_output(unsigned number, bool *worked)
{
    struct console_reply reply;
    size_t most = number == CHANNEL_TERMINAL ? TERMINAL_PIECE : CHANNEL_SIZE;

    if (outgoing[number].sent == outgoing[number].length) {
        size_t room = sizeof outgoing[number].bytes - outgoing[number].length;
        outgoing[number].length += channel_take(number, outgoing[number].bytes + outgoing[number].length, most < room ? most : room);
        settle();
    }
    size_t left = outgoing[number].length - outgoing[number].sent;
    if (left == 0 || !hint[number].writable)
        return K_OK;
    hint[number].writable = false;
    pthread_mutex_unlock(&lock);
    struct client_data data = { .out = outgoing[number].bytes + outgoing[number].sent, .out_size = left < CONSOLE_BODY_MAX ? left : CONSOLE_BODY_MAX };
    int status = driver_call(CONSOLE_WRITE, number, 0, outgoing[number].position + (uint32_t)outgoing[number].sent, &reply, &data);
    pthread_mutex_lock(&lock);
    if (status == K_OK && reply.status == -ESTALE)
        return K_EDEAD;                 /* it is another driver than we thought */
    if (status != K_OK || reply.status == -EAGAIN)
        return status;
    hint[number].writable = true;
    hint[number].drainable = true;
    *worked = true;
    if (reply.status != 0) {
        outgoing_fail(number, -reply.status);
    } else {
        outgoing[number].sent += reply.length < left ? reply.length : left;
        outgoing_confirm(number, reply.done);
    }
    settle();
    return K_OK;
}

static int pump_drain(unsigned number)
{
    struct console_reply reply;

    if (outgoing[number].sent < outgoing[number].length || !hint[number].drainable || !channel_wants_drain(number))
        return K_OK;
    hint[number].drainable = false;
    pthread_mutex_unlock(&lock);
    int status = driver_call(CONSOLE_DRAIN, number, 0, 0, &reply, NULL);
    pthread_mutex_lock(&lock);
    if (status != K_OK || reply.status == -EAGAIN)
        return status;
    hint[number].drainable = true;
    if (reply.status != 0) {
        outgoing_fail(number, -reply.status);
    } else {
        outgoing_confirm(number, reply.done);
        if (outgoing[number].length == 0 && channel_takeable(number) == 0)
            channel_flushed(number);
    }
    settle();
    return K_OK;
}

/* Until the driver is gone; returns how that showed. */
static int pump(void)
{
    int status = K_OK;

    pthread_mutex_lock(&lock);
    while (status == K_OK && !driver_gone) {
        bool worked = false;
        attention = false;
        for (unsigned i = 0; i < CHANNELS && status == K_OK; i++) {
            status = pump_input(i, &worked);
            if (status == K_OK)
                status = pump_output(i, &worked);
            if (status == K_OK)
                status = pump_drain(i);
        }
        while (status == K_OK && !worked && !attention && !driver_gone)
            pthread_cond_wait(&work, &lock);
    }
    pthread_mutex_unlock(&lock);
    return status == K_OK ? K_EDEAD : status;
}

static void *pump_thread(void *unused)
{
    for (;;) {
        if (!driver_connect()) {
            fprintf(stderr, "dm: the console driver is not there\n");
            threadDelay(100000000);
            continue;
        }
        int status = pump();
        if (!driver_is_new)
            fprintf(stderr, "dm: the console driver is gone (%s)\n", knStrError(status));
    }
    return unused;
}

/* ---- messages ---- */

static void watch_client(uint64_t event_port)
{
    KnUniqueId port;

    memcpy(&port, &event_port, sizeof port);
    actorWatch(&port, server_port(), 0); /* cookie 0: a client */
}

static void handle(struct server_request *request)
{
    const struct tty_request *ask = (const struct tty_request *)request->annex;
    struct tty_reply reply;

    if (ask->operation == TTY_CONNECT)
        watch_client(ask->event_port);
    pthread_mutex_lock(&lock);
    size_t size = dm_request(ask, &reply, request->body, request->body_size);
    settle();
    pthread_mutex_unlock(&lock);
    server_reply_body(request, &reply, sizeof reply, request->body, size);
}

/* Of the console driver. Hints: a forged one costs a call. */
static void console_event(struct server_request *request)
{
    const struct console_event *event = (const struct console_event *)request->annex;

    if (event->port >= CHANNELS)
        return;
    pthread_mutex_lock(&lock);
    switch (event->kind) {
    case CONSOLE_EVENT_READABLE:
        hint[event->port].readable = true;
        break;
    case CONSOLE_EVENT_WRITABLE:
        hint[event->port].writable = hint[event->port].drainable = true;
        break;
    case CONSOLE_EVENT_AGAIN:
        driver_gone = driver_is_new = true;
        pthread_cond_signal(&work);
        break;
    default:
        channel_resize(event->columns, event->rows);
        settle();
    }
    host_attend(event->port);
    pthread_mutex_unlock(&lock);
}

/* Of the drivers of framebuffer, keyboard and mouse. */
static void picture_event(struct server_request *request)
{
    const struct input_happened *event = (const struct input_happened *)request->annex;

    pthread_mutex_lock(&lock);
    if (event->operation == PICTURE_READY)
        picture_ready((const struct picture_ready *)request->annex);
    else if (event->operation == INPUT_HAPPENED)
        input_happened(event);
    else if (request->body_size >= sizeof(struct input_about))
        input_ready(event->device, request->body);
    settle();
    pthread_mutex_unlock(&lock);
}

/* What of that the site has, the table of its devices tells. */
static void picture_look(void)
{
    unsigned framebuffers = 0, inputs = 0;
    KnDevice stat;

    for (unsigned i = 0; deviceStat(i, &stat) == K_OK; i++) {
        framebuffers += stat.bus == K_DEVICE_VIRTIO && stat.type == VIRTIO_TYPE_GPU;
        inputs += stat.bus == K_DEVICE_VIRTIO && stat.type == VIRTIO_TYPE_INPUT;
    }
    picture_start(framebuffers > 0);
    evdev_start(inputs);
}

static void on_timer(int which, uint64_t cookie, uint32_t overruns)
{
    (void)which, (void)cookie, (void)overruns;
    pthread_mutex_lock(&lock);
    settle();
    pthread_mutex_unlock(&lock);
}

static void gone(const KnWatchMsg *watch)
{
    uint64_t port;

    memcpy(&port, &watch->ui, sizeof port);
    pthread_mutex_lock(&lock);
    if (watch->cookie == 0) {
        dm_client_gone(port);
    } else if (watch->cookie == connections) {
        driver_gone = true;
        pthread_cond_signal(&work);
    }
    settle();
    pthread_mutex_unlock(&lock);
}

static int start(void)
{
    uint32_t epoch;
    pthread_t thread;

    server_random(&epoch, sizeof epoch);
    dm_start(&host, epoch);
    picture_look();
    alarm_clock.timer = timerCreate(server_port(), 0);
    if (alarm_clock.timer < 0)
        return alarm_clock.timer;
    if (pthread_create(&thread, NULL, pump_thread, NULL) != 0)
        return K_ENOMEM;
    pthread_detach(thread);
    return K_OK;
}

int main(void)
{
    static const struct server_operation operations[] = {
        { TTY_CONNECT, handle }, { TTY_OPEN, handle }, { TTY_CLOSE, handle }, { TTY_READ, handle },
        { TTY_WRITE, handle }, { TTY_IOCTL, handle }, { TTY_WATCH, handle },
        { TTY_UNWATCH, handle }, { TTY_SESSION_END, handle }, { TTY_DRAIN, handle },
        { TTY_LIST, handle },
        { CONSOLE_EVENT_READABLE, console_event }, { CONSOLE_EVENT_WRITABLE, console_event },
        { CONSOLE_EVENT_RESIZE, console_event }, { CONSOLE_EVENT_AGAIN, console_event }, { PICTURE_READY, picture_event },
        { INPUT_READY, picture_event }, { INPUT_HAPPENED, picture_event },
    };

    return -server_run(&(struct server){
        .name = "dm", .stamp = TTY_GROUP_STAMP, .workers = 1, .body_max = TTY_BODY_MAX,
        .unsupported = -ENOSYS, SERVER_TABLE(operations), .start = start, .timer = on_timer,
        .gone = gone });
}
