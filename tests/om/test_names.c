/* The file protocol as pm sees it: paths, permissions, mounts, opening; on tmpfs, which has the
 * same table of operations as ext4. OM_FS=ext4 runs the same tests on an image.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image.h"
#include "om.h"

static struct om om;
static struct fake_disk *disk;
static int give_device(struct om_world *world, const char *name, struct blockdev **ret)
{
    (void)world, (void)name, (void)ret;
    return -ENOENT;
}

static struct om_world world = { .device = give_device };

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

TestSuite(names, .init = start, .fini = finish, .timeout = 60);

/* Asking ------------------------------------------------------------------------------ */

static struct file_request request;
static struct file_reply reply;
static uint8_t reply_body[FILE_BODY_MAX];
static size_t reply_size;

static void as(uint32_t uid, uint32_t gid)
{
    request.credentials = (struct file_credentials){ .uid = uid, .gid = gid };
}

/* A request with the credentials of the last `as`; the other fields of `request` are cleared
 * after it. */
static int ask(uint32_t operation, uint64_t key, const char *path, const char *second)
{
    struct file_credentials credentials = request.credentials;
    char body[FILE_BODY_MAX];
    struct om_call call = { .request = &request, .body = body, .reply = &reply,
                            .reply_body = reply_body };

    request.operation = operation;
    request.key = key;
    request.path_length = (uint16_t)strlen(path);
    request.second_length = (uint16_t)strlen(second);
    call.body_size = (size_t)sprintf(body, "%s%s", path, second);
    om_serve(&om, &call);
    reply_size = call.reply_size;
    memset(&request, 0, sizeof request);
    request.credentials = credentials;
    return reply.error;
}

static int make_file(const char *path, uint32_t mode)
{
    int error;

    request.open.access = FILE_O_WRITE | FILE_O_EXCLUSIVE;
    request.open.mode = mode;
    error = ask(FILE_CREATE, 0, path, "");
    if (error == 0 && reply.outcome == FILE_DONE) {
        struct file_reply made = reply;

        request.open.access = FILE_O_WRITE;
        ask(FILE_CLOSE, made.attributes.key, "", "");
        reply = made;
    }
    return error;
}

static int make_directory(const char *path, uint32_t mode)
{
    request.mknod.mode = mode;
    return ask(FILE_MKDIR, 0, path, "");
}

static uint64_t key_of(const char *path)
{
    cr_assert_eq(ask(FILE_WALK, 0, path, ""), 0, "%s: %s", path, strerror(-reply.error));
    cr_assert_eq(reply.outcome, FILE_DONE, "%s", path);
    return reply.attributes.key;
}

static int chmod_path(const char *path, uint32_t mode)
{
    request.setattr.valid = FILE_SET_MODE;
    request.setattr.mode = mode;
    return ask(FILE_SETATTR, 0, path, "");
}

static int open_path(const char *path, uint32_t access)
{
    int error;

    request.open.access = access;
    request.flags = FILE_FOLLOW | FILE_FOLLOW_INSIDE;
    error = ask(FILE_OPEN, 0, path, "");
    if (error == 0 && reply.outcome == FILE_DONE) {
        struct file_reply opened = reply;

        ask(FILE_CLOSE, opened.attributes.key, "", "");
        reply = opened;
    }
    return error;
}

/* What the caller has to go on with: link text, then the rest. */
static void expect_rest(enum file_outcome outcome, const char *text, const char *rest)
{
    cr_assert_eq(reply.outcome, outcome);
    cr_assert_eq(reply.length, strlen(text));
    cr_assert_eq(reply.rest_length, strlen(rest), "%.*s", (int)reply.rest_length,
                 (char *)reply_body + reply.length);
    cr_assert_eq(reply_size, strlen(text) + strlen(rest));
    cr_assert(memcmp(reply_body, text, strlen(text)) == 0);
    cr_assert(memcmp(reply_body + strlen(text), rest, strlen(rest)) == 0);
}

/* Bad input --------------------------------------------------------------------------- */

