/* The disk driver against a real disk. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/disk.h"
#include "host_bus.h"
#include "virtio_blk.h"

#define SIZE (4u << 20)

static char path[64];
static struct device *device;
static struct driver_registers registers;
static struct disk disk;
static uint8_t body[BLOCK_BODY_MAX];
static struct block_reply reply;
static size_t reply_size;
static uint8_t *reply_data;

static void begin(enum disk_image_mode mode)
{
    char reason[100];

    host_bus_start();
    snprintf(path, sizeof path, "/tmp/chorus-driver-XXXXXX");
    int file = mkstemp(path);
    cr_assert_eq(ftruncate(file, SIZE), 0);
    close(file);
    struct disk_image *image = disk_image_open(path, mode, reason, sizeof reason);
    cr_assert_not_null(image, "%s", reason);
    device = virtio_blk_create("disk0", &host_services, host_bus, host_pool, NULL, image);
    host_registers(&registers, device);
    cr_assert(disk_begin(&disk, &registers, host_memory));
}

static void start(void)
{
    begin(DISK_IMAGE_WRITABLE);
}

static void end(void)
{
    for (device_reset(device); !device_quiet(device);)
        host_bus_step();
    device_destroy(device);
    unlink(path);
    host_bus_end();
}

TestSuite(disk, .init = start, .fini = end, .timeout = 20);

static struct disk_slot *wait_for_one(void)
{
    struct disk_slot *slot;

    while ((slot = disk_finished(&disk)) == NULL)
        host_bus_step();
    return slot;
}

/* Carry out one request; returns its status. */
static int ask(uint32_t operation, uint64_t offset, uint64_t length)
{
    struct block_request request = { .operation = operation, .tag = 99, .offset = offset,
                                     .length = length };
    struct disk_slot *slot = disk_submit(&disk, &request, body,
                                         operation == BLOCK_WRITE ? length : 0, &reply, &reply_size);

    if (slot == NULL)
        return reply.status;
    cr_assert_eq(wait_for_one(), slot);
    reply = slot->reply;
    reply_size = slot->reply_size;
    reply_data = slot->data;
    cr_assert_eq(reply.tag, 99u);
    disk_free(&disk, slot);
    return reply.status;
}

Test(disk, requests_that_make_no_sense_are_refused)
{
    cr_assert_eq(ask(0, 0, 512), -ENOSYS);
    cr_assert_eq(ask(BLOCK_WRITE_ZEROES + 1, 0, 512), -ENOSYS);
    cr_assert_eq(ask(BLOCK_READ, 0, 0), -EINVAL);
    cr_assert_eq(ask(BLOCK_READ, 0, 511), -EINVAL);
    cr_assert_eq(ask(BLOCK_READ, 100, 512), -EINVAL);
    cr_assert_eq(ask(BLOCK_READ, 0, BLOCK_BODY_MAX + 512), -EINVAL);
    cr_assert_eq(ask(BLOCK_READ, SIZE, 512), -ENXIO);
    cr_assert_eq(ask(BLOCK_WRITE, SIZE - 512, 1024), -ENXIO);
    cr_assert_eq(ask(BLOCK_READ, UINT64_MAX - 511, 512), -ENXIO);
    cr_assert_eq(ask(BLOCK_DISCARD, 0, UINT64_C(1) << 40), -ENXIO);
    struct block_request request = { .operation = BLOCK_WRITE, .length = 1024 };
    cr_assert_null(disk_submit(&disk, &request, body, 512, &reply, &reply_size));
    cr_assert_eq(reply.status, -EINVAL, "a body of another size");
    request.flags = BLOCK_DATA_IN_PAGES;
    request.pages = UINT64_C(1) << 63;
    cr_assert_null(disk_submit(&disk, &request, body, 1024, &reply, &reply_size));
    cr_assert_eq(reply.status, -EINVAL, "a body, and pages as well");
    request.length = BLOCK_PAGES_MAX + 512;
    cr_assert_null(disk_submit(&disk, &request, body, 0, &reply, &reply_size));
    cr_assert_eq(reply.status, -EINVAL);
    request.length = 1024;
    request.pages = (uintptr_t)body;
    cr_assert_null(disk_submit(&disk, &request, body, 0, &reply, &reply_size));
    cr_assert_eq(reply.status, -EINVAL, "pages that are the driver's own memory");
    request.operation = BLOCK_FLUSH;
    request.pages = UINT64_C(1) << 63;
    cr_assert_null(disk_submit(&disk, &request, body, 0, &reply, &reply_size));
    cr_assert_eq(reply.status, -EINVAL, "a flush of pages");
    request.flags = 2;
    cr_assert_null(disk_submit(&disk, &request, body, 0, &reply, &reply_size));
    cr_assert_eq(reply.status, -EINVAL, "a flag that nobody knows");
    cr_assert_eq(disk.busy, 0u);
}

