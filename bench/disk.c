/* disk FILE WHAT: how fast a file or disk is, in bytes a second; the same static program outside and inside.
 *   read     all of it, in order, 1 MB at a time
 *   write    all of it, in order, 1 MB at a time, and an fsync
 *   random1, random8   4 KB here and there, by one thread or by eight
 * Nothing is done about caches: who measures empties them. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 1 << 20, BLOCK = 4096, BLOCKS = 4000 };

static int file;
static off_t size;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void in_order(int writes)
{
    static char piece[PIECE];
    memset(piece, 'x', sizeof piece);
    for (off_t at = 0; at + PIECE <= size; at += PIECE)
        if ((writes ? pwrite(file, piece, PIECE, at) : pread(file, piece, PIECE, at)) != PIECE)
            fail("transfer");
    if (writes && fsync(file) != 0)
        fail("fsync");
}

struct reader {
    pthread_t thread;
    unsigned seed;
    int blocks;
};

static void *here_and_there(void *argument)
{
    struct reader *reader = argument;
    char block[BLOCK];
    for (int i = 0; i < reader->blocks; i++)
        if (pread(file, block, BLOCK, rand_r(&reader->seed) % (size / BLOCK) * BLOCK) != BLOCK)
            fail("pread");
    return NULL;
}

static void at_random(int threads)
{
    struct reader readers[8];
    for (int i = 0; i < threads; i++) {
        readers[i] = (struct reader){ .seed = (unsigned)i + 1, .blocks = BLOCKS / threads };
        if (pthread_create(&readers[i].thread, NULL, here_and_there, &readers[i]) != 0)
            fail("pthread_create");
    }
    for (int i = 0; i < threads; i++)
        pthread_join(readers[i].thread, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int writes = strcmp(argv[2], "write") == 0, random = strncmp(argv[2], "random", 6) == 0;
    file = open(argv[1], writes ? O_RDWR : O_RDONLY);
    size = file >= 0 ? lseek(file, 0, SEEK_END) : -1;
    if (size < PIECE)
        fail(argv[1]);
    double begin = now();
    if (random)
        at_random(atoi(argv[2] + 6));
    else
        in_order(writes);
    double bytes = random ? (double)BLOCKS * BLOCK : (double)(size / PIECE * PIECE);
    printf("%s %.0f\n", argv[2], bytes / (now() - begin));
    return 0;
}
