/* `chorus display`: a window on a running site, as its monitor, keyboard and mouse.
 *
 * It shows the console, or the framebuffer while somebody inside has it open (Ctrl+Alt+F changes between them), and draws what changed when the
 * site says that something did, at most 60 times a second. Closed, killed or without its X server it leaves the site as it is; another may be opened.
 */
#include <SDL.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../site.h"
#include "console_view.h"
#include "frame.h"
#include "keys.h"
#include "programs.h"
#include "site_screen.h"
#include "wish.h"

#define COMMAND     "chorus display"
#define FRAME_TIME  16          /* ms */
#define WIDTH       1024
#define HEIGHT      768
#define BORDER      0x101418u
#define MARGIN      4           /* pixels around the console */
#define WHEEL_LINES 3
#define PRINT_MOST  (1u << 20)  /* bytes between two drawings */

static const struct option_table table = {
    .command = COMMAND,
    .usage = "[OPTION...]",
    .summary = "Open a window on a running site: its console, or its framebuffer while that is used.",
    .notes = "Shift+PageUp and the wheel look back, Ctrl+Shift+V inserts what was copied,\n"
             "Ctrl+Alt+F changes between console and framebuffer. The site does not depend on it.",
    .entries = wish_entries,
};

static struct {
    struct site_screen screen;
    struct frame frame;
    struct font *font;
    struct console_view *view;
    struct canvas canvas;
    uint64_t console_at, damage_at;
    uint64_t answer_from;           /* what was printed before has been answered, or never will be */
    bool mute;                      /* the terminal's answers are not passed on */
    bool picture_shown;             /* and not the console */
    bool console_wished;            /* though there is a picture */
    struct site_picture picture;    /* that was drawn last */
    struct box picture_box;         /* where */
    bool redraw;                    /* all of it */
    bool swallow_text;              /* the text of a key that was taken otherwise */
    Uint32 drawn_at;
} self;

/* ---- drawing ---- */

static void answer(void *cookie, const char *bytes, size_t length)
{
    (void)cookie;
    if (!self.mute)
        site_screen_type(&self.screen, bytes, length);
}

/* As many columns and rows as the window has room for; the site is told, and says when it is so. */
static void console_fit(void)
{
    int width, height;

    frame_size(&self.frame, &width, &height);
    width -= 2 * MARGIN;
    height -= 2 * MARGIN;
    int columns = width / font_cell_width(self.font), rows = height / font_cell_height(self.font);
    canvas_resize(&self.canvas, width, height);
    self.redraw = true;
    if (!self.screen.share->window_decides || columns < 1 || rows < 1)
        return;
    site_screen_send(&self.screen, &(struct screen_message){ .kind = SCREEN_RESIZE, .columns = (uint16_t)columns, .rows = (uint16_t)rows });
}

static void console_take(void)
{
    static uint8_t piece[65536];
    size_t length, total = 0;
    bool lost;

    console_view_resize(self.view, (int)self.screen.share->columns, (int)self.screen.share->rows);
    while (total < PRINT_MOST && (length = site_screen_read(&self.screen, &self.console_at, piece, sizeof piece, &lost)) > 0) {
        if (lost)
            console_view_reset(self.view);
        /* Beside the host's terminal, which answers by itself, we are silent. */
        self.mute = self.console_at <= self.answer_from || !self.screen.share->window_decides;
        console_view_print(self.view, piece, length);
        total += length;
    }
    self.mute = false;
}

static void console_draw(void)
{
    struct box box = console_view_draw(self.view, &self.canvas, self.redraw);
    const char *title = console_view_title(self.view);

    if (self.redraw)
        frame_fill(&self.frame, BORDER);
    frame_show(&self.frame, self.canvas.pixels, self.canvas.width, self.canvas.height, (size_t)self.canvas.width * 4, box, MARGIN, MARGIN);
    if (*title != '\0' && strcmp(title, SDL_GetWindowTitle(self.frame.window)) != 0)
        SDL_SetWindowTitle(self.frame.window, title);
}

/* Where the picture is in the window: as it is if there is room, larger by whole numbers, or smaller. */
static struct box picture_place(const struct site_picture *picture)
{
    int width, height;

    frame_size(&self.frame, &width, &height);
    double scale = SDL_min((double)width / picture->width, (double)height / picture->height);
    if (scale > 1)
        scale = (int)scale;
    int w = (int)(picture->width * scale), h = (int)(picture->height * scale), x = (width - w) / 2, y = (height - h) / 2;
    return (struct box){ x, y, x + w, y + h };
}

