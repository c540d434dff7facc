/* rewritten: does everything that could notice that system-call instructions are being rewritten while they are used: from several threads, with
 * signals in the middle, across fork, vfork and exec, with registers, flags and the red zone watched, with code that changes
 * itself, a gs base of its own, and jumps into the middle. On the host nothing is rewritten, and the outcome is the same.
 *
 * rewritten          all of it
 * rewritten exec N   N times again by exec, each making calls; prints "done"
 * rewritten name     one call; prints its build's word (see the test of a program that is replaced) */

#include <asm/prctl.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

enum { ROUNDS = 300 };

/* ---- calls written by hand ---- */

long mov_and_call(void);           /* getuid by `mov $n, %eax; syscall`, with filling behind */
long jump_to_call(long number);    /* any call, by a jump to that very instruction */
long other_mov_and_call(uint64_t *r8); /* `mov $102, %r8d; syscall`: looks like a mov of eax from its second byte on */
long call_and_compare(long number);
int watched_call(void);            /* 0: all registers, the red zone and the flags were preserved */
extern uint8_t mov_and_call_number[], mov_and_call_instruction[];

__asm__(".text\n"
        ".balign 64\n"
        "mov_and_call:\n"
        "    mov $102, %eax\n"
        "mov_and_call_number = . - 4\n"
        "mov_and_call_instruction:\n"
        "    syscall\n"
        "    ret\n"
        "    ud2\n" /* no filling right behind */
        ".balign 64\n"
        "jump_to_call:\n"
        "    mov %edi, %eax\n"
        "    jmp mov_and_call_instruction\n"
        ".balign 64\n"
        "other_mov_and_call:\n"
        "    mov %rdi, %r9\n"
        "    mov $102, %eax\n"
        "    mov $102, %r8d\n"
        "    syscall\n"
        "    mov %r8, (%r9)\n"
        "    ret\n"
        ".balign 64\n"
        "call_and_compare:\n"
        "    mov %rdi, %rax\n"
        "    syscall\n"
        "    cmp $-4095, %rax\n"
        "    jae 1f\n"
        "    ret\n"
        "1:  mov $-1, %rax\n"
        "    ret\n"
        ".balign 64\n"
        "watched_call:\n"
        "    push %rbx\n    push %rbp\n    push %r12\n    push %r13\n    push %r14\n    push %r15\n"
        "    mov $0x1111, %ebx\n    mov $0x2222, %ebp\n    mov $0x3333, %r12d\n    mov $0x4444, %r13d\n"
        "    mov $0x5555, %r14d\n    mov $0x6666, %r15d\n    mov $0x7777, %edi\n    mov $0x8888, %esi\n"
        "    mov $0x9999, %edx\n    mov $0xaaaa, %r8d\n    mov $0xbbbb, %r9d\n    mov $0xcccc, %r10d\n"
        "    movq %rbx, %xmm0\n    movq %rbp, %xmm7\n    movq %r12, %xmm15\n"
        "    movq $0x12345, -8(%rsp)\n    movq $0x54321, -128(%rsp)\n"
        "    mov $0x7fffffff, %eax\n"
        "    add $1, %eax\n" /* overflow, sign, no carry, no zero */
        "    mov $107, %eax\n"
        "    syscall\n"
        "    jno 9f\n    jns 9f\n    jc 9f\n    jz 9f\n"
        "    cmp $0x1111, %rbx\n    jne 9f\n    cmp $0x2222, %rbp\n    jne 9f\n    cmp $0x3333, %r12\n    jne 9f\n"
        "    cmp $0x4444, %r13\n    jne 9f\n    cmp $0x5555, %r14\n    jne 9f\n    cmp $0x6666, %r15\n    jne 9f\n"
        "    cmp $0x7777, %rdi\n    jne 9f\n    cmp $0x8888, %rsi\n    jne 9f\n    cmp $0x9999, %rdx\n    jne 9f\n"
        "    cmp $0xaaaa, %r8\n    jne 9f\n    cmp $0xbbbb, %r9\n    jne 9f\n    cmp $0xcccc, %r10\n    jne 9f\n"
        "    cmpq $0x12345, -8(%rsp)\n    jne 9f\n    cmpq $0x54321, -128(%rsp)\n    jne 9f\n"
        "    movq %xmm0, %rcx\n    cmp %rbx, %rcx\n    jne 9f\n    movq %xmm7, %rcx\n    cmp %rbp, %rcx\n    jne 9f\n"
        "    movq %xmm15, %rcx\n    cmp %r12, %rcx\n    jne 9f\n"
        "    xor %eax, %eax\n    jmp 8f\n"
        "9:  mov $1, %eax\n"
        "8:  pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n    pop %rbp\n    pop %rbx\n    ret\n"
        ".balign 64\n");

