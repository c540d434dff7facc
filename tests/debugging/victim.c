/* victim.c: an actor that dies of what its argument says, three calls deep, while another of its threads waits.
 *
 *     fault    writes to an address that is not there      jump     calls one
 *     null     calls through a null pointer                  illegal  executes an illegal instruction
 *     divide   divides by zero                               library  hands a bad pointer to the C library
 *     smash    writes over its stack and returns             big      faults with much memory in use
 *     stack    recurses without end                          exit     ends of itself, after many calls
 *     error    makes a call that is refused, and waits     wait     waits: somebody looks at it
 *     error-then-exit  ends after that                        storm    ends after very many calls
 *     last     ends when all others are gone
 */
#include <chorus.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEARLY_ALL (100 << 20)

volatile int victim_mark = 4711; /* found in the core */
static volatile int zero;

static void *sleep_here(void *unused)
{
    threadDelay(K_FOREVER);
    return unused;
}

__attribute__((noinline)) static void smash(void)
{
    volatile char here[16];
    volatile char *at = here;
    for (int i = 0; i < 200 + zero; i++)
        *at++ = (char)0xee;
}

__attribute__((noinline)) static int recurse(int depth)
{
    volatile char here[2000];
    here[0] = (char)depth;
    return depth < 0 ? 0 : recurse(depth + 1) + here[0];
}

volatile char *victim_memory;

__attribute__((noinline)) static void use_memory(void)
{
    volatile char *memory = victim_memory = malloc(NEARLY_ALL);
    for (size_t i = 0; i < NEARLY_ALL; i += 512)
        memory[i] = 1;
    *(volatile int *)0x5550000000 = memory[512];
}

static void call_often(int times)
{
    for (int i = 0; i < times; i++)
        actorSelf(&(KnCap){ 0 });
    exit(0);
}

static void outlive_all(void)
{
    KnActorStat stat;
    while (actorStat(1, &stat) == K_OK)
        threadDelay(1000000);
    exit(0);
}

__attribute__((noinline)) static void die_of(const char *what)
{
    if (strcmp(what, "fault") == 0)
        *(volatile int *)0x5550000000 = 1;
    else if (strcmp(what, "jump") == 0)
        ((void (*)(void))0x5550000000)();
    else if (strcmp(what, "null") == 0)
        ((void (*)(void))(uintptr_t)zero)();
    else if (strcmp(what, "illegal") == 0)
        __asm__ volatile("ud2");
    else if (strcmp(what, "divide") == 0)
        zero = 1000 / zero;
    else if (strcmp(what, "library") == 0)
        zero = (int)strlen((const char *)(uintptr_t)(0x5550000000 + (uint64_t)zero));
    else if (strcmp(what, "smash") == 0)
        smash();
    else if (strcmp(what, "big") == 0)
        use_memory();
    else if (strcmp(what, "stack") == 0)
        zero = recurse(1);
    else if (strcmp(what, "exit") == 0)
        call_often(1000);
    else if (strcmp(what, "storm") == 0)
        call_often(1000000);
    else if (strcmp(what, "last") == 0)
        outlive_all();
    else if (strcmp(what, "error-then-exit") == 0)
        exit(0);
    else
        sleep_here(NULL);
    zero = 2; /* so that the calls above are no jumps */
}

__attribute__((noinline)) static void second_step(const char *what)
{
    die_of(what);
    zero = 3;
}

__attribute__((noinline)) static void first_step(const char *what)
{
    second_step(what);
    zero = 4;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    KnUniqueId ui;
    portCreate(K_MYACTOR, &ui);
    if (argc > 1 && strncmp(argv[1], "error", 5) == 0)
        portDelete(K_MYACTOR, 12345);
    pthread_create(&thread, NULL, sleep_here, NULL);
    threadDelay(10000000);
    first_step(argc > 1 ? argv[1] : "wait");
}
