/* `chorus load`, `kill` and `replace`: actors of a running site come, go, and are exchanged.
 *
 * All three send the site a list of words (control.h) and print its answer; site_command.c does the work. */

#include "commands.h"
#include "control_client.h"
#include "options.h"
#include "placement.h"
#include "site.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct wish {
    const char *site, *place, *name, *priority;
    bool untrusted;
    const char *operand[3]; /* what they are says the table; the last stays NULL */
};

static bool set_place(void *field, const char *value, char *problem, size_t size)
{
    enum place place;
    *(const char **)field = value;
    return placement_parse_place(value, &place) || option_refuse(problem, size, "a place is user or supervisor");
}

static bool set_priority(void *field, const char *value, char *problem, size_t size)
{
    unsigned long number;
    *(const char **)field = value;
    return options_parse_number(value, 0, 255, &number) || option_refuse(problem, size, "a priority is from 0, the best, to 255");
}

static bool set_actor_name(void *field, const char *value, char *problem, size_t size)
{
    *(const char **)field = value;
    return (options_name_is_valid(value) && strlen(value) < 32) || option_refuse(problem, size, "no actor can have this name");
}

#define FIELD(field) offsetof(struct wish, field)
#define SITE_OPTION OPTION_SITE(FIELD(site))
#define PLACE_OPTION(otherwise) \
    { "place", "PLACE", "Where it runs: in a process of its own (user), or in the Nucleus's\n(supervisor). " otherwise, set_place, FIELD(place) }

/* Do it, and say how long it took. */
static int have_done(const struct option_table *table, const struct wish *wish, const char *const *words)
{
    struct control_client client;
    struct timespec from, to;
    char *text;
    if (control_client_open(&client, table->command, wish->site) != 0)
        return 1;
    clock_gettime(CLOCK_MONOTONIC, &from);
    int done = control_client_do(&client, words, &text);
    clock_gettime(CLOCK_MONOTONIC, &to);
    control_client_close(&client);
    double milliseconds = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
    if (done == 1)
        printf("%s, in %.1f ms\n", text, milliseconds);
    else
        fprintf(stderr, "%s: %s\n", table->command, done == 0 ? text : "the site gave no answer");
    free(text);
    return done == 1 && fflush(stdout) == 0 ? 0 : 1;
}

/* The words before, and then the arguments. NULL: no memory. */
static const char **words_join(const char *const *words, size_t count, char **arguments)
{
    size_t more = 0;
    while (arguments != NULL && arguments[more] != NULL)
        more++;
    const char **joined = calloc(count + more + 1, sizeof *joined);
    for (size_t i = 0; joined != NULL && i < count; i++)
        joined[i] = words[i];
    for (size_t i = 0; joined != NULL && i < more; i++)
        joined[count + i] = arguments[i];
    return joined;
}

static int have_done_with(const struct option_table *table, const struct wish *wish, const char *const *words, size_t count,
                          char **arguments)
{
    const char **all = words_join(words, count, arguments);
    if (all == NULL) {
        fprintf(stderr, "%s: %s\n", table->command, strerror(ENOMEM));
        return 1;
    }
    int status = have_done(table, wish, all);
    free(all);
    return status;
}

/* The file as the site finds it, to be freed; NULL, having said why not. Links stay: the name of one may be the actor's. */
static char *file_of(const struct option_table *table, const char *name)
{
    char folder[PATH_MAX] = "", *path = NULL;
    if (access(name, R_OK) != 0 || (*name != '/' && getcwd(folder, sizeof folder) == NULL) ||
        asprintf(&path, "%s%s%s", folder, *folder != '\0' ? "/" : "", name) < 0) {
        fprintf(stderr, "%s: %s: %s\n", table->command, name, strerror(errno));
        return NULL;
    }
    return path;
}

/* ---- load ---- */

