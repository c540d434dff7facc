/* Waiting: the one way in which a thread waits, see thread.h. */
#include "actor.h"
#include "assert.h"
#include "nucleus.h"
#include "thread.h"

void wait_queue_init(struct wait_queue *queue)
{
    list_init(&queue->threads);
}

int wait_check(struct thread *thread, int64_t deadline, bool abortable)
{
    if (abortable && thread->aborted) {
        thread->aborted = false;
        return K_EABORT;
    }
    if (deadline != INT64_MAX && deadline <= nucleus_time())
        return K_ETIMEOUT;
    return K_OK;
}

int wait_queue_wait(struct wait_queue *queue, struct thread *thread, int64_t deadline,
                    bool abortable)
{
    int status = wait_check(thread, deadline, abortable);
    if (status != K_OK)
        return status;
    thread->waiting_in = queue;
    if (queue != NULL)
        list_append(&queue->threads, &thread->wait_link);
    thread->abortable = abortable;
    thread_set_state(thread, THREAD_WAITING);
    if (deadline != INT64_MAX)
        deadline_set(&thread->timeout, deadline);
    return K_BLOCKED;
}

void thread_wake(struct thread *thread, int why)
{
    ASSERT(thread->state == THREAD_WAITING);
    list_remove(&thread->wait_link);
    thread->waiting_in = NULL;
    deadline_cancel(&thread->timeout);
    thread->call.woken = why;
    thread->call.restarted = true;
    thread_set_state(thread, THREAD_READY);
}

struct thread *wait_queue_first(struct wait_queue *queue)
{
    struct list *link = list_first(&queue->threads);
    return link == NULL ? NULL : LIST_OWNER(link, struct thread, wait_link);
}

struct thread *wait_queue_last(struct wait_queue *queue)
{
    struct list *last = queue->threads.previous;
    return last == &queue->threads ? NULL : LIST_OWNER(last, struct thread, wait_link);
}

struct thread *wait_queue_wake_one(struct wait_queue *queue, int why)
{
    struct thread *thread = wait_queue_first(queue);
    if (thread != NULL)
        thread_wake(thread, why);
    return thread;
}

void wait_queue_wake_all(struct wait_queue *queue, int why)
{
    while (wait_queue_wake_one(queue, why) != NULL)
        ;
}
