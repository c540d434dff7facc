/* birth.c: the zygote, and the birth of an actor's process.
 *
 * This code is copied onto pages of its own (SETUP in layout.h) and runs there, in a process that has unmapped everything else: so its children
 * are cheap to make, and the filter can permit whatever is called from these pages, since an actor's process has lost them before it maps the
 * first page of its actor. Therefore: no libc, no data but on the stack and the info page, no calls out of this section.
 *
 * The zygote is in a process group of its own. It makes processes when told, reports those that end, and when the Nucleus is gone, however that came
 * about, kills and reaps them all, gives the terminal back, and ends.
 */
#include "setup.h"
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#define HERE __attribute__((section("birth"), noinline))
#define ENTRY __attribute__((section("birth"), noinline, used))

enum { PROT_R = 1, PROT_RW = 3, SHARED_FIXED = 0x11, CLONE_AGENT = 0x50900 /* VM SIGHAND THREAD SYSVSEM */, CLONE_STUB = CLONE_AGENT | 0x400 /* FILES */ };

struct zygote {
    struct setup_info *info;
    int signal_fd;
    int *pids; /* by slot */
};

static inline __attribute__((always_inline)) long host(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}
#define HOST1(n, a) host(n, (long)(a), 0, 0, 0, 0, 0)
#define HOST2(n, a, b) host(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define HOST3(n, a, b, c) host(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define HOST4(n, a, b, c, d) host(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

static HERE __attribute__((noreturn)) void give_up(int status)
{
    for (;;)
        HOST1(SYS_exit_group, status);
}

/* A thread of this process that shares its memory and starts at <entry> with its signal stack set. Neither needs a stack of its own: the child
 * goes on from the same registers, and leaves for <entry> before it touches memory. Returns its id in the parent. */
static HERE long start_agent(long flags, uint64_t entry)
{
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    register uint64_t r9 __asm__("r9") = entry;
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "jmp *%%r9\n"
                     "1:"
                     : "=a"(result)
                     : "0"(SYS_clone), "D"(flags), "S"(0L), "d"(0L), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static HERE uint64_t area_of(const struct setup_info *info, uint32_t stub)
{
    return info->base + AREA_OFFSET + ((uint64_t)stub << AREA_SHIFT);
}

/* Become stub thread <stub>: signal stack, CPU; then trap for the first time, for ever under the stub's filter. */
static HERE __attribute__((noreturn)) void become_stub(struct setup_info *info, uint32_t stub)
{
    uint64_t area = area_of(info, stub);
    struct {
        uint64_t sp;
        int32_t flags, pad;
        uint64_t size;
    } stack = {area + STACK_OFFSET, 0, 0, AREA_SIZE - STACK_OFFSET};
    if (HOST2(SYS_sigaltstack, &stack, 0) != 0)
        give_up(101);
    if (info->cpu[stub] >= 0) {
        uint64_t set[16];
        for (int i = 0; i < 16; i++)
            ((volatile uint64_t *)set)[i] = 0;
        set[info->cpu[stub] / 64 % 16] = 1ul << (info->cpu[stub] % 64);
        HOST3(SYS_sched_setaffinity, 0, sizeof set, set);
    }
    *(volatile uint32_t *)(area + BOX_TID) = (uint32_t)HOST1(SYS_gettid, 0);
    uint64_t none = 0;
    if (HOST4(SYS_rt_sigprocmask, 2, &none, 0, 8) != 0)
        give_up(102);
    ((void (*)(void))info->ready)();
    give_up(103);
}

/* A stub thread other than the first. It needs a stack until its first trap: the page of the resume frame will do, since the signal stack must
 * be free then. */
static HERE long start_stub(struct setup_info *info, uint32_t stub)
{
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    register void (*r9)(struct setup_info *, uint32_t) __asm__("r9") = become_stub;
    register struct setup_info *r12 __asm__("r12") = info;
    register uint64_t r13 __asm__("r13") = stub;
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "mov %%r12, %%rdi\n\t"
                     "mov %%r13d, %%esi\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "call *%%r9\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone), "D"((long)CLONE_STUB), "S"(area_of(info, stub) + RESUME_END), "d"(0L), "r"(r10), "r"(r8), "r"(r9),
                       "r"(r12), "r"(r13)
                     : "rcx", "r11", "memory");
    return result;
}

