/* Calls about the system and about the process itself that belong nowhere else. */

#include "system.h"

#include <asm/prctl.h>
#include <linux/membarrier.h>
#include <linux/prctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "call.h"
#include "process.h"
#include "user.h"

struct utsname system_names = {
    .sysname = "Linux", .nodename = "chorus", .release = SYSTEM_RELEASE,
    .version = "#1 SMP Chorus", .machine = "x86_64", .domainname = "(none)",
};

void pm_log(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length >= (int)sizeof line)
        length = sizeof line - 1;
    sysLog(line, (size_t)length);
}

int error_of(int status)
{
    switch (status) {
    case K_OK: return 0;
    case K_EINVAL: return -EINVAL;
    case K_ENOMEM:
    case K_ESPACE: return -ENOMEM;
    case K_EFAULT: return -EFAULT;
    case K_EPRIV: return -EPERM;
    case K_EPROTECT: return -EACCES;
    case K_EBUSY: return -EBUSY;
    case K_ETIMEOUT: return -ETIMEDOUT;
    case K_EABORT: return -EINTR;
    case K_EAGAIN:
    case K_ELIMIT: return -EAGAIN;
    case K_EOVERLAP: return -EEXIST;
    case K_ENOSPACE: return -ENOSPC;
    case K_ETOOMUCH: return -EFBIG;
    case K_ENOSYS: return -ENOSYS;
    default: return status > 0 ? status : -EIO;
    }
}

int64_t linux_uname(struct call *call)
{
    struct utsname names = system_names;
    if ((call_process(call)->persona & 0xff) == 8 /* PER_LINUX32 */)
        strcpy(names.machine, "i686");
    return copy_out(call, call->arg[0], &names, sizeof names);
}

static int64_t set_name(struct call *call, char *name)
{
    char given[65] = { 0 };
    if (call_process(call)->credentials.euid != 0)
        return -EPERM;
    if (call->arg[1] > 64)
        return -EINVAL;
    if (copy_in(call, given, call->arg[0], call->arg[1]) != 0)
        return -EFAULT;
    memcpy(name, given, sizeof given);
    return 0;
}

int64_t linux_sethostname(struct call *call)
{
    return set_name(call, system_names.nodename);
}

int64_t linux_setdomainname(struct call *call)
{
    return set_name(call, system_names.domainname);
}

int64_t linux_sysinfo(struct call *call)
{
    struct sysinfo info = { 0 };
    KnSysInfo site;
    if (sysInfo(&site) != K_OK)
        return -EIO;
    info.uptime = time_now() / NANOSECONDS;
    info.totalram = site.frames * K_PAGESIZE;
    info.freeram = site.framesFree * K_PAGESIZE;
    info.mem_unit = 1;
    LIST_EACH(&processes, at)
        info.procs++;
    return copy_out(call, call->arg[0], &info, sizeof info);
}

int64_t linux_getpid(struct call *call)
{
    return call_process(call)->pid;
}

int64_t linux_getppid(struct call *call)
{
    return call_process(call)->parent->pid;
}

int64_t linux_getrandom(struct call *call)
{
    uint8_t bytes[256];
    uint64_t size = call->arg[1] < (32 << 20) ? call->arg[1] : 32 << 20, done = 0;
    if (call->arg[2] & ~UINT64_C(7))
        return -EINVAL;
    while (done < size) {
        size_t part = size - done < sizeof bytes ? size - done : sizeof bytes;
        if (sysRandom(bytes, part) < 0)
            return -EIO;
        if (copy_out(call, call->arg[0] + done, bytes, part) != 0)
            return done > 0 ? (int64_t)done : -EFAULT;
        done += part;
    }
    return (int64_t)size;
}

/* The kernel's log: there is none. Its size is asked for by dmesg. */
int64_t linux_syslog(struct call *call)
{
    switch ((int)call->arg[0]) {
    case 2: case 3: case 4: return call->arg[1] == 0 || (int)call->arg[2] < 0 ? -EINVAL : 0;
    case 0: case 1: case 5: case 6: case 7: case 9: return 0;
    case 8: return call->arg[2] < 1 || call->arg[2] > 8 ? -EINVAL : 0;
    case 10: return 16384;
    default: return -EINVAL;
    }
}

int64_t linux_personality(struct call *call)
{
    struct process *process = call_process(call);
    uint32_t old = process->persona;
    if ((uint32_t)call->arg[0] != UINT32_MAX)
        process->persona = (uint32_t)call->arg[0];
    return old;
}

int64_t linux_membarrier(struct call *call)
{
    return call->arg[0] == MEMBARRIER_CMD_QUERY && call->arg[1] == 0 ? 0 : -EINVAL;
}

/* ---- arch_prctl ---- */

static int64_t set_base(struct call *call, bool fs, uint64_t base)
{
    struct thread *thread = call_thread(call);
    KnThreadCtx context = { 0 };
    const KnCap *actor = &thread->process->space->actor;
    if (base >= UINT64_C(1) << 47)
        return -EPERM;
    if (threadContext(actor, thread->li, &context, NULL, NULL) != K_OK)
        return -EIO;
    if (fs)
        context.fsBase = base;
    else
        context.gsBase = base;
    context.flags = K_CTX_GENERAL;
    context.rax = 0;
    if (threadContext(actor, thread->li, NULL, &context, NULL) != K_OK)
        return -EPERM;
    call->reply = (KnTrapReply){ .action = K_DO_CONTEXT };
    return CALL_REPLIED;
}

