/* A window with pixels of ours in it, by SDL: what display and show have in common. */
#ifndef WINDOW_FRAME_H
#define WINDOW_FRAME_H

#include <SDL.h>
#include <stdbool.h>

#include "canvas.h"

struct frame {
    SDL_Window *window;
    Uint32 news;                /* the type of an event that is not SDL's: bytes came from the socket */
    int connection;             /* to the X server, -1: it is none, and is looked at often */
};

/* False, having said why not. */
bool frame_open(struct frame *frame, const char *command, const char *title, int width, int height, bool resizable);
void frame_close(struct frame *frame);
void frame_size(const struct frame *frame, int *ret_width, int *ret_height);
/* Show this part of pixels, of which pixel 0, 0 is at x, y of the window. */
void frame_show(struct frame *frame, const uint32_t *pixels, int width, int height, size_t stride, struct box part, int x, int y);
/* The same scaled to fill `to`. */
void frame_show_scaled(struct frame *frame, const uint32_t *pixels, int width, int height, size_t stride, struct box to);
void frame_fill(struct frame *frame, uint32_t colour);

/* Wait for the next event: one of SDL's; `news` when the socket (-1: none) has brought bytes, which are thrown away; SDL_QUIT at its end. After `most` ms
 * at the latest (-1: never) an event of type 0. */
void frame_wait(struct frame *frame, int socket, int most, SDL_Event *event);

#endif
