/* Leases: an answer whose versions have not changed is still what om would say. On tmpfs; OM_FS=ext4: on an image. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "image.h"
#include "om.h"

static struct om om;
static struct fake_disk *disk;
static uint32_t page[FILE_VERSIONS];    /* of the client */
static unsigned told;                   /* how often om wrote there */
static bool is_gone;                    /* the client's memory is not there any more */

static bool tell(struct om_world *world, const struct file_watch *watch, unsigned first, const uint32_t *versions, unsigned count)
{
    (void)world;
    if (is_gone)
        return false;
    told++;
    memcpy((uint32_t *)watch->versions + first, versions, count * sizeof *versions);
    return true;
}

static struct om_world world = { .tell = tell };

static void start(void)
{
    struct fs *fs = NULL;

    om_init(&om, &world);
    om.port = 0x1111;
    om.mapper_port = 0x2222;
    if (getenv("OM_FS") != NULL) {
        disk = image_make("16M", "-t ext4");
        fs = image_mount(disk);
    } else {
        cr_assert_eq(tmpfs_mount(16 << 20, 0755, &fs), 0);
    }
    cr_assert_eq(om_add(&om, fs, 1), 0);
    told = 0;
    is_gone = false;
    memset(page, 0, sizeof page);
}

static void finish(void)
{
    cr_assert_eq(om_stop(&om), 0);
    if (disk != NULL) {
        image_expect_clean(disk);
        fake_disk_free(disk);
    }
    disk = NULL;
}

TestSuite(lease, .init = start, .fini = finish, .timeout = 120);

/* ---- asking ---- */

static struct file_reply reply;
static uint8_t reply_body[FILE_BODY_MAX];
static size_t reply_size;

static int ask(struct file_request request, const char *path, const void *second, size_t second_size)
{
    char body[FILE_BODY_MAX];
    struct om_call call = { .request = &request, .body = body, .reply = &reply, .reply_body = reply_body };

    request.path_length = (uint16_t)strlen(path);
    request.second_length = (uint16_t)second_size;
    memcpy(body, path, request.path_length);
    memcpy(body + request.path_length, second, second_size);
    call.body_size = request.path_length + second_size;
    om_serve(&om, &call);
    reply_size = call.reply_size;
    return reply.error;
}

static int watch(uint64_t actor)
{
    struct file_watch watch = { .actor = { actor }, .versions = (uintptr_t)page };

    return ask((struct file_request){ .operation = FILE_WATCH }, "", &watch, sizeof watch);
}

/* An answer that is remembered. */
struct remembered {
    char     path[24];
    uint32_t uid, operation;
    uint64_t key;
    struct file_reply reply;
    struct file_lease leases[FILE_LEASES_MAX];
    size_t   count;
};

static int look(struct remembered *it, uint16_t flags)
{
    struct file_request request = { .operation = it->operation, .key = it->key, .flags = FILE_FOLLOW_INSIDE | flags,
                                    .credentials = { .uid = it->uid, .gid = it->uid } };

    return ask(request, it->path, "", 0);
}

static bool remember(struct remembered *it)
{
    int error = look(it, FILE_LEASE);

    it->reply = reply;
    it->count = 0;
    if (error != 0 || reply.outcome != FILE_DONE || !(reply.flags & FILE_LEASED))
        return false;
    it->count = reply_size / sizeof *it->leases;
    cr_assert(it->count > 0 && it->count <= FILE_LEASES_MAX && reply_size % sizeof *it->leases == 0);
    memcpy(it->leases, reply_body, reply_size);
    return true;
}

static bool is_true(const struct remembered *it)
{
    for (size_t i = 0; i < it->count; i++)
        if (page[it->leases[i].place] != it->leases[i].version)
            return false;
    return it->count > 0;
}

static struct remembered walked(const char *path)
{
    struct remembered it = { .operation = FILE_WALK };

    strcpy(it.path, path);
    cr_assert(remember(&it), "%s: %d", path, reply.error);
    return it;
}

static int make(const char *path, uint32_t mode)
{
    struct file_request request = { .operation = FILE_MKNOD, .mknod.mode = mode };

    if (S_ISDIR(mode))
        request.operation = FILE_MKDIR;
    return ask(request, path, "", 0);
}

static int mode_set(const char *path, uint32_t mode)
{
    return ask((struct file_request){ .operation = FILE_SETATTR, .setattr = { .valid = FILE_SET_MODE, .mode = mode } }, path, "", 0);
}

/* ---- bad input ---- */

