/* Terminals: a line discipline, a size, and what job control is about: session and foreground group.
 *
 * There is one on the console (hvc0), and one for each pty (its slave).
 */
#ifndef DM_TERMINAL_H
#define DM_TERMINAL_H

#include "dm.h"
#include "line.h"

struct pty;

struct window_size {
    uint16_t rows, columns, x_pixels, y_pixels;
};

struct terminal {
    struct line line;           /* first: the line's hooks get their terminal */
    uint32_t device;
    struct pty *pty;            /* NULL: the console */
    struct window_size size;
    int32_t session;            /* 0: it controls no session */
    int32_t foreground;         /* process group; 0 none */
    unsigned client;            /* whose session that is */
    bool exclusive;
    unsigned opens;             /* open files */
    uint32_t hangups;           /* files opened before the last one are dead */
};

void terminal_init(struct terminal *terminal, uint32_t device, struct pty *pty);

/* Its session loses it and every open file of it is dead; SIGHUP to the session's leader and the foreground group. */
void terminal_hangup(struct terminal *terminal);
void terminal_signal(struct terminal *terminal, int signal);       /* to the foreground group */

/* Ioctls of terminals, also as a pty's master sees them. */
int terminal_ioctl(struct terminal *terminal, bool master, struct dm_call *call);

void terminal_session_end(unsigned client, int32_t sid);
void terminal_client_gone(unsigned client);

/* The console. */
void terminal_start(void);
void terminal_end(void);
struct line *terminal_console_line(void);
void terminal_console_resize(uint16_t columns, uint16_t rows);
void terminal_console_hangup(void);

#endif
