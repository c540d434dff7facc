/* loader.h: the actors that a site boots with: static ELF programs, given as images in memory by
 * the program around the Nucleus. */
#ifndef NUCLEUS_LOADER_H
#define NUCLEUS_LOADER_H

#include <chorus.h>
#include <stddef.h>

struct actor;

/* Our own entries of the auxiliary vector. */
#define AT_CHORUS_GATE 0x43484f52u /* where the actor enters the Nucleus */

struct loader_program {
    const char *name;
    const void *image;
    size_t image_size;
    const char *const *argv; /* ends with NULL */
    const char *const *envp; /* ends with NULL; NULL: none */
    int privilege;           /* K_USERACTOR, ... */
    KnProtId pi;
    int priority;       /* of its first thread */
    size_t stack_size;  /* bytes, 0: 1 MB */
    uint64_t *ret_base; /* what is added to the file's addresses is put here; NULL: not wanted */
};

/* Make an actor from a program and start it. K_OK, or an error with a sentence in <why> (K_EINVAL:
 * the image is not what it says). */
int loader_start(const struct loader_program *program, struct actor **ret_actor, char *why,
                 size_t why_size);

#endif
