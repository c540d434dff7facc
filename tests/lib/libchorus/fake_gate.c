#include "fake_gate.h"

#include <stdlib.h>
#include <string.h>

struct gate_call gate_calls[GATE_CALLS_MAX];
unsigned gate_call_count;
char gate_log[4096];
static gate_answer *gate_answers;
static bool gate_silent;

int64_t fake_gate_call(unsigned number, const uint64_t arg[6]);

void gate_start(gate_answer *answer)
{
    gate_answers = answer;
    gate_silent = false;
    gate_call_count = 0;
    gate_log[0] = 0;
    chorus_gate = (VmAddr)fake_gate;
    chorus_xstate_begin();
}

void gate_start_silent(gate_answer *answer)
{
    gate_start(answer);
    gate_silent = true;
}

int64_t fake_gate_call(unsigned number, const uint64_t arg[6])
{
    if (gate_silent)
        return gate_answers(number, arg);
    if (gate_call_count == GATE_CALLS_MAX)
        abort();
    struct gate_call *call = &gate_calls[gate_call_count++];
    call->number = number;
    memcpy(call->arg, arg, sizeof call->arg);
    if (number == CALL_sysLog) {
        if (strlen(gate_log) + arg[1] + 2 > sizeof gate_log)
            abort();
        strncat(gate_log, (const char *)arg[0], arg[1]);
        strcat(gate_log, "\n");
    }
    return gate_answers == NULL ? K_OK : gate_answers(number, arg);
}

const struct gate_call *gate_find(enum gate_number number, unsigned index)
{
    for (unsigned i = 0; i < gate_call_count; i++)
        if (gate_calls[i].number == number && index-- == 0)
            return &gate_calls[i];
    return NULL;
}

unsigned gate_count(enum gate_number number)
{
    unsigned count = 0;
    while (gate_find(number, count) != NULL)
        count++;
    return count;
}

int64_t linux_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                   uint64_t f)
{
    static _Alignas(64) uint8_t xstate[8192];
    struct reflected frame = {
        .rax = number, .rdi = a, .rsi = b, .rdx = c, .r10 = d, .r8 = e, .r9 = f,
        .trap = { .kind = K_TRAP_SYSCALL, .number = number },
    };
    chorus_dispatch(&frame, xstate);
    return (int64_t)frame.rax;
}
