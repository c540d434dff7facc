/* exec: from a file to a program that runs.
 *
 * Everything that can be refused is looked at first: the file, its headers, its interpreter, the
 * arguments. Then the other threads end, and the old memory goes: from there on a failure is the end of
 * the process. Text is a window on the file's segment, data a deferred copy, the rest zeros; the
 * argument strings are copied once. A process that lives in another's space (vfork) gets a fresh one.
 */

#include "exec.h"

#include <elf.h>
#include <exec/chAnswers.h>
#include <limits.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "answers.h"
#include "call.h"
#include "descriptor.h"
#include "elf_program.h"
#include "open.h"
#include "path.h"
#include "process.h"
#include "regular.h"
#include "rewrite.h"
#include "signals.h"
#include "space.h"
#include "thread.h"
#include "timer.h"
#include "user.h"
#include "waiting.h"
#include "worker.h"

#define SCRIPT_LINE 256
#define SCRIPTS_MOST 4
#define STRING_MOST 131072u
#define STRINGS_LEAST 131072u
#define STRINGS_MOST (2u << 20)
#define PIE_BASE 0x555555554000ull
#define INTERPRETER_BASE 0x7e8000000000ull
#define STACK_LEAST 0x40000u
#define STACK_AT_FIRST 0x800000u

/* Argument or environment strings, one after the other. */
struct strings {
    char *bytes;
    size_t size, room;
    unsigned count;
};

struct exec {
    struct file *program, *interpreter;
    struct elf_program elf, interpreter_elf;
    struct strings arguments, environment;
    char *name;     /* as execve got it, or the script's */
    uint64_t bias, interpreter_bias;
    uint64_t entry, stack;
    bool secure;
};

static void exec_free(struct exec *exec)
{
    if (exec->program != NULL)
        file_release(exec->program);
    if (exec->interpreter != NULL)
        file_release(exec->interpreter);
    free(exec->arguments.bytes);
    free(exec->environment.bytes);
    free(exec->name);
    free(exec);
}

static void exec_cleanup(struct call *call)
{
    exec_free((struct exec *)call->scratch[0]);
}

/* ---- strings ---- */

static int strings_room(struct strings *strings, size_t more)
{
    if (strings->size + more <= strings->room)
        return 0;
    size_t room = strings->room == 0 ? 4096 : strings->room * 2;
    while (room < strings->size + more)
        room *= 2;
    char *grown = realloc(strings->bytes, room);
    if (grown == NULL)
        return -ENOMEM;
    strings->bytes = grown;
    strings->room = room;
    return 0;
}

static int strings_add(struct strings *strings, const char *string)
{
    size_t size = strlen(string) + 1;
    int error = strings_room(strings, size);
    if (error != 0)
        return error;
    memcpy(strings->bytes + strings->size, string, size);
    strings->size += size;
    strings->count++;
    return 0;
}

/* One string of the process. */
static int strings_fetch(struct call *call, struct strings *strings, VmAddr at)
{
    size_t try = 512;
    for (;;) {
        int error = strings_room(strings, try);
        if (error != 0)
            return error;
        int length = copy_in_string(call, strings->bytes + strings->size, at, try);
        if (length >= 0) {
            strings->size += (size_t)length + 1;
            strings->count++;
            return 0;
        }
        if (length != -ENAMETOOLONG)
            return length;
        if (try >= STRING_MOST)
            return -E2BIG;
        try = STRING_MOST;
    }
}

static size_t strings_limit(const struct process *process)
{
    uint64_t limit = process->limits[3 /* RLIMIT_STACK */].current / 4;
    return limit < STRINGS_LEAST ? STRINGS_LEAST : limit > STRINGS_MOST ? STRINGS_MOST : limit;
}

