/* What om said is not asked again, as long as it is true; files stay open for a while. */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "fake_nucleus.h"

TestSuite(remember, .fini = fake_end, .timeout = 30);

#define TEXT (PLAY + 0x1000)
#define DATA (PLAY + 0x10000)

static uint64_t text(struct program *program, const char *words)
{
    return fake_put_string(program, TEXT, words);
}

static int64_t mode_of(struct program *program, const char *path)
{
    struct stat stat;
    int64_t error = fake_call(program, SYS_stat, text(program, path), DATA);
    fake_get(program, DATA, &stat, sizeof stat);
    return error != 0 ? error : (int64_t)(stat.st_mode & 07777);
}

static int64_t reads(struct program *program, const char *path)
{
    int64_t fd = fake_call(program, SYS_open, text(program, path), O_RDONLY, 0);
    return fd < 0 ? fd : fake_call(program, SYS_close, (uint64_t)fd);
}

static struct program with_file(const char *path)
{
    struct program program = fake_boot();
    fake_file(path + 1, "words", 5, 0644);
    cr_assert_eq(mode_of(&program, path), 0644);
    return program;
}

/* How often om is asked for it. */
#define ASKED(what)                                                                            \
    ({                                                                                         \
        unsigned before = fake_om_requests;                                                    \
        what;                                                                                  \
        fake_om_requests - before;                                                             \
    })

Test(remember, what_is_not_there_is_looked_for_each_time)
{
    struct program program = with_file("/f");
    cr_expect_eq(mode_of(&program, "/g"), -ENOENT);
    fake_file("g", "", 0, 0600);
    cr_expect_eq(mode_of(&program, "/g"), 0600);
}

Test(remember, the_same_question_is_asked_once)
{
    struct program program = with_file("/f");
    cr_expect_eq(ASKED(cr_expect_eq(mode_of(&program, "/f"), 0644)), 0);
    cr_expect_eq(ASKED(cr_expect_eq(mode_of(&program, "f"), 0644)), 1, "by another name");
    cr_expect_eq(ASKED(cr_expect_eq(mode_of(&program, "f"), 0644)), 0);
}

Test(remember, a_change_is_seen_at_once)
{
    struct program program = with_file("/f");
    cr_expect_eq(fake_call(&program, SYS_chmod, text(&program, "/f"), 0600), 0);
    cr_expect_eq(mode_of(&program, "/f"), 0600);
    cr_expect_eq(fake_call(&program, SYS_unlink, text(&program, "/f")), 0);
    cr_expect_eq(mode_of(&program, "/f"), -ENOENT);
}

Test(remember, another_user_is_asked_for_anew)
{
    struct program program = with_file("/f");
    cr_expect_eq(fake_call(&program, SYS_mkdir, text(&program, "/d"), 0700), 0);
    fake_file("d/f", "", 0, 0644);
    cr_expect_eq(mode_of(&program, "/d/f"), 0644);
    cr_expect_eq(fake_call(&program, SYS_setresuid, 5, 5, 5), 0);
    cr_expect_eq(mode_of(&program, "/d/f"), -EACCES);
}

Test(remember, a_relative_name_is_of_its_directory)
{
    struct program program = with_file("/f");
    cr_expect_eq(fake_call(&program, SYS_mkdir, text(&program, "/d"), 0755), 0);
    fake_file("d/f", "", 0, 0600);
    cr_expect_eq(mode_of(&program, "f"), 0644);
    cr_expect_eq(fake_call(&program, SYS_chdir, text(&program, "/d")), 0);
    cr_expect_eq(mode_of(&program, "f"), 0600);
    cr_expect_eq(mode_of(&program, "../f"), 0644);
    cr_expect_eq(fake_call(&program, SYS_chroot, text(&program, "/d")), 0);
    cr_expect_eq(mode_of(&program, "/f"), 0600);
}

Test(remember, an_attribute_of_an_open_file_is_asked_for_once)
{
    struct program program = with_file("/f");
    uint64_t fd = (uint64_t)fake_call(&program, SYS_open, text(&program, "/f"), O_RDONLY, 0);
    struct stat stat;
    cr_expect_eq(ASKED(fake_call(&program, SYS_fstat, fd, DATA)), 1);
    cr_expect_eq(ASKED(fake_call(&program, SYS_fstat, fd, DATA)), 0);
    cr_expect_eq(fake_call(&program, SYS_fchmod, fd, 0400), 0);
    cr_expect_eq(fake_call(&program, SYS_fstat, fd, DATA), 0);
    fake_get(&program, DATA, &stat, sizeof stat);
    cr_expect_eq(stat.st_mode & 07777, 0400);
}

