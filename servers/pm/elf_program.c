/* Reading ELF headers. Nothing of the file is believed: every number is checked against the file's size, the
 * address space and its neighbours before anything is mapped. */

#include "elf_program.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096u
#define ADDRESS_LOWEST 0x20000ull         /* below, no region can be */
#define ADDRESS_HIGHEST 0x7e0000000000ull /* above are stacks and mappings */

static bool is_our_kind(const Elf64_Ehdr *header)
{
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
           header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB &&
           header->e_ident[EI_VERSION] == EV_CURRENT && header->e_machine == EM_X86_64 &&
           (header->e_type == ET_EXEC || header->e_type == ET_DYN) &&
           header->e_phentsize == sizeof(Elf64_Phdr) && header->e_phnum >= 1 &&
           header->e_phnum <= ELF_HEADERS_MAX;
}

static bool is_inside(uint64_t offset, uint64_t size, uint64_t whole)
{
    return offset <= whole && size <= whole - offset;
}

/* Pages that two segments claim are the later one's, as under Linux. False: the later one begins below. */
static bool cut_earlier(struct elf_program *program, uint64_t from)
{
    for (unsigned i = 0; i < program->load_count; i++) {
        struct elf_load *load = &program->loads[i];
        if (load->address + load->memory_size <= from)
            continue;
        if (load->address >= from)
            return false;
        load->memory_size = from - load->address;
        if (load->file_size > load->memory_size)
            load->file_size = load->memory_size;
    }
    return true;
}

static int add_load(struct elf_program *program, const Elf64_Phdr *header, uint64_t file_size)
{
    uint64_t lowest = program->fixed ? ADDRESS_LOWEST : 0;
    if (header->p_memsz == 0)
        return 0;
    if (program->load_count == ELF_LOADS_MAX || header->p_filesz > header->p_memsz ||
        !is_inside(header->p_offset, header->p_filesz, file_size) ||
        header->p_vaddr % PAGE != header->p_offset % PAGE || header->p_vaddr < lowest ||
        !is_inside(header->p_vaddr, header->p_memsz, ADDRESS_HIGHEST))
        return -ENOEXEC;
    if (!cut_earlier(program, header->p_vaddr / PAGE * PAGE))
        return -ENOEXEC; /* out of order */
    program->loads[program->load_count++] = (struct elf_load){
        .address = header->p_vaddr, .offset = header->p_offset, .file_size = header->p_filesz,
        .memory_size = header->p_memsz,
        .protection = (header->p_flags & PF_R ? PROT_READ : 0u) |
                      (header->p_flags & PF_W ? PROT_WRITE : 0u) |
                      (header->p_flags & PF_X ? PROT_EXEC : 0u),
    };
    if (program->load_count == 1)
        program->low = header->p_vaddr / PAGE * PAGE;
    uint64_t high = (header->p_vaddr + header->p_memsz + PAGE - 1) / PAGE * PAGE;
    program->high = high > program->high ? high : program->high;
    return 0;
}

static int read_interpreter(elf_reader *read, void *file, const Elf64_Phdr *header,
                            uint64_t file_size, struct elf_program *program)
{
    size_t size = header->p_filesz;
    if (program->interpreter[0] != '\0' || size < 2 || size > sizeof program->interpreter ||
        !is_inside(header->p_offset, size, file_size))
        return -ENOEXEC;
    int64_t got = read(file, header->p_offset, program->interpreter, size);
    if (got < 0)
        return (int)got;
    return (size_t)got != size || program->interpreter[size - 1] != '\0' ||
                   strlen(program->interpreter) != size - 1
               ? -ENOEXEC
               : 0;
}

static int take_header(elf_reader *read, void *file, const Elf64_Phdr *header, uint64_t file_size,
                       struct elf_program *program)
{
    switch (header->p_type) {
    case PT_LOAD: return add_load(program, header, file_size);
    case PT_INTERP: return read_interpreter(read, file, header, file_size, program);
    case PT_GNU_STACK: program->executable_stack = header->p_flags & PF_X; return 0;
    default: return 0;
    }
}

/* Where the program headers come to lie, which the program is told. */
static void find_headers(const Elf64_Ehdr *header, struct elf_program *program)
{
    uint64_t size = (uint64_t)header->e_phnum * sizeof(Elf64_Phdr);
    for (unsigned i = 0; i < program->load_count; i++) {
        const struct elf_load *load = &program->loads[i];
        if (header->e_phoff >= load->offset &&
            is_inside(header->e_phoff - load->offset, size, load->file_size))
            program->headers = load->address + (header->e_phoff - load->offset);
    }
}

int elf_read(elf_reader *read, void *file, uint64_t file_size, struct elf_program *program)
{
    Elf64_Ehdr header;
    Elf64_Phdr headers[ELF_HEADERS_MAX];
    memset(program, 0, sizeof *program);
    int64_t got = read(file, 0, &header, sizeof header);
    if (got < 0)
        return (int)got;
    if (got != sizeof header || !is_our_kind(&header))
        return -ENOEXEC;
    size_t size = header.e_phnum * sizeof(Elf64_Phdr);
    if (!is_inside(header.e_phoff, size, file_size))
        return -ENOEXEC;
    got = read(file, header.e_phoff, headers, size);
    if (got < 0)
        return (int)got;
    if ((size_t)got != size)
        return -ENOEXEC;
    program->fixed = header.e_type == ET_EXEC;
    program->entry = header.e_entry;
    program->header_count = header.e_phnum;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        int error = take_header(read, file, &headers[i], file_size, program);
        if (error != 0)
            return error;
    }
    if (program->load_count == 0 || program->entry >= ADDRESS_HIGHEST)
        return -ENOEXEC;
    find_headers(&header, program);
    return 0;
}
