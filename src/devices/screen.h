/* The screen of a site: what the console printed last and the framebuffer's pictures, in memory that others may look at, and the windows
 * that show it.
 *
 * It is always there, with or without a window, so that a picture of it can be taken at any time. Windows are other host processes, which come and
 * go; the site never waits for one. A window that is slow misses bytes and finds that by their number; one that sends nonsense loses its connection.
 */
#ifndef DEVICES_SCREEN_H
#define DEVICES_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus.h"
#include "screen_share.h"

struct screen;

/* What a window's messages end in; in the Nucleus thread. Any may be NULL. */
struct screen_listener {
    void (*typed)(void *cookie, const uint8_t *bytes, size_t length);
    void (*resized)(void *cookie, uint16_t columns, uint16_t rows);
    void (*input)(void *cookie, const struct screen_input *event);
    void *cookie;
};

/* NULL and errno: the host refuses. */
struct screen *screen_create(struct bus *bus, bool with_pictures, const struct screen_listener *listener);
void screen_destroy(struct screen *screen);         /* NULL does nothing */

struct screen_share *screen_share(struct screen *screen);
/* Of the shared memory, for reading only; stays the screen's. */
int screen_descriptor(const struct screen *screen);

/* A window's socket, which is taken over. False and errno: there are too many, or the host refuses. */
bool screen_attach(struct screen *screen, int socket);
unsigned screen_windows(const struct screen *screen);

/* The console printed this. */
void screen_print(struct screen *screen, const void *bytes, size_t length);
void screen_console_size(struct screen *screen, uint16_t columns, uint16_t rows);

/* Room for a picture, zeroed; NULL: there is none, or the screen is without pictures. */
void *screen_picture_allocate(struct screen *screen, uint32_t bytes);
void screen_picture_free(struct screen *screen, void *picture, uint32_t bytes);
/* This picture is shown from now on. NULL: none, and the console is. */
void screen_picture_show(struct screen *screen, const void *picture, uint32_t width, uint32_t height, uint32_t stride);
/* This part of the picture has changed. */
void screen_damage(struct screen *screen, const struct screen_rectangle *rectangle);

#endif
