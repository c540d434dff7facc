/* memory.c: frames, the Nucleus's view. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include "machine.h"

frame_t host_frame_count(void) { return machine.frames; }

void *host_frame_address(frame_t frame)
{
    return machine.memory + machine.frames_at + (uint64_t)frame * PAGE_SIZE;
}

void host_frames_release(frame_t first, size_t count)
{
    off_t at = (off_t)(machine.frames_at + (uint64_t)first * PAGE_SIZE);
    if (fallocate(machine.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, (off_t)count * PAGE_SIZE) != 0)
        memset(host_frame_address(first), 0, count * PAGE_SIZE); /* the promise is that they are zeros */
}

void host_frames_touch(frame_t first, size_t count)
{
    /* Failing is no harm: they are touched when they are used. */
    madvise(host_frame_address(first), count * PAGE_SIZE, MADV_POPULATE_WRITE);
}
