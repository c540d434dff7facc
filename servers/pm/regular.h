/* regular.h: files that a file server keeps: regular ones and directories. */
#ifndef PM_REGULAR_H
#define PM_REGULAR_H

#include "descriptor.h"

extern const struct file_operations regular_operations; /* a segment */
extern const struct file_operations message_operations; /* FILE_READ and FILE_WRITE */
extern const struct file_operations directory_operations;

/* Operations of regular_operations, for other kinds that are segments. */
int64_t regular_read(struct call *call, struct file *file, struct user_io *io, int64_t *offset);
int64_t regular_write(struct call *call, struct file *file, struct user_io *io, int64_t *offset);
int64_t regular_seek(struct call *call, struct file *file, int64_t offset, int whence);
void regular_closed(struct file *file);

/* Its size now: the Nucleus's cache knows it best. An error is negative. Gives up the lock. */
int64_t regular_size(struct call *call, struct file *file);
/* The same for a segment. */
int64_t segment_size(const KnCap *segment);
/* Somebody has set some file's times, or its set-uid bit: whoever writes next tells its server anew. */
extern uint64_t regular_era;

/* Write <length> bytes at <at> of its segment, and nothing else: no limits, no times. <report>: pm is to hear of the end. */
int64_t regular_write_at(struct call *call, struct file *file, struct user_io *io, uint64_t at, uint64_t length, int64_t *offset,
                         bool report);

/* The segment, NULL if there is none. */
const KnCap *file_segment(const struct file *file);
/* Write back what is in the cache, and with <all> what the server keeps. Gives up the lock. */
int regular_sync(struct file *file, bool all);
/* Read by pm itself: exec, readv. Bytes, or an error. */
int64_t regular_read_here(struct file *file, uint64_t offset, void *buffer, size_t size);
/* The same of a file that may have no segment, as one the process reads. */
int64_t regular_fetch(struct call *call, struct file *file, uint64_t offset, void *buffer, size_t size);

#endif
