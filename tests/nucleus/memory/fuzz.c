/* Calls with arguments that make no sense, mixed with some that do: nothing breaks, nothing is left over, and nobody gets at others' memory. */
#include "mapper.h"

#include <stdlib.h>
#include <string.h>

static void start(void) { world_start_with(4096); }
TestSuite(fuzz, .init = start, .fini = world_end, .timeout = 120);

#define ACTORS 3
#define FILES 3
static struct actor *actors[ACTORS];
static struct file *files[FILES];

static uint64_t number(void)
{
    static const uint64_t edges[] = {0, 1, 4095, 4096, 4097, 0x10000, K_USERBOTTOM, K_USERBOTTOM - 4096, BASE, BASE + 4096, BASE + 0x3ff000,
        BASE + 0x40000, K_USERTOP, K_USERTOP - 4096, K_USERTOP + 4096, 1ull << 44, (1ull << 44) - 4096, 1ull << 47, 1ull << 63, UINT64_MAX,
        UINT64_MAX - 4095, UINT64_MAX - 4096, 0x200000, 65536};
    switch (rand() % 4) {
    case 0:
        return edges[rand() % (sizeof edges / sizeof *edges)];
    case 1:
        return BASE + (uint64_t)(rand() % 600) * PAGE_SIZE;
    case 2:
        return (uint64_t)(1 + rand() % 300) * PAGE_SIZE;
    default:
        return rand() % 20 == 0 ? (uint64_t)rand() << 33 | (uint64_t)rand() : (uint64_t)rand() % 100000;
    }
}

static uint32_t options(void)
{
    static const uint32_t bits[] = {K_READABLE, K_WRITABLE, K_EXECUTABLE, K_ANYWHERE, K_OVERWRITE, K_RESERVED, K_INHERITSHARE, K_INHERITCOPY,
                                    K_INHERITNONE, K_NODEMAND};
    uint32_t options = rand() % 3 ? K_READABLE | K_WRITABLE : 0;
    for (unsigned i = rand() % 3; i > 0; i--)
        options |= bits[rand() % (sizeof bits / sizeof *bits)];
    return rand() % 50 == 0 ? (uint32_t)rand() : options;
}

static void region_calls(struct actor *actor, struct actor *other)
{
    KnRgnDesc rgn = {.startAddr = number(), .size = number(), .options = options(), .endAddr = rand() % 4 ? 0 : number()};
    KnObjDesc obj = {.dataObject = files[rand() % FILES]->cap, .offset = rand() % 2 ? 0 : number(), .size = rand() % 2 ? 0 : number()};
    KnRgnStat stat;
    if (rgn.options & K_NODEMAND && rgn.size > 1 << 20)
        rgn.options &= ~(uint32_t)K_NODEMAND;
    switch (rand() % 9) {
    case 0: CALL(actor, rgnAllocate, 0, ARG(&rgn)); break;
    case 1: CALL(actor, rgnFree, 0, ARG(&rgn)); break;
    case 2: CALL(actor, rgnMap, 0, ARG(&rgn), ARG(&obj)); break;
    case 3: CALL(actor, rgnInit, 0, ARG(&rgn), ARG(&obj)); break;
    case 4: CALL(actor, rgnMapFromActor, 0, ARG(&rgn), ARG(other), number()); break;
    case 5: CALL(actor, rgnInitFromActor, 0, ARG(&rgn), ARG(other), number()); break;
    case 6: CALL(actor, rgnSetProtect, 0, ARG(&rgn)); break;
    case 7: CALL(actor, rgnMove, 0, ARG(&rgn), number(), number()); break;
    case 8: CALL(actor, rgnSetInherit, 0, ARG(&rgn)); CALL(actor, rgnStat, 0, number(), ARG(&stat)); break;
    }
}

static void other_calls(struct actor *actor, struct actor *other)
{
    struct file *file = files[rand() % FILES];
    static const unsigned flags[] = {K_COPYBACK, K_DOWNGRADE, K_INVALIDATE, K_DROP, 0, 7};
    KnVmStat stat;
    uint64_t small = number() % 3000000;
    switch (rand() % 11) {
    case 0: CALL(actor, vmCopy, 0, number(), ARG(other), number(), small); break;
    case 1: CALL(actor, vmLock, 0, number(), number() % 100000); break;
    case 2: CALL(actor, vmUnLock, 0, number(), number() % 1000000); break;
    case 3: CALL(actor, vmAdvise, 0, number(), number(), rand() % 4); break;
    case 4: CALL(actor, sgRead, ARG(&file->cap), number() % (1 << 22), number(), small); break;
    case 5: CALL(actor, sgWrite, ARG(&file->cap), number() % (1 << 22), number(), small); break;
    case 6: CALL(actor, sgFlush, ARG(&file->cap), number(), number(), 0); break;
    case 7: CALL(actor, lcFlush, ARG(&file->lc), number() & ~4095ull, number(), flags[rand() % 6], 0); break;
    case 8: file->ordinal = CALL(actor, lcTrunc, ARG(&file->lc), small);
        if (file->ordinal >= 0)
            file_resize(file, small);
        break;
    case 9: CALL(actor, lcFillZero, ARG(&file->lc), number(), number()); break;
    case 10: CALL(actor, vmStat, 0, ARG(&stat)); CALL(actor, vmCopyString, ARG(other), number(), number(), number()); break;
    }
}

static void touch(struct actor *actor)
{
    uint64_t at = number();
    uint8_t byte;
    int status = rand() % 2 ? user_write(actor, at, 1) : user_read(actor, at, &byte);
    cr_assert(status <= 0 && status >= K_ELIMIT, "%d", status);
    if (status == K_OK && (at < K_USERBOTTOM || at >= K_USERTOP))
        cr_assert_fail("%lx can be touched", at);
}

static void rounds(unsigned seed, unsigned count)
{
    srand(seed);
    for (unsigned i = 0; i < ACTORS; i++)
        actors[i] = actor_new();
    for (unsigned i = 0; i < FILES; i++)
        files[i] = file_new(PAGES(100) * i + 77);
    for (unsigned round = 0; round < count; round++) {
        unsigned i = rand() % ACTORS;
        struct actor *actor = actors[i], *other = actors[rand() % ACTORS];
        for (unsigned k = 0; k < 4; k++)
            region_calls(actor, other);
        other_calls(actor, other);
        for (unsigned k = 0; k < 4; k++)
            touch(actor);
        if (round % 40 == 0) { /* one dies, one is copied */
            actor_end(actor);
            actors[i] = actor_new();
            if (other != actor)
                CALL(other, rgnDup, ARG(actors[i]), 0, 0);
        }
        vm_idle_work();
    }
}

Test(fuzz, nonsense_harms_nobody_1) { rounds(1, 1500); }
Test(fuzz, nonsense_harms_nobody_2) { rounds(2, 1500); }
Test(fuzz, nonsense_harms_nobody_3) { rounds(3, 1500); }
