/* prober: an actor that keeps the disk's driver busy, repeats nothing, and counts: tests/system/replace_test.py.
 *
 *     prober THREADS MILLISECONDS OFFSET
 *
 * Each thread writes to an area of its own from OFFSET (in MB) on, and reads back. A call that fails, or data that are not there, are
 * failures. The driver counts, too.
 */
#include <protocol/block.h>
#include <server/client.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static KnIpcDest disk;
static KnTime end;
static uint64_t area;
static atomic_uint requests, failures;
static atomic_int worst_us;

static KnTime now(void)
{
    KnTime time;
    sysTime(&time);
    return time;
}

static void ask(uint32_t operation, uint64_t offset, void *data, size_t length)
{
    struct block_request request = { .operation = operation, .tag = offset, .offset = offset, .length = length };
    struct block_reply reply = { 0 };
    struct client_data bodies = { 0 };
    if (operation == BLOCK_WRITE)
        bodies.out = data, bodies.out_size = length;
    else
        bodies.in = data, bodies.in_size = length;
    KnTime began = now();
    int size = client_call(&disk, &request, sizeof request, &reply, sizeof reply, &bodies, K_FOREVER);
    int us = (int)((now() - began) / 1000), worst = atomic_load(&worst_us);
    while (us > worst && !atomic_compare_exchange_weak(&worst_us, &worst, us))
        ;
    atomic_fetch_add(&requests, 1);
    if ((size < 0 || reply.status != 0 || reply.tag != offset || reply.length != length) && atomic_fetch_add(&failures, 1) < 10)
        printf("prober: operation %x: %d, status %d\n", operation, size, reply.status);
}

static void *probe(void *argument)
{
    uint64_t from = area + (uint64_t)(uintptr_t)argument * (1 << 20);
    unsigned char *out = malloc(65536), *in = malloc(65536);
    for (unsigned round = 1; now() < end; round++) {
        size_t length = 512 << round % 8;
        uint64_t offset = from + round % 16 * 65536;
        memset(out, (int)(round + (uintptr_t)argument), length);
        ask(BLOCK_WRITE, offset, out, length);
        memset(in, 0xee, length);
        ask(BLOCK_READ, offset, in, length);
        if (memcmp(in, out, length) != 0 && atomic_fetch_add(&failures, 1) < 10)
            printf("prober: other data at %llu\n", (unsigned long long)offset);
    }
    free(out);
    free(in);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[32];
    int count = argc > 1 ? atoi(argv[1]) : 4;
    disk = client_group(BLOCK_GROUP_STAMP);
    end = now() + (argc > 2 ? atoll(argv[2]) : 1000) * 1000000;
    area = (uint64_t)(argc > 3 ? atoll(argv[3]) : 1) << 20;
    for (int i = 0; i < count && i < 32; i++)
        if (pthread_create(&threads[i], NULL, probe, (void *)(uintptr_t)i) != 0)
            return 1;
    for (int i = 0; i < count && i < 32; i++)
        pthread_join(threads[i], NULL);
    printf("prober: %u requests, %u failures, the longest took %d us\n", requests, failures, worst_us);
    return failures != 0;
}
