/* handled_client.c: calls message handlers and LAPs in every way, counts the switches of threads, and ends the server with a fault.
 *
 * Its output is a list of checks in the site's log, and "handled_client: passed" at the end.
 */
#include "handled.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define CALLS 5000
#define PATIENCE 10000000000ll /* ns */
#define MS 1000000ll

static KnIpcDest server;
static bool is_supervisor;
static int failures;

static void check(int holds, const char *sentence)
{
    printf("%s - %s\n", holds ? "ok" : "not ok", sentence);
    failures += !holds;
}

static int ask(uint32_t operation, uint64_t number, struct handled_message *answer, uint32_t flags, KnTime delay)
{
    uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    struct handled_message message = { .operation = operation, .number = number };
    KnMsgDesc out = { .flags = flags, .annexAddr = annex }, in = { .annexAddr = annex };
    memcpy(annex, &message, sizeof message);
    int status = ipcCall(&out, K_DEFAULTPORT, &server, &in, delay);
    memcpy(answer, annex, sizeof *answer);
    return status;
}

static int64_t number_of(uint32_t operation, uint64_t number)
{
    struct handled_message answer;
    int status = ask(operation, number, &answer, 0, PATIENCE);
    return status < 0 ? status : answer.status < 0 ? answer.status : (int64_t)answer.number;
}

static KnLapDesc lap_of(const char *name)
{
    KnLapDesc lap = { 0 };
    check(lapResolve(&lap, name, PATIENCE) == K_OK, name);
    return lap;
}

/* ---- counted ---- */

static void test_calls_make_no_switch(void)
{
    KnLapDesc add = lap_of("add");
    KnSysInfo from, to;
    int right = 0;
    sysInfo(&from);
    for (uint64_t i = 0; i < CALLS; i++)
        right += number_of(HANDLED_ADD, i) == (int64_t)i + 1;
    sysInfo(&to);
    check(right == CALLS, "every call is answered");
    check(to.routines - from.routines == CALLS, "by a routine each");
    check(to.direct - from.direct == CALLS, "on the caller's CPU");
    check(to.switches == from.switches, "without a switch of threads");
    right = 0;
    sysInfo(&from);
    for (uint64_t i = 0; i < CALLS; i++)
        right += lapInvoke(&add, i) == (int64_t)i + 1;
    sysInfo(&to);
    check(right == CALLS, "every LAP is called");
    check(to.direct - from.direct == CALLS, "on the caller's CPU");
    check(to.switches == from.switches, "without a switch of threads");
}

static void test_bodies(void)
{
    static char body[K_CMSGSIZEMAX], back[K_CMSGSIZEMAX];
    uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    struct handled_message message = { .operation = HANDLED_REVERSE };
    memcpy(annex, &message, sizeof message);
    for (uint32_t size = 1; size <= sizeof body; size = size * 4 + (size == 1)) {
        if (size > sizeof body / 2)
            size = sizeof body;
        for (uint32_t i = 0; i < size; i++)
            body[i] = (char)(i * 7 + i / 251);
        uint8_t answer[K_CMSGANNEXSIZE];
        KnMsgDesc out = { .annexAddr = annex, .bodyAddr = body, .bodySize = size };
        KnMsgDesc in = { .annexAddr = answer, .bodyAddr = back, .bodySize = sizeof back };
        int got = ipcCall(&out, K_DEFAULTPORT, &server, &in, PATIENCE);
        bool same = got == (int)size;
        for (uint32_t i = 0; i < size && same; i++)
            same = back[i] == body[size - 1 - i];
        check(same, "a body comes back reversed");
    }
}

/* ---- LAPs ---- */

static void test_laps(void)
{
    KnLapDesc peek = lap_of("peek"), fault = lap_of("fault"), libc = lap_of("libc"), none;
    volatile uint64_t word = 0x123456789abcdef;
    check(lapInvoke(&peek, (uint64_t)&word) == (int64_t)word, "a routine reads its caller's memory");
    check(lapInvoke(&peek, 0x10) == K_EFAULT, "and is told of an address that is none");
    check(lapInvoke(&libc, 12) == 8, "a routine uses its libc");
    for (uint64_t how = 1; how <= 3; how++) {
        check(lapInvoke(&fault, how) == K_EFAULT, "a fault is its caller's error");
        check(lapInvoke(&fault, 0) == 7, "and the next call is served");
    }
    check(lapInvoke(&libc, 12) == 8, "with its libc");
    check(number_of(HANDLED_NEST, 5) == 6, "routines nest");
    check(lapResolve(&none, "nobody", K_NODELAY) == K_EUNKNOWN, "a name that nobody has");
    none = peek;
    none.key ^= 1;
    check(lapInvoke(&none, 0) == K_EUNKNOWN, "a descriptor that is wrong");
    struct handled_message answer;
    ask(HANDLED_ADD, 1, &answer, 0, PATIENCE);
    check(lapInvoke(&answer.plain, 5) == (is_supervisor ? 6 : K_EINVAL), "a plain LAP is for supervisor actors");
}

