/* The entropy driver against the real model. */
#include <criterion/criterion.h>

#include "entropy/entropy.h"
#include "host_bus.h"
#include "virtio_rng.h"

static struct entropy driver;
static struct driver_registers registers;
static struct device *device;

static void begin(void)
{
    host_bus_start();
    device = virtio_rng_create("entropy0", &host_services);
    host_registers(&registers, device);
}

static void end(void)
{
    device_reset(device);
    device_destroy(device);
    host_bus_end();
}

TestSuite(entropy, .init = begin, .fini = end, .timeout = 20);

static unsigned allocations_left;

static void *scarce_memory(size_t size)
{
    return allocations_left-- > 0 ? host_memory(size) : NULL;
}

Test(entropy, without_memory_it_does_not_begin)
{
    for (unsigned i = 0; i < 2; i++) {
        allocations_left = i;
        cr_expect_not(entropy_begin(&driver, &registers, scarce_memory));
    }
}

Test(entropy, more_requests_than_slots_are_refused_until_one_is_free)
{
    cr_assert(entropy_begin(&driver, &registers, host_memory));
    for (unsigned i = 0; i < ENTROPY_SLOTS; i++)
        cr_assert_not_null(entropy_ask(&driver, 1, i));
    cr_assert_null(entropy_ask(&driver, 1, ENTROPY_SLOTS));
    entropy_free(entropy_finished(&driver));
    cr_assert_not_null(entropy_ask(&driver, 1, ENTROPY_SLOTS));
}

Test(entropy, each_request_gets_the_bytes_that_it_asked_for)
{
    cr_assert(entropy_begin(&driver, &registers, host_memory));
    for (uint32_t length = 1; length <= ENTROPY_BYTES_MOST; length = length * 3 + 1) {
        cr_assert_not_null(entropy_ask(&driver, length, length + 1));
        struct entropy_slot *slot = entropy_finished(&driver);
        cr_assert_not_null(slot);
        cr_expect(slot->owner == length + 1 && slot->got == length);
        cr_expect(slot->bytes[0] == 7 && slot->bytes[length - 1] == 7, "the bytes of the test's generator");
        entropy_free(slot);
        cr_expect_null(entropy_finished(&driver));
    }
}

Test(entropy, it_goes_on_when_the_rings_have_gone_round_many_times)
{
    cr_assert(entropy_begin(&driver, &registers, host_memory));
    for (unsigned i = 0; i < 100000; i++) {
        cr_assert_not_null(entropy_ask(&driver, 1, i));
        struct entropy_slot *slot = entropy_finished(&driver);
        cr_assert(slot != NULL && slot->owner == i);
        entropy_free(slot);
    }
}

Test(entropy, an_interrupt_comes_with_what_is_finished_after_nothing_was)
{
    cr_assert(entropy_begin(&driver, &registers, host_memory));
    cr_assert_null(entropy_finished(&driver));
    host_interrupts = 0;
    entropy_ask(&driver, 16, 1);
    cr_expect_eq(host_interrupts, 1u);
    cr_expect_not_null(entropy_finished(&driver));
}
