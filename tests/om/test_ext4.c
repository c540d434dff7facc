/* ext4's operations, compared with what the host's own tools say about the image. OM_IMAGE holds
 * mke2fs's options: the same tests run on images of several kinds. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image.h"

static struct fake_disk *disk;
static struct fs *fs;

static void start(void)
{
    const char *options = getenv("OM_IMAGE");

    disk = image_make("16M", "%s", options != NULL ? options : "-t ext4");
    fs = image_mount(disk);
}

/* Whatever a test did, the image must be right afterwards. */
static void finish(void)
{
    image_unmount(fs);
    image_expect_clean(disk);
    fake_disk_free(disk);
}

/* Options of mke2fs that make a difference to what can be expected. */
static bool option_given(const char *option)
{
    const char *options = getenv("OM_IMAGE");

    return options != NULL && strstr(options, option) != NULL;
}

static bool has_extents(void)
{
    return !option_given("ext2") && !option_given("ext3");
}

static bool has_journal(void)
{
    return !option_given("ext2") && !option_given("^has_journal");
}

TestSuite(ext4, .init = start, .fini = finish, .timeout = 60);

static fs_id make(const char *path, uint32_t mode)
{
    fs_id id = 0;
    int error = file_make(fs, path, mode, &id);

    cr_assert_eq(error, 0, "%s: %s", path, strerror(-error));
    return id;
}

static void *pattern(size_t length, unsigned seed)
{
    uint8_t *bytes = malloc(length);

    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(rand_r(&seed) >> 4);
    return bytes;
}

static void expect_content(fs_id id, uint64_t offset, const void *expected, size_t length)
{
    uint8_t *got = malloc(length);

    cr_assert_eq(file_read(fs, id, offset, got, length), (int)length);
    cr_assert(memcmp(got, expected, length) == 0, "other bytes than were written");
    free(got);
}

static void expect_zeros(fs_id id, uint64_t offset, size_t length)
{
    uint8_t *zeros = calloc(1, length);

    expect_content(id, offset, zeros, length);
    free(zeros);
}

/* Bad input ------------------------------------------------------------------------- */

Test(ext4, a_key_that_never_was_is_stale)
{
    struct file_attributes attributes;
    const fs_id keys[] = { 0, 1, 3, 8, FS_ID(2, 77), FS_ID(12, 1), FS_ID(0xffffffff, 5) };

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        cr_assert_eq(fs->operations->attributes(fs, keys[i], &attributes), -ESTALE);
}

Test(ext4, a_key_of_a_deleted_file_is_stale_even_when_its_inode_is_used_again)
{
    fs_id old = make("old", S_IFREG | 0644), new;
    struct file_attributes attributes;

    cr_assert_eq(file_remove(fs, "old"), 0);
    new = make("new", S_IFREG | 0644);
    cr_assert_eq(FS_ID_INODE(old), FS_ID_INODE(new), "the inode was to be used again");
    cr_assert_eq(fs->operations->attributes(fs, old, &attributes), -ESTALE);
    cr_assert_eq(file_write(fs, old, 0, "x", 1), -ESTALE);
    cr_assert_eq(fs->operations->hold(fs, old), -ESTALE);
}

Test(ext4, names_are_refused_where_they_cannot_be)
{
    fs_id id;

    make("file", S_IFREG | 0644);
    cr_assert_eq(file_make(fs, "file", S_IFREG | 0644, NULL), -EEXIST);
    cr_assert_eq(file_make(fs, "file/below", S_IFREG | 0644, NULL), -ENOTDIR);
    cr_assert_eq(file_make(fs, "none/below", S_IFREG | 0644, NULL), -ENOENT);
    cr_assert_eq(file_find(fs, "none", &id), -ENOENT);
    cr_assert_eq(file_remove(fs, "none"), -ENOENT);
    cr_assert_eq(file_rename(fs, "none", "other", 0), -ENOENT);
}

