/* Images as they come: damaged, unclean, of others, read-only. What cannot be used is refused
 * with a sentence, and not a byte of it is changed.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ext4.h"
#include "image.h"

TestSuite(images, .timeout = 120);

static char why[256];

static int mount_with(struct fake_disk *disk, bool read_only, struct fs **ret)
{
    int error;

    why[0] = '\0';
    error = ext4_mount(&disk->device, read_only, 1 << 20, ret, why, sizeof why);
    if (error == 0)
        (*ret)->number = 1;
    return error;
}

/* Refused, with this word in the sentence, and unchanged. */
static void expect_refused(struct fake_disk *disk, const char *word)
{
    struct fake_disk *before = fake_disk_copy(disk);
    struct fs *fs;

    cr_assert_lt(mount_with(disk, false, &fs), 0, "it was mounted; expected: %s", word);
    cr_assert_not_null(strstr(why, word), "expected \"%s\" in \"%s\"", word, why);
    cr_assert(memcmp(before->bytes, disk->bytes, disk->device.size) == 0, "it was changed");
    fake_disk_free(before);
}

static struct ext2_super_block *super_of(struct fake_disk *disk)
{
    return (struct ext2_super_block *)(disk->bytes + 1024);
}

/* The superblock's checksum after a change by hand. */
static void super_sign(struct fake_disk *disk)
{
    struct ext2_super_block *super = super_of(disk);

    super->s_checksum = ext2fs_crc32c_le(~0u, (unsigned char *)super,
                                         offsetof(struct ext2_super_block, s_checksum));
}

/* Not ours ---------------------------------------------------------------------------- */

Test(images, what_is_no_ext4_is_refused)
{
    struct fake_disk *disk = image_make("4M", "-t ext4");

    memset(disk->bytes, 0, 1 << 20);
    expect_refused(disk, "not an ext4");
    memset(disk->bytes, 0xff, disk->device.size);
    expect_refused(disk, "not an ext4");
    disk->device.size = 1024;
    expect_refused(disk, "too small");
    disk->device.size = 4 << 20;
    fake_disk_free(disk);
}

Test(images, a_truncated_image_is_refused)
{
    struct fake_disk *disk = image_make("8M", "-t ext4");

    disk->device.size -= 4096;
    expect_refused(disk, "truncated");
    disk->device.size = 4 << 20;
    expect_refused(disk, "truncated");
    disk->device.size = 8 << 20;
    fake_disk_free(disk);
}

Test(images, one_marked_with_errors_is_refused)
{
    struct fake_disk *disk = image_make("8M", "-t ext4");

    super_of(disk)->s_state |= EXT2_ERROR_FS;
    super_sign(disk);
    expect_refused(disk, "errors");
    fake_disk_free(disk);
}

