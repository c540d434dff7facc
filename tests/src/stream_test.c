/* Streams never block, and leave the flags of the open file alone. */

#include "stream.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

TestSuite(stream, .timeout = 10);

Test(stream, an_empty_pipe_says_not_now_and_a_closed_one_end_of_file)
{
    int fds[2];
    char byte;
    cr_assert_eq(pipe(fds), 0);
    cr_expect_eq(stream_read(fds[0], &byte, 1), -1);
    cr_expect_eq(errno, EAGAIN);
    close(fds[1]);
    cr_expect_eq(stream_read(fds[0], &byte, 1), 0);
}

Test(stream, a_full_pipe_says_not_now_and_a_closed_one_is_broken)
{
    int fds[2];
    static char data[1 << 20];
    signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(pipe(fds), 0);
    ssize_t put, total = 0;
    while ((put = stream_write(fds[1], data, sizeof data)) > 0)
        total += put;
    cr_expect_eq(errno, EAGAIN);
    cr_expect_geq(total, 4096);
    cr_expect_eq(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
    close(fds[0]);
    cr_expect_eq(stream_write(fds[1], data, 1), -1);
    cr_expect_eq(errno, EPIPE);
}

Test(stream, a_quiet_terminal_says_not_now)
{
    int host, site;
    char text[8];
    cr_assert_eq(openpty(&host, &site, NULL, NULL, NULL), 0);
    cr_expect_eq(stream_read(site, text, sizeof text), -1);
    cr_expect_eq(errno, EAGAIN);
    cr_assert_eq(write(host, "ab\n", 3), 3);
    cr_expect_eq(stream_read(site, text, sizeof text), 3);
}

Test(stream, a_stopped_terminal_says_not_now)
{
    int host, site;
    cr_assert_eq(openpty(&host, &site, NULL, NULL, NULL), 0);
    cr_assert_eq(tcflow(site, TCOOFF), 0);
    cr_expect_eq(stream_write(site, "text", 4), -1);
    cr_expect_eq(errno, EAGAIN);
    cr_assert_eq(tcflow(site, TCOON), 0);
    cr_expect_eq(stream_write(site, "text", 4), 4);
}

Test(stream, a_regular_file_is_always_ready)
{
    char path[] = "/tmp/chorus-stream-test-XXXXXX", text[8];
    int fd = mkstemp(path);
    unlink(path);
    cr_expect(stream_is_always_ready(fd));
    cr_expect_eq(stream_write(fd, "abc", 3), 3);
    lseek(fd, 0, SEEK_SET);
    cr_expect_eq(stream_read(fd, text, sizeof text), 3);
    cr_expect_eq(stream_read(fd, text, sizeof text), 0);
    cr_expect_not(stream_is_always_ready(STDIN_FILENO) && isatty(STDIN_FILENO));
}

Test(stream, a_bad_descriptor_is_an_error)
{
    char byte;
    cr_expect_eq(stream_read(999, &byte, 1), -1);
    cr_expect_eq(errno, EBADF);
}
