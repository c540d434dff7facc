/* reuse.c: a process whose actor is gone serves another.
 *
 * A birth and a burial cost the host ten times what it takes to empty a process. So when a space is destroyed while all its stub threads are parked, its agent
 * unmaps whatever the actor had (EMPTIED), and each stub thread that ever ran the actor is sent SIGNAL_RESET (RESET): its handler forgets what was interrupted and
 * waits for the first command of another actor. Then the process is spare.
 *
 * A hostile actor's threads may run on though they said that they wait, or sleep in a futex with registers that lead them back into code of their choice once
 * the next actor has mapped it. Hence:
 *   - nothing of the actor is left: what they jump to faults, but for the stub's and the gate's own pages;
 *   - it is the host that says, for each thread, that the signal is no longer pending. From its delivery on the thread runs stub_reset with registers that the host
 *     has set, and reads nothing that an actor can write but a number of no consequence. What the thread posts is a hint to look, and no more;
 *   - a thread that never got a command since it was born, or clean, waits in registers of its own: nobody has led it anywhere;
 *   - mail boxes and signal stacks are cleared when all are reset.
 * Whatever takes too long is killed instead: a process that the host has stopped, for one.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "counts.h"
#include "machine.h"

#define KEPT_MOST 12         /* processes in reserve: 20 KB each, but they count against --processes */
#define PATIENCE 100000000   /* ns until it is killed instead */
#define LOOK_AGAIN 1000000   /* ns between questions to the host */

bool reuse_begin(struct process *process)
{
    if (machine.ending || machine.spare_count + machine.reused_count >= KEPT_MOST || !cpu_is_parked(process) || !space_empty(process->space))
        return false;
    cpu_leave(process);
    process->space->death = HOST_DEAD_DESTROYED;
    process->state = PROCESS_EMPTIED;
    process->reuse_until = host_time() + PATIENCE;
    process->reuse_look = process->reuse_until;
    list_append(&machine.reused, &process->link);
    machine.reused_count++;
    return true;
}

/* The agent has reported: no frame is mapped any more. */
void reuse_emptied(struct process *process, bool failed)
{
    struct host_space *space = process->space;
    if (failed) {
        process_kill(process, HOST_DEAD_DESTROYED, "");
        return;
    }
    process->space = NULL;
    space_died(space, HOST_DEAD_DESTROYED);
    process->state = PROCESS_RESET;
    process->reuse_look = host_time() + LOOK_AGAIN;
    cpu_unseat(process);
    for (int i = 0; i < machine.cpus; i++) {
        struct stub *stub = &process->stubs[i];
        if (!stub->used)
            continue;
        __atomic_store_n(stub->word, 0, __ATOMIC_SEQ_CST);
        box_write(stub, BOX_REQUEST, 0);
        syscall(SYS_tgkill, process->pid, stub->tid, SIGNAL_RESET);
    }
}

/* Has the host delivered SIGNAL_RESET to the thread? -1: it does not say. */
static int is_delivered(const struct stub *stub)
{
    char path[64], text[2048];
    snprintf(path, sizeof path, THREAD_STATUS, stub->tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return -1;
    text[got] = 0;
    const char *line = strstr(text, "\nSigPnd:");
    return line == NULL ? -1 : !(strtoull(line + 8, NULL, 16) >> (SIGNAL_RESET - 1) & 1);
}

/* Nothing of the actor is left in the areas. Pages that were never touched stay so. */
static void clear_area(struct stub *stub)
{
    unsigned char resident[AREA_SIZE / PAGE_SIZE];
    uint8_t *area = (uint8_t *)stub->area;
    bool known = mincore(area, AREA_SIZE, resident) == 0;
    for (unsigned page = 1; page < AREA_SIZE / PAGE_SIZE; page++)
        if (!known || resident[page] & 1)
            memset(area + page * PAGE_SIZE, 0, PAGE_SIZE);
    memset(area, 0, BOX_BED); /* which it may just be writing */
    memset(area + BOX_BED + 8, 0, PAGE_SIZE - BOX_BED - 8);
    box_write(stub, BOX_ASLEEP, 1); /* or it soon will: its first command comes with a wake */
}

static void make_clean(struct process *process)
{
    for (int i = 0; i < machine.cpus; i++) {
        struct stub *stub = &process->stubs[i];
        clear_area(stub);
        stub->state = STUB_PARKED;
        stub->sent = stub->streak = 0;
        stub->used = false;
    }
    process_new_secrets(process);
    process->granted = process->empty_wakes = 0;
    process->audit_at = 0;
    list_remove(&process->link);
    machine.reused_count--;
    counts.reuses++;
    process_give_or_keep(process);
}

static void ask_host(struct process *process, int64_t now)
{
    process->reuse_look = now + LOOK_AGAIN;
    for (int i = 0; i < machine.cpus; i++) {
        struct stub *stub = &process->stubs[i];
        if (!stub->used)
            continue;
        box_write(stub, BOX_REQUEST, 0);
        if (is_delivered(stub) != 1)
            return;
    }
    make_clean(process);
}

static bool is_hinted(const struct process *process)
{
    for (int i = 0; i < machine.cpus; i++)
        if (process->stubs[i].used && box_read(&process->stubs[i], BOX_REQUEST) == 0)
            return false;
    return true;
}

void reuse_poll(void)
{
    LIST_FOR_EACH_SAFE(link, following, &machine.reused) {
        struct process *process = LIST_OWNER(link, struct process, link);
        if (process->state == PROCESS_RESET && is_hinted(process))
            ask_host(process, host_time());
    }
}

int64_t reuse_watch(int64_t now)
{
    int64_t next = INT64_MAX;
    LIST_FOR_EACH_SAFE(link, following, &machine.reused) {
        struct process *process = LIST_OWNER(link, struct process, link);
        if (now >= process->reuse_until) {
            process_kill(process, HOST_DEAD_DESTROYED, "");
            continue;
        }
        if (process->state == PROCESS_RESET && now >= process->reuse_look)
            ask_host(process, now);
        else if (process->reuse_look < next)
            next = process->reuse_look;
    }
    return next;
}
