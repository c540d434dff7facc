/* The I/O pool: a few host threads that do what may block, so that the Nucleus thread need not.
 *
 * A job is work (in a pool thread) and a completion (in the Nucleus thread, by the bus). The Nucleus
 * thread alone submits and cancels. Jobs start in the order of their submission; with several
 * threads they end in any order. It is also what disks fall back on where there is no I/O ring.
 */
#ifndef DEVICES_IO_POOL_H
#define DEVICES_IO_POOL_H

#include <stdbool.h>

#include "bus.h"

struct io_pool;

struct io_job {
    void (*work)(struct io_job *job);   /* in a pool thread; may block; touches only what is the job's */
    void (*done)(struct io_job *job);   /* in the Nucleus thread, when the work is finished */
    bool alone;                         /* no other such job of the pool is worked on meanwhile, and they are begun in order */
    struct bus_completion completion;   /* the pool's own, from here on */
    struct io_job *next;
    struct io_pool *pool;
};

/* A pool of so many threads, all started now: later the process may not be allowed to. They ignore all
 * signals. NULL and errno: no memory, or not one thread could be started. */
struct io_pool *io_pool_create(struct bus *bus, unsigned threads);

/* Every job must be done or cancelled; a thread whose job does not end is left behind. */
void io_pool_destroy(struct io_pool *pool);     /* NULL does nothing */

void io_pool_submit(struct io_pool *pool, struct io_job *job);

/* True: the job had not started, and neither `work` nor `done` will be called. False: it is being
 * worked on, or finished, and `done` will be called. */
bool io_pool_cancel(struct io_pool *pool, struct io_job *job);

#endif