static void all_of_them(void)
{
    uint64_t r8 = 0;
    EXPECT(mov_and_call() == (long)getuid());
    EXPECT(jump_to_call(SYS_getpid) == (long)getpid());
    EXPECT(jump_to_call(SYS_getppid) == (long)getppid());
    EXPECT(other_mov_and_call(&r8) == (long)getuid() && r8 == 102);
    EXPECT(call_and_compare(SYS_getpid) == (long)getpid());
    EXPECT(call_and_compare(100000) == -1);
    EXPECT(syscall(SYS_getppid) == getppid());
    EXPECT(syscall(SYS_close, -1) == -1 && errno == EBADF);
    EXPECT(watched_call() == 0);
}

/* ---- the program's own file ---- */

static unsigned long sum_of_file(void)
{
    uint8_t bytes[4096];
    unsigned long sum = 0;
    int fd = open("/proc/self/exe", O_RDONLY);
    EXPECT(fd >= 0);
    for (ssize_t got; (got = read(fd, bytes, sizeof bytes)) > 0;)
        for (ssize_t i = 0; i < got; i++)
            sum = sum * 31 + bytes[i];
    close(fd);
    return sum;
}

/* ---- signals ---- */

static volatile sig_atomic_t ticks, alarms;

static void tick(int signal)
{
    (void)signal;
    ticks++;
    all_of_them(); /* the same instructions, perhaps in the middle of one */
}

static void ring(int signal)
{
    (void)signal;
    alarms++;
}

