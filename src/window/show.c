/* `chorus show`: a live picture of a running site, in a window. See show_draw.h for what is in it and docs/display.md for what it means. */
#include <SDL.h>
#include <stdio.h>
#include <string.h>

#include "../site.h"
#include "frame.h"
#include "programs.h"
#include "show_look.h"
#include "wish.h"

#define COMMAND    "chorus show"
#define FRAME_TIME 33           /* ms */
#define WIDTH      1280
#define HEIGHT     720

static const struct option_table table = {
    .command = COMMAND,
    .usage = "[OPTION...]",
    .summary = "Show a running site live: its actors, messages between their ports, who runs on which\nCPU, memory and page faults.",
    .notes = "Space stops and goes on, Right goes to the next message, Down and Up make it slower and\n"
             "faster, Tab or the mouse picks an actor out, Escape lets go of it, Q ends.\n"
             "'chorus show --picture FILE.png [--after SECONDS]' writes one picture instead.",
    .entries = wish_entries,
};

static struct show_look look;
static struct frame frame;
static struct canvas canvas;

static bool resize(void)
{
    int width, height;
    char problem[120];

    frame_size(&frame, &width, &height);
    if (canvas_resize(&canvas, width, height) && show_view_fonts(&look.view, height, problem, sizeof problem))
        return true;
    fprintf(stderr, COMMAND ": no memory or letters\n");
    return false;
}

static void draw(void)
{
    show_look_advance(&look);
    show_draw(&look.view, &look.model, &canvas);
    frame_show(&frame, canvas.pixels, canvas.width, canvas.height, (size_t)canvas.width * 4, (struct box){ 0, 0, canvas.width, canvas.height }, 0, 0);
}

/* False: it is over. */
static bool key_pressed(SDL_Keycode key)
{
    switch (key) {
    case SDLK_q: return false;
    case SDLK_SPACE: look.view.paused = !look.view.paused; break;
    case SDLK_RIGHT: show_look_step(&look); break;
    case SDLK_DOWN:
    case SDLK_MINUS: show_look_speed(&look, true); break;
    case SDLK_UP:
    case SDLK_PLUS: show_look_speed(&look, false); break;
    case SDLK_TAB: show_look_pick_next(&look); break;
    case SDLK_ESCAPE: look.view.picked = 0; break;
    default: break;
    }
    return true;
}

static bool event_do(const SDL_Event *event)
{
    switch (event->type) {
    case SDL_QUIT: return false;
    case SDL_KEYDOWN: return key_pressed(event->key.keysym.sym);
    case SDL_MOUSEBUTTONDOWN: look.view.picked = show_hit(&look.view, event->button.x, event->button.y); return true;
    case SDL_WINDOWEVENT: return event->window.event != SDL_WINDOWEVENT_SIZE_CHANGED || resize();
    default: return true;
    }
}

static void run(void)
{
    SDL_Event event;
    Uint32 next = SDL_GetTicks();

    for (;;) {
        int left = (int)(next - SDL_GetTicks());
        frame_wait(&frame, look.socket, left > 0 ? left : 0, &event);
        if (!event_do(&event))
            return;
        if ((int)(next - SDL_GetTicks()) > 0)
            continue;
        draw();
        next = SDL_GetTicks() + FRAME_TIME;
    }
}

int program_show(char **argv)
{
    struct wish wish = { 0 };
    char **rest;
    enum options_verdict verdict = options_parse(&table, &wish, argv, &rest);

    if (verdict != OPTIONS_GO_ON)
        return verdict == OPTIONS_HELPED ? 0 : SITE_MISUSED;
    if (!show_look_open(&look, COMMAND, wish.site, wish_patience(&wish)))
        return 1;
    bool good = frame_open(&frame, COMMAND, "Chorus, live", WIDTH, HEIGHT, true) && resize();
    if (good)
        run();
    canvas_free(&canvas);
    show_look_close(&look);
    if (frame.window != NULL)
        frame_close(&frame);
    return good ? 0 : 1;
}
