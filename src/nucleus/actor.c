/* Actors: birth and death. Their nucleus calls are in actor_calls.c.
 *
 * The death of an actor has two moments. actor_kill takes it out of sight: its ports are gone, who
 * waits for it is told, nothing of it runs again as far as the Nucleus decides. Its record, the
 * contexts of its threads and its frames stay until the machine says that its process is gone
 * (actor_space_dead). */
#include "actor.h"

#include <stdlib.h>
#include <string.h>
#include <host/event.h>
#include <host/supervisor.h>
#include "assert.h"
#include "device.h"
#include "lap.h"
#include "message.h"
#include "nucleus.h"
#include "port.h"
#include "sched.h"
#include "timer.h"
#include "ui.h"
#include "vm.h"

static struct table actors_by_ui;
static struct list actors = { &actors, &actors };
static size_t actors_alive; /* in the list */
static size_t actors_exist; /* those whose process is not reported dead, too */
static unsigned actors_most;
static uint32_t actors_made;

void actors_init(unsigned most)
{
    actors_most = most;
}

struct list *actor_list(void)
{
    return &actors;
}

size_t actor_count(void)
{
    return actors_alive;
}

size_t actor_count_existing(void)
{
    return actors_exist;
}

unsigned actors_max(void)
{
    return actors_most;
}

KnTime actor_cpu_time(struct actor *actor)
{
    KnTime total = actor->cpu_time;
    LIST_FOR_EACH (link, &actor->threads) {
        struct thread *thread = LIST_OWNER(link, struct thread, of_actor);
        sched_account(thread);
        total += thread->cpu_time;
    }
    return total;
}

struct actor *actor_by_ui(const KnUniqueId *ui)
{
    struct table_entry *entry = table_find(&actors_by_ui, ui_key(ui));
    return entry == NULL ? NULL : LIST_OWNER(entry, struct actor, entry);
}

struct actor *actor_find(const KnCap *cap, struct actor *self)
{
    if (uiIsCleared(&cap->ui))
        return self;
    struct actor *actor = actor_by_ui(&cap->ui);
    return actor != NULL && key_equal(actor->cap.key, cap->key) ? actor : NULL;
}

static void actor_init(struct actor *actor, const struct actor *init, int privilege)
{
    actor->cap = cap_new(K_UIACTOR);
    actor->serial = ++actors_made;
    actor->privilege = privilege;
    list_init(&actor->threads);
    list_init(&actor->dead_threads);
    list_init(&actor->ports);
    list_init(&actor->timers);
    list_init(&actor->watches);
    list_init(&actor->pending_ports);
    wait_queue_init(&actor->any_receivers);
    wait_queue_init(&actor->lenders);
    list_init(&actor->laps);
    list_init(&actor->lap_calls);
    id_table_init(&actor->thread_ids, ACTOR_THREADS_MAX);
    id_table_init(&actor->port_ids, ACTOR_PORTS_MAX);
    id_table_init(&actor->timer_ids, ACTOR_TIMERS_MAX);
    if (init == NULL)
        return;
    actor->pi = init->pi;
    actor->trap = init->trap;
    actor->exception = init->exception;
    actor->abort = init->abort;
    memcpy(actor->name, init->name, sizeof actor->name);
}

static int actor_create_space(struct actor *actor)
{
    int status = actor->privilege == K_SUPACTOR ? host_space_create_supervisor(&actor->host, actor)
                                                : host_space_create(&actor->host, actor);
    if (status != K_OK)
        return status;
    actors_exist++;
    status = vm_space_create(actor);
    if (status != K_OK) {
        /* The machine reports the end of the space, and the record goes then. */
        actor->deleting = true;
        host_space_destroy(actor->host);
    }
    return status;
}

