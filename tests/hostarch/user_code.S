# What the machine's tests run in their spaces: position-independent pieces, each copied to a page of its own at 0x400000. A page of data is at 0x500000; rdi has
# the thread's argument at the start.

#include <hostarch/layout.h>

        .macro  piece name
        .balign 64
        .globl  \name
        .globl  \name\()_end
\name:
        .endm

        .section .rodata
        piece   user_syscalls           # system calls with recognisable arguments, for ever; the last result is stored at 0x500000
1:      mov     $0x1234, %eax
        mov     $1, %edi
        mov     $2, %esi
        mov     $3, %edx
        mov     $4, %r10d
        mov     $5, %r8d
        mov     $6, %r9d
        syscall
        mov     %rax, 0x500000
        jmp     1b
user_syscalls_end:

        piece   user_gate               # nucleus calls; what a C call preserves is checked around each: a difference ends in ud2
        mov     $0x11, %ebx
        mov     $0x22, %ebp
        mov     $0x33, %r12d
        mov     $0x44, %r13d
        mov     $0x55, %r14d
        mov     $0x66, %r15d
        movl    $0x1f81, -8(%rsp)
        ldmxcsr -8(%rsp)
1:      mov     %rsp, 0x500008
        mov     $184, %eax
        mov     $1, %edi
        mov     $2, %esi
        mov     $3, %edx
        mov     $4, %ecx
        mov     $5, %r8d
        mov     $6, %r9d
        mov     $0x10000, %r10d
        call    *%r10
        mov     %rax, 0x500000
        stmxcsr 0x500010
        cmpl    $0x1f81, 0x500010
        jne     2f
        cmp     %rsp, 0x500008
        jne     2f
        cmp     $0x11, %rbx
        jne     2f
        cmp     $0x22, %rbp
        jne     2f
        cmp     $0x33, %r12
        jne     2f
        cmp     $0x44, %r13
        jne     2f
        cmp     $0x55, %r14
        jne     2f
        cmp     $0x66, %r15
        je      1b
2:      ud2
user_gate_end:

        piece   user_lurk               # pretend to call the Nucleus, and sleep in the stub's futex instead (at 0x500000), on the word at 0x500008,
        mov     0x500000, %r14          # with registers that lead to the code at 0x600000 when somebody wakes it
        mov     0x500008, %rdi
        mov     $0x600000, %r15d
        mov     $0xabcdef, %r12d
        mov     $(5 << 48), %rax        # that word is its bed, it says
        mov     %rax, %gs:BOX_BED
        mov     $64, %eax
        xchg    %eax, %gs:0
        xor     %esi, %esi
        mov     (%rdi), %edx
        xor     %r10d, %r10d
        mov     $202, %eax
        jmp     *%r14
user_lurk_end:

        piece   user_trapped            # what such a thread is to run in another actor
        movq    $0xbad, 0x500100
1:      jmp     1b
user_trapped_end:

        piece   user_count              # count at (rdi), for ever
1:      incq    (%rdi)
        jmp     1b
user_count_end:

        piece   user_state              # registers of all kinds keep what is put into them, whatever happens between: a difference ends in ud2
        mov     %rdi, %rbx
1:      mov     $64, %ecx
        movq    %rbx, %xmm0
        movq    %rbx, %xmm15
        punpcklqdq %xmm15, %xmm15
        fldz
        fld1
        mov     %rbx, %rax
        mov     %rbx, %rdx
        mov     %rbx, %rsi
        mov     %rbx, %r8
        mov     %rbx, %r9
        mov     %rbx, %r10
        mov     %rbx, %r11
        mov     %rbx, %r14
        mov     %rbx, -64(%rsp)         # the red zone
        std
2:      cmp     %rbx, %rax
        jne     3f
        cmp     %rbx, %rdx
        jne     3f
        cmp     %rbx, %rsi
        jne     3f
        cmp     %rbx, %r8
        jne     3f
        cmp     %rbx, %r9
        jne     3f
        cmp     %rbx, %r10
        jne     3f
        cmp     %rbx, %r11
        jne     3f
        cmp     %rbx, %r14
        jne     3f
        cmp     %rbx, -64(%rsp)
        jne     3f
        movq    %xmm0, %r12
        cmp     %rbx, %r12
        jne     3f
        movhlps %xmm15, %xmm1
        movq    %xmm1, %r12
        cmp     %rbx, %r12
        jne     3f
        pushfq
        pop     %r12
        test    $0x400, %r12
        jz      3f
        dec     %ecx
        jnz     2b
        cld
        fstpl   -16(%rsp)
        fstpl   -24(%rsp)
        mov     $0x3ff0000000000000, %r12
        cmp     %r12, -16(%rsp)
        jne     3f
        add     $0x10001, %rbx
        incq    0x500000
        jmp     1b
