/* host/event.h: what happens to the Nucleus, one thing at a time.
 *
 * host_wait is where the Nucleus waits, and the only place: it polls for a while, then sleeps. The order in which it hands out events is
 * an input of the system, so that a run can be recorded.
 */
#ifndef HOST_EVENT_H
#define HOST_EVENT_H

#include "cpu.h"
#include "space.h"

enum host_event_kind {
    HOST_EVENT_NONE,       /* the deadline passed */
    HOST_EVENT_TRAP,       /* trap */
    HOST_EVENT_CPU_LOST,   /* cpu, context, owner: see host_cpu_preempt */
    HOST_EVENT_SPACE,      /* space, owner: its reported ticket has moved */
    HOST_EVENT_SPACE_DEAD, /* owner; code says why; its frames are free of it */
    HOST_EVENT_INTERRUPT,  /* number: a device's interrupt line */
    HOST_EVENT_FUNCTION    /* posted by another host thread: function(argument) is to be called */
};
/* Why a space died. */
enum { HOST_DEAD_DESTROYED = 0, HOST_DEAD_KILLED = 1, HOST_DEAD_STUB_FAULT = 2, HOST_DEAD_HOSTILE = 3, HOST_DEAD_BIRTH = 4, HOST_DEAD_MAP = 5 };

struct host_event {
    enum host_event_kind kind;
    struct host_trap trap;
    int cpu;
    struct host_context *context;
    struct host_space *space;
    void *owner;
    int code;
    unsigned number;
    void (*function)(void *);
    void *argument;
};

/* The next event; waits until <deadline> (host_time(), ns; INT64_MAX: no bound), polling or asleep. With a deadline that has passed: polls
 * once. May be called by the Nucleus alone. */
void host_wait(struct host_event *event, int64_t deadline);
/* From any host thread: have <function> called by the Nucleus. */
void host_post(void (*function)(void *), void *argument);

/* The clock: ns since some moment before the site's start, never going back; and the time of day, ns since 1970. */
int64_t host_time(void);
int64_t host_time_of_day(void);
/* What actors are to see where they read the time themselves: host_time less <zero>, and host_time_of_day and <day_offset>. */
void host_clocks(int64_t zero, int64_t day_offset);
/* The seed of the one generator of random numbers. */
void host_seed(uint8_t seed[32]);

/* The world must end: a bug of the Nucleus, with its place. Never returns. */
void host_panic(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* A line for the site's log. level 0 error, 1 notice, 2 detail. */
void host_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
