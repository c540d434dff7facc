/* The disk: images that are wrong, requests that are wrong, and what a good disk does. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fake_nucleus.h"
#include "virtio_blk.h"

#define QUEUE_MEMORY    DRIVER_MEMORY
#define HEADER          (DRIVER_MEMORY + 4 * 4096)
#define STATUS          (DRIVER_MEMORY + 5 * 4096)
#define DATA            data_at
#define SECTORS         2048
#define NO_STATUS       0x77

static uint64_t data_at = DRIVER_MEMORY + 16 * 4096 + 512;  /* across pages, unless a test wants it otherwise */
static char path[64];
static char reason[200];

static void image_make(void)
{
    snprintf(path, sizeof path, "/tmp/chorus-blk-XXXXXX");
    int file = mkstemp(path);
    cr_assert(file >= 0);
    for (int sector = 0; sector < SECTORS; sector++) {
        uint8_t bytes[512];
        memset(bytes, sector & 0xff, sizeof bytes);
        bytes[0] = (uint8_t)(sector >> 8);
        cr_assert_eq(write(file, bytes, sizeof bytes), 512);
    }
    close(file);
}

static void image_remove(void)
{
    unlink(path);
}

/* ---- images ---- */

TestSuite(disk_image, .init = image_make, .fini = image_remove, .timeout = 20);

static void expect_refused(const char *name, enum disk_image_mode mode, const char *why)
{
    struct disk_image *image = disk_image_open(name, mode, reason, sizeof reason);

    cr_assert_null(image);
    cr_assert(strstr(reason, why) != NULL, "\"%s\" does not say \"%s\"", reason, why);
    cr_assert(strstr(reason, name) != NULL, "\"%s\" does not say which image", reason);
}

Test(disk_image, an_image_that_does_not_exist_is_refused)
{
    expect_refused("/nonexistent/image", DISK_IMAGE_WRITABLE, "No such file");
}

Test(disk_image, a_folder_is_refused)
{
    expect_refused("/tmp", DISK_IMAGE_READ_ONLY, "neither a file nor a block device");
}

Test(disk_image, a_character_device_is_refused)
{
    expect_refused("/dev/null", DISK_IMAGE_WRITABLE, "neither a file nor a block device");
}

Test(disk_image, an_image_smaller_than_a_sector_is_refused)
{
    cr_assert_eq(truncate(path, 511), 0);
    expect_refused(path, DISK_IMAGE_READ_ONLY, "empty");
}

Test(disk_image, two_writers_are_refused)
{
    struct disk_image *first = disk_image_open(path, DISK_IMAGE_WRITABLE, reason, sizeof reason);

    cr_assert_not_null(first);
    expect_refused(path, DISK_IMAGE_WRITABLE, "in use already");
    expect_refused(path, DISK_IMAGE_SNAPSHOT, "another site is writing");
    expect_refused(path, DISK_IMAGE_READ_ONLY, "another site is writing");
    disk_image_close(first);
    first = disk_image_open(path, DISK_IMAGE_WRITABLE, reason, sizeof reason);
    cr_assert_not_null(first, "the lock goes with the image");
    disk_image_close(first);
}

Test(disk_image, many_snapshots_share_an_image_and_keep_writers_away)
{
    struct disk_image *one = disk_image_open(path, DISK_IMAGE_SNAPSHOT, reason, sizeof reason);
    struct disk_image *two = disk_image_open(path, DISK_IMAGE_SNAPSHOT, reason, sizeof reason);
    struct disk_image *three = disk_image_open(path, DISK_IMAGE_READ_ONLY, reason, sizeof reason);

    cr_assert(one != NULL && two != NULL && three != NULL);
    expect_refused(path, DISK_IMAGE_WRITABLE, "in use already");
    disk_image_close(one);
    disk_image_close(two);
    disk_image_close(three);
}

Test(disk_image, an_odd_tail_is_no_part_of_the_disk)
{
    cr_assert_eq(truncate(path, 3 * 512 + 100), 0);
    struct disk_image *image = disk_image_open(path, DISK_IMAGE_READ_ONLY, reason, sizeof reason);
    cr_assert_eq(disk_image_size(image), 3u * 512);
    disk_image_close(image);
}

static int direct_of(enum disk_image_mode mode, uint64_t offset, void *bytes, size_t length)
{
    struct disk_image *image = disk_image_open(path, mode, reason, sizeof reason);
    struct iovec piece = { bytes, length };

    cr_assert_not_null(image);
    int direct = disk_image_direct(image, offset, &piece, 1);
    disk_image_close(image);
    return direct;
}

