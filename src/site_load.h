/* Actors from files: start one, and know later which file it came from and where it lies, for
 * backtraces and core files. */

#ifndef CHORUS_SITE_LOAD_H
#define CHORUS_SITE_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include <nucleus/actor.h>
#include <nucleus/loader.h>

struct site_image {
    uint32_t serial; /* of the actor */
    char *path;
    uint64_t base;    /* what was added to the file's addresses */
    uint64_t entry;   /* where it began, */
    uint64_t headers; /* where its program headers are in its memory; 0: nowhere */
    unsigned header_count;
};

/* Start a program from a file; <program> says everything but the image. K_OK, or an error with a
 * sentence in <why>. */
int site_load(const char *path, const struct loader_program *program, struct actor **ret_actor,
              char *why, size_t why_size);

/* What an actor was started from; NULL: not from a file of the host. */
const struct site_image *site_load_image(const struct actor *actor);

#endif
