/* The mapper protocol as the Nucleus speaks it, with a cache of our own in the Nucleus' place. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ext4.h"
#include "image.h"
#include "om.h"

static struct om om;
static struct fake_disk *disk;
static const KnCap cache = { { 1, 1 }, 77 };
static uint64_t truncated_to;
static int truncations, zeroed, recalled, dropped, flushed;
static bool cache_is_used;
static void (*on_recall)(void);
static int recall_error, flush_error;

static int truncate_cache(struct om_world *world, const KnCap *lc, uint64_t size)
{
    (void)world;
    cr_assert_eq(memcmp(lc, &cache, sizeof *lc), 0);
    truncated_to = size;
    return ++truncations;
}

static void zero_cache(struct om_world *world, const KnCap *lc, uint64_t offset, uint64_t length)
{
    (void)world, (void)lc, (void)offset, (void)length;
    zeroed++;
}

static int recall_cache(struct om_world *world, const KnCap *lc)
{
    (void)world, (void)lc;
    recalled++;
    if (on_recall != NULL)
        on_recall();
    return recall_error;
}

static bool drop_cache(struct om_world *world, const KnCap *lc)
{
    (void)world, (void)lc;
    dropped += !cache_is_used;
    return !cache_is_used;
}

static int flush_cache(struct om_world *world, const KnCap *lc)
{
    (void)world, (void)lc;
    flushed++;
    return flush_error;
}

static struct om_world world = { .truncate = truncate_cache, .zero = zero_cache,
                                 .recall = recall_cache, .drop = drop_cache, .flush = flush_cache };

static void start(void)
{
    om_init(&om, &world);
    disk = image_make("16M", "-t ext4");
    cr_assert_eq(om_add(&om, image_mount(disk), 1), 0);
}

static void finish(void)
{
    cr_assert_eq(om_stop(&om), 0);
    image_expect_clean(disk);
    fake_disk_free(disk);
}

TestSuite(mapper, .init = start, .fini = finish, .timeout = 60);

static KnMpReply reply;
static uint8_t body[65536];
static size_t body_size;

static int ask(uint32_t op, uint64_t key, uint64_t offset, uint64_t size, uint64_t segment_size,
               uint32_t access, uint64_t ordinal)
{
    const KnMpRequest request = { .op = op, .access = access, .segKey = key, .lc = cache,
                                  .offset = offset, .size = size, .segSize = segment_size,
                                  .ordinal = ordinal };

    om_map(&om, &request, body, op == K_MP_PUSHOUT ? size : 0, &reply, body, sizeof body,
           &body_size);
    return reply.diag;
}

static int file_ask(struct file_request *request, const char *path)
{
    static uint8_t reply_body[FILE_BODY_MAX];
    struct file_reply answer;
    struct om_call call = { .request = request, .body = path, .body_size = strlen(path),
                            .reply = &answer, .reply_body = reply_body };

    request->path_length = (uint16_t)strlen(path);
    om_serve(&om, &call);
    request->key = answer.attributes.key;
    return answer.error;
}

static uint64_t file_new(const char *path)
{
    struct file_request request = { .operation = FILE_CREATE };

    request.open.access = FILE_O_WRITE;
    request.open.mode = 0644;
    cr_assert_eq(file_ask(&request, path), 0);
    return request.key;
}

static int file_close(uint64_t key)
{
    struct file_request request = { .operation = FILE_CLOSE, .key = key };

    return file_ask(&request, "");
}

static int file_unlink(const char *path)
{
    struct file_request request = { .operation = FILE_UNLINK };

    return file_ask(&request, path);
}

static int file_getattr(uint64_t key)
{
    struct file_request request = { .operation = FILE_GETATTR, .key = key };

    return file_ask(&request, "");
}

static void fill(int with)
{
    memset(body, with, sizeof body);
}

Test(mapper, bad_requests_are_refused)
{
    uint64_t key = file_new("f");

    cr_assert_eq(ask(K_MP_PULLIN, OM_KEY(1, 999), 0, 4096, 0, 0, 0), K_EUNKNOWN);
    cr_assert_eq(ask(K_MP_PULLIN, OM_KEY(99, 2), 0, 4096, 0, 0, 0), K_EUNKNOWN);
    cr_assert_eq(ask(K_MP_PULLIN, key, 5, 4096, 0, 0, 0), K_EINVAL);
    cr_assert_eq(ask(77, key, 0, 4096, 0, 0, 0), K_EINVAL);
    cr_assert_eq(ask(K_MP_GETACCESS, key, (uint64_t)-4096, 8192, 1, K_WRITABLE, 0), K_EINVAL);
    cr_assert_eq(ask(K_MP_GETACCESS, key, 0, 1ull << 50, 1ull << 50, K_WRITABLE, 0), K_ETOOMUCH);
    cr_assert_eq(ask(K_MP_PULLIN, OM_KEY(1, om.systems[1]->root), 0, 4096, 0, 0, 0), K_EINVAL);
    ask(K_MP_RELEASE, key, 0, 0, 0, 0, 0);
    ask(K_MP_RELEASE, key, 0, 0, 0, 0, 0);
    file_close(key);
}

Test(mapper, what_is_pushed_out_is_pulled_in)
{
    uint64_t key = file_new("f");

    cr_assert_eq(ask(K_MP_GETACCESS, key, 0, 0, 0, 0, 0), K_OK);
    cr_assert_eq(reply.segSize, 0);
    cr_assert_eq(ask(K_MP_GETACCESS, key, 0, 8192, 5000, K_WRITABLE, 0), K_OK);
    cr_assert_geq(reply.size, 8192);
    cr_assert_eq(reply.segSize, 5000);
    fill('x');
    cr_assert_eq(ask(K_MP_PUSHOUT, key, 0, 8192, 5000, 0, 0), K_OK);
    fill(0);
    cr_assert_eq(ask(K_MP_PULLIN, key, 0, 65536, 5000, 0, 0), K_OK);
    cr_assert_eq(body_size, 5000);
    cr_assert(body[0] == 'x' && body[4999] == 'x');
    file_close(key);
}

static uint64_t full_key, full_size;

static void full_push(void)
{
    fill('y');
    for (uint64_t offset = 0; offset < full_size; offset += 65536)
        cr_assert_eq(ask(K_MP_PUSHOUT, full_key, offset, 65536, full_size, 0, 0), K_OK);
}

Test(mapper, a_full_disk_is_told_when_access_is_asked_for)
{
    int diag;

    full_key = file_new("f");
    on_recall = full_push;      /* the cache pushes out what it has, and then asks anew */
    while ((diag = ask(K_MP_GETACCESS, full_key, full_size, 65536, full_size + 65536, K_WRITABLE, 0)) == K_OK)
        full_size += 65536;
    on_recall = NULL;
    cr_assert_eq(diag, K_ENOSPACE);
    cr_assert_gt(full_size, 4 << 20);
    full_push();
    ask(K_MP_RELEASE, full_key, 0, 0, 0, 0, 0);
    file_close(full_key);
}

