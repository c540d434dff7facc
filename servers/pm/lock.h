/* lock.h: advisory locks on files: POSIX records, open-file-description locks, flock. */
#ifndef PM_LOCK_H
#define PM_LOCK_H

#include "descriptor.h"

int64_t lock_fcntl(struct call *call, int command);
/* The process closes a descriptor of this file: its record locks on it go. */
void lock_release_posix(struct process *process, struct file *file);
/* The description goes: so do its flock and its record locks. */
void lock_release_flock(struct file *file);

#endif
