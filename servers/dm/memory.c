/* The memory devices: null, zero, full, random, urandom. None of them ever waits. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dm.h"

static int null_read(struct dm_file *file, struct dm_call *call)
{
    (void)file, (void)call;
    return 0;
}

static int zero_read(struct dm_file *file, struct dm_call *call)
{
    (void)file;
    memset(call->body, 0, call->request->length);
    call->reply->length = call->request->length;
    return 0;
}

static int random_read(struct dm_file *file, struct dm_call *call)
{
    (void)file;
    dm_host->random(call->body, call->request->length);
    call->reply->length = call->request->length;
    return 0;
}

/* What is written to random is not needed for entropy, and is dropped too. */
static int null_write(struct dm_file *file, struct dm_call *call)
{
    (void)file;
    call->reply->length = (uint32_t)call->body_size;
    return 0;
}

static int full_write(struct dm_file *file, struct dm_call *call)
{
    (void)file;
    return call->body_size == 0 ? 0 : -ENOSPC;
}

static const struct {
    const char *name;
    uint32_t device;
    struct dm_operations operations;
} devices[] = {
    { "null", TTY_NULL, { .read = null_read, .write = null_write } },
    { "zero", TTY_ZERO, { .read = zero_read, .write = null_write } },
    { "full", TTY_FULL, { .read = zero_read, .write = full_write } },
    { "random", TTY_RANDOM, { .read = random_read, .write = null_write } },
    { "urandom", TTY_URANDOM, { .read = random_read, .write = null_write } },
};

#define DEVICES (sizeof devices / sizeof *devices)

int memory_open(struct dm_file *file, struct dm_call *call)
{
    for (unsigned i = 0; i < DEVICES; i++)
        if (devices[i].device == call->request->device) {
            file->operations = &devices[i].operations;
            return 0;
        }
    return -ENXIO;
}

bool memory_node(unsigned index, struct tty_node *node)
{
    if (index >= DEVICES)
        return false;
    *node = (struct tty_node){ .device = devices[index].device, .mode = 0666 };
    snprintf(node->name, sizeof node->name, "%s", devices[index].name);
    return true;
}
