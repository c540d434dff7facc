/* Descriptors, pipes, paths over mounts and links, /proc. */

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "fake_nucleus.h"

TestSuite(files, .fini = fake_end, .timeout = 30);

#define TEXT (PLAY + 0x1000)
#define DATA (PLAY + 0x10000)

static uint64_t text(struct program *program, const char *words)
{
    return fake_put_string(program, TEXT, words);
}

static int64_t open_file(struct program *program, const char *path, int flags, int mode)
{
    return fake_call(program, SYS_open, text(program, path), (uint64_t)flags, (uint64_t)mode);
}

static int64_t write_text(struct program *program, int64_t fd, const char *words)
{
    fake_put_string(program, DATA, words);
    return fake_call(program, SYS_write, (uint64_t)fd, DATA, strlen(words));
}

static const char *read_text(struct program *program, int64_t fd)
{
    static char words[4096];
    int64_t size = fake_call(program, SYS_read, (uint64_t)fd, DATA, sizeof words - 1);
    cr_assert_geq(size, 0, "read says %lld", (long long)size);
    fake_get(program, DATA, words, (size_t)size);
    words[size] = '\0';
    return words;
}

Test(files, descriptors_that_are_not_there_are_refused)
{
    struct program program = fake_boot();
    cr_expect_eq(fake_call(&program, SYS_read, 77, DATA, 1), -EBADF);
    cr_expect_eq(fake_call(&program, SYS_close, (uint64_t)-1), -EBADF);
    cr_expect_eq(fake_call(&program, SYS_dup2, 0, (uint64_t)-1), -EBADF);
    cr_expect_eq(fake_call(&program, SYS_dup2, 0, 1 << 30), -EBADF);
    cr_expect_eq(fake_call(&program, SYS_dup3, 1, 1, 0), -EINVAL);
    cr_expect_eq(fake_call(&program, SYS_fcntl, 0, F_DUPFD, 1 << 30), -EINVAL);
    cr_expect_eq(fake_call(&program, SYS_lseek, 0, 0, SEEK_SET), -ESPIPE);
}

/* The times of a file after utimensat. */
static struct stat touched(struct program *program, struct timespec access, struct timespec change)
{
    struct timespec times[2] = { access, change };
    struct stat stat;
    fake_put(program, PLAY, times, sizeof times);
    cr_assert_eq(fake_call(program, SYS_utimensat, (uint64_t)AT_FDCWD, text(program, "/f"), PLAY, 0), 0);
    cr_assert_eq(fake_call(program, SYS_stat, text(program, "/f"), DATA), 0);
    fake_get(program, DATA, &stat, sizeof stat);
    return stat;
}

Test(files, each_time_is_set_by_itself_or_left_alone)
{
    struct program program = fake_boot();
    cr_assert_geq(open_file(&program, "/f", O_WRONLY | O_CREAT, 0600), 0);
    struct stat stat = touched(&program, (struct timespec){ 5, 6 }, (struct timespec){ 7, 8 });
    cr_expect(stat.st_atim.tv_sec == 5 && stat.st_atim.tv_nsec == 6 && stat.st_mtim.tv_sec == 7);
    stat = touched(&program, (struct timespec){ 9, 10 }, (struct timespec){ 0, UTIME_OMIT });
    cr_expect(stat.st_atim.tv_sec == 9 && stat.st_mtim.tv_sec == 7 && stat.st_mtim.tv_nsec == 8);
    stat = touched(&program, (struct timespec){ 0, UTIME_OMIT }, (struct timespec){ 11, 0 });
    cr_expect(stat.st_atim.tv_sec == 9 && stat.st_mtim.tv_sec == 11);
    stat = touched(&program, (struct timespec){ 12, 0 }, (struct timespec){ 0, UTIME_NOW });
    cr_expect(stat.st_atim.tv_sec == 12 && stat.st_mtim.tv_sec != 11);
}

Test(files, the_limit_of_descriptors_holds)
{
    struct program program = fake_boot();
    uint64_t limit[2] = { 5, 5 };
    fake_put(&program, PLAY, limit, sizeof limit);
    cr_assert_eq(fake_call(&program, SYS_setrlimit, 7, PLAY), 0);
    cr_expect_eq(fake_call(&program, SYS_dup, 0), 3);
    cr_expect_eq(fake_call(&program, SYS_dup, 0), 4);
    cr_expect_eq(fake_call(&program, SYS_dup, 0), -EMFILE);
}

