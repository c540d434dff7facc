/* site.c: see site.h. */
#include "site.h"

#include <stdlib.h>
#include <string.h>

#define HEAP       0x10000000ull
#define HEAP_SIZE  (64ull << 20)
#define ACTORS_MAX 16384

static struct {
    KnUniqueId ui;
    uint64_t next;
} heaps[ACTORS_MAX];

void site_start_with(int cpus)
{
    memset(heaps, 0, sizeof heaps);
    memset(&nucleus_hooks, 0, sizeof nucleus_hooks);
    fake_memory_start(8192);
    fake_host_start(cpus);
    nucleus_init(&(struct nucleus_options){ .site = 7, .fixed_seed = true, .seed = { 1, 2, 3 } });
}

void site_start(void)
{
    site_start_with(4);
}

void settle(void)
{
    for (unsigned quiet = 0, steps = 0; quiet < 3; steps++) {
        cr_assert_lt(steps, 100000, "the site does not come to rest");
        bool busy = fake_host_has_events();
        nucleus_step(fake_host_time);
        quiet = busy || fake_host_has_events() ? 0 : quiet + 1;
    }
}

void pass(int64_t time)
{
    fake_host_time_limit = fake_host_time + time;
    for (unsigned steps = 0; fake_host_time < fake_host_time_limit; steps++) {
        cr_assert_lt(steps, 1000000, "time stands still");
        nucleus_step(fake_host_time_limit);
    }
    settle();
}

void site_end(void)
{
    struct nucleus_counts left;
    uint64_t frames, free, cached;
    nucleus_fini();
    settle();
    for (int i = 0; i < 1000; i++)
        pass(60 * US);
    nucleus_count(&left);
    cr_assert_eq(left.actors, 0, "%zu actors are left over", left.actors);
    cr_assert_eq(left.threads, 0, "%zu threads are left over", left.threads);
    cr_assert_eq(left.ports, 0, "%zu ports are left over", left.ports);
    cr_assert_eq(left.messages, 0, "%zu messages are left over", left.messages);
    cr_assert_eq(left.calls, 0, "%zu call records are left over", left.calls);
    cr_assert_eq(left.timers, 0, "%zu timers are left over", left.timers);
    cr_assert_eq(left.watches, 0, "%zu watches are left over", left.watches);
    cr_assert_eq(left.groups, 0, "%zu groups are left over", left.groups);
    vm_counts(&frames, &free, &cached);
    cr_assert_eq(free, frames, "%lu of %lu frames are left over", frames - free, frames);
    fake_memory_expect_no_space();
    fake_host_expect_nothing_left();
}

struct actor *actor_new(int privilege)
{
    struct actor *actor;
    cr_assert_eq(actor_create(NULL, privilege, &actor), K_OK);
    KnRgnDesc region = { .startAddr = HEAP, .size = HEAP_SIZE, .options = K_READABLE | K_WRITABLE };
    if (privilege == K_SUPACTOR)
        region.startAddr = 0x100000000000 + HEAP;
    cr_assert_eq(vm_region_allocate(actor, &region), K_OK);
    for (int i = 0; i < ACTORS_MAX; i++)
        if (uiIsCleared(&heaps[i].ui)) {
            heaps[i].ui = actor->cap.ui;
            heaps[i].next = region.startAddr;
            return actor;
        }
    cr_assert_fail("too many actors for the test");
    return NULL;
}

struct thread *thread_new_with(struct actor *actor, int class, int priority)
{
    KnSched sched = { .schedClass = class, .priority = priority, .slice = SCHED_SLICE_DEFAULT };
    struct thread *thread;
    cr_assert_eq(thread_create(actor, &sched, &thread), K_OK);
    host_context_start(thread->context, 0x400000, 0x7000000, 0, 0);
    thread_activate(thread);
    sched_run(-1);
    settle();
    return thread;
}

struct thread *thread_new(struct actor *actor)
{
    return thread_new_with(actor, K_SCHED_FIFO, K_PRIO_USER);
}

struct thread *user_new(void)
{
    return thread_new(actor_new(K_USERACTOR));
}

static int cpu_of(const struct thread *thread)
{
    int cpu = fake_host_cpu_of(thread);
    if (cpu < 0)
        pass(SCHED_SPREAD_AFTER);
    cpu = fake_host_cpu_of(thread);
    cr_assert_geq(cpu, 0, "thread %d does not run: state %d, stopped %u", thread->li, thread->state,
                  thread->stopped);
    return cpu;
}

bool waits(const struct thread *thread)
{
    return thread->state == THREAD_WAITING;
}

