/* The terminal is given back as it was; the escape never eats other keys. */

#include "terminal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Feed keys in the given pieces; the result is what the site would read. */
static bool filter(const char *pieces[], char *result)
{
    struct terminal_escape escape = { 0 };
    bool leave = false;
    *result = '\0';
    for (; *pieces != NULL && !leave; pieces++) {
        char keys[64];
        size_t length = strlen(*pieces);
        memcpy(keys, *pieces, length);
        leave = terminal_escape_filter(&escape, keys, &length);
        strncat(result, keys, length);
    }
    return leave;
}

static void expect_keys(const char *pieces[], const char *expected)
{
    char result[256];
    cr_expect_not(filter(pieces, result), "%s", expected);
    cr_expect_str_eq(result, expected);
}

Test(terminal, a_file_is_no_terminal)
{
    struct termios saved;
    int fd = open("/dev/null", O_RDWR);
    cr_expect_eq(terminal_make_raw(fd, &saved), -1);
    cr_expect_eq(errno, ENOTTY);
    cr_expect_eq(terminal_size(fd).columns, 80);
    cr_expect_eq(terminal_size(fd).rows, 24);
}

Test(terminal, other_keys_pass_unchanged)
{
    expect_keys((const char *[]){ "hello\r\003\032\004\033[A", NULL }, "hello\r\003\032\004\033[A");
}

Test(terminal, the_escape_key_is_sent_by_a_second_key)
{
    expect_keys((const char *[]){ "x\001ay\001\001z", NULL }, "x\001y\001z");
    expect_keys((const char *[]){ "\001", "a", NULL }, "\001");
}

Test(terminal, the_escape_key_before_another_key_is_sent_with_it)
{
    expect_keys((const char *[]){ "\001k", NULL }, "\001k");
    expect_keys((const char *[]){ "\001", "kxyz", NULL }, "\001kxyz");
    expect_keys((const char *[]){ "\001", "k\001", "l", NULL }, "\001k\001l");
}

Test(terminal, the_escape_ends_the_site_however_the_keys_arrive)
{
    char result[256];
    cr_expect(filter((const char *[]){ "ab\001xcd", NULL }, result));
    cr_expect_str_eq(result, "ab");
    cr_expect(filter((const char *[]){ "ab\001", "x", NULL }, result));
    cr_expect_str_eq(result, "ab");
    cr_expect(filter((const char *[]){ "\001\001\001x", NULL }, result));
    cr_expect_str_eq(result, "\001");
}

Test(terminal, it_is_given_back_as_it_was)
{
    int host, site;
    struct termios before, saved, raw, after;
    cr_assert_eq(openpty(&host, &site, NULL, NULL, &(struct winsize){ .ws_col = 132,
                                                                      .ws_row = 50 }), 0);
    tcgetattr(site, &before);
    cr_assert_eq(terminal_make_raw(site, &saved), 0);
    tcgetattr(site, &raw);
    cr_expect_eq(raw.c_lflag & (ICANON | ECHO | ISIG), 0u);
    cr_expect_eq(raw.c_oflag & OPOST, 0u);
    terminal_restore(site, &saved);
    tcgetattr(site, &after);
    cr_expect_eq(memcmp(&before, &after, sizeof after), 0);
    cr_expect_eq(terminal_size(site).columns, 132);
    cr_expect_eq(terminal_size(site).rows, 50);
}

/* A background process of the terminal's session would be stopped for it. */
Test(terminal, it_is_given_back_from_the_background_too, .timeout = 10)
{
    int host;
    pid_t leader = forkpty(&host, NULL, NULL, NULL);
    if (leader == 0) {
        struct termios saved;
        int status;
        terminal_make_raw(STDIN_FILENO, &saved);
        pid_t background = fork();
        if (background == 0) {
            setpgid(0, 0);
            terminal_restore(STDIN_FILENO, &saved);
            terminal_calm(STDIN_FILENO);
            _exit(0);
        }
        waitpid(background, &status, WUNTRACED);
        tcgetattr(STDIN_FILENO, &saved);
        _exit(WIFEXITED(status) && (saved.c_lflag & ICANON) ? 0 : 1);
    }
    char output[256];
    while (read(host, output, sizeof output) > 0)
        continue;
    int status;
    cr_assert_eq(waitpid(leader, &status, 0), leader);
    cr_expect_eq(status, 0);
}