Test(files, what_is_written_is_read_and_the_offset_is_shared)
{
    struct program program = fake_boot();
    int64_t fd = open_file(&program, "/note", O_CREAT | O_RDWR, 0644);
    cr_assert_eq(fd, 3);
    cr_assert_eq(write_text(&program, fd, "hello world"), 11);
    int64_t copy = fake_call(&program, SYS_dup, (uint64_t)fd);
    cr_assert_eq(fake_call(&program, SYS_lseek, (uint64_t)copy, 6, SEEK_SET), 6);
    cr_assert_str_eq(read_text(&program, fd), "world");
    cr_assert_str_eq(read_text(&program, fd), "");
    cr_assert_eq(fake_call(&program, SYS_lseek, (uint64_t)fd, 0, SEEK_END), 11);
    cr_assert_eq(fake_call(&program, SYS_pread64, (uint64_t)fd, DATA, 5, 0), 5);
    cr_assert_eq(fake_call(&program, SYS_pread64, (uint64_t)fd, DATA, 50, 9), 2);
    cr_assert_eq(fake_call(&program, SYS_pread64, (uint64_t)fd, DATA, 5, 11), 0);
    cr_assert_eq(fake_call(&program, SYS_pread64, (uint64_t)fd, DATA, 5, 1ull << 50), 0);
    cr_assert_eq(fake_call(&program, SYS_pread64, (uint64_t)fd, 0x7000000000, 5, 0), -EFAULT);
    cr_assert_eq(fake_call(&program, SYS_read, (uint64_t)fd, 0x7000000000, 5), 0);
    fake_call(&program, SYS_lseek, (uint64_t)fd, 0, SEEK_SET);
    cr_assert_eq(fake_call(&program, SYS_read, (uint64_t)fd, 0x7000000000, 5), -EFAULT);
    cr_assert_str_eq(read_text(&program, fd), "hello world", "the offset was corrected");
}

Test(files, appending_always_goes_to_the_end)
{
    struct program program = fake_boot();
    int64_t a = open_file(&program, "/log", O_CREAT | O_WRONLY | O_APPEND, 0644);
    int64_t b = open_file(&program, "/log", O_WRONLY | O_APPEND, 0);
    cr_assert_eq(write_text(&program, a, "one "), 4);
    cr_assert_eq(write_text(&program, b, "two "), 4);
    cr_assert_eq(write_text(&program, a, "three"), 5);
    cr_assert_str_eq(read_text(&program, open_file(&program, "/log", O_RDONLY, 0)), "one two three");
}

Test(files, the_limit_of_a_files_size_holds)
{
    struct program program = fake_boot();
    uint64_t limit[2] = { 4, 4 }, action[4] = { (uint64_t)SIG_IGN };
    fake_put(&program, PLAY, limit, sizeof limit);
    fake_call(&program, SYS_setrlimit, 1, PLAY);
    fake_put(&program, PLAY, action, sizeof action);
    fake_call(&program, SYS_rt_sigaction, SIGXFSZ, PLAY, 0, 8);
    int64_t fd = open_file(&program, "/small", O_CREAT | O_WRONLY, 0644);
    cr_expect_eq(write_text(&program, fd, "123456"), 4);
    cr_expect_eq(write_text(&program, fd, "7"), -EFBIG);
}

/* ---- pipes ---- */

static void make_pipe(struct program *program, int fds[2])
{
    cr_assert_eq(fake_call(program, SYS_pipe, PLAY), 0);
    fake_get(program, PLAY, fds, 2 * sizeof *fds);
}

Test(files, a_pipe_without_readers_is_broken)
{
    struct program program = fake_boot();
    int fds[2];
    uint64_t action[4] = { (uint64_t)SIG_IGN };
    make_pipe(&program, fds);
    fake_put(&program, PLAY, action, sizeof action);
    fake_call(&program, SYS_rt_sigaction, SIGPIPE, PLAY, 0, 8);
    fake_call(&program, SYS_close, (uint64_t)fds[0]);
    cr_assert_eq(write_text(&program, fds[1], "x"), -EPIPE);
    action[0] = (uint64_t)SIG_DFL;
    fake_put(&program, PLAY, action, sizeof action);
    fake_call(&program, SYS_rt_sigaction, SIGPIPE, PLAY, 0, 8);
    fake_put_string(&program, DATA, "x");
    fake_call(&program, SYS_write, (uint64_t)fds[1], DATA, 1);
    cr_assert_eq(fake_where(&program), FAKE_GONE);
}

