/* log.c: what an actor writes becomes lines of the site's log.
 *
 * Standard output and error each have a line that is being built; it goes to the log when it ends,
 * when it is full, and when the actor ends.
 */
#include "internal.h"
#include "lock.h"
#include "log.h"

#define LINE_MAX_BYTES 480

static struct line {
    struct lock lock;
    size_t size;
    char text[LINE_MAX_BYTES];
} lines[2];

static void line_send(struct line *line)
{
    if (line->size > 0)
        sysLog(line->text, line->size);
    line->size = 0;
}

void log_write(unsigned stream, const char *text, size_t size)
{
    struct line *line = &lines[stream];
    lock_take(&line->lock);
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '\n')
            line->text[line->size++] = text[i];
        if (text[i] == '\n' || line->size == LINE_MAX_BYTES)
            line_send(line);
    }
    lock_release(&line->lock);
}

void log_flush(void)
{
    for (unsigned stream = 0; stream < 2; stream++) {
        lock_take(&lines[stream].lock);
        line_send(&lines[stream]);
        lock_release(&lines[stream].lock);
    }
}

/* Write <number> in decimal so that it ends before <end>; returns its first digit. */
static char *number_write(char *end, uint64_t number)
{
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return end;
}

void chorus_log(const char *text, int64_t number)
{
    char line[160], digits[24], *end = digits + sizeof digits, *first = end;
    size_t size = 0;
    while (size < sizeof line - sizeof digits - 1 && text[size] != 0) {
        line[size] = text[size];
        size++;
    }
    if (number >= 0) {
        first = number_write(end, (uint64_t)number);
        line[size++] = ' ';
    }
    while (first < end)
        line[size++] = *first++;
    sysLog(line, size);
}
