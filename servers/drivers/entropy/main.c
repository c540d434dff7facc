/* The entropy driver: an actor between lib/protocol/entropy.h and a virtio entropy device. The smallest driver, to be copied: docs/devices.md.
 *
 * Each request is saved, given to the device, and answered when the device has finished it: at once, if it was quick, or by its interrupt.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <server/server.h>

#include "../common/actor.h"
#include "entropy.h"

static struct entropy entropy;
static struct driver_registers registers;
static unsigned device, intr;

static void answer_finished(void)
{
    struct entropy_slot *slot;

    while ((slot = entropy_finished(&entropy)) != NULL) {
        struct entropy_reply reply = { .length = slot->got };
        server_reply_later(slot->owner, &reply, sizeof reply, slot->bytes, slot->got);
        entropy_free(slot);
    }
}

static void read_bytes(struct server_request *request)
{
    const struct entropy_request *ask = (const void *)request->annex;
    struct entropy_reply busy = { .status = -EBUSY };
    KnMsgId owner;

    if (ask->length == 0 || ask->length > ENTROPY_BYTES_MOST) {
        server_reply_status(request, -EINVAL);
        return;
    }
    if (server_save(request, &owner) != K_OK)
        return;                         /* nobody waits for an answer */
    if (entropy_ask(&entropy, ask->length, owner) == NULL)
        server_reply_later(owner, &busy, sizeof busy, NULL, 0);
    answer_finished();
}

static void interrupt(unsigned which, uint64_t count)
{
    (void)which, (void)count;
    virtio_acknowledge(&entropy.driver);
    if (virtio_needs_reset(&entropy.driver)) {
        fprintf(stderr, "entropy: the device stopped\n");
        exit(1);                        /* its requests fail with K_EDEAD */
    }
    answer_finished();
}

static int start(void)
{
    int found = driver_device_open(VIRTIO_TYPE_ENTROPY, 0, &intr);

    if (found < 0)
        return found;
    device = (unsigned)found;
    driver_registers_init(&registers, &device);
    return entropy_begin(&entropy, &registers, driver_memory) ? svIntrAttach(intr, server_port()) : K_EFAIL;
}

int main(void)
{
    static const struct server_operation operations[] = { { ENTROPY_READ, read_bytes } };

    return -server_run(&(struct server){ .name = "entropy", .stamp = ENTROPY_GROUP_STAMP, .workers = 1, .body_max = 4096,
                                         .unsupported = -ENOSYS, SERVER_TABLE(operations), .start = start, .interrupt = interrupt });
}