Test(ext4, a_directory_cannot_be_linked_or_moved_into_itself)
{
    make("a", S_IFDIR | 0755);
    make("a/b", S_IFDIR | 0755);
    make("a/b/c", S_IFDIR | 0755);
    cr_assert_eq(file_link(fs, "a", "l"), -EPERM);
    cr_assert_eq(file_rename(fs, "a", "a/x", 0), -EINVAL);
    cr_assert_eq(file_rename(fs, "a", "a/b/c/x", 0), -EINVAL);
    cr_assert_eq(file_rename(fs, "a", "a/b", 0), -EINVAL);
}

Test(ext4, a_directory_that_is_not_empty_stays)
{
    make("d", S_IFDIR | 0755);
    make("d/f", S_IFREG | 0644);
    make("e", S_IFDIR | 0755);
    cr_assert_eq(file_remove(fs, "d"), -ENOTEMPTY);
    cr_assert_eq(file_rename(fs, "e", "d", 0), -ENOTEMPTY);
    cr_assert_eq(file_rename(fs, "d/f", "e", 0), -EISDIR);
    cr_assert_eq(file_rename(fs, "e", "d/f", 0), -ENOTDIR);
}

Test(ext4, contents_are_of_regular_files_only)
{
    fs_id directory = make("d", S_IFDIR | 0755), fifo = make("p", S_IFIFO | 0600);
    char byte = 0;

    cr_assert_eq(file_read(fs, directory, 0, &byte, 1), -EISDIR);
    cr_assert_eq(file_write(fs, directory, 0, &byte, 1), -EISDIR);
    cr_assert_eq(file_write(fs, fifo, 0, &byte, 1), -EINVAL);
    cr_assert_eq(file_truncate(fs, directory, 0), -EISDIR);
}

Test(ext4, a_file_has_a_largest_size)
{
    fs_id id = make("f", S_IFREG | 0644);

    cr_assert_eq(file_write(fs, id, 1ull << 45, "x", 1), -EFBIG);
    cr_assert_eq(file_write(fs, id, UINT64_MAX - 1, "x", 1), -EFBIG);
    cr_assert_eq(file_truncate(fs, id, 1ull << 60), -EFBIG);
    cr_assert_eq(file_stat(fs, id).size, 0);
}

/* Contents --------------------------------------------------------------------------- */

Test(ext4, what_was_written_is_read_by_us_and_by_debugfs)
{
    fs_id id = make("f", S_IFREG | 0644);
    char output[200];
    uint8_t *bytes = pattern(300000, 1);

    cr_assert_eq(file_write(fs, id, 0, bytes, 300000), 0);
    expect_content(id, 0, bytes, 300000);
    expect_content(id, 12345, bytes + 12345, 70000);
    cr_assert_eq(file_sync(fs), 0);
    image_unmount(fs);
    cr_assert_eq(image_run(disk, "debugfs -R 'cat f' %s 2>/dev/null | wc -c", output, sizeof output), 0);
    cr_assert_eq(atoi(output), 300000);
    fs = image_mount(disk);
    cr_assert_eq(file_find(fs, "f", &id), 0);
    expect_content(id, 0, bytes, 300000);
    free(bytes);
}

Test(ext4, writing_in_the_middle_of_blocks_keeps_their_rest)
{
    fs_id id = make("f", S_IFREG | 0644);
    uint8_t *bytes = pattern(20000, 2);

    cr_assert_eq(file_write(fs, id, 0, bytes, 20000), 0);
    for (unsigned i = 0; i < 50; i++) {
        uint64_t offset = i * 391, length = 1 + i * 7;

        memset(bytes + offset, (int)i, length);
        cr_assert_eq(file_write(fs, id, offset, bytes + offset, length), 0);
    }
    expect_content(id, 0, bytes, 20000);
    free(bytes);
}

