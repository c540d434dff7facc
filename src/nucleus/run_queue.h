/* run_queue.h: threads that are ready, a list for each priority. Light ones are in front of their equals. */
#ifndef NUCLEUS_RUN_QUEUE_H
#define NUCLEUS_RUN_QUEUE_H

#include "thread.h"

#define RUN_QUEUE_PRIORITIES 256

struct run_queue {
    uint64_t bitmap[RUN_QUEUE_PRIORITIES / 64]; /* of lists that are not empty */
    struct list lists[RUN_QUEUE_PRIORITIES];
    unsigned count;
};

/* Among its equals. */
enum place { AT_TAIL, AT_HEAD, BEHIND_LIGHT };

void run_queue_init(struct run_queue *queue);
void run_queue_insert(struct run_queue *queue, struct thread *thread, enum place place);
void run_queue_remove(struct run_queue *queue, struct thread *thread);
/* Whose turn it is; NULL: the queue is empty. */
struct thread *run_queue_best(struct run_queue *queue);
/* The first one but for <other>, which is in the queue; *ret_priority: its priority. NULL: there is none. */
struct thread *run_queue_first_but(struct run_queue *queue, const struct thread *other, int *ret_priority);

#endif