static int strings_fetch_all(struct call *call, struct strings *strings, VmAddr array)
{
    size_t limit = strings_limit(call_process(call));
    uint64_t pointers[64];
    if (array == 0)
        return 0;
    for (;;) {
        /* As many pointers as lie in the same page: the array may end where memory ends. */
        size_t part = (K_PAGESIZE - array % K_PAGESIZE) / 8;
        part = part == 0 ? 1 : part < 64 ? part : 64;
        int error = copy_in(call, pointers, array, part * 8);
        for (size_t i = 0; error == 0 && i < part; i++) {
            if (pointers[i] == 0)
                return 0;
            error = strings_fetch(call, strings, pointers[i]);
            if (error == 0 && strings->size + strings->count * 8 > limit)
                error = -E2BIG;
        }
        if (error != 0)
            return error;
        array += part * 8;
    }
}

/* The first argument makes place for those of a script's interpreter. */
static int strings_replace_first(struct strings *strings, const struct strings *by)
{
    size_t first = strings->count > 0 ? strlen(strings->bytes) + 1 : 0;
    int error = strings_room(strings, by->size);
    if (error != 0)
        return error;
    memmove(strings->bytes + by->size, strings->bytes + first, strings->size - first);
    memcpy(strings->bytes, by->bytes, by->size);
    strings->size = strings->size - first + by->size;
    strings->count = strings->count - (first > 0) + by->count;
    return 0;
}

/* ---- the file ---- */

static int64_t read_file(void *file, uint64_t offset, void *buffer, size_t size)
{
    return regular_read_here(file, offset, buffer, size);
}

static int open_program(struct call *call, int dirfd, const char *path, uint32_t flags,
                        struct file **ret_file)
{
    struct file *file;
    if (*path == '\0') { /* execveat of a descriptor */
        struct file *old = descriptor_file(call_process(call), dirfd);
        if (old == NULL)
            return -EBADF;
        path = "";
    }
    int64_t error = open_path(call, dirfd, path, flags, 0, FILE_O_EXECUTE, &file);
    if (error == -EISDIR)
        error = -EACCES;
    if (error == CALL_WAITS)
        error = -EACCES;
    if (error != 0)
        return (int)error;
    if (file_segment(file) == NULL) {
        file_release(file);
        return -EACCES;
    }
    *ret_file = file;
    return 0;
}

