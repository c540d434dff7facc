/* Nucleus calls on actors. */
#include <string.h>
#include "actor.h"
#include "assert.h"
#include "call.h"
#include "nucleus.h"
#include "port.h"
#include "sched.h"
#include "ui.h"
#include "vm.h"

int64_t call_actorCreate(struct thread *thread)
{
    struct actor *init, *actor;
    uint64_t privilege = thread->call.arg[2], state = thread->call.arg[3];
    int status = call_actor(thread, 0, &init);
    if (status < 0)
        return status;
    if (privilege > K_SUPACTOR || state > K_INACTIVE)
        return K_EINVAL;
    if (privilege != K_USERACTOR && !call_is_trusted(thread))
        return K_EPRIV;
    /* A bad address for the capability is found before there is anything to undo. */
    KnCap cap = { 0 };
    status = call_out(thread, thread->call.arg[1], &cap, sizeof cap);
    if (status != K_OK)
        return status == 1 ? K_EINVAL : status;
    status = actor_create(init, (int)privilege, &actor);
    if (status != K_OK)
        return status;
    actor->stopped = state == K_INACTIVE;
    status = call_out(thread, thread->call.arg[1], &actor->cap, sizeof actor->cap);
    if (status != K_OK) {
        actor_kill(actor, K_OK, NULL);
        return status == K_BLOCKED ? K_EFAULT : status;
    }
    return K_OK;
}

int64_t call_actorDelete(struct thread *thread)
{
    struct actor *actor;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    actor_kill(actor, K_OK, NULL);
    return actor == thread->actor ? CALL_NO_RETURN : K_OK;
}

int64_t call_actorSelf(struct thread *thread)
{
    const KnCap *cap = &thread->actor->cap;
    int status = call_out(thread, thread->call.arg[0], cap, sizeof *cap);
    return status == 1 ? K_EINVAL : status;
}

/* The shape of all calls that get an old value and set a new one: read the new one, write the old
 * one, then change. */
int64_t call_actorName(struct thread *thread)
{
    struct actor *actor;
    char name[K_NAMEMAX];
    const uint64_t *arg = thread->call.arg;
    int status = call_actor(thread, 0, &actor);
    if (status >= 0 && arg[2] != 0)
        status = call_name_in(thread, arg[2], name);
    if (status >= 0 && arg[1] != 0)
        status = vm_copy_out(thread, thread->actor, arg[1], actor->name, K_NAMEMAX);
    if (status < 0)
        return status;
    if (arg[2] != 0)
        memcpy(actor->name, name, K_NAMEMAX);
    return K_OK;
}

int64_t call_actorPrivilege(struct thread *thread)
{
    struct actor *actor;
    const uint64_t *arg = thread->call.arg;
    int privilege = 0;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    int has_new = call_in(thread, arg[2], &privilege, sizeof privilege);
    if (has_new < 0)
        return has_new;
    if (has_new == K_OK && !call_is_trusted(thread))
        return K_EPRIV;
    /* A supervisor actor is one by where its memory lies. */
    if (has_new == K_OK && privilege != actor->privilege &&
        (privilege < K_USERACTOR || privilege > K_SYSTEMACTOR || actor->privilege == K_SUPACTOR))
        return K_EINVAL;
    status = call_out(thread, arg[1], &actor->privilege, sizeof actor->privilege);
    if (status < 0)
        return status;
    if (has_new == K_OK)
        actor->privilege = privilege;
    return K_OK;
}

int64_t call_actorPi(struct thread *thread)
{
    struct actor *actor;
    const uint64_t *arg = thread->call.arg;
    KnProtId pi;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    int has_new = call_in(thread, arg[2], &pi, sizeof pi);
    if (has_new < 0)
        return has_new;
    if (has_new == K_OK && !call_is_trusted(thread))
        return K_EPRIV;
    status = call_out(thread, arg[1], &actor->pi, sizeof actor->pi);
    if (status < 0)
        return status;
    if (has_new == K_OK)
        actor->pi = pi;
    return K_OK;
}

