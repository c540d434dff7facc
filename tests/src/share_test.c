/* The process of a shared folder: whatever it is asked, it touches nothing outside of the folder, and does not fall. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <share/share.h>

static char base[] = "/tmp/chorus-share-XXXXXX", path[300];
static struct share *share;
static struct share_answer answer;
#define reply answer.reply
static char reply_body[FILE_BODY_MAX];
static size_t reply_size;

static const char *at(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", base, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(at(name), "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

/* base/in is shared, base/out is not. */
static void start(void)
{
    cr_assert_not_null(mkdtemp(base));
    cr_assert(mkdir(at("in"), 0755) == 0 && mkdir(at("out"), 0755) == 0 && mkdir(at("in/d"), 0755) == 0);
    put("in/file", "inside");
    put("out/secret", "secret");
    cr_assert(symlink("../out", at("in/link")) == 0);
    share = share_new(open(at("in"), O_PATH | O_DIRECTORY | O_CLOEXEC), false);
    cr_assert_not_null(share);
}

static void end(void)
{
    char command[400];
    share_free(share);
    snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", base, base);
    cr_expect_eq(system(command), 0);
}

static int ask_body(uint32_t operation, uint64_t key, struct file_request request, const char *body, size_t size)
{
    request.operation = operation;
    request.key = key;
    share_serve(share, &request, body, size, &answer, reply_body, &reply_size);
    return reply.error;
}

static int ask(uint32_t operation, uint64_t key, const char *name, struct file_request request)
{
    request.path_length = (uint16_t)strlen(name);
    return ask_body(operation, key, request, name, strlen(name));
}

static uint64_t key_of(const char *name)
{
    cr_assert_eq(ask(FILE_WALK, 0, name, (struct file_request){ 0 }), 0, "%s: %d", name, reply.error);
    cr_assert_eq(reply.outcome, FILE_DONE);
    return reply.attributes.key;
}

TestSuite(share, .init = start, .fini = end, .timeout = 60);

Test(share, requests_without_sense_are_refused)
{
    struct file_request none = { 0 };
    cr_expect_eq(ask(0, 0, "", none), -ENOSYS);
    cr_expect_eq(ask(FILE_OPERATION_END, 0, "", none), -ENOSYS);
    cr_expect_eq(ask(FILE_ATTACH, 0, "", none), -ENOSYS);
    cr_expect_eq(ask(FILE_WALK, 12345, "", none), -ESTALE);
    cr_expect_eq(ask(FILE_WALK, 0, "/etc", none), -EINVAL);
    cr_expect_eq(ask_body(FILE_WALK, 0, (struct file_request){ .path_length = 4 }, "fil", 3), -EINVAL);
    cr_expect_eq(ask_body(FILE_WALK, 0, (struct file_request){ .path_length = 4 }, "f\0il", 4), -EINVAL);
    cr_expect_eq(ask_body(FILE_WALK, 0, (struct file_request){ .path_length = 65535 }, reply_body, 65535), -ENAMETOOLONG);
    cr_expect_eq(ask(FILE_READ, key_of("file"), "", none), -EBADF);
    cr_expect_eq(ask(FILE_WRITE, key_of("file"), "", none), -EBADF);
    cr_expect_eq(ask(FILE_CLOSE, key_of("file"), "", none), 0);
    cr_expect_eq(ask(FILE_RMDIR, 0, "", none), -EBUSY);
    cr_expect_eq(ask(FILE_RENAME, 0, "file", (struct file_request){ .rename.flags = 4 }), -EINVAL);
}

