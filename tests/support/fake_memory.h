/* fake_memory.h: physical memory and spaces for tests: the other side of host/memory.h, host/space.h and what concerns spaces in
 * host/supervisor.h.
 *
 * Orders are queued, and executed when the test says so (fake_space_execute, as before a thread of the space is resumed); they are
 * reported then, unless the test holds reports back. What is broken ends the program with a message: a frame that is freed while a
 * space maps it, an order outside of a space, more mappings than the host would have, a space used after its end.
 */
#ifndef TESTS_FAKE_MEMORY_H
#define TESTS_FAKE_MEMORY_H

#include <host/space.h>
#include <host/supervisor.h>

/* Frames, all zero; and the largest number of mappings that a space may have. */
void fake_memory_start(frame_t frames);
void fake_memory_set_mappings_max(size_t most);
/* To be told of frames that become free: checks that no space maps them, or is about to. */
void fake_memory_frames_freed(frame_t first, size_t count);
/* To be called at the end: no space is left. */
void fake_memory_expect_no_space(void);

/* What the machine does. */
void fake_space_execute(struct host_space *space);
void fake_space_hold_reports(struct host_space *space, bool hold);
/* The process is dead (host_space_destroy or by itself): the owner's number of deaths is the caller's to tell the Nucleus. Frees it. */
void fake_space_die(struct host_space *space);
/* A space that was destroyed and did not die yet; NULL: none. For fake_host.c, which makes events of them. */
struct host_space *fake_space_next_destroyed(void **ret_owner);
/* Called by host_space_destroy. */
extern void (*fake_space_destroyed_hook)(struct host_space *space);
bool fake_space_is_destroyed(const struct host_space *space);

/* An access by the space's code, with what has been executed: where the byte is, NULL: a fault. */
void *fake_space_access(struct host_space *space, vaddr_t address, bool write, bool exec);

size_t fake_space_orders(const struct host_space *space);   /* given since its beginning */
size_t fake_space_commits(const struct host_space *space);
size_t fake_space_pages(const struct host_space *space);    /* mapped */
size_t fake_space_mappings(const struct host_space *space); /* as the host counts: adjacent ones alike are one */
size_t fake_frames_touched(void);
size_t fake_frames_released(void);
frame_t fake_space_frame(const struct host_space *space, vaddr_t address); /* FRAME_NONE: nothing is mapped */

#endif
