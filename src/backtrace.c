/* Backtraces of actors. */

#include "backtrace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <elfutils/libdwfl.h>

#include "actor_memory.h"

enum {
    FRAMES_MOST = 4096,
    LINES_MOST = 40,
    GUESSES_MOST = 16,
    SCANNED = 4096, /* bytes of stack that are looked through for return addresses */
    THREAD = 1,     /* libdw wants a number for the one thread that we show it */
};

struct trace_of {
    const struct actor *actor;
    KnThreadCtx registers;
    backtrace_print *print;
    Dwfl *dwfl; /* NULL: no names */
    unsigned frames, lines;
    uint64_t last_sp;
    uint64_t last_pc; /* a recursion is told once, */
    unsigned repeated; /* and how often */
};

/* One line for one frame */

/* Where it was in the source tree: without the way there from the build folder. */
static const char *shorten(const char *path)
{
    for (const char *at; (at = strstr(path, "../")) != NULL;)
        path = at + 3;
    return path;
}

static void print_repeated(struct trace_of *trace)
{
    char line[64];
    snprintf(line, sizeof line, "   and %u times again", trace->repeated);
    if (trace->repeated > 0)
        trace->print(line);
    trace->repeated = 0;
}

static void print_frame(struct trace_of *trace, uint64_t pc, bool is_return_address, bool guess)
{
    char line[512], source[256] = "";
    if (trace->frames++ > 0 && pc == trace->last_pc) {
        trace->repeated++;
        return;
    }
    print_repeated(trace);
    trace->last_pc = pc;
    trace->lines++;
    const char *name = NULL;
    GElf_Off offset = 0;
    GElf_Sym symbol;
    uint64_t inside = is_return_address ? pc - 1 : pc; /* the call, not what follows it */
    Dwfl_Module *module = trace->dwfl == NULL ? NULL : dwfl_addrmodule(trace->dwfl, inside);
    if (module != NULL) {
        name = dwfl_module_addrinfo(module, inside, &offset, &symbol, NULL, NULL, NULL);
        Dwfl_Line *where = dwfl_module_getsrc(module, inside);
        int number = 0;
        const char *file = where == NULL ? NULL : dwfl_lineinfo(where, NULL, &number, NULL, NULL, NULL);
        if (file != NULL)
            snprintf(source, sizeof source, " (%s:%d)", shorten(file), number);
    }
    if (name == NULL)
        snprintf(line, sizeof line, "%s#%u 0x%016" PRIx64 "%s", guess ? "? " : "", trace->frames - 1, pc,
                 actor_memory_is_code(trace->actor, pc) ? "" : " (not code)");
    else
        snprintf(line, sizeof line, "%s#%u 0x%016" PRIx64 " %s+0x%" PRIx64 "%s", guess ? "? " : "",
                 trace->frames - 1, pc, name, (uint64_t)offset + (is_return_address ? 1 : 0), source);
    trace->print(line);
}

/* The unwinder: how libdw sees our thread */

static pid_t next_thread(Dwfl *dwfl, void *argument, void **thread_argument)
{
    (void)dwfl;
    if (*thread_argument != NULL)
        return 0;
    *thread_argument = argument;
    return THREAD;
}

static bool get_thread(Dwfl *dwfl, pid_t thread, void *argument, void **thread_argument)
{
    (void)dwfl;
    *thread_argument = argument;
    return thread == THREAD;
}

static bool memory_read(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *argument)
{
    (void)dwfl;
    struct trace_of *trace = argument;
    uint64_t word;
    if (!actor_memory_word(trace->actor, address, &word))
        return false;
    *result = word;
    return true;
}

static bool set_registers(Dwfl_Thread *thread, void *argument)
{
    const KnThreadCtx *from = &((struct trace_of *)argument)->registers;
    const Dwarf_Word registers[] = {
        from->rax, from->rdx, from->rcx, from->rbx, from->rsi, from->rdi, from->rbp, from->rsp,
        from->r8, from->r9, from->r10, from->r11, from->r12, from->r13, from->r14, from->r15,
        from->rip,
    };
    return dwfl_thread_state_registers(thread, 0, sizeof registers / sizeof *registers, registers);
}