int64_t call_by(struct thread *thread, unsigned number, const uint64_t arg[6])
{
    struct host_trap trap = { .kind = HOST_TRAP_CALL, .number = number };
    KnUniqueId actor = thread->actor->cap.ui;
    int li = thread->li;
    memcpy(trap.arg, arg, sizeof trap.arg);
    fake_host_trap(cpu_of(thread), &trap);
    settle();
    struct actor *now = actor_by_ui(&actor);
    if (now == NULL || id_table_find(&now->thread_ids, li) != thread || waits(thread))
        return K_BLOCKED;
    if (!thread->context->has_result)
        pass(SCHED_SPREAD_AFTER);
    return thread->context->has_result ? thread->context->result : K_BLOCKED;
}

int64_t result_of(struct thread *thread)
{
    settle();
    if (!thread->context->has_result)
        pass(SCHED_SPREAD_AFTER);
    cr_assert(thread->context->has_result, "thread %d still waits: state %d", thread->li,
              thread->state);
    return thread->context->result;
}

void trap_by(struct thread *thread, uint64_t number, const uint64_t arg[6])
{
    struct host_trap trap = { .kind = HOST_TRAP_SYSCALL, .number = number, .flags = 0x202 };
    memcpy(trap.arg, arg, sizeof trap.arg);
    fake_host_trap(cpu_of(thread), &trap);
    settle();
}

void fault_by(struct thread *thread, vaddr_t address, bool write)
{
    struct host_trap trap = { .kind = HOST_TRAP_FAULT, .address = address, .write = write };
    fake_host_trap(cpu_of(thread), &trap);
    settle();
}

uint64_t room(struct actor *actor, size_t size)
{
    for (int i = 0; i < ACTORS_MAX; i++)
        if (uiEqual(&heaps[i].ui, &actor->cap.ui)) {
            uint64_t at = heaps[i].next;
            heaps[i].next += (size + 63) & ~(size_t)63;
            cr_assert_leq(heaps[i].next & 0xfffffff, HEAP_SIZE, "the test needs too much memory");
            return at;
        }
    cr_assert_fail("no such actor");
    return 0;
}

uint64_t put(struct actor *actor, const void *bytes, size_t size)
{
    uint64_t at = room(actor, size);
    cr_assert_eq(vm_copy_out(NULL, actor, at, bytes, size), K_OK);
    return at;
}

void get(struct actor *actor, uint64_t address, void *bytes, size_t size)
{
    cr_assert_eq(vm_copy_in(NULL, actor, bytes, address, size), K_OK);
}

uint64_t cap_of(struct actor *of, struct actor *in)
{
    return put(in, &of->cap, sizeof of->cap);
}

uint64_t dest_to(struct actor *in, const KnUniqueId *ui, unsigned mode)
{
    KnIpcDest dest = { .target = *ui, .mode = mode };
    return PUT(in, dest);
}

uint64_t message(struct actor *actor, uint64_t annex, const char *body, uint32_t body_size,
                 uint32_t flags)
{
    uint8_t bytes[K_CMSGANNEXSIZE] = { 0 };
    memcpy(bytes, &annex, sizeof annex);
    KnMsgDesc desc = { .flags = flags, .bodySize = body_size };
    desc.annexAddr = (void *)put(actor, bytes, sizeof bytes);
    if (body != NULL)
        desc.bodyAddr = (void *)put(actor, body, body_size);
    else if (body_size > 0)
        desc.bodyAddr = (void *)room(actor, body_size);
    return PUT(actor, desc);
}

KnMsgDesc message_desc(struct actor *actor, uint64_t desc)
{
    KnMsgDesc copy;
    get(actor, desc, &copy, sizeof copy);
    return copy;
}

uint64_t message_annex(struct actor *actor, uint64_t desc)
{
    uint64_t word;
    get(actor, (uint64_t)message_desc(actor, desc).annexAddr, &word, sizeof word);
    return word;
}

void message_body(struct actor *actor, uint64_t desc, char *to, size_t size)
{
    get(actor, (uint64_t)message_desc(actor, desc).bodyAddr, to, size);
}

int64_t receive_by(struct thread *thread, int li, KnTime delay, uint64_t *ret_desc)
{
    struct actor *actor = thread->actor;
    uint64_t desc = message(actor, 0, NULL, 65536, K_ABORTABLE);
    if (ret_desc != NULL)
        *ret_desc = desc;
    return DO(thread, ipcReceive, desc, PUT(actor, li), (uint64_t)delay);
}

int64_t reply_by(struct thread *thread, uint64_t annex, const char *body, uint32_t size)
{
    return DO(thread, ipcReply, message(thread->actor, annex, body, size, 0));
}

KnUniqueId port_new(struct actor *actor, int *ret_li)
{
    struct port *port;
    cr_assert_eq(port_create(actor, NULL, false, &port), K_OK);
    if (ret_li != NULL)
        *ret_li = port->li;
    return port->ui;
}
