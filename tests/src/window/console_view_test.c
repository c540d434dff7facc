/* The console as it looks: what is drawn of what was printed. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "canvas.h"
#include "console_view.h"
#include "font.h"

#define COLUMNS 20
#define ROWS    6

static struct font *font;
static struct console_view *view;
static struct canvas canvas;
static char answered[256];
static size_t answered_length;

static void answer(void *cookie, const char *bytes, size_t length)
{
    (void)cookie;
    cr_assert(answered_length + length < sizeof answered);
    memcpy(answered + answered_length, bytes, length);
    answered_length += length;
    answered[answered_length] = '\0';
}

static void start(void)
{
    char problem[120] = "";

    font = font_open(16, problem, sizeof problem);
    cr_assert_not_null(font, "%s", problem);
    answered_length = 0;
    view = console_view_create(font, COLUMNS, ROWS, answer, NULL);
    cr_assert(canvas_resize(&canvas, COLUMNS * font_cell_width(font), ROWS * font_cell_height(font)));
    console_view_draw(view, &canvas, true);
}

static void end(void)
{
    console_view_free(view);
    font_close(font);
    canvas_free(&canvas);
}

TestSuite(console_view, .init = start, .fini = end, .timeout = 20);

static struct box print(const char *text)
{
    console_view_print(view, text, strlen(text));
    return console_view_draw(view, &canvas, false);
}

static uint32_t pixel(int column, int row)
{
    return canvas.pixels[(row * font_cell_height(font) + 1) * canvas.width + column * font_cell_width(font) + 1];
}

static const char *line(int row)
{
    static char text[256];

    console_view_text(view, row, text, sizeof text);
    return text;
}

Test(console_view, nonsense_does_no_harm)
{
    srand(7);
    for (int i = 0; i < 3000; i++) {
        char bytes[64];
        for (size_t at = 0; at < sizeof bytes; at++)
            bytes[at] = (char)(rand() % 5 == 0 ? '\033' : rand() % 4 == 0 ? "[;?0123456789hlmHJKABCDrST"[rand() % 26] : rand());
        console_view_print(view, bytes, sizeof bytes);
        if (i % 50 == 0)
            console_view_resize(view, 1 + rand() % 300, 1 + rand() % 100);
        if (i % 7 == 0)
            console_view_scroll(view, rand() % 100 - 50);
        if (i % 10 == 0)
            console_view_draw(view, &canvas, rand() % 2);
        answered_length = 0;
    }
    console_view_resize(view, 0, 5);
    console_view_resize(view, 100000, 100000);
}

Test(console_view, letters_and_colours_are_where_they_belong)
{
    print("ab\033[41m  \033[0m\r\n\303\244\342\224\202");
    cr_expect_str_eq(line(0), "ab  ");
    cr_expect_str_eq(line(1), "\303\244\342\224\202");
    uint32_t red = pixel(2, 0);
    cr_expect(red >> 16 > 0xc0 && (red & 0xff) < 0x80, "%06x", red);
    cr_expect_lt(pixel(5, 0), 0x303030u);
}

Test(console_view, only_what_changed_is_drawn)
{
    struct box box = print("x");
    int width = font_cell_width(font), height = font_cell_height(font);

    cr_expect(box.left == 0 && box.top == 0 && box.right <= 3 * width && box.bottom == height, "%d %d", box.right, box.bottom);
    cr_expect(box_is_empty(console_view_draw(view, &canvas, false)));
    box = print("\033[4;10Hy");
    cr_expect_geq(box.bottom, 4 * height);
}

Test(console_view, what_scrolled_away_can_be_looked_at_until_a_key_is_pressed)
{
    for (int i = 0; i < 3 * CONSOLE_SCROLL_BACK; i++)
        print("\033[42m  \033[0m\r\n");
    cr_expect_lt(pixel(1, ROWS - 1), 0x303030u, "the last line is empty");
    console_view_scroll(view, 2);
    console_view_draw(view, &canvas, false);
    cr_expect_gt(pixel(1, ROWS - 1) >> 8 & 0xff, 0x80u, "a green cell came down");
    console_view_scroll(view, 1 << 20);
    console_view_draw(view, &canvas, false);
    console_view_key(view, CONSOLE_UP, 0);
    cr_expect_str_eq(answered, "\033[A");
    console_view_draw(view, &canvas, false);
    cr_expect_lt(pixel(1, ROWS - 1), 0x303030u);
}

Test(console_view, a_program_that_asks_for_the_cursor_is_answered)
{
    print("\r\nab\033[6n");
    cr_expect_str_eq(answered, "\033[2;3R");
}

Test(console_view, keys_are_what_terminals_send)
{
    console_view_character(view, 'c', CONSOLE_CONTROL);
    console_view_character(view, 'x', CONSOLE_ALT);
    console_view_character(view, 0xe4, 0);
    console_view_key(view, CONSOLE_FUNCTION + 1, 0);
    console_view_key(view, CONSOLE_ENTER, 0);
    cr_expect_str_eq(answered, "\003\033x\303\244\033OP\r");
}

Test(console_view, another_size_keeps_the_text)
{
    print("hello\r\nworld");
    console_view_resize(view, 40, 10);
    cr_expect_str_eq(line(0), "hello");
    cr_expect_str_eq(line(1), "world");
}

Test(canvas, nothing_is_drawn_outside)
{
    struct canvas small = { 0 };

    cr_assert(canvas_resize(&small, 10, 10));
    cr_expect(!canvas_resize(&small, 0, 10) && !canvas_resize(&small, 1 << 20, 1 << 20));
    canvas_fill(&small, (struct box){ -100, -100, 1000, 1000 }, 0x123456);
    cr_expect(small.pixels[0] == 0x123456 && small.pixels[99] == 0x123456);
    canvas_fill(&small, (struct box){ 20, 20, 30, 30 }, 1);
    canvas_line(&small, -1e4, -1e4, 1e4, 1e4, 3, 0xffffff, 255);
    canvas_disc(&small, 500, 500, 20, 1, 255);
    canvas_fill_round(&small, (struct box){ -5, -5, 50, 50 }, 30, 0xff);
    canvas_copy(&small, 8, 8, small.pixels, 10, 10, 40);
    canvas_blend(&small, -1, 0, 1, 255);
    canvas_free(&small);
}
