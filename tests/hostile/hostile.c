/* The hostile suite: actors that attack the machine they run on.
 *
 * Each attack runs in a child actor of its own, a copy of this one. It ends in one of three ways: the child is dead, it came back from the attack (useless),
 * or it goes on attacking until its time is over and is deleted from here. What must not happen is seen elsewhere: an honest actor beside it (honest.c) gets
 * its share of the CPUs, and the site ends with nothing left over.
 *
 *   hostile NAME [MILLISECONDS]   one attack, for that long
 *   hostile all                   every attack, shortly; ends the site
 *
 * The addresses of the machine's own pages are no secret to an actor: its gs base points to one of them.
 */
#include <chorus.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hostarch/layout.h>

typedef void attack_function(unsigned long argument);

static unsigned long base; /* of the machine's pages */
static unsigned long seed = 88172645463325252ul;

static unsigned long random_word(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static unsigned long area(void)
{
    unsigned long address;
    __asm__ volatile("rdgsbase %0" : "=r"(address));
    return address;
}

static volatile uint32_t *box(unsigned field) { return (volatile uint32_t *)(area() + field); }
static volatile uint64_t *box64(unsigned field) { return (volatile uint64_t *)(area() + field); }

/* --- system calls that are none ------------------------------------------------------------------------------------------------------------- */

static long system_call(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}

static long int80(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c) : "r8", "r9", "r10", "r11", "memory");
    return result;
}

/* One number, with arguments that would do harm: the machine's own pages, a shared anonymous mapping, this process. */
static void direct(unsigned long number)
{
    if (number == 60 || number == 231 || number == 15) /* libchorus takes exit at its word; sigreturn is below */
        return;
    system_call((long)number, (long)base, 0x1000, 7, 0x22, -1, 0);
}
static void direct_x32(unsigned long number) { system_call((long)(number | 0x40000000), (long)base, 0x1000, 7, 0x22, -1, 0); }
static void direct_int80(unsigned long number) { int80((long)number, 1, (long)&seed, 8); }

static void call_vsyscall(unsigned long which)
{
    static const unsigned long entries[] = {0xffffffffff600000, 0xffffffffff600400, 0xffffffffff600800};
    long time[4];
    ((long (*)(void *, void *))entries[which % 3])(time, 0);
}

/* A forged signal frame: registers of our choice and all signals blocked. */
static void sigreturn(unsigned long where)
{
    static char frame[4096] __attribute__((aligned(64)));
    memset(frame, 0, sizeof frame);
    *(uint64_t *)(frame + UC_RIP) = (uint64_t)abort;
    *(uint64_t *)(frame + UC_RSP) = (uint64_t)(frame + 4000);
    *(uint64_t *)(frame + UC_CS) = 0x33 | 0x2bul << 48;
    memset(frame + 296, 0xff, 8);
    unsigned long target = where ? base + where : 0;
    if (target)
        __asm__ volatile("mov %0, %%rsp\n\tmov $15, %%eax\n\tjmp *%1" ::"r"(frame), "r"(target));
    __asm__ volatile("mov %0, %%rsp\n\tmov $15, %%eax\n\tsyscall\n\tud2" ::"r"(frame));
}

/* 32-bit code: a far jump to a page of it, with int 0x80, syscall and sysenter. */
static void compatibility(unsigned long which)
{
    KnRgnDesc page = {.startAddr = 0x20000000, .size = 4096, .options = K_READABLE | K_WRITABLE | K_EXECUTABLE};
    if (rgnAllocate(K_MYACTOR, &page) != K_OK)
        return;
    static const unsigned char code[3][9] = {
        {0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7}, {0xb8, 20, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7}, {0xb8, 20, 0, 0, 0, 0x0f, 0x34, 0xeb, 0xf7}};
    memcpy((void *)page.startAddr, code[which % 3], 9);
    struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) far = {0x20000000, 0x23};
    __asm__ volatile("ljmp *%0" ::"m"(far));
}

/* --- the machine's own code and pages -------------------------------------------------------------------------------------------------------- */

