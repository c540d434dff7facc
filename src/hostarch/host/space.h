/* host/space.h: the memory of user actors, as the machine sees it.
 *
 * A space is where one user actor's code runs. The Nucleus keeps its own tables of what is mapped; it orders changes here.
 * Orders are queued, executed in order, and take effect when the machine says so:
 *   - before any thread of the space is resumed (host_cpu_run) all orders given earlier are executed;
 *   - host_space_commit gives a ticket; when host_space_reported(space) has reached it (HOST_EVENT_SPACE tells of progress), all orders
 *     given before are done, in every CPU's view: only then may a frame that was unmapped or made read-only be read as final, given to
 *     somebody else, or freed.
 * Nothing waits here. Nothing depends on the actor's obedience. A space whose process dies is reported (HOST_EVENT_SPACE_DEAD); its
 * tickets count as reached.
 */
#ifndef HOST_SPACE_H
#define HOST_SPACE_H

#include "memory.h"

struct host_space;
typedef uint64_t vaddr_t;

enum { HOST_READ = 1, HOST_WRITE = 2, HOST_EXEC = 4 };

/* Make an empty space; <owner> comes back in events. K_OK, K_ELIMIT (the number of processes), K_ENOMEM. */
int host_space_create(struct host_space **ret_space, void *owner);
/* The space is used no more: what runs in it is ended at once. HOST_EVENT_SPACE_DEAD follows when its process is gone, with the owner
 * given; until then its frames stay referenced. The pointer is invalid after that event. */
void host_space_destroy(struct host_space *space);

/* Map a run of frames (protection 0: the range is unmapped instead). Replaces what was there. */
void host_space_map(struct host_space *space, vaddr_t at, frame_t first, size_t pages, unsigned prot);
void host_space_unmap(struct host_space *space, vaddr_t at, size_t pages);
void host_space_protect(struct host_space *space, vaddr_t at, size_t pages, unsigned prot);

typedef uint64_t host_ticket_t;
/* Submit what is queued, now. Returns the ticket of the last order. */
host_ticket_t host_space_commit(struct host_space *space);
/* The ticket that orders queued so far will have; submits nothing. */
host_ticket_t host_space_ticket(const struct host_space *space);
host_ticket_t host_space_reported(const struct host_space *space);

/* System calls by the gate that are answered inside the actor: each number below 128 of <numbers> with its value. All earlier ones are forgotten. At most
 * HOST_ANSWERS_MOST; K_EINVAL. Nothing for supervisor spaces. */
#define HOST_ANSWERS_MOST 8
int host_space_answers(struct host_space *space, const uint32_t *numbers, const int64_t *values, size_t count);

/* How many separate mappings a space may have. The Nucleus counts and coalesces before it gets there. */
size_t host_space_mappings_max(void);
/* The host's process number, for people (ps, the debugger); 0: none yet. Never shown to an actor. */
int host_space_pid(const struct host_space *space);

#endif
