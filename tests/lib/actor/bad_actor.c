/* bad_actor.c: an actor that does what its argument says, and nothing good: others must not suffer.
 *
 *     fault    writes to an address that is not there      code     jumps to one
 *     stack    makes a nucleus call without a stack          illegal  executes an illegal instruction
 *     divide   divides by zero                               loop     never calls anybody
 *     threads  loops in several threads                      wild     makes nucleus calls with wild arguments, then loops
 */
#include <chorus.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static void *loop(void *unused)
{
    for (volatile unsigned long i = 0;; i++)
        ;
    return unused;
}

static void call_without_stack(void)
{
    __asm__ volatile("mov $0x1000, %rsp; call sysNull");
}

static void call_wildly(void)
{
    static const uint64_t wild[] = { 0, 1, 0xfff, 0x10000, 0x7fffffffffff, 0x800000000000, UINT64_MAX, 0x100000000000 };
    typedef int64_t any(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
    void *const calls[] = { ipcSend, ipcReply, rgnStat, actorName, threadContext, sysRandom, sysTime };
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
        for (size_t i = 0; i < 8; i++)
            for (size_t j = 0; j < 8; j++)
                ((any *)calls[c])(wild[i], wild[j], wild[(i + j) % 8], wild[(i * j) % 8], wild[j], wild[i]);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    pthread_t thread;
    printf("about to %s\n", what);
    if (strcmp(what, "fault") == 0)
        *(volatile int *)0x5550000000 = 1;
    else if (strcmp(what, "code") == 0)
        ((void (*)(void))0x5550000000)();
    else if (strcmp(what, "stack") == 0)
        call_without_stack();
    else if (strcmp(what, "illegal") == 0)
        __asm__ volatile("ud2");
    else if (strcmp(what, "divide") == 0)
        __asm__ volatile("div %0" : : "r"(0), "a"(1), "d"(0));
    else if (strcmp(what, "threads") == 0)
        for (int i = 0; i < 4; i++)
            pthread_create(&thread, NULL, loop, NULL);
    else if (strcmp(what, "wild") == 0)
        call_wildly();
    loop(NULL);
}
