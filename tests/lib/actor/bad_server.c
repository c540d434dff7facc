/* bad_server.c: a server that keeps some calls, and then, while its clients wait, does what its argument says:
 *
 *     fault   writes to an address that is not there         stack   calls itself until its stack is used up
 *     loop    never calls anybody again                      memory  takes memory until there is none
 *     wait    nothing: it waits for the next message         exit    ends
 */
#include "bad_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long descend(unsigned long depth)
{
    volatile char room[512];
    memset((char *)room, (int)depth, sizeof room);
    return depth == 0 ? 0 : descend(depth + 1) + (unsigned char)room[depth % sizeof room];
}

static void take_memory(void)
{
    for (size_t size = 1 << 20; size >= 4096; size /= 2)
        for (char *block; (block = malloc(size)) != NULL;)
            memset(block, 1, size);
    printf("malloc fails\n");
    abort();
}

static void deed(const char *what)
{
    if (strcmp(what, "fault") == 0)
        *(volatile int *)0x5550000000 = 1;
    else if (strcmp(what, "stack") == 0)
        printf("%lu", descend(1));
    else if (strcmp(what, "memory") == 0)
        take_memory();
    else if (strcmp(what, "exit") == 0)
        exit(0);
    else if (strcmp(what, "loop") == 0)
        for (volatile unsigned long i = 0;; i++)
            ;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE];
    KnMsgDesc message = { .annexAddr = annex };
    KnUniqueId ui;
    uiBuild(&ui, K_UISTATPORT, 0, BAD_STAMP);
    int port = portDeclare(K_MYACTOR, &ui);
    if (port < 0)
        return 1;
    while (ipcReceive(&message, &port, K_FOREVER) >= 0) {
        struct bad_request request;
        struct bad_reply answer = { .deed_waits = strcmp(what, "wait") == 0 || strcmp(what, "loop") == 0 };
        KnMsgId id;
        memcpy(&request, annex, sizeof request);
        if (request.operation == BAD_HOLD && ipcSave(&id) == K_OK)
            continue;
        if (request.operation == BAD_DO) {
            deed(what);
            ipcSave(&id);
            continue;
        }
        actorSelf(&answer.self);
        memset(annex, 0, sizeof annex);
        memcpy(annex, &answer, sizeof answer);
        ipcReply(&message);
    }
    return 1;
}
