/* vm.c: memory as a whole: start, idle work, counts. */
#include "../vm.h"

#include <host/event.h>
#include "cache.h"
#include "mapping.h"
#include "pressure.h"

#define RESERVE_SHARE 128 /* one frame of so many is kept for mappers and drivers, through whom others become free, */
#define RESERVE_LEAST 64  /* or so many */
#define REAP_STEP 1024    /* pages freed in a step: some 20 us */

void vm_init(void)
{
    frame_init();
    frame_reserve_set(frame_total() / RESERVE_SHARE > RESERVE_LEAST ? frame_total() / RESERVE_SHARE : RESERVE_LEAST);
    space_init();
    caches_init();
    pressure_init();
    writeback_init();
}

bool vm_idle_work(void)
{
    if (space_reap(REAP_STEP))
        return true;
    return frame_idle_work(host_time());
}

void vm_counts(uint64_t *frames, uint64_t *free, uint64_t *cached)
{
    *frames = frame_total();
    *free = frame_free_count();
    *cached = cached_pages();
}

uint64_t vm_available(void) { return frame_available_count() + cached_pages(); }
