/* calls.S: the functions of all nucleus calls, from the table <calls.def>.
 *
 * A nucleus call is a C call of the gate with the call's number in eax; the arguments are in the
 * registers where C has them, and stay there.
 */
#define KN_CALL(number, name, ...)      \
    .globl name;                        \
    .type name, @function;              \
    .p2align 4;                         \
    name:                               \
    mov $number, %eax;                  \
    jmp *chorus_gate(%rip);             \
    .size name, . - name;

        .hidden chorus_gate
        .text
#include <calls.def>

        .section .note.GNU-stack, "", @progbits
