/* Commands of the control socket, on the site's side.
 *
 * A command comes to the interrupt thread, which reads the file that it names; the rest is done by the Nucleus's own thread, and
 * is answered at once, but for a replacement (site_replace.c). */

#include "site_command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <devices/screen.h>
#include <host/event.h>
#include <host/supervisor.h>
#include <nucleus/actor.h>
#include <nucleus/nucleus.h>

#include <server/variables.h>

#include "control.h"
#include "options.h"
#include "placement.h"
#include "site_actors.h"
#include "site_devices.h"
#include "site_load.h"
#include "site_replace.h"
#include "site_show.h"

struct command {
    struct control_command *asked;
    struct site_file file;
};

static struct control *control;

/* The answer to a command from inside, which is given at once: its ticket is 0. */
static struct {
    bool done;
    char text[512];
} inside;

static bool command_from_inside(const char *words, size_t size, const void *image, size_t image_size, char *answer, size_t room);

void site_command_start(struct control *answers_to)
{
    control = answers_to;
    nucleus_command = command_from_inside;
}

void site_command_answer(uint64_t ticket, bool done, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (ticket == 0) {
        inside.done = done;
        memcpy(inside.text, text, sizeof text);
        return;
    }
    control_reply(control, ticket, done, text);
}

static void command_free(struct command *command)
{
    if (command == NULL)
        return;
    control_command_free(command->asked);
    site_file_free(&command->file);
    free(command);
}

/* ---- which actor ---- */

struct search {
    const char *word;
    struct nucleus_actor_view found;
    unsigned count;
};

static bool is_meant(const struct nucleus_actor_view *view, const char *word)
{
    char ui[32], pid[16];
    snprintf(ui, sizeof ui, "%08x.%x", view->ui.uiHead, view->ui.uiTail);
    snprintf(pid, sizeof pid, "%d", view->pid);
    return strcmp(view->name, word) == 0 || strcmp(ui, word) == 0 || (view->pid != 0 && strcmp(pid, word) == 0);
}

static void search_look(void *cookie, const struct nucleus_actor_view *view)
{
    struct search *search = cookie;
    if (is_meant(view, search->word) && search->count++ == 0)
        search->found = *view;
}

static void ignore_thread(void *cookie, const struct nucleus_thread_view *view)
{
    (void)cookie, (void)view;
}

/* NULL, having answered why not. */
static struct actor *actor_meant(uint64_t ticket, const char *word)
{
    struct search search = {.word = word};
    nucleus_view(search_look, ignore_thread, &search);
    if (search.count == 1)
        return actor_by_ui(&search.found.ui);
    if (search.count == 0)
        site_command_answer(ticket, false, "there is no actor %s", word);
    else
        site_command_answer(ticket, false, "%u actors are called %s; name one by its host process or unique identifier", search.count, word);
    return NULL;
}

/* ---- load ---- */

enum { LOAD_PATH = 1, LOAD_PLACE, LOAD_TRUST, LOAD_NAME, LOAD_PRIORITY, LOAD_ARGUMENTS };

