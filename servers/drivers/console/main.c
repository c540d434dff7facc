/* The console driver: an actor between lib/protocol/console.h and the virtio console. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <server/server.h>

#include "../common/actor.h"
#include "console.h"

static struct console console;
static struct driver_registers registers;
static unsigned device, intr;
static KnUniqueId own_port;
static KnUniqueId client;               /* where events go; cleared: nowhere yet */

/* Events are few and never lost: while the client's queue is full, wait for it, but not for ever. */
static void event(const struct console_event *event)
{
    KnIpcDest to = { .target = client, .mode = K_PORTMODE };
    KnMsgDesc message = { .annexAddr = (void *)event };

    if (uiIsCleared(&client))
        return;
    for (int i = 0; ipcSend(&message, server_port(), &to) == K_EFULL && i < 1000; i++)
        threadDelay(1000000);
}

/* A device that stopped is set up anew by a new driver. */
static void look_after_device(void)
{
    if (!console.failed && !virtio_needs_reset(&console.driver))
        return;
    fprintf(stderr, "console: the device stopped; starting again\n");
    exit(1);
}

static void handle(struct server_request *request)
{
    const struct console_request *ask = (const struct console_request *)request->annex;
    struct console_reply reply;

    size_t size = console_request(&console, ask, &reply, request->body, request->body_size);
    if (ask->operation == CONSOLE_CONNECT) {
        memcpy(&client, &ask->event_port, sizeof client);
        memcpy(&reply.driver_port, &own_port, sizeof own_port);
    }
    server_reply_body(request, &reply, sizeof reply, request->body, size);
}

static void interrupt(unsigned which, uint64_t count)
{
    (void)which, (void)count;
    console_interrupt(&console);
    look_after_device();
}

static int start(void)
{
    int found = driver_device_open(VIRTIO_TYPE_CONSOLE, 0, &intr);

    if (found < 0)
        return found;
    device = (unsigned)found;
    driver_registers_init(&registers, &device);
    if (!console_begin(&console, &registers, driver_memory, event))
        return K_EFAIL;
    int status = portUi(K_MYACTOR, server_port(), &own_port);
    return status == K_OK ? svIntrAttach(intr, server_port()) : status;
}

int main(void)
{
    static const struct server_operation operations[] = {
        { CONSOLE_CONNECT, handle }, { CONSOLE_READ, handle }, { CONSOLE_WRITE, handle },
        { CONSOLE_DRAIN, handle },
    };

    return -server_run(&(struct server){
        .name = "console", .stamp = CONSOLE_GROUP_STAMP, .workers = 1,
        .body_max = CONSOLE_BODY_MAX, .unsupported = -ENOSYS, SERVER_TABLE(operations),
        .start = start, .interrupt = interrupt });
}
