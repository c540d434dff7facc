/* show-scene FILE.png CPUS SLOWER PICKED: the live picture of a record that is made up, so that it is the same each time: tests/system/pictures_test.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "canvas.h"
#include "picture_file.h"
#include "show_draw.h"
#include "show_model.h"
#include "show_record.h"

#define WIDTH  1280
#define HEIGHT 720
#define END    2000000000ull    /* ns */

enum { NUCLEUS = 1, OM, DM, PM, DISK, CONSOLE, SH, LS, GREP, SLEEP };

static struct show_share share;
static struct show_model model;

static void actor(uint32_t number, const char *name, bool supervisor, uint64_t kilobytes)
{
    struct show_actor *one = &share.actors[number];

    one->supervisor = supervisor;
    one->memory = kilobytes << 10;
    strcpy(one->name, name);
    one->actor = number;
}

static void happen(uint64_t time, enum show_kind kind, uint32_t who, uint64_t number, uint32_t thread, unsigned cpu)
{
    share.events[share.head++ % SHOW_EVENTS] = (struct show_event){ .time = time, .kind = (uint16_t)kind, .actor = who, .number = number,
                                                                    .thread = thread, .cpu = (uint16_t)cpu };
}

static void message(uint64_t time, uint64_t way, uint32_t from, uint32_t to, uint32_t port)
{
    static uint64_t number;

    happen(time, SHOW_SENT, from, ++number, 0, 0);
    happen(time + way, SHOW_RECEIVED, to, number, port, 0);
}

/* The same round again and again, which takes `unit`, up to the end. */
static void rounds(uint64_t unit, unsigned cpus)
{
    static const uint32_t runs[] = { LS, PM, OM, PM, SH, DM, GREP, DISK };

    for (uint64_t begin = END - 40 * unit; begin < END; begin += unit) {
        for (unsigned i = 0; i < 8; i++)
            happen(begin + i * unit / 8, SHOW_RUN, runs[i], 0, 0, i % cpus);
        message(begin, unit / 4, LS, PM, 1);
        message(begin + unit / 4, unit / 4, PM, OM, 1);
        message(begin + unit / 2, unit / 4, OM, DISK, 2);
        message(begin + 3 * unit / 4, unit / 8, SH, PM, 1);
        happen(begin + unit / 3, SHOW_CALL, LS, 0, 1, 0);
        happen(begin + unit / 2, SHOW_FAULT, LS, begin, 0, 1);
    }
}

static void site_make(unsigned cpus)
{
    share.cpus = cpus;
    share.memory = 512u << 20;
    share.memory_free = 300u << 20;
    share.memory_cached = 130u << 20;
    actor(NUCLEUS, "Nucleus", true, 0);
    actor(OM, "om", true, 5000);
    actor(DM, "dm", true, 1700);
    actor(PM, "pm", true, 2100);
    actor(DISK, "disk0", false, 2300);
    actor(CONSOLE, "console", false, 900);
    actor(SH, "sh", false, 2000);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    unsigned slower = (unsigned)atoi(argv[3]);
    uint64_t unit = 48000000 / slower;
    struct show_view view = { .slower = slower, .paused = slower > 1, .picked = (uint32_t)atoi(argv[4]), .site = "scene" };
    struct canvas canvas = { 0 };
    char problem[120] = "no memory";

    site_make((unsigned)atoi(argv[2]));
    struct show_record *record = show_record_create(&share);
    if (record == NULL || !canvas_resize(&canvas, WIDTH, HEIGHT) || !show_view_fonts(&view, HEIGHT, problem, sizeof problem)) {
        fprintf(stderr, "show-scene: %s\n", problem);
        return 1;
    }
    show_model_start(&model, record, &share);
    actor(LS, "ls", false, 1900);
    actor(GREP, "grep", false, 1500);
    actor(SLEEP, "sleep", false, 700);
    happen(END - 39 * unit, SHOW_CALL, SLEEP, 0, 1, 0);
    rounds(unit, share.cpus);
    happen(END - 2 * unit, SHOW_GONE, SLEEP, 0, 0, 1);
    message(END - unit / 8, unit, PM, OM, 1);
    show_record_read(record);
    show_model_advance(&model, END, 50 * unit);
    show_draw(&view, &model, &canvas);
    if (!picture_file_write(argv[1], canvas.pixels, canvas.width, canvas.height, (size_t)canvas.width * 4)) {
        perror(argv[1]);
        return 1;
    }
    canvas_free(&canvas);
    show_view_free(&view);
    show_record_free(record);
    return 0;
}
