/* The loader of boot actors: programs that lie, and one that does not. */
#include "site.h"

#include <exec/chNote.h>
#include <string.h>
#include "elf64.h"

TestSuite(loader, .init = site_start, .fini = site_end);

#define IMAGE 20000
#define NOTE 600
#define DYNAMIC 700 /* its words: DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, and the end */
#define STRINGS 900
#define SYMBOLS 1000
#define RELOCATIONS 1100
/* A good actor: code at 0, data at 0x3000 with a tail of zeros, libchorus's note, one relocation of a symbol. Each test breaks one thing. */
static struct {
    union {
        uint8_t bytes[IMAGE];
        struct {
            struct elf_header header;
            struct elf_segment segment[5];
        };
    };
} image;

static uint32_t *note_word(unsigned index)
{
    return (uint32_t *)(image.bytes + NOTE) + index;
}

static struct elf_dynamic *dynamic(unsigned index)
{
    return (struct elf_dynamic *)(void *)(image.bytes + DYNAMIC + 4) + index;
}

static struct elf_symbol *symbol(void)
{
    return (struct elf_symbol *)(void *)(image.bytes + SYMBOLS) + 1;
}

static void build_note(void)
{
    const uint32_t head[3] = { sizeof K_NOTE_NAME, 4, K_NOTE_ACTOR }, version = K_NOTE_VERSION;
    memcpy(note_word(0), head, sizeof head);
    memcpy(note_word(3), K_NOTE_NAME "\0", 8);
    memcpy(note_word(5), &version, sizeof version);
    image.segment[2] = (struct elf_segment){ .type = SEGMENT_NOTE, .offset = NOTE, .vaddr = NOTE, .filesz = 24, .memsz = 24 };
}

static void build_symbols(void)
{
    const struct elf_dynamic words[] = { { DYNAMIC_STRINGS, STRINGS }, { DYNAMIC_SYMBOLS, SYMBOLS }, { DYNAMIC_RELOCATIONS, RELOCATIONS },
                                         { DYNAMIC_RELOCATIONS_SIZE, sizeof(struct elf_relocation) }, { DYNAMIC_END, 0 } };
    const struct elf_relocation relocation = { .offset = 0x3010, .info = (1ull << 32) + 6 };
    memcpy(dynamic(0), words, sizeof words);
    strcpy((char *)image.bytes + STRINGS + 1, "wanted");
    *symbol() = (struct elf_symbol){ .name = 1, .info = 1 << 4, .section = 5, .value = 0x1100 };
    memcpy(image.bytes + RELOCATIONS, &relocation, sizeof relocation);
    image.segment[3] = (struct elf_segment){ .type = SEGMENT_DYNAMIC, .offset = DYNAMIC + 4, .vaddr = DYNAMIC + 4, .filesz = sizeof words,
                                             .memsz = sizeof words };
}

static void build(void)
{
    memset(&image, 0, sizeof image);
    for (size_t i = 4096; i < IMAGE; i++)
        image.bytes[i] = (uint8_t)(i * 3);
    image.header = (struct elf_header){ .ident = { 0x7f, 'E', 'L', 'F', 2, 1, 1 },
                                    .type = 3,
                                    .machine = 62,
                                    .version = 1,
                                    .entry = 0x1100,
                                    .phoff = 64,
                                    .ehsize = 64,
                                    .phentsize = 56,
                                    .phnum = 4 };
    image.segment[0] = (struct elf_segment){
        .type = 1, .flags = 5, .offset = 0, .vaddr = 0, .filesz = 8192, .memsz = 8192, .align = 4096
    };
    image.segment[1] = (struct elf_segment){ .type = 1,
                                         .flags = 6,
                                         .offset = 12288 + 16,
                                         .vaddr = 0x3010,
                                         .filesz = 100,
                                         .memsz = 9000,
                                         .align = 4096 };
    build_note();
    build_symbols();
}

static char why[128];

static int start_sized(size_t size, int privilege, struct actor **ret_actor)
{
    static const char *const argv[] = { "prog", "one", "two", NULL }, *const envp[] = { "A=b",
                                                                                        NULL };
    struct loader_program program = { .name = "prog",
                                      .image = &image,
                                      .image_size = size,
                                      .argv = argv,
                                      .envp = envp,
                                      .privilege = privilege,
                                      .pi = { .uid = 5, .gid = 6 },
                                      .priority = K_PRIO_SERVER };
    why[0] = 0;
    int status = loader_start(&program, ret_actor, why, sizeof why);
    sched_run(-1);
    settle();
    return status;
}

static int start(struct actor **ret_actor)
{
    return start_sized(IMAGE, K_USERACTOR, ret_actor);
}