static HERE __attribute__((noreturn)) void be_born(struct setup_info *info, uint32_t slot, int parent)
{
    HOST2(SYS_prctl, 1 /* PDEATHSIG */, SIGKILL);
    if (HOST1(SYS_getppid, 0) != parent)
        give_up(104);
    HOST3(SYS_close_range, SETUP_MEMFD + 1, ~0u, 0);
    uint64_t pages = info->slot_first + slot * info->slot_step;
    uint64_t orders = info->base + ORDER_OFFSET, areas = info->base + AREA_OFFSET;
    uint64_t areas_size = (uint64_t)info->stubs << AREA_SHIFT;
    if (host(SYS_mmap, (long)orders, ORDER_SIZE, PROT_R, SHARED_FIXED, SETUP_MEMFD, (long)pages) != (long)orders ||
        host(SYS_mmap, (long)areas, (long)areas_size, PROT_RW, SHARED_FIXED, SETUP_MEMFD, (long)(pages + ORDER_SIZE)) != (long)areas)
        give_up(105);
    /* Sealed, where the host can: nobody, the agent neither, unmaps the machine's own pages. */
    HOST3(462 /* mseal */, info->base, CODE_SIZE, 0);
    HOST3(462, orders, ORDER_SIZE, 0);
    HOST3(462, areas, areas_size, 0);
    HOST3(462, info->base + WORDS_OFFSET, info->words_size, 0);
    HOST3(462, GATE, FIXED_SIZE, 0);
    long agent = start_agent(CLONE_AGENT, info->agent);
    if (agent < 0)
        give_up(106);
    *(volatile uint32_t *)(areas + BOX_AGENT_TID) = (uint32_t)agent;
    HOST3(SYS_close_range, 0, ~0u, 0);
    struct {
        uint16_t length;
        const struct sock_filter *filter;
    } program = {(uint16_t)info->stub_length, info->stub};
    if (HOST3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        give_up(107);
    for (uint32_t stub = 1; stub < info->stubs; stub++)
        if (start_stub(info, stub) < 0)
            give_up(108);
    become_stub(info, 0);
}

static HERE void send_message(uint32_t operation, uint32_t slot, int pid, int status)
{
    struct zygote_message message = {operation, slot, pid, status};
    host(SYS_sendto, SETUP_SOCKET, (long)&message, sizeof message, 0x4000 /* NOSIGNAL */, 0, 0);
}

static HERE void bear(struct zygote *zygote, uint32_t slot)
{
    if (slot >= zygote->info->slots)
        return;
    int parent = (int)HOST1(SYS_getpid, 0);
    long pid = host(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
    if (pid == 0)
        be_born(zygote->info, slot, parent);
    if (pid > 0)
        zygote->pids[slot] = (int)pid;
    send_message(ZYGOTE_BORN, slot, (int)pid, 0);
}

/* Who is dead is told before it is buried: the host, which clears /proc of it then, may have to wait for a thread of it that was put off in the middle of its end, and that
 * took 50 to 300 ms when somebody had looked at /proc/PID/task. */
static HERE void reap(struct zygote *zygote)
{
    struct {
        int32_t signo, error, code, pad, pid;
        uint32_t user;
        int32_t status;
        uint8_t rest[100];
    } dead;
    for (;;) {
        dead.pid = 0;
        if (host(SYS_waitid, 0 /* all */, 0, (long)&dead, 0x01000005 /* WNOHANG, WEXITED, WNOWAIT */, 0, 0) != 0 || dead.pid == 0)
            return;
        for (uint32_t slot = 0; slot < zygote->info->slots; slot++) {
            if (zygote->pids[slot] != dead.pid)
                continue;
            zygote->pids[slot] = 0;
            send_message(ZYGOTE_DIED, slot, dead.pid, dead.code == 1 /* CLD_EXITED */ ? (dead.status & 0xff) << 8 : dead.status & 0x7f);
            break;
        }
        if (HOST4(SYS_wait4, dead.pid, 0, 0, 0) != dead.pid)
            return;
    }
}

static HERE __attribute__((noreturn)) void end_all(struct zygote *zygote)
{
    for (uint32_t slot = 0; slot < zygote->info->slots; slot++)
        if (zygote->pids[slot] > 0)
            HOST2(SYS_kill, zygote->pids[slot], SIGKILL);
    int status;
    while (HOST4(SYS_wait4, -1, &status, 0, 0) > 0)
        ;
    if (zygote->info->terminal_saved)
        HOST3(SYS_ioctl, SETUP_TERMINAL, 0x5404 /* TCSETSF */, zygote->info->terminal_state);
    give_up(0);
}

/* Everything but the machine's own pages goes: what is left is what children are born with. */
static HERE void unmap_the_rest(const struct setup_info *info)
{
    uint64_t end = info->base + SETUP_OFFSET + SETUP_SIZE;
    HOST2(SYS_munmap, GATE + FIXED_SIZE, info->base - GATE - FIXED_SIZE);
    HOST2(SYS_munmap, end, 0x7ffffffff000ul - end);
}

ENTRY void birth_entry(struct setup_info *info, int *pids)
{
    struct zygote zygote = {info, -1, pids};
    unmap_the_rest(info);
    HOST2(SYS_prctl, 1, SIGTERM);
    HOST4(SYS_prctl, 38 /* NO_NEW_PRIVS */, 1, 0, 0);
    uint64_t no_core[2] = {0, 0};
    HOST2(SYS_setrlimit, 4, no_core);
    uint64_t all = ~0ul, watched = 1ul << (SIGCHLD - 1) | 1ul << (SIGTERM - 1);
    HOST4(SYS_rt_sigprocmask, 2, &all, 0, 8);
    zygote.signal_fd = (int)HOST4(SYS_signalfd4, -1, &watched, 8, 02000000 | 04000 /* CLOEXEC, NONBLOCK */);
    /* The handlers of actors: inherited by every child. SA_SIGINFO ONSTACK NODEFER RESTORER; no restorer is ever used. */
    struct {
        uint64_t handler, flags, restorer, mask;
    } action = {info->handler, 0x4 | 0x08000000 | 0x40000000 | 0x04000000, info->handler, 0};
    uint64_t signals = 1ul << SIGILL | 1ul << SIGTRAP | 1ul << SIGBUS | 1ul << SIGFPE | 1ul << SIGSEGV | 1ul << SIGSYS | 1ul << SIGNAL_PREEMPT |
                       1ul << SIGNAL_RESET;
    for (int signal = 1; signal < 32; signal++)
        if (signals >> signal & 1 && HOST4(SYS_rt_sigaction, signal, &action, 0, 8) != 0)
            give_up(111);
    struct {
        uint16_t length;
        const struct sock_filter *filter;
    } program = {(uint16_t)info->common_length, info->common};
    if (zygote.signal_fd < 0 || HOST3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        give_up(112);
    send_message(ZYGOTE_BORN, ~0u, (int)HOST1(SYS_getpid, 0), 0);
    for (;;) {
        struct {
            int fd;
            short events, revents;
        } watch[2] = {{SETUP_SOCKET, 1, 0}, {zygote.signal_fd, 1, 0}};
        HOST3(SYS_poll, watch, 2, -1);
        if (watch[1].revents) {
            struct {
                uint32_t signo;
                uint8_t rest[124];
            } signal;
            while (HOST3(SYS_read, zygote.signal_fd, &signal, sizeof signal) == sizeof signal)
                if (signal.signo == SIGTERM)
                    end_all(&zygote);
            reap(&zygote);
        }
        if (watch[0].revents) {
            struct zygote_message message;
            long got = host(SYS_recvfrom, SETUP_SOCKET, (long)&message, sizeof message, 0x40 /* DONTWAIT */, 0, 0);
            if (got == 0 || (got > 0 && message.operation == ZYGOTE_END))
                end_all(&zygote);
            if (got == sizeof message && message.operation == ZYGOTE_BEAR)
                bear(&zygote, message.slot);
        }
    }
}
