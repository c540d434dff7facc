/* Drawing on pixels in memory: see canvas.h. */
#include "canvas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIDE_MOST 16384

bool canvas_resize(struct canvas *canvas, int width, int height)
{
    if (width < 1 || height < 1 || width > SIDE_MOST || height > SIDE_MOST)
        return false;
    uint32_t *pixels = calloc((size_t)width * (size_t)height, sizeof *pixels);
    if (pixels == NULL)
        return false;
    free(canvas->pixels);
    *canvas = (struct canvas){ width, height, pixels };
    return true;
}

void canvas_free(struct canvas *canvas)
{
    free(canvas->pixels);
    *canvas = (struct canvas){ 0 };
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

bool box_is_empty(struct box box)
{
    return box.left >= box.right || box.top >= box.bottom;
}

struct box box_join(struct box a, struct box b)
{
    if (box_is_empty(a))
        return b;
    if (box_is_empty(b))
        return a;
    return (struct box){ least(a.left, b.left), least(a.top, b.top), most(a.right, b.right), most(a.bottom, b.bottom) };
}

static struct box clip(const struct canvas *canvas, struct box box)
{
    return (struct box){ most(box.left, 0), most(box.top, 0), least(box.right, canvas->width), least(box.bottom, canvas->height) };
}

static uint32_t *pixel_at(struct canvas *canvas, int x, int y)
{
    return canvas->pixels + (size_t)y * (size_t)canvas->width + x;
}

void canvas_fill(struct canvas *canvas, struct box box, uint32_t colour)
{
    box = clip(canvas, box);
    for (int y = box.top; y < box.bottom; y++)
        for (int x = box.left; x < box.right; x++)
            *pixel_at(canvas, x, y) = colour;
}

static uint32_t mix(uint32_t below, uint32_t above, unsigned cover)
{
    uint32_t result = 0;

    for (unsigned shift = 0; shift < 24; shift += 8) {
        unsigned b = below >> shift & 255, a = above >> shift & 255;
        result |= ((b * (255 - cover) + a * cover + 127) / 255) << shift;
    }
    return result;
}

void canvas_blend(struct canvas *canvas, int x, int y, uint32_t colour, unsigned cover)
{
    if (x < 0 || y < 0 || x >= canvas->width || y >= canvas->height || cover == 0)
        return;
    uint32_t *pixel = pixel_at(canvas, x, y);
    *pixel = cover >= 255 ? colour : mix(*pixel, colour, cover);
}

void canvas_fill_blend(struct canvas *canvas, struct box box, uint32_t colour, unsigned cover)
{
    box = clip(canvas, box);
    for (int y = box.top; y < box.bottom; y++)
        for (int x = box.left; x < box.right; x++)
            canvas_blend(canvas, x, y, colour, cover);
}

/* How much of a pixel lies within <outside> of an edge: 255 all. */
static unsigned cover_of(double outside, unsigned cover)
{
    double part = 0.5 - outside;

    return part <= 0 ? 0 : part >= 1 ? cover : (unsigned)(part * cover + 0.5);
}

static double length_of(double x, double y)
{
    return sqrt(x * x + y * y);
}

void canvas_fill_round(struct canvas *canvas, struct box box, int radius, uint32_t colour)
{
    struct box part = clip(canvas, box);

    for (int y = part.top; y < part.bottom; y++) {
        double dy = y < box.top + radius ? box.top + radius - y - 0.5 : y >= box.bottom - radius ? y + 0.5 - (box.bottom - radius) : 0;
        for (int x = part.left; x < part.right; x++) {
            double dx = x < box.left + radius ? box.left + radius - x - 0.5 : x >= box.right - radius ? x + 0.5 - (box.right - radius) : 0;
            canvas_blend(canvas, x, y, colour, dx > 0 && dy > 0 ? cover_of(length_of(dx, dy) - radius, 255) : 255);
        }
    }
}

void canvas_frame_round(struct canvas *canvas, struct box box, int radius, int thickness, uint32_t colour, uint32_t inside)
{
    struct box inner = { box.left + thickness, box.top + thickness, box.right - thickness, box.bottom - thickness };

    canvas_fill_round(canvas, box, radius, colour);
    canvas_fill_round(canvas, inner, most(radius - thickness, 0), inside);
}

void canvas_line(struct canvas *canvas, double x0, double y0, double x1, double y1, double thickness, uint32_t colour, unsigned cover)
{
    double dx = x1 - x0, dy = y1 - y0, length = length_of(dx, dy), half = thickness / 2;
    struct box box = clip(canvas, (struct box){ (int)floor(fmin(x0, x1) - half - 1), (int)floor(fmin(y0, y1) - half - 1),
                                                (int)ceil(fmax(x0, x1) + half + 1), (int)ceil(fmax(y0, y1) + half + 1) });

    for (int y = box.top; y < box.bottom; y++)
        for (int x = box.left; x < box.right; x++) {
            double px = x + 0.5 - x0, py = y + 0.5 - y0;
            double along = length > 0 ? (px * dx + py * dy) / (length * length) : 0;
            along = along < 0 ? 0 : along > 1 ? 1 : along;
            canvas_blend(canvas, x, y, colour, cover_of(length_of(px - along * dx, py - along * dy) - half, cover));
        }
}

void canvas_disc(struct canvas *canvas, double x, double y, double radius, uint32_t colour, unsigned cover)
{
    canvas_line(canvas, x, y, x, y, 2 * radius, colour, cover);
}

void canvas_copy(struct canvas *canvas, int x, int y, const uint32_t *pixels, int width, int height, size_t stride)
{
    struct box part = clip(canvas, (struct box){ x, y, x + width, y + height });

    for (int row = part.top; row < part.bottom && part.left < part.right; row++)
        memcpy(pixel_at(canvas, part.left, row), (const uint8_t *)pixels + (size_t)(row - y) * stride + (size_t)(part.left - x) * 4,
               (size_t)(part.right - part.left) * 4);
}
