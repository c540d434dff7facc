/* handled_server.c: a supervisor actor that serves by a message handler and by LAPs only: see handled.h. */
#include "handled.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile int looping;
static volatile int *volatile nowhere = (volatile int *)16;
static KnMsgId saved;
static KnLapDesc add_lap, plain_lap, sleep_lap;

static int64_t lap_add(uint64_t argument, void *cookie)
{
    return (int64_t)(argument + (uintptr_t)cookie);
}

static int64_t lap_peek(uint64_t argument, void *cookie)
{
    KnCap invoker;
    uint64_t word;
    (void)cookie;
    int status = svGetInvoker(&invoker);
    if (status == K_OK)
        status = vmCopy(&invoker, argument, K_MYACTOR, (VmAddr)&word, sizeof word);
    return status == K_OK ? (int64_t)word : status;
}

static int deepen(volatile char *above)
{
    volatile char here[4096];
    here[0] = above[0];
    return (above == NULL ? 0 : deepen(here)) + here[0];
}

static int64_t lap_fault(uint64_t argument, void *cookie)
{
    (void)cookie;
    if (argument == 1)
        *nowhere = 1;
    if (argument == 2)
        ((void (*)(void))0x1234)();
    if (argument == 3)
        return deepen(&(char){ 0 });
    return 7;
}

static int64_t lap_libc(uint64_t argument, void *cookie)
{
    (void)cookie;
    errno = 0;
    volatile double root = sqrt(-(double)argument - 1); /* EDOM, by this thread's errno */
    char *text = malloc(100 + argument);
    snprintf(text, 100, "%.3f %d", (double)argument / 8, errno);
    int64_t length = (int64_t)strlen(text);
    free(text);
    return root == root ? -1 : length;
}

static int64_t lap_sleep(uint64_t argument, void *cookie)
{
    (void)cookie;
    return threadDelay((KnTime)argument);
}

static void reply_saved(void)
{
    uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    if (ipcRestore(&saved) == K_OK)
        ipcReply(&(KnMsgDesc){ .annexAddr = annex });
}

/* HANDLED_RELEASE has a current message of its own, which must not be lost. */
static void release(void)
{
    KnMsgId own;
    if (ipcSave(&own) != K_OK)
        return;
    reply_saved();
    ipcRestore(&own);
}

static int64_t nest(uint64_t number)
{
    int64_t safely = lapInvoke(&add_lap, number);
    return lapInvoke(&plain_lap, number) == safely ? safely : -1;
}

static void reverse(const KnMsgDesc *message)
{
    char *body = message->bodyAddr;
    for (uint32_t i = 0, j = message->bodySize; i + 1 < j--; i++) {
        char first = body[i];
        body[i] = body[j];
        body[j] = first;
    }
}

static void handle(const KnMsgDesc *message, void *cookie)
{
    uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    struct handled_message ask, answer = { .plain = plain_lap };
    KnMsgDesc reply = { .annexAddr = annex };
    (void)cookie;
    memcpy(&ask, message->annexAddr, sizeof ask);
    switch (ask.operation) {
    case HANDLED_ADD: answer.number = ask.number + 1; break;
    case HANDLED_REVERSE:
        reverse(message);
        reply.bodyAddr = message->bodyAddr;
        reply.bodySize = message->bodySize;
        break;
    case HANDLED_SLEEP: answer.status = threadDelay((KnTime)ask.number); break;
    case HANDLED_LOOP:
        looping = 1;
        while (looping)
            ;
        break;
    case HANDLED_STOP: looping = 0; break;
    case HANDLED_SAVE: answer.status = ipcSave(&saved); return;
    case HANDLED_RELEASE: release(); break;
    case HANDLED_NEST: answer.number = (uint64_t)nest(ask.number); break;
    case HANDLED_WITHDRAW: answer.status = svLapDelete(&sleep_lap); break;
    case HANDLED_FAULT: *nowhere = 1; break;
    default: answer.status = K_ENOSYS; break;
    }
    memcpy(annex, &answer, sizeof answer);
    svMsgHdlReply(&reply);
}

static void *lend(void *unused)
{
    svHandlerServe(K_CMSGSIZEMAX);
    return unused;
}

static int lap_make(const char *name, KnLapHdl routine, void *cookie, unsigned options, KnLapDesc *lap)
{
    int status = svLapCreate(K_MYACTOR, routine, cookie, options, lap);
    return status == K_OK && name != NULL ? svLapBind(name, lap) : status;
}

int main(void)
{
    KnUniqueId ui;
    KnLapDesc lap;
    actorName(K_MYACTOR, NULL, "handled_server\0.................");
    uiBuild(&ui, K_UISTATPORT, 0, HANDLED_STAMP);
    int port = portDeclare(K_MYACTOR, &ui);
    int status = svMsgHandler(K_MYACTOR, port, handle, 0, NULL);
    status = status == K_OK ? lap_make("add", lap_add, (void *)1, K_LAP_SAFE, &add_lap) : status;
    status = status == K_OK ? lap_make(NULL, lap_add, (void *)1, 0, &plain_lap) : status;
    status = status == K_OK ? lap_make("peek", lap_peek, NULL, K_LAP_SAFE, &lap) : status;
    status = status == K_OK ? lap_make("fault", lap_fault, NULL, K_LAP_SAFE | K_LAP_SETJMP, &lap) : status;
    status = status == K_OK ? lap_make("libc", lap_libc, NULL, K_LAP_SAFE, &lap) : status;
    status = status == K_OK ? lap_make("sleep", lap_sleep, NULL, K_LAP_SAFE, &sleep_lap) : status;
    for (int i = 1; i < HANDLED_LENDERS && status == K_OK; i++) {
        pthread_t thread;
        status = pthread_create(&thread, NULL, lend, NULL) == 0 ? K_OK : K_ENOMEM;
    }
    if (status == K_OK)
        lend(NULL);
    printf("not ok - the server starts: %s\n", knStrError(status));
    return 1;
}
