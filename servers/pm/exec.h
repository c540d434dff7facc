/* exec.h: running programs. */
#ifndef PM_EXEC_H
#define PM_EXEC_H

#include "pm.h"

/* Start the first program in a process that has no space yet. <argv> and <environment> end with NULL.
 * An error of Linux. Gives up the lock. */
int exec_first(struct process *process, const char *path, char *const argv[],
               char *const environment[]);

#endif
