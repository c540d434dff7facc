/* The live picture of a site: see show_draw.h.
 *
 *     title, speed                                     | memory by kind
 *     processes                                        |
 *     servers                                          | memory by owner
 *     drivers                                          |
 *     the Nucleus                                      | what the picked actor did
 *     a lane for each CPU: who ran there, and faults as red marks
 *
 * All measures are in units of 1/720 of the height, so that it is as readable on a projector as on a screen.
 */
#include "show_draw.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PAPER   0x0e1318u
#define PANEL   0x161d25u
#define INK     0xe8ecf0u
#define FAINT   0x8695a5u
#define GRID    0x26313du
#define RED     0xff5a5au
#define GREEN   0x69d58cu
#define YELLOW  0xffd866u

#define TRAVEL_TIME  450000000.0        /* ns of the looker's time that a message takes to be seen moving */
#define LANE_TIME    1000000000.0       /* ns of the looker's time that a lane shows */
#define FLASH_TIME   700000000.0        /* a birth, a fault */
#define PIECES        12                /* of an arc */
#define MESSAGES_MOST 128               /* drawn at a time; of more, every second, fourth, ... */

static const uint32_t palette[] = { 0x5fb3f9, 0xffb454, 0x8fd460, 0xd58fff, 0x4fd6be, 0xff8fa3, 0xe6d35a, 0x9db2ff, 0x6fdcff, 0xf2a1e0, 0xb7e07a, 0xffa07a };
#define COLOURS (sizeof palette / sizeof *palette)

/* What one drawing works with. */
struct scene {
    struct show_view *view;
    const struct show_model *model;
    struct canvas *canvas;
    double unit;
    struct box field, side, lanes;
    struct { const struct model_actor *actor; struct box box; } shown[MODEL_ACTORS];
    unsigned shown_count;
};

bool show_view_fonts(struct show_view *view, int height, char *problem, int problem_size)
{
    show_view_free(view);
    view->large = font_open(height / 30 + 4, problem, problem_size);
    view->medium = font_open(height / 44 + 4, problem, problem_size);
    view->small = font_open(height / 60 + 4, problem, problem_size);
    return view->large != NULL && view->medium != NULL && view->small != NULL;
}

void show_view_free(struct show_view *view)
{
    font_close(view->large);
    font_close(view->medium);
    font_close(view->small);
    view->large = view->medium = view->small = NULL;
}

static int px(const struct scene *scene, double units)
{
    return (int)(units * scene->unit + 0.5);
}

/* The looker's time as the record's. */
static double slowed(const struct scene *scene, double time)
{
    return time / scene->view->slower;
}

static uint32_t colour_of(const struct model_actor *actor)
{
    static const unsigned begin[TIERS] = { 4, 0, 7, 2 };

    if (actor->tier == TIER_NUCLEUS)
        return 0x9aa7b5;
    return palette[(begin[actor->tier] + (actor->tier == TIER_PROCESS ? actor->number : actor->place)) % COLOURS];
}

static uint32_t darker(uint32_t colour, unsigned percent)
{
    uint32_t result = 0;

    for (unsigned shift = 0; shift < 24; shift += 8)
        result |= ((colour >> shift & 255) * percent / 100) << shift;
    return result;
}

static void text(struct scene *scene, struct font *font, int x, int y, uint32_t colour, const char *words, int most)
{
    font_text(font, scene->canvas, x, y, words, most, font != scene->view->small, colour);
}

/* A number that fits: 999, 12.3k, 4.5M. */
static void count_words(char *words, size_t size, uint64_t count)
{
    if (count < 10000)
        snprintf(words, size, "%llu", (unsigned long long)count);
    else if (count < 10000000)
        snprintf(words, size, "%.1fk", (double)count / 1e3);
    else
        snprintf(words, size, "%.1fM", (double)count / 1e6);
}

static void bytes_words(char *words, size_t size, uint64_t bytes)
{
    if (bytes < 10u << 20)
        snprintf(words, size, "%.1f MB", (double)bytes / (1 << 20));
    else
        snprintf(words, size, "%llu MB", (unsigned long long)(bytes >> 20));
}

