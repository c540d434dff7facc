/* switch.S: between an actor and its host: other stack, other fs base. gs: struct host_thread. */
#define ACTOR_RSP   0
#define ACTOR_FS    8
#define HOST_FS     16
#define HOST_RSP    24
#define LI          32
#define ENTRY       40          /* of KnThreadStart */
#define STACK       48
#define ARGUMENT    56
#define FSBASE      64

        .text
/* The gate: the call's number in eax, arguments where C has them. */
        .globl actor_gate
actor_gate:
        mov     %rsp, %gs:ACTOR_RSP
        rdfsbase %r11
        mov     %r11, %gs:ACTOR_FS
        mov     %gs:HOST_FS, %r11
        wrfsbase %r11
        mov     %gs:HOST_RSP, %rsp
        push    %r9
        push    %r8
        push    %rcx
        push    %rdx
        push    %rsi
        push    %rdi
        mov     %eax, %edi
        mov     %rsp, %rsi
        call    host_call
        vzeroall                        /* a nucleus call keeps no more than a C call must */
        mov     %gs:ACTOR_FS, %r11
        wrfsbase %r11
        mov     %gs:ACTOR_RSP, %rsp
        ret

/* The handler of SIGSYS, on the alternate stack. */
        .globl actor_sigsys
actor_sigsys:
        push    %rbx
        rdfsbase %rbx
        mov     %gs:HOST_FS, %rax
        wrfsbase %rax
        call    host_sigsys
        wrfsbase %rbx
        pop     %rbx
        ret

/* actor_enter(thread): become a thread of the actor. */
        .globl actor_enter
actor_enter:
        rdfsbase %rax
        mov     %rax, HOST_FS(%rdi)
        mov     %rsp, %rax
        and     $-16, %rax
        mov     %rax, HOST_RSP(%rdi)
        wrgsbase %rdi
        mov     FSBASE(%rdi), %rax
        wrfsbase %rax
        mov     STACK(%rdi), %rsp
        mov     ENTRY(%rdi), %rax
        mov     ARGUMENT(%rdi), %rdi
        xor     %edx, %edx
        jmp     *%rax
        .section .note.GNU-stack, "", @progbits
