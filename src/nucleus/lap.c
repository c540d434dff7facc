/* Safe local access points: see lap.h. Others the Nucleus does not know: svLapCreate writes their descriptors, and that is all. */
#include "lap.h"

#include <stdlib.h>
#include <string.h>
#include <host/event.h>
#include "actor.h"
#include "assert.h"
#include "call.h"
#include "handler.h"
#include "nucleus.h"
#include "random.h"
#include "ui.h"
#include "vm.h"

enum { ACTOR_LAPS_MAX = 1024 };
enum { STAGE = 0 }; /* place in call.progress: 1 when it waits for routines to return */

struct lap {
    struct table_entry entry; /* by desc.id */
    struct list of_actor;
    struct actor *actor;
    KnLapDesc desc;
    struct list calls;         /* whose routines are under way */
    bool deleted;              /* freed with the last of them */
    struct wait_queue drained; /* who deletes it */
};

struct lap_name {
    struct list link;
    char name[K_LAPNAMEMAX + 1];
    struct lap *lap;
};

static struct table laps;
static uint64_t last_id;
static struct list names = { &names, &names };
static struct wait_queue resolvers = { { &resolvers.threads, &resolvers.threads } };

size_t lap_count(void)
{
    return laps.count;
}

/* ---- making and finding ---- */

static struct lap *lap_find(const KnLapDesc *desc)
{
    struct table_entry *entry = desc->id == 0 ? NULL : table_find(&laps, desc->id);
    struct lap *lap = entry == NULL ? NULL : LIST_OWNER(entry, struct lap, entry);
    return lap != NULL && key_equal(lap->desc.key, desc->key) ? lap : NULL;
}

/* The safe LAP of the descriptor in argument <index>. */
static int read_lap(struct thread *thread, unsigned index, struct lap **ret_lap)
{
    KnLapDesc desc;
    int status = call_in(thread, thread->call.arg[index], &desc, sizeof desc);
    if (status != K_OK)
        return status < 0 ? status : K_EINVAL;
    if (!(desc.options & K_LAP_SAFE))
        return K_EINVAL;
    *ret_lap = lap_find(&desc);
    return *ret_lap == NULL ? K_EUNKNOWN : K_OK;
}

/* The LAPs of its own actor are a thread's to withdraw. */
static int read_own_lap(struct thread *thread, unsigned index, struct lap **ret_lap)
{
    int status = read_lap(thread, index, ret_lap);
    return status == K_OK && (*ret_lap)->actor != thread->actor ? K_EPRIV : status;
}

static size_t laps_of(const struct actor *actor)
{
    size_t count = 0;
    LIST_FOR_EACH (link, &actor->laps)
        count++;
    return count;
}

static int lap_create(struct actor *actor, KnLapDesc *desc)
{
    if (laps_of(actor) >= ACTOR_LAPS_MAX)
        return K_ELIMIT;
    struct lap *lap = calloc(1, sizeof *lap);
    if (lap == NULL)
        return K_ENOMEM;
    desc->id = ++last_id;
    desc->key = random_u64();
    lap->desc = *desc;
    lap->actor = actor;
    list_init(&lap->calls);
    wait_queue_init(&lap->drained);
    table_insert(&laps, &lap->entry, desc->id);
    list_append(&actor->laps, &lap->of_actor);
    return K_OK;
}

static void lap_free(struct lap *lap)
{
    list_remove(&lap->of_actor);
    wait_queue_wake_all(&lap->drained, K_OK);
    free(lap);
}

/* No call finds it any more, and those that wait for a lender are refused. */
static void lap_withdraw(struct lap *lap, int status)
{
    table_remove(&laps, &lap->entry);
    LIST_FOR_EACH_SAFE (link, following, &names) {
        struct lap_name *name = LIST_OWNER(link, struct lap_name, link);
        if (name->lap != lap)
            continue;
        list_remove(link);
        free(name);
    }
    LIST_FOR_EACH_SAFE (link, following, &lap->actor->lap_calls) {
        struct message *call = LIST_OWNER(link, struct message, link);
        if (call->lap == lap)
            message_refuse(call, status);
    }
    lap->deleted = true;
}

void laps_forget(struct actor *actor)
{
    LIST_FOR_EACH_SAFE (link, following, &actor->laps) {
        struct lap *lap = LIST_OWNER(link, struct lap, of_actor);
        ASSERT(list_is_empty(&lap->calls) && !lap->deleted);
        lap_withdraw(lap, K_EDEAD);
        lap_free(lap);
    }
}