static void time_words(char *words, size_t size, double time)
{
    if (time >= 1e9)
        snprintf(words, size, "%.3g s", time / 1e9);
    else if (time >= 1e6)
        snprintf(words, size, "%.3g ms", time / 1e6);
    else
        snprintf(words, size, "%.3g us", time / 1e3);
}

/* ---- actors ---- */

static bool is_dim(const struct scene *scene, uint32_t actor)
{
    return scene->view->picked != 0 && scene->view->picked != actor;
}

/* How much of a flash is left: 1 at its moment, 0 when it is over. */
static double flash(const struct scene *scene, uint64_t moment)
{
    double age = (double)(int64_t)(scene->model->now - moment), length = slowed(scene, FLASH_TIME);

    return moment == 0 || age < 0 || age >= length ? 0 : 1 - age / length;
}

static void actor_words(struct scene *scene, const struct model_actor *actor, struct box box)
{
    struct font *font = scene->view->medium;
    int room = (box.right - box.left - px(scene, 16)) / font_cell_width(font), length = (int)strlen(actor->name);
    bool small = length > room;
    char words[64], count[16];

    font = small ? scene->view->small : font;
    room = (box.right - box.left - px(scene, 12)) / font_cell_width(font);
    text(scene, font, box.left + px(scene, 8), box.top + px(scene, 6), is_dim(scene, actor->number) ? FAINT : INK, actor->name, room);
    int cpu = show_model_cpu_of(scene->model, actor->number);
    font = scene->view->small;
    if (actor->gone)
        snprintf(words, sizeof words, "%s", actor->killed ? "killed" : "ended");
    else if (cpu >= 0)
        snprintf(words, sizeof words, "on CPU %d", cpu);
    else {
        count_words(count, sizeof count, actor->sent + actor->received);
        snprintf(words, sizeof words, "%s msg", count);
    }
    int x = actor->tier == TIER_NUCLEUS ? box.left + px(scene, 160) : box.left + px(scene, 8);
    text(scene, font, x, box.bottom - font_cell_height(font) - px(scene, actor->tier == TIER_NUCLEUS ? 10 : 3),
         actor->gone ? actor->killed ? RED : FAINT : cpu >= 0 ? YELLOW : FAINT, words, (box.right - box.left - px(scene, 12)) / font_cell_width(font));
}

static void actor_draw(struct scene *scene, const struct model_actor *actor, struct box box)
{
    uint32_t colour = colour_of(actor), edge = colour, inside = darker(colour, 22);
    int thickness = px(scene, 2), radius = px(scene, 8);
    double born = flash(scene, actor->born), fault = flash(scene, actor->last_fault);

    if (show_model_cpu_of(scene->model, actor->number) >= 0) {
        thickness = px(scene, 4);
        edge = YELLOW;
        inside = darker(colour, 40);
    }
    if (is_dim(scene, actor->number)) {
        edge = darker(colour, 35);
        inside = darker(colour, 12);
    }
    if (actor->gone) {
        edge = actor->killed ? RED : FAINT;
        inside = darker(edge, 18);
    }
    if (born > 0) {
        int grow = px(scene, 10 * born);
        canvas_frame_round(scene->canvas, (struct box){ box.left - grow, box.top - grow, box.right + grow, box.bottom + grow }, radius + grow, px(scene, 3),
                           GREEN, PAPER);
    }
    canvas_frame_round(scene->canvas, box, radius, thickness, edge, inside);
    if (actor->supervisor)
        canvas_fill(scene->canvas, (struct box){ box.left + radius, box.bottom - px(scene, 3), box.right - radius, box.bottom }, 0x9aa7b5);
    if (fault > 0)
        canvas_disc(scene->canvas, box.right - px(scene, 12), box.top + px(scene, 12), px(scene, 4 + 5 * fault), RED, 255);
    actor_words(scene, actor, box);
    if (actor->gone && actor->killed) {
        canvas_line(scene->canvas, box.left + radius, box.top + radius, box.right - radius, box.bottom - radius, px(scene, 3), RED, 200);
        canvas_line(scene->canvas, box.right - radius, box.top + radius, box.left + radius, box.bottom - radius, px(scene, 3), RED, 200);
    }
}