Test(disk_image, what_others_share_or_what_is_not_aligned_is_read_by_the_hosts_cache)
{
    static _Alignas(4096) char bytes[2 * 65536];

    cr_assert_lt(direct_of(DISK_IMAGE_READ_ONLY, 4096, bytes, 4096), 0);
    cr_assert_lt(direct_of(DISK_IMAGE_SNAPSHOT, 4096, bytes, 4096), 0);
    cr_assert_lt(direct_of(DISK_IMAGE_WRITABLE, 512, bytes, 4096), 0);
    cr_assert_lt(direct_of(DISK_IMAGE_WRITABLE, 4096, bytes + 512, 4096), 0);
    cr_assert_lt(direct_of(DISK_IMAGE_WRITABLE, 4096, bytes, 512), 0);
    cr_assert_lt(direct_of(DISK_IMAGE_WRITABLE, 4096, bytes, sizeof bytes), 0);
}

Test(disk_image, what_is_read_past_the_hosts_cache_is_what_was_written_there)
{
    static _Alignas(4096) char out[4096], in[4096];
    struct disk_image *image = disk_image_open(path, DISK_IMAGE_WRITABLE, reason, sizeof reason);
    struct iovec from = { out, sizeof out }, to = { in, sizeof in };
    int descriptors[2], direct = disk_image_direct(image, 8192, &to, 1);

    if (direct < 0)
        cr_skip("the host's file system knows no O_DIRECT");
    cr_assert_eq(disk_image_descriptors(image, descriptors), 2u);
    cr_assert_eq(descriptors[1], direct);
    memset(out, 'w', sizeof out);
    cr_assert_eq(disk_image_write(image, 8192, &from, 1, true), 4096);
    cr_assert_lt(disk_image_direct(image, 8192, &to, 1), 0, "not before it was flushed");
    cr_assert_eq(pread(direct, in, sizeof in, 8192), 4096);
    cr_assert_arr_eq(in, out, sizeof out);
    cr_assert_eq(disk_image_flush(image), 0);
    cr_assert_eq(disk_image_direct(image, 8192, &to, 1), direct);
    cr_assert_not(disk_image_direct_failed(image, direct, 4096));
    cr_assert_not(disk_image_direct_failed(image, descriptors[0], -EIO));
    cr_assert(disk_image_direct_failed(image, direct, -EIO), "by the cache it may still be read");
    cr_assert_eq(disk_image_direct(image, 8192, &to, 1), direct);
    cr_assert(disk_image_direct_failed(image, direct, -EINVAL));
    cr_assert_lt(disk_image_direct(image, 8192, &to, 1), 0, "the host does not want it");
    disk_image_close(image);
}

/* A snapshot against a model of it in memory. */
Test(disk_image, a_snapshot_reads_what_was_written_and_the_file_stays_as_it_was)
{
    static uint8_t model[SECTORS * 512], before[SECTORS * 512], after[SECTORS * 512];
    static uint8_t bytes[40 * 512];
    struct disk_image *image = disk_image_open(path, DISK_IMAGE_SNAPSHOT, reason, sizeof reason);
    int file = open(path, O_RDONLY);
    unsigned seed = 99;

    cr_assert_eq(pread(file, before, sizeof before, 0), (ssize_t)sizeof before);
    memcpy(model, before, sizeof model);
    for (int round = 0; round < 4000; round++) {
        uint64_t first = rand_r(&seed) % SECTORS, count = 1 + rand_r(&seed) % 40;
        if (first + count > SECTORS)
            count = SECTORS - first;
        if (rand_r(&seed) % 3 == 0) {
            memset(bytes, round & 0xff, count * 512);
            struct iovec pieces[2] = { { bytes, 100 }, { bytes + 100, count * 512 - 100 } };
            cr_assert_eq(disk_image_write(image, first * 512, pieces, 2, true),
                         (int64_t)count * 512);
            memcpy(model + first * 512, bytes, count * 512);
        } else if (rand_r(&seed) % 20 == 0) {
            cr_assert_eq(disk_image_zero(image, first * 512, count * 512), 0);
            memset(model + first * 512, 0, count * 512);
        }
        for (uint64_t done = 0; done < count * 512;) {
            struct iovec piece = { bytes + done, count * 512 - done };
            int64_t read = disk_image_read(image, first * 512 + done, &piece, 1, true);
            cr_assert(read > 0 && read % 512 == 0);
            done += (uint64_t)read;
        }
        cr_assert_arr_eq(bytes, model + first * 512, count * 512, "in round %d", round);
    }
    disk_image_close(image);
    cr_assert_eq(pread(file, after, sizeof after, 0), (ssize_t)sizeof after);
    cr_assert_arr_eq(before, after, sizeof before);
    close(file);
}