Test(share, dots_and_links_are_given_back_at_the_edge)
{
    cr_expect_eq(ask(FILE_WALK, 0, "../out/secret", (struct file_request){ 0 }), 0);
    cr_expect_eq(reply.outcome, FILE_AT_PARENT);
    cr_expect_eq(ask(FILE_WALK, 0, "d/../../out", (struct file_request){ 0 }), 0);
    cr_expect_eq(reply.outcome, FILE_AT_PARENT);
    cr_expect_eq(ask(FILE_OPEN, 0, "link/secret", (struct file_request){ .open.access = FILE_O_READ }), 0);
    cr_expect_eq(reply.outcome, FILE_AT_SYMLINK);
    cr_expect_eq(memcmp(reply_body, "../outsecret", 12), 0);
    cr_expect_eq(ask(FILE_OPEN, 0, "link", (struct file_request){ .open.access = FILE_O_READ }), -ELOOP);
    cr_expect_eq(ask(FILE_WALK, 0, "link", (struct file_request){ .flags = FILE_FOLLOW, .links_followed = FILE_LINKS_MAX }), -ELOOP);
    uint64_t down = key_of("d");
    cr_expect_eq(ask(FILE_WALK, down, "..", (struct file_request){ .root = down }), 0);
    cr_expect_eq(reply.attributes.key, down);
}

Test(share, a_folder_that_became_a_link_or_left_is_not_entered)
{
    uint64_t key = key_of("d");
    char out[300];
    snprintf(out, sizeof out, "%s", at("out/d"));
    cr_assert(rename(at("in/d"), out) == 0);
    cr_expect_eq(ask(FILE_WALK, key, "", (struct file_request){ 0 }), -ESTALE);
    cr_expect_eq(ask(FILE_CREATE, key, "new", (struct file_request){ .open.access = FILE_O_WRITE }), -ESTALE);
    cr_assert(symlink("../out", at("in/d")) == 0);
    cr_expect_eq(ask(FILE_WALK, key, "secret", (struct file_request){ 0 }), -ESTALE);
    cr_expect_eq(ask(FILE_SETATTR, key, "", (struct file_request){ .setattr = { .valid = FILE_SET_MODE, .mode = 0 } }), -ESTALE);
    cr_expect_eq(access(at("out/d/new"), F_OK), -1);
}

Test(share, another_file_under_the_same_name_is_not_the_same_node)
{
    uint64_t key = key_of("file");
    cr_assert(unlink(at("in/file")) == 0);
    put("in/file", "another");
    if (key_of("file") != key)          /* a host without times of birth may use the inode again */
        cr_expect_eq(ask(FILE_OPEN, key, "", (struct file_request){ .open.access = FILE_O_READ }), -ESTALE);
}

Test(share, who_is_not_the_owner_needs_permission)
{
    struct file_request other = { .credentials = { .uid = 1000, .gid = 1000 }, .open.access = FILE_O_WRITE };
    cr_expect_eq(ask(FILE_OPEN, 0, "file", other), -EACCES);
    cr_expect_eq(ask(FILE_UNLINK, 0, "file", other), -EACCES);
    cr_expect_eq(ask(FILE_MKDIR, 0, "new", other), -EACCES);
    other.setattr.valid = FILE_SET_MODE;
    cr_expect_eq(ask(FILE_SETATTR, 0, "file", other), -EPERM);
    cr_expect_eq(ask(FILE_MKNOD, 0, "null", (struct file_request){ .mknod = { S_IFCHR | 0666, 0x100003 } }), -EPERM);
}

/* Requests of all kinds, made of names and keys that mean something, in any order. */
Test(share, random_requests_leave_the_outside_alone)
{
    static const char *const names[] = { "file", "d", "link", "..", ".", "d/x", "d/../file", "link/secret", "new", "d/new/", "../out/secret", "", "a", "//", "d//x" };
    static char body[3000];
    unsigned seed = 4711;
    for (int round = 0; round < 100000; round++) {
        struct file_request request = { .operation = FILE_STATFS + (uint32_t)rand_r(&seed) % (FILE_OPERATION_END - FILE_STATFS + 1),
                                        .key = (uint64_t)rand_r(&seed) % 12, .root = (uint64_t)rand_r(&seed) % 3, .flags = (uint16_t)(rand_r(&seed) % 16) };
        for (unsigned i = 0; i < 7; i++)
            request.words[i] = (uint64_t)rand_r(&seed) % (i == 0 ? 512 : 2000);
        if (rand_r(&seed) % 20 == 0)
            request.words[rand_r(&seed) % 7] = (uint64_t)rand_r(&seed) << 40;
        if (request.operation == FILE_MOUNT)
            continue;
        size_t size = 0;
        for (int i = 0; i < 2; i++) {
            const char *name = names[(unsigned)rand_r(&seed) % (sizeof names / sizeof *names)];
            *(i == 0 ? &request.path_length : &request.second_length) = (uint16_t)strlen(name);
            memcpy(body + size, name, strlen(name));
            size += strlen(name);
        }
        size += (size_t)rand_r(&seed) % 300;
        share_serve(share, &request, body, size, &answer, reply_body, &reply_size);
        cr_assert(reply_size <= FILE_BODY_MAX && reply.error <= 0);
    }
    FILE *secret = fopen(at("out/secret"), "r");
    char text[16] = "";
    struct stat about;
    cr_assert_not_null(secret);
    cr_expect_str_eq(fgets(text, sizeof text, secret), "secret");
    cr_expect_eq(stat(at("out"), &about), 0);
    cr_expect_eq(about.st_nlink, 2);
    cr_expect_eq(access(at("new"), F_OK), -1);
    fclose(secret);
}

