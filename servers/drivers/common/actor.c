/* What driver actors share: see actor.h. */
#include "actor.h"

#define PAUSE   1000000ll               /* ns */
#define PATIENCE 10000                  /* pauses until a device that is claimed counts as taken */

/* The index-th device of the type. */
static int device_find(uint32_t type, unsigned index, KnDevice *stat)
{
    for (unsigned i = 0; deviceStat(i, stat) == K_OK; i++)
        if (stat->bus == K_DEVICE_VIRTIO && stat->type == type && index-- == 0)
            return K_OK;
    return K_EUNKNOWN;
}

int driver_device_open(uint32_t type, unsigned index, unsigned *ret_intr)
{
    KnDevice stat;
    int status = device_find(type, index, &stat);

    if (status != K_OK)
        return status;
    for (int i = 0; (status = deviceOpen(stat.device)) == K_EBUSY && i < PATIENCE; i++)
        threadDelay(PAUSE);
    *ret_intr = stat.intr;
    return status == K_OK ? (int)stat.device : status;
}

static uint64_t read_register(void *cookie, uint32_t offset)
{
    uint64_t value = 0;

    deviceRead(*(const unsigned *)cookie, offset, &value);
    return value;
}

static void write_register(void *cookie, uint32_t offset, uint64_t value)
{
    deviceWrite(*(const unsigned *)cookie, offset, value);
}

static void pause_a_little(void *cookie)
{
    (void)cookie;
    threadDelay(PAUSE);
}

void driver_registers_init(struct driver_registers *registers, const unsigned *device)
{
    *registers = (struct driver_registers){ .cookie = (void *)device, .read = read_register,
                                            .write = write_register, .pause = pause_a_little };
}

void *driver_memory(size_t size)
{
    KnRgnDesc region = { .size = size, .options = K_READABLE | K_WRITABLE | K_ANYWHERE
                                                | K_NODEMAND | K_NOSWAPOUT };

    if (rgnAllocate(K_MYACTOR, &region) != K_OK)
        return NULL;
    if (vmLock(K_MYACTOR, region.startAddr, region.size) != K_OK) {
        rgnFree(K_MYACTOR, &region);
        return NULL;
    }
    return (void *)region.startAddr;
}
