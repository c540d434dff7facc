/* From one om to the next: what is open, cached, without a name, in memory alone goes along; and the old one can go on. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image.h"
#include "om.h"

#define SIZE 100000

static struct fake_disk *disk;
static struct om first, second;
static struct om_state state;
static const KnCap cache = { { 1, 1 }, 77 };
static uint8_t text[SIZE], back[SIZE];

static int open_device(struct om_world *world, const char *name, struct blockdev **ret)
{
    (void)world;
    *ret = &disk->device;
    return strcmp(name, "disk0") == 0 ? 0 : -ENODEV;
}

static bool drop_nothing(struct om_world *world, const KnCap *lc)
{
    (void)world, (void)lc;
    return false;
}

static struct om_world world = { .device = open_device, .drop = drop_nothing };

static void begin(const char *options)
{
    disk = image_make("16M", "%s", options);
    om_init(&first, &world);
    struct fs *fs = image_mount(disk);
    strcpy(fs->source, "disk0");
    cr_assert_eq(om_add(&first, fs, 1), 0);
    first.tmpfs_keep = 4;
    for (size_t i = 0; i < SIZE; i++)
        text[i] = (uint8_t)(i * 7 + i / 256);
}

static void start(void)
{
    begin("-t ext4");
}

/* A tmpfs as number 2, with a store on the root. */
static struct fs *tmpfs_add(void)
{
    struct fs *fs;
    cr_assert_eq(tmpfs_mount(1 << 20, 01777, &fs), 0);
    first.store = store_open(first.systems[1]);
    tmpfs_use_store(fs, first.store, first.tmpfs_keep);
    cr_assert_eq(om_add(&first, fs, 0), 0);
    cr_assert_eq(fs->number, 2);
    return fs;
}

static fs_id file_of_text(struct fs *fs, const char *path)
{
    fs_id id;
    cr_assert_eq(file_make(fs, path, S_IFREG | 0640, &id), 0);
    cr_assert_eq(file_write(fs, id, 0, text, SIZE), 0);
    return id;
}

static void expect_text(struct fs *fs, fs_id id)
{
    memset(back, 0xee, SIZE);
    for (size_t done = 0, step; done < SIZE; done += step) {
        step = SIZE - done < 65536 ? SIZE - done : 65536;
        cr_assert_geq(file_read(fs, id, done, back + done, step), 0);
    }
    cr_assert_arr_eq(back, text, SIZE);
}

static void hold(struct fs *fs, fs_id id)
{
    pthread_mutex_lock(&fs->lock);
    cr_assert_eq(fs->operations->hold(fs, id), 0);
    pthread_mutex_unlock(&fs->lock);
}

static void release(struct fs *fs, fs_id id)
{
    pthread_mutex_lock(&fs->lock);
    fs->operations->release(fs, id);
    pthread_mutex_unlock(&fs->lock);
}

static int write_down(void)
{
    state = (struct om_state){ 0 };
    int error = om_rest(&first);
    return error == 0 ? om_hand_over(&first, &state) : error;
}

/* The first <size> bytes of what was written down are read. */
static int read_up(size_t size)
{
    struct om_state reading = { .bytes = state.bytes, .room = size };
    om_init(&second, &world);
    second.tmpfs_keep = 4;
    return om_take_over(&second, &reading);
}

static void hand_over(void)
{
    cr_assert_eq(write_down(), 0);
    cr_assert_eq(read_up(state.size), 0);
}

static void finish(void)
{
    cr_assert_eq(om_stop(&second), 0);
    image_expect_clean(disk);
}

TestSuite(handover, .init = start, .timeout = 120);

Test(handover, an_om_without_a_root_or_that_was_stopped_does_not_hand_over)
{
    struct om none;
    struct om_state nothing = { 0 };
    om_init(&none, &world);
    cr_assert_eq(om_hand_over(&none, &nothing), -EBUSY);
    cr_assert_eq(om_stop(&first), 0);
    cr_assert_eq(write_down(), -EBUSY);
}

Test(handover, a_disk_that_fails_is_not_handed_over)
{
    file_of_text(first.systems[1], "file");
    disk->fail_after = disk->written + 1;
    cr_assert_lt(write_down(), 0);
}

Test(handover, what_is_cut_or_wrong_is_refused)
{
    fs_id id;
    struct fs *tmpfs = tmpfs_add();
    file_of_text(tmpfs, "file");
    cr_assert_eq(file_make(tmpfs, "folder", S_IFDIR | 0755, &id), 0);
    cr_assert_eq(file_symlink(tmpfs, "file", "folder/link"), 0);
    cr_assert_eq(write_down(), 0);
    size_t step = state.size / 150 + 1;
    for (size_t size = 0; size < state.size; size += step)
        cr_assert_lt(read_up(size), 0, "%zu of %zu bytes", size, state.size);
    /* Any byte wrong: perhaps refused, never more than that. Behind the root's name, or there is no disk. */
    for (size_t at = 600; at < state.size; at += step) {
        state.bytes[at] ^= 0xff;
        read_up(state.size);
        state.bytes[at] ^= 0xff;
    }
    cr_assert_eq(om_stop(&first), 0, "the old one has lost nothing");
    image_expect_clean(disk);
}

