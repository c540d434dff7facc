/* Groups: see group.h. The modes of <ipc/chIpc.h>:
 *
 *   K_BROADMODE   every member
 *   K_FUNCMODE    one member, each in its turn
 *   K_FUNCUMODE   one on the site where the co-target is
 *   K_FUNCXMODE   one elsewhere: if the co-target names a site, not on that site; otherwise, any
 * but the co-target itself. (CHORUS's documents say the one and the other; the type of the name
 * tells which is meant.)
 */
#include "group.h"

#include <stdlib.h>
#include <string.h>
#include "actor.h"
#include "call.h"
#include "message.h"
#include "port.h"
#include "random.h"
#include "ui.h"

#define GROUP_MEMBERS_MAX   256u /* a broadcast is one step */
#define GROUPS_PER_PORT_MAX 64u
#define GROUPS_MAX          65536u

struct membership {
    struct list of_group, of_port;
    struct group *group;
    struct port *port;
};

static struct table groups;

/* A static group spans sites, so the site in its name does not count. */
static uint64_t group_key(const KnUniqueId *ui)
{
    KnUniqueId canonical = *ui;
    if (uiGetType(ui) == K_UISTATGROUP)
        canonical.uiTail = 0;
    return ui_key(&canonical);
}

struct group *group_by_ui(const KnUniqueId *ui)
{
    struct table_entry *entry = table_find(&groups, group_key(ui));
    return entry == NULL ? NULL : LIST_OWNER(entry, struct group, entry);
}

size_t group_count(void)
{
    return groups.count;
}

static struct group *group_new(const KnCap *cap)
{
    struct group *group = calloc(1, sizeof *group);
    if (group == NULL)
        return NULL;
    group->cap = *cap;
    list_init(&group->members);
    table_insert(&groups, &group->entry, group_key(&cap->ui));
    return group;
}

static void group_free(struct group *group)
{
    table_remove(&groups, &group->entry);
    free(group);
}

static void membership_end(struct membership *membership)
{
    list_remove(&membership->of_group);
    list_remove(&membership->of_port);
    membership->group->count--;
    free(membership);
}

void group_forget_port(struct port *port)
{
    while (!list_is_empty(&port->memberships))
        membership_end(LIST_OWNER(port->memberships.next, struct membership, of_port));
}

/* At the site's end only: groups are never deleted before. */
void groups_fini(void)
{
    for (size_t bucket = 0; bucket < TABLE_BUCKETS; bucket++)
        while (groups.buckets[bucket] != NULL)
            group_free(LIST_OWNER(groups.buckets[bucket], struct group, entry));
}

static bool object_is_here(const KnUniqueId *ui)
{
    if (uiGetType(ui) == K_UISITE)
        return ui_is_local(ui);
    return port_find(ui) != NULL || actor_by_ui(ui) != NULL || ui_is_local(ui);
}

static bool member_fits(const struct port *port, unsigned mode, const KnUniqueId *co_target)
{
    if (mode == K_FUNCMODE)
        return true;
    if (mode == K_FUNCUMODE)
        return object_is_here(co_target); /* all members are, so far */
    if (uiGetType(co_target) == K_UISITE)
        return !ui_is_local(co_target);
    return !uiEqual(&port->ui, co_target);
}

/* A member with room in its queue goes before one without, whose turn it would be. */
struct port *group_choose(struct group *group, unsigned mode, const KnUniqueId *co_target)
{
    struct membership *chosen = NULL;
    LIST_FOR_EACH (link, &group->members) {
        struct membership *membership = LIST_OWNER(link, struct membership, of_group);
        if (!member_fits(membership->port, mode, co_target))
            continue;
        if (chosen == NULL)
            chosen = membership;
        if (!port_is_full(membership->port)) {
            chosen = membership;
            break;
        }
    }
    if (chosen == NULL)
        return NULL;
    list_remove(&chosen->of_group);
    list_append(&group->members, &chosen->of_group);
    return chosen->port;
}

static struct membership *membership_find(struct group *group, const struct port *port)
{
    LIST_FOR_EACH (link, &port->memberships) {
        struct membership *membership = LIST_OWNER(link, struct membership, of_port);
        if (membership->group == group)
            return membership;
    }
    return NULL;
}

