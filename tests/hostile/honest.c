/* An honest computing actor: counts for some seconds, tells the least count of any second, and ends the site (unless told not to).
 *
 *   honest SECONDS [stay]
 */
#include <chorus.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long count_for(KnTime duration)
{
    unsigned long count = 0;
    KnTime now, end;
    sysTime(&end);
    end += duration;
    do {
        for (volatile int i = 0; i < 10000; i++)
            ;
        count++;
        sysTime(&now);
    } while (now < end);
    return count;
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 3;
    KnSched ordinary = {K_SCHED_RR, K_PRIO_USER, 0};
    threadScheduler(K_MYACTOR, K_MYSELF, NULL, &ordinary);
    unsigned long least = ~0ul, sum = 0;
    for (int i = 0; i < seconds; i++) {
        unsigned long count = count_for(1000000000);
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