Test(names, malformed_requests_are_refused)
{
    struct om_call call = { .request = &request, .body = "abc", .body_size = 3, .reply = &reply,
                            .reply_body = reply_body };

    request = (struct file_request){ .operation = FILE_WALK, .path_length = 4 };
    om_serve(&om, &call);
    cr_assert_eq(reply.error, -EINVAL);
    request = (struct file_request){ .operation = FILE_WALK, .path_length = 2, .second_length = 2 };
    om_serve(&om, &call);
    cr_assert_eq(reply.error, -EINVAL);
    request = (struct file_request){ .operation = FILE_WALK, .credentials.group_count = 100 };
    om_serve(&om, &call);
    cr_assert_eq(reply.error, -EINVAL);
    as(0, 0);
    cr_assert_eq(ask(12345, 0, "", ""), -ENOSYS);
    cr_assert_eq(ask(0, 0, "", ""), -ENOSYS);
    cr_assert_eq(ask(FILE_WALK, 0, "/etc", ""), -EINVAL);
    cr_assert_eq(ask(FILE_WALK, OM_KEY(77, 2), "x", ""), -ESTALE);
    cr_assert_eq(ask(FILE_WALK, OM_KEY(1, 0xdeadbeef), "x", ""), -ESTALE);
    cr_assert_eq(ask(FILE_DETACH, OM_KEY(1, 1), "", ""), -EINVAL);
    cr_assert_eq(ask(FILE_UNMOUNT, 0, "", ""), -EINVAL);
}

Test(names, names_that_are_too_long_are_refused)
{
    char name[300];

    as(0, 0);
    memset(name, 'n', sizeof name);
    name[255] = '\0';
    cr_assert_eq(make_file(name, 0644), 0);
    name[255] = 'n';
    name[256] = '\0';
    cr_assert_eq(make_file(name, 0644), -ENAMETOOLONG);
    cr_assert_eq(ask(FILE_WALK, 0, name, ""), -ENAMETOOLONG);
    cr_assert_eq(ask(FILE_RENAME, 0, "x", name), -ENOENT);
}

Test(names, dots_are_no_names)
{
    as(0, 0);
    make_directory("d", 0755);
    cr_assert_eq(make_directory(".", 0755), -EEXIST);
    cr_assert_eq(make_directory("d/..", 0755), -EEXIST);
    cr_assert_eq(ask(FILE_RMDIR, 0, "d/.", ""), -EINVAL);
    cr_assert_eq(ask(FILE_RMDIR, 0, "d/..", ""), -ENOTEMPTY);
    cr_assert_eq(ask(FILE_UNLINK, 0, "d/.", ""), -EISDIR);
    cr_assert_eq(ask(FILE_RENAME, 0, "d/.", "e"), -EBUSY);
    cr_assert_eq(ask(FILE_RENAME, 0, "d", ".."), -EBUSY);
    cr_assert_eq(ask(FILE_RMDIR, 0, "", ""), -EBUSY);        /* the root itself, below too */
    cr_assert_eq(ask(FILE_UNLINK, 0, "", ""), -EISDIR);
    cr_assert_eq(make_directory("", 0755), -EEXIST);
    cr_assert_eq(ask(FILE_SYMLINK, 0, "", "x"), -EEXIST);
    cr_assert_eq(ask(FILE_RENAME, 0, "", "x"), -EBUSY);
    cr_assert_eq(ask(FILE_RENAME, 0, "d", ""), -EBUSY);
    request.open.access = FILE_O_WRITE;
    cr_assert_eq(ask(FILE_CREATE, 0, "", ""), -EISDIR);
}

/* Paths ------------------------------------------------------------------------------- */

