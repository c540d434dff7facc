/* What is not written yet: nucleus calls that answer K_ENOSYS, so that the rest can be linked and run. */
#include "call.h"
#include "vm.h"

#define KN_CALL(number, name, wait, who, remote, arguments, words)                                 \
    __attribute__((weak)) int64_t call_##name(struct thread *thread)                               \
    {                                                                                              \
        (void)thread;                                                                              \
        return K_ENOSYS;                                                                           \
    }
#include <calls.def>
#undef KN_CALL
