/* strace.h: Linux calls in words, for --strace: decoded by the table of calls. */
#ifndef PM_STRACE_H
#define PM_STRACE_H

#include "pm.h"

void strace_enter(struct call *call);
void strace_leave(struct call *call, int64_t result);
/* The text of a call, into <line>. Strings and buffers are fetched from the process. */
size_t strace_decode(struct call *call, char *line, size_t size);

#endif
