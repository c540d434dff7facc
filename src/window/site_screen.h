/* The screen of a running site, from outside: its memory (src/devices/screen_share.h), and for a window the way back. */
#ifndef WINDOW_SITE_SCREEN_H
#define WINDOW_SITE_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <devices/screen_share.h>

#include "canvas.h"

struct site_screen {
    const struct screen_share *share;   /* changes while we look */
    size_t size;
    int socket;                         /* a window's; -1 */
};

/* Wait until a site of that name listens, `patience` ms at most. */
void site_await(const char *name, int patience);

/* Of the site of that name, NULL: the only one. False, having said why not. `patience`: so many ms may the site need to come up. */
bool site_screen_open(struct site_screen *screen, const char *command, const char *name, bool window, int patience);
void site_screen_close(struct site_screen *screen);

/* What the console printed from byte *at on, at most `most` bytes to `bytes`; *at goes on behind them. Bytes that are no longer there are left out, and
 * *ret_lost says so: then the terminal is to be reset. Returns how many. */
size_t site_screen_read(const struct site_screen *screen, uint64_t *at, void *bytes, size_t most, bool *ret_lost);

/* The picture that is shown now, in the shared memory. False: none. */
struct site_picture {
    const uint32_t *pixels;
    int width, height;
    size_t stride;
};
bool site_screen_picture(const struct site_screen *screen, struct site_picture *picture);
/* What of it has been redrawn since *at, which goes on; all of it if that is not known any more. */
struct box site_screen_damage(const struct site_screen *screen, const struct site_picture *picture, uint64_t *at);

/* A window's messages. False: the site has gone. */
bool site_screen_send(const struct site_screen *screen, const struct screen_message *message);
bool site_screen_await(const struct site_screen *screen, uint64_t seen);
bool site_screen_type(const struct site_screen *screen, const char *bytes, size_t length);

#endif