Test(names, a_path_is_walked_to_its_end)
{
    uint64_t key;

    as(0, 0);
    make_directory("a", 0755);
    make_directory("a/b", 0755);
    make_file("a/b/c", 0644);
    key = key_of("a/b/c");
    cr_assert_eq(key_of("a//b/./c"), key);
    cr_assert_eq(key_of("a/b/../b/c"), key);
    cr_assert_eq(key_of(""), reply.attributes.key);
    cr_assert_eq(ask(FILE_WALK, 0, "a/b/c/d", ""), -ENOTDIR);
    cr_assert_eq(ask(FILE_WALK, 0, "a/x/c", ""), -ENOENT);
    cr_assert_eq(ask(FILE_WALK, 0, "a/b/c/", ""), -ENOTDIR);
    cr_assert_eq(ask(FILE_WALK, 0, "a/b/c/.", ""), -ENOTDIR);
    cr_assert_eq(ask(FILE_WALK, 0, "a/b/", ""), 0);
}

Test(names, above_the_root_the_caller_goes_on_but_not_above_its_own_root)
{
    uint64_t a;

    as(0, 0);
    make_directory("a", 0755);
    make_directory("a/b", 0755);
    a = key_of("a");
    cr_assert_eq(ask(FILE_WALK, 0, "a/../../x/y/", ""), 0);
    expect_rest(FILE_AT_PARENT, "", "../x/y/");
    cr_assert_eq(reply.at.key, OM_KEY(1, om.systems[1]->root));
    request.root = a;
    cr_assert_eq(ask(FILE_WALK, a, "b/../../../b", ""), 0);
    cr_assert_eq(reply.outcome, FILE_DONE);
    cr_assert_eq(reply.attributes.key, key_of("a/b"));
}

Test(names, links_are_followed_inside_or_given_back)
{
    uint64_t file;

    as(0, 0);
    make_directory("d", 0755);
    make_file("d/f", 0644);
    file = key_of("d/f");
    cr_assert_eq(ask(FILE_SYMLINK, 0, "rel", "d"), 0);
    cr_assert_eq(ask(FILE_SYMLINK, 0, "d/abs", "/etc"), 0);
    cr_assert_eq(ask(FILE_WALK, 0, "rel/f", ""), 0);
    expect_rest(FILE_AT_SYMLINK, "d", "f");
    request.flags = FILE_FOLLOW_INSIDE;
    cr_assert_eq(ask(FILE_WALK, 0, "rel/f", ""), 0);
    cr_assert_eq(reply.attributes.key, file);
    request.flags = FILE_FOLLOW_INSIDE;
    cr_assert_eq(ask(FILE_WALK, 0, "rel/abs/passwd/", ""), 0);
    expect_rest(FILE_AT_SYMLINK, "/etc", "passwd/");
    cr_assert_eq(reply.at.key, key_of("d"));
    cr_assert_eq(ask(FILE_WALK, 0, "rel", ""), 0);      /* the last one: not without FILE_FOLLOW */
    cr_assert(S_ISLNK(reply.attributes.mode));
    request.flags = FILE_FOLLOW | FILE_FOLLOW_INSIDE;
    cr_assert_eq(ask(FILE_WALK, 0, "rel", ""), 0);
    cr_assert(S_ISDIR(reply.attributes.mode));
    request.flags = FILE_FOLLOW_INSIDE;
    cr_assert_eq(ask(FILE_WALK, 0, "rel/", ""), 0);
    cr_assert(S_ISDIR(reply.attributes.mode));
    cr_assert_eq(ask(FILE_WALK, 0, "d/abs/", ""), 0);
    expect_rest(FILE_AT_SYMLINK, "/etc", ".");
    cr_assert_eq(ask(FILE_READLINK, 0, "d/abs", ""), 0);
    cr_assert(reply_size == 4 && memcmp(reply_body, "/etc", 4) == 0);
    cr_assert_eq(ask(FILE_READLINK, 0, "d", ""), -EINVAL);
}

Test(names, links_in_a_ring_end_with_an_error)
{
    as(0, 0);
    ask(FILE_SYMLINK, 0, "a", "b");
    ask(FILE_SYMLINK, 0, "b", "a");
    request.flags = FILE_FOLLOW | FILE_FOLLOW_INSIDE;
    cr_assert_eq(ask(FILE_WALK, 0, "a", ""), -ELOOP);
    request.links_followed = 40;
    cr_assert_eq(ask(FILE_WALK, 0, "a/x", ""), -ELOOP);
    cr_assert_eq(open_path("a", FILE_O_READ), -ELOOP);
}

