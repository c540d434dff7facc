/* A capture: see net_capture.h. Two buffers: one is filled while the pool writes the other. The one that is filled grows while that lasts: on a busy machine the pool's thread
 * may not get a CPU for a while. A buffer that has grown is let go of when it is written. */
#include "net_capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_SIZE (512u << 10)
#define BUFFER_MOST (32u << 20)
#define PATIENCE    5000    /* ms, for the last write */
#define PCAP_MAGIC_NANOSECONDS 0xa1b23c4du
#define PCAP_ETHERNET 1u

struct pcap_file {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy, length_most, link;
};

struct pcap_frame {
    uint32_t seconds, nanoseconds, captured, length;
};

struct net_capture {
    struct io_job job;                  /* first */
    struct bus *bus;
    struct io_pool *pool;
    int descriptor;
    uint8_t *buffer[2];
    uint32_t size[2], length[2];
    unsigned filled;                    /* the buffer that frames go to; the other one is the job's while `writing` */
    bool writing;
    int error;                          /* of the job; read when it is done */
    int64_t left_out;
};

static void append(struct net_capture *capture, const void *bytes, size_t length)
{
    memcpy(capture->buffer[capture->filled] + capture->length[capture->filled], bytes, length);
    capture->length[capture->filled] += (uint32_t)length;
}

static int write_all(int descriptor, const uint8_t *bytes, uint32_t length)
{
    while (length > 0) {
        ssize_t done = write(descriptor, bytes, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return errno;
        bytes += done;
        length -= (uint32_t)done;
    }
    return 0;
}

static void work(struct io_job *job)
{
    struct net_capture *capture = (struct net_capture *)job;
    unsigned which = !capture->filled;

    capture->error = write_all(capture->descriptor, capture->buffer[which], capture->length[which]);
}

static void write_begin(struct net_capture *capture)
{
    if (capture->writing || capture->length[capture->filled] == 0 || capture->error != 0)
        return;
    capture->filled = !capture->filled;
    capture->writing = true;
    io_pool_submit(capture->pool, &capture->job);
}

static void resize(struct net_capture *capture, unsigned which, uint32_t size)
{
    uint8_t *buffer = realloc(capture->buffer[which], size);

    if (buffer == NULL)
        return;
    capture->buffer[which] = buffer;
    capture->size[which] = size;
}

static bool has_room(struct net_capture *capture, uint32_t length)
{
    unsigned which = capture->filled;

    if (capture->size[which] - capture->length[which] < length && capture->size[which] < BUFFER_MOST)
        resize(capture, which, 2 * capture->size[which]);
    return capture->size[which] - capture->length[which] >= length;
}

static void done(struct io_job *job)
{
    struct net_capture *capture = (struct net_capture *)job;
    unsigned which = !capture->filled;

    capture->length[which] = 0;
    if (capture->size[which] > BUFFER_SIZE)
        resize(capture, which, BUFFER_SIZE);
    capture->writing = false;
    write_begin(capture);
}

struct net_capture *net_capture_create(struct bus *bus, struct io_pool *pool, int descriptor)
{
    struct pcap_file head = { PCAP_MAGIC_NANOSECONDS, 2, 4, 0, 0, 1u << 18, PCAP_ETHERNET };
    struct net_capture *capture = calloc(1, sizeof *capture);
    uint8_t *one = malloc(BUFFER_SIZE), *other = malloc(BUFFER_SIZE);

    if (capture == NULL || one == NULL || other == NULL) {
        free(capture);
        free(one);
        free(other);
        close(descriptor);
        return NULL;
    }
    *capture = (struct net_capture){ .job = { .work = work, .done = done }, .bus = bus, .pool = pool, .descriptor = descriptor,
                                     .buffer = { one, other }, .size = { BUFFER_SIZE, BUFFER_SIZE } };
    append(capture, &head, sizeof head);
    write_begin(capture);
    return capture;
}

void net_capture_frame(struct net_capture *capture, int64_t time, const struct device_span *pieces, unsigned count, uint32_t length)
{
    struct pcap_frame head = { (uint32_t)(time / 1000000000), (uint32_t)(time % 1000000000), length, length };

    if (capture->error != 0 || !has_room(capture, (uint32_t)sizeof head + length)) {
        capture->left_out++;
        return;
    }
    append(capture, &head, sizeof head);
    for (unsigned i = 0; i < count; i++)
        append(capture, pieces[i].base, pieces[i].length);
    write_begin(capture);
}

int64_t net_capture_close(struct net_capture *capture)
{
    if (capture == NULL)
        return 0;
    for (int i = 0; capture->writing && i < PATIENCE; i++) {
        bus_run(capture->bus);
        usleep(1000);
    }
    if (capture->writing)
        return -1;                      /* the disk hangs: the thread still needs all this */
    if (capture->error == 0)
        capture->error = write_all(capture->descriptor, capture->buffer[capture->filled], capture->length[capture->filled]);
    int64_t result = capture->error != 0 ? -1 : capture->left_out;
    close(capture->descriptor);
    free(capture->buffer[0]);
    free(capture->buffer[1]);
    free(capture);
    return result;
}
