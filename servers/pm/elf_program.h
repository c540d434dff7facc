/* elf_program.h: what an ELF file says of itself, checked. */
#ifndef PM_ELF_H
#define PM_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_LOADS_MAX 64
#define ELF_HEADERS_MAX 128

struct elf_load {
    uint64_t address, offset, file_size, memory_size; /* as in the file, not rounded */
    unsigned protection; /* PROT_ */
};

struct elf_program {
    bool fixed;          /* ET_EXEC: the addresses are what they say */
    uint64_t entry;
    uint64_t low, high;  /* all of its memory, page-aligned */
    uint64_t headers;    /* address of the program headers in memory; 0: they are not loaded */
    unsigned header_count;
    struct elf_load loads[ELF_LOADS_MAX];
    unsigned load_count;
    char interpreter[256]; /* empty: none */
    bool executable_stack;
};

/* Reads <size> bytes at <offset>; how many there were, or an error of Linux. */
typedef int64_t elf_reader(void *file, uint64_t offset, void *buffer, size_t size);

/* Read and check all that is needed to run it. -ENOEXEC: it is no program for us, or it lies. */
int elf_read(elf_reader *read, void *file, uint64_t file_size, struct elf_program *ret_program);

#endif
