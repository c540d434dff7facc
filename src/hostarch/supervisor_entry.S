/* supervisor_entry.S: between the Nucleus and the actors in its own process. See supervisor.c.
 *
 * supervisor_active is 1 from before the first register of an actor is loaded until the Nucleus's stack is back. A tick that lands in
 * here is ignored: either the Nucleus is about to go on anyway, or the next tick will do. A fault in here while it is 1 is the
 * actor's: its stack or its registers are bad.
 *
 * No thread-local storage may be used from the first wrfsbase on.
 */
#include "layout.h"

/* struct gate_registers */
#define G_RSP    0
#define G_RBX    8
#define G_RBP    16
#define G_R12    24
#define G_R13    32
#define G_R14    40
#define G_R15    48
#define G_RESULT 56
#define G_NUMBER 64
#define G_ARG    72
#define G_MXCSR  120
#define G_FCW    124

        .hidden supervisor_code, supervisor_code_end, supervisor_return, supervisor_gate, supervisor_gate_ret, supervisor_signal
        .hidden supervisor_resume_call, supervisor_resume_full, supervisor_trap, supervisor_foreign_signal
        .hidden supervisor_active, supervisor_nucleus_rsp, supervisor_nucleus_fs, supervisor_actor_fs, supervisor_box, supervisor_stack
        .globl  supervisor_code, supervisor_code_end, supervisor_return, supervisor_gate, supervisor_gate_ret, supervisor_signal
        .globl  supervisor_resume_call, supervisor_resume_full

/* The control words that the Nucleus runs with, and most actors: loading them costs more than all the rest of a crossing. */
#define MXCSR_CONTROL  0xffc0 /* the other bits are no C call's to preserve */
#define MXCSR_USUAL    0x1f80
#define FCW_USUAL      0x37f

/* What C preserves, onto the Nucleus's stack. */
        .macro  leave_nucleus
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        mov     %rsp, supervisor_nucleus_rsp(%rip)
        movl    $1, supervisor_active(%rip)
        .endm

        .text
supervisor_code:

/* unsigned supervisor_resume_call(const struct gate_registers *registers, uint64_t fs_base): go on behind a nucleus call. Returns, when the actor
 * comes back, REQUEST_CALL or the number of the signal. */
supervisor_resume_call:
        leave_nucleus
        mov     G_MXCSR(%rdi), %eax
        and     $MXCSR_CONTROL, %eax
        cmp     $MXCSR_USUAL, %eax
        jne     2f
1:      cmpw    $FCW_USUAL, G_FCW(%rdi)
        jne     3f
4:      wrfsbase %rsi
        mov     G_RBX(%rdi), %rbx
        mov     G_RBP(%rdi), %rbp
        mov     G_R12(%rdi), %r12
        mov     G_R13(%rdi), %r13
        mov     G_R14(%rdi), %r14
        mov     G_R15(%rdi), %r15
        mov     G_RESULT(%rdi), %rax
        mov     G_RSP(%rdi), %rsp
supervisor_gate_ret:
        ret
2:      ldmxcsr G_MXCSR(%rdi)
        jmp     1b
3:      fldcw   G_FCW(%rdi)
        jmp     4b

/* unsigned supervisor_resume_full(const uint8_t *uc, uint64_t fs_base, const void *xstate): the same with all registers. */
supervisor_resume_full:
        leave_nucleus
        mov     %rdx, %rcx
        mov     FP_XFEATURES(%rcx), %eax
        mov     FP_XFEATURES+4(%rcx), %edx
        xrstor64 (%rcx)
        wrfsbase %rsi
        pushq   $0x2b
        pushq   UC_RSP(%rdi)
        pushq   UC_FLAGS(%rdi)
        pushq   $0x33
        pushq   UC_RIP(%rdi)
        mov     UC_R8(%rdi), %r8
        mov     UC_R9(%rdi), %r9
        mov     UC_R10(%rdi), %r10
        mov     UC_R11(%rdi), %r11
        mov     UC_R12(%rdi), %r12
        mov     UC_R13(%rdi), %r13
        mov     UC_R14(%rdi), %r14
        mov     UC_R15(%rdi), %r15
        mov     UC_RSI(%rdi), %rsi
        mov     UC_RBP(%rdi), %rbp
        mov     UC_RBX(%rdi), %rbx
        mov     UC_RDX(%rdi), %rdx
        mov     UC_RAX(%rdi), %rax
        mov     UC_RCX(%rdi), %rcx
        mov     UC_RDI(%rdi), %rdi
        iretq

/* The gate: what a supervisor actor calls for a nucleus call. eax the number, arguments where C has them. */
        .p2align 6
supervisor_gate:
        mov     supervisor_box(%rip), %r11
        mov     %eax, %eax
        mov     %rax, G_NUMBER(%r11)
        mov     %rdi, G_ARG(%r11)
        mov     %rsi, G_ARG+8(%r11)
        mov     %rdx, G_ARG+16(%r11)
        mov     %rcx, G_ARG+24(%r11)
        mov     %r8, G_ARG+32(%r11)
        mov     %r9, G_ARG+40(%r11)
        mov     %rsp, G_RSP(%r11)
        mov     %rbx, G_RBX(%r11)
        mov     %rbp, G_RBP(%r11)
        mov     %r12, G_R12(%r11)
        mov     %r13, G_R13(%r11)
        mov     %r14, G_R14(%r11)
        mov     %r15, G_R15(%r11)
        stmxcsr G_MXCSR(%r11)
        fnstcw  G_FCW(%r11)
        rdfsbase %r10
        mov     %r10, supervisor_actor_fs(%rip)
        mov     supervisor_nucleus_fs(%rip), %r10
        wrfsbase %r10
        mov     G_MXCSR(%r11), %eax
        and     $MXCSR_CONTROL, %eax
        cmp     $MXCSR_USUAL, %eax
        jne     2f
1:      cmpw    $FCW_USUAL, G_FCW(%r11)
        jne     3f
4:      mov     $REQUEST_CALL, %eax
        jmp     5f
2:      ldmxcsr mxcsr_usual(%rip)
        jmp     1b
3:      fninit
        jmp     4b

/* Where the signal handler's return leads; eax the signal. The fs base is the Nucleus's already. */
supervisor_return:
        fninit
        ldmxcsr mxcsr_usual(%rip)
5:      mov     supervisor_nucleus_rsp(%rip), %rsp
        movl    $0, supervisor_active(%rip)
        cld
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret
        .p2align 2
mxcsr_usual:
        .long   MXCSR_USUAL
supervisor_code_end:

/* The handler of signals: edi the signal, rsi its siginfo, rdx the ucontext. Only the Nucleus's thread has this stack; a fault of another thread is
 * a bug, and none of our business. */
supervisor_signal:
        mov     %rsp, %rax
        sub     supervisor_stack(%rip), %rax
        cmp     $SUPERVISOR_STACK_SIZE, %rax
        jae     supervisor_foreign_signal
        push    %rbx
        rdfsbase %rcx
        mov     supervisor_nucleus_fs(%rip), %rax
        wrfsbase %rax
        call    supervisor_trap
        wrfsbase %rax
        pop     %rbx
        ret

        .section .note.GNU-stack, "", @progbits
