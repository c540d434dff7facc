/* sched.h: which thread runs on which user CPU. */
#ifndef NUCLEUS_SCHED_H
#define NUCLEUS_SCHED_H

#include "thread.h"

#define SCHED_SLICE_DEFAULT 10000000 /* ns */
#define SCHED_SLICE_LEAST   100000   /* shorter ones would be spent on switching */
/* An actor that used less CPU time than SCHED_LIGHT in this window of time is light, see light.h. */
#define SCHED_WINDOW 100000000
#define SCHED_LIGHT 10000000
#define SCHED_LIGHT_PATIENCE 1000000 /* what one that is not light may run before it gives way */
/* How long a woken thread waits for its waker's CPU before an idle one takes it: about what waking
 * an idle CPU costs; and more if that one is spent on the Nucleus, since without it every trap costs
 * more than twice as much. */
#define SCHED_SPREAD_AFTER       50000
#define SCHED_SPREAD_AFTER_SPENT 500000

/* A thread that runs no longer than this between its waits, on the average, is a caller: what the Nucleus and servers do for it is most of its time. That is
 * seen only while the Nucleus has a CPU; while it is woken for each call, what a thread seems to run includes that, and it is tried out, now and then. */
#define SCHED_CALLER    20000
#define SCHED_PERHAPS   200000   /* who seems to run longer than this is none */
#define SCHED_TRIAL     1000000  /* so long they must not have looked like callers, */
#define SCHED_TRY_AGAIN 50000000 /* and then so long it is not tried */

void sched_init(int cpus);
int sched_cpu_count(void);

/* For thread_set_state only. */
void sched_enqueue(struct thread *thread);
void sched_enqueue_woken(struct thread *thread); /* it waited, or is new */
void sched_dequeue(struct thread *thread);

/* The machine gave <thread> back on <cpu> (-1: it was lost and has come back). False: it is dead;
 * nothing is to be done for it. */
bool sched_arrived(int cpu, struct thread *thread);
/* A lost thread came back and was dealt with: it is READY if it can go on. */
void sched_regained(struct thread *thread);
/* The machine gave <cpu> back without its thread. */
void sched_cpu_lost(int cpu, struct thread *thread);
/* What ran of <actor> was ended (host_space_destroy): its CPUs are free. Its threads' contexts are
 * the machine's until sched_space_dead. */
void sched_forget_actor(struct actor *actor);
/* The process of <actor> is gone, with what ran in it. */
void sched_space_dead(struct actor *actor);

/* After each event: <cpu>'s thread goes on, or another runs there (-1: the event was none of a
 * CPU); idle CPUs get work; preemptions are asked for. Afterwards every CPU runs something or was
 * told to idle. */
void sched_run(int cpu);
/* When sched_run is to be called though nothing happened. INT64_MAX: never. */
int64_t sched_deadline(void);
/* <thread>, which may be running, has to come back soon: it was stopped, aborted or killed. */
void sched_recall(struct thread *thread);
/* The thread's time up to now is added to its cpu_time. */
void sched_account(struct thread *thread);
/* Passing a CPU on: a thread that waits for another one gives it its CPU, past the queues; no switch is counted, since nothing was
 * chosen. sched_await says beforehand who is about to be woken (NULL: nobody); sched_pass, once <from> waits, gives its CPU to
 * that one. Returns it; NULL: nobody was woken, or it cannot run here or <from> does not run: then it is ready like any other. */
void sched_await(struct thread *to);
struct thread *sched_pass(struct thread *from);
/* Do the work of the thread on <cpu>, and of who got the CPU from it. */
void sched_work(int cpu);
/* A trap of <client> has made <server> ready: it may let callers that it has just answered go first. */
void sched_be_patient(struct thread *server, const struct thread *client);
/* Does a thread of <server> do so now? Then a message for the actor is to be queued: that thread will take it. */
bool sched_leave_to_patient(const struct actor *server);
/* It is dead: no CPU's time is charged to it any more. */
void sched_forget_payer(struct thread *thread);
/* The caller goes behind its equals. */
void sched_yield_thread(struct thread *thread);
/* Another class and priority, another CPU. */
void sched_change(struct thread *thread, const KnSched *sched, int bound);
KnTime sched_idle_time(void);

#endif
