/* What the program around the Nucleus may see of it: snapshots, counts, names. */
#include "nucleus.h"

#include <host/space.h>
#include "actor.h"
#include "call_table.h"
#include "device.h"
#include "group.h"
#include "message.h"
#include "port.h"
#include "sched.h"
#include "timer.h"
#include "vm.h"

const char *nucleus_call_name(unsigned number)
{
    const struct call_entry *entry = call_table_find(number);
    return entry == NULL ? NULL : entry->name;
}

const char *nucleus_error_name(int status)
{
    switch (status) {
#define KN_ERROR(name, value, words)                                                               \
    case value:                                                                                    \
        return #name;
#include <errors.def>
#undef KN_ERROR
    }
    return "no such status";
}

const char *nucleus_error_words(int status)
{
    switch (status) {
#define KN_ERROR(name, value, words)                                                               \
    case value:                                                                                    \
        return words;
#include <errors.def>
#undef KN_ERROR
    }
    return "no such status";
}

static void view_thread(struct thread *thread,
                        void (*show)(void *, const struct nucleus_thread_view *), void *cookie)
{
    struct nucleus_thread_view view = {
        .li = thread->li,
        .state = thread_public_state(thread),
        .priority = (unsigned)thread->sched.priority,
        .cpu_time = thread->cpu_time,
        .call = thread->call.number,
        .name = thread->name,
    };
    show(cookie, &view);
}

void nucleus_view(void (*show_actor)(void *cookie, const struct nucleus_actor_view *view),
                  void (*show_thread)(void *cookie, const struct nucleus_thread_view *view),
                  void *cookie)
{
    LIST_FOR_EACH (link, actor_list()) {
        struct actor *actor = LIST_OWNER(link, struct actor, of_site);
        struct nucleus_actor_view view = {
            .ui = actor->cap.ui,
            .privilege = actor->privilege,
            .pid = actor->host == NULL ? 0 : host_space_pid(actor->host),
            .messages = actor->messages,
            .faults = actor->faults,
            .cpu_time = actor_cpu_time(actor),
            .name = actor->name,
        };
        uint32_t regions;
        vm_actor_counts(actor, &regions, &view.memory);
        show_actor(cookie, &view);
        if (show_thread == NULL)
            continue;
        LIST_FOR_EACH (thread_link, &actor->threads)
            view_thread(LIST_OWNER(thread_link, struct thread, of_actor), show_thread, cookie);
    }
}

void nucleus_count(struct nucleus_counts *counts)
{
    *counts = (struct nucleus_counts){
        .actors = actor_count_existing(),
        .threads = thread_count(),
        .ports = port_count(),
        .messages = message_count(),
        .calls = call_record_count(),
        .timers = timer_count(),
        .watches = watch_count(),
        .groups = group_count(),
    };
}
