/* The console as it looks: see console_view.h.
 *
 * libvterm says which cells changed; of each row the first and last changed column is noted, and that is what is drawn. While somebody looks back, the
 * rows shown are lines of the scroll-back and then the screen's first ones.
 */
#include "console_view.h"

#include <stdlib.h>
#include <string.h>
#include <vterm.h>

#define FOREGROUND 0xd8d8d8u
#define BACKGROUND 0x101418u
#define ROWS_MOST  1000

/* A line that scrolled away. */
struct line {
    int columns;
    VTermScreenCell cells[];
};

struct console_view {
    struct font *font;
    VTerm *terminal;
    VTermScreen *screen;
    int columns, rows;
    VTermPos cursor;
    bool cursor_shown, focus;
    int changed_from[ROWS_MOST], changed_to[ROWS_MOST]; /* columns, by row; nothing: from >= to */
    struct line *line[CONSOLE_SCROLL_BACK];             /* a ring */
    int line_first, line_count;
    int back;                                           /* lines that we look back */
    char title[128];
    void (*answer)(void *cookie, const char *bytes, size_t length);
    void *cookie;
};

/* ---- what libvterm tells ---- */

static void change(struct console_view *view, int row, int from, int to)
{
    row += view->back;                                  /* where it is shown */
    if (row < 0 || row >= view->rows)
        return;
    if (view->changed_from[row] >= view->changed_to[row]) {
        view->changed_from[row] = from;
        view->changed_to[row] = to;
        return;
    }
    view->changed_from[row] = from < view->changed_from[row] ? from : view->changed_from[row];
    view->changed_to[row] = to > view->changed_to[row] ? to : view->changed_to[row];
}

static void change_all(struct console_view *view)
{
    for (int row = 0; row < view->rows; row++) {
        view->changed_from[row] = 0;
        view->changed_to[row] = view->columns;
    }
}

static int on_damage(VTermRect rect, void *user)
{
    for (int row = rect.start_row; row < rect.end_row; row++)
        change(user, row, rect.start_col, rect.end_col);
    return 1;
}

static int on_move_cursor(VTermPos position, VTermPos old, int visible, void *user)
{
    struct console_view *view = user;

    (void)visible;
    change(view, old.row, old.col, old.col + 1);
    change(view, position.row, position.col, position.col + 1);
    view->cursor = position;
    return 1;
}

static int on_property(VTermProp property, VTermValue *value, void *user)
{
    struct console_view *view = user;

    switch (property) {
    case VTERM_PROP_CURSORVISIBLE:
        view->cursor_shown = value->boolean;
        change(view, view->cursor.row, view->cursor.col, view->cursor.col + 1);
        return 1;
    case VTERM_PROP_TITLE:
        strncpy(view->title, value->string, sizeof view->title - 1);
        return 1;
    default:
        return 1;
    }
}

/* The top line scrolls away. */
static int on_push_line(int columns, const VTermScreenCell *cells, void *user)
{
    struct console_view *view = user;
    struct line *line = malloc(sizeof *line + (size_t)columns * sizeof *cells);

    if (line == NULL)
        return 0;
    line->columns = columns;
    memcpy(line->cells, cells, (size_t)columns * sizeof *cells);
    int place = (view->line_first + view->line_count) % CONSOLE_SCROLL_BACK;
    if (view->line_count == CONSOLE_SCROLL_BACK) {
        free(view->line[place]);
        view->line_first = (view->line_first + 1) % CONSOLE_SCROLL_BACK;
    } else {
        view->line_count++;
    }
    view->line[place] = line;
    if (view->back > 0 && view->back < view->line_count)
        view->back++;                                   /* what is looked at stays */
    return 1;
}

/* The screen got taller: lines come back. */
static int on_pop_line(int columns, VTermScreenCell *cells, void *user)
{
    struct console_view *view = user;

    if (view->line_count == 0)
        return 0;
    struct line *line = view->line[(view->line_first + --view->line_count) % CONSOLE_SCROLL_BACK];
    for (int column = 0; column < columns; column++) {
        if (column < line->columns)
            cells[column] = line->cells[column];
        else
            cells[column] = (VTermScreenCell){ .width = 1, .fg = line->cells[0].fg, .bg = line->cells[0].bg };
    }
    free(line);
    return 1;
}

