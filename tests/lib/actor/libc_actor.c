/* libc_actor.c: an actor that uses its libc as any program would, and checks what it gets.
 *
 * It prints "ok - SENTENCE" or "not ok - SENTENCE" for each check; its last line is "libc_actor: passed" or
 * "libc_actor: FAILED". Run by the little host of host.c, as a user actor, and as a supervisor actor.
 */
#include <chorus.h>
#include <sync/chSem.h>

#include <errno.h>
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define THREADS 6
#define ROUNDS 3000

static int failures;

static void check(bool holds, const char *sentence)
{
    printf("%s - %s\n", holds ? "ok" : "not ok", sentence);
    failures += !holds;
}

/* --- what is there when main begins --- */

static __thread int local_zero;
static __thread int local_seven = 7;
static int constructed;
static const char *const relocated[] = { "zero", "one" };

static void __attribute__((constructor)) construct(void)
{
    constructed = 1;
}

static void test_start(int argc, char **argv)
{
    char text[64];
    check(argc >= 1 && argv[argc] == NULL, "the arguments end with NULL");
    check(constructed == 1, "constructors have run");
    check(local_zero == 0 && local_seven == 7, "thread-local variables have their values");
    check(strcmp(relocated[argc > 100], "zero") == 0, "pointers are relocated");
    snprintf(text, sizeof text, "%.3f %5d %s %#lx", sqrt(2.0), -42, "text", 0x1234ul);
    check(strcmp(text, "1.414   -42 text 0x1234") == 0, "printf prints numbers of all kinds");
    check(fopen("/etc/passwd", "r") == NULL && errno == ENOENT, "there are no files");
    check(getpid() > 0, "the actor has a number");
}

/* --- memory --- */

static void test_memory(void)
{
    static char *blocks[200];
    bool whole = true;
    for (size_t i = 0; i < 200; i++) {
        size_t size = 1 + i * i * 13;
        blocks[i] = malloc(size);
        if (blocks[i] == NULL)
            whole = false;
        else
            memset(blocks[i], (int)i, size);
    }
    for (size_t i = 0; i < 200; i++)
        whole = whole && blocks[i][0] == (char)i && blocks[i][i * i * 13] == (char)i;
    for (size_t i = 0; i < 200; i++)
        free(blocks[i]);
    check(whole, "small and large blocks keep what is written");

    char *grown = malloc(300000);
    memset(grown, 'g', 300000);
    grown = realloc(grown, 3000000);
    check(grown != NULL && grown[299999] == 'g', "a large block grows");
    free(grown);

    char *pages = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(pages != MAP_FAILED && mprotect(pages, 8192, PROT_READ | PROT_WRITE) == 0,
          "reserved pages can be opened");
    pages[8191] = 'p';
    check(madvise(pages, 8192, MADV_DONTNEED) == 0 && pages[8191] == 0, "discarded pages are zero");
    check(munmap(pages, 65536) == 0, "pages can be given back");
}

/* --- threads --- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned counter, turn;
static _Atomic unsigned wrong;

static void *work(void *argument)
{
    uintptr_t me = (uintptr_t)argument;
    local_zero = (int)me;
    for (unsigned i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
        char *block = malloc(16 + i % 500);
        sprintf(block, "%d", (int)me);
        if (atoi(block) != local_zero)
            wrong++;
        free(block);
    }
    for (unsigned i = 0; i < 20; i++) { /* one after the other, in a ring */
        pthread_mutex_lock(&mutex);
        while (turn % THREADS != me)
            pthread_cond_wait(&changed, &mutex);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return (void *)(me * 2);
}

static void test_threads(void)
{
    pthread_t threads[THREADS];
    bool good = true;
    for (uintptr_t i = 0; i < THREADS; i++)
        good = pthread_create(&threads[i], NULL, work, (void *)i) == 0 && good;
    check(good, "threads start");
    if (!good)
        return;
    for (uintptr_t i = 0; i < THREADS; i++) {
        void *result = NULL;
        good = pthread_join(threads[i], &result) == 0 && result == (void *)(i * 2) && good;
    }
    check(good, "threads end and are joined");
    check(counter == THREADS * ROUNDS, "a mutex lets one in at a time");
    check(turn == THREADS * 20, "a condition passes the turn round");
    check(wrong == 0, "each thread has thread-local variables and memory of its own");
}

static void *rounding(void *result)
{
    *(int *)result = fegetround();
    return NULL;
}

static void *nothing(void *argument)
{
    return argument;
}

static void test_births(void)
{
    pthread_t thread;
    int mode = -1;
    fesetround(FE_UPWARD);
    pthread_create(&thread, NULL, rounding, &mode);
    pthread_join(thread, NULL);
    fesetround(FE_TONEAREST);
    check(mode == FE_UPWARD, "a new thread inherits the floating-point environment");
    bool good = true;
    for (int i = 0; i < 300 && good; i++)
        good = pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0;
    check(good, "hundreds of threads come and go");
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 16384);
    for (int i = 0; i < 100 && good; i++)
        good = pthread_create(&thread, &detached, nothing, NULL) == 0;
    check(good, "threads that nobody joins, with small stacks, too");
}

/* --- time --- */

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static void test_time(void)
{
    int64_t begin = now();
    usleep(20000);
    int64_t slept = now() - begin;
    check(slept >= 20000000 && slept < 2000000000, "sleeping takes its time");
    check(time(NULL) > 1600000000, "it is later than 2020");

    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 10000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&mutex);
    int result = pthread_cond_timedwait(&changed, &mutex, &until);
    pthread_mutex_unlock(&mutex);
    check(result == ETIMEDOUT, "a wait for a condition times out");
}

/* --- the Nucleus beside libc --- */

static void test_nucleus(void)
{
    uint8_t bytes[40] = { 0 };
    bool any = false;
    check(getrandom(bytes, sizeof bytes, 0) == sizeof bytes, "random bytes are given");
    for (size_t i = 0; i < sizeof bytes; i++)
        any = any || bytes[i] != 0;
    check(any, "they are not all zero");
    KnSem sem;
    semInit(&sem, 0);
    check(semP(&sem, 1000000) == K_ETIMEOUT, "a semaphore of the Nucleus times out");
    KnTime time = 0;
    check(sysTime(&time) == K_OK && time > 0, "the site has a clock");
    double kept[8];
    for (int i = 0; i < 8; i++)
        kept[i] = sqrt(i + 0.5);
    sched_yield(); /* a reflected call */
    bool same = true;
    for (int i = 0; i < 8; i++)
        same = same && kept[i] == sqrt(i + 0.5);
    check(same, "numbers survive a system call");
    sem_t posted;
    sem_init(&posted, 0, 1);
    check(sem_wait(&posted) == 0 && sem_trywait(&posted) == -1 && errno == EAGAIN, "a semaphore of libc");
    check(signal(SIGTERM, SIG_IGN) != SIG_ERR, "signals are accepted, though there are none");
}

int main(int argc, char **argv)
{
    test_start(argc, argv);
    test_memory();
    test_threads();
    test_births();
    test_time();
    test_nucleus();
    printf("libc_actor: %s\n", failures == 0 ? "passed" : "FAILED");
    return failures != 0;
}