static uint32_t list_length(struct list *list)
{
    uint32_t length = 0;
    LIST_FOR_EACH (link, list)
        length++;
    return length;
}

static void actor_describe(struct actor *actor, KnActorStat *stat)
{
    *stat = (KnActorStat){
        .ui = actor->cap.ui,
        .privilege = actor->privilege,
        .state = actor->deleting  ? 2
                 : actor->stopped ? 1
                                  : 0,
        .pi = actor->pi,
        .threads = (uint32_t)actor->thread_ids.used,
        .ports = list_length(&actor->ports),
        .cpuTime = actor_cpu_time(actor),
        .messages = actor->messages,
        .faults = actor->faults,
        .traps = actor->traps,
        .routines = actor->routines,
    };
    memcpy(stat->name, actor->name, sizeof stat->name);
    vm_actor_counts(actor, &stat->regions, &stat->memory);
}

int64_t call_actorStat(struct thread *thread)
{
    uint64_t index = thread->call.arg[0];
    if (index >= actor_count())
        return K_EUNKNOWN;
    struct list *link = actor_list()->next;
    while (index-- > 0)
        link = link->next;
    KnActorStat stat;
    actor_describe(LIST_OWNER(link, struct actor, of_site), &stat);
    int status = call_out(thread, thread->call.arg[1], &stat, sizeof stat);
    return status == 1 ? K_EINVAL : status;
}

int64_t call_actorStop(struct thread *thread)
{
    struct actor *actor;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    actor->stopped = true;
    LIST_FOR_EACH (link, &actor->threads)
        thread_stop(LIST_OWNER(link, struct thread, of_actor), STOPPED_BY_ACTORSTOP);
    return K_OK;
}

int64_t call_actorStart(struct thread *thread)
{
    struct actor *actor;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    actor->stopped = false;
    LIST_FOR_EACH (link, &actor->threads)
        thread_start(LIST_OWNER(link, struct thread, of_actor), STOPPED_BY_ACTORSTOP);
    return K_OK;
}

int64_t call_actorAnswers(struct thread *thread)
{
    struct actor *actor;
    KnAnswerSet set;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    status = call_in(thread, thread->call.arg[1], &set, sizeof set);
    if (status != K_OK)
        return status == 1 ? K_EINVAL : status;
    if (actor->host == NULL)
        return K_EUNKNOWN;
    return host_space_answers(actor->host, set.number, set.value, set.count);
}

int64_t call_actorTrapConnect(struct thread *thread)
{
    struct actor *actor;
    KnTrapConnect connect;
    const unsigned all = K_CONNECT_TRAP | K_CONNECT_EXCEPTION | K_CONNECT_ABORT;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    status = call_in(thread, thread->call.arg[1], &connect, sizeof connect);
    if (status < 0)
        return status;
    if (status != K_OK || connect.what == 0 || (connect.what & ~all) != 0 ||
        (connect.flags & ~K_CONNECT_CONFINE) != 0)
        return K_EINVAL;
    if (actor != thread->actor && !call_is_trusted(thread))
        return K_EPRIV;
    bool has_port = !uiIsCleared(&connect.port);
    if (has_port && connect.handler != 0)
        return K_EINVAL;
    if ((connect.flags & K_CONNECT_CONFINE) && !(has_port && connect.what & K_CONNECT_TRAP))
        return K_EINVAL;
    if (has_port && port_find(&connect.port) == NULL)
        return K_EUNKNOWN;
    if (connect.what & K_CONNECT_TRAP)
        actor->trap = connect;
    if (connect.what & K_CONNECT_EXCEPTION)
        actor->exception = connect;
    if (connect.what & K_CONNECT_ABORT)
        actor->abort = connect;
    return K_OK;
}
