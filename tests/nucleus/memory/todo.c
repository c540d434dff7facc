/* todo.c: calls that are not written yet. */
#include "call.h"
#define TODO(name) int64_t call_##name(struct thread *thread) { (void)thread; return K_ENOSYS; }
TODO(rgnMap) TODO(rgnInit)
TODO(vmCopy) TODO(vmLock) TODO(vmUnLock) TODO(vmStat) TODO(vmAdvise) TODO(vmCopyString)
TODO(sgRead) TODO(sgWrite) TODO(sgFlush) TODO(sgStat) TODO(sgSyncAll)
TODO(lcOpen) TODO(lcClose) TODO(lcFlush) TODO(lcTrunc) TODO(lcFillZero) TODO(lcStat) TODO(vmMapperDefault)
