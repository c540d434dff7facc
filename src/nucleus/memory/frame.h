/* frame.h: who uses which frame of physical memory.
 *
 * A buddy allocator hands out contiguous runs, since a run is mapped by one order and is one mapping of the host. A frame
 * is in use for two kinds of reasons, counted apart:
 *   slots  places in trees (tree.h) that say "this page is in this frame". More than one: the page is shared copy-on-write.
 *   holds  everything that may still touch the bytes: mappings in a space, mappings that were removed but whose removal
 *          the machine has not yet reported, pins of devices, transfers to and from mappers.
 * It is free when both are zero. So a frame that an actor might still reach is never given to anybody else.
 *
 * Free frames are of three kinds: ready (zero, the host has memory for them), soiled, and cold (zero, never touched since the
 * machine had them). Clearing and touching is done in idle time, so that a fault need not.
 */
#ifndef NUCLEUS_MEMORY_FRAME_H
#define NUCLEUS_MEMORY_FRAME_H

#include <host/memory.h>
#include <stdbool.h>
#include <stdint.h>

#define FRAME_ORDER_MAX 12 /* a run has at most 4096 frames, 16 MB */

enum frame_flags {
    FRAME_FREE = 1,        /* first frame of a free block */
    FRAME_TOUCHED = 2,     /* the host has memory for it */
    FRAME_SOILED = 4,      /* may hold something else than zeros */
    FRAME_CACHE = 8,       /* a page of a segment: <cache> and <page> count; else <mappings> */
    FRAME_CHAINED = 0x10,  /* <mappings> is a chain, see mapping.c */
    FRAME_DIRTY = 0x20,    /* of a segment: its mapper has not yet got it */
    FRAME_CLEANING = 0x40, /* is on the way to its mapper */
    FRAME_RECENT = 0x80,   /* of a segment: used since the clock hand was here */
    FRAME_CROWDED = 0x100  /* mapped so often that the chain was given up */
};

struct frame {
    uint32_t slots, holds;
    uint16_t flags;
    uint8_t order; /* of a free block; in use: how often it is pinned, see pin.c */
    uint8_t kind;  /* of a free block: the list it is in */
    uint32_t next, previous; /* free: its list. Page of a segment: the list of all of them, in order of use. Chained: <next> is its length */
    union {
        struct {
            uint32_t cache, page; /* number of the local cache; page of the segment */
        };
        uint64_t mappings; /* anonymous: where it is mapped, see mapping.c */
        int64_t since;     /* free block: when it became free */
    };
};
_Static_assert(sizeof(struct frame) == 32, "a frame's record stays small");

extern struct frame *frame_table;

enum frame_use { FRAME_FOR_ZEROS, FRAME_FOR_COPY };

/* At boot: all frames of the host are free and zero. */
void frame_init(void);

/* Take a run of up to <want> frames, as many as there are together; its length is returned, 0: none. With FRAME_FOR_ZEROS they
 * hold zeros. No slot and no hold: the taker adds one, or gives them back by frame_return. Leaves the reserve alone. */
size_t frame_take(size_t want, enum frame_use use, frame_t *ret_first);
/* The same, zero, from the reserve, for those who push pages out. */
size_t frame_take_reserved(size_t want, frame_t *ret_first);
/* Give frames back that have neither slot nor hold. */
void frame_return(frame_t first, size_t count);

static inline struct frame *frame_record(frame_t frame) { return &frame_table[frame]; }
static inline void *frame_bytes(frame_t frame) { return host_frame_address(frame); }
static inline void frame_slot_add(frame_t frame) { frame_table[frame].slots++; }
static inline void frame_hold(frame_t frame) { frame_table[frame].holds++; }
void frame_slot_drop(frame_t frame);
void frame_unhold(frame_t frame);
/* A run at once. */
void frame_unhold_run(frame_t first, size_t count);

uint64_t frame_free_count(void);
uint64_t frame_available_count(void); /* without the reserve */
uint64_t frame_total(void);
void frame_reserve_set(uint64_t frames);

/* A step of work for idle time, of at most some 50 us: clear, touch, give back. True: there is more. <now> is host_time(). */
bool frame_idle_work(int64_t now);
uint64_t frame_ready_count(void);

/* Called with every run that becomes free, if set: tests check there that nobody maps it. */
extern void (*frame_freed_hook)(frame_t first, size_t count);

#endif
