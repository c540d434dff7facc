/* Actors from files: start one, and know later which file it came from and where it lies, for
 * backtraces and core files. */

#ifndef CHORUS_SITE_LOAD_H
#define CHORUS_SITE_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nucleus/actor.h>
#include <nucleus/loader.h>

struct site_image {
    uint32_t serial; /* of the actor */
    char *path;
    char **argv; /* how it was started: ends with NULL */
    int priority;
    uint64_t base;    /* what was added to the file's addresses */
    uint64_t entry;   /* where it began, */
    uint64_t headers; /* where its program headers are in its memory; 0: nowhere */
    unsigned header_count;
};

/* Start a program from a file; <program> says everything but the image. K_OK, or an error with a
 * sentence in <why>. */
int site_load(const char *path, const struct loader_program *program, struct actor **ret_actor,
              char *why, size_t why_size);

/* A file's bytes, read beforehand: nobody can change them any more. */
struct site_file {
    char *path;
    void *bytes;
    size_t size;
};
/* From any thread. False: errno says why, ENOEXEC that it is no regular file, or empty, EFBIG that it is larger than any actor. */
bool site_file_read(const char *path, struct site_file *file);
void site_file_free(struct site_file *file);
/* The same with bytes that were read. */
int site_load_file(const struct site_file *file, const struct loader_program *program, struct actor **ret_actor, char *why,
                   size_t why_size);

/* What an actor was started from; NULL: not from a file of the host. */
const struct site_image *site_load_image(const struct actor *actor);
/* It is gone, and nobody will ask any more. */
void site_load_forget(const struct actor *actor);

#endif
