/* The actors that a site boots with: drivers, the servers, and what they are told.
 *
 * They find each other by static groups and ports, so their order matters little; a server that
 * needs another waits for it. */

#include "site_actors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <host/event.h>
#include <nucleus/kcall.h>
#include <nucleus/nucleus.h>
#include <protocol/site.h>

#include "places.h"
#include "site.h"
#include "site_load.h"
#include "site_replace.h"

struct arguments {
    char **words; /* ends with NULL */
    size_t count;
    bool failed;
};

struct boot_actor {
    int priority;
    enum {
        RESTARTS,  /* when it dies, another one takes its place, and its clients go on */
        ENDS_SITE, /* nothing useful can go on without it */
        LEAVES     /* its clients get errors */
    } death;
    void (*tell)(const struct site_options *options, struct arguments *arguments);
};

static void tell_pm(const struct site_options *options, struct arguments *arguments);

static const struct boot_actor actors[SERVERS] = {
    [SERVER_CONSOLE] = {K_PRIO_DRIVER, RESTARTS, NULL},
    [SERVER_DISK] = {K_PRIO_DRIVER, RESTARTS, NULL},
    [SERVER_NET] = {K_PRIO_DRIVER, RESTARTS, NULL},
    [SERVER_OM] = {K_PRIO_SERVER, LEAVES, NULL},
    [SERVER_DM] = {K_PRIO_SERVER, ENDS_SITE, NULL},
    [SERVER_PM] = {K_PRIO_SERVER, ENDS_SITE, tell_pm},
};

static const struct actor *running[SERVERS];
/* Of servers that were loaded or replaced: so they are started again. */
static char *file_of[SERVERS]; /* NULL: the program's own, where the options want it */
static bool is_supervisor[SERVERS];
static const struct site_options *boot_options;

/* Arguments */

static void add(struct arguments *arguments, const char *word)
{
    char **words = realloc(arguments->words, (arguments->count + 2) * sizeof *words);
    if (words == NULL) {
        arguments->failed = true;
        return;
    }
    words[arguments->count++] = (char *)word;
    words[arguments->count] = NULL;
    arguments->words = words;
}

static void add_option(struct arguments *arguments, const char *name, const char *value)
{
    if (value == NULL)
        return;
    add(arguments, name);
    add(arguments, value);
}

/* What `chorus run` was asked for: the command, as whom, where, with which environment and which of its streams are not the terminal. */
static void tell_pm(const struct site_options *options, struct arguments *arguments)
{
    static const char *const numbers[] = {"0", "1", "2"};
    if (options->verbose)
        add(arguments, "--verbose");
    if (options->strace)
        add(arguments, "--strace");
    add_option(arguments, "--rewrite", options->rewrite != NULL ? options->rewrite : SITE_REWRITE_DEFAULT);
    for (char **variable = options->environment; variable != NULL && *variable != NULL; variable++)
        add_option(arguments, "--env", *variable);
    add_option(arguments, "--user", options->user);
    add_option(arguments, "--cwd", options->folder);
    for (int fd = 0; fd < 3; fd++)
        if (!site_stream_is_terminal(fd))
            add_option(arguments, "--stream", numbers[fd]);
    add(arguments, "--");
    for (char **word = options->command; word != NULL && *word != NULL; word++)
        add(arguments, *word);
}

static bool start(enum server server, const char *path, char *const *argv)
{
    bool supervisor = file_of[server] != NULL ? is_supervisor[server] : boot_options->placement.of[server] == PLACE_SUPERVISOR;
    struct loader_program program = {
        .name = server_names[server], .argv = (const char *const *)argv, .priority = actors[server].priority,
        .privilege = supervisor ? K_SUPACTOR : K_SYSTEMACTOR};
    struct actor *actor;
    char why[256] = "";
    int status = site_load(path, &program, &actor, why, sizeof why);
    if (status != K_OK)
        fprintf(stderr, "chorus: the actor %s cannot be started: %s\n", program.name, why[0] ? why : nucleus_error_words(status));
    else
        running[server] = actor;
    return status == K_OK;
}

