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
#include <protocol/entropy.h>
#include <protocol/ether.h>
#include <protocol/site.h>

#include "places.h"
#include "site.h"
#include "site_load.h"
#include "site_replace.h"
#include "site_show.h"

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
    bool may_be_absent; /* not in every build */
    void (*tell)(const struct site_options *options, struct arguments *arguments);
};

static void tell_pm(const struct site_options *options, struct arguments *arguments);

static const struct boot_actor actors[SERVERS] = {
    [SERVER_CONSOLE] = {K_PRIO_DRIVER, RESTARTS, false, NULL},
    [SERVER_DISK] = {K_PRIO_DRIVER, RESTARTS, false, NULL},
    [SERVER_NET] = {K_PRIO_DRIVER, RESTARTS, false, NULL},
    [SERVER_SCREEN] = {K_PRIO_DRIVER, RESTARTS, false, NULL},
    [SERVER_INPUT] = {K_PRIO_DRIVER, RESTARTS, false, NULL},
    [SERVER_ENTROPY] = {K_PRIO_DRIVER, RESTARTS, true, NULL},
    [SERVER_OM] = {K_PRIO_SERVER, LEAVES, false, NULL},
    [SERVER_DM] = {K_PRIO_SERVER, ENDS_SITE, false, NULL},
    [SERVER_SM] = {K_PRIO_SERVER, RESTARTS, true, NULL}, /* its connections are reset */
    [SERVER_PM] = {K_PRIO_SERVER, ENDS_SITE, false, tell_pm},
    [SERVER_SHARE] = {K_PRIO_SERVER, RESTARTS, false, NULL},
};

/* What runs: the servers in their order, and then a driver for each disk after the root. */
enum { BOOTED_MOST = SERVERS + SITE_DISKS_MOST + SITE_SHARES_MOST };
static struct booted {
    const struct actor *actor;
    /* Of servers that were loaded or replaced: so they are started again. */
    char *file; /* NULL: the program's own, where the options want it */
    bool is_supervisor;
    int64_t started;
    unsigned deaths; /* at once after its start, in a row */
    bool was_there;  /* once: it is not started any more because somebody asks for it */
} booted[BOOTED_MOST];
static const struct site_options *boot_options;

static unsigned disks_end(void) { return SERVERS + boot_options->disk_count; }
static unsigned booted_count(void) { return disks_end() + boot_options->share_count; }
static enum server kind_of(unsigned index)
{
    return index < SERVERS ? (enum server)index : index < disks_end() ? SERVER_DISK : SERVER_SHARE;
}
/* Of the disk or folder that an actor after the first ones is for. */
static unsigned number_of(unsigned index) { return index < disks_end() ? index - SERVERS + 1 : index - disks_end(); }

/* Its name is also what `chorus replace` calls it. */
static const char *name_of(unsigned index, char *room, size_t size)
{
    if (index < SERVERS)
        return server_names[index];
    snprintf(room, size, "%s%u", server_names[kind_of(index)], number_of(index));
    return room;
}

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
    if (booted[SERVER_SM].actor != NULL)
        add(arguments, "--network");
    for (unsigned i = 0; i < options->share_count; i++)
        add_option(arguments, options->shares[i].read_only ? "--share-ro" : "--share", options->shares[i].mount);
    add_option(arguments, "--rewrite", options->rewrite != NULL ? options->rewrite : SITE_REWRITE_DEFAULT);
    add_option(arguments, "--zone", options->zone);
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

static bool start(unsigned index, const char *name, const char *path, char *const *argv)
{
    enum server server = kind_of(index);
    bool supervisor = booted[index].file != NULL ? booted[index].is_supervisor : boot_options->placement.of[server] == PLACE_SUPERVISOR;
    struct loader_program program = {
        .name = name, .argv = (const char *const *)argv, .priority = actors[server].priority,
        .privilege = supervisor ? K_SUPACTOR : K_SYSTEMACTOR};
    struct actor *actor;
    char why[256] = "";
    int status = site_load(path, &program, &actor, why, sizeof why);
    if (status != K_OK)
        fprintf(stderr, "chorus: the actor %s cannot be started: %s\n", program.name, why[0] ? why : nucleus_error_words(status));
    else
        booted[index].actor = actor;
    booted[index].started = host_time();
    return status == K_OK;
}

static bool start_one(unsigned index)
{
    char room[16], number[16];
    enum server server = kind_of(index);
    const char *name = name_of(index, room, sizeof room);
    char *path = booted[index].file != NULL ? strdup(booted[index].file) : place_of_actor(server_names[server]);
    if (path == NULL && actors[server].may_be_absent) {
        host_log(1, "there is no %s in this build", name);
        return true;
    }
    if (path == NULL) {
        fprintf(stderr, "chorus: the actor %s is not there: %s\n", name, strerror(errno));
        return false;
    }
    struct arguments arguments = {NULL, 0, false};
    add(&arguments, name);
    snprintf(number, sizeof number, "%u", number_of(index));
    if (index >= SERVERS)
        add(&arguments, number);
    if (actors[server].tell != NULL)
        actors[server].tell(boot_options, &arguments);
    bool started = !arguments.failed && start(index, name, path, arguments.words);
    free(arguments.words);
    free(path);
    return started;
}

