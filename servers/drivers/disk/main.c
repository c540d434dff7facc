/* The disk driver: an actor between lib/protocol/block.h and a virtio disk. Its argument is the number of the disk, 0 if there is none.
 *
 * What the host has in its cache is finished when the doorbell's call returns, so the usual request is answered at once
 * and costs no interrupt. Others are saved, and answered when the interrupt comes.
 *
 * It can be replaced while it is used: it waits until the disk has finished what it has, and gives the device back; its successor claims
 * it. Requests that come meanwhile wait in the port.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <server/handover.h>
#include <server/server.h>

#include "../common/actor.h"
#include "disk.h"

static struct disk disk;
static struct driver_registers registers;
static unsigned device, intr, number;
static bool device_is_ours;
static uint64_t requests;                   /* that came, here and in those before */

/* Answer the finished requests, except `mine`, whose handler does. True: mine was among them. */
static bool collect(const struct disk_slot *mine)
{
    struct disk_slot *slot;
    bool found = false;

    while ((slot = disk_finished(&disk)) != NULL) {
        if (slot == mine) {
            found = true;
            continue;
        }
        server_reply_later(slot->owner, &slot->reply, sizeof slot->reply, slot->data,
                           slot->reply_size);
        disk_free(&disk, slot);
    }
    return found;
}

/* Answer what is finished, and have the rest announced by an interrupt. */
static void collect_and_arm(void)
{
    do {
        collect(NULL);
    } while (disk.busy > 0 && disk_interrupts(&disk, true));
}

/* All slots are taken: wait, a bounded time, until the disk has finished something. */
static struct disk_slot *submit(struct server_request *request, struct block_reply *reply,
                                size_t *reply_size)
{
    struct disk_slot *slot;

    while ((slot = disk_submit(&disk, (const struct block_request *)request->annex, request->body,
                               request->body_size, reply, reply_size)) == NULL
           && reply->status == -EBUSY) {
        threadDelay(100000);
        collect(NULL);
    }
    return slot;
}

static void handle(struct server_request *request)
{
    struct block_reply reply;
    size_t reply_size;
    struct disk_slot *slot = submit(request, &reply, &reply_size);

    requests++;
    if (slot == NULL) {
        server_reply(request, &reply, sizeof reply);
        return;
    }
    if (collect(slot)) {
        /* The answer leaves before the next request is taken: only then is the slot used again. */
        server_reply_body(request, &slot->reply, sizeof slot->reply, slot->data, slot->reply_size);
        disk_free(&disk, slot);
        return;
    }
    if (server_save(request, &slot->owner) != K_OK)
        slot->owner = 0;                    /* nobody waits for the answer, but the disk works on it */
    collect_and_arm();
}

static void interrupt(unsigned which, uint64_t count)
{
    (void)which, (void)count;
    virtio_acknowledge(&disk.driver);
    if (virtio_needs_reset(&disk.driver)) {
        fprintf(stderr, "disk: the device stopped; starting again\n");
        exit(1);                            /* clients send their requests to the next one */
    }
    disk_interrupts(&disk, false);
    collect_and_arm();
}

static int device_begin(void)
{
    int found = driver_device_open(VIRTIO_TYPE_BLOCK, number, &intr);

    if (found < 0)
        return found;
    device = (unsigned)found;
    device_is_ours = true;
    driver_registers_init(&registers, &device);
    return disk_begin(&disk, &registers, driver_memory) ? K_OK : K_EFAIL;
}

static int start(void)
{
    int status = device_begin();

    return status == K_OK ? svIntrAttach(intr, server_port()) : status;
}

/* ---- replacing ---- */

#define LOOKS_MOST 100000                   /* at a disk that does not finish, */
#define LOOK_AGAIN 50000                    /* ns after each other */

static int hand_over(struct handover_state *state)
{
    for (int i = 0; collect(NULL), disk.busy > 0; i++) {
        if (i == LOOKS_MOST)
            return K_ETIMEOUT;
        threadDelay(LOOK_AGAIN);
    }
    int status = deviceClose(device);
    if (status != K_OK)
        return status;
    device_is_ours = false;
    printf("disk%u: handed over after %llu requests\n", number, (unsigned long long)requests);
    handover_put(state, &number, sizeof number);
    return handover_put(state, &requests, sizeof requests);
}

static void resume(void)
{
    if (device_is_ours) {
        collect_and_arm();
    } else if (start() != K_OK) {
        fprintf(stderr, "disk%u: the device does not come back\n", number);
        exit(1);                            /* clients send their requests to the next one */
    }
}

static int take_over(struct handover_state *state, uint32_t version)
{
    unsigned its_number = 0;

    handover_get(state, &its_number, sizeof its_number);
    if (version != 1 || handover_get(state, &requests, sizeof requests) != K_OK || its_number != number)
        return K_EINVAL;
    return device_begin();
}

static void taken_over(void)
{
    if (svIntrAttach(intr, server_port()) != K_OK)
        fprintf(stderr, "disk%u: no interrupts\n", number);
}

static const struct server_handover handover = { .version = 1, .hand_over = hand_over, .resume = resume,
                                                 .take_over = take_over, .taken_over = taken_over };

int main(int argc, char **argv)
{
    static const struct server_operation operations[] = {
        { BLOCK_GEOMETRY, handle }, { BLOCK_READ, handle }, { BLOCK_WRITE, handle },
        { BLOCK_FLUSH, handle }, { BLOCK_DISCARD, handle }, { BLOCK_WRITE_ZEROES, handle },
    };
    char name[16];

    number = argc > 1 ? (unsigned)atoi(argv[1]) % BLOCK_DISKS_MAX : 0;
    snprintf(name, sizeof name, "disk%u", number);
    return -server_run(&(struct server){
        .name = name, .stamp = BLOCK_GROUP_STAMP + 16 * number, .workers = 1,
        .body_max = BLOCK_BODY_MAX, .unsupported = -ENOSYS, SERVER_TABLE(operations),
        .start = start, .interrupt = interrupt, .handover = &handover });
}
