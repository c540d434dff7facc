/* The bus: how the host's events reach the devices, without a device ever waiting.
 *
 * Devices watch host descriptors, and get completions of work that host threads did for them (the
 * I/O pool). Both end in callbacks in the Nucleus thread, made by `bus_run`:
 *   - the interrupt thread waits for `bus_descriptor` to become readable and posts an event to the
 *     Nucleus (it should watch edge-triggered or one-shot: the descriptor stays readable until
 *     bus_run has been called);
 *   - the Nucleus, which must not pay a host call to know of a completion, looks at
 *     `bus_has_completions` (one load) whenever it looks for mail, and calls bus_run.
 */
#ifndef DEVICES_BUS_H
#define DEVICES_BUS_H

#include <stdbool.h>
#include <stdint.h>

struct bus;

/* Work that was done elsewhere: `done` is called in the Nucleus thread. Lies in what it belongs
 * to; posted once at a time. */
struct bus_completion {
    void (*done)(struct bus_completion *completion);
    struct bus_completion *next;        /* the bus's own */
};

/* Interest in a host descriptor. */
struct bus_watch {
    void (*ready)(struct bus_watch *watch, uint32_t events);    /* EPOLLIN, EPOLLOUT, ... */
    int descriptor;                     /* the bus's own, from here on */
    uint32_t events;
    struct bus *bus;
    struct bus_watch *next;
};

/* NULL and errno: the host refuses. `wake` is called by the thread that posts a completion, after
 * bus_has_completions became true; it must be safe in any thread. NULL: bus_descriptor becomes
 * readable for that too, which costs some host calls. */
struct bus *bus_create(void (*wake)(void *cookie), void *cookie);
void bus_destroy(struct bus *bus);      /* NULL does nothing */

/* Becomes readable when bus_run has something to do. */
int bus_descriptor(const struct bus *bus);

/* Any host thread may ask. Never false while a completion waits. */
bool bus_has_completions(const struct bus *bus);

/* Call back for what has happened; a bounded number of callbacks, without waiting. Nucleus thread
 * only. True: there may be more, call again soon. */
bool bus_run(struct bus *bus);

/* From any host thread. */
void bus_post(struct bus *bus, struct bus_completion *completion);

/* Nucleus thread only: if it was posted and not yet called back, it never will be. */
void bus_cancel(struct bus *bus, struct bus_completion *completion);

/* Watch `descriptor` for nothing yet, until bus_watch_stop. False and errno: it cannot be watched (a regular file), or is watched
 * already (EEXIST): who shares one makes another of it (F_DUPFD_CLOEXEC). */
bool bus_watch_start(struct bus *bus, struct bus_watch *watch, int descriptor,
                     void (*ready)(struct bus_watch *watch, uint32_t events));
/* Watch for these events from now on (level-triggered): 0 for none. The host reports EPOLLERR and
 * EPOLLHUP only while something is watched for. */
void bus_watch_set(struct bus_watch *watch, uint32_t events);
void bus_watch_stop(struct bus_watch *watch);

#endif
