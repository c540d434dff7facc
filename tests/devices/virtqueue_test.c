/* Virtqueues and the virtio state machine, against drivers that break the rules first. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

#include "fake_nucleus.h"

#define QUEUE_MEMORY  DRIVER_MEMORY
#define BUFFERS       (DRIVER_MEMORY + 16 * 4096)
#define SIZE          8

/* A device that copies what it reads to where it may write, and may keep its chains for a while. */
struct echo {
    struct virtio_device virtio;
    bool keep;
    struct virtio_chain chain[SIZE];
    unsigned kept, started, stopped;
    uint32_t config;
};

static void echo_answer(struct virtio_device *device, struct virtio_chain *chain)
{
    uint8_t bytes[4096 * 4];
    size_t length = chain_read(chain, 0, bytes, sizeof bytes);

    virtqueue_put(device, 0, chain, (uint32_t)chain_write(chain, 0, bytes, length));
}

static void echo_notify(struct virtio_device *device, unsigned queue)
{
    struct echo *echo = (struct echo *)device;

    (void)queue;
    while (virtqueue_take(device, 0, &echo->chain[echo->kept])) {
        if (echo->keep)
            echo->kept++;
        else
            echo_answer(device, &echo->chain[echo->kept]);
    }
    virtqueue_signal(device, 0);
}

static void echo_start(struct virtio_device *device)
{
    ((struct echo *)device)->started++;
}

static void echo_stop(struct virtio_device *device)
{
    ((struct echo *)device)->stopped++;
}

static uint32_t echo_read_config(struct virtio_device *device, uint32_t offset)
{
    return offset == 0 ? ((struct echo *)device)->config : 0;
}

static void echo_write_config(struct virtio_device *device, uint32_t offset, uint32_t value)
{
    if (offset == 0)
        ((struct echo *)device)->config = value;
}

static void echo_destroy(struct virtio_device *device)
{
    (void)device;
}

static const struct virtio_model echo_model = {
    .queues = 1, .start = echo_start, .notify = echo_notify, .stop = echo_stop,
    .read_config = echo_read_config, .write_config = echo_write_config, .destroy = echo_destroy,
};

static struct echo echo;
static struct device *device;
static struct driver_queue queue;

static void start_with(uint64_t features)
{
    fake_start();
    memset(&echo, 0, sizeof echo);
    virtio_init(&echo.virtio, "echo0", 42, &echo_model, &fake_services, 0, SIZE);
    device = &echo.virtio.device;
    driver_begin(device, features);
    driver_queue_set_up(&queue, device, 0, SIZE, QUEUE_MEMORY);
    driver_ready(device);
}

static void start(void)
{
    start_with(VIRTIO_F_INDIRECT_DESC);
}

static void end(void)
{
    while (echo.kept > 0)
        virtqueue_put(&echo.virtio, 0, &echo.chain[--echo.kept], 0);
    cr_assert(device_reset(device), "a device without requests resets at once");
    device_destroy(device);
    fake_end();
}

TestSuite(virtqueue, .init = start, .fini = end, .timeout = 20);

static void offer_raw(struct virtq_descriptor descriptor)
{
    driver_descriptor(&queue, 0, descriptor);
    driver_available(&queue, 0, 0);
    driver_available_index(&queue, 1);
    driver_kick(&queue);
}

/* The device stopped, said why, told the driver, and answered nothing. */
static void expect_broken(const char *reason)
{
    uint32_t head, length;

    cr_assert(device_is_broken(device), "the device goes on");
    cr_assert(strstr(fake_complaint(), reason) != NULL, "it complains of \"%s\", not of \"%s\"",
              fake_complaint(), reason);
    cr_assert_not(driver_take_used(&queue, &head, &length));
    cr_assert(device_read(device, VIRTIO_INTERRUPT_STATUS) & VIRTIO_INTERRUPT_CONFIG);
    cr_assert_eq(echo.virtio.queue[0].outstanding, 0);
}

Test(virtqueue, a_buffer_outside_the_drivers_memory_breaks_the_device)
{
    offer_raw((struct virtq_descriptor){ .address = 0x1000, .length = 16 });
    expect_broken("not the driver's memory");
}

Test(virtqueue, pages_of_others_break_a_device_that_takes_none)
{
    offer_raw((struct virtq_descriptor){ .address = DEVICE_PAGES, .length = 16 });
    expect_broken("not the driver's memory");
}

Test(virtqueue, a_buffer_that_ends_outside_the_drivers_memory_breaks_the_device)
{
    offer_raw((struct virtq_descriptor){
        .address = DRIVER_MEMORY + DRIVER_PAGES * 4096 - 8, .length = 16 });
    expect_broken("not the driver's memory");
}

