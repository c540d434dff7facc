/* start.S: the entry point of an actor, before libc's.
 *
 * The stack is as Linux programs find it: argc, argv, the environment, the auxiliary vector. Nothing
 * is relocated yet, and there is no thread-local storage. chorus_begin connects the actor with the
 * Nucleus; then libc starts as if nothing had happened.
 */
#include <exec/chNote.h>

        .text
        .globl chorus_start
        .type chorus_start, @function
chorus_start:
        mov     %rsp, %rbp
        mov     %rdx, %rbx              /* what libc is to call at exit */
        mov     %rsp, %rdi
        and     $-16, %rsp
        call    chorus_begin
        mov     %rbx, %rdx
        mov     %rbp, %rsp
        xor     %ebp, %ebp
        jmp     _start
        .size chorus_start, . - chorus_start

/* What a loader knows an actor by: the version of the calls that it was built for. */
        .section .note.chorus, "a", @note
        .balign 4
        .long   2f - 1f, 4, K_NOTE_ACTOR
1:      .asciz  K_NOTE_NAME
2:      .balign 4
        .long   K_NOTE_VERSION

        .section .note.GNU-stack, "", @progbits