Test(lease, a_watch_without_a_place_to_write_to_is_refused)
{
    cr_expect_eq(ask((struct file_request){ .operation = FILE_WATCH }, "", "short", 5), -EINVAL);
    is_gone = true;
    cr_expect_eq(watch(1), -EFAULT);
    is_gone = false;
    world.tell = NULL;
    cr_expect_eq(watch(1), -EOPNOTSUPP);
    world.tell = tell;
}

Test(lease, no_more_can_watch_than_there_are_places_and_the_same_one_counts_once)
{
    for (uint64_t actor = 1; actor <= LEASE_WATCHERS; actor++)
        cr_expect_eq(watch(actor), 0);
    cr_expect_eq(watch(3), 0);
    cr_expect_eq(watch(99), -ENOSPC);
    is_gone = true; /* all of them: found out at the next change */
    struct remembered it = walked("");
    cr_expect_eq(make("f", S_IFREG | 0644), 0);
    is_gone = false;
    cr_expect_eq(watch(99), 0);
    (void)it;
}

Test(lease, nothing_is_leased_to_who_does_not_watch_or_does_not_ask)
{
    struct remembered it = { .operation = FILE_WALK };

    cr_expect_not(remember(&it));
    cr_expect_eq(watch(1), 0);
    cr_expect_eq(look(&it, 0), 0);
    cr_expect_not(reply.flags & FILE_LEASED);
    cr_expect_eq(reply_size, 0);
    cr_expect(remember(&it));
}

Test(lease, a_path_too_deep_is_answered_without_a_lease)
{
    struct remembered it = { .operation = FILE_WALK };
    char path[2 * FILE_LEASES_MAX + 8] = "";
    static struct file_request request;

    cr_expect_eq(watch(1), 0);
    for (unsigned i = 0; i < FILE_LEASES_MAX + 1; i++) {
        strcat(path, i == 0 ? "d" : "/d");
        cr_assert_eq(make(path, S_IFDIR | 0755), 0);
    }
    request = (struct file_request){ .operation = FILE_WALK, .flags = FILE_LEASE };
    cr_expect_eq(ask(request, path, "", 0), 0);
    cr_expect_not(reply.flags & FILE_LEASED);
    (void)it;
}

/* ---- what ends a lease ---- */

Test(lease, what_nobody_remembers_is_changed_without_telling)
{
    cr_expect_eq(watch(1), 0);
    unsigned before = told;
    cr_expect_eq(make("f", S_IFREG | 0644), 0);
    cr_expect_eq(mode_set("f", 0600), 0);
    cr_expect_eq(told, before);
    struct remembered it = walked("f");
    cr_expect(is_true(&it));
    cr_expect_eq(mode_set("f", 0644), 0);
    cr_expect_not(is_true(&it));
    before = told;
    cr_expect_eq(mode_set("f", 0600), 0);
    cr_expect_eq(told, before, "it was told once");
}

Test(lease, names_attributes_directories_and_mounts_end_it)
{
    cr_assert_eq(make("d", S_IFDIR | 0755), 0);
    cr_assert_eq(make("d/f", S_IFREG | 0644), 0);
    cr_assert_eq(make("m", S_IFDIR | 0755), 0);
    cr_expect_eq(watch(1), 0);
    struct remembered it = walked("d/f");
    cr_expect_eq(mode_set("d", 0700), 0);
    cr_expect_not(is_true(&it), "who may pass has changed");
    it = walked("d/f");
    cr_expect_eq(ask((struct file_request){ .operation = FILE_RENAME }, "d", "e", 1), 0);
    cr_expect_not(is_true(&it), "the way has changed");
    it = walked("e/f");
    cr_expect_eq(ask((struct file_request){ .operation = FILE_UNLINK }, "e/f", "", 0), 0);
    cr_expect_not(is_true(&it), "it has gone");
    it = walked("m");
    cr_expect_eq(ask((struct file_request){ .operation = FILE_MOUNT, .mount.node = { 5, 6 } }, "m", "", 0), 0);
    cr_expect_not(is_true(&it), "it is covered");
    cr_expect_eq(ask((struct file_request){ .operation = FILE_UNMOUNT }, "m", "", 0), 0);
    it = walked("m");
    lease_end(&om);
    cr_expect_eq(page[0], 0, "who watched knows that it is over");
}

