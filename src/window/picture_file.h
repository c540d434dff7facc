/* Pictures as PNG files. */
#ifndef WINDOW_PICTURE_FILE_H
#define WINDOW_PICTURE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pixels are 0x..RRGGBB, `stride` bytes from row to row. False with errno set; then no file of that name has been changed. */
bool picture_file_write(const char *path, const uint32_t *pixels, int width, int height, size_t stride);

#endif
