/* device.h: character devices, which dm serves (lib/protocol/tty.h). */
#ifndef PM_DEVICE_H
#define PM_DEVICE_H

#include <protocol/tty.h>

#include "descriptor.h"

/* Find dm and tell it where notifications go. -EIO: it is not there. */
int device_server_find(void);
/* Wait until a device is there: dm may be there before the drivers are. -ENXIO: two seconds were not enough. Gives up the lock. */
int device_server_await(uint32_t device);
int64_t device_open(struct call *call, uint32_t device, uint32_t flags, struct file **ret_file);
/* Without a process: the first descriptors. */
int device_open_first(struct process *process, uint32_t device, uint32_t flags,
                      struct file **ret_file);

/* A notification. */
void device_event(const void *annex);

bool file_is_zero_device(const struct file *file);

/* What dm has: TTY_LIST. The number of entries, or an error. */
/* The last reference of a device's file has gone. */
void device_release(struct file *file);
int device_list(uint32_t first, struct tty_node *nodes, uint32_t room);

void device_server_close(uint64_t handle);
void device_server_unwatch(uint64_t token);
void device_server_session_end(pid_t sid);
void device_server_drain(void);
/* Write a line of pm's own to a device: why the command cannot be run. */
void device_server_say(uint32_t device, const char *text);

#endif