struct port *group_next(struct group *group, struct port *previous)
{
    struct list *link =
        previous == NULL ? group->members.next : membership_find(group, previous)->of_group.next;
    return link == &group->members ? NULL : LIST_OWNER(link, struct membership, of_group)->port;
}

static int group_of_stamp(uint32_t stamp, struct group **ret_group)
{
    KnCap cap = { .key = random_u64() };
    if (stamp == 0 || stamp > K_CUI_STAMPMAX)
        return K_EINVAL;
    cap.ui.uiHead = (uint32_t)K_UISTATGROUP << 27 | stamp;
    struct group *group = group_by_ui(&cap.ui);
    *ret_group = group != NULL ? group : group_new(&cap);
    return *ret_group == NULL ? K_ENOMEM : K_OK;
}

/* The lower half of the stamps is the system's. */
static bool stamp_is_system(uint32_t stamp)
{
    return stamp < K_STAMP_USER;
}

int64_t call_grpAllocate(struct thread *thread)
{
    uint64_t options = thread->call.arg[0], stamp = thread->call.arg[2];
    if (options > K_STATSYS || stamp > K_CUI_STAMPMAX)
        return K_EINVAL;
    if (options != K_DYNAMIC && stamp_is_system((uint32_t)stamp) != (options == K_STATSYS))
        return K_EINVAL;
    if (options == K_STATSYS && !call_is_trusted(thread))
        return K_EPRIV;
    KnCap probe = { 0 };
    int status = call_out(thread, thread->call.arg[1], &probe, sizeof probe);
    if (status != K_OK)
        return status == 1 ? K_EINVAL : status;
    if (groups.count >= GROUPS_MAX || thread->actor->groups >= ACTOR_GROUPS_MAX)
        return K_ELIMIT;
    size_t before = groups.count;
    struct group *group = NULL;
    if (options == K_DYNAMIC) {
        KnCap cap = cap_new(K_UIGROUP);
        group = group_new(&cap);
        status = group == NULL ? K_ENOMEM : K_OK;
    } else {
        status = group_of_stamp((uint32_t)stamp, &group);
    }
    if (status != K_OK)
        return status;
    thread->actor->groups += groups.count > before;
    return call_out(thread, thread->call.arg[1], &group->cap, sizeof group->cap);
}

static int read_group_and_port(struct thread *thread, struct group **ret_group,
                               struct port **ret_port)
{
    KnCap cap = { 0 };
    KnUniqueId ui;
    int status = call_in(thread, thread->call.arg[0], &cap, sizeof cap);
    if (status == K_OK)
        status = call_in(thread, thread->call.arg[1], &ui, sizeof ui);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    *ret_group = group_by_ui(&cap.ui);
    *ret_port = port_find(&ui);
    if (*ret_group == NULL || !key_equal((*ret_group)->cap.key, cap.key) || *ret_port == NULL)
        return K_EUNKNOWN;
    return K_OK;
}

static unsigned memberships_of(const struct port *port)
{
    unsigned count = 0;
    LIST_FOR_EACH (link, &port->memberships)
        count++;
    return count;
}

int64_t call_grpPortInsert(struct thread *thread)
{
    struct group *group;
    struct port *port;
    int status = read_group_and_port(thread, &group, &port);
    if (status != K_OK)
        return status;
    if (membership_find(group, port) != NULL)
        return K_EBUSY;
    if (group->count >= GROUP_MEMBERS_MAX || memberships_of(port) >= GROUPS_PER_PORT_MAX)
        return K_ELIMIT;
    struct membership *membership = malloc(sizeof *membership);
    if (membership == NULL)
        return K_ENOMEM;
    membership->group = group;
    membership->port = port;
    list_append(&group->members, &membership->of_group);
    list_append(&port->memberships, &membership->of_port);
    group->count++;
    return K_OK;
}

int64_t call_grpPortRemove(struct thread *thread)
{
    struct group *group;
    struct port *port;
    int status = read_group_and_port(thread, &group, &port);
    if (status != K_OK)
        return status;
    struct membership *membership = membership_find(group, port);
    if (membership == NULL)
        return K_EUNKNOWN;
    membership_end(membership);
    return K_OK;
}