Test(mapper, an_old_push_does_not_undo_a_truncation)
{
    uint64_t key = file_new("f");
    struct file_request request = { .operation = FILE_SETATTR, .key = key };

    cr_assert_eq(ask(K_MP_GETACCESS, key, 0, 65536, 65536, K_WRITABLE, 0), K_OK);
    fill('z');
    cr_assert_eq(ask(K_MP_PUSHOUT, key, 0, 65536, 65536, 0, 0), K_OK);
    request.setattr.valid = FILE_SET_SIZE;
    request.setattr.size = 100;
    cr_assert_eq(file_ask(&request, ""), 0);
    cr_assert_eq(truncated_to, 100);
    cr_assert_eq(ask(K_MP_PUSHOUT, key, 0, 65536, 65536, 0, 0), K_OK);  /* sent before */
    cr_assert_eq(ask(K_MP_GETACCESS, key, 0, 0, 0, 0, 1), K_OK);
    cr_assert_eq(reply.segSize, 100);
    cr_assert_eq(ask(K_MP_GETACCESS, key, 4096, 4096, 8192, K_WRITABLE, 1), K_OK);
    cr_assert_eq(ask(K_MP_PUSHOUT, key, 4096, 4096, 8192, 0, 1), K_OK); /* sent after it */
    cr_assert_eq(ask(K_MP_PULLIN, key, 0, 65536, 8192, 0, 1), K_OK);
    cr_assert_eq(body_size, 8192);
    cr_assert_eq(body[99], 'z');
    cr_assert_eq(body[100], 0);
    cr_assert_eq(body[4095], 0);
    cr_assert_eq(body[4096], 'z');
    file_close(key);
}

