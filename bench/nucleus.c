/* What a nucleus call costs: an actor that measures, and one that answers.
 *
 *   nucleus answer            serve: reply to every message
 *   nucleus handle            the same by a message handler, and by a LAP (a supervisor actor)
 *   nucleus compute           in a loop, for ever
 *   nucleus late              with a better priority than that: tell how late it wakes from sleep, the median and the worst of 1000 times; end the site
 *   nucleus measure           call the other; tell each figure as "name value ns"; end the site
 *   nucleus measure NAME      only what a call costs, as NAME, and if the other has a LAP, what that costs; tell how many switches of threads there were
 *
 * Each figure is the best of some rounds.
 */
#include <chorus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAMP 4000
enum { ROUNDS = 25 }; /* short ones: a round in which others get the CPU says nothing */

static double best_of(void (*run)(long), long n)
{
    double best = 1e30;
    run(n / 10 + 1);
    for (int round = 0; round < ROUNDS; round++) {
        KnTime from, to;
        sysTime(&from);
        run(n);
        sysTime(&to);
        double took = (double)(to - from) / (double)n;
        if (took < best)
            best = took;
    }
    return best;
}

static void null_call(long n)
{
    while (n--)
        sysNull();
}

static KnIpcDest server;
static char body[65536];
static unsigned body_size;

static void call(long n)
{
    uint8_t annex[K_CMSGANNEXSIZE] = {0}, answer[K_CMSGANNEXSIZE];
    while (n--) {
        KnMsgDesc request = {.annexAddr = annex, .bodyAddr = body, .bodySize = body_size}, reply = {.annexAddr = answer};
        if (ipcCall(&request, 0, &server, &reply, K_FOREVER) < 0) {
            printf("ipcCall failed\n");
            return;
        }
    }
}

static KnLapDesc lap;

static void invoke(long n)
{
    while (n--)
        lapInvoke(&lap, 1);
}

static void touch(long pages)
{
    KnRgnDesc region = {.size = (VmSize)pages * K_PAGESIZE, .options = K_READABLE | K_WRITABLE | K_ANYWHERE};
    if (rgnAllocate(K_MYACTOR, &region) != K_OK)
        return;
    for (long i = 0; i < pages; i++)
        ((volatile char *)region.startAddr)[i * K_PAGESIZE] = 1;
    rgnFree(K_MYACTOR, &region);
}

static void answer(void)
{
    KnUniqueId ui;
    uiBuild(&ui, K_UISTATPORT, 0, STAMP);
    int port = portDeclare(K_MYACTOR, &ui);
    uint8_t annex[K_CMSGANNEXSIZE];
    KnMsgDesc message = {.annexAddr = annex, .bodyAddr = body, .bodySize = sizeof body}, reply = {.annexAddr = annex};
    int from = port;
    ipcReceive(&message, &from, K_FOREVER);
    for (;;) {
        message.bodySize = sizeof body;
        from = port;
        ipcReplyReceive(&reply, &message, &from, K_FOREVER);
    }
}

static void handler(const KnMsgDesc *message, void *cookie)
{
    (void)message, (void)cookie;
    static uint8_t annex[K_CMSGANNEXSIZE];
    svMsgHdlReply(&(KnMsgDesc){.annexAddr = annex});
}

static int64_t routine(uint64_t argument, void *cookie)
{
    (void)cookie;
    return (int64_t)argument;
}

static void handle(void)
{
    KnUniqueId ui;
    uiBuild(&ui, K_UISTATPORT, 0, STAMP);
    int port = portDeclare(K_MYACTOR, &ui);
    int status = svMsgHandler(K_MYACTOR, port, handler, 0, NULL);
    if (status == K_OK)
        status = svLapCreate(K_MYACTOR, routine, NULL, K_LAP_SAFE, &lap);
    if (status == K_OK)
        status = svLapBind("bench", &lap);
    if (status == K_OK)
        status = svHandlerServe(K_CMSGSIZEMAX);
    printf("it cannot handle: %s\n", knStrError(status));
}

static void show(const char *name, double value)
{
    printf("%s %.0f ns\n", name, value);
    fflush(stdout);
}

static void compute(void)
{
    for (volatile unsigned long i = 0;; i++)
        ;
}

/* Other actors of the site wait: every switch is of the calls. */
static void show_call(const char *name, void (*run)(long))
{
    KnSysInfo from, to;
    sysInfo(&from);
    show(name, best_of(run, 1000));
    sysInfo(&to);
    printf("%s: %lu switches, %lu routines, %lu on their callers' CPUs\n", name, to.switches - from.switches, to.routines - from.routines,
           to.direct - from.direct);
}

static void measure_call(const char *name)
{
    show("gate_call", best_of(null_call, 5000));
    show_call(name, call);
    if (lapResolve(&lap, "bench", K_NODELAY) == K_OK)
        show_call("lap_call", invoke);
}

static int compare(const void *a, const void *b)
{
    KnTime first = *(const KnTime *)a, second = *(const KnTime *)b;
    return (first > second) - (first < second);
}

static void late(void)
{
    enum { TIMES = 1000 };
    static KnTime found[TIMES];
    KnSched better = {.schedClass = K_SCHED_RR, .priority = K_PRIO_SERVER, .slice = 10000000};
    if (threadScheduler(K_MYACTOR, K_MYSELF, NULL, &better) != K_OK)
        printf("its priority stays\n");
    for (int i = 0; i < TIMES; i++) {
        KnTime from, to;
        const KnTime delay = 1300000 + i * 1000;
        sysTime(&from);
        threadDelay(delay);
        sysTime(&to);
        found[i] = to - from - delay;
    }
    qsort(found, TIMES, sizeof *found, compare);
    show("late_median", (double)found[TIMES / 2]);
    show("late_99", (double)found[TIMES * 99 / 100]);
    show("late_worst", (double)found[TIMES - 1]);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "compute") == 0)
        compute();
    if (argc > 1 && strcmp(argv[1], "late") == 0) {
        late();
        sysShutdown(0, 0);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "answer") == 0)
        answer();
    if (argc > 1 && strcmp(argv[1], "handle") == 0)
        handle();
    uiBuild(&server.target, K_UISTATPORT, 0, STAMP);
    threadDelay(20000000);
    if (argc > 2) {
        measure_call(argv[2]);
        sysShutdown(0, 0);
        return 0;
    }
    show("gate_call", best_of(null_call, 5000));
    show("ipc_call", best_of(call, 500));
    body_size = 4096;
    show("ipc_call_4k", best_of(call, 500));
    body_size = 65536;
    show("ipc_call_64k", best_of(call, 100));
    show("page_touch", best_of(touch, 4096));
    sysShutdown(0, 0);
    return 0;
}
