/* The device table and interrupts. */
#include "device.h"
#include "site.h"

#include <string.h>

static struct {
    uint32_t last_offset;
    uint64_t last_value;
    unsigned resets;
    bool busy; /* the host works on its memory */
} device;

static uint64_t read_register(void *unused, uint32_t offset)
{
    (void)unused;
    return offset + 1000;
}
static void write_register(void *unused, uint32_t offset, uint64_t value)
{
    (void)unused;
    device.last_offset = offset;
    device.last_value = value;
}
static bool reset(void *unused)
{
    (void)unused;
    device.resets++;
    return !device.busy;
}
static bool quiet(void *unused)
{
    (void)unused;
    return !device.busy;
}
static const struct device_interface interface = { read_register, write_register, reset, quiet };

static struct thread *driver;

static void one_device(void)
{
    site_start();
    device = (typeof(device)){ 0 };
    cr_assert_eq(devices_add(&interface, NULL, K_DEVICE_VIRTIO, 2, "disk0"), 0);
    driver = thread_new(actor_new(K_SYSTEMACTOR));
}

TestSuite(devices, .init = one_device, .fini = site_end);

Test(devices, what_is_not_ones_own_is_refused)
{
    uint64_t at = room(driver->actor, sizeof(KnDevice));
    cr_assert_eq(DO(driver, deviceStat, 1, at), K_EUNKNOWN);
    cr_assert_eq(DO(driver, deviceStat, UINT64_MAX, at), K_EUNKNOWN);
    cr_assert_eq(DO(driver, deviceOpen, 1), K_EUNKNOWN);
    cr_assert_eq(DO(driver, deviceRead, 0, 0, at), K_EUNKNOWN);
    cr_assert_eq(DO(driver, deviceWrite, 0, 0, 0), K_EUNKNOWN);
    cr_assert_eq(DO(driver, deviceClose, 0), K_EUNKNOWN);
    cr_assert_eq(DO(driver, svIntrAttach, 0, 0), K_EUNKNOWN);
    cr_assert_eq(DO(driver, svIntrDone, 0), K_EUNKNOWN);
    cr_assert_eq(DO(driver, deviceOpen, 0), K_OK);
    cr_assert_eq(DO(driver, deviceRead, 0, 0x1000, at), K_EINVAL);
    cr_assert_eq(DO(driver, deviceRead, 0, 2, at), K_EINVAL);
    cr_assert_eq(DO(driver, deviceRead, 0, 0, 0xbad000), K_EFAULT);
    cr_assert_eq(DO(driver, svIntrAttach, 0, 7), K_EINVAL);
    struct thread *other = thread_new(actor_new(K_SYSTEMACTOR));
    cr_assert_eq(DO(other, deviceOpen, 0), K_EBUSY);
    cr_assert_eq(DO(other, deviceWrite, 0, 0, 0), K_EUNKNOWN);
}

Test(devices, registers_are_read_and_written_by_the_driver)
{
    uint64_t at = room(driver->actor, sizeof(KnDevice)), value;
    KnDevice stat;
    cr_assert_eq(DO(driver, deviceStat, 0, at), K_OK);
    get(driver->actor, at, &stat, sizeof stat);
    cr_assert_str_eq(stat.name, "disk0");
    cr_assert_eq(stat.claimed, 0);
    cr_assert_eq(DO(driver, deviceOpen, 0), K_OK);
    cr_assert_eq(DO(driver, deviceRead, 0, 8, at), K_OK);
    get(driver->actor, at, &value, sizeof value);
    cr_assert_eq(value, 1008);
    cr_assert_eq(DO(driver, deviceWrite, 0, 0x50, 3), K_OK);
    cr_assert_eq(device.last_offset, 0x50);
    cr_assert_eq(device.last_value, 3);
    cr_assert_eq(DO(driver, deviceClose, 0), K_OK);
    cr_assert_eq(device.resets, 1);
}

static uint64_t interrupts(void)
{
    uint64_t desc;
    KnIntrMsg told;
    if (receive_by(driver, 0, K_NODELAY, &desc) != 0)
        return 0;
    get(driver->actor, (uint64_t)message_desc(driver->actor, desc).annexAddr, &told, sizeof told);
    cr_assert_eq(told.type, K_MSG_INTERRUPT);
    cr_assert_eq(told.intr, 0);
    return told.count;
}

Test(devices, an_interrupt_is_one_message_until_it_is_done)
{
    device_interrupt(0); /* nobody's */
    DO(driver, deviceOpen, 0);
    cr_assert_eq(DO(driver, svIntrAttach, 0, 0), K_OK);
    cr_assert_eq(DO(driver, svIntrAttach, 0, 0), K_EBUSY);
    cr_assert_eq(interrupts(), 0);
    device_interrupt(0);
    device_interrupt(0);
    device_interrupt(0);
    cr_assert_eq(interrupts(), 1);
    cr_assert_eq(interrupts(), 0);
    cr_assert_eq(DO(driver, svIntrDone, 0), K_OK);
    cr_assert_eq(interrupts(), 2);
    cr_assert_eq(DO(driver, svIntrDone, 0), K_OK);
    cr_assert_eq(interrupts(), 0);
    cr_assert_eq(DO(driver, svIntrDetach, 0), K_OK);
    device_interrupt(0);
    cr_assert_eq(interrupts(), 0);
    device_interrupt(99);
}

Test(devices, a_dead_drivers_device_is_reset_and_free)
{
    DO(driver, deviceOpen, 0);
    actor_kill(driver->actor, K_OK, NULL);
    cr_assert_eq(device.resets, 1);
    cr_assert_null(device_driver(0));
}

Test(devices, a_device_whose_memory_is_in_use_keeps_its_dead_driver)
{
    DO(driver, deviceOpen, 0);
    device.busy = true;
    struct thread *other = thread_new(actor_new(K_SYSTEMACTOR));
    actor_kill(driver->actor, K_OK, NULL);
    pass(5 * MS);
    cr_assert_eq(actor_count_existing(), 2);
    cr_assert_eq(DO(other, deviceOpen, 0), K_EBUSY);
    device.busy = false;
    pass(5 * MS);
    cr_assert_eq(actor_count_existing(), 1);
    cr_assert_eq(DO(other, deviceOpen, 0), K_OK);
}

Test(devices, memory_that_a_device_works_on_outlives_its_driver)
{
    struct actor *actor = driver->actor;
    uint64_t at = (room(actor, 8192) + 4095) & ~4095ull;
    DO(driver, deviceOpen, 0);
    uint8_t *bytes = vm_pin(actor, at, 4096, true);
    cr_assert_not_null(bytes);
    device.busy = true;
    actor_kill(actor, K_OK, NULL);
    for (int i = 0; i < 100; i++)
        pass(100 * US);
    uint64_t frames, free, cached;
    vm_counts(&frames, &free, &cached);
    cr_assert_eq(frames - free, 1, "the pinned frame, and no other, is still in use: %lu",
                 frames - free);
    memset(bytes, 1, 4096);
    vm_unpin(actor, at, 4096);
    device.busy = false;
    pass(5 * MS);
    cr_assert_eq(actor_count_existing(), 0);
}
