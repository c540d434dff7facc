/* The I/O ring: the host's io_uring, for reads of disks that would wait.
 *
 * Used where the host allows it, and never needed: without it the I/O pool does the same work. The filter of the nucleus process does
 * not see what a ring is asked to do, so the ring itself is restricted, before anything of an actor runs: reads of the files given at
 * its making, and no more. Writes and syncs stay with the pool: most file systems of the host would have threads of the ring do them, which
 * then wake every five seconds for ever. Nucleus thread only.
 */
#ifndef DEVICES_IO_RING_H
#define DEVICES_IO_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "bus.h"

struct io_ring;

/* One read. Its memory and its pieces stay until `done` was called. */
struct io_ring_read {
    int descriptor;                     /* one of the ring's files */
    uint64_t offset;                    /* bytes */
    const struct iovec *pieces;
    unsigned count;
    void (*done)(struct io_ring_read *read, int64_t result);    /* bytes, or an error made negative */
};

/* NULL: the host does not allow it, or one of its files. Completions arrive by the bus. */
struct io_ring *io_ring_create(struct bus *bus, const int *descriptors, unsigned count);
void io_ring_destroy(struct io_ring *ring);     /* NULL does nothing; waits for what is under way */

/* False: the ring is full, or the descriptor is not its. */
bool io_ring_submit(struct io_ring *ring, struct io_ring_read *read);

/* Has the host finished a read that `done` was not called for? Cheap: looks at memory alone. The bell rings as well, later, unless it is off. */
bool io_ring_ready(const struct io_ring *ring);
void io_ring_look(struct io_ring *ring);        /* call their `done` */

/* Off: who looks often enough is not told by the bus. On again: look once more, then wait. */
void io_ring_bell(struct io_ring *ring, bool on);

/* Reads submitted so far, for people and tests. */
uint64_t io_ring_count(const struct io_ring *ring);

#endif
