/* The driver of keyboard and mouse: an actor between virtio input devices and dm. It has all of them, and passes on what they tell. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <server/client.h>
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

static int device_start(unsigned number)
{
    int found = driver_device_open(VIRTIO_TYPE_INPUT, number, &devices[number].intr);

    if (found < 0)
        return found;
    devices[number].device = (unsigned)found;
    driver_registers_init(&devices[number].registers, &devices[number].device);
    if (!input_begin(&devices[number].input, &devices[number].registers, driver_memory))
        return K_EFAIL;
    input_about(&devices[number].input, &devices[number].about);
    return svIntrAttach(devices[number].intr, server_port());
}

static int start(void)
{
    pthread_t thread;
    int status = K_OK;

    while (device_count < INPUT_DEVICES && (status = device_start(device_count)) == K_OK)
        device_count++;
    if (device_count == 0)
        return status;
    if (pthread_create(&thread, NULL, announce, NULL) != 0)
        return K_ENOMEM;
    pthread_detach(thread);
    return K_OK;
}

int main(void)
{
    return -server_run(&(struct server){ .name = "input", .stamp = INPUT_GROUP_STAMP, .workers = 1, .body_max = 4096,
                                         .unsupported = -ENOSYS, .start = start, .interrupt = interrupt });
}
