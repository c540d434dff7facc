/* `chorus screenshot`: what a running site shows, as a PNG file. With a window or without: the site keeps what its console printed last, and the terminal
 * that shows it is played through here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../options.h"
#include "../site.h"
#include "console_view.h"
#include "picture_file.h"
#include "programs.h"
#include "site_screen.h"

#define COMMAND "chorus screenshot"

struct wish {
    const char *site;
    bool console, framebuffer;
    const char *operand[2];
};

#define FIELD(field) offsetof(struct wish, field)

static const struct option_entry entries[] = {
    OPTION_SITE(FIELD(site)),
    OPTION_SITE_NAME(FIELD(site)),
    { "console", NULL, "The console, also while the framebuffer is shown.", option_set_flag, FIELD(console) },
    { "framebuffer", NULL, "The framebuffer, and nothing if it is not shown.", option_set_flag, FIELD(framebuffer) },
    { 0 },
};
static const struct option_table table = {
    .command = COMMAND,
    .usage = "FILE.png [OPTION...]",
    .summary = "Write what a running site shows to FILE.png: the framebuffer while somebody inside\nhas it open, otherwise the console.",
    .entries = entries,
    .operands = (const char *const[]){ "FILE.png", NULL },
    .operands_offset = FIELD(operand),
};

static int complain(const char *what, const char *why)
{
    fprintf(stderr, COMMAND ": %s%s%s\n", what, *why != '\0' ? ": " : "", why);
    return 1;
}

static int written(const char *path, const uint32_t *pixels, int width, int height, size_t stride)
{
    if (!picture_file_write(path, pixels, width, height, stride))
        return complain(path, strerror(errno));
    return 0;
}

/* All that is left of what was printed, into a terminal of that size. */
static void console_play(struct console_view *view, const struct site_screen *screen)
{
    static uint8_t piece[65536];
    uint64_t at = 0;
    size_t length;
    bool lost;

    while ((length = site_screen_read(screen, &at, piece, sizeof piece, &lost)) > 0) {
        if (lost)
            console_view_reset(view);
        console_view_print(view, piece, length);
    }
}

static int console_write(const char *path, const struct site_screen *screen)
{
    char problem[120];
    struct canvas canvas = { 0 };
    int columns = (int)screen->share->columns, rows = (int)screen->share->rows, status;
    struct font *font = font_open(FONT_PIXELS, problem, sizeof problem);

    if (font == NULL)
        return complain(problem, "");
    struct console_view *view = console_view_create(font, columns, rows, NULL, NULL);
    if (view == NULL || !canvas_resize(&canvas, columns * font_cell_width(font), rows * font_cell_height(font))) {
        status = complain(strerror(ENOMEM), "");
    } else {
        console_play(view, screen);
        console_view_draw(view, &canvas, true);
        status = written(path, canvas.pixels, canvas.width, canvas.height, (size_t)canvas.width * 4);
    }
    canvas_free(&canvas);
    console_view_free(view);
    font_close(font);
    return status;
}

int program_screenshot(char **argv)
{
    struct wish wish = { 0 };
    struct site_screen screen;
    struct site_picture picture;
    char **rest;
    enum options_verdict verdict = options_parse(&table, &wish, argv, &rest);

    if (verdict != OPTIONS_GO_ON)
        return verdict == OPTIONS_HELPED ? 0 : SITE_MISUSED;
    if (!site_screen_open(&screen, COMMAND, wish.site, false, 0))
        return 1;
    bool shown = site_screen_picture(&screen, &picture);
    int status;
    if (shown && !wish.console)
        status = written(wish.operand[0], picture.pixels, picture.width, picture.height, picture.stride);
    else if (wish.framebuffer)
        status = complain("nobody has the framebuffer open", "");
    else if (screen.share->has_console)
        status = console_write(wish.operand[0], &screen);
    else
        status = complain("the site has no console: its command's streams are not a terminal", "");
    site_screen_close(&screen);
    return status;
}
