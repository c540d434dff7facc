/* client.c: an actor that asks the hello server everything once, and compares the answers.
 *
 * Its output is a list of checks in the site's log: "ok ..." or "not ok ...", and "hello-client: passed" at the end.
 */
#include "hello.h"

#include <server/client.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE 5000000000ll /* ns until the server must have started */

static KnIpcDest server;
static int failures;

static void check(int holds, const char *sentence)
{
    printf("%s - %s\n", holds ? "ok" : "not ok", sentence);
    failures += !holds;
}

/* Ask; returns the status: the transport's, or the server's own. */
static int ask(uint32_t operation, uint32_t number, struct hello_reply *reply)
{
    struct hello_request request = { operation, number };
    int size = client_call_patiently(&server, &request, sizeof request, reply, sizeof *reply, NULL,
                                     PATIENCE);
    return size < 0 ? size : reply->status;
}

static int greet(const char *name, size_t size, char *greeting, size_t room)
{
    struct hello_request request = { .operation = HELLO_GREET };
    struct hello_reply reply;
    struct client_data data = { name, size, greeting, room };
    memset(greeting, 0, room);
    int got = client_call(&server, &request, sizeof request, &reply, sizeof reply, &data, K_FOREVER);
    return got < 0 ? got : reply.status;
}

static void *greet_later(void *unused)
{
    char greeting[128];
    threadDelay(20000000);
    greet("the waiter", 10, greeting, sizeof greeting);
    return unused;
}

static void test_greeting(void)
{
    struct hello_reply reply;
    char greeting[128], long_name[HELLO_NAME_MAX + 1];
    memset(long_name, 'x', sizeof long_name);

    check(ask(HELLO_COUNT, 0, &reply) == K_OK && reply.number == 0, "nobody is greeted at first");
    check(greet("", 0, greeting, sizeof greeting) == K_EINVAL, "an empty name is refused");
    check(greet(long_name, sizeof long_name, greeting, sizeof greeting) == K_EINVAL,
          "a name that is too long is refused");
    check(ask(HELLO_STOP + 1, 0, &reply) == K_ENOSYS, "an unknown operation is not supported");
    check(greet("world", 5, greeting, sizeof greeting) == K_OK &&
              strcmp(greeting, "Hello, world!") == 0,
          "a name is greeted");
    check(ask(HELLO_COUNT, 0, &reply) == K_OK && reply.number == 1, "the greeting is counted");
}

static void test_waiting(void)
{
    struct hello_reply reply;
    pthread_t thread;
    int made = pthread_create(&thread, NULL, greet_later, NULL);
    check(made == 0, "a second thread starts");
    if (made != 0)
        return;
    check(ask(HELLO_WAIT, 2, &reply) == K_OK && reply.number == 2,
          "a saved request is answered when its time has come");
    check(pthread_join(thread, NULL) == 0, "the thread is joined");
}

static int abandoned_status;

static void *wait_in_vain(void *unused)
{
    struct hello_request request = { HELLO_WAIT, 1000000 };
    KnMsgDesc out = { .flags = K_ABORTABLE, .annexAddr = (uint8_t[K_CMSGANNEXSIZE]){ 0 } };
    KnMsgDesc in = { .annexAddr = (uint8_t[K_CMSGANNEXSIZE]){ 0 } };
    memcpy(out.annexAddr, &request, sizeof request);
    abandoned_status = ipcCall(&out, K_DEFAULTPORT, &server, &in, K_FOREVER);
    return unused;
}

/* The thread that waits is aborted: the server is told, and somebody else may wait. */
static void test_abort(void)
{
    struct hello_reply reply;
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_in_vain, NULL) != 0)
        return;
    threadDelay(20000000);
    check(ask(HELLO_WAIT, 5, &reply) == K_EBUSY, "one may wait at a time");
    for (KnThreadLid li = 2; li < 8; li++) /* the other one is among them */
        if (li != threadSelf())
            threadAbort(K_MYACTOR, li);
    pthread_join(thread, NULL);
    check(abandoned_status == K_EABORT, "an aborted call returns");
    threadDelay(20000000);
    check(ask(HELLO_WAIT, 2, &reply) == K_OK, "the server has forgotten the aborted request");
}

static void test_end(void)
{
    struct hello_reply reply;
    struct hello_request request = { .operation = HELLO_COUNT };
    check(ask(HELLO_STOP, 0, &reply) == K_OK, "the server says goodbye");
    threadDelay(50000000);
    int status =
        client_call(&server, &request, sizeof request, &reply, sizeof reply, NULL, K_FOREVER);
    check(status == K_EUNKNOWN || status == K_EDEAD, "then it is gone");
}

int main(void)
{
    actorName(K_MYACTOR, NULL, "hello-client\0...................");
    server = client_group(K_STAMP_HELLO);
    test_greeting();
    test_waiting();
    test_abort();
    test_end();
    printf("hello-client: %s\n", failures == 0 ? "passed" : "FAILED");
    return failures != 0;
}
