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

#endif