/* `#! interpreter argument`: what it says, or false if the line is nothing. */
static bool parse_script(char *line, char **ret_interpreter, char **ret_argument)
{
    char *end = strchr(line, '\n');
    if (end == NULL && strlen(line) >= SCRIPT_LINE - 1)
        end = strpbrk(line + 2 + strspn(line + 2, " \t"), " \t");
    else if (end == NULL)
        end = line + strlen(line);
    if (end == NULL)
        return false;
    *end = '\0';
    while (end > line && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        *--end = '\0';
    char *at = line + 2 + strspn(line + 2, " \t");
    if (*at == '\0')
        return false;
    *ret_interpreter = at;
    at += strcspn(at, " \t");
    *ret_argument = NULL;
    if (*at != '\0') {
        *at++ = '\0';
        *ret_argument = at + strspn(at, " \t");
    }
    return true;
}

/* The script becomes an argument of its interpreter, which is opened instead. */
static int use_script(struct call *call, struct exec *exec, char *line)
{
    char *interpreter, *argument;
    struct strings by = { 0 };
    struct file *file;
    if (!parse_script(line, &interpreter, &argument))
        return -ENOEXEC;
    int error = strings_add(&by, interpreter);
    if (error == 0 && argument != NULL)
        error = strings_add(&by, argument);
    if (error == 0)
        error = strings_add(&by, exec->name);
    if (error == 0)
        error = strings_replace_first(&exec->arguments, &by);
    free(by.bytes);
    if (error == 0)
        error = open_program(call, AT_FDCWD, interpreter, O_RDONLY, &file);
    if (error != 0)
        return error;
    char *name = strdup(interpreter);
    if (name == NULL) {
        file_release(file);
        return -ENOMEM;
    }
    free(exec->name);
    exec->name = name;
    file_release(exec->program);
    exec->program = file;
    return 0;
}

static int look_into(struct call *call, struct exec *exec)
{
    for (int scripts = 0;; scripts++) {
        char line[SCRIPT_LINE] = { 0 };
        int64_t got = regular_read_here(exec->program, 0, line, SCRIPT_LINE - 1);
        if (got < 0)
            return (int)got;
        if (got < 2 || line[0] != '#' || line[1] != '!')
            break;
        if (scripts == SCRIPTS_MOST)
            return -ELOOP;
        int error = use_script(call, exec, line);
        if (error != 0)
            return error;
    }
    int64_t size = regular_size(call, exec->program);
    if (size < 0)
        return (int)size;
    int error = elf_read(read_file, exec->program, (uint64_t)size, &exec->elf);
    if (error != 0 || exec->elf.interpreter[0] == '\0')
        return error;
    error = open_program(call, AT_FDCWD, exec->elf.interpreter, O_RDONLY, &exec->interpreter);
    if (error != 0)
        return error;
    size = regular_size(call, exec->interpreter);
    if (size < 0)
        return (int)size;
    error = elf_read(read_file, exec->interpreter, (uint64_t)size, &exec->interpreter_elf);
    if (error == 0 && exec->interpreter_elf.interpreter[0] != '\0')
        error = -ENOEXEC;
    return error == -ENOEXEC ? -ELIBBAD : error;
}

/* ---- memory ---- */

/* Text may come from an image: <text> instead of the file, beginning at <text_offset> of it. */
static int map_load(struct space *space, const struct file *file, const struct elf_load *load,
                    uint64_t bias, const struct file *text, uint64_t text_offset)
{
    VmAddr start = (load->address + bias) & ~(VmAddr)(K_PAGESIZE - 1);
    uint64_t head = load->address % K_PAGESIZE;
    uint64_t file_part = load->file_size == 0 ? 0 : head + load->file_size;
    VmAddr file_end = (start + file_part + K_PAGESIZE - 1) & ~(VmAddr)(K_PAGESIZE - 1);
    VmAddr end = (start + head + load->memory_size + K_PAGESIZE - 1) & ~(VmAddr)(K_PAGESIZE - 1);
    KnCap actor = space->actor;
    uint32_t options = K_READABLE | (load->protection & PROT_WRITE ? K_WRITABLE : 0u) |
                       (load->protection & PROT_EXEC ? K_EXECUTABLE : 0u);
    int status = K_OK;
    bool plain = !(load->protection & PROT_WRITE) && load->memory_size == load->file_size;
    bool other = text != NULL && plain && (load->protection & PROT_EXEC);
    const KnCap *segment = other ? &text->segment : &file->segment;
    pm_unlock();
    if (file_part > 0) {
        KnRgnDesc region = { .startAddr = start, .size = file_end - start,
                             .options = options | (plain ? K_INHERITSHARE : K_INHERITCOPY),
                             .opaque = plain ? 1 /* private, see memory.c */ : 0 };
        KnObjDesc object = { .dataObject = *segment,
                             .offset = load->offset - head - (other ? text_offset : 0),
                             .size = plain ? 0 : file_part };
        status = plain ? rgnMap(&actor, &region, &object) : rgnInit(&actor, &region, &object);
    }
    if (status >= 0 && end > file_end) {
        KnRgnDesc region = { .startAddr = file_part > 0 ? file_end : start,
                             .options = options | K_INHERITCOPY };
        region.size = end - region.startAddr;
        status = rgnAllocate(&actor, &region);
    }
    pm_lock();
    return status < 0 ? error_of(status) : 0;
}

static int map_program(struct space *space, struct file *file, const struct elf_program *elf,
                       uint64_t bias, const struct file *text, uint64_t text_offset)
{
    for (unsigned i = 0; i < elf->load_count; i++) {
        int error = map_load(space, file, &elf->loads[i], bias, text, text_offset);
        if (error != 0)
            return error;
    }
    return 0;
}

static void note_segments(struct space *space, const struct elf_program *elf, uint64_t bias)
{
    space->code_start = UINT64_MAX;
    for (unsigned i = 0; i < elf->load_count; i++) {
        const struct elf_load *load = &elf->loads[i];
        VmAddr start = load->address + bias, end = start + load->file_size;
        if (start < space->code_start)
            space->code_start = start;
        if (load->protection & PROT_EXEC)
            space->code_end = end;
        if (load->protection & PROT_WRITE)
            space->data_start = start;
        space->data_end = end;
    }
    space->brk_start = space->brk = elf->high + bias;
}

static uint64_t random_pages(unsigned bits)
{
    uint64_t value = 0;
    sysRandom(&value, sizeof value);
    return (value & ((UINT64_C(1) << bits) - 1)) * K_PAGESIZE;
}

static int map_stack(struct process *process, struct space *space, bool executable)
{
    uint64_t limit = process->limits[3 /* RLIMIT_STACK */].current;
    uint64_t size = limit < STACK_AT_FIRST ? limit & ~(uint64_t)(K_PAGESIZE - 1) : STACK_AT_FIRST;
    size = size < STACK_LEAST ? STACK_LEAST : size;
    VmAddr top = STACK_TOP - random_pages(8);
    KnRgnDesc region = { .startAddr = top - size, .size = size,
                         .options = K_READABLE | K_WRITABLE | K_INHERITCOPY |
                                    (executable ? K_EXECUTABLE : 0u) };
    int status = rgnAllocate(&space->actor, &region);
    space->stack_top = top;
    space->stack_bottom = top - size;
    return status < 0 ? error_of(status) : 0;
}

/* ---- the first stack ---- */

struct stack {
    uint8_t *bytes; /* a copy of [bottom, top) */
    VmAddr top, bottom, at;
};

static VmAddr push(struct stack *stack, const void *data, size_t size)
{
    stack->at -= size;
    memcpy(stack->bytes + (stack->at - stack->bottom), data, size);
    return stack->at;
}

static void push_word(struct stack *stack, uint64_t word)
{
    push(stack, &word, sizeof word);
}

/* Pointers to strings that lie one after the other; pushed last first. */
static void push_pointers(struct stack *stack, const struct strings *strings, VmAddr at)
{
    push_word(stack, 0);
    size_t end = strings->size;
    for (unsigned i = strings->count; i > 0; i--) {
        size_t start = end - 1;
        while (start > 0 && strings->bytes[start - 1] != '\0')
            start--;
        push_word(stack, at + start);
        end = start;
    }
}

static unsigned fill_auxv(struct exec *exec, const struct process *process, uint64_t *auxv,
                          VmAddr random, VmAddr platform, VmAddr name)
{
    const struct credentials *credentials = &process->credentials;
    unsigned count = 0;
#define AUX(type, value) (auxv[count++] = (type), auxv[count++] = (uint64_t)(value))
    AUX(AT_SYSINFO_EHDR, K_VDSO);
    AUX(AT_HWCAP, getauxval(AT_HWCAP));
    AUX(AT_PAGESZ, K_PAGESIZE);
    AUX(AT_CLKTCK, 100);
    AUX(AT_PHDR, exec->elf.headers == 0 ? 0 : exec->elf.headers + exec->bias);
    AUX(AT_PHENT, sizeof(Elf64_Phdr));
    AUX(AT_PHNUM, exec->elf.header_count);
    AUX(AT_BASE, exec->interpreter != NULL ? exec->interpreter_bias : 0);
    AUX(AT_FLAGS, 0);
    AUX(AT_ENTRY, exec->elf.entry + exec->bias);
    AUX(AT_UID, credentials->uid);
    AUX(AT_EUID, credentials->euid);
    AUX(AT_GID, credentials->gid);
    AUX(AT_EGID, credentials->egid);
    AUX(AT_SECURE, exec->secure);
    AUX(AT_RANDOM, random);
    AUX(AT_HWCAP2, 2);
    AUX(AT_EXECFN, name);
    AUX(AT_PLATFORM, platform);
    AUX(AT_NULL, 0);
#undef AUX
    return count;
}

static int fill_stack(struct exec *exec, const struct process *process, struct space *space)
{
    struct strings *arguments = &exec->arguments, *environment = &exec->environment;
    uint8_t random[16];
    size_t size = arguments->size + environment->size + strlen(exec->name) + 1 +
                  (arguments->count + environment->count + 3) * 8 + sizeof space->auxv + 256;
    struct stack stack = { .top = space->stack_top };
    stack.bottom = (stack.top - size) & ~(VmAddr)15;
    stack.at = stack.top;
    if (stack.bottom <= space->stack_bottom)
        return -E2BIG;
    stack.bytes = calloc(1, stack.top - stack.bottom);
    if (stack.bytes == NULL)
        return -ENOMEM;
    sysRandom(random, sizeof random);
    push_word(&stack, 0);
    VmAddr name = push(&stack, exec->name, strlen(exec->name) + 1);
    space->env_end = stack.at;
    space->env_start = push(&stack, environment->bytes, environment->size);
    space->arg_end = stack.at;
    space->arg_start = push(&stack, arguments->bytes, arguments->size);
    stack.at &= ~(VmAddr)15;
    VmAddr platform = push(&stack, "x86_64", 7);
    stack.at &= ~(VmAddr)15;
    VmAddr random_at = push(&stack, random, sizeof random);
    space->auxv_words = fill_auxv(exec, process, space->auxv, random_at, platform, name);
    size_t words = space->auxv_words + environment->count + 1 + arguments->count + 1 + 1;
    if (words % 2 != 0)
        push_word(&stack, 0);
    push(&stack, space->auxv, space->auxv_words * 8);
    push_pointers(&stack, environment, space->env_start);
    push_pointers(&stack, arguments, space->arg_start);
    push_word(&stack, arguments->count);
    exec->stack = stack.at;
    int error = space_write(space, stack.at, stack.bytes + (stack.at - stack.bottom),
                            stack.top - stack.at);
    free(stack.bytes);
    return error;
}

static int build(struct exec *exec, struct process *process, struct space *space)
{
    exec->bias = exec->elf.fixed ? 0 : PIE_BASE + random_pages(12) - exec->elf.low;
    uint64_t text_offset = 0;
    answers_withdraw(space); /* who it is changes */
    rewrite_end(space);
    const struct file *text = rewrite_begin(space, exec->program, exec->elf.low + exec->bias, &text_offset);
    int error = map_program(space, exec->program, &exec->elf, exec->bias, text, text_offset);
    exec->entry = exec->elf.entry + exec->bias;
    if (error == 0 && exec->interpreter != NULL) {
        exec->interpreter_bias = exec->interpreter_elf.fixed
                                     ? 0 : INTERPRETER_BASE + random_pages(12);
        error = map_program(space, exec->interpreter, &exec->interpreter_elf,
                            exec->interpreter_bias, NULL, 0);
        exec->entry = exec->interpreter_elf.entry + exec->interpreter_bias;
    }
    if (error == 0)
        error = map_stack(process, space, exec->elf.executable_stack);
    if (error != 0)
        return error;
    note_segments(space, &exec->elf, exec->bias);
    if (space->program != NULL)
        file_release(space->program);
    space->program = exec->program;
    file_reference(exec->program);
    return fill_stack(exec, process, space);
}

/* ---- identity ---- */

static void take_identity(struct exec *exec, struct process *process)
{
    struct credentials *credentials = &process->credentials;
    const struct file_attributes *file = &exec->program->attributes;
    if (!credentials->no_new_privileges) {
        if (file->mode & S_ISUID)
            credentials->euid = file->uid;
        if ((file->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
            credentials->egid = file->gid;
    }
    exec->secure = credentials->euid != credentials->uid || credentials->egid != credentials->gid;
    credentials->suid = credentials->fsuid = credentials->euid;
    credentials->sgid = credentials->fsgid = credentials->egid;
    bool is_root = credentials->euid == 0 || credentials->uid == 0;
    credentials->permitted = is_root ? credentials->bounding | credentials->inheritable
                                     : credentials->ambient;
    credentials->effective = credentials->euid == 0 ? credentials->permitted
                                                    : credentials->ambient;
    credentials->keep_capabilities = false;
}

static void set_name(struct exec *exec, struct process *process, struct thread *thread)
{
    const char *slash = strrchr(exec->name, '/');
    snprintf(process->name, sizeof process->name, "%s", slash == NULL ? exec->name : slash + 1);
    memcpy(thread->name, process->name, sizeof thread->name);
    actorName(&process->space->actor, NULL, process->name);
}

/* ---- the change ---- */

static int clear_space(struct space *space)
{
    KnRgnDesc all = { .startAddr = K_USERBOTTOM, .size = K_USERTOP - K_USERBOTTOM };
    int status = rgnFree(&space->actor, &all);
    space->stack_bottom = space->stack_top = 0;
    return status < 0 && status != K_EUNKNOWN ? error_of(status) : 0;
}

static void reset_thread(struct thread *thread)
{
    thread->altstack = thread->altstack_size = thread->altstack_flags = 0;
    thread->clear_tid = thread->robust_list = 0;
}

static int set_registers(struct thread *thread, const struct exec *exec)
{
    _Alignas(64) uint8_t xstate[K_XSTATEMAX];
    KnThreadCtx context = { .rip = exec->entry, .rsp = exec->stack, .rflags = 0x202,
                            .flags = K_CTX_GENERAL | K_CTX_XSTATE };
    frame_fresh_xstate(xstate);
    int status = threadContext(&thread->process->space->actor, thread->li, NULL, &context, xstate);
    return status < 0 ? error_of(status) : 0;
}

/* The thread goes on in a fresh space; the old one of it ends. */
static int move_thread(struct thread *thread, const struct exec *exec, struct space *space)
{
    KnThreadStart start = { .entry = exec->entry, .stack = exec->stack, .cookie = thread->cookie };
    KnThreadLid li;
    int status = threadCreate(&space->actor, &li, K_ACTIVE, &worker_user_sched, &start);
    if (status < 0)
        return error_of(status);
    thread->li = li;
    return 0;
}

static void inherit_reset(struct process *process)
{
    if (process->signals->references > 1) {
        struct signal_table *own = signal_table_new(process->signals);
        if (own != NULL) {
            signal_table_release(process->signals);
            process->signals = own;
        }
    }
    signal_table_reset(process->signals);
    if (process->descriptors->references > 1) {
        struct descriptor_table *own = descriptor_table_copy(process->descriptors);
        if (own != NULL) {
            process->descriptors->references--;
            process->descriptors = own;
        }
    }
    descriptor_close_on_exec(process);
    timer_end_posix(process);
    process->has_execed = true;
    process->exit_signal = SIGCHLD;
    process->death_signal = 0;
}

static int64_t dies(struct process *process, int error)
{
    pm_log("%s (%d) cannot go on in exec: %s", process->name, process->pid, strerror(-error));
    process_end(process, SIGKILL);
    return 0;
}

static int64_t commit_in_place(struct call *call, struct exec *exec)
{
    struct thread *thread = call_thread(call);
    struct process *process = thread->process;
    int error = clear_space(process->space);
    if (error == 0)
        error = build(exec, process, process->space);
    if (error == 0)
        error = set_registers(thread, exec);
    if (error != 0)
        return dies(process, error);
    set_name(exec, process, thread);
    call->reply = (KnTrapReply){ .action = K_DO_CONTEXT };
    return CALL_REPLIED;
}

static int64_t commit_elsewhere(struct call *call, struct exec *exec)
{
    struct thread *thread = call_thread(call);
    struct process *process = thread->process;
    struct space *space, *old = process->space;
    int error = space_new(old, &space);
    if (error != 0)
        return dies(process, error);
    error = build(exec, process, space);
    if (error == 0 && !thread->dying)
        error = move_thread(thread, exec, space);
    if (error != 0 || thread->dying) {
        space_release(space);
        return error != 0 ? dies(process, error) : 0;
    }
    process->space = space;
    set_name(exec, process, thread);
    process_vfork_done(process);
    call_end(call);
    worker_reply_delete();
    thread->where = THREAD_OUTSIDE;
    thread->in_call = thread->has_result = thread->context_set = false;
    space_release(old);
    if (signal_is_due(thread))
        thread_kick(thread);
    return CALL_GONE;
}

static int64_t commit(struct call *call, struct exec *exec)
{
    struct thread *thread = call_thread(call);
    struct process *process = thread->process;
    process->exec_by = NULL;
    if (thread->tid != process->pid) {
        pid_free(thread->tid);
        thread->tid = process->pid;
    }
    inherit_reset(process);
    reset_thread(thread);
    take_identity(exec, process);
    if (process->space->references > 1)
        return commit_elsewhere(call, exec);
    process_vfork_done(process);
    return commit_in_place(call, exec);
}

static int prepare(struct call *call, int dirfd, VmAddr path_at, VmAddr argv, VmAddr envp,
                   uint32_t flags, struct exec *exec)
{
    int error = copy_in_path(call, path_at, flags & AT_EMPTY_PATH, &exec->name);
    if (error == 0)
        error = open_program(call, dirfd, exec->name,
                             O_RDONLY | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0u),
                             &exec->program);
    if (error == 0)
        error = strings_fetch_all(call, &exec->arguments, argv);
    if (error == 0 && exec->arguments.count == 0)
        error = strings_add(&exec->arguments, "");
    if (error == 0)
        error = strings_fetch_all(call, &exec->environment, envp);
    return error != 0 ? error : look_into(call, exec);
}

static int64_t execute(struct call *call, int dirfd, VmAddr path, VmAddr argv, VmAddr envp,
                       uint32_t flags)
{
    struct process *process = call_process(call);
    struct exec *exec = (struct exec *)call->scratch[0];
    if (call->runs == 0) {
        exec = calloc(1, sizeof *exec);
        if (exec == NULL)
            return -ENOMEM;
        call->scratch[0] = (uint64_t)exec;
        call->cleanup = exec_cleanup;
        int error = prepare(call, dirfd, path, argv, envp, flags, exec);
        if (error != 0)
            return error;
        call->policy = CALL_UNINTERRUPTED;
        if (process->exec_by != NULL)
            return -EAGAIN;
    }
    if (process->thread_count > 1) {
        process->exec_by = call_thread(call);
        process_end_others(call_thread(call));
        if (process->thread_count > 1)
            return CALL_WAITS;
    }
    return commit(call, exec);
}

int64_t linux_execve(struct call *call)
{
    return execute(call, AT_FDCWD, call->arg[0], call->arg[1], call->arg[2], 0);
}

int64_t linux_execveat(struct call *call)
{
    uint32_t flags = (uint32_t)call->arg[4];
    if (flags & ~(uint32_t)(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return -EINVAL;
    return execute(call, (int)call->arg[0], call->arg[1], call->arg[2], call->arg[3], flags);
}

/* ---- the first program ---- */

int exec_first(struct process *process, const char *path, char *const argv[],
               char *const environment[])
{
    struct exec *exec = calloc(1, sizeof *exec);
    struct thread *thread = thread_new(process, process->pid);
    if (exec == NULL || thread == NULL)
        return -ENOMEM;
    struct call *call = &thread->call;
    thread->where = THREAD_SERVED;
    int error = (exec->name = strdup(path)) == NULL ? -ENOMEM : 0;
    for (; error == 0 && *argv != NULL; argv++)
        error = strings_add(&exec->arguments, *argv);
    for (; error == 0 && *environment != NULL; environment++)
        error = strings_add(&exec->environment, *environment);
    if (error == 0)
        error = open_program(call, AT_FDCWD, path, O_RDONLY, &exec->program);
    if (error == 0)
        error = look_into(call, exec);
    if (error == 0)
        error = space_new(NULL, &process->space);
    if (error == 0) {
        take_identity(exec, process);
        error = build(exec, process, process->space);
    }
    if (error == 0)
        error = move_thread(thread, exec, process->space);
    if (error == 0) {
        set_name(exec, process, thread);
        thread->where = THREAD_OUTSIDE;
        call_end(call);
    } else {
        if (process->space != NULL)
            space_release(process->space);
        process->space = NULL;
        thread_discard(thread);
    }
    exec_free(exec);
    return error;
}
