/* tmpfs: contents that were pushed out, space, listing while names come and go. Paths and
 * permissions are tested by test_names.c.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image.h"

static struct fs *fs;

static void start(void)
{
    cr_assert_eq(tmpfs_mount(64 * 4096, 01777, &fs), 0);
    fs->number = 2;
}

static void finish(void)
{
    image_unmount(fs);
}

TestSuite(tmpfs, .init = start, .fini = finish, .timeout = 30);

static fs_id make(const char *path, uint32_t mode)
{
    fs_id id = 0;

    cr_assert_eq(file_make(fs, path, mode, &id), 0, "%s", path);
    return id;
}

Test(tmpfs, a_key_that_never_was_is_stale)
{
    struct file_attributes attributes;
    fs_id id = make("f", S_IFREG | 0644), again;

    cr_assert_eq(fs->operations->attributes(fs, 0, &attributes), -ESTALE);
    cr_assert_eq(fs->operations->attributes(fs, FS_ID(9999999, 1), &attributes), -ESTALE);
    cr_assert_eq(file_remove(fs, "f"), 0);
    for (int i = 0; i < 200; i++) {     /* whoever gets the number: it is another file */
        again = make("g", S_IFREG | 0644);
        cr_assert_neq(id, again);
        cr_assert_eq(file_remove(fs, "g"), 0);
    }
    cr_assert_eq(file_write(fs, id, 0, "x", 1), -ESTALE);
}

Test(tmpfs, space_is_counted_by_pages_and_comes_back)
{
    struct file_statfs space;
    static const char page[4096] = "x";
    fs_id id = make("f", S_IFREG | 0644), other = make("g", S_IFREG | 0644);
    uint64_t end;

    for (unsigned i = 0; i < 64; i++)
        cr_assert_eq(file_write(fs, id, i * 8192ull, page, sizeof page), 0, "page %u", i);
    cr_assert_eq(file_write(fs, other, 0, "x", 1), -ENOSPC);
    cr_assert_eq(file_stat(fs, other).size, 0);
    cr_assert_eq(file_write(fs, id, 8192, page, sizeof page), 0, "writing over takes no space");
    cr_assert_eq(file_truncate(fs, id, 8192 * 60), 0);
    fs->operations->statfs(fs, &space);
    cr_assert_eq(space.blocks_free, 4);
    cr_assert_eq(fs->operations->prepare(fs, other, 0, 4 * 4096, 4 * 4096, &end), 0);
    cr_assert_eq(fs->operations->prepare(fs, id, 4096, 4096, 1, &end), -ENOSPC);
    cr_assert_eq(file_remove(fs, "g"), 0);
    cr_assert_eq(file_remove(fs, "f"), 0);
    fs->operations->statfs(fs, &space);
    cr_assert_eq(space.blocks_free, 64);
}

Test(tmpfs, random_writes_truncations_and_holes_agree_with_a_model)
{
    enum { SIZE = 50 * 4096 };
    static uint8_t model[SIZE], buffer[SIZE];
    uint64_t size = 0;
    fs_id id = make("f", S_IFREG | 0644);
    unsigned seed = 11;

    for (int round = 0; round < 1000; round++) {
        uint64_t offset = (uint64_t)rand_r(&seed) % (SIZE - 20000);
        size_t length = 1 + (size_t)rand_r(&seed) % 19000;
        int kind = rand_r(&seed) % 4;

        if (kind < 2) {
            memset(model + offset, round, length);
            cr_assert_eq(file_write(fs, id, offset, model + offset, length), 0);
            size = offset + length > size ? offset + length : size;
        } else if (kind == 2) {
            cr_assert_eq(file_truncate(fs, id, offset), 0);
            if (offset < size)
                memset(model + offset, 0, SIZE - offset);
            size = offset;
        } else {
            cr_assert_eq(fs->operations->allocate(fs, id, offset, length,
                             FILE_ALLOCATE_KEEP_SIZE | FILE_ALLOCATE_PUNCH_HOLE), 0);
            memset(model + offset, 0, length);
        }
        memset(buffer, 0xee, SIZE);
        cr_assert_eq(file_read(fs, id, 0, buffer, SIZE), (int)size);
        cr_assert(memcmp(buffer, model, size) == 0, "round %d, kind %d", round, kind);
    }
}