Test(images, features_that_we_do_not_know_are_refused_by_name)
{
    const struct { const char *options, *word; } cases[] = {
        { "-t ext4 -O inline_data", "inline_data" },
        { "-t ext4 -O bigalloc -C 16384", "bigalloc" },
        { "-t ext4 -O encrypt", "encrypt" },
        { "-t ext4 -O mmp", "mmp" },
        { "-t ext4 -O quota", "quota" },
        { "-t ext4 -O casefold", "casefold" },
        { "-t ext4 -O ea_inode", "ea_inode" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fake_disk *disk = image_make("16M", "%s", cases[i].options);

        expect_refused(disk, cases[i].word);
        fake_disk_free(disk);
    }
}

Test(images, a_disk_that_cannot_be_read_is_refused)
{
    struct fake_disk *disk = image_make("8M", "-t ext4");

    disk->fail_reads = true;
    expect_refused(disk, "cannot be read");
    fake_disk_free(disk);
}

/* Damaged ----------------------------------------------------------------------------- */

Test(images, damaged_structures_are_refused)
{
    struct fake_disk *disk = image_make("8M", "-t ext4 -b 4096"), *copy;

    copy = fake_disk_copy(disk);
    super_of(copy)->s_inodes_per_group = 0;         /* the checksum is wrong as well */
    expect_refused(copy, "superblock");
    super_sign(copy);
    expect_refused(copy, "superblock");
    fake_disk_free(copy);

    copy = fake_disk_copy(disk);
    copy->bytes[4096 + 8] ^= 0x55;                  /* a group descriptor */
    expect_refused(copy, "damaged");
    fake_disk_free(copy);

    copy = fake_disk_copy(disk);
    {
        char output[1000];

        cr_assert_eq(image_run(copy, "debugfs -w -R 'clri <2>' %s", output, sizeof output), 0);
        expect_refused(copy, "root");
    }
    fake_disk_free(copy);

    copy = fake_disk_copy(disk);
    super_of(copy)->s_journal_inum = 11;
    super_sign(copy);
    expect_refused(copy, "journal");
    fake_disk_free(copy);
    fake_disk_free(disk);
}

/* Flip bytes all over the metadata: mount, walk, change, unmount. Nothing may crash or hang. */
Test(images, random_damage_ends_in_errors_at_most)
{
    struct fake_disk *disk = image_make("4M", "-t ext4 -b 1024 -d /usr/share/doc/libc6"), *copy;
    unsigned seed = 7, mounted = 0;

    for (int round = 0; round < 150; round++) {
        struct fs *fs;

        copy = fake_disk_copy(disk);
        for (int i = 0; i < 20; i++)
            copy->bytes[(unsigned)rand_r(&seed) % (i < 4 ? 2048 : i < 12 ? 200000 : copy->device.size)] ^=
                (uint8_t)rand_r(&seed);
        if (round % 2 == 0)
            memcpy(copy->bytes + 1024, disk->bytes + 1024, 1024);
        if (mount_with(copy, false, &fs) == 0) {
            char buffer[65536];
            size_t used;
            fs_id id;

            mounted++;
            pthread_mutex_lock(&fs->lock);
            fs->operations->readdir(fs, fs->root, 0, buffer, sizeof buffer, &used);
            pthread_mutex_unlock(&fs->lock);
            if (file_make(fs, "new", S_IFREG | 0644, &id) == 0) {
                file_write(fs, id, 0, buffer, 50000);
                file_read(fs, id, 0, buffer, sizeof buffer);
            }
            if (file_find(fs, "copyright", &id) == 0)
                file_read(fs, id, 0, buffer, sizeof buffer);
            file_remove(fs, "copyright");
            file_remove(fs, "new");
            file_sync(fs);
            fs->operations->unmount(fs);
        }
        fake_disk_free(copy);
    }
    cr_log_info("%u of 150 were mounted", mounted);
    cr_assert_gt(mounted, 5);
    fake_disk_free(disk);
}

/* Unclean ----------------------------------------------------------------------------- */

/* An image whose file "f" is in the journal only. */
static struct fake_disk *unclean_image(void)
{
    struct fake_disk *disk = image_make("8M", "-t ext4"), *copy;
    struct fs *fs = image_mount(disk);
    fs_id id;

    cr_assert_eq(file_make(fs, "f", S_IFREG | 0644, &id), 0);
    cr_assert_eq(file_write(fs, id, 0, "hello", 5), 0);
    cr_assert_eq(file_sync(fs), 0);
    copy = fake_disk_copy(disk);
    image_unmount(fs);
    fake_disk_free(disk);
    return copy;
}

static void expect_hello(struct fs *fs)
{
    char buffer[16];
    fs_id id;

    cr_assert_eq(file_find(fs, "f", &id), 0);
    cr_assert_eq(file_read(fs, id, 0, buffer, sizeof buffer), 5);
    cr_assert(memcmp(buffer, "hello", 5) == 0);
}

Test(images, an_unclean_image_is_recovered)
{
    struct fake_disk *disk = unclean_image();
    struct fs *fs;

    cr_assert_eq(mount_with(disk, false, &fs), 0, "%s", why);
    expect_hello(fs);
    image_unmount(fs);
    image_expect_clean(disk);
    fake_disk_free(disk);
}

Test(images, an_unclean_image_is_read_without_a_write_when_mounted_read_only)
{
    struct fake_disk *disk = unclean_image(), *before = fake_disk_copy(disk);
    struct fs *fs;
    fs_id id;

    cr_assert_eq(mount_with(disk, true, &fs), 0, "%s", why);
    expect_hello(fs);
    cr_assert_eq(file_make(fs, "g", S_IFREG, &id), -EROFS);
    cr_assert_eq(file_remove(fs, "f"), -EROFS);
    cr_assert_eq(file_sync(fs), 0);
    image_unmount(fs);
    cr_assert(memcmp(before->bytes, disk->bytes, disk->device.size) == 0, "it was changed");
    fake_disk_free(before);
    fake_disk_free(disk);
}

Test(images, a_damaged_journal_is_refused_and_nothing_replayed)
{
    struct fake_disk *disk = unclean_image();
    struct ext2_super_block *super = super_of(disk);
    uint32_t first = super->s_jnl_blocks[5];    /* of the first extent in the backup of its inode, */
    uint32_t second = super->s_jnl_blocks[8];   /* and of the second, which begins with block 2 */
    size_t size = 1024u << super->s_log_block_size;

    cr_assert_eq(super->s_jnl_blocks[6], 2);
    disk->bytes[second * size + 100] ^= 1;              /* the copy behind the first descriptor */
    expect_refused(disk, "journal");
    disk->bytes[second * size + 100] ^= 1;
    disk->bytes[first * size + 16] ^= 1;                /* its superblock */
    expect_refused(disk, "journal");
    fake_disk_free(disk);
}

Test(images, a_clean_unmount_leaves_a_clean_image)
{
    struct fake_disk *disk = image_make("8M", "-t ext4");
    struct fs *fs = image_mount(disk);
    char output[8192];

    cr_assert_neq(super_of(disk)->s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER, 0);
    cr_assert_eq(file_make(fs, "f", S_IFREG | 0644, NULL), 0);
    image_unmount(fs);
    cr_assert_eq(super_of(disk)->s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER, 0);
    cr_assert_eq(image_run(disk, "dumpe2fs -h %s", output, sizeof output), 0);
    cr_assert_not_null(strstr(output, "Filesystem state:         clean"));
    fake_disk_free(disk);
}

/* Made by others ----------------------------------------------------------------------- */

Test(images, journals_written_by_debugfs_are_replayed)
{
    const char *const kinds[][2] = {
        { "-t ext4 -O ^metadata_csum,^64bit", "" },
        { "-t ext4 -O ^metadata_csum,64bit", "" },
        { "-t ext4 -O ^metadata_csum,^64bit", "-c -v 2" },
        { "-t ext4 -O ^metadata_csum,64bit", "-c -v 2" },
        { "-t ext4 -O metadata_csum,^64bit", "-c -v 3" },
        { "-t ext4 -O metadata_csum,64bit", "-c -v 3" },
        { "-t ext4 -O metadata_csum,^64bit", "-c -v 2" },
        { "-t ext4 -O metadata_csum,64bit", "-c -v 2" },
        { "-t ext3", "" },
        { "-t ext3", "-c -v 2" },
    };
    int revoked = 0;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct fake_disk *disk = image_make("8M", "-b 1024 %s", kinds[i][0]), *theirs;
        char output[8192], command[1024];
        struct fs *fs;

        /* Blocks 7000 and 7001 are free. The second transaction revokes 7001: only 7000 is replayed.
         * (debugfs signs that one wrongly with the oldest kind of checksum; then both are.) */
        snprintf(command, sizeof command,
                 "I=%%s; head -c 2048 /dev/zero | tr '\\0' Z >$I.z;"
                 " printf 'jo %s\\njw -b 7000,7001 '$I.z'\\njw -r 7001\\njc\\n' >$I.c;"
                 " debugfs -w -f $I.c $I; rm $I.z $I.c", kinds[i][1]);
        cr_assert_eq(image_run(disk, command, output, sizeof output), 0, "%s", output);
        cr_assert_neq(super_of(disk)->s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER, 0,
                      "debugfs wrote no journal: %s", output);
        theirs = fake_disk_copy(disk);
        cr_assert_leq(image_run(theirs, "e2fsck -fy %s", output, sizeof output) >> 8, 1);
        cr_assert_eq(mount_with(disk, false, &fs), 0, "%s %s: %s", kinds[i][0], kinds[i][1], why);
        image_unmount(fs);
        cr_assert_eq(disk->bytes[7000 * 1024], 'Z', "%s %s", kinds[i][0], kinds[i][1]);
        cr_assert_eq(memcmp(disk->bytes + 7000 * 1024, theirs->bytes + 7000 * 1024, 2048), 0,
                     "e2fsck replays otherwise: %s %s", kinds[i][0], kinds[i][1]);
        revoked += disk->bytes[7001 * 1024] == 0;
        image_expect_clean(disk);
        fake_disk_free(theirs);
        fake_disk_free(disk);
    }
    cr_assert_eq(revoked, 7);
}

