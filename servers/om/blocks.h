/* Disks and their partitions as nodes of a file system of om's own: what /dev/vda, /dev/vdb1, ... lead to.
 *
 * The file system has number BLOCKS_NUMBER and one directory, which names them: "vda", "vda1", ... A node is opened like a
 * file, and is a segment like one: reads, writes and mappings go through the Nucleus's cache, which asks us for what is
 * missing, and reads ahead and writes in clusters as for any file. Its size never changes.
 *
 * A disk is looked at, for its size and its table of partitions (MBR or GPT), when somebody asks for it first, and again when
 * somebody says so. Whoever has mounted a disk or a part of it is alone with it: others may read it, not write.
 * When the last one closes a node its pages go, so that nobody sees old ones when it has been mounted meanwhile.
 */
#ifndef OM_BLOCKS_H
#define OM_BLOCKS_H

#include "om.h"

#define BLOCKS_NUMBER     (FILE_BLOCKS_KEY >> 56)
#define BLOCKS_DISKS_MAX  26
#define BLOCKS_NODES      16            /* of a disk: itself and up to 15 partitions */

struct block_node {
    bool     present;
    uint64_t start, size;               /* bytes */
    uint32_t holds;                     /* of the Nucleus's caches and of whoever has it open */
    uint32_t opens, writers;
};

struct block_disk {
    pthread_mutex_t looking;            /* one looks at it at a time; taken before all others */
    struct blockdev *device;            /* NULL: nobody has looked yet */
    bool     unflushed;                 /* something was written since the last flush */
    struct block_node nodes[BLOCKS_NODES];
};

/* The file system for `count` disks. NULL: no memory. */
struct fs *blocks_new(struct om *om, unsigned count);
/* Before a request, without locks: look at the disk that it is about, if nobody has. */
void blocks_prepare(struct om *om, const struct file_request *request);
/* Look again, without locks. -EBUSY: a partition is in use; -ENXIO: no such disk, -EIO. */
int blocks_rescan(struct om *om, uint64_t key);

/* With om's lock. "disk1", "/dev/vdb3": the minor number; -ENODEV: nothing of ours. */
int blocks_minor(const char *source);
/* Is it mounted, or a part of it, or what it is a part of? */
bool blocks_is_mounted(const struct om *om, int minor);
/* Who will mount it is alone with it from now on. -EBUSY: mounted, being mounted, open for writing. */
int blocks_claim(struct om *om, int minor);
void blocks_claim_end(struct om *om, int minor);

/* Without locks. The device of a name, to be closed with blockdev_close. -ENODEV, -ENXIO, -EIO, -ENOMEM. */
int blocks_device(struct om *om, const char *source, struct blockdev **ret);

/* partitions.c: what the disk's table says, into nodes[1...]; present is set for those that are sound. -EIO, -ENOMEM. */
int partitions_read(struct blockdev *device, struct block_node nodes[BLOCKS_NODES]);

void blocks_hand_over(struct fs *fs, struct om_state *state);
int blocks_take_over(struct fs *fs, struct om_state *state);

#endif
