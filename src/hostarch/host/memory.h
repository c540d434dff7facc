/* host/memory.h: physical memory.
 *
 * Frames are numbered from 0; frame f is at host_frame_address(f) in the Nucleus, for ever. Frames start out as zeros. Who
 * uses which frame is the Nucleus's business (src/nucleus/frame.c).
 */
#ifndef HOST_MEMORY_H
#define HOST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SIZE 4096u
#define PAGE_SHIFT 12

typedef uint32_t frame_t;
#define FRAME_NONE ((frame_t)-1)

frame_t host_frame_count(void);
void *host_frame_address(frame_t frame);
/* Give a run of frames back to the machine. They are not in use, may be used again at any time and are zeros then. Costs some
 * microseconds a call; the Nucleus does it for long-free runs in idle time. */
void host_frames_release(frame_t first, size_t count);
/* Make a run ready for use beforehand (the host then has memory for it), in idle time. */
void host_frames_touch(frame_t first, size_t count);

#endif