/* How many names begin with `prefix`; `between` is called after each reply. */
static int list_names(struct fs *fs, fs_id directory, const char *prefix,
                      void (*between)(struct fs *fs, int round))
{
    char buffer[2000];
    uint64_t cookie = 0;
    int count = 0, round = 0;

    for (;;) {
        size_t used = 0;

        pthread_mutex_lock(&fs->lock);
        cr_assert_eq(fs->operations->readdir(fs, directory, cookie, buffer, sizeof buffer, &used), 0);
        pthread_mutex_unlock(&fs->lock);
        if (used == 0)
            return count;
        for (size_t at = 0; at < used;) {
            const struct dirent64 *entry = (const void *)(buffer + at);

            count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
            cookie = (uint64_t)entry->d_off;
            at += entry->d_reclen;
        }
        if (between != NULL)
            between(fs, round++);
    }
}

Test(images, an_indexed_directory_of_others_is_searched_listed_and_changed)
{
    char command[512], output[8192];
    struct fake_disk *disk;
    struct fs *fs;
    fs_id id;

    cr_assert_eq(system("rm -rf /tmp/om-test-tree && mkdir -p /tmp/om-test-tree/d && cd /tmp/om-test-tree/d"
                        " && seq -f 'a-long-name-to-fill-blocks-%.0f' 2000 | xargs touch"), 0);
    disk = image_make("16M", "-t ext4 -b 1024 -N 6000 -d /tmp/om-test-tree");
    cr_assert_eq(system("rm -rf /tmp/om-test-tree"), 0);
    snprintf(command, sizeof command, "e2fsck -fyD %%s");
    cr_assert_leq(image_run(disk, command, output, sizeof output) >> 8, 1);
    image_run(disk, "debugfs -R 'stat d' %s", output, sizeof output);
    cr_assert_not_null(strstr(output, "Flags: 0x81000"), "it was to be indexed:\n%s", output);
    fs = image_mount(disk);
    for (int i = 1; i <= 2000; i += 7) {
        sprintf(command, "d/a-long-name-to-fill-blocks-%d", i);
        cr_assert_eq(file_find(fs, command, &id), 0, "%s", command);
    }
    cr_assert_eq(file_find(fs, "d/none", &id), -ENOENT);
    for (int i = 0; i < 1500; i++) {
        sprintf(command, "d/another-name-%d", i);
        cr_assert_eq(file_make(fs, command, S_IFREG | 0644, NULL), 0, "%s", command);
    }
    for (int i = 1; i <= 2000; i += 3) {
        sprintf(command, "d/a-long-name-to-fill-blocks-%d", i);
        cr_assert_eq(file_remove(fs, command), 0, "%s", command);
    }
    cr_assert_eq(file_find(fs, "d", &id), 0);
    cr_assert_eq(list_names(fs, id, "a", NULL), 1500 + 2000 - 667);
    image_unmount(fs);
    image_expect_clean(disk);
    fake_disk_free(disk);
}