/* load_and_jump(values): all registers from values[0..15], then to values[15]. */
__asm__(".text\n"
        "load_and_jump:\n\t"
        "mov 120(%rdi), %rax\n\t"
        "mov 32(%rdi), %rsp\n\t"
        "push %rax\n\t"
        "mov 0(%rdi), %rax\n\t"
        "mov 8(%rdi), %rcx\n\t"
        "mov 16(%rdi), %rdx\n\t"
        "mov 24(%rdi), %rbx\n\t"
        "mov 40(%rdi), %rbp\n\t"
        "mov 48(%rdi), %rsi\n\t"
        "mov 64(%rdi), %r8\n\t"
        "mov 72(%rdi), %r9\n\t"
        "mov 80(%rdi), %r10\n\t"
        "mov 88(%rdi), %r11\n\t"
        "mov 96(%rdi), %r12\n\t"
        "mov 104(%rdi), %r13\n\t"
        "mov 112(%rdi), %r14\n\t"
        "lea hostile_landed(%rip), %r15\n\t"
        "mov 56(%rdi), %rdi\n\t"
        "ret\n"
        "hostile_landed: ud2\n");
void load_and_jump(const unsigned long values[16]) __attribute__((noreturn));

/* Jump to any byte of it with registers that look like what it expects. */
static void jump(unsigned long offset)
{
    static char stack[8192];
    unsigned long way = random_word();
    unsigned long word = way & 8 ? base + WORDS_OFFSET + WORDS_FIRST : 0x30000000ul;
    unsigned long orders = base + ORDER_OFFSET;
    const unsigned long values[16] = {
        (const unsigned long[]){202, 9, 11, 10, 18, 15, 231, 56}[way % 8], /* rax */
        way & 16 ? 1 : way,                                                /* rcx */
        7, area(), (unsigned long)(stack + 4096), 5,                       /* rdx rbx rsp rbp */
        way & 32 ? 4096 : 1, word,                                         /* rsi rdi */
        3, 0, 0x11, 0, area() + RESUME_FRAME, orders, orders + 0x100,      /* r8 .. r14 */
        offset < GATE_SIZE ? GATE + offset : base + offset - GATE_SIZE};
    load_and_jump(values);
}

static void overwrite(unsigned long which)
{
    static const unsigned long places[] = {CODE_OFFSET, ORDER_OFFSET, ORDER_OFFSET + ORDER_RECORDS, WORDS_OFFSET, WORDS_OFFSET + WORDS_FIRST, SETUP_OFFSET};
    if (which < 6)
        *(volatile uint64_t *)(base + places[which]) = 1;
    else
        *(volatile uint64_t *)GATE = 1;
}

/* By the Nucleus's own calls. */
static void unmap(unsigned long which)
{
    static const unsigned long places[] = {CODE_OFFSET, ORDER_OFFSET, AREA_OFFSET, WORDS_OFFSET};
    KnRgnDesc range = {.startAddr = which < 4 ? base + places[which] : GATE, .size = 0x1000, .options = K_READABLE | K_WRITABLE | K_OVERWRITE};
    rgnFree(K_MYACTOR, &range);
    rgnAllocate(K_MYACTOR, &range);
    range.options = K_READABLE | K_WRITABLE;
    rgnSetProtect(K_MYACTOR, &range);
    KnRgnDesc huge = {.startAddr = 0x20000, .size = ~0ul & ~4095ul, .options = 0};
    rgnFree(K_MYACTOR, &huge);
}

/* Scribble over the whole area while trapping again and again. */
static void scribble(unsigned long unused)
{
    (void)unused;
    for (;;) {
        for (int i = 0; i < 64; i++)
            *(volatile uint64_t *)(area() + random_word() % AREA_SIZE / 8 * 8) = random_word();
        system_call(39, 0, 0, 0, 0, 0, 0);
    }
}

/* --- forged mail ----------------------------------------------------------------------------------------------------------------------------- */

static void forge(unsigned long request)
{
    *box64(BOX_FRAME) = random_word() & 1 ? area() + RESUME_FRAME : random_word();
    *box64(BOX_NUMBER) = random_word() % 200;
    *box(BOX_REQUEST) = (uint32_t)request;
    for (;;)
        ;
}

/* A call whose arguments change while they are read; another thread does the changing. */
static volatile struct {
    KnMsgDesc message;
    KnIpcDest dest;
    char body[65536];
} changing;