#define REFUSED(change, words)                                                                     \
    do {                                                                                           \
        struct actor *none;                                                                        \
        build();                                                                                   \
        change;                                                                                    \
        cr_assert_lt(start(&none), 0, "%s", #change);                                              \
        cr_assert(strstr(why, words) != NULL, "%s: %s", #change, why);                             \
        cr_assert_eq(actor_count(), 0);                                                            \
    } while (0)

Test(loader, a_program_that_lies_is_refused_with_the_reason)
{
    struct actor *none;
    build();
    cr_assert_eq(start_sized(0, K_USERACTOR, &none), K_EINVAL);
    cr_assert_eq(start_sized(63, K_USERACTOR, &none), K_EINVAL);
    cr_assert(strstr(why, "too short") != NULL);
    cr_assert_eq(start_sized(100, K_USERACTOR, &none), K_EINVAL);
    cr_assert_eq(start_sized(8000, K_USERACTOR, &none), K_EINVAL);
    REFUSED(image.header.ident[0] = 0, "not a 64-bit");
    REFUSED(image.header.ident[4] = 1, "not a 64-bit");
    REFUSED(image.header.ident[5] = 2, "not a 64-bit");
    REFUSED(image.header.machine = 40, "machine 40");
    REFUSED(image.header.type = 1, "not a program");
    REFUSED(image.header.phentsize = 55, "headers of 55");
    REFUSED(image.header.phnum = 0, "0 program headers");
    REFUSED(image.header.phnum = 65535, "65535 program headers");
    REFUSED(image.header.phoff = IMAGE - 50, "outside the file");
    REFUSED(image.header.phoff = UINT64_MAX - 10, "outside the file");
    REFUSED(image.segment[0].offset = UINT64_MAX - 4095, "outside the file");
    REFUSED(image.segment[1].filesz = IMAGE, "more bytes in the file");
    REFUSED((image.segment[1].filesz = IMAGE, image.segment[1].memsz = IMAGE), "outside the file");
    REFUSED(image.segment[1].memsz = UINT64_MAX, "cannot be");
    REFUSED(image.segment[1].vaddr = UINT64_MAX - 0xfef, "cannot be");
    REFUSED(image.segment[1].vaddr = 0x3020, "do not match");
    REFUSED(image.segment[1].vaddr = 0x1010, "overlaps");
    REFUSED(image.segment[1].vaddr = (1ull << 33) + 16, "too large");
    REFUSED(image.segment[1].type = 3, "dynamically");
    REFUSED((image.segment[0].type = 6, image.segment[1].type = 6), "nothing");
    REFUSED(image.header.entry = 0x5000, "not in its code");
    REFUSED(image.header.entry = UINT64_MAX, "not in its code");
    REFUSED(image.segment[0].flags = 4, "not in its code");
    REFUSED(image.header.type = 2, "no room");
}

Test(loader, a_program_that_is_no_actor_is_refused)
{
    REFUSED(image.segment[2].type = 0, "no actor");
    REFUSED(image.segment[2].offset = UINT64_MAX, "no actor");
    REFUSED(image.segment[2].filesz = UINT64_MAX, "no actor");
    REFUSED(image.segment[2].filesz = 23, "no actor");
    REFUSED(*note_word(0) = UINT32_MAX, "no actor");
    REFUSED(*note_word(1) = UINT32_MAX, "no actor");
    REFUSED(*note_word(2) = 7, "no actor");
    REFUSED(*note_word(3) = 7, "no actor");
    REFUSED(*note_word(5) = K_NOTE_VERSION + 1, "another version");
}

Test(loader, a_program_that_lacks_something_is_refused)
{
    REFUSED(dynamic(3)->tag = DYNAMIC_NEEDED, "dynamically");
    REFUSED(symbol()->section = 0, "the symbol wanted is missing");
    REFUSED((symbol()->section = 0, symbol()->name = UINT32_MAX), "the symbol  is missing");
    REFUSED(dynamic(1)->value = 0x800000, "symbols lies");
    REFUSED(dynamic(2)->value = 0x800000, "relocations lie");
    REFUSED(dynamic(3)->value = UINT64_MAX - 3, "relocations lie");
    struct actor *actor;
    build();
    symbol()->section = 0;
    symbol()->info = SYMBOL_WEAK << 4;
    cr_assert_eq(start(&actor), K_OK, "a weak one may be missing: %s", why);
}

Test(loader, a_program_that_does_not_fit_is_refused_before_anything_is_made)
{
    uint64_t frames, free_frames, cached;
    struct actor *none, *hog = actor_new(K_USERACTOR);
    vm_counts(&frames, &free_frames, &cached);
    KnRgnDesc region = { .startAddr = 0x20000000, .size = (free_frames - 2) * 4096, .options = K_READABLE | K_WRITABLE };
    int status = vm_region_allocate(hog, &region);
    cr_assert_eq(status, K_OK, "%d, %lu frames", status, (unsigned long)free_frames);
    for (uint64_t i = 0; i < free_frames - 2; i++)
        if (vm_copy_out(NULL, hog, region.startAddr + i * 4096, "x", 1) != K_OK)
            break;
    build();
    status = start(&none);
    vm_counts(&frames, &free_frames, &cached);
    cr_assert_eq(status, K_ENOMEM, "%d: %s, %lu frames free, %lu cached", status, why, (unsigned long)free_frames, (unsigned long)cached);
    cr_assert(strstr(why, "of memory") != NULL, "%s", why);
    cr_assert_eq(actor_count(), 1);
}

static uint64_t word_at(struct actor *actor, uint64_t address)
{
    uint64_t word;
    get(actor, address, &word, sizeof word);
    return word;
}

static void string_at(struct actor *actor, uint64_t address, char text[16])
{
    get(actor, address, text, 16);
    text[15] = 0;
}

static uint64_t auxiliary(struct actor *actor, uint64_t at, uint64_t key)
{
    for (; word_at(actor, at) != 0; at += 16)
        if (word_at(actor, at) == key)
            return word_at(actor, at + 8);
    return UINT64_MAX;
}

Test(loader, a_program_finds_its_bytes_its_arguments_and_its_vector)
{
    struct actor *actor;
    build();
    cr_assert_eq(start(&actor), K_OK, "%s", why);
    struct thread *thread = LIST_OWNER(actor->threads.next, struct thread, of_actor);
    const KnThreadCtx *context = &thread->context->registers;
    uint64_t base = context->rip - 0x1100, sp = context->rsp;
    char text[16];
    cr_assert_eq(base % 4096, 0);
    cr_assert_eq(sp % 16, 0);
    uint8_t bytes[100];
    get(actor, base + 0x3010, bytes, 100);
    cr_assert_arr_eq(bytes, image.bytes + 12288 + 16, 100);
    cr_assert_eq(word_at(actor, base + 0x3010 + 104), 0, "the tail is zero");
    cr_assert_eq(vm_copy_out(NULL, actor, base + 0x100, bytes, 1), K_EFAULT,
                 "code is not writable");
    cr_assert_eq(word_at(actor, sp), 3);
    string_at(actor, word_at(actor, sp + 8), text);
    cr_assert_eq(strncmp(text, "prog", 5), 0);
    string_at(actor, word_at(actor, sp + 24), text);
    cr_assert_eq(strncmp(text, "two", 4), 0);
    cr_assert_eq(word_at(actor, sp + 32), 0);
    string_at(actor, word_at(actor, sp + 40), text);
    cr_assert_eq(strncmp(text, "A=b", 4), 0);
    cr_assert_eq(word_at(actor, sp + 48), 0);
    uint64_t vector = sp + 56;
    cr_assert_eq(auxiliary(actor, vector, AT_CHORUS_GATE), host_space_gate(actor->host));
    cr_assert_eq(auxiliary(actor, vector, 3), base + 64); /* AT_PHDR */
    cr_assert_eq(auxiliary(actor, vector, 5), 4);         /* AT_PHNUM */
    cr_assert_eq(auxiliary(actor, vector, 6), 4096);      /* AT_PAGESZ */
    cr_assert_eq(auxiliary(actor, vector, 9), base + 0x1100);
    cr_assert_eq(auxiliary(actor, vector, 11), 5); /* AT_UID */
    cr_assert_eq(auxiliary(actor, vector, 14), 6); /* AT_EGID */
    cr_assert_eq(auxiliary(actor, vector, 26), 2); /* AT_HWCAP2 */
    cr_assert_eq(auxiliary(actor, vector, 33), UINT64_MAX, "no vDSO");
    uint64_t random = auxiliary(actor, vector, 25);
    cr_assert_neq(word_at(actor, random), 0);
    cr_assert_geq(fake_host_cpu_of(thread), 0);
    cr_assert_eq(DO(thread, sysNull), K_OK);
}

Test(loader, the_same_program_runs_as_a_supervisor_actor)
{
    struct actor *actor;
    build();
    cr_assert_eq(start_sized(IMAGE, K_SUPACTOR, &actor), K_OK, "%s", why);
    struct thread *thread = LIST_OWNER(actor->threads.next, struct thread, of_actor);
    vaddr_t bottom, top;
    host_space_range(actor->host, &bottom, &top);
    cr_assert(thread->context->registers.rip >= bottom && thread->context->registers.rsp < top);
    cr_assert_eq(word_at(actor, thread->context->registers.rsp), 3);
}

Test(loader, arguments_that_are_too_long_are_refused)
{
    static char large[1 << 20];
    memset(large, 'x', sizeof large - 1);
    const char *argv[] = { large, NULL };
    build();
    struct loader_program program = {
        .name = "p", .image = &image, .image_size = IMAGE, .argv = argv, .priority = 64
    };
    struct actor *actor;
    cr_assert_eq(loader_start(&program, &actor, why, sizeof why), K_ETOOMUCH);
    cr_assert(strstr(why, "too long") != NULL);
}