/* ---- the device ---- */

/* The host's call, counted. */
static unsigned flushes;
int fdatasync(int file)
{
    __atomic_add_fetch(&flushes, 1, __ATOMIC_SEQ_CST);
    return (int)syscall(SYS_fdatasync, file);
}

static struct device *disk;
static struct driver_queue queue;

/* The whole suite is run a second time with a ring, if the host has one; nothing of the image is in the host's cache then. */
static struct io_ring *ring;

static struct io_ring *ring_make(const struct disk_image *image)
{
    int descriptors[2];
    unsigned count = disk_image_descriptors(image, descriptors);

    cr_assert_eq(fdatasync(descriptors[0]), 0);
    posix_fadvise(descriptors[0], 0, 0, POSIX_FADV_DONTNEED);
    struct io_ring *made = io_ring_create(fake_bus, descriptors, count);
    if (made == NULL)
        cr_skip("the host allows no io_uring");
    return made;
}

/* What is flushed leaves the host's cache. */
static void cache_empty(void)
{
    int file = open(path, O_RDONLY);

    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
}

static uint64_t features = VIRTIO_F_INDIRECT_DESC | VIRTIO_BLK_F_RO | VIRTIO_BLK_F_FLUSH;

static void disk_start(enum disk_image_mode mode)
{
    fake_start();
    image_make();
    struct disk_image *image = disk_image_open(path, mode, reason, sizeof reason);
    cr_assert_not_null(image, "%s", reason);
    fake_ring = ring = getenv("CHORUS_TEST_RING") != NULL ? ring_make(image) : NULL;
    disk = virtio_blk_create("disk0", &fake_services, fake_bus, fake_pool, ring, image);
    driver_begin(disk, features);
    driver_queue_set_up(&queue, disk, 0, 128, QUEUE_MEMORY);
    driver_ready(disk);
}

static void disk_writable(void)
{
    disk_start(DISK_IMAGE_WRITABLE);
}

static bool quiet(void *argument)
{
    return device_quiet(argument);
}

static void disk_end(void)
{
    if (!device_reset(disk))
        cr_assert(fake_run_until(quiet, disk), "the reset ends");
    device_destroy(disk);
    io_ring_destroy(ring);
    fake_ring = ring = NULL;
    image_remove();
    fake_end();
}

TestSuite(disk, .init = disk_writable, .fini = disk_end, .timeout = 20);

/* Offer a request of `length` data bytes at DATA + 8192 * slot. */
static unsigned request_offer(unsigned slot, uint32_t type, uint64_t sector, uint32_t length)
{
    struct virtio_blk_header header = { .type = type, .sector = sector };
    bool in = type == VIRTIO_BLK_IN || type == VIRTIO_BLK_GET_ID;
    struct driver_buffer buffers[3] = {
        { HEADER + 16 * slot, 16, false }, { DATA + 8192 * slot, length, in },
        { STATUS + slot, 1, true },
    };

    driver_put(HEADER + 16 * slot, &header, sizeof header);
    driver_put(STATUS + slot, &(uint8_t){ NO_STATUS }, 1);
    if (length == 0)
        buffers[1] = buffers[2];
    return driver_offer(&queue, buffers, length == 0 ? 2 : 3);
}

static uint8_t status_of(unsigned slot)
{
    return *(uint8_t *)driver_at(STATUS + slot);
}

static uint8_t request(uint32_t type, uint64_t sector, uint32_t length)
{
    uint32_t head, written;
    bool in = type == VIRTIO_BLK_IN;

    unsigned offered = request_offer(0, type, sector, length);
    driver_kick(&queue);
    cr_assert(driver_wait_used(&queue, &head, &written), "the request is answered");
    cr_assert_eq(head, offered);
    if (status_of(0) == VIRTIO_BLK_OK && type != VIRTIO_BLK_GET_ID)
        cr_assert_eq(written, 1 + (in ? length : 0));
    return status_of(0);
}

