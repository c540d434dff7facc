/* sched/chSched.h: priorities and classes.
 *
 * 256 preemptive priorities, 0 the highest. The running thread of each user CPU is the first of the
 * highest priority that is not empty. A preempted thread goes to the head of its queue, a woken one to
 * the tail. K_SCHED_RR adds a time slice, after which a thread goes to the tail; and a woken
 * K_SCHED_RR thread whose actor used little CPU time lately (10 ms in the current 100 ms) goes before its equals.
 */
#ifndef SCHED_CHSCHED_H
#define SCHED_CHSCHED_H

#include <stdint.h>

enum { K_SCHED_FIFO = 0, K_SCHED_RR = 1 };
#define K_PRIOMAX 0   /* the highest */
#define K_PRIOMIN 255 /* the lowest */
/* Where things are: drivers 32.., servers 64.., ordinary programs 128. */
#define K_PRIO_DRIVER 32
#define K_PRIO_SERVER 64
#define K_PRIO_USER 128

typedef struct KnSched {
    int32_t schedClass;
    int32_t priority;
    int64_t slice; /* K_SCHED_RR: ns; 0 the default, 10 ms */
} KnSched;

#endif
