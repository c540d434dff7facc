/* start.c: connect the actor with the Nucleus.
 *
 * Runs before libc: not relocated, no thread-local storage, general registers only.
 */
#include "internal.h"

#include <cpuid.h>
#include <sys/syscall.h>

VmAddr chorus_gate;
uint64_t chorus_xstate_mask, chorus_xstate_size;

/* x87, SSE, AVX, and the three parts of AVX-512. Other parts (AMX, PKRU) no libc code leaves live. */
#define XSTATE_KEPT 0xe7u
#define XSTATE_HEADER_END 576u

void chorus_xstate_begin(void)
{
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    chorus_xstate_mask = low & XSTATE_KEPT;
    chorus_xstate_size = XSTATE_HEADER_END;
    for (unsigned part = 2; part < 8; part++) {
        uint32_t size, offset, c, d;
        if ((chorus_xstate_mask & (1u << part)) == 0)
            continue;
        __cpuid_count(0xd, part, size, offset, c, d);
        if (offset + size > chorus_xstate_size)
            chorus_xstate_size = offset + size;
    }
}

static VmAddr gate_find(const uint64_t *stack)
{
    const uint64_t *word = stack + 1 + stack[0] + 1; /* past argc and argv */
    while (*word++ != 0)                             /* past the environment */
        ;
    for (; word[0] != 0; word += 2)
        if (word[0] == AT_CHORUS_GATE)
            return word[1];
    return 0;
}

static void host_call(uint64_t number, uint64_t a, const void *b, uint64_t c)
{
    __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
}

/* Somebody started the file as a Linux program. */
static void refuse(void)
{
    static const char words[] = "This is an actor of Chorus and runs in a Chorus site only.\n";
    host_call(SYS_write, 2, words, sizeof words - 1);
    host_call(SYS_exit_group, 126, NULL, 0);
    __builtin_trap();
}

void chorus_begin(const uint64_t *stack)
{
    chorus_gate = gate_find(stack);
    if (chorus_gate == 0)
        refuse();
    chorus_xstate_begin();
    KnTrapConnect connect = { .what = K_CONNECT_TRAP, .handler = (VmAddr)chorus_reflected };
    if (actorTrapConnect(K_MYACTOR, &connect) != K_OK) {
        chorus_log("libchorus: the Nucleus refuses actorTrapConnect", -1);
        actorDelete(K_MYACTOR);
        __builtin_trap();
    }
}
