/* timer.h: timers of processes: alarm, setitimer, timer_create. */
#ifndef PM_TIMER_H
#define PM_TIMER_H

#include "pm.h"

void timer_init_process(struct process *process);
/* exec ends the POSIX timers alone, exit all. */
void timer_end_posix(struct process *process);
void timer_end_process(struct process *process);

#endif
