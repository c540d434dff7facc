/* x86_length.h: how long an instruction is. */
#ifndef PM_X86_LENGTH_H
#define PM_X86_LENGTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the 64-bit instruction at <code>, of which <size> bytes are there. 0: it is none, or not all of it is there, or it is one of the few that
 * this table does not know. */
unsigned x86_length(const uint8_t *code, size_t size);

/* Does control never go on behind it: a return, a jump, a stop? */
bool x86_is_end(const uint8_t *code, size_t size);
/* Does it do nothing: a byte or more of filling, as compilers and assemblers make it? */
bool x86_is_filling(const uint8_t *code, size_t size);

#endif
