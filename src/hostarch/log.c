/* log.c: the site's log, and the end of the world. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "machine.h"

static void put(const char *line, size_t length)
{
    /* A log that cannot be written must not stop the site. */
    if (write(machine.options.log_fd, line, length) < 0)
        return;
}

void host_log(int level, const char *format, ...)
{
    if (level > machine.options.log_level)
        return;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    if ((size_t)length > sizeof line - 2)
        length = sizeof line - 2;
    line[length++] = '\n';
    put(line, (size_t)length);
}

void host_panic(const char *format, ...)
{
    char line[1024] = "chorus: panic: ";
    size_t start = strlen(line);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line + start, sizeof line - start - 1, format, arguments);
    va_end(arguments);
    size_t end = start + (length > 0 ? (size_t)length : 0);
    if (end > sizeof line - 2)
        end = sizeof line - 2;
    line[end++] = '\n';
    if (write(STDERR_FILENO, line, end) < 0)
        abort();
    abort();
}
