/* The gate's entry: the number in eax, arguments where C has them. It destroys whatever a C call may
 * destroy, the extended state above all. */
        .text
        .globl fake_gate
fake_gate:
        push    %r9
        push    %r8
        push    %rcx
        push    %rdx
        push    %rsi
        push    %rdi
        sub     $8, %rsp
        mov     %eax, %edi
        lea     8(%rsp), %rsi
        call    fake_gate_call
        add     $56, %rsp
        mov     $0x6661, %edi
        mov     %rdi, %rsi
        mov     %rdi, %rdx
        mov     %rdi, %rcx
        mov     %rdi, %r8
        mov     %rdi, %r9
        mov     %rdi, %r10
        mov     %rdi, %r11
        fninit
        vzeroall
        ret
        .section .note.GNU-stack, "", @progbits