Test(files, a_pipe_without_writers_ends)
{
    struct program program = fake_boot();
    int fds[2];
    make_pipe(&program, fds);
    write_text(&program, fds[1], "last words");
    fake_call(&program, SYS_close, (uint64_t)fds[1]);
    cr_assert_str_eq(read_text(&program, fds[0]), "last words");
    cr_assert_str_eq(read_text(&program, fds[0]), "");
}

Test(files, a_full_pipe_makes_its_writer_wait_and_small_writes_are_whole)
{
    struct program program = fake_boot();
    int fds[2];
    make_pipe(&program, fds);
    cr_assert_gt(fake_call(&program, SYS_fork), 0);
    struct program child = fake_newest();
    cr_assert_eq(fake_call(&program, SYS_write, (uint64_t)fds[1], DATA, 65000), 65000);
    cr_assert_eq(fake_call(&program, SYS_write, (uint64_t)fds[1], DATA, 4000), FAKE_BLOCKED);
    cr_assert_eq(fake_call(&child, SYS_read, (uint64_t)fds[0], DATA, 1000), 1000);
    cr_assert_eq(fake_where(&program), FAKE_WAITS, "there is no room for all of it yet");
    cr_assert_eq(fake_call(&child, SYS_read, (uint64_t)fds[0], DATA, 64000), 64000);
    cr_assert_eq(fake_result(&program), 4000);
}

Test(files, a_bad_address_loses_no_byte_of_a_pipe)
{
    struct program program = fake_boot();
    int fds[2];
    make_pipe(&program, fds);
    write_text(&program, fds[1], "kept");
    cr_assert_eq(fake_call(&program, SYS_read, (uint64_t)fds[0], 0x7000000000, 4), -EFAULT);
    cr_assert_str_eq(read_text(&program, fds[0]), "kept");
}

Test(files, who_does_not_want_to_wait_does_not)
{
    struct program program = fake_boot();
    int fds[2];
    make_pipe(&program, fds);
    fake_call(&program, SYS_fcntl, (uint64_t)fds[0], F_SETFL, O_NONBLOCK);
    cr_assert_eq(fake_call(&program, SYS_read, (uint64_t)fds[0], DATA, 4), -EAGAIN);
}

Test(files, poll_waits_for_any_of_its_files_or_for_the_time)
{
    struct program program = fake_boot();
    int fds[2];
    make_pipe(&program, fds);
    fake_call(&program, SYS_fork);
    struct program child = fake_newest();
    struct pollfd polled[2] = { { fds[0], POLLIN, 0 }, { 0, POLLIN, 0 } };
    fake_put(&program, PLAY, polled, sizeof polled);
    cr_assert_eq(fake_call(&program, SYS_poll, PLAY, 2, 0), 0);
    cr_assert_eq(fake_call(&program, SYS_poll, PLAY, 2, 100), FAKE_BLOCKED);
    fake_pass(NANOSECONDS);
    cr_assert_eq(fake_result(&program), 0);
    cr_assert_eq(fake_call(&program, SYS_poll, PLAY, 2, (uint64_t)-1), FAKE_BLOCKED);
    write_text(&child, fds[1], "x");
    cr_assert_eq(fake_result(&program), 1);
    fake_get(&program, PLAY, polled, sizeof polled);
    cr_assert_eq(polled[0].revents, POLLIN);
    cr_assert_eq(polled[1].revents, 0);
}

/* ---- paths ---- */

Test(files, bad_paths_are_refused)
{
    struct program program = fake_boot();
    static char longest[4200];
    memset(longest, 'a', sizeof longest - 1);
    cr_expect_eq(open_file(&program, "", O_RDONLY, 0), -ENOENT);
    cr_expect_eq(open_file(&program, "/none", O_RDONLY, 0), -ENOENT);
    cr_expect_eq(open_file(&program, longest, O_RDONLY, 0), -ENAMETOOLONG);
    cr_expect_eq(open_file(&program, "/", O_WRONLY, 0), -EISDIR);
    open_file(&program, "/plain", O_CREAT | O_WRONLY, 0644);
    cr_expect_eq(open_file(&program, "/plain/x", O_RDONLY, 0), -ENOTDIR);
    cr_expect_eq(open_file(&program, "/plain/", O_RDONLY, 0), -ENOTDIR);
    cr_expect_eq(open_file(&program, "/plain", O_CREAT | O_EXCL | O_WRONLY, 0644), -EEXIST);
    fake_call(&program, SYS_symlink, text(&program, "loop"), fake_put_string(&program, DATA, "/loop"));
    cr_expect_eq(open_file(&program, "/loop", O_RDONLY, 0), -ELOOP);
}

