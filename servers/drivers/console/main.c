/* The console driver: an actor between lib/protocol/console.h and the virtio console.
 *
 * It can be replaced: it gives the console back, as if it died, and the next one tells the client to connect anew: so nothing is lost or doubled.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <server/handover.h>
#include <server/server.h>

#include "../common/actor.h"
#include "console.h"

static struct console console;
static struct driver_registers registers;
static unsigned device, intr;
static KnUniqueId own_port;
static KnUniqueId client;               /* where events go; cleared: nowhere yet */
static bool device_is_ours;

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

static int device_claim(void)
{
    int found = driver_device_open(VIRTIO_TYPE_CONSOLE, 0, &intr);

    if (found < 0)
        return found;
    device = (unsigned)found;
    device_is_ours = true;
    driver_registers_init(&registers, &device);
    return K_OK;
}

static int device_begin(void)
{
    if (!console_begin(&console, &registers, driver_memory, event))
        return K_EFAIL;
    int status = portUi(K_MYACTOR, server_port(), &own_port);
    return status == K_OK ? svIntrAttach(intr, server_port()) : status;
}

static int start(void)
{
    int status = device_claim();

    return status == K_OK ? device_begin() : status;
}

/* ---- replacing ---- */

static int hand_over(struct handover_state *state)
{
    int status = deviceClose(device);

    if (status != K_OK)
        return status;
    device_is_ours = false;
    return handover_put(state, &client, sizeof client);
}

/* As the next one, or as the one before once more. */
static void begin_again(void)
{
    if (device_begin() != K_OK) {
        fprintf(stderr, "console: the device does not come back\n");
        exit(1);                            /* the next one has it */
    }
    event(&(struct console_event){ .kind = CONSOLE_EVENT_AGAIN });
}

static void resume(void)
{
    if (!device_is_ours && device_claim() != K_OK)
        exit(1);
    begin_again();
}

/* It is not begun before there is no way back. */
static int take_over(struct handover_state *state, uint32_t version)
{
    int status = version == 1 ? handover_get(state, &client, sizeof client) : K_EINVAL;

    return status == K_OK ? device_claim() : status;
}

static const struct server_handover handover = { .version = 1, .hand_over = hand_over, .resume = resume,
                                                 .take_over = take_over, .taken_over = begin_again };

int main(void)
{
    static const struct server_operation operations[] = {
        { CONSOLE_CONNECT, handle }, { CONSOLE_READ, handle }, { CONSOLE_WRITE, handle },
        { CONSOLE_DRAIN, handle },
    };

    return -server_run(&(struct server){
        .name = "console", .stamp = CONSOLE_GROUP_STAMP, .workers = 1,
        .body_max = CONSOLE_BODY_MAX, .unsupported = -ENOSYS, SERVER_TABLE(operations),
        .start = start, .interrupt = interrupt, .handover = &handover });
}