Test(tmpfs, listing_while_names_come_and_go_gives_the_others_once)
{
    char buffer[300], name[32];
    static char seen[1000];
    uint64_t cookie = 0;
    size_t used;
    int removed = 1;

    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "%d", i);
        make(name, S_IFREG | 0644);
    }
    do {
        cr_assert_eq(fs->operations->readdir(fs, fs->root, cookie, buffer, sizeof buffer, &used), 0);
        for (size_t at = 0; at < used;) {
            const struct dirent64 *entry = (const void *)(buffer + at);

            if (entry->d_name[0] != '.')
                cr_assert_eq(seen[atoi(entry->d_name)]++, 0, "%s twice", entry->d_name);
            cookie = (uint64_t)entry->d_off;
            at += entry->d_reclen;
        }
        snprintf(name, sizeof name, "%d", removed);
        if (file_remove(fs, name) == 0)
            removed += 2;
        snprintf(name, sizeof name, "%d", 500 + removed);
        file_make(fs, name, S_IFREG | 0644, NULL);
    } while (used != 0);
    for (int i = 0; i < 200; i += 2)
        cr_assert_eq(seen[i], 1, "%d was not given", i);
    cr_assert_eq(fs->operations->readdir(fs, fs->root, 0, buffer, 10, &used), -EINVAL);
}

Test(tmpfs, a_directory_moved_knows_its_parent)
{
    fs_id a = make("a", S_IFDIR | 0755), b = make("b", S_IFDIR | 0755), c = make("a/c", S_IFDIR | 0755);
    fs_id parent;

    cr_assert_eq(file_rename(fs, "a", "a/c/x", 0), -EINVAL);
    cr_assert_eq(file_rename(fs, "a/c", "b/c", 0), 0);
    cr_assert_eq(fs->operations->parent(fs, c, &parent), 0);
    cr_assert_eq(parent, b);
    cr_assert_eq(file_stat(fs, a).links, 2);
    cr_assert_eq(file_stat(fs, b).links, 3);
    cr_assert_eq(file_rename(fs, "a", "b/c", FILE_RENAME_EXCHANGE), 0);
    cr_assert_eq(fs->operations->parent(fs, a, &parent), 0);
    cr_assert_eq(parent, b);
    cr_assert_eq(fs->operations->parent(fs, c, &parent), 0);
    cr_assert_eq(parent, fs->root);
    cr_assert_eq(file_remove(fs, "b"), -ENOTEMPTY);
}

/* A store that keeps its pages in an array, and can be full. */
static uint8_t store_pages[64][4096];
static bool store_used[64];
static uint32_t store_limit;

static int store_write(struct fs_store *store, const void *page, uint32_t *ret_slot)
{
    (void)store;
    for (uint32_t i = 0; i < store_limit; i++)
        if (!store_used[i]) {
            memcpy(store_pages[i], page, 4096);
            store_used[i] = true;
            *ret_slot = i;
            return 0;
        }
    return -ENOSPC;
}

static int store_read(struct fs_store *store, uint32_t slot, void *page)
{
    (void)store;
    cr_assert(store_used[slot]);
    memcpy(page, store_pages[slot], 4096);
    return 0;
}

static void store_free(struct fs_store *store, uint32_t slot)
{
    (void)store;
    cr_assert(store_used[slot]);
    store_used[slot] = false;
}

Test(tmpfs, pages_beyond_what_is_kept_go_to_the_store_and_come_back)
{
    struct fs_store store = { store_write, store_read, store_free };
    uint8_t bytes[40 * 4096], back[sizeof bytes];
    fs_id id = make("f", S_IFREG | 0644);
    unsigned used = 0;

    store_limit = 64;
    tmpfs_use_store(fs, &store, 5);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i / 100 + i);
    cr_assert_eq(file_write(fs, id, 0, bytes, sizeof bytes), 0);
    memset(bytes + 70000, 'x', 9000);
    cr_assert_eq(file_write(fs, id, 70000, bytes + 70000, 9000), 0);
    cr_assert_eq(file_read(fs, id, 0, back, sizeof back), (int)sizeof back);
    cr_assert(memcmp(bytes, back, sizeof back) == 0);
    for (unsigned i = 0; i < 64; i++)
        used += store_used[i];
    cr_assert_eq(used, 35);
    cr_assert_eq(file_truncate(fs, id, 100001), 0);
    cr_assert_eq(file_truncate(fs, id, sizeof bytes), 0);
    memset(bytes + 100001, 0, sizeof bytes - 100001);
    cr_assert_eq(file_read(fs, id, 0, back, sizeof back), (int)sizeof back);
    cr_assert(memcmp(bytes, back, sizeof back) == 0);
    cr_assert_eq(file_remove(fs, "f"), 0);
    for (unsigned i = 0; i < 64; i++)
        cr_assert_not(store_used[i]);
}
