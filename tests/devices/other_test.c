/* The bus, the I/O pool, entropy and the clock. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock_device.h"
#include "fake_nucleus.h"
#include "host_stream.h"
#include "virtio_rng.h"

TestSuite(bus, .init = fake_start, .fini = fake_end, .timeout = 20);

struct numbered {
    struct bus_completion completion;
    unsigned number;
};

static unsigned called, order_broken, last[4];

static void count(struct bus_completion *completion)
{
    unsigned number = ((struct numbered *)completion)->number, thread = number / 10000;

    order_broken += last[thread] > number;
    last[thread] = number;
    called++;
}

static struct numbered posted[4 * 10000];

static void *poster(void *argument)
{
    struct numbered *mine = argument;

    for (unsigned i = 0; i < 10000; i++)
        bus_post(fake_bus, &mine[i].completion);
    return NULL;
}

static bool all_called(void *argument)
{
    (void)argument;
    return called == 4 * 10000;
}

Test(bus, completions_of_many_threads_arrive_once_and_in_order)
{
    pthread_t thread[4];

    for (unsigned i = 0; i < 4 * 10000; i++)
        posted[i] = (struct numbered){ .completion.done = count, .number = i };
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, poster, &posted[10000 * i]), 0);
    cr_assert(fake_run_until(all_called, NULL));
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    cr_assert_eq(order_broken, 0u);
}

Test(bus, a_cancelled_completion_is_not_called)
{
    posted[0] = (struct numbered){ .completion.done = count, .number = 0 };
    posted[1] = (struct numbered){ .completion.done = count, .number = 1 };
    bus_post(fake_bus, &posted[0].completion);
    bus_post(fake_bus, &posted[1].completion);
    bus_cancel(fake_bus, &posted[0].completion);
    fake_run_idle();
    cr_assert_eq(called, 1u);
    cr_assert_eq(last[0], 1u);
}

static struct bus_watch one, two;
static unsigned seen;

static void stop_the_other(struct bus_watch *watch, uint32_t events)
{
    (void)events;
    seen++;
    bus_watch_set(watch == &one ? &two : &one, 0);
}

Test(bus, a_watch_that_was_stopped_is_not_called_any_more)
{
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    int again = dup(ends[0]);
    cr_assert(bus_watch_start(fake_bus, &one, ends[0], stop_the_other));
    cr_assert(bus_watch_start(fake_bus, &two, again, stop_the_other));
    bus_watch_set(&one, EPOLLIN);
    bus_watch_set(&two, EPOLLIN);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    bus_run(fake_bus);
    cr_assert_eq(seen, 1u, "the other was told of in the same batch");
    bus_watch_stop(&one);
    bus_watch_stop(&two);
}

Test(bus, a_regular_file_cannot_be_watched)
{
    char name[] = "/tmp/chorus-bus-XXXXXX";
    int file = mkstemp(name);

    cr_assert_not(bus_watch_start(fake_bus, &one, file, stop_the_other));
    unlink(name);
}

Test(bus, a_descriptor_that_is_watched_is_refused_until_it_is_not)
{
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    cr_assert(bus_watch_start(fake_bus, &one, ends[0], stop_the_other));
    cr_assert_not(bus_watch_start(fake_bus, &two, ends[0], stop_the_other));
    cr_assert_eq(errno, EEXIST);
    bus_watch_stop(&one);
    cr_assert(bus_watch_start(fake_bus, &two, ends[0], stop_the_other));
    bus_watch_set(&two, EPOLLIN);
    bus_watch_stop(&two);
}

static void count_ready(void *cookie)
{
    ++*(unsigned *)cookie;
}

Test(bus, input_and_output_may_be_one_descriptor_of_a_socket)
{
    int ends[2];
    char text[8];
    unsigned read_ready = 0, write_ready = 0;

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    struct host_stream *input = host_stream_open(fake_bus, fake_pool, ends[0], false, count_ready, &read_ready);
    struct host_stream *output = host_stream_open(fake_bus, fake_pool, ends[0], true, count_ready, &write_ready);
    cr_assert(input != NULL && output != NULL);
    host_stream_want(input, true);
    host_stream_want(output, true);
    cr_assert_eq(write(ends[1], "in", 2), 2);
    bus_run(fake_bus);
    cr_assert(read_ready == 1 && write_ready == 1);
    cr_assert_eq(host_stream_read(input, text, sizeof text), 2);
    cr_assert_eq(host_stream_write(output, "out", 3), 3);
    cr_assert(read(ends[1], text, sizeof text) == 3 && memcmp(text, "out", 3) == 0);
    host_stream_close(input);
    cr_assert_eq(host_stream_write(output, "on", 2), 2, "the other goes on");
    host_stream_close(output);
}

/* ---- the pool ---- */

