/* deadline.h: what is to happen at a time. All deadlines of the Nucleus are in one heap; waits,
 * timers and time slices use nothing else. Times are host_time(), in ns. */
#ifndef NUCLEUS_DEADLINE_H
#define NUCLEUS_DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deadline {
    int64_t at;
    size_t place;                              /* in the heap, from 1; 0: not set */
    void (*passed)(struct deadline *deadline); /* it is not set any more when this is called */
};

/* Makes room in the heap, so that setting it cannot fail. K_OK, K_ENOMEM. */
int deadline_init(struct deadline *deadline, void (*passed)(struct deadline *));
void deadline_fini(struct deadline *deadline);

/* Set it, anew if it is set. INT64_MAX: cancel. */
void deadline_set(struct deadline *deadline, int64_t at);
void deadline_cancel(struct deadline *deadline);
static inline bool deadline_is_set(const struct deadline *deadline)
{
    return deadline->place != 0;
}

/* The earliest one; INT64_MAX: none. */
int64_t deadline_next(void);
/* Call those that have passed, a bounded number of them. */
void deadlines_run(int64_t now);

#endif