Test(files, links_are_followed_and_the_path_is_known_without_them)
{
    struct program program = fake_boot();
    char path[64];
    cr_assert_eq(fake_call(&program, SYS_mkdir, text(&program, "/real"), 0755), 0);
    cr_assert_eq(fake_call(&program, SYS_mkdir, text(&program, "/real/deep"), 0755), 0);
    fake_call(&program, SYS_symlink, text(&program, "/real"), fake_put_string(&program, DATA, "/link"));
    fake_call(&program, SYS_symlink, text(&program, "../real/deep"),
              fake_put_string(&program, DATA, "/real/up"));
    cr_assert_eq(fake_call(&program, SYS_chdir, text(&program, "/link/up")), 0);
    cr_assert_eq(fake_call(&program, SYS_getcwd, DATA, 64), 11);
    fake_get(&program, DATA, path, 11);
    cr_assert_str_eq(path, "/real/deep");
    cr_assert_eq(fake_call(&program, SYS_chdir, text(&program, "../../..")), 0);
    fake_call(&program, SYS_getcwd, DATA, 64);
    fake_get(&program, DATA, path, 2);
    cr_assert_str_eq(path, "/");
}

Test(files, a_file_is_no_place_to_be_whatever_its_mode)
{
    struct program program = fake_boot();
    write_text(&program, open_file(&program, "/file", O_CREAT | O_WRONLY, 0644), "text");
    write_text(&program, open_file(&program, "/program", O_CREAT | O_WRONLY, 0755), "text");
    cr_expect_eq(fake_call(&program, SYS_chdir, text(&program, "/file")), -ENOTDIR);
    cr_expect_eq(fake_call(&program, SYS_chdir, text(&program, "/program")), -ENOTDIR);
    cr_expect_eq(fake_call(&program, SYS_chroot, text(&program, "/file")), -ENOTDIR);
}

static void mount_at(struct program *program, const char *path, const char *type)
{
    fake_call(program, SYS_mkdir, text(program, path), 0755);
    fake_put_string(program, DATA, type);
    cr_assert_eq(fake_call(program, SYS_mount, DATA, TEXT, DATA, 0, 0), 0);
}

Test(files, dots_lead_out_of_what_is_mounted)
{
    struct program program = fake_boot();
    mount_at(&program, "/m", "tmpfs");
    int64_t fd = open_file(&program, "/m/inside", O_CREAT | O_RDWR, 0644);
    cr_assert_geq(fd, 0);
    write_text(&program, open_file(&program, "/outside", O_CREAT | O_WRONLY, 0644), "out");
    cr_assert_str_eq(read_text(&program, open_file(&program, "/m/../outside", O_RDONLY, 0)), "out");
    cr_assert_eq(fake_call(&program, SYS_rename, text(&program, "/m/inside"),
                           fake_put_string(&program, DATA, "/x")), -EXDEV);
    cr_assert_eq(fake_call(&program, SYS_umount2, text(&program, "/m"), 0), -EBUSY);
    fake_call(&program, SYS_close, (uint64_t)fd);
    cr_assert_eq(fake_call(&program, SYS_umount2, text(&program, "/m"), 0), 0);
    cr_assert_eq(open_file(&program, "/m/inside", O_RDONLY, 0), -ENOENT);
}

Test(files, a_changed_root_is_not_left)
{
    struct program program = fake_boot();
    fake_call(&program, SYS_mkdir, text(&program, "/jail"), 0755);
    write_text(&program, open_file(&program, "/secret", O_CREAT | O_WRONLY, 0644), "secret");
    cr_assert_eq(fake_call(&program, SYS_chroot, text(&program, "/jail")), 0);
    cr_assert_eq(fake_call(&program, SYS_chdir, text(&program, "/")), 0);
    cr_assert_eq(open_file(&program, "/secret", O_RDONLY, 0), -ENOENT);
    cr_assert_eq(open_file(&program, "../../secret", O_RDONLY, 0), -ENOENT);
}