/* Death and restart */

enum { DEATHS_MOST = 20 }; /* one after the other, each at once: more, and there is no use in trying */
static const int64_t AT_ONCE = 100000000;

static bool dies_too_often(struct booted *one)
{
    if (host_time() - one->started > AT_ONCE)
        one->deaths = 0;
    return ++one->deaths > DEATHS_MOST;
}

/* Meanwhile somebody may have loaded one by hand. */
static void start_again(void *index)
{
    unsigned number = (unsigned)(uintptr_t)index;
    if (booted[number].actor == NULL)
        start_one(number);
}

/* pm closes the disk; without pm, or when it died itself, the disk is recovered at the next start. */
static void end_site(void *unused)
{
    (void)unused;
    if (!site_actors_ask_to_end(SITE_FAILED))
        nucleus_shutdown(SITE_FAILED, 0);
}

static void file_set(struct booted *of, const struct actor *actor)
{
    const struct site_image *image = site_load_image(actor);
    free(of->file);
    of->file = image != NULL ? strdup(image->path) : NULL;
    of->is_supervisor = actor->privilege == K_SUPACTOR;
}

void site_actors_adopt(const struct actor *actor)
{
    char room[16];
    for (unsigned i = 0; i < booted_count(); i++) {
        if (booted[i].actor != NULL || strcmp(name_of(i, room, sizeof room), actor->name) != 0)
            continue;
        booted[i].actor = actor;
        booted[i].was_there = true;
        file_set(&booted[i], actor);
    }
}

void site_actors_let_go(const struct actor *actor)
{
    for (unsigned i = 0; i < booted_count(); i++)
        if (booted[i].actor == actor && actors[kind_of(i)].death == RESTARTS)
            booted[i].actor = NULL;
}

void site_actors_replaced(const struct actor *last, const struct actor *next)
{
    for (unsigned i = 0; i < booted_count(); i++) {
        if (booted[i].actor != last)
            continue;
        booted[i].actor = next;
        file_set(&booted[i], next);
    }
}

/* Nothing is started here: the Nucleus is in the middle of the other's end. */
static void on_gone(const struct actor *gone, int reason, const char *words)
{
    (void)words;
    site_show_gone(gone, reason);
    site_replace_gone(gone, reason);
    site_load_forget(gone);
    char room[16];
    for (unsigned i = 0; i < booted_count(); i++) {
        if (booted[i].actor != gone)
            continue;
        const char *name = name_of(i, room, sizeof room);
        booted[i].actor = NULL;
        if (actors[kind_of(i)].death == LEAVES || nucleus_shutting_down(NULL, NULL))
            return;
        if (actors[kind_of(i)].death == ENDS_SITE) {
            host_log(0, "chorus: %s died; the site ends", name);
            host_post(end_site, NULL);
            return;
        }
        if (dies_too_often(&booted[i])) {
            host_log(0, "%s dies too often, and is not started again", name);
            return;
        }
        host_log(1, "%s is started again", name);
        host_post(start_again, (void *)(uintptr_t)i);
    }
}

/* Drivers are started where there is something to drive; those of the network and of entropy when they are asked for. */
static bool is_wanted(unsigned server)
{
    if (server == SERVER_NET || server == SERVER_ENTROPY || server == SERVER_SHARE)
        return false; /* folders are numbered, from 0, behind the disks */
    return (server != SERVER_SCREEN && server != SERVER_INPUT) || boot_options->picture_width != 0;
}

/* Drivers that are started when somebody asks for them: most commands do not, and none waits for them. What becomes of them then is on_gone's matter. */
static bool is_asked_for(enum server server, const KnUniqueId *group)
{
    uint32_t stamp = group->uiHead & K_CUI_STAMPMAX;
    bool is_its = server == SERVER_NET ? stamp % 16 == ETHER_GROUP_STAMP && stamp / 16 < boot_options->nets.count : stamp == ENTROPY_GROUP_STAMP;
    if (booted[server].was_there || !is_its || uiGetType(group) != K_UISTATGROUP)
        return false;
    return booted[server].was_there = true;
}

static void on_nobody_there(const KnUniqueId *group)
{
    static const enum server on_demand[] = {SERVER_NET, SERVER_ENTROPY};
    for (size_t i = 0; i < sizeof on_demand / sizeof *on_demand && !nucleus_shutting_down(NULL, NULL); i++)
        if (is_asked_for(on_demand[i], group))
            host_post(start_again, (void *)(uintptr_t)on_demand[i]);
}

bool site_actors_start(const struct site_options *options)
{
    boot_options = options;
    nucleus_hooks.actor_gone = on_gone;
    nucleus_hooks.nobody_there = on_nobody_there;
    for (unsigned i = 0; i < booted_count(); i++)
        if (is_wanted(i) && !start_one(i))
            return false;
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
