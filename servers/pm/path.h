/* path.h: from a path to a node, over mounts, links and servers. */
#ifndef PM_PATH_H
#define PM_PATH_H

#include "file_server.h"
#include "pm.h"

int place_copy(struct place *to, const struct place *from);
void place_clear(struct place *place);

/* Do one operation on a path. */
struct path_walk {
    struct file_exchange exchange; /* in: operation, flags, operation's own fields, second_length */
    const char *second;            /* a text or second path that goes along, exchange.request.second_length bytes */
    bool real_ids;                 /* in: ask for the real user, not the effective one: access */
    struct file_node server;       /* out: of the node that was reached (its port; key 0) */
    char *path;                    /* out: from the system's root, without links. Freed by path_end */
};
/* <dirfd> as in openat. Errors of Linux. On success exchange.reply counts, or exchange.magic if that is
 * set: then the path names an open file of /proc/PID/fd and the operation has not been done. */
int path_do(struct call *call, int dirfd, const char *path, struct path_walk *walk);
void path_end(struct path_walk *walk);

/* The node and attributes of what a path names. */
int path_find(struct call *call, int dirfd, const char *path, bool follow, uint32_t access,
              struct path_walk *walk);
/* The place that a path in the caller's memory names, links followed. PLACE_ENTERED: a directory that the caller may
 * search. */
enum place_kind { PLACE_ANY, PLACE_ENTERED };
int place_find(struct call *call, VmAddr path_at, enum place_kind kind, struct place *place);
/* Take a path apart for an operation on two names: the directory's node, and the last component, which
 * points into <path>. */
int path_parent(struct call *call, int dirfd, const char *path, struct file_node *ret_node,
                const char **ret_name);

/* mount.c: the node that the root <root> (a node of a mounted file system) is mounted on. */
bool mount_covered(const struct file_node *root, struct place *ret_covered);

#endif
