/* The system console as it looks: bytes that were printed, as a terminal shows them.
 *
 * The terminal's state is libvterm's; this draws its cells, those that changed, and keeps what scrolled away. What the terminal answers (where the cursor is)
 * and what keys mean to it comes out by `answer`.
 */
#ifndef WINDOW_CONSOLE_VIEW_H
#define WINDOW_CONSOLE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "canvas.h"
#include "font.h"

#define CONSOLE_SCROLL_BACK 5000        /* lines kept */

struct console_view;

enum console_key {
    CONSOLE_ENTER, CONSOLE_TAB, CONSOLE_BACKSPACE, CONSOLE_ESCAPE, CONSOLE_UP, CONSOLE_DOWN, CONSOLE_LEFT, CONSOLE_RIGHT, CONSOLE_INSERT,
    CONSOLE_DELETE, CONSOLE_HOME, CONSOLE_END, CONSOLE_PAGE_UP, CONSOLE_PAGE_DOWN, CONSOLE_FUNCTION, /* + n for F<n> */
};
enum { CONSOLE_SHIFT = 1, CONSOLE_ALT = 2, CONSOLE_CONTROL = 4 };

/* `font` stays the caller's. `answer` may be NULL. NULL: no memory. */
struct console_view *console_view_create(struct font *font, int columns, int rows,
                                         void (*answer)(void *cookie, const char *bytes, size_t length), void *cookie);
void console_view_free(struct console_view *view);      /* NULL does nothing */

/* Forget everything: a new terminal. */
void console_view_reset(struct console_view *view);
void console_view_resize(struct console_view *view, int columns, int rows);
void console_view_print(struct console_view *view, const void *bytes, size_t length);

void console_view_key(struct console_view *view, unsigned key, unsigned modifiers);
void console_view_character(struct console_view *view, uint32_t character, unsigned modifiers);

/* Look back by so many lines (less than 0: forward again). */
void console_view_scroll(struct console_view *view, int lines);
/* The cursor is filled when the keyboard is ours. */
void console_view_focus(struct console_view *view, bool focus);

/* Draw what changed since the last time, all of it if `all`; returns the box that was drawn. The canvas has columns x rows cells, at least; what is
 * beyond them is filled when all is drawn. */
struct box console_view_draw(struct console_view *view, struct canvas *canvas, bool all);

/* The text of a row of the screen, for tests; at most size - 1 bytes. */
void console_view_text(struct console_view *view, int row, char *text, size_t size);
/* What the program calls the window, "" for nothing. */
const char *console_view_title(const struct console_view *view);

#endif
