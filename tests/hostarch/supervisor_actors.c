#include "supervisor_actors.h"

static inline __attribute__((always_inline)) uint64_t call(struct actor_page *page, uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                                           uint64_t e, uint64_t f)
{
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    uint64_t result = number;
    __asm__ volatile("sub $128, %%rsp; call *%[gate]; add $128, %%rsp"
                     : "+a"(result), "+D"(a), "+S"(b), "+d"(c), "+c"(d), "+r"(r8), "+r"(r9)
                     : [gate] "r"(page->gate)
                     : "memory", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13", "xmm14", "xmm15");
    return result;
}

ACTOR void actor_adds(struct actor_page *page)
{
    for (;;)
        page->value[0] += call(page, 100, 1, 2, 3, 4, 5, 6);
}

ACTOR void actor_traps(struct actor_page *page)
{
    register uint64_t r10 __asm__("r10") = 14;
    register uint64_t r8 __asm__("r8") = 15;
    register uint64_t r9 __asm__("r9") = 16;
    uint64_t result = 39;
    __asm__ volatile("syscall" : "+a"(result) : "D"(11ull), "S"(12ull), "d"(13ull), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    page->value[0] = result;
    for (;;)
        call(page, 101, 0, 0, 0, 0, 0, 0);
}

/* Sums that keep every round: one register lost once shows at the end. No constants, which lie outside this section. */
ACTOR void actor_computes(struct actor_page *page)
{
    uint64_t rounds = page->value[1], whole = 1, mixed = 7;
    double zero = (double)(int64_t)(rounds ^ rounds), a = zero, b = zero, c = zero, d = zero, e = zero, f = zero;
    for (uint64_t i = 0; i < rounds; i++) {
        whole = whole * 6364136223846793005ull + mixed;
        mixed ^= whole >> 29;
        a += (double)(int64_t)(mixed & 255);
        b += (double)(int64_t)(mixed >> 8 & 255);
        c += (double)(int64_t)(mixed >> 16 & 255);
        d += (double)(int64_t)(mixed >> 24 & 255);
        e += (double)(int64_t)(mixed >> 32 & 255);
        f += (double)(int64_t)(mixed >> 40 & 255);
    }
    page->value[2] = (uint64_t)(int64_t)(a + b + c + d + e + f);
    page->value[0] = whole ^ mixed;
    for (;;)
        call(page, 101, 0, 0, 0, 0, 0, 0);
}

ACTOR void actor_touches(struct actor_page *page)
{
    volatile uint64_t *at = (volatile uint64_t *)page->value[0];
    page->value[1] = *at;
    *at = 99;
    for (;;)
        call(page, 101, 0, 0, 0, 0, 0, 0);
}

ACTOR void actor_divides(struct actor_page *page)
{
    uint32_t high = 0, low = 1;
    __asm__ volatile("div %2" : "+a"(low), "+d"(high) : "r"((uint32_t)page->value[0]));
    page->value[1] = low;
}

ACTOR void actor_is_illegal(struct actor_page *page)
{
    (void)page;
    __asm__ volatile("ud2");
}

ACTOR void actor_loops(struct actor_page *page)
{
    for (;;)
        page->value[0]++;
}

ACTOR void actor_reads_fs(struct actor_page *page)
{
    for (;;) {
        uint64_t word;
        __asm__ volatile("mov %%fs:0, %0" : "=r"(word));
        page->value[0] = word;
        call(page, 101, 0, 0, 0, 0, 0, 0);
    }
}
