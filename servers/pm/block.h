/* block.h: disks and their partitions, opened by their nodes. */
#ifndef PM_BLOCK_H
#define PM_BLOCK_H

#include <stdio.h>

#include "descriptor.h"

/* Segments of om's, as regular files are, of a size that stays. */
extern const struct file_operations block_operations;

/* Make what is missing in /dev, and take away the nodes of partitions that are gone. */
void block_fill_dev(struct file_node dev);

/* /proc/partitions */
int block_print_partitions(FILE *out);

#endif
