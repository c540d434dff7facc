/* actor.h: actors. */
#ifndef NUCLEUS_ACTOR_H
#define NUCLEUS_ACTOR_H

#include <chorus.h>
#include <stdbool.h>
#include "list.h"

struct vm_space;
struct host_space;

struct actor {
    struct list of_site;
    KnCap cap;
    char name[K_NAMEMAX];
    int privilege;
    KnProtId pi;
    bool stopped, deleting;
    struct host_space *host; /* NULL after its process died */
    struct vm_space *vm;     /* regions: vm.h */
    struct list threads;
    struct list ports;
    struct list timers;
    KnTrapConnect trap, exception, abort; /* who handles what; handler and port cleared: nobody */
    struct list watches;     /* who wants to know of its end */
    KnTime cpu_time;         /* of its past threads */
    uint64_t messages, faults, traps;
    void *tables;            /* local identifiers; private to actor.c */
};

/* NULL: no such actor, or the key is wrong. <cap> as copied in; cleared cap: <self>. */
struct actor *actor_find(const KnCap *cap, struct actor *self);
/* Delete it because of <reason>, a HOST_DEAD_ or K_E value, with a line in the log unless K_OK. Its waiting callers get K_EDEAD. */
void actor_kill(struct actor *actor, int reason, const char *words);

#endif