static void on_output(const char *bytes, size_t length, void *user)
{
    struct console_view *view = user;

    if (view->answer != NULL)
        view->answer(view->cookie, bytes, length);
}

static const VTermScreenCallbacks callbacks = { .damage = on_damage, .movecursor = on_move_cursor, .settermprop = on_property,
                                                .sb_pushline = on_push_line, .sb_popline = on_pop_line };

/* ---- making ---- */

static bool is_sound(int columns, int rows)
{
    return columns >= 1 && rows >= 1 && columns <= 2000 && rows <= ROWS_MOST;
}

static void colours_set(struct console_view *view)
{
    static const uint32_t palette[16] = { 0x1c2026, 0xe05561, 0x8cc265, 0xd18f52, 0x4aa5f0, 0xc162de, 0x42b3c2, 0xd7dae0,
                                          0x5c6370, 0xff616e, 0xa5e075, 0xf0a45d, 0x4dc4ff, 0xde73ff, 0x4cd1e0, 0xffffff };
    VTermState *state = vterm_obtain_state(view->terminal);
    VTermColor fore, back, colour;

    vterm_color_rgb(&fore, FOREGROUND >> 16, FOREGROUND >> 8 & 255, FOREGROUND & 255);
    vterm_color_rgb(&back, BACKGROUND >> 16, BACKGROUND >> 8 & 255, BACKGROUND & 255);
    vterm_state_set_default_colors(state, &fore, &back);
    for (int i = 0; i < 16; i++) {
        vterm_color_rgb(&colour, (uint8_t)(palette[i] >> 16), palette[i] >> 8 & 255, palette[i] & 255);
        vterm_state_set_palette_color(state, i, &colour);
    }
}

static void scroll_back_free(struct console_view *view)
{
    for (; view->line_count > 0; view->line_count--, view->line_first = (view->line_first + 1) % CONSOLE_SCROLL_BACK)
        free(view->line[view->line_first]);
    view->back = 0;
}

struct console_view *console_view_create(struct font *font, int columns, int rows,
                                         void (*answer)(void *cookie, const char *bytes, size_t length), void *cookie)
{
    struct console_view *view = is_sound(columns, rows) ? calloc(1, sizeof *view) : NULL;

    if (view == NULL || (view->terminal = vterm_new(rows, columns)) == NULL) {
        free(view);
        return NULL;
    }
    view->font = font;
    view->columns = columns;
    view->rows = rows;
    view->cursor_shown = view->focus = true;
    view->answer = answer;
    view->cookie = cookie;
    vterm_set_utf8(view->terminal, 1);
    vterm_output_set_callback(view->terminal, on_output, view);
    view->screen = vterm_obtain_screen(view->terminal);
    vterm_screen_enable_altscreen(view->screen, 1);
    vterm_screen_set_callbacks(view->screen, &callbacks, view);
    vterm_screen_set_damage_merge(view->screen, VTERM_DAMAGE_ROW);
    colours_set(view);
    vterm_screen_reset(view->screen, 1);
    change_all(view);
    return view;
}

void console_view_free(struct console_view *view)
{
    if (view == NULL)
        return;
    scroll_back_free(view);
    vterm_free(view->terminal);
    free(view);
}

void console_view_reset(struct console_view *view)
{
    scroll_back_free(view);
    vterm_screen_reset(view->screen, 1);
    change_all(view);
}

void console_view_resize(struct console_view *view, int columns, int rows)
{
    if (!is_sound(columns, rows) || (columns == view->columns && rows == view->rows))
        return;
    view->columns = columns;
    view->rows = rows;
    view->back = 0;
    vterm_set_size(view->terminal, rows, columns);
    vterm_screen_flush_damage(view->screen);
    change_all(view);
}