static void changer(unsigned long unused)
{
    (void)unused;
    for (;;) {
        changing.message.bodySize = (uint32_t)random_word();
        changing.message.bodyAddr = (void *)random_word();
        changing.message.bodySize = 100;
        changing.message.bodyAddr = (void *)changing.body;
        changing.dest.target.uiHead = (uint32_t)random_word();
        *box64(BOX_ARG0 + 8 * (random_word() % 6)) = random_word();
        *box(BOX_NUMBER) = (uint32_t)random_word() % 200;
    }
}

static int start_thread(attack_function *function, unsigned long argument)
{
    enum { STACK = 65536 };
    char *stack = malloc(STACK);
    KnThreadStart start = {.entry = (VmAddr)function, .stack = (VmAddr)(stack + STACK - 8 - 64), .argument = argument};
    KnThreadLid li;
    __asm__ volatile("rdfsbase %0" : "=r"(start.fsBase));
    return stack == NULL ? K_ENOMEM : threadCreate(K_MYACTOR, &li, K_ACTIVE, NULL, &start);
}

static void double_fetch(unsigned long unused)
{
    (void)unused;
    start_thread(changer, 0);
    for (;;) {
        KnUniqueId ui;
        ipcSend((const KnMsgDesc *)&changing.message, 0, (const KnIpcDest *)&changing.dest);
        portUi(K_MYACTOR, 0, &ui);
        ipcReceive((KnMsgDesc *)&changing.message, (int *)&changing.dest, 0);
    }
}

/* Every nucleus call with nonsense. */
static void fuzz(unsigned long unused)
{
    (void)unused;
    static const unsigned forbidden[] = {2, 38, 183}; /* ends itself; ends the site */
    long (*gate)(long, long, long, long, long, long);
    for (;;) {
        unsigned long number = random_word() % 200;
        bool skip = false;
        for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
            skip |= number == forbidden[i];
        if (skip)
            continue;
        long argument[6];
        for (int i = 0; i < 6; i++) {
            unsigned long kind = random_word() % 6;
            argument[i] = (long)(kind == 0 ? 0 : kind == 1 ? random_word() : kind == 2 ? random_word() % 4096 : kind == 3 ? (unsigned long)changing.body + random_word() % 8192
                                                 : kind == 4 ? (unsigned long)-(random_word() % 100) : base + random_word() % 0x1000000);
        }
        if (number == 74 || number == 75 || number == 77 || number == 30 || number == 36 || number == 50)
            argument[number == 30 || number == 36 ? 0 : number == 75 || number == 50 ? 2 : number == 77 ? 3 : 4] = 1000; /* waits end */
        gate = (void *)GATE;
        __asm__ volatile("" : "+r"(number));
        register long r8 __asm__("r8") = argument[4];
        register long r9 __asm__("r9") = argument[5];
        long result;
        __asm__ volatile("call *%[gate]"
                         : "=a"(result)
                         : "0"(number), "D"(argument[0]), "S"(argument[1]), "d"(argument[2]), "c"(argument[3]), "r"(r8), "r"(r9), [gate] "r"(gate)
                         : "r10", "r11", "memory");
    }
}

/* --- disobedience ---------------------------------------------------------------------------------------------------------------------------- */

static void spin(unsigned long unused)
{
    (void)unused;
    for (;;)
        ;
}

/* Claim to wait (a trap is posted) and run on. */
static void run_on(unsigned long unused)
{
    (void)unused;
    system_call(39, 0, 0, 0, 0, 0, 0);
    *box64(BOX_NUMBER) = 30; /* threadDelay */
    *box64(BOX_ARG0) = 3600000000000;
    *box(BOX_REQUEST) = REQUEST_CALL;
    for (;;)
        ;
}


/* The same, hidden behind a thread on another CPU that makes many calls, each of which is allowed some CPU time. */
static volatile unsigned long callers_area;
static void run_on_elsewhere(unsigned long unused)
{
    while (area() == callers_area)
        threadDelay(1000000);
    run_on(unused);
}
static void run_on_masked(unsigned long unused)
{
    callers_area = area();
    start_thread(run_on_elsewhere, unused);
    for (;;) {
        threadSelf();
        callers_area = area();
    }
}