static void set_timer(long microseconds, long period)
{
    struct itimerval timer = { { 0, period }, { 0, microseconds } };
    EXPECT(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void with_signals(void)
{
    struct sigaction action = { .sa_handler = tick, .sa_flags = SA_RESTART };
    EXPECT(sigaction(SIGALRM, &action, NULL) == 0);
    set_timer(500, 500);
    for (int i = 0; i < 20 * ROUNDS || ticks < 20; i++)
        all_of_them();
    set_timer(0, 0);
}

/* A read that waits is interrupted: it fails, or is begun again, by the same instruction. */
static void with_interrupted_reads(void)
{
    int ends[2];
    char byte;
    EXPECT(pipe(ends) == 0);
    for (int i = 0; i < ROUNDS / 5; i++) {
        struct sigaction action = { .sa_handler = ring, .sa_flags = i % 2 ? SA_RESTART : 0 };
        int before = alarms;
        EXPECT(sigaction(SIGALRM, &action, NULL) == 0);
        pid_t child = -1;
        if (i % 2) {
            child = fork();
            EXPECT(child >= 0);
            if (child == 0) {
                usleep(3000);
                byte = (char)i;
                _exit(write(ends[1], &byte, 1) != 1);
            }
        }
        set_timer(1000, i % 2 ? 0 : 1000); /* on a busy machine the first may come before the read: then another has to */
        ssize_t got = read(ends[0], &byte, 1);
        int why = errno;
        if (i % 2) {
            int status;
            EXPECT(got == 1 && byte == (char)i);
            EXPECT(waitpid(child, &status, 0) == child && status == 0);
            while (alarms == before) /* the byte may have been faster */
                usleep(100);
            EXPECT(alarms == before + 1);
        } else {
            set_timer(0, 0);
            EXPECT(got == -1 && why == EINTR && alarms > before);
        }
    }
    close(ends[0]);
    close(ends[1]);
}

/* ---- threads and processes ---- */

/* An address that the compiler knows nothing of. */
static uint8_t *hidden(const void *address)
{
    __asm__("" : "+r"(address));
    return (uint8_t *)address;
}


static void *in_thread(void *unused)
{
    (void)unused;
    for (int i = 0; i < 2 * ROUNDS; i++)
        all_of_them();
    return NULL;
}

static void with_threads(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        EXPECT(pthread_create(&threads[i], NULL, in_thread, NULL) == 0);
    for (int i = 0; i < 4; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
}

static __attribute__((noinline)) pid_t make_child(volatile int kind, volatile pid_t self)
{
    pid_t child = kind ? fork() : vfork();
    if (child == 0)
        _exit(syscall(SYS_getppid) == self && (kind == 0 || (watched_call() == 0 && getppid() == self)) ? 42 : 1);
    return child;
}

static void with_children(void)
{
    for (int i = 0; i < ROUNDS / 3; i++) {
        int status;
        pid_t self = getpid(), child = make_child(i % 2, self);
        EXPECT(child > 0);
        EXPECT(waitpid(child, &status, 0) == child);
        EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 42);
        EXPECT(getpid() == self && watched_call() == 0);
    }
}

/* Who am I, whose child: what is answered without asking anybody must change when it changes. */
static void change_identity(void)
{
    pid_t child = fork();
    int status;
    EXPECT(child >= 0);
    if (child == 0) {
        for (int i = 0; i < ROUNDS; i++)
            all_of_them();
        uid_t user = getuid() == 0 ? 1234 : getuid();
        gid_t group = getuid() == 0 ? 2345 : getgid();
        EXPECT(setresgid(group, group, group) == 0 && setresuid(user, user, user) == 0);
        EXPECT(getuid() == user && geteuid() == user && getgid() == group && getegid() == group);
        EXPECT(syscall(SYS_getuid) == (long)user && mov_and_call() == (long)user);
        _exit(0);
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

static void lose_parent(void)
{
    int ends[2];
    char byte;
    EXPECT(pipe(ends) == 0);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        pid_t parent = getpid(), orphan = fork();
        EXPECT(orphan >= 0);
        if (orphan > 0)
            _exit(0);
        while (syscall(SYS_getppid) == parent || getppid() == parent)
            usleep(100);
        _exit(write(ends[1], "x", 1) != 1);
    }
    EXPECT(waitpid(child, NULL, 0) == child);
    close(ends[1]);
    EXPECT(read(ends[0], &byte, 1) == 1 && byte == 'x');
    close(ends[0]);
}

/* ---- odd programs ---- */

static void with_own_gs(void)
{
    static uint64_t mine[8192 + 512];
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        mine[i] = ~i;
    EXPECT(syscall(SYS_arch_prctl, ARCH_SET_GS, mine) == 0);
    for (int i = 0; i < ROUNDS; i++)
        all_of_them();
    uint64_t first;
    __asm__ volatile("mov %%gs:0, %0" : "=r"(first));
    EXPECT(first == ~0ul);
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        EXPECT(mine[i] == ~i);
    EXPECT(syscall(SYS_arch_prctl, ARCH_SET_GS, 0) == 0);
}

/* A hot call's number is changed in place. What the program finds there must be what its maker put there. */
static void with_changed_code(void)
{
    uint8_t *number = hidden(mov_and_call_number), *instruction = hidden(mov_and_call_instruction);
    uint8_t *page = hidden((void *)((uintptr_t)mov_and_call_number & ~4095ul));
    for (int i = 0; i < ROUNDS; i++)
        EXPECT(mov_and_call() == (long)getuid());
    EXPECT(mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    EXPECT(number[-1] == 0xb8 && number[0] == 102);
    EXPECT(instruction[0] == 0x0f && instruction[1] == 0x05);
    number[0] = SYS_getpid;
    for (int i = 0; i < ROUNDS; i++)
        EXPECT(mov_and_call() == (long)getpid());
    number[0] = 102;
    instruction[0] = 0xcc; /* as a debugger does it */
    struct sigaction action = { .sa_handler = ring }, old;
    EXPECT(sigaction(SIGTRAP, &action, &old) == 0);
    int before = alarms;
    instruction[1] = 0x90;
    mov_and_call();
    EXPECT(alarms == before + 1);
    instruction[0] = 0x0f;
    instruction[1] = 0x05;
    EXPECT(mprotect(page, 8192, PROT_READ | PROT_EXEC) == 0);
    for (int i = 0; i < ROUNDS; i++)
        EXPECT(mov_and_call() == (long)getuid());
}

/* Memory just below the program is anybody's. */
static void with_low_memory(void)
{
    extern const char __executable_start[];
    uint8_t *low = hidden(__executable_start) - 0x10000;
    for (int i = 0; i < 4; i++) {
        uint8_t *at = mmap(low, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        EXPECT(at == low);
        memset(at, 0xee, 0x10000);
        for (int j = 0; j < ROUNDS; j++)
            all_of_them();
        EXPECT(at[0] == 0xee && at[0xffff] == 0xee);
        EXPECT(munmap(at, 0x10000) == 0);
        for (int j = 0; j < ROUNDS; j++)
            all_of_them();
    }
}

static int exec_again(char **argv)
{
    long left = strtol(argv[2], NULL, 10);
    char number[32];
    for (int i = 0; i < 20; i++)
        all_of_them();
    if (left == 0) {
        printf("done\n");
        return 0;
    }
    snprintf(number, sizeof number, "%ld", left - 1);
    char *again[] = { argv[0], argv[1], number, NULL };
    execv("/proc/self/exe", again);
    return 1;
}

static void in_programs(void)
{
    extern char **environ;
    char *words[] = { (char *)"rewritten", (char *)"exec", (char *)"3", NULL };
    for (int i = 0; i < 5; i++) {
        pid_t child;
        int status;
        fflush(stdout);
        EXPECT(posix_spawn(&child, "/proc/self/exe", NULL, NULL, words, environ) == 0);
        EXPECT(waitpid(child, &status, 0) == child && status == 0);
    }
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "exec") == 0)
        return exec_again(argv);
    if (argc > 1) {
        for (int i = 0; i < ROUNDS; i++)
            all_of_them();
        printf("%s\n", WORD);
        return 0;
    }
    unsigned long sum = sum_of_file();
    for (int i = 0; i < ROUNDS; i++)
        all_of_them();
    with_threads();
    with_children();
    change_identity();
    lose_parent();
    with_signals();
    with_interrupted_reads();
    with_own_gs();
    in_programs();
    EXPECT(sum_of_file() == sum);
    with_changed_code();
    with_low_memory();
    all_of_them();
    EXPECT(sum_of_file() == sum);
    printf("nothing was noticed\n");
    return 0;
}
