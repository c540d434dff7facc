/* Deadlines: a binary heap, see deadline.h. */
#include "deadline.h"

#include <chorus.h>
#include <stdlib.h>
#include "assert.h"

#define DEADLINES_PER_STEP 64

static struct {
    struct deadline **slots; /* slots[1] is the earliest */
    size_t count, reserved, room;
} heap;

int deadline_init(struct deadline *deadline, void (*passed)(struct deadline *))
{
    if (heap.reserved + 1 >= heap.room) {
        size_t room = heap.room == 0 ? 64 : heap.room * 2;
        struct deadline **slots = realloc(heap.slots, room * sizeof *slots);
        if (slots == NULL)
            return K_ENOMEM;
        heap.slots = slots;
        heap.room = room;
    }
    heap.reserved++;
    *deadline = (struct deadline){ .at = INT64_MAX, .passed = passed };
    return K_OK;
}

void deadline_fini(struct deadline *deadline)
{
    deadline_cancel(deadline);
    heap.reserved--;
    if (heap.reserved == 0) {
        free(heap.slots);
        heap.slots = NULL;
        heap.room = 0;
    }
}

static void put(size_t place, struct deadline *deadline)
{
    heap.slots[place] = deadline;
    deadline->place = place;
}

static void rise(size_t place, struct deadline *deadline)
{
    while (place > 1 && heap.slots[place / 2]->at > deadline->at) {
        put(place, heap.slots[place / 2]);
        place /= 2;
    }
    put(place, deadline);
}

static void sink(size_t place, struct deadline *deadline)
{
    for (;;) {
        size_t child = place * 2;
        if (child > heap.count)
            break;
        if (child < heap.count && heap.slots[child + 1]->at < heap.slots[child]->at)
            child++;
        if (heap.slots[child]->at >= deadline->at)
            break;
        put(place, heap.slots[child]);
        place = child;
    }
    put(place, deadline);
}

void deadline_cancel(struct deadline *deadline)
{
    size_t place = deadline->place;
    deadline->at = INT64_MAX;
    if (place == 0)
        return;
    deadline->place = 0;
    struct deadline *last = heap.slots[heap.count--];
    if (last == deadline)
        return;
    if (place > 1 && heap.slots[place / 2]->at > last->at)
        rise(place, last);
    else
        sink(place, last);
}

void deadline_set(struct deadline *deadline, int64_t at)
{
    deadline_cancel(deadline);
    if (at == INT64_MAX)
        return;
    ASSERT(heap.count < heap.reserved);
    deadline->at = at;
    rise(++heap.count, deadline);
}

int64_t deadline_next(void)
{
    return heap.count == 0 ? INT64_MAX : heap.slots[1]->at;
}

void deadlines_run(int64_t now)
{
    for (int i = 0; i < DEADLINES_PER_STEP && heap.count > 0 && heap.slots[1]->at <= now; i++) {
        struct deadline *deadline = heap.slots[1];
        deadline_cancel(deadline);
        deadline->passed(deadline);
    }
}
