/* fake_world.h: what the parts of the fake Nucleus share: fake_memory.c (actors and their memory), fake_servers.c (om and a terminal behind messages and segments),
 * fake_nucleus.c (threads, time, messages), fake_program.c (what a test does). */
#ifndef FAKE_WORLD_H
#define FAKE_WORLD_H

#include "fake_nucleus.h"

struct fake_actor {
    struct fake_actor *next;
    KnCap cap;
    uint64_t watch;
    struct page *pages;
    struct region *regions;
    int last_li;
};

struct fake_thread {
    struct fake_thread *next;
    struct fake_actor *actor;
    KnThreadLid li;
    uint64_t cookie;
    KnThreadCtx registers;
    enum fake_where where;
    bool aborted, in_trap;
    KnMsgId saved;
    uint32_t last_number;
    KnTrapReply reply;
    uint8_t body[256];
};

extern struct fake_actor *fake_all_actors;
extern struct fake_thread *fake_all_threads;
extern KnTime fake_now, fake_timer_due; /* 0: it is not set */
extern bool fake_sender_is_nucleus;     /* of the message that pm has */

/* NULL: there is none. */
struct fake_actor *fake_actor_of(const KnCap *cap);
struct fake_thread *fake_thread_of_cookie(uint64_t cookie);
/* Between an actor's memory and ours; K_EFAULT where there is none. */
int fake_copy_memory(struct fake_actor *actor, VmAddr at, uint8_t *host, VmSize size, bool write);

void fake_servers_start(void);
void fake_servers_end(void);
extern const uint64_t fake_om_port;
/* The terminal is given words; returns the token of who waits for them, or 0. */
uint64_t fake_terminal_give(const char *text);

#endif