/* Rows of a tier, top and height in units, and how many boxes a row has. */
static const struct { double top, height, row; unsigned columns, rows; } tiers[TIERS] = {
    [TIER_PROCESS] = { 66, 58, 70, 6, 3 },
    [TIER_SERVER] = { 296, 64, 0, 5, 1 },
    [TIER_DRIVER] = { 408, 58, 0, 6, 1 },
    [TIER_NUCLEUS] = { 506, 40, 0, 1, 1 },
};

static bool actor_box(const struct scene *scene, const struct model_actor *actor, struct box *box)
{
    unsigned columns = tiers[actor->tier].columns, row = actor->place / columns, column = actor->place % columns;
    double width = (double)(scene->field.right - scene->field.left) / columns, gap = px(scene, 14);

    if (row >= tiers[actor->tier].rows)
        return false;
    int top = px(scene, tiers[actor->tier].top + row * tiers[actor->tier].row);
    *box = (struct box){ scene->field.left + (int)(column * width + gap / 2), top, scene->field.left + (int)((column + 1) * width - gap / 2),
                         top + px(scene, tiers[actor->tier].height) };
    return true;
}

static void actors_place(struct scene *scene)
{
    scene->view->hits = 0;
    for (unsigned i = 0; i < MODEL_ACTORS; i++) {
        const struct model_actor *actor = &scene->model->actors[i];
        struct box box;
        if (actor->number == 0 || !actor_box(scene, actor, &box))
            continue;
        scene->shown[scene->shown_count].actor = actor;
        scene->shown[scene->shown_count++].box = box;
        scene->view->hit[scene->view->hits].actor = actor->number;
        scene->view->hit[scene->view->hits++].box = box;
    }
}

static const struct box *box_of(const struct scene *scene, uint32_t actor)
{
    for (unsigned i = 0; i < scene->shown_count; i++)
        if (scene->shown[i].actor->number == actor)
            return &scene->shown[i].box;
    return NULL;
}

static void tiers_draw(struct scene *scene)
{
    static const char *const names[TIERS] = { "processes", "servers", "drivers", NULL };
    unsigned hidden = 0;
    char words[48];

    for (int tier = 0; tier < TIERS; tier++)
        if (names[tier] != NULL)
            text(scene, scene->view->small, scene->field.left + px(scene, 7), px(scene, tiers[tier].top - 20), FAINT, names[tier], 40);
    for (unsigned i = 0; i < MODEL_ACTORS; i++) {
        struct box box;
        hidden += scene->model->actors[i].number != 0 && !actor_box(scene, &scene->model->actors[i], &box);
    }
    if (hidden > 0) {
        snprintf(words, sizeof words, "and %u more", hidden);
        text(scene, scene->view->small, scene->field.right - px(scene, 130), px(scene, tiers[TIER_PROCESS].top - 20), FAINT, words, 40);
    }
}

/* ---- messages ---- */

static double middle(int a, int b)
{
    return (a + b) / 2.0;
}

/* A port is a notch at the edge of its actor that faces the sender. */
static void port_place(const struct box *to, const struct box *from, uint32_t port, double *ret_x, double *ret_y)
{
    double width = to->right - to->left;

    *ret_x = to->left + width * (0.2 + 0.6 * (port % 8) / 7.0);
    *ret_y = from->top <= to->top ? to->top : to->bottom;
}

/* The way of a message: straight, or between actors side by side an arc above them. */
struct way {
    double x0, y0, x1, y1, xc, yc;
};

static struct way way_of(const struct scene *scene, const struct box *from, const struct box *to, uint32_t port)
{
    struct way way = { .x0 = middle(from->left, from->right), .y0 = from->top < to->top ? from->bottom : from->top };

    port_place(to, from, port, &way.x1, &way.y1);
    way.xc = (way.x0 + way.x1) / 2;
    way.yc = (way.y0 + way.y1) / 2;
    if (from->top == to->top)
        way.yc = from->top - px(scene, 40) - fabs(way.x1 - way.x0) / 12;
    return way;
}

static void way_point(const struct way *way, double part, double *ret_x, double *ret_y)
{
    double a = (1 - part) * (1 - part), b = 2 * part * (1 - part), c = part * part;

    *ret_x = a * way->x0 + b * way->xc + c * way->x1;
    *ret_y = a * way->y0 + b * way->yc + c * way->y1;
}

