/* host.c: run one actor's file in this process, without a Nucleus: to test libchorus and glibc in an
 * actor as early, and as simply, as can be.
 *
 *     actor-host FILE
 *
 * Each thread of the actor is a host thread. System-call instructions of the actor are caught by
 * Syscall User Dispatch and reflected; nucleus calls come through the gate and are answered with the
 * host's means. The log goes to standard output. Exit status: 0 if the actor said "passed".
 */
#include "host.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE 2
#endif
#define THREADS_MAX 1024
#define CANNOT_RUN 77 /* Meson: the test is skipped */

static uint64_t reflect_handler;
static bool passed;
static struct host_thread *threads[THREADS_MAX];
static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
static __thread struct host_thread *self;

/* --- reflection --- */

void host_sigsys(int signal, void *info, void *context)
{
    (void)signal, (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (reflect_handler == 0) {
        static const char words[] = "actor-host: a system call before actorTrapConnect\n";
        (void)!write(2, words, sizeof words - 1);
        _exit(1);
    }
    KnReflect *trap = (KnReflect *)(((uint64_t)registers[REG_RSP] - 128 - sizeof *trap) & ~15ull);
    *trap = (KnReflect){ .kind = K_TRAP_SYSCALL,
                         .number = (uint64_t)registers[REG_RAX],
                         .savedRip = (uint64_t)registers[REG_RIP],
                         .savedRsp = (uint64_t)registers[REG_RSP],
                         .savedFlags = (uint64_t)registers[REG_EFL] };
    registers[REG_RSP] = (greg_t)trap;
    registers[REG_RIP] = (greg_t)reflect_handler;
}

/* --- threads --- */

static void *thread_run(void *argument)
{
    self = argument;
    size_t size = 65536;
    stack_t stack = { .ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                      .ss_size = size };
    /* Outside this range system calls are caught. */
    static char selector = SYSCALL_DISPATCH_FILTER_BLOCK;
    if (sigaltstack(&stack, NULL) != 0 ||
        prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, ACTOR_AREA_END, ~0ull - ACTOR_AREA_END,
              &selector) != 0) {
        perror("actor-host: Syscall User Dispatch");
        exit(CANNOT_RUN);
    }
    actor_enter(self);
}

static int thread_create(KnThreadLid *li, const KnThreadStart *start)
{
    pthread_mutex_lock(&threads_lock);
    int free = 1;
    while (free < THREADS_MAX && threads[free] != NULL)
        free++;
    if (free < THREADS_MAX) {
        threads[free] = calloc(1, sizeof **threads);
        threads[free]->li = free;
        threads[free]->start = *start;
        *li = free;
    }
    pthread_mutex_unlock(&threads_lock);
    return free < THREADS_MAX ? free : K_ELIMIT;
}

static int thread_activate(KnThreadLid li)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    return pthread_create(&thread, &attributes, thread_run, threads[li]) == 0 ? K_OK : K_ENOMEM;
}

static void thread_exit(void)
{
    pthread_mutex_lock(&threads_lock);
    threads[self->li] = NULL; /* the memory stays: this thread is still on it */
    pthread_mutex_unlock(&threads_lock);
    prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
    for (;;)
        syscall(SYS_exit, 0); /* and not pthread_exit, which would unwind this stack */
}

/* --- memory --- */

static int protection_of(unsigned options)
{
    return (options & K_READABLE ? PROT_READ : 0) | (options & K_WRITABLE ? PROT_WRITE : 0) |
           (options & K_EXECUTABLE ? PROT_EXEC : 0);
}

static int region_allocate(KnRgnDesc *region)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (region->options & K_ANYWHERE)
        region->startAddr = actor_area_take(region->size);
    if (region->options & K_OVERWRITE)
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    if (region->startAddr < ACTOR_AREA || region->startAddr + region->size > ACTOR_AREA_END)
        return K_EINVAL;
    if (mmap((void *)region->startAddr, region->size, protection_of(region->options), flags, -1, 0) != MAP_FAILED)
        return K_OK;
    return errno == EEXIST ? K_EOVERLAP : K_ENOMEM;
}

static int region_move(KnRgnDesc *region, uint64_t source, uint64_t size)
{
    void *target = (void *)actor_area_take(region->size);
    if (!(region->options & K_ANYWHERE))
        return K_ESPACE;
    if (mremap((void *)source, size, region->size, MREMAP_MAYMOVE | MREMAP_FIXED, target) != target)
        return K_ENOMEM;
    region->startAddr = (uint64_t)target;
    return K_OK;
}

/* --- waiting and time --- */

