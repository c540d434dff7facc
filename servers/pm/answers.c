/* What is answered inside processes, kept true. */

#include "answers.h"

#include <sys/syscall.h>

#define ANSWERS 6

static void tell(struct space *space, const KnAnswerSet *set)
{
    space->told.any = set->count > 0;
    memcpy(space->told.value, set->value, sizeof space->told.value);
    int status = actorAnswers(&space->actor, set);
    if (status < 0 && status != K_EUNKNOWN)
        pm_log("answers are not taken: %s", knStrError(status));
}

void answers_withdraw(struct space *space)
{
    if (space->told.any)
        tell(space, &(KnAnswerSet){ .count = 0 });
}

void answers_tell(struct process *process)
{
    struct space *space = process->space;
    if (space == NULL || space->image == NULL || pm_options.strace)
        return;
    if (space->references > 1) {
        answers_withdraw(space);
        return;
    }
    const struct credentials *who = &process->credentials;
    const KnAnswerSet set = {
        .count = ANSWERS,
        .number = { SYS_getpid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid },
        .value = { process->pid, process->parent->pid, who->uid, who->euid, who->gid, who->egid },
    };
    if (!space->told.any || memcmp(space->told.value, set.value, sizeof space->told.value) != 0)
        tell(space, &set);
}
