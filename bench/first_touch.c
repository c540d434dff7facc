/* first_touch: write to each page of fresh memory once, and tell the cost of a page. In a site that has just booted, no frame has been used before. */
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

int main(void)
{
    enum { PAGES = 16384 };
    struct timespec from, to;
    char *memory = mmap(NULL, (size_t)PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    madvise(memory, (size_t)PAGES * 4096, MADV_NOHUGEPAGE);
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (size_t i = 0; i < PAGES; i++)
        memory[i * 4096] = 1;
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("first_touch %.0f ns\n", ((to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / PAGES);
    return 0;
}