Test(files, locks_exclude_and_go_with_their_owner)
{
    struct program program = fake_boot();
    int64_t fd = open_file(&program, "/locked", O_CREAT | O_RDWR, 0644);
    struct flock lock = { .l_type = F_WRLCK, .l_start = 10, .l_len = 10 };
    fake_put(&program, PLAY, &lock, sizeof lock);
    cr_assert_eq(fake_call(&program, SYS_fcntl, (uint64_t)fd, F_SETLK, PLAY), 0);
    fake_call(&program, SYS_fork);
    struct program child = fake_newest();
    cr_assert_eq(fake_call(&child, SYS_fcntl, (uint64_t)fd, F_SETLK, PLAY), -EAGAIN);
    cr_assert_eq(fake_call(&child, SYS_fcntl, (uint64_t)fd, F_GETLK, PLAY), 0);
    fake_get(&child, PLAY, &lock, sizeof lock);
    cr_assert_eq(lock.l_pid, program.pid);
    lock = (struct flock){ .l_type = F_WRLCK, .l_start = 5, .l_len = 10 };
    fake_put(&child, PLAY, &lock, sizeof lock);
    cr_assert_eq(fake_call(&child, SYS_fcntl, (uint64_t)fd, F_SETLKW, PLAY), FAKE_BLOCKED);
    fake_call(&program, SYS_close, (uint64_t)fd);
    cr_assert_eq(fake_result(&child), 0);
}

/* ---- /proc ---- */

Test(files, proc_tells_of_processes_and_the_site)
{
    struct program program = fake_boot();
    char link[64] = "";
    mount_at(&program, "/proc", "proc");
    cr_expect_not_null(strstr(read_text(&program, open_file(&program, "/proc/meminfo", O_RDONLY, 0)),
                              "MemTotal:"));
    cr_expect_not_null(strstr(read_text(&program, open_file(&program, "/proc/self/status", O_RDONLY, 0)),
                              "Pid:\t2\n"));
    cr_expect_str_eq(read_text(&program, open_file(&program, "/proc/sys/kernel/ostype", O_RDONLY, 0)),
                     "Linux\n");
    cr_expect_eq(open_file(&program, "/proc/9999/stat", O_RDONLY, 0), -ENOENT);
    cr_expect_eq(open_file(&program, "/proc/new", O_CREAT | O_WRONLY, 0644), -ENOENT);
    cr_expect_eq(fake_call(&program, SYS_readlink, text(&program, "/proc/self"), DATA, 64), 1);
    int64_t fd = open_file(&program, "/file", O_CREAT | O_RDWR, 0644);
    snprintf(link, sizeof link, "/proc/self/fd/%lld", (long long)fd);
    cr_expect_eq(fake_call(&program, SYS_readlink, text(&program, link), DATA, 64), 5);
    struct stat stat;
    cr_expect_eq(fake_call(&program, SYS_lstat, text(&program, link), PLAY), 0);
    fake_get(&program, PLAY, &stat, sizeof stat);
    cr_expect_eq(stat.st_mode, S_IFLNK | 0700);
    int64_t reader = open_file(&program, "/file", O_RDONLY, 0);
    snprintf(link, sizeof link, "/proc/self/fd/%lld", (long long)reader);
    cr_expect_eq(fake_call(&program, SYS_lstat, text(&program, link), PLAY), 0);
    fake_get(&program, PLAY, &stat, sizeof stat);
    cr_expect_eq(stat.st_mode, S_IFLNK | 0500);
    write_text(&program, fd, "through proc");
    cr_expect_str_eq(read_text(&program, open_file(&program, link, O_RDONLY, 0)), "through proc");
}

Test(files, a_folder_of_proc_is_listed_whole)
{
    struct program program = fake_boot();
    static uint8_t buffer[8192];
    bool self = false, own = false;
    mount_at(&program, "/proc", "proc");
    int64_t fd = open_file(&program, "/proc", O_RDONLY | O_DIRECTORY, 0);
    int64_t size;
    while ((size = fake_call(&program, SYS_getdents64, (uint64_t)fd, DATA, 200)) > 0) {
        fake_get(&program, DATA, buffer, (size_t)size);
        for (int64_t at = 0; at < size;) {
            struct dirent64 *entry = (void *)(buffer + at);
            self |= strcmp(entry->d_name, "self") == 0;
            own |= strcmp(entry->d_name, "2") == 0;
            at += entry->d_reclen;
        }
    }
    cr_assert_eq(size, 0);
    cr_assert(self && own);
}
