/* start.S: the entry point of an actor, before libc's.
 *
 * The stack is as Linux programs find it: argc, argv, the environment, the auxiliary vector. Nothing
 * is relocated yet, and there is no thread-local storage. chorus_begin connects the actor with the
 * Nucleus; then libc starts as if nothing had happened.
 */
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

        .section .note.GNU-stack, "", @progbits
