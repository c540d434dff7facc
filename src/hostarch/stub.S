# stub.S: the code that every actor's process carries: its stub threads' side of traps, and its agent.
#
# A stub thread runs the actor's code. Everything that the host would do for that code arrives here as a signal, on the thread's own signal
# stack; the handler posts what happened into the mail box, waits for the Nucleus's word, and resumes a thread by loading its registers. It
# never returns from a signal: rt_sigreturn is not permitted. Of the host's calls it may make two, futex WAIT and WAKE, each at one place.
#
# Registers from `trap` on: rbx the area, r12 the frame, r13 the arguments (read only), r14 the word, ebp the last word seen. No stack is used
# while waiting, since behind a nucleus call rsp is the actor's.
#
# A preemption may land on any instruction of this page. What is done then depends on where:
#   between stub_hand and stub_hand_end  the frame to be resumed is still whole: forget the interrupted state, post "preempted" with that frame;
#   elsewhere                            note it (BOX_PEND; looked at before a thread is resumed) and go back to where it was.
# Any other signal that lands here is a fault of the stub: the actor has meddled, and dies.
#
# One signal is not a trap: SIGNAL_RESET makes the thread forget what it was interrupted in, whatever that was (reuse.c).
#
# The actor can jump to any instruction here with any registers. It gains nothing: two calls with checked arguments, and its own memory.

#include "layout.h"

        .section .stub, "ax", @progbits
        .balign 4096
        .globl stub_begin, stub_handler, stub_ready, stub_gate_wait, stub_gate_other, stub_wait_ip, stub_wake_ip
        .globl stub_post_preempted, stub_post_sys_preempted
        .globl agent_entry, agent_mmap_ip, agent_munmap_ip, agent_mprotect_ip, agent_pwrite_ip, agent_futex_ip, stub_end
stub_begin:
        .set    ORDERS, stub_begin + ORDER_OFFSET
        .set    AREAS, stub_begin + AREA_OFFSET
        .set    WORDS, stub_begin + WORDS_OFFSET

# All registers from the frame at r12; rsp lies below it.
        .macro  load_frame
        mov     UC_FPSTATE(%r12), %rcx
        mov     FP_XFEATURES(%rcx), %eax
        mov     FP_XFEATURES + 4(%rcx), %edx
        xrstor64 (%rcx)
        movzwl  UC_SS(%r12), %eax
        push    %rax
        push    UC_RSP(%r12)
        push    UC_FLAGS(%r12)
        movzwl  UC_CS(%r12), %eax
        push    %rax
        push    UC_RIP(%r12)
        mov     UC_R8(%r12), %r8
        mov     UC_R9(%r12), %r9
        mov     UC_R10(%r12), %r10
        mov     UC_R11(%r12), %r11
        mov     UC_R13(%r12), %r13
        mov     UC_R14(%r12), %r14
        mov     UC_R15(%r12), %r15
        mov     UC_RDI(%r12), %rdi
        mov     UC_RSI(%r12), %rsi
        mov     UC_RBP(%r12), %rbp
        mov     UC_RBX(%r12), %rbx
        mov     UC_RDX(%r12), %rdx
        mov     UC_RAX(%r12), %rax
        mov     UC_RCX(%r12), %rcx
        mov     UC_R12(%r12), %r12
        iretq
        .endm

# r13 and r14, the arguments and the word, of the area in rbx. Changes rcx and rdx.
        .macro  find_arguments
        mov     %rbx, %rcx
        lea     AREAS(%rip), %rdx
        sub     %rdx, %rcx
        shr     $(AREA_SHIFT - 7), %rcx         # * ARGS_SIZE
        lea     ORDERS + ORDER_ARGS(%rip), %r13
        add     %rcx, %r13
        mov     ARG_WORD(%r13), %r14
        .endm

# --- a signal: edi its number, rdx the ucontext -------------------------------------------------------------------------------------------
stub_handler:
        cld
        mov     %rsp, %rbx
        and     $-AREA_SIZE, %rbx
        cmp     $SIGNAL_RESET, %edi
        je      stub_reset
        mov     UC_RIP(%rdx), %rax
        lea     stub_begin(%rip), %rcx
        mov     %rax, %rsi
        sub     %rcx, %rsi
        cmp     $CODE_SIZE, %rsi
        jb      nested
        sub     $GATE, %rax
        cmp     $GATE_SIZE, %rax
        jb      in_gate
ordinary:
        cmp     $SIGNAL_PREEMPT, %edi
        jne     trap
        incl    BOX_ACK(%rbx)