Test(mapper, a_file_without_a_name_goes_when_only_an_idle_cache_holds_it)
{
    uint64_t key = file_new("f");

    cr_assert_eq(ask(K_MP_GETACCESS, key, 0, 0, 0, 0, 0), K_OK);
    cr_assert_eq(file_unlink("f"), 0);
    cr_assert_eq(dropped, 0, "it is open");
    cache_is_used = true;
    cr_assert_eq(file_close(key), 0);
    cr_assert_eq(file_getattr(key), 0, "it is mapped");
    cr_assert_eq(dropped, 0);
    cache_is_used = false;
    cr_assert_not(om_linger_end(&om));
    cr_assert_eq(dropped, 1);
    cr_assert_eq(file_getattr(key), -ESTALE);
    cr_assert_eq(ask(K_MP_PUSHOUT, key, 0, 4096, 4096, 0, 0), K_OK, "nobody misses it");
}

Test(mapper, pages_that_can_never_be_written_do_not_keep_a_file_system)
{
    uint64_t key = file_new("f");

    cr_assert_eq(ask(K_MP_GETACCESS, key, 0, 0, 0, 0, 0), K_OK);
    cr_assert_eq(file_close(key), 0);
    flush_error = -EIO;
    cr_assert_eq(om_segments_drop(&om, 1), -EIO);
    cr_assert_eq(dropped, 0, "the disk may be well again");
    journal_abort(&ext4_of(om.systems[1])->journal, "as told by the test");
    cr_assert_eq(om_segments_drop(&om, 1), -EIO);
    cr_assert_eq(dropped, 1);
}

Test(mapper, a_cached_file_that_is_removed_goes_at_once)
{
    uint64_t key = file_new("f");

    cr_assert_eq(ask(K_MP_GETACCESS, key, 0, 0, 0, 0, 0), K_OK);
    cr_assert_eq(file_close(key), 0);
    cr_assert_eq(file_unlink("f"), 0);
    cr_assert_eq(file_getattr(key), -ESTALE);
    ask(K_MP_RELEASE, key, 0, 0, 0, 0, 0);      /* comes later, and finds nothing */
}

Test(mapper, the_release_of_the_last_cache_gives_back_what_was_allocated_ahead)
{
    struct file_request request = { .operation = FILE_STATFS };
    struct file_statfs before, after;
    uint64_t key = file_new("f");
    struct fs *fs = om.systems[1];

    file_ask(&request, "");
    fs->operations->statfs(fs, &before);
    cr_assert_eq(ask(K_MP_GETACCESS, key, 65536, 65536, 131072, K_WRITABLE, 0), K_OK);
    cr_assert_gt(reply.size, 65536);
    fill('a');
    cr_assert_eq(ask(K_MP_PUSHOUT, key, 65536, 65536, 131072, 0, 0), K_OK);
    ask(K_MP_RELEASE, key, 0, 0, 0, 0, 0);
    cr_assert_eq(file_sync(fs), 0);
    fs->operations->statfs(fs, &after);
    cr_assert_eq(before.blocks_free - after.blocks_free, 65536 / before.block_size);
    file_close(key);
}

Test(mapper, holes_are_punched_behind_a_recall)
{
    uint64_t key = file_new("f");
    struct file_request request = { .operation = FILE_ALLOCATE, .key = key };

    cr_assert_eq(ask(K_MP_GETACCESS, key, 0, 65536, 65536, K_WRITABLE, 0), K_OK);
    fill('h');
    cr_assert_eq(ask(K_MP_PUSHOUT, key, 0, 65536, 65536, 0, 0), K_OK);
    request.io.offset = 5000;
    request.io.length = 20000;
    request.io.mode = FILE_ALLOCATE_PUNCH_HOLE | FILE_ALLOCATE_KEEP_SIZE;
    cr_assert_eq(file_ask(&request, ""), 0);
    cr_assert_eq(recalled, 1);
    cr_assert_eq(zeroed, 1);
    cr_assert_eq(ask(K_MP_PULLIN, key, 0, 65536, 65536, 0, 0), K_OK);
    cr_assert(body[4999] == 'h' && body[5000] == 0 && body[24999] == 0 && body[25000] == 'h');
    file_close(key);
}

