# gate.S: the short way into the Nucleus, at the same address in every user actor.
#
# A C function: rax the number of the nucleus call, arguments in rdi rsi rdx rcx r8 r9, the result in rax. It saves in the mail box (which it finds
# by the gs base) what a C call preserves, posts the request, and looks for the answer. No signal, no call of the host, if the Nucleus is awake.
#
# A preemption here, by place:
#   before gate_posted     nothing has happened, argument registers are as they were: the handler lets it start again, perhaps on another CPU,
#                          with another mail box. So nothing but r10 and r11 may be changed up to there.
#   to gate_return         the Nucleus has the request; the preemption is noted and the wait goes on.
#   to gate_ret            the answer is there, and the mail box still has all that was saved: the thread is "preempted on its way back".
#   at gate_ret            all is loaded.
#
# A second entry, gate_syscall, is for system-call instructions that were rewritten into jumps (docs/rewriting.md): rax the number, arguments where
# Linux has them, r11 where to go on; all but rax, rcx and r11 is preserved. It uses no stack: what lies below rsp is the program's. Who jumps
# here has seen that the gs base is ours. All registers and the extended state are in the area before it posts, so that the Nucleus sees a trap like
# any other. What the actor's subsystem has put on the order page for a number is answered at once. A preemption here:
#   before gate_syscall_slow   nothing has happened: it starts again, with rax and the flags from the box.
#   before gate_sysret     it is noted, and the thread goes on: it is about to post, or has posted.
#   to gate_sysret_jump    the answer is there, and the area still has all that was saved: "preempted on its way back".
#   at gate_sysret_jump    all is loaded: it is as if the jump were done.
#
# An actor may come in anywhere here with any registers: it posts a request of its own making, as it could without the gate.

#include "layout.h"

        .section .gate, "ax", @progbits
        .balign 4096
        .globl  gate_begin, gate_posted, gate_return, gate_ret, gate_end, gate_stub_wait, gate_stub_other, gate_stub_preempted, gate_words
gate_begin:
        mov     %rax, %gs:BOX_NUMBER
        mov     %rdi, %gs:BOX_ARG0
        mov     %rsi, %gs:BOX_ARG1
        mov     %rdx, %gs:BOX_ARG2
        mov     %rcx, %gs:BOX_ARG3
        mov     %r8, %gs:BOX_ARG4
        mov     %r9, %gs:BOX_ARG5
        mov     %rsp, %gs:BOX_RSP
        mov     %rbx, %gs:BOX_RBX
        mov     %rbp, %gs:BOX_RBP
        mov     %r12, %gs:BOX_R12
        mov     %r13, %gs:BOX_R13
        mov     %r14, %gs:BOX_R14
        mov     %r15, %gs:BOX_R15
        stmxcsr %gs:BOX_MXCSR
        fnstcw  %gs:BOX_FCW
        rdfsbase %r10
        mov     %r10, %gs:BOX_FSBASE
        rdgsbase %r10
        mov     %r10, %r11
        sub     gate_areas(%rip), %r11          # which area: its arguments
        shr     $(AREA_SHIFT - 7), %r11
        add     gate_args(%rip), %r11
        mov     ARG_WORD(%r11), %r11
        mov     (%r11), %r11d                   # the last word seen
        mov     $REQUEST_CALL, %r10d
        xchg    %r10d, %gs:BOX_REQUEST
gate_posted:
        rdgsbase %rbx
        mov     %r11d, %ebp
        mov     %rbx, %r10
        sub     gate_areas(%rip), %r10
        shr     $(AREA_SHIFT - 7), %r10
        add     gate_args(%rip), %r10
        mov     ARG_SPIN(%r10), %ecx
        mov     ARG_WORD(%r10), %r10
        mov     gate_words(%rip), %rax
        mov     (%rax), %eax
        test    %eax, %eax
        jnz     2f
1:      mov     (%r10), %eax
        cmp     %ebp, %eax
        jne     3f
        pause
        dec     %ecx
        jg      1b
        xor     %eax, %eax
2:      jmp     *gate_stub_wait(%rip)           # eax != 0: wake the Nucleus first
3:      mov     %eax, %ecx
        and     $COMMAND_MASK, %ecx
        cmp     $COMMAND_RETURN, %ecx
        je      gate_return
        cmp     $COMMAND_SYSRET, %ecx
        jne     4f
        jmp     gate_sysret
4:      jmp     *gate_stub_other(%rip)
5:      movl    $0, BOX_PEND(%rbx)
        jmp     *gate_stub_preempted(%rip)
