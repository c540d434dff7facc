/* promises FOLDER: writes files for ever, and says of each when it is on the disk. A file's content
 * follows from its number, so that whoever reads it after a crash can check it:
 * file N holds N * 137 % 30000 + 1 bytes, each N % 251. It is promised by a line "N" on standard
 * output after fsync of the file and of its folder. Every fifth file is then removed ("-N", promised
 * likewise), and every seventh is written under another name first and renamed. */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"

static int folder;

static void write_file(const char *name, unsigned long number)
{
    static char content[30001];
    size_t size = number * 137 % 30000 + 1;
    memset(content, (int)(number % 251), size);
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    EXPECT(fd >= 0);
    EXPECT(write(fd, content, size) == (ssize_t)size);
    EXPECT(fsync(fd) == 0 && close(fd) == 0);
}

static void promise(const char *sign, unsigned long number)
{
    char line[32];
    int length = snprintf(line, sizeof line, "%s%lu\n", sign, number);
    EXPECT(fsync(folder) == 0);
    EXPECT(write(STDOUT_FILENO, line, (size_t)length) == length);
}

int main(int argc, char **argv)
{
    EXPECT(argc == 2);
    mkdir(argv[1], 0755);
    folder = open(argv[1], O_RDONLY | O_DIRECTORY);
    EXPECT(folder >= 0);
    for (unsigned long number = 1;; number++) {
        char name[32];
        snprintf(name, sizeof name, "%lu", number);
        if (number % 7 == 0) {
            write_file("new", number);
            EXPECT(renameat(folder, "new", folder, name) == 0);
        } else {
            write_file(name, number);
        }
        promise("", number);
        if (number % 5 == 0) {
            EXPECT(unlinkat(folder, name, 0) == 0);
            promise("-", number);
        }
    }
}
