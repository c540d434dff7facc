/* Ready threads by their priorities: run_queue.h. */
#include "run_queue.h"

#include <string.h>
#include "light.h"

void run_queue_init(struct run_queue *queue)
{
    memset(queue, 0, sizeof *queue);
    for (int priority = 0; priority < RUN_QUEUE_PRIORITIES; priority++)
        list_init(&queue->lists[priority]);
}

void run_queue_insert(struct run_queue *queue, struct thread *thread, enum place place)
{
    int priority = thread->sched.priority;
    struct list *list = &queue->lists[priority], *before = place == AT_TAIL ? list : list->next;
    while (place == BEHIND_LIGHT && before != list && LIST_OWNER(before, struct thread, run_link)->light)
        before = before->next;
    list_insert_before(before, &thread->run_link);
    queue->bitmap[priority / 64] |= 1ull << priority % 64;
    queue->count++;
}

void run_queue_remove(struct run_queue *queue, struct thread *thread)
{
    int priority = thread->sched.priority;
    list_remove(&thread->run_link);
    if (list_is_empty(&queue->lists[priority]))
        queue->bitmap[priority / 64] &= ~(1ull << priority % 64);
    queue->count--;
}

/* Where it would be if it had not been light: by order of time, as far as a short look goes. */
static void demote(struct list *list, struct thread *thread)
{
    struct list *place = list;
    thread->light = false;
    thread->ready_order = thread->queued_order;
    list_remove(&thread->run_link);
    for (int looks = 0; looks < 64 && place->previous != list; looks++) {
        struct thread *other = LIST_OWNER(place->previous, struct thread, run_link);
        if (other->light || other->ready_order < thread->ready_order)
            break;
        place = place->previous;
    }
    list_insert_before(place, &thread->run_link);
}

/* Threads that were light when they were woken, and whose actors are not any more, lose their place
 * when their turn comes. */
static struct thread *list_best(struct list *list)
{
    struct thread *first = LIST_OWNER(list->next, struct thread, run_link);
    while (first->light && !light_is(first)) {
        demote(list, first);
        first = LIST_OWNER(list->next, struct thread, run_link);
    }
    return first;
}

struct thread *run_queue_best(struct run_queue *queue)
{
    for (int word = 0; word < RUN_QUEUE_PRIORITIES / 64; word++)
        if (queue->bitmap[word] != 0)
            return list_best(&queue->lists[word * 64 + __builtin_ctzll(queue->bitmap[word])]);
    return NULL;
}

struct thread *run_queue_first_but(struct run_queue *queue, const struct thread *other, int *ret_priority)
{
    for (int word = 0; word < RUN_QUEUE_PRIORITIES / 64; word++)
        for (uint64_t left = queue->bitmap[word]; left != 0; left &= left - 1) {
            *ret_priority = word * 64 + __builtin_ctzll(left);
            struct list *list = &queue->lists[*ret_priority], *first = list->next;
            if (first == &other->run_link)
                first = first->next;
            if (first != list)
                return LIST_OWNER(first, struct thread, run_link);
        }
    return NULL;
}
