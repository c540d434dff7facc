/* dispatch.c: a reflected trap finds its handler.
 *
 * The table is linux.def. It becomes a switch and not an array of pointers, since libc makes its
 * first system calls before it has relocated anything.
 */
#include "internal.h"

#include <errno.h>
#include <stdatomic.h>

int64_t libc_result(int64_t status)
{
    if (status >= 0)
        return status;
    switch (status) {
    case K_EINVAL:
        return -EINVAL;
    case K_EUNKNOWN:
        return -ESRCH;
    case K_ENOMEM:
    case K_ESPACE:
        return -ENOMEM;
    case K_EFAULT:
        return -EFAULT;
    case K_EPRIV:
        return -EPERM;
    case K_EBUSY:
        return -EBUSY;
    case K_ETIMEOUT:
        return -ETIMEDOUT;
    case K_EABORT:
        return -EINTR;
    case K_EOVERLAP:
        return -EEXIST;
    case K_EPROTECT:
        return -EACCES;
    case K_EAGAIN:
    case K_ELIMIT:
        return -EAGAIN;
    case K_ENOSYS:
        return -ENOSYS;
    default:
        return -EIO;
    }
}

/* Say once for each number that libc asks for something that is not there. */
static void missing_log(uint64_t number)
{
    static _Atomic uint64_t said[16];
    uint64_t index = number < 1024 ? number : 1023;
    uint64_t bit = 1ull << (index % 64);
    if ((atomic_fetch_or(&said[index / 64], bit) & bit) == 0)
        chorus_log("libchorus: no such system call in an actor:", (int64_t)(number & INT64_MAX));
}

static int64_t call_dispatch(struct libc_call *call)
{
    switch (call->number) {
#define LIBC_CALL(number, handler)                                                                 \
    case number:                                                                                   \
        return handler(call);
#include "linux.def"
#undef LIBC_CALL
    default:
        missing_log(call->number);
        return -ENOSYS;
    }
}

void chorus_dispatch(struct reflected *frame, const void *xstate)
{
    if (frame->trap.kind == K_TRAP_SYSCALL) {
        struct libc_call call = {
            .number = frame->trap.number,
            .arg = { frame->rdi, frame->rsi, frame->rdx, frame->r10, frame->r8, frame->r9 },
            .frame = frame,
            .xstate = xstate,
        };
        frame->rax = (uint64_t)call_dispatch(&call);
        return;
    }
    if (frame->trap.kind == K_TRAP_SYSCALL32) {
        missing_log(frame->trap.number);
        frame->rax = (uint64_t)-ENOSYS;
        return;
    }
    chorus_log("libchorus: a trap of a kind that is not connected:", (int64_t)frame->trap.kind);
    actorDelete(K_MYACTOR);
    __builtin_trap();
}
