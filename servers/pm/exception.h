/* exception.h: faults and other exceptions of a thread become signals. */
#ifndef PM_EXCEPTION_H
#define PM_EXCEPTION_H

#include "pm.h"

void exception_arrived(struct thread *thread, const KnTrapMsg *trap);

#endif
