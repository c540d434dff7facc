/* The loader of the boot actors: see loader.h.
 *
 * It takes a static ELF64 program (static-PIE or not), checks every number in it before it uses it,
 * gives the new actor a region for each segment, copies the bytes, and builds the first stack as a
 * C library expects to find it. */
#include "loader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <host/supervisor.h>
#include "actor.h"
#include "assert.h"
#include "elf64.h"
#include "loader_check.h"
#include "port.h"
#include "random.h"
#include "sched.h"
#include "vm.h"

#define SEGMENTS_MAX   32
#define IMAGE_SPAN_MAX (1ull << 32)
#define PIE_BASE       0x555555000000ull
#define STACK_DEFAULT  (1u << 20)
#define STACK_TOP      (K_USERTOP - 0x10000)
#define ARGUMENTS_MAX  (1u << 20) /* bytes of strings and vectors */

/* The auxiliary vector's keys, as Linux programs know them. */
enum {
    AT_NULL = 0,
    AT_PHDR = 3,
    AT_PHENT = 4,
    AT_PHNUM = 5,
    AT_PAGESZ = 6,
    AT_BASE = 7,
    AT_FLAGS = 8,
    AT_ENTRY = 9,
    AT_UID = 11,
    AT_EUID = 12,
    AT_GID = 13,
    AT_EGID = 14,
    AT_PLATFORM = 15,
    AT_HWCAP = 16,
    AT_CLKTCK = 17,
    AT_SECURE = 23,
    AT_RANDOM = 25,
    AT_HWCAP2 = 26,
    AT_EXECFN = 31
};
#define HWCAP2_FSGSBASE 2

struct loading {
    const struct loader_program *program;
    struct elf_header header;
    struct elf_segment segment[SEGMENTS_MAX];
    struct actor *actor;
    uint64_t base;        /* added to every address of the program */
    uint64_t bottom, top; /* addresses that it takes, before <base> */
    uint64_t stack_bottom, stack_top;
    char *why;
    size_t why_size;
};

