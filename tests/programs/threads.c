/* Threads: mutexes, conditions, barriers, thread-local storage, joining, a signal to one thread,
 * fork from a program with threads. */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

enum { THREADS = 16, ROUNDS = 2000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long counter;
static int turn;
static __thread long own = 7;
static _Atomic int signalled;

/* Each adds under the mutex, then all take turns in the order of their numbers. */
static void *count(void *argument)
{
    long number = (long)argument;
    EXPECT(own == 7);
    own = number;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    pthread_barrier_wait(&barrier);
    EXPECT(counter == (long)THREADS * ROUNDS);
    pthread_mutex_lock(&mutex);
    while (turn != number)
        pthread_cond_wait(&changed, &mutex);
    turn++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    EXPECT(own == number);
    return (void *)(number * number);
}

static void on_signal(int number)
{
    (void)number;
    signalled = (int)own;
}

static void *await_signal(void *argument)
{
    own = (long)argument;
    while (signalled != 42)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    return NULL;
}

static void count_together(void)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (long i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, count, (void *)i) == 0);
    for (long i = 0; i < THREADS; i++) {
        void *result;
        EXPECT(pthread_join(threads[i], &result) == 0);
        EXPECT((long)result == i * i);
    }
    EXPECT(turn == THREADS);
}

static void signal_one(void)
{
    pthread_t thread;
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGUSR1, &action, NULL);
    EXPECT(pthread_create(&thread, NULL, await_signal, (void *)42L) == 0);
    EXPECT(pthread_kill(thread, SIGUSR1) == 0);
    /* The handler may run before `own` is set; then it is sent again. */
    while (signalled != 42) {
        pthread_kill(thread, SIGUSR1);
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    EXPECT(pthread_join(thread, NULL) == 0);
}

static void *sleep_for_ever(void *argument)
{
    (void)argument;
    pause();
    return NULL;
}

/* The child has one thread, and its end does not disturb the others here. */
static void fork_beside(void)
{
    pthread_t thread;
    int status;
    EXPECT(pthread_create(&thread, NULL, sleep_for_ever, NULL) == 0);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0)
        exit(5);
    EXPECT(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 5);
    EXPECT(pthread_cancel(thread) == 0 && pthread_join(thread, NULL) == 0);
}

static void wait_with_a_limit(void)
{
    struct timespec now, limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_nsec += 50000000;
    limit.tv_sec += limit.tv_nsec / 1000000000;
    limit.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    EXPECT(pthread_cond_timedwait(&changed, &mutex, &limit) == ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
    clock_gettime(CLOCK_REALTIME, &now);
    EXPECT(now.tv_sec > limit.tv_sec ||
           (now.tv_sec == limit.tv_sec && now.tv_nsec >= limit.tv_nsec));
}

int main(void)
{
    count_together();
    signal_one();
    fork_beside();
    wait_with_a_limit();
    printf("threads agree\n");
    return 0;
}