gate_return:                                    # rbx the area
        cmpl    $0, BOX_PEND(%rbx)
        jne     5b
        mov     BOX_RSP(%rbx), %rsp
        mov     BOX_RBP(%rbx), %rbp
        mov     BOX_R12(%rbx), %r12
        mov     BOX_R13(%rbx), %r13
        mov     BOX_R14(%rbx), %r14
        mov     BOX_R15(%rbx), %r15
        mov     BOX_NUMBER(%rbx), %rax
        mov     BOX_RBX(%rbx), %rbx
gate_ret:
        ret

        .balign 64
gate_syscall:
        mov     %rax, %gs:BOX_NUMBER
        mov     %rax, %rcx
        lahf
        seto    %al
        mov     %eax, %gs:BOX_FLAGS
gate_syscall_flags:
        cmp     $ANSWER_NUMBERS, %rcx
        jae     gate_syscall_slow
        mov     gate_answers(%rip), %rax
        movzbl  (%rax, %rcx), %ecx
        test    %ecx, %ecx
        jz      gate_syscall_slow
        mov     ANSWER_VALUES - 8(%rax, %rcx, 8), %rcx
        mov     %gs:BOX_FLAGS, %eax
        add     $0x7f, %al                      # overflow, or not
        sahf
        mov     %rcx, %rax
gate_answered:
        jmp     *%r11
gate_syscall_slow:
        mov     %r11, %gs:BOX_RIP
        mov     %rdi, %gs:BOX_ARG0
        mov     %rsi, %gs:BOX_ARG1
        mov     %rdx, %gs:BOX_ARG2
        mov     %r10, %gs:BOX_ARG3
        mov     %r8, %gs:BOX_ARG4
        mov     %r9, %gs:BOX_ARG5
        mov     %rsp, %gs:BOX_RSP
        mov     %rbx, %gs:BOX_RBX
        mov     %rbp, %gs:BOX_RBP
        mov     %r12, %gs:BOX_R12
        mov     %r13, %gs:BOX_R13
        mov     %r14, %gs:BOX_R14
        mov     %r15, %gs:BOX_R15
        rdfsbase %rax
        mov     %rax, %gs:BOX_FSBASE
        mov     $-1, %eax
        mov     %eax, %edx
        xsave64 %gs:RESUME_XSTATE
        rdgsbase %r11
        sub     gate_areas(%rip), %r11
        shr     $(AREA_SHIFT - 7), %r11
        add     gate_args(%rip), %r11
        mov     ARG_WORD(%r11), %r11
        mov     (%r11), %r11d
        mov     $REQUEST_SYSCALL, %r10d
        xchg    %r10d, %gs:BOX_REQUEST
        jmp     gate_posted
5:      movl    $0, BOX_PEND(%rbx)
        jmp     *gate_stub_sys_preempted(%rip)
gate_sysret:                                    # rbx the area
        cmpl    $0, BOX_PEND(%rbx)
        jne     5b
        mov     BOX_FLAGS(%rbx), %eax
        add     $0x7f, %al                      # overflow, or not
        sahf
        mov     BOX_RIP(%rbx), %r11
        mov     BOX_ARG0(%rbx), %rdi
        mov     BOX_ARG1(%rbx), %rsi
        mov     BOX_ARG2(%rbx), %rdx
        mov     BOX_ARG3(%rbx), %r10
        mov     BOX_ARG4(%rbx), %r8
        mov     BOX_ARG5(%rbx), %r9
        mov     BOX_RSP(%rbx), %rsp
        mov     BOX_RBP(%rbx), %rbp
        mov     BOX_R12(%rbx), %r12
        mov     BOX_R13(%rbx), %r13
        mov     BOX_R14(%rbx), %r14
        mov     BOX_R15(%rbx), %r15
        mov     BOX_NUMBER(%rbx), %rax
        mov     BOX_RBX(%rbx), %rbx
gate_sysret_jump:
        jmp     *%r11
        .balign 8
        .globl  gate_areas, gate_args
        .globl  gate_syscall, gate_syscall_flags, gate_answered, gate_syscall_slow, gate_sysret, gate_sysret_jump, gate_stub_sys_preempted
        .globl  gate_answers
gate_areas:             .quad 0                 # filled in by the boot
gate_args:              .quad 0
gate_words:             .quad 0
gate_answers:           .quad 0
gate_stub_wait:         .quad 0
gate_stub_other:        .quad 0
gate_stub_preempted:    .quad 0
gate_stub_sys_preempted: .quad 0
gate_end:
        .section .note.GNU-stack, "", @progbits
