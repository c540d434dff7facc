/* Looking at a site live: the connection, the record, the model, and the looker's clock, which may go slower than the site's or stand still. */
#ifndef WINDOW_SHOW_LOOK_H
#define WINDOW_SHOW_LOOK_H

#include <stdbool.h>

#include "show_draw.h"
#include "show_model.h"
#include "show_record.h"

struct show_look {
    const struct show_share *share;
    int socket;                 /* its end is the site's, or that of the looking */
    struct show_record *record;
    struct show_model model;
    struct show_view view;
    int64_t clock;              /* when it was looked last, ns of the host */
};

/* False, having said why not. */
bool show_look_open(struct show_look *look, const char *command, const char *name, int patience);
void show_look_close(struct show_look *look);
/* Read what is new, and go on as long as has passed, so much slower as the view says. */
void show_look_advance(struct show_look *look);
void show_look_speed(struct show_look *look, bool slower);
/* To the next message, and stop there. */
void show_look_step(struct show_look *look);
/* The next actor that is shown is picked. */
void show_look_pick_next(struct show_look *look);

#endif