Test(ext4, holes_read_as_zeros_and_take_no_blocks)
{
    fs_id id = make("f", S_IFREG | 0644);

    cr_assert_eq(file_write(fs, id, 10 << 20, "end", 3), 0);
    cr_assert_eq(file_stat(fs, id).size, (10 << 20) + 3);
    expect_zeros(id, 0, 65536);
    expect_zeros(id, (10 << 20) - 5000, 5000);
    expect_content(id, 10 << 20, "end", 3);
    fs->operations->settle(fs, id);
    cr_assert_leq(file_stat(fs, id).blocks, 16);
}

Test(ext4, what_was_cut_off_does_not_come_back)
{
    fs_id id = make("f", S_IFREG | 0644);
    uint8_t *bytes = pattern(50000, 3);

    cr_assert_eq(file_write(fs, id, 0, bytes, 50000), 0);
    cr_assert_eq(file_truncate(fs, id, 12345), 0);
    cr_assert_eq(file_stat(fs, id).size, 12345);
    cr_assert_eq(file_truncate(fs, id, 50000), 0);
    expect_content(id, 0, bytes, 12345);
    expect_zeros(id, 12345, 50000 - 12345);
    free(bytes);
}

Test(ext4, truncating_gives_the_blocks_back)
{
    struct file_statfs before, after;
    fs_id id = make("f", S_IFREG | 0644);
    uint8_t *bytes = pattern(4 << 20, 4);

    fs->operations->statfs(fs, &before);
    cr_assert_eq(file_write(fs, id, 0, bytes, 4 << 20), 0);
    fs->operations->statfs(fs, &after);
    cr_assert_lt(after.blocks_free, before.blocks_free - 1000);
    cr_assert_eq(file_truncate(fs, id, 0), 0);
    cr_assert_eq(file_sync(fs), 0);
    fs->operations->statfs(fs, &after);
    cr_assert_eq(after.blocks_free, before.blocks_free);
    cr_assert_eq(file_stat(fs, id).blocks, 0);
    free(bytes);
}

Test(ext4, random_writes_truncations_and_holes_agree_with_a_model)
{
    enum { SIZE = 2 << 20 };
    uint8_t *model = calloc(1, SIZE), *buffer = malloc(SIZE);
    uint64_t size = 0;
    fs_id id = make("f", S_IFREG | 0644);
    unsigned seed = 42;

    for (int round = 0; round < 400; round++) {
        uint64_t offset = (uint64_t)rand_r(&seed) % (SIZE - 70000);
        size_t length = 1 + (size_t)rand_r(&seed) % 60000;
        int kind = rand_r(&seed) % (has_extents() ? 10 : 8);

        if (kind < 6) {
            memset(model + offset, round, length);
            cr_assert_eq(file_write(fs, id, offset, model + offset, length), 0);
            size = offset + length > size ? offset + length : size;
        } else if (kind < 8) {
            cr_assert_eq(file_truncate(fs, id, offset), 0);
            if (offset < size)
                memset(model + offset, 0, SIZE - offset);
            size = offset;
        } else {
            pthread_mutex_lock(&fs->lock);
            cr_assert_eq(fs->operations->allocate(fs, id, offset, length,
                             kind == 8 ? FILE_ALLOCATE_KEEP_SIZE
                                       : FILE_ALLOCATE_KEEP_SIZE | FILE_ALLOCATE_PUNCH_HOLE), 0);
            pthread_mutex_unlock(&fs->lock);
            if (kind == 9)
                memset(model + offset, 0, length);
        }
        cr_assert_eq(file_stat(fs, id).size, size);
        memset(buffer, 0xee, SIZE);
        for (uint64_t at = 0; at < size; at += 65536)
            cr_assert_geq(file_read(fs, id, at, buffer + at, size - at < 65536 ? size - at : 65536), 0);
        cr_assert(memcmp(buffer, model, size) == 0, "round %d, kind %d", round, kind);
    }
    free(model);
    free(buffer);
}