/* Sleep in the stub's own futex without having trapped: the CPU is held, and given to nobody. Offsets are found by looking for the instruction. */
static unsigned long find_syscall(unsigned long from, unsigned nth)
{
    const unsigned char *code = (const unsigned char *)base;
    for (unsigned long i = from; i + 1 < CODE_SIZE; i++)
        if (code[i] == 0x0f && code[i + 1] == 0x05 && nth-- == 0)
            return base + i;
    return 0;
}

static void hold_cpu(unsigned long unused)
{
    (void)unused;
    unsigned long wait = find_syscall(0, 0);
    for (;;) {
        long result;
        __asm__ volatile("lea 1f(%%rip), %%r15\n\t"
                         "xor %%r10d, %%r10d\n\t"
                         "jmp *%[wait]\n"
                         "1:"
                         : "=a"(result)
                         : "0"(202), "D"(area() + 0x400), "S"(0), "d"(*(volatile uint32_t *)(area() + 0x400)), [wait] "r"(wait)
                         : "rcx", "r10", "r11", "r15", "memory");
    }
}

/* Spin in the stub's wait loop with registers of our own: preemptions land in the stub, and are noted there. */
static void spin_in_stub(unsigned long unused)
{
    (void)unused;
    static volatile uint32_t word = 5;
    const unsigned char *code = (const unsigned char *)base;
    for (unsigned long i = 0; i + 2 < CODE_SIZE; i++)
        if (code[i] == 0xf3 && code[i + 1] == 0x90) { /* pause: just behind the comparison */
            __asm__ volatile("mov %0, %%r14\n\tmov $5, %%ebp\n\tmov $0x7fffffff, %%ecx\n\tmov %1, %%rbx\n\tmov %0, %%r13\n\tjmp *%2" ::"r"(&word), "r"(area()),
                             "r"(base + i)
                             : "r14", "rcx", "rbx", "r13");
        }
}

/* How many slept on it? By the stub's own instruction. */
static long wake(unsigned long word)
{
    static unsigned long instruction;
    if (instruction == 0)
        instruction = find_syscall(0, 1);
    long result;
    __asm__ volatile("lea 1f(%%rip), %%r15\n\t"
                     "jmp *%[wake]\n"
                     "1:"
                     : "=a"(result)
                     : "0"(202), "D"(word), "S"(1), "d"(0x7fffffff), [wake] "r"(instruction)
                     : "rcx", "r11", "r15", "memory");
    return result;
}

/* Wake whoever sleeps anywhere, for ever; and again where somebody did. */
static void hammer(unsigned long unused)
{
    (void)unused;
    enum { LATEST = 16 };
    unsigned long found[LATEST] = {0}, n = 0;
    for (unsigned long at = BEDS;; at = at + 4 < WORDS_FIRST + 32 * WORD_LINE ? at + 4 : BEDS) {
        if (wake(base + WORDS_OFFSET + at) > 0)
            found[n++ % LATEST] = base + WORDS_OFFSET + at;
        for (int i = 0; at % 64 == 0 && i < LATEST; i++)
            if (found[i])
                wake(found[i]);
    }
}

/* Write into all beds, for ever: now what was there at the beginning, now something else. */
static void scribble_beds(unsigned long unused)
{
    (void)unused;
    for (uint32_t value = 0;; value = value ? 0 : (uint32_t)random_word())
        for (unsigned long at = BEDS; at < WORDS_FIRST; at += 4)
            *(volatile uint32_t *)(base + WORDS_OFFSET + at) = value;
}

/* Wake this actor's own sleeping stub threads, which are on all CPUs, and its agent. */
static void hammer_own(unsigned long unused)
{
    (void)unused;
    for (;;) {
        for (int i = 0; i < 2; i++) {
            unsigned long bed = *(volatile unsigned long *)(base + AREA_OFFSET + i * AREA_SIZE + BOX_BED) >> (64 - BED_BITS);
            wake(base + WORDS_OFFSET + BEDS + 4 * bed);
        }
        wake(base + ORDER_OFFSET + ORDER_AGENT_WORD);
    }
}

/* Wake the Nucleus, which sleeps on the mail box of who runs, without a word to say. */
static void hammer_mail(unsigned long unused)
{
    (void)unused;
    for (;;)
        wake(area() + BOX_REQUEST);
}

/* Take the bases away that the gate lives by. */
static void bases(unsigned long which)
{
    unsigned long value = which == 0 ? 0 : which == 1 ? random_word() >> 17 : base;
    __asm__ volatile("wrgsbase %0" ::"r"(value));
    threadSelf();
    for (;;)
        system_call(39, 0, 0, 0, 0, 0, 0);
}