/* Pages that the site keeps */

static struct file_request about(uint64_t cache, uint64_t offset, uint64_t length)
{
    struct file_request request = { 0 };
    const struct share_cache words = { .cache = { .port = 7, .key = cache }, .offset = offset, .length = length };
    memcpy(request.words, &words, sizeof words);
    return request;
}

static bool is_changed(uint64_t cache, bool gone)
{
    return answer.changed.count == 1 && answer.changed.cache[0].cache.key == cache && (answer.changed.cache[0].gone != 0) == gone;
}

/* Old enough that any change has another time. */
static void make_old(const char *name)
{
    usleep(60000);
    cr_assert_eq(ask(FILE_GETATTR, key_of(name), "", (struct file_request){ 0 }), 0);
}

Test(share, only_regular_files_have_pages)
{
    cr_assert_eq(mkfifo(at("in/fifo"), 0644), 0);
    cr_expect_eq(ask(SHARE_CACHE, 0, "", about(1, 0, 0)), -EINVAL);
    cr_expect_eq(ask(SHARE_PULL, key_of("fifo"), "", about(1, 0, 4096)), -EINVAL);
    cr_expect_eq(ask(SHARE_PULL, 12345, "", about(1, 0, 4096)), -ESTALE);
    cr_expect_eq(ask(SHARE_UNCACHE, 12345, "", about(1, 0, 0)), -ESTALE);
    cr_expect_eq(ask(SHARE_UNCACHE, key_of("file"), "", about(1, 0, 0)), 0, "there is none, and that is what was wanted");
    cr_expect_eq(ask(SHARE_OPERATION_END, 0, "", about(1, 0, 0)), -ENOSYS);
    cr_expect_eq(ask(SHARE_PULL, key_of("file"), "", about(1, ~0ull, ~0ull)), -EINVAL);
    cr_expect_eq(ask(SHARE_PULL, key_of("d"), "", about(2, 0, 4096)), -EINVAL);
}

Test(share, whoever_looks_at_a_file_that_has_changed_hears_of_its_pages)
{
    uint64_t key = key_of("file");
    cr_assert_eq(ask(SHARE_CACHE, key, "", about(1, 0, 0)), 0);
    make_old("file");
    key_of("file");
    cr_expect_eq(answer.changed.count, 0u);
    cr_assert_eq(ask(SHARE_PULL, key, "", about(1, 0, 4096)), 0);
    cr_expect(reply_size == 6 && memcmp(reply_body, "inside", 6) == 0 && answer.changed.count == 0);
    put("in/file", "changed");
    cr_assert_eq(ask(SHARE_PULL, key, "", about(1, 0, 4096)), 0);
    cr_expect(is_changed(1, false));
    cr_expect_eq(answer.changed.cache[0].size, 7u);
    cr_expect_eq(answer.changed.cache[0].key, key);
    cr_assert_eq(ask(SHARE_UNCACHE, key, "", about(1, 0, 0)), 0);
    key_of("file");
    cr_expect_eq(answer.changed.count, 0u);
}