static int64_t sleep_result;

static void *invoke_sleep(void *lap)
{
    sleep_result = lapInvoke(lap, (uint64_t)K_FOREVER);
    return NULL;
}

static void test_withdrawal(void)
{
    KnLapDesc sleep = lap_of("sleep");
    pthread_t thread;
    if (pthread_create(&thread, NULL, invoke_sleep, &sleep) != 0)
        return;
    threadDelay(20 * MS);
    check(number_of(HANDLED_WITHDRAW, 0) == 0, "a LAP is withdrawn although a routine of it waits");
    pthread_join(thread, NULL);
    check(sleep_result == K_EABORT, "whose wait is aborted");
    check(lapInvoke(&sleep, 0) == K_EUNKNOWN, "and it is gone");
}

/* ---- waits, aborts, loops ---- */

struct caller {
    uint32_t operation;
    uint64_t number;
    int status;
    struct handled_message answer;
    volatile KnThreadLid li;
};

static void *call_it(void *argument)
{
    struct caller *caller = argument;
    caller->li = threadSelf();
    caller->status = ask(caller->operation, caller->number, &caller->answer, K_ABORTABLE, PATIENCE);
    return NULL;
}

static bool start(pthread_t *thread, struct caller *caller)
{
    bool started = pthread_create(thread, NULL, call_it, caller) == 0;
    threadDelay(20 * MS);
    return started;
}

static void test_waits(void)
{
    struct caller sleeper = { .operation = HANDLED_SLEEP, .number = 200 * MS }, saver = { .operation = HANDLED_SAVE };
    pthread_t sleeps, saves;
    check(start(&sleeps, &sleeper) && start(&saves, &saver), "two callers start");
    check(number_of(HANDLED_ADD, 1) == 2, "others are served while a routine waits and a request is saved");
    check(number_of(HANDLED_RELEASE, 0) == 0, "the saved one is answered by another routine");
    pthread_join(saves, NULL);
    check(saver.status >= 0, "and returns");
    pthread_join(sleeps, NULL);
    check(sleeper.status >= 0 && sleeper.answer.status == K_OK, "the one that waited, too");
}

static void test_abort(void)
{
    struct caller sleeper = { .operation = HANDLED_SLEEP, .number = (uint64_t)K_FOREVER };
    pthread_t sleeps;
    for (int i = 0; i < 2 * HANDLED_LENDERS; i++) { /* more than could be lost */
        if (!start(&sleeps, &sleeper))
            return;
        threadAbort(K_MYACTOR, sleeper.li);
        pthread_join(sleeps, NULL);
        check(sleeper.status == K_EABORT, "an aborted caller returns, and its routine");
    }
    check(number_of(HANDLED_ADD, 1) == 2, "the lenders are free again");
}

static void test_loop(void)
{
    struct handled_message answer;
    check(ask(HANDLED_LOOP, 0, &answer, 0, 50 * MS) == K_ETIMEOUT, "who calls a routine that loops waits no longer than it wants to");
    check(number_of(HANDLED_ADD, 1) == 2, "others are served meanwhile");
    check(number_of(HANDLED_STOP, 0) == 0, "and end the loop");
}

static void *fault_it(void *argument)
{
    struct handled_message answer;
    *(int *)argument = ask(HANDLED_FAULT, 0, &answer, 0, PATIENCE);
    return NULL;
}

static void test_death(void)
{
    struct caller sleeper = { .operation = HANDLED_SLEEP, .number = (uint64_t)K_FOREVER };
    KnLapDesc add = lap_of("add");
    pthread_t sleeps, faults;
    int status = 0;
    check(start(&sleeps, &sleeper), "a caller starts");
    if (pthread_create(&faults, NULL, fault_it, &status) != 0)
        return;
    pthread_join(faults, NULL);
    check(status == K_EDEAD, "who called the routine that faulted is told");
    pthread_join(sleeps, NULL);
    check(sleeper.status == K_EDEAD, "and who was in another");
    check(number_of(HANDLED_ADD, 1) == K_EUNKNOWN, "the port is gone");
    check(lapInvoke(&add, 1) == K_EUNKNOWN, "and the LAPs");
}

int main(void)
{
    int privilege, status = K_EUNKNOWN;
    struct handled_message answer;
    actorName(K_MYACTOR, NULL, "handled_client\0.................");
    uiBuild(&server.target, K_UISTATPORT, 0, HANDLED_STAMP);
    actorPrivilege(K_MYACTOR, &privilege, NULL);
    is_supervisor = privilege == K_SUPACTOR;
    for (int tries = 0; tries < 500 && status == K_EUNKNOWN; tries++) {
        status = ask(HANDLED_ADD, 1, &answer, 0, PATIENCE);
        threadDelay(10 * MS);
    }
    check(status >= 0, "the server answers");
    test_calls_make_no_switch();
    test_bodies();
    test_laps();
    test_withdrawal();
    test_waits();
    test_abort();
    test_loop();
    test_death();
    if (failures == 0)
        printf("passed\n");
    return 0;
}
