/* layout.h: what lies where in an actor's process, for C and assembly alike.
 *
 * The machine's own pages are at B, chosen at random once per boot and the same in every actor of the site (a forked child's memory holds
 * its parent's addresses). All of them share B's high 32 bits, so the filters compare words. From B:
 *
 *   CODE    read, execute   stub and agent code, one frame run for all actors, sealed
 *   ORDER   read            this actor's: orders to its agent, arguments of orders to its stub threads
 *   AREA i  read, write     stub thread i's mail box, resume frame and signal stack; untrusted
 *   WORDS   read            of the whole site: one word per stub thread, one report word per agent; and the beds, which all may write
 *   SETUP                   code of the zygote and of an actor's birth; unmapped before actor code is mapped
 *
 * At fixed addresses, read and execute, is what actors may know of: the gate, the answer page, the vDSO (<exec/chAnswers.h>).
 */
#ifndef HOSTARCH_LAYOUT_H
#define HOSTARCH_LAYOUT_H

#define GATE 0x10000
#define GATE_SIZE 0x1000
#define ACTOR_BEGIN 0x20000 /* the actor's memory, up to B */
#define ANSWERS_OFFSET 0x1000 /* from GATE */
#define VDSO_OFFSET 0x2000
#define VDSO_SIZE 0x2000
#define FIXED_SIZE (VDSO_OFFSET + VDSO_SIZE) /* all that is at GATE */

#define CODE_OFFSET 0x0
#define CODE_SIZE 0x2000
#define ORDER_OFFSET 0x10000
#define ORDER_SIZE 0x2000
#define AREA_OFFSET 0x20000
#define AREA_SHIFT 15
#define AREA_SIZE 0x8000 /* aligned to itself: a handler finds its area from its stack pointer */
#define AREA_MAX 28      /* stub threads of an actor: what the order page has room for */
#define WORDS_OFFSET 0x400000
#define WORDS_MAX 0x400000
#define SETUP_OFFSET 0x1000000
#define SETUP_CODE_SIZE 0x4000
#define SETUP_DATA_SIZE 0x10000
#define SETUP_SIZE (SETUP_CODE_SIZE + SETUP_DATA_SIZE)

/* In an area. */
#define RESUME_FRAME 0x1080  /* a ucontext that the Nucleus wrote, */
#define RESUME_XSTATE 0x1200 /* and its extended state */
#define RESUME_END 0x2000
#define STACK_OFFSET 0x2000 /* the signal stack, to the end */

/* In the mail box, at an area's start. Written by the stub and by whoever it pleases in that actor. */
#define BOX_REQUEST 0x00 /* u32: what is wanted; 0 after the Nucleus has read it */
#define BOX_NUMBER 0x08  /* gate: number of the call; then its result */
#define BOX_ARG0 0x10
#define BOX_ARG1 0x18
#define BOX_ARG2 0x20
#define BOX_ARG3 0x28
#define BOX_ARG4 0x30
#define BOX_ARG5 0x38
#define BOX_RSP 0x40 /* gate: what a C call preserves */
#define BOX_RBX 0x48
#define BOX_RBP 0x50
#define BOX_R12 0x58
#define BOX_R13 0x60
#define BOX_R14 0x68
#define BOX_R15 0x70
#define BOX_MXCSR 0x78 /* u32 */
#define BOX_FCW 0x7c   /* u16 */
#define BOX_FRAME 0x80 /* trap: address of the frame */
#define BOX_FSBASE 0x88
#define BOX_GSBASE 0x90
#define BOX_SIGNAL 0x98 /* u32: of a stub fault */
#define BOX_FLAGS 0xa0  /* u32: gate, a system call: second byte the low flags, first byte the overflow flag */
#define BOX_RIP 0xa8    /* gate, a system call: where it returns to */
#define BOX_ASLEEP 0xc0 /* u32 */
#define BOX_ACK 0xc4    /* u32: preemptions that arrived */
#define BOX_PEND 0xc8   /* u32: one arrived in the stub's own code */
#define BOX_SEEN 0xcc   /* u32: the last word that was obeyed */
#define BOX_TID 0xd0    /* u32: at birth, as the next */
#define BOX_AGENT_TID 0xd4
#define BOX_BED 0xd8    /* u64: its high 16 bits are the bed that the stub thread sleeps in */

/* Requests. A signal number below 32 stands for itself. */
#define REQUEST_CALL 64
#define REQUEST_CALL_PREEMPTED 65 /* the call is answered, its thread was preempted on the way back */
#define REQUEST_STUB_FAULT 66
#define REQUEST_RESET 67 /* the thread is as if newborn; a hint: reuse.c asks the host */
#define REQUEST_SYSCALL 68 /* a system call by the gate: registers in the box, extended state at RESUME_XSTATE */
#define REQUEST_SYSCALL_PREEMPTED 69 /* as REQUEST_CALL_PREEMPTED */

