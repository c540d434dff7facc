/* A capture whose disk is slow keeps what comes meanwhile, up to a bound; what is beyond that it counts, and the file stays whole. */
#include <criterion/criterion.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <devices/net_capture.h>

#define FRAME 1500
#define HEAD 16         /* of a frame in the file */
#define FILE_HEAD 24

static sem_t gate;
static uint8_t frame[FRAME];

static void hold_up(struct io_job *job)
{
    (void)job;
    sem_wait(&gate);
}

static void nothing(struct io_job *job)
{
    (void)job;
}

/* So many frames come while the pool's only thread is busy. Returns how many are left out. */
static int64_t capture_behind_a_busy_pool(unsigned frames, off_t *ret_size)
{
    struct bus *bus = bus_create(NULL, NULL);
    struct io_pool *pool = io_pool_create(bus, 1);
    struct io_job busy = { .work = hold_up, .done = nothing };
    int file = memfd_create("capture", 0);
    struct device_span piece = { frame, FRAME };

    cr_assert(bus != NULL && pool != NULL && file >= 0);
    sem_init(&gate, 0, 0);
    io_pool_submit(pool, &busy);
    struct net_capture *capture = net_capture_create(bus, pool, dup(file));
    cr_assert_not_null(capture);
    for (unsigned i = 0; i < frames; i++)
        net_capture_frame(capture, i, &piece, 1, FRAME);
    sem_post(&gate);
    int64_t left_out = net_capture_close(capture);
    *ret_size = lseek(file, 0, SEEK_END);
    close(file);
    io_pool_destroy(pool);
    bus_destroy(bus);
    return left_out;
}

Test(capture, keeps_frames_until_a_slow_disk_takes_them, .timeout = 30)
{
    off_t size;

    cr_assert_eq(capture_behind_a_busy_pool(20000, &size), 0);
    cr_assert_eq(size, FILE_HEAD + 20000 * (HEAD + FRAME));
}

Test(capture, leaves_out_and_counts_what_is_beyond_its_bound, .timeout = 30)
{
    off_t size;
    int64_t left_out = capture_behind_a_busy_pool(50000, &size);

    cr_assert_gt(left_out, 0);
    cr_assert_lt(left_out, 50000);
    cr_assert_eq(size, FILE_HEAD + (50000 - left_out) * (HEAD + FRAME));
}

Test(capture, of_nothing_is_a_header, .timeout = 30)
{
    off_t size;

    cr_assert_eq(capture_behind_a_busy_pool(0, &size), 0);
    cr_assert_eq(size, FILE_HEAD);
}