Test(lease, writing_through_a_mapping_ends_it)
{
    KnMpRequest request = { .op = K_MP_GETACCESS, .size = 4096, .access = K_WRITABLE };
    KnMpReply mapped;
    uint8_t body[64];
    size_t used;

    cr_assert_eq(make("f", S_IFREG | 0644), 0);
    memcpy(&request.segKey, &reply.attributes.key, sizeof request.segKey);
    cr_expect_eq(watch(1), 0);
    struct remembered it = walked("f");
    om_map(&om, &request, body, 0, &mapped, body, sizeof body, &used);
    cr_assert_eq(mapped.diag, K_OK);
    cr_expect_not(is_true(&it));
    request.op = K_MP_RELEASE;
    om_map(&om, &request, body, 0, &mapped, body, sizeof body, &used);
}

/* ---- anything ---- */

#define KEPT 48

static unsigned seed;

static unsigned any(unsigned below)
{
    return (unsigned)rand_r(&seed) % below;
}

static const char *any_path(char path[24])
{
    static const char *const names[] = { "a", "b", "c", "..", "." };
    unsigned parts = 1 + any(3);

    *path = '\0';
    for (unsigned i = 0; i < parts; i++) {
        strcat(path, i == 0 ? "" : "/");
        strcat(path, names[any(i == 0 ? 3 : 40) % (i == 0 ? 3 : 5)]);
    }
    return path;
}

static void change_something(void)
{
    char path[24], other[24];
    struct file_request request = { .operation = FILE_SETATTR };

    any_path(path);
    any_path(other);
    switch (any(13)) {
    case 0: case 1: make(path, S_IFDIR | 0755); break;
    case 2: case 3: make(path, S_IFREG | 0644); break;
    case 4: ask((struct file_request){ .operation = FILE_UNLINK }, path, "", 0); break;
    case 5: ask((struct file_request){ .operation = FILE_RMDIR }, path, "", 0); break;
    case 6: ask((struct file_request){ .operation = FILE_LINK }, path, other, strlen(other)); break;
    case 7: ask((struct file_request){ .operation = FILE_SYMLINK }, path, other, strlen(other)); break;
    case 8: mode_set(path, any(2) ? 0700 : 0755); break;
    case 9:
        request.setattr.valid = FILE_SET_UID | FILE_SET_MTIME;
        request.setattr.uid = any(2) * 5;
        request.setattr.mtime = any(1000);
        ask(request, path, "", 0);
        break;
    case 10:
        request.setattr.valid = FILE_SET_SIZE;
        request.setattr.size = any(3) * 5000;
        ask(request, path, "", 0);
        break;
    default:
        request = (struct file_request){ .operation = FILE_RENAME };
        request.rename.flags = any(4) == 0 ? FILE_RENAME_EXCHANGE : 0;
        ask(request, path, other, strlen(other));
    }
}

static void expect_still_so(struct remembered *it)
{
    if (!is_true(it))
        return;
    int error = look(it, 0);
    struct file_attributes was = it->reply.attributes, is = reply.attributes;
    if (S_ISREG(was.mode))
        was.size = is.size = 0; /* is the cache's */
    cr_assert_eq(error, 0, "seed %u: %s as %u is now %d", seed, it->path, it->uid, error);
    cr_assert_eq(reply.outcome, it->reply.outcome);
    cr_assert_eq(memcmp(&was, &is, sizeof was), 0, "seed %u: the attributes of %s", seed, it->path);
}

Test(lease, what_is_still_leased_is_still_true_after_any_change)
{
    static struct remembered kept[KEPT];
    unsigned held = 0, steps = disk != NULL ? 3000 : 20000;
    const char *given = getenv("CHORUS_TEST_SEED");

    seed = given != NULL ? (unsigned)atoi(given) : (unsigned)time(NULL);
    fprintf(stderr, "# CHORUS_TEST_SEED=%u\n", seed);
    cr_assert_eq(watch(1), 0);
    for (unsigned step = 0; step < steps; step++) {
        struct remembered *it = &kept[any(KEPT)];

        *it = (struct remembered){ .uid = any(2) * 5, .operation = any(4) == 0 ? FILE_GETATTR : FILE_WALK };
        any_path(it->path);
        if (it->operation == FILE_GETATTR) {
            it->operation = FILE_WALK;
            it->key = look(it, 0) == 0 && reply.outcome == FILE_DONE ? reply.attributes.key : 0;
            it->operation = FILE_GETATTR;
            *it->path = '\0';
        }
        remember(it);
        change_something();
        for (unsigned i = 0; i < KEPT; i++) {
            held += is_true(&kept[i]);
            expect_still_so(&kept[i]);
        }
    }
    cr_expect_gt(held, steps, "seed %u: leases are of use", seed);
}
