/* traffic: streams, single bytes, connections and requests by TCP. The same static binary inside and outside, at either end of a wire.
 *
 *   traffic serve ADDRESS PORT                       serves all that the others ask for, until it is killed; says when it listens
 *   traffic send ADDRESS PORT BYTES SEED             sends a stream that depends on SEED; the server looks at each byte
 *   traffic take ADDRESS PORT BYTES SEED             the same the other way
 *   traffic byte ADDRESS PORT COUNT                  one byte there and back
 *   traffic connect ADDRESS PORT COUNT               a connection, one byte there and back, its end
 *   traffic get ADDRESS PORT PATH COUNT AT-ONCE      requests of a web server, so many under way at a time; all must be answered by the same page
 *   traffic hold ADDRESS PORT COUNT                  connections that are opened and then left alone, until it is killed
 *   traffic stuff ADDRESS PORT COUNT                 the same, and the server is told to send on each without end: nobody reads it
 *
 * SEED 0 is a stream that nobody looks at, for figures. Each prints one line of what it did: NAME NUMBER UNIT. What is wrong is said, and ends it with 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE (256 * 1024)
#define ROUNDS 5

enum order { ORDER_TAKE = 1, ORDER_GIVE, ORDER_ECHO };

/* How a connection begins. */
struct opening {
    uint64_t order, bytes, seed;
};

static struct sockaddr_in peer;

static void fail(const char *what)
{
    fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* ---- streams ---- */

static bool send_all(int fd, const void *data, size_t size)
{
    for (const uint8_t *at = data; size > 0;) {
        ssize_t done = send(fd, at, size, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        at += done;
        size -= (size_t)done;
    }
    return true;
}

static bool receive_all(int fd, void *data, size_t size)
{
    for (uint8_t *at = data; size > 0;) {
        ssize_t done = recv(fd, at, size, 0);
        if (done <= 0)
            return false;
        at += done;
        size -= (size_t)done;
    }
    return true;
}

/* The stream's next bytes; its words follow from the seed alone. */
static void fill(uint64_t *words, uint64_t *seed)
{
    for (size_t i = 0; *seed != 0 && i < PIECE / sizeof *words; i++) {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        words[i] = *seed;
    }
}

static bool give_stream(int fd, uint64_t bytes, uint64_t seed)
{
    uint64_t *piece = calloc(1, PIECE);
    bool good = piece != NULL;
    for (uint64_t size; good && bytes > 0; bytes -= size) {
        size = bytes < PIECE ? bytes : PIECE;
        fill(piece, &seed);
        good = send_all(fd, piece, size);
    }
    free(piece);
    return good;
}

/* How many bytes came; those from the first wrong one on do not count. */
static uint64_t take_stream(int fd, uint64_t bytes, uint64_t seed)
{
    uint64_t *piece = calloc(2, PIECE), *wanted = piece + PIECE / sizeof *piece, good = 0;
    while (piece != NULL && good < bytes) {
        uint64_t size = bytes - good < PIECE ? bytes - good : PIECE;
        fill(wanted, &seed);
        if (!receive_all(fd, piece, size) || (seed != 0 && memcmp(piece, wanted, size) != 0))
            break;
        good += size;
    }
    free(piece);
    return good;
}

/* ---- the server ---- */

static void *serve_one(void *argument)
{
    int fd = (int)(intptr_t)argument;
    struct opening opening;
    uint64_t came;
    uint8_t byte;
    if (receive_all(fd, &opening, sizeof opening)) {
        switch (opening.order) {
        case ORDER_TAKE:
            came = take_stream(fd, opening.bytes, opening.seed);
            send_all(fd, &came, sizeof came);
            break;
        case ORDER_GIVE: give_stream(fd, opening.bytes, opening.seed); break;
        case ORDER_ECHO:
            while (recv(fd, &byte, 1, 0) == 1 && send_all(fd, &byte, 1))
                ;
            break;
        }
    }
    close(fd);
    return NULL;
}

static void serve(void)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&peer, sizeof peer) != 0 || listen(listener, 128) != 0)
        fail("listen");
    printf("listens\n");
    fflush(stdout);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
            continue;
        if (fd < 0)
            fail("accept");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (pthread_create(&thread, &attributes, serve_one, (void *)(intptr_t)fd) != 0)
            close(fd);
    }
}

/* ---- the clients ---- */

static int reach(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&peer, sizeof peer) != 0)
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int begin(enum order order, uint64_t bytes, uint64_t seed)
{
    struct opening opening = { order, bytes, seed };
    int fd = reach();
    if (!send_all(fd, &opening, sizeof opening))
        fail("send");
    return fd;
}

static void move_stream(enum order order, uint64_t bytes, uint64_t seed)
{
    double start = now();
    int fd = begin(order, bytes, seed);
    uint64_t came = 0;
    if (order == ORDER_GIVE)
        came = take_stream(fd, bytes, seed);
    else if (!give_stream(fd, bytes, seed) || !receive_all(fd, &came, sizeof came))
        fail("send");
    if (came != bytes) {
        fprintf(stderr, "traffic: %lu bytes are right, and what follows is not\n", came);
        exit(1);
    }
    close(fd);
    printf("%s %.1f MB/s\n", order == ORDER_GIVE ? "take" : "send", (double)bytes / (now() - start) / 1e6);
}

