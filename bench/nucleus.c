/* What a nucleus call costs: an actor that measures, and one that answers.
 *
 *   nucleus answer            serve: reply to every message
 *   nucleus measure           call the other; tell each figure as "name value ns"; end the site
 *
 * Each figure is the best of some rounds.
 */
#include <chorus.h>
#include <stdio.h>
#include <string.h>

#define STAMP 4000
enum { ROUNDS = 7 };

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

static void show(const char *name, double value)
{
    printf("%s %.0f ns\n", name, value);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "answer") == 0)
        answer();
    uiBuild(&server.target, K_UISTATPORT, 0, STAMP);
    threadDelay(20000000);
    show("gate_call", best_of(null_call, 20000));
    show("ipc_call", best_of(call, 3000));
    body_size = 4096;
    show("ipc_call_4k", best_of(call, 3000));
    body_size = 65536;
    show("ipc_call_64k", best_of(call, 1000));
    show("page_touch", best_of(touch, 4096));
    sysShutdown(0, 0);
    return 0;
}
