/* bad_successor: an actor that begins to take over from a server and then does not: tests/system/replace_test.py.
 *
 *     bad_successor SERVER cancels|ends|faults|forges
 *
 * `forges`: asks for the ports without having begun, and begins with another's capability.
 */
#include <chorus.h>
#include <server/handover.h>
#include <server/variables.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static KnIpcDest predecessor;

static int ask(const void *request, size_t request_size, void *reply, size_t reply_size)
{
    _Alignas(16) uint8_t out[K_CMSGANNEXSIZE] = { 0 }, in[K_CMSGANNEXSIZE] = { 0 };
    KnMsgDesc message = { .annexAddr = out }, answer = { .annexAddr = in };
    memcpy(out, request, request_size);
    int size = ipcCall(&message, K_DEFAULTPORT, &predecessor, &answer, 20000000000ll);
    memcpy(reply, in, reply_size);
    return size;
}

static int simple(uint32_t operation)
{
    int32_t status = K_OK;
    int size = ask(&operation, sizeof operation, &status, sizeof status);
    return size < 0 ? size : status;
}

static void forge(struct handover_begin request)
{
    struct handover_begun begun;
    int commit = simple(HANDOVER_COMMIT), cancel = simple(HANDOVER_CANCEL);
    simple(HANDOVER_PAUSE);
    request.successor.ui.uiHead ^= 1;
    ask(&request, sizeof request, &begun, sizeof begun);
    printf("bad successor: forged: %s, %s, %s\n", knErrorName(commit), knErrorName(cancel), knErrorName(begun.status));
}

int main(int argc, char **argv)
{
    struct handover_begin request = { .operation = HANDOVER_BEGIN, .protocol = HANDOVER_PROTOCOL };
    struct handover_begun begun;
    const char *place = getenv(HANDOVER_VARIABLE), *how = argc > 2 ? argv[2] : "";
    if (place == NULL || sscanf(place, "%8x.%8x", &predecessor.target.uiHead, &predecessor.target.uiTail) != 2)
        return 1;
    actorSelf(&request.successor);
    snprintf(request.server, sizeof request.server, "%s", argc > 1 ? argv[1] : "");
    if (strcmp(how, "forges") == 0) {
        forge(request);
        return 1;
    }
    ask(&request, sizeof request, &begun, sizeof begun);
    threadDelay(2000000); /* its clients wait meanwhile */
    int cancelled = strcmp(how, "cancels") == 0 ? simple(HANDOVER_CANCEL) : 0;
    printf("bad successor: begun: %s, %llu bytes, cancelled: %s\n", knErrorName(begun.status), (unsigned long long)begun.state_size,
           knErrorName(cancelled));
    if (strcmp(how, "faults") == 0)
        __builtin_trap();
    return 1;
}
