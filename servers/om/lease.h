/* Leases: who asks may remember an answer until it is told that it is no longer true.
 *
 * An answer about names or attributes depends on the nodes that were looked at for it. Each node has a place in a table of
 * versions (several share one); an answer that was asked for with FILE_LEASE says which places, and their versions. Clients
 * that watch (FILE_WATCH) have a copy of the table in their own memory, and om writes a new version there BEFORE it answers the
 * request that made the change. So a client that finds the same versions in its copy may give the answer again, without a
 * call, and nobody can know of the change before the client does. A place whose version nobody was told costs nothing to change.
 *
 * What is told is of the memory alone: a successor begins anew, and so do its clients (place 0).
 */
#ifndef OM_LEASE_H
#define OM_LEASE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/file.h"

#define LEASE_WATCHERS 8

struct om;

struct lease_watcher {
    struct file_watch watch;
    bool     is_there;
};

struct leases {
    pthread_mutex_t lock;       /* of what follows; taken last, after a file system's */
    uint32_t version[FILE_VERSIONS];
    uint64_t told[FILE_VERSIONS / 64];  /* a bit for each place: somebody remembers something */
    struct lease_watcher watchers[LEASE_WATCHERS];
    unsigned count;
};

void leases_init(struct leases *leases);
/* Somebody wants to be told. -ENOSPC: too many; -EFAULT: its memory is not there. */
int lease_watch(struct om *om, const struct file_watch *watch);
/* Names in this directory, or attributes of this node, are going to change or have changed. The file system is locked. */
void lease_change(struct om *om, uint32_t system, uint32_t inode);
/* Everything may have changed: mounts. */
void lease_change_all(struct om *om);
/* Nobody is told any more, and those who were know it. */
void lease_end(struct om *om);

/* The nodes that a walk looks at. */
#define LEASE_NODES FILE_LEASES_MAX
struct lease_nodes {
    uint16_t place[LEASE_NODES];
    unsigned count;             /* LEASE_NODES + 1: too many */
};
void lease_look(struct lease_nodes *nodes, uint32_t system, uint32_t inode);
/* Tell the versions of these, at most FILE_LEASES_MAX of them. Returns how many; 0: there is no lease. */
unsigned lease_tell(struct om *om, const struct lease_nodes *nodes, struct file_lease *ret);

#endif