static void picture_draw(const struct site_picture *picture)
{
    struct box damage = site_screen_damage(&self.screen, picture, &self.damage_at), place = picture_place(picture);
    bool other = memcmp(picture, &self.picture, sizeof *picture) != 0;

    if (self.redraw || other) {
        frame_fill(&self.frame, 0);
        damage = (struct box){ 0, 0, picture->width, picture->height };
    }
    self.picture = *picture;
    self.picture_box = place;
    if (box_is_empty(damage))
        return;
    if (place.right - place.left == picture->width)
        frame_show(&self.frame, picture->pixels, picture->width, picture->height, picture->stride, damage, place.left, place.top);
    else
        frame_show_scaled(&self.frame, picture->pixels, picture->width, picture->height, picture->stride, place);
}

static void draw(void)
{
    struct site_picture picture = { 0 };
    bool shown = site_screen_picture(&self.screen, &picture) && !self.console_wished;

    self.drawn_at = SDL_GetTicks();     /* when it began: what it takes is part of the frame's time */
    console_take();
    if (shown != self.picture_shown)
        self.redraw = true;
    self.picture_shown = shown;
    if (shown)
        picture_draw(&picture);
    else
        console_draw();
    self.redraw = false;
}

/* The site says that something changed. What changes while we draw and pause is drawn the next time. */
static bool draw_news(void)
{
    Uint32 since = SDL_GetTicks() - self.drawn_at;

    if (since < FRAME_TIME)
        SDL_Delay(FRAME_TIME - since);
    uint64_t seen = self.screen.share->changes;
    draw();
    return site_screen_await(&self.screen, seen);
}

/* ---- keyboard ---- */

static void input_send(unsigned device, uint16_t type, uint16_t code, int32_t value)
{
    struct screen_message message = { .kind = SCREEN_INPUT, .count = 2, .events = {
        { .device = (uint16_t)device, .type = type, .code = code, .value = value }, { .device = (uint16_t)device, .type = EV_SYN } } };

    site_screen_send(&self.screen, &message);
}

static unsigned modifiers_of(Uint16 modifiers)
{
    return (modifiers & KMOD_SHIFT ? CONSOLE_SHIFT : 0) | (modifiers & KMOD_LALT ? CONSOLE_ALT : 0) | (modifiers & KMOD_CTRL ? CONSOLE_CONTROL : 0);
}

static void paste(void)
{
    char *text = SDL_GetClipboardText();

    for (char *at = text; at != NULL && *at != '\0'; at++)
        if (*at == '\n')
            *at = '\r';
    if (text != NULL)
        site_screen_type(&self.screen, text, strlen(text));
    SDL_free(text);
}

/* Keys that are the window's own. */
static bool own_key(const SDL_Keysym *key)
{
    bool control_shift = (key->mod & KMOD_CTRL) && (key->mod & KMOD_SHIFT), control_alt = (key->mod & KMOD_CTRL) && (key->mod & KMOD_ALT);
    int page = (int)self.screen.share->rows - 1;

    if ((key->mod & KMOD_SHIFT) && (key->sym == SDLK_PAGEUP || key->sym == SDLK_PAGEDOWN)) {
        console_view_scroll(self.view, key->sym == SDLK_PAGEUP ? page : -page);
    } else if ((control_shift && key->sym == SDLK_v) || ((key->mod & KMOD_SHIFT) && key->sym == SDLK_INSERT)) {
        paste();
    } else if (control_alt && key->sym == SDLK_f) {
        self.console_wished = !self.console_wished;
        self.redraw = true;
    } else {
        return false;
    }
    return true;
}

static void key_pressed(const SDL_KeyboardEvent *event)
{
    const SDL_Keysym *key = &event->keysym;
    unsigned modifiers = modifiers_of(key->mod), meaning;
    uint16_t code = key_of_scancode(key->scancode);

    self.swallow_text = false;
    if (own_key(key)) {
        self.swallow_text = true;
        return;
    }
    if (code != 0)
        input_send(SCREEN_KEYBOARD, EV_KEY, code, event->repeat ? 2 : 1);
    if (key_of_console(key->sym, &meaning)) {
        console_view_key(self.view, meaning, modifiers);
    } else if ((modifiers & (CONSOLE_CONTROL | CONSOLE_ALT)) && key->sym >= ' ' && key->sym < 127 && !(key->mod & (KMOD_MODE | KMOD_RALT))) {
        console_view_character(self.view, (uint32_t)key->sym, modifiers);
        self.swallow_text = true;
    }
}

/* What the host's keyboard layout makes of keys. */
static void text_typed(const char *text)
{
    if (!self.swallow_text)
        site_screen_type(&self.screen, text, strlen(text));
    console_view_scroll(self.view, -CONSOLE_SCROLL_BACK);
}

/* ---- mouse ---- */

static int32_t within(int at, int from, int to)
{
    int64_t range = to > from ? to - from : 1, value = (int64_t)(at - from) * SCREEN_MOUSE_RANGE / range;

    return (int32_t)(value < 0 ? 0 : value >= SCREEN_MOUSE_RANGE ? SCREEN_MOUSE_RANGE - 1 : value);
}

