/* space.c: orders to the agents: what a space maps.
 *
 * Orders are queued and merged. A batch goes to the agent's order page either because a thread of the space is about to run (then its stub wakes the
 * agent on its own CPU and waits for the report), or because the Nucleus wants it done now (host_space_commit; then the agent is woken from here).
 * One batch at a time; its end is the agent's report, which no actor can forge.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "counts.h"
#include "machine.h"

#define POPULATE_MAX 64 /* pages: longer read-only runs are left to the host's own fault-around */
#define MAPPINGS_RESERVE 64
#define BATCH_ALLOWANCE 50000 /* ns of CPU time */

int host_space_create(struct host_space **ret_space, void *owner)
{
    if (machine.spaces >= machine.slots || process_births_refused())
        return K_ELIMIT;
    struct host_space *space = calloc(1, sizeof *space);
    if (space == NULL)
        return K_ENOMEM;
    space->owner = owner;
    list_init(&space->link);
    list_init(&space->waiting);
    *ret_space = space;
    machine.spaces++;
    process_want(space);
    return K_OK;
}

void host_space_destroy(struct host_space *space)
{
    if (space->supervisor) {
        supervisor_space_destroy(space);
        return;
    }
    space->destroyed = true;
    if (space->dead)
        return; /* the event is under way */
    if (space->process != NULL) {
        if (space->process->state != PROCESS_USED || !reuse_begin(space->process))
            process_kill(space->process, HOST_DEAD_DESTROYED, "");
        return;
    }
    list_remove(&space->waiting);
    space_died(space, HOST_DEAD_DESTROYED);
}

/* Its process is gone, or never came. The Nucleus may still hold the pointer until it has taken the event: until then the space is an empty shell. */
void space_died(struct host_space *space, int reason)
{
    list_remove(&space->link);
    list_remove(&space->waiting);
    space->reported = space->submitted = space->given;
    space->batch_running = false;
    for (int i = 0; i < machine.cpus; i++)
        space->waits_to_run[i] = NULL;
    space->process = NULL;
    space->dead = true;
    if (!space->supervisor)
        machine.spaces--;
    space->order_first = space->order_count = 0;
    event_queue_dead(space, reason);
}

void space_free(struct host_space *space)
{
    free(space->orders);
    free(space);
}

/* --- answers ------------------------------------------------------------------------------------------------------------------------------ */

/* Each value is there before it counts; the actor may look at any moment. */
static void write_answers(struct host_space *space)
{
    volatile uint8_t *page = space->process->orders + ORDER_ANSWERS;
    for (unsigned number = 0; number < ANSWER_NUMBERS; number++)
        if (page[number] != 0 && page[number] != space->answer_of[number])
            page[number] = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < HOST_ANSWERS_MOST; i++)
        *(volatile int64_t *)(page + ANSWER_VALUES + 8 * i) = space->answers[i];
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (unsigned number = 0; number < ANSWER_NUMBERS; number++)
        if (page[number] != space->answer_of[number])
            page[number] = space->answer_of[number];
}

int host_space_answers(struct host_space *space, const uint32_t *numbers, const int64_t *values, size_t count)
{
    if (count > HOST_ANSWERS_MOST)
        return K_EINVAL;
    for (size_t i = 0; i < count; i++)
        if (numbers[i] >= ANSWER_NUMBERS)
            return K_EINVAL;
    memset(space->answer_of, 0, sizeof space->answer_of);
    for (size_t i = 0; i < count; i++) {
        space->answer_of[numbers[i]] = (uint8_t)(i + 1);
        space->answers[i] = values[i];
    }
    space->has_answers = count > 0;
    if (!space->supervisor && space->process != NULL)
        write_answers(space);
    return K_OK;
}

void space_attach(struct host_space *space, struct process *process)
{
    process->state = PROCESS_USED;
    process->space = space;
    space->process = process;
    write_answers(space); /* what an earlier actor had there goes, too */
    if (space->flush)
        space_push(space);
    cpu_retry(space);
}

/* --- queueing ---------------------------------------------------------------------------------------------------------------------------- */

