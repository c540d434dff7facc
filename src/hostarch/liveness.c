/* liveness.c: parked stubs are audited: do they really wait?
 *
 * A stub that posted a trap and runs on uses CPU time that the host counts for its process, whatever the actor pretends. What a process may have used is
 * what the Nucleus let its threads run, and some: each stub that parks is allowed a little for its own work and for the time that it spins before it sleeps. If it
 * used more, the host's own count of voluntary context switches tells the culprit from a victim that others wake: a victim gives the CPU up after each wake, a
 * culprit does not. Others find a bed now and then by chance (layout.h): who is woken so often that it shows wakes itself.
 *
 * An actor can also wake the Nucleus, which sleeps on the mail boxes of those who run, and say nothing. An honest stub may come late with a wake, when its trap has
 * been seen already, but once for each trap at most.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "machine.h"

#define SLACK 5000000          /* ns of CPU time that need no explanation */
#define PER_SWITCH_MAX 100000  /* ns per voluntary switch: more means that it runs */
#define EXCESS_MAX 100000000   /* ns in a window that no chance explains */
#define EMPTY_WAKES_MAX 1000   /* more than it made traps */
#define WINDOW 1000000000
#define PARKED_ALLOWANCE 100000 /* ns: a trap's end, and the spin before the stub sleeps */
#define AUDIT_AT_ONCE 16

static int64_t process_cpu_time(const struct process *process)
{
    struct timespec time;
    if (process->pid <= 0 || clock_gettime((clockid_t)(~(unsigned)process->pid << 3 | 2), &time) != 0)
        return 0;
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

/* Of the stub threads of a process, as the host counts. */
static int64_t voluntary_switches(const struct process *process)
{
    int64_t sum = 0;
    for (int i = 0; i < machine.cpus; i++) {
        char path[64], line[128];
        snprintf(path, sizeof path, THREAD_STATUS, process->stubs[i].tid);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        while (fgets(line, sizeof line, file) != NULL)
            if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0)
                sum += atoll(line + 24);
        fclose(file);
    }
    return sum;
}

int64_t liveness_parked(const struct stub *stub, int64_t now)
{
    return now - stub->since < PARKED_ALLOWANCE ? now - stub->since : PARKED_ALLOWANCE;
}

void liveness_empty_wake(struct process *process)
{
    if (process->state == PROCESS_USED && ++process->empty_wakes > EMPTY_WAKES_MAX)
        process_kill(process, HOST_DEAD_HOSTILE, "it wakes the Nucleus and has nothing to say");
}

/* What the process may have used up to now: what it was granted, and what runs of it at this moment. A stub that was lost to its CPU is granted nothing: an honest one
 * posts as soon as the host lets it run. */
static int64_t granted(const struct process *process, int64_t now)
{
    int64_t sum = process->granted;
    for (int i = 0; i < machine.cpus; i++) {
        const struct stub *stub = &process->stubs[i];
        if (stub->state == STUB_RUNNING)
            sum += now - stub->since;
        else if (stub->state == STUB_PARKED)
            sum += liveness_parked(stub, now);
    }
    if (process->space->batch_running)
        sum += now - process->space->batch_since;
    return sum;
}

int64_t liveness_used_alone(const struct stub *stub, int64_t now)
{
    int64_t others = granted(stub->process, now) - (stub->state == STUB_RUNNING ? now - stub->since : 0);
    return process_cpu_time(stub->process) - others;
}

static void begin_window(struct process *process, int64_t now, int64_t used, int64_t allowed)
{
    process->audit_at = now;
    process->audit_used = used;
    process->audit_granted = allowed;
    process->audit_switches = -1;
}

static void audit(struct process *process, int64_t now)
{
    int64_t used = process_cpu_time(process), allowed = granted(process, now);
    int64_t excess = (used - process->audit_used) - (allowed - process->audit_granted);
    if (process->audit_at == 0 || excess <= 0 || now - process->audit_at > WINDOW) {
        begin_window(process, now, used, allowed);
        return;
    }
    if (excess < SLACK)
        return;
    int64_t switches = voluntary_switches(process);
    bool runs = process->audit_switches >= 0 && used - process->audit_suspect > PER_SWITCH_MAX * (switches - process->audit_switches + 1);
    if (runs || excess > EXCESS_MAX) {
        process_kill(process, HOST_DEAD_HOSTILE, "threads of it run although they wait");
        return;
    }
    if (process->audit_switches < 0 || switches != process->audit_switches) {
        process->audit_switches = switches;
        process->audit_suspect = used;
    }
}

void liveness_audit(int64_t now)
{
    static uint32_t next;
    unsigned looked = 0;
    for (uint32_t n = 0; n < machine.slots && looked < AUDIT_AT_ONCE; n++) {
        struct process *process = &machine.processes[next];
        next = next + 1 < machine.slots ? next + 1 : 0;
        if (process->state != PROCESS_USED || process->space == NULL)
            continue;
        audit(process, now);
        looked++;
    }
}
