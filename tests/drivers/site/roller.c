/* roller: an actor that asks the entropy driver: tests/system/devices_test.py.
 *
 *     roller MILLISECONDS
 *
 * For so long, and twenty times at least, it asks for bytes, good lengths and bad ones. A driver that dies is asked again when the next one is there; any other error, or bytes
 * that are not random, are failures.
 */
#include <errno.h>
#include <protocol/entropy.h>
#include <server/client.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE 5000000000ll /* ns until a driver must be there */

static KnIpcDest driver;
static unsigned failures;

static KnTime now(void)
{
    KnTime time;
    sysTime(&time);
    return time;
}

static int32_t ask(uint32_t length, uint8_t *bytes, size_t room, struct entropy_reply *reply)
{
    struct entropy_request request = { ENTROPY_READ, length };
    KnTime began = now();
    int size;

    do {
        struct client_data data = { .in = bytes, .in_size = room };
        size = client_call(&driver, &request, sizeof request, reply, sizeof *reply, &data, K_FOREVER);
        if (size == K_EUNKNOWN || size == K_EDEAD)
            threadDelay(1000000);
    } while ((size == K_EUNKNOWN || size == K_EDEAD) && now() - began < PATIENCE);
    return size < 0 ? size : reply->status;
}

static void check(int holds, const char *sentence)
{
    if (!holds && failures++ < 10)
        printf("roller: not so: %s\n", sentence);
}

int main(int argc, char **argv)
{
    KnTime end = now() + (argc > 1 ? atoll(argv[1]) : 100) * 1000000;
    static uint8_t bytes[ENTROPY_BYTES_MOST];
    struct entropy_reply reply;
    unsigned asked = 0, seen = 0;

    driver = client_group(ENTROPY_GROUP_STAMP);
    check(ask(0, bytes, sizeof bytes, &reply) == -EINVAL, "no bytes at all are refused");
    check(ask(ENTROPY_BYTES_MOST + 1, bytes, sizeof bytes, &reply) == -EINVAL, "too many bytes are refused");
    check(ask(UINT32_MAX, bytes, sizeof bytes, &reply) == -EINVAL, "4 GB are refused");
    for (; asked < 20 || now() < end; asked++) {
        memset(bytes, 0, sizeof bytes);
        check(ask(sizeof bytes, bytes, sizeof bytes, &reply) == 0 && reply.length == sizeof bytes, "a page of bytes is read");
        for (unsigned i = 0; i < sizeof bytes; i++)
            seen |= 1u << bytes[i] % 32;
        check(seen == UINT32_MAX, "all kinds of bytes are there");
    }
    printf("roller: %u requests, %u failures\n", asked, failures);
    return failures != 0;
}