static void add_some(struct fs *fs, int round)
{
    char name[64];

    for (int i = 0; i < 40; i++) {
        sprintf(name, "d/new-%d-that-makes-blocks-split", round * 40 + i);
        file_make(fs, name, S_IFREG | 0644, NULL);
    }
}

Test(images, listing_an_indexed_directory_while_it_splits_gives_each_old_name_once)
{
    char output[8192];
    struct fake_disk *disk;
    struct fs *fs;
    fs_id directory;

    cr_assert_eq(system("rm -rf /tmp/om-test-tree2 && mkdir -p /tmp/om-test-tree2/d && cd /tmp/om-test-tree2/d"
                        " && seq -f 'old-%.0f-name-to-fill-blocks' 600 | xargs touch"), 0);
    disk = image_make("16M", "-t ext4 -b 1024 -N 6000 -d /tmp/om-test-tree2");
    cr_assert_eq(system("rm -rf /tmp/om-test-tree2"), 0);
    image_run(disk, "e2fsck -fyD %s", output, sizeof output);
    fs = image_mount(disk);
    cr_assert_eq(file_find(fs, "d", &directory), 0);
    cr_assert_eq(list_names(fs, directory, "old-", add_some), 600);
    image_unmount(fs);
    image_expect_clean(disk);
    fake_disk_free(disk);
}

