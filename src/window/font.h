/* Letters: a packaged font, drawn by FreeType into cells of one size (for the console) or side by side (for everything else). */
#ifndef WINDOW_FONT_H
#define WINDOW_FONT_H

#include <stdbool.h>
#include <stdint.h>

#include "canvas.h"

struct font;

/* `pixels`: height of a line, about. Where there is a `problem` NULL is returned, and it says what is wrong. */
struct font *font_open(int pixels, char *problem, int problem_size);
void font_close(struct font *font);             /* NULL does nothing */

int font_cell_width(const struct font *font);
int font_cell_height(const struct font *font);

/* One character in the cell whose corner is at x, y; `cells` 2 for wide ones. What the font does not have is a box. */
void font_draw(struct font *font, struct canvas *canvas, int x, int y, uint32_t character, bool bold, int cells, uint32_t colour);
/* UTF-8, at most `most` cells of it, the rest is left out; returns the width in pixels. */
int font_text(struct font *font, struct canvas *canvas, int x, int y, const char *text, int most, bool bold, uint32_t colour);

#endif
