/* Many threads on one file system: each works on files of its own, in directories that they share,
 * and checks what it reads; one keeps committing. Meant to be run under a thread checker as well.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image.h"
#include "om.h"

enum { THREADS = 6, ROUNDS = 60, SIZE = 150000 };

static struct fake_disk *disk;
static struct fs *fs;
static atomic_int failures, done;

static void expect(bool true_, const char *what, unsigned thread, int round)
{
    if (!true_ && atomic_fetch_add(&failures, 1) < 5)
        fprintf(stderr, "thread %u, round %d: %s\n", thread, round, what);
}

static void round_run(unsigned thread, int round, uint8_t *bytes, uint8_t *back)
{
    unsigned seed = thread * 1000 + (unsigned)round;
    size_t length = (size_t)rand_r(&seed) % SIZE + 1, got = 0;
    char path[64], other[64];
    fs_id id;

    snprintf(path, sizeof path, "d%d/t%u-%d", round % 3, thread, round % 7);
    snprintf(other, sizeof other, "d%d/t%u-moved", (round + 1) % 3, thread);
    if (file_find(fs, path, &id) != 0)
        expect(file_make(fs, path, S_IFREG | 0644, &id) == 0, "create", thread, round);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 3 + seed + i / 4096);
    expect(file_truncate(fs, id, 0) == 0, "truncate", thread, round);
    expect(file_write(fs, id, 0, bytes, length) == 0, "write", thread, round);
    while (got < length) {
        int step = file_read(fs, id, got, back + got, length - got < 65536 ? length - got : 65536);

        if (step <= 0)
            break;
        got += (size_t)step;
    }
    expect(got == length && memcmp(bytes, back, length) == 0, "other bytes", thread, round);
    if (round % 5 == 1)
        expect(file_rename(fs, path, other, 0) == 0, "rename", thread, round);
    else if (round % 5 == 3)
        expect(file_remove(fs, path) == 0, "remove", thread, round);
    if ((unsigned)round % 11 == thread)
        expect(file_sync(fs) == 0, "sync", thread, round);
}

static void *worker_run(void *number)
{
    uint8_t *bytes = malloc(SIZE), *back = malloc(SIZE);

    for (int round = 0; round < ROUNDS; round++)
        round_run((unsigned)(uintptr_t)number, round, bytes, back);
    free(bytes);
    free(back);
    atomic_fetch_add(&done, 1);
    return NULL;
}

static void *committer_run(void *unused)
{
    (void)unused;
    while (atomic_load(&done) < THREADS)
        expect(file_sync(fs) == 0, "commit", THREADS, 0);
    return NULL;
}

static void run(const char *size, const char *options)
{
    pthread_t threads[THREADS + 1];
    char path[16];

    disk = image_make(size, "%s", options);
    fs = image_mount(disk);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "d%d", i);
        cr_assert_eq(file_make(fs, path, S_IFDIR | 0755, NULL), 0);
    }
    for (uintptr_t i = 0; i <= THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, i < THREADS ? worker_run : committer_run,
                                    (void *)i), 0);
    for (int i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(failures, 0);
    image_unmount(fs);
    image_expect_clean(disk);
    fake_disk_free(disk);
}

/* A disk that stands still ------------------------------------------------------------- */

static struct om om;

static int walk(const char *path, uint32_t operation)
{
    uint8_t *body = malloc(FILE_BODY_MAX);
    struct file_request request = { .operation = operation, .path_length = (uint16_t)strlen(path) };
    struct file_reply reply;
    struct om_call call = { .request = &request, .body = path, .body_size = strlen(path),
                            .reply = &reply, .reply_body = body };

    om_serve(&om, &call);
    free(body);
    return reply.error;
}

static void *stuck_run(void *operation)
{
    expect(walk("cold/f", (uint32_t)(uintptr_t)operation) == 0, "the stuck one", 0, 0);
    return NULL;
}

static void stuck_with(uint32_t operation)
{
    pthread_t thread;

    fs = image_mount(disk);
    om_init(&om, NULL);
    cr_assert_eq(om_add(&om, fs, 1), 0);
    cr_assert_eq(walk("warm/f", FILE_WALK), 0);
    fake_disk_stop(disk, true);
    pthread_create(&thread, NULL, stuck_run, (void *)(uintptr_t)operation);
    fake_disk_await_reader(disk);
    cr_assert_eq(walk("warm/f", FILE_WALK), 0);         /* would wait for ever */
    fake_disk_stop(disk, false);
    pthread_join(thread, NULL);
    cr_assert_eq(failures, 0);
    cr_assert_eq(om_stop(&om), 0);
}

TestSuite(threads, .timeout = 250);

Test(threads, many_threads_do_not_disturb_each_other)
{
    run("40M", "-t ext4");
}

Test(threads, nor_with_a_small_journal_and_small_blocks)
{
    run("40M", "-t ext4 -b 1024 -J size=1");
}

Test(threads, nor_without_a_journal)
{
    run("40M", "-t ext4 -O ^has_journal");
}

Test(threads, a_disk_that_stands_still_stops_only_who_needs_it, .timeout = 20)
{
    disk = image_make("16M", "-t ext4");
    fs = image_mount(disk);
    cr_assert_eq(file_make(fs, "warm", S_IFDIR | 0755, NULL), 0);
    cr_assert_eq(file_make(fs, "cold", S_IFDIR | 0755, NULL), 0);
    cr_assert_eq(file_make(fs, "warm/f", S_IFREG | 0644, NULL), 0);
    cr_assert_eq(file_make(fs, "cold/f", S_IFREG | 0644, NULL), 0);
    image_unmount(fs);
    stuck_with(FILE_WALK);
    stuck_with(FILE_UNLINK);
    image_expect_clean(disk);
    fake_disk_free(disk);
}
