/* mapped FILE: maps a file and looks at it, as it is told line by line; each line is answered by one.
 *
 *     private | shared | writable   how it is mapped (16 pages, writable if it can be); "mapped", or why not
 *     protect                       make the mapping writable
 *     peek N | poke N               the byte there; or the signal that this brought
 *     look                          open and close the file
 *     read N                        the byte there, by pread
 *     flock | record                take that lock, for good, without waiting */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 65536

static sigjmp_buf back;
static volatile char *memory;
static int fd;

static void caught(int number) { siglongjmp(back, number); }

static void answer(int good, const char *word) { puts(good ? word : strerror(errno)); }

static void map(int flags, int protection)
{
    memory = mmap(NULL, SIZE, protection, flags, fd, 0);
    answer(memory != MAP_FAILED, "mapped");
}

static void touch(long at, int writes)
{
    int number = sigsetjmp(back, 1);
    if (number != 0)
        puts(number == SIGBUS ? "SIGBUS" : "SIGSEGV");
    else if (writes)
        memory[at] = 'P', puts("poked");
    else
        printf("%c\n", memory[at]);
}

static void record(void)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10 };
    answer(fcntl(fd, F_SETLK, &lock) == 0, "locked");
}

static void obey(const char *path, const char *word, long at)
{
    char byte = '-';
    if (strcmp(word, "private") == 0)
        map(MAP_PRIVATE, PROT_READ | PROT_WRITE);
    else if (strcmp(word, "shared") == 0)
        map(MAP_SHARED, PROT_READ);
    else if (strcmp(word, "writable") == 0)
        map(MAP_SHARED, PROT_READ | PROT_WRITE);
    else if (strcmp(word, "protect") == 0)
        answer(mprotect((void *)memory, SIZE, PROT_READ | PROT_WRITE) == 0, "protected");
    else if (strcmp(word, "peek") == 0 || strcmp(word, "poke") == 0)
        touch(at, word[1] == 'o');
    else if (strcmp(word, "look") == 0)
        answer(close(open(path, O_RDONLY)) == 0, "looked");
    else if (strcmp(word, "read") == 0)
        pread(fd, &byte, 1, at) < 0 ? answer(0, "") : (void)printf("%c\n", byte);
    else if (strcmp(word, "flock") == 0)
        answer(flock(fd, LOCK_EX | LOCK_NB) == 0, "locked");
    else if (strcmp(word, "record") == 0)
        record();
    else
        puts("?");
}

int main(int argc, char **argv)
{
    char line[100], word[100];
    if (argc != 2 || (fd = open(argv[1], O_RDWR)) < 0) {
        perror("mapped");
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGBUS, caught);
    signal(SIGSEGV, caught);
    puts("ready");
    while (fgets(line, sizeof line, stdin) != NULL) {
        long at = 0;
        if (sscanf(line, "%99s %ld", word, &at) >= 1)
            obey(argv[1], word, at);
    }
    return 0;
}
