/* world.h: what the tests of memory stand on: actors and threads without the rest of the Nucleus, mappers that the test plays, and
 * user accesses that fault until they succeed.
 */
#ifndef TESTS_MEMORY_WORLD_H
#define TESTS_MEMORY_WORLD_H

#include <criterion/criterion.h>
#include "call.h"
#include "fake_memory.h"
#include "memory/fault.h"
#include "memory/mapping.h"
#include "vm.h"

#define PAGES(n) ((uint64_t)(n)*PAGE_SIZE)
#define BASE 0x10000000ull

/* mapper.c: the mappers that the test plays answer what the Nucleus asked; at the end nothing is asked any more. */
void world_mappers_answer(void);
void world_mappers_end(void);

/* .init and .fini of the suites: 4096 frames at first; at the end every frame must be free again. */
void world_start(void);
void world_start_with(frame_t frames);
void world_end(void);

struct actor *actor_new(void);
struct actor *actor_new_supervisor(void);
void actor_end(struct actor *actor);
/* The thread that makes calls for an actor. */
struct thread *thread_of(struct actor *actor);

/* Make a nucleus call as a thread of <actor>; pointers are the test's own. While the call waits, the machines execute and report, and mappers
 * answer (world_mapper); K_BLOCKED if it waits nevertheless. */
int64_t call_as(struct actor *actor, call_function *function, const uint64_t arg[6]);
#define CALL(actor, name, ...) call_as(actor, call_##name, (const uint64_t[6]){__VA_ARGS__})
#define ARG(pointer) ((uint64_t)(uintptr_t)(pointer))

/* rgnAllocate of pages at a fixed place, or K_ANYWHERE (at 0). Returns the address, or the error. */
int64_t allocate(struct actor *actor, vaddr_t at, uint64_t pages, uint32_t options);
int64_t release(struct actor *actor, vaddr_t at, uint64_t pages);
int64_t protect(struct actor *actor, vaddr_t at, uint64_t pages, uint32_t options);

/* Code of the actor: the access faults until it succeeds. Returns K_OK or the exception. */
int user_write(struct actor *actor, vaddr_t address, uint8_t value);
int user_read(struct actor *actor, vaddr_t address, uint8_t *ret_value);
int user_exec(struct actor *actor, vaddr_t address);
/* The byte there; fails the test if it cannot be read. */
uint8_t user_byte(struct actor *actor, vaddr_t address);
/* The machines execute what is queued, and the Nucleus hears of it. */
void machines_run(void);
/* The machines run, mappers answer, time passes. */
void world_go_on(void);
/* Frames that are not free. */
uint64_t frames_in_use(void);

extern int64_t world_time;
/* Faults taken by the user_ functions. */
extern unsigned world_faults;
extern int64_t world_delay; /* ns that pass between a call's look at the clock and its wait: 0 at first */

#endif
