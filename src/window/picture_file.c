/* Pictures as PNG files, by libpng's simple interface. A picture is written aside first, so that a file is whole or as it was. */
#include "picture_file.h"

#include <errno.h>
#include <fcntl.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* To a file that is open; closes it. */
static bool picture_put(FILE *file, const uint8_t *rows, int width, int height)
{
    png_image image = { .version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height, .format = PNG_FORMAT_BGR };

    errno = 0;
    bool good = png_image_write_to_stdio(&image, file, 0, rows, 0, NULL) != 0 && fflush(file) == 0;
    int error = errno != 0 ? errno : EIO;
    if (fclose(file) != 0 && good) {
        good = false;
        error = errno;
    }
    errno = error;
    return good;
}

/* Three bytes a pixel, to be freed. */
static uint8_t *rows_of(const uint32_t *pixels, int width, int height, size_t stride)
{
    uint8_t *rows = malloc((size_t)width * (size_t)height * 3), *to = rows;

    for (int y = 0; rows != NULL && y < height; y++)
        for (int x = 0; x < width; x++, to += 3)
            memcpy(to, (const uint8_t *)pixels + (size_t)y * stride + (size_t)x * 4, 3);
    return rows;
}

/* Devices and pipes are written as they are. */
static bool is_special(const char *path)
{
    return strncmp(path, "/dev/", 5) == 0;
}

bool picture_file_write(const char *path, const uint32_t *pixels, int width, int height, size_t stride)
{
    char *aside = NULL;
    uint8_t *rows = rows_of(pixels, width, height, stride);

    if (rows == NULL || asprintf(&aside, "%s%s", path, is_special(path) ? "" : ".part") < 0) {
        free(rows);
        errno = ENOMEM;
        return false;
    }
    FILE *file = fopen(aside, "wbe");
    bool good = file != NULL && picture_put(file, rows, width, height);
    if (good && !is_special(path))
        good = rename(aside, path) == 0;
    int error = errno;
    if (!good && file != NULL && !is_special(path))
        unlink(aside);
    free(aside);
    free(rows);
    errno = error;
    return good;
}
