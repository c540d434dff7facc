/* client.c: an actor that plays om towards the disk driver and pm towards dm, and checks what it gets. With an argument, the
 * name of a server that dies again and again meanwhile, it repeats what was lost, as om and pm do. */
#include <chorus.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <asm/ioctls.h>

#include <server/client.h>

#include "protocol/block.h"
#include "protocol/tty.h"

#define PATIENCE 20000000000ll

static int failures;
static const char *dying;

static void check(int holds, const char *sentence)
{
    printf("%s - %s\n", holds ? "ok" : "not ok", sentence);
    failures += !holds;
}

static KnTime time_now(void)
{
    KnTime now;
    sysTime(&now);
    return now;
}

/* ---- the disk ---- */

static KnIpcDest disk;

/* One request, repeated while the driver dies. The number of repetitions in *again, if not NULL. */
static int block(uint32_t operation, uint64_t offset, void *data, size_t length, unsigned *again)
{
    struct block_request request = { .operation = operation, .tag = offset + 1, .offset = offset,
                                     .length = length };
    struct block_reply reply;
    struct client_data bodies = { 0 };
    if (operation == BLOCK_WRITE)
        bodies = (struct client_data){ .out = data, .out_size = length };
    else
        bodies = (struct client_data){ .in = data, .in_size = length };
    for (int i = 0; i < 1000; i++) {
        int size = client_call_patiently(&disk, &request, sizeof request, &reply, sizeof reply,
                                         &bodies, PATIENCE);
        if (size >= 0)
            return reply.status == 0 && reply.tag != offset + 1 ? -EPROTO : reply.status;
        if (again != NULL)
            ++*again;
    }
    return -ETIMEDOUT;
}

struct disk_worker {
    pthread_t thread;
    uint64_t from;
    unsigned rounds, wrong, again;
};

/* Write and read an area of the worker's own. */
static void *disk_work(void *argument)
{
    struct disk_worker *worker = argument;
    uint8_t *out = malloc(65536), *in = malloc(65536);
    for (unsigned round = 0; round < worker->rounds; round++) {
        size_t length = 512 << round % 8;
        uint64_t offset = worker->from + round % 16 * 65536;
        memset(out, (int)(round + worker->from / 4096), length);
        worker->wrong += block(BLOCK_WRITE, offset, out, length, &worker->again) != 0;
        memset(in, 0xee, length);
        worker->wrong += block(BLOCK_READ, offset, in, length, &worker->again) != 0;
        worker->wrong += memcmp(in, out, length) != 0;
        if (round % 50 == 0)
            worker->wrong += block(BLOCK_FLUSH, 0, NULL, 0, &worker->again) != 0;
    }
    free(out);
    free(in);
    return NULL;
}

static void test_disk(void)
{
    struct block_geometry geometry;
    struct block_request request = { .operation = BLOCK_GEOMETRY };
    struct block_reply reply;
    struct client_data bodies = { .in = &geometry, .in_size = sizeof geometry };
    static uint8_t page[4096];
    struct disk_worker worker[4];

    disk = client_group(BLOCK_GROUP_STAMP);
    int size = client_call_patiently(&disk, &request, sizeof request, &reply, sizeof reply, &bodies,
                                     PATIENCE);
    check(size == sizeof geometry && reply.status == 0 && geometry.size == 8 << 20,
          "the disk tells its size");
    check(block(BLOCK_READ, 8 << 20, page, 512, NULL) == -ENXIO, "beyond the end is nothing");
    check(block(BLOCK_READ, 7, page, 512, NULL) == -EINVAL, "a misaligned read is refused");

    for (int i = 0; i < 4; i++) {
        worker[i] = (struct disk_worker){ .from = i * (2u << 20), .rounds = 400 };
        if (pthread_create(&worker[i].thread, NULL, disk_work, &worker[i]) != 0)
            check(0, "a thread starts");
    }
    unsigned wrong = 0, again = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(worker[i].thread, NULL);
        wrong += worker[i].wrong;
        again += worker[i].again;
    }
    check(wrong == 0, "four threads read what they wrote");
    printf("   %u requests were sent again\n", again);

    KnTime begin = time_now();
    for (int i = 0; i < 1000; i++)
        block(BLOCK_READ, 4096, page, 4096, NULL);
    printf("   a read of 4 KB takes %lld ns\n", (long long)(time_now() - begin) / 1000);
    begin = time_now();
    for (int i = 0; i < 1000; i++)
        block(BLOCK_WRITE, 4096 * (uint64_t)i, page, 4096, NULL);
    printf("   a write of 4 KB takes %lld ns\n", (long long)(time_now() - begin) / 1000);
    begin = time_now();
    block(BLOCK_FLUSH, 0, NULL, 0, NULL);
    printf("   then a flush takes %lld us\n", (long long)(time_now() - begin) / 1000);
    static uint8_t big[65536];
    begin = time_now();
    for (uint64_t i = 0; i < 128; i++)
        block(BLOCK_READ, 65536 * i, big, sizeof big, NULL);
    printf("   a read of 64 KB takes %lld ns\n", (long long)(time_now() - begin) / 128);
}

