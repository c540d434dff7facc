/* The bus: one epoll for all host descriptors that devices watch, one list of completions.
 *
 * A watch for nothing is taken out of the epoll, since epoll reports EPOLLHUP for every descriptor
 * in it, wanted or not: a closed terminal would keep the site awake.
 *
 * Host threads push completions on a stack (one compare-and-swap); the Nucleus takes the whole
 * stack at once and turns it round, so they are called back in the order of their posting. Only the
 * one that finds the stack empty wakes the Nucleus: by `wake`, or else by an eventfd.
 */
#include "bus.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_AT_A_TIME 16

struct bus {
    int epoll;
    int bell;                                   /* eventfd: the stack of completions is not empty */
    _Atomic(struct bus_completion *) posted;    /* newest first */
    struct bus_completion *taken;               /* oldest first; Nucleus thread only */
    struct bus_watch *watches;
    struct epoll_event events[EVENTS_AT_A_TIME];
    int events_next, events_count;              /* what epoll gave and was not yet called back */
    void (*wake)(void *cookie);
    void *cookie;
};

struct bus *bus_create(void (*wake)(void *cookie), void *cookie)
{
    struct bus *bus = calloc(1, sizeof *bus);

    if (bus == NULL)
        return NULL;
    bus->wake = wake;
    bus->cookie = cookie;
    bus->epoll = epoll_create1(EPOLL_CLOEXEC);
    bus->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    if (bus->epoll < 0 || bus->bell < 0
        || epoll_ctl(bus->epoll, EPOLL_CTL_ADD, bus->bell, &event) < 0) {
        int error = errno;
        bus_destroy(bus);
        errno = error;
        return NULL;
    }
    return bus;
}

void bus_destroy(struct bus *bus)
{
    if (bus == NULL)
        return;
    if (bus->epoll >= 0)
        close(bus->epoll);
    if (bus->bell >= 0)
        close(bus->bell);
    free(bus);
}

int bus_descriptor(const struct bus *bus)
{
    return bus->epoll;
}

bool bus_has_completions(const struct bus *bus)
{
    return bus->taken != NULL || atomic_load_explicit(&bus->posted, memory_order_relaxed) != NULL;
}

void bus_post(struct bus *bus, struct bus_completion *completion)
{
    struct bus_completion *top = atomic_load_explicit(&bus->posted, memory_order_relaxed);

    do {
        completion->next = top;
    } while (!atomic_compare_exchange_weak_explicit(&bus->posted, &top, completion,
                                                    memory_order_release, memory_order_relaxed));
    if (top != NULL)
        return;
    if (bus->wake != NULL) {
        bus->wake(bus->cookie);
        return;
    }
    /* The counter of an eventfd overflows after 2^64 - 2 rings: this cannot fail. */
    ssize_t rung = write(bus->bell, &(uint64_t){ 1 }, sizeof(uint64_t));
    (void)rung;
}

/* Move what was posted behind what was taken. The bell is silenced first: who posts from then on
 * finds either a filled stack, which we are about to take, or an empty one, and rings again. */
static void completions_take(struct bus *bus)
{
    struct bus_completion *oldest_first = NULL, **end = &bus->taken;
    if (bus->wake == NULL) {
        uint64_t rings;
        ssize_t silenced = read(bus->bell, &rings, sizeof rings);
        (void)silenced;                         /* EAGAIN: it had not rung */
    }

    struct bus_completion *posted = atomic_exchange_explicit(&bus->posted, NULL,
                                                             memory_order_acquire);
    while (posted != NULL) {
        struct bus_completion *older = posted->next;
        posted->next = oldest_first;
        oldest_first = posted;
        posted = older;
    }
    while (*end != NULL)
        end = &(*end)->next;
    *end = oldest_first;
}

void bus_cancel(struct bus *bus, struct bus_completion *completion)
{
    completions_take(bus);
    for (struct bus_completion **link = &bus->taken; *link != NULL; link = &(*link)->next)
        if (*link == completion) {
            *link = completion->next;
            return;
        }
}

static bool completions_run(struct bus *bus)
{
    if (atomic_load_explicit(&bus->posted, memory_order_relaxed) != NULL)
        completions_take(bus);
    for (int i = 0; i < EVENTS_AT_A_TIME && bus->taken != NULL; i++) {
        struct bus_completion *completion = bus->taken;
        bus->taken = completion->next;
        completion->done(completion);
    }
    return bus->taken != NULL;
}

bool bus_run(struct bus *bus)
{
    bool more = completions_run(bus);

    bus->events_next = 0;
    bus->events_count = epoll_wait(bus->epoll, bus->events, EVENTS_AT_A_TIME, 0);
    bool full = bus->events_count == EVENTS_AT_A_TIME;
    while (bus->events_next < bus->events_count) {
        struct epoll_event *event = &bus->events[bus->events_next++];
        struct bus_watch *watch = event->data.ptr;
        if (watch != NULL && watch->events != 0)
            watch->ready(watch, event->events);
        else if (watch == NULL)
            more |= completions_run(bus);
    }
    bus->events_count = 0;
    return more || full;
}

bool bus_watch_start(struct bus *bus, struct bus_watch *watch, int descriptor,
                     void (*ready)(struct bus_watch *watch, uint32_t events))
{
    struct epoll_event event = { .data.ptr = watch };

    for (struct bus_watch *other = bus->watches; other != NULL; other = other->next)
        if (other->descriptor == descriptor) {
            errno = EEXIST;                     /* epoll would find out later, when both want something */
            return false;
        }
    /* Put it in and take it out again, to learn now whether it can be watched at all. */
    if (epoll_ctl(bus->epoll, EPOLL_CTL_ADD, descriptor, &event) < 0)
        return false;
    epoll_ctl(bus->epoll, EPOLL_CTL_DEL, descriptor, NULL);
    *watch = (struct bus_watch){ .ready = ready, .descriptor = descriptor, .bus = bus, .next = bus->watches };
    bus->watches = watch;
    return true;
}

/* The host may still have told of this watch in the batch that is being called back. */
static void forget_told(struct bus *bus, const struct bus_watch *watch)
{
    for (int i = bus->events_next; i < bus->events_count; i++)
        if (bus->events[i].data.ptr == watch) {
            bus->events[i] = bus->events[--bus->events_count];
            i--;
        }
}

void bus_watch_set(struct bus_watch *watch, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = watch };

    if (events == watch->events)
        return;
    int operation = events == 0 ? EPOLL_CTL_DEL : watch->events == 0 ? EPOLL_CTL_ADD
                                                                      : EPOLL_CTL_MOD;
    int failed = epoll_ctl(watch->bus->epoll, operation, watch->descriptor, &event);
    assert(failed == 0 || errno == ENOMEM || errno == ENOSPC);
    if (failed == 0)
        watch->events = events;
    if (events == 0)
        forget_told(watch->bus, watch);
}

void bus_watch_stop(struct bus_watch *watch)
{
    if (watch->bus == NULL)
        return;
    bus_watch_set(watch, 0);
    struct bus_watch **link = &watch->bus->watches;
    while (*link != watch)
        link = &(*link)->next;
    *link = watch->next;
    watch->bus = NULL;
}
