/* events.h: what files of events must be told. */
#ifndef PM_EVENTS_H
#define PM_EVENTS_H

/* A signal became pending somewhere: who reads signalfds looks again. */
void events_signal_pending(int signal);

#endif