Test(handover, files_are_there_as_they_were_and_what_is_done_next_is_right)
{
    struct fs *fs = first.systems[1];
    fs_id id = file_of_text(fs, "file"), id2, folder;
    cr_assert_eq(file_make(fs, "folder", S_IFDIR | 0755, &folder), 0);
    hand_over();
    fs = second.systems[1];
    cr_assert_eq(file_find(fs, "file", &id2), 0);
    cr_assert_eq(id, id2, "its key holds");
    cr_assert_eq(file_stat(fs, id).size, SIZE);
    expect_text(fs, id);
    cr_assert_eq(file_rename(fs, "file", "folder/file", 0), 0);
    cr_assert_eq(file_truncate(fs, id, 5000), 0);
    file_of_text(fs, "another");
    finish();
}

Test(handover, a_file_without_a_name_lives_until_its_last_holder_goes)
{
    struct fs *fs = first.systems[1];
    struct file_statfs before, after;
    fs->operations->statfs(fs, &before);
    fs_id id = file_of_text(fs, "file");
    hold(fs, id);
    hold(fs, id);
    cr_assert_eq(file_remove(fs, "file"), 0);
    hand_over();
    fs = second.systems[1];
    cr_assert_eq(fs->operations->holds(fs, id), 2);
    expect_text(fs, id);
    release(fs, id);
    expect_text(fs, id);
    release(fs, id);
    cr_assert_eq(file_read(fs, id, 0, back, 10), -ESTALE);
    cr_assert_eq(file_sync(fs), 0);
    fs->operations->statfs(fs, &after);
    cr_assert_eq(after.blocks_free, before.blocks_free, "its blocks are free again");
    finish();
}

Test(handover, a_size_that_is_ahead_of_the_disk_goes_along)
{
    struct fs *fs = first.systems[1];
    uint64_t end;
    fs_id id;
    cr_assert_eq(file_make(fs, "file", S_IFREG | 0644, &id), 0);
    hold(fs, id);
    pthread_mutex_lock(&fs->lock);
    cr_assert_eq(fs->operations->begin(fs), 0);
    cr_assert_eq(fs->operations->prepare(fs, id, 0, 65536, 50000, &end), 0); /* the Nucleus has the data still */
    pthread_mutex_unlock(&fs->lock);
    hand_over();
    fs = second.systems[1];
    cr_assert_eq(file_stat(fs, id).size, 50000);
    cr_assert_eq(file_write(fs, id, 0, text, 50000), 0);
    cr_assert_eq(file_read(fs, id, 4096, back, 4096), 4096);
    cr_assert_arr_eq(back, text + 4096, 4096);
    release(fs, id);
    finish();
}

Test(handover, caches_and_mounts_go_along)
{
    struct fs *fs = first.systems[1];
    fs_id id = file_of_text(fs, "file");
    const KnMpRequest request = { .op = K_MP_PULLIN, .segKey = OM_KEY(1, id), .lc = cache, .size = 4096 };
    KnMpReply reply;
    size_t used;
    om_map(&first, &request, NULL, 0, &reply, back, sizeof back, &used);
    cr_assert_eq(reply.diag, K_OK);
    first.mounts[3] = (struct om_mount){ OM_KEY(1, fs->root), { 5, 6 } };
    (*om_segment_bucket(&first, OM_KEY(1, id)))->ordinal = 9;
    hand_over();
    const struct om_segment *segment = *om_segment_bucket(&second, OM_KEY(1, id));
    cr_assert_not_null(segment);
    cr_assert(memcmp(&segment->lc, &cache, sizeof cache) == 0 && segment->ordinal == 9 && segment->next == NULL);
    cr_assert_eq(second.mounts[3].node.key, 6);
    fs = second.systems[1];
    cr_assert_eq(fs->operations->holds(fs, id), 1, "the cache's");
    const KnMpRequest over = { .op = K_MP_RELEASE, .segKey = OM_KEY(1, id), .lc = cache };
    om_map(&second, &over, NULL, 0, &reply, back, sizeof back, &used);
    cr_assert_eq(fs->operations->holds(fs, id), 0);
    finish();
}