Test(virtqueue, a_writable_buffer_in_read_only_memory_breaks_the_device)
{
    offer_raw((struct virtq_descriptor){
        .address = DRIVER_MEMORY + READ_ONLY_PAGE * 4096, .length = 16, .flags = VIRTQ_WRITE });
    expect_broken("not the driver's memory");
}

Test(virtqueue, an_address_that_wraps_round_breaks_the_device)
{
    offer_raw((struct virtq_descriptor){ .address = UINT64_MAX - 4, .length = 16 });
    expect_broken("beyond the end");
}

Test(virtqueue, an_empty_buffer_breaks_the_device)
{
    offer_raw((struct virtq_descriptor){ .address = BUFFERS, .length = 0 });
    expect_broken("empty");
}

Test(virtqueue, a_buffer_of_four_gigabytes_breaks_the_device)
{
    offer_raw((struct virtq_descriptor){ .address = BUFFERS, .length = UINT32_MAX });
    expect_broken("too long");
}

Test(virtqueue, many_buffers_that_are_too_long_together_break_the_device)
{
    for (unsigned i = 0; i < SIZE; i++)
        driver_descriptor(&queue, i, (struct virtq_descriptor){
            .address = BUFFERS, .length = 490 * 4096, .flags = i < SIZE - 1 ? VIRTQ_NEXT : 0,
            .next = (uint16_t)(i + 1) });
    driver_available(&queue, 0, 0);
    driver_available_index(&queue, 1);
    driver_kick(&queue);
    cr_assert(device_is_broken(device));
    cr_assert_eq(echo.virtio.queue[0].outstanding, 0);
}

Test(virtqueue, a_head_that_does_not_exist_breaks_the_device)
{
    driver_available(&queue, 0, SIZE);
    driver_available_index(&queue, 1);
    driver_kick(&queue);
    expect_broken("does not exist");
}

Test(virtqueue, a_next_that_does_not_exist_breaks_the_device)
{
    offer_raw((struct virtq_descriptor){ .address = BUFFERS, .length = 16, .flags = VIRTQ_NEXT,
                                         .next = SIZE });
    expect_broken("does not exist");
}

Test(virtqueue, a_chain_that_loops_breaks_the_device)
{
    offer_raw((struct virtq_descriptor){ .address = BUFFERS, .length = 16, .flags = VIRTQ_NEXT,
                                         .next = 0 });
    expect_broken("does not end");
}

Test(virtqueue, an_index_that_runs_backwards_breaks_the_device)
{
    driver_available_index(&queue, UINT16_MAX);
    driver_kick(&queue);
    expect_broken("backwards");
}

Test(virtqueue, an_index_that_runs_away_breaks_the_device)
{
    driver_available_index(&queue, SIZE + 1);
    driver_kick(&queue);
    expect_broken("backwards");
}

Test(virtqueue, a_readable_buffer_behind_a_writable_one_breaks_the_device)
{
    driver_offer(&queue, (struct driver_buffer[]){ { BUFFERS, 16, true }, { BUFFERS, 16, false } },
                 2);
    driver_kick(&queue);
    expect_broken("behind");
}

Test(virtqueue, a_head_that_is_in_use_breaks_the_device)
{
    echo.keep = true;
    driver_offer(&queue, (struct driver_buffer[]){ { BUFFERS, 16, false } }, 1);
    driver_kick(&queue);
    cr_assert_eq(echo.kept, 1);
    driver_available(&queue, 1, 0);
    driver_available_index(&queue, 2);
    driver_kick(&queue);
    cr_assert(device_is_broken(device));
    cr_assert(strstr(fake_complaint(), "in use") != NULL);
}

static void offer_indirect(const struct virtq_descriptor *table, unsigned entries, uint32_t length,
                           uint16_t flags)
{
    uint64_t where = BUFFERS + 8 * 4096 - 24;      /* across a page */

    driver_put(where, table, entries * sizeof *table);
    offer_raw((struct virtq_descriptor){ .address = where, .length = length,
                                         .flags = VIRTQ_INDIRECT | flags, .next = 1 });
}

Test(virtqueue, an_indirect_table_of_a_wrong_size_breaks_the_device)
{
    struct virtq_descriptor entry = { .address = BUFFERS, .length = 16 };

    offer_indirect(&entry, 1, 17, 0);
    expect_broken("wrong size");
}