/* A full disk ------------------------------------------------------------------------ */

Test(ext4, a_full_disk_is_told_to_the_writer_and_loses_nothing)
{
    uint8_t *bytes = pattern(65536, 5);
    char name[32];
    fs_id id;
    int files = 0, error = 0, removed = 0;

    while (error == 0 && files < 1000) {
        snprintf(name, sizeof name, "file-%d", files);
        error = file_make(fs, name, S_IFREG | 0644, &id);
        if (error == 0)
            error = file_write(fs, id, 0, bytes, 65536);
        files++;
    }
    cr_assert_eq(error, -ENOSPC);
    cr_assert_gt(files, 100);
    cr_assert_eq(file_sync(fs), 0);
    for (int i = 0; i < files - 1; i++) {
        snprintf(name, sizeof name, "file-%d", i);
        cr_assert_eq(file_find(fs, name, &id), 0);
        expect_content(id, 0, bytes, 65536);
    }
    for (removed = 0; removed < 10; removed++) {        /* freed space is usable at once */
        snprintf(name, sizeof name, "file-%d", removed);
        cr_assert_eq(file_remove(fs, name), 0);
    }
    id = make("again", S_IFREG | 0644);
    cr_assert_eq(file_write(fs, id, 0, bytes, 65536), 0);
    expect_content(id, 0, bytes, 65536);
    free(bytes);
}

Test(ext4, what_was_prepared_can_be_pushed_on_a_full_disk)
{
    uint8_t *bytes = pattern(65536, 6);
    fs_id id = make("prepared", S_IFREG | 0644), other = make("other", S_IFREG | 0644);
    uint64_t end, offset = 0;

    pthread_mutex_lock(&fs->lock);
    cr_assert_eq(fs->operations->prepare(fs, id, 0, 1 << 20, 1 << 20, &end), 0);
    pthread_mutex_unlock(&fs->lock);
    while (file_write(fs, other, offset, bytes, 65536) == 0)
        offset += 65536;
    for (unsigned i = 1; i < 256; i += 2) {     /* every other page: the worst for extents */
        pthread_mutex_lock(&fs->lock);
        cr_assert_eq(fs->operations->push(fs, id, i * 4096, bytes, 4096, 1 << 20), 0);
        pthread_mutex_unlock(&fs->lock);
    }
    expect_content(id, 4096 * 5, bytes, 4096);
    expect_zeros(id, 4096 * 6, 4096);
    free(bytes);
}

Test(ext4, inodes_run_out_with_an_error)
{
    char name[32];
    int error = 0, count = 0;

    make("d", S_IFDIR | 0755);
    while (error == 0 && count < 20000) {
        snprintf(name, sizeof name, "d/%d", count++);
        error = file_make(fs, name, S_IFREG | 0644, NULL);
    }
    cr_assert_eq(error, -ENOSPC);
    cr_assert_eq(file_remove(fs, "d/7"), 0);
    cr_assert_eq(file_make(fs, "d/again", S_IFREG | 0644, NULL), 0);
}

/* Names ------------------------------------------------------------------------------ */

Test(ext4, the_longest_name_works)
{
    char name[FILE_NAME_MAX + 1];
    fs_id id, found;

    memset(name, 'n', FILE_NAME_MAX);
    name[FILE_NAME_MAX] = '\0';
    id = make(name, S_IFREG | 0644);
    cr_assert_eq(file_find(fs, name, &found), 0);
    cr_assert_eq(id, found);
    cr_assert_eq(file_rename(fs, name, "short", 0), 0);
    cr_assert_eq(file_find(fs, name, &found), -ENOENT);
}

