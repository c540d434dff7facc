/* site.h: what the tests of the Nucleus stand on: a whole Nucleus on the fake host, and actors
 * whose code is the test.
 *
 * A test makes actors and threads, and says which nucleus calls or traps they do. Structures for
 * calls are put into the actor's memory by `put` and looked at by `get`. Everything stands still
 * between two steps of a test; time passes only by `pass`.
 */
#ifndef TESTS_NUCLEUS_SITE_H
#define TESTS_NUCLEUS_SITE_H

#include <criterion/criterion.h>
#include <dki/dki.h>
#include "actor.h"
#include "call.h"
#include "fake_host.h"
#include "fake_memory.h"
#include "ipc.h"
#include "nucleus.h"
#include "sched.h"
#include "ui.h"
#include "vm.h"

#define US 1000ll
#define MS 1000000ll

/* .init and .fini: four CPUs; at the end no actor, thread, port, message, call, timer, watch or
 * frame may be left over. */
void site_start(void);
void site_start_with(int cpus);
void site_end(void);

struct actor *actor_new(int privilege);
/* A thread that runs, or would if there is a CPU for it. */
struct thread *thread_new(struct actor *actor);
struct thread *thread_new_with(struct actor *actor, int class, int priority);
/* A user actor with one thread. */
struct thread *user_new(void);

/* The thread makes a nucleus call. Its result if it returns, K_BLOCKED if it waits (or does not run
 * any more). The thread must run. */
int64_t call_by(struct thread *thread, unsigned number, const uint64_t arg[6]);
#define DO(thread, name, ...) call_by(thread, CALL_##name, (const uint64_t[6]){ __VA_ARGS__ })
/* The result of the call that it waited in; fails the test if it still waits. */
int64_t result_of(struct thread *thread);
bool waits(const struct thread *thread);
/* It executes a system call of some Unix, or faults. */
void trap_by(struct thread *thread, uint64_t number, const uint64_t arg[6]);
void fault_by(struct thread *thread, vaddr_t address, bool write);

/* Handle everything that is under way; time passes by <time> ns, from deadline to deadline. */
void settle(void);
void pass(int64_t time);

/* Memory of an actor. */
uint64_t put(struct actor *actor, const void *bytes, size_t size); /* its address */
void get(struct actor *actor, uint64_t address, void *bytes, size_t size);
uint64_t room(struct actor *actor, size_t size); /* zeros */
#define PUT(actor, ...) put(actor, &(__VA_ARGS__), sizeof(__VA_ARGS__))

/* Messages. */
struct sent {
    uint64_t desc, annex, body;
};
uint64_t cap_of(struct actor *of,
                struct actor *in); /* the address, in <in>, of the capability of <of> */
uint64_t dest_to(struct actor *in, const KnUniqueId *ui, unsigned mode);
/* A descriptor of a message in the actor's memory; <annex> a word to put there, <body> NULL: none,
 * or no room. */
uint64_t message(struct actor *actor, uint64_t annex, const char *body, uint32_t body_size,
                 uint32_t flags);
uint64_t message_annex(struct actor *actor, uint64_t desc); /* its first word */
void message_body(struct actor *actor, uint64_t desc, char *to, size_t size);
KnMsgDesc message_desc(struct actor *actor, uint64_t desc);
/* ipcReceive of any size into fresh memory; the result, the descriptor's address in *ret_desc. */
int64_t receive_by(struct thread *thread, int li, KnTime delay, uint64_t *ret_desc);
int64_t reply_by(struct thread *thread, uint64_t annex, const char *body, uint32_t size);
KnUniqueId port_new(struct actor *actor, int *ret_li);

#endif
