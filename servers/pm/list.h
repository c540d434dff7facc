/* list.h: rings of things that lie in the things themselves. An empty list, and a link that is in no
 * list, points to itself. */
#ifndef PM_LIST_H
#define PM_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *previous;
};

#define LIST_ENTRY(link, type, member) ((type *)((char *)(link) - offsetof(type, member)))
/* The list may lose <at> meanwhile, and nothing else. */
#define LIST_EACH(ring, at)                                                                    \
    for (struct list *at = (ring)->next, *at##_next = at->next; at != (ring);                  \
         at = at##_next, at##_next = at->next)

static inline void list_init(struct list *list)
{
    list->next = list->previous = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

static inline void list_append(struct list *list, struct list *link)
{
    link->next = list;
    link->previous = list->previous;
    list->previous->next = link;
    list->previous = link;
}

static inline void list_remove(struct list *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    list_init(link);
}

static inline struct list *list_take_first(struct list *list)
{
    struct list *first = list->next;
    if (first == list)
        return NULL;
    list_remove(first);
    return first;
}

#endif