Test(virtqueue, an_empty_indirect_table_breaks_the_device)
{
    offer_indirect(NULL, 0, 0, 0);
    expect_broken("wrong size");
}

Test(virtqueue, a_huge_indirect_table_breaks_the_device)
{
    offer_indirect(NULL, 0, 0xfffffff0u, 0);
    expect_broken("wrong size");
}

Test(virtqueue, an_indirect_table_in_another_breaks_the_device)
{
    struct virtq_descriptor entry = { .address = BUFFERS, .length = 16, .flags = VIRTQ_INDIRECT };

    offer_indirect(&entry, 1, 16, 0);
    expect_broken("within another");
}

Test(virtqueue, an_indirect_table_that_is_not_the_last_breaks_the_device)
{
    struct virtq_descriptor entry = { .address = BUFFERS, .length = 16 };

    offer_indirect(&entry, 1, 16, VIRTQ_NEXT);
    expect_broken("where none may be");
}

Test(virtqueue, an_indirect_chain_that_loops_breaks_the_device)
{
    struct virtq_descriptor entry[2] = {
        { .address = BUFFERS, .length = 16, .flags = VIRTQ_NEXT, .next = 1 },
        { .address = BUFFERS, .length = 16, .flags = VIRTQ_NEXT, .next = 0 },
    };

    offer_indirect(entry, 2, 32, 0);
    expect_broken("does not end");
}

Test(virtqueue, an_indirect_table_that_was_not_agreed_upon_breaks_the_device)
{
    struct virtq_descriptor entry = { .address = BUFFERS, .length = 16 };

    echo.virtio.accepted &= ~VIRTIO_F_INDIRECT_DESC;
    offer_indirect(&entry, 1, 16, 0);
    expect_broken("where none may be");
}

Test(virtqueue, a_broken_device_is_deaf_until_it_is_reset)
{
    uint32_t head, length;

    offer_raw((struct virtq_descriptor){ .address = 0x1000, .length = 16 });
    expect_broken("not the driver's memory");
    offer_raw((struct virtq_descriptor){ .address = BUFFERS, .length = 16 });
    cr_assert_not(driver_take_used(&queue, &head, &length));

    driver_begin(device, 0);
    memset(driver_at(QUEUE_MEMORY), 0, 4096);
    driver_queue_set_up(&queue, device, 0, SIZE, QUEUE_MEMORY);
    driver_ready(device);
    driver_offer(&queue, (struct driver_buffer[]){ { BUFFERS, 16, false } }, 1);
    driver_kick(&queue);
    cr_assert(driver_take_used(&queue, &head, &length));
}

/* ---- set-up ---- */

static void set_up_again(unsigned size, uint64_t where)
{
    driver_begin(device, 0);
    driver_queue_set_up(&queue, device, 0, size, where);
}

Test(virtqueue, a_size_that_is_no_power_of_two_breaks_the_device)
{
    set_up_again(3, QUEUE_MEMORY);
    cr_assert(device_is_broken(device));
}

Test(virtqueue, a_size_of_zero_breaks_the_device)
{
    set_up_again(0, QUEUE_MEMORY);
    cr_assert(device_is_broken(device));
}

Test(virtqueue, a_size_above_the_limit_breaks_the_device)
{
    set_up_again(2 * SIZE, QUEUE_MEMORY);
    cr_assert(device_is_broken(device));
}

Test(virtqueue, a_misaligned_queue_breaks_the_device)
{
    set_up_again(SIZE, QUEUE_MEMORY + 8);
    cr_assert(device_is_broken(device));
}

Test(virtqueue, a_queue_that_is_not_in_the_drivers_memory_breaks_the_device)
{
    set_up_again(SIZE, 0x1000);
    cr_assert(device_is_broken(device));
}

Test(virtqueue, a_queue_in_pages_of_others_breaks_the_device)
{
    set_up_again(SIZE, DEVICE_PAGES);
    cr_assert(device_is_broken(device));
}

Test(virtqueue, a_queue_at_the_end_of_the_address_space_breaks_the_device)
{
    set_up_again(SIZE, UINT64_MAX - 15);
    cr_assert(device_is_broken(device));
}

Test(virtqueue, a_used_ring_in_read_only_memory_breaks_the_device)
{
    set_up_again(SIZE, DRIVER_MEMORY + READ_ONLY_PAGE * 4096);
    cr_assert(device_is_broken(device));
}