static const struct option_entry load_entries[] = {
    SITE_OPTION,
    PLACE_OPTION("Otherwise user."),
    { "untrusted", NULL, "Give it no rights beyond those of a user actor: it declares no\nports, joins no system groups and drives no devices.",
      option_set_flag, FIELD(untrusted) },
    { "name", "NAME", "What it is called; otherwise the file's name.", set_actor_name, FIELD(name) },
    { "priority", "P", "Of its first thread, from 0, the best, to 255; otherwise a server's, 64.", set_priority, FIELD(priority) },
    { 0 },
};
static const struct option_table load_table = {
    .command = "chorus load",
    .usage = "FILE [OPTION...] [-- ARG...]",
    .summary = "Start the actor in FILE, an ELF file linked with libchorus, in a running site.",
    .notes = "A server or driver of the site's own that is not running (console, disk, om, dm, pm)\n"
             "is looked after as before when one is loaded under its name.",
    .entries = load_entries,
    .takes_command = true,
    .operands = (const char *const[]){ "FILE", NULL },
    .operands_offset = FIELD(operand),
};

int command_load(char **argv)
{
    struct wish wish = { .place = "user", .name = "", .priority = "" };
    char **arguments;
    enum options_verdict verdict = options_parse(&load_table, &wish, argv, &arguments);
    if (verdict != OPTIONS_GO_ON)
        return verdict == OPTIONS_HELPED ? 0 : SITE_MISUSED;
    char *path = file_of(&load_table, wish.operand[0]);
    if (path == NULL)
        return 1;
    const char *words[] = { "load", path, wish.place, wish.untrusted ? "untrusted" : "trusted", wish.name, wish.priority };
    int status = have_done_with(&load_table, &wish, words, sizeof words / sizeof *words, arguments);
    free(path);
    return status;
}

/* ---- kill ---- */

/* `load` has another use for the word. */
#define NAME_OPTION OPTION_SITE_NAME(FIELD(site))

static const struct option_entry kill_entries[] = { SITE_OPTION, NAME_OPTION, { 0 } };
static const struct option_table kill_table = {
    .command = "chorus kill",
    .usage = "ACTOR [OPTION...]",
    .summary = "End an actor of a running site.",
    .notes = "ACTOR is a name, the number of a host process or a unique identifier, as `chorus ps`\n"
             "and the log show them. Who waits for an answer of it gets an error. A driver is not\n"
             "started again; without dm or pm the site ends.",
    .entries = kill_entries,
    .operands = (const char *const[]){ "ACTOR", NULL },
    .operands_offset = FIELD(operand),
};

int command_kill(char **argv)
{
    struct wish wish = { 0 };
    char **rest;
    enum options_verdict verdict = options_parse(&kill_table, &wish, argv, &rest);
    if (verdict != OPTIONS_GO_ON)
        return verdict == OPTIONS_HELPED ? 0 : SITE_MISUSED;
    return have_done(&kill_table, &wish, (const char *const[]){ "kill", wish.operand[0], NULL });
}

/* ---- replace ---- */

static const struct option_entry replace_entries[] = {
    SITE_OPTION,
    NAME_OPTION,
    PLACE_OPTION("Otherwise where the one before runs."),
    { 0 },
};
static const struct option_table replace_table = {
    .command = "chorus replace",
    .usage = "ACTOR FILE [OPTION...] [-- ARG...]",
    .summary = "Start the server in FILE; it takes over from ACTOR, with its state and its calls.",
    .notes = "Clients notice a pause and nothing else. If the new one fails before it has taken\n"
             "over, the old one goes on. Without ARG it gets the arguments of the old one.",
    .entries = replace_entries,
    .takes_command = true,
    .operands = (const char *const[]){ "ACTOR", "FILE", NULL },
    .operands_offset = FIELD(operand),
};

int command_replace(char **argv)
{
    struct wish wish = { .place = "" };
    char **arguments;
    enum options_verdict verdict = options_parse(&replace_table, &wish, argv, &arguments);
    if (verdict != OPTIONS_GO_ON)
        return verdict == OPTIONS_HELPED ? 0 : SITE_MISUSED;
    char *path = file_of(&replace_table, wish.operand[1]);
    if (path == NULL)
        return 1;
    const char *words[] = { "replace", wish.operand[0], path, wish.place };
    int status = have_done_with(&replace_table, &wish, words, sizeof words / sizeof *words, arguments);
    free(path);
    return status;
}