int actor_create(const struct actor *init, int privilege, struct actor **ret_actor)
{
    if (actors_exist >= actors_most)
        return K_ELIMIT;
    struct actor *actor = calloc(1, sizeof *actor);
    if (actor == NULL)
        return K_ENOMEM;
    actor_init(actor, init, privilege);
    int status = actor_create_space(actor);
    if (status != K_OK) {
        if (!actor->deleting)
            free(actor);
        return status;
    }
    list_append(&actors, &actor->of_site);
    table_insert(&actors_by_ui, &actor->entry, ui_key(&actor->cap.ui));
    actors_alive++;
    status = port_create(actor, NULL, true, &actor->default_port);
    if (status != K_OK) {
        actor_kill(actor, K_OK, NULL);
        return status;
    }
    *ret_actor = actor;
    return K_OK;
}

/* Ports before threads: whoever waits for a message of a dying actor gets one answer, and no thread
 * of it is woken for nothing. */
static void actor_give_up(struct actor *actor, int reason)
{
    while (!list_is_empty(&actor->threads))
        thread_kill(LIST_OWNER(actor->threads.next, struct thread, of_actor));
    laps_forget(actor);
    timers_delete_all(actor);
    devices_release(actor);
    while (!list_is_empty(&actor->ports))
        port_delete(LIST_OWNER(actor->ports.next, struct port, of_actor), reason);
    watches_fire(&actor->watches, &actor->cap.ui, actor->name, reason);
}

void actor_kill(struct actor *actor, int reason, const char *words)
{
    if (actor->deleting)
        return;
    actor->deleting = true;
    if (words != NULL)
        host_log(0, "actor %s (%08x.%x): deleted: %s", actor->name, actor->cap.ui.uiHead,
                 actor->cap.ui.uiTail, words);
    if (nucleus_hooks.actor_gone != NULL)
        nucleus_hooks.actor_gone(actor, reason, words);
    table_remove(&actors_by_ui, &actor->entry);
    list_remove(&actor->of_site);
    actors_alive--;
    actor_give_up(actor, reason);
    nucleus_want_idle_work();
    vm_space_destroy(actor);
    if (actor->host != NULL)
        host_space_destroy(actor->host);
    sched_forget_actor(actor);
}

static const char *death_words(int code)
{
    switch (code) {
    case HOST_DEAD_KILLED:
        return "its host process was killed";
    case HOST_DEAD_STUB_FAULT:
        return "its machine state was broken beyond repair";
    case HOST_DEAD_HOSTILE:
        return "it attacked the machine";
    case HOST_DEAD_BIRTH:
        return "the host could not make its process";
    case HOST_DEAD_MAP:
        return "the host refused to map its memory";
    default:
        return "its host process ended";
    }
}

static void actor_free(struct actor *actor)
{
    ASSERT(list_is_empty(&actor->threads) && list_is_empty(&actor->ports));
    threads_bury();
    ASSERT(list_is_empty(&actor->dead_threads));
    id_table_fini(&actor->thread_ids);
    id_table_fini(&actor->port_ids);
    id_table_fini(&actor->timer_ids);
    free(actor);
}

/* Until the devices that it drove are done with its memory. */
static struct list lingering = { &lingering, &lingering };

static void actor_finish(struct actor *actor)
{
    nucleus_want_idle_work(); /* its space goes when nothing of it is pinned any more */
    actors_exist--;
    actor_free(actor);
}

void actors_finish_lingering(void)
{
    LIST_FOR_EACH_SAFE (link, following, &lingering) {
        struct actor *actor = LIST_OWNER(link, struct actor, of_site);
        if (!devices_quiet(actor))
            continue;
        list_remove(&actor->of_site);
        actor_finish(actor);
    }
}

bool actors_linger(void)
{
    return !list_is_empty(&lingering);
}

void actor_space_dead(struct actor *actor, int code)
{
    actor->host = NULL;
    if (!actor->deleting)
        actor_kill(actor, code, code == HOST_DEAD_DESTROYED ? NULL : death_words(code));
    sched_space_dead(actor);
    if (actor->vm != NULL)
        vm_space_gone(actor->vm);
    nucleus_want_idle_work();
    if (devices_quiet(actor))
        actor_finish(actor);
    else
        list_append(&lingering, &actor->of_site);
}