Test(remember, a_file_that_was_read_is_opened_again_without_asking)
{
    struct program program = with_file("/f");
    cr_expect_eq(reads(&program, "/f"), 0);
    cr_expect_eq(ASKED(reads(&program, "/f")), 0);
    fake_pass(NANOSECONDS / 10);
    cr_expect_eq(fake_om_open, 1);
}

Test(remember, not_too_many_files_stay_open)
{
    struct program program = with_file("/f");
    char path[16];
    reads(&program, "/f");
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "/f%d", i);
        fake_file(path + 1, "", 0, 0600);
        reads(&program, path);
    }
    fake_pass(1);
    cr_expect_eq(fake_om_open, 64);
    cr_expect_eq(ASKED(reads(&program, "/f99")), 0);
    cr_expect_gt(ASKED(reads(&program, "/f")), 0, "the oldest was given back");
}

Test(remember, a_file_that_was_written_is_closed_at_once)
{
    struct program program = with_file("/f");
    int64_t fd = fake_call(&program, SYS_open, text(&program, "/f"), O_RDWR, 0);
    cr_expect_eq(fake_call(&program, SYS_close, (uint64_t)fd), 0);
    fake_pass(1);
    cr_expect_eq(fake_om_open, 0);
}

Test(remember, a_file_without_a_name_is_let_go_of)
{
    struct program program = with_file("/f");
    reads(&program, "/f");
    cr_expect_eq(fake_call(&program, SYS_unlink, text(&program, "/f")), 0);
    fake_pass(1);
    cr_expect_eq(fake_om_open, 0);
    cr_expect_eq(reads(&program, "/f"), -ENOENT);
    fake_file("f", "new", 3, 0640);
    cr_expect_eq(mode_of(&program, "/f"), 0640);
}

Test(remember, a_file_whose_owner_shut_it_is_not_opened_by_what_was_kept)
{
    struct program program = with_file("/f");
    cr_expect_eq(fake_call(&program, SYS_setresuid, 5, 5, 0), 0);
    cr_expect_eq(reads(&program, "/f"), 0);
    cr_expect_eq(fake_call(&program, SYS_setresuid, 0, 0, 0), 0);
    cr_expect_eq(fake_call(&program, SYS_chmod, text(&program, "/f"), 0600), 0);
    cr_expect_eq(fake_call(&program, SYS_setresuid, 5, 5, 0), 0);
    cr_expect_eq(reads(&program, "/f"), -EACCES);
}

Test(remember, what_is_kept_does_not_keep_a_file_system_mounted)
{
    struct program program = with_file("/f");
    cr_expect_eq(fake_call(&program, SYS_mkdir, text(&program, "/m"), 0755), 0);
    fake_put_string(&program, DATA, "tmpfs");
    cr_assert_eq(fake_call(&program, SYS_mount, DATA, text(&program, "/m"), DATA, 0, 0), 0);
    cr_expect_eq(fake_call(&program, SYS_close, (uint64_t)fake_call(&program, SYS_open, text(&program, "/m/g"), O_CREAT | O_RDWR, 0600)), 0);
    cr_expect_eq(reads(&program, "/m/g"), 0);
    cr_expect_eq(reads(&program, "/m/g"), 0);
    cr_expect_eq(fake_om_open, 1);
    cr_expect_eq(fake_call(&program, SYS_umount2, text(&program, "/m"), 0), 0);
    cr_expect_eq(mode_of(&program, "/m/g"), -ENOENT);
}

Test(remember, a_new_om_is_asked_everything_again)
{
    struct program program = with_file("/f");
    reads(&program, "/f");
    fake_om_leases_end();
    fake_pass(2 * NANOSECONDS);
    cr_expect_gt(ASKED(mode_of(&program, "/f")), 1, "the watch, and the question");
    cr_expect_eq(ASKED(mode_of(&program, "/f")), 0);
    fake_pass(1);
    cr_expect_eq(fake_om_open, 0);
}

Test(remember, more_names_than_there_is_room_for_are_answered_all_the_same)
{
    struct program program = with_file("/f");
    char path[16];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 700; i++) {
            snprintf(path, sizeof path, "/f%d", i);
            if (round == 0)
                fake_file(path + 1, "", 0, 0600 + (uint32_t)(i & 7));
            cr_expect_eq(mode_of(&program, path), 0600 + (i & 7));
            cr_expect_eq(reads(&program, path), 0);
        }
}