static bool make_room(struct host_space *space)
{
    if (space->order_count < space->order_room)
        return true;
    if (space->order_first > 0) {
        memmove(space->orders, space->orders + space->order_first, (space->order_count - space->order_first) * sizeof *space->orders);
        space->order_count -= space->order_first;
        space->order_first = 0;
        if (space->order_count < space->order_room)
            return true;
    }
    size_t room = space->order_room ? space->order_room * 2 : 32;
    struct order *orders = realloc(space->orders, room * sizeof *orders);
    if (orders == NULL)
        return false;
    space->orders = orders;
    space->order_room = room;
    return true;
}

static void queue(struct host_space *space, struct order order)
{
    space->given++;
    if (space->dead) {
        space->submitted = space->reported = space->given;
        return;
    }
    if (space->supervisor) {
        supervisor_order(space, order.call, order.prot, order.address, order.length, order.offset);
        space->submitted = space->reported = space->given;
        return;
    }
    if (space->order_count > space->order_first) {
        struct order *last = &space->orders[space->order_count - 1];
        bool adjacent = last->call == order.call && last->prot == order.prot && last->flags == order.flags &&
                        last->address + last->length == order.address &&
                        (order.call != SYS_mmap || last->offset + last->length == order.offset);
        if (adjacent) {
            last->length += order.length;
            return;
        }
    }
    if (!make_room(space)) {
        /* An order that cannot be kept would leave the actor with memory that is not its own any more. */
        if (space->process != NULL)
            process_kill(space->process, HOST_DEAD_MAP, "no memory for its orders");
        return;
    }
    space->orders[space->order_count++] = order;
    counts.orders++;
}

void host_space_map(struct host_space *space, vaddr_t at, frame_t first, size_t pages, unsigned prot)
{
    if (prot == 0) {
        host_space_unmap(space, at, pages);
        return;
    }
    unsigned host = (prot & HOST_READ ? PROT_READ : 0) | (prot & HOST_WRITE ? PROT_READ | PROT_WRITE : 0) |
                    (prot & HOST_EXEC ? PROT_READ | PROT_EXEC : 0);
    uint16_t flags = MAP_SHARED | MAP_FIXED;
    if (prot & HOST_WRITE || pages <= POPULATE_MAX)
        flags |= MAP_POPULATE;
    queue(space, (struct order){SYS_mmap, (uint8_t)host, 0, flags, at, pages * PAGE_SIZE, machine.frames_at + (uint64_t)first * PAGE_SIZE});
}

void host_space_unmap(struct host_space *space, vaddr_t at, size_t pages)
{
    queue(space, (struct order){SYS_munmap, 0, 0, 0, at, pages * PAGE_SIZE, 0});
}

void host_space_protect(struct host_space *space, vaddr_t at, size_t pages, unsigned prot)
{
    unsigned host = (prot & HOST_READ ? PROT_READ : 0) | (prot & HOST_WRITE ? PROT_READ | PROT_WRITE : 0) |
                    (prot & HOST_EXEC ? PROT_READ | PROT_EXEC : 0);
    queue(space, (struct order){SYS_mprotect, (uint8_t)host, 0, 0, at, pages * PAGE_SIZE, 0});
}

/* --- batches ----------------------------------------------------------------------------------------------------------------------------- */

/* Move the queue, as far as it fits, to the order page. The agent is not yet told. */
static void fill_batch(struct host_space *space)
{
    struct process *process = space->process;
    size_t count = space->order_count - space->order_first;
    if (count > RECORDS_MAX)
        count = RECORDS_MAX;
    volatile uint8_t *record = process->orders + ORDER_RECORDS;
    for (size_t i = 0; i < count; i++, record += RECORD_SIZE) {
        const struct order *order = &space->orders[space->order_first + i];
        *(volatile uint32_t *)record = order->call;
        record[4] = order->prot;
        *(volatile uint16_t *)(record + 6) = order->flags;
        *(volatile uint64_t *)(record + 8) = order->address;
        *(volatile uint64_t *)(record + 16) = order->length;
        *(volatile uint64_t *)(record + 24) = order->offset;
    }
    space->order_first += count;
    bool all = space->order_first == space->order_count;
    if (all) {
        space->order_first = space->order_count = 0;
        space->submitted = space->given;
        space->flush = false;
    }
    process->batch++;
    *(volatile uint64_t *)(process->orders + ORDER_OK) = process->batch;
    *(volatile uint64_t *)(process->orders + ORDER_FAIL) = 1ull << 32 | process->batch;
    *(volatile uint32_t *)(process->orders + ORDER_COUNT) = (uint32_t)count;
    space->batch_running = true;
    space->batch_since = host_time();
    space->batch_watch = space->batch_since + AGENT_PATIENCE;
    list_append(&machine.batches, &space->link);
    counts.batches++;
    __atomic_store_n(process->agent_word, process->batch, __ATOMIC_SEQ_CST);
}

