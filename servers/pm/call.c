/* Linux calls: from the table to the handler and back. */

#include "call.h"

#include "descriptor.h"
#include "strace.h"
#include "token.h"

#define HANDLED(name) linux_##name
#define ABSENT(name) NULL
#define LINUX_CALL(number, name, state, handler, arguments, missing) \
    [number] = { #name, handler(name), arguments, missing },
const struct linux_call linux_calls[LINUX_CALLS] = {
#include "linux_calls.def"
};
#undef LINUX_CALL
#undef HANDLED
#undef ABSENT

static void deadline_passed(struct timeout *timeout)
{
    struct call *call = LIST_ENTRY(timeout, struct call, timeout);
    call->timed_out = true;
    thread_wake(call_thread(call));
}

void call_begin(struct call *call, const KnTrapMsg *trap)
{
    call->active = true;
    call->number = trap->number;
    memcpy(call->arg, trap->arg, sizeof call->arg);
    call->entry = trap->number < LINUX_CALLS ? &linux_calls[trap->number] : NULL;
    call->runs = 0;
    call->progress = 0;
    memset(call->scratch, 0, sizeof call->scratch);
    call->deadline = K_FOREVER;
    call->timed_out = false;
    call->policy = CALL_RESTARTS;
    call->file = NULL;
    call->awaits_sign = false;
    call->cleanup = NULL;
    call->waiter_count = 0;
    timeout_init(&call->timeout, deadline_passed);
    call->body_size = 0;
    call->resume = NULL;
}

/* Calls that are not there are told once for each program and call, by a bit for each pair. */
static void report_missing(struct call *call)
{
    static uint8_t told[4096];
    const struct process *process = call_process(call);
    uint32_t hash = call->number * 2654435761u;
    for (const char *at = process->name; *at != '\0'; at++)
        hash = hash * 31 + (uint8_t)*at;
    hash %= sizeof told * 8;
    if (!pm_options.verbose || (told[hash / 8] & 1 << hash % 8))
        return;
    told[hash / 8] |= (uint8_t)(1 << hash % 8);
    const struct linux_call *entry = call->entry;
    bool known = entry != NULL && entry->name != NULL;
    pm_log("%s (%d) calls %s (%u), which is not there%s%s", process->name, process->pid,
           known ? entry->name : "an unknown number", call->number,
           known && *entry->missing ? ": " : "", known ? entry->missing : "");
}

int64_t call_run(struct call *call)
{
    if (call->runs > 0)
        wait_leave(call);
    if (call->runs == 0 && pm_options.strace)
        strace_enter(call);
    if (call->entry == NULL || call->entry->handler == NULL) {
        report_missing(call);
        return -ENOSYS;
    }
    call->body_size = 0;
    int64_t result = call->entry->handler(call);
    call->runs++;
    if (result == CALL_WAITS && call->deadline != K_FOREVER && !call->timed_out &&
        timeout_arm(&call->timeout, call->deadline) != 0)
        result = -ENOMEM;
    return result;
}

void call_end(struct call *call)
{
    wait_leave(call);
    if (call->cleanup != NULL)
        call->cleanup(call);
    call->cleanup = NULL;
    if (call->awaits_sign)
        token_forget(call);
    if (call->file != NULL) {
        struct file *file = call->file;
        call->file = NULL;
        file_release(file);
    }
    call->active = false;
}

void call_deadline(struct call *call, KnTime when)
{
    if (call->runs == 0)
        call->deadline = when < 0 ? K_FOREVER : when;
}

void call_deadline_after(struct call *call, KnTime delay)
{
    if (call->runs > 0)
        return;
    KnTime now = time_now();
    call->deadline = delay > INT64_MAX - now ? K_FOREVER : now + delay;
}

uint64_t call_do_body(struct call *call, const void *structure, size_t size)
{
    uint64_t offset = call->body_size;
    memcpy(call->body + offset, structure, size);
    call->body_size += (uint32_t)size;
    return offset;
}

int64_t call_do(struct call *call, unsigned number, const uint64_t *arguments, unsigned count,
                bool report, int64_t (*resume)(struct call *call, int64_t result))
{
    call->reply = (KnTrapReply){ .action = K_DO_CALL, .flags = report ? K_DO_REPORT : 0,
                                 .number = number };
    memcpy(call->reply.arg, arguments, count * sizeof *arguments);
    call->resume = resume;
    return CALL_REPLIED;
}