static int refuse(struct loading *loading, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse(struct loading *loading, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(loading->why, loading->why_size, format, arguments);
    va_end(arguments);
    return status;
}

static bool range_fits(uint64_t offset, uint64_t size, uint64_t limit)
{
    return offset <= limit && size <= limit - offset;
}

static int check_header(struct loading *loading)
{
    static const uint8_t magic[7] = {
        0x7f, 'E', 'L', 'F', 2 /* 64 bits */, 1 /* little endian */, 1
    };
    struct elf_header *header = &loading->header;
    if (loading->program->image_size < sizeof *header)
        return refuse(loading, K_EINVAL, "too short for an ELF file");
    memcpy(header, loading->program->image, sizeof *header);
    if (memcmp(header->ident, magic, sizeof magic) != 0)
        return refuse(loading, K_EINVAL, "not a 64-bit little-endian ELF file");
    if (header->machine != ELF_X86_64)
        return refuse(loading, K_EINVAL, "made for machine %u, not for x86-64", header->machine);
    if (header->type != ELF_EXEC && header->type != ELF_DYN)
        return refuse(loading, K_EINVAL, "not a program (ELF type %u)", header->type);
    if (header->phentsize != sizeof(struct elf_segment) || header->phnum == 0 ||
        header->phnum > SEGMENTS_MAX)
        return refuse(loading, K_EINVAL, "%u program headers of %u bytes", header->phnum,
                      header->phentsize);
    uint64_t size = (uint64_t)header->phnum * sizeof(struct elf_segment);
    if (!range_fits(header->phoff, size, loading->program->image_size))
        return refuse(loading, K_EINVAL, "its program headers lie outside the file");
    memcpy(loading->segment, (const uint8_t *)loading->program->image + header->phoff, size);
    return K_OK;
}

static uint64_t page_down(uint64_t address)
{
    return address & ~(uint64_t)(PAGE_SIZE - 1);
}

static uint64_t page_up(uint64_t address)
{
    return page_down(address + PAGE_SIZE - 1);
}

static int check_load_segment(struct loading *loading, unsigned number)
{
    const struct elf_segment *segment = &loading->segment[number];
    if (segment->filesz > segment->memsz)
        return refuse(loading, K_EINVAL, "segment %u: more bytes in the file than in memory",
                      number);
    if (!range_fits(segment->offset, segment->filesz, loading->program->image_size))
        return refuse(loading, K_EINVAL, "segment %u lies outside the file", number);
    if (segment->vaddr >= K_USERTOP || segment->memsz > IMAGE_SPAN_MAX)
        return refuse(loading, K_EINVAL, "segment %u: an address or a size that cannot be", number);
    if (segment->vaddr % PAGE_SIZE != segment->offset % PAGE_SIZE)
        return refuse(loading, K_EINVAL, "segment %u: address and offset do not match", number);
    if (page_down(segment->vaddr) < loading->top && loading->top != 0)
        return refuse(loading, K_EINVAL, "segment %u overlaps the one before it", number);
    if (loading->top == 0)
        loading->bottom = page_down(segment->vaddr);
    loading->top = page_up(segment->vaddr + segment->memsz);
    if (loading->top - loading->bottom > IMAGE_SPAN_MAX)
        return refuse(loading, K_EINVAL, "segment %u: the program is too large", number);
    return K_OK;
}

static bool entry_is_code(const struct loading *loading)
{
    for (unsigned i = 0; i < loading->header.phnum; i++) {
        const struct elf_segment *segment = &loading->segment[i];
        if (segment->type == SEGMENT_LOAD && (segment->flags & SEGMENT_EXECUTE) &&
            loading->header.entry >= segment->vaddr &&
            loading->header.entry - segment->vaddr < segment->filesz)
            return true;
    }
    return false;
}

static int check_segments(struct loading *loading)
{
    for (unsigned i = 0; i < loading->header.phnum; i++) {
        const struct elf_segment *segment = &loading->segment[i];
        if (segment->type == SEGMENT_INTERP)
            return refuse(loading, K_EINVAL, "it is linked dynamically");
        if (segment->type != SEGMENT_LOAD || segment->memsz == 0)
            continue;
        int status = check_load_segment(loading, i);
        if (status != K_OK)
            return status;
    }
    if (loading->top == 0)
        return refuse(loading, K_EINVAL, "nothing in it is to be loaded");
    if (!entry_is_code(loading))
        return refuse(loading, K_EINVAL, "its entry %lx is not in its code",
                      (unsigned long)loading->header.entry);
    const struct loader_image image = { .bytes = loading->program->image,
                                        .size = loading->program->image_size,
                                        .segment = loading->segment,
                                        .count = loading->header.phnum };
    return loader_check_actor(&image, loading->why, loading->why_size);
}

/* Found out before anything is made: a file that does not fit must not push out what others have in memory. */
static int check_memory(struct loading *loading)
{
    uint64_t needed = 0, available = vm_available();
    for (unsigned i = 0; i < loading->header.phnum; i++)
        if (loading->segment[i].type == SEGMENT_LOAD)
            needed += page_up(loading->segment[i].filesz) / PAGE_SIZE + 1;
    if (needed > available)
        return refuse(loading, K_ENOMEM, "it takes %lu KB of memory, and %lu KB are free",
                      (unsigned long)needed * 4, (unsigned long)available * 4);
    return K_OK;
}

static size_t arguments_size(const struct loader_program *program);

/* Programs of a supervisor actor lie in its area, others where Linux would put them. */
static int choose_places(struct loading *loading)
{
    vaddr_t bottom, top;
    host_space_range(loading->actor->host, &bottom, &top);
    bool supervisor = loading->actor->privilege == K_SUPACTOR;
    uint64_t size =
        loading->program->stack_size == 0 ? STACK_DEFAULT : page_up(loading->program->stack_size);
    size += page_up(arguments_size(loading->program));
    loading->stack_top = supervisor ? page_down(top) - PAGE_SIZE : STACK_TOP;
    loading->stack_bottom = loading->stack_top - size;
    if (loading->header.type == ELF_DYN)
        loading->base = (supervisor ? page_up(bottom) : PIE_BASE) - loading->bottom;
    uint64_t first = loading->base + loading->bottom, last = loading->base + loading->top;
    uint64_t lowest = supervisor || bottom > K_USERBOTTOM ? bottom : K_USERBOTTOM;
    if (first < lowest || last > loading->stack_bottom || size > IMAGE_SPAN_MAX)
        return refuse(loading, K_ESPACE, "it has no room at %lx..%lx", (unsigned long)first,
                      (unsigned long)last);
    return K_OK;
}

static unsigned protection_of(const struct elf_segment *segment)
{
    return (segment->flags & SEGMENT_READ ? K_READABLE : 0) |
           (segment->flags & SEGMENT_WRITE ? K_WRITABLE : 0) |
           (segment->flags & SEGMENT_EXECUTE ? K_EXECUTABLE : 0);
}

static int load_segment(struct loading *loading, const struct elf_segment *segment)
{
    uint64_t start = loading->base + segment->vaddr;
    KnRgnDesc region = { .startAddr = page_down(start),
                         .size = page_up(start + segment->memsz) - page_down(start),
                         .options = K_READABLE | K_WRITABLE };
    int status = vm_region_allocate(loading->actor, &region);
    if (status != K_OK)
        return refuse(loading, status, "no memory for it");
    if (segment->filesz > 0)
        status = vm_copy_out(NULL, loading->actor, start,
                             (const uint8_t *)loading->program->image + segment->offset,
                             segment->filesz);
    if (status != K_OK)
        return refuse(loading, status, "no memory for its bytes");
    region.options = protection_of(segment);
    status = vm_region_protect(loading->actor, &region);
    return status == K_OK ? K_OK : refuse(loading, status, "its protection was refused");
}

static int load_segments(struct loading *loading)
{
    for (unsigned i = 0; i < loading->header.phnum; i++) {
        const struct elf_segment *segment = &loading->segment[i];
        if (segment->type != SEGMENT_LOAD || segment->memsz == 0)
            continue;
        int status = load_segment(loading, segment);
        if (status != K_OK)
            return status;
    }
    return K_OK;
}

/* ---- the first stack ---- */

/* The top of the stack, built from its end downwards in a buffer. */
struct stack {
    uint8_t *bytes;
    size_t size;
    size_t used;  /* at the end of <bytes> */
    uint64_t top; /* the address of the end */
    bool overflow;
};

static uint64_t push(struct stack *stack, const void *bytes, size_t size)
{
    if (size > stack->size - stack->used) {
        stack->overflow = true;
        return 0;
    }
    stack->used += size;
    memcpy(stack->bytes + stack->size - stack->used, bytes, size);
    return stack->top - stack->used;
}

static uint64_t push_string(struct stack *stack, const char *text)
{
    return push(stack, text, strlen(text) + 1);
}

static void push_word(struct stack *stack, uint64_t word)
{
    push(stack, &word, sizeof word);
}

static void push_pair(struct stack *stack, uint64_t key, uint64_t value)
{
    push_word(stack, value);
    push_word(stack, key);
}

static size_t count_strings(const char *const *strings)
{
    size_t count = 0;
    while (strings != NULL && strings[count] != NULL)
        count++;
    return count;
}

#define STRINGS_MAX 4096

/* Room for strings, pointers to them, and the rest that a program finds. */
static size_t arguments_size(const struct loader_program *program)
{
    size_t size = 4096;
    for (size_t i = 0; program->argv != NULL && program->argv[i] != NULL; i++)
        size += strlen(program->argv[i]) + 1 + sizeof(uint64_t);
    for (size_t i = 0; program->envp != NULL && program->envp[i] != NULL; i++)
        size += strlen(program->envp[i]) + 1 + sizeof(uint64_t);
    return size;
}

/* Where the program finds its own program headers; 0: they are not loaded. */
static uint64_t headers_address(const struct loading *loading)
{
    uint64_t offset = loading->header.phoff;
    for (unsigned i = 0; i < loading->header.phnum; i++) {
        const struct elf_segment *segment = &loading->segment[i];
        if (segment->type == SEGMENT_LOAD && offset >= segment->offset &&
            offset - segment->offset < segment->filesz)
            return loading->base + segment->vaddr + (offset - segment->offset);
    }
    return 0;
}

static uint32_t hwcap(void)
{
    uint32_t eax = 1, ebx, ecx, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
    return edx;
}

static void push_auxiliary(struct loading *loading, struct stack *stack, uint64_t random,
                           uint64_t platform, uint64_t name)
{
    const KnProtId *pi = &loading->program->pi;
    push_pair(stack, AT_NULL, 0);
    push_pair(stack, AT_CHORUS_GATE, host_space_gate(loading->actor->host));
    push_pair(stack, AT_EXECFN, name);
    push_pair(stack, AT_PLATFORM, platform);
    push_pair(stack, AT_HWCAP2, HWCAP2_FSGSBASE);
    push_pair(stack, AT_RANDOM, random);
    push_pair(stack, AT_SECURE, 0);
    push_pair(stack, AT_EGID, pi->gid);
    push_pair(stack, AT_GID, pi->gid);
    push_pair(stack, AT_EUID, pi->uid);
    push_pair(stack, AT_UID, pi->uid);
    push_pair(stack, AT_ENTRY, loading->base + loading->header.entry);
    push_pair(stack, AT_FLAGS, 0);
    push_pair(stack, AT_BASE, 0);
    push_pair(stack, AT_PHNUM, loading->header.phnum);
    push_pair(stack, AT_PHENT, sizeof(struct elf_segment));
    push_pair(stack, AT_PHDR, headers_address(loading));
    push_pair(stack, AT_CLKTCK, 100);
    push_pair(stack, AT_PAGESZ, PAGE_SIZE);
    push_pair(stack, AT_HWCAP, hwcap());
}

static void push_pointers(struct stack *stack, const uint64_t *pointers, size_t count)
{
    push_word(stack, 0);
    while (count > 0)
        push_word(stack, pointers[--count]);
}

static int build_stack(struct loading *loading, uint64_t *ret_sp)
{
    uint64_t arguments[STRINGS_MAX], environment[STRINGS_MAX];
    const struct loader_program *program = loading->program;
    size_t argc = count_strings(program->argv), envc = count_strings(program->envp);
    if (argc > STRINGS_MAX || envc > STRINGS_MAX)
        return refuse(loading, K_ETOOMUCH, "too many arguments");
    uint8_t secret[16];
    random_bytes(secret, sizeof secret);
    struct stack stack = { .top = loading->stack_top, .size = arguments_size(program) };
    if (stack.size > ARGUMENTS_MAX)
        return refuse(loading, K_ETOOMUCH, "its arguments are too long");
    stack.bytes = malloc(stack.size);
    if (stack.bytes == NULL)
        return refuse(loading, K_ENOMEM, "no memory for its arguments");
    uint64_t name = push_string(&stack, program->name);
    uint64_t platform = push_string(&stack, "x86_64");
    uint64_t random = push(&stack, secret, sizeof secret);
    for (size_t i = 0; i < envc; i++)
        environment[i] = push_string(&stack, program->envp[i]);
    for (size_t i = 0; i < argc; i++)
        arguments[i] = push_string(&stack, program->argv[i]);
    /* What follows ends, at the lowest address, on a multiple of 16. */
    size_t words = 20 * 2 + (envc + 1) + (argc + 1) + 1;
    stack.used = (stack.used + 15) & ~(size_t)15;
    if (words % 2 != 0)
        push_word(&stack, 0);
    push_auxiliary(loading, &stack, random, platform, name);
    push_pointers(&stack, environment, envc);
    push_pointers(&stack, arguments, argc);
    push_word(&stack, argc);
    ASSERT(!stack.overflow);
    ASSERT((stack.top - stack.used) % 16 == 0);
    *ret_sp = stack.top - stack.used;
    int status = vm_copy_out(NULL, loading->actor, *ret_sp,
                             stack.bytes + stack.size - stack.used, stack.used);
    free(stack.bytes);
    return status == K_OK ? K_OK : refuse(loading, status, "no memory for its stack");
}

static int make_stack(struct loading *loading, uint64_t *ret_sp)
{
    KnRgnDesc region = { .startAddr = loading->stack_bottom,
                         .size = loading->stack_top - loading->stack_bottom,
                         .options = K_READABLE | K_WRITABLE };
    int status = vm_region_allocate(loading->actor, &region);
    if (status != K_OK)
        return refuse(loading, status, "no memory for its stack");
    return build_stack(loading, ret_sp);
}

static int start_thread(struct loading *loading, uint64_t sp)
{
    KnSched sched = { .schedClass = K_SCHED_RR,
                      .priority = loading->program->priority,
                      .slice = SCHED_SLICE_DEFAULT };
    struct thread *thread;
    int status = thread_create(loading->actor, &sched, &thread);
    if (status != K_OK)
        return refuse(loading, status, "no memory for its thread");
    memcpy(thread->name, loading->actor->name, sizeof thread->name);
    host_context_start(thread->context, loading->base + loading->header.entry, sp, 0, 0);
    thread_activate(thread);
    return K_OK;
}

static int load_into_actor(struct loading *loading)
{
    uint64_t sp = 0;
    int status = choose_places(loading);
    if (status == K_OK)
        status = load_segments(loading);
    if (status == K_OK)
        status = make_stack(loading, &sp);
    if (status == K_OK)
        status = start_thread(loading, sp);
    return status;
}

int loader_start(const struct loader_program *program, struct actor **ret_actor, char *why,
                 size_t why_size)
{
    struct loading loading = { .program = program, .why = why, .why_size = why_size };
    int status = check_header(&loading);
    if (status == K_OK)
        status = check_segments(&loading);
    if (status == K_OK)
        status = check_memory(&loading);
    if (status != K_OK)
        return status;
    status = actor_create(NULL, program->privilege, &loading.actor);
    if (status != K_OK)
        return refuse(&loading, status, "the actor could not be made");
    snprintf(loading.actor->name, sizeof loading.actor->name, "%s", program->name);
    loading.actor->pi = program->pi;
    loading.actor->default_port->pi = program->pi;
    status = load_into_actor(&loading);
    if (status != K_OK) {
        actor_kill(loading.actor, K_OK, NULL);
        return status;
    }
    if (program->ret_base != NULL)
        *program->ret_base = loading.base;
    *ret_actor = loading.actor;
    return K_OK;
}
