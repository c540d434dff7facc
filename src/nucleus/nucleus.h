/* nucleus.h: what the program around the Nucleus uses: boot it, give it actors, run it, look at it.
 *
 * Everything here is called by the Nucleus's own host thread, except where it says otherwise. */
#ifndef NUCLEUS_NUCLEUS_H
#define NUCLEUS_NUCLEUS_H

#include <chorus.h>
#include <stdbool.h>
#include "loader.h"

struct actor;
struct thread;
struct message;

struct nucleus_options {
    uint32_t site;       /* the site's number, 0: 1 */
    unsigned actors_max; /* 0: 512 */
    bool fixed_seed;     /* <seed> counts; otherwise host_seed is asked */
    uint8_t seed[32];
};

/* Once, after the machine is there and before anything else. */
void nucleus_init(const struct nucleus_options *options);
/* Until somebody ends the site: its exit status. */
int nucleus_run(void);
/* End the site, from the Nucleus's thread (host_post gets you there). <how> as of sysShutdown. */
void nucleus_shutdown(int status, int how);
bool nucleus_shutting_down(int *ret_status, int *ret_how);
/* What nucleus_run does, once, waiting at most until <deadline>. For tests, and for programs with a
 * loop of their own. */
void nucleus_step(int64_t deadline);
/* All actors are deleted, all memory is given back as far as the machine has said so. For tests and
 * a clean end. */
void nucleus_fini(void);

/* The time of the event that is being handled: read once per event. */
int64_t nucleus_time(void);
int64_t nucleus_time_of_day(void);
int64_t nucleus_boot_time(void);
void nucleus_set_time_of_day(int64_t time);

/* Memory may have work that can wait (vm_idle_work); asked for after what makes some. */
void nucleus_want_idle_work(void);

/* Hooks of the trace and of the reporter of crashes. NULL: off. They look and change nothing. */
struct nucleus_hooks {
    void (*switched)(int cpu, const struct thread *thread); /* NULL: idle from now on */
    void (*call_begin)(const struct thread *thread, unsigned number, const uint64_t arg[6]);
    /* Each call that begins ends; that of a thread which is ended with K_EABORT, one without a
     * result with 0. */
    void (*call_end)(const struct thread *thread, unsigned number, int64_t result);
    void (*message)(const struct message *message, bool received);
    /* A trap that a port handles: from the message to its reply, whose value, if it has one, is
     * <result>. Each that begins ends. */
    void (*trap_begin)(const struct thread *thread, unsigned kind, uint64_t number);
    void (*trap_end)(const struct thread *thread, int64_t result);
    /* It got the CPU from a thread that waits for it, or from the one that it waited for: no switch. */
    void (*passed)(int cpu, const struct thread *thread);
    void (*fault)(const struct thread *thread, VmAddr address, bool write);
    /* An exception that nobody handles: the actor is deleted after this. */
    void (*actor_fault)(struct actor *actor, struct thread *thread, const KnThreadCtx *context,
                        int trap_kind);
    void (*actor_gone)(const struct actor *actor, int reason, const char *words);
    /* A message to a group in which nobody is; its sender gets K_EUNKNOWN. */
    void (*nobody_there)(const KnUniqueId *group);
};
extern struct nucleus_hooks nucleus_hooks;

/* What sysCommand asks the program around the Nucleus for; NULL: nothing can be asked. True: it was done. A sentence in <answer>, of
 * <room> bytes. */
extern bool (*nucleus_command)(const char *words, size_t size, const void *image, size_t image_size, char *answer, size_t room);

struct nucleus_counters {
    uint64_t calls, messages, faults, traps, switches;
    uint64_t passes;   /* CPUs passed on by threads that wait for another: sched.h */
    uint64_t routines; /* of message handlers and LAPs that began, */
    uint64_t direct;   /* and those of them that got their caller's CPU from it */
};
extern struct nucleus_counters nucleus_counters;

/* The last nucleus calls, for the debugger: entry (nucleus_last_calls_next - 1) %
 * NUCLEUS_LAST_CALLS is the last. */
#define NUCLEUS_LAST_CALLS 512
struct nucleus_last_call {
    KnUniqueId actor;
    KnThreadLid thread;
    unsigned number;
    uint64_t arg[6];
    int64_t result; /* K_BLOCKED: it waits, or was started again later */
};
extern struct nucleus_last_call nucleus_last_calls[NUCLEUS_LAST_CALLS];
extern uint64_t nucleus_last_calls_next;

/* For ps and top: each actor and each thread once. */
struct nucleus_thread_view {
    int li;
    int state; /* as KnThreadStat */
    unsigned priority;
    KnTime cpu_time;
    unsigned call;
    const char *name;
};
struct nucleus_actor_view {
    KnUniqueId ui;
    int privilege;
    int pid; /* of its host process, 0 none */
    uint64_t memory, messages, faults;
    KnTime cpu_time;
    const char *name;
};
void nucleus_view(void (*actor)(void *cookie, const struct nucleus_actor_view *view),
                  void (*thread)(void *cookie, const struct nucleus_thread_view *view),
                  void *cookie);
void nucleus_view_site(KnSysInfo *info);

/* Names of calls and errors, from the tables. */
const char *nucleus_call_name(unsigned number); /* NULL: none */
const char *nucleus_error_name(int status);
const char *nucleus_error_words(int status);

/* For leak checks: what there is now. */
struct nucleus_counts {
    size_t actors, threads, ports, messages, calls, timers, watches, groups;
};
void nucleus_count(struct nucleus_counts *counts);

#endif
