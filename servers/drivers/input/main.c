/* The driver of keyboard and mouse: an actor between virtio input devices and dm. It has all of them, and passes on what they tell.
 *
 * It can be replaced: it passes on what has come, and gives the devices back, which keep what happens until the next one is there. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <server/client.h>
#include <server/handover.h>
#include <server/server.h>

#include "../common/actor.h"
#include "input.h"
#include "protocol/tty.h"

#define ANNOUNCE_AGAIN 10000000ll
#define SEND_AGAIN     1000000ll
#define SENDS_MOST     1000

static struct {
    struct input input;
    struct driver_registers registers;
    unsigned device, intr;
    bool is_ours;
    struct input_about about;
} devices[INPUT_DEVICES];
static unsigned device_count;

/* Events are few: while dm's queue is full, wait for it, but not for ever. */
static void pass_on(unsigned number)
{
    struct input_happened happened = { .operation = INPUT_HAPPENED, .device = number };
    KnMsgDesc message = { .annexAddr = &happened };
    KnIpcDest dm = client_group(TTY_GROUP_STAMP);

    while ((happened.count = input_take(&devices[number].input, happened.entry, INPUT_ENTRIES_MOST)) > 0)
        for (int i = 0; ipcSend(&message, server_port(), &dm) == K_EFULL && i < SENDS_MOST; i++)
            threadDelay(SEND_AGAIN);
}

static void interrupt(unsigned which, uint64_t count)
{
    (void)count;
    for (unsigned i = 0; i < device_count; i++) {
        if (devices[i].intr != which)
            continue;
        virtio_acknowledge(&devices[i].input.driver);
        if (virtio_needs_reset(&devices[i].input.driver)) {
            fprintf(stderr, "input: device %u stopped; starting again\n", i);
            exit(1);
        }
        pass_on(i);
    }
}

static void *announce(void *unused)
{
    KnIpcDest dm = client_group(TTY_GROUP_STAMP);

    for (unsigned i = 0; i < device_count; i++) {
        struct input_happened ready = { .operation = INPUT_READY, .device = i };
        KnMsgDesc message = { .annexAddr = &ready, .bodyAddr = &devices[i].about, .bodySize = sizeof devices[i].about };
        while (ipcSend(&message, server_port(), &dm) < 0)
            threadDelay(ANNOUNCE_AGAIN);    /* dm is not there yet */
    }
    return unused;
}

static int device_claim(unsigned number)
{
    int found = driver_device_open(VIRTIO_TYPE_INPUT, number, &devices[number].intr);

    if (found < 0)
        return found;
    devices[number].device = (unsigned)found;
    devices[number].is_ours = true;
    driver_registers_init(&devices[number].registers, &devices[number].device);
    return K_OK;
}

/* All that there are. */
static int devices_claim(void)
{
    int status = K_OK;

    while (device_count < INPUT_DEVICES && (status = device_claim(device_count)) == K_OK)
        device_count++;
    return device_count == 0 ? status : K_OK;
}

static int devices_begin(void)
{
    int status = K_OK;

    for (unsigned i = 0; i < device_count && status == K_OK; i++) {
        if (!input_begin(&devices[i].input, &devices[i].registers, driver_memory))
            return K_EFAIL;
        input_about(&devices[i].input, &devices[i].about);
        status = svIntrAttach(devices[i].intr, server_port());
        pass_on(i);                     /* what came before there was an interrupt */
    }
    return status;
}

static int start(void)
{
    pthread_t thread;
    int status = devices_claim();

    if (status == K_OK)
        status = devices_begin();
    if (status != K_OK)
        return status;
    if (pthread_create(&thread, NULL, announce, NULL) != 0)
        return K_ENOMEM;
    pthread_detach(thread);
    return K_OK;
}

/* ---- replacing ---- */

static int hand_over(struct handover_state *state)
{
    for (unsigned i = 0; i < device_count; i++) {
        if (!input_end(&devices[i].input))
            return K_ETIMEOUT;
        pass_on(i);
        int status = deviceClose(devices[i].device);
        if (status != K_OK)
            return status;
        devices[i].is_ours = false;
    }
    return handover_put(state, &device_count, sizeof device_count);
}

static void begin_or_die(int status)
{
    if (status == K_OK)
        status = devices_begin();
    if (status == K_OK)
        return;
    fprintf(stderr, "input: a device does not come back\n");
    exit(1);                            /* the next one has them */
}

static void resume(void)
{
    int status = K_OK;

    for (unsigned i = 0; i < device_count && status == K_OK; i++)
        if (!devices[i].is_ours)
            status = device_claim(i);
    begin_or_die(status);
}

/* What the devices tell is taken only when there is no way back. */
static int take_over(struct handover_state *state, uint32_t version)
{
    unsigned count = 0;

    if (version != 1 || handover_get(state, &count, sizeof count) != K_OK)
        return K_EINVAL;
    int status = devices_claim();
    return status == K_OK && device_count != count ? K_EINVAL : status;
}

static void taken_over(void)
{
    begin_or_die(K_OK);
}

static const struct server_handover handover = { .version = 1, .hand_over = hand_over, .resume = resume,
                                                 .take_over = take_over, .taken_over = taken_over };

int main(void)
{
    return -server_run(&(struct server){ .name = "input", .stamp = INPUT_GROUP_STAMP, .workers = 1, .body_max = 4096,
                                         .unsupported = -ENOSYS, .start = start, .interrupt = interrupt, .handover = &handover });
}
