/* mount.h: what is mounted where. The servers know their own mount points; this table knows them all, for
 * ".." at a root and for /proc/mounts. */
#ifndef PM_MOUNT_H
#define PM_MOUNT_H

#include "path.h"

struct mount {
    struct list link;
    int id;
    struct place covered;  /* the directory it hides; path: where it is mounted */
    struct file_node root;
    char source[64], type[16], options[64];
};
extern struct list mounts; /* the first is the root of all */

/* The root of everything. */
int mount_root(struct file_node root);
/* Tell the server of <covered> and note it. Takes over covered->path on success. */
int mount_add(struct place *covered, struct file_node root, const char *source, const char *type,
              const char *options);
/* At boot: a directory by name, from the root. A directory that is not there is not mounted on. */
int mount_at_boot(const char *path, const char *type, const char *source);
/* The host's folder <number>, at a directory that is made if it is not there. */
int mount_share(unsigned number, const char *path, bool read_only);
/* A tmpfs that no name leads to: its root. */
int mount_nowhere(struct file_node *ret_root);
/* At boot: device nodes for what dm has, in /dev. */
void mount_fill_dev(void);
/* The nodes of disks and partitions in /dev, as they are now. */
void mount_fill_blocks(void);

#endif