trap:
        mov     %rdx, %r12
        mov     %rdx, BOX_FRAME(%rbx)
        rdfsbase %rax
        mov     %rax, BOX_FSBASE(%rbx)
        rdgsbase %rax
        mov     %rax, BOX_GSBASE(%rbx)
post:                                   # edi: the request
        find_arguments
        mov     (%r14), %ebp
        xchg    %edi, BOX_REQUEST(%rbx)
        cmpl    $0, WORDS(%rip)
        jne     wake_nucleus
spin:
        mov     ARG_SPIN(%r13), %ecx
1:      mov     (%r14), %eax
        cmp     %ebp, %eax
        jne     obey
        pause
        dec     %ecx
        jg      1b
sleep:
        movl    $1, BOX_ASLEEP(%rbx)
2:      mov     BOX_BED(%rbx), %rax     # another bed (layout.h): the last one and a secret, mixed
        add     ARG_SECRET(%r13), %rax
        mov     $0xbf58476d1ce4e5b9, %rdx
        imul    %rdx, %rax
        mov     %rax, %rdx
        shr     $29, %rdx
        xor     %rdx, %rax
        mov     $0x94d049bb133111eb, %rdx
        imul    %rdx, %rax
        mov     %rax, BOX_BED(%rbx)
        mfence
        shr     $(64 - BED_BITS), %rax
        lea     WORDS + BEDS(%rip), %rdi
        lea     (%rdi, %rax, 4), %rdi
        mov     (%rdi), %edx
        mov     (%r14), %eax
        cmp     %ebp, %eax
        jne     awake
        lea     2b(%rip), %r15
        jmp     futex_wait
wake_nucleus:
        mov     WORDS(%rip), %edx
        cmp     ARG_AWAKE(%r13), %edx
        je      sleep                   # it goes on when this CPU is free
        cmp     $NUCLEUS_AWAKE, %edx
        jae     spin
        lea     spin(%rip), %r15
        lea     sleep(%rip), %rax
        cmp     $NUCLEUS_NEEDS_CPU, %edx
        cmove   %rax, %r15              # it wants this very CPU
        lea     BOX_REQUEST(%rbx), %rdi
        jmp     futex_wake

# --- the two calls; they go on at r15 -----------------------------------------------------------------------------------------------------
futex_wait:                             # rdi the word, edx its value
        xor     %esi, %esi
        xor     %r10d, %r10d
        mov     $202, %eax
        syscall
stub_wait_ip:
        jmp     *%r15
futex_wake:                             # rdi the word; always everybody: who waits on another's word steals nothing
        mov     $1, %esi
        mov     $0x7fffffff, %edx
        mov     $202, %eax
        syscall
stub_wake_ip:
        jmp     *%r15

# --- obey the word in eax -----------------------------------------------------------------------------------------------------------------
awake:
        movl    $0, BOX_ASLEEP(%rbx)
obey:
        mov     %eax, %ebp
        mov     %eax, BOX_SEEN(%rbx)
        and     $COMMAND_MASK, %eax
carry_out:
        cmp     $COMMAND_RESUME, %eax
        je      resume
        cmp     $COMMAND_RETURN, %eax
        je      return_from_gate
        cmp     $COMMAND_WAKE, %eax
        je      wake_other
        cmp     $COMMAND_SLEEP, %eax
        je      sleep
        cmp     $COMMAND_AGENT, %eax
        je      run_agent
        cmp     $COMMAND_SYSRET, %eax
        je      return_to_system_call
        jmp     spin                    # no such command: wait for another
wake_other:
        mov     ARG_WAKE(%r13), %rdi
        lea     sleep(%rip), %r15
        jmp     futex_wake
run_agent:
        mov     ARG_AGENT(%r13), %rdi
        lea     1f(%rip), %r15
        jmp     futex_wake
1:      mov     ARG_REPORT(%r13), %rdi
        mov     (%rdi), %edx
        mov     ARG_REPORTED(%r13), %ecx
        mov     %edx, %eax
        sub     %ecx, %eax
        jns     2f
        lea     1b(%rip), %r15
        jmp     futex_wait
2:      mov     ARG_NEXT(%r13), %eax
        jmp     carry_out
return_from_gate:
        mov     gate_return_address(%rip), %rax
        jmp     *%rax
return_to_system_call:
        mov     gate_sysret_address(%rip), %rax
        jmp     *%rax

