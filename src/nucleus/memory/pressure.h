/* pressure.h: frames when there are few: what goes first, and who waits. */
#ifndef NUCLEUS_MEMORY_PRESSURE_H
#define NUCLEUS_MEMORY_PRESSURE_H

#include "cache.h"

/* Frames for pages, at least one, by taking them from caches if need be. K_OK, K_BLOCKED (some are on their way back), K_ENOMEM. */
int frames_get(size_t want, enum frame_use use, struct thread *thread, frame_t *ret_first, size_t *ret_count);
/* Frames came back: those who wait for them try again. */
void pressure_relieved(void);
void pressure_init(void);

#endif
