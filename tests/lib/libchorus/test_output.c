/* Standard output and error become lines of the log. */
#include "fake_gate.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

static void start(void)
{
    gate_start(NULL);
}
TestSuite(output, .init = start);

static int64_t put(int descriptor, const char *text)
{
    return linux_call(SYS_write, (uint64_t)descriptor, (uint64_t)text, strlen(text), 0, 0, 0);
}

Test(output, other_descriptors_are_closed)
{
    cr_expect_eq(put(3, "x\n"), -EBADF);
    cr_expect_eq(put(0, "x\n"), -EBADF);
    cr_expect_eq(linux_call(SYS_close, 3, 0, 0, 0, 0, 0), -EBADF);
    cr_expect_eq(linux_call(SYS_fstat, -1, 0, 0, 0, 0, 0), -EBADF);
    cr_expect_eq(linux_call(SYS_newfstatat, 1, (uint64_t)"name", 0, AT_EMPTY_PATH, 0, 0), -ENOENT);
    cr_expect_eq(linux_call(SYS_writev, 1, 0, 1025, 0, 0, 0), -EINVAL);
    cr_expect_eq(gate_call_count, 0);
}

Test(output, a_line_is_sent_when_it_ends)
{
    cr_expect_eq(put(1, "one"), 3);
    cr_expect_eq(gate_call_count, 0);
    cr_expect_eq(put(1, " line\nand\n\nmore"), 15);
    cr_expect_str_eq(gate_log, "one line\nand\n");
    log_flush();
    cr_expect_str_eq(gate_log, "one line\nand\nmore\n");
}

Test(output, output_and_error_do_not_mix_within_a_line)
{
    put(1, "out");
    put(2, "error\n");
    put(1, "put\n");
    cr_expect_str_eq(gate_log, "error\noutput\n");
}

Test(output, a_line_without_end_is_sent_in_pieces)
{
    char text[1001];
    memset(text, 'x', 1000);
    text[1000] = 0;
    put(1, text);
    cr_expect_eq(gate_count(CALL_sysLog), 2);
    log_flush();
    cr_expect_eq(strlen(gate_log), 1003);
}

Test(output, parts_are_joined)
{
    struct iovec parts[] = { { "a ", 2 }, { "b", 1 }, { "\n", 1 } };
    cr_expect_eq(linux_call(SYS_writev, 2, (uint64_t)parts, 3, 0, 0, 0), 4);
    cr_expect_str_eq(gate_log, "a b\n");
}

Test(output, stdio_takes_them_for_terminals)
{
    struct stat status;
    cr_expect_eq(linux_call(SYS_newfstatat, 1, (uint64_t)"", (uint64_t)&status, AT_EMPTY_PATH, 0, 0), 0);
    cr_expect(S_ISCHR(status.st_mode));
    cr_expect_eq(linux_call(SYS_ioctl, 1, 0x5401, 0, 0, 0, 0), -ENOTTY);
    cr_expect_eq(linux_call(SYS_read, 0, 0, 10, 0, 0, 0), 0, "input is at its end");
}
