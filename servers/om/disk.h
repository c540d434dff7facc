/* A disk of the site as a block device: the client's side of the block protocol. */
#ifndef OM_DISK_H
#define OM_DISK_H

#include "blockdev.h"

/* Disk `number`; waits for its driver, for some seconds at most. 0, -ENODEV, -ENOMEM, -EIO. */
int disk_open(unsigned number, struct blockdev **ret);
/* "disk2": the number, or -ENODEV. */
int disk_number(const char *name);
/* How many the site has. */
unsigned disks_there(void);

#endif
