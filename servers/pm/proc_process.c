/* /proc/PID: the files about one process. */

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call.h"
#include "descriptor.h"
#include "proc.h"
#include "process.h"
#include "space.h"
#include "user.h"

#define TICK (NANOSECONDS / 100)

static char state_of(const struct process *process, const struct thread *thread)
{
    if (process->state == PROCESS_ZOMBIE)
        return 'Z';
    if (process->stopped)
        return 'T';
    if (thread != NULL && thread->where == THREAD_OUTSIDE && !thread->in_call)
        return 'R';
    if (thread != NULL && thread->where == THREAD_SERVED)
        return 'R';
    return 'S';
}

static const char *state_words(char state)
{
    switch (state) {
    case 'R': return "R (running)";
    case 'T': return "T (stopped)";
    case 'Z': return "Z (zombie)";
    default: return "S (sleeping)";
    }
}

static KnVmStat memory_of(const struct process *process)
{
    KnVmStat stat;
    memset(&stat, 0, sizeof stat);
    if (process->space != NULL)
        vmStat(&process->space->actor, &stat);
    return stat;
}

/* As Linux packs it into one number. */
static uint32_t terminal_of(const struct process *process)
{
    uint32_t device = process->group->session->terminal;
    uint32_t major = device >> 20, minor = device & 0xfffff;
    return device == 0 ? 0 : (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

static void signal_sets(const struct process *process, uint64_t *ignored, uint64_t *caught)
{
    *ignored = *caught = 0;
    for (int signal = 1; process->signals != NULL && signal <= SIGNALS; signal++) {
        uint64_t handler = process->signals->actions[signal].handler;
        if (handler == (uint64_t)SIG_IGN)
            *ignored |= SIGNAL_BIT(signal);
        else if (handler != (uint64_t)SIG_DFL)
            *caught |= SIGNAL_BIT(signal);
    }
}

static int print_stat(struct process *process, struct thread *thread, FILE *out)
{
    static const struct space none;
    const struct space *space = process->space != NULL ? process->space : &none;
    struct usage_times times = process_times(process);
    KnVmStat memory = memory_of(process);
    uint64_t ignored, caught;
    signal_sets(process, &ignored, &caught);
    fprintf(out, "%d (%s) %c %d %d %d %u %d 0 %llu 0 0 0 ", thread != NULL ? thread->tid
                                                                          : process->pid,
            thread != NULL ? thread->name : process->name, state_of(process, thread),
            process->parent->is_init && process->is_init ? 0 : process->parent->pid,
            process->group->pgid, process->group->session->sid, terminal_of(process), -1,
            (unsigned long long)memory.faults);
    fprintf(out, "%lld %lld %lld %lld %d %d %u 0 %lld %llu %llu %llu ",
            (long long)(times.user / TICK), (long long)(times.system / TICK),
            (long long)(process->children_times.user / TICK),
            (long long)(process->children_times.system / TICK), 20 + process->nice, process->nice,
            process->thread_count, (long long)(process->started / TICK),
            (unsigned long long)memory.virtualSize, (unsigned long long)memory.pages,
            (unsigned long long)process->limits[5 /* RLIMIT_RSS */].current);
    fprintf(out, "%llu %llu %llu 0 0 %llu %llu %llu %llu 0 0 0 %d 0 %d %d 0 0 0 ",
            (unsigned long long)space->code_start, (unsigned long long)space->code_end,
            (unsigned long long)space->stack_top, (unsigned long long)process->pending.set,
            (unsigned long long)(thread != NULL ? thread->blocked : 0),
            (unsigned long long)ignored, (unsigned long long)caught, process->exit_signal,
            process->priority, process->policy);
    fprintf(out, "%llu %llu %llu %llu %llu %llu %llu %d\n", (unsigned long long)space->data_start,
            (unsigned long long)space->data_end, (unsigned long long)space->brk_start,
            (unsigned long long)space->arg_start, (unsigned long long)space->arg_end,
            (unsigned long long)space->env_start, (unsigned long long)space->env_end,
            process->exit_status);
    return 0;
}

static int print_statm(struct process *process, struct thread *thread, FILE *out)
{
    const struct space *space = process->space;
    KnVmStat memory = memory_of(process);
    (void)thread;
    unsigned long text = space == NULL ? 0 : (space->code_end - space->code_start) / K_PAGESIZE + 1;
    fprintf(out, "%llu %llu %llu %lu 0 %llu 0\n",
            (unsigned long long)memory.virtualSize / K_PAGESIZE, (unsigned long long)memory.pages,
            (unsigned long long)(memory.pages > memory.pagesPrivate
                                     ? memory.pages - memory.pagesPrivate : 0),
            text, (unsigned long long)memory.pagesPrivate);
    return 0;
}

static int print_status(struct process *process, struct thread *thread, FILE *out)
{
    const struct credentials *who = &process->credentials;
    KnVmStat memory = memory_of(process);
    uint64_t ignored, caught;
    signal_sets(process, &ignored, &caught);
    fprintf(out, "Name:\t%s\nUmask:\t%04o\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\n"
                 "TracerPid:\t0\n",
            thread != NULL ? thread->name : process->name,
            process->fs != NULL ? process->fs->umask : 022u,
            state_words(state_of(process, thread)), process->pid,
            thread != NULL ? thread->tid : process->pid,
            process->is_init ? 0 : process->parent->pid);
    fprintf(out, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", who->uid, who->euid, who->suid,
            who->fsuid, who->gid, who->egid, who->sgid, who->fsgid);
    fprintf(out, "FDSize:\t%d\nGroups:\t",
            process->descriptors != NULL ? process->descriptors->size : 0);
    for (uint32_t i = 0; i < who->group_count; i++)
        fprintf(out, "%u ", who->groups[i]);
    if (process->space != NULL)
        fprintf(out, "\nVmPeak:\t%8llu kB\nVmSize:\t%8llu kB\nVmRSS:\t%8llu kB\nVmData:\t%8llu kB",
                (unsigned long long)memory.virtualSize / 1024,
                (unsigned long long)memory.virtualSize / 1024,
                (unsigned long long)memory.pages * 4, (unsigned long long)memory.pagesPrivate * 4);
    fprintf(out, "\nThreads:\t%u\nSigQ:\t0/%llu\nSigPnd:\t%016llx\nShdPnd:\t%016llx\n"
                 "SigBlk:\t%016llx\nSigIgn:\t%016llx\nSigCgt:\t%016llx\n",
            process->thread_count, (unsigned long long)process->limits[11].current,
            (unsigned long long)(thread != NULL ? thread->pending.set : 0),
            (unsigned long long)process->pending.set,
            (unsigned long long)(thread != NULL ? thread->blocked : 0),
            (unsigned long long)ignored, (unsigned long long)caught);
    fprintf(out, "CapInh:\t%016llx\nCapPrm:\t%016llx\nCapEff:\t%016llx\nCapBnd:\t%016llx\n"
                 "CapAmb:\t%016llx\nNoNewPrivs:\t%d\nSeccomp:\t0\n",
            (unsigned long long)who->inheritable, (unsigned long long)who->permitted,
            (unsigned long long)who->effective, (unsigned long long)who->bounding,
            (unsigned long long)who->ambient, who->no_new_privileges);
    return 0;
}

static int print_comm(struct process *process, struct thread *thread, FILE *out)
{
    fprintf(out, "%s\n", thread != NULL ? thread->name : process->name);
    return 0;
}

/* A piece of the process's own memory; what cannot be read is left out. */
static int print_memory(struct process *process, VmAddr start, VmAddr end, FILE *out)
{
    struct space *space = process->space;
    char buffer[4096];
    if (space == NULL || end < start || end - start > 1 << 21)
        return 0;
    space->references++;
    for (VmAddr at = start; at < end;) {
        size_t part = end - at < sizeof buffer ? end - at : sizeof buffer;
        if (space_read(space, buffer, at, part) != 0)
            break;
        fwrite(buffer, 1, part, out);
        at += part;
    }
    space_release(space);
    return 0;
}

static int print_cmdline(struct process *process, struct thread *thread, FILE *out)
{
    (void)thread;
    if (process->space == NULL)
        return 0;
    return print_memory(process, process->space->arg_start, process->space->arg_end, out);
}

static int print_environ(struct process *process, struct thread *thread, FILE *out)
{
    (void)thread;
    if (process->space == NULL)
        return 0;
    return print_memory(process, process->space->env_start, process->space->env_end, out);
}

static int print_auxv(struct process *process, struct thread *thread, FILE *out)
{
    (void)thread;
    if (process->space != NULL)
        fwrite(process->space->auxv, 8, process->space->auxv_words, out);
    return 0;
}

static const char *region_name(const struct space *space, const KnRgnStat *region, uint64_t *inode)
{
    const struct file *program = space->program;
    VmAddr end = region->startAddr + region->size;
    *inode = 0;
    if (!uiIsCleared(&region->dataObject.ui)) {
        if (program != NULL && program->segment.key == region->dataObject.key &&
            uiEqual(&program->segment.ui, &region->dataObject.ui)) {
            *inode = program->attributes.inode;
            return program->place.path != NULL ? program->place.path : "";
        }
        *inode = region->dataObject.key;
        return "";
    }
    if (region->startAddr <= space->brk && end > space->brk_start)
        return "[heap]";
    if (end > space->stack_bottom && region->startAddr < space->stack_top)
        return "[stack]";
    return "";
}

static int print_maps(struct process *process, struct thread *thread, FILE *out)
{
    KnRgnStat region;
    (void)thread;
    const struct space *space = process->space;
    if (space == NULL)
        return 0;
    for (VmAddr at = 0; rgnStat(&space->actor, at, &region) == K_OK;
         at = region.startAddr + region.size) {
        uint64_t inode;
        const char *name = region_name(space, &region, &inode);
        bool shared = (region.options & K_INHERITSHARE) && !(region.opaque & 1);
        int length = fprintf(out, "%08llx-%08llx %c%c%c%c %08llx 00:%02x %llu ",
                             (unsigned long long)region.startAddr,
                             (unsigned long long)(region.startAddr + region.size),
                             region.options & K_READABLE ? 'r' : '-',
                             region.options & K_WRITABLE ? 'w' : '-',
                             region.options & K_EXECUTABLE ? 'x' : '-', shared ? 's' : 'p',
                             (unsigned long long)region.offset, inode != 0 ? 1 : 0,
                             (unsigned long long)inode);
        fprintf(out, "%*s%s\n", *name && length < 73 ? 73 - length : 0, "", name);
    }
    return 0;
}

static const char *const limit_names[16] = {
    "Max cpu time", "Max file size", "Max data size", "Max stack size", "Max core file size",
    "Max resident set", "Max processes", "Max open files", "Max locked memory",
    "Max address space", "Max file locks", "Max pending signals", "Max msgqueue size",
    "Max nice priority", "Max realtime priority", "Max realtime timeout",
};

static const char *const limit_units[16] = {
    "seconds", "bytes", "bytes", "bytes", "bytes", "bytes", "processes", "files", "bytes",
    "bytes", "locks", "signals", "bytes", "", "", "us",
};

static void print_limit(uint64_t value, FILE *out)
{
    if (value == UINT64_MAX)
        fprintf(out, "%-20s ", "unlimited");
    else
        fprintf(out, "%-20llu ", (unsigned long long)value);
}

static int print_limits(struct process *process, struct thread *thread, FILE *out)
{
    (void)thread;
    fprintf(out, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (int i = 0; i < 16; i++) {
        fprintf(out, "%-25s ", limit_names[i]);
        print_limit(process->limits[i].current, out);
        print_limit(process->limits[i].most, out);
        fprintf(out, "%-10s\n", limit_units[i]);
    }
    return 0;
}

static int print_mounts(struct process *process, struct thread *thread, FILE *out)
{
    (void)process, (void)thread;
    return proc_print_mounts(out);
}

static int print_mountinfo(struct process *process, struct thread *thread, FILE *out)
{
    (void)process, (void)thread;
    return proc_print_mountinfo(out);
}

static int print_oom(struct process *process, struct thread *thread, FILE *out)
{
    (void)process, (void)thread;
    fprintf(out, "0\n");
    return 0;
}

static int print_cgroup(struct process *process, struct thread *thread, FILE *out)
{
    (void)process, (void)thread;
    fprintf(out, "0::/\n");
    return 0;
}

const struct proc_process_file proc_process_files[] = {
    { "auxv", 0400, print_auxv },
    { "cgroup", 0444, print_cgroup },
    { "cmdline", 0444, print_cmdline },
    { "comm", 0444, print_comm },
    { "environ", 0400, print_environ },
    { "limits", 0444, print_limits },
    { "maps", 0444, print_maps },
    { "mountinfo", 0444, print_mountinfo },
    { "mounts", 0444, print_mounts },
    { "oom_score_adj", 0444, print_oom },
    { "stat", 0444, print_stat },
    { "statm", 0444, print_statm },
    { "status", 0444, print_status },
    { NULL, 0, NULL },
};
