/* polling.h: what poll, select and epoll share. */
#ifndef PM_POLL_H
#define PM_POLL_H

#include "descriptor.h"

/* Which of the wanted events hold; with <call> it will be run again when that may have changed. */
unsigned file_poll(struct call *call, struct file *file, unsigned wanted);
/* Set the signal mask for the time of the call; 0: none is given. */
int poll_mask(struct call *call, VmAddr mask_at, uint64_t size);

#endif
