/* wire: the bare hub, without sites: frames of an Ethernet from one station to another one.
 *
 *   wire SOCKET FRAMES        prints: wire NUMBER MB/s, and frame NUMBER us for one frame there and back
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FRAME 1514
#define AT_ONCE 40
#define TRIPS 2000

struct record {
    uint32_t length;
    uint8_t frame[FRAME];
} __attribute__((packed));

static int one, other;
static long count;

static void fail(const char *what)
{
    fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int station(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail(path);
    return fd;
}

static void move(ssize_t (*call)(int, void *, size_t), int fd, void *data, size_t size)
{
    for (char *at = data; size > 0;) {
        ssize_t done = call(fd, at, size);
        if (done <= 0)
            fail("the hub");
        at += done;
        size -= (size_t)done;
    }
}

static ssize_t give(int fd, void *data, size_t size)
{
    return write(fd, data, size);
}

static void *take_all(void *records)
{
    for (long left = count; left > 0; left -= AT_ONCE)
        move(read, other, records, AT_ONCE * sizeof(struct record));
    return NULL;
}

static struct record *make_records(void)
{
    struct record *records = calloc(AT_ONCE, sizeof *records);
    for (int i = 0; records != NULL && i < AT_ONCE; i++)
        records[i].length = htonl(FRAME);
    if (records == NULL)
        fail("memory");
    return records;
}

int main(int words, char **word)
{
    if (words != 3 || (count = atol(word[2]) / AT_ONCE * AT_ONCE) <= 0) {
        fprintf(stderr, "wire: SOCKET FRAMES\n");
        return 2;
    }
    struct record *sent = make_records(), *taken = make_records();
    one = station(word[1]);
    other = station(word[1]);
    usleep(200000); /* both are known to the hub */
    double start = now();
    for (int i = 0; i < TRIPS; i++) {
        move(give, one, sent, sizeof *sent);
        move(read, other, taken, sizeof *taken);
        move(give, other, taken, sizeof *taken);
        move(read, one, taken, sizeof *taken);
    }
    printf("frame %.2f us\n", (now() - start) / TRIPS * 1e6);
    pthread_t taker;
    start = now();
    if (pthread_create(&taker, NULL, take_all, taken) != 0)
        fail("thread");
    for (long left = count; left > 0; left -= AT_ONCE)
        move(give, one, sent, AT_ONCE * sizeof *sent);
    pthread_join(taker, NULL);
    printf("wire %.1f MB/s\n", (double)count * FRAME / (now() - start) / 1e6);
    return 0;
}
