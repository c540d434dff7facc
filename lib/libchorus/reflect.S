/* reflect.S: where the Nucleus resumes a thread whose system call it reflects.
 *
 * On entry rsp points to a KnReflect (<exec/chTrap.h>), all other registers are the program's. All of
 * them are saved on its stack, extended state too, since nucleus calls keep only what C calls keep.
 * On the way back no register is free: the saved rip is jumped to through a word below the red zone of
 * the program's stack. That word may be the last one of KnReflect, which is unused.
 *
 * Nothing here needs the fs base.
 */
#define KIND    120             /* of struct reflected: the KnReflect after 15 registers */
#define RIP     (KIND + 16)
#define RSP     (KIND + 24)
#define FLAGS   32              /* of KnReflect */
#define BELOW   -136            /* of the program's rsp: below its red zone */

        .hidden chorus_xstate_mask, chorus_xstate_size, chorus_gate
        .hidden chorus_reflected, chorus_reflect_child, chorus_thread_end
        .text
        .globl chorus_reflected
        .type chorus_reflected, @function
chorus_reflected:
        push    %rax
        push    %rcx
        push    %rdx
        push    %rbx
        push    %rbp
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        cld
        mov     %rsp, %rbp
        sub     chorus_xstate_size(%rip), %rsp
        and     $-64, %rsp
        lea     512(%rsp), %rdi         /* xsave leaves most of its header as it is: clear it */
        xor     %eax, %eax
        mov     $8, %ecx
        rep stosq
        mov     chorus_xstate_mask(%rip), %eax
        xor     %edx, %edx
        xsave64 (%rsp)
        mov     %rbp, %rdi
        mov     %rsp, %rsi
        call    chorus_dispatch

.Lreturn:                               /* rsp: extended state; rbp: struct reflected */
        mov     chorus_xstate_mask(%rip), %eax
        xor     %edx, %edx
        xrstor64 (%rsp)
        mov     RIP(%rbp), %rax
        mov     RSP(%rbp), %rcx
        mov     %rax, BELOW(%rcx)
        mov     %rbp, %rsp
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rbp
        pop     %rbx
        pop     %rdx
        pop     %rcx
        pop     %rax
        lea     FLAGS(%rsp), %rsp
        popfq
        mov     -16(%rsp), %rsp         /* savedRsp, before savedFlags */
        jmp     *BELOW(%rsp)
        .size chorus_reflected, . - chorus_reflected

        .globl chorus_reflect_child
        .type chorus_reflect_child, @function
chorus_reflect_child:
        mov     %rdi, %rbp
        jmp     .Lreturn
        .size chorus_reflect_child, . - chorus_reflect_child

/* chorus_thread_end(word, stack_top). When the word is zero, somebody may reuse the thread's stack: so
 * the rest runs on another one. */
        .globl chorus_thread_end
        .type chorus_thread_end, @function
chorus_thread_end:
        mov     %rsi, %rsp
        and     $-16, %rsp
        test    %rdi, %rdi
        jz      1f
        movl    $0, (%rdi)              /* the address is in rdi for syncWake, too */
        mov     $0x7fffffff, %esi       /* count: all */
        mov     $-1, %edx               /* mask */
        xor     %ecx, %ecx              /* flags */
        call    syncWake
1:      call    threadExit
        ud2
        .size chorus_thread_end, . - chorus_thread_end

        .section .note.GNU-stack, "", @progbits
