/* The I/O pool: a queue under a lock, and threads that sleep on it. */
#include "io_pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>

#define THREADS_MAX 16
#define STACK_SIZE  (64 * 1024)

struct io_pool {
    struct bus *bus;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct io_job *first, **end;        /* under the lock: jobs that nobody has begun */
    unsigned working;                   /* under the lock: threads that have a job */
    bool lonely;                        /* under the lock: one of them wants to be alone */
    bool closing;                       /* under the lock */
    unsigned threads;
    pthread_t thread[THREADS_MAX];
};

void io_pool_destroy(struct io_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    bool stuck = pool->working != 0;
    pthread_cond_broadcast(&pool->more);
    pthread_mutex_unlock(&pool->lock);
    if (stuck)
        return;                         /* the thread still needs the pool */
    for (unsigned i = 0; i < pool->threads; i++)
        pthread_join(pool->thread[i], NULL);
    pthread_cond_destroy(&pool->more);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

static void finished(struct bus_completion *completion)
{
    struct io_job *job = (struct io_job *)((char *)completion
                                           - offsetof(struct io_job, completion));
    job->done(job);
}

/* Take a job out of the queue. Under the lock. */
static struct io_job *job_unlink(struct io_pool *pool, struct io_job **link)
{
    struct io_job *job = *link;

    *link = job->next;
    if (pool->end == &job->next)
        pool->end = link;
    return job;
}

/* The first that may be begun now, or NULL. Under the lock. */
static struct io_job *job_next(struct io_pool *pool)
{
    for (struct io_job **link = &pool->first; *link != NULL; link = &(*link)->next)
        if (!(*link)->alone || !pool->lonely)
            return job_unlink(pool, link);
    return NULL;
}

/* The next job, or NULL when the pool closes. Waits. */
static struct io_job *job_take(struct io_pool *pool)
{
    struct io_job *job;

    pthread_mutex_lock(&pool->lock);
    while ((job = job_next(pool)) == NULL && !(pool->closing && pool->first == NULL))
        pthread_cond_wait(&pool->more, &pool->lock);
    if (job != NULL) {
        pool->working++;
        pool->lonely |= job->alone;
    }
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *pool_thread(void *argument)
{
    struct io_pool *pool = argument;
    struct io_job *job;

    while ((job = job_take(pool)) != NULL) {
        job->work(job);
        pthread_mutex_lock(&pool->lock);
        pool->working--;
        if (job->alone)
            pool->lonely = false;       /* we take the next one ourselves, if another thread has not woken */
        bool left_behind = pool->closing;
        pthread_mutex_unlock(&pool->lock);
        if (left_behind)
            break;                                  /* the bus is gone */
        bus_post(pool->bus, &job->completion);      /* from here on the job is not ours */
    }
    return NULL;
}

static int thread_start(struct io_pool *pool)
{
    pthread_attr_t attributes;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int error = pthread_create(&pool->thread[pool->threads], &attributes, pool_thread, pool);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        pool->threads++;
    return error;
}

struct io_pool *io_pool_create(struct bus *bus, unsigned threads)
{
    struct io_pool *pool = calloc(1, sizeof *pool);
    int error = 0;

    if (pool == NULL)
        return NULL;
    pool->bus = bus;
    pool->end = &pool->first;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->more, NULL);
    while (error == 0 && pool->threads < threads && pool->threads < THREADS_MAX)
        error = thread_start(pool);
    if (pool->threads > 0)
        return pool;                    /* fewer threads than asked for do, too */
    io_pool_destroy(pool);
    errno = error != 0 ? error : EINVAL;
    return NULL;
}

void io_pool_submit(struct io_pool *pool, struct io_job *job)
{
    job->completion.done = finished;
    job->pool = pool;
    job->next = NULL;
    pthread_mutex_lock(&pool->lock);
    *pool->end = job;
    pool->end = &job->next;
    if (!job->alone || !pool->lonely)
        pthread_cond_signal(&pool->more);       /* else who works alone comes back for it */
    pthread_mutex_unlock(&pool->lock);
}

bool io_pool_cancel(struct io_pool *pool, struct io_job *job)
{
    bool found = false;

    pthread_mutex_lock(&pool->lock);
    for (struct io_job **link = &pool->first; *link != NULL; link = &(*link)->next) {
        if (*link != job)
            continue;
        job_unlink(pool, link);
        found = true;
        break;
    }
    pthread_mutex_unlock(&pool->lock);
    return found;
}
