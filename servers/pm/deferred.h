/* deferred.h: what servers are told later.
 *
 * Letting go of a file must not wait, since it happens in the middle of other things. So what om and
 * dm have to hear of it is noted here and sent when the worker has served its threads.
 */
#ifndef PM_DEFERRED_H
#define PM_DEFERRED_H

#include "pm.h"

/* Each may fail for want of memory; then the server hears nothing, which is logged. */
void deferred_close_file(struct file_node node, uint32_t access);
void deferred_close_device(uint64_t handle);
void deferred_unwatch(uint64_t token);
void deferred_close_socket(uint64_t handle);
void deferred_unwatch_socket(uint64_t token);
void deferred_session_end(pid_t sid);

/* Do one of them; false: none is left. Gives up the lock. */
bool deferred_run(void);
bool deferred_is_due(void);
/* What was deferred before has been done when this returns, or a second has gone by. Gives up the lock. */
void deferred_settle(void);

#endif
