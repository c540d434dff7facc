/* actor.h: actors. */
#ifndef NUCLEUS_ACTOR_H
#define NUCLEUS_ACTOR_H

#include <chorus.h>
#include <stdbool.h>
#include "list.h"
#include "table.h"
#include "thread.h"

struct vm_space;
struct host_space;
struct port;

enum {
    ACTOR_THREADS_MAX = 4095,
    ACTOR_PORTS_MAX = 4096,
    ACTOR_TIMERS_MAX = 1024,
    ACTOR_WATCHES_MAX = 8192,
    ACTOR_GROUPS_MAX = 256,
    ACTOR_LOG_BURST = 1000,     /* lines that a user actor may log at once, */
    ACTOR_LOG_RATE = 200,       /* and per second */
    ACTOR_QUEUED_MAX = 8 << 20, /* bytes of messages that it sent and that are not dealt with yet */
    SITE_QUEUED_MAX = 256 << 20, /* of all actors */
    SITE_THREADS_MAX = 65536,
    SITE_PORTS_MAX = 65536
};

struct actor {
    struct list of_site;
    struct table_entry entry; /* by its UI */
    KnCap cap;
    uint32_t serial; /* it is the site's so manieth, from 1: for people */
    char name[K_NAMEMAX];
    int privilege;
    KnProtId pi;
    bool stopped, deleting;
    struct host_space *host; /* NULL after its process died */
    struct vm_space *vm;     /* regions: vm.h */
    struct list threads;
    struct list dead_threads; /* until the machine gives them back */
    struct list ports;
    struct list timers;
    KnTrapConnect trap, exception, abort; /* who handles what; handler and port cleared: nobody */
    struct list watches;                  /* who wants to know of its end */
    KnTime cpu_time;                      /* of its past threads */
    uint64_t messages, faults, traps, routines;

    struct id_table thread_ids, port_ids, timer_ids;
    struct port *default_port;
    struct list pending_ports;       /* enabled, with messages */
    struct wait_queue any_receivers; /* threads that receive from any enabled port */
    struct wait_queue lenders;       /* threads that wait to be lent to routines: handler.h */
    struct list laps, lap_calls;     /* its LAPs; calls of them that wait for a lender, oldest first: lap.h */
    unsigned watching;               /* watches that it asked for */
    unsigned groups;                 /* that it made */
    int64_t usage_window; /* the window of time that <usage> is of, */
    KnTime usage;         /* its CPU time in it: sched.c */
    int64_t log_paid_until; /* its log lines so far are paid for until then, see system.c */
    size_t queued;          /* bytes, see ACTOR_QUEUED_MAX */
};

/* NULL: no such actor, or the key is wrong. <cap> as copied in; cleared cap: <self>. */
struct actor *actor_find(const KnCap *cap, struct actor *self);
struct actor *actor_by_ui(const KnUniqueId *ui); /* NULL: none */
/* Make an empty one, as actorCreate does. <init> NULL: inherits nothing. */
int actor_create(const struct actor *init, int privilege, struct actor **ret_actor);
/* Delete it because of <reason>, a HOST_DEAD_ or K_E value, with a line in the log unless K_OK. Its
 * waiting callers get K_EDEAD. */
void actor_kill(struct actor *actor, int reason, const char *words);
/* The machine says that its process is gone. */
void actor_space_dead(struct actor *actor, int code);

/* Dead actors whose memory a device still works on: look whether it is done. */
void actors_finish_lingering(void);
bool actors_linger(void);

struct list *actor_list(void);
size_t actor_count(void);
size_t actor_count_existing(void); /* and those whose process has not been reported dead yet */
unsigned actors_max(void);
KnTime actor_cpu_time(struct actor *actor); /* up to now, past threads included */
void actors_init(unsigned most);

#endif
