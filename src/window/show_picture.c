/* `chorus show --picture FILE.png`: the live picture of a site once, without a window. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../options.h"
#include "../site.h"
#include "picture_file.h"
#include "programs.h"
#include "show_look.h"

#define COMMAND "chorus show"
#define WIDTH   1280
#define HEIGHT  720
#define STEP    20000000l       /* ns */
#define STEPS   60              /* messages, so that there is something to be seen */
#define LOOKS   2000

struct wish {
    const char *site, *picture;
    const char *actor;
    unsigned long after, slower;
};

#define FIELD(field) offsetof(struct wish, field)

static const struct option_entry entries[] = {
    OPTION_SITE(FIELD(site)),
    OPTION_SITE_NAME(FIELD(site)),
    { "picture", "FILE.png", "Where to.", option_set_text, FIELD(picture) },
    { "after", "SECONDS", "Look so long first; 1 unless said otherwise.", option_set_seconds, FIELD(after) },
    { "slower", "TIMES", "As if it went so many times slower: 10, 100, ...", option_set_seconds, FIELD(slower) },
    { "actor", "NAME", "Pick this actor out.", option_set_text, FIELD(actor) },
    { 0 },
};
static const struct option_table table = {
    .command = COMMAND " --picture",
    .usage = "FILE.png [OPTION...]",
    .summary = "Write the live picture of a running site to FILE.png.",
    .entries = entries,
};

static void actor_pick(struct show_look *look, const char *name)
{
    for (unsigned i = 0; i < MODEL_ACTORS && name != NULL; i++)
        if (look->model.actors[i].number != 0 && strcmp(look->model.actors[i].name, name) == 0)
            look->view.picked = look->model.actors[i].number;
}

/* Live as long as was asked for; then, slowed down, to the last message whose moving is seen in the middle. */
static void look_long(struct show_look *look, const struct wish *wish)
{
    for (unsigned long left = wish->after * 1000000000ul / STEP; left > 0; left--) {
        nanosleep(&(struct timespec){ .tv_nsec = STEP }, NULL);
        show_look_advance(look);
    }
    while (look->view.slower < wish->slower && look->view.slower < 1000000)
        show_look_speed(look, true);
    if (wish->slower > 1) {
        for (int steps = 0, looks = 0; steps < STEPS && looks < LOOKS; looks++) {
            uint64_t before = look->model.now;
            show_look_step(look);
            if (look->model.now != before)
                steps++;
            else
                nanosleep(&(struct timespec){ .tv_nsec = STEP / 10 }, NULL);
        }
        show_model_advance(&look->model, look->model.now + 200000000u / look->view.slower, 1500000000u);
    }
}

int program_show_picture(char **argv)
{
    struct wish wish = { .after = 1, .slower = 1 };
    struct show_look look;
    struct canvas canvas = { 0 };
    char **rest, problem[120] = "no memory";
    enum options_verdict verdict = options_parse(&table, &wish, argv, &rest);

    if (verdict != OPTIONS_GO_ON)
        return verdict == OPTIONS_HELPED ? 0 : SITE_MISUSED;
    if (!show_look_open(&look, COMMAND, wish.site, 0))
        return 1;
    bool good = canvas_resize(&canvas, WIDTH, HEIGHT) && show_view_fonts(&look.view, HEIGHT, problem, sizeof problem);
    if (good) {
        look_long(&look, &wish);
        actor_pick(&look, wish.actor);
        show_draw(&look.view, &look.model, &canvas);
        good = picture_file_write(wish.picture, canvas.pixels, WIDTH, HEIGHT, WIDTH * 4);
        if (!good)
            snprintf(problem, sizeof problem, "%s: %s", wish.picture, strerror(errno));
    }
    if (!good)
        fprintf(stderr, COMMAND ": %s\n", problem);
    canvas_free(&canvas);
    show_look_close(&look);
    return good ? 0 : 1;
}