void space_wake_agent(struct process *process) { futex_wake_shared(process->agent_word); }

/* Submit from here. */
void space_push(struct host_space *space)
{
    if (space->process == NULL || space->batch_running || space->order_first == space->order_count)
        return;
    fill_batch(space);
    space_wake_agent(space->process);
}

/* The machine's own pages excepted. */
bool space_empty(struct host_space *space)
{
    if (space->batch_running)
        return false;
    space->order_first = space->order_count = 0;
    if (!make_room(space))
        return false;
    space->given++;
    space->orders[space->order_count++] = (struct order){SYS_munmap, 0, 0, 0, ACTOR_BEGIN, machine.base - ACTOR_BEGIN, 0};
    space_push(space);
    return true;
}

host_ticket_t host_space_commit(struct host_space *space)
{
    if (!space->supervisor && space->order_first != space->order_count) {
        space->flush = true;
        space_push(space);
    }
    return space->given;
}

host_ticket_t host_space_ticket(const struct host_space *space) { return space->given; }
host_ticket_t host_space_reported(const struct host_space *space) { return space->reported; }
size_t host_space_mappings_max(void)
{
    static size_t max;
    if (max == 0) {
        FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
        unsigned long value = 65530;
        if (file != NULL) {
            if (fscanf(file, "%lu", &value) != 1)
                value = 65530;
            fclose(file);
        }
        max = value > 4 * MAPPINGS_RESERVE ? value - MAPPINGS_RESERVE : value / 2;
    }
    return max;
}
int host_space_pid(const struct host_space *space) { return space->process ? space->process->pid : 0; }

/* The agent changes CPUs with the actor's threads: a wake across CPUs would cost ten times the work. */
static void bind_agent(struct process *process, int cpu)
{
    if (process->agent_cpu == cpu + 1)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(machine.cpu[cpu].host_cpu, &set);
    sched_setaffinity(process->agent_tid, sizeof set, &set);
    process->agent_cpu = cpu + 1;
}

/* A thread of the space is to run: what must its stub do first? *ret_command is <next>, or COMMAND_AGENT with <next> to follow. False: it cannot run yet;
 * cpu_retry will come. */
bool space_ready_to_run(struct host_space *space, struct stub *stub, uint32_t *ret_command, uint32_t next)
{
    struct process *process = space->process;
    *ret_command = next;
    if (space->order_first != space->order_count) {
        if (space->batch_running || space->order_count - space->order_first > RECORDS_MAX) {
            space->flush = true; /* go on by ourselves until it fits */
            space_push(space);
            return false;
        }
        fill_batch(space);
    }
    if (space->batch_running) {
        bind_agent(process, stub->index);
        arg_write32(stub, ARG_REPORTED, process->batch);
        arg_write32(stub, ARG_NEXT, next);
        *ret_command = COMMAND_AGENT;
    }
    return true;
}

static void batch_done(struct host_space *space, bool failed)
{
    list_remove(&space->link);
    space->batch_running = false;
    space->process->granted += host_time() - space->batch_since + BATCH_ALLOWANCE;
    space->reported = space->submitted;
    if (failed && space->process != NULL)
        process_kill(space->process, HOST_DEAD_MAP, "the host refused a mapping");
}

bool space_poll(struct host_event *event)
{
    LIST_FOR_EACH_SAFE(link, following, &machine.batches)
    {
        struct host_space *space = LIST_OWNER(link, struct host_space, link);
        uint64_t report = __atomic_load_n(space->process->report, __ATOMIC_ACQUIRE);
        if ((uint32_t)report != space->process->batch) {
            continue;
        }
        struct process *process = space->process;
        if (process->state == PROCESS_EMPTIED) {
            list_remove(&space->link);
            reuse_emptied(process, report >> 32);
            continue;
        }
        batch_done(space, report >> 32);
        if (space->process->state == PROCESS_USED) {
            if (space->flush)
                space_push(space);
            cpu_retry(space);
        }
        *event = (struct host_event){.kind = HOST_EVENT_SPACE, .space = space, .owner = space->owner};
        return true;
    }
    return false;
}
