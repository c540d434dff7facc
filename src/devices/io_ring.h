/* The I/O ring: the host's io_uring, for reads of disks that would wait.
 *
 * Used where the host allows it, and never needed: without it the I/O pool does the same work. The filter of the nucleus process does
 * not see what a ring is asked to do, so the ring itself is restricted, before anything of an actor runs: reads of the files given at
 * its making, and no more. Writes and syncs stay with the pool: most file systems of the host would have threads of the ring do them, which
 * then wake every five seconds for ever. Only in the thread that made it, the Nucleus's.
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

/* NULL: the host does not allow it, or one of its files. */
struct io_ring *io_ring_create(struct bus *bus, const int *descriptors, unsigned count);
void io_ring_destroy(struct io_ring *ring);     /* NULL does nothing; waits for what is under way */

/* It is given to the host at the next look. False: the ring is full, or the descriptor is not its. */
bool io_ring_submit(struct io_ring *ring, struct io_ring_read *read);

/* Is there something to look at: a read to be given, or finished? Cheap: looks at memory alone. */
bool io_ring_ready(const struct io_ring *ring);
/* Give to the host what was submitted, in one call, and call `done` of what it has finished. Some completions arrive by the bus, too. */
void io_ring_look(struct io_ring *ring);

/* Who made the ring may sleep on this word, in a wait that the host starts again when it was interrupted: the host interrupts it at each completion, and
 * the word has another value then. What does not change it so arrives by the bus. */
volatile uint32_t *io_ring_word(const struct io_ring *ring);

/* Reads submitted so far, for people and tests. */
uint64_t io_ring_count(const struct io_ring *ring);

#endif