static int on_frame(Dwfl_Frame *frame, void *argument)
{
    struct trace_of *trace = argument;
    Dwarf_Addr pc;
    bool is_activation;
    Dwarf_Word sp;
    if (!dwfl_frame_pc(frame, &pc, &is_activation) || trace->frames >= FRAMES_MOST ||
        trace->lines >= LINES_MOST)
        return DWARF_CB_ABORT;
    /* The frame of what was called with a bad address is printed by hand. */
    bool first = trace->frames == 0;
    if (pc == 0 || (!first && !actor_memory_is_code(trace->actor, pc)))
        return DWARF_CB_ABORT;
    if (dwfl_frame_reg(frame, 7, &sp) == 0)
        trace->last_sp = sp;
    print_frame(trace, pc, !is_activation && !first, false);
    return DWARF_CB_OK;
}

static void unwind(struct trace_of *trace)
{
    static const Dwfl_Thread_Callbacks callbacks = {
        .next_thread = next_thread, .get_thread = get_thread, .memory_read = memory_read,
        .set_initial_registers = set_registers,
    };
    if (dwfl_attach_state(trace->dwfl, NULL, THREAD, &callbacks, trace))
        dwfl_getthread_frames(trace->dwfl, THREAD, on_frame, trace);
}

/* What looks like a return address: it is in code, and a call instruction could end before it. */
static bool follows_call(const struct actor *actor, uint64_t address)
{
    uint64_t before;
    if (!actor_memory_is_code(actor, address) || !actor_memory_word(actor, address - 8, &before))
        return false;
    const uint8_t *bytes = (const uint8_t *)&before;
    if (bytes[3] == 0xe8) /* call rel32 */
        return true;
    for (unsigned length = 2; length <= 7; length++) /* call by register or memory */
        if (bytes[8 - length] == 0xff && (bytes[9 - length] >> 3 & 7) == 2)
            return true;
    return false;
}

static void guess(struct trace_of *trace, uint64_t sp)
{
    unsigned guesses = 0;
    for (uint64_t at = sp & ~UINT64_C(7); at < sp + SCANNED && guesses < GUESSES_MOST; at += 8) {
        uint64_t word;
        if (!actor_memory_word(trace->actor, at, &word))
            break;
        if (!follows_call(trace->actor, word))
            continue;
        print_frame(trace, word, true, true);
        guesses++;
    }
}

/* Not found anywhere else: it would ask servers on the network for it. */
static int no_debuginfo(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base,
                        const char *file, const char *link, GElf_Word crc, char **ret_name)
{
    (void)module, (void)data, (void)name, (void)base, (void)file, (void)link, (void)crc, (void)ret_name;
    return -1;
}

static Dwfl *open_names(const struct site_image *image)
{
    static const Dwfl_Callbacks callbacks = {.find_debuginfo = no_debuginfo};
    Dwfl *dwfl = image == NULL ? NULL : dwfl_begin(&callbacks);
    if (dwfl == NULL)
        return NULL;
    dwfl_report_begin(dwfl);
    Dwfl_Module *module = dwfl_report_elf(dwfl, "actor", image->path, -1, image->base, true);
    if (dwfl_report_end(dwfl, NULL, NULL) == 0 && module != NULL)
        return dwfl;
    dwfl_end(dwfl);
    return NULL;
}

void backtrace(const struct actor *actor, const struct site_image *image,
               const KnThreadCtx *registers, backtrace_print *print)
{
    struct trace_of trace = {.actor = actor, .registers = *registers, .print = print,
                             .last_sp = registers->rsp, .dwfl = open_names(image)};
    uint64_t caller;
    if (!actor_memory_is_code(actor, registers->rip)) {
        /* It jumped there, most likely by a call: go on at the return address. */
        print_frame(&trace, registers->rip, false, false);
        if (actor_memory_word(actor, registers->rsp, &caller) && follows_call(actor, caller)) {
            trace.registers.rip = caller;
            trace.registers.rsp += 8;
        }
    }
    if (trace.dwfl != NULL && actor_memory_is_code(actor, trace.registers.rip))
        unwind(&trace);
    if (trace.frames == 0)
        print_frame(&trace, registers->rip, false, false);
    if (trace.frames < 3)
        guess(&trace, trace.last_sp);
    print_repeated(&trace);
    if (trace.dwfl != NULL)
        dwfl_end(trace.dwfl);
}