static void expect_contents(uint64_t sector, unsigned count, int byte)
{
    uint8_t bytes[512];

    cr_assert_eq(request(VIRTIO_BLK_IN, sector, count * 512), VIRTIO_BLK_OK);
    for (unsigned i = 0; i < count; i++) {
        driver_get(DATA + 512 * i, bytes, sizeof bytes);
        for (unsigned j = 1; j < 512; j++)
            cr_assert_eq(bytes[j], byte < 0 ? (uint8_t)(sector + i) : byte);
    }
}

Test(disk, a_read_beyond_the_end_is_an_error)
{
    cr_assert_eq(request(VIRTIO_BLK_IN, SECTORS, 512), VIRTIO_BLK_IOERR);
    cr_assert_eq(request(VIRTIO_BLK_IN, SECTORS - 1, 1024), VIRTIO_BLK_IOERR);
    cr_assert_eq(request(VIRTIO_BLK_IN, UINT64_MAX, 512), VIRTIO_BLK_IOERR);
    cr_assert_eq(request(VIRTIO_BLK_IN, UINT64_MAX / 512 + 1, 512), VIRTIO_BLK_IOERR);
    expect_contents(SECTORS - 1, 1, -1);
}

Test(disk, a_write_beyond_the_end_is_an_error_and_the_image_does_not_grow)
{
    struct stat about;

    cr_assert_eq(request(VIRTIO_BLK_OUT, SECTORS - 1, 1024), VIRTIO_BLK_IOERR);
    cr_assert_eq(request(VIRTIO_BLK_OUT, SECTORS, 512), VIRTIO_BLK_IOERR);
    cr_assert_eq(stat(path, &about), 0);
    cr_assert_eq(about.st_size, SECTORS * 512);
}

Test(disk, a_length_that_is_no_multiple_of_a_sector_is_an_error)
{
    cr_assert_eq(request(VIRTIO_BLK_IN, 0, 511), VIRTIO_BLK_IOERR);
    cr_assert_eq(request(VIRTIO_BLK_OUT, 0, 513), VIRTIO_BLK_IOERR);
    cr_assert_eq(request(VIRTIO_BLK_IN, 0, 0), VIRTIO_BLK_IOERR);
}

Test(disk, pages_that_are_gone_are_an_error_and_nothing_is_moved)
{
    for (unsigned type = VIRTIO_BLK_IN; type <= VIRTIO_BLK_OUT; type++) {
        struct virtio_blk_header header = { .type = type, .sector = 3 };
        uint32_t head, written;

        driver_put(HEADER, &header, sizeof header);
        driver_put(STATUS, &(uint8_t){ NO_STATUS }, 1);
        driver_offer(&queue, (struct driver_buffer[]){ { HEADER, 16, false }, { DEVICE_PAGES | 512, 4096, type == VIRTIO_BLK_IN },
                                                       { STATUS, 1, true } }, 3);
        driver_kick(&queue);
        cr_assert(driver_wait_used(&queue, &head, &written));
        cr_assert_eq(status_of(0), VIRTIO_BLK_IOERR);
        cr_assert_eq(written, 1u);
    }
    expect_contents(0, 16, -1);
}

Test(disk, a_header_in_pages_that_are_gone_breaks_the_device)
{
    driver_offer(&queue, (struct driver_buffer[]){ { DEVICE_PAGES, 16, false }, { STATUS, 1, true } }, 2);
    driver_kick(&queue);
    cr_assert(device_is_broken(disk));
}

Test(disk, an_unknown_request_is_unsupported)
{
    cr_assert_eq(request(77, 0, 512), VIRTIO_BLK_UNSUPPORTED);
}

Test(disk, a_request_without_header_breaks_the_device)
{
    driver_offer(&queue, (struct driver_buffer[]){ { HEADER, 8, false }, { STATUS, 1, true } }, 2);
    driver_kick(&queue);
    cr_assert(device_is_broken(disk));
}

Test(disk, a_request_without_room_for_its_status_breaks_the_device)
{
    driver_offer(&queue, (struct driver_buffer[]){ { HEADER, 16, false } }, 1);
    driver_kick(&queue);
    cr_assert(device_is_broken(disk));
}

