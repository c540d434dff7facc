/* internal.h: what the files of libchorus share.
 *
 * Everything that runs for a reflected trap is compiled for general registers only, without stack
 * protector, and calls neither libc nor anything that needs thread-local storage or relocation: it
 * runs in the middle of libc, from libc's first system call on.
 */
#ifndef LIBCHORUS_INTERNAL_H
#define LIBCHORUS_INTERNAL_H

#include <chorus.h>
#include <stdbool.h>
#include <sys/syscall.h>

#pragma GCC visibility push(hidden)

/* The entry of the auxiliary vector that holds the gate's address. */
#define AT_CHORUS_GATE 0x43484f52u

/* The address of the gate: every nucleus call goes through it. */
extern VmAddr chorus_gate;

/* A trapped thread's registers as reflect.S saves them, and what the Nucleus wrote before. */
struct reflected {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
    KnReflect trap;
};

/* reflect.S: where the Nucleus resumes a trapped thread. */
void chorus_reflected(void);
/* reflect.S: where a new thread begins that is to go on like its creator; its argument is a struct
 * reflected, its stack pointer the extended state. */
void chorus_reflect_child(void);
/* reflect.S: end the calling thread on another stack: *word = 0, wake who waits for it. */
void chorus_thread_end(uint32_t *word, void *stack_top) __attribute__((noreturn));
/* How reflect.S saves the extended state: which parts, how many bytes. */
extern uint64_t chorus_xstate_mask, chorus_xstate_size;
void chorus_xstate_begin(void);

/* start.c: called by start.S. */
void chorus_begin(const uint64_t *stack);
/* dispatch.c: called by reflect.S; <xstate> is the saved extended state. */
void chorus_dispatch(struct reflected *frame, const void *xstate);

/* One reflected system call. */
struct libc_call {
    uint64_t number;
    uint64_t arg[6];
    struct reflected *frame;
    const void *xstate;
};
/* Handlers return the result that Linux would: a value, or a negative errno. */
typedef int64_t libc_handler(struct libc_call *call);
#define LIBC_CALL(number, handler) libc_handler handler;
#include "linux.def"
#undef LIBC_CALL

/* What a clock of Linux says, ns. K_EINVAL: there is no such clock. */
int libc_clock_read(uint64_t clock, KnTime *now);

/* The negative errno for a negative status; other values as they are. */
int64_t libc_result(int64_t status);

struct timespec;
/* time.c: nanoseconds, at most INT64_MAX. False: malformed. */
bool libc_time_in(const struct timespec *from, KnTime *to);

/* log.c: a line for the site's log: <text>, and <number> if it is not negative. */
void chorus_log(const char *text, int64_t number);
/* log.c: send what is left of unfinished lines. */
void log_flush(void);

static inline void bytes_copy(void *to, const void *from, size_t size)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

static inline void bytes_clear(void *to, size_t size)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(0) : "memory");
}

#pragma GCC visibility pop

#endif
