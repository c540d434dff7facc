/* Disks as nodes: what tables of partitions may say, who may have a disk, and what om asks of it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "blocks.h"

#define SIZE (1u << 20)

/* A disk in memory, of which everybody who opens it gets a view. */
static uint8_t bytes[SIZE];
static unsigned flushes, zeroed, opened;
static bool broken;

static int memory_read(struct blockdev *device, uint64_t offset, void *data, size_t length)
{
    (void)device;
    memcpy(data, bytes + offset, length);
    return broken ? -EIO : 0;
}

static int memory_write(struct blockdev *device, uint64_t offset, const void *data, size_t length)
{
    (void)device;
    memcpy(bytes + offset, data, length);
    return broken ? -EIO : 0;
}

static int memory_flush(struct blockdev *device)
{
    (void)device;
    flushes++;
    return broken ? -EIO : 0;
}

static int memory_zero(struct blockdev *device, uint64_t offset, uint64_t length)
{
    (void)device;
    memset(bytes + offset, 0, length);
    zeroed++;
    return 0;
}

static void memory_close(struct blockdev *device)
{
    opened--;
    free(device);
}

static int open_device(struct om_world *world, const char *name, struct blockdev **ret)
{
    (void)world;
    if (strcmp(name, "disk0") != 0 && strcmp(name, "disk1") != 0)
        return -ENODEV;
    *ret = malloc(sizeof **ret);
    **ret = (struct blockdev){ .size = SIZE, .read_only = strcmp(name, "disk1") == 0, .read = memory_read, .write = memory_write,
                               .flush = memory_flush, .zero = memory_zero, .close = memory_close };
    opened++;
    return 0;
}

static unsigned two_disks(struct om_world *world)
{
    (void)world;
    return 2;
}

static struct om_world world = { .device = open_device, .disks = two_disks };
static struct om om;

static void table_put(unsigned entry, uint8_t type, uint32_t start, uint32_t count)
{
    uint8_t *at = bytes + 446 + 16 * entry;
    at[4] = type;
    memcpy(at + 8, &start, 4);
    memcpy(at + 12, &count, 4);
    bytes[510] = 0x55;
    bytes[511] = 0xaa;
}

static void start(void)
{
    memset(bytes, 0, SIZE);
    broken = false;
    table_put(0, 0x83, 8, 100);
    om_init(&om, &world);
    cr_assert_eq(om_add_blocks(&om), 0);
}

static void stop(void)
{
    om_stop(&om);
    cr_expect_eq(opened, 0, "%u devices stay open", opened);
}

static struct file_reply reply;
static uint8_t body[FILE_BODY_MAX];

static int ask(uint32_t operation, uint64_t key, struct file_request request)
{
    request.operation = operation;
    request.key = key;
    struct om_call call = { .request = &request, .body = "", .reply = &reply, .reply_body = body };
    om_serve(&om, &call);
    return reply.error;
}

static int open_node(uint32_t minor, uint32_t access)
{
    return ask(FILE_OPEN, FILE_BLOCK_KEY((uint64_t)minor), (struct file_request){ .open.access = access });
}

static int close_node(uint32_t minor, uint32_t access)
{
    return ask(FILE_CLOSE, FILE_BLOCK_KEY((uint64_t)minor), (struct file_request){ .open.access = access });
}

TestSuite(blocks, .init = start, .fini = stop);

Test(blocks, what_is_not_there_cannot_be_opened)
{
    cr_expect_eq(open_node(2, FILE_O_READ), -ENXIO);
    cr_expect_eq(open_node(32, FILE_O_READ), -ESTALE);
    cr_expect_eq(open_node(0xfffff, FILE_O_READ), -ESTALE);
    cr_expect_eq(ask(FILE_GETATTR, FILE_BLOCK_KEY(3ull) | 1ull << 40, (struct file_request){ 0 }), -ESTALE);
    cr_expect_eq(ask(FILE_DETACH, FILE_BLOCKS_KEY, (struct file_request){ 0 }), -EINVAL);
    cr_expect_eq(ask(FILE_RESCAN, FILE_BLOCK_KEY(1ull), (struct file_request){ 0 }), -EINVAL);
    cr_expect_eq(ask(FILE_RESCAN, FILE_BLOCK_KEY(32ull), (struct file_request){ 0 }), -EINVAL);
}

