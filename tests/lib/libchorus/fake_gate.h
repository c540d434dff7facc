/* fake_gate.h: a Nucleus for unit tests: it notes each call and answers what the test says. */
#ifndef FAKE_GATE_H
#define FAKE_GATE_H

#include "internal.h"

enum gate_number {
#define KN_CALL(number, name, ...) CALL_##name = number,
#include <calls.def>
#undef KN_CALL
};

#define GATE_CALLS_MAX 64
struct gate_call {
    unsigned number;
    uint64_t arg[6];
};
/* The calls so far, oldest first. */
extern struct gate_call gate_calls[GATE_CALLS_MAX];
extern unsigned gate_call_count;
/* Everything logged so far, each line ended by a newline. */
extern char gate_log[4096];

/* What a call does and returns; NULL: K_OK. */
typedef int64_t gate_answer(unsigned number, const uint64_t arg[6]);
/* Forget what was noted, and answer so from now on. */
void gate_start(gate_answer *answer);
/* The same, but note nothing: for tests with several threads. */
void gate_start_silent(gate_answer *answer);
/* The <index>th call with that number, NULL if there were not so many. */
const struct gate_call *gate_find(enum gate_number number, unsigned index);
unsigned gate_count(enum gate_number number);

/* Have libchorus answer a Linux system call. */
int64_t linux_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                   uint64_t f);

void fake_gate(void);

#endif
