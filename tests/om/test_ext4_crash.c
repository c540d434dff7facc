/* Loss of power at many moments: what was promised is there, and the image is right.
 *
 * One run of random work on a small image with a small journal (so that it wraps, is
 * checkpointed, and blocks change between metadata and data) is recorded write by write. For many
 * moments the disk is made as it would be found then, with the unflushed writes partly lost. It
 * is recovered twice: by om, and, as a copy, by e2fsck. Both times e2fsck -fn must find nothing,
 * and every file that was not touched since the last sync must be as it was then.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ext4.h"
#include "image.h"

enum { FILES = 40, DIRECTORIES = 8, PERIODS_MAX = 400 };

struct expected {
    bool     exists;
    uint32_t length;
    unsigned seed;
};

/* From one sync to the next. */
struct period {
    size_t begin;               /* writes done when the sync was answered */
    struct expected files[FILES];
    bool   touched[FILES];      /* in this period */
};

static struct fake_disk *disk;
static struct fs *fs;
static struct expected files[FILES];
static struct period *periods;
static unsigned period_count, seed_now;

static unsigned chance(unsigned limit)
{
    return (unsigned)rand_r(&seed_now) % limit;
}

static void path_of(unsigned file, char *path)
{
    sprintf(path, "d%u/f%u", file % DIRECTORIES, file);
}

static void fill(uint8_t *bytes, uint32_t length, unsigned seed)
{
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(seed + i / 512 + i);
}

static void touch(unsigned file)
{
    periods[period_count - 1].touched[file] = true;
}

static void period_begin(void)
{
    struct period *period = &periods[period_count++];

    period->begin = disk->write_count;
    memcpy(period->files, files, sizeof files);
}

static void file_rewrite(unsigned file)
{
    static uint8_t bytes[200000];
    uint32_t length = chance(4) == 0 ? chance(sizeof bytes) : chance(9000);
    char path[32];
    fs_id id;

    path_of(file, path);
    touch(file);
    if (!files[file].exists)
        cr_assert_eq(file_make(fs, path, S_IFREG | 0644, &id), 0);
    else
        cr_assert_eq(file_find(fs, path, &id), 0);
    files[file] = (struct expected){ true, length, chance(100000) };
    fill(bytes, length, files[file].seed);
    if (chance(2) == 0)
        cr_assert_eq(file_truncate(fs, id, 0), 0);
    cr_assert_eq(file_write(fs, id, 0, bytes, length), 0);
    cr_assert_eq(file_truncate(fs, id, length), 0);
}

static void file_delete(unsigned file)
{
    char path[32];

    if (!files[file].exists)
        return;
    path_of(file, path);
    touch(file);
    cr_assert_eq(file_remove(fs, path), 0);
    files[file].exists = false;
}

static void file_move(unsigned from, unsigned to)
{
    char from_path[32], to_path[32];

    if (!files[from].exists || from == to)
        return;
    path_of(from, from_path);
    path_of(to, to_path);
    touch(from);
    touch(to);
    cr_assert_eq(file_rename(fs, from_path, to_path, 0), 0);
    files[to] = files[from];
    files[from].exists = false;
}

/* Directories come and go: their blocks become data, and data becomes directories. */
static void directory_whirl(unsigned number)
{
    char path[64];

    sprintf(path, "whirl%u", number);
    if (file_make(fs, path, S_IFDIR | 0755, NULL) == 0) {
        for (unsigned i = 0; i < 30; i++) {
            sprintf(path, "whirl%u/a-name-that-takes-some-room-%u", number, i);
            cr_assert_eq(file_make(fs, path, S_IFREG | 0644, NULL), 0);
        }
        return;
    }
    for (unsigned i = 0; i < 30; i++) {
        sprintf(path, "whirl%u/a-name-that-takes-some-room-%u", number, i);
        cr_assert_eq(file_remove(fs, path), 0);
    }
    sprintf(path, "whirl%u", number);
    cr_assert_eq(file_remove(fs, path), 0);
}