int64_t call_svLapCreate(struct thread *thread)
{
    const uint64_t *arg = thread->call.arg;
    struct actor *actor;
    int status = call_actor(thread, 0, &actor);
    if (status < 0)
        return status;
    uint64_t options = arg[3];
    if (actor->privilege != K_SUPACTOR || arg[1] == 0 || options > (K_LAP_SAFE | K_LAP_SETJMP) ||
        options == K_LAP_SETJMP || call_is_null(thread, arg[4]))
        return K_EINVAL;
    KnLapDesc desc = { .handler = (KnLapHdl)(uintptr_t)arg[1],
                       .cookie = (void *)(uintptr_t)arg[2],
                       .options = (uint32_t)options };
    status = call_out(thread, arg[4], &desc, sizeof desc); /* is there room for it? */
    if (status == K_OK && (options & K_LAP_SAFE))
        status = lap_create(actor, &desc);
    return status == K_OK ? call_out(thread, arg[4], &desc, sizeof desc) : status;
}

int64_t call_svLapDelete(struct thread *thread)
{
    struct lap *lap;
    if (thread->call.progress[STAGE] != 0)
        return K_OK;
    int status = read_own_lap(thread, 0, &lap);
    if (status != K_OK)
        return status;
    struct message *served = message_find(thread->lent.serves);
    if (served != NULL && served->lap == lap)
        return K_EBUSY;
    lap_withdraw(lap, K_EUNKNOWN);
    if (list_is_empty(&lap->calls)) {
        lap_free(lap);
        return K_OK;
    }
    LIST_FOR_EACH (link, &lap->calls)
        thread_abort(LIST_OWNER(link, struct message, link)->holder);
    thread->call.progress[STAGE] = 1;
    return wait_queue_wait(&lap->drained, thread, INT64_MAX, false);
}

/* ---- calls ---- */

struct message *lap_next_call(struct actor *actor)
{
    struct list *link = list_first(&actor->lap_calls);
    return link == NULL ? NULL : LIST_OWNER(link, struct message, link);
}

void lap_give(struct thread *lender, struct thread *waiter, struct message *call)
{
    KnHandlerBlock *block = lender->lent.block;
    const KnLapDesc *desc = &call->lap->desc;
    list_remove(&call->link);
    list_append(&call->lap->calls, &call->link);
    call->place = MESSAGE_CURRENT;
    call->holder = lender;
    lender->lent.serves = call->id;
    block->kind = K_INVOKE_LAP;
    block->routine = (VmAddr)(uintptr_t)desc->handler;
    block->cookie = (uint64_t)(uintptr_t)desc->cookie;
    block->argument = (uint64_t)(uintptr_t)call->cookie;
    handler_begin(lender, waiter);
}

void lap_call_ended(struct message *call)
{
    struct lap *lap = call->lap;
    list_remove(&call->link);
    if (call->holder != NULL)
        call->holder->lent.serves = 0;
    call->holder = NULL;
    call->lap = NULL;
    call->place = MESSAGE_NOWHERE;
    if (lap->deleted && list_is_empty(&lap->calls))
        lap_free(lap);
}

/* Its caller gets <result>, and the CPU when the lender waits. An abort that the routine has not noticed is its caller's. */
static void finish(struct message *call, int64_t result, bool aborted)
{
    struct call_record *record = call_record_find(call->id);
    if (record != NULL) {
        struct thread *caller = LIST_OWNER(record, struct thread, calling);
        sched_await(caller);
        caller->aborted |= aborted;
        call_record_close(record);
        thread_wake(caller, K_OK);
        call_finish(caller, result);
    }
    message_free(call);
}

void lap_return(struct thread *lender, int64_t result)
{
    struct message *call = message_find(lender->lent.serves);
    ASSERT(call != NULL && call->holder == lender);
    finish(call, result, lender->aborted);
}

bool lap_catch(struct thread *thread)
{
    struct message *call = message_find(thread->lent.serves);
    const KnHandlerBlock *block = thread->lent.block;
    if (call == NULL || !(call->lap->desc.options & K_LAP_SETJMP) || block->restart == 0)
        return false;
    KnThreadCtx context;
    host_context_get(thread->context, &context, NULL);
    host_log(1, "actor %s: a fault in a LAP's routine at %lx, address %lx: its caller is told",
             thread->actor->name, (long)thread->trap.ip, (long)thread->trap.address);
    thread->work = WORK_NONE;
    host_context_start(thread->context, block->restart, block->stack, thread->lent.block_at,
                       context.fsBase);
    finish(call, K_EFAULT, false);
    sched_pass(thread); /* it goes on itself: the caller is ready like any other */
    return true;
}

