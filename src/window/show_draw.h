/* The live picture of a site: a moment of the model, drawn. */
#ifndef WINDOW_SHOW_DRAW_H
#define WINDOW_SHOW_DRAW_H

#include <stdbool.h>

#include "canvas.h"
#include "font.h"
#include "show_model.h"

struct show_view {
    struct font *large, *medium, *small;
    unsigned slower;            /* so many times slower than it happens; 1: live */
    bool paused;
    uint32_t picked;            /* an actor; 0: none */
    char site[40];
    /* Where actors were drawn, for the mouse. */
    struct { uint32_t actor; struct box box; } hit[MODEL_ACTORS];
    unsigned hits;
};

/* Letters for that height of the picture. False: problem says what is wrong. */
bool show_view_fonts(struct show_view *view, int height, char *problem, int problem_size);
void show_view_free(struct show_view *view);
void show_draw(struct show_view *view, const struct show_model *model, struct canvas *canvas);
/* The actor that was drawn there, 0: none. */
uint32_t show_hit(const struct show_view *view, int x, int y);

#endif
