/* Waiting: queues of calls, and a heap of timeouts. */

#include "waiting.h"

static struct list ready = { &ready, &ready };

void queue_init(struct wait_queue *queue)
{
    list_init(&queue->waiters);
    queue->wakes = 1;
}

void thread_wake(struct thread *thread)
{
    if (thread->where == THREAD_SERVED)
        thread->woken = true;
    else if (thread->where == THREAD_PARKED && list_is_empty(&thread->ready))
        list_append(&ready, &thread->ready);
}

struct thread *thread_next_ready(void)
{
    struct list *first = list_take_first(&ready);
    return first == NULL ? NULL : LIST_ENTRY(first, struct thread, ready);
}

void queue_wake(struct wait_queue *queue)
{
    struct list *link;
    queue->wakes++;
    while ((link = list_take_first(&queue->waiters)) != NULL)
        thread_wake(LIST_ENTRY(link, struct waiter, link)->thread);
}

void queue_end(struct wait_queue *queue)
{
    queue_wake(queue);
}

/* The array of further waiters may move, so those that stand in queues are linked anew. */
static int make_room(struct call *call)
{
    size_t room = call->more_room == 0 ? 16 : call->more_room * 2;
    struct waiter *grown = malloc(room * sizeof *grown);
    if (grown == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < call->more_room; i++) {
        struct waiter *old = &call->more_waiters[i];
        grown[i].thread = old->thread;
        list_init(&grown[i].link);
        if (!list_is_empty(&old->link)) {
            list_append(&old->link, &grown[i].link);
            list_remove(&old->link);
        }
    }
    free(call->more_waiters);
    call->more_waiters = grown;
    call->more_room = room;
    return 0;
}

int wait_in(struct call *call, struct wait_queue *queue)
{
    struct thread *thread = LIST_ENTRY(call, struct thread, call);
    struct waiter *waiter;
    call->stood += queue->wakes;
    if (call->waiter_count < CALL_WAITERS) {
        waiter = &call->waiters[call->waiter_count];
    } else {
        size_t more = call->waiter_count - CALL_WAITERS;
        if (more == call->more_room && make_room(call) != 0)
            return -ENOMEM;
        waiter = &call->more_waiters[more];
    }
    call->waiter_count++;
    waiter->thread = thread;
    list_append(&queue->waiters, &waiter->link);
    return 0;
}

void wait_leave(struct call *call)
{
    for (size_t i = 0; i < call->waiter_count; i++) {
        struct waiter *waiter = i < CALL_WAITERS ? &call->waiters[i]
                                                 : &call->more_waiters[i - CALL_WAITERS];
        list_remove(&waiter->link);
    }
    call->waiter_count = 0;
    if (call->more_room > 64) {
        free(call->more_waiters);
        call->more_waiters = NULL;
        call->more_room = 0;
    }
    timeout_disarm(&call->timeout);
}

/* ---- timeouts: a binary heap, the earliest first; heap[0] is not used ---- */

static struct timeout **heap;
static size_t heap_count, heap_room;

static void heap_put(size_t place, struct timeout *timeout)
{
    heap[place] = timeout;
    timeout->place = place;
}

static void heap_up(size_t place, struct timeout *timeout)
{
    while (place > 1 && heap[place / 2]->when > timeout->when) {
        heap_put(place, heap[place / 2]);
        place /= 2;
    }
    heap_put(place, timeout);
}

static void heap_down(size_t place, struct timeout *timeout)
{
    for (;;) {
        size_t child = place * 2;
        if (child > heap_count)
            break;
        if (child < heap_count && heap[child + 1]->when < heap[child]->when)
            child++;
        if (heap[child]->when >= timeout->when)
            break;
        heap_put(place, heap[child]);
        place = child;
    }
    heap_put(place, timeout);
}

void timeout_init(struct timeout *timeout, void (*fire)(struct timeout *timeout))
{
    *timeout = (struct timeout){ .fire = fire };
}

int timeout_arm(struct timeout *timeout, KnTime when)
{
    timeout_disarm(timeout);
    if (heap_count + 2 > heap_room) {
        size_t room = heap_room == 0 ? 64 : heap_room * 2;
        struct timeout **grown = realloc(heap, room * sizeof *grown);
        if (grown == NULL)
            return -ENOMEM;
        heap = grown;
        heap_room = room;
    }
    timeout->when = when;
    heap_up(++heap_count, timeout);
    return 0;
}

void timeout_disarm(struct timeout *timeout)
{
    size_t place = timeout->place;
    if (place == 0)
        return;
    timeout->place = 0;
    struct timeout *last = heap[heap_count--];
    if (last == timeout)
        return;
    if (place > 1 && heap[place / 2]->when > last->when)
        heap_up(place, last);
    else
        heap_down(place, last);
}

KnTime timeouts_next(void)
{
    return heap_count == 0 ? K_FOREVER : heap[1]->when;
}

void timeouts_run(KnTime now)
{
    while (heap_count > 0 && heap[1]->when <= now) {
        struct timeout *timeout = heap[1];
        timeout_disarm(timeout);
        timeout->fire(timeout);
    }
}
