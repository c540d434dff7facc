/* Actors: made by fork and exec, watched, deleted when nobody lives in them. */

#include "space.h"

#include "descriptor.h"
#include "process.h"
#include "rewrite.h"
#include "worker.h"

static struct list spaces = { &spaces, &spaces };
static struct list doomed = { &doomed, &doomed };
static uint64_t last_watch;

static struct space *space_record(void)
{
    struct space *space = calloc(1, sizeof *space);
    if (space == NULL)
        return NULL;
    space->references = 1;
    space->watch = ++last_watch;
    return space;
}

static int connect_traps(const KnCap *actor)
{
    KnTrapConnect connect = { .port = worker_port_ui,
                              .what = K_CONNECT_TRAP | K_CONNECT_EXCEPTION | K_CONNECT_ABORT,
                              .flags = K_CONNECT_CONFINE };
    return actorTrapConnect(actor, &connect);
}

int space_new(const struct space *like, struct space **ret_space)
{
    struct space *space = space_record();
    if (space == NULL)
        return -ENOMEM;
    int status = actorCreate(like != NULL ? &like->actor : K_MYACTOR, &space->actor, K_USERACTOR,
                             K_ACTIVE);
    if (status < 0) {
        free(space);
        return status == K_ELIMIT ? -EAGAIN : error_of(status);
    }
    if (like == NULL)
        status = connect_traps(&space->actor);
    if (status >= 0)
        status = actorWatch(&space->actor.ui, worker_port, space->watch);
    if (status < 0) {
        actorDelete(&space->actor);
        free(space);
        return error_of(status);
    }
    list_append(&spaces, &space->link);
    *ret_space = space;
    return 0;
}

static void copy_facts(struct space *space, const struct space *old)
{
    space->brk_start = old->brk_start, space->brk = old->brk;
    space->stack_bottom = old->stack_bottom, space->stack_top = old->stack_top;
    space->code_start = old->code_start, space->code_end = old->code_end;
    space->data_start = old->data_start, space->data_end = old->data_end;
    space->arg_start = old->arg_start, space->arg_end = old->arg_end;
    space->env_start = old->env_start, space->env_end = old->env_end;
    memcpy(space->auxv, old->auxv, sizeof space->auxv);
    space->auxv_words = old->auxv_words;
    space->program = old->program;
    if (space->program != NULL)
        file_reference(space->program);
    rewrite_fork(space, old);
}

int space_fork(struct space *old, struct space **ret_space)
{
    struct space *space;
    int error = space_new(old, &space);
    if (error != 0)
        return error;
    copy_facts(space, old);
    KnCap source = old->actor, target = space->actor;
    pm_unlock();
    int status = rgnDup(&target, &source, 0);
    pm_lock();
    if (status < 0) {
        space_release(space);
        return error_of(status);
    }
    *ret_space = space;
    return 0;
}

void space_release(struct space *space)
{
    if (--space->references > 0)
        return;
    rewrite_end(space);
    if (space->program != NULL)
        file_release(space->program);
    space->program = NULL;
    list_remove(&space->link);
    list_append(&doomed, &space->link);
}

bool spaces_to_finish(void)
{
    return !list_is_empty(&doomed);
}

bool spaces_finish(void)
{
    struct list *link = list_take_first(&doomed);
    if (link == NULL)
        return false;
    struct space *space = LIST_ENTRY(link, struct space, link);
    if (!space->gone)
        actorDelete(&space->actor);
    free(space);
    return true;
}

void space_actor_gone(uint64_t watch, int reason)
{
    LIST_EACH(&spaces, at) {
        struct space *space = LIST_ENTRY(at, struct space, link);
        if (space->watch != watch)
            continue;
        space->gone = true;
        LIST_EACH(&processes, of) {
            struct process *process = LIST_ENTRY(of, struct process, link);
            if (process->space != space || process->state != PROCESS_ALIVE)
                continue;
            pm_log("%s (%d) is gone: its actor died (%s)", process->name, process->pid,
                   knStrError(reason));
            process_end(process, SIGKILL);
        }
        return;
    }
}
