/* timer.h: timers, which send messages: see <etimer/chEtimer.h>. */
#ifndef NUCLEUS_TIMER_H
#define NUCLEUS_TIMER_H

#include <stddef.h>

struct actor;

void timers_delete_all(struct actor *actor);
size_t timer_count(void);

#endif
