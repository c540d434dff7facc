/* Random bytes of the site's entropy device, /dev/hwrng: as its driver gives them, where /dev/random has the Nucleus's generator.
 *
 * The driver is asked by the actor (main.c) for a piece at a time, when somebody reads; whoever reads waits until it has come. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dm.h"

static struct {
    uint8_t bytes[DM_ENTROPY_PIECE];
    size_t length;
    bool asked, failed;
} have;

void hwrng_start(void)
{
    memset(&have, 0, sizeof have);
}

void hwrng_give(const uint8_t *bytes, size_t length)
{
    if (length > sizeof have.bytes)
        length = 0;
    if (length > 0)
        memcpy(have.bytes, bytes, length);
    have.length = length;
    have.failed = length == 0;
    have.asked = false;
    dm_changed();
}

static bool hwrng_can_read(struct dm_file *file, const struct tty_request *request, uint64_t begun, int64_t now, int64_t *ret_deadline)
{
    (void)file, (void)request, (void)begun, (void)now, (void)ret_deadline;
    if (have.length == 0 && !have.failed && !have.asked) {
        have.asked = true;
        dm_host->entropy_ask();
    }
    return have.length > 0 || have.failed;
}

/* Nobody gets what another one had. */
static int hwrng_read(struct dm_file *file, struct dm_call *call)
{
    size_t length = call->request->length < have.length ? call->request->length : have.length;

    (void)file;
    if (have.failed) {
        have.failed = false;            /* the next one asks again */
        return -EIO;
    }
    have.length -= length;
    memcpy(call->body, have.bytes + have.length, length);
    memset(have.bytes + have.length, 0, length);
    call->reply->length = (uint32_t)length;
    return 0;
}

static const struct dm_operations hwrng_operations = { .read = hwrng_read, .can_read = hwrng_can_read };

int hwrng_open(struct dm_file *file, struct dm_call *call)
{
    if (call->request->device != TTY_HWRNG || dm_host->entropy_ask == NULL)
        return -ENXIO;
    file->operations = &hwrng_operations;
    return 0;
}

bool hwrng_node(unsigned index, struct tty_node *node)
{
    if (index > 0 || dm_host->entropy_ask == NULL)
        return false;
    *node = (struct tty_node){ .device = TTY_HWRNG, .mode = 0600 };
    snprintf(node->name, sizeof node->name, "hwrng");
    return true;
}