static bool start_one(enum server server)
{
    const char *name = server_names[server];
    char *path = file_of[server] != NULL ? strdup(file_of[server]) : place_of_actor(name);
    if (path == NULL) {
        fprintf(stderr, "chorus: the actor %s is not there: %s\n", name, strerror(errno));
        return false;
    }
    struct arguments arguments = {NULL, 0, false};
    add(&arguments, name);
    if (actors[server].tell != NULL)
        actors[server].tell(boot_options, &arguments);
    bool started = !arguments.failed && start(server, path, arguments.words);
    free(arguments.words);
    free(path);
    return started;
}

/* Death and restart */

enum { DEATHS_MOST = 20 }; /* in DEATHS_TIME: more, and there is no use in trying */
static const int64_t DEATHS_TIME = 10000000000ll;

static bool dies_too_often(void)
{
    static int64_t since;
    static unsigned deaths;
    if (host_time() - since > DEATHS_TIME) {
        since = host_time();
        deaths = 0;
    }
    return ++deaths > DEATHS_MOST;
}

static void start_again(void *server) { start_one((enum server)(uintptr_t)server); }

/* pm closes the disk; without pm, or when it died itself, the disk is recovered at the next start. */
static void end_site(void *unused)
{
    (void)unused;
    if (!site_actors_ask_to_end(SITE_FAILED))
        nucleus_shutdown(SITE_FAILED, 0);
}

static void file_set(unsigned server, const struct actor *actor)
{
    const struct site_image *image = site_load_image(actor);
    free(file_of[server]);
    file_of[server] = image != NULL ? strdup(image->path) : NULL;
    is_supervisor[server] = actor->privilege == K_SUPACTOR;
}

void site_actors_adopt(const struct actor *actor)
{
    for (unsigned i = 0; i < SERVERS; i++) {
        if (running[i] != NULL || strcmp(server_names[i], actor->name) != 0)
            continue;
        running[i] = actor;
        file_set(i, actor);
    }
}

void site_actors_let_go(const struct actor *actor)
{
    for (unsigned i = 0; i < SERVERS; i++)
        if (running[i] == actor && actors[i].death == RESTARTS)
            running[i] = NULL;
}

void site_actors_replaced(const struct actor *last, const struct actor *next)
{
    for (unsigned i = 0; i < SERVERS; i++) {
        if (running[i] != last)
            continue;
        running[i] = next;
        file_set(i, next);
    }
}

/* Nothing is started here: the Nucleus is in the middle of the other's end. */
static void on_gone(const struct actor *gone, int reason, const char *words)
{
    (void)words;
    site_replace_gone(gone, reason);
    site_load_forget(gone);
    for (unsigned i = 0; i < SERVERS; i++) {
        if (running[i] != gone)
            continue;
        running[i] = NULL;
        if (actors[i].death == LEAVES || nucleus_shutting_down(NULL, NULL))
            return;
        if (actors[i].death == ENDS_SITE) {
            host_log(0, "chorus: %s died; the site ends", server_names[i]);
            host_post(end_site, NULL);
            return;
        }
        if (dies_too_often()) {
            host_log(0, "%s dies too often, and is not started again", server_names[i]);
            return;
        }
        host_log(1, "%s is started again", server_names[i]);
        host_post(start_again, (void *)(uintptr_t)i);
    }
}

bool site_actors_start(const struct site_options *options)
{
    boot_options = options;
    nucleus_hooks.actor_gone = on_gone;
    for (unsigned i = 0; i < SERVERS; i++) {
        if (i == SERVER_NET && options->nets.count == 0)
            continue;
        if (!start_one((enum server)i))
            return false;
    }
    return true;
}

bool site_actors_ask_to_end(int status)
{
    uint8_t annex[K_CMSGANNEXSIZE] = {0};
    struct site_end_message message = {SITE_END, status};
    memcpy(annex, &message, sizeof message);
    KnUniqueId port = {(uint32_t)K_UISTATPORT << 27 | K_STAMP_PM, 0};
    return kcall_send(&port, annex, NULL, 0) == K_OK;
}