int64_t linux_arch_prctl(struct call *call)
{
    struct thread *thread = call_thread(call);
    KnThreadCtx context = { 0 };
    int code = (int)call->arg[0];
    switch (code) {
    case ARCH_SET_FS:
    case ARCH_SET_GS: return set_base(call, code == ARCH_SET_FS, call->arg[1]);
    case ARCH_GET_FS:
    case ARCH_GET_GS:
        if (threadContext(&thread->process->space->actor, thread->li, &context, NULL, NULL) != K_OK)
            return -EIO;
        return copy_out(call, call->arg[1],
                        code == ARCH_GET_FS ? &context.fsBase : &context.gsBase, 8);
    case ARCH_GET_CPUID: return 1;
    default: return -EINVAL;
    }
}

/* ---- prctl ---- */

static int64_t capability_of(struct call *call, uint64_t bits)
{
    return call->arg[1] > 40 ? -EINVAL : (int64_t)(bits >> call->arg[1] & 1);
}

static int64_t change_ambient(struct call *call, struct credentials *credentials)
{
    uint64_t bit = UINT64_C(1) << (call->arg[2] & 63);
    if (call->arg[1] == PR_CAP_AMBIENT_CLEAR_ALL) {
        credentials->ambient = 0;
        return 0;
    }
    if (call->arg[2] > 40)
        return -EINVAL;
    switch (call->arg[1]) {
    case PR_CAP_AMBIENT_IS_SET: return !!(credentials->ambient & bit);
    case PR_CAP_AMBIENT_LOWER: credentials->ambient &= ~bit; return 0;
    case PR_CAP_AMBIENT_RAISE:
        if (!(credentials->permitted & credentials->inheritable & bit))
            return -EPERM;
        credentials->ambient |= bit;
        return 0;
    default: return -EINVAL;
    }
}

static int64_t name_thread(struct call *call)
{
    char name[16] = { 0 };
    struct thread *thread = call_thread(call);
    int length = copy_in_string(call, name, call->arg[1], sizeof name);
    if (length < 0 && length != -ENAMETOOLONG)
        return length;
    name[15] = '\0';
    memcpy(thread->name, name, sizeof name);
    struct process *process = thread->process;
    if (thread->tid != process->pid)
        return 0;
    memcpy(process->name, name, sizeof name);
    if (process->vfork_parent == NULL) /* otherwise the actor is its parent's */
        actorName(&process->space->actor, NULL, name);
    return 0;
}

int64_t linux_prctl(struct call *call)
{
    struct process *process = call_process(call);
    struct credentials *credentials = &process->credentials;
    int32_t number;
    switch ((int)call->arg[0]) {
    case PR_SET_NAME: return name_thread(call);
    case PR_GET_NAME: return copy_out(call, call->arg[1], call_thread(call)->name, 16);
    case PR_SET_PDEATHSIG:
        if (call->arg[1] > SIGNALS)
            return -EINVAL;
        process->death_signal = (int)call->arg[1];
        return 0;
    case PR_GET_PDEATHSIG:
        number = process->death_signal;
        return copy_out(call, call->arg[1], &number, sizeof number);
    case PR_SET_DUMPABLE:
        if (call->arg[1] > 1)
            return -EINVAL;
        process->dumpable = call->arg[1];
        return 0;
    case PR_GET_DUMPABLE: return process->dumpable;
    case PR_SET_KEEPCAPS:
        if (call->arg[1] > 1)
            return -EINVAL;
        credentials->keep_capabilities = call->arg[1];
        return 0;
    case PR_GET_KEEPCAPS: return credentials->keep_capabilities;
    case PR_SET_NO_NEW_PRIVS:
        if (call->arg[1] != 1 || call->arg[2] || call->arg[3] || call->arg[4])
            return -EINVAL;
        credentials->no_new_privileges = true;
        return 0;
    case PR_GET_NO_NEW_PRIVS: return credentials->no_new_privileges;
    case PR_CAPBSET_READ: return capability_of(call, credentials->bounding);
    case PR_CAPBSET_DROP:
        if (call->arg[1] > 40)
            return -EINVAL;
        if (!(credentials->effective >> 8 & 1))
            return -EPERM;
        credentials->bounding &= ~(UINT64_C(1) << call->arg[1]);
        return 0;
    case PR_CAP_AMBIENT: return change_ambient(call, credentials);
    case PR_SET_CHILD_SUBREAPER: process->child_subreaper = call->arg[1]; return 0;
    case PR_GET_CHILD_SUBREAPER:
        number = process->child_subreaper;
        return copy_out(call, call->arg[1], &number, sizeof number);
    case PR_SET_TIMERSLACK: return 0;
    case PR_GET_TIMERSLACK: return 50000;
    case PR_GET_SECCOMP: return 0;
    case PR_GET_SECUREBITS: return 0;
    default: return -EINVAL;
    }
}

