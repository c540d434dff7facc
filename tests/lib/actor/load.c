/* load.c: load an actor's file, and build the stack that it starts with. */
#include "host.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_SIZE (1024 * 1024)
#define PAGE_DOWN(x) ((x) & ~4095ull)
#define PAGE_UP(x) PAGE_DOWN((x) + 4095)

uint64_t actor_area_take(uint64_t size)
{
    static uint64_t next = ACTOR_AREA + 0x1000000000ull; /* below: room for the image's heap */
    return __atomic_fetch_add(&next, PAGE_UP(size) + 4096, __ATOMIC_RELAXED);
}

static bool segment_load(int file, const Elf64_Phdr *segment, uint64_t base)
{
    uint64_t from = PAGE_DOWN(segment->p_vaddr), to = PAGE_UP(segment->p_vaddr + segment->p_memsz);
    if (mmap((void *)(base + from), to - from, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
        return false;
    if (pread(file, (void *)(base + segment->p_vaddr), segment->p_filesz, (off_t)segment->p_offset) !=
        (ssize_t)segment->p_filesz)
        return false;
    int protection = (segment->p_flags & PF_R ? PROT_READ : 0) |
                     (segment->p_flags & PF_W ? PROT_WRITE : 0) |
                     (segment->p_flags & PF_X ? PROT_EXEC : 0);
    return mprotect((void *)(base + from), to - from, protection) == 0;
}

static uint64_t stack_build(const Elf64_Ehdr *header, uint64_t base, const char *path, uint64_t gate)
{
    char *bottom = mmap((void *)actor_area_take(STACK_SIZE), STACK_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (bottom == MAP_FAILED)
        return 0;
    char *random = bottom + STACK_SIZE - 16, *name = random - 256;
    memcpy(random, "0123456789abcdef", 16);
    strncpy(name, path, 255);
    const uint64_t words[] = {
        1, (uint64_t)name, 0, /* argc, argv */
        0,                    /* no environment */
        AT_PHDR, base + header->e_phoff, AT_PHENT, header->e_phentsize, AT_PHNUM, header->e_phnum,
        AT_PAGESZ, 4096, AT_BASE, 0, AT_ENTRY, base + header->e_entry, AT_UID, 0, AT_EUID, 0, AT_GID, 0,
        AT_EGID, 0, AT_SECURE, 0, AT_RANDOM, (uint64_t)random, AT_HWCAP, getauxval(AT_HWCAP),
        AT_MINSIGSTKSZ, getauxval(AT_MINSIGSTKSZ), 0x43484f52, gate, AT_NULL, 0,
    };
    uint64_t stack = ((uint64_t)name - sizeof words) & ~15ull;
    memcpy((void *)stack, words, sizeof words);
    return stack;
}

bool actor_load(const char *path, uint64_t gate, KnThreadStart *start)
{
    Elf64_Ehdr header;
    Elf64_Phdr segments[16];
    uint64_t base = ACTOR_AREA;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || read(file, &header, sizeof header) != sizeof header ||
        header.e_type != ET_DYN || header.e_phnum > 16 ||
        pread(file, segments, sizeof *segments * header.e_phnum, (off_t)header.e_phoff) < 0)
        return false;
    for (unsigned i = 0; i < header.e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && !segment_load(file, &segments[i], base))
            return false;
    close(file);
    memset(start, 0, sizeof *start);
    start->entry = base + header.e_entry;
    start->stack = stack_build(&header, base, path, gate);
    return start->stack != 0;
}