Test(ext4, rename_replaces_moves_and_exchanges)
{
    fs_id a = make("a", S_IFREG | 0644), b = make("b", S_IFREG | 0644), found;
    fs_id d, e;

    cr_assert_eq(file_rename(fs, "a", "b", FILE_RENAME_NOREPLACE), -EEXIST);
    cr_assert_eq(file_rename(fs, "a", "b", FILE_RENAME_EXCHANGE), 0);
    cr_assert_eq(file_find(fs, "a", &found), 0);
    cr_assert_eq(found, b);
    cr_assert_eq(file_rename(fs, "b", "a", 0), 0);
    cr_assert_eq(file_find(fs, "a", &found), 0);
    cr_assert_eq(found, a);
    d = make("d", S_IFDIR | 0755);
    e = make("e", S_IFDIR | 0755);
    make("d/sub", S_IFDIR | 0755);
    cr_assert_eq(file_rename(fs, "d/sub", "e/sub", 0), 0);
    cr_assert_eq(file_stat(fs, d).links, 2);
    cr_assert_eq(file_stat(fs, e).links, 3);
    cr_assert_eq(file_rename(fs, "d", "e/sub", 0), 0);      /* replaces an empty directory */
    cr_assert_eq(file_find(fs, "e/sub", &found), 0);
    cr_assert_eq(found, d);
    cr_assert_eq(fs->operations->parent(fs, d, &found), 0);
    cr_assert_eq(found, e);
    cr_assert_eq(file_rename(fs, "a", "e/sub", FILE_RENAME_EXCHANGE), 0);
    cr_assert_eq(file_stat(fs, e).links, 2);
}

Test(ext4, two_names_of_one_file)
{
    fs_id id = make("a", S_IFREG | 0644);

    cr_assert_eq(file_link(fs, "a", "b"), 0);
    cr_assert_eq(file_stat(fs, id).links, 2);
    cr_assert_eq(file_link(fs, "a", "b"), -EEXIST);
    cr_assert_eq(file_rename(fs, "a", "b", 0), 0);          /* nothing happens */
    cr_assert_eq(file_stat(fs, id).links, 2);
    cr_assert_eq(file_remove(fs, "a"), 0);
    cr_assert_eq(file_stat(fs, id).links, 1);
}

Test(ext4, symbolic_links_short_and_long)
{
    char text[4096], back[4096];
    size_t length;
    const size_t lengths[] = { 1, 59, 60, 61, 1000 };

    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char name[16];
        fs_id id;

        snprintf(name, sizeof name, "l%zu", i);
        text[lengths[i]] = '\0';
        cr_assert_eq(file_symlink(fs, text, name), 0);
        text[lengths[i]] = 'x';
        cr_assert_eq(file_find(fs, name, &id), 0);
        cr_assert_eq(fs->operations->readlink(fs, id, back, sizeof back, &length), 0);
        cr_assert_eq(length, lengths[i]);
        cr_assert(memcmp(back, text, length) == 0);
        cr_assert_eq(file_stat(fs, id).size, length);
    }
    text[4095] = '\0';
    if (option_given("-b"))     /* larger blocks take the longest path there is */
        cr_assert_eq(file_symlink(fs, text, "too-long"), -ENAMETOOLONG);
    cr_assert_eq(fs->operations->readlink(fs, make("f", S_IFREG), back, sizeof back, &length),
                 -EINVAL);
}

Test(ext4, device_nodes_keep_large_numbers)
{
    fs_id id = make("dev", S_IFCHR | 0600);
    char output[2000];

    cr_assert_eq(file_stat(fs, id).rdev, FILE_DEVICE(5, 300));
    image_unmount(fs);
    image_run(disk, "debugfs -R 'stat dev' %s", output, sizeof output);
    fs = image_mount(disk);
    cr_assert_not_null(strstr(output, "05:300"), "%s", output);
}

