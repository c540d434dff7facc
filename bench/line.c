/* line: how long a cache line takes from one CPU to another and back, which is where every switch between the Nucleus and an actor begins and ends. A host that is
 * a virtual machine may get other CPUs at any time: 50 ns become 500. The least of some rounds; 0 where there is but one CPU. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define TURNS 20000
#define ROUNDS 20

static _Alignas(64) atomic_int line;

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void *other(void *unused)
{
    pin(1);
    for (int turn = 0; turn < TURNS * ROUNDS; turn++) {
        while (atomic_load(&line) != 2 * turn + 1)
            ;
        atomic_store(&line, 2 * turn + 2);
    }
    return unused;
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static int64_t measure(void)
{
    int64_t least = INT64_MAX;
    for (int round = 0, turn = 0; round < ROUNDS; round++) {
        int64_t begun = now();
        for (int last = turn + TURNS; turn < last; turn++) {
            atomic_store(&line, 2 * turn + 1);
            while (atomic_load(&line) != 2 * turn + 2)
                ;
        }
        int64_t taken = (now() - begun) / TURNS;
        least = taken < least ? taken : least;
    }
    return least;
}

int main(void)
{
    pthread_t thread;
    int64_t least = 0;
    pin(0);
    if (sysconf(_SC_NPROCESSORS_ONLN) > 1 && pthread_create(&thread, NULL, other, NULL) == 0) {
        least = measure();
        pthread_join(thread, NULL);
    }
    printf("line %ld ns\n", (long)least);
    return 0;
}
