/* start.c: the machine's start: what the host must have, physical memory, the machine's own pages, the zygote.
 *
 * Order matters: the zygote is forked before the process grows, so it is small; the memory is one memfd that both map.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <exec/chAnswers.h>
#include "machine.h"

struct machine machine;

_Static_assert(K_ANSWERS == GATE + ANSWERS_OFFSET && K_VDSO == GATE + VDSO_OFFSET, "what actors are told");

extern const char stub_begin[], stub_end[], stub_handler[], stub_ready[], agent_entry[], stub_gate_wait[], stub_gate_other[], stub_post_preempted[];
extern const char gate_return_address[], gate_posted_offset[], gate_tail_offset[], gate_ret_offset[];
extern const char gate_begin[], gate_end[], gate_posted[], gate_return[], gate_ret[], gate_areas[], gate_args[], gate_words[];
extern const char gate_stub_wait[], gate_stub_other[], gate_stub_preempted[], gate_stub_sys_preempted[], stub_post_sys_preempted[];
extern const char gate_syscall[], gate_syscall_flags[], gate_answered[], gate_syscall_slow[], gate_sysret[], gate_sysret_jump[], gate_answers[];
extern const char gate_syscall_flags_offset[], gate_answered_offset[], gate_syscall_slow_offset[];
extern const char gate_sysret_address[], gate_syscall_offset[], gate_sysret_offset[], gate_sysret_jump_offset[];
extern const char __start_birth[], __stop_birth[];
extern const unsigned char vdso_image[];
extern const size_t vdso_image_size;

static int terminal_fd = -1;
void hostarch_terminal(int fd) { terminal_fd = fd; }

static int refuse(const char *words)
{
    fprintf(stderr, "chorus: %s\n", words);
    return -1;
}

/* What the machine is made of, and cannot do without. */
static int check_host(void)
{
    if (!(getauxval(AT_HWCAP2) & 2))
        return refuse("this processor or host kernel lacks FSGSBASE, which Chorus needs (any x86-64 since 2013 with Linux 5.9 or later has it)");
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return refuse("this processor lacks XSAVE, which Chorus needs");
    if (sysconf(_SC_PAGESIZE) != PAGE_SIZE)
        return refuse("the host's pages are not of 4 KB");
    return 0;
}

static int choose_cpus(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return refuse("cannot ask which CPUs the host allows");
    int count = CPU_COUNT(&allowed);
    machine.cpus = machine.options.cpus > 0 ? machine.options.cpus : count;
    if (machine.cpus > CPUS_MAX)
        machine.cpus = CPUS_MAX;
    int host[CPU_SETSIZE], n = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed))
            host[n++] = cpu;
    /* Several sites share a host: not always from the first. */
    int first = getpid() % n;
    for (int i = 0; i < machine.cpus; i++)
        machine.cpu[i].host_cpu = host[(first + i) % n];
    return 0;
}

static uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

static void lay_out_memory(void)
{
    machine.slots = machine.options.processes;
    machine.words_size = round_up(WORDS_FIRST + (uint64_t)machine.slots * (machine.cpus + 1) * WORD_LINE, PAGE_SIZE);
    machine.slot_step = ORDER_SIZE + ((uint64_t)machine.cpus << AREA_SHIFT);
    machine.code_at = 0;
    machine.gate_at = machine.code_at + CODE_SIZE;
    machine.setup_at = machine.gate_at + FIXED_SIZE;
    machine.info_at = machine.setup_at + SETUP_CODE_SIZE;
    machine.words_at = machine.info_at + PAGE_SIZE * 2;
    machine.slots_at = machine.words_at + machine.words_size;
    machine.frames_at = round_up(machine.slots_at + machine.slots * machine.slot_step, 2u << 20);
    machine.frames = (frame_t)(machine.options.memory / PAGE_SIZE);
    machine.size = machine.frames_at + (uint64_t)machine.frames * PAGE_SIZE;
}