Test(ext4, attributes_are_kept_with_nanoseconds_and_beyond_2038)
{
    fs_id id = make("f", S_IFREG | 0644);
    const struct fs_change change = {
        .valid = FILE_SET_MODE | FILE_SET_UID | FILE_SET_GID | FILE_SET_ATIME | FILE_SET_MTIME,
        .mode = 04755, .uid = 70000, .gid = 80000,
        .atime = { 1ll << 32, 123456789, 0 }, .mtime = { -5, 999999999, 0 },
    };
    struct file_attributes attributes;

    pthread_mutex_lock(&fs->lock);
    cr_assert_eq(fs->operations->change(fs, id, &change), 0);
    pthread_mutex_unlock(&fs->lock);
    image_unmount(fs);
    fs = image_mount(disk);
    attributes = file_stat(fs, id);
    cr_assert_eq(attributes.mode, S_IFREG | 04755);
    cr_assert_eq(attributes.uid, 70000);
    cr_assert_eq(attributes.gid, 80000);
    cr_assert_eq(attributes.mtime, -5);
    if (option_given("-I 128"))
        return;                 /* no room in the inode */
    cr_assert_eq(attributes.atime, 1ll << 32);
    cr_assert_eq(attributes.atime_nanoseconds, 123456789);
    cr_assert_eq(attributes.mtime_nanoseconds, 999999999);
}

Test(ext4, times_that_the_inode_cannot_tell_become_the_nearest)
{
    fs_id id = make("f", S_IFREG | 0644);
    const struct fs_change change = { .valid = FILE_SET_ATIME | FILE_SET_MTIME,
                                      .atime = { -(1ll << 40), 5, 0 }, .mtime = { 1ll << 40, 5, 0 } };
    struct file_attributes attributes;

    pthread_mutex_lock(&fs->lock);
    cr_assert_eq(fs->operations->change(fs, id, &change), 0);
    pthread_mutex_unlock(&fs->lock);
    attributes = file_stat(fs, id);
    cr_assert_eq(attributes.atime, INT32_MIN);
    cr_assert_eq(attributes.mtime, option_given("-I 128") ? INT32_MAX : (1ll << 34) - (1ll << 31) - 1);
}

/* Names of the directory, each once: their number. Fails the test for one given twice. */
static int list_count(fs_id directory, size_t room, void (*between)(int round))
{
    static char seen[20000];
    uint64_t cookie = 0;
    char *buffer = malloc(room);
    int count = 0, round = 0;

    memset(seen, 0, sizeof seen);
    for (;;) {
        size_t used = 0;

        pthread_mutex_lock(&fs->lock);
        cr_assert_eq(fs->operations->readdir(fs, directory, cookie, buffer, room, &used), 0);
        pthread_mutex_unlock(&fs->lock);
        if (used == 0)
            break;
        for (size_t at = 0; at < used;) {
            struct dirent64 *entry = (void *)(buffer + at);
            int number = atoi(entry->d_name);

            if (entry->d_name[0] != '.' && number < (int)sizeof seen) {
                cr_assert_eq(seen[number], 0, "%s is given twice", entry->d_name);
                seen[number] = 1;
            }
            count++;
            at += entry->d_reclen;
            cookie = (uint64_t)entry->d_off;
        }
        if (between != NULL)
            between(round++);
    }
    free(buffer);
    return count;
}

Test(ext4, a_large_directory_lists_each_name_once)
{
    fs_id directory = make("d", S_IFDIR | 0755);
    char name[64];

    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof name, "d/%d-with-a-longer-name", i);
        make(name, S_IFREG | 0644);
    }
    cr_assert_eq(list_count(directory, 1000, NULL), 1502);
    cr_assert_eq(list_count(directory, 65536, NULL), 1502);
    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof name, "d/%d-with-a-longer-name", i);
        cr_assert_eq(file_remove(fs, name), 0);
    }
    cr_assert_eq(list_count(directory, 1000, NULL), 2);
    cr_assert_eq(file_remove(fs, "d"), 0);
}

static int removed;