Test(images, a_link_that_begins_like_a_journal_block_survives)
{
    char text[101] = "\xc0\x3b\x39\x98 escaped", back[200];
    struct fake_disk *disk = image_make("8M", "-t ext4"), *lost;
    struct fs *fs = image_mount(disk);
    size_t length;
    fs_id id;

    memset(text + strlen(text), 'x', 100 - strlen(text));
    cr_assert_eq(file_symlink(fs, text, "l"), 0);
    cr_assert_eq(file_sync(fs), 0);
    lost = fake_disk_copy(disk);
    image_unmount(fs);
    fs = image_mount(lost);
    cr_assert_eq(file_find(fs, "l", &id), 0);
    cr_assert_eq(fs->operations->readlink(fs, id, back, sizeof back, &length), 0);
    cr_assert(length == 100 && memcmp(back, text, 100) == 0, "the escaped block was not restored");
    image_unmount(fs);
    image_expect_clean(lost);
    fake_disk_free(lost);
    fake_disk_free(disk);
}

/* A disk that fails in use -------------------------------------------------------------- */

Test(images, a_disk_that_fails_leaves_what_was_committed)
{
    struct fake_disk *disk = image_make("8M", "-t ext4");
    struct fs *fs = image_mount(disk);
    fs_id id;

    cr_assert_eq(file_make(fs, "f", S_IFREG | 0644, &id), 0);
    cr_assert_eq(file_write(fs, id, 0, "hello", 5), 0);
    cr_assert_eq(file_sync(fs), 0);
    disk->fail_after = disk->written;
    cr_assert_eq(file_make(fs, "g", S_IFREG | 0644, NULL), 0);
    cr_assert_eq(file_sync(fs), -EIO);
    cr_assert_eq(file_make(fs, "h", S_IFREG | 0644, NULL), -EROFS);
    expect_hello(fs);
    cr_assert_eq(fs->operations->unmount(fs), -EROFS);
    disk->fail_after = 0;
    fs = image_mount(disk);
    expect_hello(fs);
    cr_assert_eq(file_find(fs, "g", &id), -ENOENT);
    image_unmount(fs);
    image_expect_clean(disk);
    fake_disk_free(disk);
}
