/* etimer/chEtimer.h: time and timers. A timer sends a message (annex: KnTimerMsg) to a port of its actor; while
 * an earlier one is not received it only counts the overrun. */
#ifndef ETIMER_CHETIMER_H
#define ETIMER_CHETIMER_H

#include <chorus.h>

/* Time since the site started; it never goes back. */
int sysTime(KnTime *time);
/* Time of day; <set> NULL to ask only. Setting is for system actors, and sets the site's, not the host's. */
int univTime(KnTime *time, const KnTime *set);

typedef struct KnTimerStat { KnTime remaining, period; uint32_t overruns, unused; } KnTimerStat;
typedef struct KnTimerMsg { uint32_t type; /* K_MSG_TIMER */ int32_t timer; uint64_t cookie; uint32_t overruns; } KnTimerMsg;
/* Make a timer, disarmed, that reports to a port of the caller. Returns its LI. K_EUNKNOWN (port), K_ELIMIT, K_ENOMEM. */
int timerCreate(int portli, uint64_t cookie);
/* First expiry <first> ns from now (0: disarm), then every <period> ns (0: once; at least 1 ms for user actors, 50 us for others). <old> may be NULL. */
int timerSet(int li, KnTime first, KnTime period, KnTimerStat *old);
/* Delete it; its message, if it was not received, goes too. K_EUNKNOWN. */
int timerDelete(int li);

#endif
