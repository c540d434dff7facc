/* world.c: see world.h. */
#include "world.h"

#include <host/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "deadline.h"
#include "memory/frame.h"

#define ACTORS 256

int64_t world_time = 1000;
unsigned world_faults;
int64_t world_delay;

static struct actor *actors[ACTORS];
static struct thread threads[ACTORS];
static int64_t wake_at[ACTORS];
static unsigned actors_made;

void world_start_with(frame_t frames)
{
    fake_memory_start(frames);
    frame_freed_hook = fake_memory_frames_freed;
    vm_init();
}

void world_start(void) { world_start_with(4096); }

static unsigned actor_index(struct actor *actor)
{
    for (unsigned i = 0; i < actors_made; i++) {
        if (actors[i] == actor)
            return i;
    }
    cr_assert_fail("no such actor");
    abort();
}

struct thread *thread_of(struct actor *actor) { return &threads[actor_index(actor)]; }

static struct actor *actor_make(int create(struct host_space **, void *))
{
    struct actor *actor = calloc(1, sizeof *actor);
    list_init(&actor->threads);
    cr_assert_eq(create(&actor->host, actor), K_OK);
    cr_assert_eq(vm_space_create(actor), K_OK);
    unsigned index = 0;
    while (index < actors_made && actors[index] != NULL)
        index++;
    cr_assert_lt(index, ACTORS);
    if (index == actors_made)
        actors_made++;
    memset(&threads[index], 0, sizeof threads[index]);
    threads[index].actor = actor;
    threads[index].state = THREAD_INACTIVE;
    list_append(&actor->threads, &threads[index].of_actor);
    wake_at[index] = INT64_MAX;
    actors[index] = actor;
    return actor;
}

struct actor *actor_new(void) { return actor_make(host_space_create); }
struct actor *actor_new_supervisor(void) { return actor_make(host_space_create_supervisor); }

void actor_end(struct actor *actor)
{
    unsigned index = actor_index(actor);
    struct vm_space *vm = actor->vm;
    struct host_space *host = actor->host;
    if (host != NULL)
        host_space_destroy(host);
    vm_space_destroy(actor);
    if (host != NULL) {
        fake_space_die(host);
        vm_space_gone(vm);
    }
    free(actor);
    actors[index] = NULL;
}

void world_end(void)
{
    for (unsigned i = 0; i < actors_made; i++) {
        if (actors[i] != NULL)
            actor_end(actors[i]);
    }
    world_mappers_end();
    while (space_reap(1000000))
        ;
    uint64_t frames, free, cached;
    vm_counts(&frames, &free, &cached);
    cr_assert_eq(free, frames, "%lu of %lu frames are left over", frames - free, frames);
    cr_assert_eq(tree_nodes_in_use(), 0, "%lu tree nodes are left over", tree_nodes_in_use());
    fake_memory_expect_no_space();
}

void machines_run(void)
{
    for (unsigned i = 0; i < actors_made; i++) {
        if (actors[i] != NULL && actors[i]->host != NULL) {
            fake_space_execute(actors[i]->host);
            vm_space_reported(actors[i]);
        }
    }
}

/* Nothing happens but that time passes until a waiting thread gives up. */
static void world_wait(struct thread *thread)
{
    for (unsigned i = 0; i < 3 && thread->waiting_in != NULL && wake_at[thread - threads] != INT64_MAX; i++) {
        if (world_time < wake_at[thread - threads])
            world_time = wake_at[thread - threads];
        world_go_on();
    }
}

void world_go_on(void)
{
    world_time += 1000000;
    machines_run();
    world_mappers_answer();
    deadlines_run(world_time);
    for (unsigned i = 0; i < actors_made; i++) {
        if (actors[i] != NULL && threads[i].waiting_in != NULL && wake_at[i] <= world_time)
            thread_wake(&threads[i], K_ETIMEOUT);
    }
}

int64_t call_as(struct actor *actor, call_function *function, const uint64_t arg[6])
{
    struct thread *thread = thread_of(actor);
    memset(&thread->call, 0, sizeof thread->call);
    memcpy(thread->call.arg, arg, sizeof thread->call.arg);
    thread->call.number = 1;
    for (unsigned tries = 0; tries < 100000; tries++) {
        int64_t result = function(thread);
        if (result != K_BLOCKED)
            return result;
        world_go_on();
        world_wait(thread);
        if (thread->waiting_in != NULL)
            return K_BLOCKED;
        thread->call.restarted = true;
    }
    cr_assert_fail("the call starts again for ever");
    abort();
}

int64_t allocate(struct actor *actor, vaddr_t at, uint64_t pages, uint32_t options)
{
    KnRgnDesc rgn = {.startAddr = at, .size = pages * PAGE_SIZE, .options = options | (at == 0 ? K_ANYWHERE : 0)};
    int64_t status = CALL(actor, rgnAllocate, 0, ARG(&rgn));
    return status == K_OK ? (int64_t)rgn.startAddr : status;
}