TestSuite(pool, .init = fake_start, .fini = fake_end, .timeout = 20);

struct sum {
    struct io_job job;
    int gate;                   /* >= 0: wait for a byte from here */
    bool worked, done;
};

static void sum_work(struct io_job *job)
{
    struct sum *sum = (struct sum *)job;
    char byte;

    if (sum->gate >= 0)
        cr_assert_eq(read(sum->gate, &byte, 1), 1);
    sum->worked = true;
}

static void sum_done(struct io_job *job)
{
    ((struct sum *)job)->done = true;
}

static bool sum_is_done(void *argument)
{
    return ((struct sum *)argument)->done;
}

Test(pool, a_slow_job_does_not_hold_up_another)
{
    int gate[2];

    cr_assert_eq(pipe(gate), 0);
    struct sum slow = { .job = { .work = sum_work, .done = sum_done }, .gate = gate[0] };
    struct sum quick = { .job = { .work = sum_work, .done = sum_done }, .gate = -1 };
    io_pool_submit(fake_pool, &slow.job);
    io_pool_submit(fake_pool, &quick.job);
    cr_assert(fake_run_until(sum_is_done, &quick));
    cr_assert_not(slow.done);
    cr_assert_not(io_pool_cancel(fake_pool, &slow.job), "it has begun");
    cr_assert_eq(write(gate[1], "x", 1), 1);
    cr_assert(fake_run_until(sum_is_done, &slow));
}

Test(pool, a_job_that_was_not_begun_can_be_cancelled)
{
    int gate[2];

    cr_assert_eq(pipe(gate), 0);
    struct sum slow[2], waiting = { .job = { .work = sum_work, .done = sum_done }, .gate = -1 };
    for (int i = 0; i < 2; i++) {
        slow[i] = (struct sum){ .job = { .work = sum_work, .done = sum_done }, .gate = gate[0] };
        io_pool_submit(fake_pool, &slow[i].job);
    }
    while (io_pool_cancel(fake_pool, &slow[1].job)) {   /* until both threads are busy */
        io_pool_submit(fake_pool, &slow[1].job);
        usleep(1000);
    }
    io_pool_submit(fake_pool, &waiting.job);
    cr_assert(io_pool_cancel(fake_pool, &waiting.job));
    cr_assert_eq(write(gate[1], "xx", 2), 2);
    cr_assert(fake_run_until(sum_is_done, &slow[0]) && fake_run_until(sum_is_done, &slow[1]));
    cr_assert_not(waiting.worked || waiting.done);
}

/* ---- entropy and clock ---- */

TestSuite(small_devices, .init = fake_start, .fini = fake_end, .timeout = 20);

Test(small_devices, entropy_fills_every_buffer)
{
    struct device *device = virtio_rng_create("entropy0", &fake_services);
    struct driver_queue queue;
    uint32_t head, length;

    driver_begin(device, 0);
    driver_queue_set_up(&queue, device, 0, 8, DRIVER_MEMORY);
    driver_ready(device);
    driver_offer(&queue, (struct driver_buffer[]){ { DRIVER_MEMORY + 8192, 100, true } }, 1);
    driver_offer(&queue, (struct driver_buffer[]){ { DRIVER_MEMORY + 12288, 9000, true } }, 1);
    driver_kick(&queue);
    cr_assert(driver_take_used(&queue, &head, &length));
    cr_assert_eq(length, 100u);
    cr_assert_eq(*(uint8_t *)driver_at(DRIVER_MEMORY + 8192 + 99), 0x5a);
    cr_assert_eq(*(uint8_t *)driver_at(DRIVER_MEMORY + 8192 + 100), 0);
    cr_assert(driver_take_used(&queue, &head, &length));
    cr_assert_eq(length, 4096u, "one buffer is filled as far as one doorbell may");
    cr_assert(device_reset(device));
    device_destroy(device);
}

Test(small_devices, the_clock_tells_the_time_of_day_and_cannot_be_set)
{
    struct device *device = clock_device_create("clock0", &fake_services);

    device_write(device, CLOCK_DEVICE_NOW, 5);
    cr_assert_eq(device_read(device, CLOCK_DEVICE_NOW), UINT64_C(1234567890123456789));
    cr_assert_eq(device_read(device, CLOCK_DEVICE_MAGIC), CLOCK_DEVICE_MAGIC_VALUE);
    cr_assert_eq(device_read(device, 0x10), 0u);
    device_destroy(device);
}
