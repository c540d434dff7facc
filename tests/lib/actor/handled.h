/* handled.h: what handled_server.c and its client agree on. */
#ifndef HANDLED_H
#define HANDLED_H

#include <chorus.h>

#define HANDLED_STAMP 0x7e58u
#define HANDLED_LENDERS 3

enum handled_operation {
    HANDLED_ADD = 0x8000, /* -> number: plus one */
    HANDLED_REVERSE,      /* the body -> the same backwards */
    HANDLED_SLEEP,        /* abortably, <number> ns -> status of the wait */
    HANDLED_LOOP,         /* without a nucleus call, until HANDLED_STOP */
    HANDLED_STOP,
    HANDLED_SAVE,         /* answered by HANDLED_RELEASE */
    HANDLED_RELEASE,
    HANDLED_NEST,         /* -> number: what the LAP "add" makes of it, invoked safely and plainly */
    HANDLED_WITHDRAW,     /* delete the LAP "sleep" -> status */
    HANDLED_FAULT
};
struct handled_message {
    uint32_t operation;
    int32_t status;
    uint64_t number;
    KnLapDesc plain; /* of HANDLED_ADD: a LAP without K_LAP_SAFE */
};

/* Names of LAPs: "add" (plus one), "peek" (the word at an address of the caller), "fault" (K_LAP_SETJMP: a fault if the
 * argument is 1, of a wild jump if 2, of an exhausted stack if 3, otherwise 7), "libc" (uses malloc, errno and floating point), "sleep". */

#endif
