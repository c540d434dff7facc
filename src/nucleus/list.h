/* list.h: a doubly linked, circular list through a link inside the thing that is listed. */
#ifndef NUCLEUS_LIST_H
#define NUCLEUS_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *previous;
};

#define LIST_OWNER(link_pointer, type, member) ((type *)((char *)(link_pointer)-offsetof(type, member)))
#define LIST_FOR_EACH(link, head) for (struct list *link = (head)->next; link != (head); link = link->next)
/* The body may remove <link>. */
#define LIST_FOR_EACH_SAFE(link, following, head)                                                          \
    for (struct list *link = (head)->next, *following = link->next; link != (head); link = following, following = link->next)

static inline void list_init(struct list *list) { list->next = list->previous = list; }
static inline bool list_is_empty(const struct list *list) { return list->next == list; }

static inline void list_insert_before(struct list *place, struct list *link)
{
    link->next = place;
    link->previous = place->previous;
    place->previous->next = link;
    place->previous = link;
}
static inline void list_append(struct list *list, struct list *link) { list_insert_before(list, link); }
static inline void list_prepend(struct list *list, struct list *link) { list_insert_before(list->next, link); }

/* Afterwards the link is a list of its own: removing it again does no harm. */
static inline void list_remove(struct list *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    list_init(link);
}

static inline struct list *list_first(struct list *list) { return list_is_empty(list) ? NULL : list->next; }

#endif
