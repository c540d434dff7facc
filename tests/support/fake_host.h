/* fake_host.h: user CPUs, events and a clock for tests: the other side of host/cpu.h and
 * host/event.h. No processes: the test says what the code on a CPU does next.
 *
 * Time stands still until the test lets it pass; it then jumps from deadline to deadline.
 * Preemptions are answered at once. A space that was destroyed is reported dead by the next event.
 * What is broken (a context run twice, a CPU given two threads, a running context that is looked
 * at) ends the program with a message.
 */
#ifndef TESTS_FAKE_HOST_H
#define TESTS_FAKE_HOST_H

#include <chorus.h>
#include <host/cpu.h>
#include <host/event.h>

struct host_context {
    struct host_space *space;
    void *owner;
    KnThreadCtx registers;
    uint8_t xstate[64];
    int64_t result;
    bool has_result; /* since its last trap */
    bool restarted;  /* host_context_restart since its last trap */
    int cpu;         /* where it runs, -1: nowhere */
    bool lost;
};

/* Fresh: <cpus> idle CPUs, time 1 s. Memory is fake_memory.h's. */
void fake_host_start(int cpus);
/* No context is left. */
void fake_host_expect_nothing_left(void);

/* What runs on <cpu>; NULL: nothing. */
struct host_context *fake_host_running(int cpu);
int fake_host_cpu_of(const void *owner); /* -1: not running */

/* The code on a CPU does something: the event that host_wait gives out next. */
void fake_host_trap(int cpu, const struct host_trap *trap);
void fake_host_post(const struct host_event *event);
bool fake_host_has_events(void);
/* From now on preemptions are not answered (true), until fake_host_lose takes the CPU away or it
 * traps. */
void fake_host_ignore_preemptions(bool ignore);
bool fake_host_preemption_wanted(int cpu);
void fake_host_lose(int cpu);
/* The CPU that the machine spends on the Nucleus, -1: none. */
void fake_host_spend(int cpu);
/* The lost context comes back with a preemption. */
void fake_host_regain(struct host_context *context);

/* How far host_wait may let time pass. */
extern int64_t fake_host_time, fake_host_time_limit;
extern unsigned fake_host_switches,
    fake_host_preemptions;       /* contexts given to CPUs that ran others; preemptions asked for */
extern char fake_host_log[4096]; /* what was logged, one line after the other */

#endif
