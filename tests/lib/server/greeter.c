/* greeter: an actor that keeps the hello server busy, and counts: tests/system/replace_test.py.
 *
 *     greeter THREADS MILLISECONDS
 *
 * Each greeting's answer has a number of its own, from the server's one count. So when all is over the numbers that came must be 1 to
 * the server's count, each once: a call that was lost leaves a gap, one that was served twice another one. Meanwhile one more thread
 * always waits for a count to come (HELLO_WAIT), that is, has a saved request in the server, answered with the count it asked for.
 */
#include <hello/hello.h>
#include <server/client.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS_MAX (1u << 24)

static KnIpcDest server;
static atomic_uchar seen[NUMBERS_MAX / 8]; /* a bit for each number */
static atomic_uint greetings, failures, waits;
static atomic_int worst_us;
static KnTime end;

static KnTime now(void)
{
    KnTime time;
    sysTime(&time);
    return time;
}

static void complain(const char *what, int64_t number)
{
    if (atomic_fetch_add(&failures, 1) < 10)
        printf("greeter: %s: %lld\n", what, (long long)number);
}

static int ask(uint32_t operation, uint32_t number, struct hello_reply *reply, const struct client_data *data)
{
    struct hello_request request = { operation, number };
    int size = client_call(&server, &request, sizeof request, reply, sizeof *reply, data, K_FOREVER);
    return size < 0 ? size : reply->status;
}

static void note_time(KnTime began)
{
    int us = (int)((now() - began) / 1000), worst = atomic_load(&worst_us);
    while (us > worst && !atomic_compare_exchange_weak(&worst_us, &worst, us))
        ;
}

static void greet(void)
{
    char greeting[64] = "";
    struct client_data data = { "load", 4, greeting, sizeof greeting };
    struct hello_reply reply;
    KnTime began = now();
    int status = ask(HELLO_GREET, 0, &reply, &data);
    note_time(began);
    if (status != K_OK) {
        complain("a greeting failed", status);
        return;
    }
    atomic_fetch_add(&greetings, 1);
    if (memcmp(greeting, "Hello, load!", 12) != 0)
        complain("not a greeting", 0);
    if (reply.number == 0 || reply.number >= NUMBERS_MAX)
        complain("a number that cannot be", reply.number);
    else if (atomic_fetch_or(&seen[reply.number / 8], (unsigned char)(1u << reply.number % 8)) & (1u << reply.number % 8))
        complain("a number came twice", reply.number);
}

static void *greet_on(void *unused)
{
    while (now() < end)
        greet();
    return unused;
}

static void *wait_on(void *unused)
{
    struct hello_reply reply;
    while (now() < end) {
        int status = ask(HELLO_COUNT, 0, &reply, NULL);
        uint32_t awaited = reply.number + 50;
        if (status == K_OK)
            status = ask(HELLO_WAIT, awaited, &reply, NULL);
        if (status != K_OK)
            complain("a wait failed", status);
        else if (reply.number < awaited)
            complain("a wait was too short", reply.number);
        atomic_fetch_add(&waits, 1);
    }
    return unused;
}

static void judge(void)
{
    struct hello_reply reply;
    uint32_t number = 0;
    if (ask(HELLO_COUNT, 0, &reply, NULL) != K_OK)
        complain("no count", 0);
    else if (reply.number != greetings)
        complain("the server has another count", reply.number);
    for (uint32_t i = 1; i <= greetings; i++)
        number += (seen[i / 8] >> i % 8) & 1;
    if (number != greetings)
        complain("numbers are missing", greetings - number);
    printf("greeter: %u greetings, %u waits, %u failures, the longest took %d us\n", greetings, waits, failures, worst_us);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 4;
    pthread_t waiter, greeters[64];
    struct hello_request request = { .operation = HELLO_COUNT };
    struct hello_reply reply;
    server = client_group(K_STAMP_HELLO);
    if (client_call_patiently(&server, &request, sizeof request, &reply, sizeof reply, NULL, 5000000000ll) < 0)
        return 1; /* it was started a moment ago, and may need one more */
    end = now() + (argc > 2 ? atoll(argv[2]) : 1000) * 1000000;
    if (threads < 1 || threads > 64 || pthread_create(&waiter, NULL, wait_on, NULL) != 0)
        return 1;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&greeters[i], NULL, greet_on, NULL) != 0)
            return 1;
    for (int i = 0; i < threads; i++)
        pthread_join(greeters[i], NULL);
    for (int i = 0; i < 60; i++)
        greet(); /* so that the last wait ends */
    pthread_join(waiter, NULL);
    judge();
    return failures != 0;
}
