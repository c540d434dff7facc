/* exec/chAnswers.h: questions that are answered inside the actor, without the Nucleus.
 *
 * Two pages are mapped in every user actor, at fixed addresses, read only:
 *
 *   K_ANSWERS  a KnAnswers, kept by the Nucleus: how the processor's time-stamp counter becomes sysTime and univTime
 *   K_VDSO     an ELF image (a shared object, all of it in memory) with __vdso_clock_gettime, gettimeofday, time, clock_getres and getcpu, as
 *              programs of Linux find them by AT_SYSINFO_EHDR. What it cannot answer it asks by a system call, which traps as any does
 *
 * Nothing in them is a secret: times are those of the site, and no address or number of the host is there.
 *
 * The clocks are the Nucleus's own: sysTime and univTime are reckoned from the same numbers, so a time read here and one that the Nucleus tells
 * never go back against each other. The numbers are renewed while anything runs; in between, and while the site is idle, they go on by themselves.
 */
#ifndef EXEC_CHANSWERS_H
#define EXEC_CHANSWERS_H

#include <stdint.h>

#define K_ANSWERS 0x11000ull
#define K_VDSO 0x12000ull

typedef struct KnAnswers {
    uint32_t sequence;    /* odd: being written; changed meanwhile: read again */
    uint32_t clockUsable; /* 0: the counter cannot be relied on here, ask the Nucleus */
    uint64_t counter;     /* at that value of the time-stamp counter */
    int64_t time;         /* it was so late by sysTime, ns, */
    uint64_t fraction;    /* and so many 2^-32 ns; */
    uint64_t rate;        /* a tick is so many 2^-32 ns */
    int64_t day;          /* univTime less sysTime, ns */

    /* For system-call instructions that were rewritten into jumps: the gate's second entry. rax the number, arguments where Linux has them, r11 where
     * to go on afterwards. All but rax, rcx and r11 is preserved; nothing is written below rsp. It must not be entered by a thread that has set
     * a gs base of its own: the entry is only good if gateMail and the gs base's high half, bytes reversed, add up to 0 in 32 bits. */
    uint64_t gateSyscall; /* address */
    uint32_t gateMail;
    uint32_t unused;
} KnAnswers;

/* sysTime when the counter is <counter>, by a consistent KnAnswers. */
static inline int64_t knAnswersTime(const KnAnswers *answers, uint64_t counter)
{
    int64_t ticks = (int64_t)(counter - answers->counter);
    if (ticks < 0)
        ticks = 0; /* of another CPU, a moment before the numbers were renewed */
    unsigned __int128 passed = (unsigned __int128)(uint64_t)ticks * answers->rate + answers->fraction;
    return answers->time + (int64_t)(uint64_t)(passed >> 32);
}

#endif