/* Permissions ------------------------------------------------------------------------- */

Test(names, permissions_count_for_everybody_but_root)
{
    as(0, 0);
    make_directory("d", 0700);
    make_file("d/f", 0644);
    make_file("shut", 0600);
    chmod_path("", 0777);
    as(1000, 100);
    cr_assert_eq(ask(FILE_WALK, 0, "d/f", ""), -EACCES);
    cr_assert_eq(make_file("d/g", 0644), -EACCES);
    cr_assert_eq(ask(FILE_UNLINK, 0, "d/f", ""), -EACCES);
    cr_assert_eq(open_path("shut", FILE_O_READ), -EACCES);
    cr_assert_eq(open_path("shut", FILE_O_PATH), 0);
    request.walk.mode = 4;
    cr_assert_eq(ask(FILE_WALK, 0, "shut", ""), -EACCES);
    cr_assert_eq(chmod_path("shut", 0777), -EPERM);
    cr_assert_eq(make_file("mine", 0400), 0);
    cr_assert_eq(open_path("mine", FILE_O_READ), 0);
    cr_assert_eq(open_path("mine", FILE_O_WRITE), -EACCES);
    as(0, 0);
    cr_assert_eq(open_path("mine", FILE_O_READ | FILE_O_WRITE), 0);
    cr_assert_eq(open_path("mine", FILE_O_EXECUTE), -EACCES);
    cr_assert_eq(open_path("d", FILE_O_READ | FILE_O_WRITE), -EISDIR);
}

Test(names, a_write_takes_the_set_uid_bit_away_unless_root_writes)
{
    as(0, 0);
    chmod_path("", 0777);
    as(1000, 100);
    make_file("f", 0777);
    chmod_path("f", 06777);
    as(0, 0);
    request.flags = FILE_OPENED;
    request.setattr.valid = FILE_SET_MTIME_NOW;
    cr_assert_eq(ask(FILE_SETATTR, 0, "f", ""), 0);
    cr_assert_eq(reply.attributes.mode & 07777, 06777);
    as(1001, 100);
    request.flags = FILE_OPENED;
    request.setattr.valid = FILE_SET_MTIME_NOW;
    cr_assert_eq(ask(FILE_SETATTR, 0, "f", ""), 0);
    cr_assert_eq(reply.attributes.mode & 07777, 0777);
}

Test(names, groups_count)
{
    as(0, 0);
    make_file("f", 0640);
    request.setattr.valid = FILE_SET_GID;
    request.setattr.gid = 77;
    cr_assert_eq(ask(FILE_SETATTR, 0, "f", ""), 0);
    as(1000, 100);
    cr_assert_eq(open_path("f", FILE_O_READ), -EACCES);
    request.credentials.group_count = 2;
    request.credentials.groups[1] = 77;
    cr_assert_eq(open_path("f", FILE_O_READ), 0);
    cr_assert_eq(open_path("f", FILE_O_WRITE), -EACCES);
}

Test(names, in_a_sticky_directory_only_owners_remove)
{
    as(0, 0);
    make_directory("tmp", 01777);
    chmod_path("tmp", 01777);
    as(1000, 100);
    cr_assert_eq(make_file("tmp/his", 0666), 0);
    as(1001, 100);
    cr_assert_eq(make_file("tmp/hers", 0666), 0);
    cr_assert_eq(ask(FILE_UNLINK, 0, "tmp/his", ""), -EPERM);
    cr_assert_eq(ask(FILE_RENAME, 0, "tmp/his", "tmp/x"), -EPERM);
    cr_assert_eq(ask(FILE_RENAME, 0, "tmp/hers", "tmp/his"), -EPERM);
    cr_assert_eq(ask(FILE_UNLINK, 0, "tmp/hers", ""), 0);
    as(0, 0);
    cr_assert_eq(ask(FILE_UNLINK, 0, "tmp/his", ""), 0);
}