static void single_step(unsigned long unused)
{
    (void)unused;
    __asm__ volatile("lea -256(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tnop\n\tmov $39, %%eax\n\tsyscall\n\tlea 256(%%rsp), %%rsp" ::
                         : "rax", "rcx", "r11", "memory");
}

static void wild_stack(unsigned long which)
{
    unsigned long stack = which == 0 ? 8 : which == 1 ? area() + AREA_SIZE - 64 : which == 2 ? area() + STACK_OFFSET + 64 : 0x8000000000000000;
    __asm__ volatile("mov %0, %%rsp\n\tmov $39, %%eax\n\tsyscall\n\tpush %%rax\n\tud2" ::"r"(stack));
}

static void wild_jump(unsigned long unused)
{
    (void)unused;
    unsigned long target = random_word() >> (random_word() % 48);
    __asm__ volatile("jmp *%0" ::"r"(target));
}

/* The same with several threads at once, on all CPUs. */
static void many(attack_function *attack, unsigned long argument)
{
    for (int i = 0; i < 3; i++)
        start_thread(attack, argument);
    attack(argument);
}
static void spin_many(unsigned long a) { many(spin, a); }
static void run_on_many(unsigned long a) { many(run_on, a); }
static void scribble_many(unsigned long a) { many(scribble, a); }
static void hold_cpu_many(unsigned long a) { many(hold_cpu, a); }
static void spin_in_stub_many(unsigned long a) { many(spin_in_stub, a); }
static void hammer_many(unsigned long a) { many(hammer, a); }
static void hammer_own_many(unsigned long a) { many(hammer_own, a); }
static void hammer_mail_many(unsigned long a) { many(hammer_mail, a); }
static void fuzz_many(unsigned long a) { many(fuzz, a); }

static const struct attack {
    const char *name;
    attack_function *run;
    unsigned long from, to, step; /* arguments */
    unsigned short_ms;            /* patience in `all` */
    bool gentle;                  /* all arguments in one child: it comes back from each */
} attacks[] = {
    {"syscall", direct, 0, 600, 1, 2000, true},
    {"x32", direct_x32, 0, 600, 1, 2000, true},
    {"int80", direct_int80, 0, 450, 1, 2000, true},
    {"vsyscall", call_vsyscall, 0, 3, 1, 50, false},
    {"sigreturn", sigreturn, 0, 1, 1, 50, false},
    {"compatibility", compatibility, 0, 3, 1, 50, false},
    {"jump-gate", jump, 0, 800, 1, 5, false},
    {"jump-stub", jump, GATE_SIZE, GATE_SIZE + 1500, 1, 5, false},
    {"overwrite", overwrite, 0, 7, 1, 50, false},
    {"unmap", unmap, 0, 5, 1, 50, false},
    {"scribble", scribble, 0, 1, 1, 200, false},
    {"forge", forge, 0, 80, 1, 20, false},
    {"double-fetch", double_fetch, 0, 1, 1, 300, false},
    {"fuzz", fuzz, 0, 1, 1, 500, false},
    {"spin", spin, 0, 1, 1, 200, false},
    {"run-on", run_on, 0, 1, 1, 300, false},
    {"run-on-masked", run_on_masked, 0, 1, 1, 300, false},
    {"hold-cpu", hold_cpu, 0, 1, 1, 300, false},
    {"spin-in-stub", spin_in_stub, 0, 1, 1, 300, false},
    {"hammer", hammer, 0, 1, 1, 300, false},
    {"hammer-own", hammer_own, 0, 1, 1, 300, false},
    {"hammer-mail", hammer_mail, 0, 1, 1, 300, false},
    {"scribble-beds", scribble_beds, 0, 1, 1, 300, false},
    {"bases", bases, 0, 3, 1, 50, false},
    {"single-step", single_step, 0, 1, 1, 50, false},
    {"wild-stack", wild_stack, 0, 4, 1, 50, false},
    {"wild-jump", wild_jump, 0, 20, 1, 20, false},
    {"spin-many", spin_many, 0, 1, 1, 200, false},
    {"run-on-many", run_on_many, 0, 1, 1, 300, false},
    {"scribble-many", scribble_many, 0, 1, 1, 200, false},
    {"hold-cpu-many", hold_cpu_many, 0, 1, 1, 300, false},
    {"spin-in-stub-many", spin_in_stub_many, 0, 1, 1, 300, false},
    {"hammer-many", hammer_many, 0, 1, 1, 300, false},
    {"hammer-own-many", hammer_own_many, 0, 1, 1, 300, false},
    {"hammer-mail-many", hammer_mail_many, 0, 1, 1, 300, false},
    {"fuzz-many", fuzz_many, 0, 1, 1, 500, false},
};
#define ATTACKS (sizeof attacks / sizeof *attacks)

