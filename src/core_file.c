/* Core files of actors. */

#include "core_file.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>
#include <unistd.h>

#include <host/cpu.h>
#include <host/event.h>
#include <nucleus/vm.h>

#include "actor_memory.h"

enum {
    RUNS_MOST = 16384,
    THREADS_MOST = 1024,
};
#define SMALL_REGION (UINT64_C(8) << 20) /* these are written first: stacks, data */

/* Pages that follow one another, all in memory. */
struct run {
    uint64_t start, end;
    uint32_t options;
    uint64_t offset; /* in the file */
};

/* A core that is being made. */
struct making {
    const struct core_file *core;
    int fd;
    struct run *runs;
    size_t run_count, run_room;
    uint64_t size;
    bool cut;
    uint8_t *notes;
    size_t notes_size, notes_room;
    bool no_memory;
};

/* Which pages */

static bool run_extends(const struct making *making, uint64_t page, uint32_t options)
{
    if (making->run_count == 0)
        return false;
    const struct run *last = &making->runs[making->run_count - 1];
    return last->end == page && last->options == options;
}

/* False: enough. */
static bool plan_page(struct making *making, uint64_t page, uint32_t options)
{
    if (making->size + PAGE_SIZE > making->core->size_most)
        return false;
    if (!run_extends(making, page, options)) {
        if (making->run_count == RUNS_MOST)
            return false;
        if (making->run_count == making->run_room) {
            size_t room = making->run_room * 2 + 64;
            struct run *runs = reallocarray(making->runs, room, sizeof *runs);
            if (runs == NULL) {
                making->no_memory = true;
                return false;
            }
            making->runs = runs;
            making->run_room = room;
        }
        making->runs[making->run_count++] = (struct run){.start = page, .end = page, .options = options};
    }
    making->runs[making->run_count - 1].end += PAGE_SIZE;
    making->size += PAGE_SIZE;
    return true;
}

static void plan_region(struct making *making, const struct vm_region_view *region)
{
    uint64_t page = region->start;
    for (; vm_page_look(making->core->actor, &page, region->end) != NULL; page += PAGE_SIZE)
        if (!plan_page(making, page, region->options)) {
            making->cut = true;
            return;
        }
}

static void plan_regions(struct making *making, bool small)
{
    struct vm_region_view region = {.end = 0};
    while (!making->no_memory && vm_region_look(making->core->actor, region.end, &region))
        if ((region.end - region.start <= SMALL_REGION) == small)
            plan_region(making, &region);
}

static int by_address(const void *a, const void *b)
{
    const struct run *left = a, *right = b;
    return left->start < right->start ? -1 : left->start > right->start;
}

/* The notes */

static void add_bytes(struct making *making, const void *bytes, size_t size)
{
    size_t padded = (size + 3) & ~(size_t)3;
    if (making->notes_size + padded > making->notes_room) {
        size_t room = (making->notes_size + padded) * 2;
        uint8_t *notes = realloc(making->notes, room);
        if (notes == NULL) {
            making->no_memory = true;
            return;
        }
        making->notes = notes;
        making->notes_room = room;
    }
    memset(making->notes + making->notes_size, 0, padded);
    memcpy(making->notes + making->notes_size, bytes, size);
    making->notes_size += padded;
}

static void add_note(struct making *making, uint32_t type, const void *bytes, size_t size)
{
    static const char name[] = "CORE";
    Elf64_Nhdr header = {.n_namesz = sizeof name, .n_descsz = (Elf64_Word)size, .n_type = type};
    add_bytes(making, &header, sizeof header);
    add_bytes(making, name, sizeof name);
    add_bytes(making, bytes, size);
}