# --- resume a thread ----------------------------------------------------------------------------------------------------------------------
resume:
        mov     ARG_FRAME(%r13), %r12
        mov     %r12, BOX_FRAME(%rbx)
        mov     ARG_FSBASE(%r13), %rdi
        mov     %rdi, BOX_FSBASE(%rbx)
        mov     ARG_GSBASE(%r13), %rsi
        mov     %rsi, BOX_GSBASE(%rbx)
stub_hand:
        cmpl    $0, BOX_PEND(%rbx)
        jne     resume_pended
        wrfsbase %rdi
        wrgsbase %rsi
        lea     -24(%r12), %rsp
        load_frame
stub_hand_end:
resume_pended:
        movl    $0, BOX_PEND(%rbx)
        mov     BOX_FRAME(%rbx), %r12
        mov     $SIGNAL_PREEMPT, %edi
        jmp     post

# --- a signal that hit this page: rsi where ------------------------------------------------------------------------------------------------
nested:
        cmp     $SIGNAL_PREEMPT, %edi
        jne     stub_fault
        incl    BOX_ACK(%rbx)
        cmp     $(stub_hand - stub_begin), %rsi
        jb      1f
        cmp     $(stub_hand_end - stub_begin), %rsi
        jae     1f
        movl    $0, BOX_PEND(%rbx)      # it arrives now
        mov     BOX_FRAME(%rbx), %r12
        jmp     post
1:      movl    $1, BOX_PEND(%rbx)
go_back:                                # to the interrupted state, all of it: rdx
        mov     %rdx, %r12
        lea     -24(%r12), %rsp
        load_frame
stub_fault:
        mov     %edi, BOX_SIGNAL(%rbx)
        mov     %rdx, BOX_FRAME(%rbx)
        mov     $REQUEST_STUB_FAULT, %edi
        jmp     post

# --- a signal that hit the gate: rax the offset in its page (gate.S says why each range is as it is) ----------------------------------------
in_gate:
        cmp     $SIGNAL_PREEMPT, %edi
        jne     trap                    # a bad stack pointer and the like: an ordinary fault
        cmp     gate_syscall_offset(%rip), %rax
        jae     in_gate_syscall
        cmp     gate_posted_offset(%rip), %rax
        jae     1f
        movq    $GATE, UC_RIP(%rdx)     # not yet posted: start again from its beginning
        jmp     ordinary
1:      incl    BOX_ACK(%rbx)
        cmp     gate_tail_offset(%rip), %rax
        jae     2f
        movl    $1, BOX_PEND(%rbx)      # waiting for the answer
        jmp     go_back
2:      cmp     gate_ret_offset(%rip), %rax
        je      trap                    # all registers are loaded: as good as outside
        movl    $0, BOX_PEND(%rbx)
stub_post_preempted:                    # answered; from the gate, rbx set
        rdfsbase %rax
        mov     %rax, BOX_FSBASE(%rbx)
        mov     $REQUEST_CALL_PREEMPTED, %edi
        jmp     post
in_gate_syscall:
        cmp     gate_sysret_jump_offset(%rip), %rax
        je      2f
        cmp     gate_answered_offset(%rip), %rax
        je      2f
        cmp     gate_syscall_slow_offset(%rip), %rax
        jb      gate_again
        incl    BOX_ACK(%rbx)
        cmp     gate_sysret_offset(%rip), %rax
        jae     1f
        movl    $1, BOX_PEND(%rbx)      # about to post, or waiting for the answer
        jmp     go_back
1:      movl    $0, BOX_PEND(%rbx)
stub_post_sys_preempted:                # answered; from the gate, rbx set
        mov     $REQUEST_SYSCALL_PREEMPTED, %edi
        jmp     post
2:      mov     UC_R11(%rdx), %rax      # the jump is as good as done
        mov     %rax, UC_RIP(%rdx)
        jmp     ordinary
gate_again:                             # nothing has happened: rax and the flags as they were
        cmp     gate_syscall_offset(%rip), %rax
        je      ordinary
        mov     BOX_NUMBER(%rbx), %rcx
        mov     %rcx, UC_RAX(%rdx)
        cmp     gate_syscall_flags_offset(%rip), %rax
        jb      1f
        mov     BOX_FLAGS(%rbx), %ecx
        movzbl  %ch, %esi
        and     $0xd5, %esi
        and     $1, %ecx
        shl     $11, %ecx
        or      %ecx, %esi
        mov     UC_FLAGS(%rdx), %rcx
        and     $~0x8d5, %rcx
        or      %rsi, %rcx
        mov     %rcx, UC_FLAGS(%rdx)