Test(virtqueue, a_driver_that_does_not_know_version_1_is_refused)
{
    device_write(device, VIRTIO_STATUS, 0);
    device_write(device, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    device_write(device, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    cr_assert_not(device_read(device, VIRTIO_STATUS) & VIRTIO_FEATURES_OK);
}

Test(virtqueue, being_ready_before_features_are_agreed_upon_breaks_the_device)
{
    device_write(device, VIRTIO_STATUS, 0);
    device_write(device, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
    cr_assert(device_is_broken(device));
}

Test(virtqueue, a_feature_that_is_not_offered_is_not_accepted)
{
    cr_assert_not(virtio_has(&echo.virtio, UINT64_C(1) << 5));
    driver_begin(device, UINT64_C(1) << 5);
    cr_assert_not(virtio_has(&echo.virtio, UINT64_C(1) << 5));
}

Test(virtqueue, withdrawing_a_queue_breaks_the_device)
{
    device_write(device, VIRTIO_QUEUE_READY, 0);
    cr_assert(device_is_broken(device));
}

Test(virtqueue, registers_that_do_not_exist_read_as_zero_and_ignore_writes)
{
    for (uint64_t offset = 0; offset < 0x4000; offset++) {
        bool known = offset % 4 == 0 && offset <= VIRTIO_CONFIG;
        if (known)
            continue;
        cr_assert_eq(device_read(device, (uint32_t)offset), 0u, "register %lx", offset);
        device_write(device, (uint32_t)offset, UINT64_MAX);
    }
    cr_assert_not(device_is_broken(device));
    device_write(device, VIRTIO_QUEUE_SELECT, 1000);
    cr_assert_eq(device_read(device, VIRTIO_QUEUE_SIZE_LIMIT), 0u);
    device_write(device, VIRTIO_QUEUE_READY, 1);
    device_write(device, VIRTIO_QUEUE_NOTIFY, 1000);
    cr_assert_not(device_is_broken(device));
}

/* ---- what works ---- */

Test(virtqueue, a_request_is_answered_across_pages_and_wrap_around)
{
    for (unsigned i = 0; i < 5 * SIZE; i++) {
        uint8_t text[5000], back[5000];
        uint32_t head, length;
        for (size_t j = 0; j < sizeof text; j++)
            text[j] = (uint8_t)(i * 7 + j * 3);
        driver_put(BUFFERS + 100, text, sizeof text);
        driver_offer(&queue, (struct driver_buffer[]){
            { BUFFERS + 100, 3000, false }, { BUFFERS + 3100, 2000, false },
            { BUFFERS + 5 * 4096 + 4090, 10, true }, { BUFFERS + 7 * 4096 + 1, 4990, true } }, 4);
        driver_kick(&queue);
        cr_assert(driver_take_used(&queue, &head, &length));
        cr_assert_eq(length, sizeof text);
        driver_get(BUFFERS + 5 * 4096 + 4090, back, 10);
        driver_get(BUFFERS + 7 * 4096 + 1, back + 10, 4990);
        cr_assert_arr_eq(back, text, sizeof text);
    }
    cr_assert_eq(fake_pins(), 3u, "only the queue itself is pinned");
}

Test(virtqueue, an_indirect_request_is_answered)
{
    struct virtq_descriptor entry[2] = {
        { .address = BUFFERS, .length = 6, .flags = VIRTQ_NEXT, .next = 1 },
        { .address = BUFFERS + 4096, .length = 100, .flags = VIRTQ_WRITE },
    };
    uint32_t head, length;
    char back[7] = "";

    driver_put(BUFFERS, "chorus", 6);
    offer_indirect(entry, 2, 32, 0);
    cr_assert(driver_take_used(&queue, &head, &length));
    driver_get(BUFFERS + 4096, back, 6);
    cr_assert_str_eq(back, "chorus");
    cr_assert_eq(length, 6u);
}

Test(virtqueue, an_interrupt_stays_up_until_it_is_acknowledged)
{
    for (int i = 0; i < 3; i++) {
        driver_offer(&queue, (struct driver_buffer[]){ { BUFFERS, 16, false } }, 1);
        driver_kick(&queue);
    }
    cr_assert_eq(fake_interrupts(), 1u);
    device_write(device, VIRTIO_INTERRUPT_ACK, VIRTIO_INTERRUPT_QUEUE);
    cr_assert_eq(device_read(device, VIRTIO_INTERRUPT_STATUS), 0u);
    driver_offer(&queue, (struct driver_buffer[]){ { BUFFERS, 16, false } }, 1);
    driver_kick(&queue);
    cr_assert_eq(fake_interrupts(), 2u);
}

Test(virtqueue, a_driver_that_wants_no_interrupts_gets_none)
{
    driver_put(queue.available, &(uint16_t){ VIRTQ_NO_INTERRUPT }, 2);
    driver_offer(&queue, (struct driver_buffer[]){ { BUFFERS, 16, false } }, 1);
    driver_kick(&queue);
    cr_assert_eq(fake_interrupts(), 0u);
}

Test(virtqueue, with_event_indices_the_driver_is_interrupted_where_it_wants_to_be)
{
    end();
    start_with(VIRTIO_F_EVENT_IDX);
    driver_put(queue.available + 4 + 2 * SIZE, &(uint16_t){ 2 }, 2);    /* used_event */
    for (unsigned i = 0; i < 5; i++) {
        uint16_t event;
        driver_offer(&queue, (struct driver_buffer[]){ { BUFFERS, 16, false } }, 1);
        driver_kick(&queue);
        cr_assert_eq(fake_interrupts(), i < 2 ? 0u : 1u, "after request %u", i);
        driver_get(queue.used + 4 + 8 * SIZE, &event, 2);               /* available_event */
        cr_assert_eq(event, i + 1, "the device wants a doorbell at the next request");
    }
}

Test(virtqueue, a_reset_is_finished_when_the_last_chain_has_come_back)
{
    echo.keep = true;
    driver_offer(&queue, (struct driver_buffer[]){ { BUFFERS, 16, false } }, 1);
    driver_kick(&queue);
    cr_assert_eq(echo.kept, 1u);
    unsigned stopped = echo.stopped;
    device_write(device, VIRTIO_STATUS, 0);
    cr_assert_eq(echo.stopped, stopped + 1);
    cr_assert_neq(device_read(device, VIRTIO_STATUS), 0u);
    cr_assert_not(device_quiet(device));
    device_write(device, VIRTIO_STATUS, VIRTIO_ACKNOWLEDGE);    /* too early: not heard */
    virtqueue_put(&echo.virtio, 0, &echo.chain[--echo.kept], 0);
    cr_assert_eq(device_read(device, VIRTIO_STATUS), 0u);
    cr_assert(device_quiet(device));
    cr_assert_eq(fake_pins(), 0u);
}

Test(virtqueue, the_configuration_is_read_and_written_and_its_change_is_told)
{
    cr_assert_eq(echo.started, 1u);
    device_write(device, VIRTIO_CONFIG, 77);
    cr_assert_eq(device_read(device, VIRTIO_CONFIG), 77u);
    uint64_t generation = device_read(device, VIRTIO_CONFIG_GENERATION);
    virtio_config_changed(&echo.virtio);
    cr_assert_neq(device_read(device, VIRTIO_CONFIG_GENERATION), generation);
    cr_assert(device_read(device, VIRTIO_INTERRUPT_STATUS) & VIRTIO_INTERRUPT_CONFIG);
}

/* A driver of random bytes: the device breaks or works, and nothing stays pinned. */
Test(virtqueue, random_descriptors_do_no_harm)
{
    unsigned seed = 12345, broken = 0;

    for (int round = 0; round < 3000; round++) {
        uint64_t bytes[16 * SIZE / 8];
        driver_begin(device, VIRTIO_F_INDIRECT_DESC);
        memset(driver_at(QUEUE_MEMORY), 0, 4096);
        driver_queue_set_up(&queue, device, 0, SIZE, QUEUE_MEMORY);
        driver_ready(device);
        for (size_t i = 0; i < sizeof bytes / 8; i += 2) {
            bool good = rand_r(&seed) % 4 != 0;
            bytes[i] = good ? BUFFERS + rand_r(&seed) % 100000 : (uint64_t)rand_r(&seed) << 20;
            bytes[i + 1] = (uint64_t)(rand_r(&seed) % (good ? 9000 : 2000000000))
                         | (uint64_t)(rand_r(&seed) % 8) << 32
                         | (uint64_t)(rand_r(&seed) % (good ? SIZE : 65536)) << 48;
        }
        driver_put(QUEUE_MEMORY, bytes, sizeof bytes);
        driver_put(BUFFERS + rand_r(&seed) % 100000, bytes, sizeof bytes);
        for (uint16_t i = 0; i < SIZE; i++)
            driver_available(&queue, i, (uint16_t)(rand_r(&seed) % SIZE));
        driver_available_index(&queue, (uint16_t)(1 + rand_r(&seed) % SIZE));
        driver_kick(&queue);
        broken += device_is_broken(device);
        cr_assert_eq(echo.virtio.queue[0].outstanding, 0);
    }
    cr_assert(broken > 100 && broken < 3000, "%u rounds broke the device", broken);
}
