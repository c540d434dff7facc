/* What a site tells who wants to see it live (`chorus show`): the layout of the memory that it writes while somebody looks.
 *
 * The site writes and never waits; who looks maps it for reading only, follows `head`, and notices by the numbers of events that some were overwritten. */

#ifndef CHORUS_SHOW_SHARE_H
#define CHORUS_SHOW_SHARE_H

#include <stdatomic.h>
#include <stdint.h>

#define SHOW_MAGIC   0x574f4853u /* "SHOW" */
#define SHOW_VERSION 1u
#define SHOW_EVENTS  65536u      /* a power of two */
#define SHOW_ACTORS  1024u
#define SHOW_NAME    24

enum show_kind {
    SHOW_RUN = 1,  /* from now on `cpu` runs thread `thread` of `actor`; actor 0: it is idle */
    SHOW_SENT,     /* `actor` sent message `number`; 0 cannot be: the Nucleus itself is 1 */
    SHOW_RECEIVED, /* `actor` received it, at its port `thread` */
    SHOW_FAULT,    /* a page fault of `actor`, at address `number`; `cpu` 1: it was writing */
    SHOW_CALL,     /* a trap for a subsystem, a Linux call `number` of thread `thread` */
    SHOW_GONE,     /* `actor` has ended; `cpu` 1: it was killed, or failed */
};

struct show_event {
    uint64_t time; /* ns */
    uint64_t number;
    uint32_t actor, thread;
    uint16_t kind, cpu;
    uint32_t unused;
};

/* An actor, at place `actor` % SHOW_ACTORS. */
struct show_actor {
    _Atomic uint32_t actor; /* written last; 0: nobody */
    uint32_t supervisor;    /* it lives in the nucleus process */
    uint64_t memory;        /* bytes mapped; as of `memory_time` */
    char name[SHOW_NAME];
};

struct show_share {
    uint32_t magic, version;
    uint32_t cpus;
    uint32_t unused;
    _Atomic uint64_t head;  /* events so far; number n is at n % SHOW_EVENTS, and whole when head is beyond it */
    _Atomic uint64_t memory_time;
    uint64_t memory, memory_free, memory_cached; /* bytes: all, unused, pages of segments */
    struct show_actor actors[SHOW_ACTORS];
    struct show_event events[SHOW_EVENTS];
};

_Static_assert(sizeof(struct show_event) == 32, "an event has no holes");

#endif
