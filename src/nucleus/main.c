/* The Nucleus: boot, and the loop in which it spends its life.
 *
 * One host thread owns everything. It takes one event at a time from the machine, handles it to the
 * end, says what each user CPU runs next, and does work that can wait when there is no event.
 * Nothing in here blocks but host_wait. */
#include "nucleus.h"

#include <string.h>
#include "actor.h"
#include "assert.h"
#include "call.h"
#include "call_table.h"
#include "deadline.h"
#include "device.h"
#include "group.h"
#include "message.h"
#include "port.h"
#include "random.h"
#include "sched.h"
#include "timer.h"
#include "trap.h"
#include "ui.h"
#include "vm.h"

#define SITE_DEFAULT       1
#define ACTORS_DEFAULT     512
/* A stream of events must not keep passed deadlines waiting: look at the clock at least this often.
 */
#define EVENTS_PER_CLOCK   16
/* Work that can wait is done when nothing has happened for so long, or after so long in any case.
 */
#define IDLE_AFTER         50000
#define IDLE_AFTER_AT_MOST 2000000
#define FINI_PATIENCE      2000000000
/* How often a device that is being reset is asked whether it is done. */
#define LINGER_INTERVAL    1000000

struct nucleus_hooks nucleus_hooks;
struct nucleus_counters nucleus_counters;

static struct {
    bool time_is_read;
    int64_t now;
    int64_t boot_time;
    int64_t time_of_day_offset; /* what univTime was set to, less the machine's */
    bool ending;
    int status, how;
    unsigned events;
    bool idle_work;     /* memory has work that can wait, */
    int64_t idle_since; /* since then, 0 not noted yet */
    int64_t idle_at;    /* when it is quiet enough, 0 not reckoned yet */
} nucleus;

int64_t nucleus_time(void)
{
    if (!nucleus.time_is_read) {
        nucleus.now = host_time();
        nucleus.time_is_read = true;
    }
    return nucleus.now;
}

int64_t nucleus_boot_time(void)
{
    return nucleus.boot_time;
}

int64_t nucleus_time_of_day(void)
{
    return host_time_of_day() + nucleus.time_of_day_offset;
}

void nucleus_set_time_of_day(int64_t time)
{
    nucleus.time_of_day_offset = time - host_time_of_day();
    host_clocks(nucleus.boot_time, nucleus.time_of_day_offset);
}

void nucleus_init(const struct nucleus_options *options)
{
    uint8_t seed[32];
    memset(&nucleus, 0, sizeof nucleus);
    memset(&nucleus_counters, 0, sizeof nucleus_counters);
    nucleus.boot_time = nucleus_time();
    host_clocks(nucleus.boot_time, 0);
    nucleus.idle_work = true;
    if (options->fixed_seed)
        memcpy(seed, options->seed, sizeof seed);
    else
        host_seed(seed);
    random_init(seed);
    ui_init(options->site == 0 ? SITE_DEFAULT : options->site);
    call_table_init();
    vm_init(); /* frames, segments */
    sched_init(host_cpu_count());
    actors_init(options->actors_max == 0 ? ACTORS_DEFAULT : options->actors_max);
}

void nucleus_shutdown(int status, int how)
{
    if (nucleus.ending)
        return;
    nucleus.ending = true;
    nucleus.status = status;
    nucleus.how = how;
}

bool nucleus_shutting_down(int *ret_status, int *ret_how)
{
    if (ret_status != NULL)
        *ret_status = nucleus.status;
    if (ret_how != NULL)
        *ret_how = nucleus.how;
    return nucleus.ending;
}

/* The CPU that is to be looked at first afterwards, -1: none. */
static int handle_trap(const struct host_trap *trap)
{
    struct thread *thread = trap->owner;
    if (!sched_arrived(trap->cpu, thread))
        return trap->cpu;
    if (trap->kind == HOST_TRAP_CALL)
        call_begin(thread, trap->number, trap->arg);
    else if (trap->kind != HOST_TRAP_PREEMPTED)
        trap_begin(thread, trap);
    if (trap->cpu >= 0) {
        sched_work(trap->cpu);
    } else {
        thread_do_work(thread);
        sched_regained(thread);
    }
    return trap->cpu;
}

static int handle_event(struct host_event *event)
{
    switch (event->kind) {
    case HOST_EVENT_NONE:
        return -1;
    case HOST_EVENT_TRAP:
        return handle_trap(&event->trap);
    case HOST_EVENT_CPU_LOST:
        sched_cpu_lost(event->cpu, event->owner);
        return event->cpu;
    case HOST_EVENT_SPACE:
        vm_space_reported(event->owner);
        return -1;
    case HOST_EVENT_SPACE_DEAD:
        actor_space_dead(event->owner, event->code);
        return -1;
    case HOST_EVENT_INTERRUPT:
        device_interrupt(event->number);
        return -1;
    case HOST_EVENT_FUNCTION:
        event->function(event->argument);
        return -1;
    }
    host_panic("an event of kind %d", event->kind);
}

static int64_t next_deadline(int64_t most)
{
    int64_t next = deadline_next();
    if (sched_deadline() < next)
        next = sched_deadline();
    if (nucleus.idle_work && nucleus.idle_at < next)
        next = nucleus.idle_at;
    if (actors_linger() && nucleus_time() + LINGER_INTERVAL < next)
        next = nucleus_time() + LINGER_INTERVAL;
    return next < most ? next : most;
}

void nucleus_want_idle_work(void)
{
    nucleus.idle_work = true;
}

static void idle_plan(bool quiet)
{
    if (!nucleus.idle_work)
        return;
    int64_t now = nucleus_time();
    if (nucleus.idle_since == 0)
        nucleus.idle_since = now;
    if (!quiet || nucleus.idle_at == 0)
        nucleus.idle_at = now + IDLE_AFTER;
    if (nucleus.idle_at > nucleus.idle_since + IDLE_AFTER_AT_MOST)
        nucleus.idle_at = nucleus.idle_since + IDLE_AFTER_AT_MOST;
    if (now < nucleus.idle_at)
        return;
    nucleus.idle_work = vm_idle_work();
    nucleus.idle_since = 0;
    if (!quiet)
        nucleus.idle_at = 0;
}

void nucleus_step(int64_t deadline)
{
    struct host_event event;
    host_wait(&event, next_deadline(deadline));
    nucleus.time_is_read = false;
    int cpu = handle_event(&event);
    bool quiet = event.kind == HOST_EVENT_NONE;
    if (quiet || ++nucleus.events % EVENTS_PER_CLOCK == 0)
        deadlines_run(nucleus_time());
    sched_run(cpu);
    threads_bury();
    if (actors_linger())
        actors_finish_lingering();
    idle_plan(quiet);
}

int nucleus_run(void)
{
    sched_run(-1);
    while (!nucleus.ending)
        nucleus_step(INT64_MAX);
    return nucleus.status;
}

void nucleus_fini(void)
{
    while (actor_count() > 0)
        actor_kill(LIST_OWNER(actor_list()->next, struct actor, of_site), K_OK, NULL);
    /* Their processes end in their own time; their memory is free when the machine has said so. */
    int64_t patience = host_time() + FINI_PATIENCE;
    while (actor_count_existing() > 0 && host_time() < patience)
        nucleus_step(patience);
    groups_fini();
    devices_fini();
    threads_bury();
    vm_fini();
}