void lap_abort(struct thread *caller)
{
    struct message *call = message_find(caller->calling.id);
    ASSERT(call != NULL);
    if (call->place == MESSAGE_CURRENT) {
        thread_abort(call->holder);
        return;
    }
    call_record_abandon(&caller->calling, false);
    thread_wake(caller, K_EABORT);
}

int64_t call_lapEnter(struct thread *thread)
{
    struct lap *lap;
    if (thread->call.progress[STAGE] != 0)
        return thread->call.woken; /* there is no result */
    int status = read_lap(thread, 0, &lap);
    if (status != K_OK)
        return status;
    struct message *call = message_new();
    if (call == NULL)
        return K_ENOMEM;
    call->flags = K_HEAD_CALL;
    call->src_actor = thread->actor->cap.ui;
    call->actor_pi = thread->actor->pi;
    call->cookie = (void *)(uintptr_t)thread->call.arg[1];
    call->lap = lap;
    call->place = MESSAGE_QUEUED;
    list_append(&lap->actor->lap_calls, &call->link);
    call_record_open(&thread->calling, call->id, CALL_OF_LAP);
    thread->call.progress[STAGE] = 1;
    status = wait_queue_wait(NULL, thread, INT64_MAX, false);
    struct thread *lender = handler_lender(lap->actor);
    if (lender != NULL) {
        sched_await(lender);
        lap_give(lender, NULL, lap_next_call(lap->actor));
        handler_pass(thread);
    }
    return status;
}

/* ---- names ---- */

static struct lap_name *name_find(const char *text)
{
    LIST_FOR_EACH (link, &names) {
        struct lap_name *name = LIST_OWNER(link, struct lap_name, link);
        if (strcmp(name->name, text) == 0)
            return name;
    }
    return NULL;
}

static int read_name(struct thread *thread, uint64_t address, char text[K_LAPNAMEMAX + 1])
{
    int length = vm_copy_string(thread, thread->actor, text, address, K_LAPNAMEMAX + 1);
    return length == 0 ? K_EINVAL : length > 0 ? K_OK : length;
}

int64_t call_svLapBind(struct thread *thread)
{
    char text[K_LAPNAMEMAX + 1];
    struct lap *lap;
    int status = read_name(thread, thread->call.arg[0], text);
    if (status == K_OK)
        status = read_lap(thread, 1, &lap);
    if (status != K_OK)
        return status;
    if (name_find(text) != NULL)
        return K_EBUSY;
    struct lap_name *name = malloc(sizeof *name);
    if (name == NULL)
        return K_ENOMEM;
    strcpy(name->name, text);
    name->lap = lap;
    list_append(&names, &name->link);
    wait_queue_wake_all(&resolvers, K_OK);
    return K_OK;
}

int64_t call_svLapUnbind(struct thread *thread)
{
    char text[K_LAPNAMEMAX + 1];
    int status = read_name(thread, thread->call.arg[0], text);
    if (status != K_OK)
        return status;
    struct lap_name *name = name_find(text);
    if (name == NULL)
        return K_EUNKNOWN;
    if (name->lap->actor != thread->actor)
        return K_EPRIV;
    list_remove(&name->link);
    free(name);
    return K_OK;
}

int64_t call_lapResolve(struct thread *thread)
{
    const uint64_t *arg = thread->call.arg;
    char text[K_LAPNAMEMAX + 1];
    if (thread->call.restarted && thread->call.woken != K_OK)
        return thread->call.woken;
    int status = read_name(thread, arg[1], text);
    if (status != K_OK)
        return status;
    struct lap_name *name = name_find(text);
    if (name != NULL) {
        status = call_out(thread, arg[0], &name->lap->desc, sizeof name->lap->desc);
        return status == 1 ? K_EINVAL : status;
    }
    if ((KnTime)arg[2] == K_NODELAY)
        return K_EUNKNOWN;
    return wait_queue_wait(&resolvers, thread, call_deadline(thread, (KnTime)arg[2]), true);
}
