/* liveness.c: parked stubs are audited: do they really wait?
 *
 * A stub that posted a trap and runs on uses CPU time that the host counts for its process, whatever the actor pretends. What a process may have used is
 * what the Nucleus let its threads run, and some. If it used more, the host's own count of voluntary context switches tells the culprit from a victim that
 * others wake again and again: a victim gives the CPU up after each wake, a culprit does not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "machine.h"

#define SLACK 5000000          /* ns of CPU time that need no explanation */
#define PER_SWITCH_MAX 100000  /* ns per voluntary switch: more means that it runs */
#define AUDIT_AT_ONCE 16

int64_t process_cpu_time(const struct process *process)
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
        snprintf(path, sizeof path, "/proc/%d/task/%d/status", process->pid, process->stubs[i].tid);
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

static bool any_running(const struct process *process)
{
    for (int i = 0; i < machine.cpus; i++)
        if (process->stubs[i].state == STUB_RUNNING || process->stubs[i].state == STUB_LOST)
            return true;
    return process->space != NULL && process->space->batch_running;
}

/* Look at one process. While one of its threads runs, the other threads' time cannot be told apart but by its amount: more CPU time than wall time times running
 * threads is too much. */
static void audit(struct process *process, int64_t now)
{
    int64_t used = process_cpu_time(process);
    if (any_running(process)) {
        int running = 0;
        for (int i = 0; i < machine.cpus; i++)
            running += process->stubs[i].state != STUB_PARKED;
        int64_t allowed = process->audit_wall ? (now - process->audit_wall) * (running + 1) : INT64_MAX;
        if (process->audit_wall && used - process->audit_cpu_time > allowed + SLACK && running < machine.cpus)
            process_kill(process, HOST_DEAD_HOSTILE, "a thread of it runs although it waits");
        process->audit_cpu_time = used;
        process->audit_wall = now;
        process->audit_parked = false;
        return;
    }
    if (!process->audit_parked) { /* from now on nothing of it may run */
        process->audit_parked = true;
        process->audit_cpu_time = used;
        process->audit_wall = now;
        process->audit_switches = -1;
        return;
    }
    if (used - process->audit_cpu_time < SLACK)
        return;
    int64_t switches = voluntary_switches(process);
    if (process->audit_switches >= 0 && used - process->audit_cpu_time > PER_SWITCH_MAX * (switches - process->audit_switches + 1)) {
        process_kill(process, HOST_DEAD_HOSTILE, "it runs although all its threads wait");
        return;
    }
    process->audit_switches = switches;
    process->audit_cpu_time = used;
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
