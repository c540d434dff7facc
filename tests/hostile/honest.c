/* An honest computing actor: counts for some seconds, tells the least count of any second, and ends the site (unless told not to).
 *
 *   honest SECONDS [stay]
 */
#include <chorus.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long ticks_per_second(void)
{
    KnTime from, to;
    sysTime(&from);
    unsigned long start = __builtin_ia32_rdtsc();
    threadDelay(50000000);
    sysTime(&to);
    return (unsigned long)((double)(__builtin_ia32_rdtsc() - start) * 1e9 / (double)(to - from));
}

/* Asks nobody for the time: only what the CPU gives counts. */
static unsigned long count_for(unsigned long ticks)
{
    unsigned long count = 0, end = __builtin_ia32_rdtsc() + ticks;
    while (__builtin_ia32_rdtsc() < end) {
        for (volatile int i = 0; i < 1000; i++)
            ;
        count++;
    }
    return count;
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 3;
    KnSched ordinary = {K_SCHED_RR, K_PRIO_USER, 0};
    threadScheduler(K_MYACTOR, K_MYSELF, NULL, &ordinary);
    unsigned long least = ~0ul, sum = 0, second = ticks_per_second();
    for (int i = 0; i < seconds; i++) {
        unsigned long count = count_for(second);
        sum += count;
        if (count < least)
            least = count;
    }
    printf("honest: least %lu mean %lu\n", least, sum / (unsigned)seconds);
    fflush(stdout);
    if (argc <= 2)
        sysShutdown(0, 0);
    for (;;)
        threadDelay(1000000000);
}