Test(names, set_uid_bits_go_when_others_might_have_changed_the_file)
{
    as(0, 0);
    make_file("su", 0644);
    request.setattr.valid = FILE_SET_MODE;
    request.setattr.mode = 06777;
    cr_assert_eq(ask(FILE_SETATTR, 0, "su", ""), 0);
    cr_assert_eq(reply.attributes.mode & 07777, 06777);
    cr_assert_eq(open_path("su", FILE_O_WRITE), 0);         /* root may */
    cr_assert_eq(reply.attributes.mode & 07777, 06777);
    as(1000, 100);
    cr_assert_eq(open_path("su", FILE_O_WRITE), 0);
    cr_assert_eq(reply.attributes.mode & 07777, 0777);
    as(0, 0);
    chmod_path("su", 04755);
    request.setattr.valid = FILE_SET_UID;
    request.setattr.uid = 1000;
    cr_assert_eq(ask(FILE_SETATTR, 0, "su", ""), 0);
    cr_assert_eq(reply.attributes.mode & 07777, 0755);
    cr_assert_eq(reply.attributes.uid, 1000);
    as(1000, 100);
    request.setattr.valid = FILE_SET_UID;
    cr_assert_eq(ask(FILE_SETATTR, 0, "su", ""), -EPERM);
    request.setattr.valid = FILE_SET_GID;
    request.setattr.gid = 5;
    cr_assert_eq(ask(FILE_SETATTR, 0, "su", ""), -EPERM);
    request.setattr.valid = FILE_SET_GID;
    request.setattr.gid = 100;
    cr_assert_eq(ask(FILE_SETATTR, 0, "su", ""), 0);
}

Test(names, a_set_gid_directory_hands_its_group_down)
{
    as(0, 0);
    make_directory("d", 0777);
    request.setattr.valid = FILE_SET_GID | FILE_SET_MODE;
    request.setattr.gid = 55;
    request.setattr.mode = 02777;
    cr_assert_eq(ask(FILE_SETATTR, 0, "d", ""), 0);
    as(1000, 100);
    cr_assert_eq(make_file("d/f", 0644), 0);
    cr_assert_eq(reply.attributes.gid, 55);
    cr_assert_eq(make_directory("d/e", 0755), 0);
    cr_assert_eq(reply.attributes.gid, 55);
    cr_assert_eq(reply.attributes.mode & 07777, 02755);
}

Test(names, times_are_set_by_owners_and_to_now_by_writers)
{
    as(0, 0);
    make_file("f", 0666);
    chmod_path("f", 0666);
    as(1000, 100);
    request.setattr.valid = FILE_SET_MTIME;
    request.setattr.mtime = 5;
    cr_assert_eq(ask(FILE_SETATTR, 0, "f", ""), -EPERM);
    request.setattr.valid = FILE_SET_MTIME_NOW | FILE_SET_ATIME_NOW;
    cr_assert_eq(ask(FILE_SETATTR, 0, "f", ""), 0);
    cr_assert_gt(reply.attributes.mtime, 1000000000);
    as(0, 0);
    request.setattr.valid = FILE_SET_MTIME | FILE_SET_ATIME;
    request.setattr.mtime = 5;
    request.setattr.mtime_nanoseconds = 7;
    cr_assert_eq(ask(FILE_SETATTR, 0, "f", ""), 0);
    cr_assert_eq(reply.attributes.mtime, 5);
    cr_assert_eq(reply.attributes.mtime_nanoseconds, 7);
    request.setattr.valid = FILE_SET_MTIME;
    request.setattr.mtime_nanoseconds = 1000000000;
    cr_assert_eq(ask(FILE_SETATTR, 0, "f", ""), -EINVAL);
}

/* Opening ----------------------------------------------------------------------------- */

