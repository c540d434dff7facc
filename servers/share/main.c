/* share: a folder of the host, by the file protocol.
 *
 *     share [NUMBER]
 *
 * It does not look into requests: each goes to the device as it came, and the answer comes back when the host's process has it
 * (lib/protocol/share.h). All that it adds is its own name, the port in nodes. It keeps nothing, so when it dies another one is started
 * and everything goes on, open files too; requests that it had are sent once more by nobody, and fail.
 */
#include <errno.h>
#include <protocol/file.h>
#include <protocol/share.h>
#include <server/server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../drivers/common/actor.h"

#define SLOTS 8

struct slot {
    struct file_request *request;       /* and the body, behind it */
    struct file_reply *reply;           /* and the body */
    KnMsgId owner;
    bool busy;
};

static struct driver_registers registers;
static struct virtio_driver driver;
static struct virtio_queue queue;
static struct slot slots[SLOTS];
static unsigned device, intr, number;
static uint64_t port;                   /* ours, as nodes have it */

/* Nodes are ours, but for those that are mounted or were. */
static void name_nodes(const struct slot *slot)
{
    if (slot->reply->error == 0 && slot->request->operation != FILE_STATFS && slot->request->operation != FILE_UNMOUNT &&
        slot->request->operation < FILE_READDIR && slot->request->operation != FILE_READLINK && slot->reply->outcome != FILE_AT_MOUNT)
        slot->reply->node.port = port;
}

/* Answer what is finished. */
static void collect(void)
{
    uint32_t length;
    struct slot *slot;
    do {
        while ((slot = virtio_queue_take(&queue, &length)) != NULL) {
            const size_t head = sizeof *slot->reply;
            if (length < head)
                *slot->reply = (struct file_reply){ .error = -EIO };
            name_nodes(slot);
            server_reply_later(slot->owner, slot->reply, head, slot->reply + 1, length > head ? length - head : 0);
            slot->busy = false;
        }
    } while (virtio_queue_interrupts(&queue, true));
}

static struct slot *slot_take(void)
{
    for (;;) {
        for (unsigned i = 0; i < SLOTS; i++)
            if (!slots[i].busy)
                return &slots[i];
        threadDelay(100000);            /* the host is slow: wait a little */
        collect();
    }
}

static void handle(struct server_request *request)
{
    struct slot *slot = slot_take();
    const size_t head = sizeof *slot->request;
    memcpy(slot->request, request->annex, head);
    memcpy(slot->request + 1, request->body, request->body_size);
    if (server_save(request, &slot->owner) != K_OK)
        return;
    const struct virtio_buffer buffers[] = { { slot->request, (uint32_t)(head + request->body_size), false },
                                             { slot->reply, sizeof *slot->reply + FILE_BODY_MAX, true } };
    slot->busy = virtio_queue_add(&queue, buffers, 2, slot);
    if (!slot->busy) {
        const struct file_reply reply = { .error = -EIO };
        server_reply_later(slot->owner, &reply, sizeof reply, NULL, 0);
        return;
    }
    virtio_queue_kick(&queue);
    collect();
}

static void interrupt(unsigned which, uint64_t count)
{
    (void)which, (void)count;
    virtio_acknowledge(&driver);
    if (virtio_needs_reset(&driver)) {
        fprintf(stderr, "the device stopped; starting again\n");
        exit(1);
    }
    collect();
}

static bool memory_make(void)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        slots[i].request = driver_memory(sizeof *slots[i].request + FILE_BODY_MAX);
        slots[i].reply = driver_memory(sizeof *slots[i].reply + FILE_BODY_MAX);
        if (slots[i].request == NULL || slots[i].reply == NULL)
            return false;
    }
    return true;
}

static int start(void)
{
    KnUniqueId group;
    int found = driver_device_open(SHARE_DEVICE_TYPE, number, &intr);
    if (found < 0)
        return found;
    device = (unsigned)found;
    uiBuild(&group, K_UISTATGROUP, 0, SHARE_GROUP_STAMP + 16 * number);
    memcpy(&port, &group, sizeof port);
    driver_registers_init(&registers, &device);
    void *memory = driver_memory(VIRTIO_DRIVER_QUEUE_MEMORY);
    if (memory == NULL || !memory_make() || !virtio_begin(&driver, &registers, SHARE_DEVICE_TYPE, 0) ||
        !virtio_queue_open(&driver, &queue, 0, memory) || !virtio_ready(&driver))
        return K_EFAIL;
    virtio_queue_interrupts(&queue, true);
    return svIntrAttach(intr, server_port());
}

int main(int argc, char **argv)
{
    char name[16];
    number = argc > 1 ? (unsigned)atoi(argv[1]) % SHARES_MAX : 0;
    snprintf(name, sizeof name, "share%u", number);
    return -server_run(&(struct server){ .name = name, .stamp = SHARE_GROUP_STAMP + 16 * number, .workers = 1, .body_max = FILE_BODY_MAX,
                                         .unsupported = -ENOSYS, .other = handle, .start = start, .interrupt = interrupt });
}
