/* elf64.h: the parts of ELF that the loader needs, from its specification. */
#ifndef NUCLEUS_ELF64_H
#define NUCLEUS_ELF64_H

#include <stdint.h>

struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct elf_segment {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};
struct elf_note {
    uint32_t name_size, size, type;
};
struct elf_dynamic {
    uint64_t tag, value;
};
struct elf_symbol {
    uint32_t name;
    uint8_t info, other;
    uint16_t section;
    uint64_t value, size;
};
struct elf_relocation {
    uint64_t offset, info, addend;
};
_Static_assert(sizeof(struct elf_header) == 64 && sizeof(struct elf_segment) == 56, "ELF64");
_Static_assert(sizeof(struct elf_symbol) == 24 && sizeof(struct elf_relocation) == 24, "ELF64");

enum { ELF_EXEC = 2, ELF_DYN = 3, ELF_X86_64 = 62 };
enum { SEGMENT_LOAD = 1, SEGMENT_DYNAMIC = 2, SEGMENT_INTERP = 3, SEGMENT_NOTE = 4, SEGMENT_PHDR = 6 };
enum { SEGMENT_EXECUTE = 1, SEGMENT_WRITE = 2, SEGMENT_READ = 4 };
enum { DYNAMIC_END = 0, DYNAMIC_NEEDED = 1, DYNAMIC_PLT_SIZE = 2, DYNAMIC_STRINGS = 5, DYNAMIC_SYMBOLS = 6,
       DYNAMIC_RELOCATIONS = 7, DYNAMIC_RELOCATIONS_SIZE = 8, DYNAMIC_PLT = 23 };
enum { SYMBOL_WEAK = 2 }; /* upper half of <info> */

#endif