static void message_draw(struct scene *scene, const struct model_message *message, const struct model_actor *sender)
{
    const struct box *from = box_of(scene, message->from), *to = box_of(scene, message->to);
    double travel = slowed(scene, TRAVEL_TIME), age = (double)(int64_t)(scene->model->now - message->sent);
    bool mine = scene->view->picked == 0 || scene->view->picked == message->from || scene->view->picked == message->to;
    double end = (double)(message->received - message->sent);

    if (from == NULL || to == NULL || from == to || age < 0 || age > (end > travel ? end : travel) + travel / 4 || !mine)
        return;
    struct way way = way_of(scene, from, to, message->port);
    double part = age < travel ? age / travel : 1, x = way.x0, y = way.y0;
    uint32_t colour = sender != NULL ? colour_of(sender) : FAINT;
    for (int piece = 1; piece <= PIECES; piece++) {
        double next_x, next_y;
        way_point(&way, part * piece / PIECES, &next_x, &next_y);
        canvas_line(scene->canvas, x, y, next_x, next_y, px(scene, 2), colour, 110);
        x = next_x;
        y = next_y;
    }
    canvas_fill_round(scene->canvas, (struct box){ (int)way.x1 - px(scene, 5), (int)way.y1 - px(scene, 3), (int)way.x1 + px(scene, 5),
                                                   (int)way.y1 + px(scene, 3) }, 2, colour);
    canvas_disc(scene->canvas, x, y, px(scene, 6), colour, 255);
    canvas_disc(scene->canvas, x, y, px(scene, 2.5), 0xffffff, 255);
}

static void messages_draw(struct scene *scene)
{
    uint64_t count = scene->model->message_count, first = count > MODEL_MESSAGES ? count - MODEL_MESSAGES : 0, begin = count, one_of = 1;
    double travel = slowed(scene, TRAVEL_TIME);

    while (begin > first && (double)(int64_t)(scene->model->now - scene->model->messages[(begin - 1) % MODEL_MESSAGES].sent) < travel)
        begin--;
    while ((count - begin) / one_of > MESSAGES_MOST)
        one_of *= 2;
    for (uint64_t i = begin + (one_of - begin % one_of) % one_of; i < count; i += one_of) {
        const struct model_message *message = &scene->model->messages[i % MODEL_MESSAGES];
        const struct model_actor *sender = NULL;
        for (unsigned k = 0; k < scene->shown_count; k++)
            if (scene->shown[k].actor->number == message->from)
                sender = scene->shown[k].actor;
        message_draw(scene, message, sender);
    }
}

/* ---- CPUs ---- */

/* That of its box; processes that are no longer shown keep theirs. */
static uint32_t lane_colour(const struct scene *scene, uint32_t actor)
{
    static uint32_t last, last_colour;

    if (actor == last)
        return last_colour;
    last = actor;
    last_colour = palette[(4 + actor) % COLOURS];
    for (unsigned k = 0; k < scene->shown_count; k++)
        if (scene->shown[k].actor->number == actor)
            last_colour = colour_of(scene->shown[k].actor);
    return last_colour;
}

static unsigned lane_count(const struct scene *scene)
{
    return scene->model->share->cpus < 4 ? scene->model->share->cpus : 4;
}

static double lane_step(const struct scene *scene)
{
    return lane_count(scene) > 2 ? 24 : 30;
}

/* Where letters begin that stand in the middle of a lane. */
static int lane_text(const struct scene *scene, struct box lane)
{
    return (lane.top + lane.bottom - font_cell_height(scene->view->small)) / 2;
}

static void interval_draw(struct scene *scene, const struct model_interval *interval, struct box lane)
{
    double length = slowed(scene, LANE_TIME), now = (double)scene->model->now, width = lane.right - lane.left;
    double from = ((double)interval->from - now) / length + 1, to = interval->to == 0 ? 1 : ((double)interval->to - now) / length + 1;

    if (to <= 0 || from >= 1)
        return;
    from = from < 0 ? 0 : from;
    struct box box = { lane.left + (int)(from * width), lane.top, lane.left + (int)ceil(to * width), lane.bottom };
    uint32_t colour = lane_colour(scene, interval->actor);
    const char *name = show_record_name(scene->model->record, interval->actor);
    bool dim = is_dim(scene, interval->actor);
    canvas_fill(scene->canvas, box, darker(colour, dim ? 30 : 80));
    int room = (box.right - box.left - px(scene, 4)) / font_cell_width(scene->view->small);
    if (room >= 3)
        text(scene, scene->view->small, box.left + px(scene, 3), lane_text(scene, lane), dim ? FAINT : 0x000000, name, room);
}

