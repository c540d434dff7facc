/* Memory in more pieces than a host lets a process have mappings (65,530 by default).
 *
 *   pieces holes COUNT     COUNT pages of one mapping, each beside one that was discarded: for Linux one mapping
 *   pieces protect COUNT   COUNT pages that can be written, each beside one that cannot: as many mappings for Linux, so COUNT is
 *                          below half of the limit
 *
 * All of it is looked at, copied by fork, written on both sides, and made whole again. No call may fail, no page may be wrong.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

#define PAGE 4096ul
#define CHUNK 2048ul /* pages that are there before each other one of them is discarded */

static unsigned char *memory;
static unsigned long count;
static bool holes;

static uint64_t *page(unsigned long number) { return (uint64_t *)(memory + number * PAGE); }
static uint64_t mark(unsigned long number, uint64_t owner) { return number * 0x9e3779b97f4a7c15 ^ owner; }

static void make_pieces(void)
{
    for (unsigned long from = 0; from < 2 * count; from += CHUNK) {
        unsigned long to = from + CHUNK < 2 * count ? from + CHUNK : 2 * count;
        for (unsigned long i = from; i < to; i++)
            *page(i) = mark(i, 1);
        for (unsigned long i = from + 1; i < to; i += 2)
            EXPECT(holes ? madvise(page(i), PAGE, MADV_DONTNEED) == 0 : mprotect(page(i), PAGE, PROT_READ) == 0);
    }
}

static void write_own(uint64_t owner)
{
    for (unsigned long i = 0; i < 2 * count; i += 2)
        *page(i) = mark(i, owner);
}

static void check(uint64_t owner)
{
    for (unsigned long i = 0; i < 2 * count; i += 2)
        EXPECT(*page(i) == mark(i, owner));
}

/* Looking at a discarded page makes it whole again. */
static void check_others(void)
{
    for (unsigned long i = 1; i < 2 * count; i += 2)
        EXPECT(*page(i) == (holes ? 0 : mark(i, 1)));
}

int main(int argc, char **argv)
{
    EXPECT(argc == 3);
    holes = strcmp(argv[1], "holes") == 0;
    count = strtoul(argv[2], NULL, 10);
    memory = mmap(NULL, 2 * count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(memory != MAP_FAILED);
    make_pieces();
    check(1);
    pid_t child = fork();
    EXPECT(child >= 0);
    write_own(child == 0 ? 2 : 3);
    check(child == 0 ? 2 : 3);
    if (child == 0)
        _exit(0);
    int status;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    check(3);
    check_others();
    EXPECT(mprotect(memory, 2 * count * PAGE, PROT_READ | PROT_WRITE) == 0);
    check(3);
    printf("%lu pieces, all as they should be\n", 2 * count);
    return 0;
}
