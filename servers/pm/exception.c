/* Exceptions: which signal, which code; and faults that only make the stack longer. */

#include "exception.h"

#include "memory_short.h"
#include "picture.h"
#include "signals.h"
#include "space.h"

static void fault(struct thread *thread, const KnTrapMsg *trap)
{
    uint64_t address = trap->arg[0];
    int status = (int)(int64_t)trap->arg[2];
    siginfo_t info = { .si_signo = SIGSEGV, .si_code = SEGV_MAPERR };
    info.si_addr = (void *)address;
    switch (status) {
    case K_EPROTECT: info.si_code = SEGV_ACCERR; break;
    case K_EMAPPER:
        if (picture_fault(thread, address))
            return;
        /* fall through */
    case K_EOFFSET:
    case K_EIO:
    case K_ENOSPACE:
        info.si_signo = SIGBUS;
        info.si_code = BUS_ADRERR;
        break;
    case K_ENOMEM:
        memory_short(thread);
        return;
    default:
        if (space_grow_stack(thread->process, address, trap->sp))
            return;
        break;
    }
    signal_force(thread, &info);
}

void exception_arrived(struct thread *thread, const KnTrapMsg *trap)
{
    siginfo_t info = { .si_code = (int)trap->code };
    info.si_addr = (void *)trap->ip;
    switch (trap->kind) {
    case K_TRAP_FAULT: fault(thread, trap); return;
    case K_TRAP_ARITHMETIC: info.si_signo = SIGFPE; break;
    case K_TRAP_BREAKPOINT:
    case K_TRAP_STEP: info.si_signo = SIGTRAP; break;
    case K_TRAP_ALIGNMENT: info.si_signo = SIGBUS; break;
    default: info.si_signo = SIGILL; break;
    }
    if (info.si_code == 0)
        info.si_code = info.si_signo == SIGILL   ? ILL_ILLOPN
                       : info.si_signo == SIGFPE ? FPE_INTDIV
                       : info.si_signo == SIGBUS ? BUS_ADRALN
                                                 : TRAP_BRKPT;
    signal_force(thread, &info);
}