/* A file that grows in small steps, as far as it was pushed. */
static uint64_t file_grown(const char *path, uint64_t size)
{
    uint64_t key = file_new(path);

    for (uint64_t at = 0, granted = 0; at < size; at += 8192) {
        if (at + 8192 > granted && ask(K_MP_GETACCESS, key, at, 8192, at + 8192, K_WRITABLE, 0) != K_OK)
            break;
        if (at + 8192 > granted)
            granted = reply.offset + reply.size;
        ask(K_MP_PUSHOUT, key, at, 8192, at + 8192, 0, 0);
    }
    return key;
}

static uint64_t blocks_of(uint64_t key)
{
    struct file_request request = { .operation = FILE_GETATTR, .key = key };
    struct file_reply answer;
    struct om_call call = { .request = &request, .body = "", .reply = &answer, .reply_body = body };

    om_serve(&om, &call);
    cr_assert_eq(answer.error, 0);
    return answer.attributes.blocks;
}

Test(mapper, what_was_prepared_ahead_is_taken_back_behind_a_recall)
{
    uint64_t key = file_grown("f", 40960);

    cr_assert_gt(blocks_of(key), 40960 / 512);
    recall_error = -EIO;
    om_settle(&om);
    cr_assert_gt(blocks_of(key), 40960 / 512, "nothing goes while a cache has data that it cannot push out");
    recall_error = 0;
    cr_assert(om_settle(&om));
    cr_assert_eq(blocks_of(key), 40960 / 512);
    cr_assert_not(om_settle(&om));
    ask(K_MP_RELEASE, key, 0, 0, 0, 0, 0);
    file_close(key);
}

static uint64_t wanted_key;

static void somebody_writes(void)
{
    cr_assert_eq(ask(K_MP_GETACCESS, wanted_key, 40960, 8192, 49152, K_WRITABLE, 0), K_OK);
}

Test(mapper, what_is_asked_for_during_a_recall_stays)
{
    wanted_key = file_grown("f", 40960);
    on_recall = somebody_writes;
    om_settle(&om);
    on_recall = NULL;
    cr_assert_gt(blocks_of(wanted_key), 40960 / 512);
    cr_assert_eq(ask(K_MP_PUSHOUT, wanted_key, 40960, 8192, 49152, 0, 0), K_OK);
    ask(K_MP_RELEASE, wanted_key, 0, 0, 0, 0, 0);
    file_close(wanted_key);
}

Test(mapper, a_disk_is_full_only_when_nothing_ahead_is_left)
{
    struct file_statfs statfs;
    char name[16];
    unsigned count = 0;

    om.systems[1]->operations->statfs(om.systems[1], &statfs);
    for (uint64_t before = 1; before != 0 && count < 1000; count++) {
        snprintf(name, sizeof name, "f%u", count);
        uint64_t key = file_grown(name, 40960);
        before = blocks_of(key) >= 40960 / 512;
        file_close(key);
    }
    cr_assert_geq((uint64_t)count * 40960, statfs.blocks_available * statfs.block_size / 100 * 95);
}

Test(mapper, temporary_segments_keep_what_is_pushed_and_leave_nothing)
{
    uint64_t key;

    cr_assert_eq(ask(K_MP_CREATE, 0, 0, 0, 0, 0, 0), K_OK);
    key = reply.segKey;
    fill('t');
    cr_assert_eq(ask(K_MP_PUSHOUT, key, 1 << 20, 65536, 2 << 20, 0, 0), K_OK);
    fill(0);
    cr_assert_eq(ask(K_MP_PULLIN, key, 1 << 20, 65536, 2 << 20, 0, 0), K_OK);
    cr_assert(body_size == 65536 && body[65535] == 't');
    ask(K_MP_RELEASE, key, 0, 0, 0, 0, 0);
    cr_assert_eq(ask(K_MP_PULLIN, key, 0, 4096, 0, 0, 0), K_EUNKNOWN);
    cr_assert_eq(ask(K_MP_CREATE, 0, 0, 0, 0, 0, 0), K_OK);     /* left over at the unmount */
    fill('t');
    cr_assert_eq(ask(K_MP_PUSHOUT, reply.segKey, 0, 65536, 65536, 0, 0), K_OK);
}