Test(names, opening_a_file_gives_its_segment)
{
    as(0, 0);
    make_file("f", 0644);
    cr_assert_eq(open_path("f", FILE_O_READ), 0);
    cr_assert_eq(reply.node.port, om.mapper_port);
    cr_assert_eq(reply.node.key, reply.attributes.key);
    cr_assert_eq(open_path("f", FILE_O_READ | FILE_O_DIRECTORY), -ENOTDIR);
    cr_assert_eq(open_path("", FILE_O_READ | FILE_O_DIRECTORY), 0);
    cr_assert_eq(reply.node.port, om.port);
    cr_assert_eq(open_path("none", FILE_O_READ), -ENOENT);
}

Test(names, create_opens_what_is_there_unless_it_must_be_new)
{
    uint64_t key;

    as(0, 0);
    request.open.access = FILE_O_WRITE;
    request.open.mode = 0600;
    cr_assert_eq(ask(FILE_CREATE, 0, "f", ""), 0);
    cr_assert_eq(reply.flags & FILE_CREATED, FILE_CREATED);
    cr_assert_eq(reply.attributes.mode, S_IFREG | 0600);
    key = reply.attributes.key;
    request.open.access = FILE_O_WRITE;
    cr_assert_eq(ask(FILE_CREATE, 0, "f", ""), 0);
    cr_assert_eq(reply.flags & FILE_CREATED, 0);
    cr_assert_eq(reply.attributes.key, key);
    cr_assert_eq(make_file("f", 0644), -EEXIST);
    ask(FILE_CLOSE, key, "", "");
    ask(FILE_CLOSE, key, "", "");
    make_directory("d", 0755);
    request.open.access = FILE_O_WRITE;
    cr_assert_eq(ask(FILE_CREATE, 0, "d", ""), -EISDIR);
    request.open.access = FILE_O_WRITE;
    cr_assert_eq(ask(FILE_CREATE, 0, "new/", ""), -EISDIR);
    request.open.access = FILE_O_WRITE;
    cr_assert_eq(ask(FILE_CREATE, 0, "none/f", ""), -ENOENT);
}

Test(names, create_through_a_link_makes_what_the_link_names)
{
    as(0, 0);
    make_directory("d", 0755);
    ask(FILE_SYMLINK, 0, "l", "d/target");
    ask(FILE_SYMLINK, 0, "away", "/elsewhere");
    cr_assert_eq(make_file("l", 0644), -EEXIST);        /* exclusive: the link itself is there */
    request.open.access = FILE_O_WRITE;
    request.flags = FILE_FOLLOW | FILE_FOLLOW_INSIDE;
    cr_assert_eq(ask(FILE_CREATE, 0, "l", ""), 0);
    cr_assert_eq(reply.attributes.key, key_of("d/target"));
    ask(FILE_CLOSE, key_of("d/target"), "", "");
    request.open.access = FILE_O_WRITE;
    request.flags = FILE_FOLLOW | FILE_FOLLOW_INSIDE;
    cr_assert_eq(ask(FILE_CREATE, 0, "away", ""), 0);
    expect_rest(FILE_AT_SYMLINK, "/elsewhere", "");
}

Test(names, truncating_sets_the_size)
{
    as(0, 0);
    make_file("f", 0644);
    request.setattr.valid = FILE_SET_SIZE;
    request.setattr.size = 12345;
    cr_assert_eq(ask(FILE_SETATTR, 0, "f", ""), 0);
    cr_assert_eq(reply.attributes.size, 12345);
    cr_assert_eq(open_path("f", FILE_O_WRITE | FILE_O_TRUNCATE), 0);
    cr_assert_eq(reply.attributes.size, 0);
}

Test(names, an_open_file_lives_until_its_last_close)
{
    uint64_t key;

    as(0, 0);
    request.open.access = FILE_O_WRITE;
    cr_assert_eq(ask(FILE_CREATE, 0, "f", ""), 0);
    key = reply.attributes.key;
    cr_assert_eq(ask(FILE_OPEN, key, "", ""), 0);
    cr_assert_eq(ask(FILE_UNLINK, 0, "f", ""), 0);
    cr_assert_eq(reply.attributes.links, 0);
    cr_assert_eq(ask(FILE_CLOSE, key, "", ""), 0);
    cr_assert_eq(ask(FILE_GETATTR, key, "", ""), 0);
    cr_assert_eq(ask(FILE_CLOSE, key, "", ""), 0);
    cr_assert_eq(ask(FILE_GETATTR, key, "", ""), -ESTALE);
}

