/* memory_actor.c: memory on the real machine, as an actor sees it: copies of itself, more mappings than the host has, large and small regions.
 * Run by tests/lib/actor/boot_actors.c; says "passed" at its end.
 */
#include <chorus.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096ull
#define RW (K_READABLE | K_WRITABLE)

static int failures;
static uint64_t BASE; /* where there is much room */

static void expect(int good, const char *what, int64_t value)
{
    if (!good) {
        printf("not ok: %s (%ld)\n", what, value);
        failures++;
    }
}

static int64_t allocate(uint64_t at, uint64_t pages, uint32_t options)
{
    KnRgnDesc rgn = {.startAddr = at, .size = pages * PAGE, .options = options | (at == 0 ? K_ANYWHERE : 0)};
    int status = rgnAllocate(K_MYACTOR, &rgn);
    return status == K_OK ? (int64_t)rgn.startAddr : status;
}

static int64_t release(uint64_t at, uint64_t pages)
{
    KnRgnDesc rgn = {.startAddr = at, .size = pages * PAGE};
    return rgnFree(K_MYACTOR, &rgn);
}

static KnTime now(void)
{
    KnTime time;
    sysTime(&time);
    return time;
}

static uint64_t pattern(uint64_t page) { return page * 0x9e3779b97f4a7c15ull + 1; }

/* --- copies of itself --- */

/* Shared by parent and children. */
struct shared {
    volatile int32_t child_bad, child_done, parent_wrote;
};
static struct shared *shared;
static uint64_t *heap;
static uint64_t heap_pages;

/* The child: in a copy of the parent's memory, on a stack of its own, without a libc of its own. */
static void __attribute__((noreturn)) child_main(void)
{
    int32_t bad = 0;
    while (!shared->parent_wrote)
        threadDelay(100000);
    for (uint64_t i = 0; i < heap_pages; i++)
        bad += heap[i * 512] != pattern(i);
    for (uint64_t i = 0; i < heap_pages; i += 2)
        heap[i * 512] = i;
    for (uint64_t i = 0; i < heap_pages; i++)
        bad += heap[i * 512] != (i % 2 == 0 ? i : pattern(i));
    shared->child_bad = bad;
    shared->child_done = 1;
    actorDelete(K_MYACTOR);
    for (;;)
        ;
}

static void fork_once(uint64_t stack, KnTime *copying)
{
    KnCap child;
    KnThreadLid li;
    uint64_t fs_base;
    __asm__("mov %%fs:0, %0" : "=r"(fs_base));
    memset(shared, 0, sizeof *shared);
    int status = actorCreate(K_MYACTOR, &child, K_USERACTOR, K_ACTIVE);
    expect(status == K_OK, "actorCreate", status);
    KnTime begin = now();
    status = rgnDup(&child, K_MYACTOR, 0);
    *copying = now() - begin;
    expect(status == K_OK, "rgnDup", status);
    KnThreadStart start = {.entry = (VmAddr)child_main, .stack = stack + 16 * PAGE - 8, .fsBase = fs_base};
    status = threadCreate(&child, &li, K_ACTIVE, NULL, &start);
    expect(status > 0, "threadCreate", status);
    for (uint64_t i = 0; i < heap_pages; i += 3)
        heap[i * 512] = 7;
    shared->parent_wrote = 1;
    for (int i = 0; i < 20000 && !shared->child_done; i++)
        threadDelay(1000000);
    expect(shared->child_done, "the child ended", 0);
    expect(shared->child_bad == 0, "the child saw what the parent had before", shared->child_bad);
    int bad = 0;
    for (uint64_t i = 0; i < heap_pages; i++) {
        bad += heap[i * 512] != (i % 3 == 0 ? 7 : pattern(i));
        heap[i * 512] = pattern(i);
    }
    expect(bad == 0, "the parent kept its own", bad);
}

static void copies(uint64_t pages, int rounds)
{
    KnTime copying = 0, least = INT64_MAX;
    heap_pages = pages;
    heap = (uint64_t *)allocate(BASE, pages, RW);
    uint64_t stack = allocate(0, 16, RW);
    for (uint64_t i = 0; i < pages; i++)
        heap[i * 512] = pattern(i);
    for (int i = 0; i < rounds; i++) {
        fork_once(stack, &copying);
        least = copying < least ? copying : least;
    }
    printf("copies of %lu pages: rgnDup takes %ld ns\n", pages, least);
    release(BASE, pages);
    release(stack, 16);
}

