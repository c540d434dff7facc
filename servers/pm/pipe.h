/* pipe.h: pipes and FIFOs. */
#ifndef PM_PIPE_H
#define PM_PIPE_H

#include "descriptor.h"

/* Open a FIFO that has a name: waits for the other end as open does. <file> is what file_new gave;
 * CALL_WAITS, an error, or 0 with *ret_file. */
int64_t pipe_open_fifo(struct call *call, const struct file_attributes *attributes,
                       struct file_node node, uint32_t flags, struct file **ret_file);
/* Another description of the same end: opening /proc/self/fd/N. */
struct file *pipe_reopen(struct file *file, uint32_t flags);
/* What a write does of which nobody reads any more: EPIPE and SIGPIPE, or what has been done. */
int64_t pipe_broken(struct call *call);

/* ---- for splice.c, which moves data past the process. Nothing here waits or gives up the lock ---- */

struct pipe;
struct pipe *pipe_of(const struct file *file); /* NULL: it is no pipe's end */
struct wait_queue *pipe_queue(struct pipe *pipe);
uint32_t pipe_readable(const struct pipe *pipe); /* bytes; 0 while somebody reads them */
bool pipe_has_ended(const struct pipe *pipe);
bool pipe_has_readers(const struct pipe *pipe);
uint32_t pipe_room(const struct pipe *pipe);
/* Nobody else reads what pipe_readable said while it is held. */
void pipe_hold(struct pipe *pipe, bool on);
void pipe_peek(const struct pipe *pipe, uint32_t offset, void *to, uint32_t size);
void pipe_drop(struct pipe *pipe, uint32_t size);
/* Room that nobody else fills; negative: no more. */
void pipe_reserve(struct pipe *pipe, int32_t size);
int pipe_put(struct pipe *pipe, const void *data, uint32_t size); /* -ENOMEM */

#endif
