/* Is an ELF file an actor, and whole? See loader_check.h.
 *
 * An actor relocates itself, before anything else of it runs: a symbol that is missing would be a jump into nothing, so it is looked
 * for here. Every number of the file is checked before it is used. */
#include "loader_check.h"

#include <chorus.h>
#include <exec/chNote.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int refuse(char *why, size_t why_size, const char *words, const char *detail)
{
    snprintf(why, why_size, words, detail);
    return K_EINVAL;
}

/* ---- the note ---- */

static uint64_t round_up(uint64_t size)
{
    return (size + 3) & ~3ull;
}

/* The version in libchorus's note, if it is in this segment; 0: it is not. */
static uint32_t note_version(const struct loader_image *image, const struct elf_segment *segment)
{
    uint64_t at = segment->offset;
    if (at > image->size || segment->filesz > image->size - at)
        return 0;
    uint64_t end = at + segment->filesz;
    struct elf_note note;
    while (end - at >= sizeof note) {
        memcpy(&note, image->bytes + at, sizeof note);
        at += sizeof note;
        uint64_t size = round_up(note.name_size) + round_up(note.size);
        if (size > end - at)
            return 0;
        const uint8_t *name = image->bytes + at;
        uint32_t version;
        if (note.name_size == sizeof K_NOTE_NAME && memcmp(name, K_NOTE_NAME, sizeof K_NOTE_NAME) == 0 &&
            note.type == K_NOTE_ACTOR && note.size == sizeof version) {
            memcpy(&version, name + round_up(note.name_size), sizeof version);
            return version;
        }
        at += size;
    }
    return 0;
}

static int check_note(const struct loader_image *image, char *why, size_t why_size)
{
    uint32_t version = 0;
    for (unsigned i = 0; i < image->count && version == 0; i++)
        if (image->segment[i].type == SEGMENT_NOTE)
            version = note_version(image, &image->segment[i]);
    if (version == 0)
        return refuse(why, why_size, "it is no actor: it was linked without libchorus%s", "");
    if (version != K_NOTE_VERSION)
        return refuse(why, why_size, "it was built for another version of Chorus%s", "");
    return K_OK;
}

/* ---- symbols ---- */

/* The bytes at [address, address + size) of the loaded program, as they are in the file; NULL: not there. */
static const void *bytes_at(const struct loader_image *image, uint64_t address, uint64_t size)
{
    for (unsigned i = 0; i < image->count; i++) {
        const struct elf_segment *segment = &image->segment[i];
        if (segment->type != SEGMENT_LOAD || address < segment->vaddr)
            continue;
        uint64_t offset = address - segment->vaddr;
        if (offset <= segment->filesz && size <= segment->filesz - offset)
            return image->bytes + segment->offset + offset;
    }
    return NULL;
}

struct dynamic {
    bool needs_library;
    uint64_t strings, symbols;
    struct {
        uint64_t address, size;
    } relocations[2]; /* data's, and the procedure linkage table's */
};

static void dynamic_take(struct dynamic *dynamic, const struct elf_dynamic *entry)
{
    switch (entry->tag) {
    case DYNAMIC_NEEDED: dynamic->needs_library = true; break;
    case DYNAMIC_STRINGS: dynamic->strings = entry->value; break;
    case DYNAMIC_SYMBOLS: dynamic->symbols = entry->value; break;
    case DYNAMIC_RELOCATIONS: dynamic->relocations[0].address = entry->value; break;
    case DYNAMIC_RELOCATIONS_SIZE: dynamic->relocations[0].size = entry->value; break;
    case DYNAMIC_PLT: dynamic->relocations[1].address = entry->value; break;
    case DYNAMIC_PLT_SIZE: dynamic->relocations[1].size = entry->value; break;
    }
}

static void dynamic_read(const struct loader_image *image, struct dynamic *dynamic)
{
    for (unsigned i = 0; i < image->count; i++) {
        const struct elf_segment *segment = &image->segment[i];
        struct elf_dynamic entry;
        if (segment->type != SEGMENT_DYNAMIC)
            continue;
        for (uint64_t at = 0; at + sizeof entry <= segment->filesz; at += sizeof entry) {
            const void *bytes = bytes_at(image, segment->vaddr + at, sizeof entry);
            if (bytes == NULL)
                return;
            memcpy(&entry, bytes, sizeof entry);
            if (entry.tag == DYNAMIC_END)
                return;
            dynamic_take(dynamic, &entry);
        }
    }
}

static const char *symbol_name(const struct loader_image *image, const struct dynamic *dynamic, const struct elf_symbol *symbol,
                               char name[64])
{
    for (unsigned i = 0; i < 63; i++) {
        const char *byte = bytes_at(image, dynamic->strings + symbol->name + i, 1);
        name[i] = byte != NULL && *byte > ' ' && *byte < 0x7f ? *byte : '\0';
        if (name[i] == '\0')
            return name;
    }
    name[63] = '\0';
    return name;
}

static int check_relocation(const struct loader_image *image, const struct dynamic *dynamic, const struct elf_relocation *relocation,
                            char *why, size_t why_size)
{
    struct elf_symbol symbol;
    char name[64];
    uint64_t number = relocation->info >> 32;
    if (number == 0)
        return K_OK;
    const void *bytes = bytes_at(image, dynamic->symbols + number * sizeof symbol, sizeof symbol);
    if (bytes == NULL)
        return refuse(why, why_size, "its table of symbols lies%s", "");
    memcpy(&symbol, bytes, sizeof symbol);
    if (symbol.section != 0 || symbol.info >> 4 == SYMBOL_WEAK)
        return K_OK;
    return refuse(why, why_size, "the symbol %s is missing", symbol_name(image, dynamic, &symbol, name));
}

static int check_symbols(const struct loader_image *image, char *why, size_t why_size)
{
    struct dynamic dynamic = { 0 };
    int status = K_OK;
    dynamic_read(image, &dynamic);
    if (dynamic.needs_library)
        return refuse(why, why_size, "it is linked dynamically%s", "");
    for (unsigned i = 0; i < 2 && status == K_OK; i++) {
        struct elf_relocation relocation;
        uint64_t size = dynamic.relocations[i].size;
        const uint8_t *table = bytes_at(image, dynamic.relocations[i].address, size);
        if (size != 0 && table == NULL)
            return refuse(why, why_size, "its relocations lie outside the file%s", "");
        for (uint64_t at = 0; at + sizeof relocation <= size && status == K_OK; at += sizeof relocation) {
            memcpy(&relocation, table + at, sizeof relocation);
            status = check_relocation(image, &dynamic, &relocation, why, why_size);
        }
    }
    return status;
}

int loader_check_actor(const struct loader_image *image, char *why, size_t why_size)
{
    int status = check_note(image, why, why_size);
    return status == K_OK ? check_symbols(image, why, why_size) : status;
}