static void lanes_draw(struct scene *scene)
{
    char words[64], span[32];
    int left = scene->lanes.left + px(scene, 70);

    canvas_fill(scene->canvas, scene->lanes, PANEL);
    for (unsigned cpu = 0; cpu < lane_count(scene); cpu++) {
        int top = scene->lanes.top + px(scene, 8 + cpu * lane_step(scene));
        struct box lane = { left, top, scene->lanes.right - px(scene, 8), top + px(scene, lane_step(scene) - 4) };
        snprintf(words, sizeof words, "CPU %u", cpu);
        text(scene, scene->view->small, scene->lanes.left + px(scene, 10), lane_text(scene, lane), INK, words, 10);
        canvas_fill(scene->canvas, lane, GRID);
        uint64_t count = scene->model->interval_count, first = count > MODEL_INTERVALS ? count - MODEL_INTERVALS : 0;
        for (uint64_t i = first; i < count; i++)
            if (scene->model->intervals[i % MODEL_INTERVALS].cpu == cpu)
                interval_draw(scene, &scene->model->intervals[i % MODEL_INTERVALS], lane);
    }
    time_words(span, sizeof span, slowed(scene, LANE_TIME));
    snprintf(words, sizeof words, "the last %s", span);
    text(scene, scene->view->small, left, scene->lanes.bottom - font_cell_height(scene->view->small) - px(scene, 4), FAINT, words, 60);
}

/* ---- the side: memory, the picked actor ---- */

static int bar_draw(struct scene *scene, int y, const char *name, uint64_t bytes, uint64_t all, uint32_t colour)
{
    struct font *font = scene->view->small;
    int left = scene->side.left + px(scene, 14), right = scene->side.right - px(scene, 14), width = right - left;
    char words[32];

    bytes_words(words, sizeof words, bytes);
    text(scene, font, left, y, INK, name, 20);
    text(scene, font, right - (int)strlen(words) * font_cell_width(font), y, INK, words, 16);
    y += font_cell_height(font) + px(scene, 2);
    canvas_fill(scene->canvas, (struct box){ left, y, right, y + px(scene, 9) }, GRID);
    if (all > 0)
        canvas_fill(scene->canvas, (struct box){ left, y, left + (int)((double)width * (double)bytes / (double)all), y + px(scene, 9) }, colour);
    return y + px(scene, 15);
}

static int heading(struct scene *scene, int y, const char *words)
{
    text(scene, scene->view->medium, scene->side.left + px(scene, 14), y, INK, words, 24);
    return y + font_cell_height(scene->view->medium) + px(scene, 6);
}

static int memory_by_kind(struct scene *scene, int y)
{
    const struct show_share *share = scene->model->share;
    uint64_t used = share->memory - share->memory_free;
    uint64_t private = used > share->memory_cached ? used - share->memory_cached : 0;

    y = heading(scene, y, "Memory by kind");
    y = bar_draw(scene, y, "actors' own", private, share->memory, palette[1]);
    y = bar_draw(scene, y, "pages of files", share->memory_cached, share->memory, palette[0]);
    return bar_draw(scene, y, "free", share->memory_free, share->memory, darker(GREEN, 60));
}

static int memory_by_owner(struct scene *scene, int y)
{
    bool told[MODEL_ACTORS] = { false };
    uint64_t most = 1;

    y = heading(scene, y + px(scene, 6), "Memory by owner");
    for (int line = 0; line < 7; line++) {
        int best = -1;
        for (int i = 0; i < MODEL_ACTORS; i++)
            if (scene->model->actors[i].memory > 0 && !told[i] && !scene->model->actors[i].gone
                && (best < 0 || scene->model->actors[i].memory > scene->model->actors[best].memory))
                best = i;
        if (best < 0)
            break;
        told[best] = true;
        most = scene->model->actors[best].memory > most ? scene->model->actors[best].memory : most;
        y = bar_draw(scene, y, scene->model->actors[best].name, scene->model->actors[best].memory, most, darker(colour_of(&scene->model->actors[best]), 85));
    }
    return y;
}