static void echo_byte(int fd)
{
    uint8_t byte = 42;
    if (!send_all(fd, &byte, 1) || recv(fd, &byte, 1, 0) != 1)
        fail("byte");
}

static void round_trips(long count)
{
    double best = 1e9;
    int fd = begin(ORDER_ECHO, 0, 0);
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        for (long i = 0; i < count; i++)
            echo_byte(fd);
        double took = (now() - start) / (double)count;
        best = took < best ? took : best;
    }
    printf("byte %.2f us\n", best * 1e6);
}

static void connections(long count)
{
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        for (long i = 0; i < count; i++) {
            int fd = begin(ORDER_ECHO, 0, 0);
            echo_byte(fd);
            close(fd);
        }
        double took = (now() - start) / (double)count;
        best = took < best ? took : best;
    }
    printf("connect %.0f /s\n", 1 / best);
}

static void hold(long count, bool stuffed)
{
    for (long i = 0; i < count; i++)
        stuffed ? begin(ORDER_GIVE, 1ull << 50, 0) : reach();
    printf("hold %ld connections\n", count);
    fflush(stdout);
    pause();
}

/* ---- requests of a web server ---- */

static struct {
    char request[256], *page; /* the page: that of the first answer, from its empty line on */
    size_t page_size;
    long left;
    pthread_mutex_t lock;
} web = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The answer's size; at most <room>. */
static size_t get_page(char *answer, size_t room)
{
    size_t size = 0;
    ssize_t done;
    int fd = reach();
    if (!send_all(fd, web.request, strlen(web.request)))
        fail("request");
    while (size < room && (done = recv(fd, answer + size, room - size, 0)) > 0)
        size += (size_t)done;
    close(fd);
    return size;
}

static void check_page(const char *answer, size_t size)
{
    const char *page = memmem(answer, size, "\r\n\r\n", 4);
    size_t page_size = page == NULL ? 0 : size - (size_t)(page - answer);
    if (page == NULL || memcmp(answer, "HTTP/1.", 7) != 0 || memcmp(answer + 8, " 200", 4) != 0) {
        fprintf(stderr, "traffic: no page came, but: %.*s\n", (int)size, answer);
        exit(1);
    }
    pthread_mutex_lock(&web.lock);
    if (web.page == NULL && (web.page = malloc(page_size)) != NULL) {
        memcpy(web.page, page, page_size);
        web.page_size = page_size;
    }
    if (page_size != web.page_size || memcmp(page, web.page, page_size) != 0) {
        fprintf(stderr, "traffic: another page came: %zu bytes instead of %zu\n", page_size, web.page_size);
        exit(1);
    }
    pthread_mutex_unlock(&web.lock);
}

static bool one_is_left(void)
{
    pthread_mutex_lock(&web.lock);
    bool is_left = web.left > 0;
    web.left -= is_left;
    pthread_mutex_unlock(&web.lock);
    return is_left;
}

static void *get_pages(void *answer)
{
    while (one_is_left())
        check_page(answer, get_page(answer, PIECE));
    return NULL;
}

static void requests(const char *path, long count, long at_once)
{
    pthread_t threads[256];
    snprintf(web.request, sizeof web.request, "GET %s HTTP/1.0\r\nHost: chorus\r\n\r\n", path);
    web.left = count;
    at_once = at_once < 1 ? 1 : at_once < 256 ? at_once : 256;
    double start = now();
    for (long i = 0; i < at_once; i++) {
        void *answer = malloc(PIECE);
        if (answer == NULL || pthread_create(&threads[i], NULL, get_pages, answer) != 0)
            fail("thread");
    }
    for (long i = 0; i < at_once; i++)
        pthread_join(threads[i], NULL);
    printf("get %.0f /s\n", (double)count / (now() - start));
}

int main(int count, char **words)
{
    const char *verb = count > 3 ? words[1] : "";
    uint64_t first = count > 4 ? strtoull(words[4], NULL, 0) : 0, second = count > 5 ? strtoull(words[5], NULL, 0) : 0;
    peer.sin_family = AF_INET;
    peer.sin_port = htons(count > 3 ? (uint16_t)atoi(words[3]) : 0);
    bool good = count > 3 && inet_pton(AF_INET, words[2], &peer.sin_addr) == 1;
    signal(SIGPIPE, SIG_IGN);
    if (good && count == 4 && strcmp(verb, "serve") == 0)
        serve();
    else if (good && count == 6 && strcmp(verb, "send") == 0)
        move_stream(ORDER_TAKE, first, second);
    else if (good && count == 6 && strcmp(verb, "take") == 0)
        move_stream(ORDER_GIVE, first, second);
    else if (good && count == 5 && strcmp(verb, "byte") == 0)
        round_trips((long)first);
    else if (good && count == 5 && strcmp(verb, "connect") == 0)
        connections((long)first);
    else if (good && count == 7 && strcmp(verb, "get") == 0)
        requests(words[4], (long)second, atol(words[6]));
    else if (good && count == 5 && strcmp(verb, "hold") == 0)
        hold((long)first, false);
    else if (good && count == 5 && strcmp(verb, "stuff") == 0)
        hold((long)first, true);
    else {
        fprintf(stderr, "traffic: what the start of its source says\n");
        return 2;
    }
    return 0;
}
