/* rewrite_code.h: how a system-call instruction becomes a jump. docs/rewriting.md says why it is safe.
 *
 * Nothing here knows of processes: it looks at the bytes of a program's text and changes bytes of a copy.
 * Offsets count from the program's lowest page. The trampolines lie in REWRITE_SPACE bytes below it.
 */
#ifndef PM_REWRITE_CODE_H
#define PM_REWRITE_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REWRITE_SPACE 0x10000u
#define TRAMPOLINE_SIZE 64u
#define TRAMPOLINES_MOST (REWRITE_SPACE / TRAMPOLINE_SIZE)

/* One place. Five bytes at <jump> become a jump to its trampoline: either filling behind the code, to which the
 * instruction itself then is a short jump, or the `mov $number, %eax` just before it, which stays as it is. */
struct rewrite_patch {
    uint32_t site; /* of the instruction, 0f 05 */
    uint32_t jump;
    uint32_t number; /* of the mov */
    bool replaces_mov;
};

/* A part of the text: <bytes> are those from <start> on. */
struct text_part {
    const uint8_t *bytes;
    uint32_t start, size;
};

#define REWRITE_SHORT 160u     /* bytes behind the instruction that are looked at */
#define REWRITE_SWEEP 0x80000u /* bytes before it, at most, that are decoded to find the mov */

/* Find out how to rewrite the instruction at <site>, which a thread has just executed with <number> in eax. <known> is the start of some
 * instruction before it (0: none is known). <others> are the places that were found already. False: it stays as it is. */
bool rewrite_plan(const struct text_part *text, uint32_t site, uint32_t number, uint32_t known,
                  const struct rewrite_patch *others, unsigned count, struct rewrite_patch *ret_patch);

/* Change the bytes of a copy of the text, as far as the patch lies in it; <index> is its trampoline's. */
void rewrite_apply(uint8_t *bytes, uint32_t start, uint32_t size, const struct rewrite_patch *patch,
                   unsigned index);
/* The code of its trampoline. */
void rewrite_trampoline(uint8_t code[TRAMPOLINE_SIZE], const struct rewrite_patch *patch,
                        unsigned index);

#endif
