/* Terminal: the host's end of the site's console.
 *
 * The host terminal's mode (raw while an interactive site runs, given back after), its size, and
 * the escape by which a person always gets out. Standard streams that are no terminal: stream.h. */

#ifndef CHORUS_TERMINAL_H
#define CHORUS_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

/* Mode */

/* Make the terminal raw and say how it was. -1 with errno set: it is no terminal. */
int terminal_make_raw(int fd, struct termios *ret_saved);

/* Give the terminal back as it was. Async-signal-safe, and works from any process that has the
 * descriptor, also in the background: the zygote calls it when the site was killed. */
void terminal_restore(int fd, const struct termios *saved);

/* Switch off what programs of a site that was killed may have left on: the other screen, a hidden
 * cursor, mouse reports, bracketed paste. Async-signal-safe. Not for a dumb terminal. */
void terminal_calm(int fd);

/* Size. It changes with SIGWINCH. */

struct terminal_size {
    uint16_t columns, rows;
};

/* 80 by 24 when fd is no terminal or does not know. */
struct terminal_size terminal_size(int fd);

/* Escape: ^A x ends the site, ^A a sends ^A. */

struct terminal_escape {
    bool after_escape; /* ^A was the last key */
};

/* Take the escapes out of keys that were read. The keys stay in place; *length becomes what is
 * left of them, never more than before plus one, so `keys` needs room for one more byte. True:
 * ^A x was among them, the keys before it are left, those after it are gone. */
bool terminal_escape_filter(struct terminal_escape *escape, char *keys, size_t *length);

#endif