/* Within one tick of the host's clock two changes have the same time. */
Test(share, a_change_that_has_the_same_time_as_the_last_is_not_overlooked)
{
    uint64_t key = key_of("file");
    put("in/file", "first1");
    cr_assert_eq(ask(SHARE_PULL, key, "", about(1, 0, 4096)), 0);
    struct stat before;
    cr_assert_eq(stat(at("in/file"), &before), 0);
    put("in/file", "second");
    struct timespec times[] = { before.st_atim, before.st_mtim };
    utimensat(AT_FDCWD, at("in/file"), times, 0);
    key_of("file");
    cr_expect(is_changed(1, false));
    cr_assert_eq(ask(SHARE_PULL, key, "", about(1, 0, 4096)), 0);
    cr_expect_eq(memcmp(reply_body, "second", 6), 0);
}

Test(share, what_is_written_by_requests_is_not_in_pages_any_more)
{
    uint64_t key = key_of("file");
    cr_assert_eq(ask(SHARE_CACHE, key, "", about(1, 0, 0)), 0);
    make_old("file");
    cr_assert_eq(ask(FILE_OPEN, 0, "file", (struct file_request){ .open.access = FILE_O_READ | FILE_O_WRITE }), 0);
    cr_expect_eq(reply.flags, FILE_BY_MESSAGE | FILE_MAPPABLE);
    cr_assert_eq(ask_body(FILE_WRITE, key, (struct file_request){ 0 }, "x", 1), 0);
    cr_expect(is_changed(1, false));
    cr_assert_eq(ask_body(FILE_WRITE, key, (struct file_request){ 0 }, "y", 1), 0);
    cr_expect(is_changed(1, false));
    make_old("file");
    cr_assert_eq(ask(FILE_SETATTR, key, "", (struct file_request){ .setattr = { .valid = FILE_SET_SIZE, .size = 6 } }), 0);
    cr_expect(is_changed(1, false));
    make_old("file");
    cr_assert_eq(ask(FILE_OPEN, 0, "file", (struct file_request){ .open.access = FILE_O_WRITE | FILE_O_TRUNCATE }), 0);
    cr_expect(is_changed(1, false));
    cr_expect_eq(answer.changed.cache[0].size, 0u);
}

Test(share, a_server_that_starts_believes_no_page)
{
    cr_assert_eq(ask(SHARE_CACHE, key_of("file"), "", about(1, 0, 0)), 0);
    make_old("file");
    cr_assert_eq(ask(SHARE_BEGIN, 0, "", (struct file_request){ 0 }), 0);
    key_of("file");
    cr_expect(is_changed(1, false));
}

Test(share, a_file_without_a_name_lives_as_long_as_it_is_mapped)
{
    uint64_t key = key_of("file");
    cr_assert_eq(ask(SHARE_CACHE, key, "", about(1, 0, 0)), 0);
    cr_assert_eq(unlink(at("in/file")), 0);
    cr_assert_eq(ask(SHARE_PULL, key, "", about(1, 0, 4096)), 0);
    cr_expect_eq(memcmp(reply_body, "inside", 6), 0);
    put("in/other", "other");
    cr_assert_eq(ask(SHARE_CACHE, key_of("other"), "", about(2, 0, 0)), 0);
    cr_expect(is_changed(1, true), "the next that is mapped tells of it");
    cr_assert_eq(ask(SHARE_UNCACHE, key, "", about(1, 0, 0)), 0);
    cr_expect_eq(ask(SHARE_PULL, key, "", about(1, 0, 4096)), -ESTALE);
}

Test(share, of_many_caches_of_a_file_the_oldest_is_forgotten)
{
    uint64_t key = key_of("file");
    for (uint64_t cache = 1; cache <= 5; cache++)
        cr_assert_eq(ask(SHARE_CACHE, key, "", about(cache, 0, 0)), 0);
    make_old("file");
    put("in/file", "changed");
    key_of("file");
    cr_expect(answer.changed.count == 2 && answer.changed.cache[0].cache.key == 4 && answer.changed.cache[1].cache.key == 5);
    for (uint64_t cache = 5; cache > 0; cache--)
        cr_assert_eq(ask(SHARE_UNCACHE, key, "", about(cache, 0, 0)), 0);
    unlink(at("in/file"));
    cr_expect_eq(ask(SHARE_PULL, key, "", about(1, 0, 4096)), -ESTALE, "nobody holds it");
}