int64_t release(struct actor *actor, vaddr_t at, uint64_t pages)
{
    KnRgnDesc rgn = {.startAddr = at, .size = pages * PAGE_SIZE};
    return CALL(actor, rgnFree, 0, ARG(&rgn));
}

int64_t protect(struct actor *actor, vaddr_t at, uint64_t pages, uint32_t options)
{
    KnRgnDesc rgn = {.startAddr = at, .size = pages * PAGE_SIZE, .options = options};
    return CALL(actor, rgnSetProtect, 0, ARG(&rgn));
}

static int user_access(struct actor *actor, vaddr_t address, bool write, bool exec, uint8_t **ret_byte)
{
    struct thread *thread = thread_of(actor);
    memset(&thread->call, 0, sizeof thread->call);
    for (unsigned tries = 0; tries < 1000; tries++) {
        fake_space_execute(actor->host);
        vm_space_reported(actor);
        *ret_byte = fake_space_access(actor->host, address, write, exec);
        if (*ret_byte != NULL)
            return K_OK;
        world_faults++;
        int status = vm_fault(thread, address, write, exec);
        if (status == K_BLOCKED) {
            world_go_on();
            world_wait(thread);
            if (thread->waiting_in != NULL)
                return K_BLOCKED;
        } else if (status != K_OK) {
            return status;
        }
    }
    cr_assert_fail("the access at %lx faults for ever", address);
    abort();
}

int user_write(struct actor *actor, vaddr_t address, uint8_t value)
{
    uint8_t *byte;
    int status = user_access(actor, address, true, false, &byte);
    if (status == K_OK)
        *byte = value;
    return status;
}

int user_read(struct actor *actor, vaddr_t address, uint8_t *ret_value)
{
    uint8_t *byte;
    int status = user_access(actor, address, false, false, &byte);
    if (status == K_OK)
        *ret_value = *byte;
    return status;
}

int user_exec(struct actor *actor, vaddr_t address)
{
    uint8_t *byte;
    return user_access(actor, address, false, true, &byte);
}

uint8_t user_byte(struct actor *actor, vaddr_t address)
{
    uint8_t value = 0;
    int status = user_read(actor, address, &value);
    cr_assert_eq(status, K_OK, "reading %lx: %d", address, status);
    return value;
}

/* --- the rest of the Nucleus, as far as memory needs it --- */

int64_t host_time(void) { return world_time; }

void host_panic(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "panic: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

void host_log(int level, const char *format, ...) { (void)level, (void)format; }

int call_in(struct thread *thread, uint64_t argument, void *to, size_t size)
{
    (void)thread;
    if (argument == 0)
        return 1;
    memcpy(to, (const void *)argument, size);
    return K_OK;
}

int call_out(struct thread *thread, uint64_t argument, const void *from, size_t size)
{
    (void)thread;
    if (argument == 0)
        return 1;
    memcpy((void *)argument, from, size);
    return K_OK;
}

bool call_is_null(const struct thread *thread, uint64_t argument)
{
    (void)thread;
    return argument == 0;
}

int call_actor(struct thread *thread, unsigned index, struct actor **ret_actor)
{
    uint64_t argument = thread->call.arg[index];
    *ret_actor = argument == 0 ? thread->actor : (struct actor *)argument;
    return K_OK;
}

void wait_queue_init(struct wait_queue *queue) { list_init(&queue->threads); }

int wait_queue_wait(struct wait_queue *queue, struct thread *thread, int64_t deadline, bool abortable)
{
    if (abortable && thread->aborted) {
        thread->aborted = false;
        return K_EABORT;
    }
    if (deadline <= world_time + world_delay)
        return K_ETIMEOUT;
    cr_assert_null(thread->waiting_in, "a waiting thread waits again");
    thread->waiting_in = queue;
    list_append(&queue->threads, &thread->wait_link);
    thread->state = THREAD_WAITING;
    wake_at[thread - threads] = deadline;
    return K_BLOCKED;
}

void thread_wake(struct thread *thread, int why)
{
    list_remove(&thread->wait_link);
    thread->waiting_in = NULL;
    thread->call.woken = why;
    thread->call.restarted = true;
    thread->state = THREAD_READY;
}

struct thread *wait_queue_wake_one(struct wait_queue *queue, int why)
{
    struct list *link = list_first(&queue->threads);
    if (link == NULL)
        return NULL;
    struct thread *thread = LIST_OWNER(link, struct thread, wait_link);
    thread_wake(thread, why);
    return thread;
}

void wait_queue_wake_all(struct wait_queue *queue, int why)
{
    while (wait_queue_wake_one(queue, why) != NULL)
        ;
}

uint64_t frames_in_use(void)
{
    uint64_t frames, free, cached;
    while (space_reap(1000000))
        ;
    vm_counts(&frames, &free, &cached);
    return frames - free;
}
