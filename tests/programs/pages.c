/* pages DISK: writes pages of a disk for ever, here and there, and says which are there for good. Write number N fills page
 * N * 7919 % PAGES with N; after every eighth there is an fsync, and then the line "N" on standard output promises all up to
 * it. So whoever reads the disk after a crash knows what must be there at least. */

#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "program.h"

enum { PAGES = 1000, PAGE = 4096 };

int main(int argc, char **argv)
{
    static uint64_t page[PAGE / sizeof(uint64_t)];
    EXPECT(argc == 2);
    int disk = open(argv[1], O_RDWR);
    EXPECT(disk >= 0);
    for (uint64_t number = 1;; number++) {
        for (unsigned i = 0; i < PAGE / sizeof *page; i++)
            page[i] = number;
        EXPECT(pwrite(disk, page, PAGE, (off_t)(number * 7919 % PAGES * PAGE)) == PAGE);
        if (number % 8 != 0)
            continue;
        char line[32];
        int length = snprintf(line, sizeof line, "%lu\n", (unsigned long)number);
        EXPECT(fsync(disk) == 0);
        EXPECT(write(STDOUT_FILENO, line, (size_t)length) == length);
    }
}