/* In the order pages. */
#define ORDER_WORD 0x00      /* address of the agent's word */
#define ORDER_REPORT 0x08    /* address of its report word */
#define ORDER_OFFSET_OF 0x10 /* where the report word is in the memfd */
#define ORDER_COUNT 0x18     /* u32 */
#define ORDER_OK 0x20        /* u64: what it reports */
#define ORDER_FAIL 0x28
#define ORDER_AGENT_WORD 0x30 /* u32: what the agent waits on. Here nobody but its own actor can wake it */
#define ORDER_ARGS 0x100 /* blocks of ARGS_SIZE, one per stub thread */
#define ARGS_SIZE 0x80
#define ORDER_ANSWERS 0xf00 /* of system calls by the gate: for each number below ANSWER_NUMBERS a byte, 0 or which value, */
#define ANSWER_NUMBERS 128
#define ANSWER_VALUES 128 /* then the values, counted from 1, 8 bytes each */
#define ORDER_RECORDS 0x1000
#define RECORD_SIZE 32 /* u32 call, u32 protection, u64 address, u64 length, u32 flags << 32.. see space.c */
#define RECORDS_MAX 128

#define ARG_WORD 0x00
#define ARG_SPIN 0x08 /* u32: looks at the word before it sleeps */
#define ARG_NEXT 0x0c /* u32: command after ORDER_AGENT */
#define ARG_FRAME 0x10
#define ARG_FSBASE 0x18
#define ARG_GSBASE 0x20
#define ARG_WAKE 0x28
#define ARG_AGENT 0x30
#define ARG_REPORT 0x38
#define ARG_REPORTED 0x40 /* u32 */
#define ARG_SECRET 0x48   /* u64 */
#define ARG_AWAKE 0x50    /* u32: what the Nucleus's word is when it is awake on this stub's CPU */

/* Commands, the low bits of a stub's word. */
#define COMMAND_MASK 7
#define COMMAND_RESUME 1
#define COMMAND_RETURN 2 /* from the gate */
#define COMMAND_WAKE 3   /* another, then sleep */
#define COMMAND_AGENT 4  /* then ARG_NEXT */
#define COMMAND_SYSRET 5 /* from the gate, to a system call */
#define COMMAND_SLEEP 6  /* the other needs no wake */
#define COMMAND_STEP 8

/* In the words: at 0 what the Nucleus does: 0 it polls; else it must be woken, and, with the second value, a stub that woke it sleeps at
 * once, since the Nucleus wants its CPU. From WORDS_FIRST, per process, WORD_LINE bytes for each stub thread and the report.
 *
 * A stub thread looks at its word and sleeps on another one, its bed. All actors can wake it, since one stub wakes the next, and one that did so for ever
 * would cost it the CPU. So it takes another bed at random for each sleep: known to its own process, and to who is just told to wake it. It writes down the bed,
 * reads its content, looks at its word, and sleeps while the content is that. Who wakes it changes its word first, and then reads which bed it is.
 * Two in one bed do no harm: who is woken for another looks at its word and sleeps again. Beds are mapped writable, though nobody but the Nucleus writes there,
 * since the host looks a futex up for writing first, and where it may not write it walks its lists of mappings, twice for each switch. Who scribbles there can make a
 * sleeper look again, or, if it hits the moment, sleep until the Nucleus misses it (cpu.c, HOP_PATIENCE). */
#define NUCLEUS_ASLEEP 1
#define NUCLEUS_NEEDS_CPU 2
#define NUCLEUS_AWAKE 3 /* and the host CPU's number: it is awake there, but has no CPU of its own. A stub on that CPU sleeps at once, without a wake */
#define WORD_LINE 64
#define BEDS 0x1000
#define BED_BITS 16 /* words of 4 bytes */
#define BEDS_SIZE (4 << BED_BITS)
#define WORDS_FIRST (BEDS + BEDS_SIZE)

/* The signal stack of the Nucleus's own thread: supervisor actors. */
#define SUPERVISOR_STACK_SIZE 0x10000

/* A ucontext, as the host delivers it. */
#define UC_R8 40
#define UC_R9 48
#define UC_R10 56
#define UC_R11 64
#define UC_R12 72
#define UC_R13 80
#define UC_R14 88
#define UC_R15 96
#define UC_RDI 104
#define UC_RSI 112
#define UC_RBP 120
#define UC_RBX 128
#define UC_RDX 136
#define UC_RAX 144
#define UC_RCX 152
#define UC_RSP 160
#define UC_RIP 168
#define UC_FLAGS 176
#define UC_CS 184
#define UC_SS 190
#define UC_ERROR 192
#define UC_TRAP 200
#define UC_CR2 216
#define UC_FPSTATE 224
#define UC_SIZE 304        /* with its signal mask */
#define FP_XFEATURES 472   /* in the extended state: what it holds */

#define SIGNAL_PREEMPT 10 /* SIGUSR1: a standard signal; real-time ones queue up */
#define SIGNAL_RESET 12   /* SIGUSR2: forget the actor, wait for another */

#endif