Test(mapper, files_without_names_that_are_held_at_the_end_go)
{
    uint64_t key = file_new("f");

    cr_assert_eq(ask(K_MP_GETACCESS, key, 0, 4096, 4096, K_WRITABLE, 0), K_OK);
    cr_assert_eq(file_unlink("f"), 0);
}

Test(mapper, a_tmpfs_puts_pages_on_the_disk_and_leaves_nothing_there)
{
    struct file_statfs before, after;
    struct fs *root = om.systems[1], *fs;
    uint64_t key;
    fs_id id;

    om.tmpfs_keep = 3;
    root->operations->statfs(root, &before);
    cr_assert_eq(tmpfs_mount(0, 0755, &fs), 0);
    om.store = store_open(root);
    tmpfs_use_store(fs, om.store, om.tmpfs_keep);
    cr_assert_eq(om_add(&om, fs, 0), 0);
    cr_assert_eq(file_make(fs, "f", S_IFREG | 0644, &id), 0);
    key = OM_KEY(fs->number, id);
    for (unsigned i = 0; i < 16; i++) {
        fill('A' + (int)i);
        cr_assert_eq(ask(K_MP_PUSHOUT, key, i * 65536, 65536, 1 << 20, 0, 0), K_OK);
    }
    root->operations->statfs(root, &after);
    cr_assert_leq(after.blocks_free + (1 << 20) / before.block_size - 20, before.blocks_free);
    for (unsigned i = 0; i < 16; i++) {
        cr_assert_eq(ask(K_MP_PULLIN, key, i * 65536, 65536, 1 << 20, 0, 0), K_OK);
        cr_assert(body[0] == 'A' + i && body[65535] == 'A' + i);
    }
}

Test(mapper, a_sync_has_files_on_disks_pushed_out_and_no_others)
{
    struct file_request request = { .operation = FILE_SYNC };
    uint64_t key = file_new("f");
    struct fs *fs;
    fs_id id;

    cr_assert_eq(tmpfs_mount(0, 0755, &fs), 0);
    cr_assert_eq(om_add(&om, fs, 0), 0);
    cr_assert_eq(file_make(fs, "g", S_IFREG | 0644, &id), 0);
    cr_assert_eq(ask(K_MP_GETACCESS, key, 0, 0, 0, 0, 0), K_OK);
    cr_assert_eq(ask(K_MP_GETACCESS, OM_KEY(fs->number, id), 0, 0, 0, 0, 0), K_OK);
    flushed = 0;
    cr_assert_eq(file_ask(&request, ""), 0);
    cr_assert_eq(flushed, 1);
    file_close(key);
}

Test(mapper, random_requests_do_no_harm)
{
    uint64_t keys[8], answered = 0;
    unsigned seed = 5;

    for (int i = 0; i < 8; i++) {
        char name[16];

        snprintf(name, sizeof name, "f%d", i);
        keys[i] = file_new(name);
    }
    for (int round = 0; round < 20000; round++) {
        uint32_t op = K_MP_PULLIN + (uint32_t)rand_r(&seed) % 3;
        uint64_t key = rand_r(&seed) % 9 == 0 ? (uint64_t)rand_r(&seed) << 32 : keys[rand_r(&seed) % 8];
        uint64_t offset = (uint64_t)(rand_r(&seed) % 300) * 4096 << (rand_r(&seed) % 20 == 0 ? 30 : 0);
        uint64_t size = (uint64_t)(rand_r(&seed) % 17) * 4096;

        answered += ask(op, key, offset, size, offset + (uint64_t)rand_r(&seed) % 100000,
                        rand_r(&seed) % 2 == 0 ? K_WRITABLE : K_READABLE,
                        (uint64_t)rand_r(&seed) % 3) == K_OK;
    }
    cr_assert_gt(answered, 5000);
    for (int i = 0; i < 8; i++) {
        ask(K_MP_RELEASE, keys[i], 0, 0, 0, 0, 0);
        file_close(keys[i]);
    }
}