static void mouse_moved(int x, int y)
{
    struct box box = self.picture_box;
    struct screen_message message = { .kind = SCREEN_INPUT, .count = 3, .events = {
        { .device = SCREEN_MOUSE, .type = EV_ABS, .code = ABS_X, .value = within(x, box.left, box.right) },
        { .device = SCREEN_MOUSE, .type = EV_ABS, .code = ABS_Y, .value = within(y, box.top, box.bottom) },
        { .device = SCREEN_MOUSE, .type = EV_SYN } } };

    if (!box_is_empty(box))
        site_screen_send(&self.screen, &message);
}

static void button_changed(const SDL_MouseButtonEvent *event)
{
    static const uint16_t codes[] = { [SDL_BUTTON_LEFT] = BTN_LEFT, [SDL_BUTTON_MIDDLE] = BTN_MIDDLE, [SDL_BUTTON_RIGHT] = BTN_RIGHT };

    if (event->button < sizeof codes / sizeof *codes)
        input_send(SCREEN_MOUSE, EV_KEY, codes[event->button], event->state == SDL_PRESSED);
}

static void wheel_turned(int clicks)
{
    input_send(SCREEN_MOUSE, EV_REL, REL_WHEEL, clicks);
    if (!self.picture_shown)
        console_view_scroll(self.view, clicks * WHEEL_LINES);
}

/* ---- all of it ---- */

static void window_changed(const SDL_WindowEvent *event)
{
    switch (event->event) {
    case SDL_WINDOWEVENT_SIZE_CHANGED: console_fit(); break;
    case SDL_WINDOWEVENT_EXPOSED: self.redraw = true; break;
    case SDL_WINDOWEVENT_FOCUS_GAINED:
    case SDL_WINDOWEVENT_FOCUS_LOST: console_view_focus(self.view, event->event == SDL_WINDOWEVENT_FOCUS_GAINED); break;
    default: return;
    }
}

/* False: it is over. */
static bool event_do(const SDL_Event *event)
{
    if (event->type == self.frame.news)
        return draw_news();
    switch (event->type) {
    case SDL_QUIT: return false;
    case SDL_KEYDOWN: key_pressed(&event->key); break;
    case SDL_KEYUP:
        if (key_of_scancode(event->key.keysym.scancode) != 0)
            input_send(SCREEN_KEYBOARD, EV_KEY, key_of_scancode(event->key.keysym.scancode), 0);
        return true;
    case SDL_TEXTINPUT: text_typed(event->text.text); break;
    case SDL_MOUSEMOTION: mouse_moved(event->motion.x, event->motion.y); return true;
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP: button_changed(&event->button); return true;
    case SDL_MOUSEWHEEL: wheel_turned(event->wheel.y); break;
    case SDL_WINDOWEVENT: window_changed(&event->window); break;
    default: return true;
    }
    draw();
    return true;
}

static int run(void)
{
    SDL_Event event;

    SDL_StartTextInput();
    console_fit();
    if (!draw_news())
        return 0;
    do
        frame_wait(&self.frame, self.screen.socket, -1, &event);
    while (event_do(&event));
    return 0;
}

static bool window_open(void)
{
    char problem[120];

    self.font = font_open(FONT_PIXELS, problem, sizeof problem);
    if (self.font == NULL) {
        fprintf(stderr, COMMAND ": %s\n", problem);
        return false;
    }
    int columns = self.screen.share->has_console ? (int)self.screen.share->columns : 80, rows = self.screen.share->has_console ? (int)self.screen.share->rows : 25;
    self.view = console_view_create(self.font, columns, rows, answer, NULL);
    if (self.view == NULL) {
        fprintf(stderr, COMMAND ": no memory\n");
        return false;
    }
    bool decides = self.screen.share->window_decides || !self.screen.share->has_console;
    return frame_open(&self.frame, COMMAND, "Chorus", decides ? WIDTH : columns * font_cell_width(self.font) + 2 * MARGIN,
                      decides ? HEIGHT : rows * font_cell_height(self.font) + 2 * MARGIN, true);
}

int program_display(char **argv)
{
    struct wish wish = { 0 };
    char **rest;
    enum options_verdict verdict = options_parse(&table, &wish, argv, &rest);

    if (verdict != OPTIONS_GO_ON)
        return verdict == OPTIONS_HELPED ? 0 : SITE_MISUSED;
    if (!site_screen_open(&self.screen, COMMAND, wish.site, true, wish_patience(&wish)))
        return 1;
    self.answer_from = wish.wait ? 0 : self.screen.share->console_head;
    int status = window_open() ? run() : 1;
    if (status != 0 && wish.wait)
        fprintf(stderr, COMMAND ": the site runs without a window; 'chorus stop' ends it\n");
    console_view_free(self.view);
    canvas_free(&self.canvas);
    font_close(self.font);
    if (self.frame.window != NULL)
        frame_close(&self.frame);
    site_screen_close(&self.screen);
    return status;
}