static KnTime clock_read(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static int sync_wait(const uint64_t arg[6])
{
    KnTime delay = (KnTime)arg[2];
    struct timespec until;
    if (delay != K_FOREVER) {
        if (!(arg[4] & K_SYNC_ABSOLUTE))
            delay += clock_read(CLOCK_MONOTONIC);
        until = (struct timespec){ delay / 1000000000, delay % 1000000000 };
    }
    int operation = FUTEX_WAIT_BITSET | (arg[4] & K_SYNC_REALTIME ? FUTEX_CLOCK_REALTIME : 0);
    if (syscall(SYS_futex, arg[0], operation, (uint32_t)arg[1], delay == K_FOREVER ? NULL : &until, NULL,
                (uint32_t)arg[3]) == 0)
        return K_OK;
    return errno == ETIMEDOUT ? K_ETIMEOUT : errno == EAGAIN || errno == EINTR ? K_EAGAIN : K_EINVAL;
}

static int thread_delay(KnTime delay)
{
    struct timespec length = { delay / 1000000000, delay % 1000000000 };
    nanosleep(&length, NULL);
    return K_OK;
}

static int log_line(const char *text, size_t size)
{
    static const char end[] = ": passed";
    if (size >= sizeof end - 1 && memcmp(text + size - (sizeof end - 1), end, sizeof end - 1) == 0)
        passed = true;
    printf("%.*s\n", (int)size, text);
    return K_OK;
}

/* --- the nucleus calls that libchorus and libc_actor make --- */

int64_t host_call(unsigned number, const uint64_t arg[6])
{
    switch (number) {
    case CALL_actorTrapConnect:
        reflect_handler = ((const KnTrapConnect *)arg[1])->handler;
        return K_OK;
    case CALL_actorDelete:
        fflush(stdout);
        _exit(passed ? 0 : 1);
    case CALL_threadCreate:
        return thread_create((KnThreadLid *)arg[1], (const KnThreadStart *)arg[4]);
    case CALL_threadActivate:
        return thread_activate((KnThreadLid)arg[1]);
    case CALL_threadSelf:
        return self->li;
    case CALL_threadExit:
        thread_exit();
        return K_EFAIL;
    case CALL_threadYield:
        sched_yield();
        return K_OK;
    case CALL_threadDelay:
        return thread_delay((KnTime)arg[0]);
    case CALL_rgnAllocate:
        return region_allocate((KnRgnDesc *)arg[1]);
    case CALL_rgnFree:
        return munmap((void *)((KnRgnDesc *)arg[1])->startAddr, ((KnRgnDesc *)arg[1])->size) == 0 ? K_OK : K_EINVAL;
    case CALL_rgnSetProtect: {
        const KnRgnDesc *region = (const KnRgnDesc *)arg[1];
        return mprotect((void *)region->startAddr, region->size, protection_of(region->options)) == 0 ? K_OK : K_EFAULT;
    }
    case CALL_rgnMove:
        return region_move((KnRgnDesc *)arg[1], arg[2], arg[3]);
    case CALL_vmAdvise:
        return madvise((void *)arg[1], arg[2], MADV_DONTNEED) == 0 ? K_OK : K_EINVAL;
    case CALL_syncWait:
        return sync_wait(arg);
    case CALL_syncWake:
        return syscall(SYS_futex, arg[0], FUTEX_WAKE_BITSET, (uint32_t)arg[1], NULL, NULL, (uint32_t)arg[2]);
    case CALL_syncRequeue:
        return syscall(SYS_futex, arg[0], FUTEX_CMP_REQUEUE, arg[1], arg[2], arg[3], (uint32_t)arg[4]);
    case CALL_sysTime:
        *(KnTime *)arg[0] = clock_read(CLOCK_MONOTONIC);
        return K_OK;
    case CALL_univTime:
        *(KnTime *)arg[0] = clock_read(CLOCK_REALTIME);
        return K_OK;
    case CALL_sysLog:
        return log_line((const char *)arg[0], arg[1]);
    case CALL_sysRandom:
        return getrandom((void *)arg[0], arg[1], 0) == (ssize_t)arg[1] ? K_OK : K_EFAIL;
    case CALL_sysInfo:
        memset((void *)arg[0], 0, sizeof(KnSysInfo));
        ((KnSysInfo *)arg[0])->cpus = 2;
        return K_OK;
    default:
        printf("actor-host: nucleus call %u is not there\n", number);
        return K_ENOSYS;
    }
}

int main(int argc, char **argv)
{
    KnThreadStart start;
    KnThreadLid li;
    struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

    if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)) {
        fprintf(stderr, "actor-host: this host has no FSGSBASE\n");
        return CANNOT_RUN;
    }
    if (argc != 2 || !actor_load(argv[1], (uint64_t)actor_gate, &start)) {
        fprintf(stderr, "usage: actor-host FILE, a static-PIE program with libchorus\n");
        return 2;
    }
    action.sa_sigaction = (void (*)(int, siginfo_t *, void *))actor_sigsys;
    if (sigaction(SIGSYS, &action, NULL) != 0 || thread_create(&li, &start) < 0)
        return 2;
    self = threads[li];
    thread_run(self);
    return 2;
}
