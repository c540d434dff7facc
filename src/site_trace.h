/* --trace FILE: what the Nucleus does, handed to the trace (trace.h). */

#ifndef CHORUS_SITE_TRACE_H
#define CHORUS_SITE_TRACE_H

#include <stdbool.h>

/* After the Nucleus is there, before its first actor. False with errno: no such file can be made. */
bool site_trace_start(const char *path, unsigned cpus);

/* Close the file, and say in the log what is missing in it. Does nothing without a trace. */
void site_trace_stop(void);

#endif