static int make_memory(void)
{
    if (WORDS_FIRST + (uint64_t)machine.options.processes * (machine.cpus + 1) * WORD_LINE > WORDS_MAX)
        return refuse("too many processes");
    lay_out_memory();
    machine.memfd = memfd_create("chorus", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (machine.memfd < 0 || ftruncate(machine.memfd, (off_t)machine.size) != 0)
        return refuse("the host gives no memory (memfd_create)");
    fcntl(machine.memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    machine.memory = mmap(NULL, machine.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, machine.memfd, 0);
    if (machine.memory == MAP_FAILED)
        return refuse("the host gives no address space for the physical memory");
    machine.words = (volatile uint32_t *)(machine.memory + machine.words_at);
    /* A core of the Nucleus must not hold the memory of actors. */
    madvise(machine.memory, machine.size, MADV_DONTDUMP);
    return 0;
}

/* Is nothing of this program there? The zygote begins as a copy of it. */
static bool is_free(uint64_t base)
{
    size_t size = SETUP_OFFSET + SETUP_SIZE;
    void *found = mmap((void *)base, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (found == MAP_FAILED)
        return false;
    munmap(found, size);
    return found == (void *)base;
}

static uint64_t random_base(void)
{
    for (int tries = 0; tries < 1000; tries++) {
        uint32_t random[2];
        if (getrandom(random, sizeof random, 0) != sizeof random)
            break;
        /* Above what actors may map; below 2 GB in its 4 GB, aligned as the areas are. */
        uint64_t base = (uint64_t)(0x7f01 + random[0] % 0xee) << 32 | (uint64_t)(random[1] & 0x7fff) << 16;
        if (is_free(base))
            return base;
    }
    return 0;
}

static void fill(const char *page_start, uint64_t at, const char *place, uint64_t value)
{
    memcpy(machine.memory + at + (place - page_start), &value, sizeof value);
}

static void make_pages(void)
{
    uint64_t base = machine.base;
#define STUB(symbol) (base + (uint64_t)((symbol)-stub_begin))
    if (stub_end - stub_begin > CODE_SIZE || gate_end - gate_begin > GATE_SIZE || __stop_birth - __start_birth > SETUP_CODE_SIZE || vdso_image_size > VDSO_SIZE)
        host_panic("the machine's own code does not fit its pages");
    memcpy(machine.memory + machine.code_at, stub_begin, (size_t)(stub_end - stub_begin));
    fill(stub_begin, machine.code_at, gate_return_address, GATE + (uint64_t)(gate_return - gate_begin));
    fill(stub_begin, machine.code_at, gate_posted_offset, (uint64_t)(gate_posted - gate_begin));
    fill(stub_begin, machine.code_at, gate_tail_offset, (uint64_t)(gate_return - gate_begin));
    fill(stub_begin, machine.code_at, gate_ret_offset, (uint64_t)(gate_ret - gate_begin));
    fill(stub_begin, machine.code_at, gate_sysret_address, GATE + (uint64_t)(gate_sysret - gate_begin));
    fill(stub_begin, machine.code_at, gate_syscall_offset, (uint64_t)(gate_syscall - gate_begin));
    fill(stub_begin, machine.code_at, gate_sysret_offset, (uint64_t)(gate_sysret - gate_begin));
    fill(stub_begin, machine.code_at, gate_sysret_jump_offset, (uint64_t)(gate_sysret_jump - gate_begin));
    fill(stub_begin, machine.code_at, gate_syscall_flags_offset, (uint64_t)(gate_syscall_flags - gate_begin));
    fill(stub_begin, machine.code_at, gate_answered_offset, (uint64_t)(gate_answered - gate_begin));
    fill(stub_begin, machine.code_at, gate_syscall_slow_offset, (uint64_t)(gate_syscall_slow - gate_begin));
    memcpy(machine.memory + machine.gate_at, gate_begin, (size_t)(gate_end - gate_begin));
    fill(gate_begin, machine.gate_at, gate_areas, base + AREA_OFFSET);
    fill(gate_begin, machine.gate_at, gate_args, base + ORDER_OFFSET + ORDER_ARGS);
    fill(gate_begin, machine.gate_at, gate_words, base + WORDS_OFFSET);
    fill(gate_begin, machine.gate_at, gate_answers, base + ORDER_OFFSET + ORDER_ANSWERS);
    fill(gate_begin, machine.gate_at, gate_stub_wait, STUB(stub_gate_wait));
    fill(gate_begin, machine.gate_at, gate_stub_other, STUB(stub_gate_other));
    fill(gate_begin, machine.gate_at, gate_stub_preempted, STUB(stub_post_preempted));
    fill(gate_begin, machine.gate_at, gate_stub_sys_preempted, STUB(stub_post_sys_preempted));
    KnAnswers *answers = (KnAnswers *)(machine.memory + machine.gate_at + ANSWERS_OFFSET);
    answers->gateSyscall = GATE + (uint64_t)(gate_syscall - gate_begin);
    answers->gateMail = -__builtin_bswap32((uint32_t)(base >> 32));
    memcpy(machine.memory + machine.gate_at + VDSO_OFFSET, vdso_image, vdso_image_size);
    memcpy(machine.memory + machine.setup_at, __start_birth, (size_t)(__stop_birth - __start_birth));

    struct setup_info *info = machine.info = (struct setup_info *)(machine.memory + machine.info_at);
    info->base = base;
    info->stubs = (uint32_t)machine.cpus;
    info->slots = machine.slots;
    info->slot_first = machine.slots_at;
    info->slot_step = machine.slot_step;
    info->words_size = machine.words_size;
    info->handler = STUB(stub_handler);
    info->ready = STUB(stub_ready);
    info->agent = STUB(agent_entry);
    for (int i = 0; i < machine.cpus; i++)
        info->cpu[i] = machine.cpu[i].host_cpu;
    filter_build(info);
}

static void make_slots(void)
{
    for (uint32_t slot = 0; slot < machine.slots; slot++) {
        struct process *process = &machine.processes[slot];
        uint64_t at = machine.slots_at + slot * machine.slot_step;
        uint64_t words = WORDS_FIRST + (uint64_t)slot * (machine.cpus + 1) * WORD_LINE;
        uint8_t *lines = (uint8_t *)machine.words + words;
        process->slot = slot;
        list_init(&process->link);
        process->orders = machine.memory + at;
        process->agent_word = (volatile uint32_t *)(process->orders + ORDER_AGENT_WORD);
        process->agent_word_address = machine.base + ORDER_OFFSET + ORDER_AGENT_WORD;
        process->report = (volatile uint64_t *)(lines + machine.cpus * WORD_LINE);
        process->report_address = machine.base + WORDS_OFFSET + words + (uint64_t)machine.cpus * WORD_LINE;
        for (int i = 0; i < machine.cpus; i++) {
            struct stub *stub = &process->stubs[i];
            stub->process = process;
            stub->index = i;
            stub->area = machine.memory + at + ORDER_SIZE + ((uint64_t)i << AREA_SHIFT);
            stub->args = process->orders + ORDER_ARGS + i * ARGS_SIZE;
            stub->word = (volatile uint32_t *)(lines + i * WORD_LINE);
            stub->word_address = machine.base + WORDS_OFFSET + words + (uint64_t)i * WORD_LINE;
            stub->area_address = machine.base + AREA_OFFSET + ((uint64_t)i << AREA_SHIFT);
            list_init(&stub->lost_link);
            list_init(&stub->stalled);
        }
    }
}

/* glibc has the host write into its thread's memory at every preemption; in the zygote that memory goes away. */
static void unregister_rseq(void)
{
    if (__rseq_size > 0)
        syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
}

static void map_or_die(uint64_t address, uint64_t size, int prot, uint64_t at)
{
    if (mmap((void *)address, size, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, SETUP_MEMFD, (off_t)at) != (void *)address)
        _exit(120);
}

/* In the forked child: put the pages where they belong, then leave this program for ever. */
static void __attribute__((noreturn)) become_zygote(int socket)
{
    /* A process group of its own keeps the terminal's signals away. Not a session: hosts share CPUs out by session (autogroup), and the Nucleus would
     * starve beside its own stubs whenever other programs of its session are busy: seen, for many seconds. */
    setpgid(0, 0);
    if (dup2(socket, 100) < 0 || dup2(machine.memfd, 101) < 0)
        _exit(121);
    bool terminal = terminal_fd >= 0 && dup2(terminal_fd, 102) >= 0;
    dup2(101, SETUP_MEMFD);
    dup2(100, SETUP_SOCKET);
    if (terminal)
        dup2(102, SETUP_TERMINAL);
    close_range(terminal ? SETUP_TERMINAL + 1 : SETUP_TERMINAL, ~0u, 0);
    close_range(0, 2, 0);
    prctl(PR_SET_NAME, "chorus-actor");
    unregister_rseq();
    uint64_t base = machine.base, setup = base + SETUP_OFFSET;
    map_or_die(base + CODE_OFFSET, CODE_SIZE, PROT_READ | PROT_EXEC, machine.code_at);
    map_or_die(GATE, FIXED_SIZE, PROT_READ | PROT_EXEC, machine.gate_at);
    map_or_die(base + WORDS_OFFSET, BEDS, PROT_READ, machine.words_at);
    map_or_die(base + WORDS_OFFSET + BEDS, BEDS_SIZE, PROT_READ | PROT_WRITE, machine.words_at + BEDS);
    map_or_die(base + WORDS_OFFSET + WORDS_FIRST, machine.words_size - WORDS_FIRST, PROT_READ, machine.words_at + WORDS_FIRST);
    map_or_die(setup, SETUP_CODE_SIZE, PROT_READ | PROT_EXEC, machine.setup_at);
    uint64_t info = setup + SETUP_CODE_SIZE, data = info + 2 * PAGE_SIZE;
    map_or_die(info, 2 * PAGE_SIZE, PROT_READ, machine.info_at);
    if (mmap((void *)data, SETUP_DATA_SIZE - 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) !=
        (void *)data)
        _exit(122);
    uint64_t entry = setup + (uint64_t)((const char *)birth_entry - __start_birth);
    uint64_t stack = setup + SETUP_SIZE - 64;
    __asm__ volatile("mov %0, %%rsp\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "call *%1\n\t"
                     "ud2" ::"r"(stack), "r"(entry), "D"(info), "S"(data) : "memory");
    __builtin_unreachable();
}

static int fork_zygote(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return refuse("cannot make a socket pair");
    machine.zygote_pid = fork();
    if (machine.zygote_pid < 0)
        return refuse("the host makes no process (fork)");
    if (machine.zygote_pid == 0)
        become_zygote(pair[1]);
    close(pair[1]);
    machine.zygote_socket = pair[0];
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    return 0;
}

/* The zygote's first message says that its filter is in place: then all works that the host could refuse. */
static int await_zygote(void)
{
    struct zygote_message message;
    fcntl(machine.zygote_socket, F_SETFL, 0);
    ssize_t got = recv(machine.zygote_socket, &message, sizeof message, 0);
    fcntl(machine.zygote_socket, F_SETFL, O_NONBLOCK);
    if (got == sizeof message && message.operation == ZYGOTE_BORN && message.slot == ~0u)
        return 0;
    int status = 0;
    waitpid(machine.zygote_pid, &status, 0);
    fprintf(stderr, "chorus: the process that makes actors did not start (status %d): does the host permit seccomp filters?\n",
            WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    return -1;
}

/* The first birth shows what frames look like here. */
static int await_first_spare(void)
{
    process_keep_spares(true);
    for (int64_t until = host_time() + 10000000000ll; machine.spare_count == 0; usleep(100)) {
        process_handle_zygote();
        process_first_traps();
        if (host_time() > until || machine.ending)
            return refuse("an actor's process could not be made");
    }
    return 0;
}

int hostarch_start(const struct hostarch_options *options)
{
    machine.options = *options;
    if (machine.options.processes < 4)
        machine.options.processes = 4;
    list_init(&machine.spares);
    list_init(&machine.newborns);
    list_init(&machine.waiting_spaces);
    list_init(&machine.batches);
    list_init(&machine.lost);
    list_init(&machine.reused);
    if (check_host() != 0 || choose_cpus() != 0 || make_memory() != 0)
        return -1;
    machine.base = random_base();
    if (machine.base == 0)
        return refuse("no place for the machine's own pages");
    machine.processes = calloc(machine.slots, sizeof *machine.processes);
    if (machine.processes == NULL)
        return refuse("out of memory");
    make_slots();
    make_pages();
    clock_start(machine.memory + machine.gate_at + ANSWERS_OFFSET);
    if (fork_zygote() != 0 || await_zygote() != 0)
        return -1;
    if (event_start() != 0)
        return refuse("cannot start the interrupt thread");
    return await_first_spare();
}

void hostarch_terminal_state(const struct termios *state)
{
    if (state == NULL) {
        machine.info->terminal_saved = 0;
        return;
    }
    /* The zygote gives it to the TCSETSF ioctl, which takes the kernel's form: flags, line, control characters. */
    struct {
        uint32_t iflag, oflag, cflag, lflag;
        uint8_t line, cc[19];
    } kernel = {state->c_iflag, state->c_oflag, state->c_cflag, state->c_lflag, state->c_line, {0}};
    memcpy(kernel.cc, state->c_cc, sizeof kernel.cc);
    memcpy(machine.info->terminal_state, &kernel, sizeof kernel);
    __atomic_store_n(&machine.info->terminal_saved, 1, __ATOMIC_RELEASE);
}

void hostarch_stop(void)
{
    struct zygote_message message = {ZYGOTE_END, 0, 0, 0};
    machine.ending = true;
    hostarch_terminal_state(NULL);
    if (send(machine.zygote_socket, &message, sizeof message, MSG_NOSIGNAL) != sizeof message)
        kill(machine.zygote_pid, SIGTERM);
    waitpid(machine.zygote_pid, NULL, 0);
    close(machine.zygote_socket);
}
