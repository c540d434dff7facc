/* Terminal: the host's end of the site's console. */

#include "terminal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ESCAPE_KEY = 1 }; /* ^A */

/* What most terminals switch off without harm when it was not on. Not the "leave the other screen"
 * of xterm with its cursor (1049): that would move the cursor of one who never went there. */
static const char calm[] = "\033[?1l\033>"                        /* cursor keys, keypad */
                           "\033[?1000l\033[?1002l\033[?1003l\033[?1006l" /* mouse */
                           "\033[?2004l"                          /* bracketed paste */
                           "\033[?47l"                            /* the other screen */
                           "\033[?25h\033[0m";                    /* cursor, colours */

int terminal_make_raw(int fd, struct termios *ret_saved)
{
    if (tcgetattr(fd, ret_saved) != 0)
        return -1;
    struct termios raw = *ret_saved;
    cfmakeraw(&raw);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    return tcsetattr(fd, TCSADRAIN, &raw);
}

/* A process in the background would be stopped by SIGTTOU for touching the terminal; one that
 * blocks the signal is let through. */
static void block_stop(sigset_t *ret_before)
{
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGTTOU);
    sigprocmask(SIG_BLOCK, &block, ret_before);
}

void terminal_restore(int fd, const struct termios *saved)
{
    int error = errno;
    sigset_t before;
    block_stop(&before);
    tcsetattr(fd, TCSANOW, saved);
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
}

void terminal_calm(int fd)
{
    int error = errno;
    sigset_t before;
    block_stop(&before);
    ssize_t written = write(fd, calm, sizeof calm - 1);
    (void)written; /* the terminal may be gone */
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
}

struct terminal_size terminal_size(int fd)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
        return (struct terminal_size){ .columns = 80, .rows = 24 };
    return (struct terminal_size){ .columns = size.ws_col, .rows = size.ws_row };
}

/* The ^A of another escape than ours is sent on together with the next key, so that ^A k still
 * works in an editor; it is remembered over the end of a read. */
bool terminal_escape_filter(struct terminal_escape *escape, char *keys, size_t *length)
{
    char *end = keys + *length;
    char *to = keys;
    for (char *from = keys; from < end; from++) {
        if (!escape->after_escape) {
            escape->after_escape = *from == ESCAPE_KEY;
            if (!escape->after_escape)
                *to++ = *from;
            continue;
        }
        escape->after_escape = false;
        if (*from == 'x' || *from == 'X') {
            *length = (size_t)(to - keys);
            return true;
        }
        if (*from == 'a' || *from == 'A' || *from == ESCAPE_KEY) {
            *to++ = ESCAPE_KEY;
            continue;
        }
        if (to == from) { /* the ^A came with the last read: make room for it */
            memmove(from + 1, from, (size_t)(end - from));
            from++;
            end++;
        }
        *to++ = ESCAPE_KEY;
        *to++ = *from;
    }
    *length = (size_t)(to - keys);
    return false;
}