/* ---- terminals ---- */

static KnIpcDest dm;
static int event_port;
static uint64_t me;
static struct tty_reply reply;
static uint8_t bytes[TTY_BODY_MAX];

static int ask(struct tty_request request, const void *body, size_t body_size)
{
    struct client_data data = { .out = body, .out_size = body_size, .in = bytes,
                                .in_size = sizeof bytes };
    int size = client_call_patiently(&dm, &request, sizeof request, &reply, sizeof reply, &data,
                                     PATIENCE);
    return size < 0 ? -ESTALE : reply.status;
}

/* The next notification. */
static struct tty_event event_next(void)
{
    _Alignas(16) struct tty_event event = { 0 };
    KnMsgDesc message = { .annexAddr = &event };
    int port = event_port;
    int status = ipcReceive(&message, &port, PATIENCE);
    if (status < 0)
        printf("   no event: %s\n", knStrError(status));
    return event;
}

/* The next notification is this one. */
static bool ready_next(uint64_t token)
{
    struct tty_event event = event_next();
    bool is = event.kind == TTY_EVENT_READY && event.token == token;
    if (!is)
        printf("   event %x, token %lu instead of %lu, signal %d\n", event.kind,
               (unsigned long)event.token, (unsigned long)token, event.signal);
    return is;
}

static struct tty_identity who = { .pgrp = 10, .sid = 10, .flags = TTY_SESSION_LEADER };

static uint64_t open_device(uint32_t device)
{
    int status = -ESTALE;
    for (int i = 0; i < 200; i++) {             /* the console may not be there yet */
        status = ask((struct tty_request){ .operation = TTY_OPEN, .handle = me, .device = device,
                                           .identity = who }, NULL, 0);
        if (status != -ENXIO)
            break;
        threadDelay(20000000);
    }
    if (status != 0)
        printf("   open of %x: %d\n", device, status);
    return reply.handle;
}

/* Read as pm does for a process that waits. */
static int device_read(uint64_t handle, uint32_t length, uint64_t token)
{
    struct tty_request request = { .operation = TTY_READ, .handle = handle, .length = length,
                                   .token = token, .flags = TTY_NOTIFY, .identity = who };
    for (;;) {
        int status = ask(request, NULL, 0);
        if (status != -EAGAIN)
            return status;
        request.begun = reply.begun;
        if (!ready_next(token))
            return -EPROTO;
    }
}

static int device_write(uint64_t handle, const uint8_t *from, size_t length, uint64_t token)
{
    while (length > 0) {
        int status = ask((struct tty_request){ .operation = TTY_WRITE, .handle = handle,
                                               .token = token, .flags = TTY_NOTIFY,
                                               .identity = who }, from, length);
        if (status == -EAGAIN && ready_next(token))
            continue;
        if (status != 0)
            return status;
        from += reply.length;
        length -= reply.length;
    }
    return 0;
}

static int device_drain(uint64_t handle, uint64_t token)
{
    int status;
    while ((status = ask((struct tty_request){ .operation = TTY_DRAIN, .handle = handle,
                                               .token = token, .flags = TTY_NOTIFY }, NULL, 0))
           == -EAGAIN)
        if (!ready_next(token))
            return -EPROTO;
    return status;
}

static void test_connect(void)
{
    KnUniqueId port;
    event_port = portCreate(K_MYACTOR, &port);
    portEnable(K_MYACTOR, event_port, 10);
    dm = client_group(TTY_GROUP_STAMP);
    struct tty_request request = { .operation = TTY_CONNECT };
    memcpy(&request.event_port, &port, sizeof port);
    check(ask(request, NULL, 0) == 0, "dm knows its client");
    me = reply.handle;
}

static void test_memory_devices(void)
{
    uint64_t null = open_device(TTY_NULL), zero = open_device(TTY_ZERO),
             random = open_device(TTY_URANDOM);
    check(device_read(null, 10, 1) == 0 && reply.length == 0, "null is empty");
    check(device_read(zero, 65536, 1) == 0 && reply.length == 65536 && bytes[65535] == 0,
          "zero is zeros");
    check(device_read(random, 64, 1) == 0 && reply.length == 64, "random is there");
    KnTime begin = time_now();
    for (int i = 0; i < 1000; i++)
        device_read(null, 10, 1);
    printf("   a read of null takes %lld ns\n", (long long)(time_now() - begin) / 1000);
}