void console_view_print(struct console_view *view, const void *bytes, size_t length)
{
    vterm_input_write(view->terminal, bytes, length);
    vterm_screen_flush_damage(view->screen);
    if (view->back > 0)
        change_all(view);
}

/* ---- keys ---- */

void console_view_key(struct console_view *view, unsigned key, unsigned modifiers)
{
    static const VTermKey keys[] = {
        [CONSOLE_ENTER] = VTERM_KEY_ENTER, [CONSOLE_TAB] = VTERM_KEY_TAB, [CONSOLE_BACKSPACE] = VTERM_KEY_BACKSPACE,
        [CONSOLE_ESCAPE] = VTERM_KEY_ESCAPE, [CONSOLE_UP] = VTERM_KEY_UP, [CONSOLE_DOWN] = VTERM_KEY_DOWN,
        [CONSOLE_LEFT] = VTERM_KEY_LEFT, [CONSOLE_RIGHT] = VTERM_KEY_RIGHT, [CONSOLE_INSERT] = VTERM_KEY_INS,
        [CONSOLE_DELETE] = VTERM_KEY_DEL, [CONSOLE_HOME] = VTERM_KEY_HOME, [CONSOLE_END] = VTERM_KEY_END,
        [CONSOLE_PAGE_UP] = VTERM_KEY_PAGEUP, [CONSOLE_PAGE_DOWN] = VTERM_KEY_PAGEDOWN,
    };

    console_view_scroll(view, -CONSOLE_SCROLL_BACK);
    if (key < CONSOLE_FUNCTION)
        vterm_keyboard_key(view->terminal, keys[key], (VTermModifier)modifiers);
    else
        vterm_keyboard_key(view->terminal, (VTermKey)VTERM_KEY_FUNCTION(key - CONSOLE_FUNCTION), (VTermModifier)modifiers);
}

void console_view_character(struct console_view *view, uint32_t character, unsigned modifiers)
{
    console_view_scroll(view, -CONSOLE_SCROLL_BACK);
    vterm_keyboard_unichar(view->terminal, character, (VTermModifier)modifiers);
}

void console_view_scroll(struct console_view *view, int lines)
{
    int back = view->back + lines;

    back = back < 0 ? 0 : back > view->line_count ? view->line_count : back;
    if (back == view->back)
        return;
    view->back = back;
    change_all(view);
}

void console_view_focus(struct console_view *view, bool focus)
{
    view->focus = focus;
    change(view, view->cursor.row, view->cursor.col, view->cursor.col + 1);
}

/* ---- drawing ---- */

static uint32_t colour_of(const struct console_view *view, VTermColor colour)
{
    vterm_screen_convert_color_to_rgb(view->screen, &colour);
    return (uint32_t)colour.rgb.red << 16 | (uint32_t)colour.rgb.green << 8 | colour.rgb.blue;
}

/* The cell that is shown at this place. */
static void cell_find(const struct console_view *view, int row, int column, VTermScreenCell *cell)
{
    int of_screen = row - view->back;

    memset(cell, 0, sizeof *cell);
    if (of_screen >= 0) {
        vterm_screen_get_cell(view->screen, (VTermPos){ .row = of_screen, .col = column }, cell);
        return;
    }
    const struct line *line = view->line[(view->line_first + view->line_count + of_screen) % CONSOLE_SCROLL_BACK];
    if (column < line->columns)
        *cell = line->cells[column];
    else
        cell->bg = line->cells[0].bg;
    if (cell->width == 0)
        cell->width = 1;
}

static void underline_draw(struct canvas *canvas, struct box box, uint32_t colour)
{
    canvas_fill(canvas, (struct box){ box.left, box.bottom - 2, box.right, box.bottom - 1 }, colour);
}