static void picked_draw(struct scene *scene, int y)
{
    const struct model_actor *actor = NULL;
    const struct { const char *name; size_t field; } lines[] = { { "sent", offsetof(struct model_actor, sent) },
        { "received", offsetof(struct model_actor, received) }, { "Linux calls", offsetof(struct model_actor, calls) },
        { "page faults", offsetof(struct model_actor, faults) } };
    char words[32];

    for (unsigned i = 0; i < MODEL_ACTORS; i++)
        if (scene->model->actors[i].number == scene->view->picked && scene->view->picked != 0)
            actor = &scene->model->actors[i];
    if (actor == NULL)
        return;
    y = heading(scene, y + px(scene, 6), actor->name);
    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++) {
        uint64_t count;
        memcpy(&count, (const char *)actor + lines[i].field, sizeof count);
        count_words(words, sizeof words, count);
        text(scene, scene->view->small, scene->side.left + px(scene, 14), y, FAINT, lines[i].name, 20);
        text(scene, scene->view->small, scene->side.left + px(scene, 160), y, INK, words, 12);
        y += font_cell_height(scene->view->small);
    }
}

/* ---- the title ---- */

static void title_draw(struct scene *scene)
{
    char words[160], count[16];
    struct font *font = scene->view->large;
    int x = scene->field.left + px(scene, 7);

    snprintf(words, sizeof words, "Chorus %s", scene->view->site);
    text(scene, font, x, px(scene, 6), INK, words, 24);
    x += (int)(strlen(words) + 2) * font_cell_width(font);
    if (scene->view->paused && scene->view->slower > 1)
        snprintf(words, sizeof words, "paused, %u times slower", scene->view->slower);
    else if (scene->view->paused)
        snprintf(words, sizeof words, "paused");
    else if (scene->view->slower == 1)
        snprintf(words, sizeof words, "live");
    else
        snprintf(words, sizeof words, "%u times slower", scene->view->slower);
    text(scene, font, x, px(scene, 6), scene->view->paused ? YELLOW : scene->view->slower == 1 ? GREEN : palette[1], words, 32);
    uint64_t lost = show_record_lost(scene->model->record) + scene->model->missed;
    if (lost > 0) {
        count_words(count, sizeof count, lost);
        snprintf(words, sizeof words, "%s events were too many to be shown", count);
        text(scene, scene->view->small, scene->field.right - px(scene, 400), px(scene, 14), FAINT, words, 48);
    }
}

void show_draw(struct show_view *view, const struct show_model *model, struct canvas *canvas)
{
    struct scene scene = { .view = view, .model = model, .canvas = canvas, .unit = canvas->height / 720.0 };
    int side = px(&scene, 290), lanes = px(&scene, 30 + lane_count(&scene) * lane_step(&scene));

    scene.field = (struct box){ px(&scene, 8), 0, canvas->width - side - px(&scene, 8), canvas->height - lanes };
    scene.side = (struct box){ canvas->width - side, 0, canvas->width, canvas->height - lanes };
    scene.lanes = (struct box){ 0, canvas->height - lanes, canvas->width, canvas->height };
    canvas_fill(canvas, (struct box){ 0, 0, canvas->width, canvas->height }, PAPER);
    canvas_fill(canvas, scene.side, PANEL);
    title_draw(&scene);
    actors_place(&scene);
    tiers_draw(&scene);
    for (int gone = 1; gone >= 0; gone--)       /* who lives may have the place of one who ended */
        for (unsigned i = 0; i < scene.shown_count; i++)
            if (scene.shown[i].actor->gone == gone)
                actor_draw(&scene, scene.shown[i].actor, scene.shown[i].box);
    messages_draw(&scene);
    lanes_draw(&scene);
    picked_draw(&scene, memory_by_owner(&scene, memory_by_kind(&scene, px(&scene, 12))));
}

uint32_t show_hit(const struct show_view *view, int x, int y)
{
    for (unsigned i = 0; i < view->hits; i++)
        if (x >= view->hit[i].box.left && x < view->hit[i].box.right && y >= view->hit[i].box.top && y < view->hit[i].box.bottom)
            return view->hit[i].actor;
    return 0;
}
