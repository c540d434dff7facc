/* ELF headers: lies first. */

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "elf_program.h"

struct image {
    union {
        uint8_t bytes[0x4000];
        struct {
            Elf64_Ehdr header;
            Elf64_Phdr programs[4];
        };
    };
    size_t size;
};

static int64_t read_image(void *file, uint64_t offset, void *buffer, size_t size)
{
    struct image *image = file;
    if (offset >= image->size)
        return 0;
    size = size < image->size - offset ? size : image->size - offset;
    memcpy(buffer, image->bytes + offset, size);
    return (int64_t)size;
}

/* A program with text and data, as good as any. */
static struct image good(void)
{
    struct image image;
    memset(&image, 0, sizeof image);
    image.size = sizeof image.bytes;
    memcpy(image.header.e_ident, ELFMAG, SELFMAG);
    image.header.e_ident[EI_CLASS] = ELFCLASS64;
    image.header.e_ident[EI_DATA] = ELFDATA2LSB;
    image.header.e_ident[EI_VERSION] = EV_CURRENT;
    image.header.e_type = ET_EXEC;
    image.header.e_machine = EM_X86_64;
    image.header.e_entry = 0x400100;
    image.header.e_phoff = sizeof image.header;
    image.header.e_phentsize = sizeof(Elf64_Phdr);
    image.header.e_phnum = 2;
    image.programs[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_X,
                                      .p_vaddr = 0x400000, .p_filesz = 0x1800,
                                      .p_memsz = 0x1800 };
    image.programs[1] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_W,
                                      .p_offset = 0x2010, .p_vaddr = 0x403010,
                                      .p_filesz = 0x100, .p_memsz = 0x5000 };
    return image;
}

static int check(struct image *image, struct elf_program *program)
{
    return elf_read(read_image, image, image->size, program);
}

#define REFUSED(change)                                                                        \
    do {                                                                                       \
        struct image image = good();                                                           \
        struct elf_program program;                                                            \
        change;                                                                                \
        cr_expect_eq(check(&image, &program), -ENOEXEC, "%s", #change);                        \
    } while (0)

Test(elf, what_is_no_program_of_ours_is_refused)
{
    REFUSED(image.size = 0);
    REFUSED(image.size = 63);
    REFUSED(image.header.e_ident[0] = 'E');
    REFUSED(image.header.e_ident[EI_CLASS] = ELFCLASS32);
    REFUSED(image.header.e_ident[EI_DATA] = ELFDATA2MSB);
    REFUSED(image.header.e_machine = EM_AARCH64);
    REFUSED(image.header.e_type = ET_REL);
    REFUSED(image.header.e_type = ET_CORE);
}

Test(elf, headers_that_lie_are_refused)
{
    REFUSED(image.header.e_phnum = 0);
    REFUSED(image.header.e_phnum = 0xffff);
    REFUSED(image.header.e_phentsize = 32);
    REFUSED(image.header.e_phoff = UINT64_MAX - 10);
    REFUSED(image.header.e_phoff = image.size - 8);
    REFUSED(image.programs[0].p_type = PT_NULL; image.programs[1].p_type = PT_NULL);
}

Test(elf, segments_that_lie_are_refused)
{
    REFUSED(image.programs[0].p_filesz = 0x2000; image.programs[0].p_memsz = 0x1000);
    REFUSED(image.programs[0].p_offset = image.size);
    REFUSED(image.programs[0].p_filesz = UINT64_MAX; image.programs[0].p_memsz = UINT64_MAX);
    REFUSED(image.programs[0].p_offset = 8);
    REFUSED(image.programs[0].p_vaddr = 0);
    REFUSED(image.programs[0].p_vaddr = 0xffffffffff600000);
    REFUSED(image.programs[1].p_memsz = UINT64_MAX - 0x403010);
    REFUSED(image.programs[1].p_vaddr = 0x3ff010); /* out of order */
}

Test(elf, interpreters_that_lie_are_refused)
{
    REFUSED(image.header.e_phnum = 3; image.programs[2].p_type = PT_INTERP;
            image.programs[2].p_filesz = 1);
    REFUSED(image.header.e_phnum = 3; image.programs[2].p_type = PT_INTERP;
            image.programs[2].p_filesz = 4000);
    REFUSED(image.header.e_phnum = 3; image.programs[2].p_type = PT_INTERP;
            image.programs[2].p_offset = 0x1000; image.programs[2].p_filesz = 4;
            memcpy(image.bytes + 0x1000, "/lib", 4));
}

Test(elf, a_good_program_is_described)
{
    struct image image = good();
    struct elf_program program;
    cr_assert_eq(check(&image, &program), 0);
    cr_expect(program.fixed);
    cr_expect_eq(program.entry, 0x400100);
    cr_expect_eq(program.load_count, 2);
    cr_expect_eq(program.low, 0x400000);
    cr_expect_eq(program.high, 0x409000);
    cr_expect_eq(program.headers, 0x400000 + sizeof(Elf64_Ehdr));
    cr_expect_eq(program.loads[1].protection, PROT_READ | PROT_WRITE);
    cr_expect_eq(program.interpreter[0], '\0');
}

Test(elf, of_two_segments_that_overlap_the_later_has_the_pages)
{
    struct image image = good();
    struct elf_program program;
    image.programs[0].p_memsz = 0x10000;
    cr_assert_eq(check(&image, &program), 0);
    cr_expect_eq(program.loads[0].memory_size, 0x3000);
    cr_expect_eq(program.loads[1].memory_size, 0x5000);
}