static void work(unsigned steps)
{
    char path[32];

    for (unsigned i = 0; i < DIRECTORIES; i++) {
        sprintf(path, "d%u", i);
        cr_assert_eq(file_make(fs, path, S_IFDIR | 0755, NULL), 0);
    }
    cr_assert_eq(file_sync(fs), 0);
    period_begin();
    for (unsigned step = 0; step < steps; step++) {
        unsigned kind = chance(20);

        if (kind < 8)
            file_rewrite(chance(FILES));
        else if (kind < 11)
            file_delete(chance(FILES));
        else if (kind < 14)
            file_move(chance(FILES), chance(FILES));
        else if (kind < 18)
            directory_whirl(chance(4));
        else if (period_count < PERIODS_MAX) {
            cr_assert_eq(file_sync(fs), 0);
            period_begin();
        }
    }
}

static void expect_files(struct fs *found, const struct period *period, size_t moment)
{
    static uint8_t expected[200000], got[200000];

    for (unsigned i = 0; i < FILES; i++) {
        const struct expected *file = &period->files[i];
        char path[32];
        fs_id id;
        int error;

        if (period->touched[i])
            continue;
        path_of(i, path);
        error = file_find(found, path, &id);
        cr_assert_eq(error, file->exists ? 0 : -ENOENT, "moment %zu: %s: %s", moment, path,
                     strerror(-error));
        if (!file->exists)
            continue;
        cr_assert_eq(file_stat(found, id).size, file->length, "moment %zu: %s", moment, path);
        fill(expected, file->length, file->seed);
        for (uint32_t at = 0; at < file->length; at += 65536)
            cr_assert_geq(file_read(found, id, at, got + at,
                                    file->length - at < 65536 ? file->length - at : 65536), 0);
        cr_assert(memcmp(expected, got, file->length) == 0, "moment %zu: %s is damaged", moment, path);
    }
}

static const struct period *period_at(size_t moment)
{
    unsigned i = 0;

    while (i + 1 < period_count && periods[i + 1].begin <= moment)
        i++;
    return &periods[i];
}

static void crash_at(size_t moment, unsigned seed)
{
    struct fake_disk *ours = fake_disk_crash(disk, moment, seed);
    struct fake_disk *theirs = fake_disk_copy(ours);
    const struct period *period = period_at(moment);
    struct fs *found = image_mount(ours);

    expect_files(found, period, moment);
    image_unmount(found);
    image_expect_clean(ours);
    image_expect_recoverable(theirs);
    found = image_mount(theirs);
    expect_files(found, period, moment);
    image_unmount(found);
    fake_disk_free(ours);
    fake_disk_free(theirs);
}

static void crash_many(const char *size, const char *options, unsigned seed, unsigned steps)
{
    const char *wanted = getenv("OM_CRASHES");
    unsigned crashes = wanted != NULL ? (unsigned)atoi(wanted) : 40;

    seed_now = seed;
    period_count = 0;
    periods = calloc(PERIODS_MAX, sizeof *periods);
    disk = image_make(size, "%s", options);
    fs = image_mount(disk);
    fake_disk_record(disk);
    work(steps);
    cr_log_info("%zu writes, %u syncs, %llu commits, %llu checkpoints", disk->write_count,
                period_count, (unsigned long long)ext4_of(fs)->journal.commits,
                (unsigned long long)ext4_of(fs)->journal.checkpoints);
    cr_assert_gt(ext4_of(fs)->journal.checkpoints, 2, "the journal was to be full at times");
    for (unsigned i = 0; i < crashes; i++) {
        size_t first = periods[0].begin;

        crash_at(first + chance((unsigned)(disk->write_count - first)), seed + i);
    }
    image_unmount(fs);
    image_expect_clean(disk);
    fake_disk_free(disk);
    free(periods);
}

TestSuite(ext4_crash, .timeout = 280);

Test(ext4_crash, with_checksums_and_64_bits)
{
    crash_many("8M", "-t ext4 -b 1024 -J size=1", 1, 1500);
}

Test(ext4_crash, without_checksums)
{
    crash_many("8M", "-t ext4 -b 1024 -J size=1 -O ^metadata_csum,^64bit", 2, 1500);
}

Test(ext4_crash, without_extents)
{
    crash_many("8M", "-t ext3 -b 1024 -J size=1", 3, 1500);
}

Test(ext4_crash, with_large_blocks)
{
    crash_many("20M", "-t ext4 -b 4096 -J size=4", 4, 6000);
}