Test(disk, a_discard_with_wrong_ranges_is_an_error)
{
    struct virtio_blk_range ranges[] = {
        { .sector = SECTORS, .sectors = 1 }, { .sector = 0, .sectors = SECTORS + 1 },
        { .sector = 0, .sectors = 0 }, { .sector = UINT64_MAX, .sectors = 2 },
    };

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        driver_put(DATA, &ranges[i], sizeof *ranges);
        cr_assert_eq(request(VIRTIO_BLK_DISCARD, 0, sizeof *ranges), VIRTIO_BLK_IOERR);
        driver_put(DATA, &ranges[i], sizeof *ranges);
        cr_assert_eq(request(VIRTIO_BLK_WRITE_ZEROES, 0, sizeof *ranges), VIRTIO_BLK_IOERR);
    }
    cr_assert_eq(request(VIRTIO_BLK_DISCARD, 0, 15), VIRTIO_BLK_IOERR);
}

Test(disk, an_image_that_is_cut_off_under_us_is_an_error)
{
    cr_assert_eq(truncate(path, 100 * 512), 0);
    cr_assert_eq(request(VIRTIO_BLK_IN, 200, 4096), VIRTIO_BLK_IOERR);
    cr_assert_eq(request(VIRTIO_BLK_IN, 98, 4 * 512), VIRTIO_BLK_IOERR);
    expect_contents(98, 2, -1);
}

static void disk_without_flush(void)
{
    features &= ~(uint64_t)VIRTIO_BLK_F_FLUSH;
    disk_writable();
}