3:      cld
        ud2
user_state_end:

        piece   user_rewritten          # system calls by the gate's second entry, for ever; rdi: a cell, where calls are counted and the last result is stored.
        mov     %rdi, %rbx              # What a system call preserves is checked around each: a difference ends in ud2
1:      lea     1(%rbx), %rdi
        lea     2(%rbx), %rsi
        lea     3(%rbx), %rdx
        lea     4(%rbx), %r10
        lea     5(%rbx), %r8
        lea     6(%rbx), %r9
        lea     7(%rbx), %rbp
        lea     8(%rbx), %r12
        lea     9(%rbx), %r13
        lea     10(%rbx), %r14
        lea     11(%rbx), %r15
        mov     %rbx, -8(%rsp)          # the red zone
        mov     %rbx, -120(%rsp)
        movq    %rbx, %xmm0
        movq    %rbx, %xmm15
        punpcklqdq %xmm15, %xmm15
        movl    $0x3f80, -16(%rsp)      # another rounding
        ldmxcsr -16(%rsp)
        fninit
        fld1
        mov     $0x1234, %eax
        mov     $0x7fffffff, %ecx
        incq    (%rbx)
        testq   $1, (%rbx)
        jz      2f
        add     $1, %ecx                # overflow, sign, no carry
        lea     4f(%rip), %r11
        jmp     *0x11030
2:      or      $-1, %ecx
        add     $1, %ecx                # carry, zero, no overflow
        lea     3f(%rip), %r11
        jmp     *0x11030
3:      jnc     9f
        jnz     9f
        jo      9f
        js      9f
        jmp     5f
4:      jc      9f
        jz      9f
        jno     9f
        jns     9f
5:      mov     %rax, 8(%rbx)
        sub     %rbx, %rdi
        cmp     $1, %rdi
        jne     9f
        sub     %rbx, %rsi
        cmp     $2, %rsi
        jne     9f
        sub     %rbx, %rdx
        cmp     $3, %rdx
        jne     9f
        sub     %rbx, %r10
        cmp     $4, %r10
        jne     9f
        sub     %rbx, %r8
        cmp     $5, %r8
        jne     9f
        sub     %rbx, %r9
        cmp     $6, %r9
        jne     9f
        sub     %rbx, %rbp
        cmp     $7, %rbp
        jne     9f
        sub     %rbx, %r12
        cmp     $8, %r12
        jne     9f
        sub     %rbx, %r13
        cmp     $9, %r13
        jne     9f
        sub     %rbx, %r14
        cmp     $10, %r14
        jne     9f
        sub     %rbx, %r15
        cmp     $11, %r15
        jne     9f
        cmp     %rbx, -8(%rsp)
        jne     9f
        cmp     %rbx, -120(%rsp)
        jne     9f
        movq    %xmm0, %r12
        cmp     %rbx, %r12
        jne     9f
        movhlps %xmm15, %xmm1
        movq    %xmm1, %r12
        cmp     %rbx, %r12
        jne     9f
        stmxcsr -16(%rsp)
        mov     -16(%rsp), %ecx
        and     $0xffc0, %ecx           # the exceptions seen do not matter
        cmp     $0x3f80, %ecx
        jne     9f
        fstpl   -24(%rsp)
        mov     $0x3ff0000000000000, %r12
        cmp     %r12, -24(%rsp)
        jne     9f
        jmp     1b
9:      ud2
user_rewritten_end:

        piece   user_touch              # write to the page at rdi, then trap, for ever
1:      movq    $7, (%rdi)
        mov     $39, %eax
        syscall
        jmp     1b
user_touch_end:

        piece   user_32bit
        mov     $20, %eax
        int     $0x80
        mov     $0x40000027, %eax
        syscall
        ud2
user_32bit_end:
        .section .note.GNU-stack, "", @progbits