static void fill_registers(const KnThreadCtx *from, elf_gregset_t *to)
{
    struct user_regs_struct registers = {
        .r8 = from->r8, .r9 = from->r9, .r10 = from->r10, .r11 = from->r11, .r12 = from->r12,
        .r13 = from->r13, .r14 = from->r14, .r15 = from->r15, .rdi = from->rdi, .rsi = from->rsi,
        .rbp = from->rbp, .rbx = from->rbx, .rdx = from->rdx, .rax = from->rax, .rcx = from->rcx,
        .rsp = from->rsp, .rip = from->rip, .eflags = from->rflags, .fs_base = from->fsBase,
        .gs_base = from->gsBase, .orig_rax = (unsigned long long)-1, .cs = 0x33, .ss = 0x2b,
    };
    _Static_assert(sizeof registers == sizeof *to, "the same registers");
    memcpy(to, &registers, sizeof *to);
}

static void add_thread(struct making *making, const struct thread *thread, const KnThreadCtx *registers,
                       const uint8_t *xstate)
{
    int signal = making->core->signal; /* as Linux: in all of them, gdb takes any */
    struct elf_prstatus status = {
        .pr_info = {.si_signo = signal}, .pr_cursig = (short)signal, .pr_pid = thread->li, .pr_fpvalid = 1};
    fill_registers(registers, &status.pr_reg);
    add_note(making, NT_PRSTATUS, &status, sizeof status);
    add_note(making, NT_FPREGSET, xstate, sizeof(struct user_fpregs_struct)); /* how XSAVE's form begins */
}

/* A thread that waits in a nucleus call is in the gate, whose page no debugger knows: it is shown as
 * it will be when the call returns. */
static void leave_gate(const struct actor *actor, KnThreadCtx *registers)
{
    uint64_t caller;
    if (!actor_memory_is_code(actor, registers->rip) && actor_memory_word(actor, registers->rsp, &caller) &&
        actor_memory_is_code(actor, caller)) {
        registers->rip = caller;
        registers->rsp += sizeof caller;
    }
}

static void add_process(struct making *making)
{
    const struct core_file *core = making->core;
    struct elf_prpsinfo info = {.pr_sname = 'R', .pr_pid = core->actor->host == NULL ? 0 : host_space_pid(core->actor->host)};
    snprintf(info.pr_fname, sizeof info.pr_fname, "%.15s", core->actor->name);
    snprintf(info.pr_psargs, sizeof info.pr_psargs, "%s", core->actor->name);
    add_note(making, NT_PRPSINFO, &info, sizeof info);
    siginfo_t signal = {.si_signo = core->signal, .si_code = 1};
    bool has_address = core->signal == SIGSEGV || core->signal == SIGBUS;
    signal.si_addr = (void *)(uintptr_t)(has_address ? core->registers->fault : core->registers->rip);
    add_note(making, NT_SIGINFO, &signal, sizeof signal);
    if (core->image == NULL)
        return;
    const Elf64_auxv_t vector[] = {
        {AT_PHDR, {core->image->headers}}, {AT_PHENT, {sizeof(Elf64_Phdr)}}, {AT_PHNUM, {core->image->header_count}},
        {AT_PAGESZ, {PAGE_SIZE}}, {AT_BASE, {0}}, {AT_ENTRY, {core->image->entry}}, {AT_NULL, {0}},
    };
    add_note(making, NT_AUXV, vector, sizeof vector);
}

/* Threads that run just now have no registers that could be had: they are left out. */
static void add_notes(struct making *making)
{
    const struct core_file *core = making->core;
    size_t size = host_context_xstate_size();
    uint8_t *xstate = calloc(1, size < K_XSTATEMAX ? K_XSTATEMAX : size);
    unsigned count = 0;
    if (xstate == NULL) {
        making->no_memory = true;
        return;
    }
    KnThreadCtx registers;
    host_context_get(core->thread->context, &registers, xstate);
    add_thread(making, core->thread, core->registers, xstate);
    add_process(making);
    LIST_FOR_EACH(link, (struct list *)&core->actor->threads) {
        const struct thread *thread = LIST_OWNER(link, struct thread, of_actor);
        if (thread == core->thread || host_context_running(thread->context) || ++count > THREADS_MOST)
            continue;
        host_context_get(thread->context, &registers, xstate);
        leave_gate(core->actor, &registers);
        add_thread(making, thread, &registers, xstate);
    }
    free(xstate);
}