/* Renaming, linking ------------------------------------------------------------------- */

Test(names, rename_and_link_take_two_paths)
{
    uint64_t d;

    as(0, 0);
    make_directory("d", 0755);
    d = key_of("d");
    make_file("f", 0644);
    request.rename.second_key = d;
    cr_assert_eq(ask(FILE_RENAME, 0, "f", "g"), 0);
    key_of("d/g");
    request.rename.second_key = d;
    cr_assert_eq(ask(FILE_LINK, 0, "d/g", "h"), 0);
    cr_assert_eq(reply.attributes.links, 2);
    request.rename.second_key = OM_KEY(9, 9);
    cr_assert_eq(ask(FILE_RENAME, 0, "d/g", "x"), -EXDEV);
    ask(FILE_SYMLINK, 0, "l", "/away");
    cr_assert_eq(ask(FILE_RENAME, 0, "d/g", "l/x"), 0);
    cr_assert_eq(reply.flags & FILE_SECOND, FILE_SECOND);
    expect_rest(FILE_AT_SYMLINK, "/away", "x");
    key_of("d/g");              /* nothing was done */
    cr_assert_eq(ask(FILE_RENAME, 0, "d", "d/inside"), -EINVAL);
    cr_assert_eq(ask(FILE_RENAME, 0, "d/g", "new/"), -ENOTDIR);
    cr_assert_eq(ask(FILE_LINK, 0, "d", "e"), -EPERM);
}

/* Mounting ---------------------------------------------------------------------------- */

Test(names, a_walk_stops_at_a_mount_point)
{
    const struct file_node there = { 0x9999, 42 };

    as(0, 0);
    make_directory("proc", 0755);
    make_file("proc/under", 0644);
    as(1000, 100);
    cr_assert_eq(ask(FILE_MOUNT, 0, "proc", ""), -EPERM);
    as(0, 0);
    request.mount.node = there;
    cr_assert_eq(ask(FILE_MOUNT, 0, "proc", ""), 0);
    cr_assert_eq(ask(FILE_WALK, 0, "proc/self/../x", ""), 0);
    expect_rest(FILE_AT_MOUNT, "", "self/../x");
    cr_assert_eq(reply.at.port, there.port);
    cr_assert_eq(reply.at.key, there.key);
    cr_assert_eq(ask(FILE_WALK, 0, "proc", ""), 0);
    expect_rest(FILE_AT_MOUNT, "", "");
    request.open.access = FILE_O_WRITE;
    cr_assert_eq(ask(FILE_CREATE, 0, "proc/f", ""), 0);
    expect_rest(FILE_AT_MOUNT, "", "f");
    cr_assert_eq(ask(FILE_RMDIR, 0, "proc", ""), -EBUSY);
    cr_assert_eq(ask(FILE_RENAME, 0, "proc", "x"), -EBUSY);
    cr_assert_eq(ask(FILE_MKDIR, 0, "proc", ""), -EEXIST);
    cr_assert_eq(ask(FILE_UNMOUNT, 0, "proc", ""), 0);
    cr_assert_eq(reply.node.key, there.key);
    key_of("proc/under");
    cr_assert_eq(ask(FILE_UNMOUNT, 0, "proc", ""), -EINVAL);
}