/* Returns how many columns it takes. */
static int cell_draw(struct console_view *view, struct canvas *canvas, int row, int column)
{
    VTermScreenCell cell;
    int width = font_cell_width(view->font), height = font_cell_height(view->font);

    cell_find(view, row, column, &cell);
    int columns = cell.width > 1 ? cell.width : 1;
    struct box box = { column * width, row * height, (column + columns) * width, (row + 1) * height };
    uint32_t fore = colour_of(view, cell.fg), back = colour_of(view, cell.bg);
    bool cursor = view->cursor_shown && view->back == 0 && row == view->cursor.row && column == view->cursor.col;
    if (cell.attrs.reverse ^ (cursor && view->focus)) {
        uint32_t other = fore;
        fore = back;
        back = other;
    }
    canvas_fill(canvas, box, back);
    if (cell.chars[0] != 0 && cell.chars[0] != (uint32_t)-1)
        for (int i = 0; i < VTERM_MAX_CHARS_PER_CELL && cell.chars[i] != 0; i++)
            font_draw(view->font, canvas, box.left, box.top, cell.chars[i], cell.attrs.bold, columns, fore);
    if (cell.attrs.underline)
        underline_draw(canvas, box, fore);
    if (cell.attrs.strike)
        canvas_fill(canvas, (struct box){ box.left, (box.top + box.bottom) / 2, box.right, (box.top + box.bottom) / 2 + 1 }, fore);
    if (cursor && !view->focus) {
        canvas_fill(canvas, (struct box){ box.left, box.top, box.left + 1, box.bottom }, fore);
        canvas_fill(canvas, (struct box){ box.right - 1, box.top, box.right, box.bottom }, fore);
        canvas_fill(canvas, (struct box){ box.left, box.top, box.right, box.top + 1 }, fore);
        canvas_fill(canvas, (struct box){ box.left, box.bottom - 1, box.right, box.bottom }, fore);
    }
    return columns;
}

static void margins_draw(const struct console_view *view, struct canvas *canvas)
{
    int right = view->columns * font_cell_width(view->font), bottom = view->rows * font_cell_height(view->font);

    canvas_fill(canvas, (struct box){ right, 0, canvas->width, canvas->height }, BACKGROUND);
    canvas_fill(canvas, (struct box){ 0, bottom, canvas->width, canvas->height }, BACKGROUND);
}

/* Where we are in the scroll-back. */
static void position_draw(const struct console_view *view, struct canvas *canvas)
{
    int height = view->rows * font_cell_height(view->font), right = view->columns * font_cell_width(view->font);
    int total = view->line_count + view->rows, top = (view->line_count - view->back) * height / total;

    if (view->back > 0)
        canvas_fill(canvas, (struct box){ right - 4, top, right, top + view->rows * height / total + 1 }, 0x6080a0);
}

struct box console_view_draw(struct console_view *view, struct canvas *canvas, bool all)
{
    struct box drawn = { 0 };
    int width = font_cell_width(view->font), height = font_cell_height(view->font);

    if (all) {
        margins_draw(view, canvas);
        change_all(view);
    }
    for (int row = 0; row < view->rows; row++) {
        int from = view->changed_from[row], to = view->changed_to[row];
        view->changed_from[row] = view->changed_to[row] = 0;
        from = from < 0 ? 0 : from;
        to = to > view->columns ? view->columns : to;
        if (from >= to)
            continue;
        if (from > 0)
            from--;                                     /* the second half of a wide one */
        for (int column = from; column < to;)
            column += cell_draw(view, canvas, row, column);
        drawn = box_join(drawn, (struct box){ from * width, row * height, (to + 1) * width, (row + 1) * height });
    }
    position_draw(view, canvas);
    return all ? (struct box){ 0, 0, canvas->width, canvas->height } : drawn;
}

void console_view_text(struct console_view *view, int row, char *text, size_t size)
{
    VTermRect rect = { .start_row = row, .end_row = row + 1, .start_col = 0, .end_col = view->columns };
    size_t length = vterm_screen_get_text(view->screen, text, size - 1, rect);

    text[length < size - 1 ? length : size - 1] = '\0';
}

const char *console_view_title(const struct console_view *view)
{
    return view->title;
}