/* The file */

static bool put(int fd, const void *bytes, uint64_t size, uint64_t offset)
{
    for (uint64_t done = 0; done < size;) {
        ssize_t written = pwrite(fd, (const uint8_t *)bytes + done, size - done, (off_t)(offset + done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        done += (uint64_t)written;
    }
    return true;
}

static uint64_t notes_offset(const struct making *making)
{
    return sizeof(Elf64_Ehdr) + (making->run_count + 1) * sizeof(Elf64_Phdr);
}

static void place_runs(struct making *making)
{
    uint64_t offset = notes_offset(making) + making->notes_size;
    offset = (offset + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
    for (size_t i = 0; i < making->run_count; i++) {
        making->runs[i].offset = offset;
        offset += making->runs[i].end - making->runs[i].start;
    }
}

static bool write_headers(const struct making *making)
{
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_phoff = sizeof header,
        .e_ehsize = sizeof header, .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = (Elf64_Half)(making->run_count + 1),
    };
    Elf64_Phdr notes = {.p_type = PT_NOTE, .p_offset = notes_offset(making), .p_filesz = making->notes_size, .p_align = 4};
    bool good = put(making->fd, &header, sizeof header, 0) && put(making->fd, &notes, sizeof notes, sizeof header) &&
                put(making->fd, making->notes, making->notes_size, notes_offset(making));
    for (size_t i = 0; good && i < making->run_count; i++) {
        const struct run *run = &making->runs[i];
        Elf64_Phdr load = {
            .p_type = PT_LOAD, .p_offset = run->offset, .p_vaddr = run->start, .p_filesz = run->end - run->start,
            .p_memsz = run->end - run->start, .p_align = PAGE_SIZE,
            .p_flags = (run->options & K_READABLE ? PF_R : 0u) | (run->options & K_WRITABLE ? PF_W : 0u) |
                       (run->options & K_EXECUTABLE ? PF_X : 0u)};
        good = put(making->fd, &load, sizeof load, sizeof header + (i + 1) * sizeof load);
    }
    return good;
}

/* Frames that follow one another go by one write. */
static bool write_run(const struct making *making, const struct run *run)
{
    uint64_t begin = run->start, page = run->start;
    const uint8_t *first = NULL;
    for (; page < run->end; page += PAGE_SIZE) {
        uint64_t at = page;
        const uint8_t *bytes = vm_page_look(making->core->actor, &at, page + PAGE_SIZE);
        if (first != NULL && bytes == first + (page - begin))
            continue;
        if (first != NULL && !put(making->fd, first, page - begin, run->offset + (begin - run->start)))
            return false;
        begin = page;
        first = bytes;
    }
    return first == NULL || put(making->fd, first, page - begin, run->offset + (begin - run->start));
}

static bool write_all(struct making *making)
{
    int64_t end = host_time() + making->core->time_most;
    if (!write_headers(making))
        return false;
    size_t i = 0;
    for (; i < making->run_count && host_time() < end; i++)
        if (!write_run(making, &making->runs[i]))
            return false;
    making->cut |= i < making->run_count;
    const struct run *last = &making->runs[making->run_count - 1];
    return making->run_count == 0 || i == making->run_count ||
           ftruncate(making->fd, (off_t)(last->offset + (last->end - last->start))) == 0;
}

bool core_file_write(const struct core_file *core, int fd, uint64_t *ret_size, bool *ret_cut)
{
    struct making making = {.core = core, .fd = fd};
    plan_regions(&making, true);
    plan_regions(&making, false);
    add_notes(&making);
    bool good = !making.no_memory;
    if (!good)
        errno = ENOMEM;
    if (making.run_count > 0)
        qsort(making.runs, making.run_count, sizeof *making.runs, by_address);
    place_runs(&making);
    good = good && write_all(&making);
    *ret_size = making.size;
    *ret_cut = making.cut;
    int error = errno;
    free(making.runs);
    free(making.notes);
    errno = error;
    return good;
}
