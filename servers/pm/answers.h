/* answers.h: "who am I" is answered inside the process.
 *
 * getpid, getppid, and the user's and group's identities are told to the Nucleus (actorAnswers), which has the gate answer them: for processes whose calls
 * are rewritten, since others trap anyway.
 */
#ifndef PM_ANSWERS_H
#define PM_ANSWERS_H

#include "pm.h"

/* Something about the process may have changed, or who lives in its space: tell it, if it is anything new. Cheap. */
void answers_tell(struct process *process);
/* Somebody else is about to live in the space, too: nothing is answered there from now on. */
void answers_withdraw(struct space *space);

#endif
