/* Nucleus calls on the site: time, information, the log, random numbers, the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "actor.h"
#include "call.h"
#include "call_table.h"
#include <host/event.h>
#include "message.h"
#include "nucleus.h"
#include "port.h"
#include "random.h"
#include "sched.h"
#include "ui.h"
#include "vm.h"

#define LOG_TEXT_MAX 1024
#define RANDOM_MAX   256

int64_t call_sysNull(struct thread *thread)
{
    (void)thread;
    return K_OK;
}

int64_t call_sysTime(struct thread *thread)
{
    KnTime now = nucleus_time() - nucleus_boot_time();
    int status = call_out(thread, thread->call.arg[0], &now, sizeof now);
    return status == 1 ? K_EINVAL : status;
}

int64_t call_univTime(struct thread *thread)
{
    KnTime set = 0, now = nucleus_time_of_day();
    int has_new = call_in(thread, thread->call.arg[1], &set, sizeof set);
    if (has_new < 0)
        return has_new;
    if (has_new == K_OK && !call_is_trusted(thread))
        return K_EPRIV;
    if (has_new == K_OK && set < 0)
        return K_EINVAL;
    int status = call_out(thread, thread->call.arg[0], &now, sizeof now);
    if (status < 0)
        return status;
    if (has_new == K_OK)
        nucleus_set_time_of_day(set);
    return K_OK;
}

void nucleus_view_site(KnSysInfo *info)
{
    uint64_t cached;
    *info = (KnSysInfo){
        .site = ui_site(),
        .cpus = (uint32_t)sched_cpu_count(),
        .actors = (uint32_t)actor_count(),
        .threads = (uint32_t)thread_count(),
        .ports = (uint32_t)port_count(),
        .calls = (uint32_t)call_record_count(),
        .messages = nucleus_counters.messages,
        .faults = nucleus_counters.faults,
        .traps = nucleus_counters.traps,
        .switches = nucleus_counters.switches,
        .idleTime = sched_idle_time(),
        .actorsMax = actors_max(),
        .routines = nucleus_counters.routines,
        .direct = nucleus_counters.direct,
    };
    vm_counts(&info->frames, &info->framesFree, &cached);
}

int64_t call_sysInfo(struct thread *thread)
{
    KnSysInfo info;
    nucleus_view_site(&info);
    int status = call_out(thread, thread->call.arg[0], &info, sizeof info);
    return status == 1 ? K_EINVAL : status;
}

/* Lines end at line ends; what could command a terminal becomes '?'. A line of somebody trusted that begins with K_LOG_URGENT is for the person
 * at the site, also when the log is not shown. */
static void log_lines(const struct actor *actor, bool trusted, char *text, size_t size)
{
    const size_t mark = sizeof K_LOG_URGENT - 1;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < ' ' && text[i] != '\n' && text[i] != '\t')
            text[i] = '?';
    while (size > 0) {
        char *end = memchr(text, '\n', size);
        size_t length = end == NULL ? size : (size_t)(end - text);
        bool urgent = trusted && length >= mark && memcmp(text, K_LOG_URGENT, mark) == 0;
        size_t skip = urgent ? mark : 0;
        host_log(urgent ? 0 : 1, "%s: %.*s", actor->name, (int)(length - skip), text + skip);
        length += end != NULL;
        text += length;
        size -= length;
    }
}

/* Each line costs its share of a second; who is a burst ahead of the clock has to wait. */
static bool may_log(struct thread *thread)
{
    const int64_t line = 1000000000 / ACTOR_LOG_RATE, now = nucleus_time();
    struct actor *actor = thread->actor;
    if (call_is_trusted(thread))
        return true;
    if (actor->log_paid_until < now)
        actor->log_paid_until = now;
    if (actor->log_paid_until - now > ACTOR_LOG_BURST * line)
        return false;
    actor->log_paid_until += line;
    return true;
}

int64_t call_sysLog(struct thread *thread)
{
    char text[LOG_TEXT_MAX];
    uint64_t size = thread->call.arg[1];
    if (size > sizeof text)
        return K_ETOOMUCH;
    if (!may_log(thread))
        return K_EFULL;
    int status = vm_copy_in(thread, thread->actor, text, thread->call.arg[0], size);
    if (status != K_OK)
        return status;
    log_lines(thread->actor, call_is_trusted(thread), text, size);
    return K_OK;
}

int64_t call_sysRandom(struct thread *thread)
{
    uint8_t bytes[RANDOM_MAX];
    uint64_t size = thread->call.arg[1];
    if (size > sizeof bytes)
        return K_ETOOMUCH;
    random_bytes(bytes, size);
    return vm_copy_out(thread, thread->actor, thread->call.arg[0], bytes, size);
}

int64_t call_sysShutdown(struct thread *thread)
{
    uint64_t how = thread->call.arg[1];
    if (how > 1)
        return K_EINVAL;
    nucleus_shutdown((int)thread->call.arg[0], (int)how);
    return K_OK;
}

int64_t call_sysCallName(struct thread *thread)
{
    const struct call_entry *entry = call_table_find(thread->call.arg[0]);
    char name[K_NAMEMAX] = { 0 };
    if (entry == NULL)
        return K_EUNKNOWN;
    snprintf(name, sizeof name, "%s", entry->name);
    return vm_copy_out(thread, thread->actor, thread->call.arg[1], name, sizeof name);
}

/* ---- commands ---- */

bool (*nucleus_command)(const char *words, size_t size, const void *image, size_t image_size, char *answer, size_t room);

enum { COMMAND_WORDS_MAX = 65536, COMMAND_IMAGE_MAX = 64 << 20, COMMAND_ANSWER_MAX = 512 };

/* Everything is at hand before anything is done; the caller may be who is ended. */
static int64_t command_run(struct thread *thread, char *words, void *image)
{
    const uint64_t *arg = thread->call.arg;
    char answer[COMMAND_ANSWER_MAX] = { 0 };
    size_t room = arg[5] < sizeof answer ? arg[5] : sizeof answer;
    int status = vm_copy_in(thread, thread->actor, words, arg[0], arg[1]);
    if (status == K_OK)
        status = vm_copy_in(thread, thread->actor, image, arg[2], arg[3]);
    if (status == K_OK)
        status = vm_copy_out(thread, thread->actor, arg[4], answer, room);
    if (status != K_OK)
        return status;
    bool done = nucleus_command(words, arg[1], image, arg[3], answer, sizeof answer);
    if (thread->state == THREAD_DEAD)
        return CALL_NO_RETURN;
    answer[room - 1] = 0;
    status = vm_copy_out(NULL, thread->actor, arg[4], answer, room);
    return status != K_OK ? status : done ? K_OK : K_EFAIL;
}

int64_t call_sysCommand(struct thread *thread)
{
    const uint64_t *arg = thread->call.arg;
    if (nucleus_command == NULL)
        return K_ENOSYS;
    if (arg[1] == 0 || arg[5] == 0)
        return K_EINVAL;
    if (arg[1] > COMMAND_WORDS_MAX || arg[3] > COMMAND_IMAGE_MAX)
        return K_ETOOMUCH;
    char *words = malloc(arg[1]), *image = malloc(arg[3] + 1);
    int64_t status = words == NULL || image == NULL ? K_ENOMEM : command_run(thread, words, image);
    free(words);
    free(image);
    return status;
}
