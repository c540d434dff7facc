/* bad_server_client.c: calls a server that dies of what it does (bad_server.c), or has to be killed. Calls that it has kept, is at, or has not yet looked at
 * must all return an error. Its output is a list of checks in the site's log, and "bad_server_client: passed" at the end. */
#include "bad_server.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLERS 5
#define PATIENCE 20000000000ll /* ns */

static KnIpcDest server;
static int failures;

static void check(int holds, const char *sentence)
{
    printf("%s - %s\n", holds ? "ok" : "not ok", sentence);
    failures += !holds;
}

static int call(uint32_t operation, struct bad_reply *reply)
{
    _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    struct bad_request request = { operation };
    memcpy(annex, &request, sizeof request);
    KnMsgDesc message = { .annexAddr = annex };
    int status = ipcCall(&message, K_DEFAULTPORT, &server, &message, PATIENCE);
    memcpy(reply, annex, sizeof *reply);
    return status;
}

struct caller {
    uint32_t operation;
    int status;
};

static void *wait_for_it(void *argument)
{
    struct caller *caller = argument;
    struct bad_reply reply;
    caller->status = call(caller->operation, &reply);
    return NULL;
}

int main(void)
{
    struct caller callers[CALLERS] = { { BAD_HOLD, 0 }, { BAD_HOLD, 0 }, { BAD_DO, 0 }, { BAD_HOLD, 0 }, { BAD_CAPABILITY, 0 } };
    pthread_t threads[CALLERS];
    struct bad_reply reply = { 0 };
    uiBuild(&server.target, K_UISTATPORT, 0, BAD_STAMP);
    int status = K_EUNKNOWN;
    for (int tries = 0; tries < 500 && status < 0; tries++) {
        status = call(BAD_CAPABILITY, &reply);
        if (status < 0)
            threadDelay(10000000);
    }
    check(status >= 0, "the server answers");
    for (int i = 0; i < CALLERS; i++) {
        check(pthread_create(&threads[i], NULL, wait_for_it, &callers[i]) == 0, "a caller starts");
        threadDelay(20000000); /* one after the other */
    }
    if (reply.deed_waits)
        check(actorDelete(&reply.self) == K_OK, "the server is killed");
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        bool answered = reply.deed_waits && callers[i].operation == BAD_CAPABILITY && callers[i].status >= 0;
        printf("caller %d: %s\n", i, knStrError(callers[i].status));
        check(answered || callers[i].status == K_EDEAD || callers[i].status == K_EUNKNOWN, "a caller is told that the server is dead");
    }
    check(call(BAD_CAPABILITY, &reply) == K_EUNKNOWN, "its port is gone");
    void *memory = malloc(8 << 20);
    check(memory != NULL, "there is memory again");
    if (memory != NULL)
        memset(memory, 1, 8 << 20);
    if (failures == 0)
        printf("passed\n");
    return 0;
}
