/* Which threads have a call open in the trace.
 *
 * The trace may lose events, and a slice that is never closed would swallow all later ones of its
 * thread in the viewer. With this the writer closes one before it opens the next, and leaves out
 * ends that have no beginning. */

#ifndef CHORUS_TRACE_OPEN_H
#define CHORUS_TRACE_OPEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trace_open {
    uint64_t *keys; /* 0: free */
    size_t room;    /* a power of two, or 0 */
    size_t count;
};

/* A call begins: true if one was open already. */
bool trace_open_begin(struct trace_open *open, uint32_t actor, uint32_t thread);

/* It ends: false if none was open. */
bool trace_open_end(struct trace_open *open, uint32_t actor, uint32_t thread);

void trace_open_free(struct trace_open *open);

#endif