/* Where it is to run, and with which rights. False: no such place. */
static bool privilege_of(const char *place_word, bool trusted, int *ret_privilege)
{
    enum place place;
    if (!placement_parse_place(place_word, &place))
        return false;
    *ret_privilege = place == PLACE_SUPERVISOR ? K_SUPACTOR : trusted ? K_SYSTEMACTOR : K_USERACTOR;
    return true;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void load(struct command *command)
{
    const struct control_command *asked = command->asked;
    uint64_t ticket = asked->ticket;
    unsigned long priority = K_PRIO_SERVER;
    const char *name = *asked->words[LOAD_NAME] != '\0' ? asked->words[LOAD_NAME] : base_name(command->file.path);
    struct loader_program program = {.name = name};
    if (!privilege_of(asked->words[LOAD_PLACE], strcmp(asked->words[LOAD_TRUST], "trusted") == 0, &program.privilege) ||
        (*asked->words[LOAD_PRIORITY] != '\0' && !options_parse_number(asked->words[LOAD_PRIORITY], 0, 255, &priority))) {
        site_command_answer(ticket, false, "no such place or priority");
        return;
    }
    program.priority = (int)priority;
    /* Its first argument is its name; the word before the arguments makes room for that. */
    asked->words[LOAD_ARGUMENTS - 1] = (char *)name;
    program.argv = (const char *const *)asked->words + LOAD_ARGUMENTS - 1;
    struct actor *actor;
    char why[256] = "", variable[K_NAMEMAX + 16];
    snprintf(variable, sizeof variable, SERVER_NAME_VARIABLE "=%.31s", name);
    const char *const environment[] = {variable, NULL};
    if (*asked->words[LOAD_NAME] != '\0')
        program.envp = environment;
    int status = site_load_file(&command->file, &program, &actor, why, sizeof why);
    if (status != K_OK) {
        site_command_answer(ticket, false, "%s: %s", command->file.path, why[0] != '\0' ? why : nucleus_error_words(status));
        return;
    }
    site_actors_adopt(actor);
    site_command_answer(ticket, true, "%s runs (%08x.%x)", actor->name, actor->cap.ui.uiHead, actor->cap.ui.uiTail);
}

/* ---- kill ---- */

static void kill_one(struct command *command)
{
    struct actor *actor = actor_meant(command->asked->ticket, command->asked->words[1]);
    if (actor == NULL)
        return;
    char name[K_NAMEMAX];
    memcpy(name, actor->name, sizeof name);
    site_actors_let_go(actor);
    host_log(1, "actor %s (%08x.%x): killed by chorus kill", name, actor->cap.ui.uiHead, actor->cap.ui.uiTail);
    actor_kill(actor, K_OK, NULL);
    site_command_answer(command->asked->ticket, true, "%s is gone", name);
}

/* ---- replace ---- */

enum { REPLACE_ACTOR = 1, REPLACE_PATH, REPLACE_PLACE, REPLACE_ARGUMENTS };

static void replace(struct command *command)
{
    const struct control_command *asked = command->asked;
    struct actor *actor = actor_meant(asked->ticket, asked->words[REPLACE_ACTOR]);
    int privilege;
    if (actor == NULL)
        return;
    privilege = actor->privilege;
    if (*asked->words[REPLACE_PLACE] != '\0' && !privilege_of(asked->words[REPLACE_PLACE], actor->privilege != K_USERACTOR, &privilege)) {
        site_command_answer(asked->ticket, false, "no such place");
        return;
    }
    const char *const *arguments = NULL;
    if (asked->count > REPLACE_ARGUMENTS) {
        asked->words[REPLACE_ARGUMENTS - 1] = actor->name;
        arguments = (const char *const *)asked->words + REPLACE_ARGUMENTS - 1;
    }
    site_replace(asked->ticket, actor, &command->file, privilege, arguments);
}

/* ---- screen: somebody wants to look ---- */

/* The screen's memory is the answer's descriptor. With a socket it is a window, which is told of changes and may type. */
static void look(struct command *command)
{
    struct control_command *asked = command->asked;
    struct screen *screen = site_devices_screen();
    int window = asked->descriptor;
    asked->descriptor = -1;
    if (window >= 0 && !screen_attach(screen, window)) {
        site_command_answer(asked->ticket, false, "no window more: %s", strerror(errno));
        return;
    }
    control_reply_with(control, asked->ticket, true, "here is the screen", screen_descriptor(screen));
}

/* ---- show ---- */

static void show(struct command *command)
{
    int socket = command->asked->descriptor;
    command->asked->descriptor = -1;
    site_show(control, command->asked->ticket, socket);
}

/* ---- all of them ---- */

static const struct {
    const char *name;
    size_t words_least;
    unsigned path; /* which word names a file; 0: none */
    void (*run)(struct command *command);
    bool from_inside; /* also by sysCommand */
} commands[] = {
    {"load", LOAD_ARGUMENTS, LOAD_PATH, load, true},
    {"kill", 2, 0, kill_one, true},
    {"replace", REPLACE_ARGUMENTS, REPLACE_PATH, replace, false},
    {"screen", 1, 0, look, false},
    {"show", 1, 0, show, false},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static size_t number_of(const struct control_command *asked)
{
    size_t number = 0;
    while (number < COMMANDS && strcmp(commands[number].name, asked->words[0]) != 0)
        number++;
    return number;
}

/* By the Nucleus's thread. */
static void run(void *cookie)
{
    struct command *command = cookie;
    if (nucleus_shutting_down(NULL, NULL))
        site_command_answer(command->asked->ticket, false, "the site ends");
    else
        commands[number_of(command->asked)].run(command);
    command_free(command);
}

void site_command(void *context, struct control_command *asked)
{
    (void)context;
    struct command *command = calloc(1, sizeof *command);
    size_t number = number_of(asked);
    if (command == NULL || number == COMMANDS || asked->count < commands[number].words_least) {
        site_command_answer(asked->ticket, false, command == NULL ? "no memory" : "the site does not know this command");
        control_command_free(asked);
        free(command);
        return;
    }
    command->asked = asked;
    unsigned path = commands[number].path;
    if (path != 0 && !site_file_read(asked->words[path], &command->file)) {
        site_command_answer(asked->ticket, false, "%s: %s", asked->words[path],
                            errno == ENOEXEC ? "not a file with anything in it" : strerror(errno));
        command_free(command);
        return;
    }
    host_post(run, command);
}

/* ---- from inside: sysCommand ---- */

/* The words as control has them; NULL: they are none, or there is no memory. */
static struct control_command *words_split(const char *text, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += text[i] == '\0';
    struct control_command *asked = calloc(1, sizeof *asked);
    char **words = calloc(count + 1, sizeof *words), *copy = malloc(size);
    if (asked == NULL || words == NULL || copy == NULL || text[size - 1] != '\0') {
        free(asked);
        free(words);
        free(copy);
        return NULL;
    }
    memcpy(copy, text, size);
    for (size_t i = 0; i < count; i++, copy += strlen(copy) + 1)
        words[i] = copy;
    asked->words = words;
    asked->count = count;
    asked->descriptor = -1;
    return asked;
}

static bool command_from_inside(const char *text, size_t size, const void *image, size_t image_size, char *answer, size_t room)
{
    struct command command = {.asked = words_split(text, size)};
    size_t number = command.asked != NULL ? number_of(command.asked) : COMMANDS;
    inside.done = false;
    snprintf(inside.text, sizeof inside.text, "the site does not know this command");
    if (number < COMMANDS && commands[number].from_inside && command.asked->count >= commands[number].words_least) {
        unsigned path = commands[number].path;
        command.file = (struct site_file){.path = path != 0 ? command.asked->words[path] : NULL, .bytes = (void *)image, .size = image_size};
        commands[number].run(&command);
    }
    control_command_free(command.asked);
    snprintf(answer, room, "%s", inside.text);
    return inside.done;
}