1:      mov     gate_syscall_offset(%rip), %rcx
        add     $GATE, %rcx
        mov     %rcx, UC_RIP(%rdx)
        jmp     ordinary

# --- from the gate: it has posted and spun, ebp is the last word seen, rbx the area ----------------------------------------------------------
stub_gate_wait:                         # nothing came, or the Nucleus must be woken: eax != 0
        find_arguments
        test    %eax, %eax
        jnz     wake_nucleus
        jmp     sleep
stub_gate_other:                        # a command that is not a return: eax the word
        find_arguments
        jmp     obey

# --- a stub thread's first trap: the system call traps, and its frame is where all later ones will be ------------------------------------------
stub_ready:
        mov     $0xffff, %eax
        xor     %esp, %esp
        syscall
        ud2

# --- the actor is gone, and this thread is to serve another: whatever was interrupted is forgotten -----------------------------------------------
# Nothing that the actor could write is read from here to the first command, but a number that the next bed is made of: the area follows from the signal
# stack, the word is read only.
stub_reset:
        find_arguments
        xor     %ebp, %ebp              # the word is 0 until the first command
        mov     $REQUEST_RESET, %edi
        xchg    %edi, BOX_REQUEST(%rbx)
        cmpl    $0, WORDS(%rip)
        je      sleep
        lea     sleep(%rip), %r15
        lea     BOX_REQUEST(%rbx), %rdi
        jmp     futex_wake

# --- the agent: another file table, no stack, the only one that changes mappings ---------------------------------------------------------------
agent_entry:
        lea     ORDERS(%rip), %r12
        mov     ORDER_WORD(%r12), %r13
        xor     %ebx, %ebx
agent_wait:
        mov     (%r13), %eax
        cmp     %ebx, %eax
        jne     agent_work
        mov     %r13, %rdi
        xor     %esi, %esi
        mov     %ebx, %edx
        xor     %r10d, %r10d
        jmp     agent_futex
agent_work:
        mov     %eax, %ebx
        mov     ORDER_COUNT(%r12), %r14d
        lea     ORDER_RECORDS(%r12), %r15
        lea     ORDER_OK(%r12), %rbp
agent_next:
        test    %r14d, %r14d
        jz      agent_report
        mov     (%r15), %eax            # 9 mmap, 10 mprotect, 11 munmap
        movzbl  4(%r15), %edx           # protection
        movzwl  6(%r15), %r10d          # flags of mmap
        mov     8(%r15), %rdi           # address
        mov     16(%r15), %rsi          # length
        mov     24(%r15), %r9           # offset
        mov     $3, %r8d
        cmp     $9, %eax
        je      1f
        cmp     $11, %eax
        je      2f
        cmp     $10, %eax
        jne     agent_failed
        syscall
agent_mprotect_ip:
        jmp     3f
1:      syscall
agent_mmap_ip:
        jmp     3f
2:      syscall
agent_munmap_ip:
3:      cmp     $-4095, %rax
        jae     agent_failed
        add     $RECORD_SIZE, %r15
        dec     %r14d
        jmp     agent_next
agent_failed:
        lea     ORDER_FAIL(%r12), %rbp
agent_report:
        mov     $3, %edi
        mov     %rbp, %rsi
        mov     $8, %edx
        mov     ORDER_OFFSET_OF(%r12), %r10
        mov     $18, %eax
        syscall
agent_pwrite_ip:
        mov     ORDER_REPORT(%r12), %rdi
        mov     $1, %esi
        mov     $0x7fffffff, %edx
agent_futex:
        mov     $202, %eax
        syscall
agent_futex_ip:
        jmp     agent_wait

# --- constants that the boot fills in, before the page becomes read only -----------------------------------------------------------------------
        .balign 8
        .globl  gate_return_address, gate_posted_offset, gate_tail_offset, gate_ret_offset
        .globl  gate_sysret_address, gate_syscall_offset, gate_sysret_offset, gate_sysret_jump_offset, gate_syscall_flags_offset
        .globl  gate_answered_offset, gate_syscall_slow_offset
gate_return_address:    .quad 0
gate_posted_offset:     .quad 0
gate_tail_offset:       .quad 0
gate_ret_offset:        .quad 0
gate_sysret_address:    .quad 0
gate_syscall_offset:    .quad 0
gate_sysret_offset:     .quad 0
gate_sysret_jump_offset: .quad 0
gate_syscall_flags_offset: .quad 0
gate_answered_offset:   .quad 0
gate_syscall_slow_offset: .quad 0
stub_end:
        .section .note.GNU-stack, "", @progbits