Test(disk, a_write_is_flushed_when_the_driver_asks_and_not_before)
{
    unsigned before = flushes;
    cr_assert_eq(request(VIRTIO_BLK_OUT, 3, 512), VIRTIO_BLK_OK);
    cr_assert_eq(flushes, before);
    cr_assert_eq(request(VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_OK);
    cr_assert_eq(flushes, before + 1);
}

Test(disk, a_driver_that_cannot_flush_gets_every_write_flushed, .init = disk_without_flush)
{
    unsigned before = flushes;
    cr_assert_eq(request(VIRTIO_BLK_OUT, 3, 512), VIRTIO_BLK_OK);
    cr_assert_eq(flushes, before + 1);
    cr_assert_eq(request(VIRTIO_BLK_IN, 3, 512), VIRTIO_BLK_OK);
    cr_assert_eq(flushes, before + 1);
}

Test(disk, contents_are_read)
{
    expect_contents(0, 1, -1);
    expect_contents(1000, 128, -1);
}

Test(disk, what_is_written_is_read_and_is_in_the_file)
{
    uint8_t bytes[3 * 512], inside[sizeof bytes];

    memset(bytes, 0xab, sizeof bytes);
    driver_put(DATA, bytes, sizeof bytes);
    cr_assert_eq(request(VIRTIO_BLK_OUT, 10, sizeof bytes), VIRTIO_BLK_OK);
    cr_assert_eq(request(VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_OK);
    expect_contents(9, 1, -1);
    expect_contents(10, 3, 0xab);
    expect_contents(13, 1, -1);
    int file = open(path, O_RDONLY);
    cr_assert_eq(pread(file, inside, sizeof inside, 10 * 512), (ssize_t)sizeof inside);
    cr_assert_arr_eq(inside, bytes, sizeof bytes);
    close(file);
}

/* Blocks here and there, past the host's cache and by it: a model of them in memory tells what they are. */
Test(disk, scattered_blocks_are_read_as_they_were_written_last)
{
    static uint8_t model[SECTORS * 512 / 4096], bytes[4096];
    unsigned seed = 7;

    data_at = DRIVER_MEMORY + 16 * 4096;
    memset(bytes, 1, sizeof bytes);
    for (unsigned block = 0; block < sizeof model; block++) {
        driver_put(DATA, bytes, sizeof bytes);
        cr_assert_eq(request(VIRTIO_BLK_OUT, 8 * block, 4096), VIRTIO_BLK_OK);
        model[block] = 1;
    }
    for (unsigned round = 0; round < 1000; round++) {
        unsigned block = (unsigned)rand_r(&seed) % sizeof model;
        if (rand_r(&seed) % 50 == 0) {
            memset(bytes, model[block] = (uint8_t)round, sizeof bytes);
            driver_put(DATA, bytes, sizeof bytes);
            cr_assert_eq(request(VIRTIO_BLK_OUT, 8 * block, 4096), VIRTIO_BLK_OK);
        }
        if (round % 100 == 0) {
            cr_assert_eq(request(VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_OK);
            cache_empty();
        }
        block = (unsigned)rand_r(&seed) % sizeof model;
        cr_assert_eq(request(VIRTIO_BLK_IN, 8 * block, 4096), VIRTIO_BLK_OK);
        driver_get(DATA, bytes, sizeof bytes);
        for (unsigned i = 0; i < sizeof bytes; i++)
            cr_assert_eq(bytes[i], model[block], "in round %u", round);
    }
}

Test(disk, zeroes_are_written)
{
    struct virtio_blk_range range = { .sector = 7, .sectors = 20 };

    driver_put(DATA, &range, sizeof range);
    cr_assert_eq(request(VIRTIO_BLK_WRITE_ZEROES, 0, sizeof range), VIRTIO_BLK_OK);
    expect_contents(7, 20, 0);
    expect_contents(27, 1, -1);
    driver_put(DATA, &range, sizeof range);
    cr_assert_eq(request(VIRTIO_BLK_DISCARD, 0, sizeof range), VIRTIO_BLK_OK);
}

Test(disk, the_disk_tells_its_name_and_size)
{
    char id[20];

    cr_assert_eq(request(VIRTIO_BLK_GET_ID, 0, 20), VIRTIO_BLK_OK);
    driver_get(DATA, id, sizeof id);
    cr_assert_str_eq(id, "disk0");
    cr_assert_eq(device_read(disk, VIRTIO_CONFIG), (uint64_t)SECTORS);
    cr_assert_eq(device_read(disk, VIRTIO_CONFIG + 4), 0u);
}

Test(disk, many_requests_at_once_are_all_answered_once)
{
    bool answered[128] = { false };
    uint32_t head, length;

    for (unsigned i = 0; i < 40; i++)
        request_offer(i, i % 3 == 2 ? VIRTIO_BLK_FLUSH : VIRTIO_BLK_IN, 16 * i,
                      i % 3 == 2 ? 0 : 8192);
    driver_kick(&queue);
    for (unsigned i = 0; i < 40; i++) {
        cr_assert(driver_wait_used(&queue, &head, &length));
        cr_assert_not(answered[head]);
        answered[head] = true;
    }
    for (unsigned i = 0; i < 40; i++) {
        cr_assert_eq(status_of(i), VIRTIO_BLK_OK);
        if (i % 3 != 2)
            cr_assert_eq(*(uint8_t *)driver_at(DATA + 8192 * i + 1), (uint8_t)(16 * i));
    }
    cr_assert_not(driver_take_used(&queue, &head, &length));
}

Test(disk, a_reset_in_the_middle_of_work_ends_and_lets_go_of_all_memory)
{
    for (int round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 40; i++)
            request_offer(i, i % 2 ? VIRTIO_BLK_FLUSH : VIRTIO_BLK_OUT, 16 * i, i % 2 ? 0 : 8192);
        driver_kick(&queue);
        if (!device_reset(disk))
            cr_assert(fake_run_until(quiet, disk));
        cr_assert_eq(fake_pins(), 0u);
        memset(driver_at(QUEUE_MEMORY), 0, 4096);
        driver_begin(disk, 0);
        driver_queue_set_up(&queue, disk, 0, 128, QUEUE_MEMORY);
        driver_ready(disk);
    }
    cr_assert_eq(request(VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_OK);
}

TestSuite(disk_mode, .timeout = 20);

Test(disk_mode, a_read_only_disk_says_so_and_is_not_written)
{
    disk_start(DISK_IMAGE_READ_ONLY);
    cr_assert(virtio_has((struct virtio_device *)disk, VIRTIO_BLK_F_RO));
    cr_assert_eq(request(VIRTIO_BLK_OUT, 0, 512), VIRTIO_BLK_IOERR);
    cr_assert_eq(request(VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_OK);
    expect_contents(0, 1, -1);
    disk_end();
}

Test(disk_mode, a_snapshot_is_written_and_the_image_is_not)
{
    uint8_t bytes[512], inside[512];

    disk_start(DISK_IMAGE_SNAPSHOT);
    memset(bytes, 0xcd, sizeof bytes);
    driver_put(DATA, bytes, sizeof bytes);
    cr_assert_eq(request(VIRTIO_BLK_OUT, 5, 512), VIRTIO_BLK_OK);
    expect_contents(5, 1, 0xcd);
    expect_contents(6, 1, -1);
    cr_assert_eq(request(VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_OK);
    int file = open(path, O_RDONLY);
    cr_assert_eq(pread(file, inside, 512, 5 * 512), 512);
    cr_assert_eq(inside[1], 5);
    close(file);
    disk_end();
}
