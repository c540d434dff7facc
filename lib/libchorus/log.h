/* log.h: lines of the site's log from an actor's standard output and error. */
#ifndef LIBCHORUS_LOG_H
#define LIBCHORUS_LOG_H

#include <stddef.h>

/* <stream>: 0 standard output, 1 standard error. */
void log_write(unsigned stream, const char *text, size_t size) __attribute__((visibility("hidden")));

#endif