static void test_terminal(void)
{
    uint64_t tty = open_device(TTY_HVC);
    check(reply.flags & TTY_BECAME_CONTROLLING, "the terminal is ours");
    check(ask((struct tty_request){ .operation = TTY_IOCTL, .handle = tty, .command = TIOCGWINSZ,
                                    .identity = who }, NULL, 0) == 0
              && reply.argument[0] == 33 && reply.argument[2] == 90, "the terminal has its size");
    check(device_write(tty, (const uint8_t *)"prompt$ ", 8, 2) == 0, "the terminal is written");
    check(device_read(tty, 100, 3) == 0 && reply.length == 6 && memcmp(bytes, "typed\n", 6) == 0,
          "what was typed is read");
    device_write(tty, (const uint8_t *)"wait$ ", 6, 2);
    check(ask((struct tty_request){ .operation = TTY_READ, .handle = tty, .length = 10, .token = 4,
                                    .flags = TTY_NOTIFY, .identity = who }, NULL, 0) == -EAGAIN,
          "then a reader waits");
    struct tty_event event = event_next();
    check(event.kind == TTY_EVENT_SIGNAL && event.signal == SIGINT && event.pgrp == 10,
          "and is interrupted");
    ask((struct tty_request){ .operation = TTY_UNWATCH, .handle = me, .token = 4 }, NULL, 0);
    int drained = device_drain(tty, 5);
    if (drained != 0)
        printf("   %d\n", drained);
    check(drained == 0, "the screen has everything");
}

static void test_pty(void)
{
    uint64_t master = open_device(TTY_PTMX);
    uint32_t number;
    memcpy(&number, reply.argument, sizeof number);
    ask((struct tty_request){ .operation = TTY_IOCTL, .handle = master, .command = TIOCSPTLCK },
        NULL, 0);
    uint64_t slave = open_device(TTY_PTS(number));
    check(device_write(master, (const uint8_t *)"echo\r", 5, 6) == 0
              && device_read(slave, 100, 7) == 0 && reply.length == 5, "a pty passes keys");
    check(device_read(master, 100, 8) == 0 && reply.length == 6, "and echoes them");
}

static void test_streams(void)
{
    uint64_t in = open_device(TTY_STDIN), out = open_device(TTY_STDOUT);
    static uint8_t copy[TTY_BODY_MAX];
    size_t total = 0;
    int status;
    KnTime begin = time_now();
    while ((status = device_read(in, sizeof copy, 20)) == 0 && reply.length > 0) {
        size_t length = reply.length;
        memcpy(copy, bytes, length);
        total += length;
        if ((status = device_write(out, copy, length, 21)) != 0)
            break;
    }
    if (status != 0 || total != 1 << 20)
        printf("   %zu bytes, status %d\n", total, status);
    check(status == 0 && total == 1 << 20, "standard input is read to its end");
    check(device_drain(out, 22) == 0, "standard output is drained");
    printf("   1 MB from standard input to output took %lld us\n",
           (long long)(time_now() - begin) / 1000);
}

/* The console driver dies again and again: what it held is lost, nothing else, and nobody waits for ever. */
static void test_dying_console(void)
{
    uint64_t tty = open_device(TTY_HVC), out = open_device(TTY_STDOUT);
    int wrong = 0;
    for (int i = 0; i < 60; i++) {
        wrong += device_write(tty, (const uint8_t *)"line\n", 5, 30) != 0;
        wrong += device_write(out, bytes, 20000, 31) != 0;
        wrong += device_drain(tty, 32) != 0;
        wrong += device_drain(out, 33) != 0;
        threadDelay(10000000);
    }
    check(wrong == 0, "writing goes on with each new driver");
    /* The person types seldom: drivers come and go while the reader waits. */
    wrong = 0;
    for (int i = 0; i < 6; i++)
        wrong += device_read(tty, 100, 34) != 0 || reply.length != 6 || memcmp(bytes, "typed\n", 6) != 0;
    check(wrong == 0, "what is typed is read, whichever driver brings it");
}

int main(int argc, char **argv)
{
    dying = argc > 1 ? argv[1] : NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (dying == NULL || strcmp(dying, "disk") == 0)
        test_disk();
    if (dying != NULL && strcmp(dying, "console") == 0) {
        test_connect();
        test_dying_console();
        test_memory_devices();
        test_pty();
    }
    if (dying == NULL || strcmp(dying, "disk") == 0) {
        test_connect();
        test_memory_devices();
        test_terminal();
        test_pty();
        test_streams();
    }
    printf("client: %s\n", failures == 0 ? "passed" : "FAILED");
    return failures != 0;
}