Test(blocks, names_that_are_no_disks_are_told_from_those_that_are)
{
    const char *bad[] = { "", "disk", "disk26", "disk-1", "disk1x", "/dev/vd", "/dev/vdA", "/dev/vda0", "/dev/vda01", "/dev/vda16",
                          "/dev/vda1x", "/dev/vdab", "/dev/sda", "vda" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(blocks_minor(bad[i]), -ENODEV, "%s", bad[i]);
    cr_expect_eq(blocks_minor("disk3"), 48);
    cr_expect_eq(blocks_minor("/dev/vda"), 0);
    cr_expect_eq(blocks_minor("/dev/vdb15"), 31);
}

Test(blocks, a_disk_that_can_only_be_read_is_not_opened_for_writing)
{
    cr_expect_eq(open_node(16, FILE_O_READ | FILE_O_WRITE), -EROFS);
    cr_expect_eq(open_node(16, FILE_O_READ), 0);
    cr_expect_eq(close_node(16, FILE_O_READ), 0);
}

Test(blocks, a_writer_keeps_others_from_mounting_it_and_what_it_is_part_of)
{
    cr_assert_eq(open_node(1, FILE_O_WRITE), 0);
    cr_expect_eq(reply.attributes.size, 100 * 512);
    cr_expect_eq(blocks_claim(&om, 1), -EBUSY);
    cr_expect_eq(blocks_claim(&om, 0), -EBUSY);
    cr_expect_eq(blocks_claim(&om, 2), 0);
    blocks_claim_end(&om, 2);
    cr_expect_eq(close_node(1, FILE_O_WRITE), 0);
    cr_assert_eq(blocks_claim(&om, 0), 0);
    cr_expect_eq(open_node(1, FILE_O_WRITE), -EBUSY);
    cr_expect_eq(open_node(1, FILE_O_READ | FILE_O_EXCLUSIVE), -EBUSY);
    cr_expect_eq(open_node(1, FILE_O_READ), 0);
    blocks_claim_end(&om, 0);
    cr_expect_eq(open_node(1, FILE_O_WRITE), 0);
}

Test(blocks, closing_more_often_than_opening_is_harmless)
{
    cr_expect_eq(close_node(0, FILE_O_WRITE), 0);
    cr_expect_eq(open_node(0, FILE_O_WRITE), 0);
    cr_expect_eq(close_node(0, FILE_O_WRITE), 0);
    cr_expect_eq(close_node(0, FILE_O_WRITE), 0);
    cr_expect_eq(blocks_claim(&om, 0), 0);
}

Test(blocks, a_table_is_not_read_again_while_a_partition_is_open)
{
    cr_assert_eq(open_node(1, FILE_O_READ), 0);
    table_put(1, 0x83, 200, 8);
    cr_expect_eq(ask(FILE_RESCAN, FILE_BLOCK_KEY(0ull), (struct file_request){ 0 }), -EBUSY);
    cr_expect_eq(open_node(2, FILE_O_READ), -ENXIO);
    cr_expect_eq(close_node(1, FILE_O_READ), 0);
    cr_expect_eq(ask(FILE_RESCAN, FILE_BLOCK_KEY(0ull), (struct file_request){ .credentials.uid = 5 }), -EPERM);
    cr_expect_eq(ask(FILE_RESCAN, FILE_BLOCK_KEY(0ull), (struct file_request){ 0 }), 0);
    cr_expect_eq(open_node(2, FILE_O_READ), 0);
    cr_expect_eq(reply.attributes.size, 8 * 512);
}

static int map(uint32_t op, uint64_t key, uint64_t offset, uint64_t size, size_t *ret_size)
{
    KnMpRequest request = { .op = op, .segKey = key, .offset = offset, .size = size, .segSize = 100 * 512, .lc = { { 1, 1 }, 7 },
                            .access = K_WRITABLE };
    static uint8_t page[65536];
    KnMpReply answer;
    memset(page, 'x', sizeof page);
    om_map(&om, &request, page, size, &answer, body, sizeof body, ret_size);
    return answer.diag;
}

Test(blocks, nothing_is_read_or_written_beyond_a_partition)
{
    uint64_t key = FILE_BLOCK_KEY(1ull);
    size_t used;
    cr_assert_eq(open_node(1, FILE_O_READ | FILE_O_WRITE), 0);
    memset(bytes + 108 * 512, 'n', 4096);
    cr_expect_eq(map(K_MP_PULLIN, key, 12 * 4096, 4096, &used), K_OK);     /* 100 sectors are 12 and a half pages */
    cr_expect_eq(used, 2048);
    cr_expect_eq(memchr(body, 'n', 4096), NULL);
    cr_expect_eq(map(K_MP_PUSHOUT, key, 12 * 4096, 4096, &used), K_OK);
    cr_expect_eq(bytes[108 * 512 - 1], 'x');
    cr_expect_eq(bytes[108 * 512], 'n');
    cr_expect_eq(map(K_MP_GETACCESS, key, 12 * 4096, 4096, &used), K_OK);
    cr_expect_eq(map(K_MP_GETACCESS, key, 13 * 4096, 4096, &used), K_ENOSPACE);
    cr_expect_eq(map(K_MP_GETACCESS, key, UINT64_MAX - 4095, 4096, &used), K_EINVAL);
}

Test(blocks, a_sync_is_a_flush_and_its_failure_is_told_and_tried_again)
{
    uint64_t key = FILE_BLOCK_KEY(0ull);
    size_t used;
    flushes = 0;
    cr_assert_eq(open_node(0, FILE_O_WRITE), 0);
    cr_expect_eq(ask(FILE_FSYNC, key, (struct file_request){ 0 }), 0);
    cr_expect_eq(flushes, 0);
    cr_expect_eq(map(K_MP_PUSHOUT, key, 4096, 4096, &used), K_OK);
    broken = true;
    cr_expect_eq(ask(FILE_FSYNC, key, (struct file_request){ 0 }), -EIO);
    broken = false;
    cr_expect_eq(ask(FILE_FSYNC, key, (struct file_request){ 0 }), 0);
    cr_expect_eq(flushes, 2);
}

Test(blocks, a_hole_is_passed_on_within_the_disk_only)
{
    uint64_t key = FILE_BLOCK_KEY(0ull);
    const uint32_t hole = FILE_ALLOCATE_KEEP_SIZE | FILE_ALLOCATE_PUNCH_HOLE;
    zeroed = 0;
    cr_assert_eq(open_node(0, FILE_O_WRITE), 0);
    cr_expect_eq(ask(FILE_ALLOCATE, key, (struct file_request){ .io = { SIZE - 512, 1024, hole } }), -EINVAL);
    cr_expect_eq(ask(FILE_ALLOCATE, key, (struct file_request){ .io = { 1, 512, hole } }), -EINVAL);
    cr_expect_eq(ask(FILE_ALLOCATE, key, (struct file_request){ .io = { 0, 512, 0 } }), -EOPNOTSUPP);
    cr_expect_eq(zeroed, 0);
    cr_expect_eq(ask(FILE_ALLOCATE, key, (struct file_request){ .io = { 4096, 8192, hole } }), 0);
    cr_expect_eq(zeroed, 1);
}

/* No table may lead outside of the disk, make us read for ever, or crash us. */
Test(blocks, random_tables_give_sound_partitions_or_none)
{
    struct blockdev *device;
    cr_assert_eq(open_device(&world, "disk0", &device), 0);
    srand(7);
    for (int round = 0; round < 20000; round++) {
        struct block_node nodes[BLOCKS_NODES];
        for (unsigned i = 0; i < 16; i++) {
            uint32_t sector = (uint32_t)(rand() % 64 * (rand() % 4 != 0));
            uint8_t *at = bytes + sector * 512;
            static const uint8_t types[] = { 0x83, 5, 0x0f, 0, 0xee, 0x85 };
            for (int entry = 0; entry < 4; entry++) {
                uint32_t values[2] = { (uint32_t)(rand() % 70), (uint32_t)(rand() % 3 == 0 ? rand() : rand() % 2048) };
                at[446 + 16 * entry] = 0;
                at[446 + 16 * entry + 4] = types[rand() % (sector == 0 && round % 5 == 0 ? 6 : 4)];
                memcpy(at + 446 + 16 * entry + 8, values, 8);
            }
            at[510] = 0x55, at[511] = 0xaa;
        }
        cr_assert_eq(partitions_read(device, nodes), 0);
        for (int i = 1; i < BLOCKS_NODES; i++)
            if (nodes[i].present)
                cr_assert(nodes[i].start > 0 && nodes[i].start < SIZE && nodes[i].size <= SIZE - nodes[i].start && nodes[i].size > 0);
    }
    blockdev_close(device);
}
