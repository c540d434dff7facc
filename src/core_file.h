/* Core files of actors: what gdb needs to look at an actor that has died.
 *
 * An ELF core in Linux's form: a note with the registers of each thread (the first is the one that
 * faulted), one that tells gdb where the program lies, and the memory. Only what is in memory is
 * written, smaller regions first, up to a limit of size and time. */

#ifndef CHORUS_CORE_FILE_H
#define CHORUS_CORE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include <nucleus/actor.h>

#include "site_load.h"

struct core_file {
    const struct actor *actor;
    const struct site_image *image; /* NULL: not known */
    const struct thread *thread;    /* that faulted */
    const KnThreadCtx *registers;   /* its */
    int signal;                     /* what Linux would have sent */
    uint64_t size_most;             /* bytes of memory */
    int64_t time_most;              /* ns */
};

/* Write it to an empty file. False with errno: it could not be written. *ret_size: bytes of memory
 * in it; *ret_cut: not all that is in memory is in it. */
bool core_file_write(const struct core_file *core, int fd, uint64_t *ret_size, bool *ret_cut);

#endif
