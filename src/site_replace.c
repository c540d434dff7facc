/* `chorus replace`, the site's part: see site_replace.h. */

#include "site_replace.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <host/event.h>
#include <nucleus/actor.h>
#include <nucleus/deadline.h>
#include <nucleus/nucleus.h>
#include <nucleus/port.h>
#include <server/variables.h>

#include "site_actors.h"
#include "site_command.h"
#include "site_load.h"

static const int64_t PATIENCE = 30000000000ll;

struct replacement {
    struct replacement *next;
    uint64_t ticket;
    struct actor *last, *successor;
    int64_t began;
    struct deadline deadline;
};

static struct replacement *replacements;

static void forget(struct replacement *replacement)
{
    struct replacement **at = &replacements;
    while (*at != replacement)
        at = &(*at)->next;
    *at = replacement->next;
    deadline_cancel(&replacement->deadline);
    deadline_fini(&replacement->deadline);
    free(replacement);
}

static void take_too_long(struct deadline *deadline)
{
    struct replacement *replacement = LIST_OWNER(deadline, struct replacement, deadline);
    struct actor *successor = replacement->successor;
    site_command_answer(replacement->ticket, false, "%s did not take over within %d s; the old one goes on", successor->name,
                        (int)(PATIENCE / 1000000000));
    forget(replacement);
    actor_kill(successor, K_ETIMEOUT, "it did not take over in time");
}

static bool is_under_way(const struct actor *actor)
{
    for (struct replacement *at = replacements; at != NULL; at = at->next)
        if (at->last == actor || at->successor == actor)
            return true;
    return false;
}

static int start(struct replacement *replacement, const struct site_file *file, int privilege, const char *const *arguments,
                 int priority, char *why, size_t why_size)
{
    char variable[64], name[K_NAMEMAX + 16];
    const KnUniqueId *port = &replacement->last->default_port->ui;
    snprintf(variable, sizeof variable, HANDOVER_VARIABLE "=%08x.%x", port->uiHead, port->uiTail);
    snprintf(name, sizeof name, SERVER_NAME_VARIABLE "=%s", replacement->last->name);
    const char *const environment[] = {variable, name, NULL};
    struct loader_program program = {.name = replacement->last->name, .argv = arguments, .envp = environment, .privilege = privilege,
                                     .pi = replacement->last->pi, .priority = priority};
    return site_load_file(file, &program, &replacement->successor, why, why_size);
}

void site_replace(uint64_t ticket, struct actor *last, const struct site_file *file, int privilege, const char *const *arguments)
{
    const struct site_image *image = site_load_image(last);
    if (image == NULL || last->default_port == NULL) {
        site_command_answer(ticket, false, "%s was not started by the site", last->name);
        return;
    }
    if (is_under_way(last)) {
        site_command_answer(ticket, false, "%s is being replaced already", last->name);
        return;
    }
    struct replacement *replacement = calloc(1, sizeof *replacement);
    if (replacement == NULL || deadline_init(&replacement->deadline, take_too_long) != K_OK) {
        free(replacement);
        site_command_answer(ticket, false, "no memory");
        return;
    }
    *replacement = (struct replacement){.next = replacements, .ticket = ticket, .last = last, .deadline = replacement->deadline,
                                        .began = host_time()};
    replacements = replacement;
    char why[256] = "";
    int status = start(replacement, file, privilege, arguments != NULL ? arguments : (const char *const *)image->argv, image->priority,
                       why, sizeof why);
    if (status != K_OK) {
        site_command_answer(ticket, false, "%s: %s; the old one goes on", file->path, why[0] != '\0' ? why : nucleus_error_words(status));
        forget(replacement);
        return;
    }
    deadline_set(&replacement->deadline, host_time() + PATIENCE);
}

/* It has what was the other's: ports that it did not make. */
static bool has_taken_over(const struct actor *successor)
{
    return successor->ports.next != successor->ports.previous;
}

static void answer(struct replacement *replacement, const struct actor *gone, int reason)
{
    struct actor *successor = replacement->successor;
    if (gone == successor) {
        site_command_answer(replacement->ticket, false, "the new %s ended before it had taken over (the log may say why); the old one goes on",
                            successor->name);
        return;
    }
    if (reason != K_OK || !has_taken_over(successor)) {
        site_command_answer(replacement->ticket, false, "the old %s ended before the new one had taken over", successor->name);
        return;
    }
    site_actors_replaced(gone, successor);
    host_log(1, "%s was replaced within %ld us", successor->name, (long)((host_time() - replacement->began) / 1000));
    site_command_answer(replacement->ticket, true, "%s is replaced (%08x.%x)", successor->name, successor->cap.ui.uiHead,
                        successor->cap.ui.uiTail);
}

void site_replace_gone(const struct actor *actor, int reason)
{
    for (struct replacement *at = replacements, *next; at != NULL; at = next) {
        next = at->next;
        if (at->last != actor && at->successor != actor)
            continue;
        answer(at, actor, reason);
        forget(at);
    }
}
