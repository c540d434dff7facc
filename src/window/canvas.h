/* A canvas: pixels in memory, and what is drawn on them. A pixel is 0x00RRGGBB; everything outside the canvas is left out. */
#ifndef WINDOW_CANVAS_H
#define WINDOW_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct canvas {
    int width, height;          /* pixels; a row follows the one before it */
    uint32_t *pixels;
};

/* A part of it, [left, right) and [top, bottom); empty if nothing is between. */
struct box {
    int left, top, right, bottom;
};

/* False: no memory, or too large. What was there is gone. */
bool canvas_resize(struct canvas *canvas, int width, int height);
void canvas_free(struct canvas *canvas);

void canvas_fill(struct canvas *canvas, struct box box, uint32_t colour);
/* Lay colour over what is there: cover 0 leaves it, 255 covers it. */
void canvas_blend(struct canvas *canvas, int x, int y, uint32_t colour, unsigned cover);
void canvas_fill_blend(struct canvas *canvas, struct box box, uint32_t colour, unsigned cover);
/* With round corners of this radius. */
void canvas_fill_round(struct canvas *canvas, struct box box, int radius, uint32_t colour);
void canvas_frame_round(struct canvas *canvas, struct box box, int radius, int thickness, uint32_t colour, uint32_t inside);
/* Smooth; thickness in pixels. */
void canvas_line(struct canvas *canvas, double x0, double y0, double x1, double y1, double thickness, uint32_t colour, unsigned cover);
void canvas_disc(struct canvas *canvas, double x, double y, double radius, uint32_t colour, unsigned cover);
/* Pixels of another picture, row by row. */
void canvas_copy(struct canvas *canvas, int x, int y, const uint32_t *pixels, int width, int height, size_t stride);

/* The smallest box around both. */
struct box box_join(struct box a, struct box b);
bool box_is_empty(struct box box);

#endif
