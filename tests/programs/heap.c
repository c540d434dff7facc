/* heap [MEGABYTES]: a big heap, a fork, and the child writes every other page: each side must see
 * its own, and the kernel must not run out of mappings over it. */

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

enum { PAGE = 4096 };

static void check(const unsigned char *heap, size_t pages, int of_child)
{
    for (size_t i = 0; i < pages; i++) {
        unsigned long expected = of_child && i % 2 == 0 ? ~i : i;
        EXPECT(*(const unsigned long *)(heap + i * PAGE) == expected);
    }
}

int main(int argc, char **argv)
{
    size_t size = (argc > 1 ? strtoul(argv[1], NULL, 10) : 1024) << 20;
    size_t pages = size / PAGE;
    unsigned char *heap = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                               -1, 0);
    EXPECT(heap != MAP_FAILED);
    for (size_t i = 0; i < pages; i++)
        *(unsigned long *)(heap + i * PAGE) = i;
    fflush(stdout);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        for (size_t i = 0; i < pages; i += 2)
            *(unsigned long *)(heap + i * PAGE) = ~i;
        check(heap, pages, 1);
        _exit(0);
    }
    int status;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    check(heap, pages, 0);
    printf("both sides have their own\n");
    return 0;
}
