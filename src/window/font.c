/* Letters: see font.h.
 *
 * DejaVu Sans Mono is used because it has what a terminal shows (boxes, arrows, Greek, Cyrillic) and is packaged everywhere. Glyphs are rendered once and
 * kept, in a table by character and weight.
 */
#include "font.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GLYPHS 4096             /* a power of two */
#define LETTER_MOST 0x10ffffu

struct glyph {
    uint32_t key;               /* character * 2 + bold, plus 1; 0: free */
    int left, top;              /* of the bitmap, from the cell's corner */
    int width, height;
    uint8_t *cover;
};

struct font {
    FT_Library library;
    FT_Face face[2];            /* ordinary, bold */
    int cell_width, cell_height, ascent;
    struct glyph glyph[GLYPHS];
    unsigned glyph_count;
};

static const char *const folders[] = { FONT_FOLDER, "/usr/share/fonts/truetype/dejavu", "/usr/share/fonts/TTF", "/usr/share/fonts/dejavu-sans-mono-fonts" };
static const char *const names[2] = { "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf" };

static bool face_open(struct font *font, int which, int pixels)
{
    for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folders[i], names[which]);
        if (access(path, R_OK) == 0 && FT_New_Face(font->library, path, 0, &font->face[which]) == 0)
            return FT_Set_Pixel_Sizes(font->face[which], 0, (FT_UInt)pixels) == 0;
    }
    return false;
}

struct font *font_open(int pixels, char *problem, int problem_size)
{
    struct font *font = calloc(1, sizeof *font);

    if (font == NULL || FT_Init_FreeType(&font->library) != 0) {
        snprintf(problem, (size_t)problem_size, "no memory for letters");
        free(font);
        return NULL;
    }
    if (!face_open(font, 0, pixels) || !face_open(font, 1, pixels)) {
        snprintf(problem, (size_t)problem_size, "the font DejaVu Sans Mono is not there (package fonts-dejavu-core)");
        font_close(font);
        return NULL;
    }
    const FT_Size_Metrics *metrics = &font->face[0]->size->metrics;
    font->cell_width = (int)((metrics->max_advance + 32) >> 6);
    font->ascent = (int)((metrics->ascender + 32) >> 6);
    font->cell_height = font->ascent + (int)((32 - metrics->descender) >> 6);
    return font;
}

void font_close(struct font *font)
{
    if (font == NULL)
        return;
    for (unsigned i = 0; i < GLYPHS; i++)
        free(font->glyph[i].cover);
    for (int i = 0; i < 2; i++)
        if (font->face[i] != NULL)
            FT_Done_Face(font->face[i]);
    FT_Done_FreeType(font->library);
    free(font);
}

int font_cell_width(const struct font *font)
{
    return font->cell_width;
}

int font_cell_height(const struct font *font)
{
    return font->cell_height;
}

/* Forget all when the table is getting full: who shows so many different letters shows others next. */
static void glyphs_make_room(struct font *font)
{
    if (++font->glyph_count < GLYPHS / 2)
        return;
    for (unsigned i = 0; i < GLYPHS; i++)
        free(font->glyph[i].cover);
    memset(font->glyph, 0, sizeof font->glyph);
    font->glyph_count = 1;
}

static void glyph_render(struct font *font, struct glyph *glyph, uint32_t character, bool bold)
{
    FT_Face face = font->face[bold];

    if (FT_Load_Char(face, character, FT_LOAD_RENDER | FT_LOAD_TARGET_LIGHT) != 0)
        return;
    const FT_Bitmap *bitmap = &face->glyph->bitmap;
    if (bitmap->pixel_mode != FT_PIXEL_MODE_GRAY || bitmap->width == 0 || bitmap->rows == 0)
        return;
    glyph->cover = malloc((size_t)bitmap->width * bitmap->rows);
    if (glyph->cover == NULL)
        return;
    glyph->left = face->glyph->bitmap_left;
    glyph->top = font->ascent - face->glyph->bitmap_top;
    glyph->width = (int)bitmap->width;
    glyph->height = (int)bitmap->rows;
    for (unsigned row = 0; row < bitmap->rows; row++)
        memcpy(glyph->cover + row * bitmap->width, bitmap->buffer + (int)row * bitmap->pitch, bitmap->width);
}

static const struct glyph *glyph_find(struct font *font, uint32_t character, bool bold)
{
    uint32_t key = character * 2 + bold + 1, place = key * 2654435761u % GLYPHS;

    while (font->glyph[place].key != 0 && font->glyph[place].key != key)
        place = (place + 1) % GLYPHS;
    if (font->glyph[place].key == 0) {
        unsigned before = font->glyph_count;
        glyphs_make_room(font);
        if (font->glyph_count <= before)
            place = key * 2654435761u % GLYPHS;
        font->glyph[place].key = key;
        glyph_render(font, &font->glyph[place], character, bold);
    }
    return &font->glyph[place];
}

void font_draw(struct font *font, struct canvas *canvas, int x, int y, uint32_t character, bool bold, int cells, uint32_t colour)
{
    const struct glyph *glyph;

    if (character <= ' ' || character > LETTER_MOST)
        return;
    glyph = glyph_find(font, character, bold);
    int right = x + cells * font->cell_width, bottom = y + font->cell_height;
    for (int row = 0; row < glyph->height && glyph->cover != NULL; row++)
        for (int column = 0; column < glyph->width; column++) {
            int px = x + glyph->left + column, py = y + glyph->top + row;
            if (px >= x && px < right && py >= y && py < bottom)
                canvas_blend(canvas, px, py, colour, glyph->cover[row * glyph->width + column]);
        }
}

/* The next character of UTF-8; what is none counts as one byte each. */
static uint32_t next_character(const char **text)
{
    const uint8_t *at = (const uint8_t *)*text;
    unsigned more = at[0] >= 0xf0 ? 3 : at[0] >= 0xe0 ? 2 : at[0] >= 0xc0 ? 1 : 0;
    uint32_t character = more == 0 ? at[0] : at[0] & (0x3fu >> more);

    for (unsigned i = 1; i <= more; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            *text += 1;
            return '?';
        }
        character = character << 6 | (at[i] & 0x3f);
    }
    *text += 1 + more;
    return character;
}

int font_text(struct font *font, struct canvas *canvas, int x, int y, const char *text, int most, bool bold, uint32_t colour)
{
    int begin = x;

    for (; *text != '\0' && most > 0; most--, x += font->cell_width)
        font_draw(font, canvas, x, y, next_character(&text), bold, 1, colour);
    return x - begin;
}
