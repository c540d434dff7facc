/* What a site says of itself. */

#include "site_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <host/event.h>
#include <hostarch.h>
#include <nucleus/nucleus.h>
#include <nucleus/vm.h>

#include "site.h"
#include "snapshot.h"

static int64_t started;

void site_report_start(const struct site_options *options)
{
    (void)options;
    started = host_time();
}

/* Snapshots */

static enum snapshot_actor_kind kind_of(int privilege)
{
    switch (privilege) {
    case K_SUPACTOR: return SNAPSHOT_SUPERVISOR;
    case K_SYSTEMACTOR: return SNAPSHOT_SYSTEM;
    default: return SNAPSHOT_USER;
    }
}

static void add_actor(void *cookie, const struct nucleus_actor_view *view)
{
    struct site_snapshot *snapshot = cookie;
    struct snapshot_actor actor = {
        .ui = {view->ui.uiHead, view->ui.uiTail},
        .kind = kind_of(view->privilege), .host_pid = (uint32_t)view->pid,
        .memory = view->memory, .cpu_ns = (uint64_t)view->cpu_time, .messages = view->messages, .faults = view->faults};
    snprintf(actor.name, sizeof actor.name, "%s", view->name);
    snapshot_add_actor(snapshot, &actor);
}

static enum snapshot_thread_state state_of(int state)
{
    switch (state) {
    case 0: return SNAPSHOT_READY;
    case 1: return SNAPSHOT_RUNNING;
    case 3: return SNAPSHOT_STOPPED;
    default: return SNAPSHOT_WAITING;
    }
}

static void add_thread(void *cookie, const struct nucleus_thread_view *view)
{
    struct site_snapshot *snapshot = cookie;
    if (snapshot->actor_count == 0)
        return;
    struct snapshot_thread thread = {
        .number = (uint32_t)view->li, .state = state_of(view->state), .priority = view->priority, .cpu_ns = (uint64_t)view->cpu_time};
    const char *call = view->call != 0 ? nucleus_call_name(view->call) : view->state == 4 ? "a trap" : NULL;
    snprintf(thread.name, sizeof thread.name, "%s%s%s", view->name, call == NULL ? "" : *view->name == '\0' ? "in " : ", in ",
             call == NULL ? "" : call);
    snapshot_add_thread(&snapshot->actors[snapshot->actor_count - 1], &thread);
}

static uint64_t own_cpu_time(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

struct site_snapshot *site_report_snapshot(const struct site_options *options)
{
    struct site_snapshot *snapshot = snapshot_new();
    if (snapshot == NULL)
        return NULL;
    KnSysInfo info;
    struct hostarch_counts machine;
    nucleus_view_site(&info);
    hostarch_counts(&machine);
    snprintf(snapshot->name, sizeof snapshot->name, "%s", options->name);
    snapshot->uptime_ns = (uint64_t)(host_time() - started);
    snapshot->memory = info.frames * PAGE_SIZE;
    snapshot->memory_free = info.framesFree * PAGE_SIZE;
    snapshot->nucleus_cpu_ns = own_cpu_time();
    snapshot->cpus = info.cpus;
    snapshot->host_processes = machine.processes + 2;
    snapshot->processes_most = options->processes;
    nucleus_view(add_actor, add_thread, snapshot);
    return snapshot;
}

void site_report_left_over(void)
{
    struct nucleus_counts counts;
    uint64_t frames, free_frames, cached;
    nucleus_count(&counts);
    vm_counts(&frames, &free_frames, &cached);
    bool clean = frames == free_frames && counts.threads + counts.ports + counts.calls == 0;
    host_log(clean ? 2 : 0, "site: left over: %lu frames, %zu threads, %zu ports, %zu calls", (unsigned long)(frames - free_frames), counts.threads,
             counts.ports, counts.calls);
}

void site_report_stop(void) {}
