/* group.h: groups: a name for several ports, and the choice among them. */
#ifndef NUCLEUS_GROUP_H
#define NUCLEUS_GROUP_H

#include <chorus.h>
#include "list.h"
#include "table.h"

struct port;

struct group {
    struct table_entry entry;
    KnCap cap;
    struct list members; /* the next to be chosen first */
    unsigned count;
};

/* Static groups are the same whatever site their name was built with. */
struct group *group_by_ui(const KnUniqueId *ui); /* NULL: none */
/* One member, by mode; NULL: none fits. The next choice will be another one. */
struct port *group_choose(struct group *group, unsigned mode, const KnUniqueId *co_target);
/* For a broadcast: the member after <previous> (NULL: the first); NULL: no more. */
struct port *group_next(struct group *group, struct port *previous);
void group_forget_port(struct port *port);
size_t group_count(void);
void groups_fini(void);

#endif
