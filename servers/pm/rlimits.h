/* rlimits.h: resource limits. */
#ifndef PM_LIMITS_H
#define PM_LIMITS_H

#include "pm.h"

/* What the first process begins with. */
void limits_default(struct limit_pair *limits);

#endif
