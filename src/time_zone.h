/* The time zone of the host, for inside. */
#ifndef CHORUS_TIME_ZONE_H
#define CHORUS_TIME_ZONE_H

#include <stdbool.h>
#include <stddef.h>

/* As a rule that needs no file ("CET-1CEST,M3.5.0,M10.5.0/3"): what TZ is outside, or /etc/localtime. False: it is not known, or UTC. */
bool time_zone_rule(char *rule, size_t size);

#endif
