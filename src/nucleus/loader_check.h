/* loader_check.h: is an ELF file an actor, and whole? */
#ifndef NUCLEUS_LOADER_CHECK_H
#define NUCLEUS_LOADER_CHECK_H

#include <stddef.h>
#include "elf64.h"

struct loader_image {
    const uint8_t *bytes;
    size_t size;
    const struct elf_segment *segment; /* those to be loaded have been checked: they lie in the file */
    unsigned count;
};

/* It has libchorus's note, of this version of the Nucleus's calls; it needs no library, and no symbol that it has not. K_OK, or
 * K_EINVAL with a sentence in <why>. */
int loader_check_actor(const struct loader_image *image, char *why, size_t why_size);

#endif
