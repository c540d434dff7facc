/* Snapshots: what a running site tells of itself to `chorus ps` and `chorus top`.
 *
 * The Nucleus fills one (snapshot_new, snapshot_add_actor, snapshot_add_thread) and hands it to
 * control_answer; snapshot_write turns it into lines of text for the control socket, and
 * snapshot_read makes the same snapshot of these lines on the other side.
 *
 * All counters run from boot and never fall; rates are the reader's business. */

#ifndef CHORUS_SNAPSHOT_H
#define CHORUS_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { SNAPSHOT_NAME_SIZE = 40 }; /* the end mark included */

enum snapshot_thread_state {
    SNAPSHOT_RUNNING,
    SNAPSHOT_READY,
    SNAPSHOT_WAITING, /* for a message, a time, a semaphore, a reply, a page */
    SNAPSHOT_STOPPED,
};

enum snapshot_actor_kind {
    SNAPSHOT_USER,
    SNAPSHOT_SUPERVISOR,
    SNAPSHOT_SYSTEM,
};

struct snapshot_thread {
    uint32_t number; /* unique within the actor */
    enum snapshot_thread_state state;
    uint32_t priority;
    uint64_t cpu_ns;
    char name[SNAPSHOT_NAME_SIZE]; /* may be empty; and the nucleus call that it is in */
};

struct snapshot_actor {
    uint64_t ui[2];
    enum snapshot_actor_kind kind;
    uint32_t host_pid;       /* of its host process; 0 for a supervisor actor */
    uint64_t memory;         /* bytes of frames mapped for it; shared ones count in each */
    uint64_t cpu_ns;
    uint64_t messages;       /* sent and received */
    uint64_t faults;
    char name[SNAPSHOT_NAME_SIZE];
    size_t thread_count;
    struct snapshot_thread *threads;
};

struct site_snapshot {
    char name[SNAPSHOT_NAME_SIZE]; /* --name */
    uint64_t uptime_ns;        /* when it was taken, counted from boot */
    uint64_t memory;           /* physical memory, bytes */
    uint64_t memory_free;
    uint64_t nucleus_cpu_ns;   /* host CPU time of the nucleus process */
    uint32_t cpus;
    uint32_t host_processes;   /* now, the nucleus process and the zygote included */
    uint32_t processes_most;   /* --processes */
    size_t actor_count;
    struct snapshot_actor *actors;
};

/* An empty snapshot, all zero; NULL when there is no memory. */
struct site_snapshot *snapshot_new(void);
void snapshot_free(struct site_snapshot *snapshot); /* takes NULL */

/* Add a copy and return its place, valid until the next add at the same level; NULL when there
 * is no memory. The threads of what is passed are not copied: add them afterwards. */
struct snapshot_actor *snapshot_add_actor(struct site_snapshot *snapshot,
                                          const struct snapshot_actor *actor);
struct snapshot_thread *snapshot_add_thread(struct snapshot_actor *actor,
                                            const struct snapshot_thread *thread);

/* Lines of text, the last one is "end". What is not printable in a name becomes '?'. */
bool snapshot_write(const struct site_snapshot *snapshot, FILE *to);

/* The opposite. The lines come from another process: whatever is wrong with them gives NULL. */
struct site_snapshot *snapshot_read(FILE *from);

const char *snapshot_state_name(enum snapshot_thread_state state);

#endif