Test(handover, a_tmpfs_goes_along_with_all_that_is_in_it)
{
    struct fs *fs = tmpfs_add();
    fs_id id = file_of_text(fs, "file"), nameless = file_of_text(fs, "gone"), folder, found;
    uint8_t names[4096], names_back[4096];
    size_t used, used_back;
    char link[64];
    hold(fs, nameless);
    cr_assert_eq(file_remove(fs, "gone"), 0);
    cr_assert_eq(file_make(fs, "folder", S_IFDIR | 0755, &folder), 0);
    cr_assert_eq(file_link(fs, "file", "folder/second"), 0);
    cr_assert_eq(file_symlink(fs, "some/where", "folder/link"), 0);
    for (char name[] = "folder/x0"; name[8] <= '9'; name[8]++)
        cr_assert_eq(file_make(fs, name, S_IFREG | 0600, NULL), 0);
    cr_assert_eq(file_remove(fs, "folder/x4"), 0);
    cr_assert_eq(fs->operations->readdir(fs, folder, 0, names, sizeof names, &used), 0);
    struct file_attributes attributes = file_stat(fs, id);
    struct file_statfs space, space_back;
    fs->operations->statfs(fs, &space);

    hand_over();
    fs = second.systems[2];
    struct file_attributes attributes_back = file_stat(fs, id);
    cr_assert_eq(memcmp(&attributes, &attributes_back, sizeof attributes), 0);
    expect_text(fs, id);
    expect_text(fs, nameless);
    cr_assert_eq(file_find(fs, "folder/second", &found), 0);
    cr_assert_eq(found, id);
    cr_assert_eq(fs->operations->readdir(fs, folder, 0, names_back, sizeof names_back, &used_back), 0);
    cr_assert(used == used_back && memcmp(names, names_back, used) == 0, "the same names, with the same cookies");
    cr_assert_eq(file_find(fs, "folder/link", &found), 0);
    cr_assert_eq(fs->operations->readlink(fs, found, link, sizeof link, &used), 0);
    cr_assert(used == 10 && memcmp(link, "some/where", 10) == 0);
    fs->operations->statfs(fs, &space_back);
    cr_assert_eq(memcmp(&space, &space_back, sizeof space), 0);
    release(fs, nameless);
    cr_assert_eq(file_read(fs, nameless, 0, back, 10), -ESTALE);
    file_of_text(fs, "more");
    cr_assert_eq(file_remove(fs, "file"), 0);
    cr_assert_eq(file_rename(fs, "folder/second", "file", 0), 0);
    expect_text(fs, id);
    finish();
}

Test(handover, the_old_one_goes_on_when_there_is_no_next_one)
{
    struct fs *fs = first.systems[1];
    fs_id id = file_of_text(fs, "file");
    hold(fs, id);
    cr_assert_eq(file_remove(fs, "file"), 0);
    for (int i = 0; i < 3; i++) {
        hand_over(); /* and the second one is never heard of again */
        expect_text(fs, id);
        file_of_text(fs, i == 0 ? "a" : i == 1 ? "b" : "c");
        cr_assert_eq(file_sync(fs), 0);
    }
    cr_assert_eq(om_stop(&first), 0);
    image_expect_clean(disk);
}

Test(handover, hand_after_hand_nothing_is_lost)
{
    fs_id id = file_of_text(first.systems[1], "file");
    char name[16];
    for (int i = 0; i < 20; i++) {
        hand_over();
        snprintf(name, sizeof name, "file%d", i);
        file_of_text(second.systems[1], name);
        free(state.bytes);
        first = second; /* locks at rest may be moved here */
        expect_text(first.systems[1], id);
    }
    hand_over();
    finish();
}

Test(handover, after_a_loss_of_power_at_any_moment_the_image_is_recovered)
{
    fs_id id = file_of_text(first.systems[1], "file");
    cr_assert_eq(file_sync(first.systems[1]), 0);
    fake_disk_record(disk);
    hand_over();
    struct fs *fs = second.systems[1];
    file_of_text(fs, "next");
    cr_assert_eq(file_sync(fs), 0);
    cr_assert_eq(file_remove(fs, "file"), 0);
    cr_assert_eq(file_sync(fs), 0);
    (void)id;
    for (size_t moment = 0; moment <= disk->write_count; moment += disk->write_count / 25 + 1) {
        struct fake_disk *after = fake_disk_crash(disk, moment, (unsigned)moment);
        struct fs *again = image_mount(after);
        fs_id found;
        cr_assert(file_find(again, "file", &found) == 0 || file_find(again, "next", &found) == 0);
        image_unmount(again);
        image_expect_clean(after);
        fake_disk_free(after);
    }
    finish();
}

Test(handover, an_image_without_a_journal_is_handed_over_too, .init = NULL)
{
    begin("-t ext2");
    fs_id id = file_of_text(first.systems[1], "file");
    hand_over();
    expect_text(second.systems[1], id);
    file_of_text(second.systems[1], "another");
    finish();
}