/* --- more mappings than the host has --- */

#define SPOTS 62000ull

static void many_mappings(void)
{
    uint64_t one = allocate(0, 1, RW);
    *(volatile uint64_t *)one = 1;
    KnTime begin = now();
    for (uint64_t i = 0; i < SPOTS; i++) {
        KnRgnDesc rgn = {.startAddr = BASE + 2 * i * PAGE, .size = PAGE, .options = RW};
        int status = rgnMapFromActor(K_MYACTOR, &rgn, K_MYACTOR, one);
        if (status != K_OK) {
            expect(0, "rgnMapFromActor", status);
            break;
        }
        ++*(volatile uint64_t *)rgn.startAddr;
    }
    for (uint64_t i = 0; i < SPOTS; i += 7)
        ++*(volatile uint64_t *)(BASE + 2 * i * PAGE);
    uint64_t sum = *(volatile uint64_t *)one;
    expect(sum == 1 + SPOTS + (SPOTS + 6) / 7, "every spot shows the same word", (int64_t)sum);
    printf("%llu single pages mapped: %ld ns each\n", SPOTS, (now() - begin) / (int64_t)SPOTS);
    expect(release(BASE, 2 * SPOTS) == K_OK, "rgnFree", 0);
    release(one, 1);
}

/* Protected page by page, all that was written stays, and all can be used. */
static void many_protections(uint64_t pages)
{
    volatile uint64_t *memory = (volatile uint64_t *)allocate(BASE, pages, RW);
    for (uint64_t i = 0; i < pages; i++)
        memory[i * 512] = pattern(i);
    for (uint64_t i = 0; i < pages; i += 2) {
        KnRgnDesc rgn = {.startAddr = BASE + i * PAGE, .size = PAGE, .options = K_READABLE};
        rgnSetProtect(K_MYACTOR, &rgn);
    }
    int bad = 0;
    for (uint64_t i = 0; i < pages; i++) {
        bad += memory[i * 512] != pattern(i);
        if (i % 2 == 1)
            memory[i * 512] = i;
    }
    expect(bad == 0, "pages survive being protected one by one", bad);
    release(BASE, pages);
}

/* --- moving, and touching --- */

static void moves(void)
{
    uint64_t pages = 3000;
    uint64_t *from = (uint64_t *)allocate(BASE, pages, RW);
    for (uint64_t i = 0; i < pages; i++)
        from[i * 512] = pattern(i);
    KnRgnDesc rgn = {.size = 2 * pages * PAGE, .options = K_ANYWHERE};
    KnTime begin = now();
    int status = rgnMove(K_MYACTOR, &rgn, BASE, pages * PAGE);
    KnTime took = now() - begin;
    expect(status == K_OK, "rgnMove", status);
    uint64_t *to = (uint64_t *)rgn.startAddr;
    int bad = 0;
    for (uint64_t i = 0; i < 2 * pages; i++)
        bad += to[i * 512] != (i < pages ? pattern(i) : 0);
    expect(bad == 0, "moved pages keep their contents", bad);
    printf("moving %lu pages takes %ld ns\n", pages, took);
    release(rgn.startAddr, 2 * pages);
}

static void touches(uint64_t pages)
{
    for (int round = 0; round < 3; round++) {
        volatile char *memory = (volatile char *)allocate(BASE, pages, RW);
        KnTime begin = now();
        for (uint64_t i = 0; i < pages; i++)
            memory[i * PAGE] = 1;
        KnTime took = now() - begin;
        begin = now();
        release(BASE, pages);
        printf("touching %lu pages: %ld ns a page; freeing them %ld\n", pages, took / (int64_t)pages, now() - begin);
    }
}

int main(int argc, char **argv)
{
    int supervisor = argc > 1 && strcmp(argv[1], "supervisor") == 0; /* such a space has no copy */
    BASE = (uint64_t)allocate(0, 1 << 18, K_RESERVED);
    release(BASE, 1 << 18);
    shared = (struct shared *)allocate(0, 1, RW | K_INHERITSHARE);
    touches(2000);
    moves();
    if (!supervisor) {
        copies(100, 5);
        copies(10000, 3);
    }
    many_protections(10000);
    many_mappings();
    if (failures == 0)
        printf("passed\n");
    return failures != 0;
}