/* --- children ---------------------------------------------------------------------------------------------------------------------------------- */

static const struct attack *chosen;

static void child(unsigned long argument)
{
    seed += argument * 7919;
    if (chosen->gentle) {
        for (unsigned long n = chosen->from; n < chosen->to; n += chosen->step)
            chosen->run(n);
    } else {
        chosen->run(argument);
    }
    actorDelete(K_MYACTOR);
}

static char child_stack[65536] __attribute__((aligned(16)));

static int make_child(KnCap *cap, unsigned long argument)
{
    int status = actorCreate(K_MYACTOR, cap, K_USERACTOR, K_ACTIVE);
    if (status != K_OK)
        return status;
    KnThreadStart start = {.entry = (VmAddr)child, .stack = (VmAddr)(child_stack + sizeof child_stack - 8 - 64), .argument = argument};
    __asm__ volatile("rdfsbase %0" : "=r"(start.fsBase));
    KnSched ordinary = {K_SCHED_RR, K_PRIO_USER, 0};
    KnThreadLid li;
    actorName(cap, NULL, chosen->name);
    if ((status = rgnDup(cap, K_MYACTOR, 0)) != K_OK || (status = threadCreate(cap, &li, K_ACTIVE, &ordinary, &start)) < 0) {
        actorDelete(cap);
        return status;
    }
    return K_OK;
}

/* 1: it died by itself, 0: it had to be deleted. */
static int run_child(unsigned long argument, KnTime patience, int port)
{
    KnCap cap;
    int status = make_child(&cap, argument);
    if (status != K_OK) {
        printf("hostile: %s %lu: no child: %s\n", chosen->name, argument, knErrorName(status));
        return status;
    }
    actorWatch(&cap.ui, port, 0);
    KnWatchMsg gone;
    KnMsgDesc message = {.annexAddr = &gone};
    uint8_t annex[K_CMSGANNEXSIZE];
    message.annexAddr = annex;
    int from = port;
    status = ipcReceive(&message, &from, patience);
    if (status >= 0)
        return 1;
    actorDelete(&cap);
    from = port;
    ipcReceive(&message, &from, 5000000000);
    return 0;
}

static void run_attack(const struct attack *attack, KnTime patience, int port)
{
    unsigned died = 0, deleted = 0, failed = 0;
    chosen = attack;
    unsigned long to = attack->gentle ? attack->from + 1 : attack->to;
    for (unsigned long argument = attack->from; argument < to; argument += attack->step) {
        int ended = run_child(argument, patience, port);
        died += ended == 1;
        deleted += ended == 0;
        failed += ended < 0;
    }
    printf("hostile: %s: %u ended by themselves, %u had to be deleted, %u failed\n", attack->name, died, deleted, failed);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    KnUniqueId ui;
    int port = portCreate(K_MYACTOR, &ui);
    base = (area() - AREA_OFFSET) & ~0xfffful;
    while (((const unsigned char *)base)[0] != 0xfc) /* cld: the stub's first instruction; the area may be any stub thread's */
        base -= AREA_SIZE;
    const char *name = argc > 1 ? argv[1] : "all";
    KnTime patience = argc > 2 ? atoll(argv[2]) * 1000000 : 0;
    for (size_t i = 0; i < ATTACKS; i++)
        if (strcmp(name, "all") == 0 || strcmp(name, attacks[i].name) == 0)
            run_attack(&attacks[i], patience ? patience : attacks[i].short_ms * 1000000ll, port);
    printf("hostile: done\n");
    fflush(stdout);
    if (argc <= 3)
        sysShutdown(0, 0);
    for (;;)
        threadDelay(1000000000);
}
