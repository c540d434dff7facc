/* space.c: address spaces: their birth, their end, and what is freed in steps.
 *
 * A space ends in two ways that come in any order: its actor is deleted (vm_space_destroy: regions and pages go), and its machine is
 * reported dead (vm_space_gone: what was mapped goes). After both it is taken apart, in steps, and freed; until vm_space_gone returns, actor->vm
 * stays what it was. No order is given after the first of the two.
 */
#include <host/event.h>
#include <host/supervisor.h>
#include <stdlib.h>
#include <string.h>
#include "../table.h"
#include "../vm.h"
#include "mapping.h"

#define REGIONS_AT_ONCE 256 /* regions that are removed in one step */

struct list all_spaces;
static struct list dying;

static struct id_table ids;

struct vm_space *space_by_id(uint32_t id) { return id_table_find(&ids, id); }

struct awaited space_awaited(const struct vm_space *space, host_ticket_t ticket) { return (struct awaited){space->id, space->serial, ticket}; }

struct vm_space *space_that_is_awaited(const struct awaited *awaited)
{
    struct vm_space *space = space_by_id(awaited->space);
    return space != NULL && space->serial == awaited->serial ? space : NULL;
}

static int id_allocate(struct vm_space *space)
{
    int id = id_table_insert(&ids, space);
    space->id = id > 0 ? (uint32_t)id : 0;
    static uint64_t serial;
    space->serial = ++serial;
    return id > 0 ? K_OK : id;
}

void space_init(void)
{
    list_init(&all_spaces);
    list_init(&dying);
    id_table_init(&ids, 1 << 28); /* what mapping.c has room for */
}

int vm_space_create(struct actor *actor)
{
    vaddr_t bottom = K_USERBOTTOM, top = K_USERTOP;
    struct vm_space *space = calloc(1, sizeof *space);
    if (space == NULL || id_allocate(space) != K_OK) {
        free(space);
        return K_ENOMEM;
    }
    space->actor = actor;
    space->host = actor->host;
    space->supervisor = space->host != NULL && host_space_is_supervisor(space->host);
    if (space->supervisor)
        host_space_range(space->host, &bottom, &top);
    space->bottom = PAGE_OF(bottom);
    space->top = PAGE_OF(top);
    list_init(&space->of_dying);
    list_init(&space->own.windows);
    wait_queue_init(&space->reports);
    list_append(&all_spaces, &space->of_all);
    actor->vm = space;
    space_reap(256);
    return K_OK;
}

void vm_space_destroy(struct actor *actor)
{
    struct vm_space *space = actor->vm;
    if (space == NULL || space->actor == NULL)
        return;
    space->actor = NULL;
    if (space->region_count <= REGIONS_AT_ONCE)
        region_remove(space, 0, space->region_count, false);
    tree_remove(&space->own.tree, 0, (page_t)1 << (TREE_BITS * TREE_LEVEL_MAX));
    list_remove(&space->of_dying);
    list_append(&dying, &space->of_dying);
    wait_queue_wake_all(&space->reports, K_OK);
}

void vm_space_gone(struct vm_space *space)
{
    space->host = NULL;
    if (space->actor != NULL)
        space->actor->host = NULL;
    mapping_reported(space);
    list_remove(&space->of_dying);
    list_append(&dying, &space->of_dying);
}

void vm_space_reported(struct actor *actor)
{
    if (actor->vm != NULL)
        mapping_reported(actor->vm);
}

static void space_free(struct vm_space *space)
{
    list_remove(&space->of_all);
    list_remove(&space->of_dying);
    id_table_remove(&ids, (int)space->id);
    pin_remove_all(space);
    free(space->quarantine.entries);
    free(space->sources);
    free(space->regions);
    free(space);
}

/* Take a dying space further apart. Its machine's side is left alone while that lives. True: there is more to do. */
static bool space_step(struct vm_space *space, uint64_t budget)
{
    if (space->actor == NULL && space->region_count > 0) {
        size_t count = space->region_count < REGIONS_AT_ONCE ? space->region_count : REGIONS_AT_ONCE;
        region_remove(space, space->region_count - count, count, false);
        return true;
    }
    if (space->host != NULL)
        return false;
    space->dying_at = mapping_forget(space, space->dying_at, budget);
    if (space->dying_at < space->top)
        return true;
    list_remove(&space->of_dying);
    if (space->actor == NULL && space->pinned == 0)
        space_free(space);
    return !list_is_empty(&dying);
}

/* The last page that a device worked on was given back; if the space waited for nothing else, it goes with the next step. */
void space_unpinned(struct vm_space *space)
{
    if (space->actor != NULL || space->host != NULL)
        return;
    list_remove(&space->of_dying);
    list_append(&dying, &space->of_dying);
}

static bool space_waits_for_step(const struct vm_space *space)
{
    return space->host == NULL || (space->actor == NULL && space->region_count > 0);
}

bool space_reap(uint64_t budget)
{
    bool more = tree_reap(budget);
    LIST_FOR_EACH_SAFE(link, following, &dying) {
        struct vm_space *space = LIST_OWNER(link, struct vm_space, of_dying);
        if (space_waits_for_step(space))
            return space_step(space, budget) || more || tree_reap(0);
    }
    return more;
}

int space_pause(struct thread *thread)
{
    static struct wait_queue pausing;
    if (pausing.threads.next == NULL)
        wait_queue_init(&pausing);
    int status = thread == NULL ? K_OK : wait_queue_wait(&pausing, thread, host_time() + 1, false);
    return status == K_BLOCKED ? K_BLOCKED : K_OK;
}

int space_await(struct vm_space *space, host_ticket_t ticket, struct thread *thread)
{
    if (space->host == NULL || host_space_reported(space->host) >= ticket)
        return K_OK;
    if (space->actor == NULL)
        return K_OK; /* what ran in it was ended */
    host_space_commit(space->host);
    if (thread == NULL)
        return K_EFAULT;
    return wait_queue_wait(&space->reports, thread, INT64_MAX, false);
}

int space_settled(struct vm_space *space, struct thread *thread)
{
    int status = space_await(space, space->protected_at, thread);
    while (status == K_OK && space->source_count > 0) {
        struct awaited *source = &space->sources[space->source_count - 1];
        struct vm_space *other = space_that_is_awaited(source);
        if (other != NULL)
            status = space_await(other, source->ticket, thread);
        if (status == K_OK)
            space->source_count--;
    }
    return status;
}

int space_add_source(struct vm_space *space, const struct vm_space *source, host_ticket_t ticket)
{
    if (space == source || !space_takes_orders(source) || host_space_reported(source->host) >= ticket)
        return K_OK;
    for (size_t i = 0; i < space->source_count; i++) {
        if (space->sources[i].serial == source->serial) {
            space->sources[i].ticket = ticket;
            return K_OK;
        }
    }
    struct awaited *sources = realloc(space->sources, (space->source_count + 1) * sizeof *sources);
    if (sources == NULL)
        return K_ENOMEM;
    space->sources = sources;
    sources[space->source_count++] = space_awaited(source, ticket);
    return K_OK;
}
