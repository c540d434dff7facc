/* open.h: opening by name. */
#ifndef PM_OPEN_H
#define PM_OPEN_H

#include "descriptor.h"

/* Open as openat does, without making a descriptor of it. CALL_WAITS, an error, or 0 with *ret_file, whose
 * reference is the caller's. <access>: FILE_O_EXECUTE for exec, else 0. */
int64_t open_path(struct call *call, int dirfd, const char *path, uint32_t flags, uint32_t mode,
                  uint32_t access, struct file **ret_file);
/* Another description of what is open already: /proc/self/fd/N. */
int open_again(struct call *call, struct file *file, uint32_t flags, struct file **ret_file);

#endif