static void remove_some(int round)
{
    char name[64];

    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "d/%d-%d", round * 10 + i, 5);
        if (file_remove(fs, name) == 0)
            removed++;
    }
}

Test(ext4, removing_while_listing_skips_nobody)
{
    fs_id directory = make("d", S_IFDIR | 0755);
    char name[64];
    int listed;

    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "d/%d-%d", i, 5);
        make(name, S_IFREG | 0644);
    }
    removed = 0;
    listed = list_count(directory, 1000, remove_some);
    cr_assert_geq(listed + removed, 502);
    cr_assert_eq(list_count(directory, 1000, NULL), 502 - removed);
}

/* Files without names ----------------------------------------------------------------- */

Test(ext4, a_held_file_lives_without_a_name)
{
    struct file_statfs before, after;
    fs_id id;
    uint8_t *bytes = pattern(100000, 7);

    make("other", S_IFREG | 0644);
    cr_assert_eq(file_sync(fs), 0);
    fs->operations->statfs(fs, &before);
    id = make("f", S_IFREG | 0644);
    cr_assert_eq(file_write(fs, id, 0, bytes, 100000), 0);
    cr_assert_eq(fs->operations->hold(fs, id), 0);
    cr_assert_eq(file_remove(fs, "f"), 0);
    expect_content(id, 0, bytes, 100000);
    cr_assert_eq(file_write(fs, id, 200000, "more", 4), 0);
    cr_assert_eq(file_truncate(fs, id, 150000), 0);
    expect_content(id, 0, bytes, 100000);
    cr_assert(fs->operations->is_busy(fs));
    pthread_mutex_lock(&fs->lock);
    fs->operations->release(fs, id);
    pthread_mutex_unlock(&fs->lock);
    cr_assert_not(fs->operations->is_busy(fs));
    cr_assert_eq(file_read(fs, id, 0, bytes, 1), -ESTALE);
    cr_assert_eq(file_sync(fs), 0);
    fs->operations->statfs(fs, &after);
    cr_assert_eq(before.blocks_free, after.blocks_free);
    cr_assert_eq(before.inodes_free, after.inodes_free);
    free(bytes);
}

Test(ext4, a_held_directory_without_a_name_takes_no_new_names)
{
    fs_id id = make("d", S_IFDIR | 0755), made;
    const struct fs_new new_file = { .mode = S_IFREG | 0644 };

    cr_assert_eq(fs->operations->hold(fs, id), 0);
    cr_assert_eq(file_remove(fs, "d"), 0);
    pthread_mutex_lock(&fs->lock);
    cr_assert_eq(fs->operations->create(fs, id, "x", 1, &new_file, &made), -ENOENT);
    fs->operations->release(fs, id);
    pthread_mutex_unlock(&fs->lock);
}

Test(ext4, orphans_of_a_lost_site_go_at_the_next_mount)
{
    struct file_statfs before, after;
    fs_id id;
    uint8_t *bytes = pattern(500000, 8);
    struct fake_disk *lost;

    if (!has_journal())
        cr_skip_test("such an image has to be checked by e2fsck");
    cr_assert_eq(file_sync(fs), 0);
    fs->operations->statfs(fs, &before);
    for (int i = 0; i < 3; i++) {
        id = make("f", S_IFREG | 0644);
        cr_assert_eq(file_write(fs, id, 0, bytes, 500000), 0);
        cr_assert_eq(fs->operations->hold(fs, id), 0);
        cr_assert_eq(file_remove(fs, "f"), 0);
    }
    cr_assert_eq(file_sync(fs), 0);
    lost = fake_disk_copy(disk);            /* as if the power failed now */
    image_unmount(fs);
    fake_disk_free(disk);
    disk = lost;
    fs = image_mount(disk);
    fs->operations->statfs(fs, &after);
    cr_assert_eq(before.inodes_free, after.inodes_free);
    cr_assert_eq(before.blocks_free, after.blocks_free);
    free(bytes);
}