Test(names, a_second_tmpfs_is_attached_and_mounted)
{
    struct file_node root;
    uint64_t key;

    as(0, 0);
    make_directory("tmp", 0755);
    cr_assert_eq(ask(FILE_ATTACH, 0, "none", "nonsense"), -ENODEV);
    cr_assert_eq(ask(FILE_ATTACH, 0, "none", "tmpfs,size=abc"), -EINVAL);
    cr_assert_eq(ask(FILE_ATTACH, 0, "disk7", "ext4"), -ENOENT);
    cr_assert_eq(ask(FILE_ATTACH, 0, "none", "tmpfs,size=65536,mode=1777"), 0);
    root = reply.node;
    request.mount.node = root;
    cr_assert_eq(ask(FILE_MOUNT, 0, "tmp", ""), 0);
    cr_assert_eq(ask(FILE_WALK, 0, "tmp/a", ""), 0);
    cr_assert_eq(reply.at.key, root.key);
    request.open.access = FILE_O_WRITE;
    cr_assert_eq(ask(FILE_CREATE, root.key, "a", ""), 0);
    key = reply.attributes.key;
    cr_assert_eq(OM_KEY_SYSTEM(key), 2);
    cr_assert_neq(reply.attributes.device, 1);
    request.rename.second_key = 0;
    cr_assert_eq(ask(FILE_RENAME, root.key, "a", "b"), -EXDEV);
    cr_assert_eq(ask(FILE_DETACH, root.key, "", ""), -EBUSY);
    cr_assert_eq(ask(FILE_CLOSE, key, "", ""), 0);
    cr_assert_eq(ask(FILE_UNMOUNT, 0, "tmp", ""), 0);
    cr_assert_eq(ask(FILE_DETACH, root.key, "", ""), 0);
    cr_assert_eq(ask(FILE_GETATTR, key, "", ""), -ESTALE);
}

Test(names, after_shutdown_nothing_is_served)
{
    as(1000, 100);
    cr_assert_eq(ask(FILE_SHUTDOWN, 0, "", ""), -EPERM);
    as(0, 0);
    make_file("f", 0644);
    cr_assert_eq(ask(FILE_SYNC, 0, "", ""), 0);
    cr_assert_eq(ask(FILE_SHUTDOWN, 0, "", ""), 0);
    cr_assert_eq(ask(FILE_WALK, 0, "f", ""), -EIO);
    cr_assert_eq(ask(FILE_ATTACH, 0, "none", "tmpfs"), -EIO);
}

/* Random requests ----------------------------------------------------------------------- */

static const char *const words[] = { "a", "b", "c", "..", ".", "a/b", "b/c/", "a/../b", "c//a", "",
                                     "l", "l/x", "/a", "a/b/c/d/e", "m", "m/x" };
enum { WORDS = sizeof words / sizeof *words };

static uint64_t known_keys[64];

static uint64_t random_key(unsigned *seed)
{
    switch (rand_r(seed) % 4) {
    case 0:
        return 0;
    case 1:
        return (uint64_t)rand_r(seed) << 32 | (uint64_t)rand_r(seed);
    default:
        return known_keys[rand_r(seed) % 64];
    }
}

/* Whatever is asked for: an answer comes, and the file system is whole (finish checks it). */
Test(names, random_requests_do_no_harm)
{
    unsigned seed = 99, answered = 0;

    for (int round = 0; round < 60000; round++) {
        uint32_t operation = FILE_STATFS + (uint32_t)rand_r(&seed) % 30;
        const char *path = words[rand_r(&seed) % WORDS], *second = words[rand_r(&seed) % WORDS];

        if (operation == FILE_SHUTDOWN || operation == FILE_DETACH || operation == FILE_ATTACH)
            continue;
        as(rand_r(&seed) % 3 == 0 ? 1000 : 0, 0);
        for (size_t i = 0; i < sizeof request.words / sizeof *request.words; i++)
            request.words[i] = rand_r(&seed) % 3 == 0 ? random_key(&seed)
                                                      : (uint64_t)rand_r(&seed) % 512;
        request.flags = (uint16_t)(rand_r(&seed) % 16);
        request.root = random_key(&seed);
        answered += ask(operation, random_key(&seed), path, second) == 0;
        if (reply.error == 0 && reply.outcome == FILE_DONE)
            known_keys[rand_r(&seed) % 64] = reply.attributes.key;
    }
    cr_assert_gt(answered, 1000);
    as(0, 0);
    for (unsigned i = 0; i < OM_MOUNTS_MAX; i++)
        om.mounts[i].at = 0;
}
