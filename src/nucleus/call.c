/* The dispatcher of nucleus calls: see call.h. */
#include "call.h"

#include <string.h>
#include "actor.h"
#include "assert.h"
#include "call_table.h"
#include "nucleus.h"
#include "trap.h"
#include "vm.h"

struct nucleus_last_call nucleus_last_calls[NUCLEUS_LAST_CALLS];
uint64_t nucleus_last_calls_next;

static const struct thread *caller;

const struct actor *call_caller(void)
{
    return caller == NULL ? NULL : caller->actor;
}

const struct thread *call_caller_thread(void)
{
    return caller;
}

static void note_last_call(const struct thread *thread, int64_t result)
{
    struct nucleus_last_call *note =
        &nucleus_last_calls[nucleus_last_calls_next++ % NUCLEUS_LAST_CALLS];
    note->actor = thread->actor->cap.ui;
    note->thread = thread->li;
    note->number = thread->call.number;
    memcpy(note->arg, thread->call.arg, sizeof note->arg);
    note->result = result;
}

bool call_is_null(const struct thread *thread, uint64_t argument)
{
    return thread->call.for_trap ? argument == K_DO_NULL : argument == 0;
}

int call_in(struct thread *thread, uint64_t argument, void *to, size_t size)
{
    if (call_is_null(thread, argument))
        return 1;
    if (!thread->call.for_trap)
        return vm_copy_in(thread, thread->actor, to, argument, size);
    if (argument > thread->call.scratch_size || size > thread->call.scratch_size - argument)
        return K_EFAULT;
    memcpy(to, thread->call.scratch + argument, size);
    return K_OK;
}

int call_out(struct thread *thread, uint64_t argument, const void *from, size_t size)
{
    if (call_is_null(thread, argument))
        return 1;
    if (thread->call.for_trap)
        return 1; /* of an in-and-out structure, only the first half is possible */
    return vm_copy_out(thread, thread->actor, argument, from, size);
}

int call_actor(struct thread *thread, unsigned index, struct actor **ret_actor)
{
    KnCap cap = { 0 };
    int status = call_in(thread, thread->call.arg[index], &cap, sizeof cap);
    if (status < 0)
        return status;
    *ret_actor = actor_find(&cap, thread->actor);
    return *ret_actor == NULL ? K_EUNKNOWN : K_OK;
}

int call_thread(struct thread *thread, unsigned index, struct thread **ret_thread)
{
    struct actor *actor = NULL;
    int status = call_actor(thread, index, &actor);
    if (status < 0)
        return status;
    int32_t li = (int32_t)thread->call.arg[index + 1];
    if (li == K_MYSELF)
        *ret_thread = actor == thread->actor ? thread : NULL;
    else
        *ret_thread = id_table_find(&actor->thread_ids, li);
    return *ret_thread == NULL ? K_EUNKNOWN : K_OK;
}

int call_name_in(struct thread *thread, uint64_t address, char name[K_NAMEMAX])
{
    char text[K_NAMEMAX] = { 0 };
    int length = vm_copy_string(thread, thread->actor, text, address, sizeof text);
    if (length < 0 && length != K_ETOOMUCH)
        return length;
    text[K_NAMEMAX - 1] = 0;
    for (char *at = text; *at != 0; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    memset(name, 0, K_NAMEMAX);
    strcpy(name, text);
    return K_OK;
}

/* Its subsystem makes its calls for it, and it makes none itself: K_CONNECT_CONFINE. */
static bool is_confined(const struct thread *thread)
{
    return (thread->actor->trap.flags & K_CONNECT_CONFINE) && !thread->call.for_trap;
}

bool call_is_trusted(const struct thread *thread)
{
    return thread->actor->privilege != K_USERACTOR;
}

int64_t call_deadline(struct thread *thread, KnTime delay)
{
    if (thread->call.deadline == 0 && delay < 0)
        thread->call.deadline = INT64_MAX; /* the clock need not be read */
    if (thread->call.deadline == 0) {
        int64_t now = nucleus_time();
        thread->call.deadline = delay > INT64_MAX - now ? INT64_MAX : now + delay;
    }
    return thread->call.deadline;
}

void call_begin(struct thread *thread, uint64_t number, const uint64_t arg[6])
{
    struct call *call = &thread->call;
    call->number = number > UINT32_MAX ? UINT32_MAX : (unsigned)number;
    memcpy(call->arg, arg, sizeof call->arg);
    call->restarted = call->for_trap = call->report = false;
    call->woken = K_OK;
    call->deadline = 0;
    memset(call->progress, 0, sizeof call->progress);
    call->scratch_size = 0;
    thread->work = WORK_CALL;
    thread->last_trap = 0;
    nucleus_counters.calls++;
    if (nucleus_hooks.call_begin != NULL)
        nucleus_hooks.call_begin(thread, call->number, call->arg);
}

/* A call that is done for a trap has nowhere to put an out-structure. */
static bool wants_out_structure(const struct thread *thread, const struct call_entry *entry)
{
    for (unsigned i = 0; i < entry->count; i++)
        if (entry->kind[i] == 'R' && !call_is_null(thread, thread->call.arg[i]))
            return true;
    return false;
}

static int64_t call_dispatch(struct thread *thread)
{
    const struct call_entry *entry = call_table_find(thread->call.number);
    if (entry == NULL)
        return K_ENOSYS;
    if (is_confined(thread))
        return K_EPRIV;
    if (entry->who == CALL_SYSTEM && !call_is_trusted(thread))
        return K_EPRIV;
    if (entry->who == CALL_SUPER && thread->actor->privilege != K_SUPACTOR)
        return K_EPRIV;
    if (thread->call.for_trap && wants_out_structure(thread, entry))
        return K_EINVAL;
    return entry->function(thread);
}

void call_finish(struct thread *thread, int64_t result)
{
    unsigned number = thread->call.number;
    bool for_trap = thread->call.for_trap;
    bool report = thread->call.report || result < 0;
    note_last_call(thread, result);
    if (nucleus_hooks.call_end != NULL)
        nucleus_hooks.call_end(thread, number, result);
    thread->call.number = 0;
    thread->call.for_trap = false;
    thread->work = WORK_NONE;
    if (for_trap && report)
        trap_call_done(thread, number, result);
    else
        host_context_set_result(thread->context, result);
}

void call_execute(struct thread *thread)
{
    caller = thread;
    int64_t result = call_dispatch(thread);
    caller = NULL;
    if (result == K_BLOCKED) {
        ASSERT(thread->state == THREAD_WAITING && thread->work == WORK_CALL);
        return;
    }
    if (result != CALL_NO_RETURN && thread->state != THREAD_DEAD) {
        call_finish(thread, result);
        return;
    }
    note_last_call(thread, 0);
    if (nucleus_hooks.call_end != NULL && thread->state != THREAD_DEAD)
        nucleus_hooks.call_end(thread, thread->call.number, 0);
    thread->call.number = 0;
    thread->work = WORK_NONE;
}
