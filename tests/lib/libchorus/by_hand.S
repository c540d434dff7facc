/* by_hand.S: be the machine: resume a thread at the trap handler, and note how it comes back.
 *
 * void by_hand(void): loads everything from by_hand_before, but rsp from by_hand_stack, and jumps to
 * by_hand_entry. Code that jumps to by_hand_back has its state saved in by_hand_after.
 */
        .text
        .macro  each_register what, place
        \what   0, r15, \place
        \what   8, r14, \place
        \what   16, r13, \place
        \what   24, r12, \place
        \what   32, r11, \place
        \what   40, r10, \place
        \what   48, r9, \place
        \what   56, r8, \place
        \what   64, rdi, \place
        \what   72, rsi, \place
        \what   80, rbp, \place
        \what   88, rbx, \place
        \what   96, rdx, \place
        \what   104, rcx, \place
        \what   112, rax, \place
        .endm
        .macro  load offset, register, place
        mov     \place+\offset(%rip), %\register
        .endm
        .macro  store offset, register, place
        mov     %\register, \place+\offset(%rip)
        .endm

        .globl by_hand
by_hand:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        mov     %rsp, own_stack(%rip)
        mov     by_hand_mask(%rip), %eax
        xor     %edx, %edx
        lea     by_hand_before+192(%rip), %rcx
        xrstor64 (%rcx)
        pushq   by_hand_before+120(%rip)
        popfq
        each_register load, by_hand_before
        mov     by_hand_stack(%rip), %rsp
        jmp     *by_hand_entry(%rip)

        .globl by_hand_back
by_hand_back:
        each_register store, by_hand_after
        mov     %rsp, by_hand_after+128(%rip)
        mov     own_stack(%rip), %rsp
        pushfq
        popq    by_hand_after+120(%rip)
        cld
        mov     by_hand_mask(%rip), %eax
        xor     %edx, %edx
        lea     by_hand_after+192(%rip), %rcx
        xsave64 (%rcx)
        fninit
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret

        .local own_stack
        .comm own_stack, 8, 8
        .section .note.GNU-stack, "", @progbits