Test(disk, the_geometry_is_told)
{
    struct block_geometry geometry;

    cr_assert_eq(ask(BLOCK_GEOMETRY, 0, 0), 0);
    cr_assert_eq(reply_size, sizeof geometry);
    memcpy(&geometry, reply_data, sizeof geometry);
    cr_assert_eq(geometry.size, SIZE);
    cr_assert_eq(geometry.flags, BLOCK_CAN_DISCARD | BLOCK_CAN_WRITE_ZEROES);
    cr_assert_eq(geometry.block_size, 4096u);
    cr_assert_eq(geometry.transfer_max, (uint32_t)BLOCK_BODY_MAX);
    cr_assert_str_eq(geometry.id, "disk0");
}

Test(disk, what_is_written_is_read)
{
    unsigned seed = 3;
    static uint8_t model[SIZE];

    for (int round = 0; round < 500; round++) {
        uint64_t length = (1 + rand_r(&seed) % 128) * 512;
        uint64_t offset = rand_r(&seed) % ((SIZE - length) / 512 + 1) * 512;
        for (size_t i = 0; i < length; i++)
            body[i] = (uint8_t)(round * 3 + i / 7);
        memcpy(model + offset, body, length);
        cr_assert_eq(ask(BLOCK_WRITE, offset, length), 0);
        cr_assert_eq(reply.length, length);
        cr_assert_eq(reply_size, 0u);
        offset = rand_r(&seed) % ((SIZE - length) / 512 + 1) * 512;
        cr_assert_eq(ask(BLOCK_READ, offset, length), 0);
        cr_assert_eq(reply_size, length);
        cr_assert_arr_eq(reply_data, model + offset, length);
    }
    cr_assert_eq(ask(BLOCK_FLUSH, 0, 0), 0);
    cr_assert_eq(ask(BLOCK_WRITE_ZEROES, 4096, 8192), 0);
    cr_assert_eq(ask(BLOCK_READ, 4096, 8192), 0);
    for (int i = 0; i < 8192; i++)
        cr_assert_eq(reply_data[i], 0);
    cr_assert_eq(ask(BLOCK_DISCARD, 0, SIZE), 0);
}

Test(disk, all_slots_can_be_busy_and_each_request_is_answered_once)
{
    struct disk_slot *slots[DISK_SLOTS];
    bool answered[DISK_SLOTS] = { false };

    for (unsigned i = 0; i < DISK_SLOTS; i++) {
        struct block_request flush = { .operation = BLOCK_FLUSH, .tag = i };
        slots[i] = disk_submit(&disk, &flush, body, 0, &reply, &reply_size);
        cr_assert_not_null(slots[i]);
    }
    struct block_request flush = { .operation = BLOCK_FLUSH };
    cr_assert_null(disk_submit(&disk, &flush, body, 0, &reply, &reply_size));
    cr_assert_eq(reply.status, -EBUSY);
    for (unsigned i = 0; i < DISK_SLOTS; i++) {
        struct disk_slot *slot = wait_for_one();
        cr_assert(slot->reply.tag < DISK_SLOTS && !answered[slot->reply.tag]);
        cr_assert_eq(slots[slot->reply.tag], slot);
        answered[slot->reply.tag] = true;
        disk_free(&disk, slot);
    }
    cr_assert_eq(disk.busy, 0u);
}

Test(disk, an_interrupt_comes_when_it_was_asked_for_only)
{
    host_interrupts = 0;
    cr_assert_eq(ask(BLOCK_FLUSH, 0, 0), 0);
    cr_assert_eq(host_interrupts, 0u);
    struct block_request flush = { .operation = BLOCK_FLUSH };
    struct disk_slot *slot = disk_submit(&disk, &flush, body, 0, &reply, &reply_size);
    bool there = disk_interrupts(&disk, true);
    cr_assert_eq(wait_for_one(), slot);
    disk_free(&disk, slot);
    cr_assert(there || host_interrupts == 1);
}

Test(disk, a_new_driver_finds_a_disk_that_its_predecessor_left_busy)
{
    struct block_request write = { .operation = BLOCK_WRITE, .length = 65536 };

    for (int round = 0; round < 20; round++) {
        memset(body, round, sizeof body);
        for (unsigned i = 0; i < DISK_SLOTS; i++) {
            write.offset = 65536 * i;
            if (i % 2)
                disk_submit(&disk, &(struct block_request){ .operation = BLOCK_FLUSH }, body, 0,
                            &reply, &reply_size);
            else
                disk_submit(&disk, &write, body, 65536, &reply, &reply_size);
        }
        cr_assert(disk_begin(&disk, &registers, host_memory), "it waits for the reset");
        cr_assert_eq(ask(BLOCK_READ, 0, 512), 0);
    }
}

TestSuite(read_only_disk, .timeout = 20);

Test(read_only_disk, it_is_not_written)
{
    begin(DISK_IMAGE_READ_ONLY);
    cr_assert_eq(ask(BLOCK_WRITE, 0, 512), -EROFS);
    cr_assert_eq(ask(BLOCK_DISCARD, 0, 512), -EROFS);
    cr_assert_eq(ask(BLOCK_READ, 0, 512), 0);
    end();
}

Test(read_only_disk, a_console_is_no_disk)
{
    begin(DISK_IMAGE_READ_ONLY);
    struct virtio_driver driver;
    cr_assert_not(virtio_begin(&driver, &registers, VIRTIO_TYPE_CONSOLE, 0));
    end();
}
